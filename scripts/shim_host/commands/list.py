"""`list` and `diff`: what is where, and whether it is the same everywhere. No value is shown, only fingerprints."""

import os
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from shim.schema import Schema, composed_value
from shim.secret import Secret, clean
from shim_host import ages, deployment_key, inputs, inventory, output
from shim_host.commands import options
from shim_host.errors import CLEAN, FAILED, REFUSED, Ended
from shim_host.fingerprints import Fingerprints
from shim_host.inventory import Asked, Inventory
from shim_host.store.vault import Entry, Vault
from shim_host.swarm import asking, connection, labels, model, stacks
from shim_host.swarm.model import RunningContainer, SwarmSecret


@click.command("list")
@click.option("--services", "by_service", is_flag=True, help="List the keys of each service instead.")
@options.stack("Only the keys of this stack; otherwise, those of no stack.")
@click.option("--no-engine", is_flag=True, help="Look at files only, without the engine or the Swarm.")
@options.project
@options.secrets_dir
@options.schema
@options.as_json
def list_command(
    by_service: bool,
    stack: str,
    no_engine: bool,
    given: Asked,
    secrets_dir: Path,
    schema_path: Path | None,
    is_json: bool,
) -> int:
    """List every key: what it is, where it is stored, how old it is, and which services get it.

    \b
    Examples:
      manage-secrets list
      manage-secrets list --services
      manage-secrets list --json

    \b
    With --json: {"keys": [{"key", "category", "required", "sensitive", "env", "file", "path",
      "swarm": null | {"name", "version", "created", "age_days", "rotate_in_days"}, "services": []}],
      "not_looked_at": []}, or with --services {"services": [{"service", "keys": []}], "not_looked_at": []}

    \b
    Exit codes: 0, 2 usage, 111 the engine or its Swarm could not be asked (--no-engine leaves them out).
    """
    gaps: list[str] = []
    found = take_stock(stack, given, secrets_dir, schema_path, None if no_engine else gaps)
    rows = [described(found, key, datetime.now(UTC)) for key in found.keys()]  # noqa: SIM118  (a method, no mapping)
    folder = os.path.abspath(Vault.of_stack(secrets_dir, stack).path)
    for row in rows:
        row["path"] = None if row["file"] is None else os.path.join(folder, row["file"])
    is_blind = bool(gaps)
    if by_service:
        give_services(rows, gaps, is_json)
    elif is_json:
        output.give_json({"keys": rows, "not_looked_at": gaps})
    else:
        columns = ["KEY", "CATEGORY", ".env", str(secrets_dir), "SWARM", "AGE", "ROTATE IN", "SERVICES"]
        output.give_table(columns, [cells(row, "?" if is_blind else "-") for row in rows])
        if not rows and not is_blind:
            output.say(f"there is no key in {given.env_name}, {secrets_dir}, a schema or a Swarm")
    return FAILED if is_blind else CLEAN


def take_stock(
    stack: str,
    given: Asked,
    secrets_dir: Path,
    schema_path: Path | None,
    gaps: list[str] | None,
) -> Inventory:
    """Return where every key is stored.

    What the engine could not be asked is added to *gaps*; if those are None, it is not asked at all.
    """
    schema = inputs.read_schema(schema_path)
    found = Inventory(schema, inventory.env_values(given.env_paths, os.environ))
    known = [*(schema.keys if schema else ()), *found.env]
    store = Vault.of_stack(secrets_dir, stack)
    found.files = inventory.files_by_key(store, known)
    asks_engine = gaps is not None
    answer = None
    if asks_engine:
        answer = inventory.ask_swarm(lambda engine: (engine.secrets(), engine.services()), gaps, stack=stack)
    users: dict[str, set[str]] = {}
    if answer is not None:
        secrets, services = answer
        stacks.say_others(secrets, stack)
        found.swarm = model.newest(secrets, stack)
        users = inventory.swarm_users(stacks.of_stack(secrets, stack), services)
    project = inventory.compose_project(given)
    in_compose = inventory.compose_users(project, [*known, *found.files], store) if project is not None else {}
    found.mounted = inventory.keys_mounted(project, [*known, *found.files], store) if project is not None else set()
    in_schema = {key: set(spec.services) for key, spec in (schema.keys if schema else {}).items()}
    own = project.name if project is not None else ""
    in_others = users_running(store, own, found.files, gaps) if gaps is not None else {}
    for key, outside in inventory.outside_files(project, store, known).items():
        found.files.setdefault(key, outside.entry._replace(name=str(outside.path)))
    found.users = inventory.merge_users(users, in_compose, in_schema, in_others)
    return found


