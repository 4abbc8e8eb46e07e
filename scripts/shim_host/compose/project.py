"""What a Compose project says, as data. Nothing is changed here, and no engine is asked."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from shim_host.compose.nodes import Document, child
from shim_host.env import envfile
from shim_host.env.compose_rules import InvalidReference, Malformed, References
from shim_host.errors import Refused, failed_file
from shim_host.inputs import read_bounded

SECRETS_ROOT = "/run/secrets"


class SecretUse(NamedTuple):
    """A secret as a service mounts it; *target* is the file's name below /run/secrets, or an absolute path."""

    source: str
    target: str


class EnvFileUse(NamedTuple):
    """One `env_file:` of a service."""

    path: Path
    is_required: bool
    dialect: str  # "compose", or "raw"


class SecretDefinition(NamedTuple):
    """One entry of the file's own `secrets:`."""

    name: str
    file: Path | None
    external: bool
    environment: str | None


class Variable(NamedTuple):
    """One variable of `environment:` as it is written."""

    key: str
    raw: str | None  # before ${...} is replaced; None for a name without a value
    definition: "Definition"
    holder: MappingNode | SequenceNode  # the collection it is in
    node: Node  # its value in a mapping, the whole element in a sequence


@dataclass(frozen=True, eq=False)
class Definition:
    """A service as one file writes it; `extends` and further files add more of them."""

    document: Document
    node: MappingNode

    def value(self, name: str) -> Node | None:
        """Return the node of the field *name*, merge keys followed."""
        return child(self.node, name)


@dataclass
class Service:
    """One service, everything merged and replaced."""

    name: str
    definitions: list[Definition]  # the weakest first
    image: str = ""
    is_built: bool = False
    user: str = ""
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    environment: dict[str, str | None] = field(default_factory=dict)  # None: a name that nothing gives a value
    variables: dict[str, Variable] = field(default_factory=dict)
    env_files: list[EnvFileUse] = field(default_factory=list)
    secrets: list[SecretUse] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    healthcheck: list[str] = field(default_factory=list)  # its test, "CMD" or "CMD-SHELL" first
    seen: dict[str, str] | None = None  # the variables that the real Compose gives it, where that was asked


@dataclass
class Project:
    """A Compose project."""

    name: str
    folder: Path
    documents: list[Document]  # those named, then those they include, then those their services extend
    environ: Mapping[str, str]  # what `${...}` is looked up in: the shell, then .env, and the project's name
    files: list[Path] = field(default_factory=list)  # those that Compose is given, or takes by itself
    env_files: list[Path] = field(default_factory=list)  # those read for `${...}`
    included_env_files: dict[Path, Mapping[str, str]] = field(default_factory=dict)  # and those of what is included
    services: dict[str, Service] = field(default_factory=dict)
    secrets: dict[str, SecretDefinition] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def interpolated(text: str, lookup: Callable[[str], str | None]) -> str:
    """Return *text* with its `${...}` replaced.

    Raises:
        InvalidReference: Compose would refuse it.
    """
    return References(lookup, {}).expanded(text) if "$" in text else text


def placed(folder: Path, written: str) -> Path:
    """Return where the file of a secret or an `env_file:` is that is *written* so; Compose takes `~/` there."""
    return folder / (os.path.expanduser(written) if written.startswith("~/") else written)


def names_in(text: str) -> set[str]:
    """Return the variables that *text* refers to, nested ones too."""
    names: set[str] = set()

    def look_up(name: str) -> str:
        names.add(name)
        return ""

    try:
        # Asked twice: an operator may use its word where the variable is set, or where it is not.
        interpolated(text, lambda name: look_up(name) + "x")
        interpolated(text, lambda name: look_up(name) or None)
    except InvalidReference:
        return names
    return names


def environment_of(service: Service, project: Project) -> dict[str, str]:
    """Return the variables that Compose gives the container of *service*: its env files, then `environment:`.

    Raises:
        Refused: an env file is missing or has a mistake.
    """
    if service.seen is not None:
        return dict(service.seen)
    values: dict[str, str] = {}
    for use in service.env_files:
        values.update(env_file_values(use, project))
    for key, value in service.environment.items():
        if value is None:
            values.pop(key, None)  # Compose hands the bare name on, and the engine takes that as "unset"
        else:
            values[key] = value
    return values


def all_variables(project: Project) -> Iterator[tuple[str, str]]:
    """Yield every variable with its value: of each service, and of what `${...}` is looked up in; some twice."""
    for environ in (project.environ, *(document.environ or {} for document in project.documents)):
        yield from environ.items()
    for service in project.services.values():
        try:
            yield from environment_of(service, project).items()
        except Refused:  # who reads the service itself says so
            yield from ((key, value) for key, value in service.environment.items() if value is not None)


def env_file_values(use: EnvFileUse, project: Project) -> dict[str, str]:
    """Return what one `env_file:` sets.

    Raises:
        Refused: it is missing although it is required, or has a mistake.
    """
    try:
        data = read_bounded(use.path)
    except FileNotFoundError:
        if use.is_required:
            raise Refused(f"the env_file {use.path} does not exist") from None
        return {}
    except OSError as error:
        raise failed_file("read", str(use.path), error) from None
    try:
        # The project's final values are what references in it see, so it is read like a second project file.
        read = envfile.read(data, project.environ, use.dialect, "project")
    except Malformed as error:
        raise Refused(f"{use.path}:{error.line}: {error.message}", *([error.hint] if error.hint else [])) from None
    return {key: secret.reveal().decode("utf-8") for key, secret in read.values.items()}
