"""Everything below the init: a signal to all of it, adopted and setsid'd descendants included.

For PID 1 the kernel knows who that is (kill(2), pid -1). Elsewhere /proc tells, or, without it, the service's group
has to do.
"""

import posix

from shim.forward import kill
from shim.signals import KILL

_EPERM, _ESRCH = 1, 3
_MOST_ROUNDS = 50


def signal_everything(number: int, main_pid: int) -> None:
    """Send signal *number* to all who are left: as PID 1 to every other process that we can see."""
    if posix.getpid() == 1:
        _send(-1, number)
        _send_to_strangers(number)
    else:
        signal_descendants(number, main_pid)


def signal_descendants(number: int, main_pid: int) -> None:
    """Send signal *number* to every descendant, and to no `docker exec` beside them.

    Args:
        number: the signal; for SIGKILL, whoever is forked meanwhile is looked for too.
        main_pid: the service, which leads a group of its own; 0 when it has ended.
    """
    seen: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        found = descendants(posix.getpid())
        if found is None:
            if main_pid:
                _send(-main_pid, number)
                _send(main_pid, number)
            return
        for pid in found - seen:
            _send(pid, number)
        if number != KILL or found <= seen:
            return
        seen |= found


def _send_to_strangers(number: int) -> None:
    """Send the signal to those whom kill(2) left out because the capability KILL is missing, without an error."""
    if posix.geteuid() != 0:
        return
    from shim.cannot_become import missing_capabilities

    if not missing_capabilities(("KILL",)):
        return
    for pid in descendants(1) or ():
        try:
            posix.kill(pid, 0)
        except OSError as error:
            if error.errno == _EPERM:
                _send(pid, number)
            elif error.errno != _ESRCH:
                raise


def _send(pid: int, number: int) -> None:
    try:
        kill(pid, number)
    except OSError as error:
        if error.errno not in (_ESRCH, _EPERM):
            raise


def descendants(ancestor: int) -> set[int] | None:
    """Return the pids below *ancestor*; None when /proc cannot tell."""
    try:
        names = posix.listdir(b"/proc")
    except OSError:
        return None
    parents: dict[int, int] = {}
    for name in names:
        if name.isdigit():
            parent = _living_parent(name)
            if parent >= 0:
                parents[int(name)] = parent
    if posix.getpid() not in parents:
        return None  # /proc belongs to another PID namespace, or hides processes
    found: set[int] = set()
    level = {ancestor}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level and pid not in found}
        found |= level
    return found


def _living_parent(pid: bytes) -> int:
    """Return the parent of process *pid*; -1 when it has ended."""
    try:
        descriptor = posix.open(b"/proc/" + pid + b"/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fields = posix.read(descriptor, 1024).rpartition(b")")[2].split()  # the name may hold blanks and brackets
    except OSError:
        return -1
    finally:
        posix.close(descriptor)
    if len(fields) < 2:
        return -1
    # A zombie's children have moved on to us, but a thread group's ended leader still has its own.
    return -1 if fields[0] == b"X" else int(fields[1])
