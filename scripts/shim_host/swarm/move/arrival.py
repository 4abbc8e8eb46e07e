"""Waiting for services that move: until they are there, until their old tasks have ended, and for as long as it takes.

Slow is not dead. What counts is whether anything changes; an update is started once more only for a node that is down.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from shim_host import output
from shim_host.errors import Failed, Refused
from shim_host.shell import quoted
from shim_host.swarm.answers import mounts_of
from shim_host.swarm.connection import NotManager, Unclear
from shim_host.swarm.lock import LEADER_SECONDS
from shim_host.swarm.model import UNDER_WAY, Place, RotatedService, SecretMount
from shim_host.swarm.move.baseline import ENDED, ENDED_BY_ITSELF, baseline, is_meant_to_run, moment
from shim_host.swarm.move.services import ServiceWriter

# How long an update may stall before a node that is down is taken to be the reason.
_STALL_SECONDS = 10
_POLL_SECONDS = 0.1  # the engine has events of services and of this node's containers, none of another node's tasks
_LOOK_SECONDS = 1.0
_ENDING_POLL_SECONDS = 0.5
_WRITTEN_AGAIN = 3  # how often somebody else may write the old version back before we give up
_COMING_BACK = timedelta(seconds=5)  # between that a node is back, and that it tells how its tasks ended
_STARTED_AGAIN = 2  # how often the Swarm may give an update up that no task has failed in
_GONE_WRONG = frozenset(["paused", "rollback_started", "rollback_paused", "rollback_completed"])
_UNPLACED = ("new", "pending")
_WAY_UP = ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")


class NotMoved(Refused):
    """A service did not come up with the new version; the message says why."""


class NotEnded(NotMoved):
    """Tasks of a service that should end do not."""


class Arrival(NamedTuple):
    """How a service runs: the containers of this node, how many tasks run on others, and whether it is there at all."""

    containers: tuple[str, ...]
    elsewhere: int
    is_gone: bool = False

    @property
    def is_empty(self) -> bool:
        """Return whether nothing of it runs."""
        return not self.containers and not self.elsewhere


class Way(NamedTuple):
    """Where a service goes."""

    service: RotatedService
    swaps: Mapping[str, tuple[str, SecretMount]]  # as `ServiceWriter.swap` takes them
    before: int  # how many tasks were up before anything moved
    seconds: float  # how long it may stall, besides what its own settings take
    is_back: bool = False

    @property
    def patience(self) -> float:
        """Return how long nothing at all may happen."""
        return self.seconds + self.service.own_seconds

    def is_right(self, mounts: Iterable[SecretMount]) -> bool:
        """Return whether these mounts are as they should be; a target that is not mounted any more is nobody's matter.

        On the way back nothing may be left of what was gone to, and whatever else is there somebody wants so.
        """
        there = {mount.target: mount.secret_id for mount in mounts}
        if self.is_back:
            return not any(there.get(target) == leaving for target, (leaving, _) in self.swaps.items())
        return all(there.get(target, to.secret_id) == to.secret_id for target, (_, to) in self.swaps.items())


class ServiceMover(ServiceWriter):
    """A connection that moves services; set `interrupted` to end what waits."""

    interrupted = threading.Event()

    def arrive(self, way: Way) -> Arrival:
        """Wait until as many tasks as should run do, healthy, with the right secrets; old ones may end later (`left`).

        How many that is the Swarm's present specification says, and what ran before: what was down stays down. A
        specification that somebody else writes meanwhile is written once more.

        Raises:
            NotMoved: the Swarm gave the update up, or nothing has changed for as long as it may take.
            Failed: the engine has not answered for so long.
        """
        service = way.service
        begin = time.monotonic()
        progress = _Progress(way)
        written_again = started_again = 0
        bumped_for: set[tuple[str, str]] = set()
        said = ""
        looked = 0.0
        while True:
            waited = time.monotonic() - begin
            try:
                found = self._read(service.id)
                if found is None:
                    return Arrival((), 0, is_gone=True)
                state = (update := found.get("UpdateStatus") or {}).get("State")
                if state in UNDER_WAY and time.monotonic() - looked < _LOOK_SECONDS:  # tasks are many, and long
                    self._pause()
                    continue
                looked = time.monotonic()
                tasks = self._tasks(service.id)
                said = _trouble(way, tasks) or update.get("Message") or said
                if not way.is_back and state in _GONE_WRONG:
                    if state != "paused" or started_again == _STARTED_AGAIN or self._has_failed(way, tasks):
                        raise NotMoved(f"{service.name} does not come up with the new version: {said}")
                    # A node was drained or did not answer, and its tasks were ended for that: none of them failed.
                    started_again += 1
                    output.detail(f"{service.name}: {said}; no task has failed, so the update is started once more")
                    self.bump(service.id)
                    begin = time.monotonic()
                    continue
                if not way.is_right(mounts_of(found["Spec"]["TaskTemplate"])):
                    written_again += 1
                    self._write_again(way, written_again)
                    continue
                arrived = self._arrived(way, found["Spec"], tasks)
                # For some seconds more (`monitor`) the Swarm watches the new tasks, and may yet go back.
                if arrived is not None and (arrived.is_empty or state not in UNDER_WAY):
                    return arrived
                if progress.is_made(tasks):
                    begin = time.monotonic()
                    continue
                if state in UNDER_WAY and waited > _STALL_SECONDS:
                    lost = self._lost_nodes(tasks)
                    if not lost <= bumped_for:
                        bumped_for |= lost
                        self.bump(service.id)
            except Unclear as unclear:
                if waited > _patience_with(unclear, way.patience):
                    raise  # nobody knows how the service is, so that nothing may be taken back
            else:
                if waited > way.patience:
                    words = f"{service.name} did not come up within {way.patience:.0f} s"
                    raise NotMoved(f"{words}: {said}" if said else words)
            self._pause()

    def _write_again(self, way: Way, times: int) -> None:
        name = way.service.name
        if times > _WRITTEN_AGAIN or not self.swap(way.service.id, way.swaps):
            raise NotMoved(
                f"{name} is being changed by someone else, with a different version",
                f"docker service inspect {quoted(name)}",
            )
        output.warn(
            f"{name} was changed by someone else in the meantime, with the version before; it is moved once more",
            "was it a stack deploy without the versions in its environment?",
        )

    def stay(self, ways: Iterable[Way]) -> None:
        """See that no service has failed since it arrived, nor been written back by somebody else.

        The Swarm itself watches a new task for its `monitor` only, which may be a moment.

        Raises:
            NotMoved: one has.
            Failed: the engine does not answer.
        """
        tasks: dict[str, list[Any]] = {}
        for task in self._listed("list tasks", lambda: self._client.tasks()):
            tasks.setdefault(task["ServiceID"], []).append(task)
        specs = {found["ID"]: found["Spec"] for found in self._listed("list services", lambda: self._client.services())}
        for way in ways:
            name, spec, own = way.service.name, specs.get(way.service.id), tasks.get(way.service.id, [])
            if spec is None:
                continue
            if not way.is_right(mounts_of(spec["TaskTemplate"])):
                hint = f"docker service inspect {quoted(name)}"
                raise NotMoved(f"{name} was changed by someone else in the meantime, with the version before", hint)
            new = [task for task in own if way.is_right(mounts_of(task.get("Spec")))]
            if self._arrived(way, spec, own) is None and self._ended_by_themselves(new):
                why = _trouble(way, own) or "its task ended"
                raise NotMoved(f"{name} came up with the new version, and then failed: {why}")

    def left(self, way: Way) -> None:
        """Wait until no task of a service that arrived has what it left any more, but on nodes that are down.

        Each may take its grace period; the engine ends it then.

        Raises:
            NotEnded: one does not end for so long.
            Failed: the engine has not answered for so long.
        """
        name, unwanted = way.service.name, {(target, leaving) for target, (leaving, _) in way.swaps.items()}
        patience = way.seconds + way.service.grace_seconds
        begin = time.monotonic()
        while True:
            try:
                if not any(self._still_has(task, unwanted) for task in self._tasks(way.service.id)):
                    return
            except Unclear as unclear:
                if time.monotonic() - begin > _patience_with(unclear, patience):
                    raise
            else:
                if time.monotonic() - begin > patience:
                    raise NotEnded(f"{name}: its old tasks did not end within {patience:.0f} s")
            self._pause(_ENDING_POLL_SECONDS)

    def _still_has(self, task: Any, unwanted: set[Place]) -> bool:
        """Return whether the task is about to end; one that is meant to run somebody else wants (`stay` sees it)."""
        if task["Status"]["State"] in ENDED or is_meant_to_run(task):
            return False
        places = {(mount.target, mount.secret_id) for mount in mounts_of(task.get("Spec"))}
        return bool(places & unwanted) and not self._lost_nodes([task])

    def _tasks(self, service_id: str) -> list[Any]:
        """Return the tasks of a service; none of one that is gone."""
        return list(
            self._unless_gone(self._listed, "list tasks", lambda: self._client.tasks(filters={"service": service_id}))
            or ()
        )

    def _pause(self, seconds: float = _POLL_SECONDS) -> None:
        if self.interrupted.wait(seconds):
            raise Failed("interrupted while services were moving")

    def _arrived(self, way: Way, spec: Mapping[str, Any], tasks: Iterable[Any]) -> Arrival | None:
        """Return how the service runs once enough of it does, and nothing with other secrets is meant to."""
        tasks = list(tasks)
        meant = [task for task in tasks if is_meant_to_run(task)]
        running = [task for task in meant if task["Status"]["State"] == "running"]
        if not all(way.is_right(mounts_of(task.get("Spec"))) for task in running) or self._is_flapping(way, tasks):
            return None
        if len(meant) - len(running) > max(0, way.service.replicas - way.before):
            return None
        if len(running) < self._needed(way, spec, tasks):
            return None
        here = self._own_node()
        containers = [
            task["Status"].get("ContainerStatus", {}).get("ContainerID", "")
            for task in running
            if task.get("NodeID") == here
        ]
        return Arrival(tuple(filter(None, containers)), len(running) - len(containers))

    def _has_failed(self, way: Way, tasks: Iterable[Any]) -> bool:
        """Return whether a task with the right secrets has ended by itself, or was not started where it was to be."""
        new = [task for task in tasks if way.is_right(mounts_of(task.get("Spec")))]
        no_reason = {*_UNPLACED, *ENDED_BY_ITSELF}
        was_not_started = any(task["Status"].get("Err") and task["Status"]["State"] not in no_reason for task in new)
        return was_not_started or bool(self._ended_by_themselves(new))

    def _is_flapping(self, way: Way, tasks: Iterable[Any]) -> bool:
        """Return whether a task with the right secrets has failed, and the one after it not lasted longer yet."""
        new = [task for task in tasks if way.is_right(mounts_of(task.get("Spec")))]
        if not (ended := self._ended_by_themselves(new)):
            return False
        new = [task for task in new if task["Status"]["State"] not in ENDED_BY_ITSELF or task in ended]
        now = moment(self._found("ask the engine", self._api.info)["SystemTime"])
        return baseline({"TaskTemplate": {}}, new, now).running < sum(map(is_meant_to_run, new))

    def _needed(self, way: Way, spec: Mapping[str, Any], tasks: Iterable[Any]) -> int:
        """Return how many tasks must run: as many as are needed now, or as were up before if those were fewer."""
        if way.service.mode == "global":
            return max(0, way.before - len(self._closed_nodes(tasks)))
        wanted = int(((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas", 1))
        return wanted if way.before >= way.service.replicas else min(wanted, way.before)

    def _lost_nodes(self, tasks: Iterable[Any]) -> set[tuple[str, str]]:
        """Return the nodes that are lost of those that *tasks* which have not ended are on, each with its state.

        A leader that has just been chosen calls a node `unknown` first, and still gives it tasks of global services;
        only when it is `down` do these stay away.
        """
        nodes = self._nodes_of(task for task in tasks if task["Status"]["State"] not in ENDED)
        states = {(name, node["Status"]["State"] if node else "") for name, node in nodes.items()}
        return {(name, state) for name, state in states if state != "ready" and name != self._own_node()}

    def _closed_nodes(self, tasks: Iterable[Any]) -> set[str]:
        """Return the nodes that take no tasks (any more) of those that *tasks* are or were on."""
        open_ = ("ready", "active")
        nodes = self._nodes_of(tasks)
        return {
            name
            for name, node in nodes.items()
            if node is None or (node["Status"]["State"], node["Spec"]["Availability"]) != open_
        }

    def _ended_by_themselves(self, tasks: Iterable[Any]) -> list[Any]:
        """Return those of *tasks* that ended, and not along with their node, which has come back or left since."""
        ended = [task for task in tasks if task["Status"]["State"] in ENDED_BY_ITSELF]
        nodes = self._nodes_of(ended)

        def is_by_itself(task: Any) -> bool:
            node = nodes.get(task.get("NodeID") or "")
            return node is not None and moment(task["Status"]["Timestamp"]) > moment(node["UpdatedAt"]) + _COMING_BACK

        return [task for task in ended if is_by_itself(task)]

    def _nodes_of(self, tasks: Iterable[Any]) -> dict[str, Any]:
        """Return the nodes that *tasks* are or were on; None for one that has left."""
        names = {task.get("NodeID") or "" for task in tasks} - {""}
        if not names:
            return {}
        nodes = self._listed("list nodes", lambda: self._client.nodes(filters={"id": sorted(names)}))
        found = {node["ID"]: node for node in nodes}
        return {name: found.get(name) for name in names}


class _Progress:
    """What of a service has come how far; a task that fails again and again is progress only the first time."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._best: dict[object, int] = {}
        self._ended: set[str] = set()

    def is_made(self, tasks: Iterable[Any]) -> bool:
        """Return whether anything is further than it ever was."""
        before = (sum(self._best.values()), len(self._ended))
        for task in tasks:
            state = task["Status"]["State"]
            if not self._way.is_right(mounts_of(task.get("Spec"))):
                if state in ENDED:
                    self._ended.add(task["ID"])
            elif state in _WAY_UP:
                slot = task.get("Slot") or task.get("NodeID")
                self._best[slot] = max(self._best.get(slot, 0), _WAY_UP.index(state) + 1)
        return (sum(self._best.values()), len(self._ended)) != before


def _patience_with(unclear: Unclear, seconds: float) -> float:
    """Return how long an engine that gives no answer is asked again: one that manages no Swarm any more, not for long.

    It was demoted, or taken out, while we asked it: that does not pass.
    """
    return min(seconds, LEADER_SECONDS) if isinstance(unclear, NotManager) else seconds


def _trouble(way: Way, tasks: Iterable[Any]) -> str:
    """Return what the newest task with the right secrets says about its end."""
    said = [
        (task["Status"].get("Timestamp") or "", task["Status"].get("Err") or "")
        for task in tasks
        if way.is_right(mounts_of(task.get("Spec")))
    ]
    return max((item for item in said if item[1]), default=("", ""))[1]
