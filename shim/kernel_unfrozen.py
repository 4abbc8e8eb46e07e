"""The start code's twin for `python -m shim`: the same functions through os, signal and ctypes.

What it cannot do: block signals before the interpreter is up, and know whether SIGPIPE and SIGXFSZ were inherited as
ignored (CPython ignores both from birth, so they are given back as default, which is what a shell or engine hands on).
"""

import ctypes
import errno
import os
import posix
import signal
import sys
import time
from time import monotonic as monotonic

from shim.secret import read_file as read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL_SIGNALS = frozenset(signal.valid_signals())
# Default action "terminate" or "dump core" (signal(7)), and sent by somebody else: a SIGPIPE of our own making (nobody
# reads stderr) must not end the start. The real-time ones follow.
_ENDING = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM}
    | {signal.SIGTERM, signal.SIGSTKFLT, signal.SIGXCPU, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR}
    | {number for number in signal.valid_signals() if number >= signal.SIGRTMIN}
)
_libc = ctypes.CDLL(None, use_errno=True)
_EVERY_BIT = ctypes.create_string_buffer(b"\xff" * 128)  # a sigset_t with all signals


def _raw(name: str) -> list[bytes] | None:
    try:
        with open(f"/proc/self/{name}", "rb") as file:
            text = file.read()
    except OSError:
        return None
    return text.removesuffix(b"\0").split(b"\0") if text else []


def _raw_environ() -> list[bytes]:
    # os.environ loses duplicates and entries without "=", and has what CPython added (LC_CTYPE, PEP 538).
    raw = _raw("environ")
    if raw is None:
        return [name + b"=" + value for name, value in os.environb.items()]
    return raw


argv: list[bytes] = [os.fsencode(word) for word in sys.argv]
environ: list[bytes] = _raw_environ()
_birth = signal.pthread_sigmask(signal.SIG_BLOCK, ())
birth_mask: int = sum(1 << (number - 1) for number in _birth)
_handled: list[int] = []


def take_signals() -> None:
    """Block every signal, and undo what CPython did to three of them, as early as can be.

    Importing this module changes nothing: an application may do so.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it was inherited as ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_on_stop_signals() -> None:
    """Let every signal that would end a process end this one at once with 128 + N, PID 1 or not."""
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda signum, _frame: os._exit(128 + signum))
            _handled.append(number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING - _birth)


def block_signals() -> None:
    """Block everything."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)


def restore_signals() -> None:
    """Give every signal back as it was handed to this process."""
    while _handled:
        signal.signal(_handled.pop(), signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _birth)


