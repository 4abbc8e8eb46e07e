"""The values of a rotation in a Swarm: where the present one is known from, and what changes along with a new one."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shim.schema import KeySpec, Schema
from shim.secret import Secret
from shim_host import deployment_key, output
from shim_host.errors import Ended, Refused
from shim_host.rotate.files import Files
from shim_host.rotate.inside import NOT_ASKED, InsideChange, Values
from shim_host.rotate.swarm_plan import Change, RotationPlan
from shim_host.rotate.swarm_run import Settings
from shim_host.store.vault import Vault
from shim_host.swarm import connection, labels, model, stacks, versions_file
from shim_host.swarm.model import RotatedService, SwarmSecret
from shim_host.swarm.move.arrival import ServiceMover

ROTATED, MOVED = "rotated", "moved"


class SwarmValues:
    """The engine as it was found, and the values that are known about it."""

    def __init__(
        self,
        stack: str,
        settings: Settings,
        lock_file: Path | None,
        store: Vault,
        schema: Schema | None,
        is_json: bool,
        leave: Iterable[str] = (),
    ) -> None:
        self.stack = stack
        self.schema = schema
        self.is_json = is_json
        self.leave = frozenset(leave)
        self.engine = connection.connect_as(ServiceMover, os.environ)
        self.settings = settings._replace(prints=deployment_key.of_swarm(settings.salt, store, self.engine))
        self.files = Files(store, lock_file or versions_file.default_of(stack), schema, self.settings.prints)
        self.secrets: list[SwarmSecret] = labels.taken_over(self.engine.secrets(), self.settings.prints)
        self._last_numbers = labels.last_numbers(self.engine)
        self.services: list[RotatedService] = self.engine.movable()

    def _spec(self, key: str) -> KeySpec:
        return self.schema.keys.get(key, KeySpec(key)) if self.schema else KeySpec(key)

    def _last_number(self, key: str) -> int:
        """Return the highest number that *key* is known to have had, of versions that are gone, too; 0 for none."""
        last = self._last_numbers.get((self.stack, key))
        return last.number if last is not None else 0

    def _value_of(self, key: str) -> Secret | None:
        """Return the present value of *key*: its file's, or what the Swarm's newest version has."""
        if key in (there := self.files.by_key()):
            return there[key]
        version = model.newest(self.secrets, self.stack).get(key)
        return self._read_back([version]).get(version.name) if version is not None else None

    def _value_before(self, change: Change) -> Secret | None:
        """Return what the services had before *change*, which a file of an interrupted run need not hold any more."""
        old = [secret for secret in self.secrets if secret.id in change.old_ids]
        there = self.files.by_key().get(change.key)
        if there is not None and any(self.files.is_same(change.key, there, secret) for secret in old):
            return there
        mounted = {mount.secret_id for service in self.services for mount in (*service.mounts, *service.previous)}
        newest_first = sorted(old, key=lambda secret: (secret.id not in mounted, -secret.version))
        return self._read_back(newest_first[:1]).get(newest_first[0].name) if newest_first else None

    def _keep_apart(self, keys: Iterable[str]) -> None:
        """See that the new values of *keys* become those of this stack alone where a folder is shared with others."""
        store, there = self.files.store, self.files.by_key()
        if self.stack and store.path.name == self.stack:
            return  # it has a folder of its own
        sharing = []
        for other in sorted({secret.stack for secret in self.secrets if secret.key} - {self.stack}):
            newest = model.newest(self.secrets, other)
            same = [k for k in keys if k in there and k in newest and self.files.is_same(k, there[k], newest[k])]
            if same and Vault.of_stack(store.path, other).path == store.path:
                sharing.append(other)
        for stack in [self.stack] if self.stack and sharing else filter(None, sharing):
            self.files.keep_apart(stack, model.newest(self.secrets, stack))
        if self.stack and sharing:
            self.files.store = Vault(store.path / self.stack)

    def _companions(self, values: Mapping[str, Secret]) -> dict[str, Secret]:
        """Return what changes along with *values*: the name of the role whose turn it is."""
        from shim_host.rotate import decorator

        found: dict[str, Secret] = {}
        for key in values:
            found |= decorator.companions(self._spec(key), self._value_of)
        newest = model.newest(self.secrets, self.stack)
        if missing := [key for key in found if key not in newest]:
            raise Refused(
                f"not in the Swarm: {output.listed(missing)}",
                f"manage-secrets create-swarm{stacks.option(self.stack)} makes them",
            )
        return found

    def _with_names_of_roles(self, keys: Sequence[str]) -> list[str]:
        """Return *keys* and those that hold the name of the role whose turn it is: one is nothing without the other."""
        from shim_host.rotate import decorator

        ways = [decorator.how(self._spec(key)) for key in keys]
        return list(dict.fromkeys([*keys, *(way.options["userKey"] for way in ways if way and way.roles)]))

    def _inside(self, plan: RotationPlan, values: Mapping[str, Secret], dry_run: bool = False) -> list[InsideChange]:
        """Return what changes inside systems, in the order of *plan*.

        With *dry_run* none of them: what is asked there is told a value.
        """
        from shim_host.rotate import decorator

        found = []
        for change in plan.changes:
            spec = self._spec(change.key)
            if spec.rotate_with is not None and dry_run:
                output.say(NOT_ASKED.format(change.key))
            elif spec.rotate_with is not None:
                known = Values(self._value_before(change), values.get(change.key), self._value_of, values.get)
                source, seconds = self.schema.source if self.schema else "", self.settings.timeout_seconds
                found.append(decorator.inside_change(spec, known, os.environ, seconds, source=source))
        return [change for change in found if change is not None]

    def _of_versions(self, plan: RotationPlan) -> dict[str, Secret]:
        """Return the values of versions that are made already, where something needs them: waiting, or read back."""
        versions = {s.id: s for s in self.secrets}
        made = {change.key: versions[change.new_id] for change in plan.changes if change.new_id in versions}
        there = self.files.by_key()
        lives_inside = any(self._spec(change.key).rotate_with is not None for change in plan.changes)
        values = self.files.staged(made)
        needed = [
            version
            for key, version in made.items()
            if key not in values
            and (lives_inside or (key in there and not self.files.is_same(key, there[key], version)))
        ]
        read = self._read_back(needed)
        return values | {version.key: read[version.name] for version in needed if version.name in read}

    def _read_back(self, versions: Sequence[SwarmSecret]) -> dict[str, Secret]:
        """Return the values that only the Swarm still has; none when they cannot be read from here."""
        readable = [version for version in versions if not version.template]  # a task sees what came of a template
        if not readable:
            return {}
        try:
            return self.engine.read(readable, "", lambda: None)
        except Ended as ended:
            output.warn(ended.message, *ended.hints[:1])
            return {}
