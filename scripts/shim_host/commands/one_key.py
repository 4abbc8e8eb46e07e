"""`set`, `get`, `edit` and `remove`: one secret of ./secrets at a time."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from shim.schema import KeySpec, Schema
from shim.secret import MAX_SECRET_BYTES, Secret, is_key
from shim_host import inputs, inventory, names, output
from shim_host.backup import locked
from shim_host.commands import options
from shim_host.errors import Failed, Refused, end_of, failed_file
from shim_host.files import write_whole
from shim_host.rotate import values
from shim_host.shell import quoted
from shim_host.store import filing
from shim_host.store.filing import Planned
from shim_host.store.vault import Entry, Vault

_PATIENCE_SECONDS, _AT_ONCE = 300, 4  # as rotate has them when nobody asks for more
# Editors that draw on the terminal, where vi waits forever if there is none; and its options for a script.
_ON_TERMINAL, _SCRIPTED = frozenset(("vi", "vim", "nvim", "nano", "pico", "micro", "hx", "joe", "mcedit")), ("-e", "-s")
_MEMORY = ("/dev/shm", "/run")  # noqa: S108  (a folder of our own is made there)


class _Desk:
    """The folder of secrets and the schema, and which keys they know.

    Without a schema a file `Api_Key` is read as API_KEY; whoever asks for the key Api_Key means it as well.
    """

    def __init__(self, secrets_dir: Path, schema_path: Path | None, *asked: str) -> None:
        self.schema: Schema | None = inputs.read_schema(schema_path)
        self.store = Vault(secrets_dir)
        in_schema = list(self.schema.keys) if self.schema is not None else []
        files = self.store.names()
        known = [*in_schema, *(key for key in asked if key in files)]
        self.of_files = names.keys_of(files, known)
        in_env: list[str] = []
        if len({*self.of_files.values()}) < len(files) or not {*self.of_files.values()}.issuperset(asked):
            # The files are called as the `.env` has the keys, where two of those differ by case alone.
            in_env = list(inventory.env_values(Path(".env"), os.environ))
            self.of_files = names.keys_of(files, [*in_schema, *in_env, *known])
        self.known = list(dict.fromkeys([*in_schema, *self.of_files.values()]))
        self._named = [*self.known, *in_env]

    def file_name(self, key: str) -> str:
        """Return the name of the file that holds *key*, or would."""
        there = [name for name, its_key in self.of_files.items() if its_key == key]
        return names.likeliest(key, there) if there else names.file_names([*self._named, key])[key]

    def entry(self, key: str) -> Entry | None:
        """Return the file of *key*, if there is one."""
        return self.store.read(self.file_name(key))

    def present(self) -> dict[str, Secret]:
        """Return the values that are there, by key."""
        entries = {key: self.store.read(name) for name, key in self.of_files.items()}
        return {key: entry.value for key, entry in entries.items() if entry is not None}

    def existing(self, key: str) -> Entry:
        """Return the file of *key*.

        Raises:
            Refused: there is none.
        """
        found = self.entry(key)
        if found is None:
            hints = self._of_stacks(key) or inputs.did_you_mean(key, self.of_files.values())
            hints = hints or ["`manage-secrets list` shows which keys have one"]
            raise Refused(f"{output.unknown([key])} has no file in {self.store.path}", *hints)
        return found

    def _of_stacks(self, key: str) -> list[str]:
        """Return the hint that names the folders of stacks that have *key*; none when none has."""
        folders = [self.store.path / stack for stack in self.store.stacks()]
        known = self.schema.keys if self.schema is not None else ()
        there = [path for path in folders if key in names.keys_of(Vault(path).names(), known).values()]
        return [f"add --secrets-dir {' or '.join(quoted(str(path)) for path in there)}, which has one"] if there else []

    def spec(self, key: str) -> KeySpec:
        """Return what the schema says of *key*."""
        return self.schema.keys.get(key, KeySpec(key)) if self.schema is not None else KeySpec(key)

    def refuse_unknown(self, key: str) -> None:
        """Refuse a *key* that is probably a slip of the finger: it is not a name, or close to one of the schema's."""
        if key in self.of_files.values():
            return
        if not is_key(key):
            raise Refused(
                f"{output.unknown([key])} is not the name of a variable", "use letters, digits and _, as in DB_PASSWORD"
            )
        if self.schema is not None and key not in self.known:
            hints = inputs.did_you_mean(key, self.known)
            if hints:
                raise Refused(f"{key} is not in {self.schema.source}", *hints, "add it there first, if it is new")

    def composed(self) -> list[str]:
        """Return the keys that have a file, and whose value the schema composes of others."""
        return [key for key in self.of_files.values() if self.spec(key).composed is not None]

    def keep(self, found: Mapping[str, Secret], *, yes: bool, dry_run: bool, is_json: bool) -> None:
        """Write the values *found*, by key, after asking when others are there."""
        plan = []
        for key, value in found.items():
            wrong = values.refusal(key, value, self.schema)
            if wrong:
                raise wrong.with_hint("nothing was changed")
            state = filing.state_of(self.entry(key), value, force=True)
            plan.append(Planned(key, self.file_name(key), value, state))
        if not dry_run:
            replaced = [item.key for item in plan if item.state == filing.REPLACED]
            if replaced:
                shown = output.listed(replaced)
                question = f"replace the value of {shown}? services that run keep the old one until they are recreated"
                output.confirm(question, yes=yes)
            filing.keep_out_of_git(self.store, dry_run=False)
            filing.write(self.store, plan)
        filing.give(plan, [], self.store.path, is_json)


