"""`validate`: all findings at once, each with its repair; `--fix` repairs what is safe to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim_host import inputs, inventory, output, validation
from shim_host.commands import options
from shim_host.errors import Ended
from shim_host.shell import offered
from shim_host.store.vault import Vault
from shim_host.validation import Fault, Subject

if TYPE_CHECKING:
    from shim_host.compose.project import Project
    from shim_host.inventory import Asked


@dataclass(frozen=True)
class ValidateWish:
    """What the command line asks of a check."""

    fix: bool
    asks_swarm: bool
    stack: str
    lock_file: Path | None
    given: "Asked"
    secrets_dir: Path
    schema_path: Path | None
    salt: bytes
    is_json: bool
    dry_run: bool
    no_values: bool


@click.command("validate")
@click.option("--fix", is_flag=True, help="Repair what is safe to repair: modes, .gitignore, byte order marks, CR.")
@click.option("--swarm", "asks_swarm", is_flag=True, help="Check the Swarm too: what exists, and what is stale.")
@click.option("--no-values", is_flag=True, help="Do not report that values are missing: in CI, they always are.")
@options.stack("With --swarm: the stack to check.")
@options.lock_file
@options.project
@options.secrets_dir
@options.schema
@options.salt
@options.as_json
@options.dry_run
@options.no_questions
@options.gathered(ValidateWish)
def validate(wish: ValidateWish) -> int:
    """Check the schema, the values and the Compose file against each other.

    Reports values that are missing, empty, placeholders or of the wrong type; file modes, byte order marks and CR;
    files that are in git or unused; secrets that a service names but nothing defines; names that the Swarm refuses;
    @rotate-with that cannot work. With --swarm: files, services, the versions file and stack files that disagree with
    the Swarm. The exit code is 1 if any finding is left.

    \b
    Examples:
      manage-secrets validate
      manage-secrets validate --fix
      manage-secrets validate --no-values
      manage-secrets validate --json

    \b
    With --json: {"findings": [{"kind", "key", "where", "message", "hint", "fixable", "fixed"}]}; kinds are missing,
      not-a-file, empty, type, placeholder, name, file, mode, encoding, in-git, undefined, user, unused, rotate-with,
      drift, stale, lock, stack-file, unmanaged, rotation (one that is unfinished), left-out (a file with mistakes,
      which the warning names, or the Swarm)
    """
    schema = inputs.read_schema(wish.schema_path)
    store = Vault.of_stack(wish.secrets_dir, wish.stack)
    gaps: list[str] = []
    project = inventory.compose_project(wish.given, gaps)
    env = inventory.env_values(wish.given.env_paths, os.environ, gaps)
    users = image_users(project) if project is not None else {}
    subject = validation.subject_of(store, schema, wish.given.env_paths, env, project, users)
    subject = subject._replace(expects_values=not wish.no_values)
    hint = "fix it; see the warning for the line"
    found = [Fault("left-out", "", "", f"not looked at: {gap}", hint) for gap in gaps]
    in_swarm, unanswered = (
        with_swarm(subject, wish.stack, wish.lock_file, wish.salt, store, wish.given.files)
        if wish.asks_swarm
        else (validation.findings(subject), None)
    )
    found += in_swarm
    if unanswered is not None:
        again = "unlock it, or run this on a manager: manage-secrets doctor shows why"
        gap = f"the Swarm: {unanswered.message}"
        found.append(Fault("left-out", "", "", f"not looked at: {gap}", again))
    fixed, trouble = repaired(store, found, wish.dry_run) if wish.fix else ([], None)
    give(found, fixed, wish.is_json)
    left = len(found) - len(fixed)
    if schema is None and project is None and not (env or subject.entries or found):
        output.say(f"there was nothing to check: no schema, {wish.given.env_name}, {store.path} or Compose file")
    count = output.many(len(found), "finding")
    output.say(f"{count}, {len(fixed)} {'would be ' if wish.dry_run else ''}repaired")
    if left and not wish.fix and any(finding.repair for finding in found):
        output.say("hint: --fix repairs those marked with *")
    if trouble := trouble or unanswered:
        raise trouble
    return 1 if left or (wish.dry_run and found) else 0


def with_swarm(
    subject: Subject, stack: str, lock_file: Path | None, salt: bytes, store: Vault, stack_files: Sequence[Path] = ()
) -> tuple[list[Fault], Ended | None]:
    """Return all findings when what the Swarm holds counts, and why it could not be asked, if so."""
    from shim_host import deployment_key
    from shim_host.commands import drift
    from shim_host.swarm import connection, labels, stacks, versions_file
    from shim_host.swarm.lock import LockKeeper

    try:
        engine = connection.connect_as(LockKeeper, os.environ)
        prints = deployment_key.of_swarm(salt, store, engine)
        secrets, services = labels.taken_over(engine.secrets(), prints), engine.services()
        held = engine.held_lock(stack)
    except Ended as ended:
        return validation.findings(subject), ended
    swarm = drift.swarm_of(secrets, services, stack)
    stacks.say_others(secrets, stack)
    found = validation.findings(subject._replace(in_swarm=frozenset(swarm.newest)))
    path = lock_file or versions_file.default_of(stack)
    found += [*drift.unfinished(held), *drift.findings(subject, swarm, prints, path, Path(), stack_files)]
    return found, None


def image_users(project: "Project") -> dict[str, str]:
    """Return the user of each service's image that mounts secrets; what the engine does not know is left out."""
    from shim_host.compose import images

    mounting = {service.name: service.image for service in project.services.values() if service.secrets}
    try:
        configs = images.ask_engine({image for image in mounting.values() if image}, os.environ)
    except Ended as ended:
        output.detail(f"the users of images are not known: {ended.message}")
        return {}
    return {name: configs[image].user for name, image in mounting.items() if image in configs}


def repaired(store: Vault, found: list[Fault], dry_run: bool) -> tuple[list[Fault], Ended | None]:
    """Repair what is safe to; return that, and what stopped it if something did."""
    safe = [finding for finding in found if finding.repair is not None]
    if dry_run or not safe:
        return safe, None
    done: list[Fault] = []
    try:
        with store.writing() as writer:
            for finding in safe:
                if finding.repair is not None:
                    finding.repair(writer)
                    done.append(finding)
    except Ended as ended:
        return done, ended
    return done, None


def give(found: list[Fault], fixed: list[Fault], is_json: bool) -> None:
    """Print every finding with its repair."""
    if is_json:
        documents: list[dict[str, Any]] = [
            {
                "kind": finding.kind,
                "key": finding.key or None,
                "where": finding.where,
                "message": finding.message,
                "hint": offered(finding.hint),
                "fixable": finding.repair is not None,
                "fixed": finding in fixed,
            }
            for finding in found
        ]
        output.give_json({"findings": documents})
        return
    for finding in found:
        mark = "fixed" if finding in fixed else "*" if finding.repair is not None else "-"
        about = [part for part in (finding.kind, finding.key, finding.where) if part]
        output.give_line(f"{mark} {': '.join(about)}: {finding.message}")
        if finding not in fixed:
            output.give_line(f"    {offered(finding.hint)}")
