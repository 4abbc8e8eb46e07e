"""Secrets that others made, taken over: read back, created again with our labels, and the services moved to them.

By hand, by Ansible (`_v1`, `_v2` …), by Portainer, by a stack's `file:`. What they made stays until nothing needs it.
"""

import secrets as randomness
from collections.abc import Collection, Sequence
from typing import NamedTuple

from shim.secret import Secret
from shim_host import names, output
from shim_host.errors import Refused
from shim_host.rotate import history, swarm_plan
from shim_host.rotate import swarm_begin as begin
from shim_host.rotate.swarm import MOVED
from shim_host.rotate.swarm_plan import SYNC, Change, Move, RotationPlan
from shim_host.rotate.sync import SyncWork
from shim_host.shell import quoted
from shim_host.swarm import labels, model, stacks, versions, versions_file
from shim_host.swarm.model import SwarmSecret
from shim_host.swarm.versions import CREATED, Step, Wanted


class Taken(NamedTuple):
    """One secret of somebody else, and the version that takes its place."""

    theirs: SwarmSecret
    key: str
    name: str
    number: int


class AdoptWork(SyncWork):
    """Takes over what somebody else made."""

    def adopt(self, wanted: Collection[str], image: str, force: bool, dry_run: bool) -> int:
        """Take over the secrets that are *wanted* by name, or all that services of the stack mount.

        Returns the exit code.
        """
        self._refuse_busy()
        taken = self._taken(self._groups(wanted))
        for one in taken:
            output.say(f"{one.theirs.name}: becomes {one.name}, of {one.key}")
        if not taken:
            self._say_nothing()
        if dry_run or not taken:
            self.give(self._moved(taken), "planned" if dry_run else "nothing to do")
            return 0
        self.engine.refuse_open()
        self._keep_key()
        values = self.engine.read([one.theirs for one in taken], image, lambda: None)
        taken = [self._as_it_is(one, values[one.theirs.name], image) for one in taken]
        self._make(taken, values)
        plan = self._moved(taken)
        self._announce(plan, (), force)
        run = begin.begin(self.engine, plan, self.services, self.settings)
        run.forward(lambda: self._settle_versions({}))
        self.give(run.plan, MOVED, run)
        self._say_what_is_left(taken)
        return int(not run.is_whole)

    def _say_nothing(self) -> None:
        mounted = {mount.secret_id for service in self.services for mount in service.mounts}
        own = {mount.secret_id for service in self.services if service.stack == self.stack for mount in service.mounts}
        others = [secret for secret in self.secrets if not secret.key and secret.id in mounted]
        by_hand = sorted(secret.name for secret in others if not secret.stack and secret.id in own)
        elsewhere = sorted({secret.stack for secret in others} - {self.stack})
        if self.stack and by_hand:
            output.say(
                f"services of {self.stack} mount {output.listed(by_hand)}, of no stack: name what is to belong to it"
            )
            output.say(f"hint: manage-secrets adopt {' '.join(map(quoted, by_hand))}{stacks.option(self.stack)}")
            return
        output.say("there is nothing to take over: every secret that a service mounts here is ours")
        if elsewhere:
            of = ", ".join(map(stacks.described, elsewhere))
            output.say(f"hint: of {of} there is: manage-secrets adopt{stacks.option(elsewhere[0])}")

    def _groups(self, wanted: Collection[str]) -> list[list[SwarmSecret]]:
        """Return the secrets that are taken over, those of one key together, the oldest first.

        Raises:
            Refused: one is not there, is ours, or is filled in by a template, so that nobody can read it back.
        """
        foreign = [secret for secret in self.secrets if not secret.key]
        if missing := sorted(set(wanted) - {secret.name for secret in foreign}):
            ours = {secret.name for secret in self.secrets if secret.key}
            hint = "it is already managed by this tool" if missing[0] in ours else "docker secret ls lists them"
            raise Refused(f"there is no secret of another tool called {output.listed(missing)}", hint)
        named = [secret for secret in foreign if secret.name in wanted]
        for secret in named:
            if secret.stack not in ("", self.stack):
                hint = f"manage-secrets adopt {quoted(secret.name)}{stacks.option(secret.stack)}"
                raise Refused(f"{secret.name} belongs to the stack {secret.stack}", hint)
        mounted = {mount.secret_id for service in self.services for mount in service.mounts}
        self._find_copies(foreign)
        groups: dict[str, list[SwarmSecret]] = {}
        of_stacks = {secret.stack for secret in named} or {self.stack}
        for secret in foreign:
            if secret.stack in of_stacks:
                groups.setdefault(self._base(secret), []).append(secret)
        chosen = []
        for _, group in sorted(groups.items()):
            group.sort(key=lambda secret: (self._number(secret), secret.created))
            if any(secret.name in wanted for secret in group) if wanted else any(s.id in mounted for s in group):
                # What else is older and unused is nobody's any more.
                its = [secret for secret in group if secret.id in mounted or secret.name in wanted]
                newest = group[-1]
                if newest not in its:
                    adopt = f"manage-secrets adopt {quoted(newest.name)}{stacks.option(self.stack)} takes it over"
                    output.warn(f"{newest.name} is newer than what services mount, and stays as it is", adopt)
                chosen.append(its)
        if templates := [secret.name for group in chosen for secret in group if secret.template]:
            hint = "leave it as it is and name the others, or create its key again with create-swarm"
            raise Refused(f"a template fills in {output.listed(templates)}, which cannot be read back", hint)
        return chosen

    def _find_copies(self, foreign: Sequence[SwarmSecret]) -> None:
        """Find what `name: db_password_${VERSION}` made: services mount it as the file of a key that is known.

        Where two such are mounted, they may be two values that are meant to differ, and each keeps its own name.
        """
        known = [*self._known(), *model.newest(self.secrets, self.stack), *self.files.by_key()]
        files = {*map(names.file_name, known)}
        by_id = {secret.id: secret for secret in foreign if names.key_of(secret.base, known) not in known}
        found: dict[str, set[str]] = {}
        for service in self.services:
            for mount in service.mounts:
                secret = by_id.get(mount.secret_id)
                if secret is None or mount.target not in files:
                    continue
                if names.is_copy(secret.base, mount.target, service.stack or self.stack):
                    found.setdefault(mount.target, set()).add(secret.id)
        self._copies = {at: target for target, ids in found.items() if len(ids) == 1 for at in ids}

    def _base(self, secret: SwarmSecret) -> str:
        """Return the name of the file that the secret is a version of; `_vN` is one where the schema has the key."""
        if secret.version:
            return secret.base
        base, number = names.split_version(secret.base)
        stem, _, digits = secret.base.rpartition("_v")
        if not number and stem and digits.isdecimal() and names.key_of(stem, self._known()) in self._known():
            return stem
        return self._copies.get(secret.id, base)

    def _number(self, secret: SwarmSecret) -> int:
        digits = secret.base.rpartition("_v")[2] if self._base(secret) != secret.base else ""
        return secret.version or names.split_version(secret.base)[1] or (int(digits) if digits.isdecimal() else 0)

    def _known(self) -> list[str]:
        return list(self.schema.keys) if self.schema is not None else []

    def _taken(self, groups: Sequence[Sequence[SwarmSecret]]) -> list[Taken]:
        found = []
        there = {secret.name.casefold() for secret in self.secrets}
        for group in groups:
            file = self._base(group[0])
            key = names.key_of(file, self._known())
            if not key:
                hint = "create its key with create-swarm, and move the services to that"
                raise Refused(f"the name {group[0].name} cannot become a key", hint)
            base = names.swarm_base(names.file_names([*self._known(), key])[key], self.stack)
            versions_of_key = swarm_plan.of_key(self.secrets, key, self.stack)
            number = max(history.last_number(versions_of_key), self._last_number(key))
            for secret in group:
                number = max(number + 1, self._number(secret))
                while names.versioned(base, number).casefold() in there:
                    number += 1
                found.append(Taken(secret, key, names.versioned(base, number), number))
        return found

    def _as_it_is(self, one: Taken, value: Secret, image: str) -> Taken:
        """Return *one* with the version that has its value to the byte already, such as one of a killed run."""
        versions_of_key = swarm_plan.of_key(self.secrets, one.key, self.stack)
        same = [
            secret for secret in versions_of_key if not secret.template and self.files.is_same(one.key, value, secret)
        ]
        read = self.engine.read(same, image, lambda: None) if same else {}
        for secret in same:
            if read[secret.name] == value:
                output.say(f"{one.theirs.name}: its value is in {secret.name} already")
                if secret != (newest := versions_of_key[0]):
                    sync = f"manage-secrets sync {quoted(one.key)}{stacks.option(self.stack)}"
                    output.say(f"{newest.name} is newer: afterwards {sync} moves the services to it")
                return one._replace(name=secret.name, number=secret.version)
        return one

    def _make(self, taken: Sequence[Taken], values: dict[str, Secret]) -> None:
        there = {secret.name for secret in self.secrets}
        steps = [
            Step(Wanted(one.key, "", values[one.theirs.name]), one.name, one.number, CREATED)
            for one in taken
            if one.name not in there
        ]
        with output.progress("creating", len(steps)) as advance:
            _, trouble = versions.apply(
                self.engine, steps, self.stack, self.settings.prints, self.settings.by, lambda: advance()
            )
        if trouble is not None:
            raise type(trouble)(trouble.message, *trouble.hints, "no service has moved; run it again")
        self.secrets = self.engine.secrets()
        labels.note_numbers(self.engine)

    def _moved(self, taken: Sequence[Taken]) -> RotationPlan:
        ids = {secret.name: secret.id for secret in self.secrets}
        by_id = {one.theirs.id: one for one in taken}
        changes = [Change(o.key, o.name, o.number, (o.theirs.id,), ids.get(o.name, "")) for o in taken]
        moves = {}
        for service in self._movable():
            its = [
                Move(mount.target, mount.secret_id, mount.name, ids.get(one.name, ""), one.name)
                for mount in service.mounts
                if (one := by_id.get(mount.secret_id)) is not None
            ]
            if its:
                moves[service.id] = tuple(its)
        running = {service.id: service.running for service in self.services if service.id in moves}
        return RotationPlan(randomness.token_hex(8), self.stack, tuple(changes), moves, SYNC, running)

    def _say_what_is_left(self, taken: Sequence[Taken]) -> None:
        named = self.engine.patiently(self.engine.named_ids)
        left = [one.theirs.name for one in taken if one.theirs.id not in named]
        kept = [one.theirs.name for one in taken if one.theirs.id in named]
        if left:
            output.say(f"nothing needs these any more: docker secret rm {' '.join(left)}")
        if kept:
            output.say(
                f"a service's previous specification names {output.listed(kept)}: remove them after its next update"
            )
        newest = {one.key: one for one in taken}
        for one in newest.values():
            base, variable = names.split_version(one.name)[0], versions_file.variable(one.key)
            output.say(f"in a stack file: external: true, name: {base}.v${{{variable}:-{one.number}}}")
