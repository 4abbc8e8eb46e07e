"""Files that nobody asked for, and what is not where it was looked for. Loaded when there is such.

A file that nobody asked for never stops a start: it is left alone, and that is said.
"""

from shim import files
from shim.breaches import Directory, Missing, Unreadable
from shim.errors import Breach
from shim.resolution import ROOT
from shim.secret import folded
from shim.shown import shown_name, shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.resolution import Resolution, Resolved, Sources

# What people append to the name of a secret's file (folded, as names are compared).
_ENDINGS = (
    *("txt", "text", "secret", "key", "value", "val", "pwd", "pass", "password", "conf", "cfg", "env", "dat", "data"),
    *("file", "old", "new", "bak", "tmp", "enc", "gpg", "age", "b64", "base64"),
)
_HERE = -100  # AT_FDCWD, openat(2)
_FILE, _LINK = 0o100000, 0o120000  # inode(7)
_MOST_WARNINGS = 10
_MORE = "shim explain lists them; --only KEY,KEY (SHIM_ONLY) passes on what you name alone"
_MOST_NAMES = 1000  # of a folder; this is for a hint alone
_SHORTEST_SLIP = 5  # shorter names differ in one letter on purpose
# What the kernel takes of arguments and environment at the most, whatever the stack limit is (execve(2)).
_MOST_ARGUMENT_BYTES = 6 << 20
_POINTER_BYTES = 8


# --- files that nobody asked for -------------------------------------------------------------------------------------


def leave_alone(key: str, path: bytes, breach: Breach, sources: "Sources", is_given: bool) -> bool:
    """Leave a file of a root alone that cannot be used; return False where something asks for it, and needs it.

    An unasked folder is none of ours and goes without saying, unless it is empty: engines make such in the place of a
    file that is missing on the host.
    """
    is_asked = key in sources.asked
    if is_asked and not (is_given and isinstance(breach, Directory | Missing)):
        return False
    shown = path.decode("utf-8", "surrogateescape")
    if isinstance(breach, Missing):
        sources.left_alone.append((shown, "it vanished, or links to nothing"))
        if not is_asked and _is_link(path):
            message = f"{shown_path(path)} is a link to nothing; nothing asks for {key}, and it is left alone"
            sources.warnings.append((message, "mount what it leads to as well, or remove the link"))
            _count(sources)
        return True
    if isinstance(breach, Directory):
        sources.left_alone.append((shown, "it is a directory"))
        if not is_asked and not _is_empty(path):
            return True
    else:
        sources.left_alone.append((shown, "it cannot be used: " + breach.message.removeprefix(f"{key}: ")))
    if is_asked:
        sources.warnings.append((f"{breach.message}; the environment's value is taken", breach.hint))
    else:
        sources.warnings.append((f"{breach.message}; nothing asks for {key}, and it is left alone", breach.hint))
        _count(sources)
    return True


def _count(sources: "Sources") -> None:
    """Count the warnings about files that are left alone; after the first ones, one takes the place of all others."""
    sources.strays += 1
    more = sources.strays - _MOST_WARNINGS
    if more > 0:
        del sources.warnings[-1]
        sources.warnings[:] = [warning for warning in sources.warnings if warning[1] != _MORE]
        sources.warnings.append((f"{more} more files that nothing asks for are left alone", _MORE))


def _is_link(path: bytes) -> bool:
    from posix import readlink

    try:
        return bool(readlink(path))
    except OSError:
        return False


def _is_empty(folder: bytes) -> bool:
    from posix import listdir

    try:
        return not listdir(folder)
    except OSError:
        return False


def fit(resolution: "Resolution", options: "Options") -> None:
    """Leave the largest files that nobody asked for alone, until the kernel takes what is left for one command."""
    import os

    most = min(os.sysconf("SC_ARG_MAX"), _MOST_ARGUMENT_BYTES)
    sources = resolution.sources
    size = sum(len(key) + len(value) + _POINTER_BYTES + 2 for key, value in sources.env.items())
    size += sum(len(word) + _POINTER_BYTES + 1 for word in options.argv) + os.sysconf("SC_PAGE_SIZE")
    ours = {key: found for key, found in resolution.secrets.items() if found.deliver == "env"}
    size += sum(len(key) + len(found.secret) + _POINTER_BYTES + 2 for key, found in ours.items() if found.path)
    for key, found in sorted(ours.items(), key=lambda item: -len(item[1].secret)):
        if size <= most:
            return
        if found.origin == ROOT and key not in sources.asked:
            size -= len(key) + len(found.secret) + _POINTER_BYTES + 2
            message = f"{key}: all variables together exceed the kernel's limit for one command"
            drop(resolution, found, Breach(key, message, "export fewer keys (--only), or read this one as a file"))


def drop(resolution: "Resolution", resolved: "Resolved", breach: Breach) -> None:
    """Take a value back that no variable can carry, and that nobody asked for."""
    del resolution.secrets[resolved.key]
    leave_alone(resolved.key, resolved.path, breach, resolution.sources, False)


