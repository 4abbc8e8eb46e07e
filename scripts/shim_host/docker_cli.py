"""The Docker client, as a program: one way to run it, one way to end it."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shim_host.errors import Failed, Refused

REQUEST_SECONDS = 60
_END_SECONDS = 10
TIMED_OUT = 124  # the exit code of a client that was ended because it took too long, as of timeout(1)


def request_seconds(environ: Mapping[str, str]) -> int:
    """Return how long one answer may take; DOCKER_CLIENT_TIMEOUT says it for slow engines, as for other tools."""
    text = environ.get("DOCKER_CLIENT_TIMEOUT", "")
    if not text:
        return REQUEST_SECONDS
    if not text.isdecimal() or not int(text):
        raise Refused("DOCKER_CLIENT_TIMEOUT is no number of seconds", f"set it to {REQUEST_SECONDS}, or unset it")
    return int(text)


def run(
    command: Sequence[str], environ: Mapping[str, str], seconds: int, said: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run *command*, a Docker client, and return what it said; after *seconds* it ends, and its code is `TIMED_OUT`.

    What it reads on stdin is *said*.

    Raises:
        FileNotFoundError: there is no such program.
    """
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.PIPE if said else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=True,  # so that Compose, a child of the client, can be ended together with it
    ) as process:
        try:
            out, err = process.communicate(said or None, timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return subprocess.CompletedProcess(command, TIMED_OUT, "", f"it took longer than {seconds} s")
        except BaseException:
            _end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


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
        raise Failed("there is no docker program", hint) from None
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
