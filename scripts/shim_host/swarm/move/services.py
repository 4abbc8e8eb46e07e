"""Services of the Swarm that move from one version of a secret to another.

A service is written back exactly as it was read, but for its secrets: every field that this release of the SDK, or this
tool, knows nothing of stays as it was.
"""

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from shim_host import output as report
from shim_host.errors import Failed
from shim_host.swarm.answers import in_shape, mounts_of, target_of
from shim_host.swarm.connection import PARALLEL_CALLS, Missing, Unclear, strange_answers
from shim_host.swarm.lock import AGAIN_SECONDS, LEADER_SECONDS, LockKeeper
from shim_host.swarm.model import LABEL, STOP_FIRST, RotatedService, SecretMount
from shim_host.swarm.move.baseline import baseline, moment
from shim_host.swarm.move.room import Node, open_nodes, reserved

# A label for services that make what others need, such as a login: these move before all others.
ORDER = LABEL + "rotate"
_NANOSECONDS = 1_000_000_000
_DEFAULT_MONITOR = 5 * _NANOSECONDS
_DEFAULT_GRACE = 10 * _NANOSECONDS
_DEFAULT_HEALTH = 30 * _NANOSECONDS  # interval and timeout, as the engine has them


class Health(NamedTuple):
    """A health check: whether there is one (None: nobody here can say), and how long its first word may take."""

    is_there: bool | None
    seconds: float = 0


