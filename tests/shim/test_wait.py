"""Starts that come too early, or need nothing: `--wait`, `--schema none`."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forms import Shim


@pytest.mark.parametrize("how", ["later", "empty", "root", "link"])
def test_a_secret_that_comes_later_is_waited_for(frozen: Shim, canary: Callable[[], str], how: str) -> None:
    """A file, what is in it, its whole root, the end of a link."""
    value = canary()
    root = frozen.folder / "late"
    if how != "root":
        root.mkdir()
    if how == "empty":
        (root / "db_password").write_text("\n")
    if how == "link":
        (root / "db_password").symlink_to("..data/db_password")

    def come() -> None:
        root.mkdir(exist_ok=True)
        folder = root / "..data" if how == "link" else root
        folder.mkdir(exist_ok=True)
        (folder / ".new").write_text(value)
        (folder / ".new").rename(folder / "db_password")

    later = threading.Timer(0.4, come)
    later.start()
    options = ["--wait", "20s", "--secrets-dir", str(root), "--require", "DB_PASSWORD"]
    end = frozen(*options, "--", "sh", "-c", 'test "$DB_PASSWORD" = "$(cat "$0/db_password")" && echo came', str(root))
    later.join()

    assert (end.code, end.stdout, end.stderr) == (0, "came\n", "")


def test_what_does_not_come_is_said_with_the_time(frozen: Shim) -> None:
    end = frozen("--wait", "150ms", "--require", "A,B", "--", "true", b="there")

    assert end.code == 100
    assert end.errors == ["A is required, and nothing provides it"]
    assert end.stderr.rstrip().endswith("; waited 0.15 s for it")


def test_what_is_there_and_wrong_is_not_waited_for(frozen: Shim) -> None:
    """Nor does a health check wait for what the start waits for."""
    (frozen.folder / "schema").write_text("# @required @sensitive\nA=\n")
    began = time.monotonic()

    wrong = frozen("--wait", "1h", "--schema", "schema", "--", "true", a="changeme")
    beside = frozen("exec", "--require", "B", "--", "true", env={"SHIM_WAIT": "1h"})

    assert (wrong.code, beside.code) == (100, 100)
    assert time.monotonic() - began < 60


def test_a_stop_ends_the_wait(frozen: Shim) -> None:
    command = [*frozen.command, "--wait", "1h", "--secrets-dir", str(frozen.root), "--require", "A", "--", "true"]
    with subprocess.Popen(command, cwd=frozen.folder, stdin=subprocess.DEVNULL) as process:
        while b"nanosleep" not in _syscall(process.pid):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 128 + signal.SIGTERM


def _syscall(pid: int) -> bytes:
    """Return what the process sleeps in, as the kernel names it."""
    try:
        return Path(f"/proc/{pid}/wchan").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("text", ["soon", "-1s", "1d", "s", "1..5"])
def test_a_time_that_is_none(frozen: Shim, text: str) -> None:
    end = frozen(f"--wait={text}", "--", "true")

    assert end.code == 100
    assert end.errors[0].startswith("--wait takes a time")


def test_a_one_off_command_needs_nothing(shim: Shim) -> None:
    """`docker run -e SHIM_SCHEMA=none IMAGE lint`: neither schema nor --require count; what is there is handed on."""
    (shim.folder / ".env.schema").write_text("# @required\nA=\n# @required @type=number\nB=x\n")
    (shim.folder / "template").write_text("${A}")
    needs = {"SHIM_REQUIRE": "C", "SHIM_RENDER": "template:/nonexistent/x"}

    end = shim("--", "sh", "-c", "echo v1 $D", env={"SHIM_SCHEMA": "none", **needs}, d="there")

    assert (end.code, end.stdout, end.stderr) == (0, "v1 there\n", "")
    assert shim("--", "true", env=needs).code == 100
    assert shim("--schema", "/dev/null", "--", "true").code == 0
    os.rename(shim.folder / ".env.schema", shim.folder / "none")
    assert shim("--schema", "./none", "--", "true").code == 100
