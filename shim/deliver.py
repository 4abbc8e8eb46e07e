"""Values handed over as files: private copies on tmpfs, sealed memory files, rendered configuration.

Loaded only when asked for. Everything is checked before anything is written; a file appears whole or not at all, and is
made by the user who owns it: giving it away would need a capability that hardened containers do not have.
"""

import posix

from shim import private_folder
from shim.breaches import Retryable
from shim.errors import Breach, Refused
from shim.folder import open_place
from shim.shown import shown_name
from shim.user import act_again, act_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shim.options import Options
    from shim.private_folder import PrivateFolder
    from shim.render import Rendered
    from shim.resolution import Resolution
    from shim.schema import KeySpec
    from shim.user import Target

_F_DUPFD, _F_ADD_SEALS, _ALL_SEALS = 0, 1033, 0x1 | 0x2 | 0x4 | 0x8  # fcntl(2): seal, shrink, grow, write
_MFD_ALLOW_SEALING = 2  # memfd_create(2); without MFD_CLOEXEC, the service inherits it
_EPERM, _ENOENT, _EACCES, _EROFS, _ENOSYS, _ELOOP = 1, 2, 13, 30, 38, 40
_NO_LINK = posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC


class Copy:
    """A file that is written, renewed and removed in one folder, which stays open: its path may lead elsewhere soon."""

    __slots__ = ("folder", "is_private", "mode", "owner", "path")

    def __init__(self, path: bytes, folder: int, owner: "Target | None", mode: int, is_private: bool) -> None:
        self.path = path
        self.folder = folder
        self.owner = owner  # None: whoever writes it
        self.mode = mode
        self.is_private = is_private  # in a folder of the owner's, where nobody else ever writes

    @property
    def name(self) -> bytes:
        """Return its name in the folder."""
        return self.path.rpartition(b"/")[2]


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
        try:
            folder = private_folder.make(owner, 0o700, _service(options, resolution, owner, keys))
        except OSError as error:
            breaches += _cannot_write(error).breaches
            continue
        if folder is not None:
            folder.remove()
        else:
            names = ", ".join(keys)
            whom = "" if owner is None else f" for user {owner.name or owner.uid}"
            message = f"{names}: @deliver=file needs a tmpfs, and none of /dev/shm, /run, /tmp is a writable one{whom}"
            hint = "mount one (--tmpfs /run, tmpfs: in Compose, a Memory emptyDir in Kubernetes), or use @deliver=memfd"
            breaches.append(Breach(keys[0], message, hint))


def _by_owner(owned: "Mapping[str, Target | None]") -> "list[tuple[Target | None, list[str]]]":
    groups: dict[tuple[int, int], tuple[Target | None, list[str]]] = {}
    for key, owner in owned.items():
        ids = (-1, -1) if owner is None else (owner.uid, owner.gid)
        groups.setdefault(ids, (owner, []))[1].append(key)
    return list(groups.values())


def _service(options: "Options", resolution: "Resolution", owner: "Target | None", keys: list[str]) -> bytes:
    """Return what is the same at every start of this service in this container; no value is part of it."""
    words = [*options.argv, b"%d" % (-1 if owner is None else owner.uid)]
    words += [key.encode("utf-8", "surrogateescape") for key in keys]
    return private_folder.identity([*words, *resolution.sources.looked_at])


class Delivered:
    """What was handed over: the variables that name it, and what to remove when the service does not start."""

    __slots__ = ("copies", "descriptors", "folders", "rendered", "variables")

    def __init__(self) -> None:
        self.variables: dict[str, bytes] = {}
        self.copies: dict[str, Copy] = {}  # key -> its private copy
        self.folders: list[PrivateFolder] = []  # those of the copies
        self.rendered: dict[bytes, Copy] = {}  # by path
        self.descriptors: list[int] = []

    def held(self) -> list[int]:
        """Return the descriptors that are needed as long as anything is to be renewed or removed."""
        return [folder.descriptor for folder in self.folders] + [copy.folder for copy in self.rendered.values()]

    def undo(self) -> None:
        """Remove every copy and close every descriptor. What cannot be removed is said, and changes nothing."""
        for descriptor in self.descriptors:
            _try(b"a memory file", posix.close, descriptor)
        for copy in self.rendered.values():
            _try(copy.path, _remove, copy)
            _try(copy.path, posix.close, copy.folder)
        for folder in self.folders:
            _try(folder.path, folder.remove)


def _try(path: bytes, act: "Callable[..., object]", *arguments: object) -> None:
    try:
        act(*arguments)
    except OSError as error:
        from shim import stderr

        stderr.warning(
            f"{shown_name(path)} cannot be removed: {error.strerror}",
            "a copy of a secret may stay there until the container is removed",
        )


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
                before = act_as(target)
                try:
                    descriptor = _memory_file(key, resolved.content())
                finally:
                    act_again(before)
                delivered.descriptors.append(descriptor)
                delivered.variables[_variable(key, resolution)] = b"/proc/self/fd/%d" % descriptor
        if options.action != "exec":
            for owner, keys in _by_owner(owned):
                _fill_folder(delivered, owner, keys, options, resolution)
        for file in rendered:
            copy = Copy(file.path, open_place(file.path), file.owner, 0o400, False)
            delivered.rendered[file.path] = copy
            _put(copy, file.content)
    except OSError as error:
        delivered.undo()
        raise _cannot_write(error) from None
    except (Breach, Refused) as refusal:
        delivered.undo()
        raise refusal if isinstance(refusal, Refused) else Refused([refusal]) from None
    return delivered


