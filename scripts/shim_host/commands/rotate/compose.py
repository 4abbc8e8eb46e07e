"""`rotate` and `rollback` where there is no Swarm: ./secrets and the services of a Compose project."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from shim.schema import Schema
from shim.secret import Secret
from shim_host import deployment_key, inventory, names, output
from shim_host.commands import from_command, options
from shim_host.compose import reading
from shim_host.compose.running import RunningProject
from shim_host.errors import Ended, Failed, Refused
from shim_host.generate import can_be_made, new_value
from shim_host.inputs import did_you_mean
from shim_host.rotate import compose_journal, compose_run, history
from shim_host.rotate import values as rotation_values
from shim_host.rotate.compose_journal import Moving
from shim_host.rotate.compose_run import InsideOf, Result, Settings
from shim_host.rotate.compose_uses import AUTO, NONE, NOT_RUNNING, RECREATE, SIGNAL
from shim_host.rotate.inside import NOT_ASKED, InsideChange, Values
from shim_host.store.vault import Vault
from shim_host.swarm import connection, privacy
from shim_host.swarm.connection import NoSwarm, Unclear
from shim_host.swarm.reach import endpoint

F = TypeVar("F", bound=Callable[..., Any])
_WORDS = {NOT_RUNNING: "not running", NONE: "left alone", "watches": "watches the folder", "overlap": "in turn"}


def options_of_compose(function: F) -> F:
    """Add `--compose` and `--how`."""
    how = click.option(
        "--how",
        metavar="HOW",
        help="With Compose: auto, recreate, signal=NAME (the service reloads by itself) or none.  [default: auto]",
    )
    files = click.option(
        "--compose",
        "compose_files",
        multiple=True,
        is_flag=False,
        flag_value="",
        metavar="[FILE]",
        help="Use the Compose project instead of the Swarm.  [default: detected]",
    )
    return files(options.env_files(how(function)))


@dataclass(frozen=True)
class Wish:
    """What the person asked for."""

    compose_files: tuple[str, ...]
    env_files: tuple[Path, ...]
    how: str | None
    timeout: float
    force: bool
    secrets_dir: Path
    schema: Schema | None
    salt: bytes
    is_json: bool
    dry_run: bool

    @property
    def is_said(self) -> bool:
        """Return whether Compose was asked for by name."""
        return bool(self.compose_files) or bool(self.env_files) or self.how is not None


def is_meant(wish: Wish, keys: Sequence[str]) -> bool:
    """Return whether *keys* rotate with Compose: there is a Compose file, and the Swarm knows none of them.

    Without keys: whether a rotation of that kind was interrupted, or left values behind.
    """
    store = Vault(wish.secrets_dir)
    if wish.is_said:
        return True
    if not keys:
        return compose_journal.has_left(store)
    try:
        reading.default_files(Path(), os.environ)
        in_swarm = {secret.key for secret in connection.connect(os.environ).secrets()}
    except Refused:
        return False
    except Failed as failed:
        if isinstance(failed, Unclear) and not isinstance(failed, NoSwarm):
            raise  # a Swarm that cannot be asked may have the keys
        # No Swarm, or no engine at all: what there is to say about that is said where it is needed.
        output.detail(failed.message)
        in_swarm = set()
    return not in_swarm & set(keys) and set(keys) <= set(_values(store, wish.schema))


def rotate(
    keys: Sequence[str], value_file: str | None, is_made: bool, wish: Wish, fetched: Mapping[str, Secret] | None = None
) -> int:
    """Give *keys* a new value in ./secrets, and in the services of the Compose project.

    *fetched* are values that programs printed; a key that has the same one already is left alone.
    """
    store = Vault(wish.secrets_dir)
    there = _values(store, wish.schema)
    _refuse_unknown(keys, there)
    fetched = fetched or {}
    same = [key for key, value in fetched.items() if value == there[key]]
    for key in same:
        output.say(f"{key} has this value already")
    keys = [key for key in dict.fromkeys(keys) if key not in same]
    if not keys:
        give_nothing(wish)
        return 0
    # What a dry run would fetch is unknown; any other value than the present one shows what would happen.
    unknown = [] if value_file or not wish.dry_run else from_command.among(wish.schema, keys)
    unknown = [key for key in unknown if not (is_made and can_be_made(wish.schema.keys[key]))] if wish.schema else []
    given = {**fetched, **{key: there[key] for key in unknown}}
    values = rotation_values.new_values(keys, wish.schema, there, value_file, is_made=is_made, given=given)
    values |= {key: Secret(there[key].reveal() + b"?") for key in unknown}
    values |= _companions(values, there, wish.schema)
    return _done(values, _settings(wish), wish)


def _companions(values: Mapping[str, Secret], there: Mapping[str, Secret], schema: Schema | None) -> dict[str, Secret]:
    """Return what changes along with *values*: the name of the role whose turn it is."""
    from shim_host.rotate import decorator

    found: dict[str, Secret] = {}
    for key in values:
        if schema is not None and key in schema.keys:
            found |= decorator.companions(schema.keys[key], there.get)
    _refuse_unknown(list(found), there)
    return found


def rollback(keys: Sequence[str], wish: Wish) -> int:
    """Give *keys* the value they had before their last rotation, and the tokens they sign theirs."""
    store = Vault(wish.secrets_dir)
    there = _values(store, wish.schema)
    _refuse_unknown(keys, there)
    files = _file_names(store, wish.schema)
    values: dict[str, Secret] = {}
    for key in rotation_values.with_signed(keys, wish.schema, there):
        before = compose_journal.previous(store, files[key])
        spec = wish.schema.keys.get(key) if wish.schema is not None else None
        if key not in keys and spec is not None and spec.composed is not None:
            values[key] = new_value(spec, {**there, **values})  # another part may have changed since
        elif before is not None:
            values[key] = before
        elif key in keys:
            raise Refused(f"there is no previous value of {key}", "rotate keeps one, in ./secrets/.previous")
    return _done(values, _settings(wish), wish, history.ROLLED_BACK)


def resume(wish: Wish) -> int:
    """Finish what was interrupted, or finish taking it back."""
    result = compose_run.resume(_settings(wish))
    if result is None:
        output.say("no rotation is unfinished")
        give_nothing(wish)
        return 0
    return _conclude(result, {}, wish)


def finish_dead_run(wish: Wish) -> None:
    """Finish, or take back, what a run left that ended in its middle; for cron."""
    if compose_journal.is_under_way(Vault(wish.secrets_dir)):
        output.say("a run ended here in its middle: that is finished first, or taken back")
        compose_run.resume(_settings(wish))


def give_nothing(wish: Wish) -> None:
    """Print that nothing was to be done."""
    _give(Result(), "nothing to do", {}, wish)


def _settings(wish: Wish) -> Settings:
    how = wish.how or AUTO
    if how not in (AUTO, RECREATE, NONE) and not (how.startswith(SIGNAL) and how.removeprefix(SIGNAL).isalnum()):
        raise click.UsageError("--how is auto, recreate, signal=NAME or none")
    files = [Path(file) for file in wish.compose_files if file]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise click.UsageError(f"{missing[0]} is not a file; write --compose without a file after the keys")
    # Containers are asked with the key of the fingerprints, by the client itself.
    privacy.refuse_open_client(os.environ, endpoint.context)
    timeout = max(1, int(wish.timeout))
    project = RunningProject(files or _files_here(wish), dict(os.environ), timeout, env_files=wish.env_files)
    store = Vault(wish.secrets_dir)
    prints = deployment_key.looking(wish.salt, store)  # for questions of this run; none of them is shown or kept
    return Settings(store, project, how, prints, wish.force, _inside_of(wish))


def _files_here(wish: Wish) -> list[Path]:
    """Return the files that Compose takes here, for a run that goes on elsewhere; none where that is not clear."""
    try:
        return reading.read_project(Path(), os.environ, list(wish.env_files) or None).files
    except Ended:
        return []  # Compose says better what is wrong


def _inside_of(wish: Wish) -> InsideOf:
    """Return what gives the change inside a system that the schema says a key needs."""

    def inside(key: str, new: Mapping[str, Secret], old: Mapping[str, Secret]) -> InsideChange | None:
        from shim_host.rotate import decorator

        spec = wish.schema.keys.get(key) if wish.schema is not None else None
        if spec is None or spec.rotate_with is None or wish.schema is None:
            return None
        if wish.dry_run:
            output.say(NOT_ASKED.format(key))
            return None
        there = _values(Vault(wish.secrets_dir), wish.schema)
        values = Values(old.get(key), new.get(key), {**there, **old}.get, new.get)
        return decorator.inside_change(spec, values, os.environ, wish.timeout, source=wish.schema.source)

    return inside


def _values(store: Vault, schema: Schema | None) -> dict[str, Secret]:
    found = inventory.files_by_key(store, inventory.known_keys(schema, Path(".env")))
    return {key: entry.value for key, entry in found.items()}


def _file_names(store: Vault, schema: Schema | None) -> dict[str, str]:
    found = inventory.files_by_key(store, inventory.known_keys(schema, Path(".env")))
    return {key: entry.name for key, entry in found.items()}


def _refuse_unknown(keys: Sequence[str], there: Mapping[str, Secret]) -> None:
    unknown = [key for key in keys if key not in there]
    if unknown:
        known = [name for name in unknown if names.key_of(name, there) in there]
        message = f"there is no secret file for {output.unknown(unknown)}"
        if known:
            raise Refused(message, f"the key is {names.key_of(known[0], there)}")
        raise Refused(message, *did_you_mean(unknown[0], there), "`manage-secrets list` shows what is there")


def _done(values: Mapping[str, Secret], settings: Settings, wish: Wish, state: str = "rotated") -> int:
    files = _file_names(settings.store, wish.schema)
    chosen = {key: files[key] for key in values}
    if settings.how != NONE:
        _read(settings.project)
    journal = compose_run.planned(values, chosen, settings)
    services = journal.services
    _announce(services, chosen, dry_run=wish.dry_run)
    if wish.dry_run:
        _give(Result(services), "planned", chosen, wish)
        return 0
    result = compose_run.rotate(journal, settings)
    return _conclude(result, chosen, wish, state)


def _read(project: RunningProject) -> None:
    try:
        project.read()
    except Refused:
        try:
            project.files or reading.default_files(Path(), project.environ)
        except Refused as refused:
            raise Refused(refused.message, "name it with --compose; --how none changes ./secrets alone") from None
        raise


def _announce(services: Sequence[Moving], files: Mapping[str, str], *, dry_run: bool) -> None:
    will = "would get" if dry_run else "gets" if len(files) == 1 else "get"
    output.say(f"{output.listed(files)}: {output.many(len(files), 'file')} {will} a new value")
    for service in services:
        words = _WORDS.get(service.how, service.how)
        output.say(f"{service.name}: {words}, {output.many(service.count, 'container')}")


def _conclude(result: Result, files: Mapping[str, str], wish: Wish, state: str = "rotated") -> int:
    _give(result, "taken back" if result.why else state, files, wish)
    if result.why:
        raise Refused(f"the old value is back everywhere: {result.why}", "fix that, and rotate again")
    which = "previous value; the newer one" if state == history.ROLLED_BACK else "new value; the one before"
    output.say(f"every service that runs has the {which} is kept for rollback")
    return 0


def _give(result: Result, state: str, files: Mapping[str, str], wish: Wish) -> None:
    if not wish.is_json:
        rows = [
            (s.name, _WORDS.get(s.how, s.how), str(s.count), result.proofs.get(s.name, "")) for s in result.services
        ]
        if rows:
            output.give_table(["SERVICE", "HOW", "CONTAINERS", "SEEN BY"], rows)
        return
    services = [
        {"service": s.name, "how": s.how, "containers": s.count, "proof": result.proofs.get(s.name, "")}
        for s in result.services
    ]
    folder = os.path.abspath(wish.secrets_dir)
    keys = [{"key": key, "file": name, "path": os.path.join(folder, name)} for key, name in files.items()]
    output.give_json({"state": state, "why": result.why or None, "keys": keys, "services": services})
