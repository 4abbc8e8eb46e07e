"""`generate`: new values as the schema says, into ./secrets."""

from pathlib import Path

import click

from shim_host import filing, names, options
from shim_host.errors import Refused
from shim_host.filing import Planned
from shim_host.generate import new_value
from shim_host.vault import Vault


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
            plan.append(Planned(key, file_names[key], value, filing.state_of(entries[key], value, force)))
            values[key] = value
    else:
        plan = filing.make_missing([], store, schema)
    filing.announce(Path(schema.source), [], [], plan, [], dry_run)
    if not dry_run:
        filing.confirm_replacing(plan, yes)
        filing.write(store, plan)
    filing.give(plan, [], secrets_dir, is_json)
