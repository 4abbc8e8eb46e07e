"""`rotate`, `rollback` and `history`: what a person asks for becomes a plan, is said, and is carried out."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shim.secret import Secret
from shim_host import output
from shim_host.commands import from_command, options
from shim_host.commands.rotate import compose as rotate_compose
from shim_host.commands.rotate import due as due_of
from shim_host.commands.rotate import moving
from shim_host.commands.rotate.compose import Wish
from shim_host.commands.rotate.moving import MoveWish
from shim_host.errors import Refused
from shim_host.rotate import history
from shim_host.rotate.swarm import SwarmWork
from shim_host.swarm import connection, stacks


def _options(function: Any) -> Any:
    """Add what `rotate` and `rollback` have in common."""
    for option in (rotate_compose.options_of_compose, options.yes, moving.options_of_moves):
        function = option(function)
    return function


@dataclass(frozen=True)
class RollbackWish(MoveWish):
    """What the command line asks of a rollback."""

    keys: tuple[str, ...]
    yes: bool
    compose_files: tuple[str, ...]
    env_files: tuple[Path, ...]
    how: str | None

    def in_compose(self) -> Wish:
        """Return the same for a Compose project."""
        return Wish(
            self.compose_files,
            self.env_files,
            self.how,
            self.timeout,
            self.force,
            self.secrets_dir,
            self.schema,
            self.salt,
            self.is_json,
            self.dry_run,
        )


@dataclass(frozen=True)
class RotateWish(RollbackWish):
    """What the command line asks of a rotation."""

    value_file: str | None
    generate: bool
    due: bool
    everywhere: bool
    resume: bool
    keep: int

    def fetched(self) -> dict[str, Secret]:
        """Return what programs print for the keys whose schema names one, unless their values come from elsewhere."""
        if self.value_file is not None or self.generate:
            return {}
        return from_command.fetched(self.schema, self.keys, yes=self.yes, dry_run=self.dry_run)


@click.command("rotate")
@options.keys()
@click.option("--value-file", metavar="FILE", help="Read the new value from FILE; - is stdin.")
@click.option("--generate", is_flag=True, help="Generate the new value, following the schema or at random.")
@click.option("--due", is_flag=True, help="Rotate every key that is older than its @rotate allows; meant for cron.")
@click.option("--everywhere", is_flag=True, help="With --due: in every stack and every running Compose project.")
@click.option("--resume", is_flag=True, help="Finish, or take back, a rotation that was interrupted.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    show_default=True,
    help="Number of previous versions to keep for rollback.",
)
@_options
@options.gathered(RotateWish)
def rotate_command(asked: RotateWish) -> int:
    """Replace the value of KEYS everywhere, without a failed request.

    In a Swarm, a new version is created, every service that mounts the key is moved to it in one update per service,
    and its containers are asked whether they have the new value. If a service does not come up, all of them go back.
    Tokens signed with a rotated key are signed again.

    Without a Swarm, or with --compose, the file in ./secrets is replaced in one step, and the services of the Compose
    project follow. A service that mounts the file is recreated, the new container beside the old one where possible
    (it has a health check, publishes no port and has no data of its own). A service whose shim watches the folder
    (--on-change) is left alone. The previous value is kept in ./secrets/.previous for `rollback`.

    \b
    Examples:
      manage-secrets rotate DB_PASSWORD --generate --dry-run
      pass show db | manage-secrets rotate DB_PASSWORD --value-file -
      manage-secrets rotate --due --stack shop
      manage-secrets rotate --due --everywhere
      manage-secrets rotate --resume
      manage-secrets rotate API_KEY --generate --compose --how signal=HUP

    \b
    With --json: {"keys": [{"key", "name", "version"}], "services": [NAME],
    "verified": containers that reported the new fingerprint, "elsewhere": tasks on other nodes,
    "not_running": [NAME of a service that got the new version and runs no task],
    "state": "planned|rotated|rolled back|taken back|nothing to do"}
    With Compose: {"state", "why", "keys": [{"key", "file"}], "services": [{"service", "containers",
    "how": "recreate|overlap|watches|signal=NAME|not running", "proof": "fingerprint|restarted; no shim to ask|"}]}
    """
    if asked.resume and (asked.keys or asked.value_file is not None or asked.generate or asked.due):
        raise click.UsageError("--resume continues an interrupted rotation: it takes neither keys nor values")
    if asked.everywhere and (not asked.due or asked.stack or asked.compose_files):
        raise click.UsageError("--everywhere works with --due, and without --stack and --compose")
    if asked.due and (asked.keys or asked.value_file is not None):
        raise click.UsageError("--due finds the keys and generates their values: give neither")
    if not (asked.keys or asked.resume or asked.due):
        raise click.UsageError("name the keys to rotate, or give --due or --resume")
    wish = asked.in_compose()
    if not (asked.stack or asked.due) and rotate_compose.is_meant(wish, asked.keys):
        if asked.resume:
            return rotate_compose.resume(wish)
        return rotate_compose.rotate(asked.keys, asked.value_file, asked.generate, wish, asked.fetched())
    if asked.due:
        late = due_of.Due(wish, asked.settings(asked.keep), asked.lock_file, asked.leave, asked.yes)
        return due_of.everywhere(late) if asked.everywhere else due_of.run(asked.stack, late)
    work = asked.work(SwarmWork, asked.keep)
    if asked.resume:
        return work.resume(asked.force)
    return work.rotate(asked.keys, asked.value_file, asked.generate, asked.force, asked.dry_run, asked.fetched())


@click.command("rollback")
@options.keys(required=True)
@_options
@options.gathered(RollbackWish)
def rollback_command(asked: RollbackWish) -> int:
    """Move every service back to the previous version of KEYS, and remove the newer one.

    With Compose, the newer value is kept: a second rollback brings it back.

    \b
    Examples:
      manage-secrets rollback DB_PASSWORD --dry-run
      manage-secrets rollback DB_PASSWORD --yes

    \b
    With --json: as rotate prints it.
    """
    wish = asked.in_compose()
    if not asked.stack and rotate_compose.is_meant(wish, asked.keys):
        return rotate_compose.rollback(asked.keys, wish)
    work = asked.work(SwarmWork)
    return work.rollback(asked.keys, asked.force, asked.dry_run, asked.yes)


@click.command("history")
@options.keys()
@options.stack("The stack that the secrets belong to.")
@options.as_json
def history_command(keys: tuple[str, ...], stack: str, is_json: bool) -> int:
    """Show who created each version of a key, when, and which services run it, from the labels in the Swarm.

    \b
    Examples:
      manage-secrets history
      manage-secrets history DB_PASSWORD --json

    \b
    With --json: {"versions": [{"key", "version", "created", "by", "state": "in use|kept|removed", "services": [NAME],
    "end": "|rolled back|taken back", "ended", "ended_by"}]}
    """
    engine = connection.connect(os.environ)
    there = engine.secrets()
    secrets = stacks.of_stack(there, stack)
    if not secrets:
        stacks.say_others(there, stack)
    missing = [key for key in keys if key not in {secret.key for secret in secrets}]
    if missing:
        hint = stacks.hint(there, missing, stack, f"`manage-secrets list{stacks.option(stack)}` shows what is")
        raise Refused(f"not in the Swarm: {output.unknown(missing)}", hint)
    services = engine.services()
    rows: list[tuple[str, int, str, str, str, list[str], str, str, str]] = []
    for key in sorted({secret.key for secret in secrets if not keys or secret.key in keys}):
        versions = sorted((secret for secret in secrets if secret.key == key), key=lambda secret: secret.version)
        told = history.told(versions)
        for secret in versions:
            users = sorted(service.name for service in services if secret.id in service.mounts)
            state = "in use" if users else "kept"
            end = told.pop(secret.version, history.Past(secret.version, "", ""))[3:]
            rows.append((key, secret.version, secret.created, secret.by, state, users, *end))
        rows += [(key, past.number, past.created, past.by, "removed", [], *past[3:]) for past in told.values()]
    rows.sort(key=lambda row: row[:2])
    fields = ("key", "version", "created", "by", "state", "services", "end", "ended", "ended_by")
    if is_json:
        output.give_json({"versions": [dict(zip(fields, row, strict=True)) for row in rows]})
    else:
        shown = [
            (key, f"v{number}", when, by, _state(state, *ended), ", ".join(users))
            for key, number, when, by, state, users, *ended in rows
        ]
        output.give_table(["KEY", "VERSION", "CREATED", "BY", "STATE", "SERVICES"], shown)
    return 0


def _state(state: str, end: str, ended: str, ended_by: str) -> str:
    """Return what became of a version, and who saw to it."""
    return f"{end} {ended} by {ended_by.partition(' (')[0]}" if end else state
