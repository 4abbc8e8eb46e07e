"""A command inside a running container, its input on stdin: how a value that lives in a system is changed there."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from shim_host.errors import Failed, Refused
from shim_host.swarm import inside
from shim_host.swarm.connection import Swarm, Unclear
from shim_host.swarm.move.baseline import is_meant_to_run

_SECONDS = 60
_MOST_BYTES = 1 << 20
_KILLED = 128  # and the number of the signal
_END_SECONDS = 2
_TASK = "com.docker.swarm.task.id"


class NotReady(Refused):
    """What is asked is starting, or between two tasks: asked again it may answer. Nothing was done."""


class Lost(NotReady):
    """What was asked ended meanwhile; it may have been done."""


class Place(NamedTuple):
    """A container of a service, and what keeps it from answering for a while, if anything does."""

    container: str
    trouble: str = ""
    is_new: bool = False  # its health check has not answered yet: what it serves is not what it will serve


class Door(Swarm):
    """A connection that runs commands in containers of this node."""

    def place_of(self, service: str) -> Place | None:
        """Return a running container of *service*: its name in the Swarm, in its stack, or in Compose.

        None where none runs on this node. The container of a task that is meant to end, or whose service is gone, is
        none of it; of several it is the newest, which the engine lists first.

        Raises:
            Refused: several of different projects are called so.
        """
        found: dict[str, list[Any]] = {}
        for container in self._listed("list containers", self._api.containers):
            labels = container.get("Labels") or {}
            whole, short = _names(labels)
            if service in (whole, short) and labels.get("com.docker.compose.oneoff") != "True":
                found.setdefault(whole, []).append(container)
        ending = self._ending([container for alike in found.values() for container in alike])
        staying = {}
        for name, alike in found.items():
            if there := [container for container in alike if container["Id"] not in ending]:
                staying[name] = there
        if len(staying) > 1:
            raise Refused(
                f"several services are called {service}: {', '.join(sorted(staying))}",
                "give the full name of the one you mean",
            )
        newest = max((one for alike in staying.values() for one in alike), key=_created, default=None)
        return None if newest is None else _place(newest)

    def _ending(self, containers: Sequence[Any]) -> set[str]:
        """Return the ids of those *containers* that the Swarm wants to end; none where this engine cannot know."""
        tasks = {
            container["Id"]: task for container in containers if (task := (container.get("Labels") or {}).get(_TASK))
        }
        client: Any = self._api
        if not tasks:
            return set()
        try:
            listed = self._listed("list tasks", lambda: client.tasks(filters={"id": sorted(set(tasks.values()))}))
        except Unclear:
            if self._is_manager():
                raise
            return set()
        staying = {task["ID"] for task in listed if is_meant_to_run(task)}
        return {container for container, task in tasks.items() if task not in staying}

    def _is_manager(self) -> bool:
        """Return whether this engine manages a Swarm, so that it is asked about services and tasks."""
        return bool((self._found("ask the engine", self._api.info).get("Swarm") or {}).get("ControlAvailable"))

    def run_in(self, container: str, argv: Sequence[str], data: bytes) -> tuple[int, bytes, bytes]:
        """Run *argv* in *container* with *data* on its stdin, which must tell it to end; return code, stdout, stderr.

        Raises:
            Refused: others could read what travels.
            NotReady: the container has ended before it could run, or while it did (`Lost`).
            Failed: the engine does not do it.
        """
        self.refuse_open()

        def call() -> tuple[int, bytes, bytes]:
            return inside.run(self._api, container, argv, data, _SECONDS, _MOST_BYTES)

        try:
            code, out, err = self._call(f"run {argv[0]} in a container", call)
        except Unclear:
            raise
        except Failed as failed:
            if self._runs(container):
                raise
            raise NotReady(failed.message, *failed.hints) from None
        if code > _KILLED:
            with suppress(Unclear):  # the news of the command's end may come before that of the container's
                self._call("wait for a container", lambda: self._api.wait(container, timeout=_END_SECONDS))
        if code and not self._runs(container):
            raise Lost(f"its container ended while {argv[0]} ran in it")
        return code, out, err

    def _runs(self, container: str) -> bool:
        found = self._unless_gone(self._found, "look at a container", lambda: self._api.inspect_container(container))
        state = (found or {}).get("State")
        if not isinstance(state, dict):
            return False
        return bool(state.get("Running")) and not state.get("Paused") and not state.get("Restarting")


def _names(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return a container's service with its stack or project in front, and without."""
    if swarm_name := labels.get("com.docker.swarm.service.name", ""):
        return swarm_name, swarm_name.removeprefix(labels.get("com.docker.stack.namespace", "") + "_")
    short = labels.get("com.docker.compose.service", "")
    return f"{labels.get('com.docker.compose.project', '')}_{short}".removeprefix("_"), short


def _created(container: Any) -> int:
    created = container.get("Created")
    return created if isinstance(created, int) else 0


def _place(container: Any) -> Place:
    state = container.get("State") or "running"
    if state in ("paused", "restarting"):
        return Place(str(container["Id"]), state)
    return Place(str(container["Id"]), is_new="(health: starting)" in str(container.get("Status") or ""))
