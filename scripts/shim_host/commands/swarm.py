"""`create-swarm` and `prune`: what changes secrets in the Swarm."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click

from shim.schema import Schema
from shim.secret import Secret
from shim_host import deployment_key, inputs, inventory, names, output
from shim_host.commands import env, from_command, options
from shim_host.errors import Ended, Refused
from shim_host.fingerprints import Fingerprints
from shim_host.shell import quoted
from shim_host.store import filing
from shim_host.store.vault import Vault
from shim_host.swarm import connection, labels, model, stacks, versions_file
from shim_host.swarm import versions as deployment
from shim_host.swarm.model import SwarmSecret
from shim_host.swarm.versions import CHANGED, CREATED, UNCHANGED, Step, Wanted

# The newest, and the one before it, which `rotate` keeps for `rollback`.
_KEPT = 2
_KEYS_IN_HINT = 12  # more make no command that anybody reads


@dataclass(frozen=True)
class SwarmWish:
    """What the command line asks for."""

    env_file: Path | None
    takes_all: bool
    dialect: str
    use: str | None
    stack: str
    lock_file: Path | None
    secrets_dir: Path
    schema_path: Path | None
    salt: bytes
    by: str
    is_json: bool
    dry_run: bool
    yes: bool


@click.command("create-swarm")
@click.option(
    "--from-env", "env_file", type=click.Path(path_type=Path), metavar="FILE", help="Take the values from FILE."
)
@click.option("--all", "takes_all", is_flag=True, help="With --from-env: every key, not only the sensitive ones.")
@options.reading
@options.stack("Keep these separate from the same keys of other stacks.")
@options.lock_file
@options.secrets_dir
@options.schema
@options.salt
@options.by
@options.insecure
@options.as_json
@options.dry_run
@options.yes
@options.gathered(SwarmWish)
def create_swarm(wish: SwarmWish) -> int:
    """Create Docker secrets in the Swarm from ./secrets.

    Each key becomes a versioned secret: DB_PASSWORD becomes db_password.v1, or gets the number that secrets.lock.env
    names, so that stack files also work in a Swarm that was set up again. Secrets that hold the same value are left
    alone. If a value has changed, nothing is created, because a secret cannot be changed: use `rotate`, which moves the
    services to a new version.

    A key without a file that has @from=command(PROGRAM ARGUMENTS) in the schema gets what that program prints, with no
    file in between. The commands are shown first, and none runs before you agree.

    \b
    Examples:
      manage-secrets create-swarm --dry-run
      manage-secrets create-swarm --from-env .env --stack shop

    \b
    With --json: {"secrets": [{"key", "name", "version", "state": "created|unchanged|not made"}]}
    """
    if wish.stack and not names.is_swarm_name(wish.stack):
        raise Refused(f"{wish.stack} cannot be the name of a stack", "letters, digits and _ . - are taken")
    if wish.stack and not names.is_stack_name(wish.stack):
        hint = "the names of its services begin with it, and hold letters, digits, _ and - only"
        output.warn(f"a stack called {wish.stack} cannot be deployed", hint)
    schema = inputs.read_schema(wish.schema_path)
    by_programs = from_command.keys_of(schema)
    if wish.env_file is None:
        store = Vault.of_stack(wish.secrets_dir, wish.stack)
        values = values_of_vault(store, schema, may_be_empty=bool(by_programs))
    else:
        values = values_of_env_file(wish.env_file, wish.dialect, wish.use, wish.takes_all, schema)
    lacking = [key for key in by_programs if key not in values]
    if lacking:
        found = from_command.fetched(schema, lacking, yes=wish.yes, dry_run=wish.dry_run)
        file_names = names.file_names([*(schema.keys if schema is not None else ()), *values])
        values |= {key: (file_names[key], value) for key, value in found.items()}
    return make(
        values,
        Place(wish.stack, wish.lock_file, Vault(wish.secrets_dir), wish.salt, wish.by),
        is_json=wish.is_json,
        dry_run=wish.dry_run,
        fetched=lacking,
    )


class Place(NamedTuple):
    """Where versions are made, and by whom."""

    stack: str
    lock_file: Path | None
    store: Vault
    salt: bytes
    by: str


def make_missing(
    keys: Collection[str], schema_path: Path | None, place: Place, *, is_json: bool, dry_run: bool
) -> None:
    """Make the first version of those of *keys* (of all, if there are none) that have a file, and no version."""
    present = model.newest(connection.connect(os.environ).secrets(), place.stack)
    values = values_of_vault(place.store, inputs.read_schema(schema_path))
    missing = {key: value for key, value in values.items() if key not in present and (not keys or key in keys)}
    if missing:
        make(missing, place, is_json=is_json, dry_run=dry_run)


def make(
    values: Mapping[str, tuple[str, Secret]],
    place: Place,
    *,
    is_json: bool,
    dry_run: bool,
    fetched: Collection[str] = (),
) -> int:
    """Make versions of *values*, which have a key each, a file name and a value; say what became of them.

    Those of *fetched* keys come from programs, and are in no file.
    """
    stack, lock_file, store, salt, by = place
    wrong = deployment.refusals(values)
    if wrong:
        raise Refused.of_all(wrong, "mount what is that large as a volume; nothing was created")
    engine = connection.connect(os.environ)
    if not dry_run:
        engine.refuse_open()
    prints = deployment_key.of_swarm(salt, store, engine)
    by_key = {key: value for key, (_, value) in values.items()}
    if not dry_run:
        prints = deployment_key.kept_in_swarm(prints, engine, by_key)
    existing = labels.taken_over(engine.secrets(), prints, by_key)
    newest = model.newest(existing, stack)
    # Only what is there must be compared before anything is made.
    found = prints.of_all({key: value for key, value in by_key.items() if key in newest})
    wanted = [Wanted(key, file_name, value, found.get(key, "")) for key, (file_name, value) in values.items()]
    path = lock_file or versions_file.default_of(stack)
    named = versions_file.read(path)
    numbers = _numbers(by_key, stack, labels.last_numbers(engine), named, prints)
    drivers = Vault.of_stack(store.path, stack).templates()
    steps = [
        step._replace(template=drivers.get(step.wanted.file_name, ""))
        for step in deployment.plan(wanted, existing, stack, lambda key: numbers[key])
    ]
    refuse_what_cannot_be(steps, existing, stack, prints, fetched)
    announce(steps, dry_run)
    made = [step for step in steps if step.state == CREATED]
    trouble: Ended | None = None
    if not dry_run:
        with output.progress("creating", len(made)) as advance:
            made, trouble = deployment.apply(engine, steps, stack, prints, by, advance)
        if trouble is None:
            labels.note_numbers(engine)
    _settle_numbers(made, named, path, dry_run=dry_run)
    give(steps, made, is_json)
    if trouble is not None:
        output.say(f"{len(made)} made before it ended; run it again to go on from there")
        raise trouble
    return 0


def _numbers(
    values: Mapping[str, Secret],
    stack: str,
    last: Mapping[tuple[str, str], labels.Last],
    named: Mapping[str, int],
    prints: Fingerprints,
) -> dict[str, int]:
    """Return which number each key of *values* gets where it has no version.

    It is what stack files name. No number gets a second value: where all versions of a key were removed, the last of
    them comes back with its value, and another value gets the next number.
    """
    found = {}
    for key, value in values.items():
        number = named.get(versions_file.variable(key), 0)
        if before := last.get((stack, key)):
            is_same = before.fingerprint == prints.of(key, value)
            number = max(number, before.number) if is_same or number > before.number else before.number + 1
        found[key] = number or 1
    return found


def _settle_numbers(made: list[Step], named: Mapping[str, int], path: Path, *, dry_run: bool) -> None:
    """Write the numbers that were given into the file of versions, which stack files are deployed with."""
    new = {step.wanted.key: step for step in made if named.get(versions_file.variable(step.wanted.key)) != step.version}
    other = [step for key, step in new.items() if named.get(versions_file.variable(key), 1) != step.version]
    if other:
        listed = output.listed(step.name for step in other)
        output.say(f"{listed}: earlier numbers had other values, and are not used again")
    if not new or dry_run:
        return
    try:
        versions_file.write(path, {key: step.version for key, step in new.items()})
    except Ended as ended:
        if not other:
            output.detail(ended.message)  # a stack file names version 1 without it
            return
        lines = "\\n".join(f"{versions_file.variable(key)}={step.version}" for key, step in new.items())
        output.warn(f"the secrets are created, but {ended.message}", f"printf '{lines}\\n' >>{quoted(str(path))}")
    else:
        output.say(f"wrote {path}: load it before `docker stack deploy`, with set -a; . {_sourced(path)}; set +a")


def _sourced(path: Path) -> str:
    """Return *path* as a shell's `.` finds it, which looks for a bare name elsewhere."""
    return quoted(str(path if path.is_absolute() else f"./{path}"))


