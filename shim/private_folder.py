"""A folder on tmpfs that only one user can enter, with a name that says whose life it belongs to.

A service that the shim has become leaves its folder behind, and where /dev/shm outlives a container (a pod's, `--ipc`),
the next start would add one more copy of its secrets. So it removes what the lives before it have left.
"""

import posix

from shim import kernel
from shim.errors import Refused
from shim.user import act_again, act_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.user import Target

TMPFS = (0x01021994, 0x858458F6)  # statfs(2): tmpfs and ramfs
_PLACES = (b"/dev/shm", b"/run", b"/tmp")  # engines mount a tmpfs on the first in every container
# The place is none for us, and another may be: EPERM, ENOENT, EACCES, ENOTDIR, EROFS.
_CLOSED = (1, 2, 13, 20, 30)
_EEXIST, _EISDIR, _ENOTEMPTY, _ELOOP = 17, 21, 39, 40
_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_OFFSET, _PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits


class PrivateFolder:
    """A folder that was made, and is open since: its owner may exchange what lies at its path, but not what we hold."""

    __slots__ = ("descriptor", "owner", "path")

    def __init__(self, path: bytes, descriptor: int, owner: "Target | None") -> None:
        self.path = path
        self.descriptor = descriptor
        self.owner = owner

    def remove(self) -> None:
        """Remove the folder with all that is in it, with the rights of its owner, who we may be by now."""
        try:
            before = act_as(self.owner)
        except Refused:
            before = None  # we are somebody else, who may do no more than they may
        is_removed = False
        try:
            _empty(self.descriptor)
            posix.rmdir(self.path)
            is_removed = True
        except OSError as error:
            if error.errno not in (*_CLOSED, _ENOTEMPTY):
                raise
        finally:
            act_again(before)
            posix.close(self.descriptor)
        if before is not None and not is_removed:
            _remove_empty(self.path)  # we made it, where its owner may not write


def make(owner: "Target | None", mode: int, service: bytes) -> PrivateFolder | None:
    """Return a new folder of *owner*'s (ours when None); None when no tmpfs takes one.

    Whether a place can be written is tried: access(2) knows nothing of filters and mounts. The owner makes the folder,
    since giving it away would need a capability; where only we can write, we make it and give it away.

    Args:
        owner: who can enter it.
        mode: its permissions.
        service: what is the same whenever this service is started in this container.

    Raises:
        OSError: a place is full; other errors mean the next place.
    """
    name = b"shim-" + service + b"-" + _life()
    places = [place for place in _PLACES if _is_tmpfs(place)]
    before = act_as(owner)
    try:
        for place in places:
            _sweep(place, service, name)
            path, descriptor = _made(place + b"/" + name, mode)
            if path:
                return PrivateFolder(path, descriptor, owner)
    finally:
        act_again(before)
    if before is not None and owner is not None:
        for place in places:
            path, descriptor = _made(place + b"/" + name, mode)
            if path and _is_given(path, descriptor, owner):
                return PrivateFolder(path, descriptor, owner)
    return None


def _is_tmpfs(place: bytes) -> bool:
    try:
        return kernel.filesystem_type(place) in TMPFS
    except OSError:
        return False


def _made(path: bytes, mode: int) -> tuple[bytes, int]:
    """Return the path of a new folder and its descriptor; b"" where none can be made."""
    for _ in range(4):
        try:
            posix.mkdir(path, 0o700)
            descriptor = posix.open(path, _FOLDER)
        except OSError as error:
            if error.errno == _EEXIST:  # somebody else's: nobody shares a folder with us
                path += posix.urandom(8).hex().encode()
                continue
            if error.errno in _CLOSED:
                break
            error.filename = path
            raise
        if not _is_ours(descriptor):  # exchanged since, where its place is somebody else's
            posix.close(descriptor)
            break
        posix.fchmod(descriptor, mode)  # whatever the umask was
        return path, descriptor
    return b"", -1


def _is_ours(descriptor: int) -> bool:
    return posix.fstat(descriptor).st_uid == posix.geteuid()


def _is_given(path: bytes, descriptor: int, owner: "Target") -> bool:
    """Return whether the folder is *owner*'s now, and they can get there: the place may be closed to all but us."""
    try:
        posix.fchown(descriptor, owner.uid, owner.gid)
        before = act_as(owner)
        try:
            posix.stat(path)
        finally:
            act_again(before)
    except OSError:
        posix.close(descriptor)
        posix.rmdir(path)
        return False
    return True


def identity(words: list[bytes]) -> bytes:
    """Return a short name for what *words* say together; it protects nothing, and holds no value."""
    number = _OFFSET
    for byte in b"\0".join([posix.uname().nodename.encode("utf-8", "surrogateescape"), *words]):
        number = (number ^ byte) * _PRIME & 0xFFFFFFFFFFFFFFFF
    return b"%016x" % number


def _life() -> bytes:
    """Return what this process is called while it lives, and no other after it: its namespace, its pid, its start."""
    return b"%s-%d-%s" % (_namespace(), posix.getpid(), _start_of(posix.getpid()))


def _namespace() -> bytes:
    try:
        return posix.readlink(b"/proc/self/ns/pid").partition(b"[")[2].rstrip(b"]")
    except OSError:
        return b"0"


def _start_of(pid: int) -> bytes:
    """Return when process *pid* was started, in ticks since the boot; b"" when it is gone, or there is no /proc."""
    try:
        text = kernel.read_file(b"/proc/%d/stat" % pid, 4096, True)[2]
    except OSError:
        return b""
    return text[text.rfind(b")") + 2 :].split(b" ")[19]  # proc(5): field 22; the name before may hold anything


def _sweep(place: bytes, service: bytes, own_name: bytes) -> None:
    """Remove from *place* what earlier lives of this service left, and what we may remove of it."""
    prefix = b"shim-" + service + b"-"
    try:
        names = [name for name in posix.listdir(place) if name.startswith(prefix) and name != own_name]
    except OSError:
        return
    for name in names:
        if not _is_alive(name[len(prefix) :]):
            _remove_old(place + b"/" + name)


def _is_alive(life: bytes) -> bool:
    """Return whether the process of that name may still run; in another namespace, a restart has ended it."""
    namespace, pid, start = [*life.split(b"-"), b"", b""][:3]
    if not pid.isdigit():
        return True  # none of ours
    if namespace != _namespace():
        return False
    if not start:
        return True  # nobody can tell
    return start[: len(_start_of(int(pid)))] == _start_of(int(pid)) != b""


def _remove_old(path: bytes) -> None:
    """Remove the folder at *path* with the files in it, if it is ours.

    The service could do with it what it liked, and whatever that was, the next life starts all the same.
    """
    try:
        descriptor = posix.open(path, _FOLDER)
    except OSError as error:
        if error.errno not in (*_CLOSED, _ELOOP):
            raise
        return
    try:
        if _is_ours(descriptor):
            _empty(descriptor)
            posix.rmdir(path)
    except OSError as error:
        if error.errno not in (*_CLOSED, _EISDIR, _ENOTEMPTY):
            raise
    finally:
        posix.close(descriptor)


def _remove_empty(path: bytes) -> None:
    try:
        posix.rmdir(path)
    except OSError as error:
        if error.errno not in (*_CLOSED, _ENOTEMPTY):
            raise


def _empty(folder: int) -> None:
    """Remove the files in an open folder: all that can be, before the first trouble is raised."""
    trouble = None
    for name in posix.listdir(folder):
        try:
            posix.unlink(name, dir_fd=folder)
        except OSError as error:
            trouble = trouble or error
    if trouble is not None:
        raise trouble
