"""`create-from-env`: from `.env` to `./secrets`."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from shim.schema import Schema, composed_value
from shim.secret import Secret, clean
from shim_host import inputs, inventory, output
from shim_host.commands import from_command, options
from shim_host.env import envfile
from shim_host.env.compose_rules import Malformed
from shim_host.errors import Refused
from shim_host.output import Warned
from shim_host.store import filing, gitignore
from shim_host.store.vault import Vault

OWNER_HELP = "Make UID the owner of the files: Compose mounts them with the owner and mode they have here."


_EMPTY = (
    "the value is empty, and an empty file counts as not set: a service would not have the variable",
    "where a service must see it empty, leave it in its environment: there is nothing secret in it",
)


@dataclass(frozen=True)
class EnvWish:
    """What the command line asks for."""

    env_file: Path | None
    takes_all: bool
    force: bool
    generate_missing: bool
    owner: tuple[int, int] | None
    dialect: str
    use: str | None
    secrets_dir: Path
    schema_path: Path | None
    is_json: bool
    dry_run: bool
    yes: bool


@click.command("create-from-env")
@click.argument("env_file", type=click.Path(path_type=Path), required=False)
@click.option("--all", "takes_all", is_flag=True, help="Take every key, not only those the schema calls sensitive.")
@click.option("--force", is_flag=True, help="Replace files that hold a different value.")
@click.option("--generate-missing", is_flag=True, help="Generate the values that the schema marks @generate.")
@click.option("--owner", callback=lambda _ctx, _option, value: owner_of(value), metavar="UID[:GID]", help=OWNER_HELP)
@options.reading
@options.writing
@options.gathered(EnvWish)
def create_from_env(wish: EnvWish) -> None:
    """Turn a .env file into one file per secret in ./secrets.

    ENV_FILE (.env by default) is read exactly as Docker Compose reads it; `-` is stdin. Existing files that hold a
    different value are kept, unless --force is given. On a syntax error nothing is changed, and the message names the
    line.

    For a key with @from=command(PROGRAM ARGUMENTS) in the schema that ENV_FILE does not set, the value is what that
    program prints. The commands are shown first, and none runs before you agree.

    \b
    Examples:
      manage-secrets create-from-env
      manage-secrets create-from-env prod.env --all --dry-run
      manage-secrets create-from-env --generate-missing --json

    \b
    With --json: {"secrets": [{"key", "file", "state": "created|unchanged|kept|replaced"}],
      "warnings": [{"line", "key", "message", "hint"}]}
    """
    schema = inputs.read_schema(wish.schema_path)
    by_programs = from_command.keys_of(schema)
    env_file = wish.env_file or Path(".env")
    if wish.env_file is None and by_programs and not os.path.lexists(env_file):
        read = envfile.EnvFile()
    else:
        read = read_env_file(env_file, wish.dialect, wish.use)
    chosen, left = choose(read.values, schema, wish.takes_all)
    settle_use(env_file, read, chosen)
    chosen = without_blanks(chosen, schema, wish.generate_missing)
    chosen |= composed(read.values, chosen, schema, wish)
    lacking = [key for key in by_programs if key not in chosen]
    chosen |= from_command.fetched(schema, lacking, yes=wish.yes, dry_run=wish.dry_run)
    warnings = [warning for warning in read.warnings if not warning.key or warning.key in chosen]
    warnings += [Warned(read.lines[key], key, *_EMPTY) for key, value in chosen.items() if not len(value)]
    warnings.sort()
    store = Vault(wish.secrets_dir)
    plan = filing.make_plan(chosen, store, schema, wish.force)
    if wish.generate_missing:
        plan += filing.make_missing(plan, store, schema)
    store.refuse_link()
    ignored = gitignore.missing(Path(), wish.secrets_dir, None if str(env_file) == "-" else env_file)
    filing.announce(env_file, warnings, left, plan, ignored, wish.dry_run)
    if not wish.dry_run:
        filing.confirm_replacing(plan, wish.yes)
        store.ask_owner()
        gitignore.add(ignored)  # before anything is there that git could see
        filing.write(store, plan, wish.owner)
    filing.give(plan, warnings, wish.secrets_dir, wish.is_json)


def read_env_file(path: Path, dialect: str, use: str | None) -> envfile.EnvFile:
    """Return what *path* sets.

    Raises:
        Refused: it has a mistake; the message names the line.
    """
    try:
        return envfile.read(inputs.read_file(path), os.environ, dialect, use or "")
    except Malformed as error:
        hints = [error.hint] if error.hint else []
        raise Refused(f"{path}:{error.line}: {error.message}", *hints, "nothing was changed") from None


def choose(values: Mapping[str, Secret], schema: Schema | None, takes_all: bool) -> tuple[dict[str, Secret], list[str]]:
    """Return the values that become secrets, and the keys that are left because the schema does not list them."""
    if schema is None or takes_all:
        return dict(values), []
    chosen = {key: value for key, value in values.items() if key in schema.keys and schema.keys[key].is_sensitive}
    return chosen, [key for key in values if key not in schema.keys]


def without_blanks(values: dict[str, Secret], schema: Schema | None, generates: bool) -> dict[str, Secret]:
    """Return *values* without those that are empty because somebody else gives them one, as in a copy of the schema.

    An empty file would win over the value that the shim composes, and over the one that is to be generated.
    """
    from shim_host.generate import can_be_made

    def is_blank(key: str) -> bool:
        spec = schema.keys.get(key) if schema is not None else None
        is_given = spec is not None and (spec.is_derived or bool(spec.from_command))
        return is_given or (spec is not None and generates and can_be_made(spec))

    return {key: value for key, value in values.items() if len(value) or not is_blank(key)}


def composed(
    values: Mapping[str, Secret], chosen: Mapping[str, Secret], schema: Schema | None, wish: EnvWish
) -> dict[str, Secret]:
    """Return the values that the schema composes, and that a service of the project here has mounted as a file.

    One that the env file has, too, is taken from there, and it is said where the two differ.
    """
    found: dict[str, Secret] = {}
    specs = [spec for spec in (schema.keys.values() if schema is not None else ()) if spec.composed is not None]
    if schema is None or not specs:
        return found
    project = inventory.compose_project(inventory.Asked())
    mounted = {item.file.name for item in project.secrets.values() if item.file is not None} if project else set()
    store = Vault(wish.secrets_dir)
    file_names = filing.file_names(store, [*schema.keys, *chosen])

    def value_of(key: str) -> bytes | None:
        there = store.read(file_names[key]) if key in file_names and key not in values else None
        value = values.get(key) or (there.value if there is not None else None)
        return clean(value.reveal()) if value is not None else None

    for spec in specs:
        made = composed_value(spec, value_of)
        if spec.key in chosen:
            if made is not None and clean(chosen[spec.key].reveal()) != made:
                message = f"{spec.key} is a different value from what the schema composes, and is used as it is"
                output.warn(message, f"remove it from {wish.env_file}, or @composed from {schema.source}")
        elif made is not None and file_names[spec.key] in mounted:
            found[spec.key] = Secret(made)
    return found


def settle_use(path: Path, read: envfile.EnvFile, chosen: dict[str, Secret]) -> None:
    """Where Compose's two ways to read the file give *chosen* keys different values, ask which one counts.

    Raises:
        Refused: nobody can be asked.
    """
    differing = [key for key in chosen if key in read.as_env_file]
    if not differing:
        return
    places = output.listed(f"{key} (line {read.lines[key]})" for key in differing)
    if not sys.stdin.isatty() or str(path) == "-":
        raise Refused(
            f"{path}: what it means for ${{...}} in the Compose file and for env_file: differs for {places}",
            "a reference there names a key that is set further down: set that one first",
            "or choose one: --use project, or --use env-file",
        )
    output.say(f"the value of {places} depends on how Compose is given {path}")
    question = "Is it used as project file (${...}) or as env_file"
    answer = click.prompt(question, type=click.Choice(envfile.USES), err=True)
    if answer == "env-file":
        chosen.update({key: read.as_env_file[key] for key in differing})


def owner_of(text: str | None) -> tuple[int, int] | None:
    """Return user and group id of `UID[:GID]`; a group that is not named stays as it is."""
    if text is None:
        return None
    user, _, group = text.partition(":")
    if not user.isdecimal() or not (group or "0").isdecimal():
        raise click.BadParameter("write numbers, UID or UID:GID")
    return int(user), int(group) if group else -1
