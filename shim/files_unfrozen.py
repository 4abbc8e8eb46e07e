"""The start code's functions for files, for an interpreter that was not frozen; folder.py says how they go together."""

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Windows, where get_secret and the host side import this and read files by their path, has none of these.
_READ = os.O_RDONLY
for _flag in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
    _READ |= getattr(os, _flag, 0)
_REGULAR = 0o100000


def open_folder(path: bytes, follow: bool) -> int:
    """Return a descriptor of the folder at *path*; with *follow* it may be a link."""
    return os.open(path, _READ | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))


def open_path(folder: int, path: bytes) -> int:
    """Return a descriptor of what is at *path*, a link itself included, that can be gone on from, and not be read."""
    return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder if folder >= 0 else None)


def list_folder(descriptor: int) -> list[bytes]:
    """Return the names in an open folder."""
    return [os.fsencode(name) for name in os.listdir(descriptor)]


def status(descriptor: int) -> tuple[int, int]:
    """Return mode and owner of what is open."""
    found = os.fstat(descriptor)
    return found.st_mode, found.st_uid


def status_at(folder: int, name: bytes) -> tuple[int, int]:
    """Return mode and owner of *name* in an open folder; of a link itself."""
    found = os.stat(name, dir_fd=folder if folder >= 0 else None, follow_symlinks=False)
    return found.st_mode, found.st_uid


def read_open(descriptor: int, limit: int) -> tuple[int, int, int, bytes]:
    """Return mode, owner, size and at most `limit + 1` bytes of an open file; no bytes of what is not a file."""
    found = os.fstat(descriptor)
    data = b""
    if found.st_mode & 0o170000 == _REGULAR:
        while len(data) <= limit:
            block = os.read(descriptor, limit + 1 - len(data))
            if not block:
                break
            data += block
    return found.st_mode, found.st_uid, found.st_size, data


def read_at(folder: int, name: bytes, limit: int) -> tuple[int, int, int, bytes]:
    """Return the same of the file *name* in an open folder; ELOOP says that it is a link."""
    descriptor = open_at(folder, name, False)
    try:
        return read_open(descriptor, limit)
    finally:
        os.close(descriptor)


def read_plain(folder: int, name: bytes, limit: int) -> tuple[None, bytes] | None:
    """Return the bytes of the file *name* in an open folder; None for a link, a file that changes, and all else.

    What value they are, the start code says beside them for most files; here `secret.clean` does.
    """
    if b"/" in name:
        return None
    try:
        mode, _, size, data = read_at(folder, name, limit)
    except OSError:
        return None
    return (None, data) if mode & 0o170000 == _REGULAR and len(data) == size <= limit else None


def open_at(folder: int, name: bytes, is_folder: bool) -> int:
    """Return a descriptor of *name* in an open folder, which must not be a link."""
    return os.open(name, _READ | os.O_NOFOLLOW | (os.O_DIRECTORY if is_folder else 0), dir_fd=folder)


def read_link_at(folder: int, name: bytes) -> bytes:
    """Return where the link *name* in an open folder leads; EINVAL says that it is none."""
    return os.readlink(name, dir_fd=folder)


def link_target(path: bytes) -> bytes | None:
    """Return where the link *path* leads; None when it is not a link, or cannot be looked at."""
    try:
        return os.readlink(path)
    except (OSError, ValueError):  # ValueError: a NUL byte
        return None


def open_beneath(_folder: int, _path: bytes) -> int:
    """Say ENOSYS, as a kernel without openat2(2) does: the standard library cannot call it."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def variables(environ: list[bytes]) -> tuple[dict[str, bytes], list[str]]:
    """Return the variables, the first of duplicates, and the names that end in `_FILE` or begin with `FILE__`."""
    found: dict[str, bytes] = {}
    for entry in environ:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            found.setdefault(name.decode("utf-8", "surrogateescape"), value)
    return found, [name for name in found if name.endswith("_FILE") or name.startswith("FILE__")]


def environ_without(environ: list[bytes], names: set[str], _env: object) -> list[bytes]:
    """Return *environ* without the variables *names* and `SHIM_*`; an entry without "=" stays."""
    dropped = {name.encode("utf-8", "surrogateescape") + b"=" for name in names}
    return [
        entry for entry in environ if entry[: entry.find(b"=") + 1] not in dropped and not entry.startswith(b"SHIM_")
    ]


def ordinary_pointers(_env: object, variables: list[str], *_: object) -> list[tuple[bytes, bytes] | None]:
    """Return that none is surely a pointer, and take none: sources.py looks at each."""
    return [None] * len(variables)


def ordinary_names(names: list[bytes], *_: object) -> list[bytes]:
    """Return all of them: sources.py looks at each."""
    return names


def read_ordinary(keys: dict[str, object], *_: object) -> "tuple[dict[str, Any], list[tuple[str, int]], int]":
    """Return that none is ordinary: resolve.py reads each file."""
    return dict.fromkeys(keys), [(key, 0) for key in keys], 0


def assignments(values: dict[str, bytes]) -> list[bytes]:
    """Return `KEY=value` for each."""
    return [key.encode("utf-8", "surrogateescape") + b"=" + value for key, value in values.items()]


def ordinary_blocks(_text: bytes) -> None:
    """Return None: who has this module reads each line of a schema in Python."""


def is_ordinary_json(_value: bytes) -> bool:
    """Return False: json_text.py decides."""
    return False
