"""Why we cannot become another user, or give up what we should, in words. Loaded only when that happens."""

from shim import kernel
from shim.breaches import Retryable
from shim.errors import Breach, Refused

_EPERM, _EINVAL, _ENOSYS = 1, 22, 38
_BITS = {"KILL": 5, "SETGID": 6, "SETUID": 7}  # capabilities(7)
_MAX_PROC_BYTES = 65_536


def missing_capabilities(wanted: tuple[str, ...] = ("SETGID", "SETUID")) -> list[str]:
    """Return which of the *wanted* capabilities, those for a change of user, this process has not."""
    for line in _proc(b"status").split(b"\n"):
        if line.startswith(b"CapEff:"):
            have = int(line[7:], 16)
            return [name for name in wanted if not have >> _BITS[name] & 1]
    return list(wanted) if _is_bound() else []


def _is_bound() -> bool:
    """Return whether we have no rights, without /proc: to take the groups that we have already needs a capability."""
    from posix import getgroups, setgroups

    try:
        setgroups(getgroups())
    except OSError:
        return True
    return False


def reason(name: str, uid: int, groups: list[int], error: OSError) -> Breach:
    """Return why we could not become that user."""
    who = name or str(uid)
    if error.errno == _EINVAL:
        unmapped = [f"uid {uid}"] if not _is_mapped(b"uid_map", uid) else []
        unmapped += [f"gid {gid}" for gid in groups if not _is_mapped(b"gid_map", gid)]
        ids = " and no ".join(unmapped) or "such id"
        return Breach(
            "",
            f"cannot become user {who}: this container's user namespace has no {ids}",
            "a rootless engine maps only the ids that /etc/subuid and /etc/subgid give its user: give it a larger "
            "range there, or choose a user with a smaller number",
        )
    if error.errno not in (_EPERM, _ENOSYS):
        return Retryable(
            "",
            f"cannot become user {who}: {error.strerror}",
            "a retry may help; otherwise check the limits of that user",
        )
    missing = missing_capabilities()
    if missing:
        return Breach(
            "",
            f"cannot become user {who}: {error.strerror} without CAP_{' and CAP_'.join(missing)}",
            "start the container as root, with cap_add: [SETUID, SETGID] where all capabilities are dropped; or start "
            "it as that user, and leave --user (SHIM_USER) out",
        )
    if _proc(b"setgroups").strip() == b"deny":
        return Breach(
            "",
            f"cannot become user {who}: this container's user namespace does not allow groups to change",
            "it was made for one user alone: give the engine's user a range in /etc/subuid and /etc/subgid and install "
            "newuidmap, or leave --user (SHIM_USER) out",
        )
    hint = "a seccomp profile or a security module forbids it, not the rights"
    return Breach("", f"cannot become user {who}: {error.strerror}", hint)


def forbidden(option: str, error: OSError) -> Refused:
    """Return that the service would start without what *option* promises."""
    hint = (
        "a filter of system calls forbids it (seccomp, systemd's SystemCallFilter=): allow it, or leave the option out"
    )
    return Refused([Breach("", f"{option}: the kernel refuses it: {error.strerror}", hint)])


def _is_mapped(table: bytes, number: int) -> bool:
    lines = [line.split() for line in _proc(table).split(b"\n")]
    ranges = [(int(line[0]), int(line[2])) for line in lines if len(line) == 3]
    return not ranges or any(first <= number < first + count for first, count in ranges)


def _proc(name: bytes) -> bytes:
    try:
        return kernel.read_file(b"/proc/self/" + name, _MAX_PROC_BYTES, True)[2]
    except OSError:
        return b""
