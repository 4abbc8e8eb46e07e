"""Services of the Swarm that move from one version of a secret to another.

A service is written back exactly as it was read, but for its secrets: every field that this release of the SDK, or this
tool, knows nothing of stays as it was.
"""

import copy
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from shim_host.errors import Failed, Refused
from shim_host.swarm.connection import PARALLEL_CALLS, Unclear
from shim_host.swarm.lock import AGAIN_SECONDS, LEADER_SECONDS, LockKeeper
from shim_host.swarm.model import LABEL, STOP_FIRST, Mount, Service

# A label for services that make what others need, such as a login: these move before all others.
ORDER = LABEL + "rotate"
# How long an update may stand still before the node it waits for is taken for the reason.
_STALL_SECONDS = 10
_POLL_SECONDS = 0.2  # the engine has events of services and of this node's containers, none of another node's tasks
_ENDING_POLL_SECONDS = 0.5
_ENDED = frozenset(["complete", "failed", "shutdown", "rejected", "orphaned", "remove"])
_ENDED_BY_ITSELF = frozenset(["complete", "failed", "rejected"])
_UNDER_WAY = frozenset(["updating", "rollback_started"])
_GONE_WRONG = frozenset(["paused", "rollback_started", "rollback_paused", "rollback_completed"])


class NotMoved(Refused):
    """A service did not come up with the new version; the message says why."""


class Arrival(NamedTuple):
    """How a service runs: the containers of this node, and how many tasks run on others."""

    containers: tuple[str, ...]
    elsewhere: int


_NOBODY = Arrival((), 0)


