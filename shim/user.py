"""Become another user. `/etc/passwd` and `/etc/group` are read as they are: NSS would load foreign libraries."""

from shim import kernel
from shim.errors import Breach, Refused

_MAX_FILE_BYTES = 4_194_304
_MAX_ID = 4_294_967_294  # (uid_t) -1 means "leave it" to setresuid(2)


class Target:
    """Whom the service runs as."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: bytes, name: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.name = name


def find_user(text: str, etc: bytes = b"/etc") -> Target:
    """Return the `Target` that *text* (`NAME[:GROUP]` or `UID[:GID]`) stands for.

    As the engine does for `USER`: a name's supplementary groups count unless a group is given; a number needs no entry,
    its group is then 0 and its home `/`.

    Raises:
        Refused: no such user or group, or a file that cannot be read.
    """
    wanted, _, group = text.partition(":")
    wrong: list[Breach] = []
    entry = _entry(_table(etc + b"/passwd"), wanted, 7)
    if entry is not None:
        uid, gid, home, name = int(entry[2]), int(entry[3]), entry[5] or b"/", _text(entry[0])
    elif _is_id(wanted):
        uid, gid, home, name = int(wanted), 0, b"/", ""
    else:
        uid, gid, home, name = 0, 0, b"/", ""
        wrong.append(
            Breach(
                "",
                f"--user {text}: there is no user {wanted!r} in /etc/passwd",
                "add the user to the image, or use UID:GID",
            )
        )
    groups = _table(etc + b"/group")
    supplementary: list[int] = []
    if group:
        line = _entry(groups, group, 4)
        if line is not None:
            gid = int(line[2])
        elif _is_id(group):
            gid = int(group)
        else:
            wrong.append(
                Breach("", f"--user {text}: there is no group {group!r} in /etc/group", "add it, or use a GID")
            )
    elif name:
        member = name.encode("utf-8", "surrogateescape")
        supplementary = [
            int(line[2])
            for line in groups
            if len(line) > 3 and _is_id(_text(line[2])) and member in line[3].split(b",")
        ]
    if wrong:
        raise Refused(wrong)
    return Target(uid, gid, sorted({gid, *supplementary}), home, name)


def become(target: Target) -> None:
    """Take on groups, gid and uid of *target*, for good. A no-op where all of them are right already.

    Raises:
        Refused: the kernel says no; the hint says what it wants.
    """
    import posix

    try:
        is_target = posix.getresuid() == (target.uid,) * 3 and posix.getresgid() == (target.gid,) * 3
        if is_target and (target.uid != 0 or sorted(posix.getgroups()) == target.groups):
            return
        _hand_over_stdio(target)
        posix.setgroups(target.groups)
        posix.setresgid(target.gid, target.gid, target.gid)
        posix.setresuid(target.uid, target.uid, target.uid)
    except OSError as error:
        message = f"cannot become user {target.name or target.uid}: {error.strerror}"
        hint = (
            "only root can, with the capabilities SETUID and SETGID: start the container as root, without --user there "
            "and with cap_add: [SETUID, SETGID] when all capabilities are dropped"
        )
        from shim.breaches import Retryable

        breach = Breach("", message, hint) if error.errno == 1 else Retryable("", message, hint)
        raise Refused([breach]) from None


def _hand_over_stdio(target: Target) -> None:
    """Let the service open /dev/stdout and /dev/stderr, which lead to pipes that the engine gave to root.

    runc does the same for the user that a container starts as. A terminal changes hands only in a container, where
    nobody else sits at it.
    """
    import posix

    for descriptor in (0, 1, 2):
        try:
            status = posix.fstat(descriptor)
            kind = status.st_mode & 0o170000
            is_ours = kind == 0o010000 or (kind == 0o020000 and posix.isatty(descriptor) and 1 in _pids())
            if is_ours and status.st_uid != target.uid:
                posix.fchown(descriptor, target.uid, status.st_gid)
        except OSError as error:
            if error.errno not in (1, 9, 30):  # without CAP_CHOWN; closed; read-only: the service can still write to it
                raise


def _pids() -> tuple[int, int]:
    import posix

    return posix.getpid(), posix.getppid()


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _MAX_ID


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _table(path: bytes) -> list[list[bytes]]:
    try:
        mode, _, data = kernel.read_file(path, _MAX_FILE_BYTES, True)
    except OSError as error:
        if error.errno in (2, 20):
            return []  # scratch images have none
        raise Refused(
            [Breach("", f"{_text(path)} cannot be read: {error.strerror}", "make it world-readable")]
        ) from None
    if mode & 0o170000 == 0o040000:
        hint = "a bind mount of a file that is not there makes one: mend the mount"
        raise Refused([Breach("", f"{_text(path)} is a folder", hint)])
    return [line.split(b":") for line in data.split(b"\n") if line and line[:1] not in (b"#", b"+", b"-")]


def _entry(table: list[list[bytes]], wanted: str, fields: int) -> list[bytes] | None:
    """Return the line of *wanted*, by name first, then by number, as the engine does."""
    name = wanted.encode("utf-8", "surrogateescape")
    ids_end = 4 if fields == 7 else 3
    for column in (0, 2):
        for line in table:
            if len(line) >= fields - 1 and line[column] == name and all(_is_id(_text(id_)) for id_ in line[2:ids_end]):
                return line
    return None
