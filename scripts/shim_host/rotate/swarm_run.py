"""A rotation, carried out: make new versions, move the services, verify, and go back when anything does not come up.

Everything that a later run needs stands in the Swarm before the first change: the lock with the plan. Each step may be
done twice, so that a run that was killed anywhere is finished, or taken back, by the next.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from threading import Semaphore
from typing import NamedTuple

from shim.secret import Secret, clean
from shim_host import output
from shim_host.errors import Ended, Failed, Refused
from shim_host.fingerprints import WITHOUT_KEY, Fingerprints
from shim_host.rotate import swarm_plan
from shim_host.rotate.inside import InsideChange
from shim_host.rotate.swarm_plan import BACK, FORWARD, Change, Plan
from shim_host.swarm import connection, model, owner, versions
from shim_host.swarm.connection import Unclear
from shim_host.swarm.lock import Lock
from shim_host.swarm.model import Mount, RunningContainer, Service, SwarmSecret
from shim_host.swarm.services import Arrival, NotMoved, ServiceMover

RESUME = "manage-secrets rotate --resume"
_HISTORY_LENGTH = 50
_ENDING_PER_TURN = 5  # one service that moves, and those whose old tasks end meanwhile
# The way back waits at least so long, however soon one gave the new version up: what ends there may take the default
# grace period (10 s) for each of two tasks, and a service that is left half way is worse than one that is waited for.
_BACK_SECONDS = 30


class Settings(NamedTuple):
    """How a rotation is carried out."""

    salt: bytes = b""
    timeout_seconds: float = 300
    parallel: int = 4
    keep: int = 1
    prints: Fingerprints = WITHOUT_KEY  # under the key that the Swarm has, or with the salt


class Rotation:
    """One rotation under way: the lock is held, and `services` are those that the plan moves."""

    def __init__(
        self,
        engine: ServiceMover,
        plan: Plan,
        lock: Lock,
        services: Iterable[Service],
        settings: Settings,
        inside: Sequence[InsideChange] = (),
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.lock = lock
        moving = (service for service in services if service.id in plan.moves)
        self.services = sorted(moving, key=lambda service: service.name)
        self.settings = settings
        self.inside = inside
        self.verified = 0  # containers whose shim has said the new fingerprint
        self.elsewhere = 0  # tasks on other nodes, whose mounted version is all that can be seen

    def make(self, values: Mapping[str, Secret], secrets: Iterable[SwarmSecret]) -> None:
        """Make the new version of each key.

        Raises:
            Failed: the engine does not.
        """
        present = model.newest(secrets, self.plan.stack)
        for change in self.plan.changes:
            kept = labels(change, values[change.key], present[change.key], self.plan.stack, self.settings.prints)
            value = values[change.key]
            present_or_empty = value if len(value) else versions.EMPTY_IN_SWARM
            self.engine.patiently(partial(self.engine.create, change.name, present_or_empty, kept))
        self.plan = swarm_plan.with_ids(self.plan, self.engine.patiently(self.engine.secrets))

    def forward(self, settle: Callable[[], None]) -> None:
        """Move every service, verify, and remove what is left over; *settle* writes what lives outside the Swarm.

        Raises:
            NotMoved: something did not come up, and everything is as it was.
            Failed: the engine does not answer; `rotate --resume` goes on.
        """
        hint = "every service is back at the version before, and the new one is removed"
        try:
            for change in self.inside:
                change.begin()
        except Ended as ended:  # the system's own trouble; the Swarm is not concerned
            self.back()
            raise type(ended)(ended.message, *ended.hints, hint) from None
        try:
            with _resumable():
                self._move_all(FORWARD)
                self._look_again()
        except Refused as refused:
            self.back()
            raise NotMoved(refused.message, *refused.hints, hint) from None
        with _resumable():
            for change in self.inside:
                change.finish()
            settle()
            self._remove_left()
            self.engine.unlock(self.lock)

    def back(self) -> None:
        """Take everything back: what was changed inside systems, the services, and the new versions.

        A system that holds one value gets the old one first, since most services still have that; one that holds two
        drops the new one last.

        Raises:
            Failed: the engine does not answer, or a service does not come up with its old version either.
        """
        with _resumable():
            lock = self.engine.change_lock(self.lock, self.lock.owner, goes_back=True)
            if lock is None:
                raise Refused("another run has taken this rotation over", "`manage-secrets history` says who")
            self.lock = lock
            for change in reversed(self.inside):
                if not change.keeps_both:
                    change.undo()
            try:
                self._move_all(BACK)
            except NotMoved as not_moved:
                hint = f"mend the service, then {RESUME}"
                raise Failed(f"going back failed too: {not_moved.message}", hint) from None
            for change in reversed(self.inside):
                if change.keeps_both:
                    change.undo()
            if self.plan.kind == "rotate":
                made = {change.new_id for change in self.plan.changes if change.new_id}
                for service in self.services:
                    self.engine.forget_previous(service.id, made)
                self._remove(secret for secret in self.engine.patiently(self.engine.secrets) if secret.id in made)
            self.engine.unlock(self.lock)

    def _move_all(self, towards: str) -> None:
        """Move the services, so many at a time; after one that does not come up no other is begun.

        While the old tasks of one end, which may take as long as their grace period, the next moves.
        """
        has_failed = False
        turns = Semaphore(self.settings.parallel)
        seconds = self._seconds(towards)

        def one(service: Service) -> None:
            nonlocal has_failed
            try:
                with turns:
                    if has_failed:
                        return
                    self._move(service, towards)
                _, unwanted = swarm_plan.expected(self.plan, service.id, towards)
                self.engine.left(service, unwanted, seconds)
            except BaseException:
                has_failed = True
                raise
            advance()

        jobs: list[Future[None]] = []
        with (
            output.progress("rotating" if towards == FORWARD else "going back", len(self.services)) as advance,
            ThreadPoolExecutor(self.settings.parallel * _ENDING_PER_TURN) as pool,
        ):
            try:
                for is_turn in (True, False):
                    jobs += [pool.submit(one, service) for service in self.services if service.goes_first == is_turn]
                    wait(jobs)
            except BaseException:
                has_failed = True
                self.engine.interrupted.set()
                output.warn("interrupted while services were moving", f"{RESUME} goes on")
                raise
        errors = [error for job in jobs if (error := job.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Ended)):  # a bug first: it hides nothing
            raise error

    def _move(self, service: Service, towards: str) -> None:
        wanted, _ = swarm_plan.expected(self.plan, service.id, towards)
        plan = self.plan
        swaps = swarm_plan.swaps_forward(plan) if towards == FORWARD else swarm_plan.swaps_back(plan, service.id)
        self.engine.swap(service.id, swaps)
        output.detail(f"{service.name}: moving {towards}")
        arrival = self.engine.arrive(service, wanted, self._seconds(towards), may_roll_back=towards == BACK)
        if towards == FORWARD:
            self._verify(service, arrival)
        output.detail(f"{service.name}: every task runs it")

    def _seconds(self, towards: str) -> float:
        least = _BACK_SECONDS if towards == BACK else 0
        return max(self.settings.timeout_seconds, least)

    def _look_again(self) -> None:
        """See that no service has failed since it came up, while the version before can still be gone back to.

        Raises:
            NotMoved: one has.
        """
        wanted = {s.id: swarm_plan.expected(self.plan, s.id, FORWARD)[0] for s in self.services}
        self.engine.patiently(partial(self.engine.stay, self.services, wanted))

    def _verify(self, service: Service, arrival: Arrival) -> None:
        """Ask the shim in each container of this node for the fingerprints that it got.

        Raises:
            NotMoved: one has another value.
        """
        wanted = {
            secret.key: secret.fingerprint
            for secret in self._new_versions()
            if secret.salt == self.settings.prints.mark
            and any(m.secret_id == secret.id for m in self._mounts_now(service))
        }
        for container in arrival.containers:
            running = RunningContainer(container, service.name, service.name)
            said = self.engine.explained(running, self.settings.prints.question)
            found = said.fingerprints if said is not None else {}
            wrong = [key for key, print_ in wanted.items() if key in found and found[key] != print_]
            if wrong:
                raise NotMoved(
                    f"{service.name} runs with another value of {', '.join(wrong)} than the new version has",
                    "does its environment or another file set the key? `shim explain` in the container says",
                )
            self.verified += bool(found.keys() & wanted.keys())
        self.elsewhere += arrival.elsewhere

    def _new_versions(self) -> list[SwarmSecret]:
        if not hasattr(self, "_made"):
            ids = {change.new_id for change in self.plan.changes}
            self._made = [secret for secret in self.engine.patiently(self.engine.secrets) if secret.id in ids]
        return self._made

    def _mounts_now(self, service: Service) -> list[Mount]:
        swaps = swarm_plan.swaps_forward(self.plan)
        moved = []
        for mount in self.plan.moves[service.id]:
            new_id, name = swaps.get(mount.secret_id, (mount.secret_id, mount.name))
            moved.append(Mount(new_id, name, mount.target))
        return moved

    def _remove_left(self) -> None:
        """Remove the versions that nothing needs any more: those before the kept ones, or those rolled back from."""
        if self.plan.kind == "rollback":
            left = {old for change in self.plan.changes for old in change.old_ids}
            for service in self.services:
                self.engine.forget_previous(service.id, left)
            named = self.engine.patiently(self.engine.named_ids)
            there = self.engine.patiently(self.engine.secrets)
            self._remove(secret for secret in there if secret.id in left and secret.id not in named)
            return
        named = self.engine.patiently(self.engine.named_ids)
        there = self.engine.patiently(self.engine.secrets)
        keys = [change.key for change in self.plan.changes]
        self._remove(swarm_plan.superfluous(there, keys, self.plan.stack, named, self.settings.keep))

    def _remove(self, secrets: Iterable[SwarmSecret]) -> None:
        for secret in secrets:
            self.engine.patiently(partial(self.engine.remove, secret))


@contextmanager
def _resumable() -> Iterator[None]:
    """Say what goes on from where an engine that fails left it."""
    try:
        yield
    except Failed as failed:
        if any(RESUME in hint for hint in failed.hints):
            raise
        hints = () if isinstance(failed, Unclear) else failed.hints
        raise Failed(failed.message, *hints, f"once the engine answers again, {RESUME} goes on") from None


def begin(
    engine: ServiceMover,
    plan: Plan,
    services: Iterable[Service],
    settings: Settings,
    inside: Sequence[InsideChange] = (),
) -> Rotation:
    """Take the lock for *plan*.

    Raises:
        Refused: another rotation is under way.
    """
    me = owner.this_run() or connection.made_by()
    lock = engine.lock(plan.stack, plan.to_json(), me)
    if lock is None:
        held = engine.held_lock(plan.stack)
        raise busy(held) if held is not None else Refused("another rotation has just ended", "run it again")
    return Rotation(engine, plan, lock, services, settings, inside)


def busy(lock: Lock) -> Refused:
    """Return the refusal that names the rotation which holds *lock*."""
    keys = ", ".join(change.key for change in plan_of(lock).changes)
    where = lock.owner.partition(" ")[0]
    return Refused(
        f"a rotation of {keys} is under way, begun on {where} at {lock.created}",
        f"wait for it; if that run has ended, finish it or take it back: {RESUME}",
    )


def taken_over(engine: ServiceMover, stack: str, settings: Settings, *, force: bool) -> Rotation | None:
    """Return the rotation of *stack* that a run left unfinished, its lock taken over; None when there is none.

    Raises:
        Refused: that run goes on, or may: it was begun on another machine, and *force* is not given.
    """
    held = engine.held_lock(stack)
    if held is None:
        return None
    plan = swarm_plan.with_ids(plan_of(held), engine.secrets())
    if not owner.has_ended(held.owner) and not force:
        raise Refused(
            busy(held).message,
            "make sure that it has ended there; then --resume --force takes it over",
        )
    me = owner.this_run() or connection.made_by()
    towards = swarm_plan.direction(plan, held.goes_back)
    lock = engine.change_lock(held, me, goes_back=towards == BACK)
    if lock is None:
        raise Refused("another run has just taken this rotation over", "wait for it")
    return Rotation(engine, plan, lock, engine.movable(), settings)


def plan_of(lock: Lock) -> Plan:
    """Return the plan that *lock* keeps.

    Raises:
        Refused: it is not one that this release understands.
    """
    try:
        return swarm_plan.plan_from_json(lock.data)
    except ValueError:
        hint = f"finish it with the release that began it; else remove the config {lock.id}, and check with `list`"
        raise Refused("another release of manage-secrets began a rotation here", hint) from None


def labels(change: Change, value: Secret, before: SwarmSecret, stack: str, prints: Fingerprints) -> dict[str, str]:
    """Return what is kept with a new version: as for a first one, and who made those before."""
    step = versions.Step(versions.Wanted(change.key, "", value), change.name, change.version, versions.CREATED)
    kept = versions.labels(step, prints.of(change.key, value), stack, prints.mark)
    kept[model.HISTORY] = json.dumps([*past(before), [before.version, before.created, before.by]][-_HISTORY_LENGTH:])
    return kept


def past(secret: SwarmSecret) -> list[list[object]]:
    """Return the versions before *secret*, as its labels tell: number, when, by whom."""
    try:
        found = json.loads(secret.history or "[]")
    except ValueError:
        return []
    return [item for item in found if isinstance(item, list) and len(item) == 3] if isinstance(found, list) else []


def today() -> datetime:
    """Return now."""
    return datetime.now(UTC)


def cleaned(value: Secret) -> bytes:
    """Return the bytes of *value* as a service sees them."""
    return clean(value.reveal())
