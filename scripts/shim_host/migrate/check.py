"""Whether a migrated project is still the same one: read again here, and by the real Compose. Only names are said."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shim_host import docker_cli
from shim_host.compose import masked
from shim_host.compose import project as compose
from shim_host.compose.project import Project, SecretUse, Service
from shim_host.errors import Failed
from shim_host.migrate.model import IMAGE, SHIM, MigrationPlan, Moved, Rejected, ShimSource
from shim_host.names import SHIM_FOLDER, SHIM_PROGRAM
from shim_host.recognition.sensitive import masked_line

Read = Mapping[str, Any]  # what `docker compose config` prints


class Difference(NamedTuple):
    """What the new files would change besides what is meant; *service* is empty when it concerns no one service."""

    service: str
    problem: str


def is_there(environ: Mapping[str, str]) -> bool:
    """Return whether there is a Docker Compose to ask."""
    try:
        return docker_cli.run_docker(["compose", "version"], environ).returncode == 0
    except Failed:
        return False


def composed(
    files: Sequence[Path], env_files: Sequence[Path], environ: Mapping[str, str], folder: Path | None = None
) -> str:
    """Return what the real Compose makes of a project: the JSON of its `config`.

    Raises:
        Rejected: it takes the project not.
    """
    arguments = [word for file in files for word in ("--file", str(file))]
    arguments += ["--project-directory", str(folder)] if folder is not None else []
    arguments += [word for file in env_files for word in ("--env-file", str(file))]
    answer = docker_cli.run_docker(["compose", *arguments, "--profile", "*", "config", "--format", "json"], environ)
    if answer.returncode:
        raise Rejected(answer.stderr)
    return answer.stdout


_QUOTED = re.compile(r'"((?:[^"\\\\]|\\\\.)*)"|`([^`]*)`|\'([^\']*)\'')
_OWN_WORDS = re.compile(r"(is missing a value): .*")  # of `${NAME:?words}`
_UNDEFINED = re.compile(r"\bundefined (?:config|network|secret|service|volume) $")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./-]{1,60}")


def reason_of(stderr: str, names: Iterable[str], values: Iterable[str]) -> str:
    """Return the last line that Compose wrote, without anything that may be a value.

    What it quotes may be a part of a line of the user's: it is shown only where it is one of *names*.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and "level=warning" not in line]
    known = set(names)

    def show(match: re.Match[str]) -> str:
        inner = next((group for group in match.groups() if group is not None), "")
        is_known = inner in known or inner.startswith(("/", "./")) or _UNDEFINED.search(match.string, 0, match.start())
        is_name = _PLAIN_NAME.fullmatch(inner) and is_known
        return match[0] if is_name or not inner else match[0][0] + "***" + match[0][-1]

    last = _OWN_WORDS.sub(r"\1", lines[-1]) if lines else "it gives no reason"
    return masked.without(masked_line(_QUOTED.sub(show, last)), values)


def see(project: Project, before: Read) -> None:
    """Let *project* say what Compose read, where the two can differ; what Compose says is the truth."""
    for name, read in (before.get("services") or {}).items():
        service = project.services.get(name)
        if service is None:
            continue
        service.seen = {key: value for key, value in _environment(read).items() if value is not None}
        service.image = _text(read.get("image"))
        service.user = _text(read.get("user"))
        for field_name in ("entrypoint", "command"):
            words = read.get(field_name)
            setattr(service, field_name, None if words is None else [_text(word) for word in words])
        test = (read.get("healthcheck") or {}).get("test")
        is_off = (read.get("healthcheck") or {}).get("disable")
        service.healthcheck = ["NONE"] if is_off else [_text(word) for word in test or []]


def _environment(service: Read) -> dict[str, str | None]:
    found = service.get("environment") or {}
    return {key: None if value is None else _text(value) for key, value in found.items()}


def _text(value: object) -> str:
    """Return a text of `config`, which writes a dollar twice."""
    return "" if value is None else str(value).replace("$$", "$")


def changed(
    plan: MigrationPlan, shim: ShimSource, names: tuple[str, str], before: Read, after: Read
) -> Difference | None:
    """Return the first thing in which *after* differs from *before*, besides what *plan* means to change.

    Args:
        plan: what is to change.
        shim: where the shim comes from.
        names: of the service and of the volume that bring it.
        before, after: what Compose makes of the project.
    """
    installer, volume = names
    old_services, new_services = dict(before.get("services") or {}), dict(after.get("services") or {})
    if not shim.program and installer not in old_services:
        new_services.pop(installer, None)
    for name in sorted({*old_services, *new_services}):
        old, new = old_services.get(name), new_services.get(name)
        if old is None or new is None:
            return Difference(name, "it is there only before or after")
        problem = _changed_service(plan, plan.moved.get(name), installer, old, new)
        if problem:
            return Difference(name, problem)
    for section in sorted({*before, *after} - {"services"}):
        if section.startswith("x-"):
            continue
        old, new = before.get(section) or {}, after.get(section) or {}
        if section == "secrets":
            new = {key: value for key, value in new.items() if key in old or key not in plan.held}
        elif section == "volumes" and not shim.program:
            new = {key: value for key, value in new.items() if key in old or key != volume}
        if old != new:
            return Difference("", f"{section}:")
    return None


