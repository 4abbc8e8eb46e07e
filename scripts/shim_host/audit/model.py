"""The words of an audit: what was seen (`Facts`), and what is said about it (`Audit`). No value is in either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from shim_host.fingerprints import WITHOUT_KEY, Fingerprints

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)

# Where a value can be in plain text; each is the end of a finding's id, `secret-in-environment`.
ENVIRONMENT, ARGUMENTS, LABEL, HEALTH_CHECK = "environment", "arguments", "label", "health-check"
BUILD, CONFIG, LOGGING, VOLUME = "build", "config", "logging", "volume"
ENV_FILE = "env-file"
IMAGE_ENVIRONMENT, IMAGE_HISTORY = "image-environment", "image-history"
PLACES = {
    ENVIRONMENT: "the variable",
    ARGUMENTS: "the command line's",
    LABEL: "the label",
    HEALTH_CHECK: "the health check's",
    BUILD: "the build argument",
    LOGGING: "the log option",
    IMAGE_ENVIRONMENT: "the variable",
    IMAGE_HISTORY: "the history's",
    CONFIG: "the config",
    VOLUME: "an option of the volume",
    ENV_FILE: "the secret",
}

# What a cell of the matrix can say, the most urgent first.
PLAIN, UNGRANTED, STALE, OLD, MOUNTED, GRANTED = "plain", "ungranted", "stale", "old", "mounted", "granted"

ELSEWHERE = "containers of the "  # a gap that only other machines can close
# Gaps that were asked for.
ENGINE_NOT_WANTED = "the engine: it was not asked"
NOT_ASKED = "the fingerprints in containers: they were not asked"  # one of the gaps


class Trace(NamedTuple):
    """A place where a value is in plain text, or seems to."""

    where: str  # ENVIRONMENT, ARGUMENTS, ...
    name: str  # of the variable, the option or the label
    key: str  # whose value it is; empty when nothing says
    reason: str  # how it was recognised
    is_certain: bool  # it was compared with the value itself
    place: str = ""  # file:line, where it is written down


class AuditedMount(NamedTuple):
    """A secret as a service gets it."""

    secret_id: str  # in the Swarm; empty for a file
    target: str  # the file's name below /run/secrets
    file: str = ""  # the file's path; empty in the Swarm
    mode: int | None = None  # None: the file's own
    key: str = ""  # of a file; in the Swarm the version says it
    name: str = ""  # what says the key, where that is not the file's name
    is_external: bool = False  # by the Compose file: only a Swarm has it
    is_copied: bool = False  # into the container's own file system, as Compose does it with a variable's value


@dataclass(frozen=True)
class AuditedService:
    """Who gets secrets: a service of the Swarm or of Compose, or a container that belongs to neither."""

    name: str
    kind: str  # "swarm", "compose" or "container"
    own_name: str = ""  # without its stack, as the schema's @services has it
    stack: str = ""  # of the Swarm; Compose's project
    image: str = ""
    user: str = ""  # empty: root
    mounts: tuple[AuditedMount, ...] = ()
    traces: tuple[Trace, ...] = ()
    reach: tuple[str, ...] = ()  # why it could read every secret of its machine
    is_read_only: bool = False  # its file system
    place: str = ""  # the file that defines it, with the line
    folder: str = ""  # where its containers were started from, by Compose


@dataclass(frozen=True)
class Container:
    """A running container that has secrets; `fingerprints` is None where no shim could be asked."""

    name: str
    service: str
    fingerprints: Mapping[str, str] | None
    salt_mark: str = ""  # tells which key or salt they were made with
    project: str = ""  # of Compose
    compose_files: tuple[str, ...] = ()
    kind: str = "container"  # as of the service: a task and a Compose service may share a name
    seen: frozenset[str] = frozenset()  # keys of which the shim has seen what the service was started with
    folder: str = ""  # where Compose started it from
    started: datetime | None = None
    watches: bool = False  # its shim restarts the service, or tells it, when a file changes
    env_files: tuple[str, ...] = ()  # that Compose was given, other than the .env beside


class Image(NamedTuple):
    """An image that a service or a container uses, with what its history and configuration show."""

    name: str
    traces: tuple[Trace, ...]


class Version(NamedTuple):
    """One secret of the Swarm; `key` is empty when neither its label nor its name contains."""

    id: str
    name: str
    key: str
    version: int
    created: datetime | None
    fingerprint: str
    salt_mark: str
    stack: str
    is_ours: bool
    is_template: bool = False  # what a service sees is what came of it


class File(NamedTuple):
    """One file of ./secrets."""

    key: str
    name: str
    path: str
    mode: int
    owner: str
    group: str
    changed: datetime
    fingerprint: str


class KeyFile(NamedTuple):
    """The key of the fingerprints, where others may know it."""

    path: str
    message: str
    command: str


class Key(NamedTuple):
    """What the schema says about a key that is secret."""

    key: str
    services: tuple[str, ...]  # empty: all
    rotate_days: float | None
    is_made: bool  # composed of other keys, or with a default: nothing need be mounted
    line: int = 0


@dataclass(frozen=True)
class Seen:
    """What one engine said; nothing where none was asked, or none answered."""

    place: str = ""
    prints: Fingerprints = WITHOUT_KEY
    versions: tuple[Version, ...] = ()
    services: tuple[AuditedService, ...] = ()
    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    configs: tuple[Trace, ...] = ()
    managers: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that was seen."""

    now: datetime
    schema: str = ""  # its path; empty without one
    stack: str = ""  # the only one that is looked at; empty for all
    project: str = ""  # the Compose project's name; empty without one
    host: str = ""  # the machine that this ran on
    engine: str = ""  # where it is; empty where none was asked
    folder: str = ""  # that of the project
    keys: tuple[Key, ...] = ()
    public_keys: frozenset[str] = frozenset()  # those that the schema calls no secret
    versions: tuple[Version, ...] = ()
    files: tuple[File, ...] = ()
    weak_keys: tuple[str, ...] = ()  # whose value is short, a single word, or the name of a user or a database
    files_salt_mark: str = ""
    open_key_file: KeyFile | None = None
    services: tuple[AuditedService, ...] = ()
    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    configs: tuple[Trace, ...] = ()  # values in configs that no service mounts
    engine_users: tuple[str, ...] = ()  # who may use the engine's socket
    engine_group: str = ""
    managers: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()  # what could not be looked at


class Finding(NamedTuple):
    """One thing that is to be fixed, or to be known."""

    id: str
    level: str
    message: str
    hint: str
    key: str = ""
    service: str = ""
    place: str = ""  # file, or file:line
    command: str = ""  # what fixes it, where one command does


class Reader(NamedTuple):
    """Somebody who could read a secret, and how."""

    name: str
    how: str


@dataclass
class Row:
    """One secret: a key, or a secret of the Swarm that belongs to none."""

    title: str
    key: str
    stack: str = ""
    spec: Key | None = None
    versions: list[Version] = field(default_factory=list)  # the newest first
    file: File | None = None
    cells: dict[str, tuple[str, ...]] = field(default_factory=dict)  # service: what is so of it there
    readers: list[Reader] = field(default_factory=list)
    age_days: float | None = None
    rotate_in_days: float | None = None

    @property
    def newest(self) -> Version | None:
        """Return the newest version."""
        return self.versions[0] if self.versions else None


@dataclass
class Audit:
    """What is said about the facts."""

    facts: Facts
    rows: list[Row]
    findings: list[Finding]  # the most urgent first
    readers_of_all: list[Reader]

    def count(self, level: str) -> int:
        """Return how many findings there are of *level*."""
        return sum(finding.level == level for finding in self.findings)
