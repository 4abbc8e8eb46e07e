"""What an engine says about itself and its Swarm, for `doctor`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shim_host.errors import Failed
from shim_host.swarm.connection import Swarm
from shim_host.swarm.helper.elsewhere import HELPER
from shim_host.swarm.helper.read_back import READER
from shim_host.swarm.lock import LOCK
from shim_host.swarm.model import STACK

# The engine writes nanoseconds, and datetime reads six digits.
_TIME = re.compile(r"(?P<second>[^.Zz+]+)(?P<fraction>\.[0-9]{1,6})?[0-9]*(?P<zone>[Zz]|[+-][0-9:]+)")


@dataclass(frozen=True)
class Node:
    """One node of the Swarm."""

    name: str
    is_manager: bool
    is_reachable: bool  # of a manager: by the others; of a worker: by the managers
    is_active: bool  # it takes tasks
    engine_version: str


@dataclass(frozen=True)
class EngineFacts:
    """What the engine says about itself."""

    place: str
    version: str
    api_version: str
    operating_system: str
    root_folder: str
    is_rootless: bool
    maps_users: bool
    clock_ahead: timedelta | None  # of this machine's clock
    swarm_state: str  # inactive, pending, active, error or locked
    swarm_error: str
    is_manager: bool
    is_active: bool = True  # this node takes tasks
    nodes: tuple[Node, ...] = ()
    lost_readers: tuple[str, ...] = ()  # helper tasks of `export --from-swarm`, by name
    rotating: tuple[str, ...] = ()  # stacks in which a rotation is under way; empty for keys of no stack
    trouble: str = ""  # why the Swarm could not be asked


class Examiner(Swarm):
    """A connection that asks the engine about itself."""

    def facts(self) -> EngineFacts:
        """Return what the engine says; `trouble` where the Swarm does not answer.

        Raises:
            Failed: the engine does not answer.
        """
        version = self._found("ask for the version", self._api.version)
        before = datetime.now(UTC)
        info = self._found("ask the engine", self._api.info)
        swarm = info.get("Swarm") or {}
        nodes: list[Any] = []
        readers: tuple[str, ...] = ()
        rotating: tuple[str, ...] = ()
        trouble = ""
        if swarm.get("ControlAvailable"):
            client: Any = self._api
            try:
                nodes = self._listed("list nodes", client.nodes)
                for label in (READER, HELPER):
                    found = self._listed("list services", lambda label=label: client.services(filters={"label": label}))
                    readers += tuple(service["Spec"]["Name"] for service in found)
                locks = self._listed("look for rotations", lambda: client.configs(filters={"label": f"{LOCK}=lock"}))
                rotating = tuple(sorted((lock["Spec"].get("Labels") or {}).get(STACK) or "" for lock in locks))
            except Failed as failed:
                trouble = failed.message
        security = info.get("SecurityOptions") or []
        own = next((node for node in nodes if node["ID"] == swarm.get("NodeID")), None)
        return EngineFacts(
            place=self.place,
            version=version.get("Version", ""),
            api_version=version.get("ApiVersion", ""),
            operating_system=info.get("OperatingSystem", ""),
            root_folder=info.get("DockerRootDir", ""),
            is_rootless=any("rootless" in option for option in security),
            maps_users=any("userns" in option for option in security),
            clock_ahead=_clock_ahead(info.get("SystemTime", ""), before),
            swarm_state=swarm.get("LocalNodeState") or "inactive",
            swarm_error=swarm.get("Error") or "",
            is_manager=bool(swarm.get("ControlAvailable")),
            is_active=own is None or own["Spec"].get("Availability") == "active",
            nodes=tuple(map(_node, nodes)),
            lost_readers=readers,
            rotating=rotating,
            trouble=trouble,
        )


def _clock_ahead(text: str, before: datetime) -> timedelta | None:
    """Return how far the engine's clock is ahead; none where the question's own duration explains the difference."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    zone = "+00:00" if match["zone"] in "Zz" else match["zone"]
    engine = datetime.fromisoformat(match["second"] + (match["fraction"] or ".").ljust(7, "0")[:7] + zone)
    after = datetime.now(UTC)
    if engine > after:
        return engine - after
    return timedelta() if engine >= before else engine - before


def _node(found: Any) -> Node:
    manager = found.get("ManagerStatus")
    status = found.get("Status") or {}
    reachable = status.get("State") == "ready" if manager is None else manager.get("Reachability") == "reachable"
    description = found.get("Description") or {}
    return Node(
        name=description.get("Hostname") or found["ID"],
        is_manager=manager is not None,
        is_reachable=reachable,
        is_active=found["Spec"].get("Availability") == "active",
        engine_version=(description.get("Engine") or {}).get("EngineVersion", ""),
    )
