"""Facts of a machine on which all is well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shim_host.doctor.engine import EngineFacts, Node

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


FACTS = EngineFacts(
    place="unix:///var/run/docker.sock",
    version="28.5.2",
    api_version="1.51",
    operating_system="Debian",
    root_folder="/var/lib/docker",
    is_rootless=False,
    maps_users=False,
    clock_ahead=timedelta(),
    swarm_state="active",
    swarm_error="",
    is_manager=True,
    nodes=(Node("one", True, True, True, "28.5.2"),),
)


def managers(*reachable: bool) -> list[Node]:
    return [Node(f"m{number}", True, is_reachable, True, "28") for number, is_reachable in enumerate(reachable)]
