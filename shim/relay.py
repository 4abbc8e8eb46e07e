"""The way of a service's output under `--mask`: read, replace, write on, with the pace and the end of the real one.

Nothing here ever waits for a reader, so that a stop signal goes through at any time.
"""

import posix

from shim import kernel
from shim.events import POLLERR, POLLHUP, POLLIN, POLLOUT
from shim.terminal import above_standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.events import Events

_BLOCK_BYTES = 65_536
_SURE_BYTES = 4_096  # PIPE_BUF: what a descriptor that poll(2) calls writable takes without waiting (pipe(7))
_MOST_WAITING_BYTES = 1_048_576  # as much as a pipe can hold
_CHARACTER, _REGULAR = 0o020000, 0o100000
_EIO, _EAGAIN, _EPIPE = 5, 11, 32
# How long the start of what may be a value is kept from a terminal: its user sees what is typed at once, and a
# value that comes in two writes is still found. A pipe has nobody who waits for half a value.
_SHORT_START_BYTES, _SHORT_START_SECONDS, _LONG_START_SECONDS = 4, 0.03, 1.0


class Stream:
    """One direction: what comes out of *source* goes to *target*, its secrets replaced when there are patterns."""

    __slots__ = (
        "_covered",
        "_events",
        "_has_ended",
        "_has_pace",
        "_is_masked",
        "_is_terminal",
        "_kept",
        "_most_bytes",
        "_patterns",
        "_source",
        "_target",
        "_waiting",
    )

    def __init__(self, events: "Events", source: int, target: int, wanted: object) -> None:
        self._events = events
        self._patterns = wanted
        self._source = source
        mode = posix.fstat(target).st_mode & 0o170000
        self._is_terminal = mode == _CHARACTER
        self._has_pace = mode != _REGULAR
        self._target, self._most_bytes = _without_waiting(target) if self._has_pace else (target, _BLOCK_BYTES)
        self._kept = b""  # what may be the start of a value
        self._covered = 0
        self._is_masked = False
        self._waiting = b""  # what the target has no room for
        self._has_ended = False
        posix.set_blocking(source, False)
        events.listen(source, POLLIN, self._readable)
        self._listen_to_target(0)  # 0: poll(2) still says when nobody reads any more

    def learn(self, wanted: object) -> None:
        """Look for *wanted* from now on."""
        self._patterns = wanted

    def descriptors(self) -> list[int]:
        """Return what must stay open."""
        return [descriptor for descriptor in (self._source, self._target) if descriptor >= 0]

    def is_busy(self) -> bool:
        """Return whether something is still to be written."""
        return bool(self._waiting)

    def finish(self) -> None:
        """Take what the source still holds and no more; what the target has no room for is written later."""
        while self._source >= 0 and len(self._waiting) < _MOST_WAITING_BYTES:
            if not self._take():
                break
        self._end()

    def close(self) -> None:
        """Let go of both ends: who writes from now on gets SIGPIPE, who reads the end of the file."""
        self._close_source()
        if self._target >= 0:
            self._events.forget(self._target)
            if self._has_pace:
                posix.close(self._target)
            self._target = -1
        self._waiting = self._kept = b""

    def _close_source(self) -> None:
        if self._source >= 0:
            self._events.cancel(f"start {self._target}")
            self._events.forget(self._source)
            posix.close(self._source)
            self._source = -1

    # --- reading -------------------------------------------------------------------------------------------------

    def _readable(self, _mask: int) -> None:
        self._take()
        if self._is_terminal and len(self._kept) > self._covered and self._patterns is not None:
            is_short = len(self._kept) < _SHORT_START_BYTES
            seconds = _SHORT_START_SECONDS if is_short else _LONG_START_SECONDS
            self._events.after(seconds, f"start {self._target}", self._show_start)

    def _take(self) -> bool:
        """Pass on what can be read; return whether there may be more."""
        try:
            block = posix.read(self._source, _BLOCK_BYTES)
        except OSError as error:
            if error.errno == _EAGAIN:
                return False
            if error.errno != _EIO:  # what a terminal says that nobody has open any more
                raise
            block = b""
        if not block:
            self._end()
            return False
        self._write(self._replaced(block, False))
        return True

    def _end(self) -> None:
        """Pass on what was kept: nothing follows."""
        if self._source < 0:
            return
        self._close_source()
        self._has_ended = True
        self._write(self._replaced(b"", True))
        if not self._waiting:
            self.close()

    def _replaced(self, block: bytes, is_last: bool) -> bytes:
        if self._patterns is None:
            return block
        data = self._kept + block if self._kept else block
        shown, rest, self._covered, self._is_masked = kernel.mask(
            self._patterns, data, self._covered, self._is_masked, is_last
        )
        self._kept = data[rest:]
        return shown

    def _show_start(self) -> None:
        """Show what was kept; should the rest of a value follow, that is replaced."""
        self._write(self._kept[self._covered :])
        self._covered = len(self._kept)
        self._is_masked = False

    # --- writing -------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if not self._waiting and (self._most_bytes > _SURE_BYTES or not self._has_pace):
            data = self._written(data)
        if not data or self._target < 0:
            return
        if not self._waiting:
            if self._source >= 0:
                self._events.forget(self._source)  # the service feels that nobody takes its output, as without us
            self._listen_to_target(POLLOUT)
        self._waiting += data

    def _written(self, data: bytes) -> bytes:
        """Write as much of *data* as there is room for; return the rest."""
        while data and self._target >= 0:
            try:
                count = posix.write(self._target, data[: self._most_bytes])
            except OSError as error:
                if error.errno == _EAGAIN:
                    return data
                if error.errno not in (_EPIPE, _EIO):
                    from shim import stderr

                    stderr.warning(f"the service's output cannot be written: {error.strerror}")
                self.close()
                return b""
            data = data[count:]
            if self._most_bytes == _SURE_BYTES:
                return data
        return data

    def _target_changed(self, mask: int) -> None:
        if mask & POLLOUT:
            self._waiting = self._written(self._waiting)
        elif mask & (POLLERR | POLLHUP):
            self.close()
        if self._waiting or self._target < 0:
            return
        if self._has_ended:
            self.close()
            return
        self._listen_to_target(0)
        self._events.listen(self._source, POLLIN, self._readable)

    def _listen_to_target(self, mask: int) -> None:
        if self._has_pace:
            self._events.listen(self._target, mask, self._target_changed)


def _without_waiting(descriptor: int) -> tuple[int, int]:
    """Return a new descriptor of the same file whose writes never wait, and how much to write at once."""
    try:
        flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
        return above_standard(posix.open(b"/proc/self/fd/%d" % descriptor, flags)), _BLOCK_BYTES
    except OSError:  # no /proc, a socket, somebody else's terminal
        from fcntl import F_DUPFD_CLOEXEC, fcntl

        return fcntl(descriptor, F_DUPFD_CLOEXEC, 3), _SURE_BYTES
