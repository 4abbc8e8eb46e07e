"""What the engine's API answers, as the model has it. Dictionaries come in, and none leaves."""

from collections.abc import Mapping
from typing import Any

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


def secret_of(found: Mapping[str, Any]) -> SwarmSecret:
    """Return the version, or the secret of somebody else, that the engine lists as *found*."""
    spec = found.get("Spec") or {}
    labels = spec.get("Labels") or {}
    name = spec.get("Name") or ""
    if not labels.get(KEY):
        return _foreign(found, name, labels)
    version = labels.get(VERSION, "")
    return SwarmSecret(
        id=found["ID"],
        name=name,
        key=labels[KEY],
        version=int(version) if version.isdecimal() else 0,
        created=labels.get(CREATED) or found.get("CreatedAt") or "",
        fingerprint=labels.get(FINGERPRINT, ""),
        salt=labels.get(SALT, ""),
        stack=labels.get(STACK, ""),
        by=labels.get(BY, ""),
        history=labels.get(HISTORY, ""),
        run=labels.get(RUN, ""),
        template=(spec.get("Templating") or {}).get("Name", ""),
    )


def _foreign(found: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> SwarmSecret:
    """Return a secret that somebody else made: `docker secret create`, a stack's `file:`, Ansible, Portainer."""
    stack, version = labels.get(NAMESPACE) or "", labels.get(ANSIBLE_VERSION) or ""
    base = name.removeprefix(f"{stack}_") if stack else name
    number = int(version) if version.isdecimal() and base.endswith(f"_v{version}") else 0
    if number:
        base = base.removesuffix(f"_v{version}")
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
