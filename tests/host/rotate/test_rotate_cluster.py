"""Rotation on three managers, under load from inside the network, while the one that leads is killed.

What else may break is in test_rotate_cluster_full.py.
"""

from collections.abc import Callable

import pytest

from tests.support.rotation_scene import Scene

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def test_the_leader_is_killed(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """The others choose a new one; the tool, which asked one of those, waits for that, and goes on."""
    scene.serve()
    leader = scene.cluster.leader()
    node = scene.cluster.follower()
    scene.ask(node, "all")

    run = scene.rotate(node)
    leader.kill()
    scene.finish(run, node)
    counted = scene.answers()
    scene.cluster.start(leader)

    record_property("counted", counted)
    assert scene.in_use() in scene.values
    assert counted["failed"] == 0, counted
