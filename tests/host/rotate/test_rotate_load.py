"""Rotation while requests come in, from inside the network, each with a connection of its own and none tried twice."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Canary, Manage, PrivateSwarm
from tests.support.rotation_scene import NO_GAP

pytestmark = pytest.mark.engine

FULL = bool(os.environ.get("ROTATE_FULL"))
ROTATIONS = 20 if FULL else 2
MOST_SECONDS = 1800 if FULL else 300


class Load:
    """Requests from a container in the service's network, until `end`."""

    def __init__(self, swarm: PrivateSwarm, image: str) -> None:
        self.swarm = swarm
        self.begin = time.monotonic()
        ask = ("/ask", "answer", "8080", str(MOST_SECONDS), "8", "15")
        self.container = swarm.docker("run", "--detach", "--network", "inside", image, *ask)

    def stop(self) -> None:
        """End it, whatever it counted."""
        self.swarm.docker("rm", "--force", self.container)

    def end(self) -> dict[str, Any]:
        """Return how many were answered, how many were not, and how many a second."""
        self.swarm.docker("stop", "--time", "30", self.container)
        said: dict[str, Any] = json.loads(self.swarm.docker("logs", self.container))
        return {**said, "per_second": round(said["ok"] / (time.monotonic() - self.begin))}


@pytest.fixture
def image(swarm: PrivateSwarm, shim_binary: Path, children: Path) -> Iterator[str]:
    yield swarm.image_with_shim(shim_binary, children / "answer", children / "ask")
    swarm.docker("container", "prune", "--force")


@pytest.fixture
def put_under_load(swarm: PrivateSwarm, image: str) -> Iterator[Callable[[], Load]]:
    """Return what begins a load; one that a failing test leaves is ended."""
    begun: list[Load] = []

    def begin() -> Load:
        begun.append(Load(swarm, image))
        return begun[-1]

    yield begin
    for load in begun:
        load.stop()


def serve(swarm: PrivateSwarm, project: Manage, canary: Canary, image: str, replicas: int) -> None:
    if "inside" not in swarm.docker("network", "ls", "--format", "{{.Name}}").split():
        swarm.docker("network", "create", "--driver", "overlay", "--attachable", "inside")
    project.write("secrets/token", canary())
    assert project("create-swarm").code == 0
    health = ("--health-cmd", "/busybox wget -q -O /dev/null http://127.0.0.1:8080/")
    swarm.serve(
        *("--name", "answer", "--replicas", str(replicas), "--network", "inside"),
        *(*NO_GAP, *health, "--secret", "source=token.v1,target=token"),
        *(image, "/opt/shim/shim", "--", "/answer", "8080"),
    )


@pytest.mark.timeout(MOST_SECONDS)
@pytest.mark.parametrize("replicas", [2, 6] if FULL else [2])
def test_no_request_fails(
    swarm: PrivateSwarm,
    manage: Manage,
    canary: Canary,
    image: str,
    put_under_load: Callable[[], Load],
    replicas: int,
    record_property: Callable[[str, object], None],
) -> None:
    serve(swarm, manage, canary, image, replicas)
    load = put_under_load()

    for number in range(ROTATIONS):
        document = manage.json("rotate", "TOKEN", "--value-file", "-", stdin=canary().encode())
        assert (document["keys"][0]["version"], document["verified"]) == (number + 2, replicas)
    counted = load.end()

    record_property("counted", counted)
    assert counted["failed"] == 0, counted
    assert counted["ok"] > 100, counted


def test_a_value_that_does_not_come_up_costs_no_request(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, image: str, put_under_load: Callable[[], Load]
) -> None:
    """The old tasks answer all the time, and stay."""
    serve(swarm, manage, canary, image, 2)
    bad = "--health-cmd=/busybox grep -q Qz /run/secrets/token && /busybox wget -q -O /dev/null http://127.0.0.1:8080/"
    swarm.docker("service", "update", "--quiet", bad, "--health-retries", "2", "answer")
    load = put_under_load()

    end = manage("rotate", "TOKEN", "--value-file", "-", "--timeout", "60s", stdin=canary()[2:].encode())
    counted = load.end()

    assert end.code == 1
    assert "every service is back" in end.stderr
    assert counted["failed"] == 0, counted
    assert counted["ok"] > 100, counted
    assert swarm.docker("secret", "ls", "--format", "{{.Name}}") == "token.v1"
