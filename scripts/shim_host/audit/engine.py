"""What the engine knows about secrets and about who has them, for `audit`: asked in one pass, a few calls at a time.

Variables, arguments, labels and histories are looked through here, and only what was recognised in them leaves.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shim_host import names
from shim_host.audit.gaps import paused as gap_of_paused
from shim_host.audit.joining import started_with
from shim_host.audit.model import (
    ARGUMENTS,
    CONFIG,
    ELSEWHERE,
    ENVIRONMENT,
    HEALTH_CHECK,
    IMAGE_ENVIRONMENT,
    IMAGE_HISTORY,
    LABEL,
    NOT_ASKED,
    AuditedMount,
    AuditedService,
    Container,
    Image,
    Trace,
    Version,
)
from shim_host.audit.traces import Recogniser
from shim_host.errors import Ended
from shim_host.explained import Explained
from shim_host.fingerprints import WITHOUT_KEY, Fingerprints
from shim_host.swarm import asking
from shim_host.swarm import labels as swarm_labels
from shim_host.swarm.answers import Fields
from shim_host.swarm.connection import PARALLEL_CALLS, Swarm
from shim_host.swarm.helper.elsewhere import HELPER
from shim_host.swarm.helper.read_back import READER
from shim_host.swarm.model import ENGINE_LEFT_OUT, RunningContainer, SwarmSecret

_SERVICE_LABEL, _TASK_LABEL = "com.docker.swarm.service.name", "com.docker.swarm.task.id"
_COMPOSE_SERVICE, _COMPOSE_PROJECT = "com.docker.compose.service", "com.docker.compose.project"
_COMPOSE_ONE_OFF = "com.docker.compose.oneoff"
_COMPOSE_FOLDER = f"{_COMPOSE_PROJECT}.working_dir"
_STACK = "com.docker.stack.namespace"
_OWN_LABELS = ("com.docker.", "org.opencontainers.", "docker-secrets-shim.", "desktop.docker.io/")
_WIDE_FOLDERS = ("/", "/var", "/var/run", "/run", "/var/lib", "/var/lib/docker", "/proc", "/etc", "/root")
_WIDE_CAPABILITIES = ("ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH")
_SECRETS = "/run/secrets"
_STATES = {
    "active": "this node is a worker, or has no connection to its managers",
    "locked": "it is locked (docker swarm unlock)",
    "pending": "this node is still joining it",
}
_HELPERS = {READER, HELPER}
_WITHOUT_SALT = "none"  # no mark is called so
# What makes the fingerprints, given the key that the Swarm has.
PrintsUnder = Callable[[bytes | None], Fingerprints]


@dataclass(frozen=True)
class Seen:
    """What one engine said."""

    place: str
    prints: Fingerprints = WITHOUT_KEY
    versions: tuple[Version, ...] = ()
    services: tuple[AuditedService, ...] = ()
    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    configs: tuple[Trace, ...] = ()
    managers: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


class Auditor(Swarm):
    """A connection that looks at everything which could show a secret."""

    def look(
        self, recogniser: Recogniser, known: Iterable[str], prints_under: PrintsUnder, *, asks_containers: bool
    ) -> Seen:
        """Return what this engine knows.

        Args:
            recogniser: finds values in plain text.
            known: the keys of the schema, for secrets that others made.
            prints_under: what makes the fingerprints, given the key that the Swarm has.
            asks_containers: whether the shim in running containers is asked for its fingerprints.

        Raises:
            Failed: the engine does not answer.
        """
        gaps: list[str] = []
        client: Any = self._api
        info = self._found("ask the engine", self._api.info)
        swarm = info.get("Swarm") or {}
        with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
            listing = pool.submit(self._listed, "list containers", self._api.containers)
            secrets: list[SwarmSecret] = []
            its_key: bytes | None = None
            found_services: list[Any] = []
            nodes: list[Any] = []
            configs: list[Any] = []
            if swarm.get("ControlAvailable"):
                asked: list[Future[Any]] = [
                    pool.submit(self.secrets),
                    pool.submit(self._listed, "list services", self._api.services),
                    pool.submit(self._listed, "list nodes", client.nodes),
                    pool.submit(self._listed, "list configs", client.configs),
                ]
                try:
                    secrets, found_services, nodes, configs = (job.result() for job in asked)
                    its_key = swarm_labels.fingerprint_key(self)
                except Ended as ended:
                    gaps.append(f"the Swarm: {ended.message}")
            elif (state := swarm.get("LocalNodeState") or "inactive") != "inactive":
                gaps.append(f"the Swarm: {_STATES.get(state) or swarm.get('Error') or f'it is {state}'}")
            if len(nodes) > 1:
                gaps.append(f"{ELSEWHERE}{len(nodes) - 1} other nodes: run audit there too")
            prints = prints_under(its_key)
            secrets = swarm_labels.taken_over(secrets, prints)
            listed = listing.result()
            inspected = list(pool.map(lambda found: self._inspected(found, gaps), listed))
            own = [found for found in found_services if not _HELPERS & (found["Spec"].get("Labels") or {}).keys()]
            image_names = {
                *(_spec_of(found).get("Image", "") for found in own),
                *(item["Image"] for item in listed if item.get("Image")),
            }
            image_jobs = {
                name: pool.submit(self._image, name, recogniser, gaps) for name in sorted(image_names) if name
            }
            holders = [found for found in inspected if found is not None and _holds_secrets(found)]
            paused = [found["Name"].lstrip("/") for found in holders if (found.get("State") or {}).get("Paused")]
            gaps += [gap_of_paused(name) for name in paused if asks_containers]
            explained: list[Explained | None] = [None] * len(holders)
            if asks_containers:
                explained = asking.ask_all(self, list(map(_running, holders)), prints.question, gaps)
            images = {name: job.result() for name, job in image_jobs.items()}
        if listed and not asks_containers:
            gaps.append(NOT_ASKED)
        image_values = {name: config for name, (_, config) in images.items()}
        in_configs = dict(_of_configs(configs, recogniser))
        mounted = {at["ConfigID"] for found in own for at in _spec_of(found).get("Configs") or ()}
        services = [_swarm_service(found, recogniser, image_values, in_configs) for found in own]
        services += [
            _of_container(found, recogniser, image_values)
            for found in inspected
            if found is not None and _is_own(found)
        ]
        return Seen(
            place=self.place,
            prints=prints,
            versions=tuple(_versions(secrets, list(known))),
            services=tuple(services),
            containers=tuple(_container(*pair, prints) for pair in zip(holders, explained, strict=True)),
            configs=tuple(trace for at, trace in in_configs.items() if at not in mounted),
            images=tuple(Image(_short(name), traces) for name, (traces, _) in images.items() if traces),
            managers=tuple(
                (node.get("Description") or {}).get("Hostname") or node["ID"]
                for node in nodes
                if node.get("ManagerStatus")
            ),
            gaps=tuple(gaps),
        )

    def _inspected(self, listed: Mapping[str, Any], gaps: list[str]) -> Any:
        """Return all that the engine says about a container; None when it is gone by now, or cannot be looked at."""
        try:
            found = self._unless_gone(
                self._found, "look at what runs", lambda: self._api.inspect_container(listed["Id"])
            )
            return found and Fields(found, Config=found.get("Config") or Fields(), Name=found.get("Name") or "")
        except Ended as ended:
            gaps.append(f"{ENGINE_LEFT_OUT}the container {listed['Id'][:12]}: {ended.message}")
            return None

    def _image(self, name: str, recogniser: Recogniser, gaps: list[str]) -> tuple[tuple[Trace, ...], dict[str, Any]]:
        """Return what the image *name* shows, and its configuration; nothing of one that is not on this machine."""
        client: Any = self._api
        try:
            found = self._unless_gone(self._found, "look at what runs", lambda: client.inspect_image(name))
            if found is None:
                return (), {}
            history = self._unless_gone(self._listed, "look at what runs", lambda: client.history(found["Id"])) or []
        except Ended as ended:
            gaps.append(f"{ENGINE_LEFT_OUT}the image {_short(name)}: {ended.message}")
            return (), {}
        config = found.get("Config") or {}
        traces = [*_of_config(config, recogniser, IMAGE_ENVIRONMENT)]
        seen = {trace.name for trace in traces} | {trace.key for trace in traces if trace.key}
        for number, layer in enumerate(reversed(history)):
            for trace in recogniser.text(IMAGE_HISTORY, layer.get("CreatedBy") or "", f"step {number + 1}"):
                if not seen & {trace.name, trace.key}:  # what ENV sets is in the history, too
                    seen.add(trace.key or trace.name)
                    traces.append(trace)
        return tuple(traces), config


def _versions(secrets: Iterable[SwarmSecret], known: list[str]) -> Iterator[Version]:
    """Yield the secrets of the Swarm; one without our labels belongs to the key in its name, if one is known."""
    foreign = [names.split_version(secret.name)[0] for secret in secrets if not secret.key]
    keys = names.keys_of(foreign, known)
    for secret in secrets:
        base, number = names.split_version(secret.name)
        key = secret.key or (keys[base] if keys.get(base) in known else "")
        try:
            created = datetime.fromisoformat(secret.created[:19] + "+00:00")
        except ValueError:
            created = None
        is_ours = bool(secret.key)
        version = secret.version or number
        made = (secret.fingerprint, secret.salt, secret.stack, is_ours, bool(secret.template))
        yield Version(secret.id, secret.name, key, version, created, *made)


def _spec_of(service: Mapping[str, Any]) -> Mapping[str, Any]:
    return (service["Spec"].get("TaskTemplate") or {}).get("ContainerSpec") or {}


def _pairs(entries: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    for entry in entries or ():
        name, _, value = entry.partition("=")
        yield name, value


def _short(image: str) -> str:
    """Return an image's name without its digest."""
    name, _, digest = image.partition("@")
    return name or digest


