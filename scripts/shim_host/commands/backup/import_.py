"""`import`: the secrets of a backup, back into ./secrets; all of it is verified before anything is written."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shim.secret import Secret
from shim_host import deployment_key, output
from shim_host.backup import document, passphrase, sealed_file, secret_key
from shim_host.backup.document import Backup, Item, Step
from shim_host.commands import options
from shim_host.errors import Refused
from shim_host.fingerprints import Fingerprints
from shim_host.store import gitignore
from shim_host.store.vault import Vault

_KNOWS = "made by somebody who knows the passphrase"


@dataclass(frozen=True)
class ImportWish:
    """What the command line asks of a restore."""

    file: str
    keys: tuple[str, ...]
    identities: tuple[Path, ...]
    passphrase_file: str | None
    asks: bool
    stack: str
    force: bool
    secrets_dir: Path
    is_json: bool
    dry_run: bool
    yes: bool


@click.command("import")
@click.argument("file")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option(
    "--identity", "-i", "identities", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="An age identity or an SSH private key; may be repeated.",
)  # fmt: skip
@options.passphrase
@click.option("--stack", default="", metavar="NAME", help="Restore only the values of this stack.")
@click.option("--force", is_flag=True, help="Replace files that hold a different value.")
@options.secrets_dir
@options.as_json
@options.dry_run
@options.yes
@options.gathered(ImportWish)
def import_command(wish: ImportWish) -> None:
    """Restore secrets from a backup into ./secrets: all of them, or those named by KEY.

    FILE is what export wrote; - is stdin. The whole backup is verified before anything is written. Existing files
    that hold a different value are kept, unless --force is given.

    The values of a stack go into a folder of that name, ./secrets/NAME, where create-swarm --stack NAME looks for
    them; with --stack, and if there is no such folder yet, into ./secrets itself.

    \b
    Examples:
      manage-secrets import backup.gpg --dry-run
      manage-secrets import backup.age --identity ~/keys.txt
      manage-secrets import backup.age DB_PASSWORD --identity ~/keys.txt --force
      manage-secrets import backup.gpg --passphrase-file pass.txt --stack shop

    \b
    With --json: {"secrets": [{"key", "stack", "file", "state": "created|replaced|unchanged|kept|absent"}]}
    """
    if wish.file == wish.passphrase_file == sealed_file.STDIO:
        raise click.UsageError("the backup and the passphrase cannot both come from stdin")
    if wish.passphrase_file is not None and wish.asks:
        raise click.UsageError("--passphrase and --passphrase-file cannot be used together")
    secret_key.refuse_as_file(wish.identities)
    found = _opened(wish.file, list(wish.identities), wish.passphrase_file, asks=wish.asks)
    folders = _Folders(wish.secrets_dir, wish.stack)
    items = _chosen(found, wish.keys, wish.stack)
    _refuse_one_place(items, folders)
    have = folders.present(items)
    steps = document.plan(items, have, force=wish.force)
    _announce_import(found, steps, dry_run=wish.dry_run)
    _announce_changes(steps, have, deployment_key.looking(b"", Vault(wish.secrets_dir)))
    if not wish.dry_run:
        _write(steps, folders, lambda: folders.present(items) == have, yes=wish.yes or not sys.stdin.isatty())
    _give_import(steps, folders, is_json=wish.is_json)


class _Folders:
    """Where the values go: each stack's into a folder of its own, unless one stack was chosen and has none."""

    def __init__(self, secrets_dir: Path, stack: str) -> None:
        self.secrets_dir = secrets_dir
        self.chosen = stack

    def of(self, item: Item) -> Vault:
        """Return the folder of *item*."""
        if self.chosen:
            return Vault.of_stack(self.secrets_dir, self.chosen)
        return Vault(self.secrets_dir / item.stack if item.stack else self.secrets_dir)

    def present(self, items: Iterable[Item]) -> dict[tuple[str, str], Secret]:
        """Return what the folders hold of the files that *items* have values for, by stack and name."""
        entries = {(item.stack, item.file): self.of(item).read(item.file) for item in items if item.value is not None}
        return {at: entry.value for at, entry in entries.items() if entry is not None}


