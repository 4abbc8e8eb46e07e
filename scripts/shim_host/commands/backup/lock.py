"""`lock` and `unlock`: the values of ./secrets, encrypted into files that git may have, and back."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from shim.secret import Secret
from shim_host import inputs, names, output
from shim_host.backup import locked, secret_key
from shim_host.backup.locked import BOTH, GONE_THERE, SAME, THERE, UNKNOWN, Locked, Note, Recipient
from shim_host.commands import options
from shim_host.errors import Ended, Refused
from shim_host.shell import quoted
from shim_host.store import filing
from shim_host.store.filing import Planned
from shim_host.store.vault import Vault

LOCKED, UNCHANGED = "locked", "unchanged"
_OWN_KEYS = ("id_ed25519", "id_rsa")  # of ~/.ssh, for who names no other

_identity = click.option(
    "--identity",
    "-i",
    "identities",
    multiple=True,
    envvar="SHIM_AGE_IDENTITY",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The private key that opens the files: age or SSH.  [default: ~/.ssh/id_ed25519 and id_rsa]",
)
_folder = click.option(
    "--locked-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the encrypted files.  [default: the folder of the secret files with .age appended]",
)


@dataclass(frozen=True)
class UnlockWish:
    """What the command line asks of `unlock`."""

    keys: tuple[str, ...]
    force: bool
    identities: tuple[Path, ...]
    locked_dir: Path | None
    secrets_dir: Path
    schema_path: Path | None
    is_json: bool
    dry_run: bool
    yes: bool


@dataclass(frozen=True)
class LockWish(UnlockWish):
    """What it asks of `lock`: the same, and for whom the files are."""

    recipients: tuple[str, ...]
    recipients_file: tuple[Path, ...]
    name: str
    drop: tuple[str, ...]


@click.command("lock")
@options.keys()
@click.option("--recipient", "-r", "recipients", multiple=True, metavar="KEY", help="Encrypt to KEY from now on.")
@click.option(
    "--recipients-file", "-R", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="One KEY per line."
)
@click.option("--name", default="", metavar="NAME", help="Name of the recipient, if its KEY does not include one.")
@click.option("--drop", multiple=True, metavar="NAME", help="Stop encrypting to NAME; a KEY works too.")
@click.option("--force", is_flag=True, help="Replace encrypted files that are newer than the values here.")
@_identity
@_folder
@options.writing
@options.gathered(LockWish)
def lock_command(wish: LockWish) -> None:
    """Encrypt the values in ./secrets into ./secrets.age, one file per secret, for git.

    They are encrypted with age to everyone in secrets.age/recipients, which lists age keys (age1…) and SSH keys. Only
    files whose value has changed are written again. A file that someone else changed must be unlocked first.

    --recipient and --drop change who can open the files, and encrypt all of them again. Someone who is dropped has
    seen the values, so the command lists the keys to rotate.

    \b
    Examples:
      manage-secrets lock --recipient "$(cat ~/.ssh/id_ed25519.pub)"
      manage-secrets lock
      manage-secrets lock --recipient age1… --name bob
      manage-secrets lock --drop bob

    \b
    With --json: {"secrets": [{"key", "file", "state": "locked|unchanged"}], "recipients": [NAME]}
    """
    desk = _Desk(wish.secrets_dir, wish.locked_dir, wish.schema_path, wish.identities)
    if not desk.values and not desk.sealed:
        raise Refused(f"there are no secrets in {desk.store.path}", "create them with create-from-env, generate or set")
    before = desk.folder.recipients()
    after = _recipients(before, wish)
    is_changed = locked.of_recipients(before) != locked.of_recipients(after)
    if is_changed and wish.keys:
        raise click.UsageError("a change of recipients affects every secret: do not name any keys")
    strangers = _strangers(desk.note, before, after)
    chosen = desk.chosen(wish.keys, desk.values)
    sealed, plain = _to_seal(desk, chosen, after, force=wish.force)
    will = "would be" if wish.dry_run else "to be"
    output.say(f"{len(sealed)} {will} encrypted to {', '.join(one.shown for one in after)}")
    left = sorted(set(desk.sealed) - set(desk.values))
    if left:
        shown = output.listed(desk.folder.shown(name) for name in left)
        output.warn(f"without a value here: {shown}", "unlock brings it here; git rm removes it for everyone")
    if strangers:
        path = desk.folder.path / locked.RECIPIENTS
        output.warn(
            f"new in {path} since you last locked: {output.listed(f'{one.shown} (…{one.tail})' for one in strangers)}",
            f"git log -p {quoted(str(path))} shows who added them; lock --drop leaves one out",
        )
    if not wish.dry_run:
        if strangers:
            names_of = output.listed(one.shown for one in strangers)
            question = f"encrypt to {names_of}, who could not open these files when you last locked them?"
            output.confirm(question, yes=wish.yes)
        encrypted = output.each("encrypting", sealed, lambda name: desk.seal(plain[name], after))
        made = dict(zip(sealed, encrypted, strict=True))
        desk.folder.write(made, after if is_changed or not before else None)
        for name, data in made.items():
            desk.sealed[name] = data
        for name in chosen:
            if name in plain:
                desk.note.meet(name, plain[name], desk.sealed[name], after)
        desk.note.recipients = [one.identity for one in after]
        desk.keep_note()
    _say_dropped(desk, before, after)
    _give(desk, chosen if not is_changed else [*desk.sealed, *desk.values], sealed, after, is_json=wish.is_json)


def _recipients(before: Sequence[Recipient], wish: LockWish) -> list[Recipient]:
    """Return for whom the files will be.

    Raises:
        Refused: for nobody, or somebody is to be dropped who is not there.
    """
    secret_key.refuse_as_recipient([*wish.recipients, *wish.drop])
    added = [Recipient(text.strip(), wish.name) for text in wish.recipients]
    if wish.name and len(added) != 1:
        raise click.UsageError("--name needs exactly one --recipient")
    added = [one if one.name else locked.read_recipients(one.text)[0] for one in added if one.text]
    for file in wish.recipients_file:
        added += locked.read_recipients(inputs.read_file(file).decode("utf-8", "replace"))
    secret_key.refuse_as_recipient(one.text for one in [*before, *added])
    after = {one.identity: one for one in [*before, *added]}
    for name in wish.drop:
        gone = [one for one in before if name in (one.name, one.text, one.identity)]
        if not gone:
            known = ", ".join(one.shown for one in before) or "nobody"
            raise Refused(f"{output.shown(name)} is not a recipient", f"the recipients are {known}")
        for one in gone:
            after.pop(one.identity, None)
    if not after:
        hint = 'name a recipient: manage-secrets lock --recipient "$(cat ~/.ssh/id_ed25519.pub)"'
        raise Refused("the files would have no recipient", hint)
    return list(after.values())


def _strangers(note: Note, before: Sequence[Recipient], after: Sequence[Recipient]) -> list[Recipient]:
    """Return who is in the file of recipients since this machine last looked, and was not named just now.

    Whoever may push to the repository may write a line there, and would be given every value by the next run.
    """
    there = {one.identity for one in before}
    known = set(note.recipients)
    return [one for one in after if one.identity in there and known and one.identity not in known]


def _to_seal(
    desk: "_Desk", chosen: Iterable[str], after: list[Recipient], *, force: bool
) -> tuple[list[str], dict[str, Secret]]:
    """Return the secrets to encrypt, and the values of all that were looked at.

    Raises:
        Refused: an encrypted file is newer than its value here, or may be.
    """
    sealed: list[str] = []
    plain: dict[str, Secret] = {}
    newer: list[str] = []
    unknown: list[str] = []
    for name in chosen:
        value, there = desk.values[name], desk.sealed.get(name)
        standing = desk.note.standing(name, value, there)
        if standing in (UNKNOWN, THERE, BOTH) and there is not None and not force:
            opened = desk.opened_if_possible(name)
            if opened is None:
                (unknown if standing == UNKNOWN else newer).append(name)
                continue
            if opened != value:
                newer.append(name)
                continue
            standing = SAME
        elif standing == GONE_THERE and not force:
            newer.append(name)
            continue
        plain[name] = value
        if standing != SAME or there is None or not desk.note.is_for(name, there, after):
            sealed.append(name)
    if newer or unknown:
        lines = [
            f"{desk.folder.shown(name)} {'changed' if name in desk.sealed else 'was removed'} since you last locked or "
            "unlocked"
            for name in newer
        ]
        lines += [f"{desk.folder.shown(name)} is there, and none of your keys opens it" for name in unknown]
        elsewhere = [name for name in (*newer, *unknown) if name in desk.sealed]
        keys = "".join(f" {quoted(desk.key(name))}" for name in elsewhere) if len(elsewhere) < len(desk.sealed) else ""
        hints = [f"manage-secrets unlock{keys} takes what is there"] if elsewhere else []
        raise Refused.of_all(lines, *hints, "--force replaces it by what is here; nothing was changed")
    for name, there in desk.sealed.items():  # what is not here, or was not named, is for the same people
        if name not in desk.values and not desk.note.is_for(name, there, after):
            plain[name] = desk.opened(name)
            sealed.append(name)
    return sealed, plain


def _say_dropped(desk: "_Desk", before: Sequence[Recipient], after: Sequence[Recipient]) -> None:
    kept = {one.identity for one in after}
    gone = [one.shown for one in before if one.identity not in kept]
    if gone:
        keys = " ".join(quoted(desk.key(name)) for name in sorted(desk.sealed))
        output.warn(
            f"{', '.join(gone)} could read every value until now, and still can in the history of git",
            f"give each a new value: manage-secrets rotate {keys}; then lock again",
        )


def _give(
    desk: "_Desk", looked_at: Iterable[str], sealed: Sequence[str], recipients: Sequence[Recipient], *, is_json: bool
) -> None:
    rows = [
        (desk.key(name), desk.folder.shown(name), LOCKED if name in sealed else UNCHANGED)
        for name in sorted(dict.fromkeys(looked_at), key=desk.key)
    ]
    if is_json:
        found = [{"key": key, "file": os.path.abspath(file), "state": state} for key, file, state in rows]
        output.give_json({"secrets": found, "recipients": [one.shown for one in recipients]})
    else:
        output.give_table(["KEY", "FILE", "STATE"], rows)


@click.command("unlock")
@options.keys()
@click.option("--force", is_flag=True, help="Replace values that you have changed here.")
@_identity
@_folder
@options.writing
@options.gathered(UnlockWish)
def unlock_command(wish: UnlockWish) -> None:
    """Decrypt the files in ./secrets.age into ./secrets, with your age or SSH key.

    Values that you have changed since then are kept, unless --force is given. To keep the values off the disk, name a
    folder in memory with --secrets-dir.

    \b
    Examples:
      manage-secrets unlock
      manage-secrets unlock --identity ~/.config/age/key.txt DB_PASSWORD
      manage-secrets unlock --secrets-dir /dev/shm/shop --locked-dir secrets.age

    \b
    With --json: as create-from-env prints it.
    """
    desk = _Desk(wish.secrets_dir, wish.locked_dir, wish.schema_path, wish.identities)
    if not desk.sealed:
        raise Refused(f"there are no encrypted files in {desk.folder.path}", "manage-secrets lock makes them")
    plan, wrong = [], []
    chosen = desk.chosen(wish.keys, desk.sealed)
    with output.progress("decrypting", len(chosen)) as advance:
        for name in chosen:
            advance()
            try:
                value = desk.opened(name)
            except Ended as ended:
                wrong.append(ended)
                continue
            there = desk.values.get(name)
            standing = desk.note.standing(name, there, desk.sealed[name])
            state = filing.state_of(desk.store.read(name), value, wish.force or standing in (SAME, THERE))
            plan.append(Planned(desk.key(name), name, value, state))
    if wrong:
        raise Refused.of_all(wrong, "nothing was changed")
    filing.announce(desk.folder.path, [], [], plan, {}, wish.dry_run)
    if wish.force and not wish.dry_run:
        filing.confirm_replacing(plan, wish.yes)
    filing.keep_out_of_git(desk.store, dry_run=wish.dry_run)
    if not wish.dry_run:
        filing.write(desk.store, plan)
        recipients = desk.folder.recipients()
        for item in plan:
            if item.state != filing.KEPT:
                desk.note.meet(item.file_name, item.value, desk.sealed[item.file_name], recipients)
        # Who came since is asked about by the next `lock`, however often this ran before it.
        desk.note.recipients = desk.note.recipients or [one.identity for one in recipients]
        desk.keep_note()
    filing.give(plan, [], wish.secrets_dir, wish.is_json)


class _Desk:
    """Both sides: the values and their note, the encrypted files, and the keys that open them."""

    def __init__(
        self, secrets_dir: Path, locked_dir: Path | None, schema_path: Path | None, identities: Sequence[Path]
    ) -> None:
        secret_key.refuse_as_file(identities)
        self.store = Vault(secrets_dir)
        self.folder = Locked(locked_dir) if locked_dir is not None else locked.beside(self.store)
        self.note = Note.of(self.store)
        self.sealed = self.folder.sealed()
        self.values: Mapping[str, Secret] = {name: entry.value for name, entry in self.store.entries().items()}
        schema = inputs.read_schema(schema_path)
        self._keys = names.keys_of({*self.values, *self.sealed}, schema.keys if schema is not None else ())
        self._identities = list(identities) or _own_keys()
        unfit = [name for name, key in self._keys.items() if not key]
        if unfit:
            raise Refused(
                f"no key has this name: {', '.join(map(output.shown, unfit))}", "rename it to letters, digits and _"
            )

    def key(self, name: str) -> str:
        """Return the key of the secret *name*."""
        return self._keys[name]

    def chosen(self, keys: Sequence[str], there: Iterable[str]) -> list[str]:
        """Return the names of *keys*, all of those *there* when none is named.

        Raises:
            Refused: a key is not there.
        """
        by_key = {self._keys[name]: name for name in there}
        lacking = [key for key in keys if key not in by_key]
        if lacking:
            hints = inputs.did_you_mean(lacking[0], by_key) or [f"the keys are {output.listed(by_key)}"]
            raise Refused(f"there is nothing for {output.unknown(lacking)}", *hints)
        return [by_key[key] for key in dict.fromkeys(keys)] if keys else list(by_key.values())

    def opened(self, name: str) -> Secret:
        """Return what the encrypted file of *name* holds.

        Raises:
            Refused: it is damaged, or no key opens it.
        """
        from shim_host.backup import age

        if not self._identities:
            hint = "name the file of your secret key: --identity FILE, as age-keygen or ssh-keygen make one"
            raise Refused("there is no key to open the files with", hint)
        try:
            return Secret(age.unseal(self.sealed[name], None, self._identities))
        except Refused as refused:
            hints = [hint.replace("of the backup", "of it, from the history of git") for hint in refused.hints]
            raise Refused(f"{self.folder.shown(name)}: {refused.message}", *hints) from None

    def opened_if_possible(self, name: str) -> Secret | None:
        """Return what the encrypted file of *name* holds; None where it cannot be opened."""
        try:
            return self.opened(name)
        except Ended as ended:
            output.detail(ended.message)
            return None

    def seal(self, value: Secret, recipients: Sequence[Recipient]) -> bytes:
        """Return *value*, encrypted to *recipients*."""
        from shim_host.backup import age

        sealed = age.seal(value.reveal(), [one.identity for one in recipients], None, armor=True)
        return sealed.replace(b"\r\n", b"\n")

    def keep_note(self) -> None:
        """Write the note beside the values."""
        there = {*self.sealed, *self.values}
        self.note.met = {name: met for name, met in self.note.met.items() if name in there}
        with self.store.writing() as writer:
            self.note.write(writer)


def _own_keys() -> list[Path]:
    """Return the keys in ~/.ssh that can be used without asking."""
    from shim_host.backup import age

    paths = [Path.home() / ".ssh" / name for name in _OWN_KEYS]
    return [path for path in paths if path.is_file() and age.is_usable(path)]
