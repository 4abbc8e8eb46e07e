"""Values handed over as files: private copies on tmpfs, sealed memory files, rendered configuration.

Loaded only when asked for. Everything is checked before anything is written; a file appears whole or not at all.
"""

import posix

from shim import kernel
from shim.breaches import Missing, Retryable, Unreadable, Unusable
from shim.errors import Breach, Refused
from shim.secret import MAX_SECRET_BYTES, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.resolution import Resolution
    from shim.user import Target

_TMPFS, _RAMFS = 0x01021994, 0x858458F6  # statfs(2)
_PRIVATE_FOLDERS = (b"/dev/shm", b"/run", b"/tmp")  # engines mount a tmpfs on the first in every container
_F_DUPFD, _F_ADD_SEALS, _ALL_SEALS = 0, 1033, 0x1 | 0x2 | 0x4 | 0x8  # fcntl(2): seal, shrink, grow, write
_MFD_ALLOW_SEALING = 2  # memfd_create(2); without MFD_CLOEXEC, the service inherits it


class Rendered:
    """A configuration file, ready to be written."""

    __slots__ = ("content", "path")

    def __init__(self, path: bytes, content: bytes) -> None:
        self.path = path
        self.content = content


def render(options: "Options", resolution: "Resolution", breaches: list[Breach]) -> list[Rendered]:
    """Return the files of every `--render TEMPLATE:DEST`, filled in; what is wrong is added to *breaches*."""
    done = []
    for pair in options.render:
        source, colon, destination = pair.partition(":")
        if not (source and colon and destination):
            breaches.append(Breach("", "--render takes TEMPLATE:DEST", "--render /etc/redis.tmpl:/run/redis.conf"))
            continue
        path = destination.encode("utf-8", "surrogateescape")
        content = _filled(source, resolution, breaches)
        where = _wrong_place(path, options.allow_disk)
        if where is not None:
            breaches.append(where)
        if content is not None and where is None:
            done.append(Rendered(path, content))
    return done


def _filled(source: str, resolution: "Resolution", breaches: list[Breach]) -> bytes | None:
    from shim import template

    path = source.encode("utf-8", "surrogateescape")
    try:
        mode, _, text = kernel.read_file(path, MAX_SECRET_BYTES, True)
        if mode & 0o170000 != 0o100000 or len(text) > MAX_SECRET_BYTES:
            breaches.append(Unusable("", f"the template {source} is no file of at most {MAX_SECRET_BYTES} bytes"))
            return None
        parts = template.parse(text)
    except OSError as error:
        kind = Missing if error.errno in (2, 20) else Unreadable
        breaches.append(
            kind("", f"the template {source} cannot be read: {error.strerror}", "check --render's first path")
        )
        return None
    except template.Malformed as mistake:
        breaches.append(Breach("", f"the template {source}: {mistake}", "a dollar that is meant as one is written $$"))
        return None
    unknown = dict.fromkeys(part[0] for part in parts if isinstance(part, tuple) and not _is_known(part[0], resolution))
    said = {breach.key for breach in breaches}
    for key in unknown:
        if key in said:
            continue
        breaches.append(
            Missing(
                key,
                f"the template {source} refers to {key}, and nothing provides it",
                f"provide {key}, or write $${{{key}}} where these very characters are meant",
            )
        )
    if unknown:
        return None
    try:
        return template.fill(parts, resolution.value_of)
    except template.NotEncodable as error:
        breaches.append(Unusable("", f"the template {source}: {error}", "use |url or |base64, which take any byte"))
        return None


def _shown(path: bytes) -> str:
    return printable(path.decode("utf-8", "surrogateescape"))


def _is_known(key: str, resolution: "Resolution") -> bool:
    return key in resolution.secrets or key in resolution.sources.env


def _wrong_place(path: bytes, allows_disk: bool) -> Breach | None:
    folder = path.rpartition(b"/")[0] or (b"/" if path[:1] == b"/" else b".")
    try:
        kind = kernel.filesystem_type(folder)
        is_folder = _is_folder(path)
    except OSError as error:
        return Missing("", f"the folder {_shown(folder)} of a rendered file: {error.strerror}", "make it in the image")
    if is_folder:
        return Breach("", f"--render: {_shown(path)} is a directory", "name the file in it")
    if kind not in (_TMPFS, _RAMFS) and not allows_disk:
        return Breach(
            "",
            f"--render: {_shown(path)} is not on tmpfs, and its secrets would be written to a disk",
            "mount a tmpfs there (tmpfs: in the Compose file), choose a path below /dev/shm, or say --allow-disk",
        )
    return None


def _is_folder(path: bytes) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def check_private_folder(resolution: "Resolution", breaches: list[Breach]) -> None:
    """Add a breach when a value is to be delivered as a file and no tmpfs can take it."""
    keys = [key for key, resolved in resolution.secrets.items() if resolved.deliver == "file"]
    if keys and not _private_folder():
        breaches.append(
            Breach(
                keys[0],
                f"{', '.join(keys)}: @deliver=file needs a tmpfs, and none of /dev/shm, /run, /tmp is a writable one",
                "mount one (tmpfs: /run in the Compose file), or use @deliver=memfd",
            )
        )


def _private_folder() -> bytes:
    for folder in _PRIVATE_FOLDERS:
        try:
            if kernel.filesystem_type(folder) in (_TMPFS, _RAMFS) and posix.access(folder, 7, effective_ids=True):
                return folder
        except OSError:
            continue
    return b""


