"""`--init` as main.py calls it: run the service to its end, or only the commands before it.

A service that needs nothing arranged is started first, and has the processors to itself: the init's own code is made
ready when the first signal comes or, once the service is likely to stay, together with wiping what its start has left.
One that ends before needs none of it.
"""

import posix

from shim import kernel
from shim.launch import candidates
from shim.plan import child_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.deliver import Delivered
    from shim.events import Signal
    from shim.init import Init
    from shim.plan import Plan

_PR_SET_CHILD_SUBREAPER = 36
_CHLD = 17
_LAST_DESCRIPTOR = 0xFFFFFFFF
_FIRST_SECONDS = 0.2  # who is still there by then is likely to stay (init.py)


def start(plan: "Plan", environ: list[bytes]) -> int:
    """Run the service to its end; return the exit code to end with.

    Raises:
        Refused: the service was not started; nothing is left behind.
    """
    pid, delivered = _start_at_once(plan, environ)
    signal, has_settled = None, False
    if pid and delivered is None and not plan.options.wait_all:
        staying = plan.options.staying
        code, signal = _first_moment(pid, staying is None)
        if code >= 0:
            return staying.exit_codes.get(code, code) if staying else code
        has_settled = signal is None
    init = _init(plan, environ)
    init.adopt(pid, delivered, signal, has_settled)
    try:
        return init.run()
    finally:
        init.leave()


def _first_moment(pid: int, ends_too: bool) -> "tuple[int, Signal | None]":
    """Sleep until the service has ended, a signal comes, or it is likely to stay; return its exit code, or -1."""
    code, signal = kernel.first_moment(pid, 0, ends_too)  # it may have had our processor until its end
    if code < 0:
        kernel.close_range(3, _LAST_DESCRIPTOR)
        posix.chdir(b"/")
        kernel.give_up_reading()
        if signal is None:
            code, signal = kernel.first_moment(pid, _FIRST_SECONDS, ends_too)
    return code, signal


def _init(plan: "Plan", environ: list[bytes]) -> "Init":
    if plan.options.on_change:
        from shim.change import ChangingInit

        return ChangingInit(plan, environ)
    from shim.init import Init

    return Init(plan, environ)


def run_before(plan: "Plan", environ: list[bytes], environment: list[bytes]) -> int:
    """Run the `--pre` commands of a start that will not stay; return 0, or the code of what failed."""
    from shim.init import Init

    init = Init(plan, environ)
    code = init.run_root_before() or init.run_before(environment)
    init.hand_back()
    return code


def _start_at_once(plan: "Plan", environ: list[bytes]) -> "tuple[int, Delivered | None]":
    """Return the pid of the service, and what was delivered for it; 0 when it is the init's to start it."""
    options = plan.options
    if options.user or options.no_core or options.no_new_privs or options.pre or options.pre_root or options.mask:
        return 0, None
    if options.on_change or options.ready_fd or options.parent_death or kernel.disposition(_CHLD) == 1:
        return 0, None
    if kernel.may_have_terminal():
        return 0, None
    try:
        if posix.getpid() != 1:
            kernel.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # before it can leave orphans
    except OSError:
        return 0, None
    environment, delivered = child_of(plan, environ)
    try:
        return kernel.spawn(candidates(options.argv[0], environment), options.argv, environment, False), delivered
    except OSError:
        return 0, delivered
