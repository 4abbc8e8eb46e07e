"""`--on-change`: notice that a secret which the service uses has really changed, and that the new set is valid.

The folders and files on the way to each value are watched (inotify(7)), links included: an atomic replacement, a write
into a bind mount and Kubernetes' swap of `..data` are all seen. What happened there does not matter; once it is quiet,
everything is resolved again and compared.
"""

import posix

from shim import kernel
from shim.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.events import Events
    from shim.plan import Plan

# inotify(7): modify, attrib, close after write, moved from and to, create, delete, delete self, move self
_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
_MODIFIED, _CLOSED, _GONE = 0x2, 0x8, 0x40 | 0x200 | 0x400  # IN_MODIFY; IN_CLOSE_WRITE; moved from, delete, delete self
_LOST, _WATCH_ENDED = 0x4000, 0x8000  # IN_Q_OVERFLOW, IN_IGNORED
_QUIET_SECONDS = 0.25
_MOST_SECONDS = 2.0  # somebody who never stops writing does not keep a change from being seen
_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)
_EVENT_BYTES = 16
_EAGAIN, _ENOENT, _EACCES, _ENOTDIR = 11, 2, 13, 20


class Watch:
    """The secrets that the service uses, and what tells that they changed."""

    __slots__ = (
        "_changed",
        "_descriptor",
        "_environ",
        "_events",
        "_half_written",
        "_has_lost_sight",
        "_has_warned",
        "_names",
        "_options",
        "_plan",
        "_since",
        "_used",
    )

    def __init__(self, plan: "Plan", environ: list[bytes], events: "Events", changed: "Callable[[Plan], None]") -> None:
        """Start to watch what *plan* uses; *changed* is called with each new plan.

        Raises:
            Refused: the kernel has no watches left.
        """
        self._environ = environ
        self._events = events
        self._changed = changed
        self._options = plan.options
        self._plan = plan
        self._has_lost_sight = False
        self._has_warned = False
        self._since = kernel.monotonic()
        self._used = _digests(plan)
        self._names: dict[int, set[bytes] | None] = {}
        self._half_written: set[tuple[int, bytes]] = set()  # changed, and still open: truncated, it may be
        try:
            from shim.terminal import above_standard

            self._descriptor = above_standard(kernel.inotify_open())
            self._watch(plan)
        except OSError as error:
            from shim.breaches import Retryable

            breach = Retryable(
                "",
                f"--on-change: cannot watch the secrets: {error.strerror}",
                "raise fs.inotify.max_user_instances and max_user_watches on the host",
            )
            raise Refused([breach]) from None
        events.listen(self._descriptor, 1, self._readable)
        events.after(_QUIET_SECONDS, "change seen", self._compare)  # what changed before the watches were there

    def _watch(self, plan: "Plan") -> None:
        """Watch every place where a new value could appear; those that are watched already stay so."""
        wanted: dict[bytes, set[bytes] | None] = {}
        for root in plan.resolution.sources.looked_at:
            wanted[root] = None
            folder, _, name = root.rpartition(b"/")
            _add(wanted, folder or b"/", name)
        for resolved in plan.resolution.secrets.values():
            if resolved.path:
                for folder, name in places(resolved.path):
                    _add(wanted, folder, name)
                wanted[resolved.path] = None
        for path, names in wanted.items():
            try:
                number = kernel.inotify_watch(self._descriptor, path, _CHANGES)
            except OSError as error:
                if error.errno not in (_ENOENT, _ENOTDIR, _EACCES):
                    raise
                continue  # it is not there; the folder it would appear in is watched
            known = self._names.get(number, set())
            self._names[number] = None if names is None or known is None else known | names

    def _readable(self, _mask: int) -> None:
        try:
            events = posix.read(self._descriptor, 65_536)
        except OSError as error:
            if error.errno == _EAGAIN:
                return
            raise
        at, concerns_us = 0, False
        while at < len(events):
            number = int.from_bytes(events[at : at + 4], "little", signed=True)
            mask = int.from_bytes(events[at + 4 : at + 8], "little")
            length = int.from_bytes(events[at + 12 : at + 16], "little")
            name = events[at + _EVENT_BYTES : at + _EVENT_BYTES + length].rstrip(b"\0")
            at += _EVENT_BYTES + length
            names = self._names.get(number)
            is_ours = bool(mask & _LOST) or names is None or not name or name in names
            concerns_us = concerns_us or is_ours
            if mask & _MODIFIED and is_ours:
                self._half_written.add((number, name))
            elif mask & (_CLOSED | _GONE | _WATCH_ENDED):
                self._half_written.discard((number, name))
            if mask & _WATCH_ENDED:
                self._names.pop(number, None)
        if concerns_us:
            now = kernel.monotonic()
            if not self._events.is_due("change seen"):
                self._since = now
            left = max(0.0, self._since + _MOST_SECONDS - now)
            quiet = _MOST_SECONDS if self._half_written else _QUIET_SECONDS
            self._events.after(min(quiet, left), "change seen", self._compare)

    def _compare(self) -> None:
        """Resolve again; tell when a value that is used is another one, and all are valid."""
        from shim.plan import prepare

        self._half_written.clear()  # who keeps it open forever has written all that it is going to
        try:
            plan = prepare(self._options, self._environ, self._plan)
        except Refused as refusal:
            self._warn(refusal.breaches[0].message)
            return
        try:
            self._watch(plan)  # files were replaced, links lead elsewhere
            self._has_lost_sight = False
        except OSError as error:
            self._warn_of_lost_sight(error)
        now = _digests(plan)
        gone = [key for key in self._used if key not in now]
        if gone:
            self._warn(f"nothing provides {', '.join(gone)} any more")
            return
        self._has_warned = False
        if any(now[key] != digest for key, digest in self._used.items()):
            self._used = {key: now[key] for key in self._used}
            self._plan = plan
            self._changed(plan)

    def _warn_of_lost_sight(self, error: OSError) -> None:
        if not self._has_lost_sight:
            self._has_lost_sight = True
            from shim import stderr

            stderr.warning(
                f"cannot watch the new files: {error.strerror}",
                "the next change of the secrets may go unseen: raise fs.inotify.max_user_watches on the host",
            )

    def _warn(self, message: str) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        from shim import stderr

        stderr.warning(
            f"the secrets changed, and the new set cannot be used: {message}",
            "the service keeps running with the old set; this is reported once",
        )


