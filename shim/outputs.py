"""A service's standard descriptors under `--mask`.

Where output goes to a pipe or a file the service gets a pipe. Where it goes to a terminal the service gets a terminal
of its own (pty(7)) with the size of the real one, which is its controlling terminal, and what is typed goes there too.
"""

import posix
from fcntl import ioctl

from shim import kernel
from shim.mask import patterns
from shim.relay import Stream
from shim.signals import TSTP
from shim.terminal import above_standard, is_foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.events import Events
    from shim.plan import Plan

_CHARACTER = 0o020000
_NULL_DEVICE = 0x103  # makedev(1, 3)
_STOP = 19
# ioctl_tty(2), termios(3): the same on x86-64 and arm64
_TCGETS, _TCSETSW, _TIOCSCTTY, _TIOCGWINSZ, _TIOCSWINSZ = 0x5401, 0x5403, 0x540E, 0x5413, 0x5414
_INPUT_FLAGS, _OUTPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 0, 4, 12, 17  # where they are in struct termios
_OPOST, _ISIG = 0o1, 0o1
_SUSPEND, _MINIMUM, _TIME = 10, 6, 5  # places in c_cc
_RAW_INPUT = (
    0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000
)  # IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
_RAW_LOCAL = 0o10 | 0o100 | 0o2 | 0o1 | 0o100000  # ECHO ECHONL ICANON ISIG IEXTEN


