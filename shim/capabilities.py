"""What a service may do that its user may not: only what `--keep-caps` names. Loaded for `--user` only.

The kernel takes capabilities away when root becomes somebody else, and only then: not the inheritable ones, not those
of a user who never was root, and none at all where the securebits say so (capabilities(7)). So all are taken away here,
and what is left is looked at.
"""

from shim import kernel
from shim.errors import Breach, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# capabilities(7), by number
_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
_SETPCAP = 1 << 8
# prctl(2)
_SET_KEEPCAPS, _BOUND_DROP, _GET_SECUREBITS, _SET_SECUREBITS, _AMBIENT = 8, 24, 27, 28, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
_KEEP_CAPS, _NO_SETUID_FIXUP = 1 << 4, 1 << 2  # what would keep capabilities across a change of user
_EPERM, _EINVAL = 1, 22


def bits(names: "Sequence[str]", wrong: list[Breach]) -> int:
    """Return the capabilities of these *names* as the kernel counts them; a name that is none is added to *wrong*."""
    if not names:
        return 0
    known = _NAMES.split()
    found = 0
    for name in names:
        plain = name.upper().replace("-", "_").removeprefix("CAP_")
        if plain in known:
            found |= 1 << known.index(plain)
        else:
            # What is there may be a value: it is not repeated.
            wrong.append(
                Breach("", "--keep-caps names an unknown capability", "write NET_BIND_SERVICE,...; see capabilities(7)")
            )
    return found


def give_up_bounds(kept: int) -> None:
    """Take what no program of the service shall ever gain out of the bounding set, while that is allowed to us."""
    if kept:
        kernel.prctl(_SET_KEEPCAPS, 1)
    if not kernel.capabilities()[0] & _SETPCAP:
        return
    state = kernel.prctl(_GET_SECUREBITS)
    wanted = state & ~(_NO_SETUID_FIXUP | (0 if kept else _KEEP_CAPS))
    try:
        if wanted != state:
            kernel.prctl(_SET_SECUREBITS, wanted)
    except OSError as error:
        if error.errno != _EPERM:  # they are locked; what they would keep is taken away one by one
            raise
    for number in range(64):
        try:
            if not kept >> number & 1:  # one that is not in the set may be taken out of it, too
                kernel.prctl(_BOUND_DROP, number)
        except OSError as error:
            if error.errno != _EINVAL:  # the kernel knows no more of them
                raise
            break


def give_up(kept: int) -> None:
    """Have the capabilities *kept* from now on, across exec too, and no other.

    Raises:
        Refused: we lack one of them, or some other stays.
    """
    absent = kept & ~kernel.capabilities()[1]
    lacking = [name for number, name in enumerate(_NAMES.split()) if absent >> number & 1] if absent else []
    if lacking:
        raise Refused(
            [
                Breach(
                    "",
                    f"--keep-caps: the container has no {', '.join(lacking)} to keep",
                    f"add it: cap_add: [{', '.join(lacking)}] in the Compose file, --cap-add for docker run",
                )
            ]
        )
    try:
        kernel.set_capabilities(kept, kept, kept)
    except OSError as error:
        message = f"--user: the capabilities cannot be given up: {error.strerror}"
        raise Refused([Breach("", message, "a seccomp profile or a security module forbids it")]) from None
    try:
        kernel.prctl(_AMBIENT, _AMBIENT_CLEAR_ALL)
        for number in range(64 if kept else 0):
            if kept >> number & 1:
                kernel.prctl(_AMBIENT, _AMBIENT_RAISE, number)
    except OSError as error:
        if kept or error.errno != _EINVAL:  # a kernel before 4.3 has none
            message = f"--keep-caps: the kernel passes on no capabilities: {error.strerror}"
            raise Refused([Breach("", message, "the securebits or a security module forbid it")]) from None
    if kept:
        kernel.prctl(_SET_KEEPCAPS, 0)
    if kernel.capabilities() != (kept, kept, kept):
        raise Refused([Breach("", "--user: capabilities remain that nobody asked for", "please report this")])
