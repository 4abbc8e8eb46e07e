"""What `migrate` prints: the difference, what is a secret and why, what will be done, and what comes next."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shim.schema import references
from shim_host import inputs, output
from shim_host.compose.nodes import child
from shim_host.compose.project import Project
from shim_host.migrate.inputs import without_value
from shim_host.migrate.model import MigrationPlan, NewFile
from shim_host.migrate.write import UNCHANGED, Written
from shim_host.output import Warned
from shim_host.shell import quoted


def say_warnings(plan: MigrationPlan, warned: Iterable[tuple[Path, Warned]]) -> None:
    """Say what is likely to surprise in the env files, where it concerns a secret."""
    for path, (line, key, message, hint) in warned:
        if not key or key in plan.reasons:
            output.warn(f"{path}:{line}: {key}: {message}" if key else f"{path}:{line}: {message}", hint)


def difference(results: Iterable[NewFile]) -> str:
    """Return a unified diff of all files; values are masked in it."""
    parts = []
    for file in results:
        old, new = (re.findall(r".*\n|.+", text) for text in (file.old_shown, file.new_shown))
        for line in difflib.unified_diff(old, new, str(file.old), str(file.new)):
            parts.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(parts)


def describe(plan: MigrationPlan, results: Iterable[NewFile]) -> dict[str, Any]:
    """Return the plan for `--json`."""
    folder = os.path.abspath(plan.wishes.secrets_dir)
    return {
        "files": [{"path": os.path.abspath(file.new), "state": "planned"} for file in results],
        "secrets": [
            {"key": held.key, "file": os.path.join(folder, held.name), "why": held.why, "services": held.services}
            for held in plan.held.values()
        ],
        "services": [
            {
                "service": name,
                "how": moved.how,
                "why": moved.why,
                "secrets": {use.key: use.source for use in moved.uses},
            }
            for name, moved in plan.moved.items()
        ],
        "composed": [{"key": key, "of": references(template)} for key, template in plan.composed.items()],
        "staying": [{"key": key, "where": where} for key, where in plan.staying.items()],
        "findings": [
            {"service": service, "key": key, "message": message, "hint": hint, "exposed": is_exposed}
            for service, key, message, hint, is_exposed in plan.findings
        ],
    }


def show(plan: MigrationPlan, document: Mapping[str, Any]) -> None:
    """Print the difference and what is a secret, and why."""
    for line in str(document["diff"]).splitlines():
        output.give_line(line)
    if plan.held:
        folder = plan.wishes.secrets_dir
        rows = [(h.key, str(folder / h.name), h.why, ", ".join(h.services) or "-") for h in plan.held.values()]
        output.give_table(["KEY", "FILE", "WHY", "SERVICES"], rows)
    if plan.moved:
        output.give_table(["SERVICE", "HOW", "WHY"], [(n, m.how, m.why) for n, m in plan.moved.items()])


def announce(plan: MigrationPlan, written: list[Written], values: Mapping[str, bytes], dry_run: bool) -> None:
    """Say on stderr what will be done, and what a person must look at."""
    say_findings(plan)
    for key, template in plan.composed.items():
        parts = ", ".join(dict.fromkeys(references(template)))
        output.say(f"{key} is composed of {parts} in {inputs.SCHEMA}: a rotation of {parts} changes it, too")
    will = "would be" if dry_run else "to be"
    for item in written:
        output.say(f"{item.path} {will} {item.state}" if item.state != UNCHANGED else f"{item.path} is there already")
    output.say(f"{output.many(len(values), 'secret file')} {will} written, {len(plan.held) - len(values)} unchanged")


def say_findings(plan: MigrationPlan) -> None:
    """Say on stderr what a person must look at."""
    for service, key, message, hint, _ in plan.findings:
        where = f"{service}: " if service else ""
        output.warn(f"{where}{key}: {message}" if key else f"{where}{message}", hint)


# What only a Swarm does of `deploy:`; Compose knows the rest, too.
_OF_A_STACK = ("update_config", "rollback_config", "endpoint_mode", "placement", "labels", "mode")


def warn_of_stack(project: Project) -> None:
    """Say that a file which is deployed as a stack becomes one for Compose: a stack's secrets are made in the Swarm."""
    signs = [f"secrets.{name} is external" for name, definition in project.secrets.items() if definition.external]
    for service in project.services.values():
        deploy = service.definitions[-1].value("deploy")
        signs += [f"{service.name} has deploy.{name}" for name in _OF_A_STACK if deploy and child(deploy, name)]
    if signs:
        output.warn(
            f"this looks like a stack file ({signs[0]}), and the new files are for docker compose only",
            "for a stack: manage-secrets create-swarm, and name the versions as docs/SWARM.md shows",
        )


def say_nothing_to_do(plan: MigrationPlan, project: Project, env_files: Sequence[Path]) -> None:
    """Say that no service has a secret to migrate, unless some could not be looked at."""
    if plan.unknown or plan.left:
        return
    output.say("there is nothing to migrate: no service has a secret among its variables")
    if lacking := without_value(project, plan.wishes.schema):
        output.say(f"nothing gives {output.listed(lacking)} a value here: is a .env missing, or not filled in?")
    if not env_files and Path(".env").is_file() and not os.path.samefile(project.folder, "."):
        where = f"since the project is in {project.folder}: --env-file .env adds it"
        output.say(f"Compose does not read the .env of this folder, {where}")


def say_what_is_next(
    results: Sequence[NewFile], project: Project, chosen: Sequence[Path], named: Sequence[Path]
) -> None:
    """Say how to start the result, and what to remove once it works."""
    new = {file.old.absolute(): file.new for file in results}
    files = [new.get(path.absolute(), path) for path in chosen or project.files]
    has_new_env = any(path.absolute() in new for path in project.env_files)
    env_files = [new.get(path.absolute(), path) for path in project.env_files] if has_new_env or named else []
    words = [
        "docker compose",
        *(f"-f {quoted(str(file))}" for file in files),
        *(f"--env-file {quoted(str(file))}" for file in env_files),
        "up -d",
    ]
    output.say(f"next: {' '.join(words)}")
    old = ", ".join(str(file.old) for file in results if file.old.name != inputs.SCHEMA)
    output.say(f"once it works, run this again with --adopt: it replaces {old}, where the values still are")
