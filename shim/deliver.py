"""Values handed over as files: private copies on tmpfs, sealed memory files, rendered configuration.

Loaded only when asked for. Everything is checked before anything is written; a file appears whole or not at all, and is
made by the user whose it is: giving it away would need a capability that hardened containers do not have.
"""

import posix

from shim import private_folder
from shim.breaches import Retryable
from shim.errors import Breach, Refused
from shim.secret import shown_name
from shim.user import act_again, act_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    from shim.options import Options
    from shim.render import Rendered
    from shim.resolution import Resolution
    from shim.schema import KeySpec
    from shim.user import Target

    Result = TypeVar("Result")

_F_DUPFD, _F_ADD_SEALS, _ALL_SEALS = 0, 1033, 0x1 | 0x2 | 0x4 | 0x8  # fcntl(2): seal, shrink, grow, write
_MFD_ALLOW_SEALING = 2  # memfd_create(2); without MFD_CLOEXEC, the service inherits it
_EPERM, _ENOENT, _EACCES, _EROFS, _ENOTEMPTY = 1, 2, 13, 30, 39


class Copy:
    """A file to be written: where, what, for whom."""

    __slots__ = ("content", "mode", "owner", "path")

    def __init__(self, path: bytes, content: bytes, owner: "Target | None", mode: int = 0o400) -> None:
        self.path = path
        self.content = content
        self.owner = owner  # None: whoever writes it
        self.mode = mode


def owners(resolution: "Resolution", target: "Target | None", breaches: list[Breach]) -> "dict[str, Target | None]":
    """Return whose the private copy of each key is to be; what is wrong is added to *breaches*."""
    found: dict[str, Target | None] = {}
    for key, resolved in resolution.secrets.items():
        if resolved.deliver != "file":
            continue
        found[key] = target
        wanted = _spec(key, resolution).deliver_owner
        if wanted:
            from shim.user import reachable_user

            try:
                found[key] = reachable_user(wanted, f"{key}: @deliver=file(owner={wanted})")
            except Refused as refusal:
                breaches += [Breach(key, breach.message, breach.hint) for breach in refusal.breaches]
    return found


def check_private_folders(
    owned: "Mapping[str, Target | None]", options: "Options", resolution: "Resolution", breaches: list[Breach]
) -> None:
    """Add a breach when a value is to be delivered as a file and no tmpfs can take it; that is tried."""
    for owner, keys in _by_owner(owned):
        folder = private_folder.make(owner, 0o700, _service(options, resolution, owner))
        if folder:
            _as(owner, posix.rmdir, folder)
        else:
            names = ", ".join(keys)
            message = f"{names}: @deliver=file needs a tmpfs, and none of /dev/shm, /run, /tmp is a writable one"
            hint = "mount one (tmpfs: /run in the Compose file), or use @deliver=memfd"
            breaches.append(Breach(keys[0], message, hint))


def _by_owner(owned: "Mapping[str, Target | None]") -> "list[tuple[Target | None, list[str]]]":
    groups: dict[tuple[int, int], tuple[Target | None, list[str]]] = {}
    for key, owner in owned.items():
        ids = (-1, -1) if owner is None else (owner.uid, owner.gid)
        groups.setdefault(ids, (owner, []))[1].append(key)
    return list(groups.values())


def _service(options: "Options", resolution: "Resolution", owner: "Target | None") -> bytes:
    """Return what is the same at every start of this service in this container; no value is part of it."""
    words = [*options.argv, b"%d" % (-1 if owner is None else owner.uid)]
    words += [key.encode("utf-8", "surrogateescape") for key in resolution.secrets]
    return private_folder.identity([*words, *resolution.sources.looked_at])


