"""`--wait`: what writes a secret (an agent, a sidecar, a slow volume) may start at the same time as the service.

Tried again until nothing is missing any more; a value that is there and wrong is not waited for.
"""

from time import sleep

from shim import kernel
from shim.breaches import Missing, Retryable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.resolution import Resolution

_FIRST_SECONDS, _MOST_SECONDS = 0.02, 0.25


def until_there(resolution: "Resolution", again: "Callable[[], Resolution]", seconds: float) -> "Resolution":
    """Return the outcome of *again* once nothing that may still come is missing, or the last one after *seconds*."""
    deadline = kernel.monotonic() + seconds
    pause = _FIRST_SECONDS
    while any(isinstance(breach, Missing | Retryable) for breach in resolution.breaches):
        left = deadline - kernel.monotonic()
        if left <= 0:
            for breach in resolution.breaches:
                if isinstance(breach, Missing | Retryable):
                    breach.hint += f"; waited {seconds:g} s for it"
            break
        sleep(min(pause, left))
        pause = min(pause * 2, _MOST_SECONDS)
        resolution = again()
    return resolution
