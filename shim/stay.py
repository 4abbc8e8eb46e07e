"""`--init` as main.py calls it: run the service to its end, or only the commands before it.

A service that needs nothing arranged is started first, and is on its way while the init's own code is made ready.
"""

import posix

from shim import kernel
from shim.launch import candidates
from shim.plan import child_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.deliver import Delivered
    from shim.init import Init
    from shim.plan import Plan

_PR_SET_CHILD_SUBREAPER = 36
_CHLD = 17
_READ_AND_WRITE, _NO_CONTROL, _CLOSE_ON_EXEC = 0o2, 0o400, 0o2000000  # open(2), as in terminal.py
_ENXIO = 6  # this session has no terminal
# They name a process, and so may have to name another one (child.py).
_PID_VARIABLES = (b"LISTEN_PID=", b"WATCHDOG_PID=")


def start(plan: "Plan", environ: list[bytes]) -> int:
    """Run the service to its end; return the exit code to end with.

    Raises:
        Refused: the service was not started; nothing is left behind.
    """
    pid, delivered = _start_at_once(plan, environ)
    init = _init(plan, environ)
    init.adopt(pid, delivered)
    try:
        return init.run()
    finally:
        init.leave()


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
    try:
        posix.close(posix.open(b"/dev/tty", _READ_AND_WRITE | _NO_CONTROL | _CLOSE_ON_EXEC))
        return 0, None  # there is a terminal to be given to it
    except OSError as error:
        if error.errno != _ENXIO:
            return 0, None
    try:
        if posix.getpid() != 1:
            kernel.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # before it can leave orphans
    except OSError:
        return 0, None
    environment, delivered = child_of(plan, environ)
    for entry in environment:
        if entry.startswith(_PID_VARIABLES):
            return 0, delivered
    try:
        return kernel.spawn(candidates(options.argv[0], environment), options.argv, environment, False), delivered
    except OSError:
        return 0, delivered
