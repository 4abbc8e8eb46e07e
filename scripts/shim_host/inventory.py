"""Where every key is stored: schema, `.env`, `./secrets`, the Swarm, the services. Read once, then only looked at."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from shim.schema import Schema
from shim.secret import Secret
from shim_host import names, output
from shim_host.ages import age_days, days_of
from shim_host.env import envfile
from shim_host.env.compose_rules import Malformed
from shim_host.errors import Ended, Refused
from shim_host.inputs import read_bounded
from shim_host.store.vault import Entry, Vault

if TYPE_CHECKING:
    from shim_host.compose.project import Project
    from shim_host.swarm.connection import Swarm
    from shim_host.swarm.model import RunningContainer, SwarmSecret, SwarmService

T = TypeVar("T")


@dataclass
class Inventory:
    """Everything that was found; what could not be asked is None."""

    schema: Schema | None
    env: dict[str, Secret] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)  # by key
    swarm: "dict[str, SwarmSecret] | None" = None  # the newest version, by key
    users: dict[str, set[str]] = field(default_factory=dict)  # services, by key
    mounted: set[str] = field(default_factory=set)  # what services of the Compose project have from files there

    def keys(self) -> list[str]:
        """Return every key: the schema's in its order, then the others."""
        listed = list(self.schema.keys) if self.schema else []
        others = {*self.files, *(self.swarm or ()), *self.mounted} - set(listed)
        if self.schema is None:
            others |= set(self.env)
        return listed + sorted(others)

    def category(self, key: str) -> str:
        """Return what the schema calls *key*."""
        spec = self.schema.keys.get(key) if self.schema else None
        if spec is None:
            return "" if self.schema is None else "not in the schema"
        kind = "secret" if spec.is_sensitive else "setting"
        return f"required {kind}" if spec.is_required else kind

    def rotation_due_days(self, key: str, now: datetime) -> float | None:
        """Return in how many days *key* is to be rotated; negative when it is late, None when nothing says."""
        spec = self.schema.keys.get(key) if self.schema else None
        version = (self.swarm or {}).get(key)
        if spec is None or not spec.rotate or version is None:
            return None
        return days_of(spec.rotate) - age_days(version.created, now)


def known_keys(schema: Schema | None, env_file: Path) -> list[str]:
    """Return the keys that the schema and the `.env` spell; file names are mapped back to them first."""
    return [*(schema.keys if schema else ()), *env_values(env_file, os.environ)]


# What a listing that goes on without a file could not look at.
ENV_LEFT_OUT = "the .env file: it cannot be read"
COMPOSE_LEFT_OUT = "the Compose file: it has mistakes"


class Asked(NamedTuple):
    """Which project a command is about: the files that were named, or else those that Compose takes in this folder."""

    files: tuple[Path, ...] = ()
    env_files: tuple[Path, ...] = ()

    @property
    def env_paths(self) -> list[Path]:
        """Return the env files that count; `.env` where there is none."""
        from shim_host.compose import reading

        return list(self.env_files) or reading.default_env_files(Path(), os.environ) or [Path(".env")]

    @property
    def env_name(self) -> str:
        """Return what the env files are called in a table or a message."""
        return ", ".join(map(str, self.env_paths))


def env_values(
    paths: Path | Sequence[Path], environ: Mapping[str, str], gaps: list[str] | None = None
) -> dict[str, Secret]:
    """Return what the env files *paths* set, the last one counts; nothing where one is not there.

    One that cannot be read is said aloud, added to *gaps*, and left out.
    """
    values: dict[str, Secret] = {}
    for path in [paths] if isinstance(paths, Path) else paths:
        earlier = {key: value.reveal().decode("utf-8", "surrogateescape") for key, value in values.items()}
        try:
            values.update(envfile.read(read_bounded(path), {**earlier, **environ}, use="project").values)
            continue
        except FileNotFoundError:
            continue
        except Malformed as error:
            output.warn(f"{path}:{error.line}: {error.message}; the file is left out", error.hint)
        except OSError as error:
            output.warn(f"cannot read {path}: {error.strerror}; it is left out")
        if gaps is not None:
            gaps.append(ENV_LEFT_OUT)
    return values


def files_by_key(store: Vault, known: Iterable[str]) -> dict[str, Entry]:
    """Return the secret files by their keys.

    Raises:
        Refused: a name belongs to no key, or two names to one.
    """
    entries = store.entries()
    by_key: dict[str, Entry] = {}
    for name, key in names.keys_of(entries, known).items():
        if not key:
            raise Refused(f"{store.shown(name)}: the name cannot become a key", "rename it to letters, digits and _")
        if key in by_key:
            both = f"{store.shown(by_key[key].name)} and {store.shown(name)}"
            raise Refused(f"{both} are the same key, {key}", "remove one of the two")
        by_key[key] = entries[name]
    return by_key