class Delivered:
    """What was handed over: the variables that name it, and what to remove when the service does not start."""

    __slots__ = ("descriptors", "folders", "modes", "owners", "paths", "rendered", "variables")

    def __init__(self) -> None:
        self.variables: dict[str, bytes] = {}
        self.paths: dict[str, bytes] = {}  # key -> its private copy
        self.owners: dict[str, Target | None] = {}
        self.modes: dict[str, int] = {}
        self.folders: list[tuple[bytes, Target | None]] = []
        self.rendered: list[tuple[bytes, Target | None]] = []
        self.descriptors: list[int] = []

    def names_relative_paths(self) -> bool:
        """Return whether something is to be removed that only the working directory leads to."""
        return any(path[:1] != b"/" for path, _ in self.rendered)

    def undo(self) -> None:
        """Remove every copy and close every descriptor."""
        for descriptor in self.descriptors:
            posix.close(descriptor)
        for path, owner in self.rendered:
            _remove(path, owner)
        for folder, owner in self.folders:
            _try_as(owner, private_folder.empty, folder)


def hand_over(
    options: "Options",
    resolution: "Resolution",
    rendered: "Sequence[Rendered]",
    owned: "Mapping[str, Target | None]",
    target: "Target | None",
) -> Delivered:
    """Write what is delivered as files; return what the service needs to find it.

    Args:
        options: `shim exec` delivers files as memory files, too: a health check would leave one behind each time.
        resolution: its secrets say how each is delivered.
        rendered: configuration files.
        owned: whose each private copy is, from `owners`.
        target: whom the service becomes, and whose the memory files are.

    Raises:
        Refused: naming the place; nothing is left behind.
    """
    delivered = Delivered()
    try:
        for key, resolved in resolution.secrets.items():
            if resolved.deliver == "memfd" or (resolved.deliver == "file" and options.action == "exec"):
                descriptor = _as(target, _memory_file, key, resolved.secret.reveal())
                delivered.descriptors.append(descriptor)
                delivered.variables[_variable(key, resolution)] = b"/proc/self/fd/%d" % descriptor
        if options.action != "exec":
            for owner, keys in _by_owner(owned):
                _fill_folder(delivered, owner, keys, options, resolution)
        for file in rendered:
            delivered.rendered.append((file.path, file.owner))
            _put(Copy(file.path, file.content, file.owner))
    except OSError as error:
        delivered.undo()
        raise _cannot_write(error) from None
    except Refused:
        delivered.undo()
        raise
    return delivered


def _fill_folder(
    delivered: Delivered, owner: "Target | None", keys: list[str], options: "Options", resolution: "Resolution"
) -> None:
    modes = {key: _spec(key, resolution).deliver_mode for key in keys}
    opened = 0
    for mode in modes.values():
        opened |= (0o050 if mode & 0o070 else 0) | (0o005 if mode & 0o007 else 0)
    folder = private_folder.make(owner, 0o700 | opened, _service(options, resolution, owner))
    if not folder:
        raise OSError(_EROFS, "no tmpfs takes it", b"a private copy")
    delivered.folders.append((folder, owner))
    for key in keys:
        path = folder + b"/" + key.encode("utf-8", "surrogateescape")
        _put(Copy(path, resolution.secrets[key].secret.reveal(), owner, modes[key]))
        delivered.paths[key] = path
        delivered.owners[key] = owner
        delivered.modes[key] = modes[key]
        delivered.variables[_variable(key, resolution)] = path


def renew(delivered: Delivered, resolution: "Resolution", rendered: "Sequence[Rendered]") -> None:
    """Put new values into the files that a running service has, each in one step; a memory file is sealed and stays.

    Raises:
        Refused: naming the place; the other files hold what they held.
    """
    try:
        for key, resolved in resolution.secrets.items():
            if key in delivered.paths:
                value = resolved.secret.reveal()
                _put(Copy(delivered.paths[key], value, delivered.owners[key], delivered.modes[key]))
        for file in rendered:
            _put(Copy(file.path, file.content, file.owner))
    except OSError as error:
        raise _cannot_write(error) from None


def _spec(key: str, resolution: "Resolution") -> "KeySpec":
    if resolution.schema is None:
        raise ValueError("only a schema delivers as a file")
    return resolution.schema.keys[key]


def _variable(key: str, resolution: "Resolution") -> str:
    return _spec(key, resolution).deliver_as or resolution.sources.variable_of(key)


