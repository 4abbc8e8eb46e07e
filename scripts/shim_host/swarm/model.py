"""What is in a Swarm, as everything else here sees it: versions of secrets, and the services that mount them.

A Swarm secret can be neither changed nor read back, so a key lives as versions, `db_password.v3`, and all that must be
known about a version is in its labels. A secret without them belongs to someone else, whatever its name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

LABEL = "docker-secrets-shim."
NAMESPACE = "com.docker.stack.namespace"
# Of Ansible's docker_secret with rolling_versions, whose names end in _v1, _v2 …
ANSIBLE_VERSION = "ansible_version"
KEY, VERSION, CREATED, BY, FINGERPRINT, SALT, STACK, HISTORY, RUN = (
    LABEL + name for name in ("key", "version", "created", "by", "fingerprint", "salt", "stack", "history", "run")
)
# What makes a secret the one that was to be made; `created` and `by` differ between two runs that make the same.
IDENTITY = (KEY, VERSION, STACK, FINGERPRINT, SALT, RUN)
# swarmkit's MaxSecretSize is 500 KiB, and less than that is taken.
MAX_VALUE_BYTES = 511_999
# What was not looked at, as a listing says it: followed by why.
SWARM_LEFT_OUT, ENGINE_LEFT_OUT = "the Swarm: ", "the engine: "
START_FIRST, STOP_FIRST = "start-first", "stop-first"
UNDER_WAY = frozenset(["updating", "rollback_started"])  # states of an update


class SecretMount(NamedTuple):
    """A secret as a service mounts it; `target` is the file's name inside, and no two mounts of a service share it."""

    secret_id: str
    name: str
    target: str


Place = tuple[str, str]  # a target, and the id of the secret that is mounted there


@dataclass(frozen=True)
class RotatedService:
    """What decides whether a service can move, and how."""

    id: str
    name: str
    stack: str = ""
    mounts: tuple[SecretMount, ...] = ()
    previous: tuple[SecretMount, ...] = ()  # of the specification before
    mode: str = "replicated"  # replicated, global, replicated-job, global-job
    replicas: int = 1
    order: str = STOP_FIRST
    has_health_check: bool | None = None  # None: the image is not here to be looked at
    host_ports: tuple[int, ...] = ()
    max_per_node: int = 0
    volumes: tuple[str, ...] = ()  # what it can write to and outlives it
    update_state: str = ""
    goes_first: bool = False  # what it does with the new value is what others wait for
    running: int = 1  # tasks that are up, and have been for longer than the last one before them lasted
    is_finished: bool = False  # it has run to its end, and is not started again
    trouble: str = ""  # what the Swarm says about a task that is not up
    unplaced: str = ""  # why the Swarm finds no node for a task, if it does not
    constraints: tuple[str, ...] = ()  # on the nodes that its tasks may run on
    reserves: tuple[tuple[str, int], ...] = ()  # of which resource how much, for one task
    own_seconds: float = 0  # how long its own settings let an update stall: delay, monitor, health check
    grace_seconds: float = 0  # how long its tasks may take to end once they are told to

    @property
    def is_job(self) -> bool:
        """Return whether it is meant to end."""
        return self.mode.endswith("-job")

    @property
    def is_up(self) -> bool:
        """Return whether anything of it runs that an update could be judged by."""
        return self.running > 0 and not self.is_job


@dataclass(frozen=True)
class SwarmSecret:
    """One version of a key, or a secret that somebody else made (`key` is empty then)."""

    id: str
    name: str
    key: str
    version: int
    created: str
    fingerprint: str
    salt: str
    stack: str
    by: str = ""
    history: str = ""  # what `rotate.history` reads
    run: str = ""  # the rotation that made it
    template: str = ""  # the driver that fills it in when a task starts; the value is not what a service sees then
    base: str = ""  # of a secret that somebody else made: its name without their stack's and their number


@dataclass(frozen=True)
class SwarmService:
    """A service, and what it mounts: the id of each secret with the names of its targets."""

    id: str
    name: str
    stack: str
    mounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ComposeFolder(NamedTuple):
    """A Compose project that has containers here, and where it was started from."""

    name: str
    folder: str
    files: tuple[str, ...]
    env_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningContainer:
    """A container on this node that has secrets mounted."""

    id: str
    name: str
    service: str
    project: str = ""  # of Compose
    service_id: str = ""  # of the Swarm
    files: tuple[str, ...] = ()  # of this machine, or folders, that are mounted below /run/secrets
    is_paused: bool = False  # nothing can be run in it
    folder: str = ""  # where Compose started it from


_NONE = SwarmSecret("", "", "", 0, "", "", "", "")


def newest(secrets: Iterable[SwarmSecret], stack: str = "") -> dict[str, SwarmSecret]:
    """Return the highest version of each key of *stack*."""
    found: dict[str, SwarmSecret] = {}
    for secret in secrets:
        if secret.key and secret.stack == stack and secret.version > found.get(secret.key, _NONE).version:
            found[secret.key] = secret
    return found