def users_running(store: Vault, project: str, files: Mapping[str, Entry], gaps: list[str]) -> dict[str, set[str]]:
    """Return the services of Compose that run with a file of this project, by key: its own, and those of others.

    Its own may mount the folder, or be defined in files that were not given here. What could not be asked is added to
    *gaps*.
    """
    try:
        running = connection.connect(os.environ).running_containers()
    except Ended as ended:
        if not gaps and not isinstance(ended, connection.NoSwarm):  # otherwise it was said when the Swarm was asked
            output.warn(f"{ended.message}; what runs is left out", *ended.hints[:1])
            gaps.append(f"{model.ENGINE_LEFT_OUT}{ended.message}")
        return {}
    users: dict[str, set[str]] = {}
    for container in running:
        if not container.project or not files:
            continue
        mounted = {os.path.realpath(file) for file in container.files}
        for key, entry in files.items():
            if mounted & {os.path.realpath(store.path / entry.name), os.path.realpath(store.path)}:
                name = f"{container.project}/{container.service}"
                users.setdefault(key, set()).add(container.service if container.project == project else name)
    return users


def described(found: Inventory, key: str, now: datetime) -> dict[str, Any]:
    """Return one line of the list as `--json` has it."""
    spec = found.schema.keys.get(key) if found.schema else None
    version = (found.swarm or {}).get(key)
    due = found.rotation_due_days(key, now)
    return {
        "key": key,
        "category": found.category(key),
        "required": spec is not None and spec.is_required,
        "sensitive": None if spec is None else spec.is_sensitive,
        "env": key in found.env,
        "file": found.files[key].name if key in found.files else None,
        "swarm": None
        if version is None
        else {
            "name": version.name,
            "version": version.version,
            "created": version.created,
            "age_days": round(ages.age_days(version.created, now), 2),
            "rotate_in_days": None if due is None else round(due, 2),
        },
        "services": sorted(found.users.get(key, ())),
    }


def cells(row: dict[str, Any], unknown: str) -> list[str]:
    """Return one line of the table; *unknown* takes the place of what the Swarm would tell."""
    version = row["swarm"]
    due = version["rotate_in_days"] if version else None
    return [
        row["key"],
        row["category"],
        "yes" if row["env"] else "-",
        row["file"] or "-",
        f"v{version['version']}" if version else unknown,
        f"{version['age_days']:.0f} d" if version else "-",
        "-" if due is None else ages.due(due),
        ", ".join(row["services"]) or "-",
    ]


def give_services(rows: list[dict[str, Any]], gaps: list[str], is_json: bool) -> None:
    """Print the keys that each service gets."""
    by_service: dict[str, list[str]] = {}
    for row in rows:
        for service in row["services"]:
            by_service.setdefault(service, []).append(row["key"])
    if is_json:
        listed = [{"service": name, "keys": keys} for name, keys in sorted(by_service.items())]
        output.give_json({"services": listed, "not_looked_at": gaps})
    else:
        output.give_table(["SERVICE", "KEYS"], [(name, ", ".join(keys)) for name, keys in sorted(by_service.items())])


SWARM = "swarm"  # a place in the comparison


