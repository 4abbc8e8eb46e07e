"""Values that are in something else: a member of a file in a secrets root (`@from`), a `file:` URL (`@resolve`).

Loaded only where the schema asks for one.
"""

from shim.breaches import Unusable
from shim.members import MAX_BYTES, Document, document_of
from shim.secret import Secret

_HEX = b"0123456789abcdefABCDEF"


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def member(
    key: str, path: bytes, name: str, read: "Callable[[], Secret]", documents: "dict[bytes, Document | None]"
) -> Secret | None:
    """Return the member *name* of the file at *path*; None when it is not there, or empty.

    Args:
        key: what is to become of it.
        path: the file.
        name: what is needed of it.
        read: gives what the file holds.
        documents: those that were read already, by path; a new one is added.

    Raises:
        Unusable: the file has no members.
        Breach: it cannot be read.
    """
    if path not in documents:
        documents[path] = document_of(read().reveal())
    document = documents[path]
    if document is None:
        from shim.shown import shown_path

        raise Unusable(
            key,
            f"{key}: {shown_path(path)} is neither JSON nor lines of KEY=value, so it has no member {name}",
            f"the content counts, not the file's name; it can have {MAX_BYTES} bytes",
        )
    value = document.pick(name)
    return Secret(value) if value else None


def path_of(key: str, url: bytes) -> bytes:
    """Return the path that the `file:` URL *url* names (RFC 8089).

    Raises:
        Unusable: it names another machine, or no absolute path.
    """
    path = url[5:]
    if path.startswith(b"//"):
        host, slash, rest = path[2:].partition(b"/")
        path = slash + rest if host in (b"", b"localhost") else b""
    if path[:1] != b"/":
        raise Unusable(
            key,
            f"{key}: its file: URL does not name a path on this machine",
            "write file:///run/secrets/NAME, three slashes",
        )
    parts = path.split(b"%")
    return parts[0] + b"".join([_decoded(part) for part in parts[1:]])


def _decoded(part: bytes) -> bytes:
    if len(part) > 1 and part[0] in _HEX and part[1] in _HEX:
        return bytes([int(part[:2], 16)]) + part[2:]
    return b"%" + part
