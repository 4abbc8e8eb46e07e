"""`doctor`: what it concludes from facts, and what it sees of this machine and of a real engine."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shim_host import machine
from shim_host.doctor import judge
from shim_host.doctor.engine import Node
from shim_host.doctor.judge import FAILURE, NOTE, OK, WARNING
from shim_host.machine import Daemon, Disk, Folder, Memory, Socket

from tests.support.doctor_examples import FACTS, NOW, managers
from tests.support.host import Canary, Manage, PrivateSwarm

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("reachable", "level", "says"),
    [
        ([True], NOTE, "there is only one manager"),
        ([True, True, True], OK, "3 of 3 managers are reachable, 2 are needed"),
        ([True, True, False], WARNING, "unreachable: m2"),
        ([True, False, False], FAILURE, "nothing can be changed"),
        ([True, True], WARNING, "an even number"),
        ([True, False], FAILURE, "nothing can be changed"),
        ([True] * 5, OK, "3 are needed"),
    ],
)
def test_the_quorum_is_counted(reachable: list[bool], level: str, says: str) -> None:
    found = judge.quorum(managers(*reachable))

    assert found.level == level
    assert says in found.message


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({"swarm_state": "inactive"}, NOTE, "not in a Swarm"),
        ({"swarm_state": "locked"}, FAILURE, "locked"),
        ({"swarm_state": "error", "swarm_error": "certificate expired"}, FAILURE, "certificate expired"),
        ({"is_manager": False}, FAILURE, "is a worker"),
        ({"trouble": "the leader is gone"}, FAILURE, "the leader is gone"),
        ({"is_active": False}, NOTE, "takes no tasks"),
        ({"lost_readers": ("shim-reader-1",)}, WARNING, "shim-reader-1"),
        ({"rotating": ("shop",)}, WARNING, "a rotation in the stack shop is unfinished"),
        ({"rotating": ("",)}, WARNING, "a rotation in the keys of no stack is unfinished"),
        ({"nodes": (*FACTS.nodes, Node("two", False, False, True, "28.5.2"))}, WARNING, "down: two"),
        ({"nodes": (*FACTS.nodes, Node("two", False, True, True, "20.10.24"))}, NOTE, "20.10.24, 28.5.2"),
    ],
)
def test_the_swarm_is_judged(change: dict[str, Any], level: str, says: str) -> None:
    findings = judge.swarm(replace(FACTS, **change))

    assert [found.level for found in findings if says in found.message] == [level]


@pytest.mark.parametrize(
    ("ahead", "level"),
    [(timedelta(), OK), (timedelta(seconds=-4), OK), (timedelta(seconds=30), WARNING), (timedelta(hours=-1), FAILURE)],
)
def test_clocks_that_differ_are_seen(ahead: timedelta, level: str) -> None:
    assert judge.clock(NOW, replace(FACTS, clock_ahead=ahead)).level == level


def test_a_clock_that_was_never_set_is_seen() -> None:
    assert judge.clock(datetime(1970, 1, 1, tzinfo=UTC), None).level == FAILURE


@pytest.mark.parametrize(
    ("found", "levels"),
    [
        (Folder("./secrets", exists=False), [NOTE]),
        (Folder("./secrets", exists=True), [OK]),
        (Folder("./secrets", exists=True, mode=0o755), [FAILURE]),
        (Folder("./secrets", exists=True, wide_files=("a", "b")), [FAILURE]),
        (Folder("./secrets", exists=True, is_folder=False), [FAILURE]),
        (Folder("./secrets", exists=True, is_link=True), [FAILURE]),
        (Folder("./secrets", exists=True, can_write=False), [FAILURE]),
        (Folder("./secrets", exists=True, other_owners=("a",)), [NOTE]),
        (Folder("./secrets", exists=True, trouble="Permission denied"), [FAILURE]),
    ],
)
def test_the_folder_is_judged(found: Folder, levels: list[str]) -> None:
    assert [finding.level for finding in judge.folder(found)] == levels


@pytest.mark.parametrize(
    ("found", "levels"),
    [
        (Disk("./secrets", "ext4", 90 * GB, 100 * GB, None), [OK]),
        (Disk("./secrets", "ext4", GB // 2, 100 * GB, 10**6), [WARNING]),
        (Disk("./secrets", "ext4", 4096, 100 * GB, 10**6), [FAILURE]),
        (Disk("./secrets", "ext4", 90 * GB, 100 * GB, 0), [OK, FAILURE]),
        (Disk("./secrets", "vfat", 90 * GB, 100 * GB, None), [OK, WARNING]),
        (Disk("./secrets", "tmpfs", 90 * GB, 100 * GB, 10**6), [OK, NOTE]),
        (None, [NOTE]),
    ],
)
def test_the_disk_is_judged(found: Disk | None, levels: list[str]) -> None:
    assert [finding.level for finding in judge.disk(found, "the secrets")] == levels


@pytest.mark.parametrize(
    ("found", "levels"),
    [
        (Memory(8 * GB, 16 * GB, 0), [OK]),
        (Memory(GB // 10, 16 * GB, 0), [WARNING]),
        (Memory(GB // 100, 16 * GB, GB), [FAILURE, NOTE]),
    ],
)
def test_the_memory_is_judged(found: Memory, levels: list[str]) -> None:
    assert [finding.level for finding in judge.memory(found)] == levels


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (Socket("/s", exists=True), OK),
        (Socket("/s", exists=True, mode=0o666), FAILURE),
        (Socket("/s", exists=True, can_use=False), FAILURE),
        (Socket("/s", exists=True, is_socket=False), FAILURE),
        (Socket("/s", exists=False), FAILURE),
    ],
)
def test_the_socket_is_judged(found: Socket, level: str) -> None:
    assert judge.socket(found).level == level


@pytest.mark.parametrize(
    ("place", "level"),
    [("tcp://10.0.0.1:2375", FAILURE), ("tcp://127.0.0.1:2375", WARNING), ("ssh://me@host", None), ("unix:///s", None)],
)
def test_an_open_connection_is_judged(place: str, level: str | None) -> None:
    found = judge.connection(place)

    assert (found.level if found else None) == level


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (Daemon(7, "dockerd", 90.0, GB, 90, 1024, "sleeping"), OK),
        (Daemon(7, "dockerd", 9e6, GB, 1000, 1024, "sleeping"), WARNING),
        (Daemon(7, "dockerd", 9e4, GB, None, None, "zombie"), FAILURE),
        (None, NOTE),
    ],
)
def test_the_engines_process_is_judged(found: Daemon | None, level: str) -> None:
    assert judge.daemon(found).level == level


def test_old_engines_and_programs_are_seen() -> None:
    assert [found.level for found in judge.engine(replace(FACTS, api_version="1.40"))] == [FAILURE]
    assert [found.level for found in judge.engine(replace(FACTS, is_rootless=True))] == [OK, NOTE]
    assert [found.level for found in judge.programs("Docker 28", "v2.26.1-4", "gpg 2.2")] == [OK, OK, OK]
    assert [found.level for found in judge.programs("Docker 28", "2.3.3", None)] == [OK, WARNING, NOTE]
    assert [found.level for found in judge.programs("Docker 28", None, None)] == [OK, WARNING, NOTE]
    assert [found.level for found in judge.programs(None, None, "gpg 2.2")] == [WARNING, OK]
    assert judge.libraries(["docker"]).hint == "pip install docker"


@pytest.mark.parametrize(("text", "found"), [("v2.26.1-4", (2, 26, 1)), ("20.10.24+dfsg1", (20, 10, 24)), ("x", ())])
def test_versions_are_read(text: str, found: tuple[int, ...]) -> None:
    assert judge.numbers(text) == found


def test_the_listener_behind_a_socket_is_found(tmp_path: Path) -> None:
    """The kernel says who listens; here it is this test."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        found = machine.daemon(path)

    assert found is not None
    assert found.pid == os.getpid()
    assert found.open_files


