"""A value that does not print itself; how a file becomes one; how a file's name becomes a key.

Shared by the container and the host. Values leave custody by one door, `Secret.reveal()`: searching for that word
lists every place that could leak.
"""

from shim import errors
from shim.protected import is_protected as is_protected

# One string of an environment, key and "=" included (MAX_ARG_STRLEN less its NUL, execve(2)).
MAX_ENV_BYTES = 131_071
# What is read of a file at most. Twice the Swarm's limit of 512,000 bytes leaves room for UTF-16.
MAX_SECRET_BYTES = 1_048_576

_NULL_DEVICE = 0x103  # makedev(1, 3)
_MOST_READS = 8  # of a file that changes while it is read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shim.fingerprint import fingerprint as fingerprint
    from shim.fingerprint import keyed as keyed

    Reader = Callable[[bytes, int, bool], tuple[int, int, bytes]]


class Secret:
    """A value in custody: it can be compared and measured, but neither printed nor formatted nor pickled."""

    __slots__ = ("_file", "_value")

    def __init__(self, value: bytes, file: bytes | None = None) -> None:
        self._value = value
        self._file = file

    def reveal(self) -> bytes:
        """Return the value itself."""
        return self._value

    def reveal_file(self) -> bytes:
        """Return the file that it came in, byte for byte: a key without its last line end is none for ssh."""
        return self._value if self._file is None else self._file

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret does not travel in a pickle; reveal it where it is used")


def is_key(text: str) -> bool:
    """Return whether *text* can name an environment variable: `[A-Za-z_][A-Za-z0-9_]*`."""
    return text.isascii() and text.isidentifier()


def folded(name: str) -> str:
    """Return the form in which a file's name and a schema's key are compared: case and `.`, `-`, `_` do not count."""
    return name.lower().replace(".", "").replace("-", "").replace("_", "")


def fold_keys(keys: "Iterable[str]") -> dict[str, str]:
    """Return the folded form of each of *keys* with its key; the first of two that fold alike keeps its place."""
    known: dict[str, str] = {}
    for key in keys:
        known.setdefault(folded(key), key)
    return known


def env_key(file_name: str, keys: "Iterable[str]" = (), folded_keys: dict[str, str] | None = None) -> str:
    """Return the key that the secret file *file_name* gives; an empty string when its name cannot be a key.

    Args:
        file_name: without its folder.
        keys: the keys that the schema (or `--require`) asks for; one that equals the name, or its upper-cased form,
            wins, then one that equals it when case, `.`, `-` and `_` are ignored.
        folded_keys: `fold_keys(keys)`, for a caller with many names.
    """
    if not file_name.isascii():
        return ""  # "ß" has the upper case "SS"
    upper = file_name.upper().replace(".", "_").replace("-", "_")
    if keys:
        if file_name in keys:
            return file_name
        if upper in keys:
            return upper
        known = (fold_keys(keys) if folded_keys is None else folded_keys).get(folded(file_name))
        if known is not None:
            return known
    return upper if is_key(upper) else ""


def is_skipped(file_name: str) -> bool:
    """Return whether a file of this name is not a secret: hidden, an example, documentation, another program's.

    Podman mounts RHEL's subscription there, Kubernetes and EKS their service accounts.
    """
    return (
        file_name.startswith((".", "README"))
        or file_name.endswith((".example", ".md"))
        or file_name in {"redhat.repo", "rhsm", "etc-pki-entitlement", "kubernetes.io", "eks.amazonaws.com"}
    )


def clean(data: bytes) -> bytes:
    """Return the value that a file's bytes contain.

    Line ends at the end are dropped, `\\n` and `\\r\\n` (as `$(< file)` does, and for Windows editors); a UTF-8 byte
    order mark is dropped; UTF-16 with a byte order mark, as Windows PowerShell 5 writes it, becomes UTF-8. Nothing
    else is touched.
    """
    if data[:1] >= b"\xef":
        data = _without_byte_order_mark(data)
    if data[-1:] != b"\n":
        return data
    end = len(data) - 1
    if data[end - 1 : end] not in (b"\r", b"\n"):
        return data[:end]
    end += 1
    while end and data[end - 1] == 10:  # one look per line, however many there are
        end -= 2 if end > 1 and data[end - 2] == 13 else 1
    return data[:end]


def _without_byte_order_mark(data: bytes) -> bytes:
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and _is_utf16(data):
        return data.decode("utf-16").encode("utf-8")
    return data


# A codec that meets an error looks for its handler, and the handlers come with the half of the interpreter that the
# frozen shim leaves out. So bytes are looked at before they are decoded.


def _is_utf16(data: bytes) -> bool:
    """Return whether *data* is text, or only begins with two bytes that look like a byte order mark."""
    wants_second = False  # of a surrogate pair; the upper byte of each unit tells
    for upper in data[3::2] if data[:1] == b"\xff" else data[2::2]:
        if (upper & 0xFC == 0xDC) is not wants_second:
            return False
        wants_second = upper & 0xFC == 0xD8
    return not wants_second and len(data) % 2 == 0