def _chosen(found: Backup, keys: Sequence[str], stack: str) -> list[Item]:
    """Return the items that were asked for.

    Raises:
        Refused: the backup has none of a stack, or of a key.
    """
    items = [item for item in found.items if not stack or item.is_of(stack)]
    if stack and not items:
        stacks = sorted({item.stack for item in found.items if item.stack})
        known = f"it has values of {', '.join(stacks)}" if stacks else "it has values of no stack: leave --stack out"
        raise Refused(f"the backup contains nothing of the stack {stack}", known)
    missing = [key for key in keys if key not in {item.key for item in items}]
    if missing:
        raise Refused(f"the backup has no {output.unknown(missing)}", "--dry-run without a key lists what it has")
    items.sort(key=lambda item: item.stack != stack)
    # A stack's own value goes before one that it shares with others.
    own = {item.key for item in items if stack and item.key and item.stack == stack}
    items = [item for item in items if item.stack == stack or item.key not in own]
    return [item for item in items if not keys or item.key in keys]


def _refuse_one_place(items: Iterable[Item], folders: _Folders) -> None:
    """Refuse two values for one place: each would be lost to the other, or the shim would refuse both.

    A system that ignores case takes `token` and `Token` for one file.

    Raises:
        Refused: there are two.
    """
    written = [item for item in items if item.value is not None]
    of_stacks = {folders.of(item).path: item for item in written if item.stack}
    first: dict[tuple[Path, str], Item] = {}
    for item in written:
        folder = folders.of(item).path
        other = of_stacks.get(folder / item.file) or first.setdefault((folder, item.file.casefold()), item)
        if other is item and folders.chosen and item.key:
            other = first.setdefault((folder, f"/{item.key}"), item)
        if other is not item:
            hint = "name the keys to restore, or restore into a folder of its own for each: --secrets-dir"
            raise Refused(f"{item.shown} and {other.shown} of the backup would be one secret in {folder}", hint)


def _opened(file: str, identities: list[Path], passphrase_file: str | None, *, asks: bool) -> Backup:
    """Return the backup in *file*, verified.

    Raises:
        Refused: it is not a backup that can be opened here; the message names the file, and nothing was changed.
    """
    sealed = sealed_file.read(file)
    shown = "stdin" if file == sealed_file.STDIO else file
    try:
        kind = sealed_file.kind_of(sealed)
        secret = passphrase.read(passphrase_file) if passphrase_file is not None else None
        plain, vouching, doubtful = _unsealed(kind, sealed, identities, secret, asks=asks)
        found = document.decode(plain)
    except Refused as refused:
        raise Refused(f"{shown}: {refused.message}", *refused.hints, "nothing was changed") from None
    if vouching:
        output.say(vouching)
    elif doubtful:
        hint = "compare the fingerprint with its owner; gpg --quick-lsign-key FINGERPRINT tells gpg that it is theirs"
        output.warn(f"{shown} is signed by {doubtful}, and nothing proves that this key is theirs", hint)
    else:
        hint = "compare what would change with --dry-run, or encrypt it with GPG and your own key, or a passphrase"
        output.warn(f"nobody vouches for {shown}: anyone who knows the public key could have made it", hint)
    return found


def _unsealed(
    kind: str, sealed: bytes, identities: list[Path], secret: Secret | None, *, asks: bool
) -> tuple[bytes, str, str]:
    """Return what *sealed* holds, words for who made it, and who signed it with a key that nothing vouches for."""
    if kind == "age":
        from shim_host.backup import age

        if secret is None and (asks or (not identities and age.wants_passphrase(sealed))):
            secret = passphrase.ask(twice=False)
        if secret is None and not identities:
            raise Refused("it is encrypted to a key of age", "name the file of the secret key: --identity FILE")
        return age.unseal(sealed, secret, identities), _KNOWS if secret is not None else "", ""
    from shim_host.backup import gpg

    is_symmetric = gpg.wants_passphrase(sealed)
    if secret is None and (asks or is_symmetric):
        secret = passphrase.ask(twice=False)
    plain, signer = gpg.unseal(sealed, secret)
    if signer.is_known:
        return plain, f"signed by {signer.name}", ""
    return plain, _KNOWS if is_symmetric else "", signer.name


