"""`create-from-env` and `generate`: from `.env`, or from nothing, to `./secrets`."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from shim.schema import Schema
from shim.secret import Secret
from shim_host import envfile, names, options, report, vault
from shim_host.compose_dotenv import Malformed, Warned
from shim_host.errors import Refused
from shim_host.vault import Entry, Vault

OWNER_HELP = "Give the files to a user: under Compose a container reads them as that user could here."
CREATED, UNCHANGED, KEPT, REPLACED = "created", "unchanged", "kept", "replaced"


class Planned(NamedTuple):
    """What is to happen with one key."""

    key: str
    file_name: str
    value: Secret
    state: str


@click.command("create-from-env")
@click.argument("env_file", type=click.Path(path_type=Path), default=".env")
@click.option("--all", "takes_all", is_flag=True, help="Take every key, not only those the schema calls sensitive.")
@click.option("--force", is_flag=True, help="Replace a file that holds another value.")
@click.option("--generate-missing", is_flag=True, help="Make the values that the schema says how to make.")
@click.option("--owner", callback=lambda _ctx, _option, value: owner_of(value), metavar="UID[:GID]", help=OWNER_HELP)
@click.option("--dialect", type=click.Choice(envfile.DIALECTS), default="compose", show_default=True)
@click.option("--use", type=click.Choice(envfile.USES), help="How Compose gets the file, where that changes a value.")
@options.secrets_dir
@options.schema
@options.as_json
@options.dry_run
@options.yes
def create_from_env(
    env_file: Path,
    takes_all: bool,
    force: bool,
    generate_missing: bool,
    owner: tuple[int, int] | None,
    dialect: str,
    use: str | None,
    secrets_dir: Path,
    schema_path: Path | None,
    is_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Turn a .env file into one file a secret in ./secrets.

    ENV_FILE is read as Docker Compose reads it; `-` is stdin. A file that is there and holds another value is kept,
    unless --force is given. A syntax error changes nothing, and names the line.

    \b
    Examples:
      manage-secrets create-from-env
      manage-secrets create-from-env prod.env --all --dry-run
      manage-secrets create-from-env --generate-missing --json

    \b
    With --json: {"secrets": [{"key", "file", "state": "created|unchanged|kept|replaced"}],
      "warnings": [{"line", "key", "message", "hint"}]}
    """
    schema = options.read_schema(schema_path)
    read = read_env_file(env_file, dialect, use)
    chosen, left = choose(read.values, schema, takes_all)
    settle_use(env_file, read, chosen)
    warnings = [warning for warning in read.warnings if not warning.key or warning.key in chosen]
    store = Vault(secrets_dir)
    plan = make_plan(chosen, store, schema, force)
    if generate_missing:
        plan += make_missing(plan, store, schema)
    ignored = vault.missing_gitignore_lines(Path(), secrets_dir, None if str(env_file) == "-" else env_file)
    announce(env_file, warnings, left, plan, ignored, dry_run)
    if not dry_run:
        confirm_replacing(plan, yes)
        if ignored:  # before anything is there that git could see
            vault.add_gitignore_lines(Path(), ignored)
        write(store, plan, owner)
    give(plan, warnings, secrets_dir, is_json)


def read_env_file(path: Path, dialect: str, use: str | None) -> envfile.EnvFile:
    """Return what *path* sets.

    Raises:
        Refused: it has a mistake; the message names the line.
    """
    try:
        return envfile.read(options.read_file(path), os.environ, dialect, use or "")
    except Malformed as error:
        hints = [error.hint] if error.hint else []
        raise Refused(f"{path}:{error.line}: {error.message}", *hints, "nothing was changed") from None


def choose(values: Mapping[str, Secret], schema: Schema | None, takes_all: bool) -> tuple[dict[str, Secret], list[str]]:
    """Return the values that become secrets, and the keys that are left because the schema does not list them."""
    if schema is None or takes_all:
        return dict(values), []
    chosen = {key: value for key, value in values.items() if key in schema.keys and schema.keys[key].is_sensitive}
    return chosen, [key for key in values if key not in schema.keys]