@dataclass(frozen=True)
class SetWish:
    """What the command line asks of `set`."""

    key: str
    value_file: str | None
    is_made: bool
    in_swarm: bool
    stack: str
    secrets_dir: Path
    schema_path: Path | None
    is_json: bool
    dry_run: bool
    yes: bool


@click.command("set")
@options.keys("key")
@click.option(
    "--value-file", metavar="FILE", help="Read the value from FILE; - is stdin.  [default: type it, without echo]"
)
@click.option("--generate", "is_made", is_flag=True, help="Generate the value, following the schema.")
@click.option("--swarm", "in_swarm", is_flag=True, help="Set it in the Swarm: a new version, as rotate creates it.")
@options.stack("With --swarm: the stack that the secret belongs to.")
@options.secrets_dir
@options.schema
@options.insecure
@options.as_json
@options.dry_run
@options.yes
@options.gathered(SetWish)
def set_command(wish: SetWish) -> int:
    """Set the value of one key in ./secrets: typed without echo, from a file or a pipe, or generated.

    The bytes of a file are stored as they are. To give running services a new value, use rotate: it changes
    ./secrets or the Swarm, and moves the services. --swarm does that for this key in a Swarm; a key that is not there
    yet becomes its first version.

    \b
    Examples:
      manage-secrets set SMTP_PASSWORD
      manage-secrets set TLS_KEY --value-file tls.key
      op read op://vault/item/field | manage-secrets set API_KEY --value-file -
      manage-secrets set SESSION_KEY --generate
      manage-secrets set SMTP_PASSWORD --swarm --stack shop

    \b
    With --json: as create-from-env prints it; with --swarm, as create-swarm or rotate does.
    """
    if wish.value_file is not None and wish.is_made:
        raise click.UsageError("--value-file and --generate cannot be used together")
    if wish.stack and not wish.in_swarm:
        raise click.UsageError("--stack works with --swarm")
    desk = _Desk(wish.secrets_dir, wish.schema_path, wish.key)
    desk.refuse_unknown(wish.key)
    composed = () if wish.in_swarm else desk.composed()
    found = values.new_values([wish.key], desk.schema, desk.present(), wish.value_file, composed, is_made=wish.is_made)
    if wish.in_swarm:
        return _set_in_swarm(wish, desk, found[wish.key])
    desk.keep(found, yes=wish.yes, dry_run=wish.dry_run, is_json=wish.is_json)
    return 0


