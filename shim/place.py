"""Where we run, for hints that fit the place: as whom, with which rights, in whose container. Loaded for a hint alone.

Everything is looked up without a doubt being an error: a hint that cannot be had is a general one.
"""

_DOCKER, _PODMAN, _KUBERNETES, _BUILD = "docker", "podman", "kubernetes", "build"
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2  # capabilities(7)
_NOBODY = 65534  # how a user namespace shows everybody whom it does not know
_ALL_IDS = 4_294_967_295  # user_namespaces(7): the size of the map where there is no namespace


def engine() -> str:
    """Return whose container this is, as far as can be seen; "" when nothing tells."""
    try:
        from posix import environ
    except ImportError:  # the host side runs on Windows too
        return ""
    if b"KUBERNETES_SERVICE_HOST" in environ or _is_there(b"/var/run/secrets/kubernetes.io"):
        return _KUBERNETES
    if environ.get(b"container") == b"podman" or _is_there(b"/run/.containerenv"):
        return _PODMAN
    if (
        environ.get(b"HOSTNAME") == b"buildkitsandbox"
        or _read(b"/proc/sys/kernel/hostname").strip() == b"buildkitsandbox"
    ):
        return _BUILD
    return _DOCKER if _is_there(b"/.dockerenv") else ""


def why_denied(path: bytes) -> str:
    """Return why the file or folder at *path* is there and closed to us, and what would help here."""
    try:
        from posix import geteuid, getgroups, stat
    except ImportError:  # the host side runs on Windows too
        return "give the file to the user who reads it"
    uid = geteuid()
    try:
        status = stat(path)
    except OSError:
        owner, facts = -1, ""
    else:
        owner, mode = status.st_uid, status.st_mode
        is_unknown = owner == _NOBODY and is_mapped()
        who = "somebody whom this user namespace does not know" if is_unknown else f"uid {owner}"
        facts = f"it belongs to {who}, with mode {mode & 0o7777:04o}, and we are uid {uid}"
        is_member = status.st_gid in getgroups()
        if uid != 0 and not is_unknown and mode & (0o400 if owner == uid else 0o040 if is_member else 0o004):
            return f"{facts}: its mode would let us; {_labelled()}"
    if uid != 0:
        return (f"{facts}; " if facts else "") + _for_a_user(uid)
    if is_mapped():
        return (
            "we are root of a user namespace only (a rootless engine), and to the host somebody else: give the file to "
            "the user who runs the engine, or map its owner (podman unshare chown, --userns=keep-id, userns-remap)"
        )
    if owner != 0 and not _has_capability(_DAC_OVERRIDE, _DAC_READ_SEARCH):
        # DAC_READ_SEARCH would do, and open every file of the host as well (open_by_handle_at(2)).
        return (
            f"{facts}; " if facts else ""
        ) + "root here reads no other users' files: give the file to root, or add cap_add: [DAC_OVERRIDE]"
    return f"we are root, and root is denied, too: {_labelled()}; or the volume lets root in as nobody (NFS)"


def _for_a_user(uid: int) -> str:
    where = engine()
    if where == _KUBERNETES:
        return (
            f"set fsGroup in the pod's securityContext, or defaultMode: 0444 of the volume; or start as root with "
            f"--user {uid} (SHIM_USER)"
        )
    if where == _PODMAN:
        return f"--secret NAME,uid={uid},mode=0400 hands it to us; or start as root with --user {uid} (SHIM_USER)"
    if where == _BUILD:
        return f"RUN --mount=type=secret,id=NAME,uid={uid} hands it to us"
    return (
        f"start the container as root with --user NAME (SHIM_USER), or give the file to uid {uid}; a secret of Swarm "
        f"takes uid={uid} where the service lists it, one of Compose keeps the owner and mode that it has on the host"
    )


def _labelled() -> str:
    return (
        "a label denies it: mount it with :z or :Z (SELinux), or look at the profile of AppArmor"
        if _has_labels()
        else "look at SELinux (mount it with :z), AppArmor, and the folders on the way"
    )


def why_missing() -> str:
    """Return what to check when a file that somebody named is not there."""
    checks = {
        _KUBERNETES: "the volume and volumeMounts of the pod, and the item's key and path in it",
        _PODMAN: "that the container gets it (--secret NAME, Secret= in a Quadlet)",
        _BUILD: "the step's --mount=type=secret,id=NAME (and its target=), and the build's --secret id=NAME",
    }
    general = "that the container gets it: secrets: in Compose, --secret in Swarm and Podman, a volume in Kubernetes"
    return "check the path, and " + checks.get(engine(), general)


def why_a_folder() -> str:
    """Return why there is a folder where a file belongs, and what to do."""
    where = engine()
    if where == _KUBERNETES:
        return "a volume is a folder, and each key a file in it: name that file, or mount it alone with subPath"
    if where == _PODMAN:
        return "the mount's source is a folder: name the file in it, or fix the mount"
    return (
        "Docker makes an empty folder where the file of a bind mount is missing on the host, for Compose too: remove "
        "that folder, create the file, start again"
    )


def is_mapped() -> bool | None:
    """Return whether we are in a user namespace whose ids are not the host's; None where nothing tells."""
    words = _read(b"/proc/self/uid_map").split()
    if words or _read(b"/proc/self/status"):  # one without a map is a namespace, too
        return words != [b"0", b"0", b"%d" % _ALL_IDS]
    return None


def _has_capability(*numbers: int) -> bool:
    for line in _read(b"/proc/self/status").split(b"\n"):
        if line.startswith(b"CapEff:"):
            effective = int(line[7:], 16)
            return any(effective >> number & 1 for number in numbers)
    return True


def _has_labels() -> bool:
    """Return whether SELinux or AppArmor confines this process."""
    label = _read(b"/proc/self/attr/current").strip(b"\0\n ")
    return label not in (b"", b"unconfined", b"kernel") and not label.endswith(b":unconfined_t:s0")


def _is_there(path: bytes) -> bool:
    from posix import stat

    try:
        stat(path)
    except OSError:
        return False
    return True


def _read(path: bytes) -> bytes:
    """Return what a file of /proc says; nothing where it says nothing."""
    from posix import O_CLOEXEC, O_RDONLY, close, open, read  # noqa: A004  (posix's own, on a descriptor)

    try:
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
    except OSError:
        return b""
    try:
        return read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        close(descriptor)
