"""How the services of a Compose project get the files that rotate, and what each of them needs to see new bytes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shim_host.compose.running import ComposeService, Container, RunningProject
from shim_host.shell import quoted

AUTO, RECREATE, OVERLAP, WATCHES, NONE, SIGNAL = "auto", "recreate", "overlap", "watches", "none", "signal="
NOT_RUNNING = "not running"


class Use(NamedTuple):
    """How a service gets the files that rotate."""

    service: ComposeService
    is_fixed: bool  # by mounts of single files, which go on showing the old bytes
    containers: list[Container]  # where some run, these alone
    idle: Sequence[int] = ()  # the numbers of the others then, which stay as they are


def uses(project: RunningProject, paths: Sequence[Path]) -> list[Use]:
    """Return the services that have one of the files at *paths*, with their containers."""
    wanted = {path.resolve() for path in paths}
    folders = {path.parent for path in wanted}
    found = []
    for service in project.services.values():
        sources = {mount.source.resolve() for mount in service.mounts}
        if sources & wanted or any(source in folders for source in sources):
            there = project.containers(service.name)
            up = [container for container in there if not container.is_stopped]
            idle = [container.number for container in there if container.is_stopped] if up else []
            found.append(Use(service, bool(sources & wanted), up or there, idle))
    return found


def strangers(use: Use, paths: Sequence[Path], project: RunningProject) -> list[str]:
    """Return which containers of *use* are of another project with the same name: recreated, they would be ours.

    A container of this project mounts its files, or was at least started from its folder.
    """
    places = {place for path in paths for place in (path.resolve(), path.resolve().parent)}
    found = []
    for container in use.containers:
        is_from_here = not container.folder or Path(container.folder).resolve() in project.folders()
        if is_from_here or places & {Path(source).resolve() for source in container.sources}:
            continue
        twins = f"two projects are called {project.name}; give one of them another name (name: in its Compose file)"
        found.append(f"{container.name} was started from {container.folder}, and mounts none of the files: {twins}")
    return found


def other_files(use: Use, how: str, project: RunningProject) -> list[str]:
    """Return which containers of *use* were started with other files, and would be recreated with other settings.

    That the files are others does no harm where Compose makes the same of them.
    """
    for container in use.containers if how in (RECREATE, OVERLAP) else ():
        started = [*container.files, *container.env_files]
        asked = [str(file) for file in (*project.files, *project.env_files)]
        if not container.files or not project.files or not all(map(os.path.exists, started)):
            continue
        its_own = os.path.join(os.path.dirname(container.files[0]), ".env")
        extra = [file for file in container.env_files if os.path.realpath(file) != os.path.realpath(its_own)]
        if list(map(os.path.realpath, [*container.files, *extra])) == list(map(os.path.realpath, asked)):
            continue
        now = project.configured(use.service.name)
        if container.configured and now and now != container.configured:
            words = [f"--compose {quoted(file)}" for file in container.files]
            words += [f"--env-file {quoted(file)}" for file in extra]
            other = "was started with other files, and would be recreated with other settings"
            first = "or start it with those of now first: docker compose up -d"
            return [f"{container.name} {other}: give {' '.join(words)}, {first}"]
    return []


def way(use: Use, wish: str) -> str:
    """Return how *use*'s service gets the new value."""
    if not use.containers or not any(container.is_running for container in use.containers):
        return NOT_RUNNING
    if wish.startswith(SIGNAL) or wish == NONE:
        return wish
    if wish == AUTO and not use.is_fixed and all(container.watches for container in use.containers):
        return WATCHES
    # Two at once: each must be able to take the other's place, and somebody must say when the new one can.
    has_room = not use.service.has_fixed_place and not any(container.keeps_data for container in use.containers)
    return OVERLAP if has_room and all(container.health for container in use.containers) else RECREATE


def findings(use: Use, how: str) -> list[str]:
    """Return what would go wrong."""
    name = use.service.name
    if how.startswith(SIGNAL) and use.is_fixed:
        return [f"{name} mounts the file by itself, and would go on seeing the old one: use --how recreate"]
    if how in (RECREATE, OVERLAP):
        ill = [container.name for container in use.containers if container.health == "unhealthy"]
        return [
            f"{container} is unhealthy already, so nobody could tell whether the new value works" for container in ill
        ]
    return []
