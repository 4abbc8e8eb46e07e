"""What a Compose file says about its services, and what the engine shows of them, as one list."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shim_host import inventory, names
from shim_host.audit.model import AuditedMount, AuditedService, Container
from shim_host.store.vault import Vault


def started_with(labels: Mapping[str, str], compose: str) -> dict[str, Any]:
    """Return what the *labels* of a container, named after *compose*, tell of its start: fields of a `Container`."""
    folder = labels.get(f"{compose}.working_dir") or ""
    files, env_files = (
        tuple(filter(None, (labels.get(f"{compose}.{name}") or "").split(",")))
        for name in ("config_files", "environment_file")
    )
    given = tuple(file for file in env_files if file != f"{folder}/.env")
    return {"folder": folder, "compose_files": files, "env_files": given}


def joined(
    of_file: list[AuditedService], seen: Iterable[AuditedService], project: str, others: Collection[str], store: Vault
) -> list[AuditedService]:
    """Return all services once: a running container of a Compose service adds to what the file says about it.

    Args:
        of_file: what the Compose file says.
        seen: what runs.
        project: the Compose project's name.
        others: folders of projects that are only called as this one.
        store: ./secrets.
    """
    all_of_them = {(service.kind, service.stack, service.name): service for service in of_file}
    for service in seen:
        if service.kind == "compose" and service.stack == project and service.folder in others:
            service = replace(service, stack=service.folder)
        at = (service.kind, service.stack, service.name)
        mounts = tuple(_whole_folders(service.mounts, store))
        if at not in all_of_them:
            other = service
            if service.kind != "swarm" and not (service.kind == "compose" and service.stack == project):
                other = _of_another(service, mounts, store)
            all_of_them[at] = replace(other, mounts=other.mounts if other is not service else mounts)
            continue
        known = all_of_them[at]
        targets = {mount.target for mount in known.mounts}
        named = {(trace.where, trace.name) for trace in known.traces}
        all_of_them[at] = replace(
            known,
            user=service.user or known.user,
            mounts=(*known.mounts, *(mount for mount in mounts if mount.target not in targets)),
            traces=(*known.traces, *(trace for trace in service.traces if (trace.where, trace.name) not in named)),
            reach=tuple(dict.fromkeys((*known.reach, *service.reach))),
        )
    files = {(item.kind, item.stack, item.name) for item in of_file}
    return [
        item
        for at, item in all_of_them.items()
        if item.kind == "swarm" or at in files or item.stack == project != "" or _shows_something(item)
    ]


def _of_another(service: AuditedService, mounts: Iterable[AuditedMount], store: Vault) -> AuditedService:
    """Return what of a container that is none of this project's concerns us: files of ours, values of ours, and reach.

    That it has a key of the same name is its own business.
    """
    own_files = tuple(mount for mount in mounts if inventory.is_within(mount.file, store.path))
    if service.kind != "compose":
        return replace(service, mounts=own_files)
    traces = tuple(trace for trace in service.traces if trace.is_certain)
    return replace(service, name=f"{service.stack}/{service.name}", mounts=own_files, traces=traces)


def twins(seen: Iterable[AuditedService], project: str, folder: str, store: Vault) -> set[str]:
    """Return the folders of other projects that are called as this one, because their folders are.

    What was started from elsewhere than *folder*, and mounts none of our files, is the other's.
    """
    of_project = [item for item in seen if item.kind == "compose" and item.stack == project and item.folder]
    elsewhere = {item.folder for item in of_project if os.path.realpath(item.folder) != os.path.realpath(folder)}
    mounting = {item.folder for item in of_project for at in item.mounts if inventory.is_within(at.file, store.path)}
    return elsewhere - mounting


def left_out(containers: Iterable[Container], project: str, others: Collection[str]) -> Iterable[str]:
    """Yield what is not looked at because it was started from one of the folders *others*."""
    for container in containers:
        if container.project == project and container.folder in others:
            yield f"{container.name}, started from {container.folder}: two projects are called {project}"


def concerned(
    containers: Iterable[Container], services: Iterable[AuditedService], project: str, others: Collection[str] = ()
) -> Iterable[Container]:
    """Yield the containers of the *services* that are looked at, each with its service's name here.

    Those started from the folders *others* are of a project that is only called as this one.
    """
    kept = {(service.kind, service.name) for service in services}
    for container in containers:
        if container.project == project and container.folder in others:
            continue
        name = container.service
        if container.project and container.project != project:
            name = f"{container.project}/{name}"
        for called in (name, _told_apart(name, container.kind)):
            if (container.kind, called) in kept:
                yield replace(container, service=called)


def _told_apart(name: str, kind: str) -> str:
    """Return the name of a service beside one of another kind that is called the same."""
    return f"{name} ({kind})"


def _shows_something(service: AuditedService) -> bool:
    return bool(service.mounts or service.traces or service.reach)


def _whole_folders(mounts: Iterable[AuditedMount], store: Vault) -> Iterable[AuditedMount]:
    """Yield *mounts*, and for one of a whole folder the files in it where that is ./secrets."""
    for mount in mounts:
        if mount.target:
            yield mount
        elif Path(mount.file) == store.path.absolute():
            for name in store.names():
                yield AuditedMount("", name, file=str(store.path.absolute() / name))


def with_keys(services: Iterable[AuditedService], known: list[str]) -> list[AuditedService]:
    """Return *services* with the key of each file they mount, and no two of the same name."""
    services = list(services)
    keys = names.keys_of({_mounted_name(mount) for service in services for mount in service.mounts}, known)
    found: dict[str, AuditedService] = {}
    for service in services:
        mounts = (
            mount if mount.secret_id else mount._replace(key=keys[_mounted_name(mount)]) for mount in service.mounts
        )
        name = service.name if service.name not in found else _told_apart(service.name, service.kind)
        found[name] = replace(service, name=name, mounts=tuple(mounts))
    return list(found.values())


def _mounted_name(mount: AuditedMount) -> str:
    """Return the name of the file that is mounted, which says its key."""
    return mount.name or Path(mount.file).name or mount.target
