"""An end to what may never end: a regular expression that tries every way to divide a text. Loaded for `matches=` only.

Shared by the container and the host. `re` asks between its steps whether a signal came (ReDoS, CWE-1333).
"""

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TypeVar

    Result = TypeVar("Result")


class TooLong(Exception):
    """It did not end in time."""


def within(seconds: float, act: "Callable[[], Result]") -> "Result":
    """Return what *act* returns; where no timer can be set (another thread, Windows) nothing limits it.

    Raises:
        TooLong: it takes longer than *seconds*.
    """
    if not hasattr(signal, "SIGALRM"):
        return act()

    def stop(_number: int, _frame: "FrameType | None") -> None:
        raise TooLong

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except ValueError:  # not the main thread
        return act()
    mask = _let_through()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return act()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _restore(before, mask)


def _let_through() -> object:
    """Let the timer's signal through; return what `_restore` wants. The start code's calls know all 64 signals."""
    try:
        from _kernel import set_mask
    except ImportError:
        return signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    mask = set_mask((1 << 64) - 1)
    set_mask(mask & ~(1 << (signal.SIGALRM - 1)))
    return mask


def _restore(before: object, mask: object) -> None:
    """Give mask and handler back; a handler that Python does not know of is the start code's."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)  # type: ignore[arg-type]
    if isinstance(mask, int):
        from _kernel import end_on_stop_signals, set_mask

        if before is None:
            end_on_stop_signals()
        set_mask(mask)
    else:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # type: ignore[arg-type]
