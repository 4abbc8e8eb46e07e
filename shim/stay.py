"""`--init` as main.py calls it: run the service to its end, or only the commands before it.

A service that needs nothing arranged is started first, and has the processors to itself: the init's own code is made
ready when the first signal comes or, once the service is likely to stay, together with wiping what its start has left.
One that ends before needs none of it.
"""

from shim import kernel
from shim.launch import candidates
from shim.plan import child_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.deliver import Delivered
    from shim.init import Init
    from shim.plan import Plan

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
        code, signal = kernel.first_moment(pid, _FIRST_SECONDS, staying is None)
        if code >= 0:
            return staying.exit_codes.get(code, code) if staying else code
        has_settled = signal is None
    init = _init(plan, environ)
    init.adopt(pid, delivered, signal, has_settled)
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
    if options.on_change or options.ready_fd or options.parent_death or not kernel.can_start_at_once():
        return 0, None
    environment, delivered = child_of(plan, environ)
    try:
        return kernel.spawn(candidates(options.argv[0], environment), options.argv, environment, False), delivered
    except OSError:
        return 0, delivered