class Delivered:
    """What was handed over: the variables that name it, and what to remove when the service does not start."""

    __slots__ = ("descriptors", "files", "folder", "variables")

    def __init__(self) -> None:
        self.variables: dict[str, bytes] = {}
        self.files: list[bytes] = []
        self.folder = b""
        self.descriptors: list[int] = []

    def undo(self) -> None:
        """Remove every copy and close every descriptor."""
        for descriptor in self.descriptors:
            posix.close(descriptor)
        for path in self.files:
            _remove(path)
        if self.folder:
            try:
                posix.rmdir(self.folder)
            except OSError as error:
                if error.errno not in (2, 1, 13):
                    raise


def hand_over(
    resolution: "Resolution", rendered: list[Rendered], target: "Target | None", leaves_no_file: bool
) -> Delivered:
    """Write what is delivered as files; return what the service needs to find it.

    Args:
        resolution: its secrets say how each is delivered.
        rendered: configuration files.
        target: who shall own them; the shim's own user when None.
        leaves_no_file: deliver files as memory files too, for short-lived helpers such as health checks.

    Raises:
        Refused: naming the place; nothing is left behind.
    """
    delivered = Delivered()
    try:
        for key, resolved in resolution.secrets.items():
            if resolved.deliver == "memfd" or (resolved.deliver == "file" and leaves_no_file):
                descriptor = _memory_file(key, resolved.secret.reveal(), target)
                delivered.descriptors.append(descriptor)
                delivered.variables[resolution.sources.variable_of(key)] = b"/proc/self/fd/%d" % descriptor
            elif resolved.deliver == "file":
                if not delivered.folder:
                    delivered.folder = _new_folder()
                path = delivered.folder + b"/" + key.encode("utf-8", "surrogateescape")
                delivered.files.append(path)
                _write(path, resolved.secret.reveal(), target)
                delivered.variables[resolution.sources.variable_of(key)] = path
        for file in rendered:
            _replace(file, target)
            delivered.files.append(file.path)
        if target is not None and delivered.folder:
            posix.chown(delivered.folder, target.uid, target.gid)
    except OSError as error:
        delivered.undo()
        raise _cannot_write(error) from None
    return delivered


def renew(delivered: Delivered, resolution: "Resolution", rendered: list[Rendered], target: "Target | None") -> None:
    """Put new values into the files that a running service has, each in one step; a memory file is sealed and stays.

    Raises:
        Refused: naming the place; the other files hold what they held.
    """
    try:
        for key, resolved in resolution.secrets.items():
            path = delivered.folder + b"/" + key.encode("utf-8", "surrogateescape")
            if path in delivered.files:
                _replace(Rendered(path, resolved.secret.reveal()), target)
        for file in rendered:
            _replace(file, target)
    except OSError as error:
        raise _cannot_write(error) from None


def _cannot_write(error: OSError) -> Refused:
    place = _shown(error.filename) if isinstance(error.filename, bytes) else "a memory file"
    message = f"{place} cannot be written: {error.strerror}"
    hint = "look at the mount and its owner; nothing was left behind"
    is_short = error.errno in (12, 23, 24, 28, 122, 5)  # ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT, EIO
    return Refused([Retryable("", message, hint) if is_short else Breach("", message, hint)])


def _new_folder() -> bytes:
    folder = _private_folder() + b"/shim-" + posix.urandom(8).hex().encode()
    posix.mkdir(folder, 0o700)
    return folder


def _write(path: bytes, content: bytes, target: "Target | None") -> None:
    descriptor = posix.open(
        path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o400
    )
    try:
        _fill(descriptor, content, target)
    except OSError as error:
        error.filename = path
        raise
    finally:
        posix.close(descriptor)


def _fill(descriptor: int, content: bytes, target: "Target | None") -> None:
    if target is not None:
        posix.fchown(descriptor, target.uid, target.gid)
    posix.fchmod(descriptor, 0o400)  # whatever the umask was
    at = 0
    while at < len(content):
        at += posix.write(descriptor, content[at:] if at else content)


def _replace(file: Rendered, target: "Target | None") -> None:
    """Put the file in its place in one step; a reader sees the old one or the new one."""
    temporary = file.path + b".shim-" + posix.urandom(6).hex().encode()
    try:
        _write(temporary, file.content, target)
        posix.rename(temporary, file.path)
    except OSError as error:
        _remove(temporary)
        error.filename = file.path
        raise


def _remove(path: bytes) -> None:
    try:
        posix.unlink(path)
    except OSError as error:
        if error.errno not in (2, 30):  # it was not made yet; the root is read-only
            raise


def _memory_file(key: str, content: bytes, target: "Target | None") -> int:
    """Return a descriptor above 2 of sealed memory that holds *content*: on no disk, and unchangeable."""
    import fcntl

    descriptor = posix.memfd_create(key, _MFD_ALLOW_SEALING)
    try:
        if descriptor <= 2:  # the shim was started with closed stdio; the service must not find a secret there
            moved = fcntl.fcntl(descriptor, _F_DUPFD, 3)
            posix.close(descriptor)
            descriptor = moved
        _fill(descriptor, content, target)
        posix.lseek(descriptor, 0, 0)
        fcntl.fcntl(descriptor, _F_ADD_SEALS, _ALL_SEALS)
    except OSError:
        posix.close(descriptor)
        raise
    return descriptor
