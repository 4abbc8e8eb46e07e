"""What is asked of a container through the Docker client: a stranger's answer, bounded in time and in bytes."""

import os
import time
from pathlib import Path

import pytest
from shim_host import docker_cli, explained
from shim_host.compose.images import ask_engine
from shim_host.compose.running import RunningProject
from shim_host.errors import Ended

ENVIRON = {"PATH": os.environ["PATH"]}


def ask(script: str, said: bytes = b"", seconds: float = 20, most: int = 1000) -> str | None:
    return docker_cli.ask(["sh", "-c", script], ENVIRON, seconds, said, most)


def test_what_is_said_is_answered() -> None:
    assert ask("cat; echo to stderr >&2", b"question") == "question"


@pytest.mark.parametrize(
    "script",
    ["exit 1", "yes", "yes & wait", "sleep 100", "sleep 100 & echo '{}'; wait", "exec 1>&-; sleep 100", "kill -9 $$"],
)
def test_what_does_not_behave_is_no_answer(script: str) -> None:
    """Nobody waits longer than was said, nothing is left running, and no memory is filled."""
    began = time.monotonic()

    assert ask(script, b"x" * 100_000, seconds=1) is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "no JSON",
        "[" * 100_000,
        "7" * 10_000,
        "[]",
        '{"keys": 7}',
        '{"keys": [7]}',
        '{"keys": [{"key": 7, "fingerprint": null}]}',
        '{"keys": [{"key": "A", "fingerprint": "\\u001b[31m"}]}',
        '{"keys": [{"key": "A", "fingerprint": {"a": []}}]}',
        '{"keys": [], "fingerprints": "whatever"}',
        '{"keys": [], "fingerprints": ["hmac"]}',
        '{"keys": [{"key": "' + "A" * 1000 + '", "fingerprint": null}]}',
        '{"keys": [' + " " * (1 << 20) + "]}",
    ],
)
def test_what_no_shim_would_say_is_no_answer(answer: str | None) -> None:
    assert explained.read(answer) is None


def test_what_a_shim_says_is_read() -> None:
    rows = '{"key": "A", "fingerprint": "0123-4567-89ab"}, {"key": "B", "fingerprint": null}'
    found = explained.read(f'{{"fingerprints": "hmac", "keys": [{rows}], "more": 1}}')

    assert found is not None
    assert (found.made_with, found.fingerprints) == ("hmac", {"A": "0123-4567-89ab"})


@pytest.mark.parametrize(
    "answer",
    [
        *("7", "null", '"x"', "[]", "[7]", "{}", "[{}]", "", "<html>", "[" * 100_000, "7" * 6_000),
        '{"name": "p", "services": {"web": 7}, "secrets": []}',
        '{"services": {"web": {"secrets": ["a"], "volumes": [7], "ports": 7}}}',
        '[{"Id": "c", "Created": 1, "State": 7, "Config": 7, "Mounts": 7}]',
        '[{"Id": "c", "Created": "", "State": {"StartedAt": "yesterday"}, "Config": {"Env": 7, "Cmd": "x"}}]',
    ],
)
def test_a_client_that_answers_with_anything_is_said_to(answer: str, tmp_path: Path) -> None:
    """Its engine may be anybody's, and what is called docker may be something else."""
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\nif [ "$1" = ps ]; then echo c; else cat "$ANSWER"; fi\n')
    client.chmod(0o755)
    (tmp_path / "answer").write_text(answer)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSWER": str(tmp_path / "answer")}
    project = RunningProject([], environ)
    ended = 0

    for work in (project.read, lambda: project.containers("web"), lambda: ask_engine(["image"], environ)):
        try:
            work()
        except Ended as end:
            ended += "nobody can read" in end.message
    assert ended
