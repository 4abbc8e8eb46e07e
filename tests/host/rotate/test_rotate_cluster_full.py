"""Rotation on three managers while machines and cables fail: the long forms, with ROTATE_FULL=1."""

import os
from collections.abc import Callable

import pytest

from tests.support.host import Canary, Manage
from tests.support.rotation_scene import PATIENCE_SECONDS, REPLICAS, Run, Scene

__test__ = bool(os.environ.get("ROTATE_FULL"))
pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]
ROTATIONS = 10
Note = Callable[[str, object], None]


def test_no_request_fails(scene: Scene, manage: Manage, canary: Canary, record_property: Note) -> None:
    """Six tasks on three machines, rotations in a row, no request tried twice."""
    scene.serve()
    scene.ask(scene.cluster.nodes[1])

    for number in range(ROTATIONS):
        document = manage.json("rotate", "TOKEN", "--value-file", "-", stdin=canary().encode(), timeout=300)
        assert document["keys"][0]["version"] == number + 2
        assert document["verified"] + document["elsewhere"] == REPLICAS
        assert document["elsewhere"] > 0
    counted = scene.answers()

    record_property("counted", counted)
    assert counted["failed"] == 0, counted
    assert counted["ok"] > 100, counted


def test_the_manager_that_the_tool_asks_is_killed(scene: Scene, record_property: Note) -> None:
    """It leads, too. The tool says what to do, and another manager is asked to finish it."""
    scene.serve()
    leader = scene.cluster.leader()
    other = scene.cluster.follower()
    scene.ask(other, "all")

    run = scene.rotate(leader, "--timeout", "20s")
    leader.kill()
    said = scene.finish(run, other)
    counted = scene.answers()
    scene.cluster.start(leader)

    record_property("counted", counted)
    assert "rotate --resume" in said
    assert scene.in_use() == "token.v2"
    assert counted["failed"] == 0, counted


def test_a_follower_with_tasks_is_killed(scene: Scene, record_property: Note) -> None:
    """The Swarm would wait for it forever."""
    scene.serve()
    leader = scene.cluster.leader()
    victim = scene.cluster.follower()
    scene.ask(leader, "all")

    run = scene.rotate(leader)
    victim.kill()
    scene.finish(run, leader)
    counted = scene.answers()
    scene.cluster.start(victim)

    record_property("counted", counted)
    assert scene.in_use() == "token.v2"
    assert counted["failed"] == 0, counted


def test_the_quorum_is_lost_and_comes_back(scene: Scene, record_property: Note) -> None:
    """Without two managers nothing can change, and nobody knows how things are: so nothing is taken back either."""
    scene.serve()
    node = scene.cluster.leader()
    others = [other for other in scene.cluster.nodes if other is not node]
    scene.ask(node, "all")

    run = scene.rotate(node, "--timeout", "20s")
    for other in others:
        other.kill()
    end = run.end()
    assert end.code == 111, end.stderr
    assert "leader" in end.stderr
    assert "rotate --resume" in end.stderr
    scene.cluster.start(*others)
    resumed = scene.manage("rotate", "--resume", env={"DOCKER_HOST": node.host}, timeout=PATIENCE_SECONDS * 2)
    counted = scene.answers()

    record_property("counted", counted)
    assert resumed.code in (0, 1), resumed.stderr
    assert scene.in_use() == ("token.v2" if resumed.code == 0 else "token.v1")
    assert counted["ok"] > 100, counted


def test_a_node_cannot_start_the_new_task(scene: Scene, record_property: Note) -> None:
    """Its image is gone there, and there is no registry to ask: the Swarm, and then the tool, go back."""
    scene.serve()
    lacking = scene.cluster.nodes[2]
    lacking.docker("rmi", "--force", "with-shim")
    scene.ask(scene.cluster.nodes[1], "all")

    end = Run(scene.manage, scene.cluster.nodes[0], scene.values["token.v2"]).end()
    counted = scene.answers()
    scene.cluster.load("with-shim")

    record_property("counted", counted)
    assert end.code in (0, 1), end.stderr
    assert scene.in_use() == ("token.v2" if end.code == 0 else "token.v1")
    assert counted["failed"] == 0, counted


def test_the_cable_of_a_node_is_pulled(scene: Scene, record_property: Note) -> None:
    scene.serve()
    leader = scene.cluster.leader()
    alone = scene.cluster.follower()
    scene.ask(leader, "all")

    run = scene.rotate(leader)
    alone.cut()
    scene.wait(lambda: "Down" in leader.docker("node", "ls", "--format", "{{.Status}}"))
    scene.cluster.heal(alone)
    scene.finish(run, leader)
    counted = scene.answers()

    record_property("counted", counted)
    assert scene.in_use() in scene.values
    assert counted["failed"] == 0, counted


def test_the_engine_that_the_tool_asks_is_restarted(scene: Scene, record_property: Note) -> None:
    scene.serve()
    node = scene.cluster.follower()
    scene.ask(scene.cluster.leader(), "all")

    run = scene.rotate(node)
    node.restart()
    scene.finish(run, node)
    counted = scene.answers()
    scene.cluster.settle()

    record_property("counted", counted)
    assert scene.in_use() in scene.values
    assert counted["failed"] == 0, counted
