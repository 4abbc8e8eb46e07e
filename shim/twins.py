"""Two files for one key: in one folder, which is refused, and in two. Loaded when there are such."""

from shim.errors import Breach
from shim.folder import Folder
from shim.resolution import ROOT
from shim.secret import read_secret
from shim.shown import shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.resolution import Resolution, Sources


def take_second(key: str, path: bytes, root: bytes, found: dict[str, bytes], sources: "Sources") -> None:
    """Decide about the file at *path* of *root*, where *key* has one already; a folder gives way to any file.

    Args:
        key: whose value it may be.
        path: where it is.
        root: the secrets root that it is in.
        found: the files of this root, by key.
        sources: what gets it, or why it is left alone.
    """
    if key in found and not _is_folder(sources, found[key], root):
        if key in sources.pointers:  # which of them counts has been decided
            sources.roots.pop(key, None)
            reason = f"{sources.pointer_of(key)} names a file"
            sources.left_alone.append((path.decode("utf-8", "surrogateescape"), reason))
        elif not _is_folder(sources, path, root):
            first, other = shown_path(found[key]), shown_path(path)
            sources.breaches.append(Breach(key, f"{first} and {other} both map to {key}", "keep one of the two"))
        return
    found[key] = path
    if key not in sources.roots or _is_folder(sources, *sources.roots[key]):
        sources.roots[key] = path, root
    elif sources.follows_roots:
        sources.shadowed.append((key, path, root))


def shadowed(resolution: "Resolution", max_bytes: int) -> None:
    """Warn of each key that two of the folders which somebody named give, with two values."""
    sources = resolution.sources
    for key, path, root in sources.shadowed:
        winner = resolution.secrets.get(key)
        if winner is None or winner.origin != ROOT:
            continue
        try:
            other = read_secret(path, key, root, max_bytes)
        except Breach:
            continue
        if other and other != winner.secret:
            sources.warnings.append(
                (
                    f"{shown_path(winner.path)} and {shown_path(path)} give {key} two values; the first is taken",
                    f"keep one, or name the other's file with another key: OTHER_{key}_FILE={shown_path(path)}",
                )
            )


def _is_folder(sources: "Sources", path: bytes, root: bytes) -> bool:
    try:
        folder = Folder(root, sources.follows_roots, sources.folders[root])
        return folder.read(path[len(root) + 1 :], 0)[0] & 0o170000 == 0o040000
    except OSError:
        return False  # what it is gets said when it is read