def _set_in_swarm(wish: SetWish, desk: _Desk, value: Secret) -> int:
    """Make the first version of the key, or rotate it to *value*."""
    from shim_host.commands import swarm
    from shim_host.rotate.swarm import SwarmWork
    from shim_host.rotate.swarm_run import Settings
    from shim_host.swarm import connection, model, owner

    by, salt = owner.author(os.environ), os.fsencode(os.environ.get("SHIM_SALT", ""))
    store = Vault.of_stack(wish.secrets_dir, wish.stack)
    if wish.key not in model.newest(connection.connect(os.environ).secrets(), wish.stack):
        place = swarm.Place(wish.stack, None, store, salt, by)
        first = {wish.key: (desk.file_name(wish.key), value)}
        return swarm.make(first, place, is_json=wish.is_json, dry_run=wish.dry_run)
    settings = Settings(salt, _PATIENCE_SECONDS, _AT_ONCE, 1, by)
    work = SwarmWork(wish.stack, settings, None, store, desk.schema, wish.is_json)
    return work.rotate([wish.key], None, False, False, wish.dry_run, {wish.key: value})


@click.command("get")
@options.keys("key")
@click.option("--show", is_flag=True, help="Print the value even if stdout is a terminal.")
@options.output_file("Write the value to FILE, with mode 0600.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@options.secrets_dir
@options.schema
def get_command(
    key: str, show: bool, target: Path | None, force: bool, secrets_dir: Path, schema_path: Path | None
) -> None:
    """Write the value of one key to a pipe or a file, byte for byte.

    \b
    Examples:
      manage-secrets get DB_PASSWORD | wl-copy
      manage-secrets get TLS_KEY --output /dev/shm/tls.key
    """
    value = _Desk(secrets_dir, schema_path, key).existing(key).value.reveal()
    if target is not None:
        if os.path.lexists(target) and not force:
            raise Refused(f"{target} already exists", "name another file, or replace it with --force")
        write_whole(target, value, 0o600)
        return
    if sys.stdout.isatty() and not show:
        raise Refused("stdout is a terminal, and would show the value", "pipe it, give --output FILE, or add --show")
    sys.stdout.buffer.write(value)
    sys.stdout.buffer.flush()


@click.command("edit")
@options.keys("key")
@options.secrets_dir
@options.schema
@options.yes
def edit_command(key: str, secrets_dir: Path, schema_path: Path | None, yes: bool) -> None:
    """Edit the value of one key in $VISUAL or $EDITOR, for values of several lines.

    The text is kept in memory (tmpfs) while it is edited, and removed afterwards. A single line is stored without the
    line end that editors add.

    \b
    Examples:
      EDITOR=nano manage-secrets edit TLS_CERTIFICATE
    """
    desk = _Desk(secrets_dir, schema_path, key)
    desk.refuse_unknown(key)
    there = desk.entry(key)
    before = there.value.reveal() if there is not None else b""
    after = _edited(key, before)
    if after.count(b"\n") == 1 and after.endswith(b"\n"):
        after = after.removesuffix(b"\n").removesuffix(b"\r")
    if after == before:
        output.say(f"{key} is unchanged")
        return
    given = {key: Secret(after)}
    found = values.new_values([key], desk.schema, desk.present(), None, desk.composed(), is_made=False, given=given)
    desk.keep(found, yes=True if there is None else yes, dry_run=False, is_json=False)


def _edited(key: str, value: bytes) -> bytes:
    """Return what a person makes of *value* in an editor; it is on no disk meanwhile."""
    editor = _editor()
    folder = next((place for place in _MEMORY if _is_in_memory(place)), None)
    if folder is None:
        raise Refused(
            "there is no folder in memory (tmpfs) to edit in",
            "edit a file of your own, and give it with set --value-file",
        )
    with tempfile.TemporaryDirectory(prefix="manage-secrets-", dir=folder, ignore_cleanup_errors=True) as place:
        path = Path(place) / key
        path.touch(mode=0o600)
        path.write_bytes(value)
        try:
            done = subprocess.run([*editor, str(path)], check=False)
        except OSError as error:
            hint = "set VISUAL or EDITOR to the one that you use"
            if isinstance(error, FileNotFoundError):
                raise Failed(f"there is no editor {editor[0]}", hint) from None
            raise failed_file("start", editor[0], error) from None
        if done.returncode:
            raise Refused(f"{editor[0]} ended with {end_of(done.returncode)}", "nothing was changed")
        try:
            with open(path, "rb") as file:
                return file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            hint = "nothing was changed; does the editor save to the file that it was given?"
            raise Refused(f"{editor[0]} left no file that can be read: {error.strerror}", hint) from None


def _editor() -> list[str]:
    """Return the editor and its options.

    Raises:
        Refused: it cannot be read, or would wait for somebody who is not there.
    """
    words: list[str] = []
    for variable in ("VISUAL", "EDITOR"):
        try:
            words = words or shlex.split(os.environ.get(variable, ""))
        except ValueError:
            raise Refused(f"{variable} has a quotation mark that is not closed", "close it") from None
    words = words or ["vi"]
    draws = os.path.basename(words[0]) in _ON_TERMINAL and not any(word.startswith(_SCRIPTED) for word in words[1:])
    if draws and not (sys.stdin.isatty() and sys.stdout.isatty()):
        hint = "run this at a terminal, or give the value with set --value-file"
        raise Refused(f"{words[0]} needs a terminal, and there is none", hint)
    return words


def _is_in_memory(folder: str) -> bool:
    from shim_host import machine  # psutil takes as long as all of `get`

    disk = machine.disk(Path(folder))
    return disk is not None and disk.type in ("tmpfs", "ramfs") and os.access(folder, os.W_OK)


@click.command("remove")
@options.keys(required=True)
@click.option("--force", is_flag=True, help="Remove keys even if a service or the schema still needs them.")
@options.writing
def remove_command(
    keys: tuple[str, ...],
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    is_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove secrets from ./secrets, unless a service of the Compose project or the schema still needs them.

    Versions in the Swarm stay: prune removes those that nothing uses.

    With --json: {"secrets": [{"key", "path", "state": "removed|planned"}]}.

    \b
    Examples:
      manage-secrets remove OLD_API_KEY
    """
    desk = _Desk(secrets_dir, schema_path, *keys)
    entries = {key: desk.existing(key) for key in dict.fromkeys(keys)}
    needed = list(_needed(desk, entries))
    if needed and not force:
        raise Refused(needed[0], *needed[1:], "take it out there first, or add --force")
    shown = output.listed(desk.store.shown(entry.name) for entry in entries.values())
    output.say(f"{'would remove' if dry_run else 'to be removed'}: {shown}")
    folder = os.path.abspath(secrets_dir)
    gone = [
        {"key": key, "path": os.path.join(folder, entry.name), "state": "planned" if dry_run else "removed"}
        for key, entry in entries.items()
    ]
    if dry_run:
        if is_json:
            output.give_json({"secrets": gone})
        return
    output.confirm(f"remove {len(entries)} value{'' if len(entries) == 1 else 's'} for good?", yes=yes)
    with desk.store.writing() as writer:
        for entry in entries.values():
            writer.remove(entry.name)
    sealed = locked.beside(desk.store)
    left = [sealed.shown(entry.name) for entry in entries.values() if entry.name in sealed.names()]
    if left:
        output.warn(f"still encrypted in git: {', '.join(left)}", f"git rm {' '.join(map(quoted, left))}")
    if is_json:
        output.give_json({"secrets": gone})


def _needed(desk: _Desk, keys: Iterable[str]) -> Iterable[str]:
    """Yield who needs which of *keys*, one message each."""
    project = inventory.compose_project(inventory.Asked())
    users = inventory.compose_users(project, desk.known, desk.store) if project is not None else {}
    for key in keys:
        if users.get(key):
            yield f"{key} is used by {', '.join(sorted(users[key]))}"
        if desk.spec(key).is_required:
            yield f"{key} is required by the schema"
