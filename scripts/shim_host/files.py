"""Writing a file in one step: a reader, or a kill at any moment, meets the old content or the new, never a part.

Who lists the folder meanwhile must not miss the file either.
"""

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from shim_host.errors import LinkOfAnother, failed_file

UNFINISHED = ".*.new"  # matches every name that a killed run can leave
HAS_DESCRIPTORS = os.open in os.supports_dir_fd  # of folders; Windows has none
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)
_LISTINGS = 20  # of a folder that never rests
_MOMENTS = 2.0
_NOBODY = 65534  # user_namespaces(7)


def write_whole(path: Path, data: bytes, mode: int, shown: str = "", owner: tuple[int, int] | None = None) -> None:
    """Make the file at *path* hold *data*, with *mode* less the umask; it outlives a power failure.

    Root can write it for an *owner*, a user and a group: their project is not to become root's.

    Raises:
        Failed: the file system does not take it; what was there is as it was. The message names *shown*.
    """
    try:
        if not path.name:  # "." or "/"
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with opened(path.parent) as folder:
            folder.write(path.name, data, mode, _given_to(owner))
            folder.settle()
    except OSError as error:
        raise failed_file("write", shown or str(path), error) from None


def _given_to(owner: tuple[int, int] | None) -> Callable[[int], None] | None:
    if owner is None or owner == (0, 0) or not _is_roots_look() or is_unknown(owner[0]):
        return None

    def give(descriptor: int) -> None:
        with suppress(PermissionError):  # of a root who is nobody special
            os.fchown(descriptor, *owner)

    return give


def remove(path: Path) -> None:
    """Remove the file at *path*, if it is there.

    Raises:
        Failed: the file system does not do it.
    """
    try:
        with opened(path.parent) as folder:
            folder.remove(path.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise failed_file("remove", str(path), error) from None


def unfinished_of(path: Path) -> Path:
    """Return where the file *path* is written first: always the same place, so that the next run finds what is left."""
    return path.with_name(f".{path.name}.new")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait for other runs that are in here with *folder*, and let others wait; for moments only, and not on Windows.

    After some seconds it goes on all the same: whoever started this run may hold the folder's lock (flock(1)), and some
    network file systems lock no folder.

    Raises:
        Failed: the folder cannot be opened.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise failed_file("open", str(folder), error) from None
    try:
        end = time.monotonic() + _MOMENTS
        while time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)


class Folder(NamedTuple):
    """A folder that is open: names in it are looked up there, wherever its path leads meanwhile.

    Windows has no descriptors of folders; there the path is used as it is. Links are not followed.
    """

    path: Path
    descriptor: int | None

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Return a descriptor of *name*."""
        return os.open(self._place(name), flags | _NO_FOLLOW, mode, dir_fd=self.descriptor)

    def read(self, name: str, limit: int) -> tuple[int, bytes]:
        """Return mode and at most `limit + 1` bytes of *name*; a file alone has bytes, a FIFO could go on forever."""
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
        opened = self.open(name, flags)
        try:
            mode = os.fstat(opened).st_mode
            if not stat.S_ISREG(mode):
                return mode, b""
            with open(opened, "rb", closefd=False) as file:
                return mode, file.read(limit + 1)
        finally:
            os.close(opened)

    def status(self, name: str) -> os.stat_result:
        """Return the status of *name*, of a link itself."""
        return os.stat(self._place(name), dir_fd=self.descriptor, follow_symlinks=False)

    def make(self, name: str, mode: int) -> None:
        """Make the folder *name*."""
        os.mkdir(self._place(name), mode, dir_fd=self.descriptor)

    @contextmanager
    def inner(self, name: str) -> "Iterator[Folder]":
        """Give the folder *name* in this one."""
        if self.descriptor is None:
            yield Folder(self.path / name, None)
            return
        descriptor = self.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield Folder(self.path / name, descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """Let what is called *old* be called *new*."""
        os.rename(self._place(old), self._place(new), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove the file *name*."""
        os.unlink(self._place(name), dir_fd=self.descriptor)

    def remove_all(self, name: str) -> None:
        """Remove the folder *name* and what is in it."""
        from shutil import rmtree

        rmtree(self._place(name), dir_fd=self.descriptor)

    def write(self, name: str, data: bytes, mode: int, prepare: Callable[[int], None] | None = None) -> None:
        """Make *name* hold *data*, in one step; *prepare* gets the descriptor of the file that will be there.

        Raises:
            OSError: the file system does not take it; what was there is as it was.
        """
        unfinished = unfinished_of(Path(name)).name
        try:
            with suppress(FileNotFoundError):
                self.remove(unfinished)
            with open(self.open(unfinished, _NEW, mode), "wb") as file:
                if prepare is not None:
                    prepare(file.fileno())
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            old, new = self._place(unfinished), self._place(name)
            os.replace(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except OSError:
            with suppress(OSError):  # a disk that takes nothing does not give either; the next run removes it
                self.remove(unfinished)
            raise

    def settle(self) -> None:
        """See that new names outlive a power failure; Windows has no way to ask for it."""
        if self.descriptor is None:
            return
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.descriptor)
        try:
            os.fsync(readable)
        finally:
            os.close(readable)

    def _place(self, name: str) -> str:
        return str(self.path / name) if self.descriptor is None else name


def make_folders(path: Path) -> None:
    """Make the folder at *path*, and those on the way to it, where they are missing.

    Raises:
        OSError: as `opened` says.
    """
    with opened(path, is_made=True):
        pass