def compose_project(given: Asked, gaps: list[str] | None = None) -> "Project | None":
    """Return the Compose project that *given* names, or that of this folder if it has one.

    One of this folder that has mistakes is said aloud, added to *gaps*, and left out.

    Raises:
        Refused: files were named, and have mistakes.
    """
    from shim_host.compose import reading

    env_files = list(given.env_files) or None
    try:
        if not given.files:
            try:
                reading.default_files(Path(), os.environ)
            except Refused:
                if not _env_names_files(given):
                    return None
        return reading.read_project(list(given.files) or Path(), os.environ, env_files)
    except Ended as ended:
        if given.files:
            raise
        output.warn(f"{ended.message}; the Compose file is left out", *ended.hints[:1])
        if gaps is not None:
            gaps.append(COMPOSE_LEFT_OUT)
        return None


def _env_names_files(given: Asked) -> bool:
    """Return whether the env file says COMPOSE_FILE; one with mistakes is said elsewhere."""
    from shim_host.compose import reading

    try:
        return bool(reading.settings_of(given.env_paths, os.environ).get("COMPOSE_FILE"))
    except Ended:
        return False


class Outside(NamedTuple):
    """A secret file that the Compose project keeps elsewhere than in ./secrets."""

    path: Path
    entry: Entry


def outside_files(project: "Project | None", store: Vault, known: Iterable[str]) -> dict[str, Outside]:
    """Return the secret files of *project* that are not in *store*, by key, without those that cannot be read."""
    found: dict[str, Outside] = {}
    definitions = project.secrets if project is not None else {}
    elsewhere = {name: file for name, item in definitions.items() if (file := item.file) and not _is_in(file, store)}
    for name, key in names.keys_of(elsewhere, known).items():
        path = elsewhere[name]
        with suppress(Ended):
            real = _followed(path)
            entry = Vault(real.parent).read(real.name)
            if key and entry is not None:
                found[key] = Outside(path, entry)
    return found


def env_files_with_secrets(project: "Project | None", schema: Schema | None) -> Iterator[Path]:
    """Yield each `env_file:` of a service that has a secret; one without is a place for settings, as git is."""
    if project is None:
        return
    from shim_host.compose.project import env_file_values
    from shim_host.recognition.sensitive import why_secret

    for use in {use.path: use for service in project.services.values() for use in service.env_files}.values():
        try:
            values = env_file_values(use, project)
        except Ended:  # whoever starts the service hears why
            continue
        if any(value and why_secret(key, value, schema) for key, value in values.items()):
            yield Path(os.path.relpath(use.path))


def is_reduced(given: Asked) -> bool:
    """Return whether `migrate` has taken secrets out of the .env."""
    from shim_host.env import reduced

    return any(reduced.is_reduced(read_bounded(path)) for path in given.env_paths if path.is_file())


def is_like_a_secret(key: str, value: Secret) -> bool:
    """Return whether *key* with *value* is a secret, as far as that shows where no schema tells."""
    from shim_host.recognition.sensitive import why_secret

    return bool(why_secret(key, value.reveal().decode("utf-8", "surrogateescape"), None))


def creation(schema: Schema | None, file: Path, store: Vault) -> str:
    """Return the hint that says how *file* is created, which a service mounts; `set` takes only keys of a schema."""
    hint = "create it: Compose would mount an empty folder in its place"
    if os.path.realpath(file.parent) == os.path.realpath(store.path):
        known = schema.keys if schema is not None else {}
        key = names.keys_of([file.name], known)[file.name]
        if key in known and known[key].generate is not None:
            hint = f"manage-secrets generate {key}"
        elif key in known or (key and not known):
            hint = f"manage-secrets set {key}"
    return hint


def _followed(path: Path) -> Path:
    """Return the file that *path* leads to, where whoever runs this made the link; another's link is not followed."""
    is_own = path.is_symlink() and hasattr(os, "geteuid") and path.lstat().st_uid == os.geteuid()
    return path.resolve() if is_own else path


def _is_in(file: Path, store: Vault) -> bool:
    return os.path.abspath(file.parent) == os.path.abspath(store.path)


def secret_name(project: "Project", source: str, store: Vault) -> str:
    """Return the name that says the key of the secret *source*: its file's in *store*, its own elsewhere."""
    definition = project.secrets.get(source)
    file = definition.file if definition is not None else None
    return file.name if file is not None and _is_in(file, store) else source


