"""A rotation in the Swarm, from what a person asks for to what is told at its end."""

import secrets as randomness
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from shim.secret import Secret
from shim_host import ages, deployment_key, output
from shim_host.errors import Ended, Refused
from shim_host.generate import parents_of
from shim_host.rotate import history, preflight, swarm_plan, swarm_run
from shim_host.rotate import swarm_begin as begin
from shim_host.rotate import values as rotation_values
from shim_host.rotate.inside import InsideChange
from shim_host.rotate.preflight import Obstacle
from shim_host.rotate.swarm_plan import BACK, ROLLBACK, ROTATE, RotationPlan
from shim_host.rotate.swarm_run import Rotation
from shim_host.rotate.swarm_values import SwarmValues
from shim_host.shell import quoted
from shim_host.swarm import labels, model, owner, stacks
from shim_host.swarm.model import RotatedService, SwarmSecret
from shim_host.swarm.mounts import is_behind
from shim_host.swarm.move.arrival import NotMoved
from shim_host.swarm.move.room import Node
from shim_host.swarm.versions import refusal_of_other_marks, refusals

_MANAGERS_SECONDS = 15  # longer than a leader goes on without a majority
ROTATED, MOVED, ROLLED_BACK = "rotated", "moved", history.ROLLED_BACK


