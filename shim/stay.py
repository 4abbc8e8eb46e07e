"""`--init` as main.py calls it: run the service to its end, or only the commands before it."""

from shim.init import Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.plan import Plan


def start(plan: "Plan", environ: list[bytes]) -> int:
    """Run the service to its end; return the exit code to end with.

    Raises:
        Refused: the service was not started; nothing is left behind.
    """
    if plan.options.on_change:
        from shim.change import ChangingInit

        init: Init = ChangingInit(plan, environ)
    else:
        init = Init(plan, environ)
    try:
        return init.run()
    finally:
        init.leave()


def run_before(plan: "Plan", environ: list[bytes], environment: list[bytes]) -> int:
    """Run the `--pre` commands of a start that will not stay; return 0, or the code of what failed."""
    init = Init(plan, environ)
    code = init.run_root_before() or init.run_before(environment)
    init.hand_back()
    return code
