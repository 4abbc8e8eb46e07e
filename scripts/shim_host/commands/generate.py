"""`generate`: new values as the schema says, into ./secrets."""

from collections.abc import Mapping
from pathlib import Path

import click

from shim.schema import Schema
from shim_host import inputs, output
from shim_host.commands import options
from shim_host.errors import Refused
from shim_host.generate import is_signed, new_value, signer_of
from shim_host.shell import quoted
from shim_host.store import filing
from shim_host.store.filing import Planned
from shim_host.store.vault import Entry, Vault


@click.command("generate")
@options.keys()
@click.option("--force", is_flag=True, help="Replace existing values.")
@options.writing
def generate(
    keys: tuple[str, ...],
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    is_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Generate values in ./secrets, following the schema.

    Without KEYS, a value is generated for every key that the schema marks @generate and that has no file yet. No value
    is ever shown.

    \b
    Examples:
      manage-secrets generate
      manage-secrets generate SESSION_KEY --force

    \b
    With --json: as create-from-env prints it.
    """
    schema = inputs.read_schema(schema_path)
    if schema is None:
        raise Refused("there is no schema to generate values from", f"write {inputs.SCHEMA}")
    unknown = [key for key in keys if key not in schema.keys]
    if unknown:
        hints = inputs.did_you_mean(unknown[0], schema.keys)
        raise Refused(
            f"not in the schema: {output.unknown(unknown)}", *hints, f"the keys are listed in {schema.source}"
        )
    store = Vault(secrets_dir)
    if keys:
        file_names = filing.file_names(store, schema.keys)
        entries = {key: store.read(file_names[key]) for key in schema.keys}
        values = {key: entry.value for key, entry in entries.items() if entry is not None}
        plan = []
        # A key that others are signed with comes before them, in whatever order they were named.
        for key in sorted(dict.fromkeys(keys), key=lambda key: is_signed(schema.keys[key])):
            value = new_value(schema.keys[key], values)
            state = filing.state_of(entries[key], value, force)
            plan.append(Planned(key, file_names[key], value, state))
            if state != filing.KEPT:
                values[key] = value
        warn_of_old_signatures(schema, plan, entries)
    else:
        plan = filing.make_missing([], store, schema)
    filing.announce(Path(schema.source), [], [], plan, {}, dry_run)
    if not dry_run:
        filing.confirm_replacing(plan, yes)
    filing.keep_out_of_git(store, dry_run=dry_run)
    if not dry_run:
        filing.write(store, plan)
    filing.give(plan, [], secrets_dir, is_json)


def warn_of_old_signatures(schema: Schema, plan: list[Planned], entries: Mapping[str, Entry | None]) -> None:
    """Say which tokens stay signed with a value that is replaced."""
    replaced = {item.key for item in plan if item.state == filing.REPLACED}
    made = {item.key for item in plan if item.state in (filing.CREATED, filing.REPLACED)}
    for spec in schema.keys.values():
        signer = signer_of(spec)
        if signer in replaced and spec.key not in made and entries[spec.key] is not None:
            hint = f"manage-secrets generate {quoted(signer)} {quoted(spec.key)} --force makes both"
            output.warn(f"{spec.key} stays signed with the {signer} that is replaced", hint)
