"""`rotate`, `rollback` and `history`: what a person asks for becomes a plan, is said, and is carried out."""

import os
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from shim.schema import KeySpec, Schema, check_value
from shim.secret import Secret
from shim_host import (
    commands_rotate_compose,
    inventory,
    lockfile,
    names,
    options,
    passphrase,
    report,
    rotate,
    rotation,
    swarm,
)
from shim_host.commands_rotate_compose import Wish
from shim_host.deployment import fingerprint_of, refusals, salt_mark
from shim_host.errors import Ended, Refused
from shim_host.generate import new_value, signer_of
from shim_host.rotate import Rotation, Settings
from shim_host.rotation import BACK, Finding, Plan, Service
from shim_host.swarm import SwarmSecret
from shim_host.swarm_services import NotMoved, ServiceMover
from shim_host.vault import Vault

# A new value before every service has it; dot files are secrets to nobody.
_WAITING = ".{}.next"
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, None: 1}


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or float(match["number"]) <= 0:
        raise click.BadParameter("a duration is wanted, such as 90s, 5m or 1h")
    return float(match["number"]) * _SECONDS[match["unit"]]


def _how(function: Any) -> Any:
    """Add what `rotate` and `rollback` have in common."""
    for option in (
        commands_rotate_compose.options_of_compose,
        options.yes,
        options.dry_run,
        options.as_json,
        options.salt,
        options.schema,
        options.secrets_dir,
        click.option("--force", is_flag=True, help="Go on although something is likely to fail."),
        click.option(
            "--lock-file",
            type=click.Path(path_type=Path),
            default=lockfile.DEFAULT,
            show_default=True,
            metavar="FILE",
            help="Where the versions in use are written for `docker stack deploy`, if FILE is there or a stack moves.",
        ),
        click.option(
            "--timeout", "timeout", default="5m", show_default=True, callback=_seconds, help="For one service."
        ),
        click.option(
            "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Services at a time."
        ),
        click.option("--stack", default="", metavar="NAME", help="The stack whose secrets these are."),
    ):
        function = option(function)
    return function


@click.command("rotate")
@click.argument("keys", nargs=-1)
@click.option("--value-file", metavar="FILE", help="The new value is what FILE holds; - is stdin.")
@click.option("--generate", is_flag=True, help="Make the new value as the schema says, or at random.")
@click.option("--due", is_flag=True, help="Every key that is older than its @rotate; made for cron.")
@click.option("--resume", is_flag=True, help="Finish, or take back, a rotation whose run has ended.")
@click.option("--keep", type=click.IntRange(min=1), default=1, show_default=True, help="Versions to keep for rollback.")
@_how
def rotate_command(
    keys: tuple[str, ...],
    value_file: str | None,
    generate: bool,
    due: bool,
    resume: bool,
    keep: int,
    stack: str,
    parallel: int,
    timeout: float,
    lock_file: Path,
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    salt: bytes,
    is_json: bool,
    dry_run: bool,
    yes: bool,  # noqa: ARG001  (nothing is asked; a script may give it to every command)
    compose_files: tuple[str, ...],
    how: str | None,
) -> int:
    """Give KEYS a new value everywhere, with no failed request.

    A new version is made in the Swarm, every service that mounts the key moves to it, one update a service, and its
    containers are asked whether they have it. If one does not come up, all go back. Tokens that are signed with a
    rotated key are signed anew.

    Without a Swarm, or with --compose: the file in ./secrets is replaced in one step, and the services of the Compose
    project that have it follow. One that mounts the file is made anew, beside the old one where that can be (a health
    check, no port of this machine, no data of its own); one whose shim watches the folder (--on-change) is left alone.
    The value before is kept for `rollback`, in ./secrets/.previous.

    \b
    Examples:
      manage-secrets rotate DB_PASSWORD --generate --dry-run
      pass show db | manage-secrets rotate DB_PASSWORD --value-file -
      manage-secrets rotate --due --stack shop
      manage-secrets rotate --resume
      manage-secrets rotate API_KEY --generate --compose --how signal=HUP

    \b
    With --json: {"keys": [{"key", "name", "version"}], "services": [NAME],
    "verified": containers that said the new fingerprint, "elsewhere": tasks on other nodes,
    "state": "planned|rotated|taken back|nothing to do"}
    With Compose: {"state", "why", "keys": [{"key", "file"}], "services": [{"service", "containers",
    "how": "recreate|overlap|watches|signal=NAME|not running", "proof": "fingerprint|started anew; no shim to ask|"}]}
    """
    if resume and (keys or value_file is not None or generate or due):
        raise click.UsageError("--resume goes on with what was begun: it takes neither keys nor values")
    if not (keys or resume or due):
        raise click.UsageError("name the keys to rotate, or give --due or --resume")
    schema = options.read_schema(schema_path)
    wish = Wish(compose_files, how, timeout, force, secrets_dir, schema, salt, is_json, dry_run)
    if (keys or resume) and not stack and not due and commands_rotate_compose.is_meant(wish, keys):
        if resume:
            return commands_rotate_compose.resume(wish)
        return commands_rotate_compose.rotate(keys, value_file, generate, wish)
    settings = Settings(salt, timeout, parallel, keep)
    work = _Work(stack, settings, lock_file, Vault(secrets_dir), schema, is_json)
    if resume:
        return work.resume(force)
    left: list[str] = []
    if due:
        keys, left = work.due_keys()
        generate = True
        if left:
            hint = f"manage-secrets rotate {left[0]} asks for it"
            report.warn(f"due, and nothing says how to make a value: {', '.join(left)}", hint)
        if not keys:
            work.give(Plan("", stack, ()), "nothing to do")
            return int(bool(left))
    code = work.rotate(keys, value_file, generate, force, dry_run)
    return code or int(bool(left))


