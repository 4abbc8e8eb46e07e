"""Writing a file in one step: a reader, or a kill at any moment, meets the old content or the new, never a part.

Who lists the folder meanwhile must not miss the file either.
"""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shim_host.errors import failed_file

UNFINISHED = ".*.new"  # matches every name that a killed run can leave
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_LISTINGS = 20  # of a folder that never rests
_MOMENTS = 2.0
_NOBODY = 65534  # user_namespaces(7)


def write_whole(path: Path, data: bytes, mode: int, shown: str = "") -> None:
    """Make the file at *path* hold *data*, with *mode* less the umask; it outlives a power failure.

    Raises:
        Failed: the file system does not take it; what was there is as it was. The message names *shown*.
    """
    unfinished = unfinished_of(path)
    try:
        _refuse_links_of_others(path.parent)
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, _NEW, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _settle(path.parent)
    except OSError as error:
        with suppress(OSError):  # a disk that takes nothing does not give either
            unfinished.unlink(missing_ok=True)
        raise failed_file("write", shown or str(path), error) from None


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


def _refuse_links_of_others(folder: Path) -> None:
    """Let root write into no *folder* to which a link of another user leads, unless it is that user's, too.

    Raises:
        PermissionError: that link would say where root writes.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    whole = folder.absolute()
    links = [part for part in (whole, *whole.parents) if part.is_symlink()]
    if {part.lstat().st_uid for part in links} - {0, folder.stat().st_uid}:
        raise PermissionError(errno.EACCES, "a link of another user leads there")


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


def _settle(folder: Path) -> None:
    """See that a new name in *folder* outlives a power failure; Windows has no way to ask for it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