def compose_users(project: "Project", known: Iterable[str], store: Vault) -> dict[str, set[str]]:
    """Return the services of a Compose project that get each key, as a secret or in their environment."""
    known = dict.fromkeys(known)

    def file_name(source: str) -> str:
        return secret_name(project, source, store)

    used = {use.source: file_name(use.source) for service in project.services.values() for use in service.secrets}
    key_of = names.keys_of(used.values(), known)
    users: dict[str, set[str]] = {}
    for service in project.services.values():
        keys = service.environment.keys() & known.keys()
        keys |= {key_of[used[use.source]] for use in service.secrets}
        for key in keys:
            users.setdefault(key, set()).add(service.name)
    users.pop("", None)
    return users


def keys_mounted(project: "Project", known: Iterable[str], store: Vault) -> set[str]:
    """Return the keys that services of a Compose project have from files in *store*."""
    used = {use.source for service in project.services.values() for use in service.secrets}
    definitions = [found for source, found in project.secrets.items() if source in used]
    files = [found.file.name for found in definitions if found.file is not None and _is_in(found.file, store)]
    return set(names.keys_of(files, known).values())


def swarm_users(secrets: "Iterable[SwarmSecret]", services: "Iterable[SwarmService]") -> dict[str, set[str]]:
    """Return the services of the Swarm that mount a version of each key."""
    key_of = {secret.id: secret.key for secret in secrets if secret.key}
    users: dict[str, set[str]] = {}
    for service in services:
        for secret_id in service.mounts:
            if secret_id in key_of:
                users.setdefault(key_of[secret_id], set()).add(service.name)
    return users


def services_with(
    services: "Iterable[SwarmService]", secrets: "Iterable[SwarmSecret]", keys: Collection[str], stack: str
) -> set[str]:
    """Return the ids of the services that mount one of *secrets*.

    Those of *stack* count too where they mount what somebody else made as the file of one of *keys*.
    """
    ids = {secret.id for secret in secrets}
    own = {*names.file_names(keys).values()}

    def is_one(service: "SwarmService") -> bool:
        targets = {target for of_secret in service.mounts.values() for target in of_secret}
        return bool(ids & service.mounts.keys()) or (service.stack == stack and bool(own & targets))

    return {service.id for service in services if is_one(service)}


def ask_swarm(question: "Callable[[Swarm], T]", gaps: list[str] | None = None, *, stack: str = "") -> T | None:
    """Return the answer of the engine's Swarm, or None (said aloud) when it cannot be asked.

    An engine that is in no Swarm has nothing to tell, which only who named a *stack* need know. A Swarm that is there
    and could not be asked (locked, without a leader, a worker) is added to *gaps*: not to see it is a different thing
    from seeing nothing in it.
    """
    from shim_host.swarm import connection
    from shim_host.swarm.model import ENGINE_LEFT_OUT, SWARM_LEFT_OUT

    try:
        return question(connection.connect(os.environ))
    except Ended as ended:
        if stack or not isinstance(ended, connection.NoSwarm):
            output.warn(f"{ended.message}; the Swarm is left out", *ended.hints[:1])
        if gaps is not None and not isinstance(ended, connection.NoSwarm):
            where = SWARM_LEFT_OUT if isinstance(ended, connection.Unclear) else ENGINE_LEFT_OUT
            gaps.append(f"{where}{ended.message}")
        return None


def concerned(
    containers: "Iterable[RunningContainer]", project: str, services: Collection[str], folder: Path, home: str = ""
) -> "list[RunningContainer]":
    """Return the containers that have secrets of this project.

    One of another project that has a key of the same name has nothing to do with it; one that mounts a file of *folder*
    has, whoever started it.

    Args:
        containers: all that run.
        project: the Compose project's name.
        services: ids of the Swarm's services that mount a version of the stack.
        folder: ./secrets.
        home: the folder of the Compose project: what was started from another one is of one that is called the same.
    """

    def is_from_here(container: "RunningContainer") -> bool:
        return not (home and container.folder) or os.path.realpath(container.folder) == os.path.realpath(home)

    return [
        container
        for container in containers
        if (project and container.project == project and is_from_here(container))
        or container.service_id in services
        or any(is_within(file, folder) for file in container.files)
    ]


def is_within(file: str, folder: Path) -> bool:
    """Return whether the mounted *file* is *folder*, or something in it."""
    real = os.path.realpath(folder)
    return file == real or os.path.realpath(file).startswith(real + os.sep)


def merge_users(*several: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the union of several maps from key to services."""
    merged: dict[str, set[str]] = {}
    for users in several:
        for key, services in users.items():
            merged.setdefault(key, set()).update(services)
    return merged