@click.command("rollback")
@click.argument("keys", nargs=-1, required=True)
@_how
def rollback_command(
    keys: tuple[str, ...],
    stack: str,
    parallel: int,
    timeout: float,
    lock_file: Path,
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    salt: bytes,
    is_json: bool,
    dry_run: bool,
    yes: bool,
    compose_files: tuple[str, ...],
    how: str | None,
) -> int:
    """Move every service back to the version of KEYS before; the one left behind is removed.

    With Compose, the one left behind is kept: once more, and it is forward again.

    \b
    Examples:
      manage-secrets rollback DB_PASSWORD --dry-run
      manage-secrets rollback DB_PASSWORD --yes

    \b
    With --json: as rotate prints it.
    """
    schema = options.read_schema(schema_path)
    wish = Wish(compose_files, how, timeout, force, secrets_dir, schema, salt, is_json, dry_run)
    if not stack and commands_rotate_compose.is_meant(wish, keys):
        return commands_rotate_compose.rollback(keys, wish)
    settings = Settings(salt, timeout, parallel)
    work = _Work(stack, settings, lock_file, Vault(secrets_dir), schema, is_json)
    return work.rollback(keys, force, dry_run, yes)


@click.command("history")
@click.argument("keys", nargs=-1)
@click.option("--stack", default="", metavar="NAME", help="The stack whose secrets these are.")
@options.as_json
def history_command(keys: tuple[str, ...], stack: str, is_json: bool) -> int:
    """Say who made which version when, and which services run it; the labels in the Swarm tell.

    \b
    Examples:
      manage-secrets history
      manage-secrets history DB_PASSWORD --json

    \b
    With --json: {"versions": [{"key", "version", "created", "by", "state": "in use|kept|removed", "services": [NAME]}]}
    """
    engine = swarm.connect(os.environ)
    secrets = [secret for secret in engine.secrets() if secret.key and secret.stack == stack]
    missing = [key for key in keys if key not in {secret.key for secret in secrets}]
    if missing:
        raise Refused(f"not in the Swarm: {', '.join(missing)}", "`manage-secrets list` shows what is")
    services = engine.services()
    rows: list[tuple[str, Any, str, str, str, list[str]]] = []
    for key in sorted({secret.key for secret in secrets if not keys or secret.key in keys}):
        versions = sorted((secret for secret in secrets if secret.key == key), key=lambda secret: secret.version)
        there = {secret.version for secret in versions}
        for number, when, by in rotate.past(versions[-1]):
            if number not in there:
                rows.append((key, number, str(when), str(by), "removed", []))
        for secret in versions:
            users = sorted(service.name for service in services if secret.id in service.mounts)
            rows.append((key, secret.version, secret.created, secret.by, "in use" if users else "kept", users))
    fields = ("key", "version", "created", "by", "state", "services")
    if is_json:
        report.give_json({"versions": [dict(zip(fields, row, strict=True)) for row in rows]})
    else:
        shown = [(key, f"v{number}", when, by, state, ", ".join(users)) for key, number, when, by, state, users in rows]
        report.give_table(["KEY", "VERSION", "CREATED", "BY", "STATE", "SERVICES"], shown)
    return 0