def utf8_text(data: bytes) -> str | None:
    """Return the text that *data* is in UTF-8; None when it is none."""
    text = data.decode("utf-8", "ignore")
    return text if text.encode("utf-8") == data else None


def read_file(path: bytes, limit: int, follow: bool) -> tuple[int, int, bytes]:
    """Return mode, size in bytes, and at most `limit + 1` bytes of the file at *path*; no bytes of what is not a file.

    Neither a FIFO nor a device can make it wait. The frozen shim has the same in its start code.
    """
    import os

    # O_BINARY and the absent flags: the host side runs on Windows too.
    flags = os.O_RDONLY
    for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY") + (() if follow else ("O_NOFOLLOW",)):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        data = b""
        if status.st_mode & 0o170000 == 0o100000:
            while len(data) <= limit:
                block = os.read(descriptor, limit + 1 - len(data))
                if not block:
                    break
                data += block
        return status.st_mode, status.st_size, data
    finally:
        os.close(descriptor)


def read_secret(
    path: bytes,
    key: str,
    root: bytes = b"",
    max_bytes: int = MAX_SECRET_BYTES,
    raw_bytes: int = 0,
    reader: "Reader" = read_file,
    folder: int = -1,
    follow: bool = True,
    is_guarded: bool = False,
) -> Secret:
    """Return the `Secret` kept in the file at *path*.

    Args:
        path: the file; a symlink is followed, as Swarm and Kubernetes use them.
        key: the key that messages name.
        root: the secrets root that a symlink must not leave; empty when there is none.
        max_bytes: refuse a larger file.
        raw_bytes: the length of a binary value; a file of exactly that size is taken as it is.
        reader: what reads the bytes of a file below no root.
        folder: the root's descriptor, if it is open; else it is opened for this one file. What simply lies there,
            resolve.py reads by itself.
        follow: the root itself may be a link.
        is_guarded: take it only when nobody else could have written it.

    Raises:
        Missing, Directory, Unreadable, Unusable: each names the path and what to do.
        NotOurs: it is guarded, and another's.
    """
    if root:
        mode, size, data = _below(path, key, root, max_bytes, folder, follow, is_guarded)
    else:
        try:
            mode, size, data = reader(path, max_bytes, True)
        except OSError as error:
            raise _no_value(path, key, error) from None
    kind = mode & 0o170000
    if kind == 0o100000 and not is_guarded and len(data) != size and len(data) <= max_bytes:
        mode, size, data = _settled(path, key, root, max_bytes, reader, folder, follow)
        kind = mode & 0o170000
    if kind != 0o100000:
        if kind == 0o020000 and _is_null_device(path):
            return Secret(b"")
        from shim.unreadable import not_a_file

        raise not_a_file(path, key, kind)
    if len(data) > max_bytes:
        from shim.unreadable import too_large

        raise too_large(path, key, max_bytes)
    if raw_bytes and len(data) == raw_bytes:
        return Secret(data)
    return Secret(clean(data), data)


def _below(
    path: bytes, key: str, root: bytes, max_bytes: int, folder: int, follow: bool, is_guarded: bool
) -> tuple[int, int, bytes]:
    """Return mode, size and bytes of a file below *root*, wherever the links below it lead."""
    from shim.folder import Folder

    held = Folder(root, follow, folder)
    try:
        return held.read(path[len(root) + 1 :], max_bytes, is_guarded)
    except OSError as error:
        if error.errno == 18 and not is_guarded and _is_null_device(path):  # EXDEV: a link out
            return 0o020000, 0, b""
        raise _no_value(path, key, error, root) from None
    finally:
        if folder < 0:
            held.close()


def _settled(
    path: bytes, key: str, root: bytes, max_bytes: int, reader: "Reader", folder: int, follow: bool
) -> tuple[int, int, bytes]:
    """Return the same of a file that changed while it was read, once it is as long as it says, or never is."""
    for _ in range(_MOST_READS):
        if root:
            mode, size, data = _below(path, key, root, max_bytes, folder, follow, False)
        else:
            try:
                mode, size, data = reader(path, max_bytes, True)
            except OSError as error:
                raise _no_value(path, key, error) from None
        if len(data) == size or len(data) > max_bytes:
            break
    return mode, size, data


def _no_value(path: bytes, key: str, error: OSError, root: bytes = b"") -> "errors.Breach":
    from shim.unreadable import unreadable

    return unreadable(path, key, error, root)


def _is_null_device(path: bytes) -> bool:
    """Return whether *path* is /dev/null, which people mount where an optional secret has no file."""
    from os import stat

    try:
        return stat(path).st_rdev == _NULL_DEVICE
    except OSError:
        return False


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Give the host what no start needs: its one door to this side is this module."""
        if name not in ("fingerprint", "keyed"):
            raise AttributeError(f"module 'shim.secret' has no attribute {name!r}")
        from shim import fingerprint

        return getattr(fingerprint, name)
