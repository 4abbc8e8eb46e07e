"""`import`: the secrets of a backup, back into ./secrets; all of it is verified before anything is written."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from shim.secret import Secret
from shim_host import output
from shim_host.backup import document, passphrase, sealed_file
from shim_host.backup.document import Backup, Step
from shim_host.commands import options
from shim_host.errors import Refused
from shim_host.store import vault
from shim_host.store.vault import Vault


@click.command("import")
@click.argument("file")
@click.option(
    "--identity", "-i", "identities", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A secret key of age, or an SSH private key; may be repeated.",
)  # fmt: skip
@options.passphrase
@click.option("--force", is_flag=True, help="Replace files that hold another value.")
@options.secrets_dir
@options.as_json
@options.dry_run
@options.yes
def import_command(
    file: str,
    identities: tuple[Path, ...],
    passphrase_file: str | None,
    asks: bool,
    force: bool,
    secrets_dir: Path,
    is_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Put the secrets of a backup back into ./secrets.

    FILE is what export wrote; - is stdin. All of it is verified before anything is written. A file that is there and
    holds another value is kept, unless --force is given.

    \b
    Examples:
      manage-secrets import document.gpg --dry-run
      manage-secrets import document.age --identity ~/keys.txt
      manage-secrets import document.gpg --passphrase-file pass.txt --force

    \b
    With --json: {"secrets": [{"key", "file", "state": "created|replaced|unchanged|kept|absent"}]}
    """
    if file == passphrase_file == sealed_file.STDIO:
        raise click.UsageError("the backup and the passphrase cannot both come from stdin")
    if passphrase_file is not None and asks:
        raise click.UsageError("--passphrase and --passphrase-file exclude each other")
    found = _opened(file, list(identities), passphrase_file, asks=asks)
    store = Vault(secrets_dir)
    have = _present(found, store)
    steps = document.plan(found, have, force=force)
    _announce_import(found, steps, dry_run=dry_run)
    if not dry_run:
        _write(steps, store, lambda: _present(found, store) == have, yes=yes or not sys.stdin.isatty())
    _give_import(steps, secrets_dir, is_json=is_json)


def _opened(file: str, identities: list[Path], passphrase_file: str | None, *, asks: bool) -> Backup:
    """Return the backup in *file*, verified.

    Raises:
        Refused: it is no backup that can be opened here; the message names the file, and nothing was changed.
    """
    sealed = sealed_file.read(file)
    shown = "stdin" if file == sealed_file.STDIO else file
    try:
        kind = sealed_file.kind_of(sealed)
        secret = passphrase.read(passphrase_file) if passphrase_file is not None else None
        return document.decode(_unsealed(kind, sealed, identities, secret, asks=asks))
    except Refused as refused:
        raise Refused(f"{shown}: {refused.message}", *refused.hints, "nothing was changed") from None


def _unsealed(kind: str, sealed: bytes, identities: list[Path], secret: Secret | None, *, asks: bool) -> bytes:
    if kind == "age":
        from shim_host.backup import age

        if secret is None and (asks or (not identities and age.wants_passphrase(sealed))):
            secret = passphrase.ask(twice=False)
        if secret is None and not identities:
            raise Refused("it is encrypted to a key of age", "name the file of the secret key: --identity FILE")
        return age.unseal(sealed, secret, identities)
    from shim_host.backup import gpg

    if secret is None and (asks or gpg.wants_passphrase(sealed)):
        secret = passphrase.ask(twice=False)
    return gpg.unseal(sealed, secret)


def _present(found: Backup, store: Vault) -> dict[str, Secret]:
    """Return what the folder holds of the files that the backup has values for, by name."""
    entries = {item.file: store.read(item.file) for item in found.items if item.value is not None}
    return {name: entry.value for name, entry in entries.items() if entry is not None}


def _announce_import(found: Backup, steps: list[Step], *, dry_run: bool) -> None:
    counts = {state: sum(step.state == state for step in steps) for state in ("created", "replaced", "unchanged")}
    will = "would be" if dry_run else "to be"
    output.say(f"the backup is whole: made {found.created} by {found.tool}")
    output.say(
        f"{counts['created']} {will} created, {counts['replaced']} {will} replaced, {counts['unchanged']} unchanged"
    )
    kept = [step.item.file for step in steps if step.state == "kept"]
    if kept:
        output.warn(f"kept, although the backup says otherwise: {', '.join(kept)}", "replace them with --force")
    absent = [step.item.file for step in steps if step.state == "absent"]
    if absent:
        hint = "export --from-swarm saves the values too"
        output.warn(f"the backup has no value of {', '.join(absent)}: they were in the Swarm only", hint)


def _write(steps: list[Step], store: Vault, is_as_planned: Callable[[], bool], *, yes: bool) -> None:
    """Write what is new or changed, as it was announced.

    Raises:
        Refused: somebody changed the folder in the meantime.
    """
    todo = {step.item.file: step.item.value for step in steps if step.state in ("created", "replaced")}
    if not todo:
        return
    replaced = [step.item.file for step in steps if step.state == "replaced"]
    if replaced:
        output.confirm(f"replace {len(replaced)} value(s): {', '.join(replaced)}?", yes=yes)
    if ignored := vault.missing_gitignore_lines(Path(), store.path, None):
        output.say(f".gitignore gets {' '.join(ignored)}")
        vault.add_gitignore_lines(Path(), ignored)  # first, so that git shows no value at any moment
    with store.writing() as writer, output.progress("writing", len(todo)) as advance:
        if not is_as_planned():
            raise Refused(f"{store.path} changed in the meantime", "look at it, and run this again")
        for name, value in todo.items():
            if value is not None:
                writer.write(name, value.reveal())
            advance()


def _give_import(steps: list[Step], secrets_dir: Path, *, is_json: bool) -> None:
    if not is_json:
        rows = [(step.item.key, str(secrets_dir / step.item.file), step.state) for step in steps]
        output.give_table(["KEY", "FILE", "STATE"], rows)
        return
    folder = os.path.abspath(secrets_dir)
    listed: list[dict[str, Any]] = [
        {
            "key": step.item.key,
            "file": os.path.join(folder, step.item.file) if step.item.value is not None else None,
            "state": step.state,
        }
        for step in steps
    ]
    output.give_json({"secrets": listed})
