"""The frozen shim's start code (kernel.c): what the kernel gives and takes, exactly as it does."""

from collections.abc import Sequence

from shim.resolution import Resolved
from shim.secret import Secret

argv: list[bytes]
environ: list[bytes]  # raw: in order, with duplicates and entries without "="
birth_mask: int  # bit N-1: signal N was blocked when this process was exec'ed

def end_on_stop_signals() -> None:
    """Let every signal that would end a process, pending ones included, end this one with 128 + N, PID 1 or not."""

def block_signals() -> None:
    """Block all 64 signals."""

def restore_signals() -> None:
    """Give dispositions and mask back as they were handed to this process."""

def execve(path: bytes, argv: list[bytes], env: list[bytes], /) -> None:
    """Replace this process, with the mask it was born with; blocks everything again when it raises OSError."""

def read_file(path: bytes, limit: int, follow: bool, /) -> tuple[int, int, bytes]:
    """Return st_mode, st_size and at most limit + 1 bytes (none unless it is a regular file). Never blocks."""

def open_folder(path: bytes, follow: bool, /) -> int:
    """Return a descriptor of the folder at *path*; with *follow* it may be a link."""

def open_path(folder: int, path: bytes, /) -> int:
    """Return a descriptor of what is at *path*, a link itself included, that can be gone on from (O_PATH)."""

def list_folder(descriptor: int, /) -> list[bytes]:
    """Return the names in an open folder, in no order."""

def status(descriptor: int, /) -> tuple[int, int]:
    """Return st_mode and st_uid of what is open."""

def status_at(folder: int, name: bytes, /) -> tuple[int, int]:
    """Return st_mode and st_uid of *name* in an open folder; of a link itself."""

def read_open(descriptor: int, limit: int, /) -> tuple[int, int, int, bytes]:
    """Return st_mode, st_uid, st_size and at most limit + 1 bytes (none unless it is a regular file)."""

def read_at(folder: int, name: bytes, limit: int, /) -> tuple[int, int, int, bytes]:
    """Return the same of *name* in an open folder; ELOOP: it is a link."""

def read_plain(folder: int, name: bytes, limit: int, /) -> tuple[bytes | None, bytes] | None:
    """Return the value in the file *name* in an open folder, and its bytes; None for all but plain files.

    No value: there may be a byte order mark, or more than one line end at the end.
    """

def open_at(folder: int, name: bytes, is_folder: bool, /) -> int:
    """Return a descriptor of *name* in an open folder, which may be no link."""

def read_link_at(folder: int, name: bytes, /) -> bytes:
    """Return where the link *name* in an open folder leads; EINVAL: it is none."""

def link_target(path: bytes, /) -> bytes | None:
    """Return where the link *path* leads; None when it is not a link, or cannot be looked at."""

def open_beneath(folder: int, path: bytes, /) -> int:
    """Return a descriptor of *path* below an open folder, links included that do not leave it (openat2(2))."""

def variables(environ: list[bytes], /) -> tuple[dict[str, bytes], list[str]]:
    """Return the variables, the first of duplicates, and the names that end in `_FILE` or begin with `FILE__`."""

def environ_without(environ: list[bytes], names: set[str], env: dict[str, bytes], /) -> list[bytes]:
    """Return *environ*, from which *env* was made, without *names* and `SHIM_*`; an entry without "=" stays."""

def ordinary_pointers(
    env: dict[str, bytes],
    variables: list[str],
    roots: list[bytes],
    protected: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    paths: tuple[str, ...],
    documents: tuple[str, ...],
    taken: dict[str, tuple[bytes, bytes]],
    /,
) -> list[tuple[bytes, bytes] | None]:
    """Find path and root of each of *variables* that is surely a pointer to a secret.

    Up to the first that may not be one, *taken* gets them by key. Those of the others are returned, None for what is
    for Python to decide.
    """

def ordinary_names(
    names: list[bytes],
    root: bytes,
    pointers: dict[str, tuple[bytes, bytes]],
    places: dict[str, tuple[bytes, bytes]],
    protected: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    /,
) -> list[bytes]:
    """Give *places* the files in *root* that are surely secrets, by key; return those of *names* that are left."""

def read_ordinary(
    keys: dict[str, object],
    unusual: set[str],
    pointers: dict[str, tuple[bytes, bytes]],
    places: dict[str, tuple[bytes, bytes]],
    env: dict[str, bytes],
    folders: dict[bytes, int],
    doubtful: tuple[bytes, ...],
    secret: type[Secret],
    resolved: type[Resolved],
    /,
) -> tuple[dict[str, Resolved], list[tuple[str, int]], int]:
    """Resolve each of *keys* whose file holds one short line that raises no question, but for the *unusual*.

    Returns them in the order of *keys*; those that are left (in the first there is None for each), with the sum of the
    values before; and the sum of all.
    """