class ServiceWriter(LockKeeper):
    """A connection that reads services and writes them back with other secrets."""

    def movable(self) -> list[RotatedService]:
        """Return every service with what decides whether and how it can move.

        Raises:
            Failed: the engine is not a manager, or does not answer.
        """
        listed = self._call("list services", lambda: self._client.services())
        with strange_answers("list services", self.place):
            self._specs: dict[str, Any] = {
                service["ID"]: service for service in listed if isinstance(service, dict) and service.get("ID")
            }
        found = in_shape(list(self._specs.values()))[0]
        tasks: dict[str, list[Any]] = {}
        for task in self._listed("list tasks", lambda: self._client.tasks()):
            tasks.setdefault(task["ServiceID"], []).append(task)
        info = self._found("ask the engine", self._api.info)
        self._node_id = str(info["Swarm"]["NodeID"])
        now = moment(info["SystemTime"])
        return [self._service(service, tasks.get(service["ID"], []), now) for service in found]

    def nodes(self) -> tuple[list[Node], tuple[int, int]]:
        """Return the nodes that take tasks, and how many managers there are and can be reached."""
        nodes = self._listed("list nodes", lambda: self._client.nodes())
        managers = [node["ManagerStatus"] for node in nodes if node.get("ManagerStatus")]
        reachable = sum(manager.get("Reachability") == "reachable" for manager in managers)
        tasks = self._listed("list tasks", lambda: self._client.tasks())
        return open_nodes(nodes, tasks), (len(managers), reachable)

    def _service(self, found: Mapping[str, Any], tasks: list[Any], now: datetime) -> RotatedService:
        spec = found["Spec"]
        template = spec["TaskTemplate"]
        container = template.get("ContainerSpec") or {}
        mode, about = next(iter((spec.get("Mode") or {"Replicated": {}}).items()))
        ports = (found.get("Endpoint") or {}).get("Ports") or (spec.get("EndpointSpec") or {}).get("Ports") or ()
        before = baseline(spec, tasks, now)
        health = _health(container)
        return RotatedService(
            id=found["ID"],
            name=spec["Name"],
            stack=(spec.get("Labels") or {}).get("com.docker.stack.namespace", ""),
            mounts=mounts_of(template),
            previous=mounts_of((found.get("PreviousSpec") or {}).get("TaskTemplate")),
            mode={"Global": "global", "ReplicatedJob": "replicated-job", "GlobalJob": "global-job"}.get(
                mode, "replicated"
            ),
            replicas=before.meant if mode == "Global" else int((about or {}).get("Replicas", 1)),
            order=(spec.get("UpdateConfig") or {}).get("Order") or STOP_FIRST,
            has_health_check=health.is_there,
            host_ports=tuple(port["PublishedPort"] for port in ports if port.get("PublishMode") == "host"),
            max_per_node=int((template.get("Placement") or {}).get("MaxReplicas") or 0),
            volumes=tuple(
                mount["Target"]
                for mount in container.get("Mounts") or ()
                if mount.get("Type") in ("volume", "bind") and not mount.get("ReadOnly")
            ),
            goes_first=(spec.get("Labels") or {}).get(ORDER) == "first",
            update_state=(found.get("UpdateStatus") or {}).get("State") or "",
            running=before.running,
            is_finished=before.is_finished,
            trouble=before.trouble,
            unplaced=before.unplaced,
            constraints=tuple(map(str, (template.get("Placement") or {}).get("Constraints") or ())),
            reserves=reserved(template),
            own_seconds=_own_seconds(spec) + health.seconds,
            grace_seconds=_grace(container) / _NANOSECONDS,
        )

    def image_health_checks(self, services: Iterable[RotatedService]) -> dict[str, Health]:
        """Return by service id the health check that its image brings; none is known when the image is not here."""
        images = {
            service.id: self._specs[service.id]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            for service in services
        }

        def one(image: str) -> Health:
            try:
                config = self._found("look at an image", lambda: self._client.inspect_image(image))["Config"] or {}
            except Failed:
                return Health(None)
            health = _health(config)
            return health if health.is_there else Health(False)

        known = {image: one(image) for image in set(images.values())}
        return {service: known[image] for service, image in images.items()}

    def changed_images(self, services: Iterable[RotatedService]) -> dict[str, tuple[str, bool]]:
        """Return by service id the image of each that runs here with an image that is not what its name means by now.

        Beside the name: whether there is one of that name. One with a digest always means the same.
        """
        running: dict[str, set[str]] = {}
        try:
            containers = self._listed("list containers", self._api.containers)
        except Failed as failed:
            report.detail(f"whether images have changed is not known: {failed.message}")
            return {}
        for container in containers:
            of = (container.get("Labels") or {}).get("com.docker.swarm.service.id")
            if of and container.get("ImageID"):
                running.setdefault(of, set()).add(container["ImageID"])
        images: dict[str, str] = {}
        for service in services:
            template = self._specs[service.id]["Spec"]["TaskTemplate"]
            image = str((template.get("ContainerSpec") or {}).get("Image") or "")
            if image and service.id in running and "@" not in image:
                images[service.id] = image

        def meant(image: str) -> str | None:
            inspect = partial(self._client.inspect_image, image)
            try:
                return str((self._unless_gone(self._found, "look at an image", inspect) or {}).get("Id") or "")
            except Failed as failed:
                report.detail(failed.message)
                return None

        ids = {image: meant(image) for image in set(images.values())}
        return {
            of: (image, bool(its))
            for of, image in images.items()
            if (its := ids[image]) is not None and its not in running[of]
        }

    def swap(self, service_id: str, swaps: Mapping[str, tuple[str, SecretMount]]) -> bool:
        """Make the service mount other versions under the same targets; return whether anything had to change.

        Args:
            service_id: which one; one that is gone is left alone.
            swaps: by target, the id that is mounted there and the mount that takes its place.

        Raises:
            Failed: the engine refuses it, or has no leader for too long.
        """

        def change(spec: Any) -> bool:
            has_changed = False
            for reference in (spec["TaskTemplate"].get("ContainerSpec") or {}).get("Secrets") or ():
                leaving, mount = swaps.get(target_of(reference), ("", None))
                if mount is not None and reference["SecretID"] == leaving:
                    reference["SecretID"], reference["SecretName"] = mount.secret_id, mount.name
                    has_changed = True
            return has_changed

        return self._update(service_id, change)

    def bump(self, service_id: str) -> None:
        """Make the Swarm restart an update that waits for a node which does not answer."""
        found = self._read(service_id)
        if found is None:
            return
        before = found["Spec"]["TaskTemplate"].get("ForceUpdate", 0)

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
        before = (self._read(service_id) or {}).get("PreviousSpec") or {}
        if not gone & {mount.secret_id for mount in mounts_of(before.get("TaskTemplate"))}:
            return

        def change(_spec: Any) -> bool:
            previous = (self._specs.get(service_id) or {}).get("PreviousSpec") or {}
            return bool(gone & {mount.secret_id for mount in mounts_of(previous.get("TaskTemplate"))})

        self._update(service_id, change)

    def _read(self, service_id: str) -> Any:
        """Return the service as it is, or None when it is gone; with every field of it in `_specs`, to be changed."""
        found = None

        def read() -> Any:
            nonlocal found
            found = self._client.inspect_service(service_id)
            return found

        shaped = self._unless_gone(self._found, "read a service", read)
        self._specs[service_id] = found
        return shaped

    def _update(self, service_id: str, change: Callable[[Any], bool]) -> bool:
        """Apply *change* to the specification until the engine has taken it; return whether anything had to change."""
        deadline = time.monotonic() + LEADER_SECONDS
        if not self._specs.get(service_id):
            self._settled(lambda: self._read(service_id), deadline)
        has_changed = False
        while (found := self._specs.get(service_id)) is not None:
            with strange_answers("change a service", self.place):
                spec = copy.deepcopy(found["Spec"])
                if not change(spec):
                    return has_changed
                name, index = str(spec["Name"]), int(found["Version"]["Index"])
            self._specs.pop(service_id, None)  # whatever comes of it, what was read is no more
            try:
                self._call(
                    f"update {name}",
                    lambda spec=spec, index=index: self._post(
                        f"services/{service_id}/update", spec, {"version": index}
                    ),
                )
            except Missing:
                if self._settled(lambda: self._read(service_id), deadline) is not None:
                    raise
            except Unclear:
                # It may have been done; the version may have moved under us; the leader may be gone: look again.
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)
            else:
                return True
            has_changed = True
            self._settled(lambda: self._read(service_id), deadline)
        return has_changed

    def _own_node(self) -> str:
        if not hasattr(self, "_node_id"):
            self._node_id = str(self._found("ask the engine", self._api.info)["Swarm"]["NodeID"])
        return self._node_id


