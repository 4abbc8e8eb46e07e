"""Become another user. `/etc/passwd` and `/etc/group` are read as they are: NSS would load foreign libraries."""

from shim import kernel
from shim.errors import Breach, Refused

_MAX_FILE_BYTES = 4_194_304
_MAX_ID = 4_294_967_294  # (uid_t) -1 means "leave it" to setresuid(2)


class Target:
    """Whom the service runs as."""

    __slots__ = ("gid", "groups", "home", "kept_groups", "name", "own_homes", "own_names", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: bytes, name: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.name = name
        self.kept_groups: list[int] = []  # those of ours that the engine added
        self.own_homes: tuple[bytes, ...] = ()  # what HOME is when it is only that of who we are now
        self.own_names: tuple[str, ...] = ()  # the same for USER and LOGNAME


def find_user(text: str, etc: bytes = b"/etc", asked: str = "") -> Target:
    """Return the `Target` that *text* (`NAME[:GROUP]` or `UID[:GID]`) names.

    As the engine does for `USER`: a name's supplementary groups count unless a group is given; a number needs no entry,
    its group is then 0 and its home `/`. What differs is taken from who we are now: the groups that the engine added
    to ours (`--group-add`) are kept, those that /etc/group gives us are not.

    Args:
        text: whom.
        etc: the folder of passwd and group.
        asked: what asks for them, as messages name it; `--user` when empty.

    Raises:
        Refused: no such user or group, or a file that cannot be read.
    """
    asked = asked or f"--user {text}"
    wanted, _, group = text.partition(":")
    wrong: list[Breach] = []
    users = _table(etc + b"/passwd")
    entry = _entry(users, wanted, 7)
    if entry is not None:
        uid, gid, home, name = int(entry[2]), int(entry[3]), entry[5] or b"/", _text(entry[0])
    elif _is_id(wanted):
        uid, gid, home, name = int(wanted), 0, b"/", ""
    else:
        uid, gid, home, name = 0, 0, b"/", ""
        wrong.append(
            Breach(
                "",
                f"{asked}: there is no user '{wanted}' in /etc/passwd",
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
            wrong.append(Breach("", f"{asked}: there is no group '{group}' in /etc/group", "add it, or use a GID"))
    elif name:
        supplementary = _groups_of(name, groups)
    if wrong:
        raise Refused(wrong)
    target = Target(uid, gid, sorted({gid, *supplementary}), home, name)
    _compare(target, users, groups)
    return target


def _compare(target: Target, users: list[list[bytes]], groups: list[list[bytes]]) -> None:
    """Add to *target* what is known of who we are now."""
    import posix

    uid = posix.getuid()
    own = _entry(users, str(uid), 7)
    own_name = "" if own is None else _text(own[0])
    target.own_homes = (b"", b"/" if own is None else own[5] or b"/", *((b"/root",) if uid == 0 else ()))
    target.own_names = ("", own_name, *(("root",) if uid == 0 else ()))
    ours = {posix.getgid(), *([] if own is None else [int(own[3])]), *_groups_of(own_name, groups)}
    target.kept_groups = sorted(set(posix.getgroups()) - ours)


def _groups_of(name: str, groups: list[list[bytes]]) -> list[int]:
    member = name.encode("utf-8", "surrogateescape")
    return [
        int(line[2])
        for line in groups
        if member and len(line) > 3 and line[3] and member in line[3].split(b",") and _is_id(_text(line[2]))
    ]


def reachable_user(text: str, asked: str = "", is_said: bool = True) -> Target | None:
    """Return whom *text* names, as `find_user` does; None, with a warning, when the engine started us as someone else.

    OpenShift gives every project a uid of its own, and `docker run --user` overrules an image: neither may change
    user, and what the image wanted with it, a service that is not root, is so already. Root is never left as root.

    Raises:
        Refused: no such user or group, or a file that cannot be read.
    """
    import posix

    uid, gid = posix.getuid(), posix.getgid()
    if uid:
        from shim import cannot_become, stderr

        if cannot_become.missing_capabilities() and not _is(uid, gid, text):
            if is_said:
                asked = asked or f"--user {text}"
                stderr.warning(
                    f"{asked}: started as uid {uid}, gid {gid}, which cannot change user; continuing as that user",
                    "empty SHIM_USER= where the engine chooses the user, or start the container as root",
                )
            return None
    return find_user(text, b"/etc", asked)


def _is(uid: int, gid: int, text: str) -> bool:
    """Return whether *text* names that user; one whom nobody knows is not."""
    try:
        target = find_user(text)
    except Refused:
        return False
    return (uid, gid) == (target.uid, target.gid)


def variables(target: Target, given: dict[str, bytes]) -> dict[str, bytes | None]:
    """Return what HOME, USER and LOGNAME become for *target*, None for one that goes.

    One that the image or the user set stays; that of who we were until now does not.
    """
    changed: dict[str, bytes | None] = {}
    if given.get("HOME", b"") in target.own_homes:
        changed["HOME"] = target.home
    for variable in ("USER", "LOGNAME"):
        if _text(given.get(variable, b"")) in target.own_names:
            changed[variable] = target.name.encode("utf-8", "surrogateescape") or None
    return changed


def act_as(target: Target | None) -> "tuple[int, int, list[int]] | None":
    """Take on *target*'s rights for a while, so that what is made is theirs; return what `act_again` wants.

    None when there is nobody else to be. The kernel forgets the signal of a parent's death on the way (prctl(2)).

    Raises:
        Refused: we cannot.
    """
    import posix

    if target is None or (posix.geteuid(), posix.getegid()) == (target.uid, target.gid):
        return None
    before = posix.geteuid(), posix.getegid(), posix.getgroups()
    try:
        posix.setgroups(target.groups)
        posix.setegid(target.gid)
        posix.seteuid(target.uid)
    except OSError as error:
        from shim import cannot_become

        if posix.getgroups() != before[2]:
            act_again(before)
        raise Refused([cannot_become.reason(target.name, target.uid, target.groups, error)]) from None
    return before


def act_again(before: "tuple[int, int, list[int]] | None") -> None:
    """Be who we were before `act_as`."""
    if before is not None:
        import posix

        uid, gid, groups = before
        if posix.geteuid() != uid:
            posix.seteuid(uid)
        if posix.getegid() != gid:  # what was refused on the way there would be refused again
            posix.setegid(gid)
        posix.setgroups(groups)
        from shim import parent_death

        parent_death.ask_again()


def become(target: Target, init_pid: int = 0, kept: int = 0) -> None:
    """Take on groups, gid and uid of *target*, for good, and keep no capability unless that is root.

    Args:
        target: whom to become.
        init_pid: our parent, when that is the init that we are a child of.
        kept: the capabilities that the service keeps all the same, as bits.

    Raises:
        Refused: the kernel says no; the hint says what it wants.
    """
    from shim import capabilities

    try:
        if target.uid != 0:
            capabilities.give_up_bounds(kept)
        _change_to(target, init_pid)
    except OSError as error:
        from shim import cannot_become

        raise Refused([cannot_become.reason(target.name, target.uid, target.groups, error)]) from None
    if target.uid != 0:
        capabilities.give_up(kept)


def _change_to(target: Target, init_pid: int) -> None:
    """Take on groups, gid and uid. A no-op where all of them are right already."""
    import posix

    wanted = sorted({*target.groups, *target.kept_groups})
    is_target = posix.getresuid() == (target.uid,) * 3 and posix.getresgid() == (target.gid,) * 3
    if is_target and (target.uid != 0 or sorted({target.gid, *posix.getgroups()}) == wanted):
        return
    kept_back = _hand_over_stdio(target, init_pid)
    try:
        posix.setgroups(wanted)
    except OSError as error:
        if error.errno != 22 or not target.kept_groups:
            raise
        posix.setgroups(target.groups)  # EINVAL: one that the engine kept from outside has no number in here
    posix.setresgid(target.gid, target.gid, target.gid)
    for descriptor in kept_back:
        _share_with_group(descriptor, target.gid)
    posix.setresuid(target.uid, target.uid, target.uid)


def _hand_over_stdio(target: Target, init_pid: int) -> list[int]:
    """Let the service open /dev/stdout and /dev/stderr, which lead to pipes that the engine gave to root.

    runc does the same for the user that a container starts as. A terminal changes hands only where nobody else sits at
    it. Returns the descriptors that need CAP_CHOWN, which we do not have.
    """
    import posix

    kept_back = []
    for descriptor in (0, 1, 2):
        try:
            status = posix.fstat(descriptor)
            kind = status.st_mode & 0o170000
            is_ours = kind == 0o010000 or (
                kind == 0o020000 and posix.isatty(descriptor) and _has_terminal_alone(init_pid)
            )
            if is_ours and status.st_uid != target.uid:
                posix.fchown(descriptor, target.uid, status.st_gid)
        except OSError as error:
            if error.errno == 1:
                kept_back.append(descriptor)
            elif error.errno not in (9, 22, 30):  # closed; an id that is not mapped; read-only: it can still write
                raise
    return kept_back


def _has_terminal_alone(init_pid: int) -> bool:
    """Return whether the terminal came with us: we, our init or the container's first process lead its session.

    A user who calls the shim from a shell has the shell as the leader, and keeps the terminal.
    """
    import posix

    return posix.getsid(0) in (posix.getpid(), init_pid or 1, 1)


def _share_with_group(descriptor: int, gid: int) -> None:
    """Let the group open what only CAP_CHOWN could give away: an owner may give it to a group of its own (chown(2))."""
    import posix

    try:
        posix.fchown(descriptor, -1, gid)
        posix.fchmod(descriptor, posix.fstat(descriptor).st_mode & 0o7777 | 0o060)
    except OSError as error:
        if error.errno not in (1, 22, 30):  # not ours either; the service can still write to what it inherits
            raise


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
        hint = "a bind mount of a file that does not exist creates one: fix the mount"
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
