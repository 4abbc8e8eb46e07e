"""`--ready-fd N`: the service says that it is ready by a line to descriptor N (as s6 has it), and that is passed on.

To whoever holds the other end of N, when N was handed to us; to `NOTIFY_SOCKET` (sd_notify(3)), when that is set. A
service that speaks sd_notify itself needs none of this: the variable reaches it untouched.
"""

import posix

from shim.events import POLLIN
from shim.terminal import above_standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.events import Events

_MOST_BYTES = 4_096
_EAGAIN, _EPIPE = 11, 32


class Ready:
    """Descriptor N between the service and those who wait for it."""

    __slots__ = ("_descriptor", "_events", "_outer", "_reader", "_socket", "_writer", "makes_session")

    def __init__(self, descriptor: int, environ: list[bytes], events: "Events") -> None:
        self.makes_session = False
        self._descriptor = descriptor
        self._events = events
        self._socket = next((entry[14:] for entry in environ if entry.startswith(b"NOTIFY_SOCKET=")), b"")
        self._reader = self._writer = -1
        self._outer = -1
        try:
            posix.fstat(descriptor)
        except OSError:
            return  # nobody handed it to us; the service may still write to it
        from fcntl import F_DUPFD_CLOEXEC, fcntl

        self._outer = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)

    def prepare(self) -> None:
        """Make the pipe that the next child gets as N."""
        self._end_pipe()
        self._reader, self._writer = (above_standard(descriptor) for descriptor in posix.pipe())

    def arrange(self) -> None:
        """Put it in its place, in the child."""
        if self._writer == self._descriptor:
            posix.set_inheritable(self._writer, True)
        else:
            posix.dup2(self._writer, self._descriptor)

    def begin(self, _pid: int) -> None:
        """Wait for what the child says."""
        posix.close(self._writer)
        self._writer = -1
        posix.set_blocking(self._reader, False)
        self._events.listen(self._reader, POLLIN, self._readable)

    def _readable(self, _mask: int) -> None:
        try:
            said = posix.read(self._reader, _MOST_BYTES)
        except OSError as error:
            if error.errno == _EAGAIN:
                return
            raise
        if said and self._outer >= 0:
            try:
                posix.write(self._outer, said)
            except OSError as error:
                if error.errno != _EPIPE:  # nobody waits any more
                    raise
        is_ready = b"\n" in said
        if is_ready and self._socket:
            self._notify()
        if is_ready:
            self.end()
        elif not said:
            self._end_pipe()

    def _notify(self) -> None:
        from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, socket

        address = b"\0" + self._socket[1:] if self._socket.startswith(b"@") else self._socket
        connection = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
        try:
            connection.sendto(b"READY=1\n", address)
        except OSError as error:
            from shim import stderr

            stderr.warning(f"NOTIFY_SOCKET cannot be told that the service is ready: {error.strerror}")
        finally:
            connection.close()

    def descriptors(self) -> list[int]:
        """Return what must stay open."""
        return [descriptor for descriptor in (self._reader, self._writer, self._outer) if descriptor >= 0]

    def is_busy(self) -> bool:
        """Return False: the service's end is the end of what it says."""
        return False

    def pause(self) -> None:
        """Do nothing: no terminal is involved."""

    def resume(self) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Hear what it said last."""
        if self._reader >= 0:
            self._readable(POLLIN)

    def _end_pipe(self) -> None:
        """Listen no longer."""
        if self._reader >= 0:
            self._events.forget(self._reader)
            posix.close(self._reader)
            self._reader = -1

    def end(self) -> None:
        """Let go of everything, so that who waits for readiness hears that none will come."""
        self._end_pipe()
        if self._outer >= 0:
            posix.close(self._outer)
            self._outer = -1