def settle_use(path: Path, read: envfile.EnvFile, chosen: dict[str, Secret]) -> None:
    """Where Compose's two ways to read the file give *chosen* keys different values, ask which one counts.

    Raises:
        Refused: nobody can be asked.
    """
    differing = [key for key in chosen if key in read.as_env_file]
    if not differing:
        return
    places = ", ".join(f"{key} (line {read.lines[key]})" for key in differing)
    if not sys.stdin.isatty() or str(path) == "-":
        raise Refused(
            f"{path}: what it means for ${{...}} in the Compose file and for env_file: differs for {places}",
            "a reference there names a key that is set further down: set that one first",
            "or say which counts: --use project, or --use env-file",
        )
    report.say(f"the value of {places} depends on how Compose is given {path}")
    question = "Is it used as project file (${...}) or as env_file"
    answer = click.prompt(question, type=click.Choice(envfile.USES), err=True)
    if answer == "env-file":
        chosen.update({key: read.as_env_file[key] for key in differing})


def make_plan(chosen: Mapping[str, Secret], store: Vault, schema: Schema | None, force: bool) -> list[Planned]:
    """Return what is to happen with each of *chosen*; every file is looked at before any is written."""
    known = [*(schema.keys if schema else ()), *chosen]
    file_names = names.file_names(known)
    plan = []
    for key, value in chosen.items():
        there = store.read(file_names[key])
        plan.append(Planned(key, file_names[key], value, _state(there, value, force)))
    return plan


def _state(there: Entry | None, value: Secret, force: bool) -> str:
    if there is None:
        return CREATED
    if there.value == value:
        return UNCHANGED
    return REPLACED if force else KEPT


def make_missing(plan: Iterable[Planned], store: Vault, schema: Schema | None) -> list[Planned]:
    """Return new values for the sensitive keys of *schema* that have none yet.

    Raises:
        Refused: there is no schema to say how.
    """
    from shim_host.generate import can_be_made, is_signed, new_value

    if schema is None:
        raise Refused("--generate-missing needs a schema", f"write {options.SCHEMA}, with @generate above the keys")
    file_names = names.file_names([*schema.keys, *(item.key for item in plan)])
    values = {item.key: item.value for item in plan if item.state != KEPT}
    for key in schema.keys:
        there = None if key in values else store.read(file_names[key])
        if there is not None and len(there.value):
            values[key] = there.value
    values = {key: value for key, value in values.items() if len(value)}
    made = []
    # Keys that are signed with another one come after it.
    for spec in sorted(schema.keys.values(), key=is_signed):
        key = spec.key
        if key in values or not spec.is_sensitive or not can_be_made(spec) or spec.composed is not None:
            continue
        values[key] = new_value(spec, values)
        made.append(Planned(key, file_names[key], values[key], CREATED))
    return made


def say_warnings(path: Path, warnings: list[Warned], left: list[str]) -> None:
    """Say on stderr what is likely to surprise in the file *path*."""
    for line, key, message, hint in warnings:
        report.warn(f"{path}:{line}: {key}: {message}" if key else f"{path}:{line}: {message}", hint)
    if left:
        hint = "add them to the schema, or take every key with --all"
        report.warn(f"not in the schema, and left where they are: {', '.join(left)}", hint)


def announce(
    path: Path, warnings: list[Warned], left: list[str], plan: list[Planned], ignored: list[str], dry_run: bool
) -> None:
    """Say on stderr what is likely to surprise, and what will be done."""
    say_warnings(path, warnings, left)
    counts = {state: sum(item.state == state for item in plan) for state in (CREATED, REPLACED, UNCHANGED, KEPT)}
    will = "would be" if dry_run else "to be"
    report.say(f"{counts[CREATED]} {will} created, {counts[REPLACED]} {will} replaced, {counts[UNCHANGED]} unchanged")
    if counts[KEPT]:
        kept = ", ".join(item.key for item in plan if item.state == KEPT)
        report.warn(f"kept, although {path} says otherwise: {kept}", "replace them with --force")
    if ignored:
        report.say(f".gitignore {'would get' if dry_run else 'gets'} {' '.join(ignored)}")