def leave_out(resolved: "Resolved", most: int, sources: "Sources", wrong: dict[str, list[Breach]]) -> None:
    """Leave a value out that would make all of them together longer than *most* bytes; what is asked for is missed."""
    key = resolved.key
    message = f"{key}: all secrets together are longer than {most} bytes"
    breach = Breach(key, message, "mount what is large as a volume, where the service reads it by itself")
    if not leave_alone(key, resolved.path, breach, sources, False):
        wrong[key] = [breach]


def leave_out_last(resolution: "Resolution", most: int, wrong: dict[str, list[Breach]]) -> None:
    """Leave out each value that, with those before it, would be longer than *most* bytes."""
    read_bytes = 0
    for resolved in list(resolution.secrets.values()):
        size = len(resolved.secret.reveal())
        if read_bytes + size > most:
            del resolution.secrets[resolved.key]
            leave_out(resolved, most, resolution.sources, wrong)
        else:
            read_bytes += size


# --- what is not where it was looked for -----------------------------------------------------------------------------


def probe(sources: "Sources", root: bytes, wanted: set[str] | None) -> None:
    """Look for the keys that are asked for in a folder that may be searched, and not listed."""
    try:
        folder = sources.folders[root] = files.open_path(_HERE, root + b"/." if sources.follows_roots else root)
    except OSError:
        return
    for key in sources.asked:
        if key in sources.roots or (wanted is not None and key not in wanted):
            continue
        lower = key.lower()
        for name in (key, lower, lower.replace("_", "-"), lower.replace("_", ".")):
            file_name = name.encode("utf-8", "surrogateescape")
            try:
                files.status_at(folder, file_name)
            except OSError:
                continue
            sources.roots[key] = root + b"/" + file_name, root
            break


def unlisted(resolution: "Resolution", options: "Options", wrong: dict[str, list[Breach]]) -> None:
    """Say which roots we could not look into: it is wrong where something that is asked for stays missing.

    What is in *wrong* for that reason is nothing that somebody must change, as long as we cannot look.
    """
    sources = resolution.sources
    specs = resolution.schema.keys if resolution.schema is not None else {}
    missing = [key for key in sources.asked if key not in resolution.secrets and key not in sources.waived]
    is_wrong = any(key in options.require or specs[key].is_required for key in missing)
    for key in missing:
        wrong[key] = [
            Unreadable(key, breach.message, breach.hint) if isinstance(breach, Missing) else breach
            for breach in wrong.get(key, ())
        ]
    for root, error in sources.unlisted:
        message = f"the secrets root {shown_path(root)} cannot be listed: {error.strerror}"
        if error.errno in (1, 13):  # EPERM, EACCES
            from shim.place import why_denied

            hint = why_denied(root)
        else:
            hint = "a retry may help; otherwise check the limits of memory and open files, and at the volume"
        if is_wrong:
            resolution.breaches.append(Unreadable("", message, hint))
        else:
            sources.warnings.append((f"{message}; only files that are named are read from it", hint))


def warn_of_no_folder(path: bytes, sources: "Sources") -> None:
    """Say what is where a secrets root should be, if that is likely to surprise."""
    try:
        kind = files.status_at(_HERE, path)[0] & 0o170000
    except OSError:
        kind = 0
    if kind == _LINK and not sources.follows_roots:
        from shim.breaches import NotOurs

        sources.is_left_alone(path, NotOurs("", "is a link"))  # where it leads is for somebody to name
    elif kind == _FILE:
        if path != sources.guarded:
            hint = f"mount each secret as a file in that folder: {shown_name(path)}/NAME"
            sources.warnings.append((f"the secrets root {shown_name(path)} is a file, not a folder", hint))
    elif sources.follows_roots:
        hint = "check --secrets-dir (SHIM_SECRETS_DIR), and that the container is given the folder"
        if path[:1] in (b'"', b"'") or path[:3] in (b'./"', b"./'"):
            hint = "the quotes are part of the path: remove them"
        elif b"," in path or b";" in path:
            hint = "several folders are separated by ':'"
        sources.warnings.append((f"there is no folder {shown_name(path)}, which is named as a secrets root", hint))


def warn_of_protected(key: str, path: bytes, sources: "Sources") -> None:
    """Say that a file stays unread although an option names its key; where the key is missed, an error tells it."""
    if key not in sources.asked:
        message = f"{shown_path(path)} is left alone: {key} changes what programs load"
        sources.warnings.append((message, f"only the schema can ask for it: write {key}= there"))


def warn_of_bundle(path: bytes, name: str, sources: "Sources") -> str:
    """Warn of a file with many values, and return why it is left alone: APP_ENV means something to frameworks."""
    hint = f"take each that is needed: @from={name}(KEY) above KEY= in the schema"
    sources.warnings.append((f"{shown_path(path)} is left alone: a file of that name holds many values", hint))
    return "a file of that name holds many values"


