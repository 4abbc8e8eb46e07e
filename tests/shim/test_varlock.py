"""One `.env.schema` for the shim and for varlock, as the guide shows it: varlock itself reads it here."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from shim.schema import parse
from tests.support.cache import cache_folder
from tests.support.forms import REPOSITORY, Shim, cannot_run
from tests.support.pages import blocks

VARLOCK = "varlock@1.20.0"


def varlock(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `varlock load` in *folder*; the program is installed once, into the cache."""
    cache = cache_folder()
    place = cache / VARLOCK.replace("@", "-")
    if shutil.which("node") is None or shutil.which("npm") is None:
        cannot_run("Node and npm are not installed")
    with (cache / "varlock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "node_modules/varlock/bin/cli.js").exists():
            install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(place), VARLOCK]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(place, ignore_errors=True)
                cannot_run(f"{VARLOCK} cannot be installed: {done.stderr[-300:]}")
    return subprocess.run(
        ["node", place / "node_modules/varlock/bin/cli.js", "load", "--format", "json"],
        cwd=folder,
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "VARLOCK_TELEMETRY_DISABLED": "1",
            "PH_OPT_OUT": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_one_schema_serves_both(tmp_path: Path, make_shim: Callable[[str], Shim]) -> None:
    """What the guide shows is valid for varlock, and both give the service the same values."""
    (text,) = (block.text for block in blocks(REPOSITORY / "docs/COMPARISON.md", "properties"))
    (tmp_path / ".env.schema").write_text(text)
    (tmp_path / ".env").write_text("DB_PASSWORD=of-sixteen-bytes\n")
    (tmp_path / "op").write_text("#!/bin/sh\necho of-a-store-in-the-test\n")
    (tmp_path / "op").chmod(0o755)

    loaded = varlock(tmp_path)

    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    of_varlock = json.loads(loaded.stdout)
    values = {"DB_PASSWORD": "of-sixteen-bytes", "API_KEY": of_varlock["API_KEY"]}
    end = make_shim("module")("--schema", str(tmp_path / ".env.schema"), "--", "env", env=values)
    environment = dict(line.split("=", 1) for line in end.stdout.splitlines())
    assert {key: environment.get(key) for key in of_varlock} == of_varlock
    assert of_varlock["DATABASE_URL"] == "postgresql://app:of-sixteen-bytes@db:5432/app"
    assert parse(text.encode()).keys["API_KEY"].from_command == "op read op://prod/api/key"


def test_a_decorator_of_ours_without_the_prefix_is_a_mistake_to_varlock(tmp_path: Path) -> None:
    """So the prefix is needed; when this fails, it no longer is."""
    (tmp_path / ".env.schema").write_text("# @generate\nDB_PASSWORD=of-sixteen-bytes\n")

    loaded = varlock(tmp_path)

    assert loaded.returncode != 0
    assert "Unknown decorator: @generate" in loaded.stdout + loaded.stderr