def values_of_vault(
    store: Vault, schema: Schema | None, *, may_be_empty: bool = False
) -> dict[str, tuple[str, Secret]]:
    """Return key, file name and value of every secret file.

    Raises:
        Refused: a file's name belongs to no key, or there are no files.
    """
    found = inventory.files_by_key(store, inventory.known_keys(schema, Path(".env")))
    if not found and not may_be_empty:
        raise Refused(f"there are no secrets in {store.path}", "make them with create-from-env or generate")
    return {key: (entry.name, entry.value) for key, entry in found.items()}


def values_of_env_file(
    path: Path, dialect: str, use: str | None, takes_all: bool, schema: Schema | None
) -> dict[str, tuple[str, Secret]]:
    """Return key, file name and value of what *path* sets and the schema calls sensitive."""
    read = env.read_env_file(path, dialect, use)
    chosen, left = env.choose(read.values, schema, takes_all)
    env.settle_use(path, read, chosen)
    by_programs = from_command.keys_of(schema)
    chosen = {key: value for key, value in chosen.items() if len(value) or key not in by_programs}
    filing.say_warnings(path, [item for item in read.warnings if not item.key or item.key in chosen], left)
    file_names = names.file_names([*(schema.keys if schema else ()), *chosen])
    return {key: (file_names[key], value) for key, value in chosen.items()}


