"""What is to happen with each secret file is decided first; then it is said, asked, and done."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shim.schema import Schema
from shim.secret import Secret
from shim_host import inputs, names, output
from shim_host.errors import Refused
from shim_host.output import Warned
from shim_host.shell import quoted
from shim_host.store import gitignore
from shim_host.store.vault import Entry, Vault

CREATED, UNCHANGED, KEPT, REPLACED = "created", "unchanged", "kept", "replaced"


class Planned(NamedTuple):
    """What is to happen with one key."""

    key: str
    file_name: str
    value: Secret
    state: str


def file_names(store: Vault, known: Iterable[str]) -> dict[str, str]:
    """Return for each of the *known* keys the name of the file that is there, or what it would be called.

    Files need not be called as this tool calls them: `DB_PASSWORD` and `db-password` are of the same key.
    """
    found = names.file_names(known)
    there: dict[str, list[str]] = {}
    for name, key in names.keys_of(store.names(), found).items():
        there.setdefault(key, []).append(name)
    return {
        key: name if name in (its := there.get(key, [name])) else names.likeliest(key, its)
        for key, name in found.items()
    }


def make_plan(chosen: Mapping[str, Secret], store: Vault, schema: Schema | None, force: bool) -> list[Planned]:
    """Return what is to happen with each of *chosen*; every file is looked at before any is written."""
    named = file_names(store, [*(schema.keys if schema else ()), *chosen])
    plan = []
    for key, value in chosen.items():
        there = store.read(named[key])
        plan.append(Planned(key, named[key], value, state_of(there, value, force)))
    return plan


def state_of(there: Entry | None, value: Secret, force: bool) -> str:
    """Return what becomes of a file that is *there* (or not) and is to hold *value*."""
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
        raise Refused("--generate-missing needs a schema", f"write {inputs.SCHEMA}, with @generate above the keys")
    named = file_names(store, [*schema.keys, *(item.key for item in plan)])
    values = {item.key: item.value for item in plan if item.state != KEPT}
    for key in schema.keys:
        there = None if key in values else store.read(named[key])
        if there is not None and len(there.value):
            values[key] = there.value
    values = {key: value for key, value in values.items() if len(value)}
    made = []
    # Keys that are signed with another one come after it.
    for spec in sorted(schema.keys.values(), key=is_signed):
        key = spec.key
        if key in values or not spec.is_sensitive or not can_be_made(spec) or spec.is_derived:
            continue
        values[key] = new_value(spec, values)
        made.append(Planned(key, named[key], values[key], CREATED))
    return made


def say_warnings(path: Path, warnings: list[Warned], left: list[str]) -> None:
    """Say on stderr what is likely to surprise in the file *path*."""
    for line, key, message, hint in warnings:
        output.warn(f"{path}:{line}: {key}: {message}" if key else f"{path}:{line}: {message}", hint)
    if left:
        hint = "add them to the schema, or take every key with --all"
        output.warn(f"not in the schema, and left where they are: {output.listed(left)}", hint)


def announce(
    path: Path,
    warnings: list[Warned],
    left: list[str],
    plan: list[Planned],
    ignored: Mapping[Path, Sequence[str]],
    dry_run: bool,
) -> None:
    """Say on stderr what is likely to surprise, and what will be done."""
    say_warnings(path, warnings, left)
    counts = {state: sum(item.state == state for item in plan) for state in (CREATED, REPLACED, UNCHANGED, KEPT)}
    will = "would be" if dry_run else "to be"
    output.say(f"{counts[CREATED]} {will} created, {counts[REPLACED]} {will} replaced, {counts[UNCHANGED]} unchanged")
    if counts[KEPT]:
        kept = output.listed(item.key for item in plan if item.state == KEPT)
        output.warn(f"kept, although {path} holds a different value: {kept}", "replace them with --force")
    for line in gitignore.told(ignored, dry_run=dry_run):
        output.say(line)


def keep_out_of_git(store: Vault, *, dry_run: bool) -> None:
    """See that git ignores the folder of *store* and `.env`, before a value is there that it could see.

    Raises:
        Refused: no value will be written there, so nothing is changed.
    """
    store.refuse_link()
    if not dry_run:
        store.ask_owner()
    lacking = gitignore.missing(Path(), store.path, Path(".env"))
    for line in gitignore.told(lacking, dry_run=dry_run):
        output.say(line)
    if not dry_run:
        gitignore.add(lacking)


def confirm_replacing(plan: list[Planned], yes: bool) -> None:
    """Ask before values are lost; without a terminal `--force` alone is the answer."""
    replaced = [item.file_name for item in plan if item.state == REPLACED]
    if replaced:
        question = f"replace {output.many(len(replaced), 'value')}: {output.listed(replaced)}?"
        output.confirm(question, yes=yes or not sys.stdin.isatty())


def write(store: Vault, plan: list[Planned], owner: tuple[int, int] | None = None) -> None:
    """Write what is new or changed."""
    todo = [item for item in plan if item.state in (CREATED, REPLACED)]
    with store.writing() as writer, output.progress("writing", len(todo)) as advance:
        for item in todo:
            writer.write(item.file_name, item.value.reveal())
            advance()
        if owner is not None:
            for item in plan:
                writer.give_to(item.file_name, owner)
    taken = gitignore.taken(store.path / item.file_name for item in todo)
    if taken:
        hint = f"git check-ignore --verbose --no-index {quoted(taken[0])} shows the line: remove it"
        output.warn(f"not kept out of git, since a line of a .gitignore lets it in: {output.listed(taken)}", hint)


def give(plan: list[Planned], warnings: list[Warned], secrets_dir: Path, is_json: bool) -> None:
    """Print what happened to each key."""
    if not is_json:
        output.give_table(["KEY", "FILE", "STATE"], [(i.key, str(secrets_dir / i.file_name), i.state) for i in plan])
        return
    folder = os.path.abspath(secrets_dir)
    document: dict[str, Any] = {
        "secrets": [{"key": i.key, "file": os.path.join(folder, i.file_name), "state": i.state} for i in plan],
        "warnings": [warning._asdict() for warning in warnings],
    }
    output.give_json(document)
