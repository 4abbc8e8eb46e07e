"""What is asked of a container through the Docker client: a stranger's answer, bounded in time and in bytes."""

import os
import time

import pytest
from shim_host import docker_cli, explained

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
