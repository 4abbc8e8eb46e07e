"""`export`: an encrypted backup of the secrets. The plain document lives in memory only."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from shim import __version__
from shim.secret import Secret
from shim_host import inputs
from shim_host import output as report
from shim_host.backup import collect, document, passphrase, sealed_file, secret_key
from shim_host.backup.document import Backup, Item
from shim_host.commands import options
from shim_host.errors import Failed, Refused
from shim_host.store.vault import Vault
from shim_host.swarm.model import SwarmSecret

ENCRYPTIONS = ("gpg", "age")


@dataclass(frozen=True)
class ExportWish:
    """What the command line asks of a backup."""

    output: str
    recipients: tuple[str, ...]
    recipients_file: tuple[Path, ...]
    passphrase_file: str | None
    asks: bool
    weak_passphrase: bool
    encryption: str | None
    armor: bool
    from_swarm: bool
    image: str
    no_swarm: bool
    force: bool
    secrets_dir: Path
    schema_path: Path | None
    salt: bytes
    is_json: bool
    dry_run: bool
    yes: bool


@click.command("export")
@click.option(
    "--output", "-o", default=sealed_file.STDIO, metavar="FILE", help="Write the backup to FILE.  [default: - (stdout)]"
)
@click.option(
    "--recipient", "-r", "recipients", multiple=True, metavar="KEY", help="Encrypt to a key; may be repeated."
)
@click.option(
    "--recipients-file",
    "-R",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Encrypt to the keys in FILE, one KEY per line.",
)
@options.passphrase
@click.option(
    "--encryption",
    type=click.Choice(ENCRYPTIONS),
    help="Encrypt with gpg or age.  [default: what the recipients or the name of FILE suggest, else gpg]",
)
@click.option(
    "--weak-passphrase", is_flag=True, help=f"Accept a passphrase of fewer than {passphrase.SHORTEST} characters."
)
@click.option("--armor", "-a", is_flag=True, help="Write ASCII text instead of bytes.")
@click.option("--from-swarm", is_flag=True, help="Include the values of the Swarm, read through a helper task.")
@click.option("--image", default="", metavar="IMAGE", help="Image of the helper task; it needs cat and sleep.")
@click.option("--no-swarm", is_flag=True, help="Leave out the names, versions and dates of the Swarm's secrets.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@options.secrets_dir
@options.schema
@options.salt
@options.insecure
@options.as_json
@options.dry_run
@options.yes
@options.gathered(ExportWish)
def export_command(wish: ExportWish) -> None:
    """Write an encrypted backup of the secrets.

    It contains the values in ./secrets, and the names, versions and dates of the Swarm's secrets. The Swarm never
    returns a value; --from-swarm reads them through a short-lived task on this manager, without a log or a network.

    KEY is a fingerprint, key ID or mail address that gpg knows, an age recipient (age1…), or an SSH public key.
    Without a recipient, the backup is encrypted with a passphrase.

    \b
    Examples:
      manage-secrets export --recipient ops@example.org -o backup.gpg
      manage-secrets export --recipient age1… -o backup.age
      manage-secrets export --from-swarm --recipient age1… -o backup.age
      manage-secrets export --passphrase-file pass.txt --encryption age > backup.age

    \b
    With --json: {"output", "encryption", "recipients": [], "secrets": [{"key", "stack", "file", "included",
      "origin": null | "folder|swarm", "reason"}]}
    """
    if wish.no_swarm and (wish.from_swarm or wish.image):
        raise click.UsageError("--no-swarm cannot be used with --from-swarm or --image")
    keys = [*wish.recipients, *_listed(wish.recipients_file)]
    secret_key.refuse_as_recipient(keys)
    encryption = _encryption(wish.encryption, keys, wish.output)
    _check_export(
        wish.output, keys, wish.passphrase_file, wish.asks, is_json=wish.is_json, armor=wish.armor, dry_run=wish.dry_run
    )
    if wish.output != sealed_file.STDIO:
        sealed_file.check_place(wish.output, wish.secrets_dir, force=wish.force or wish.dry_run)
    schema = inputs.read_schema(wish.schema_path)
    items = _of_folder(wish.secrets_dir, schema.keys if schema else ())
    if not wish.no_swarm:
        items = _with_swarm(
            items,
            from_swarm=wish.from_swarm and not wish.dry_run,
            image=wish.image,
            salt=wish.salt,
            store=Vault(wish.secrets_dir),
        )
    if not items:
        raise Refused(f"there is nothing to save: {wish.secrets_dir} holds no secret", "create-from-env creates them")
    _announce_export(items, wish.output, encryption, keys, dry_run=wish.dry_run)
    if wish.dry_run:
        _give_export(items, wish.output, encryption, keys, is_json=wish.is_json)
        return
    if wish.output != sealed_file.STDIO and os.path.lexists(wish.output):
        report.confirm(f"replace {wish.output}?", yes=wish.yes or not sys.stdin.isatty())
    secret = None if keys else _passphrase(wish.passphrase_file, twice=True)
    if secret is not None and not wish.weak_passphrase:
        passphrase.refuse_weak(secret)
    made = Backup(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), f"docker-secrets-shim {__version__}", tuple(items))
    sealed = _sealed(encryption, document.encode(made), keys, secret, armor=wish.armor)
    if wish.output == sealed_file.STDIO:
        sys.stdout.buffer.write(sealed)
        sys.stdout.buffer.flush()
        return
    sealed_file.write(wish.output, sealed)
    report.say(f"wrote {wish.output}")
    _give_export(items, wish.output, encryption, keys, is_json=wish.is_json)


def _check_export(
    output: str,
    keys: list[str],
    passphrase_file: str | None,
    asks: bool,
    *,
    is_json: bool,
    armor: bool,
    dry_run: bool,
) -> None:
    """Refuse combinations that would do something other than they say."""
    if keys and (passphrase_file is not None or asks):
        raise click.UsageError("a backup is encrypted to recipients or with a passphrase, not both")
    if passphrase_file is not None and asks:
        raise click.UsageError("--passphrase and --passphrase-file cannot be used together")
    if not keys and passphrase_file is None and not dry_run and not passphrase.can_ask():
        raise click.UsageError("name who can open the backup: --recipient KEY, or --passphrase-file FILE")
    if output == sealed_file.STDIO and not dry_run:
        if is_json:
            raise click.UsageError("--json and the backup would both go to stdout: name a file with --output")
        if sys.stdout.isatty() and not armor:
            raise click.UsageError("a backup is not written to a terminal: name a file with --output, or use --armor")


def _encryption(asked: str | None, keys: list[str], output: str) -> str:
    """Return what encrypts: what was asked for, or what the recipients or the output's name call for."""
    from shim_host.backup import age

    from_keys = {"age" if age.is_recipient(key) else "gpg" for key in keys}
    if len(from_keys) > 1:
        raise click.UsageError("the recipients are for GPG and for age; a backup can have only one kind")
    from_key = next(iter(from_keys), None)
    if asked is not None and from_key is not None and asked != from_key:
        raise click.UsageError(f"--encryption {asked} cannot be used with a recipient of {from_key}")
    return asked or from_key or ("age" if output.endswith(".age") else "gpg")


