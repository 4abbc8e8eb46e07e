"""What a rotation writes beside the Swarm: the values in ./secrets, and the versions for `docker stack deploy`.

A new value waits beside the file that is to hold it until every service has it, since the Swarm gives no value back.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from shim.schema import Schema
from shim.secret import Secret
from shim_host import inventory, output
from shim_host.errors import Ended
from shim_host.files import refuse_without_room
from shim_host.fingerprints import Fingerprints
from shim_host.rotate.swarm_plan import RotationPlan
from shim_host.shell import quoted
from shim_host.store import filing
from shim_host.store.vault import Vault
from shim_host.swarm import versions_file
from shim_host.swarm.model import SwarmSecret

# Dot files are secrets to nobody.
_WAITING = ".{}.next"
_ROOM_BYTES = 65_536  # for the versions, and for what a file system needs besides


class Files:
    """The folder of secrets, and the file of versions."""

    def __init__(self, store: Vault, versions_path: Path, schema: Schema | None, prints: Fingerprints) -> None:
        self.store = store
        self.versions_path = versions_path
        self.schema = schema
        self.prints = prints
        self._names: dict[tuple[Path, str], str] = {}  # of files, by folder and key

    def by_key(self) -> dict[str, Secret]:
        """Return the present values that ./secrets has."""
        found = inventory.files_by_key(self.store, [*(self.schema.keys if self.schema else ())])
        return {key: entry.value for key, entry in found.items()}

    def is_same(self, key: str, value: Secret, version: SwarmSecret) -> bool:
        """Return whether *version* is known to hold *value*."""
        return self.prints.is_of(key, value, version.salt, version.fingerprint)

    def is_newer(self, key: str, version: SwarmSecret) -> bool:
        """Return whether the file of *key* was written after *version* was made, to the second."""
        try:
            made = datetime.fromisoformat(version.created)
            changed = (self.store.path / self._name(key)).stat().st_mtime
        except (OSError, ValueError):
            return False
        return changed >= made.replace(tzinfo=made.tzinfo or UTC).timestamp()

    def shown(self, key: str) -> str:
        """Return the path of the file of *key* for a message."""
        return self.store.shown(self._name(key))

    def write(self, values: Mapping[str, Secret]) -> None:
        """Write *values*, by key, into their files."""
        with self.store.writing() as writer:
            for key, value in values.items():
                writer.write(self._name(key), value.reveal())

    def keep_apart(self, stack: str, keys: Iterable[str]) -> None:
        """Give *stack* a folder of its own, with the values of *keys* as they are; so far those of this one were its.

        Raises:
            Failed: the file system does not take it.
        """
        there = self.by_key()
        unfinished = f".{stack}.new"
        with self.store.writing() as writer:
            with writer.making(unfinished) as inner:
                for key in keys:
                    if key in there:
                        inner.write(self._name(key), there[key].reveal())
            writer.rename(unfinished, stack)  # whole, or not at all: a folder that is there counts for every key
        own = self.store.path / stack
        output.say(f"{own} has the values of the stack {stack} from now on, apart from those in {self.store.path}")

    def refuse_without_room(self, values: Mapping[str, Secret], *, has_versions: bool) -> None:
        """See that what is to be written at the end can be.

        Raises:
            Failed: a folder cannot be written, or has no room; or the versions file cannot be read.
        """
        sizes = [len(value) for key, value in values.items() if self.store.read(self._name(key)) is not None]
        if sizes:
            self.store.refuse_link()
            self.store.ask_owner()
            refuse_without_room(self.store.path, 2 * sum(sizes))  # waiting, and in its place
        if has_versions:
            versions_file.read(self.versions_path)  # what cannot be read cannot be written again either
            refuse_without_room(self.versions_path.parent, _ROOM_BYTES)

    def stage(self, plan: RotationPlan, values: Mapping[str, Secret]) -> None:
        """Keep the new values beside the files that are to hold them."""
        waiting = {
            name: values[change.key]
            for change in plan.changes
            if self.store.read(name := self._name(change.key)) is not None
        }
        if waiting:
            with self.store.writing() as writer:
                for name, value in waiting.items():
                    writer.write(_WAITING.format(name), value.reveal())

    def staged(self, made: Mapping[str, SwarmSecret]) -> dict[str, Secret]:
        """Return the values that wait, by key, and are those of the versions that were *made*."""
        waiting = {key: self.store.read(_WAITING.format(self._name(key))) for key in made}
        return {
            key: entry.value
            for key, entry in waiting.items()
            if entry is not None and self.is_same(key, entry.value, made[key])
        }

    def unstage(self, keys: Iterable[str]) -> None:
        """Remove what waits for *keys*, also where a run was killed before it had written all of it."""
        waiting = [_WAITING.format(self._name(key)) for key in keys]
        if any((self.store.path / name).exists() for name in waiting) or self.store.has_unfinished():
            with self.store.writing() as writer:
                for name in waiting:
                    writer.remove(name)

    def write_versions(self, versions: Mapping[str, int]) -> None:
        """Write which version of each key is in use; what cannot be written is said, with what writes it."""
        path = self.versions_path
        try:
            versions_file.write(path, versions)
        except Ended as ended:
            lines = "\\n".join(f"{versions_file.variable(key)}={number}" for key, number in versions.items())
            output.warn(f"the services have moved, but {ended.message}", f"printf '{lines}\\n' >>{quoted(str(path))}")
        else:
            output.say(f"wrote {path}")

    def settle(self, made: Mapping[str, SwarmSecret], values: Mapping[str, Secret]) -> None:
        """Make the files that are there hold what the services have now; what cannot be written is said.

        Args:
            made: by key, the version that is in use now.
            values: by key, what it holds where that is known.
        """
        stale = {}
        for key, version in made.items():
            entry = self.store.read(self._name(key))
            known = values.get(key)
            if entry is not None and (
                entry.value.reveal() != known.reveal() if known else not self.is_same(key, entry.value, version)
            ):
                stale[key] = known
        new = {key: value for key, value in stale.items() if value is not None}
        try:
            if new:
                with self.store.writing() as writer:
                    for key, value in new.items():
                        writer.write(self._name(key), value.reveal())
            self.unstage(made)
        except Ended as ended:
            names = [self._name(key) for key in new]
            places = [(self.store.shown(_WAITING.format(name)), self.store.shown(name)) for name in names]
            moves = "; ".join(f"mv {quoted(waiting)} {quoted(place)}" for waiting, place in places)
            output.warn(f"the services have moved, but {ended.message}", moves or "remove what waits there by hand")
        for key in stale.keys() - new.keys():
            shown = self.store.shown(self._name(key))
            output.warn(f"{shown} holds a different value from the Swarm's", "`manage-secrets diff` compares")

    def _name(self, key: str) -> str:
        at = (self.store.path, key)
        if at not in self._names:
            self._names[at] = filing.file_names(self.store, [*(self.schema.keys if self.schema else ()), key])[key]
        return self._names[at]
