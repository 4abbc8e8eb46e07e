"""The Docker client, as a program: one way to run it, one way to end it."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, cast

from shim_host.errors import Ended, Failed, Refused

REQUEST_SECONDS = 60
_END_SECONDS = 10
TIMED_OUT = 124  # the exit code of a client that was ended because it took too long, as of timeout(1)


def request_seconds(environ: Mapping[str, str]) -> int:
    """Return how long one answer may take; DOCKER_CLIENT_TIMEOUT says it for slow engines, as for other tools."""
    text = environ.get("DOCKER_CLIENT_TIMEOUT", "")
    if not text:
        return REQUEST_SECONDS
    if not text.isdecimal() or not int(text):
        raise Refused("DOCKER_CLIENT_TIMEOUT is not a number of seconds", f"set it to {REQUEST_SECONDS}, or unset it")
    return int(text)


def run(command: Sequence[str], environ: Mapping[str, str], seconds: int) -> "subprocess.CompletedProcess[str]":
    """Run *command*, a Docker client, and return what it said; after *seconds* it ends, and its code is `TIMED_OUT`.

    Raises:
        FileNotFoundError: there is no such program.
    """
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=True,  # so that Compose, a child of the client, can be ended together with it
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return subprocess.CompletedProcess(command, TIMED_OUT, "", f"it took longer than {seconds} s")
        except BaseException:
            _end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def ask(command: Sequence[str], environ: Mapping[str, str], seconds: float, said: bytes, most_bytes: int) -> str | None:
    """Return what *command* answers to *said*; None where it fails, takes too long, or shows more than *most_bytes*.

    It speaks for a container, which may be anybody's: none keeps its caller waiting, or fills its memory.

    Raises:
        FileNotFoundError: there is no such program.
    """
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        timer = threading.Timer(seconds, _kill, [process])
        timer.start()
        try:
            stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
            with suppress(BrokenPipeError), stdin:
                stdin.write(said)
            out = stdout.read(most_bytes + 1)
            if len(out) > most_bytes:
                _kill(process)
            code = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                _kill(process)
    return out.decode("utf-8", "replace") if code == 0 and len(out) <= most_bytes else None


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Take what an answer of the Docker client breaks in here for its fault: an engine may be anybody's.

    Raises:
        Failed: it breaks.
    """
    try:
        yield
    except Ended:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        hint = "is that Docker's own client, and an engine of Docker? See `docker version`"
        raise Failed(f"cannot {what}: docker answers with something that nobody can read", hint) from None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def run_docker(arguments: Sequence[str], environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the Docker client, for as long as one request may take.

    Raises:
        Failed: there is none, or it does not end.
    """
    seconds = request_seconds(environ)
    try:
        answer = run(["docker", *arguments], environ, seconds)
    except FileNotFoundError:
        hint = "install the Docker client; without one, give --image-config FILE"
        raise Failed("docker is not installed", hint) from None
    if answer.returncode == TIMED_OUT:
        hint = "is the engine it talks to alive? DOCKER_CLIENT_TIMEOUT gives it more time"
        raise Failed(f"the Docker client does not answer within {seconds} s", hint)
    return answer


def _end(process: "subprocess.Popen[str]") -> None:
    """End *process* and what it started: by SIGTERM, which lets Compose finish a step, then by force."""
    if not hasattr(os, "killpg"):
        process.kill()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_END_SECONDS)
            return
