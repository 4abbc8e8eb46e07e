"""What the engine's API answers, as the model has it. Dictionaries come in, and none leaves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shim_host.errors import Failed
from shim_host.names import file_name, split_version
from shim_host.swarm.model import (
    ANSIBLE_VERSION,
    BY,
    CREATED,
    FINGERPRINT,
    HISTORY,
    KEY,
    NAMESPACE,
    RUN,
    SALT,
    STACK,
    VERSION,
    SecretMount,
    SwarmSecret,
    SwarmService,
)

# What a field of that name is in every answer of the API, if it is there; of lists, what is in them.
_OBJECTS = (
    " Spec PreviousSpec TaskTemplate ContainerSpec Labels Config HostConfig NetworkSettings UpdateStatus UpdateConfig "
    "RollbackConfig Resources RestartPolicy Placement Endpoint EndpointSpec File Healthcheck ContainerStatus "
    "ManagerStatus Description Engine Swarm Cluster Replicated Global Templating EncryptionConfig "
)
_OBJECTS_OR_WORDS = " Health Platform State Status Version "
_LISTS = " Secrets Configs Mounts Ports RemoteManagers RepoTags Warnings "  # and those of words
_LISTS_OF_WORDS = " Env Args Entrypoint Cmd Names CapAdd CapDrop Binds SecurityOpt SecurityOptions Test "
_LISTS_OF_OBJECTS = " Secrets Configs Mounts Ports RemoteManagers "
_WORDS = (
    " ID Id Name SecretID SecretName Image ImageID Message Err NodeID ServiceID DesiredState Type Source Target "
    "Destination Hostname Role Availability Reachability ServerVersion ApiVersion MinAPIVersion OperatingSystem "
    "DockerRootDir LoggingDriver Driver Scope User Data UID GID Order FailureAction PidMode NetworkMode CreatedBy "
    "LocalNodeState NodeAddr Addr Error ContainerID Path Condition EngineVersion Arch Os Reason "
)
_TIMES = " CreatedAt UpdatedAt StartedAt CompletedAt SystemTime Timestamp "
_NUMBERS = (
    " Index Replicas MaxReplicas Interval Timeout StartPeriod Retries Delay Monitor Parallelism TargetPort "
    "PublishedPort ForceUpdate Slot ExitCode Pid NCPU MemTotal Managers "
)
_TRUTHS = (
    " Running Restarting Privileged ReadonlyRootfs ControlAvailable Leader Attachable RW ReadOnly AutoLockManagers "
)
_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    (_OBJECTS, (dict,)),
    (_OBJECTS_OR_WORDS, (dict, str)),
    (_LISTS + _LISTS_OF_WORDS, (list,)),
    (" Command Networks ", (list, str, dict)),
    (_WORDS + _TIMES, (str,)),
    (_NUMBERS, (int,)),
    (_TRUTHS, (bool,)),
    (" Created ", (int, str)),
)
_BY_PLACE: dict[tuple[str, str], tuple[type, ...]] = {
    ("Spec", "Mode"): (dict,),
    ("File", "Mode"): (int,),
    ("UpdateStatus", "State"): (str,),
    ("Status", "State"): (str,),
    ("Health", "Status"): (str,),
    ("State", "Status"): (str,),
    ("State", "Health"): (dict,),
    ("ContainerSpec", "Command"): (list,),
}
_KIND_OF = {name: kinds for names, kinds in _KINDS for name in names.split()}
_OF_WORDS, _OF_OBJECTS = frozenset([*_LISTS_OF_WORDS.split(), "Command"]), frozenset(_LISTS_OF_OBJECTS.split())
_LARGEST = 1 << 63
_MOST_LEVELS = 40
_MAX_DIGITS = 9  # of a version's number


def in_shape(answer: Any) -> tuple[Any, int]:
    """Return what an engine answered, without what its API never has there, and how many things were left out.

    The engine may be anybody's, and whoever starts a container writes much of what it tells of it. A field of another
    kind is left out, as one that is not there; so is, in a list, what has no id, since nobody could name it.
    """
    if isinstance(answer, Mapping):
        return _fields(answer, 0), 0
    if not isinstance(answer, list):
        return answer, 0
    named = [_fields(item, 0) for item in answer if isinstance(item, Mapping)]
    named = [item for item in named if item.get("ID") or item.get("Id")]
    return named, len(answer) - len(named)


class Fields(dict[str, Any]):
    """What an engine says of one thing; what it must say and does not is the engine's fault, not ours."""

    def __missing__(self, name: str) -> Any:
        hint = "is it a Docker engine? Check `docker version` and DOCKER_HOST"
        raise Failed(f"the engine's answer lacks {name}, which its API requires", hint)