class _Work:
    """What the commands share: the engine as it was found, and where a new value is written besides."""

    def __init__(
        self, stack: str, settings: Settings, lock_file: Path, store: Vault, schema: Schema | None, is_json: bool
    ) -> None:
        self.stack = stack
        self.settings = settings
        self.lock_file = lock_file
        self.store = store
        self.schema = schema
        self.is_json = is_json
        self.engine = swarm.connect_as(ServiceMover, os.environ)
        self.secrets: list[SwarmSecret] = self.engine.secrets()
        self.services: list[Service] = self.engine.movable()

    def due_keys(self) -> tuple[tuple[str, ...], list[str]]:
        if self.schema is None:
            raise Refused("there is no schema to say how old a value may be", "write @rotate=90d above a key")
        now = rotate.today()
        newest = swarm.newest(self.secrets, self.stack)
        ages = {key: inventory.age_days(secret.created, now) for key, secret in newest.items()}
        makeable, others = rotation.due(self.schema, ages)
        return tuple(makeable), others

    def rotate(self, keys: Sequence[str], value_file: str | None, generate: bool, force: bool, dry_run: bool) -> int:
        self._refuse_busy()
        newest = swarm.newest(self.secrets, self.stack)
        missing = rotation.wrong_keys(keys, self.secrets, self.stack)
        if missing:
            elsewhere = sorted({s.stack for s in self.secrets if s.key in missing and s.stack != self.stack})
            hint = f"give its stack: --stack {elsewhere[0]}" if elsewhere else "manage-secrets create-swarm makes them"
            raise Refused(f"not in the Swarm: {', '.join(missing)}", hint)
        try:
            ordered = rotation.with_derived(keys, self.schema, newest)
        except ValueError as ring:
            raise Refused(f"these are signed with each other: {ring}", "mend @type=jwt(signedBy=...)") from None
        values = self._values(ordered, set(keys), value_file, generate) if not dry_run else {}
        same = [key for key, value in values.items() if self._is_same(key, value, newest[key])]
        for key in same:
            report.say(f"{key} has this value already")
        ordered = [key for key in ordered if key not in same]
        plan = rotation.plan(randomness.token_hex(8), self.stack, ordered, self.secrets, self.services)
        self._announce(plan, force)
        if dry_run or not ordered:
            self.give(plan, "planned" if dry_run else "nothing to do")
            return 0
        run = rotate.begin(self.engine, plan, self.services, self.settings)
        try:
            self._stage(plan, values)
            run.make(values, self.secrets)
        except Ended as ended:
            raise type(ended)(ended.message, *ended.hints, f"{rotate.RESUME} takes back what was made") from None
        self._forward(run, values)
        return 0

    def _forward(self, run: Rotation, values: Mapping[str, Secret]) -> None:
        try:
            run.forward(lambda: self._settle(run.plan, values))
        except NotMoved:
            self._unstage(run.plan)
            raise
        self.give(run.plan, "rotated", run)

    def rollback(self, keys: Sequence[str], force: bool, dry_run: bool, yes: bool) -> int:
        self._refuse_busy()
        missing = rotation.wrong_keys(keys, self.secrets, self.stack)
        if missing:
            raise Refused(f"not in the Swarm: {', '.join(missing)}", "`manage-secrets list` shows what is")
        plan, lacking = rotation.plan_back(randomness.token_hex(8), self.stack, keys, self.secrets, self.services)
        if lacking:
            hint = "rotate to the old value: manage-secrets rotate KEY --value-file FILE"
            raise Refused(f"no version before the one in use is kept of {', '.join(lacking)}", hint)
        self._announce(plan, force)
        if dry_run:
            self.give(plan, "planned")
            return 0
        left = [s.name for s in self.secrets if any(s.id in change.old_ids for change in plan.changes)]
        report.confirm(f"go back, and remove {', '.join(left)}?", yes=yes)
        run = rotate.begin(self.engine, plan, self.services, self.settings)
        self._forward(run, {})
        return 0

    def resume(self, force: bool) -> int:
        run = rotate.taken_over(self.engine, self.stack, self.settings, force=force)
        if run is None:
            report.say("no rotation is unfinished")
            self.give(Plan("", self.stack, ()), "nothing to do")
            return 0
        names_of_keys = ", ".join(change.key for change in run.plan.changes)
        if rotation.direction(run.plan, run.lock.goes_back) == BACK:
            report.say(f"taking back the rotation of {names_of_keys}")
            run.back()
            self._unstage(run.plan)
            self.give(run.plan, "taken back", run)
            return 0
        report.say(f"finishing the rotation of {names_of_keys}")
        self._forward(run, {})
        return 0

    def _refuse_busy(self) -> None:
        held = self.engine.held_lock(self.stack)
        if held is not None:
            raise rotate.busy(held)

    def _is_same(self, key: str, value: Secret, newest: SwarmSecret) -> bool:
        salt = self.settings.salt
        return newest.salt == salt_mark(salt) and newest.fingerprint == fingerprint_of(key, value, salt)

    def _values(
        self, ordered: Sequence[str], asked: set[str], value_file: str | None, generate: bool
    ) -> dict[str, Secret]:
        """Return the new value of each key; all that is wrong with them is said at once."""
        typed = [key for key in ordered if not self._is_made(key, asked, generate)]
        if value_file is not None and len(typed) != 1:
            raise click.UsageError("--value-file gives one value, to one key")
        if typed and value_file is None and not passphrase.can_ask():
            raise Refused(
                f"nothing gives {', '.join(typed)} a new value",
                "add --generate, or pipe the value: --value-file -",
            )
        values: dict[str, Secret] = {}
        wrong = []
        for key in ordered:
            spec = self._spec(key)
            if self._is_made(key, asked, generate):
                values[key] = new_value(spec, {**self._signers(spec), **values})
            elif value_file is not None:
                values[key] = Secret(options.read_file(Path(value_file)))
            else:
                prompt = f"{report.PROGRAM}: new value of {report.shown(key)}"
                text = click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)
                values[key] = Secret(text.encode("utf-8", "surrogateescape"))
            if words := check_value(spec, rotate.cleaned(values[key])):
                wrong.append(f"{key} {words}")
        wrong += refusals({key: ("", value) for key, value in values.items()})
        if wrong:
            raise Refused(wrong[0], *wrong[1:], "nothing was changed")
        return values

    def _spec(self, key: str) -> KeySpec:
        return self.schema.keys.get(key, KeySpec(key)) if self.schema else KeySpec(key)

    def _is_made(self, key: str, asked: set[str], generate: bool) -> bool:
        return generate or key not in asked or bool(signer_of(self._spec(key)))

    def _signers(self, spec: KeySpec) -> dict[str, Secret]:
        signer = signer_of(spec)
        if not signer:
            return {}
        file_name = names.file_names([*(self.schema.keys if self.schema else ()), signer])[signer]
        entry = self.store.read(file_name)
        return {signer: entry.value} if entry is not None else {}

    def _announce(self, plan: Plan, force: bool) -> None:
        moving = [service for service in self.services if service.id in plan.moves]
        for change in plan.changes:
            report.say(f"{change.key}: to {change.name}")
        report.say(f"{len(moving)} services to move" + (f": {', '.join(s.name for s in moving)}" if moving else ""))
        found = self._findings(moving)
        for finding in found:
            words = f"{finding.service} {finding.message}".strip()
            if not finding.is_hard or force:
                report.warn(words, finding.hint)
        hard = [finding for finding in found if finding.is_hard]
        if hard and not force:
            lines = [f"{finding.service} {finding.message}: {finding.hint}".strip() for finding in hard]
            raise Refused(lines[0], *lines[1:], "nothing was changed; --force goes on all the same")

    def _findings(self, moving: Sequence[Service]) -> list[Finding]:
        from dataclasses import replace

        nodes, managers = self.engine.nodes()
        unknown = [service for service in moving if service.has_health_check is None]
        images = self.engine.image_health_checks(unknown)
        known = [
            replace(service, has_health_check=images[service.id]) if service.id in images else service
            for service in moving
        ]
        return rotation.preflight(known, nodes, managers)

    def _settle(self, plan: Plan, values: Mapping[str, Secret]) -> None:
        """Write the values into ./secrets where their keys have files, and the versions into the lock file."""
        moved = {service.stack for service in self.services if service.id in plan.moves}
        if self.lock_file.exists() or any(moved):
            versions = {key: secret.version for key, secret in swarm.newest(self.secrets, self.stack).items()}
            lockfile.write(self.lock_file, {**versions, **{change.key: change.version for change in plan.changes}})
            report.say(f"wrote {self.lock_file}")
        file_names = names.file_names([*(self.schema.keys if self.schema else ()), *(c.key for c in plan.changes)])
        stale = {}
        for change in plan.changes:
            entry = self.store.read(file_names[change.key])
            new = next((s for s in self.engine.secrets() if s.id == change.new_id), None)
            if entry is not None and new is not None and not self._is_same(change.key, entry.value, new):
                stale[change.key] = new
        staged = {**values, **self._staged(stale, file_names)}
        read = self._read_back([secret for key, secret in stale.items() if key not in staged])
        with_value = {key: staged.get(key) or read.get(secret.name) for key, secret in stale.items()}
        if any(value is not None for value in with_value.values()):
            with self.store.writing() as writer:
                for key, value in with_value.items():
                    if value is not None:
                        writer.write(file_names[key], value.reveal())
        self._unstage(plan)
        for key, value in with_value.items():
            if value is None:
                report.warn(
                    f"{self.store.shown(file_names[key])} holds another value than the Swarm",
                    "`manage-secrets diff` compares",
                )

    def _stage(self, plan: Plan, values: Mapping[str, Secret]) -> None:
        """Keep the new values beside the files that are to hold them, since the Swarm gives no value back."""
        waiting = {
            name: values[change.key]
            for change in plan.changes
            if self.store.read(name := self._file_name(change.key)) is not None
        }
        if waiting:
            with self.store.writing() as writer:
                for name, value in waiting.items():
                    writer.write(_WAITING.format(name), value.reveal())

    def _staged(self, stale: Mapping[str, SwarmSecret], file_names: Mapping[str, str]) -> dict[str, Secret]:
        """Return the values that wait in ./secrets and are those of the *stale* keys' new versions."""
        waiting = {key: self.store.read(_WAITING.format(file_names[key])) for key in stale}
        return {
            key: entry.value
            for key, entry in waiting.items()
            if entry is not None and self._is_same(key, entry.value, stale[key])
        }

    def _unstage(self, plan: Plan) -> None:
        waiting = [_WAITING.format(self._file_name(change.key)) for change in plan.changes]
        if any((self.store.path / name).exists() for name in waiting):
            with self.store.writing() as writer:
                for name in waiting:
                    writer.remove(name)

    def _file_name(self, key: str) -> str:
        return names.file_names([*(self.schema.keys if self.schema else ()), key])[key]

    def _read_back(self, versions: Sequence[SwarmSecret]) -> dict[str, Secret]:
        """Return the values that only the Swarm still has; none when they cannot be read from here."""
        if not versions:
            return {}
        try:
            return self.engine.read(versions, "", lambda: None)
        except Ended as ended:
            report.warn(ended.message, *ended.hints[:1])
            return {}

    def give(self, plan: Plan, state: str, run: Rotation | None = None) -> None:
        """Print what was done."""
        services = sorted(service.name for service in self.services if service.id in plan.moves)
        verified, elsewhere = (run.verified, run.elsewhere) if run else (0, 0)
        if self.is_json:
            keys = [{"key": c.key, "name": c.name, "version": c.version} for c in plan.changes]
            report.give_json(
                {"keys": keys, "services": services, "verified": verified, "elsewhere": elsewhere, "state": state}
            )
            return
        if plan.changes:
            report.give_table(["KEY", "NAME", "STATE"], [(c.key, c.name, state) for c in plan.changes])
        if run and state == "rotated":
            words = f"{len(services)} services moved; {verified} containers said the new fingerprint"
            report.say(words + (f", {elsewhere} tasks run on other nodes" if elsewhere else ""))