@contextmanager
def opened(path: Path, *, is_made: bool = False) -> Iterator[Folder]:
    """Give the folder at *path*; root gets none to which a link of another user leads, unless it is theirs, too.

    Args:
        path: where it is.
        is_made: make it, and those on the way to it, where they are missing.

    Raises:
        OSError: as open(2) says.
        LinkOfAnother: there is such a link.
    """
    is_looked_at = _is_roots_look()
    if is_made and not is_looked_at:
        path.mkdir(parents=True, exist_ok=True)
    if not HAS_DESCRIPTORS:
        yield Folder(path, None)
        return
    with ExitStack() as held:
        if is_looked_at:
            descriptor = _reached(path, held, is_made=is_made)
        else:
            descriptor = os.open(path, os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY))
            held.callback(os.close, descriptor)
        yield Folder(path, descriptor)


def _reached(path: Path, held: ExitStack, *, is_made: bool, owners: set[int] | None = None) -> int:
    """Return a descriptor of what is at *path*, reached name by name: each is looked at, and used as it was then.

    Whoever owns a folder on the way could exchange a link for another one at any moment. A folder is reached only by
    links that may lead there; where a file may be what is read, the *owners* of all links are noted instead.
    """
    root, *names = path.absolute().parts
    at = os.open(root, os.O_PATH)
    held.callback(os.close, at)
    todo: list[str | int] = [*names, *(["."] if owners is None else [])]  # what is next, and whose link ends there
    links = 0
    while todo:
        step = todo.pop(0)
        if isinstance(step, int):
            if owners is None:
                _refuse_link_of(step, at)
            else:
                owners.add(step)
            continue
        try:
            found = os.open(step, os.O_PATH | os.O_NOFOLLOW, dir_fd=at)
        except FileNotFoundError:
            if not is_made:
                raise
            for owner in [step for step in todo if isinstance(step, int)]:
                _refuse_link_of(owner, at)
            os.mkdir(step, dir_fd=at)
            todo.insert(0, step)
            continue
        held.callback(os.close, found)
        status = os.fstat(found)
        if not stat.S_ISLNK(status.st_mode):
            at = found
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if _is_in_proc(status):  # what it reads as need not be a path: the kernel alone knows where it leads
            at = os.open(step, os.O_PATH, dir_fd=at)
            held.callback(os.close, at)
            todo.insert(0, status.st_uid)
            continue
        todo[:0] = [*Path(os.readlink("", dir_fd=found)).parts, status.st_uid]
    return at


def _is_in_proc(status: os.stat_result) -> bool:
    try:
        return status.st_dev == os.stat("/proc/self").st_dev
    except OSError:
        return False


@contextmanager
def place_to_read(path: Path) -> Iterator[bytes]:
    """Give the path under which the file at *path* is to be read: for root it is held, and was looked at.

    Raises:
        OSError: as open(2) says; or another user made a link that leads to what root alone may read, and would give
            away.
    """
    if not _is_roots_look() or not os.path.isdir("/proc/self/fd"):
        yield os.fsencode(path)
        return
    with ExitStack() as held:
        owners: set[int] = set()
        descriptor = _reached(path, held, is_made=False, owners=owners)
        found = os.fstat(descriptor)
        if owners - {0, found.st_uid} and not found.st_mode & stat.S_IROTH:
            raise PermissionError(errno.EACCES, "a link of another user leads to it, who could not read it")
        yield b"/proc/self/fd/%d" % descriptor


def _is_roots_look() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def _refuse_link_of(owner: int, folder: int) -> None:
    """Let a link lead to *folder* only if its *owner* is root, or has that folder."""
    if owner not in (0, os.fstat(folder).st_uid):
        raise LinkOfAnother


def refuse_without_room(folder: Path, size: int) -> None:
    """See that *size* bytes can be written into *folder*, leaving nothing there; Linux alone can tell of the room.

    Raises:
        Failed: they cannot.
    """
    if not hasattr(os, "O_TMPFILE"):
        return
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR):  # of a file system that knows no such files
            return
        raise failed_file("write into", str(folder), error) from None
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise failed_file("write into", str(folder), error) from None
    finally:
        os.close(descriptor)


def names_in(folder: Path) -> set[str]:
    """Return the names in *folder*, without a gap where another run replaces a file meanwhile.

    Such a file is there at every moment, yet a single listing can miss it: btrfs gives what is renamed a new place,
    behind the end that the listing was to have.
    """
    found: set[str] = set()
    settled = -1
    for _ in range(_LISTINGS):
        changed = os.stat(folder).st_mtime_ns
        names = set(os.listdir(folder))
        if changed == settled and names <= found:  # both: a clock may tick slower than files are renamed
            break
        found |= names
        settled = changed
    return found


def is_own(uid: int) -> bool:
    """Return whether files of the user *uid* are our own; on Windows, whose files have no such owner, they all are.

    A user namespace shows everybody whom it does not know as nobody, so that in one nobody's files are not our own.
    """
    return sys.platform == "win32" or (uid == os.geteuid() and not is_unknown(uid))


def is_unknown(uid: int) -> bool:
    """Return whether *uid* may be anybody: that of nobody, in a user namespace that does not know everybody."""
    if uid != _NOBODY:
        return False
    try:
        return Path("/proc/self/uid_map").read_text("ascii").split() != ["0", "0", "4294967295"]
    except FileNotFoundError:  # a system that has no such namespaces
        return False