@click.command("diff")
@options.stack("Only the keys of this stack; otherwise, those of no stack.")
@click.option("--all", "shows_all", is_flag=True, help="Also list keys that are the same everywhere.")
@click.option("--no-engine", is_flag=True, help="Compare files only, without the engine or the Swarm.")
@options.project
@options.secrets_dir
@options.schema
@options.salt
@options.as_json
def diff(
    stack: str,
    shows_all: bool,
    no_engine: bool,
    given: Asked,
    secrets_dir: Path,
    schema_path: Path | None,
    salt: bytes,
    is_json: bool,
) -> int:
    """Compare .env, ./secrets, the Swarm and running containers by fingerprint.

    The exit code is 1 if two places hold different values, or if one lacks a key; a .env that migrate has reduced need
    not have what the Compose file mounts from ./secrets. Containers are asked through the shim
    in them: those of this Compose project, those of Swarm services that mount these keys, and all that mount a file of
    ./secrets. Fingerprints are made with the deployment's key (./secrets/.fingerprint-key, or a config of the Swarm).
    With --salt they can be compared with those of another deployment, but weak values can be guessed from them;
    SHIM_SALT in the containers must then be the same.

    \b
    Examples:
      manage-secrets diff
      manage-secrets diff --all --json

    \b
    With --json: {"places": [], "keys": [{"key", "state": "same|different|only in ...",
      "fingerprints": {place: fingerprint}}], "not_looked_at": []}

    \b
    Exit codes: 0 the same, 1 different, 2 usage, 111 the engine or its Swarm could not be asked (see --no-engine).
    """
    gaps: list[str] = []
    schema = inputs.read_schema(schema_path)
    store = Vault.of_stack(secrets_dir, stack)
    in_env = inventory.env_values(given.env_paths, os.environ)
    known = [*(schema.keys if schema else ()), *in_env]
    files = {key: entry.value for key, entry in inventory.files_by_key(store, known).items()}
    env = in_env if schema is None else to_compare(in_env, schema, files.keys())
    project = inventory.compose_project(given)
    mounted = inventory.keys_mounted(project, {*known, *files}, store) if project is not None else set()
    if schema is None and mounted:
        env = {
            key: value
            for key, value in env.items()
            if key in {*files, *mounted} or inventory.is_like_a_secret(key, value)
        }
    asked = None
    if not no_engine:
        asked = inventory.ask_swarm(lambda e: (e.secrets(), e.services(), labels.fingerprint_key(e)), gaps, stack=stack)
    in_swarm, services, its_key = asked or (None, [], None)
    prints = deployment_key.looking(salt, store, its_key) if its_key else deployment_key.of_folder(salt, store)
    places: dict[str, dict[str, str]] = {
        given.env_name: prints.of_all(env),
        str(store.path): prints.of_all(files),
    }
    users: set[str] = set()
    templates: set[str] = set()
    if in_swarm is not None:
        stacks.say_others(in_swarm, stack)
        of_stack = stacks.of_stack(labels.taken_over(in_swarm, prints, {**env, **files}), stack)
        newest = model.newest(of_stack, stack)
        users = inventory.services_with(services, of_stack, {*known, *files, *newest}, stack)
        templates = {key for key, item in newest.items() if item.template}
        places[SWARM] = _comparable(newest, prints, {*env, *files})
    if not no_engine:
        name = project.name if project is not None and not stack else ""
        home = str(project.folder) if project is not None else ""
        ours = partial(inventory.concerned, project=name, services=users, folder=store.path, home=home)
        # A service sees what a template became, which is not a version's value.
        places.update(containers_by_name({*known, *files} - templates, prints, ours, gaps))
    rows = compared(places, dict.fromkeys(mounted, given.env_name) if mounted and inventory.is_reduced(given) else {})
    differing = [row for row in rows if row["state"] != "same"]
    give_diff(rows if shows_all else differing, places, gaps, is_json)
    say_how_many_differ(len(differing), len(rows), gaps)
    return FAILED if gaps else REFUSED if differing else CLEAN


def to_compare(env: Mapping[str, Secret], schema: Schema, files: Set[str]) -> dict[str, Secret]:
    """Return what of *env* has a counterpart among *files*, or should have: secrets, and what is composed of them."""
    secret = {key for key, spec in schema.keys.items() if spec.is_sensitive}
    made = {key: value for key, value in composed_of(env, schema).items() if key in files}
    return {key: value for key, value in env.items() if key in files or key in secret} | made


def say_how_many_differ(differing: int, compared: int, gaps: Sequence[str]) -> None:
    """Say what was not looked at, and how many of the keys that were *compared* differ."""
    words = f"no key differs ({compared} compared)"
    if differing:
        words = f"{differing} of {output.many(compared, 'key')} {'differs' if differing == 1 else 'differ'}"
    for gap in gaps:
        output.say(f"not looked at: {gap}")
    output.say(f"{words} in what could be looked at" if gaps else words)


