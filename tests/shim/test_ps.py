"""`shim ps`: what runs below PID 1, with psutil as the oracle; key names and never a value."""

from __future__ import annotations

import json
from collections.abc import Callable

import psutil

from tests.support.forms import Shim
from tests.support.pid1 import OURS, Init, running


def test_it_agrees_with_psutil(shim: Shim, as_root: None) -> None:
    """Pids, parents, users and names of this PID namespace."""
    end = shim("ps", "--json", cwd=shim.folder)
    seen = {process["pid"]: process for process in json.loads(end.stdout)["processes"]}

    own = psutil.Process()
    assert seen[own.pid]["parent"] == own.ppid()
    assert seen[own.pid]["user"] == own.uids().real
    assert seen[own.pid]["name"] == own.name()[:15]
    assert abs(seen[own.pid]["rss_bytes"] - own.memory_info().rss) < 32 << 20
    assert seen[1]["pid"] == 1


def test_it_says_who_holds_which_key(shim: Shim, canary: Callable[[], str], as_root: None) -> None:
    """Below PID 1: the service that was given the key, a zombie, and no value anywhere.

    What PID 1's shim was started with counts; where no key is known, nobody can say who holds one.
    """
    (shim.root / "db_password").write_text(canary())
    ours = Init("ours", (*shim.command, "--init", "--secrets-dir", str(shim.root)), OURS)
    script = 'sh -c "exit 0" & exec sleep 60'
    with running(ours.argv("sh", "-c", f"{script} # $DB_PASSWORD")) as run:
        namespace = ["nsenter", f"--target={run.pid}", "--pid", "--mount"]
        while True:  # until the service is what it will be
            end = shim("ps", "--json", before=namespace)
            found = {process["name"]: process for process in json.loads(end.stdout)["processes"]}
            if "sleep" in found and any(process["state"] == "zombie" for process in found.values()):
                break
        assert found["sleep"]["keys"] == ["DB_PASSWORD"]
        assert found["sleep"]["parent"] == 1
        table = shim("ps", before=namespace, env={"SHIM_SECRETS_DIR": "/nonexistent"})
        assert "DB_PASSWORD" in table.stdout
        assert "1 of them ended" in table.stdout
        none = json.loads(shim("ps", "--json", "--secrets-dir", "/nonexistent", before=namespace).stdout)["processes"]
        assert [process["keys"] for process in none if process["name"] == "sleep"] == [None]