def _fields(found: Mapping[str, Any], level: int, place: str = "") -> dict[str, Any]:
    shaped = Fields()
    for name, value in found.items():
        kinds = _BY_PLACE.get((place, name)) or _KIND_OF.get(name)
        is_fit = kinds is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)))
        if value is None or not is_fit or level > _MOST_LEVELS:
            continue
        if isinstance(value, int) and not -_LARGEST < value < _LARGEST:
            continue
        if f" {name} " in _TIMES and not _is_time(value):
            continue
        if isinstance(value, Mapping):
            value = _only_words(value) if name == "Labels" else _fields(value, level + 1, name)
        elif isinstance(value, list):
            kind = str if name in _OF_WORDS else Mapping if name in _OF_OBJECTS else object
            value = [
                _fields(item, level + 1, name) if isinstance(item, Mapping) else item
                for item in value
                if isinstance(item, kind) and item is not None
            ]
        shaped[name] = value
    return shaped


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _only_words(labels: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if isinstance(value, str)}


def secret_of(found: Mapping[str, Any]) -> SwarmSecret:
    """Return the version, or the secret of somebody else, that the engine lists as *found*."""
    spec = found.get("Spec") or {}
    labels = spec.get("Labels") or {}
    name = spec.get("Name") or ""
    version = labels.get(VERSION, "")
    if not labels.get(KEY) or not _is_number(version) or split_version(name)[1] != int(version):
        return _foreign(found, name, labels)  # with a damaged label, or a copy: it is named as one, and can be adopted
    return SwarmSecret(
        id=found["ID"],
        name=name,
        key=labels[KEY],
        version=int(version),
        created=labels.get(CREATED) or found.get("CreatedAt") or "",
        fingerprint=labels.get(FINGERPRINT, ""),
        salt=labels.get(SALT, ""),
        stack=labels.get(STACK, ""),
        by=labels.get(BY, ""),
        history=labels.get(HISTORY, ""),
        run=labels.get(RUN, ""),
        template=(spec.get("Templating") or {}).get("Name", ""),
    )


def _is_number(version: str) -> bool:
    return version.isascii() and version.isdecimal() and len(version) <= _MAX_DIGITS and int(version) > 0


def _foreign(found: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> SwarmSecret:
    """Return a secret that somebody else made: `docker secret create`, a stack's `file:`, Ansible, Portainer."""
    stack, version = labels.get(NAMESPACE) or labels.get(STACK) or "", labels.get(ANSIBLE_VERSION) or ""
    base = name.removeprefix(f"{stack}_") if stack else name
    number = int(version) if _is_number(version) and base.endswith(f"_v{version}") else 0
    if number:
        base = base.removesuffix(f"_v{version}")
    if labels.get(KEY) and split_version(base)[0].casefold() != file_name(labels[KEY]).casefold():
        base = file_name(labels[KEY])  # a copy under another name
    created = found.get("CreatedAt") or ""
    template = ((found.get("Spec") or {}).get("Templating") or {}).get("Name", "")
    return SwarmSecret(found["ID"], name, "", number, created, "", "", stack, template=template, base=base)


def service_of(found: Mapping[str, Any]) -> SwarmService:
    """Return the service that the engine lists as *found*, with what it mounts."""
    spec = found.get("Spec") or {}
    labels = spec.get("Labels") or {}
    stack = labels.get(NAMESPACE, "")
    return SwarmService(found["ID"], spec.get("Name") or "", stack, _targets(mounts_of(spec.get("TaskTemplate"))))


def mounts_of(template: Mapping[str, Any] | None) -> tuple[SecretMount, ...]:
    """Return the secrets that a task's *template* mounts."""
    container = (template or {}).get("ContainerSpec") or {}
    return tuple(
        SecretMount(item["SecretID"], item.get("SecretName") or "", target_of(item))
        for item in container.get("Secrets") or ()
    )


def target_of(reference: Mapping[str, Any]) -> str:
    """Return the name of the file that a mounted secret is inside; "" when it is none."""
    return (reference.get("File") or {}).get("Name") or ""


def _targets(mounts: tuple[SecretMount, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for mount in mounts:
        found[mount.secret_id] = (*found.get(mount.secret_id, ()), mount.target or mount.name)
    return found