def owner_of(text: str | None) -> tuple[int, int] | None:
    """Return user and group id of `UID[:GID]`; a group that is not named stays as it is."""
    if text is None:
        return None
    user, _, group = text.partition(":")
    if not user.isdecimal() or not (group or "0").isdecimal():
        raise click.BadParameter("write numbers, UID or UID:GID")
    return int(user), int(group) if group else -1


def confirm_replacing(plan: list[Planned], yes: bool) -> None:
    """Ask before values are lost; without a terminal `--force` alone is the answer."""
    replaced = [item.file_name for item in plan if item.state == REPLACED]
    if replaced:
        question = f"replace {len(replaced)} value(s): {', '.join(replaced)}?"
        report.confirm(question, yes=yes or not sys.stdin.isatty())


def write(store: Vault, plan: list[Planned], owner: tuple[int, int] | None = None) -> None:
    """Write what is new or changed."""
    todo = [item for item in plan if item.state in (CREATED, REPLACED)]
    with store.writing() as writer, report.progress("writing", len(todo)) as advance:
        for item in todo:
            writer.write(item.file_name, item.value.reveal())
            advance()
        if owner is not None:
            for item in plan:
                writer.give_to(item.file_name, owner)


def give(plan: list[Planned], warnings: list[Warned], secrets_dir: Path, is_json: bool) -> None:
    """Print what happened to each key."""
    if not is_json:
        report.give_table(["KEY", "FILE", "STATE"], [(i.key, str(secrets_dir / i.file_name), i.state) for i in plan])
        return
    folder = os.path.abspath(secrets_dir)
    document: dict[str, Any] = {
        "secrets": [{"key": i.key, "file": os.path.join(folder, i.file_name), "state": i.state} for i in plan],
        "warnings": [warning._asdict() for warning in warnings],
    }
    report.give_json(document)


@click.command("generate")
@click.argument("keys", nargs=-1)
@click.option("--force", is_flag=True, help="Replace values that are there.")
@options.secrets_dir
@options.schema
@options.as_json
@options.dry_run
@options.yes
def generate(
    keys: tuple[str, ...],
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    is_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Make new values as the schema says, into ./secrets.

    Without KEYS, every key is made that the schema says how to make and that has no file yet. A value is never shown.

    \b
    Examples:
      manage-secrets generate
      manage-secrets generate SESSION_KEY --force

    \b
    With --json: as create-from-env prints it.
    """
    from shim_host.generate import new_value

    schema = options.read_schema(schema_path)
    if schema is None:
        raise Refused("there is no schema to say how values are made", f"write {options.SCHEMA}")
    unknown = [key for key in keys if key not in schema.keys]
    if unknown:
        raise Refused(f"not in the schema: {', '.join(unknown)}", f"the keys stand in {schema.source}")
    store = Vault(secrets_dir)
    if keys:
        file_names = names.file_names(schema.keys)
        entries = {key: store.read(file_names[key]) for key in schema.keys}
        values = {key: entry.value for key, entry in entries.items() if entry is not None}
        plan = []
        for key in keys:
            value = new_value(schema.keys[key], values)
            plan.append(Planned(key, file_names[key], value, _state(entries[key], value, force)))
            values[key] = value
    else:
        plan = make_missing([], store, schema)
    announce(Path(schema.source), [], [], plan, [], dry_run)
    if not dry_run:
        confirm_replacing(plan, yes)
        write(store, plan)
    give(plan, [], secrets_dir, is_json)
