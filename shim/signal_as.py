"""A signal to a process of another user, where root has not the capability KILL. Loaded only when the kernel says no.

Whoever may become that user may signal its processes, and `--user` needs the capability SETUID anyway.
"""

import posix

from shim import kernel, parent_death


def kill(pid: int, number: int) -> None:
    """Send the signal, as kill(2) does, with the uid of the process it is for, or of the leader of its group.

    Raises:
        OSError: as kill(2) says, or seteuid(2).
    """
    uid = _owner(abs(pid))
    before = posix.geteuid()
    if uid in (-1, before):
        raise OSError(1, "Operation not permitted")
    posix.seteuid(uid)
    try:
        posix.kill(pid, number)
    finally:
        posix.seteuid(before)
        parent_death.ask_again()


def _owner(pid: int) -> int:
    """Return the real uid of process *pid*; -1 when nobody can tell."""
    try:
        text = kernel.read_file(b"/proc/%d/status" % pid, 65_536, True)[2]
    except OSError:
        return -1
    for line in text.split(b"\n"):
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return -1