def _add(wanted: dict[bytes, set[bytes] | None], folder: bytes, name: bytes) -> None:
    names = wanted.setdefault(folder, set())
    if names is not None:
        names.add(name)


def _digests(plan: "Plan") -> dict[str, tuple[int, int]]:
    """Return a short form of each value, only good for comparing: the seed is this process's own."""
    return {key: (len(resolved.secret), hash(resolved.content())) for key, resolved in plan.resolution.secrets.items()}


def places(path: bytes) -> list[tuple[bytes, bytes]]:
    """Return folder and name of every link on the way to *path*, and of the file itself."""
    found = []
    todo = [part for part in path.split(b"/") if part not in (b"", b".")]
    at = b"/" if path[:1] == b"/" else b"."
    links = 0
    while todo:
        name = todo.pop(0)
        here = (b"/" if at == b"/" else at + b"/") + name
        try:
            target = posix.readlink(here)
        except OSError:  # EINVAL: it is not a link; anything else, and nothing lies behind it
            if not todo:
                found.append((at, name))
            at = here
            continue
        found.append((at, name))
        links += 1
        if links > _MOST_LINKS:
            break
        if target[:1] == b"/":
            at = b"/"
        todo[:0] = [part for part in target.split(b"/") if part not in (b"", b".")]
    return found
