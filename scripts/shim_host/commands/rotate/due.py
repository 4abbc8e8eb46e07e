"""`rotate --due`, made for cron: every key that is older than its `@rotate`, of one stack, of a Compose project, or
everywhere.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import shim_host
from shim.schema import Schema
from shim.secret import Secret
from shim_host import ages, inventory, output
from shim_host.commands import from_command
from shim_host.commands.rotate import compose as rotate_compose
from shim_host.commands.rotate.compose import Wish
from shim_host.errors import CLEAN, FAILED, REFUSED, Ended, Failed, Refused, end_of
from shim_host.files import is_own
from shim_host.rotate import swarm_plan, swarm_run
from shim_host.rotate.swarm import SwarmWork
from shim_host.rotate.swarm_plan import RotationPlan
from shim_host.rotate.swarm_run import Settings
from shim_host.shell import quoted
from shim_host.store.vault import Vault
from shim_host.swarm import connection, model, stacks
from shim_host.swarm.connection import NoSwarm
from shim_host.swarm.model import ComposeFolder, SwarmSecret

_SCHEMA = ".env.schema"


class Due(NamedTuple):
    """What was asked for besides: a `Wish` for Compose, and how the Swarm's services move."""

    wish: Wish
    settings: Settings
    lock_file: Path | None
    leave: tuple[str, ...] = ()
    yes: bool = False  # programs that the schema names may run


def run(stack: str, due: Due) -> int:
    """Rotate what is due in *stack*, or in the Compose project of this folder where that has the keys."""
    if not stack and _is_of_compose(due.wish):
        return _of_project(due)
    code, secrets = _of_stack(stack, due)
    late = _late_elsewhere(stack, secrets, due.wish.schema)
    if late and not stack:
        words = "; ".join(f"{name}: {output.listed(keys)}" for name, keys in late.items())
        hint = f"manage-secrets rotate --due --stack {quoted(next(iter(late)))}, or --everywhere for all at once"
        output.warn(f"due in other stacks, and not rotated: {words}", hint)
    return code or (REFUSED if late and not stack else CLEAN)


def everywhere(due: Due) -> int:
    """Rotate what is due in every stack and in every Compose project that runs here; the worst exit code is returned.

    One that fails keeps no other from its turn.
    """
    codes = []
    with output.gathered("runs"):
        engine = connection.connect(os.environ)
        try:
            found = engine.secrets()
        except NoSwarm as none:
            output.detail(none.message)
            found = []
        for stack in sorted({secret.stack for secret in found if secret.key}):
            output.say(f"the stack {stack}:" if stack else "keys of no stack:")
            codes.append(_tried(stack, due))
        for project in engine.compose_folders():
            codes.append(_in_folder(project, due))
    return max(codes, default=CLEAN)


def _tried(stack: str, due: Due) -> int:
    try:
        return _of_stack(stack, due)[0]
    except Ended as ended:
        output.explain(ended)
        return ended.code


def _of_stack(stack: str, due: Due) -> tuple[int, list[SwarmSecret]]:
    wish = due.wish
    store = Vault.of_stack(wish.secrets_dir, stack)
    work = SwarmWork(stack, due.settings, due.lock_file, store, wish.schema, wish.is_json, due.leave)
    if not wish.dry_run:
        work.finish_dead_run()
    if stack:
        stacks.say_others(work.secrets, stack)  # a stack that has none may be misspelt
    late = _sorted_out(*work.due_keys(), due, work.is_there)
    _say_left(late.left, stack)
    if not late.keys:
        work.give(RotationPlan("", stack, ()), "nothing to do")
        return late.code, work.secrets
    code = work.rotate(late.keys, None, True, wish.force, wish.dry_run, late.given)
    return code or late.code, work.secrets


class _Late(NamedTuple):
    """Keys that are due: those to rotate, the values that programs gave, and what nobody has a new value for."""

    keys: list[str]
    given: dict[str, Secret]
    left: list[str]
    code: int


def _sorted_out(
    makeable: Sequence[str], others: Sequence[str], due: Due, is_there: Callable[[str, Secret], bool]
) -> _Late:
    """Return what becomes of the keys that are due.

    A key whose value a program prints gets what its store has now. Where that is what the services have already, it was
    not changed there: it stays due. A store that does not answer keeps no other key from its turn.
    """
    schema = due.wish.schema
    stored = from_command.among(schema, [*makeable, *others])
    keys = [key for key in makeable if key not in stored]
    left = [key for key in others if key not in stored]
    code = REFUSED if left else CLEAN
    if not stored:
        return _Late(keys, {}, left, code)
    if due.wish.dry_run:
        from_command.fetched(schema, stored, yes=due.yes, dry_run=True)
        return _Late([*keys, *stored], {}, left, code)
    if not due.yes and not sys.stdin.isatty():
        hint = "--yes runs the programs that the schema names; --dry-run shows them"
        output.warn(
            f"due, and their values come from programs that nobody has agreed to: {output.listed(stored)}", hint
        )
        return _Late(keys, {}, left, REFUSED)
    try:
        found = from_command.fetched(schema, stored, yes=due.yes, dry_run=False)
    except Ended as ended:
        output.explain(ended)
        return _Late(keys, {}, left, ended.code)
    if same := [key for key, value in found.items() if is_there(key, value)]:
        output.warn(
            f"due, and the store still has the same value: {output.listed(same)}", "change it in the store first"
        )
        code = REFUSED
    given = {key: value for key, value in found.items() if key not in same}
    return _Late([*keys, *given], given, left, code)