class ServiceMover(LockKeeper):
    """A connection that moves services; set `interrupted` to end what waits."""

    interrupted = threading.Event()

    def movable(self) -> list[Service]:
        """Return every service with what decides whether and how it can move.

        Raises:
            Failed: the engine is no manager, or does not answer.
        """
        found = self._call("list services", lambda: self._client.services())
        self._specs: dict[str, Any] = {service["ID"]: service for service in found}
        return [self._service(service) for service in found]

    def nodes(self) -> tuple[int, tuple[int, int]]:
        """Return how many nodes take tasks, and how many managers there are and can be reached."""
        nodes = self._call("list nodes", lambda: self._client.nodes())
        ready = [node for node in nodes if node["Status"]["State"] == "ready"]
        managers = [node["ManagerStatus"] for node in nodes if node.get("ManagerStatus")]
        reachable = sum(manager.get("Reachability") == "reachable" for manager in managers)
        return sum(node["Spec"]["Availability"] == "active" for node in ready), (len(managers), reachable)

    def _service(self, found: Mapping[str, Any]) -> Service:
        spec = found["Spec"]
        template = spec["TaskTemplate"]
        container = template.get("ContainerSpec") or {}
        mode, about = next(iter((spec.get("Mode") or {"Replicated": {}}).items()))
        ports = (found.get("Endpoint") or {}).get("Ports") or (spec.get("EndpointSpec") or {}).get("Ports") or ()
        return Service(
            id=found["ID"],
            name=spec["Name"],
            stack=(spec.get("Labels") or {}).get("com.docker.stack.namespace", ""),
            mounts=mounts_of(template),
            previous=mounts_of((found.get("PreviousSpec") or {}).get("TaskTemplate")),
            mode={"Global": "global", "ReplicatedJob": "replicated-job", "GlobalJob": "global-job"}.get(
                mode, "replicated"
            ),
            replicas=int((about or {}).get("Replicas", 1)),
            order=(spec.get("UpdateConfig") or {}).get("Order") or STOP_FIRST,
            has_health_check=_has_health_check(container),
            host_ports=tuple(port["PublishedPort"] for port in ports if port.get("PublishMode") == "host"),
            max_per_node=int((template.get("Placement") or {}).get("MaxReplicas") or 0),
            volumes=tuple(
                mount["Target"]
                for mount in container.get("Mounts") or ()
                if mount.get("Type") in ("volume", "bind") and not mount.get("ReadOnly")
            ),
            goes_first=(spec.get("Labels") or {}).get(ORDER) == "first",
            update_state=(found.get("UpdateStatus") or {}).get("State") or "",
        )

    def image_health_checks(self, services: Iterable[Service]) -> dict[str, bool | None]:
        """Return by service id whether its image brings a health check; None when the image is not here."""
        images = {
            service.id: self._specs[service.id]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            for service in services
        }

        def one(image: str) -> bool | None:
            try:
                config = self._call("look at an image", lambda: self._client.inspect_image(image))["Config"] or {}
            except Failed:
                return None
            return _has_health_check(config) or False

        known = {image: one(image) for image in set(images.values())}
        return {service: known[image] for service, image in images.items()}

    def swap(self, service_id: str, swaps: Mapping[str, tuple[str, str]]) -> bool:
        """Make the service mount other versions under the same targets; return whether anything had to change.

        Args:
            service_id: which one.
            swaps: by the id of a secret, id and name of the one that takes its place.

        Raises:
            Failed: the engine refuses it, or has no leader for too long.
        """

        def change(spec: Any) -> bool:
            references = (spec["TaskTemplate"].get("ContainerSpec") or {}).get("Secrets") or ()
            swapped = [reference for reference in references if reference["SecretID"] in swaps]
            for reference in swapped:
                reference["SecretID"], reference["SecretName"] = swaps[reference["SecretID"]]
            return bool(swapped)

        return self._update(service_id, change)

    def bump(self, service_id: str) -> None:
        """Make the Swarm start an update anew that waits for a node which does not answer."""
        before = self._read(service_id)["Spec"]["TaskTemplate"].get("ForceUpdate", 0)

        def change(spec: Any) -> bool:
            is_due = spec["TaskTemplate"].get("ForceUpdate", 0) == before
            spec["TaskTemplate"]["ForceUpdate"] = before + 1
            return bool(is_due)

        self._update(service_id, change)

    def forget_previous(self, service_id: str, secret_ids: Iterable[str]) -> None:
        """Write the service as it is once more if its previous specification names one of *secret_ids*.

        A previous specification with a secret that is gone breaks every later update (swarmkit issue 2509).
        """
        gone = set(secret_ids)
        before = self._read(service_id).get("PreviousSpec") or {}
        if not gone & {mount.secret_id for mount in mounts_of(before.get("TaskTemplate"))}:
            return

        def change(_spec: Any) -> bool:
            previous = self._specs[service_id].get("PreviousSpec") or {}
            return bool(gone & {mount.secret_id for mount in mounts_of(previous.get("TaskTemplate"))})

        self._update(service_id, change)

    def _read(self, service_id: str) -> Any:
        self._specs[service_id] = self._call("read a service", lambda: self._client.inspect_service(service_id))
        return self._specs[service_id]

    def _update(self, service_id: str, change: Callable[[Any], bool]) -> bool:
        """Apply *change* to the specification until the engine has taken it; return whether anything had to change."""
        deadline = time.monotonic() + LEADER_SECONDS
        found = self._specs.get(service_id) or self._settled(lambda: self._read(service_id), deadline)
        has_changed = False
        while True:
            spec = copy.deepcopy(found["Spec"])
            if not change(spec):
                return has_changed
            self._specs.pop(service_id, None)  # whatever comes of it, what was read is no more
            try:
                self._post_spec(service_id, spec, found["Version"]["Index"])
            except Unclear:
                # It may have been done; the version may have moved under us; the leader may be gone: look again.
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)
            else:
                return True
            has_changed = True
            found = self._settled(lambda: self._read(service_id), deadline)

    def _post_spec(self, service_id: str, spec: Any, index: int) -> None:
        def call() -> None:
            url = f"{self._api.base_url}/v{self._api.api_version}/services/{service_id}/update"
            response = self._api.post(url, json=spec, params={"version": index}, timeout=self._api.timeout)
            response.raise_for_status()

        self._call(f"update {spec['Name']}", call)

    def arrive(self, service: Service, wanted: frozenset[str], seconds: float, *, may_roll_back: bool) -> Arrival:
        """Wait until each task of *service* runs, healthy, with the *wanted* secrets; old ones may end later (`left`).

        Each task that arrives starts the time anew. An update that stands still is started anew, too: soon when a node
        that has tasks of it is down, since the Swarm waits for such a node for ever; else after half of the time.

        Args:
            service: which one.
            wanted: ids that each task must have mounted.
            seconds: how long it may stand still.
            may_roll_back: the Swarm's own rollback is not a failure; that is where this goes.

        Raises:
            NotMoved: the Swarm gave the update up, or the time is over.
            Failed: the engine has not answered for so long.
        """
        begin = time.monotonic()
        most = 0
        was_bumped = may_roll_back
        bumped_for: set[str] = set()
        said = ""
        while True:
            waited = time.monotonic() - begin
            try:
                tasks = self._call("list tasks", lambda: self._client.tasks(filters={"service": service.id}))
                arrived = self._arrived(service, tasks, wanted)
                if arrived == _NOBODY:
                    return arrived
                state = (update := self._read(service.id).get("UpdateStatus") or {}).get("State")
                # For some seconds more (`monitor`) the Swarm watches the new tasks, and may yet go back.
                if arrived is not None and state not in _UNDER_WAY | _GONE_WRONG:
                    return arrived
                if arrived is not None and may_roll_back and state not in _UNDER_WAY:
                    return arrived
                if (count := _count_running(tasks, wanted)) > most:
                    most, begin = count, time.monotonic()
                    continue
                said = _trouble(tasks, wanted) or update.get("Message") or said
                if not may_roll_back and state in _GONE_WRONG:
                    raise NotMoved(f"{service.name} does not come up with the new version: {said}")
                lost = self._lost_nodes(tasks) if state in _UNDER_WAY and waited > _STALL_SECONDS else set()
                if not lost <= bumped_for or (waited > seconds / 2 and not was_bumped):
                    was_bumped = was_bumped or waited > seconds / 2
                    bumped_for |= lost
                    self.bump(service.id)
            except Unclear:
                if waited > seconds:
                    raise  # nobody knows how the service is, so that nothing may be taken back
                self._pause()
                continue
            if waited > seconds:
                words = f"{service.name} did not come up within {seconds:.0f} s"
                raise NotMoved(f"{words}: {said}" if said else words)
            self._pause()

    def stay(self, services: Iterable[Service], wanted: Mapping[str, frozenset[str]]) -> None:
        """See that none of the *services* has failed since it arrived.

        The Swarm itself watches a new task for its `monitor` only, which may be a moment.

        Args:
            services: which ones.
            wanted: by a service's id, the ids that each of its tasks must have mounted.

        Raises:
            NotMoved: one has.
            Failed: the engine does not answer.
        """
        tasks: dict[str, list[Any]] = {}
        for task in self._call("list tasks", lambda: self._client.tasks()):
            tasks.setdefault(task["ServiceID"], []).append(task)
        for service in services:
            own = tasks.get(service.id, [])
            new = _with(own, wanted[service.id])
            if self._arrived(service, own, wanted[service.id]) is None and any(
                task["Status"]["State"] in _ENDED_BY_ITSELF for task in new
            ):
                why = _trouble(own, wanted[service.id]) or "its task ended"
                raise NotMoved(f"{service.name} came up with the new version, and then failed: {why}")

    def left(self, service: Service, unwanted: frozenset[str], seconds: float) -> None:
        """Wait until no task of *service* with one of the *unwanted* secrets runs any more, but on nodes that are down.

        Raises:
            NotMoved: one does not end for so long.
            Failed: the engine has not answered for so long.
        """
        begin = time.monotonic()
        while True:
            try:
                tasks = self._call("list tasks", lambda: self._client.tasks(filters={"service": service.id}))
                if not any(self._still_has(task, unwanted) for task in tasks):
                    return
            except Unclear:
                if time.monotonic() - begin > seconds:
                    raise
            else:
                if time.monotonic() - begin > seconds:
                    raise NotMoved(f"{service.name}: its old tasks did not end within {seconds:.0f} s")
            self._pause(_ENDING_POLL_SECONDS)

    def _still_has(self, task: Any, unwanted: frozenset[str]) -> bool:
        ids = {mount.secret_id for mount in mounts_of(task.get("Spec"))}
        return bool(ids & unwanted) and task["Status"]["State"] not in _ENDED and not self._is_lost(task)

    def _pause(self, seconds: float = _POLL_SECONDS) -> None:
        if self.interrupted.wait(seconds):
            raise Failed("interrupted while services were moving", "manage-secrets rotate --resume goes on")

    def _arrived(self, service: Service, tasks: Iterable[Any], wanted: frozenset[str]) -> Arrival | None:
        running = []
        for task in tasks:
            state, is_meant_to_run = task["Status"]["State"], task["DesiredState"] not in ("shutdown", "remove")
            ids = {mount.secret_id for mount in mounts_of(task.get("Spec"))}
            if is_meant_to_run and state != "running" and state not in _ENDED:
                return None
            if is_meant_to_run and state == "running":
                if not wanted <= ids:
                    return None
                running.append(task)
        if service.mode == "replicated" and len(running) < service.replicas:
            return None
        here = self._own_node()
        containers = [
            task["Status"].get("ContainerStatus", {}).get("ContainerID", "")
            for task in running
            if task.get("NodeID") == here
        ]
        return Arrival(tuple(filter(None, containers)), len(running) - len(containers))

    def _is_lost(self, task: Any) -> bool:
        """Return whether the task's node is down, so that nobody can say when it ends."""
        return bool(self._lost_nodes([task]))

    def _lost_nodes(self, tasks: Iterable[Any]) -> set[str]:
        """Return the nodes that are down of those that *tasks* which have not ended are on."""
        names = {task.get("NodeID") or "" for task in tasks if task["Status"]["State"] not in _ENDED}
        names -= {"", self._own_node()}
        if not names:
            return set()
        nodes = self._call("list nodes", lambda: self._client.nodes(filters={"id": sorted(names)}))
        return names - {node["ID"] for node in nodes if node["Status"]["State"] == "ready"}

    def _own_node(self) -> str:
        if not hasattr(self, "_node_id"):
            self._node_id = str(self._call("ask the engine", self._api.info)["Swarm"]["NodeID"])
        return self._node_id


