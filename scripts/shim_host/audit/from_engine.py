"""What an engine answered about containers, services, secrets and configs, in the terms of the audit.

Variables, arguments and labels are looked through here, and only what was recognised in them leaves.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from shim_host import names
from shim_host.audit.joining import started_with
from shim_host.audit.model import (
    ARGUMENTS,
    CONFIG,
    ENVIRONMENT,
    HEALTH_CHECK,
    LABEL,
    AuditedMount,
    AuditedService,
    Container,
    Trace,
    Version,
)
from shim_host.audit.traces import Recogniser
from shim_host.explained import Explained
from shim_host.fingerprints import Fingerprints
from shim_host.swarm.model import RunningContainer, SwarmSecret

_SERVICE_LABEL, _TASK_LABEL = "com.docker.swarm.service.name", "com.docker.swarm.task.id"
_COMPOSE_SERVICE, _COMPOSE_PROJECT = "com.docker.compose.service", "com.docker.compose.project"
_COMPOSE_ONE_OFF = "com.docker.compose.oneoff"
_COMPOSE_FOLDER = f"{_COMPOSE_PROJECT}.working_dir"
_STACK = "com.docker.stack.namespace"
_OWN_LABELS = ("com.docker.", "org.opencontainers.", "docker-secrets-shim.", "desktop.docker.io/")
_WIDE_FOLDERS = ("/", "/var", "/var/run", "/run", "/var/lib", "/var/lib/docker", "/proc", "/etc", "/root")
_WIDE_CAPABILITIES = ("ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH")
_SECRETS = "/run/secrets"
_WITHOUT_SALT = "none"  # no mark is called so


def versions_of(secrets: Iterable[SwarmSecret], known: list[str]) -> Iterator[Version]:
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


def spec_of(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the containers of a Swarm's *service* are made."""
    return (service["Spec"].get("TaskTemplate") or {}).get("ContainerSpec") or {}


def _pairs(entries: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    for entry in entries or ():
        name, _, value = entry.partition("=")
        yield name, value


def short_name(image: str) -> str:
    """Return an image's name without its digest."""
    name, _, digest = image.partition("@")
    return name or digest


def _labels(labels: Mapping[str, str] | None, recogniser: Recogniser) -> Iterator[Trace]:
    for name, value in (labels or {}).items():
        if not name.startswith(_OWN_LABELS) and (trace := recogniser.variable(LABEL, name, value)) is not None:
            yield trace


def traces_in(config: Mapping[str, Any], recogniser: Recogniser, environment: str) -> Iterator[Trace]:
    """Yield the traces in the configuration of a container or an image."""
    for name, value in _pairs(config.get("Env")):
        if (trace := recogniser.variable(environment, name, value)) is not None:
            yield trace
    yield from recogniser.words(ARGUMENTS, [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])
    yield from recogniser.words(HEALTH_CHECK, (config.get("Healthcheck") or {}).get("Test") or ())
    yield from _labels(config.get("Labels"), recogniser)


def traces_in_configs(configs: Iterable[Mapping[str, Any]], recogniser: Recogniser) -> Iterator[tuple[str, Trace]]:
    """Yield the configs that hold a value, by id; ours hold none, but for the key of the fingerprints."""
    for config in configs:
        spec = config["Spec"]
        if not spec["Name"].startswith(_OWN_LABELS):
            text = base64.b64decode(spec.get("Data") or "").decode("utf-8", "surrogateescape")
            if (found := recogniser.known(text)) is not None:
                yield config["ID"], Trace(CONFIG, spec["Name"], found[0], found[1], is_certain=True)


def swarm_service(
    found: Mapping[str, Any], recogniser: Recogniser, images: Mapping[str, Any], in_configs: Mapping[str, Trace]
) -> AuditedService:
    """Return a service of the Swarm, given the configurations of *images* and what is *in_configs*, by its id."""
    spec, container = found["Spec"], spec_of(found)
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
        image=short_name(image),
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


def name_of(found: Mapping[str, Any]) -> str:
    """Return what a container is called."""
    return str(found["Name"]).lstrip("/")


def is_paused(found: Mapping[str, Any]) -> bool:
    """Return whether a container is paused, so that nothing in it answers."""
    return bool((found.get("State") or {}).get("Paused"))


def running(found: Mapping[str, Any]) -> RunningContainer:
    """Return a container as one that can be asked."""
    return RunningContainer(found["Id"], name_of(found), _service_name(found)[0])


def _service_name(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of the service that a container belongs to, and its kind."""
    labels = found["Config"].get("Labels") or {}
    if _SERVICE_LABEL in labels:
        return labels[_SERVICE_LABEL], "swarm"
    if _COMPOSE_SERVICE in labels and labels.get(_COMPOSE_ONE_OFF) != "True":  # of `compose run`: none of its services
        return labels[_COMPOSE_SERVICE], "compose"
    return name_of(found), "container"


def is_own(found: Mapping[str, Any]) -> bool:
    """Return whether the container speaks for itself: a task of the Swarm is described by its service."""
    return _service_name(found)[1] != "swarm"


def holds_secrets(found: Mapping[str, Any]) -> bool:
    """Return whether a container may have secrets: it mounts some, or is a task of the Swarm."""
    mounts = (mount.get("Destination") or "" for mount in found.get("Mounts") or ())
    is_task = _TASK_LABEL in (found["Config"].get("Labels") or {})
    return is_task or any(f"{mount}/".startswith(_SECRETS + "/") for mount in mounts)


def service_of_container(found: Mapping[str, Any], recogniser: Recogniser, images: Mapping[str, Any]) -> AuditedService:
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
        image=short_name(config.get("Image") or ""),
        user=config.get("User") or "",
        mounts=tuple(mounts),
        traces=tuple(dict.fromkeys(traces_in(own, recogniser, ENVIRONMENT))),
        reach=tuple(reach),
        folder=labels.get(_COMPOSE_FOLDER, "") if kind == "compose" else "",
    )


def audited_container(found: Mapping[str, Any], explained: Explained | None, prints: Fingerprints) -> Container:
    """Return a container with what the shim in it *explained*, as fingerprints that *prints* can be compared with."""
    name, (service, kind) = name_of(found), _service_name(found)
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