def _labels(labels: Mapping[str, str] | None, recogniser: Recogniser) -> Iterator[Trace]:
    for name, value in (labels or {}).items():
        if not name.startswith(_OWN_LABELS) and (trace := recogniser.variable(LABEL, name, value)) is not None:
            yield trace


def _of_config(config: Mapping[str, Any], recogniser: Recogniser, environment: str) -> Iterator[Trace]:
    """Yield the traces in the configuration of a container or an image."""
    for name, value in _pairs(config.get("Env")):
        if (trace := recogniser.variable(environment, name, value)) is not None:
            yield trace
    yield from recogniser.words(ARGUMENTS, [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])
    yield from recogniser.words(HEALTH_CHECK, (config.get("Healthcheck") or {}).get("Test") or ())
    yield from _labels(config.get("Labels"), recogniser)


def _of_configs(configs: Iterable[Mapping[str, Any]], recogniser: Recogniser) -> Iterator[tuple[str, Trace]]:
    """Yield the configs that hold a value, by id; ours hold none, but for the key of the fingerprints."""
    for config in configs:
        spec = config["Spec"]
        if not spec["Name"].startswith(_OWN_LABELS):
            text = base64.b64decode(spec.get("Data") or "").decode("utf-8", "surrogateescape")
            if (found := recogniser.known(text)) is not None:
                yield config["ID"], Trace(CONFIG, spec["Name"], found[0], found[1], is_certain=True)


