"""`rotate` and `rollback` where there is no Swarm: ./secrets and the services of a Compose project."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from shim.schema import Schema
from shim.secret import Secret
from shim_host import inventory, names, options, report, rotate_compose, rotation_journal, rotation_values
from shim_host.compose_running import RunningProject
from shim_host.errors import Refused
from shim_host.rotate_compose import AUTO, NONE, NOT_RUNNING, RECREATE, SIGNAL, Result, Settings
from shim_host.rotation_journal import Moving
from shim_host.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])
_WORDS = {NOT_RUNNING: "not running", NONE: "left alone", "watches": "watches the folder", "overlap": "in turn"}


def _common(function: F) -> F:
    """Add what `rotate` and `rollback` share."""
    for option in reversed(
        (
            click.option(
                "--compose",
                "files",
                multiple=True,
                type=click.Path(path_type=Path, exists=True, dir_okay=False),
                metavar="FILE",
                help="The Compose file; may be repeated.  [default: what Compose takes in this folder]",
            ),
            click.option(
                "--how",
                default=AUTO,
                show_default=True,
                metavar="HOW",
                help="auto, recreate, signal=NAME (of a service that reads its folder again) or none.",
            ),
            click.option(
                "--timeout",
                "timeout_seconds",
                type=click.IntRange(min=1),
                default=300,
                show_default=True,
                metavar="SECONDS",
                help="How long a service may take to come up.",
            ),
            click.option("--resume", is_flag=True, help="Finish what was interrupted, or finish taking it back."),
            click.option("--force", is_flag=True, help="Go on although something is likely to fail."),
            options.secrets_dir,
            options.schema,
            options.salt,
            options.as_json,
            options.dry_run,
            options.yes,
        )
    ):
        function = option(function)
    return function


@click.command("rotate")
@click.argument("keys", nargs=-1)
@click.option("--value-file", metavar="FILE", help="The new value is in FILE; - is stdin.")
@click.option("--generate", "is_made", is_flag=True, help="Make the new value as the schema says.")
@_common
def rotate(keys: tuple[str, ...], value_file: str | None, is_made: bool, **common: Any) -> int:
    """Give keys a new value: in ./secrets, and in the services of a Compose project that have them.

    The new file takes the old one's place in one step. A service that mounts the file is made anew: beside the old one
    where it has a health check, no port of this machine and no data of its own, else in its place; a service whose shim
    watches the folder (--on-change) is left alone. What a container has is compared by fingerprint through its shim. If
    a service does not come up, the old file comes back, the services too, and the run ends with 1.

    A token that is signed with a key is made anew together with it. The value before is kept for `rollback`, in
    ./secrets/.previous.

    \b
    Examples:
      manage-secrets rotate SESSION_KEY
      manage-secrets rotate DB_PASSWORD --value-file - < new.txt
      manage-secrets rotate API_KEY --compose docker-compose.yml --how signal=HUP
      manage-secrets rotate --resume

    \b
    With --json: {"state": "rotated|went back|planned|nothing to resume", "why", "keys": [{"key", "file"}],
      "services": [{"service", "how": "recreate|overlap|watches|signal=NAME|none|not running", "containers",
      "proof": "fingerprint|started anew; no shim to ask|"}]}
    """
    settings, schema, store = _settings(**common)
    if common["resume"]:
        if keys or value_file is not None or is_made:
            raise click.UsageError("--resume goes on with what was begun: it takes neither keys nor values")
        return _resumed(settings, is_json=common["is_json"])
    if not keys:
        raise click.UsageError("name the keys to rotate, or --resume")
    there = _values(store, schema)
    _refuse_unknown(keys, there)
    values = rotation_values.new_values(list(dict.fromkeys(keys)), schema, there, value_file, is_made=is_made)
    return _done(values, settings, schema, store, common)


@click.command("rollback")
@click.argument("key")
@_common
def rollback(key: str, **common: Any) -> int:
    """Go back to the value that a key had before its last rotation; once more, and it is forward again.

    Services follow as they do in `rotate`.

    \b
    Examples:
      manage-secrets rollback DB_PASSWORD
      manage-secrets rollback DB_PASSWORD --dry-run

    \b
    With --json: as rotate prints it.
    """
    settings, schema, store = _settings(**common)
    if common["resume"]:
        return _resumed(settings, is_json=common["is_json"])
    there = _values(store, schema)
    _refuse_unknown([key], there)
    files = _file_names(store, schema)
    wanted = [key, *rotation_values.signed_with([key], schema, there)]
    values: dict[str, Secret] = {}
    for name in wanted:
        before = rotation_journal.previous(store, files[name])
        if before is not None:
            values[name] = before
        elif name == key:
            raise Refused(f"there is no value of {key} before this one", "rotate keeps one, in ./secrets/.previous")
    return _done(values, settings, schema, store, common)


def _settings(
    files: Sequence[Path],
    how: str,
    timeout_seconds: int,
    resume: bool,  # noqa: ARG001  (of the command, as the rest)
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    salt: bytes,
    is_json: bool,  # noqa: ARG001
    dry_run: bool,  # noqa: ARG001
    yes: bool,  # noqa: ARG001
) -> tuple[Settings, Schema | None, Vault]:
    if how not in (AUTO, RECREATE, NONE) and not (how.startswith(SIGNAL) and how.removeprefix(SIGNAL).isalnum()):
        raise click.UsageError("--how is auto, recreate, signal=NAME or none")
    store = Vault(secrets_dir)
    project = RunningProject(list(files), dict(os.environ), timeout_seconds)
    return Settings(store, project, how, salt, force), options.read_schema(schema_path), store


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
        hint = f"the key is {names.key_of(known[0], there)}" if known else "`manage-secrets list` shows what is there"
        raise Refused(f"there is no secret file of {', '.join(unknown)}", hint)


def _done(
    values: Mapping[str, Secret], settings: Settings, schema: Schema | None, store: Vault, common: Mapping[str, Any]
) -> int:
    files = _file_names(store, schema)
    chosen = {key: files[key] for key in values}
    if settings.how != NONE:
        _read(settings.project)
    journal = rotate_compose.planned(values, chosen, settings)
    services = journal.services
    _announce(services, chosen, dry_run=common["dry_run"])
    if common["dry_run"]:
        _give(Result(services), "planned", chosen, is_json=common["is_json"])
        return 0
    if any(service.how not in (NONE, NOT_RUNNING) for service in services):
        report.confirm(f"rotate {', '.join(chosen)}?", yes=common["yes"])
    result = rotate_compose.rotate(journal, settings)
    return _conclude(result, chosen, is_json=common["is_json"])


def _read(project: RunningProject) -> None:
    from shim_host import compose

    try:
        project.read()
    except Refused:
        try:
            project.files or compose.default_files(Path(), project.environ)
        except Refused as refused:
            raise Refused(refused.message, "name it with --compose; --how none changes ./secrets alone") from None
        raise


def _announce(services: Sequence[Moving], files: Mapping[str, str], *, dry_run: bool) -> None:
    report.say(f"{', '.join(files)}: {len(files)} file(s) {'would get' if dry_run else 'get'} a new value")
    for service in services:
        words = _WORDS.get(service.how, service.how)
        report.say(f"{service.name}: {words}, {service.count} container(s)")


def _resumed(settings: Settings, *, is_json: bool) -> int:
    result = rotate_compose.resume(settings)
    if result is None:
        report.say("no rotation was interrupted here")
        _give(Result(), "nothing to resume", {}, is_json=is_json)
        return 0
    return _conclude(result, {}, is_json=is_json)


def _conclude(result: Result, files: Mapping[str, str], *, is_json: bool) -> int:
    _give(result, "went back" if result.why else "rotated", files, is_json=is_json)
    if result.why:
        raise Refused(f"the old value is back everywhere: {result.why}", "mend that, and rotate again")
    report.say("every service that runs has the new value; the one before is kept for rollback")
    return 0


def _give(result: Result, state: str, files: Mapping[str, str], *, is_json: bool) -> None:
    if not is_json:
        rows = [
            (s.name, _WORDS.get(s.how, s.how), str(s.count), result.proofs.get(s.name, "")) for s in result.services
        ]
        if rows:
            report.give_table(["SERVICE", "HOW", "CONTAINERS", "SEEN BY"], rows)
        return
    services = [
        {"service": s.name, "how": s.how, "containers": s.count, "proof": result.proofs.get(s.name, "")}
        for s in result.services
    ]
    keys = [{"key": key, "file": name} for key, name in files.items()]
    report.give_json({"state": state, "why": result.why or None, "keys": keys, "services": services})