class Outputs:
    """What is between the service and its standard descriptors, from before its fork to after its end."""

    __slots__ = (
        "_before",
        "_ends",
        "_events",
        "_master",
        "_patterns",
        "_pid",
        "_plan_target",
        "_remembers",
        "_slave",
        "_stop_both",
        "_streams",
        "_terminal",
        "_values",
        "makes_session",
    )

    def __init__(self, plan: "Plan", events: "Events", stop_both: "Callable[[int], None]") -> None:
        self._events = events
        self._stop_both = stop_both
        self._remembers = bool(plan.options.on_change)
        values = patterns(plan)
        self._patterns = kernel.mask_patterns(values)
        self._values = values if self._remembers else []
        self._streams: list[Stream] = []
        self._ends: dict[int, tuple[int, int]] = {}  # the service's descriptor -> our end of its pipe, and its own
        self._master = self._slave = -1
        self._pid = 0
        self._before = b""  # how the real terminal was set, while it is raw
        self._terminal = next((number for number in (1, 2) if _is_terminal(number)), -1)
        self.makes_session = self._terminal >= 0

    def learn(self, plan: "Plan") -> None:
        """Look for the new values too; the service may still write the old ones."""
        self._values = list(dict.fromkeys([*patterns(plan), *self._values]))
        self._patterns = kernel.mask_patterns(self._values)
        for stream in self._streams:
            stream.learn(self._patterns)

    # --- around the fork -----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the pipes and the terminal that the next child gets."""
        self.end()
        if self.makes_session:
            self._master, self._slave = (above_standard(descriptor) for descriptor in posix.openpty())
            self.resize()
            if not _is_terminal(0):  # the real terminal still makes \r\n out of \n
                _change_flags(self._slave, _OUTPUT_FLAGS, _OPOST)
        seen: dict[tuple[int, int], tuple[int, int]] = {}
        for number in (1, 2):
            try:
                status = posix.fstat(number)
            except OSError:
                continue  # it was handed to us closed
            if _is_terminal(number) or (status.st_mode & 0o170000 == _CHARACTER and status.st_rdev == _NULL_DEVICE):
                continue
            place = status.st_dev, status.st_ino
            if place not in seen:  # one pipe for `2>&1`, so that the order stays
                reader, writer = (above_standard(descriptor) for descriptor in posix.pipe())
                seen[place] = reader, writer
            self._ends[number] = seen[place]

    def arrange(self) -> None:
        """Put them in their place, in the child."""
        if self.makes_session:
            posix.setsid()
            ioctl(self._slave, _TIOCSCTTY, 0)
            for number in (0, 1, 2):
                if _is_terminal(number):
                    posix.dup2(self._slave, number)
        for number, (_, writer) in self._ends.items():
            posix.dup2(writer, number)

    def begin(self, pid: int) -> None:
        """Start to relay what child *pid* writes."""
        self._pid = pid
        made: dict[int, int] = {}
        for number, (reader, writer) in self._ends.items():
            if reader not in made:
                made[reader] = writer
                self._streams.append(Stream(self._events, reader, number, self._patterns))
        for writer in made.values():
            posix.close(writer)
        self._ends = {}
        if self.makes_session:
            self._streams.append(Stream(self._events, posix.dup(self._master), self._terminal, self._patterns))
            posix.close(self._slave)
            self._slave = -1
            posix.set_blocking(self._master, False)
            self.resume()

    def descriptors(self) -> list[int]:
        """Return what must stay open."""
        own = [descriptor for descriptor in (self._master, self._slave) if descriptor >= 0]
        return own + [descriptor for stream in self._streams for descriptor in stream.descriptors()]

    # --- the terminal --------------------------------------------------------------------------------------------

    def resize(self) -> None:
        """Give the service's terminal the size of the real one; the kernel tells it, if that is a change."""
        if self._master >= 0:
            try:
                ioctl(self._master, _TIOCSWINSZ, ioctl(self._terminal, _TIOCGWINSZ, bytes(8)))
            except OSError as error:
                if error.errno not in (5, 25):  # one of the two was hung up
                    raise

    def resume(self) -> None:
        """Take every key as it is typed, while the real terminal is ours; what it means is the service's to say."""
        if self._master < 0 or self._before or not _is_terminal(0) or not is_foreground(0, posix.getpgrp()):
            return
        self._before = ioctl(0, _TCGETS, bytes(60))
        raw = bytearray(self._before)
        for place, flags in ((_INPUT_FLAGS, _RAW_INPUT), (_OUTPUT_FLAGS, _OPOST), (_LOCAL_FLAGS, _RAW_LOCAL)):
            left = int.from_bytes(raw[place : place + 4], "little") & ~flags
            raw[place : place + 4] = left.to_bytes(4, "little")
        raw[_CHARACTERS + _MINIMUM], raw[_CHARACTERS + _TIME] = 1, 0
        ioctl(0, _TCSETSW, bytes(raw))
        self._events.listen(0, 1, self._typed)

    def pause(self) -> None:
        """Leave the real terminal as it was found."""
        if self._before:
            self._events.forget(0)
            ioctl(0, _TCSETSW, self._before)
            self._before = b""

    def _typed(self, _mask: int) -> None:
        try:
            keys = posix.read(0, 1024)
        except OSError as error:
            if error.errno != 5:  # it was hung up, or is not ours any more
                raise
            keys = b""
        if not keys:
            self._events.forget(0)
            return
        if self._asks_to_stop(keys):
            posix.kill(-self._pid, _STOP)
            self._stop_both(TSTP)
            return
        try:
            posix.write(self._master, keys)
        except OSError as error:
            if error.errno not in (5, 11):  # nobody has it open; it is full, and the kernel drops keys then, too
                raise

    def _asks_to_stop(self, keys: bytes) -> bool:
        """Return whether Ctrl-Z was typed and meant for the service itself.

        Nobody else in its session could continue it, so that the kernel would not let its own terminal stop it.
        """
        if posix.getpid() == 1 or posix.getsid(0) == posix.getpid():
            return False
        state = ioctl(self._master, _TCGETS, bytes(60))
        has_signals = state[_LOCAL_FLAGS] & _ISIG
        return bool(has_signals and state[_CHARACTERS + _SUSPEND] in keys and is_foreground(self._master, self._pid))

    # --- the end -------------------------------------------------------------------------------------------------

    def is_busy(self) -> bool:
        """Return whether something is still to be written."""
        return any(stream.is_busy() for stream in self._streams)

    def finish(self) -> None:
        """Take what the service has left behind."""
        for stream in self._streams:
            stream.finish()

    def end(self) -> None:
        """Give the terminal back, and let go of everything."""
        self.pause()
        for stream in self._streams:
            stream.close()
        self._streams = []
        if self._master >= 0:
            posix.close(self._master)
            self._master = -1


def _is_terminal(descriptor: int) -> bool:
    try:
        return posix.isatty(descriptor)
    except OSError:
        return False


def _change_flags(terminal: int, place: int, dropped: int) -> None:
    state = bytearray(ioctl(terminal, _TCGETS, bytes(60)))
    left = int.from_bytes(state[place : place + 4], "little") & ~dropped
    state[place : place + 4] = left.to_bytes(4, "little")
    ioctl(terminal, _TCSETSW, bytes(state))
