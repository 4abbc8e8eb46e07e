"""A signal on its way to a service that may be gone, or not ours to signal: so be it, the init stays."""

import posix

from shim import kernel
from shim.signals import SENT_WITH_VALUE

_EPERM, _ESRCH, _EAGAIN = 1, 3, 11


def forward(pid: int, to_group: bool, number: int, code: int, value: int) -> None:
    """Send signal *number* to *pid*, or to the whole group that it leads; a value that it carried is kept."""
    if to_group and send(-pid, number):
        return
    if code == SENT_WITH_VALUE and not to_group:
        try:
            kernel.sigqueue(pid, number, value)
        except OSError as error:
            # Another user's, or the kernel's queue is full: without its value there is always room for one.
            if error.errno not in (_EPERM, _EAGAIN):
                _tolerate(error)
                return
        else:
            return
    send(pid, number)


def send(target: int, number: int) -> bool:
    """Send the signal, as kill(2) does; return whether somebody was there to get it."""
    try:
        kill(target, number)
    except OSError as error:
        _tolerate(error)
        return error.errno == _EPERM
    return True


def kill(target: int, number: int) -> None:
    """Send the signal, as kill(2) does, and even to another user's process where the capability KILL was dropped.

    Raises:
        OSError: as kill(2) says.
    """
    try:
        posix.kill(target, number)
    except OSError as error:
        if error.errno != _EPERM:
            raise
        from shim import signal_as

        signal_as.kill(target, number)


def _tolerate(error: OSError) -> None:
    if error.errno not in (_EPERM, _ESRCH):
        raise error