def near(key: str, sources: "Sources") -> list[bytes]:
    """Return the paths of files in a root that were probably meant for *key*, which nothing provides."""
    wanted = folded(key)
    paths = [path for path, _ in sources.roots.values()]
    paths += [name.encode("utf-8", "surrogateescape") for name, _ in sources.left_alone if "/" in name]
    found = []
    for path in paths:
        name = folded(path.rpartition(b"/")[2].decode("utf-8", "surrogateescape"))
        rest = name.removeprefix(wanted) if name != wanted else ""
        is_version = rest[:1].isdecimal() or (rest[:1] == "v" and rest[1:2].isdecimal())  # db_password_v2, as in Swarm
        if rest in _ENDINGS or is_version or (name != wanted and wanted.removeprefix(name) in ("value", "secret")):
            found.append(path)
    return found


def nearest(key: str, sources: "Sources") -> list[bytes]:
    """Return the same, or else a file whose name has the stack's in front, or is one slip away."""
    found = near(key, sources)
    if found:
        return found[:1]
    wanted = folded(key)
    for path, _ in sources.roots.values():
        name = path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
        before = name[: -len(key)]
        if "_" in key and before[-1:] in ("_", "-", ".") and folded(name) == folded(before) + wanted:
            return [path]
    for path, _ in sources.roots.values():
        if _is_a_slip(wanted, folded(path.rpartition(b"/")[2].decode("utf-8", "surrogateescape"))):
            return [path]
    return []


def misnamed(key: str, path: bytes, breach: Breach, sources: "Sources") -> Breach:
    """Return *breach* about the pointer of *key*; one to nothing says which file was probably meant."""
    if isinstance(breach, Missing):
        variable = sources.pointer_of(key)
        name = path.rpartition(b"/")[2]
        meant = [place for place in sources.roots.values() if place[0].endswith(b"/" + name)]
        near_it = nearest(key, sources)
        if key in sources.roots:
            breach.hint = f"{shown_path(sources.roots[key][0])} is there: remove {variable}, or let it name that file"
        elif meant:  # the path may be a name alone, which may be a value: it is not repeated
            breach.hint = f"{shown_path(meant[0][1])} has a file of that name: {variable} takes the whole path"
        elif near_it:
            breach.hint = f"{shown_path(near_it[0])} is there: let {variable} name that file; {breach.hint}"
    return breach


def nested(key: str, sources: "Sources") -> list[bytes]:
    """Return the path of a file for *key* in a folder of a root, as Kubernetes' items and mounts below a root make."""
    from posix import listdir

    wanted = folded(key)
    for root in sources.looked_at:
        if root == sources.guarded:
            continue
        try:
            folders = [root + b"/" + name for name in sorted(listdir(root))[:_MOST_NAMES] if name[:1] != b"."]
        except OSError:
            continue
        for folder in folders:
            before = folded(folder.rpartition(b"/")[2].decode("utf-8", "surrogateescape"))
            try:
                names = sorted(listdir(folder))[:_MOST_NAMES]
            except OSError:
                continue
            for name in names:
                is_meant = folded(name.decode("utf-8", "surrogateescape"))
                if is_meant == wanted or before + is_meant == wanted:
                    return [folder + b"/" + name]
    return []


def left_alone(key: str, sources: "Sources") -> str:
    """Return why a file that is there for *key* was not even looked at; "" when there is none."""
    for name, reason in sources.left_alone:
        if "/" in name and folded(name.rpartition("/")[2]) == folded(key):
            return f"{shown_path(name.encode('utf-8', 'surrogateescape'))} is left alone: {reason}"
    return ""


def _is_a_slip(meant: str, written: str) -> bool:
    """Return whether *written* is *meant* but for one letter: another one, one too many, one missing, two swapped."""
    if len(meant) < _SHORTEST_SLIP or meant == written:
        return False
    at = 0
    while at < min(len(meant), len(written)) and meant[at] == written[at]:
        at += 1
    rest, other = meant[at:], written[at:]
    return (
        rest[1:] == other[1:]
        or rest[1:] == other
        or rest == other[1:]
        or (rest[2:] == other[2:] and rest[:2] == other[1:2] + other[:1])
    )


def warn_of_near(resolution: "Resolution", missing: list[str]) -> None:
    """Warn of files that were probably meant for keys that nothing provides, and that may be missing."""
    sources = resolution.sources
    for key in missing:
        for path in near(key, sources)[:1]:
            sources.warnings.append(
                (f"nothing provides {key}, and {shown_path(path)} is there", how_to_take(key, path))
            )


def how_to_take(key: str, path: bytes) -> str:
    """Return how the file at *path* becomes the value of *key*."""
    return f"call it {key.lower()}, or set {key}_FILE={shown_path(path)}"
