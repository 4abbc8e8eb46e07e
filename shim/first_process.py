"""How the shim of the container's first process was started, for those who look beside it.

`docker exec` and health checks see the image's variables, not the options that are in an ENTRYPOINT. A shim that has
become its service leaves no trace of them; one that stays, or that an init has started, does.
"""

import posix

from shim import kernel

_MAX_BYTES = 131_072
# What an engine or an image puts in front: the name, up to our own.
_IN_FRONT = (b"docker-init", b"tini", b"tini-static", b"dumb-init", b"catatonit", b"podman-init", b"init", b"python")
_TALKING = (b"-v", b"--verbose")
_WITH_A_VALUE = (b"-e", b"-p", b"-r", b"--rewrite")  # options of tini and dumb-init that take the next word


def options() -> list[bytes]:
    """Return the words behind the name of PID 1's shim; none when PID 1 is none, or nobody can tell."""
    if posix.getpid() == 1:
        return []
    try:
        text = kernel.read_file(b"/proc/1/cmdline", _MAX_BYTES, True)[2]
    except OSError:
        return []
    words = text.split(b"\0")[:-1]
    for at, word in enumerate(words):
        if _is_shim(word):
            if _is_elsewhere() or _is_anothers():
                return []
            return [option for option in words[at + 1 :] if option not in _TALKING]
        is_value = at > 1 and words[at - 1] in _WITH_A_VALUE and _name(words[0]).startswith(_IN_FRONT)
        if not (is_value or _name(word).startswith(_IN_FRONT) or (at and word[:1] == b"-")):
            break
    return []


def _is_elsewhere() -> bool:
    """Return whether PID 1 is another container's: a pod may share its processes, a container may join another's.

    Who may not look at PID 1's mounts sees its control group, which is its container's.
    """
    try:
        is_here = posix.readlink(b"/proc/1/ns/mnt") == posix.readlink(b"/proc/self/ns/mnt")
    except OSError:
        is_here = False
    return not is_here and _group(b"1") != _group(b"self")


def _is_anothers() -> bool:
    """Return whether PID 1 runs as somebody who must not tell us what to do: a process can change its own words.

    A service that its shim has become could ask for a loader's variable from a folder of its own that way, and the next
    health check of root would hand it over.
    """
    for line in _read(b"/proc/1/status").split(b"\n"):
        if line.startswith(b"Uid:"):
            users = [int(user) for user in line[4:].split()]
            others = [user for user in users if user not in (0, posix.geteuid())]
            if others:
                _say_whose(others[0])
            return bool(others)
    return True  # nobody can tell


def _say_whose(user: int) -> None:
    from shim import stderr

    stderr.warning(
        f"the options of PID 1's shim are left alone: it runs as user {user}, who could change them",
        f"run this as that user, too (docker exec --user {user}), or repeat the options here",
    )


def _group(process: bytes) -> bytes:
    return _read(b"/proc/" + process + b"/cgroup")


def _read(path: bytes) -> bytes:
    try:
        return kernel.read_file(path, _MAX_BYTES, True)[2]
    except OSError:
        return b""


def _is_shim(word: bytes) -> bool:
    return _name(word) in (b"shim", _name(kernel.argv[0]))


def _name(word: bytes) -> bytes:
    return word.rpartition(b"/")[2]