def _cannot_write(error: OSError) -> Refused:
    place = shown_name(error.filename) if isinstance(error.filename, bytes) else "a memory file"
    message = f"{place} cannot be written: {error.strerror}"
    hint = "look at the mount and its owner; nothing was left behind"
    is_short = error.errno in (12, 23, 24, 28, 122, 5)  # ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT, EIO
    return Refused([Retryable("", message, hint) if is_short else Breach("", message, hint)])


def _as(owner: "Target | None", act: "Callable[..., Result]", *arguments: object) -> "Result":
    """Return what *act* returns, done with the rights of *owner*."""
    before = act_as(owner)
    try:
        return act(*arguments)
    finally:
        act_again(before)


def _try_as(owner: "Target | None", act: "Callable[..., Result]", *arguments: object) -> "Result | None":
    """Return the same; None when we are somebody else by now, who cannot be *owner* again."""
    try:
        return _as(owner, act, *arguments)
    except Refused:
        return None


def _put(copy: Copy) -> None:
    """Put the file in its place in one step; a reader sees the old one or the new one.

    Its owner does that; where they may not write in its folder, we do, and give it away.

    Raises:
        Refused: we cannot give it away either.
        OSError: naming the path.
    """
    before = act_as(copy.owner)
    try:
        _replace(copy, False)
        return
    except OSError as error:
        if before is None or error.errno not in (_EPERM, _EACCES):
            raise
    finally:
        act_again(before)
    _replace(copy, True)


def _replace(copy: Copy, gives_away: bool) -> None:
    temporary = copy.path + b".shim-" + posix.urandom(6).hex().encode()
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        descriptor = posix.open(temporary, flags, 0o400)
        try:
            if gives_away and copy.owner is not None:
                _give(descriptor, copy.owner, copy.path)
            _fill(descriptor, copy.content, copy.mode)
        finally:
            posix.close(descriptor)
        posix.rename(temporary, copy.path)
    except (OSError, Refused) as error:
        _unlink(temporary)
        if isinstance(error, OSError):
            error.filename = copy.path
        raise


def _give(descriptor: int, owner: "Target", path: bytes) -> None:
    try:
        posix.fchown(descriptor, owner.uid, owner.gid)
    except OSError as error:
        if error.errno != _EPERM:
            raise
        who = owner.name or str(owner.uid)
        place = shown_name(path)
        message = f"{place}: user {who} may not write in its folder, and root can give away no file without CHOWN"
        hint = f"choose a folder that {who} can write to, such as /dev/shm, or add the capability: cap_add: [CHOWN]"
        raise Refused([Breach("", message, hint)]) from None


def _fill(descriptor: int, content: bytes, mode: int) -> None:
    posix.fchmod(descriptor, mode)  # whatever the umask was
    at = 0
    while at < len(content):
        at += posix.write(descriptor, content[at:] if at else content)


def _remove(path: bytes, owner: "Target | None") -> None:
    """Remove the file at *path*, as its owner or as ourselves; once we are the owner, and may not, empty it."""
    if _try_as(owner, _unlink, path) or _unlink(path):
        return
    try:
        posix.chmod(path, 0o600)
        posix.close(posix.open(path, posix.O_WRONLY | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (_EPERM, _ENOENT, _EACCES, _EROFS):
            raise


def _unlink(path: bytes) -> bool:
    """Return whether there is no file at *path* any more."""
    try:
        posix.unlink(path)
    except OSError as error:
        if error.errno == _ENOENT:
            return True
        if error.errno not in (_EPERM, _EACCES, _EROFS):
            raise
        return False
    return True


def _memory_file(key: str, content: bytes) -> int:
    """Return a descriptor above 2 of sealed memory that holds *content*: on no disk, and unchangeable."""
    import fcntl

    descriptor = posix.memfd_create(key, _MFD_ALLOW_SEALING)
    try:
        if descriptor <= 2:  # the shim was started with closed stdio; the service must not find a secret there
            moved = fcntl.fcntl(descriptor, _F_DUPFD, 3)
            posix.close(descriptor)
            descriptor = moved
        _fill(descriptor, content, 0o400)
        posix.lseek(descriptor, 0, 0)
        fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)
    except OSError:
        posix.close(descriptor)
        raise
    return descriptor