def test_wide_modes_are_found_and_no_file_is_read(manage: Manage, canary: Canary) -> None:
    """The files may even be unreadable, and what is not a secret does not count."""
    manage.write("secrets/db_password", canary()).chmod(0o644)
    manage.write("secrets/api_key", canary()).chmod(0o000)
    manage.write("secrets/README.md", "words").chmod(0o644)
    (manage.folder / "secrets").chmod(0o755)
    manage.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock"

    end = manage("doctor")

    assert end.code == 1
    assert "secrets is open to others (mode 0755)" in end.stdout
    assert "db_password in secrets can be read by others" in end.stdout
    assert "api_key" not in end.stdout
    assert "README" not in end.stdout


def test_an_engine_that_is_not_there_is_a_finding(manage: Manage) -> None:
    """It ends with 1 and not with 111: to find this out is what it was asked for."""
    end = manage("doctor", "--json", env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})

    assert end.code == 1
    document = json.loads(end.stdout)
    failures = {check["name"] for check in document["checks"] if check["level"] == FAILURE}
    assert {"engine", "engine socket"} <= failures
    assert document["healthy"] is False


@pytest.mark.engine
def test_a_real_swarm_is_described(swarm: PrivateSwarm, manage: Manage) -> None:
    end = manage("doctor", "--json")

    levels = {check["name"]: check["level"] for check in json.loads(end.stdout)["checks"]}
    messages = {check["name"]: check["message"] for check in json.loads(end.stdout)["checks"]}
    assert levels["engine"] == OK
    assert levels["swarm quorum"] == NOTE
    assert levels["clock"] == OK
    assert levels["engine socket"] == OK
    assert f"pid {swarm.process.pid}," in messages["engine process"]
    assert "disk of the engine" in levels


@pytest.mark.engine
def test_a_locked_or_left_swarm_is_told_apart(swarm: PrivateSwarm, manage: Manage) -> None:
    node = swarm.docker("node", "ls", "-q")
    swarm.docker("node", "update", "--availability", "drain", node)
    drained = manage("doctor").stdout
    swarm.docker("swarm", "leave", "--force")
    left = manage("doctor").stdout
    swarm.docker("swarm", "init", "--advertise-addr", "127.0.0.1")

    assert "this manager takes no tasks" in drained
    assert "this engine is not in a Swarm" in left


@pytest.mark.engine
def test_a_worlds_open_socket_is_found(swarm: PrivateSwarm, manage: Manage) -> None:
    path = Path(swarm.host.removeprefix("unix://"))
    mode = path.stat().st_mode
    path.chmod(0o666)
    try:
        end = manage("doctor")
    finally:
        path.chmod(mode)

    assert end.code == 1
    assert "every user of this machine may use" in end.stdout
