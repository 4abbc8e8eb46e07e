"""Where a path leads when every link on its way is followed. Loaded when two paths may be one place by two names."""

from shim import files

_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)


def by_another_name(path: bytes, roots: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return *path* as it lies below one of *roots*, and that root, where links alone make the two look different.

    `/var/run` is `/run` in most images. Both are b"" when the path leads elsewhere.

    Args:
        path: a path.
        roots: each root, and where it really is (`real`).
    """
    target = real(path)
    for root, place in roots.items():
        if target.startswith(place + b"/"):
            return root + target[len(place) :], root
    return b"", b""


def real(path: bytes) -> bytes:
    """Return *path* with every link on the way followed, as far as it can be seen."""
    if path[:1] != b"/":
        from posix import getcwdb

        try:
            path = getcwdb() + b"/" + path
        except OSError:
            return path
    todo = path.split(b"/")
    done: list[bytes] = []
    links = 0
    while todo:
        name = todo.pop(0)
        if name in (b"", b"."):
            continue
        if name == b"..":
            del done[-1:]
            continue
        target = files.link_target(b"/".join([b"", *done, name]))
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            return path
        if target[:1] == b"/":
            done = []
        todo[:0] = target.split(b"/")
    return b"/" + b"/".join(done)
