"""Services that run another version, brought to the one they should run: the newest, or one that was named.

A redeployed stack, a rollback by the Swarm, a service that was left: the versions are there, and what moves is a mount,
as in a rotation. Files are the other side: their values into the Swarm, or the Swarm's into them, as asked.
"""

import secrets as randomness
import time
from collections.abc import Iterable, Sequence

from shim.secret import Secret
from shim_host import output
from shim_host.errors import Refused
from shim_host.rotate import preflight, swarm_plan
from shim_host.rotate import swarm_begin as begin
from shim_host.rotate.preflight import Obstacle
from shim_host.rotate.swarm import MOVED, SwarmWork
from shim_host.rotate.swarm_plan import RotationPlan
from shim_host.shell import quoted
from shim_host.swarm import model, stacks, versions_file
from shim_host.swarm.model import UNDER_WAY, SwarmSecret

_POLL_SECONDS = 0.5


class SyncWork(SwarmWork):
    """Moves services to versions that are there."""

    def sync(self, keys: Sequence[str], number: int | None, force: bool, dry_run: bool) -> int:
        """Bring every service to the newest version of *keys* (of all, if none is named), or to version *number*.

        Returns the exit code.
        """
        self._refuse_busy()
        goals = self._goals(keys, number)
        late = self._late(goals, dry_run)
        services = self._movable()
        plan = self._plan(late, services)
        if not late:
            strangers = self._mounting_others(goals)
            for words, hint in preflight.grouped(strangers):
                output.warn(words, hint)
            if not strangers:
                output.say("every service runs the version that it should")
            if not dry_run:
                self._settle_versions(goals)
            self.give(plan, "nothing to do")
            return int(bool(strangers))
        self._refuse_other_marks(list(late), force)
        values = self._of_versions(plan) if self._lives_inside(plan) else {}
        inside = self._inside(plan, values)
        self._announce(plan, inside, force)
        if dry_run:
            self.give(plan, "planned")
            return 0
        self._keep_key()
        run = begin.begin(self.engine, plan, self.services, self.settings, inside)
        run.forward(lambda: self._settle_versions(goals))
        self.give(run.plan, MOVED, run)
        return int(not run.is_whole)

    def _late(self, goals: dict[str, SwarmSecret], dry_run: bool) -> dict[str, SwarmSecret]:
        """Return those of *goals* that services have not got; updates that are under way come to their end first.

        What brings services behind is often a deployment of just now, and the Swarm watches that for some seconds.
        """
        deadline = time.monotonic() + self.settings.timeout_seconds
        is_said = False
        while True:
            services = self._movable()
            plans = {key: self._plan({key: goal}, services) for key, goal in goals.items()}
            moving = {service for plan in plans.values() for service in plan.moves}
            busy = sorted(s.name for s in services if s.id in moving and s.update_state in UNDER_WAY)
            if not busy or dry_run or time.monotonic() > deadline:
                return {key: goals[key] for key, plan in plans.items() if plan.moves}
            if not is_said:
                output.say(f"waiting for the update of {output.listed(busy)} to end")
                is_said = True
            time.sleep(_POLL_SECONDS)  # the engine has no event for the end of an update
            self.services = self.engine.movable()

    def _mounting_others(self, goals: dict[str, SwarmSecret]) -> list[Obstacle]:
        """Return which services of the stack mount keys of others, or what others made: a person's to change."""
        plan = self._plan(goals, self.services)
        own = [service for service in self.services if service.stack == self.stack]
        found: list[Obstacle] = []
        for change in plan.changes:
            if self.stack:
                found += preflight.of_another_stack(change, plan, self.secrets, self.services)
            found += preflight.made_by_others(change, plan, self.secrets, own)
        return found

    def differing(self, keys: Iterable[str]) -> tuple[dict[str, Secret], list[str]]:
        """Return the values of the files of *keys* that the Swarm's newest versions do not have, and which are older.

        A file is older when a version before the newest has its value.
        """
        newest = model.newest(self.secrets, self.stack)
        found: dict[str, Secret] = {}
        older: list[str] = []
        there = self.files.by_key()
        for key in keys:
            if key not in there or key not in newest or self.files.is_same(key, there[key], newest[key]):
                continue
            found[key] = there[key]
            versions = swarm_plan.of_key(self.secrets, key, self.stack)
            older += [key for version in versions[1:2] if self.files.is_same(key, there[key], version)]
        return found, older

    def wanted_by_files(self, keys: Sequence[str]) -> list[SwarmSecret]:
        """Return the newest versions whose values files do not hold: those that are there, or whose keys are named."""
        newest = self._goals(keys, None)
        there = self.files.by_key()
        return [
            version
            for key, version in newest.items()
            if (key in there and not self.files.is_same(key, there[key], version)) or (key in keys and key not in there)
        ]

    def to_files(self, keys: Sequence[str], image: str) -> None:
        """Write the newest values into the files that want them, read by a helper task that runs *image*."""
        wanted = self.wanted_by_files(keys)
        if templates := [version.name for version in wanted if version.template]:
            hint = "get its text from where it was first written; sync --from-files puts a file of it into the Swarm"
            raise Refused(f"a template fills in {output.listed(templates)}, which cannot be read back", hint)
        read = self.engine.read(wanted, image, lambda: None)
        self.files.write({version.key: read[version.name] for version in wanted})

    def _goals(self, keys: Sequence[str], number: int | None) -> dict[str, SwarmSecret]:
        newest = model.newest(self.secrets, self.stack)
        missing = [key for key in keys if key not in newest]
        if missing or not newest:
            stacks.say_others(self.secrets, self.stack)
        if missing:
            hint = stacks.hint(
                self.secrets, missing, self.stack, f"`manage-secrets list{stacks.option(self.stack)}` shows what is"
            )
            raise Refused(f"not in the Swarm: {output.unknown(missing)}", hint)
        if number is None:
            return {key: newest[key] for key in keys or newest}
        goals = {}
        for key in keys:
            found = [s for s in swarm_plan.of_key(self.secrets, key, self.stack) if s.version == number]
            if not found:
                raise Refused(
                    f"{key} has no version {number}",
                    f"manage-secrets history {quoted(key)}{stacks.option(self.stack)} lists those it has",
                )
            goals[key] = found[0]
        return goals

    def _plan(self, goals: dict[str, SwarmSecret], services: Sequence[model.RotatedService]) -> RotationPlan:
        return swarm_plan.plan_to(randomness.token_hex(8), self.stack, goals, self.secrets, services)

    def _lives_inside(self, plan: RotationPlan) -> bool:
        return any(self._spec(change.key).rotate_with is not None for change in plan.changes)

    def _settle_versions(self, goals: dict[str, SwarmSecret]) -> None:
        """Write the versions for `docker stack deploy` where they are kept in a file, or a stack mounts one."""
        ids = {secret.id for secret in stacks.of_stack(self.secrets, self.stack)}
        is_deployed = any(
            service.stack and any(m.secret_id in ids for m in service.mounts) for service in self.services
        )
        path = self.files.versions_path
        if not path.exists() and not is_deployed:
            return
        newest = model.newest(self.secrets, self.stack)
        wanted = {key: secret.version for key, secret in {**newest, **goals}.items()}
        named = versions_file.read(path)
        if any(named.get(versions_file.variable(key), 1) != version for key, version in wanted.items()):
            self.files.write_versions(wanted)