def each(work: Callable[[Any], Any], items: Iterable[Any], parallel: int = PARALLEL_CALLS) -> list[Any]:
    """Return what *work* gives for each of *items*, several at a time."""
    with ThreadPoolExecutor(parallel) as pool:
        return list(pool.map(work, items))


def _health(config: Mapping[str, Any]) -> Health:
    check = config.get("Healthcheck") or config.get("HealthCheck") or {}
    test = check.get("Test") or []
    if not test or test[0] == "NONE":
        return Health(False if test else None)
    first_word = (check.get("Interval") or _DEFAULT_HEALTH) + (check.get("Timeout") or _DEFAULT_HEALTH)
    return Health(True, ((check.get("StartPeriod") or 0) + first_word) / _NANOSECONDS)


def _grace(container: Mapping[str, Any]) -> int:
    return container.get("StopGracePeriod") or _DEFAULT_GRACE


def _own_seconds(spec: Mapping[str, Any]) -> float:
    """Return how long the service's own settings let an update stall, on its way and on the Swarm's way back."""
    settings = [spec.get("UpdateConfig") or {}, spec.get("RollbackConfig") or {}]
    ending = 0
    if any((config.get("Order") or STOP_FIRST) == STOP_FIRST for config in settings):  # the old task ends first
        ending = _grace(spec["TaskTemplate"].get("ContainerSpec") or {})
    delay = max(config.get("Delay") or 0 for config in settings)
    monitor = max(config.get("Monitor") or _DEFAULT_MONITOR for config in settings)
    return float(delay + monitor + ending) / _NANOSECONDS
