"""Sleep until something happens: a signal, a descriptor, a deadline. Nothing wakes up by itself.

With signals alone this is one sigtimedwait(2) at a time. Only when there are descriptors to listen to, a signalfd(2)
replaces the signals in one poll(2); the signals are still taken one by one with what they carry.
"""

from shim import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    Signal = tuple[int, int, int, int, int, int]  # number, code, pid, uid, status, value

POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16


class Events:
    """What is waited for, and what is done when it comes."""

    def __init__(self) -> None:
        self._actions: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._deadlines: dict[str, tuple[float, Callable[[], None]]] = {}
        self._signals = -1

    def listen(self, descriptor: int, mask: int, action: "Callable[[int], None]") -> None:
        """Call *action* with what poll(2) says about *descriptor*, each time it says one of *mask*."""
        if self._signals < 0:
            from select import poll

            self._poll: select.poll = poll()
            self._signals = kernel.signal_descriptor()
            self._poll.register(self._signals, POLLIN)
        if self._masks.get(descriptor) != mask:
            self._poll.register(descriptor, mask)
            self._masks[descriptor] = mask
        self._actions[descriptor] = action

    def forget(self, descriptor: int) -> None:
        """Listen to *descriptor* no longer; the last one takes the signalfd with it."""
        if self._masks.pop(descriptor, None) is None:
            return
        del self._actions[descriptor]
        self._poll.unregister(descriptor)
        if not self._masks:
            from posix import close

            close(self._signals)
            self._signals = -1
            del self._poll

    def after(self, seconds: float, name: str, action: "Callable[[], None]") -> None:
        """Call *action* once, *seconds* from now; a second deadline of the same *name* replaces the first."""
        self._deadlines[name] = kernel.monotonic() + seconds, action

    def cancel(self, name: str) -> None:
        """Drop the deadline *name*, if there is one."""
        self._deadlines.pop(name, None)

    def is_due(self, name: str) -> bool:
        """Return whether there is a deadline *name* ahead."""
        return name in self._deadlines

    def kept_descriptors(self) -> list[int]:
        """Return the descriptors that must stay open."""
        return [*self._masks, self._signals] if self._signals >= 0 else []

    def next_signal(self) -> "Signal | None":
        """Sleep; return the next signal, or None after something else has been dealt with."""
        seconds = self._seconds_left()
        if self._signals < 0:
            signal = kernel.wait_signal(seconds)
            if signal is None:
                self._run_due()
            return signal
        ready = self._poll.poll(None if seconds < 0 else int(seconds * 1000) + 1)
        if not ready:
            self._run_due()
            return None
        for descriptor, _ in ready:
            if descriptor == self._signals:  # before any output: a stop must not wait for it
                return kernel.wait_signal(0.0)
        for descriptor, mask in ready:
            action = self._actions.get(descriptor)
            if action is not None:  # an action before may have ended the interest in it
                action(mask)
        if seconds == 0.0:
            self._run_due()
        return None

    def _seconds_left(self) -> float:
        """Return the time to the first deadline; -1 when there is none."""
        if not self._deadlines:
            return -1.0
        return max(0.0, min(due for due, _ in self._deadlines.values()) - kernel.monotonic())

    def _run_due(self) -> None:
        now = kernel.monotonic()
        for name, (due, action) in list(self._deadlines.items()):
            if due <= now and name in self._deadlines:
                del self._deadlines[name]
                action()
