"""Where a path leads when every link on its way is followed. Loaded when two paths may be one place by two names."""

_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)


def by_another_name(path: bytes, roots: list[bytes]) -> tuple[bytes, bytes]:
    """Return *path* as it lies below one of *roots*, and that root, where links alone make the two look different.

    `/var/run` is `/run` in most images. Both are b"" when the path leads elsewhere.
    """
    target = real(path)
    for root in roots:
        place = real(root)
        if target.startswith(place + b"/"):
            return root + target[len(place) :], root
    return b"", b""


def real(path: bytes) -> bytes:
    """Return *path* with every link on the way followed, as far as it can be seen."""
    from posix import getcwdb, readlink

    if path[:1] != b"/":
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
        try:
            target = readlink(b"/".join([b"", *done, name]))
        except (OSError, ValueError):  # it is not a link, or not there; a NUL byte
            done.append(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            return path
        if target[:1] == b"/":
            done = []
        todo[:0] = target.split(b"/")
    return b"/" + b"/".join(done)