def assignments(values: dict[str, bytes], /) -> list[bytes]:
    """Return `KEY=value` for each."""

def ordinary_blocks(
    text: bytes, /
) -> list[tuple[int, str, bytes | None, tuple[str, ...], Sequence[tuple[int, str, str]]]] | None:
    """Return line, key, default, description and decorators of each block of a schema; None where a line is unusual.

    Without a key only decorators of the whole file count. One named "@" is yet to be taken apart.
    """

def is_ordinary_json(value: bytes, /) -> bool:
    """Return whether *value* is JSON in ASCII, not nested deeply; what is not may still be JSON."""

def prctl(option: int, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0, /) -> int:
    """Return what prctl(2) returns."""

def capabilities() -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable capabilities of this process, as bits."""

def set_capabilities(effective: int, permitted: int, inheritable: int, /) -> None:
    """Set them (capset(2))."""

def give_up_reading() -> None:
    """Give up the capabilities to read and write what is closed to root, if we are root, have them and may."""

def setrlimit(resource: int, soft: int, hard: int, /) -> None:
    """Set a limit of this process; -1 is RLIM_INFINITY."""

def filesystem_type(place: bytes | int, /) -> int:
    """Return f_type of statfs(2) for a path or a descriptor."""

def close_range(first: int, last: int, /) -> None:
    """Close the descriptors from *first* to *last*, those that are open."""

def wait_signal(timeout_seconds: float, /) -> tuple[int, int, int, int, int, int] | None:
    """Return (number, code, pid, uid, status, value) of the next signal, all being blocked; negative: wait forever."""

def disposition(signo: int, /) -> int:
    """Return 0 for the default action, 1 for ignored, 2 for a handler."""

def set_disposition(signo: int, kind: int, /) -> None:
    """Give the signal its default action (0) or ignore it (1)."""

def set_mask(mask: int, /) -> int:
    """Block exactly the signals of *mask*; return the mask before."""

def sigqueue(pid: int, signo: int, value: int, /) -> None:
    """Send a signal that carries a value."""

def signal_descriptor() -> int:
    """Return a new descriptor that can be read when a signal is pending (signalfd(2))."""

def can_start_at_once() -> bool:
    """Return whether a service can be started before its init is made, and arrange that its orphans come to us.

    Not when SIGCHLD is ignored, and not when there may be a terminal to be given to it.
    """

def spawn(paths: list[bytes], argv: list[bytes], env: list[bytes], ignores_children: bool, /) -> int:
    """Start the first of *paths* that can be executed, as the leader of a process group, with our birth mask.

    Without copying our memory (vfork(2)). Returns the pid when it is executed; 0 when none can be, or when a variable
    of systemd names a process, which would be another one.
    """

def first_moment(pid: int, seconds: float, ends_too: bool, /) -> tuple[int, tuple[int, int, int, int, int, int] | None]:
    """Sleep until our child *pid* has ended, a signal comes, or *seconds* are over; take whoever else ends meanwhile.

    Unless it has ended already, our descriptors above 2 are closed first, the working directory becomes /, root gives
    up reading what is closed to it, and the pages of our own file are given back.

    Returns the exit code (with *ends_too*, we end with it), or -1 and the signal, as from `wait_signal`; None when the
    time is over. What the child left in its group gets SIGTERM, unless we are PID 1.
    """

def inotify_open() -> int:
    """Return a new inotify(7) descriptor; reading it never blocks."""

def inotify_watch(descriptor: int, path: bytes, mask: int, /) -> int:
    """Return the watch descriptor for *path*, added or changed."""

def monotonic() -> float:
    """Return seconds on a clock that only goes forward."""

def wipe_what_is_freed() -> None:
    """Wipe large blocks of memory when they are freed, from now on; small ones at the next long sleep."""

def forget_variable(name: bytes, /) -> None:
    """Wipe the value of a variable where the kernel laid it down, and drop the copy that the whole `posix` has."""

def settle() -> None:
    """Have the next sleep without a deadline give back the memory that only the start needed."""

def mask_patterns(patterns: list[bytes], /) -> object:
    """Return what `mask` looks for, none of them empty; wiped when it is dropped."""

def mask(
    patterns: object, data: bytes, covered: int, is_masked: bool, is_last: bool, /
) -> tuple[bytes, int, int, bool]:
    """Return *data* with every pattern in it replaced by `***`; where the part starts that must be given again, in
    front of what follows, since a pattern may start there; and the two arguments *covered* and *is_masked* for that.

    Args:
        patterns: from `mask_patterns`.
        data: what was kept, and what is new.
        covered: how many bytes at its start need no output any more.
        is_masked: they were replaced; a match that overlaps them is part of the same replacement.
        is_last: nothing follows.
    """
