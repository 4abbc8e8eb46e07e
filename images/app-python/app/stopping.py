"""Stop signals, waited for in order instead of handled at any moment.

PID 1 has no default handlers, so a signal that nobody waits for is dropped. `arm` comes first in each program, before
any thread starts: from then on a stop signal stays pending until somebody waits for it.
"""

import signal

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def arm() -> None:
    """Keep stop signals for `wait`, in this thread and those it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def wait(seconds: float | None = None) -> bool:
    """Return whether a stop signal came within *seconds*; without them, wait until one does."""
    if seconds is None:
        signal.sigwait(_SIGNALS)
        return True
    return signal.sigtimedwait(_SIGNALS, seconds) is not None