class SwarmWork(SwarmValues):
    """What the commands share: the engine as it was found, and where a new value is written besides."""

    def due_keys(self) -> tuple[tuple[str, ...], list[str]]:
        """Return the keys that are older than their `@rotate`: those that can be made, and the others."""
        if self.schema is None:
            raise Refused("there is no schema that limits the age of values", "write @rotate=90d above a key")
        now = swarm_run.today()
        newest = model.newest(self.secrets, self.stack)
        ages_days = {key: ages.age_days(secret.created, now) for key, secret in newest.items()}
        makeable, others = swarm_plan.due(self.schema, ages_days)
        return tuple(makeable), others

    def is_there(self, key: str, value: Secret) -> bool:
        """Return whether the newest version of *key* has *value* already."""
        return self._is_there(key, value, model.newest(self.secrets, self.stack)[key], self.files.by_key())

    def rotate(
        self,
        keys: Sequence[str],
        value_file: str | None,
        generate: bool,
        force: bool,
        dry_run: bool,
        given: Mapping[str, Secret] | None = None,
    ) -> int:
        """Give *keys* new values, and those along that are signed with one or take turns; return the exit code."""
        self._refuse_busy()
        newest = model.newest(self.secrets, self.stack)
        missing = swarm_plan.wrong_keys(keys, self.secrets, self.stack)
        if missing:
            hint = stacks.hint(
                self.secrets, missing, self.stack, f"manage-secrets create-swarm{stacks.option(self.stack)} makes them"
            )
            if unmanaged := swarm_plan.unmanaged(missing, self.secrets, self.stack, self.services):
                words = f"{unmanaged[0]} has no usable labels of this tool"
                hint = f"{words}: manage-secrets adopt {quoted(unmanaged[0])}{stacks.option(self.stack)} takes it over"
            raise Refused(f"not in the Swarm: {output.unknown(missing)}", hint)
        self._refuse_other_marks(keys, force)
        there = self.files.by_key()
        if value_file is None and not generate:
            given = dict(given or {})
            given |= self._edited([key for key in keys if key not in given], there, newest)
        values: dict[str, Secret] = {}
        if dry_run:
            ordered = rotation_values.with_signed(keys, self.schema, newest)
        else:
            values = rotation_values.new_values(
                keys, self.schema, there, value_file, newest, is_made=generate, given=given
            )
            values |= self._companions(values)
            ordered = list(values)
            if wrong := refusals({key: ("", value) for key, value in values.items()}):
                raise Refused.of_all(wrong, "nothing was changed")
        known = [key for key in keys if key in values and not generate]  # what is made up is new
        same = [key for key in known if self._is_there(key, values[key], newest[key], there)]
        code = self._say_same(same)
        ordered = [key for key in ordered if key not in same]
        services = self._movable()
        numbers = {key: self._last_number(key) for key in ordered}
        plan = swarm_plan.plan(randomness.token_hex(8), self.stack, ordered, self.secrets, services, numbers)
        self._refuse_taken(plan)
        inside = self._inside(plan, values, dry_run)
        self._announce(plan, inside, force)
        if dry_run or not ordered:
            self.give(plan, "planned" if dry_run else "nothing to do")
            return code
        self.files.refuse_without_room({key: values[key] for key in ordered}, has_versions=self._has_versions(plan))
        self._keep_key()
        run = begin.begin(self.engine, plan, self.services, self.settings, inside)
        try:
            self._keep_apart(values)
            self.files.stage(plan, values)
            run.make(values, self.secrets)
        except Ended as ended:
            self._give_up(run, ended)
        return self._forward(run, values) or code

    def _edited(
        self, keys: Iterable[str], there: Mapping[str, Secret], newest: Mapping[str, SwarmSecret]
    ) -> dict[str, Secret]:
        """Return the values of files that were written after the newest version was made, and hold something else."""
        found = {}
        for key in keys:
            if key not in there or self.files.is_same(key, there[key], newest[key]):
                continue
            versions = swarm_plan.of_key(self.secrets, key, self.stack)
            is_older = any(self.files.is_same(key, there[key], version) for version in versions)
            if not is_older and self.files.is_newer(key, newest[key]):
                output.say(f"{key}: the new value is what {self.files.shown(key)} holds")
                found[key] = there[key]
        return found

    def _give_up(self, run: Rotation, why: Ended) -> NoReturn:
        """Take back what was made before it ended for *why*, and say so."""
        try:
            run.give_up()
            self.files.unstage(change.key for change in run.plan.changes)
        except Ended:
            raise why.with_hint(f"{swarm_run.resume(self.stack)} takes back what was made") from None
        raise why.with_hint("nothing was changed") from None

    def _is_there(self, key: str, value: Secret, newest: SwarmSecret, there: Mapping[str, Secret]) -> bool:
        """Return whether the Swarm has *value* already, to the byte where ./secrets can tell."""
        known = there.get(key)
        is_same_text = self.files.is_same(key, value, newest)
        return is_same_text and (known is None or not self.files.is_same(key, known, newest) or known == value)

    def _say_same(self, keys: Iterable[str]) -> int:
        """Say which keys have their value already; 1 when services do not run it all the same."""
        code = 0
        for key in keys:
            newest = model.newest(self.secrets, self.stack)[key]
            versions = swarm_plan.of_key(self.secrets, key, self.stack)
            older = sorted(
                service.name
                for service in self.services
                if (mounted := swarm_plan.mounted_versions(service, versions))
                and is_behind(mounted, newest.key, newest.version)
            )
            if older:
                code = 1
                words = f"{key} has this value already, in {newest.name}, which does not run in {output.listed(older)}"
                key_of_stack = f"{quoted(key)}{stacks.option(self.stack)}"
                output.warn(words, f"manage-secrets sync {key_of_stack} moves them to it")
            else:
                output.say(f"{key} has this value already")
        return code

    def _movable(self) -> list[RotatedService]:
        """Return the services that may move: all but those that are to be left."""
        if unknown := sorted(self.leave - {service.name for service in self.services}):
            raise Refused(f"there is no service {', '.join(unknown)} to leave", "docker service ls lists them")
        return [service for service in self.services if service.name not in self.leave]

    def _refuse_taken(self, plan: RotationPlan) -> None:
        if taken := swarm_plan.taken(plan, self.secrets):
            listed, first = ", ".join(taken), f"{quoted(taken[0])}{stacks.option(self.stack)}"
            raise Refused(
                f"the Swarm has secrets of these names that this tool did not create: {listed}; nothing was changed",
                f"take it over with manage-secrets adopt {first}, or remove it",
            )

    def _has_versions(self, plan: RotationPlan) -> bool:
        """Return whether the file of versions is to be written."""
        moved = {service.stack for service in self.services if service.id in plan.moves}
        return self.files.versions_path.exists() or any(moved)

    def _forward(self, run: Rotation, values: Mapping[str, Secret], *, is_told: bool = True) -> int:
        try:
            run.forward(lambda: self._settle(run.plan, values))
        except NotMoved:
            self.files.unstage(change.key for change in run.plan.changes)
            raise
        if is_told:
            self.give(run.plan, ROLLED_BACK if run.plan.kind == ROLLBACK else ROTATED, run)
        return int(not run.is_whole)

    def rollback(self, keys: Sequence[str], force: bool, dry_run: bool, yes: bool) -> int:
        """Take *keys* back to the version before; return the exit code."""
        self._refuse_busy()
        missing = swarm_plan.wrong_keys(keys, self.secrets, self.stack)
        if missing:
            hint = stacks.hint(
                self.secrets, missing, self.stack, f"`manage-secrets list{stacks.option(self.stack)}` shows what is"
            )
            raise Refused(f"not in the Swarm: {output.unknown(missing)}", hint)
        services = self._movable()
        keys = rotation_values.back_with(keys, self.schema, self.stack, self.secrets, services)
        keys = self._with_names_of_roles(keys)
        self._refuse_other_marks(keys, force)
        plan, lacking = swarm_plan.plan_back(randomness.token_hex(8), self.stack, keys, self.secrets, services)
        if lacking:
            raise preflight.nothing_before(lacking, self.secrets, services, self.stack)
        values = {} if dry_run else self._of_versions(plan)
        inside = self._inside(plan, values, dry_run)
        self._announce(plan, inside, force)
        self._warn_of_others(keys)
        if dry_run:
            self.give(plan, "planned")
            return 0
        left = [s.name for s in self.secrets if any(s.id in change.old_ids for change in plan.changes)]
        output.confirm(f"go back, and remove {output.listed(left)}?", yes=yes)
        self.files.refuse_without_room(values, has_versions=self._has_versions(plan))
        self._keep_key()
        self._keep_apart([change.key for change in plan.changes])
        run = begin.begin(self.engine, plan, self.services, self.settings, inside)
        return self._forward(run, values)

    def _warn_of_others(self, back: Sequence[str]) -> None:
        """Say which keys depend on those that go *back*, and do not go along."""
        store, stack = self.files.store.path, stacks.option(self.stack)
        folder = "" if store == Path("secrets") else f" --secrets-dir {quoted(str(store))}"
        depending = rotation_values.with_signed(back, self.schema, model.newest(self.secrets, self.stack))
        parents = {key: parents_of(self._spec(key)) for key in depending}
        for one in preflight.not_going_along(back, parents, folder, stack):
            output.warn(f"{one.service} {one.message}", one.hint)

    def resume(self, force: bool) -> int:
        """Finish what a run that has ended left, or take it back; return the exit code."""
        self._keep_key()
        run = begin.taken_over(self.engine, self.stack, self.settings, force=force)
        if run is None:
            others = sorted(stack for stack in self.engine.locked_stacks() if stack != self.stack)
            output.say("no rotation is unfinished" + (" here" if others else ""))
            for stack in others:
                of_stack = f"in the stack {stack}" if stack else "of keys of no stack"
                output.say(f"one {of_stack} may be: {swarm_run.resume(stack)}")
            self.give(RotationPlan("", self.stack, ()), "nothing to do")
            return 0
        return self._finish(run)

    def finish_dead_run(self) -> None:
        """Finish, or take back, what a run on this machine left that is known to have ended; for cron.

        Raises:
            Refused: a rotation is under way, or may be.
        """
        held = self.engine.held_lock(self.stack)
        if held is None:
            return
        if not owner.has_ended(held.owner):
            raise begin.busy(held)
        self._keep_key()
        run = begin.taken_over(self.engine, self.stack, self.settings, force=False)
        if run is not None:
            output.say(f"a run that was begun at {held.created} has ended in its middle")
            self._finish(run, is_told=False)
        self.secrets = labels.taken_over(self.engine.secrets(), self.settings.prints)
        self.services = self.engine.movable()

    def _finish(self, run: Rotation, *, is_told: bool = True) -> int:
        names_of_keys = output.listed(change.key for change in run.plan.changes)
        values = self._of_versions(run.plan)
        run.inside = self._inside(run.plan, values)
        if swarm_plan.direction(run.plan, run.lock.goes_back) == BACK:
            output.say(f"taking back the rotation of {names_of_keys}")
            run.take_back()
            self.files.unstage(change.key for change in run.plan.changes)
            if is_told:
                self.give(run.plan, "taken back", run)
            return 0
        output.say(f"finishing the rotation of {names_of_keys}")
        return self._forward(run, values, is_told=is_told)

    def _keep_key(self) -> None:
        """Keep the key of the fingerprints, now that something is going to change."""
        self.engine.refuse_open()
        prints = deployment_key.kept_in_swarm(self.settings.prints, self.engine, self.files.by_key())
        self.settings = self.settings._replace(prints=prints)
        self.files.prints = prints
        self.secrets = labels.taken_over(self.engine.secrets(), prints)

    def _refuse_other_marks(self, keys: Sequence[str], force: bool) -> None:
        """Refuse what was labelled with another key or salt: containers would seem to have another value."""
        newest = model.newest(self.secrets, self.stack)
        is_own = self.settings.prints.is_own
        other = [key for key in keys if newest[key].fingerprint and not is_own(newest[key].salt)]
        if not other:
            return
        hint = "--force goes on: the new versions are labelled under the deployment's key"
        refusal = refusal_of_other_marks(other, hint)
        if not force:
            raise refusal
        output.warn(refusal.message)

    def _refuse_busy(self) -> None:
        """Refuse while a rotation is under way; one that ended before it made anything is not a rotation."""
        held = self.engine.held_lock(self.stack)
        if held is None:
            return
        plan = swarm_plan.with_ids(begin.plan_of(held), self.secrets)
        has_made = plan.kind != ROTATE or any(change.new_id for change in plan.changes)
        if has_made or held.goes_back or not owner.has_ended(held.owner):
            raise begin.busy(held)
        self.files.unstage(change.key for change in plan.changes)
        self.engine.unlock(held)

    def _announce(self, plan: RotationPlan, inside: Sequence[InsideChange], force: bool) -> None:
        moving = sorted((one for one in self.services if one.id in plan.moves), key=lambda service: service.name)
        for change in plan.changes:
            output.say(f"{change.key}: to {change.name}")
        output.say(
            f"{output.many(len(moving), 'service')} to move"
            + (f": {output.listed(s.name for s in moving)}" if moving else "")
        )
        found = self._findings(moving) + preflight.left_behind(plan, self.secrets, self.services)
        found += [
            Obstacle(True, "", words, "see @rotate-with in the schema") for one in inside for words in one.check()
        ]
        for words, hint in preflight.grouped(finding for finding in found if not finding.is_hard or force):
            output.warn(words, hint)
        hard = preflight.grouped(finding for finding in found if finding.is_hard)
        if hard and not force:
            hint = "nothing was changed; --force goes on all the same"
            raise Refused.of_all([Refused(*found) for found in hard], hint)

    def _findings(self, moving: Sequence[RotatedService]) -> list[Obstacle]:
        from dataclasses import replace

        nodes, managers = self._nodes()
        unknown = [service for service in moving if service.has_health_check is None]
        images = self.engine.image_health_checks(unknown)
        known = []
        for service in moving:
            if (health := images.get(service.id)) is not None:
                own_seconds = service.own_seconds + health.seconds
                service = replace(service, has_health_check=health.is_there, own_seconds=own_seconds)
            known.append(service)
        self.services = [next((one for one in known if one.id == service.id), service) for service in self.services]
        changed = self.engine.changed_images(moving)
        return [*preflight.preflight(known, nodes, managers), *preflight.of_images(moving, changed)]

    def _nodes(self) -> tuple[list[Node], tuple[int, int]]:
        """Return the nodes, and how many managers there are and can be reached.

        A leader that reaches too few is about to answer no more, or they are just starting: which of the two shows
        within some seconds.
        """
        until = time.monotonic() + _MANAGERS_SECONDS
        is_told = False
        while True:
            nodes, (whole, reachable) = self.engine.nodes()
            if not preflight.lacks_quorum(whole, reachable) or time.monotonic() > until:
                return nodes, (whole, reachable)
            if not is_told:
                output.say(f"{reachable} of {whole} managers can be reached: waiting for more")
            is_told = True
            time.sleep(1)  # the engine has no event for what its leader reaches

    def _settle(self, plan: RotationPlan, values: Mapping[str, Secret]) -> None:
        """Write the values into ./secrets where their keys have files, and the versions for `docker stack deploy`."""
        if self._has_versions(plan):
            newest = {key: secret.version for key, secret in model.newest(self.secrets, self.stack).items()}
            self.files.write_versions({**newest, **{change.key: change.version for change in plan.changes}})
        there = {secret.id: secret for secret in self.engine.patiently(self.engine.secrets)}
        made = {change.key: there[change.new_id] for change in plan.changes if change.new_id in there}
        self.files.settle(made, values)

    def give(self, plan: RotationPlan, state: str, run: Rotation | None = None) -> None:
        """Print what was done."""
        services = sorted(service.name for service in self.services if service.id in plan.moves)
        idle: list[str] = []
        if run and state in (ROTATED, MOVED, ROLLED_BACK):
            idle = [name for name in services if name not in run.arrived | run.gone]
            services = [name for name in services if name in run.arrived]
        verified, elsewhere = (run.verified, run.elsewhere) if run else (0, 0)
        if self.is_json:
            keys = [{"key": c.key, "name": c.name, "version": c.version} for c in plan.changes]
            document = {"keys": keys, "services": services, "not_running": idle, "verified": verified}
            output.give_json({**document, "elsewhere": elsewhere, "state": state})
            return
        if plan.changes:
            output.give_table(["KEY", "NAME", "STATE"], [(c.key, c.name, state) for c in plan.changes])
        if run and state in (ROTATED, MOVED, ROLLED_BACK):
            value = "previous" if state == ROLLED_BACK else "new"
            words = f"{output.many(len(services), 'service')} moved; the {value} value is confirmed"
            words += f" in {output.many(verified, 'container')}"
            output.say(words + (f", {output.many(elsewhere, 'task')} on other nodes not asked" if elsewhere else ""))
            jobs = {service.name for service in self.services if service.is_job}
            if again := [name for name in idle if name in jobs]:
                output.say(f"jobs that got the version, and run again: {output.listed(again)}")
            if down := [name for name in idle if name not in jobs]:
                output.say(f"these got the version, and run no task: {output.listed(down)}")