def _fill_folder(
    delivered: Delivered, owner: "Target | None", keys: list[str], options: "Options", resolution: "Resolution"
) -> None:
    modes = {key: _spec(key, resolution).deliver_mode for key in keys}
    opened = 0
    for mode in modes.values():
        opened |= (0o050 if mode & 0o070 else 0) | (0o005 if mode & 0o007 else 0)
    folder = private_folder.make(owner, 0o700 | opened, _service(options, resolution, owner, keys))
    if folder is None:
        raise OSError(_EROFS, "no tmpfs takes it", b"a private copy")
    delivered.folders.append(folder)
    for key in keys:
        path = folder.path + b"/" + key.encode("utf-8", "surrogateescape")
        copy = Copy(path, folder.descriptor, owner, modes[key], True)
        _put(copy, resolution.secrets[key].content())
        delivered.copies[key] = copy
        delivered.variables[_variable(key, resolution)] = path


def renew(delivered: Delivered, resolution: "Resolution", rendered: "Sequence[Rendered]") -> None:
    """Put new values into the files that a running service has, each in one step; a memory file is sealed and stays.

    Raises:
        Refused: naming the place; the other files hold what they held.
    """
    try:
        for key, resolved in resolution.secrets.items():
            if key in delivered.copies:
                _put(delivered.copies[key], resolved.content())
        for file in rendered:
            _put(delivered.rendered[file.path], file.content)
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
    hint = "check the mount and its owner; nothing was left behind"
    if place == "a memory file" and error.errno in (_EPERM, _ENOSYS):
        hint = "this kernel, or the container's seccomp profile, has no memfd_create(2): use @deliver=file"
    elif error.errno in (28, 122):  # ENOSPC, EDQUOT
        hint = "it is full: a tmpfs can be larger (shm_size: in Compose, --shm-size, --tmpfs DIR:size=16m)"
    elif error.errno == 27:  # EFBIG
        hint = "files may not be as large in this container: raise the limit (--ulimit fsize, LimitFSIZE=)"
    is_short = error.errno in (12, 23, 24, 28, 122, 5)  # ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT, EIO
    return Refused([Retryable("", message, hint) if is_short else Breach("", message, hint)])


def _put(copy: Copy, content: bytes) -> None:
    """Put the file in its place in one step; a reader sees the old one or the new one.

    Its owner does that; where they may not write in its folder, we do, and give it away.

    Raises:
        Refused: we cannot give it away either.
        OSError: naming the path.
    """
    before = act_as(copy.owner)
    try:
        _replace(copy, content, False)
        return
    except OSError as error:
        if before is None or copy.is_private or error.errno not in (_EPERM, _EACCES):
            raise
    finally:
        act_again(before)
    _replace(copy, content, True)


def _replace(copy: Copy, content: bytes, gives_away: bool) -> None:
    temporary = copy.name + b".shim-" + posix.urandom(6).hex().encode()
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        descriptor = posix.open(temporary, flags, 0o400, dir_fd=copy.folder)
        try:
            if gives_away and copy.owner is not None:
                _give(descriptor, copy.owner, copy.path)
            _fill(descriptor, content, copy.mode)
        finally:
            posix.close(descriptor)
        posix.rename(temporary, copy.name, src_dir_fd=copy.folder, dst_dir_fd=copy.folder)
    except (OSError, Refused) as error:
        _unlink(copy.folder, temporary)
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
        message = f"{place}: user {who} cannot write to its folder, and without CHOWN root cannot give the file away"
        hint = f"choose a folder that {who} can write to, such as /dev/shm, or add the capability: cap_add: [CHOWN]"
        raise Refused([Breach("", message, hint)]) from None


def _fill(descriptor: int, content: bytes, mode: int) -> None:
    posix.fchmod(descriptor, mode)  # whatever the umask was
    at = 0
    while at < len(content):
        at += posix.write(descriptor, content[at:] if at else content)


def _remove(copy: Copy) -> None:
    """Remove the file, as its owner or as ourselves; once we are the owner, and may not, empty it."""
    try:
        before = act_as(copy.owner)
    except Refused:
        before = None  # we are somebody else by now, who cannot be the owner again
    try:
        if _unlink(copy.folder, copy.name):
            return
    finally:
        act_again(before)
    if _unlink(copy.folder, copy.name):
        return
    _truncate(copy)


def _truncate(copy: Copy) -> None:
    try:
        descriptor = posix.open(copy.name, posix.O_RDONLY | _NO_LINK, dir_fd=copy.folder)
        try:
            status = posix.fstat(descriptor)
            if status.st_uid != posix.geteuid() or status.st_nlink != 1 or status.st_mode & 0o170000 != 0o100000:
                return  # it is not what we made
            posix.fchmod(descriptor, 0o600)
            again = posix.open(copy.name, posix.O_WRONLY | _NO_LINK, dir_fd=copy.folder)
            try:
                if posix.fstat(again).st_ino == status.st_ino:
                    posix.ftruncate(again, 0)
            finally:
                posix.close(again)
        finally:
            posix.close(descriptor)
    except OSError as error:
        if error.errno not in (_EPERM, _ENOENT, _EACCES, _EROFS, _ELOOP):
            raise


def _unlink(folder: int, name: bytes) -> bool:
    """Return whether there is no file *name* in an open folder any more."""
    try:
        posix.unlink(name, dir_fd=folder)
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
