"""What ends a command of `manage-secrets`, and with which exit code. No exception ever holds a value."""

import errno
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

CLEAN = 0
REFUSED = 1  # findings, or a refusal: you must change or confirm something
USAGE = 2
FAILED = 111  # the engine or the file system failed; a retry may help
INTERRUPTED = 130
_OF_FOLDERS = ("make", "remove", "write")  # what needs a right to the folder, not to the file


class Ended(Exception):
    """A command cannot go on: what is wrong, and what to do about it."""

    code = REFUSED

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
        self.others: tuple[Ended, ...] = ()  # what else is wrong, each with hints of its own
        self.closing: tuple[str, ...] = ()  # hints that are about all of it

    @classmethod
    def of_all(cls, wrong: "Sequence[str | Ended]", *closing: str) -> Self:
        """Return one that names everything in *wrong*, and ends with the hints *closing*."""
        each = [cls(one) if isinstance(one, str) else one for one in wrong]
        first, *others = {(one.message, one.hints): one for one in each}.values()
        ended = cls(first.message, *first.hints)
        ended.others, ended.closing = tuple(others), closing
        return ended

    def with_hint(self, hint: str) -> Self:
        """Return the same with *hint* at its end."""
        ended = type(self)(self.message, *self.hints)
        ended.others, ended.closing = self.others, (*self.closing, hint)
        return ended

    @property
    def all_hints(self) -> tuple[str, ...]:
        """Return the hints of everything that is wrong, each once."""
        each = (hint for one in (self, *self.others) for hint in one.hints)
        return tuple(dict.fromkeys((*each, *self.closing)))


class Refused(Ended):
    """You must change or confirm something; nothing was done that is not listed."""


class UsageError(Ended):
    """What was typed makes no sense together."""

    code = USAGE


class Failed(Ended):
    """Something outside failed: no engine, no space, no permission."""

    code = FAILED


class LinkOfAnother(PermissionError):
    """A link of another user would choose for root what it reads or writes."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "a link of another user leads there")


def failed_file(verb: str, path: str, error: OSError) -> Failed:
    """Return the `Failed` for an `OSError` met while doing *verb* to *path*; where a right is missing, who owns it."""
    hints: Iterable[str] = _whose(verb, path) if error.errno == errno.EACCES else ()
    if error.errno == errno.EBUSY:
        hints = ("something is mounted on it: change the file that it comes from, or unmount it",)
    if isinstance(error, LinkOfAnother):
        hints = ("name the place itself, without the link, or run this as that user",)
    return Failed(f"cannot {verb} {path}: {error.strerror or type(error).__name__}", *hints)


def _whose(verb: str, path: str) -> Iterator[str]:
    """Yield the hint on what this user has no right to, *path* or a folder on the way to it."""
    if sys.platform == "win32":
        return
    folders = [os.path.dirname(path) or "."]
    while (above := os.path.dirname(folders[-1])) not in ("", folders[-1]):
        folders.append(above)
    place = next((folder for folder in reversed(folders) if not os.access(folder, os.X_OK)), path)
    if place == path and verb in _OF_FOLDERS and not os.access(folders[0], os.W_OK):
        place = folders[0]
    shown = "the current folder" if place == "." else place
    with suppress(OSError):  # its name is not its path
        status = os.lstat(place)
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
        if status.st_uid == os.geteuid():
            yield f"{shown} is your own, but has {mode}"
        else:
            owner = "root" if status.st_uid == 0 else f"uid {status.st_uid}"
            yield f"{shown} belongs to {owner} and has {mode}: run this as its owner, or have that changed"


@contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does: what is temporary is removed, and what is unfinished is named.

    One that is ignored, as under nohup, stays so.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_of(code: int) -> str:
    """Return how a program ended whose return code is *code*: with a number, or by the signal of a name."""
    if code >= 0:
        return str(code)
    lowest, highest = getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", 0)
    if lowest < -code < highest:  # of the real-time signals only the ends have names
        return f"SIGRTMIN+{-code - lowest}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
