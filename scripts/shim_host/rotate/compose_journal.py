"""What a rotation in ./secrets has begun, kept in ./secrets/.rotation until it is done, so that a kill loses nothing.

The values come first and `plan` last: without it nothing has begun. While it is there the rotation is under way, and
`--resume` finds both values, which services were moved, and which way it goes. ./secrets/.previous keeps the value
before the present one, for `rollback`. The shim and every command skip both: their names begin with a dot.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from shim.secret import Secret
from shim_host.errors import Refused
from shim_host.store.vault import Vault, Writer

FOLDER = ".rotation"
PREVIOUS = ".previous"
FORWARD, BACK = "forward", "back"
_PLAN, _NEW, _OLD = "plan", "new.", "old."


@dataclass
class Moving:
    """One service, and how far it is."""

    name: str
    how: str
    count: int  # how many containers it has that run
    before: list[str]  # their ids
    is_started: bool = False
    is_moved: bool = False
    is_back: bool = False
    idle: list[int] = field(default_factory=list)  # the numbers of those that did not run before, and are not started


@dataclass
class Journal:
    """A rotation under way."""

    files: dict[str, str]  # key -> name of its file
    services: list[Moving]
    compose_files: list[str]
    env_files: list[str] = field(default_factory=list)
    project: str = ""  # its name, which a run elsewhere would derive from other things
    direction: str = FORWARD
    why: str = ""  # it goes back
    new: dict[str, Secret] = field(default_factory=dict)  # by key
    old: dict[str, Secret] = field(default_factory=dict)

    def plan(self) -> bytes:
        """Return all of it but the values."""
        document = {
            "files": self.files,
            "services": [asdict(service) for service in self.services],
            "compose_files": self.compose_files,
            "env_files": self.env_files,
            "project": self.project,
            "direction": self.direction,
            "why": self.why,
        }
        return json.dumps(document, indent=1).encode()


class Desk:
    """The folders that belong to rotations of one ./secrets; nobody else rotates there while it is open."""

    def __init__(self, store: Vault, writer: Writer) -> None:
        self._store = store
        self._there = Vault(store.path / FOLDER)
        self._writer = writer

    def read(self) -> Journal | None:
        """Return the rotation that is under way; None when there is none.

        Raises:
            Refused: the plan cannot be understood.
        """
        plan = self._there.read(_PLAN)
        if plan is None:
            return None
        try:
            document = json.loads(plan.value.reveal())
            if any(os.path.basename(name) != name for name in document["files"].values()):
                raise ValueError("a name leads out of the folder")
            journal = Journal(
                files=dict(document["files"]),
                services=[Moving(**service) for service in document["services"]],
                compose_files=list(document["compose_files"]),
                env_files=list(document.get("env_files") or ()),
                project=str(document.get("project") or ""),
                direction=document["direction"],
                why=document["why"],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refused(
                f"{self._there.shown(_PLAN)} was not written by a rotation",
                f"look at {self._there.path}: new.* and old.* hold the values; remove it when everything is in order",
            ) from None
        for key, name in journal.files.items():
            new, old = self._there.read(_NEW + name), self._there.read(_OLD + name)
            if new is None or old is None:
                raise Refused(f"{self._there.path} has no value for {key}", "remove it when everything is in order")
            journal.new[key], journal.old[key] = new.value, old.value
        return journal

    def begin(self, journal: Journal) -> None:
        """Keep the values and then the plan; from now on the rotation is under way."""
        self.clear()
        for key, name in journal.files.items():
            self._writer.write(_NEW + name, journal.new[key].reveal())
            self._writer.write(_OLD + name, journal.old[key].reveal())
        self._writer.settle()
        self.note(journal)

    def note(self, journal: Journal) -> None:
        """Keep how far it is."""
        self._writer.write(_PLAN, journal.plan())
        self._writer.settle()

    def put(self, journal: Journal, values: Mapping[str, Secret]) -> None:
        """Make the secret files hold *values*, each in one step; those that do already stay as they are."""
        owners = {name: self._store.owner(name) for name in journal.files.values()}
        with self._store.writing() as writer:
            for key, name in journal.files.items():
                there = self._store.read(name)
                if there is None or there.value != values[key]:
                    writer.write(name, values[key].reveal())
                    if owners[name] > 0:  # somebody gave the file to the service's user
                        writer.give_to(name, (owners[name], -1))

    def finish(self, journal: Journal) -> None:
        """Keep the old values for `rollback` if the new ones stay, and forget the rotation."""
        if journal.direction == FORWARD:
            with Vault(self._store.path / PREVIOUS).writing() as writer:
                for key, name in journal.files.items():
                    writer.write(name, journal.old[key].reveal())
        self.clear()

    def clear(self) -> None:
        """Forget the plan, then the values."""
        names = self._there.names()
        for name in sorted(names, key=lambda name: name != _PLAN):
            self._writer.remove(name)
            if name == _PLAN:
                self._writer.settle()


@contextmanager
def desk(store: Vault) -> Iterator[Desk]:
    """Open the folder of rotations; whoever is second is refused.

    Raises:
        Refused: another rotation is running. Failed: the file system does not take it.
    """
    with store.writing():
        pass  # it is there, and private
    with Vault(store.path / FOLDER).writing() as writer:
        yield Desk(store, writer)


def is_under_way(store: Vault) -> bool:
    """Return whether a rotation was begun and neither finished nor taken back."""
    return (store.path / FOLDER / _PLAN).exists()


def has_left(store: Vault) -> bool:
    """Return whether a rotation that was killed left anything, if only values that nobody needs any more."""
    return bool(Vault(store.path / FOLDER).names())


def previous(store: Vault, name: str) -> Secret | None:
    """Return the value that the file *name* held before the present one."""
    found = Vault(store.path / PREVIOUS).read(name)
    return found.value if found is not None else None
