"""Runs programs that print values, all at once, each bounded in time and bytes. What they say of an error is masked."""

import base64
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from typing import IO, cast

from shim.secret import MAX_SECRET_BYTES, Secret
from shim_host.errors import Failed, end_of
from shim_host.fetch.wanted import Ask
from shim_host.recognition.sensitive import masked_line, why_by_name
from shim_host.recognition.value_forms import forms

SECONDS = 60  # a store over the network, and a person who puts a finger on a key
_AT_ONCE = 16
_MOST_SAID, _SHOWN = 65_536, 200  # bytes of stderr that are kept, characters that are shown
_LEFT_OPEN_SECONDS = 2  # a helper that the program left behind may hold its end of the pipe
_SHORTEST_MASKED = 4
_MASK = "***"
# What programs print, and end with 0, where there is no such field: a null of Python, of JSON, of JavaScript, of Go.
_NO_VALUE = (b"None", b"null", b"undefined", b"<nil>", b"<no value>", b"*not found*")


class _Wrong(Exception):
    """Why there is no value, and what the program said."""

    def __init__(self, words: str, said: bytes = b"") -> None:
        super().__init__(words)
        self.words = words
        self.said = said


def fetch(asks: Sequence[Ask], environ: Mapping[str, str], seconds: float = SECONDS) -> dict[str, Secret]:
    """Return the value of each key, as its program prints it.

    A single line comes without its line end; all else is taken byte for byte.

    Raises:
        Failed: a program is not there, fails, takes too long, or prints nothing or too much; all such are named.
    """
    runs = [_Run(ask, environ, seconds) for ask in asks]
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(runs)))) as pool:
        try:
            list(pool.map(_Run.go, runs))
        except BaseException:
            for run in runs:
                run.end()
            raise
    failed = [run for run in runs if run.wrong is not None]
    if failed:
        known = [run.printed for run in runs] + [value.encode() for name, value in environ.items() if why_by_name(name)]
        reasons = [f"{run.ask.key}: {run.ask.program} {_reason(run.wrong, known)}" for run in failed if run.wrong]
        keys = ", ".join(run.ask.key for run in failed)
        raise Failed(f"no value could be fetched for {keys}", *reasons)
    return {run.ask.key: _value(run) for run in runs}


def _value(run: "_Run") -> Secret:
    printed = run.printed
    if not run.ask.is_raw and printed.count(b"\n") == 1 and printed.endswith(b"\n"):
        printed = printed.removesuffix(b"\n").removesuffix(b"\r")
    return Secret(printed)


def _reason(wrong: _Wrong, known: Sequence[bytes]) -> str:
    said = _last_sentence(wrong.said.decode("utf-8", "replace").splitlines())
    if not said:
        return wrong.words
    for value in known:
        for line in value.splitlines():
            if len(line.strip()) >= _SHORTEST_MASKED:
                for form in (base64.b64encode(line.strip()), *(form for form, _ in forms(line.strip()))):
                    said = said.replace(form.decode("utf-8", "replace"), _MASK)
    return f"{wrong.words}: {masked_line(said)[:_SHOWN]}"


def _last_sentence(lines: list[str]) -> str:
    """Return the last line, and those before it where it goes on in lower case, as text that was wrapped does."""
    while lines and not lines[-1].strip():
        lines.pop()
    said = ""
    while lines and lines[-1].strip() and (not said or said[0].islower()):
        said = f"{lines.pop().strip()} {said}".rstrip()
    return said


class _Run:
    """One program, from its start to its value or the reason why there is none."""

    def __init__(self, ask: Ask, environ: Mapping[str, str], seconds: float) -> None:
        self.ask = ask
        self.environ = environ
        self.seconds = seconds
        self.printed = b""
        self.wrong: _Wrong | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ended = False

    def go(self) -> None:
        """Run it; what goes wrong is kept, so that it can be told together with the others."""
        try:
            self._run()
        except _Wrong as wrong:
            self.wrong = wrong

    def _run(self) -> None:
        if self._is_ended:
            return
        try:
            process = subprocess.Popen(
                self.ask.argv,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,  # nothing of ours; a question is asked at the terminal, or not at all
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise _Wrong("is not installed, or is not on PATH") from None
        except (OSError, ValueError) as error:
            raise _Wrong(f"cannot be run: {getattr(error, 'strerror', None) or 'its arguments are none'}") from None
        self._process = process
        out = _Drain(process.stdout, MAX_SECRET_BYTES, self.end)
        err = _Drain(process.stderr, _MOST_SAID, None)
        try:
            code = process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            self.end()
            process.wait()
            raise _Wrong(f"takes longer than {self.seconds:g} s", err.taken()) from None
        self.printed = out.taken()
        if out.is_over:
            raise _Wrong(f"prints more than the {MAX_SECRET_BYTES} bytes that a secret may have")
        if code != 0:
            how = f"ended with {code}" if code > 0 else f"was ended by {end_of(code)}"
            raise _Wrong(how, err.taken())
        if not self.printed.strip():
            raise _Wrong("prints nothing", err.taken())
        if self.printed.strip() in _NO_VALUE:
            raise _Wrong(f"prints {self.printed.strip().decode()}, which is not a value", err.taken())

    def end(self) -> None:
        """End the program, and what it started."""
        self._is_ended = True
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()


class _Drain:
    """Reads a pipe to its end in a thread of its own, and keeps as much as is needed of it."""

    def __init__(self, pipe: IO[bytes] | None, most_bytes: int, when_over: Callable[[], None] | None) -> None:
        self.is_over = False
        self._most_bytes = most_bytes
        self._when_over = when_over
        self._parts: list[bytes] = []
        self._pipe = cast(BufferedReader, pipe)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        room = self._most_bytes
        with suppress(OSError, ValueError):
            while part := self._pipe.read1(65_536):
                self._parts.append(part[:room])
                room -= len(part)
                if room < 0 and self._when_over is not None:
                    self.is_over = True
                    self._when_over()
                    break
                room = max(room, 0)

    def taken(self) -> bytes:
        """Return what came."""
        self._thread.join(_LEFT_OPEN_SECONDS)
        return b"".join(self._parts)
