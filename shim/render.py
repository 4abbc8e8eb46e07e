"""`--render TEMPLATE:DEST[:USER]`: configuration files from templates.

Loaded only when asked for. What is wrong is found before anything is written.
"""

import posix

from shim import files, kernel
from shim.breaches import Missing, NotOurs, Unreadable, Unusable
from shim.errors import Breach, Refused
from shim.folder import open_place
from shim.private_folder import TMPFS
from shim.secret import MAX_SECRET_BYTES
from shim.shown import shown_name

_KIND, _FOLDER, _LINK, _DEVICES = 0o170000, 0o040000, 0o120000, (0o020000, 0o060000)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.resolution import Resolution
    from shim.template import Part
    from shim.user import Target


class Rendered:
    """A configuration file, ready to be written."""

    __slots__ = ("content", "owner", "path")

    def __init__(self, path: bytes, content: bytes, owner: "Target | None") -> None:
        self.path = path
        self.content = content
        self.owner = owner  # None: whoever writes it


def render(
    options: "Options",
    resolution: "Resolution",
    target: "Target | None",
    templates: "dict[str, list[Part]]",
    breaches: list[Breach],
) -> list[Rendered]:
    """Return the files of every `--render TEMPLATE:DEST[:USER]`, filled in; what is wrong is added to *breaches*.

    Args:
        options: what is to be rendered.
        resolution: the values.
        target: whose a file without a USER of its own is.
        templates: those that were read before, and are not read again; what is read now is added.
        breaches: what was found so far.
    """
    done = []
    is_again = bool(templates)  # the folders are open since the start, wherever their paths lead by now
    for text in options.render:
        source, _, rest = text.partition(":")
        destination, colon, user = rest.partition(":")
        if not (source and destination) or (colon and not user):
            hint = "--render /etc/redis.tmpl:/run/redis.conf, or with the owner: /etc/redis.tmpl:/run/redis.conf:redis"
            breaches.append(Breach("", "--render takes TEMPLATE:DEST or TEMPLATE:DEST:USER", hint))
            continue
        path = destination.encode("utf-8", "surrogateescape")
        content = _filled(source, resolution, templates, breaches)
        where = None if is_again else _wrong_place(path, options.allow_disk)
        if where is not None:
            breaches.append(where)
        owner = target
        if user:
            from shim.user import reachable_user

            try:
                owner = reachable_user(user, f"--render: {shown_name(path)} for {user}")
            except Refused as refusal:
                breaches += refusal.breaches
        if content is not None and where is None:
            done.append(Rendered(path, content, owner))
    return done


def _filled(
    source: str, resolution: "Resolution", templates: "dict[str, list[Part]]", breaches: list[Breach]
) -> bytes | None:
    from shim import template

    path = source.encode("utf-8", "surrogateescape")
    try:
        if source not in templates:
            mode, _, text = kernel.read_file(path, MAX_SECRET_BYTES, True)
            if mode & 0o170000 != 0o100000 or len(text) > MAX_SECRET_BYTES:
                breaches.append(
                    Unusable("", f"the template {source} is not a file of at most {MAX_SECRET_BYTES} bytes")
                )
                return None
            templates[source] = template.parse(text)
        parts = templates[source]
    except OSError as error:
        kind = Missing if error.errno in (2, 20) else Unreadable
        breaches.append(
            kind("", f"the template {source} cannot be read: {error.strerror}", "check --render's first path")
        )
        return None
    except template.Malformed as mistake:
        breaches.append(Breach("", f"the template {source}: {mistake}", "write $$ for a dollar sign"))
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
                f"provide {key}, or write $${{{key}}} for these very characters",
            )
        )
    if unknown:
        return None
    try:
        return template.fill(parts, resolution.value_of, resolution.documents)
    except template.NotEncodable as error:
        breaches.append(Unusable("", f"the template {source}: {error}", error.hint))
        return None


def _is_known(key: str, resolution: "Resolution") -> bool:
    return key in resolution.secrets or key in resolution.sources.env


def _wrong_place(path: bytes, allows_disk: bool) -> Breach | None:
    shown, folder = shown_name(path), shown_name(path.rpartition(b"/")[0] or (b"/" if path[:1] == b"/" else b"."))
    try:
        descriptor = open_place(path)
    except NotOurs as trouble:
        message = f"--render: the path {shown} goes through a link that {trouble.message}"
        return Breach("", message, "name the folder itself: the owner of the link decides where root writes")
    except OSError as error:
        return _no_folder(folder, error)
    try:
        kind = kernel.filesystem_type(descriptor)
        in_the_way = _in_the_way(descriptor, path.rpartition(b"/")[2])
    except OSError as error:
        return _no_folder(folder, error)
    finally:
        posix.close(descriptor)
    if in_the_way:
        return Breach("", f"--render: {shown} is {in_the_way}", "name a file, which is made there or replaced")
    if kind not in TMPFS and not allows_disk:
        return Breach(
            "",
            f"--render: {shown} is not on tmpfs, and its secrets would be written to a disk",
            "mount a tmpfs there (--tmpfs, tmpfs: in Compose, a Memory emptyDir), choose a path below /dev/shm, or add "
            "--allow-disk",
        )
    return None


def _no_folder(folder: str, error: OSError) -> Breach:
    hint = "make it in the image; a mounted tmpfs starts empty: name a file directly in it"
    return Missing("", f"the folder {folder} of a rendered file: {error.strerror}", hint)


def _in_the_way(folder: int, name: bytes) -> str:
    """Return what *name* in an open folder is that no file may take the place of; "" for all else.

    A link is taken for what it leads to if it is root's, as /dev/stdout; anybody else's is replaced, so that none who
    plants one keeps a service from starting.
    """
    if not name:
        return "a directory"
    try:
        status = posix.stat(name, dir_fd=folder, follow_symlinks=False)
        if status.st_mode & _KIND == _LINK and status.st_uid == 0:
            if files.read_link_at(folder, name).startswith(b"/proc/"):
                return "a link into /proc"
            status = posix.stat(name, dir_fd=folder)
    except OSError:
        return ""
    kind = status.st_mode & _KIND
    return "a directory" if kind == _FOLDER else "a device" if kind in _DEVICES else ""