def refuse_what_cannot_be(
    steps: list[Step], existing: list[SwarmSecret], stack: str, prints: Fingerprints, fetched: Collection[str]
) -> None:
    """Refuse the whole run, before anything is made, when a part of it cannot be done."""
    newest = model.newest(existing, stack)
    changed = [step.wanted.key for step in steps if step.state == CHANGED]
    salted = [key for key in changed if not prints.is_own(newest[key].salt)]
    if salted:
        hint = (
            "or start over under the deployment's key: "
            f"manage-secrets rotate --force {' '.join(map(quoted, salted))}{stacks.option(stack)}"
        )
        raise deployment.refusal_of_other_marks(salted, hint)
    if changed:
        of_stack = stacks.option(stack)
        few = changed if len(changed) <= _KEYS_IN_HINT else ["KEY"]
        rotate = f"manage-secrets rotate {' '.join(map(quoted, few))}{of_stack}"
        each = "a new version" if len(changed) == 1 else "new versions"
        of_files = f"manage-secrets sync --from-files{of_stack} creates {each} from the files, and moves the services"
        is_fetched = set(changed) <= set(fetched)
        hints = (
            [f"{rotate} moves the services to it"]
            if is_fetched
            else [of_files, f"or generate another value: {rotate} --generate"]
        )
        raise Refused(f"the Swarm holds a different value for {output.listed(changed)}; nothing was created", *hints)
    taken = deployment.foreign(steps, existing)
    if taken:
        listed = output.listed(taken)
        raise Refused(
            f"the Swarm has secrets of these names that this tool did not create: {listed}; nothing was created",
            "remove them, or keep yours separate with --stack NAME",
        )