def _announce_import(found: Backup, steps: list[Step], *, dry_run: bool) -> None:
    counts = {state: sum(step.state == state for step in steps) for state in ("created", "replaced", "unchanged")}
    will = "would be" if dry_run else "to be"
    output.say(f"the backup is whole: made {found.created} by {found.tool}")
    output.say(
        f"{counts['created']} {will} created, {counts['replaced']} {will} replaced, {counts['unchanged']} unchanged"
    )
    kept = [step.item.shown for step in steps if step.state == "kept"]
    if kept:
        output.warn(
            f"kept, although the backup holds a different value: {output.listed(kept)}", "replace them with --force"
        )
    absent = [step.item.shown for step in steps if step.state == "absent"]
    if absent:
        hint = "export --from-swarm saves the values too"
        output.warn(f"the backup has no value of {output.listed(absent)}: they were only in the Swarm", hint)


def _announce_changes(steps: list[Step], have: Mapping[tuple[str, str], Secret], prints: Fingerprints) -> None:
    """Say of each value that is replaced what it was and what it becomes, by fingerprint."""
    for step in steps:
        old = have.get((step.item.stack, step.item.file))
        if step.state == "replaced" and old is not None and step.item.value is not None:
            before, after = prints.of(step.item.key, old), prints.of(step.item.key, step.item.value)
            output.say(f"{step.item.shown}: {before} becomes {after}")


def _write(steps: list[Step], folders: _Folders, is_as_planned: Callable[[], bool], *, yes: bool) -> None:
    """Write what is new or changed, as it was announced.

    Raises:
        Refused: somebody changed the folder in the meantime.
    """
    todo = [step.item for step in steps if step.state in ("created", "replaced")]
    drivers: dict[Path, dict[str, str]] = {}
    for step in steps:
        place = folders.of(step.item)
        if step.item.template and step.state in ("created", "replaced", "unchanged"):
            drivers.setdefault(place.path, place.templates())[step.item.file] = step.item.template
    if not (todo or drivers):
        return
    replaced = [step.item.shown for step in steps if step.state == "replaced"]
    if replaced:
        output.confirm(f"replace {output.many(len(replaced), 'value')}: {output.listed(replaced)}?", yes=yes)
    Vault(folders.secrets_dir).refuse_link()
    Vault(folders.secrets_dir).ask_owner()
    ignored = gitignore.missing(Path(), folders.secrets_dir)
    for line in gitignore.told(ignored):
        output.say(line)
    gitignore.add(ignored)  # first, so that git shows no value at any moment
    places = list(dict.fromkeys([*(folders.of(item).path for item in todo), *drivers]))
    with ExitStack() as stack, output.progress("writing", len(todo)) as advance:
        if folders.secrets_dir not in places:
            stack.enter_context(Vault(folders.secrets_dir).writing())  # private itself, before anything is in it
        writers = {place: stack.enter_context(Vault(place).writing()) for place in places}
        if not is_as_planned():
            raise Refused(f"{folders.secrets_dir} changed in the meantime", "look at it, and run this again")
        for item in todo:
            if item.value is not None:
                writers[folders.of(item).path].write(item.file, item.value.reveal())
            advance()
        for path, found in drivers.items():
            writers[path].write_templates(found)


def _give_import(steps: list[Step], folders: _Folders, *, is_json: bool) -> None:
    if not is_json:
        rows = [(step.item.key, folders.of(step.item).shown(step.item.file), step.state) for step in steps]
        output.give_table(["KEY", "FILE", "STATE"], rows)
        return
    listed: list[dict[str, Any]] = [
        {
            "key": step.item.key,
            "stack": step.item.stack or None,
            "file": os.path.join(os.path.abspath(folders.of(step.item).path), step.item.file)
            if step.item.value is not None
            else None,
            "state": step.state,
        }
        for step in steps
    ]
    output.give_json({"secrets": listed})
