"""What is known of a service before it moves: whether a second task has room, and whether a task is on its way."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from shim_host.rotate import preflight
from shim_host.swarm.model import START_FIRST, RotatedService
from shim_host.swarm.move import room
from shim_host.swarm.move.baseline import baseline, moment

GPU = [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}]


def node(name: str, *, labels: dict[str, str] | None = None, state: str = "ready", open_: str = "active") -> Any:
    resources = {"NanoCPUs": 2_000_000_000, "MemoryBytes": 1 << 30, "GenericResources": GPU}
    return {
        "ID": name,
        "Spec": {"Availability": open_, "Role": "worker", "Labels": labels or {}},
        "Status": {"State": state},
        "Description": {"Hostname": f"host-{name}", "Resources": resources, "Engine": {"Labels": {"disk": "ssd"}}},
    }


def task(on: str, reserves: dict[str, Any], desired: str = "running", state: str = "running") -> Any:
    spec = {"Resources": {"Reservations": reserves}}
    return {"NodeID": on, "Spec": spec, "DesiredState": desired, "Status": {"State": state}}


def found(reserves: dict[str, Any], tasks: list[Any], nodes: list[Any], **about: Any) -> str:
    """Return what a rotation of a service, one of whose tasks runs on the first node, would be refused for."""
    kept = room.reserved({"Resources": {"Reservations": reserves}})
    service = RotatedService("1", "api", order=START_FIRST, has_health_check=True, reserves=kept, **about)
    there = room.open_nodes(nodes, [task(nodes[0]["ID"], reserves), *tasks])
    return "\n".join(one.message for one in preflight.preflight([service], there, (1, 1)) if one.is_hard)


MEMORY = {"MemoryBytes": 600 << 20}
OTHER = {"MemoryBytes": 500 << 20}


@pytest.mark.parametrize(
    ("reserves", "tasks", "nodes", "about", "missing"),
    [
        (MEMORY, [], [node("a")], {}, "600 MiB of memory"),
        ({"NanoCPUs": 1_500_000_000}, [], [node("a")], {}, "1.5 CPUs"),
        ({"GenericResources": GPU}, [], [node("a")], {}, "1 gpu"),
        (MEMORY, [], [node("a"), node("b")], {}, ""),
        (MEMORY, [task("b", OTHER)], [node("a"), node("b")], {}, "600 MiB of memory"),
        (MEMORY, [task("b", OTHER, "shutdown")], [node("a"), node("b")], {}, ""),  # it is about to end
        (MEMORY, [task("b", OTHER, state="failed")], [node("a"), node("b")], {}, ""),
        (MEMORY, [], [node("a"), node("b", open_="drain")], {}, "600 MiB of memory"),
        (MEMORY, [], [node("a"), node("b", state="down")], {}, "600 MiB of memory"),
        (MEMORY, [], [node("a"), node("b", state="unknown")], {}, ""),  # until the new leader has heard of it
        (MEMORY, [], [node("a"), node("b")], {"constraints": ("node.id==a",)}, "600 MiB of memory"),
        (MEMORY, [], [node("a"), node("b")], {"constraints": ("node.hostname != host-B",)}, "600 MiB of memory"),
        (MEMORY, [], [node("a"), node("b")], {"constraints": ("node.labels.zone==1",)}, ""),  # none may run it
        (
            *(MEMORY, [], [node("a", labels={"zone": "1"}), node("b")]),
            *({"constraints": ("node.labels.zone==1", "engine.labels.disk==ssd")}, "600 MiB of memory"),
        ),
        (MEMORY, [], [node("a"), node("b")], {"constraints": ("node.ip==10.0.0.1", "node.role==worker")}, ""),
        (MEMORY, [], [node("a"), node("b")], {"mode": "global"}, "600 MiB of memory"),
        ({"MemoryBytes": 500 << 20}, [], [node("a")], {}, ""),
        ({}, [], [node("a")], {}, ""),
    ],
)
def test_a_second_task_that_no_node_has_room_for_is_known_before(
    reserves: dict[str, Any], tasks: list[Any], nodes: list[Any], about: dict[str, Any], missing: str
) -> None:
    words = f"reserves {missing}, which no node has left for a second task beside the first"

    assert found(reserves, tasks, nodes, **about) == (words if missing else "")


def test_a_host_port_counts_the_nodes_that_the_service_may_run_on() -> None:
    nodes = [node("a"), node("b")]

    assert found({}, [], nodes, host_ports=(80,)) == ""
    words = "has host port 80, so a second task cannot start beside the first on 1 node"
    assert found({}, [], nodes, host_ports=(80,), constraints=("node.id==a",)) == words
    words = "has max-replicas-per-node 1, so a task cannot start beside the others"
    assert found({}, [], nodes, max_per_node=1, constraints=("node.id==a",)) == words


NOW = "2026-11-28T12:00:00Z"


@pytest.mark.parametrize(
    ("state", "minutes", "about", "up"),
    [
        ("starting", 20, {}, 1),  # its health check has minutes to succeed
        ("preparing", 20, {}, 1),  # a large image
        ("assigned", 20, {}, 0),
        ("assigned", 0, {}, 1),
        ("starting", 20, {"Err": "unhealthy container"}, 0),
    ],
)
def test_a_task_that_takes_its_time_is_on_its_way(state: str, minutes: int, about: dict[str, str], up: int) -> None:
    created: datetime = moment(NOW) - timedelta(minutes=minutes)
    only = {"ID": "t", "Slot": 1, "DesiredState": "running", "Status": {"State": state, **about}}

    assert baseline({"TaskTemplate": {}}, [{**only, "CreatedAt": created.isoformat()}], moment(NOW)).running == up


def test_a_job_is_kept_where_it_is_or_run_again_and_never_removed() -> None:
    (found,) = preflight.preflight([RotatedService("1", "mail once", mode="replicated-job")], [], (1, 1))

    assert (found.is_hard, found.message) == (True, "is a job, and would run again")
    assert found.hint == "--leave 'mail once' keeps it on the version it has; --force lets it run again"