def announce(steps: list[Step], dry_run: bool) -> None:
    """Say what will be done."""
    todo = [step for step in steps if step.state == CREATED]
    unchanged = sum(step.state == UNCHANGED for step in steps)
    output.say(f"{len(todo)} {'would be' if dry_run else 'to be'} created, {unchanged} unchanged")
    if templates := [step.wanted.key for step in todo if step.template]:
        output.say(f"filled in by a template driver when a task starts: {output.listed(templates)}")
    empty = [step.wanted.key for step in todo if not len(step.wanted.value)]
    if empty:
        output.warn(
            f"empty, which the Swarm does not allow: {output.listed(empty)}; a line break is stored instead",
            "the shim and `$(cat FILE)` drop it, so a service sees the empty value",
        )


def give(steps: list[Step], made: list[Step], is_json: bool) -> None:
    """Print what became of each key."""
    rows = []
    for step in steps:
        state = deployment.MISSING if step.state == CREATED and step not in made else step.state
        rows.append((step.wanted.key, step.name, step.version, state))
    if is_json:
        fields = ("key", "name", "version", "state")
        output.give_json({"secrets": [dict(zip(fields, row, strict=True)) for row in rows]})
    else:
        output.give_table(["KEY", "NAME", "STATE"], [(key, name, state) for key, name, _, state in rows])


@click.command("prune")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    default=_KEPT,
    show_default=True,
    help="Number of newest versions to keep; the default keeps what rollback needs.",
)
@options.stack("Only the secrets of this stack; otherwise, those of no stack.")
@options.as_json
@options.dry_run
@options.yes
def prune(keep: int, stack: str, is_json: bool, dry_run: bool, yes: bool) -> int:
    """Remove versions that are no longer used.

    A version is kept while a service, a service's previous specification or a live task uses it, and while it is among
    the newest of its key. Secrets that were not created by this tool are never touched.

    \b
    Examples:
      manage-secrets prune --dry-run
      manage-secrets prune --keep 2 --yes

    \b
    With --json: {"secrets": [{"key", "name", "state": "removed|idle"}]}
    """
    engine = connection.connect(os.environ)
    named = engine.named_ids()
    secrets = engine.secrets()
    stacks.say_others(secrets, stack)
    idle = removable(secrets, named, keep, stack)
    output.say(f"{len(idle)} {'would be' if dry_run else 'to be'} removed")
    removed: list[SwarmSecret] = []
    trouble: Ended | None = None
    if idle and not dry_run:
        output.confirm(f"remove {output.listed(secret.name for secret in idle)}?", yes=yes)
        # A service may have taken one up while the question was open.
        named = engine.named_ids()
        for secret in idle:
            if secret.id in named:
                continue
            try:
                engine.remove(secret)
            except Ended as ended:
                trouble = trouble or ended
            else:
                removed.append(secret)
    rows = [(secret.key, secret.name, "idle" if dry_run else "removed") for secret in (idle if dry_run else removed)]
    if is_json:
        output.give_json({"secrets": [{"key": key, "name": name, "state": state} for key, name, state in rows]})
    elif rows:
        output.give_table(["KEY", "NAME", "STATE"], rows)
    if trouble is not None:
        raise trouble
    return 0


def removable(secrets: list[SwarmSecret], named: set[str], keep: int, stack: str) -> list[SwarmSecret]:
    """Return the versions of *stack* that nobody names and that are not among the *keep* newest of their key."""
    versions: dict[str, list[SwarmSecret]] = {}
    for secret in stacks.of_stack(secrets, stack):
        versions.setdefault(secret.key, []).append(secret)
    idle: list[SwarmSecret] = []
    for of_key in versions.values():
        of_key.sort(key=lambda secret: -secret.version)
        idle += [secret for secret in of_key[keep:] if secret.id not in named]
    return idle
