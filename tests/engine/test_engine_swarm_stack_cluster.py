"""The reference stack of docker-compose.swarm.yml on three managers: its services are spread, and find each other.

A long form, with ROTATE_FULL=1.
"""

import json
import os
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.engine import Engine
from tests.support.stack import NAMES, PYTHON_SERVICES, SECRETS_OF, canaries, remove_images, values
from tests.support.stack_swarm import SwarmStack

__test__ = bool(os.environ.get("ROTATE_FULL"))
pytestmark = [
    pytest.mark.engine,
    pytest.mark.frozen,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module", name="stack")
def _stack(engine: Engine, whole_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwarmStack]:
    """Give the whole stack, deployed once for all tests here."""
    every = values()
    folder = tmp_path_factory.mktemp("swarm-stack")
    hosts = [node.host for node in whole_cluster.nodes]
    # Between namespaces of one kernel there is no IPsec.
    stack = SwarmStack(engine, hosts, folder, {name: every[name] for name in NAMES}, network="open")
    try:
        stack.load_images()
        stack.create_secrets()
        stack.deploy()
        yield stack
    finally:
        stack.remove()
        remove_images(engine)


def test_every_service_is_healthy_and_finds_the_others(stack: SwarmStack) -> None:
    """More than one machine has part of it, and every service that needs another has found it over the network."""
    stack.wait_until_healthy(300)
    found = stack.containers()
    assert set(found) == set(SECRETS_OF)
    assert len({name.partition("|")[0] for names in found.values() for name in names}) == 3
    for service in PYTHON_SERVICES:
        for container in found[service]:
            assert json.loads(stack.fetch(container, "http://127.0.0.1:8090/health"))["status"] == "ok"
    for container in found["line-movement-analyzer"]:
        predictions = json.loads(stack.fetch(container, "http://prediction-service:8090/predictions"))
        assert [line["game"] for line in predictions] == ["game-0", "game-1", "game-2", "game-3"]
        assert "supabaseUrl" in json.loads(stack.fetch(container, "http://backend:3000/config"))


def test_the_login_rotates_under_load_and_nobody_is_turned_away(stack: SwarmStack) -> None:
    stack.wait_until_healthy(300)
    load = stack.start_load("http://prediction-service:8090/predictions")

    done = json.loads(stack.manage("rotate", "DB_USER", "DB_PASSWORD", "--generate", "--json", timeout=500))

    counted = stack.end_load(load)
    assert done["state"] == "rotated"
    assert done["elsewhere"] > 0
    assert counted["failed"] == 0, counted
    assert counted["requests"] > 100
    stack.wait_until_healthy(300)
    container = stack.containers()["prediction-service"][0]
    stack.secrets["rotated"] = stack.exec(container, "printenv", "DB_PASSWORD")


def test_no_machine_keeps_a_value(stack: SwarmStack) -> None:
    """The last test: no value is in any log, nor in what can be inspected of services, tasks and secrets."""
    kept = stack.kept()
    for value in canaries(stack.secrets):
        for form in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            assert form not in kept