def execve(path: bytes, arguments: list[bytes], environment: list[bytes]) -> None:
    """Replace this process; the environment is handed on as it is, duplicates and entries without "=" included.

    Raises:
        OSError: as execve(2) says; all signals are blocked again.
    """

    def strings(items: list[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
        return (ctypes.c_char_p * (len(items) + 1))(*items, None)

    signal.pthread_sigmask(signal.SIG_SETMASK, _birth)
    _libc.execve(ctypes.c_char_p(path), strings(arguments), strings(environment))
    error = ctypes.get_errno()
    block_signals()
    raise OSError(error, os.strerror(error))


def prctl(option: int, a2: int = 0, a3: int = 0, a4: int = 0, a5: int = 0) -> int:
    """Return what prctl(2) returns.

    Raises:
        OSError: as prctl(2) says.
    """
    longs = [ctypes.c_ulong(number) for number in (a2, a3, a4, a5)]
    done: int = _libc.prctl(option, *longs)
    if done < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return done


_CAPABILITY_VERSION = 0x20080522  # capget(2), version 3: two words of 32 bits for each set


def capabilities() -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable capabilities of this process, as bits."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    words = (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, words))
    return words[3] << 32 | words[0], words[4] << 32 | words[1], words[5] << 32 | words[2]


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set them (capset(2))."""
    sets = (effective, permitted, inheritable)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    words = (ctypes.c_uint32 * 6)(*(number & 0xFFFFFFFF for number in sets), *(number >> 32 for number in sets))
    _checked(_libc.capset(header, words))


def give_up_reading() -> None:
    """Give up the capabilities to read and write what is closed to root, if we are root and have them."""
    dac = 1 << 1 | 1 << 2  # DAC_OVERRIDE, DAC_READ_SEARCH
    if os.geteuid() != 0:
        return
    try:
        effective, permitted, inheritable = capabilities()
        if permitted & dac:
            set_capabilities(effective & ~dac, permitted & ~dac, inheritable)
    except OSError:
        return  # the service runs already: a filter of system calls must not end it


def setrlimit(resource: int, soft: int, hard: int) -> None:
    """Set a limit of this process, as setrlimit(2) does."""
    import resource as limits

    try:
        limits.setrlimit(resource, (soft, hard))
    except ValueError:  # what Python makes of EPERM
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None


def filesystem_type(place: bytes | int) -> int:
    """Return the f_type of the file system that holds the path or descriptor *place* (statfs(2))."""
    buffer = (ctypes.c_long * 32)()
    call = _libc.fstatfs if isinstance(place, int) else _libc.statfs
    if call(place if isinstance(place, int) else ctypes.c_char_p(place), buffer) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return buffer[0] & 0xFFFFFFFF


def close_range(first: int, last: int) -> None:
    """Close the descriptors from *first* to *last*, those that are open."""
    os.closerange(first, min(last, 1 << 20) + 1)


def wait_signal(timeout_seconds: float) -> tuple[int, int, int, int, int, int] | None:
    """Return number, code, pid, uid, status and value of the next signal, or None after *timeout_seconds*.

    A negative timeout waits forever. All signals must be blocked.
    """
    deadline = time.monotonic() + timeout_seconds
    info = (ctypes.c_int * 32)()
    while True:
        left = max(0.0, deadline - time.monotonic())
        limit = (ctypes.c_long * 2)(int(left), int(left % 1 * 1e9))
        number = _libc.sigtimedwait(_EVERY_BIT, info, None if timeout_seconds < 0 else limit)
        if number > 0:
            # siginfo_t of a 64-bit Linux: signo, errno, code, padding, pid, uid, then a status or a value
            return number, info[2], info[4], info[5] & 0xFFFFFFFF, info[6], info[6] & 0xFFFFFFFF | info[7] << 32
        error = ctypes.get_errno()
        if error == errno.EAGAIN:
            return None
        if error != errno.EINTR:
            raise OSError(error, os.strerror(error))


def signal_descriptor() -> int:
    """Return a new descriptor that can be read when a signal is pending (signalfd(2)), closed on exec."""
    return _checked(_libc.signalfd(-1, _EVERY_BIT, os.O_CLOEXEC | os.O_NONBLOCK))


def disposition(number: int) -> int:
    """Return 0 when the signal has its default action, 1 when it is ignored, 2 when it has a handler."""
    handler = signal.getsignal(number)
    return 0 if handler is signal.SIG_DFL else 1 if handler is signal.SIG_IGN else 2


def set_disposition(number: int, kind: int) -> None:
    """Give the signal its default action (0) or ignore it (1)."""
    signal.signal(number, signal.SIG_IGN if kind else signal.SIG_DFL)


def set_mask(mask: int) -> int:
    """Block exactly the signals of *mask* (bit N-1 for signal N); return the mask before."""
    wanted = {number for number in _ALL_SIGNALS if mask >> (number - 1) & 1}
    return sum(1 << (number - 1) for number in signal.pthread_sigmask(signal.SIG_SETMASK, wanted))


def sigqueue(pid: int, number: int, value: int) -> None:
    """Send a signal with a value (sigqueue(3))."""
    if _libc.sigqueue(pid, number, ctypes.c_void_p(value)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def can_start_at_once() -> bool:
    """Return that it cannot: here every child takes the longer way."""
    return False


def spawn(_paths: list[bytes], _argv: list[bytes], _env: list[bytes], _ignores_children: bool) -> int:
    """Return 0, which means "not started": here every child takes the longer way."""
    return 0


def first_moment(_pid: int, _seconds: float, _ends_too: bool) -> tuple[int, tuple[int, int, int, int, int, int] | None]:
    """Return what means "nothing has happened yet": no child was started at once here (`spawn`)."""
    return -1, None


def inotify_open() -> int:
    """Return a new inotify(7) descriptor, closed on exec; reading it never blocks."""
    return _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))


def inotify_watch(descriptor: int, path: bytes, mask: int) -> int:
    """Return the watch descriptor for *path*, added or changed."""
    return _checked(_libc.inotify_add_watch(descriptor, ctypes.c_char_p(path), mask))


def _checked(number: int) -> int:
    if number < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return number


def wipe_what_is_freed() -> None:
    """Do nothing: this interpreter's memory is its own; only the frozen shim promises to wipe."""


def forget_variable(name: bytes) -> None:
    """Drop the copy that this interpreter has of a variable; its memory is not wiped, for the same reason."""
    posix.environ.pop(name, None)


def settle() -> None:
    """Do nothing: other processes run the same interpreter, and share it."""


def mask_patterns(patterns: list[bytes]) -> list[bytes]:
    """Return what `mask` looks for: the longest first."""
    return sorted(patterns, key=len, reverse=True)


def mask(
    patterns: list[bytes], data: bytes, covered: int, is_masked: bool, is_last: bool
) -> tuple[bytes, int, int, bool]:
    """Return *data* masked, where the part to be kept starts, and *covered* and *is_masked* for that part.

    *covered* bytes at the start need no output any more; when they were masked, a match that overlaps them is part of
    the same mask.
    """
    size = len(data)
    keep_from = size if is_last else min((_start_of(pattern, data) for pattern in patterns), default=size)
    shown = []
    copied = end = covered
    for start, stop in sorted(_matches(patterns, data, keep_from)):
        if not is_masked or start >= end:
            shown += [data[copied:start], b"***"]
            is_masked = True
            end = 0
        end = max(end, stop)
        copied = max(copied, end)
    shown.append(data[copied:keep_from])
    covered = max(0, copied - keep_from)
    return b"".join(shown), keep_from, covered, is_masked and covered > 0


def _start_of(pattern: bytes, data: bytes) -> int:
    """Return where the end of *data* may be the start of *pattern*, at the earliest."""
    at = data.find(pattern[:1], max(0, len(data) - len(pattern) + 1))
    while at >= 0 and not pattern.startswith(data[at:]):
        at = data.find(pattern[:1], at + 1)
    return len(data) if at < 0 else at


def _matches(patterns: list[bytes], data: bytes, before: int) -> "Iterator[tuple[int, int]]":
    """Yield start and end of every match that starts before *before*, those that overlap too."""
    for pattern in patterns:
        at = data.find(pattern)
        while 0 <= at < before:
            yield at, at + len(pattern)
            at = data.find(pattern, at + 1)
