"""`--on-change`: an init whose service gets its new secrets, by a restart, a signal, or an end that others see.

What is there keeps running until all of the new values are valid; watch.py says when.
"""

from shim import kernel
from shim.errors import Refused
from shim.init import Init
from shim.signals import KILL, TERM
from shim.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.plan import Plan

_QUICK_SECONDS = 10.0  # a restarted service that ends sooner has failed
_MOST_QUICK_FAILURES = 3


class ChangingInit(Init):
    """An init that also acts when a secret changes."""

    __slots__ = ("_failures", "_restarts", "_wants_restart")

    def __init__(self, plan: "Plan", environ: list[bytes]) -> None:
        Init.__init__(self, plan, environ)
        self._restarts = 0
        self._wants_restart = False
        self._failures = 0

    def _prepare_extras(self) -> None:
        Init._prepare_extras(self)
        Watch(self._plan, self._environ, self._events, self._secrets_changed)

    def _secrets_changed(self, plan: "Plan") -> None:
        """Do what `--on-change` says; *plan* holds the new values, all of them valid."""
        action = self._staying.on_change
        if self._outputs is not None:
            self._outputs.learn(plan)
        if action == "signal":
            if self._delivered is not None:
                from shim.deliver import renew
                from shim.stderr import report_refusal

                try:
                    renew(self._delivered, plan.resolution, plan.rendered)
                except Refused as refusal:
                    report_refusal(refusal)
                    return
            if self._pid:
                self._send(self._staying.change_signal, 0, 0)
            return
        if self._stopped_by:
            return
        if action == "restart":
            self._plan = plan
            self.target = plan.target
            self._wants_restart = True
            if not self._pid:  # it failed a moment ago, and was to be started again anyway
                self._events.cancel("again")
                self._start_again()
                return
        self._send(self._staying.rewritten.get(TERM) or TERM, 0, 0)
        self._events.after(self._own_grace_seconds(), "change", self._kill_service)

    def _kill_service(self) -> None:
        from shim.descendants import signal_descendants

        signal_descendants(KILL, self._pid)

    def _starts_again(self, code: int) -> bool:
        """Return whether the service's end is not ours: it is to be restarted, or was and has failed quickly."""
        if self._wants_restart:
            self._events.cancel("change")
            self._kill_service()  # what the old one left behind
            self._start_again()
            return True
        if not self._restarts or code == 0 or kernel.monotonic() - self._started_at > _QUICK_SECONDS:
            return False
        self._failures += 1
        if self._failures >= _MOST_QUICK_FAILURES:
            from shim import stderr

            stderr.warning(
                f"the service failed {self._failures} times since its secrets changed; giving up",
                "see its log: can it work with the new values?",
            )
            return False
        self._events.after(float(self._failures), "again", self._start_again)
        return True

    def _start_again(self) -> None:
        if self._wants_restart:
            self._wants_restart = False
            self._failures = 0
        self._restarts += 1
        if self._delivered is not None:
            self._delivered.undo()
            self._delivered = None
        try:
            self._start_service()
        except Refused as refusal:
            from shim.stderr import report_refusal

            self._code = report_refusal(refusal)
