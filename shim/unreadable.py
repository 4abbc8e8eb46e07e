"""Why a file gives no value, in words, and what to do about it. Loaded when that is so."""

from shim.breaches import Directory, Missing, Unreadable, Unusable
from shim.errors import Breach
from shim.place import why_a_folder, why_denied, why_missing
from shim.shown import shown_path

_FILE_TYPES = {0o010000: "a FIFO", 0o020000: "a character device", 0o060000: "a block device", 0o140000: "a socket"}


def too_large(path: bytes, key: str, max_bytes: int) -> Breach:
    """Return the breach of a file with more than *max_bytes*."""
    return Unusable(
        key,
        f"{key}: {shown_path(path)} is larger than {max_bytes} bytes",
        "a secret is a password, a key or a certificate; mount larger files as volumes",
    )


def not_a_file(path: bytes, key: str, kind: int) -> Breach:
    """Return the breach of what is there and is not a file, by its *kind* (S_IFMT, inode(7))."""
    if kind == 0o040000:
        return Directory(
            key,
            f"{key}: {shown_path(path)} is a directory, not a file",
            why_a_folder(),
        )
    what = _FILE_TYPES.get(kind, "not a regular file")
    return Unusable(
        key,
        f"{key}: {shown_path(path)} is {what}, and reading it could wait forever",
        "a secret must be a regular file",
    )


def unreadable(path: bytes, key: str, error: OSError, root: bytes = b"") -> Breach:
    """Return the breach of a file that could not be read, by *error*; *root* is the secrets root it lies in."""
    if root and error.errno == 18:  # EXDEV
        return _escape(path, key, root)
    if error.errno in (2, 20):  # ENOENT, ENOTDIR
        hint = why_missing()
        if path[:1] in (b"~", b"$") or b"${" in path or path.startswith(b"file:"):
            hint = f"{key}_FILE is taken as it is, without ~, $VARIABLE or file: in it: write the whole path"
        return Missing(key, f"{key}: {shown_path(path)} does not exist", hint)
    if error.errno in (6, 19):  # ENXIO, ENODEV: a socket, a device without a driver
        return not_a_file(path, key, 0o140000)
    if error.errno in (1, 13):  # EPERM, EACCES
        return Unreadable(
            key,
            f"{key}: {shown_path(path)} is there but cannot be read: permission denied",
            why_denied(path),
        )
    if error.errno == 40:  # ELOOP, and the link was to be followed
        return Unusable(key, f"{key}: {shown_path(path)} is a link that leads to itself", "replace it with the file")
    if error.errno == 36:  # ENAMETOOLONG
        return Unusable(
            key,
            f"{key}: the path to its file is too long for the kernel",
            f"{key}_FILE takes a path; is it set to the value itself?",
        )
    is_limited = error.errno in (12, 23, 24)  # ENOMEM, ENFILE, EMFILE
    return Unreadable(
        key,
        f"{key}: {shown_path(path)} cannot be read: {error.strerror}",
        "a retry may help; otherwise check " + ("the limits of memory and open files" if is_limited else "the volume"),
    )


def _escape(path: bytes, key: str, root: bytes) -> Breach:
    return Unusable(
        key,
        f"{key}: {shown_path(path)} is a link that leaves its secrets root {shown_path(root)}",
        "put the file itself below the root, or name its folder with --secrets-dir",
    )
