"""The controlling terminal: whose turn it is, and giving it to the service and back.

It is opened for the moment and closed again. While it is in the background, a shell's terminal is never taken.
"""

import posix

from shim import kernel

# open(2), the same on x86-64 and arm64; the module's own names would cost the frozen shim the whole of `posix`.
_READ_AND_WRITE, _NO_CONTROL, _CLOSE_ON_EXEC = 0o2, 0o400, 0o2000000
_FIRST_SAFE = 3
_ALL_SIGNALS = (1 << 64) - 1
_ENXIO = 6  # this session has none


def open_terminal() -> int:
    """Return a descriptor above 2 of the controlling terminal; -1 when there is none."""
    try:
        descriptor = posix.open(b"/dev/tty", _READ_AND_WRITE | _NO_CONTROL | _CLOSE_ON_EXEC)
    except OSError as error:
        return -1 if error.errno == _ENXIO else _standard_terminal()
    return above_standard(descriptor)


def _standard_terminal() -> int:
    """Return a copy of the standard descriptor that is the controlling terminal: an image may have no /dev/tty."""
    for descriptor in (0, 1, 2):
        try:
            posix.tcgetpgrp(descriptor)
        except OSError:
            continue
        return above_standard(posix.dup(descriptor))
    return -1


def above_standard(descriptor: int) -> int:
    """Return *descriptor*, or a copy of it above 2 when the process was started with closed stdio."""
    if descriptor > 2:
        return descriptor
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    moved = fcntl(descriptor, F_DUPFD_CLOEXEC, _FIRST_SAFE)
    posix.close(descriptor)
    return moved


def is_foreground(terminal: int, group: int) -> bool:
    """Return whether process group *group* has the terminal."""
    try:
        return posix.tcgetpgrp(terminal) == group
    except OSError:
        return False  # it was hung up


def pass_on(giver: int, taker: int) -> None:
    """Make group *taker* the terminal's foreground, if group *giver* is that now."""
    terminal = open_terminal()
    if terminal < 0:
        return
    if is_foreground(terminal, giver):
        give(terminal, taker)
    posix.close(terminal)


def give(terminal: int, group: int) -> None:
    """Make *group* the foreground; SIGTTOU is blocked here, so that a background process may."""
    try:
        posix.tcsetpgrp(terminal, group)
    except OSError as error:
        if error.errno not in (1, 3, 5, 22, 25):  # the group has ended, or the terminal was hung up
            raise


def stop_like(number: int) -> None:
    """Stop this process by signal *number*, so that the shell notices; return when it goes on.

    As PID 1, or where no shell could continue it, the kernel lets nothing happen.
    """
    posix.kill(posix.getpid(), number)
    kernel.set_mask(_ALL_SIGNALS & ~(1 << (number - 1)))
    kernel.set_mask(_ALL_SIGNALS)