def _say_left(left: list[str], stack: str = "") -> None:
    if left:
        hint = f"manage-secrets rotate {quoted(left[0])}{stacks.option(stack)} asks for it"
        output.warn(f"due, but there is no @generate to make a new value: {output.listed(left)}", hint)


def _late_elsewhere(stack: str, secrets: list[SwarmSecret], schema: Schema | None) -> dict[str, list[str]]:
    """Return the keys that are due in other stacks, by stack."""
    now = swarm_run.today()
    late = {}
    for other in stacks.other_stacks(secrets, stack):
        ages_days = {k: ages.age_days(s.created, now) for k, s in model.newest(secrets, other).items()}
        makeable, others = swarm_plan.due(schema, ages_days) if schema is not None else ([], [])
        if makeable or others:
            late[other] = [*makeable, *others]
    return late


def _is_of_compose(wish: Wish) -> bool:
    if wish.is_said:
        return True
    specs = wish.schema.keys if wish.schema is not None else {}
    there = inventory.files_by_key(Vault(wish.secrets_dir), specs)
    keys = [key for key, spec in specs.items() if spec.rotate is not None and key in there]
    return bool(keys) and rotate_compose.is_meant(wish, keys)


def _of_project(due: Due) -> int:
    """Rotate the files that are older than their keys' `@rotate`; a file is as old as its last change."""
    wish = due.wish
    if wish.schema is None:
        raise Refused("there is no schema that limits the age of values", "write @rotate=90d above a key")
    store = Vault(wish.secrets_dir)
    if not wish.dry_run:
        rotate_compose.finish_dead_run(wish)
    now = datetime.now(UTC).timestamp()
    there = inventory.files_by_key(store, wish.schema.keys)
    ages_days = {
        key: (now - (store.path / entry.name).stat().st_mtime) / ages.SECONDS_A_DAY for key, entry in there.items()
    }
    late = _sorted_out(*swarm_plan.due(wish.schema, ages_days), due, lambda key, value: there[key].value == value)
    _say_left(late.left)
    if not late.keys:
        rotate_compose.give_nothing(wish)
        return late.code
    code = rotate_compose.rotate(late.keys, None, True, wish, late.given)
    return code or late.code


def _in_folder(project: ComposeFolder, due: Due) -> int:
    """Run the same for the Compose project in another folder, as if it had been called there; without a schema nothing.

    A folder of somebody else is left alone, since its schema may name programs.
    """
    try:
        owner = os.stat(project.folder).st_uid
        if _SCHEMA not in os.listdir(project.folder):
            return CLEAN
    except OSError as error:
        output.warn(f"cannot look into {project.folder}: {error.strerror}")
        return REFUSED
    if owner != 0 and not is_own(owner):
        hint = "programs named in its schema would run as you; use its owner's cron"
        output.warn(f"{project.folder} belongs to another user, and is left alone", hint)
        return REFUSED
    output.say(f"the Compose project {project.name} in {project.folder}:")
    program = Path(shim_host.__file__).parent.parent / "manage_secrets.py"
    command = [sys.executable, str(program), "rotate", "--due", "--compose", *project.files[:1]]
    for file in project.files[1:]:
        command += ["--compose", file]
    for file in filter(os.path.isfile, project.env_files):
        command += ["--env-file", file]
    wish = due.wish
    flags = {"--json": wish.is_json, "--dry-run": wish.dry_run, "--force": wish.force, "--yes": due.yes}
    command += [flag for flag, is_given in flags.items() if is_given]
    environ = {name: value for name, value in os.environ.items() if name not in ("COMPOSE_FILE", "SHIM_SCHEMA")}
    environ["COMPOSE_PROJECT_NAME"] = project.name
    done = subprocess.run(command, cwd=project.folder, env=environ, stdout=subprocess.PIPE, check=False)
    if done.returncode < 0:
        by = end_of(done.returncode)
        advice = "the log of the system tells why; run it again, which finishes what was begun"
        output.explain(Failed(f"the run in {project.folder} ended with {by}", advice))
        return FAILED
    said = done.stdout.decode("utf-8", "replace")
    if wish.is_json and said:
        output.give_json({"project": project.name, "folder": project.folder, **json.loads(said)})
    elif said:
        for line in said.splitlines():
            output.give_line(line)
    return done.returncode