def _swarm_service(
    found: Mapping[str, Any], recogniser: Recogniser, images: Mapping[str, Any], in_configs: Mapping[str, Trace]
) -> AuditedService:
    spec, container = found["Spec"], _spec_of(found)
    labels = spec.get("Labels") or {}
    stack = labels.get(_STACK, "")
    traces: list[Trace] = []
    for name, value in _pairs(container.get("Env")):
        if (trace := recogniser.variable(ENVIRONMENT, name, value)) is not None:
            traces.append(trace)
    traces += recogniser.words(ARGUMENTS, [*(container.get("Command") or ()), *(container.get("Args") or ())])
    traces += recogniser.words(HEALTH_CHECK, (container.get("Healthcheck") or {}).get("Test") or ())
    traces += _labels({**labels, **(container.get("Labels") or {})}, recogniser)
    traces += [in_configs[at["ConfigID"]] for at in container.get("Configs") or () if at["ConfigID"] in in_configs]
    mounts = []
    for reference in container.get("Secrets") or ():
        file = reference.get("File") or {}
        target = (file.get("Name") or reference.get("SecretName") or "").removeprefix(_SECRETS + "/")
        mounts.append(AuditedMount(reference["SecretID"], target, mode=file.get("Mode")))
    image = container.get("Image") or ""
    binds = [item.get("Source") or "" for item in container.get("Mounts") or () if item.get("Type") == "bind"]
    return AuditedService(
        name=spec["Name"],
        kind="swarm",
        own_name=spec["Name"].removeprefix(f"{stack}_") if stack else spec["Name"],
        stack=stack,
        image=_short(image),
        user=container.get("User") or (images.get(image) or {}).get("User") or "",
        mounts=tuple(mounts),
        traces=tuple(dict.fromkeys(traces)),
        reach=tuple(_reach(binds, container.get("CapabilityAdd") or ())),
    )


def _reach(binds: Iterable[str], capabilities: Iterable[str]) -> Iterator[str]:
    """Yield why somebody with these could read what is not meant for it."""
    for source in binds:
        if source.endswith("docker.sock"):
            yield "has the engine's socket"
        elif (source.rstrip("/") or "/") in _WIDE_FOLDERS:
            yield f"has {source} of the machine"
    for capability in capabilities:
        if capability.removeprefix("CAP_") in _WIDE_CAPABILITIES:
            yield f"has the capability {capability.removeprefix('CAP_')}"