def _listed(files: Iterable[Path]) -> list[str]:
    lines = [line.strip() for file in files for line in inputs.read_file(file).decode("utf-8", "replace").split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def _of_folder(secrets_dir: Path, known: Iterable[str]) -> list[Item]:
    """Return the items of ./secrets, and of the folders of stacks in it.

    Raises:
        Refused: a file has a name that an import would refuse.
    """
    known = list(known)
    items = []
    for stack in ("", *Vault(secrets_dir).stacks()):
        entries = Vault(secrets_dir / stack).entries()
        unfit = [name for name in entries if not document.is_file_name(name)]
        if unfit:
            raise Refused(f"a file of this name cannot be backed up: {', '.join(map(repr, unfit))}", "rename it")
        items += collect.of_folder(entries, known, stack)
    return items


def _with_swarm(items: list[Item], *, from_swarm: bool, image: str, salt: bytes, store: Vault) -> list[Item]:
    """Return *items* with what the Swarm has; without a Swarm only those, unless its values were asked for.

    Raises:
        Failed: the values were asked for, and cannot be read.
    """
    from shim_host import deployment_key
    from shim_host.swarm import connection, labels
    from shim_host.swarm.helper.read_back import ValueReader

    try:
        engine = connection.connect_as(ValueReader, os.environ)
        prints = deployment_key.of_swarm(salt, store, engine)
        found = collect.swarm_keys(labels.taken_over(engine.secrets(), prints))
    except Failed as failed:
        if from_swarm:
            raise
        words = f"the backup contains nothing about a Swarm: {failed.message}"
        if isinstance(failed, connection.Unclear) and not isinstance(failed, connection.NoSwarm):
            report.warn(words, "; ".join((*failed.hints, "--no-swarm leaves it out unasked")))
        else:
            report.say(words)
        return items
    values: dict[str, Secret] = {}
    readable = [key.newest for key in found if not key.newest.template]
    if from_swarm and readable:
        report.say(f"reading {report.many(len(readable), 'value')} from the Swarm through a helper task")
        with report.progress("reading", len(readable)) as advance:
            values = engine.read(readable, image, advance)
        if misread := collect.misread(found, values, prints):
            hint = "try another --image; nothing was written"
            raise Failed(f"what was read back is not what the Swarm was given: {report.listed(misread)}", hint)

    def holds(version: SwarmSecret, value: Secret) -> bool:
        return prints.is_of(version.key, value, version.salt, version.fingerprint)

    merged = collect.with_swarm(items, found, values, holds)
    differing = collect.differing(merged, found, values, prints)
    if differing:
        hint = "diff shows more; the backup has the value of the folder"
        report.warn(f"the Swarm and the folder hold different values: {report.listed(differing)}", hint)
    return merged


def _announce_export(items: list[Item], output: str, encryption: str, keys: list[str], *, dry_run: bool) -> None:
    place = "stdout" if output == sealed_file.STDIO else output
    whom = f"for {', '.join(keys)}" if keys else "with a passphrase"
    included = sum(item.value is not None for item in items)
    will = "would be written" if dry_run else "to be written"
    report.say(f"{report.many(included, 'value')} {will} to {place}, encrypted by {encryption} {whom}")
    if absent := [item.shown for item in items if item.value is None and item.absent != collect.OF_A_TEMPLATE]:
        hint = "--from-swarm reads them"
        report.warn(f"without a value, because they are only in the Swarm: {report.listed(absent)}", hint)
    if filled_in := [item.shown for item in items if item.value is None and item.absent == collect.OF_A_TEMPLATE]:
        hint = "keep the text of each template with the stack file"
        report.warn(f"without a value, because a template fills them in: {report.listed(filled_in)}", hint)


def _give_export(items: list[Item], output: str, encryption: str, keys: list[str], *, is_json: bool) -> None:
    if is_json:
        listed = [
            {
                "key": item.key,
                "stack": item.stack or None,
                "file": item.file,
                "included": item.value is not None,
                "origin": item.origin if item.value is not None else None,
                "reason": item.absent or None,
            }
            for item in items
        ]
        place = output if output == sealed_file.STDIO else os.path.abspath(output)
        report.give_json({"output": place, "encryption": encryption, "recipients": keys, "secrets": listed})
        return
    rows = [
        (item.key, item.shown, item.origin if item.value is not None else f"no value: {item.absent}") for item in items
    ]
    report.give_table(["KEY", "FILE", "VALUE FROM"], rows)


def _sealed_by_gpg(plain: bytes, keys: list[str], secret: Secret | None, *, armor: bool) -> bytes:
    from shim_host.backup import gpg

    signer = gpg.own_key() if secret is None else ""
    if not signer:
        return gpg.seal(plain, keys, secret, armor=armor)
    try:
        return gpg.seal(plain, keys, secret, armor=armor, signer=signer)
    except Failed:
        # Its passphrase may be asked for where nobody can answer; whoever opens the backup is told that it is unsigned.
        report.warn(f"gpg does not sign with {signer}, so nobody vouches for this backup", "gpg --sign shows why")
        return gpg.seal(plain, keys, secret, armor=armor)


def _passphrase(source: str | None, *, twice: bool) -> Secret:
    return passphrase.ask(twice=twice) if source is None else passphrase.read(source)


def _sealed(encryption: str, plain: bytes, keys: list[str], secret: Secret | None, *, armor: bool) -> bytes:
    if encryption == "age":
        from shim_host.backup import age

        sealed = age.seal(plain, keys, secret, armor=armor)
        if secret is not None:
            passphrase.warn_of_cheap_tries(age.work_of(sealed), age.ENOUGH_WORK)
        return sealed
    return _sealed_by_gpg(plain, keys, secret, armor=armor)
