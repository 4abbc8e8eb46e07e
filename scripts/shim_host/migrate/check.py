"""Whether a migrated project is still the same one: read again here, and by the real Compose. Only names are said."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shim_host import docker_cli
from shim_host.compose import project
from shim_host.compose.project import Project, SecretUse, Service
from shim_host.errors import Failed, Refused
from shim_host.migrate.model import IMAGE, SHIM, Moved, Plan
from shim_host.names import SHIM_PROGRAM


def composed(
    files: list[Path], env_file: Path | None, folder: Path, environ: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what the real Compose makes of the project, or None where there is no Compose.

    Raises:
        Refused: Compose itself refuses the project.
    """
    arguments = [word for file in files for word in ("--file", str(file))]
    if not files:
        arguments += ["--project-directory", str(folder)] if folder != Path() else []
    if env_file is not None:
        arguments += ["--env-file", str(env_file)]
    try:
        if docker_cli.run_docker(["compose", "version"], environ).returncode:
            return None
    except Failed:
        return None
    answer = docker_cli.run_docker(["compose", *arguments, "--profile", "*", "config", "--format", "json"], environ)
    if answer.returncode:
        # Compose's words may quote the file, and the file may hold a value.
        shown = " ".join(str(file) for file in files) or "the project"
        raise Refused(f"docker compose config refuses {shown}", "run it yourself to see why")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def environments(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the variables of each service; `config` writes a dollar twice."""
    return {
        name: {
            key: str(value).replace("$$", "$")
            for key, value in (service.get("environment") or {}).items()
            if value is not None
        }
        for name, service in (document.get("services") or {}).items()
    }


def check_reading(plan: Plan, before: Mapping[str, Any]) -> None:
    """See that Compose reads the project as it was read here.

    Raises:
        Refused: it gives a service another value; only names are said.
    """
    for name, variables in environments(before).items():
        service = plan.project.services.get(name)
        if service is None:
            continue
        ours = project.environment_of(service, plan.project)
        wrong = sorted(key for key in {*ours, *variables} if ours.get(key) != variables.get(key))
        if wrong:
            hint = "write these in a simpler way, then run this again"
            raise Refused(f"{name}: docker compose gives {', '.join(wrong)} another value than was read here", hint)


def differs(plan: Plan, new: Project) -> str:
    """Return the first thing that a service of the project *new* does otherwise than it did, in words; or ""."""
    old = {name: project.environment_of(service, plan.project) for name, service in plan.project.services.items()}
    now = {name: project.environment_of(service, new) for name, service in new.services.items()}
    for name, service in plan.project.services.items():
        problem = _differing_start(plan.moved.get(name), service, new.services[name])
        if problem:
            return f"{name}: {problem}"
    return differing_variable(plan, old, now)


def _differing_start(moved: Moved | None, old: Service, new: Service) -> str:
    uses = [SecretUse(use.source, use.target) for use in moved.uses] if moved is not None else []
    if sorted(new.secrets) != sorted([*old.secrets, *uses]):
        return "secrets"
    if moved is None or moved.how != SHIM or moved.image is None:
        same = (new.entrypoint, new.command, new.user) == (old.entrypoint, old.command, old.user)
        if not same:
            return "entrypoint, command or user"
    else:
        front, starts = _parted(new.entrypoint or [])
        entrypoint = moved.image.entrypoint if old.entrypoint is None else old.entrypoint
        command = moved.image.command if old.command is None and not old.entrypoint else old.command
        if front != [SHIM_PROGRAM, *moved.options] or starts != entrypoint or (new.command or []) != (command or []):
            return "entrypoint or command"
        if new.user != ("0:0" if moved.user else old.user):
            return "user"
    if moved is not None and (moved.wraps_healthcheck or moved.healthcheck is not None):
        is_right = _parted(new.healthcheck)[0] == ["CMD", SHIM_PROGRAM, "exec", *moved.options]
    else:
        is_right = new.healthcheck == old.healthcheck
    return "" if is_right else "healthcheck"


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def differing_variable(
    plan: Plan, before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the first variable that is neither as it was nor a secret with the value it had, in words; or ""."""
    for name, old in before.items():
        new = dict(after.get(name, {}))
        moved = plan.moved.get(name)
        for use in moved.uses if moved is not None else ():
            held = plan.held[use.source].value.reveal().decode("utf-8", "surrogateescape")
            if old.get(use.key) != held:
                return f"{name}: {use.key} has another value"
            if moved is not None and (moved.how == IMAGE or use.needs_pointer):
                new.pop(f"{use.key}_FILE", None)
            # The shim prefers the file to what another env file may still say; an image refuses both.
            if new.pop(use.key, held) != held and moved is not None and moved.how == IMAGE:
                return f"{name}: {use.key} is still set, to another value"
            new[use.key] = held
        wrong = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if wrong:
            return f"{name}: {wrong[0]}"
    return ""
