"""The door to exit codes and exceptions (refusal.py), which are made when somebody asks: no start that goes well does.

On the way to exec, modules write `errors.Refused`; everywhere else, `from shim.errors import Refused` is as good.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.refusal import CHANGE as CHANGE
    from shim.refusal import NOT_EXECUTABLE as NOT_EXECUTABLE
    from shim.refusal import NOT_FOUND as NOT_FOUND
    from shim.refusal import SIGNALLED as SIGNALLED
    from shim.refusal import WORLD as WORLD
    from shim.refusal import Breach as Breach
    from shim.refusal import Refused as Refused
else:

    def __getattr__(name):
        """Return what refusal.py has by that name."""
        from shim import refusal

        return getattr(refusal, name)