def _comparable(newest: Mapping[str, SwarmSecret], prints: Fingerprints, here: Set[str]) -> dict[str, str]:
    """Return the fingerprints of the *newest* versions that *prints* can be compared with, by key; warn of others."""
    own = {key: item.fingerprint for key, item in newest.items() if item.salt == prints.mark}
    # Made under the key when its fingerprints were slow, and not of the value here, or it would be taken over.
    older = {
        key: item.fingerprint
        for key, item in newest.items()
        if key not in own and key in here and prints.is_own(item.salt)
    }
    salted = [key for key in newest if key not in own and key not in older]
    if salted:
        output.warn(
            f"made with a different key or salt: {output.listed(sorted(salted))}",
            "give the salt with --salt or SHIM_SALT",
        )
    return {**own, **older}


def composed_of(env: Mapping[str, Secret], schema: Schema) -> dict[str, Secret]:
    """Return what the parts in *env* make of the keys that it does not have itself."""
    parts = {key: clean(value.reveal()) for key, value in env.items()}
    made = {key: composed_value(spec, parts.get) for key, spec in schema.keys.items() if key not in env}
    return {key: Secret(value) for key, value in made.items() if value is not None}


def containers_by_name(
    known: set[str],
    prints: Fingerprints,
    concerned: Callable[[list[RunningContainer]], list[RunningContainer]],
    gaps: list[str],
) -> dict[str, dict[str, str]]:
    """Return the fingerprints that each running container which is *concerned* has, several at a time.

    What could not be asked is added to *gaps*.
    """
    try:
        engine = connection.connect(os.environ)
        containers = concerned(engine.running_containers())
    except Ended as ended:
        if not any(ended.message in gap for gap in gaps):
            gaps.append(f"{model.ENGINE_LEFT_OUT}{ended.message}")
        return {}
    gaps += [f"{model.ENGINE_LEFT_OUT}{found.name} is paused" for found in containers if found.is_paused]
    containers = [found for found in containers if not found.is_paused]
    answers = asking.ask_all(engine, containers, prints.question, gaps)
    found = {}
    for container, answer in zip(containers, answers, strict=True):
        if answer is None:
            output.say(f"{container.name} holds no shim that could be asked")
        else:
            found[container.name] = {key: its for key, its in answer.running.items() if key in known}
    return found


def whole_places(places: dict[str, dict[str, str]]) -> set[str]:
    """Return the places that should have every key: the files and the Swarm, where they have any."""
    containers = list(places)[list(places).index(SWARM) + 1 :] if SWARM in places else list(places)[2:]
    return {place for place, found in places.items() if found and place not in containers}


def compared(places: dict[str, dict[str, str]], needless: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one line per key: its fingerprint in each place, and whether they are the same.

    A place that holds no key at all lacks none; nor does a container, which has what its service mounts, nor one that
    is *needless* for the key: services have it from elsewhere.
    """
    rows = []
    whole = whole_places(places)
    for key in sorted({key for found in places.values() for key in found}):
        prints = {place: found[key] for place, found in places.items() if key in found}
        if len(set(prints.values())) > 1:
            state = "different"
        else:
            state = "same" if whole <= {*prints, needless.get(key)} else "only in " + ", ".join(prints)
        rows.append({"key": key, "state": state, "fingerprints": prints})
    return rows


def give_diff(rows: list[dict[str, Any]], places: dict[str, dict[str, str]], gaps: list[str], is_json: bool) -> None:
    """Print the comparison: a row per key and place that has it, and per place that lacks it."""
    if is_json:
        output.give_json({"places": list(places), "keys": rows, "not_looked_at": gaps})
        return
    table = []
    whole = whole_places(places)
    for row in rows:
        is_partial = row["state"].startswith("only in ")
        for place in places:
            its = row["fingerprints"].get(place)
            if its is not None:
                table.append([row["key"], place, its, "only here" if is_partial else row["state"]])
            elif is_partial and place in whole:
                table.append([row["key"], place, "-", "missing"])
    if table:
        output.give_table(["KEY", "PLACE", "FINGERPRINT", "STATE"], table)