def _changed_service(plan: MigrationPlan, moved: Moved | None, installer: str, old: Read, new: Read) -> str:
    """Return what a service does otherwise than it did, besides what is meant, in words; or ""."""
    wrong = _wrong_variable(plan, moved, _environment(old), _environment(new))
    if wrong:
        return f"its variable {wrong}"
    skipped = {"environment", "env_file"}
    if moved is not None:
        problem = _changed_start(moved, old, new)
        if problem:
            return problem
        skipped |= {"entrypoint", "command", "user", "healthcheck"}
    for name in sorted({*old, *new} - skipped):
        was, now = old.get(name), new.get(name)
        if moved is not None:
            now = _without_additions(moved, installer, name, was, now)
        if (was or None) != (now or None):
            return f"its {name}"
    return ""


def _without_additions(moved: Moved, installer: str, name: str, was: Any, now: Any) -> Any:
    if name == "secrets":
        ours = {(use.source, use.target) for use in moved.uses}
        found = [entry for entry in now or [] if (entry["source"], _target(entry)) not in ours]
        return found if len(now or []) == len(found) + len(ours) else now
    if name == "volumes":
        targets = (SHIM_FOLDER, SHIM_PROGRAM)
        return [entry for entry in now or [] if entry in (was or []) or entry.get("target") not in targets]
    if name == "depends_on":
        return {key: value for key, value in (now or {}).items() if key != installer or key in (was or {})}
    if name == "cap_add":
        allowed = ("SETGID", "SETUID", "DAC_OVERRIDE") if moved.user else ()
        return [entry for entry in now or [] if entry in (was or []) or entry not in allowed]
    return now


def _target(entry: Mapping[str, str]) -> str:
    return (entry.get("target") or entry["source"]).removeprefix(compose.SECRETS_ROOT + "/")


def _changed_start(moved: Moved, old: Read, new: Read) -> str:
    """Return which part of the service's start is not the old one behind the shim; or ""."""

    def words(read: Read, name: str) -> list[str]:
        found = read.get(name)
        return [_text(word) for word in found or []]

    if moved.how != SHIM:
        for name in ("entrypoint", "command", "user"):
            if old.get(name) != new.get(name):
                return f"its {name}"
    else:
        image = moved.image
        entrypoint = words(old, "entrypoint")
        if old.get("entrypoint") is None and image is not None:
            entrypoint = image.entrypoint
        command = words(old, "command")
        if old.get("command") is None and not old.get("entrypoint") and image is not None:
            command = image.command
        front, starts = _parted(words(new, "entrypoint"))
        if front != [SHIM_PROGRAM, *moved.options] or starts != entrypoint:
            return "its entrypoint"
        if words(new, "command") != command:
            return "its command"
        if _text(new.get("user")) != ("0:0" if moved.user else _text(old.get("user"))):
            return "its user"
    was, now = dict(old.get("healthcheck") or {}), dict(new.get("healthcheck") or {})
    if moved.wraps_healthcheck or moved.healthcheck is not None:
        front, rest = _parted([_text(word) for word in now.pop("test", [])])
        test = [_text(word) for word in was.pop("test", [])]
        if moved.healthcheck is not None:
            wanted = moved.healthcheck
        else:
            shell = moved.image.shell if moved.image is not None else ["/bin/sh", "-c"]
            wanted = [*(shell if test[:1] == ["CMD-SHELL"] else []), *test[1:]]
        if front != ["CMD", SHIM_PROGRAM, "exec", *moved.options] or rest != wanted:
            return "its healthcheck"
    if was.get("disable") and now.get("disable"):
        return ""  # then nothing of it counts
    return "" if was == now else "its healthcheck"


def _wrong_variable(
    plan: MigrationPlan, moved: Moved | None, old: Mapping[str, str | None], now: Mapping[str, str | None]
) -> str:
    """Return the first variable that is neither as it was nor a secret with the value it had; or ""."""
    new = dict(now)
    for use in moved.uses if moved is not None else ():
        held = plan.held[use.source].value.reveal().decode("utf-8", "surrogateescape")
        if old.get(use.key) != held:
            return use.key
        has_pointer = moved is not None and (moved.how == IMAGE or use.needs_pointer)
        if has_pointer and new.pop(f"{use.key}_FILE", None) != f"{compose.SECRETS_ROOT}/{use.target}":
            return f"{use.key}_FILE"
        # Blank where an env file still has it; the shim, and an image, take a blank variable for none.
        if new.pop(use.key, "") != "":
            return use.key
        new[use.key] = held
    return next((key for key in sorted({*old, *new}) if old.get(key) != new.get(key)), "")


def differs(plan: MigrationPlan, new: Project) -> Difference | None:
    """Return the first thing that a service of the project *new* does otherwise than it did, as it is read here."""
    old = {name: compose.environment_of(service, plan.project) for name, service in plan.project.services.items()}
    now = {name: compose.environment_of(service, new) for name, service in new.services.items()}
    for name, service in plan.project.services.items():
        problem = _differing_start(plan.moved.get(name), service, new.services[name])
        if problem:
            return Difference(name, problem)
        if wrong := _wrong_variable(plan, plan.moved.get(name), old[name], now[name]):
            return Difference(name, f"its variable {wrong}")
    return None


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
