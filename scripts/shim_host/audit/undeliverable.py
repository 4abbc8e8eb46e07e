"""The secrets for which `docker compose up` ends with an error."""

from collections.abc import Iterator

from shim_host.audit.model import WARNING, AuditedService, Facts, Finding
from shim_host.shell import quoted


def findings(service: AuditedService, facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each secret that keeps *service* from starting; a stack file may have external ones."""
    in_swarm = {name for version in facts.versions for name in (version.name, version.key) if name}
    for mount in service.mounts:
        message = ""
        if mount.is_external and not in_swarm & {mount.name, mount.key}:
            message = f"{service.name} mounts the external secret {mount.name}, which only a Swarm could have"
        elif mount.is_copied and service.is_read_only:
            message = f"{service.name} is read_only, so Compose cannot copy the secret {mount.name} into it"
        if message:
            hint = f"name its file instead: file: {quoted(f'./secrets/{mount.name.lower()}')}"
            yield Finding("secret-not-deliverable", WARNING, message, hint, mount.key, service.name, service.place)