def _running(found: Mapping[str, Any]) -> RunningContainer:
    return RunningContainer(found["Id"], found["Name"].lstrip("/"), _service_name(found)[0])


def _service_name(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of the service that a container belongs to, and its kind."""
    labels = found["Config"].get("Labels") or {}
    if _SERVICE_LABEL in labels:
        return labels[_SERVICE_LABEL], "swarm"
    if _COMPOSE_SERVICE in labels and labels.get(_COMPOSE_ONE_OFF) != "True":  # of `compose run`: none of its services
        return labels[_COMPOSE_SERVICE], "compose"
    return found["Name"].lstrip("/"), "container"


def _is_own(found: Mapping[str, Any]) -> bool:
    """Return whether the container speaks for itself: a task of the Swarm is described by its service."""
    return _service_name(found)[1] != "swarm"


def _holds_secrets(found: Mapping[str, Any]) -> bool:
    mounts = (mount.get("Destination") or "" for mount in found.get("Mounts") or ())
    is_task = _TASK_LABEL in (found["Config"].get("Labels") or {})
    return is_task or any(f"{mount}/".startswith(_SECRETS + "/") for mount in mounts)


def _of_container(found: Mapping[str, Any], recogniser: Recogniser, images: Mapping[str, Any]) -> AuditedService:
    """Return a container as the service that it is, or is one of."""
    config, host = found["Config"], found.get("HostConfig") or {}
    name, kind = _service_name(found)
    of_image = images.get(config.get("Image") or "") or {}
    # What the image brings is said about the image.
    own = {**config, "Env": [entry for entry in config.get("Env") or () if entry not in (of_image.get("Env") or ())]}
    for field in ("Entrypoint", "Cmd", "Healthcheck"):
        if own.get(field) == of_image.get(field):
            own[field] = None
    image_labels = of_image.get("Labels") or {}
    own["Labels"] = {k: v for k, v in (config.get("Labels") or {}).items() if image_labels.get(k) != v}
    mounts, binds = [], []
    for mount in found.get("Mounts") or ():
        source, target = mount.get("Source") or "", mount.get("Destination") or ""
        if f"{target}/".startswith(_SECRETS + "/"):
            inner = target.removeprefix(_SECRETS).lstrip("/")
            mounts.append(AuditedMount("", inner, file=source))
        elif mount.get("Type") == "bind":
            binds.append(source)
    reach = list(_reach(binds, host.get("CapAdd") or ()))
    if host.get("Privileged"):
        reach.append("is privileged")
    if host.get("PidMode") == "host":
        reach.append("sees every process of the machine")
    labels = config.get("Labels") or {}
    return AuditedService(
        name=name,
        kind=kind,
        own_name=name,
        stack=labels.get(_COMPOSE_PROJECT, "") if kind == "compose" else "",
        image=_short(config.get("Image") or ""),
        user=config.get("User") or "",
        mounts=tuple(mounts),
        traces=tuple(dict.fromkeys(_of_config(own, recogniser, ENVIRONMENT))),
        reach=tuple(reach),
        folder=labels.get(_COMPOSE_FOLDER, "") if kind == "compose" else "",
    )


def _container(found: Mapping[str, Any], explained: Explained | None, prints: Fingerprints) -> Container:
    name, (service, kind) = found["Name"].lstrip("/"), _service_name(found)
    config, labels = found["Config"], found["Config"].get("Labels") or {}
    project = labels.get(_COMPOSE_PROJECT, "") if kind == "compose" else ""
    words = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    watches = bool(dict(_pairs(config.get("Env"))).get("SHIM_ON_CHANGE")) or any(
        word.startswith("--on-change") for word in words
    )
    started = _started(found)
    start = started_with(labels, _COMPOSE_PROJECT)
    blank = Container(name, service, None, "", project, kind=kind, started=started, watches=watches, **start)
    if explained is None:
        return blank
    mark = prints.mark if explained.made_with == "hmac" else ""
    if explained.made_with == "salt":
        salt = dict(_pairs(found["Config"].get("Env"))).get("SHIM_SALT", "")
        mark = Fingerprints(salt=salt.encode("utf-8", "surrogateescape")).mark
    # A value that the environment brought is a finding of its own, and no version of a secret.
    had = explained.fingerprints if watches else explained.running
    seen = frozenset(explained.started)
    return replace(blank, fingerprints=had, salt_mark=mark or _WITHOUT_SALT, seen=seen)


def _started(found: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat((found.get("State") or {}).get("StartedAt", "")[:19] + "+00:00")
    except ValueError:
        return None
