"""PID 1: start the service, forward signals, reap, and report how the service ended.

One process, no threads: every signal is blocked from birth and taken one by one (sigtimedwait(2)), so nothing is lost,
merged or handled in the middle of something else. Nothing wakes up while nothing happens.
"""

import posix

from shim import kernel
from shim.child import close_others, spawn
from shim.errors import SIGNALLED
from shim.signals import CHLD, CONT, INT, KILL, PIPE, QUIT, TERM, TSTP, TTIN, TTOU, WINCH
from shim.staying import Staying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.child import Extra
    from shim.deliver import Delivered
    from shim.events import Events, Signal
    from shim.outputs import Outputs
    from shim.plan import Plan

_PR_SET_CHILD_SUBREAPER = 36
_STOPPING = (INT, QUIT, TERM)
_FROM_THE_TERMINAL = (TSTP, TTIN, TTOU)
_WNOHANG, _WUNTRACED = 1, 2
_ECHILD = 10
_USUAL_GRACE_SECONDS = 10.0  # where we stop something ourselves and nobody said how long it may take: the engines' own
_READER_SECONDS = 1.0
# A service that is still there by then is likely to stay, and what only its start needed is given back: once, and for
# nothing when it is over before.
_SETTLED_SECONDS = 0.2


class Init:
    """The service's parent, from before its start to after its end."""

    def __init__(self, plan: "Plan", environ: list[bytes]) -> None:
        self._plan = plan
        self._environ = environ
        self.options = plan.options
        self._staying = plan.options.staying or Staying()
        self._own_pid = posix.getpid()
        self._own_group = posix.getpgrp()
        self._made_events: Events | None = None
        self._extras: list[Extra] = []  # what some children need arranged: masked output, a readiness descriptor
        self._outputs: Outputs | None = None
        self._delivered: Delivered | None = None
        self._pid = 0  # the child's; 0: there is none now
        self._code = -1  # how it ended; -1: it has not
        self._kept: list[tuple[int, int, int]] = []  # for a child that does not exist yet
        self._stopped_by = 0  # the first stop signal
        self._has_children = False
        self._has_terminal = False
        self._started_at = 0.0  # 0: the service was not started yet
        self._first_signal: Signal | None = None  # it came before there was an init to take it
        self._has_settled = False  # the service stayed before there was one
        # Ignored, the kernel would reap for us and keep the exit code to itself (wait(2), NOTES).
        self.ignores_children = kernel.disposition(CHLD) == 1
        if self.ignores_children:
            kernel.set_disposition(CHLD, 0)
        # The other half of what every child gets (child.py).
        self.target = plan.target
        self.changes_user = True
        self.parent_death = self._staying.parent_death

    @property
    def _events(self) -> "Events":
        # Made when it is first needed, which is usually when the service is already on its way.
        if self._made_events is None:
            from shim.events import Events

            self._made_events = Events()
        return self._made_events

    def adopt(
        self, pid: int, delivered: "Delivered | None", signal: "Signal | None" = None, has_settled: bool = False
    ) -> None:
        """Take over a service that is on its way (0: only what was delivered for it), and the signal that came."""
        self._pid = pid
        self._has_children = pid != 0
        self._delivered = delivered
        self._first_signal = signal
        self._has_settled = has_settled

    # --- the story -----------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run the commands before, the service, and what remains of it; return the exit code.

        Raises:
            Refused: something could not be started.
        """
        if not self._pid:
            self._take_charge()
        self._prepare_extras()
        if self._staying.pre or self._staying.pre_root:
            code = self.run_root_before() or self.run_before(self._child_environment())
            if code:
                return code
        self._start_service()
        if self._first_signal is not None:
            self._take(self._first_signal)
        code = self._supervise()
        return self._staying.exit_codes.get(code, code)

    def run_root_before(self) -> int:
        """Run each `--pre-root` command to its end, without a secret; return 0, or the code that ends the start.

        They do what only root can. Whoever was started as somebody else goes on without, as with --user.
        """
        if self._staying.pre_root and posix.geteuid() != 0:
            from shim import stderr

            message = f"--pre-root: started as uid {posix.geteuid()}, which is not root; nothing is run"
            stderr.warning(message, "start the container as root, or do it where the image or the volume is made")
            return 0
        environment = [entry for entry in self._environ if not entry.startswith(b"SHIM_")]
        return self._run_before("--pre-root", self._staying.pre_root, environment)

    def run_before(self, environment: list[bytes]) -> int:
        """Run each `--pre` command to its end; return 0, or the code that ends the start."""
        return self._run_before("--pre", self._staying.pre, environment)

    def _run_before(self, option: str, commands: list[list[bytes]], environment: list[bytes]) -> int:
        """Run *commands* before the user changes."""
        for argv in commands:
            self.changes_user = False
            try:
                self._spawn(argv, environment)
            finally:
                self.changes_user = True
            code = self._supervise()
            if code:
                from shim import stderr
                from shim.not_started import is_secret

                name = "COMMAND" if is_secret(argv[0], environment) else argv[0].decode("utf-8", "surrogateescape")
                stderr.warning(f"{option} {name} ended with {code}; the service is not started")
                return code
            if self._stopped_by:
                return SIGNALLED + self._stopped_by
        return 0

    def leave(self) -> None:
        """Give the terminal back, and remove the private copies of values."""
        self._end_extras()
        if self._delivered is not None:
            self._delivered.undo()

    def hand_back(self) -> None:
        """Give SIGCHLD back as it was handed to us, for a service that takes our place."""
        if self.ignores_children:
            kernel.set_disposition(CHLD, 1)

    def _take_charge(self) -> None:
        """Become the one who reaps, and who hears when the parent dies."""
        if self._own_pid != 1:
            try:
                kernel.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            except OSError as error:  # a kernel before 3.4, or a filter that knows better
                if self.options.subreaper:
                    from shim import stderr

                    stderr.warning(f"--subreaper: {error.strerror}; orphans are left to another process")
        if self._staying.parent_death:
            from shim import parent_death

            parent_death.ask_for(self._staying.parent_death)

    def _prepare_extras(self) -> None:
        """Set up what only some ask for; nothing of it costs anything otherwise."""
        if self.options.mask:
            from shim.outputs import Outputs

            self._outputs = Outputs(self._plan, self._events, self._stopped_with)
            self._extras.append(self._outputs)
        if self._staying.ready_descriptor >= 0:
            from shim.ready import Ready

            self._extras.append(Ready(self._staying.ready_descriptor, self._environ, self._events))

    # --- starting ------------------------------------------------------------------------------------------------

    def _child_environment(self) -> list[bytes]:
        from shim.plan import child_of

        environment, self._delivered = child_of(self._plan, self._environ, self._delivered)
        return environment

    def _start_service(self) -> None:
        if not self._pid:
            self._spawn(self.options.argv, self._child_environment())
        self._started_at = kernel.monotonic()
        # From here on only what supervising needs: no values, and no descriptor that belongs to the service.
        if self._staying.on_change != "restart":  # a restarted service gets the descriptors again
            self._close_others()
            if self._delivered is not None:
                self._delivered.descriptors.clear()
        if not self._staying.on_change:
            posix.chdir(b"/")  # nothing of ours needs it, and a mount below us could not be taken away
            self._plan.forget()
            if self._delivered is None or not self._delivered.rendered:  # else we have files to remove in any folder
                kernel.give_up_reading()
        self._events.after(0.0 if self._has_settled else _SETTLED_SECONDS, "settled", self._settle)

    def _settle(self) -> None:
        """Give back what only the start needed, and wipe what it left: no value stays with who does not need it."""
        if not self._staying.on_change:
            for key in self._plan.had:
                name = key.encode("utf-8", "surrogateescape")
                kernel.forget_variable(name)
                self._environ[:] = [entry for entry in self._environ if not entry.startswith(name + b"=")]
        kernel.settle()

    def _spawn(self, argv: list[bytes], environment: list[bytes]) -> None:
        from shim import terminal

        for extra in self._extras:
            extra.prepare()
        descriptor = terminal.open_terminal()
        self._has_terminal = descriptor >= 0
        is_ours = self._has_terminal and terminal.is_foreground(descriptor, self._own_group)
        is_ours = is_ours and not any(extra.makes_session for extra in self._extras)
        self._code = -1
        try:
            self._pid = spawn(argv, environment, self, descriptor if is_ours else -1, self._extras)
        finally:
            if self._has_terminal:
                posix.close(descriptor)
        self._has_children = True
        for extra in self._extras:
            extra.begin(self._pid)
        kept, self._kept = self._kept, []
        for signal in kept:
            self._send(*signal)

    def _close_others(self) -> None:
        kept = self._events.kept_descriptors()
        for extra in self._extras:
            kept += extra.descriptors()
        if self._delivered is not None:
            kept += self._delivered.held()
        close_others(kept)

    # --- signals -------------------------------------------------------------------------------------------------

    def _supervise(self) -> int:
        """Forward and reap until the child has ended, with --wait-all everything else too; return the child's code."""
        is_finishing = False
        while True:
            if self._code >= 0 and not (self.options.wait_all and self._started_at and self._has_children):
                if not is_finishing:
                    is_finishing = True
                    self._finish()
                if not any(extra.is_busy() for extra in self._extras):
                    return self._code
            signal = self._events.next_signal()
            if signal is None:
                continue
            self._take(signal)
            if is_finishing and signal[0] in _STOPPING:
                return self._code  # who reads the output is too slow

    def _finish(self) -> None:
        """Write what the child has left to write; once we are to stop, no reader can hold us up for long."""
        for extra in self._extras:
            extra.finish()
        if self._stopped_by:
            self._events.after(_READER_SECONDS, "reader", self._end_extras)

    def _end_extras(self) -> None:
        for extra in self._extras:
            extra.end()

    def _take(self, signal: "Signal") -> None:
        number, code, sender, _, _, value = signal
        if number == CHLD:
            self._reap()
            if code > 0:  # the kernel's; one that a process sent is forwarded like any other
                return
        if sender == self._own_pid and number == PIPE:
            return  # our own write to a stderr that nobody reads
        if number == CONT:
            self._continue()
        elif self._outputs is not None and number == WINCH:
            self._outputs.resize()
        wanted = self._staying.rewritten.get(number, number)
        if wanted == 0:
            return
        if number in _STOPPING or wanted in _STOPPING:
            self._stop(number)
        if self._pid:
            self._send(wanted, code, value)
        else:
            self._kept.append((wanted, code, value))

    def _send(self, number: int, code: int, value: int) -> None:
        from shim.forward import forward

        forward(self._pid, self.options.group, number, code, value)

    def _stop(self, number: int) -> None:
        """Take note of a stop signal: the first starts the grace period, the second ends it."""
        grace_seconds = self._staying.grace_seconds
        if not self._stopped_by:
            self._stopped_by = number
            if grace_seconds:
                self._events.after(grace_seconds, "grace", self._kill_everything)
            if self._started_at and not self._pid and self._code < 0:  # between two starts of the service
                self._code = SIGNALLED + number
        elif grace_seconds:
            self._kill_everything()

    def _kill_everything(self) -> None:
        from shim.descendants import signal_everything

        self._events.cancel("grace")
        signal_everything(KILL, self._pid)

    # --- children ------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Take all who have ended, the child and adopted orphans, in one go."""
        flags = _WNOHANG | _WUNTRACED if self._has_terminal else _WNOHANG
        while True:
            try:
                pid, status = posix.waitpid(-1, flags)
            except OSError as error:
                if error.errno != _ECHILD:
                    raise
                self._has_children = False
                return
            if pid == 0:
                return
            if pid != self._pid:
                continue
            if status & 0xFF == 0x7F:
                self._stopped_with(status >> 8)
            elif status & 0x7F:
                self._ended_with(SIGNALLED + (status & 0x7F))
            else:
                self._ended_with(status >> 8)

    def _stopped_with(self, number: int) -> None:
        """Stop as the child did, so that the shell notices; where nobody could continue us, the kernel does not."""
        if number not in _FROM_THE_TERMINAL:
            return
        from shim.terminal import stop_like

        for extra in self._extras:
            extra.pause()
        stop_like(number)
        for extra in self._extras:
            extra.resume()

    def _continue(self) -> None:
        """Go on after `fg` or `bg`: the child's whole group was stopped, and the terminal may be ours to pass on."""
        if self._has_terminal and self._pid:
            from shim.forward import send
            from shim.terminal import pass_on

            pass_on(self._own_group, self._pid)
            send(-self._pid, CONT)

    def _ended_with(self, code: int) -> None:
        pid, self._pid = self._pid, 0
        if self._has_terminal:
            from shim.terminal import pass_on

            pass_on(pid, self._own_group)
        if self._started_at and not self._stopped_by and self._starts_again(code):
            return
        self._code = code
        if self._own_pid != 1 and self._started_at:
            from shim.forward import send

            send(-pid, TERM)  # what it left in its group: as PID 1 our own end is theirs
        if self.options.wait_all and self._started_at:
            from shim.descendants import signal_everything

            signal_everything(TERM, pid)
            if not self._events.is_due("grace"):
                self._events.after(self._own_grace_seconds(), "grace", self._kill_everything)

    def _own_grace_seconds(self) -> float:
        return self._staying.grace_seconds or _USUAL_GRACE_SECONDS

    def _starts_again(self, _code: int) -> bool:
        """Return whether the service's end is not the init's; see change.py."""
        return False