def mounts_of(template: Mapping[str, Any] | None) -> tuple[Mount, ...]:
    """Return the secrets that a task template mounts."""
    container = (template or {}).get("ContainerSpec") or {}
    return tuple(
        Mount(item["SecretID"], item.get("SecretName") or "", (item.get("File") or {}).get("Name") or "")
        for item in container.get("Secrets") or ()
    )


def each(work: Callable[[Any], Any], items: Iterable[Any], parallel: int = PARALLEL_CALLS) -> list[Any]:
    """Return what *work* gives for each of *items*, several at a time."""
    with ThreadPoolExecutor(parallel) as pool:
        return list(pool.map(work, items))


def _has_health_check(config: Mapping[str, Any]) -> bool | None:
    test = (config.get("Healthcheck") or config.get("HealthCheck") or {}).get("Test") or []
    return None if not test else test[0] != "NONE"


def _with(tasks: Iterable[Any], wanted: frozenset[str]) -> list[Any]:
    """Return the tasks that have the *wanted* secrets."""
    return [task for task in tasks if wanted <= {mount.secret_id for mount in mounts_of(task.get("Spec"))}]


def _count_running(tasks: Iterable[Any], wanted: frozenset[str]) -> int:
    return sum(task["Status"]["State"] == "running" for task in _with(tasks, wanted))


def _trouble(tasks: Iterable[Any], wanted: frozenset[str]) -> str:
    """Return what the newest task with the new version says of its end."""
    said = [(task["Status"].get("Timestamp") or "", task["Status"].get("Err") or "") for task in _with(tasks, wanted)]
    return max((item for item in said if item[1]), default=("", ""))[1]
