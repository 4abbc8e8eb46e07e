"""What ends a command of `manage-secrets`, and with which exit code. No exception ever holds a value."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CLEAN = 0
REFUSED = 1  # findings, or a refusal: you must change or confirm something
USAGE = 2
FAILED = 111  # the engine or the file system failed; a retry may help
INTERRUPTED = 130


class Ended(Exception):
    """A command cannot go on: what is wrong, and what to do about it."""

    code = REFUSED

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


class Refused(Ended):
    """You must change or confirm something; nothing was done that is not listed."""


class UsageError(Ended):
    """What was typed makes no sense together; said as click says it."""

    code = USAGE


class Failed(Ended):
    """Something outside failed: no engine, no space, no permission."""

    code = FAILED


def failed_file(verb: str, path: str, error: OSError) -> Failed:
    """Return the `Failed` for an `OSError` met while doing *verb* to *path*."""
    return Failed(f"cannot {verb} {path}: {error.strerror or type(error).__name__}")


@contextmanager
def stop_signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does, so that what is temporary is removed."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
