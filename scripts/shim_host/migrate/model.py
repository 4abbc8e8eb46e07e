"""What a migration is, as data: which values become secrets, and what changes in each service."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shim.schema import Schema
from shim.secret import Secret
from shim_host import names
from shim_host.compose.images import ImageConfig
from shim_host.compose.project import Project, Service
from shim_host.env.reduced import statements
from shim_host.errors import Refused

DEFAULT_IMAGE = "docker-secrets-shim"  # what `manage-secrets image` loads
SHIM, IMAGE, READY = "shim", "image", "already"  # who hands a service its secrets: the shim, its image, a shim it has


class Entangled(Exception):
    """A service cannot change without one that must not."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(reason)
        self.service = service
        self.reason = reason


class Rejected(Exception):
    """Compose would not take the project; *reason* is in its words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Wishes:
    """What the person asked for."""

    schema: Schema | None = None
    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()
    secrets_dir: Path = Path("secrets")


class Remark(NamedTuple):
    """What could not be migrated, or will surprise; *service* is empty when it concerns the project.

    *is_exposed* says that a value stays where it can be read: somebody has to do something about it.
    """

    service: str
    key: str
    message: str
    hint: str = ""
    is_exposed: bool = False


@dataclass
class Held:
    """One value that becomes a secret file."""

    name: str
    key: str
    value: Secret
    why: str
    services: list[str] = field(default_factory=list)


class Use(NamedTuple):
    """A secret as one service gets it."""

    key: str
    source: str
    target: str
    needs_pointer: bool  # the shim takes it only from KEY_FILE


@dataclass
class Moved:
    """What changes in one service."""

    service: Service
    image: ImageConfig | None
    how: str = SHIM
    why: str = ""
    uses: list[Use] = field(default_factory=list)
    user: str = ""  # whom the shim becomes
    options: list[str] = field(default_factory=list)  # of the shim
    entrypoint: list[str] | None = None  # the whole new one; None: it stays, or the old text gets a prefix
    command: list[str] | None = None  # the image's, where a new entrypoint would erase it
    healthcheck: list[str] | None = None  # the image's, with the shim in front
    wraps_healthcheck: bool = False  # the Compose file's own gets the shim in front

    @property
    def mounts_shim(self) -> bool:
        """Return whether the shim has to be in the container."""
        return self.how == SHIM or self.wraps_healthcheck or self.healthcheck is not None


@dataclass(frozen=True)
class ShimSource:
    """Where containers have the shim from: a program on this machine, or an image that puts it into a volume."""

    program: str = ""  # as a Compose file writes the path
    image: str = DEFAULT_IMAGE


class NewFile(NamedTuple):
    """One file of the result; the shown texts hold no value."""

    old: Path
    new: Path
    text: str
    old_shown: str
    new_shown: str


class EnvSource(NamedTuple):
    """An env file that gives `${...}` its values: the project's own, or that of an included file."""

    path: Path
    data: bytes
    environ: Mapping[str, str]  # all that counts where this file counts


@dataclass
class MigrationPlan:
    """The whole migration."""

    project: Project
    wishes: Wishes
    sources: list[EnvSource] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # key of the .env -> why it is a secret
    moved: dict[str, Moved] = field(default_factory=dict)
    findings: list[Remark] = field(default_factory=list)
    staying: dict[str, str] = field(default_factory=dict)  # secret keys that `.env` must keep -> why
    unknown: list[str] = field(default_factory=list)  # services of whose image nothing is known
    left: dict[str, str] = field(default_factory=dict)  # services that stay as they are -> why
    composed: dict[str, str] = field(default_factory=dict)  # secrets that hold others -> how they are made of those
    public_keys: set[str] = field(default_factory=set)  # of the .env, where services have secrets of the same name
    env_file_keys: dict[Path, set[str]] = field(default_factory=dict)  # what each `env_file:` sets
    owner: int | None = None  # user id that the secret files get; None: that of whoever runs this
    _file_names: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict, repr=False)

    def env_name(self, key: str) -> str:
        """Return how the project's env file that sets *key* last is called in a message."""
        has = [source for source in self.sources if any(entry.key == key for entry in statements(source.data))]
        found = has or self.sources
        return str(found[-1].path) if found else ".env"

    def place(self, name: str) -> str:
        """Return the path of the secret file *name*, as the Compose file writes it."""
        return compose_path(self.wishes.secrets_dir / name, self.project.folder)

    def hold(self, keys: list[str], service: str, value: str, why: str) -> Held:
        """Return the secret for *value*, named after the first of *keys* that is free, or holds the same value."""
        secret = Secret(value.encode("utf-8", "surrogateescape"))
        # In a fixed order: names of keys that differ by case alone depend on it.
        known = list(dict.fromkeys([*self.reasons, *(held.key for held in self.held.values()), *keys]))
        for key in [*keys, f"{service}_{keys[-1]}".upper().replace("-", "_").replace(".", "_")]:
            keys_known = tuple(dict.fromkeys([*known, key]))
            if keys_known not in self._file_names:
                self._file_names[keys_known] = names.file_names(keys_known)
            name = self._file_names[keys_known][key]
            held = self.held.get(name)
            if held is not None and held.value == secret:
                return held
            definition = self.project.secrets.get(name)
            is_ours = definition is not None and definition.file is not None and self._is_at(definition.file, name)
            if held is None and (definition is None or is_ours):
                self.held[name] = Held(name, key, secret, why)
                return self.held[name]
        raise Refused(
            f"{service}: there is no free name for the secret of {keys[-1]}", "rename what secrets: has under its name"
        )

    def _is_at(self, file: Path, name: str) -> bool:
        return file.absolute() == (self.wishes.secrets_dir / name).absolute()


def compose_path(path: Path, folder: Path) -> str:
    """Return *path* as a Compose file in *folder* writes it: relative, but where the two have nothing in common."""
    path, folder = path.absolute(), folder.absolute()
    if path.parts[:2] != folder.parts[:2]:
        return str(path)
    relative = os.path.relpath(path, folder).replace(os.sep, "/")
    return relative if relative.startswith("../") else f"./{relative}"


def image_of(service: Service, project: Project) -> str:
    """Return the image's name; Compose names one that it builds after project and service."""
    return service.image or f"{project.name}-{service.name}"
