"""A rotation, carried out: make new versions, move the services, verify, and go back when anything does not come up.

What a later run needs is in the Swarm before the first change: the lock, and the plan in it. Each step may be
done twice, so that a run that was killed anywhere is finished, or taken back, by the next.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from threading import Semaphore
from typing import NamedTuple

from shim.secret import Secret
from shim_host import output
from shim_host.errors import Ended, Failed, Refused
from shim_host.fingerprints import WITHOUT_KEY, Fingerprints
from shim_host.rotate import history, preflight, swarm_plan
from shim_host.rotate.inside import InsideChange, service_of
from shim_host.rotate.swarm_plan import BACK, FORWARD, ROLLBACK, ROTATE, Change, RotationPlan
from shim_host.swarm import stacks, versions
from shim_host.swarm.connection import NotManager, Unclear
from shim_host.swarm.labels import note_numbers
from shim_host.swarm.lock import Lock
from shim_host.swarm.model import HISTORY, RUN, RotatedService, RunningContainer, SwarmSecret
from shim_host.swarm.move.arrival import Arrival, NotEnded, NotMoved, ServiceMover, Way

RESUME = "manage-secrets rotate --resume"
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
    by: str = ""  # who does it, as `history` tells
    prints: Fingerprints = WITHOUT_KEY  # under the key that the Swarm has, or with the salt


class Rotation:
    """One rotation under way: the lock is held, and `services` are those that the plan moves."""

    def __init__(
        self,
        engine: ServiceMover,
        plan: RotationPlan,
        lock: Lock,
        services: Iterable[RotatedService],
        settings: Settings,
        inside: Sequence[InsideChange] = (),
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.lock = lock
        there = {service.id: service for service in services}
        self.known = frozenset(there)  # the services that there were, by id
        moving = (service for service in there.values() if service.id in plan.moves)
        self.services = sorted(moving, key=lambda service: service.name)
        self.settings = settings
        self.inside = inside
        self.verified = 0  # containers whose shim has said the new fingerprint
        self.elsewhere = 0  # tasks on other nodes, whose mounted version is all that can be seen
        self.is_whole = True  # no old value works any more
        self.arrived: set[str] = set()  # services, by name, in which something runs with the new version
        self.gone: set[str] = set()  # those that somebody removed

    def make(self, values: Mapping[str, Secret], secrets: Sequence[SwarmSecret]) -> None:
        """Make the new version of each key.

        Raises:
            Failed: the engine does not.
        """
        stack = self.plan.stack

        def labelled(change: Change) -> dict[str, str]:
            before = swarm_plan.of_key(secrets, change.key, stack)
            return labels(change, values[change.key], before, self.plan, self.settings)

        with ThreadPoolExecutor() as pool:  # with a salt a fingerprint is slow
            kept = list(pool.map(labelled, self.plan.changes))
        for change, its_labels in zip(self.plan.changes, kept, strict=True):
            value = values[change.key]
            present = value if len(value) else versions.EMPTY_IN_SWARM
            self.engine.patiently(partial(self.engine.create, change.name, present, its_labels, change.template))
        self.plan = swarm_plan.with_ids(self.plan, self.engine.patiently(self.engine.secrets))
        note_numbers(self.engine)

    def give_up(self) -> None:
        """Take back what `make` made before it failed; no service has moved.

        Raises:
            Failed: the engine does not answer; `rotate --resume` goes on.
        """
        with _resumable(self.plan.stack):
            self.plan = swarm_plan.with_ids(self.plan, self.engine.patiently(self.engine.secrets))
            made = {change.new_id for change in self.plan.changes if change.new_id}
            self._remove(s for s in self.engine.patiently(self.engine.secrets) if s.id in made)
            self.engine.unlock(self.lock)

    def forward(self, settle: Callable[[], None]) -> None:
        """Move every service, verify, and remove what is left over; *settle* writes what lives outside the Swarm.

        Raises:
            NotMoved: something did not come up, and everything is as it was.
            Failed: the engine does not answer; `rotate --resume` goes on.
        """
        hint = "every service is back at the version before"
        if self.plan.kind == ROTATE:
            hint += ", and the new one is removed"
        try:
            for change in self.inside:
                change.begin()
        except Ended as ended:  # the system's own trouble; the Swarm is not concerned
            self.take_back()
            raise ended.with_hint(hint) from None
        try:
            with _resumable(self.plan.stack):
                self._move_all(FORWARD)
                self._look_again()
        except Refused as refused:
            self.take_back()
            raise NotMoved(refused.message, *refused.hints, hint) from None
        with _resumable(self.plan.stack):
            for change in self.inside:
                self._finish(change)
            settle()
            self._remove_left()
            self.engine.unlock(self.lock)

    def _finish(self, change: InsideChange) -> None:
        """End the old value in a system; one that refuses keeps it, which is not a reason to keep the rotation open."""
        try:
            change.finish()
        except Refused as refused:
            self.is_whole = False
            hint = "end it there by hand: anyone who has the old value can still log in"
            output.warn(f"every service has the new value, and the old one still works: {refused.message}", hint)

    def take_back(self) -> None:
        """Take everything back: what was changed inside systems, the services, and the new versions.

        A system that holds one value gets the old one first, since most services still have that; one that holds two
        drops the new one last. A service that does not come up with its old version either has it all the same.

        Raises:
            Failed: the engine does not answer, or old tasks do not end.
        """
        with _resumable(self.plan.stack):
            lock = self.engine.change_lock(self.lock, self.lock.owner, goes_back=True)
            if lock is None:
                who = f"`manage-secrets history{stacks.option(self.plan.stack)}` shows who"
                raise Refused("another run has taken this rotation over", who)
            self.lock = lock
            for change in reversed(self.inside):
                if not change.keeps_both:
                    change.take_back()
            try:
                self._move_all(BACK)
            except NotEnded as not_ended:
                hint = f"fix the service, then {resume(self.plan.stack)}"
                raise Failed(f"taking it back failed too: {not_ended.message}", hint) from None
            for change in reversed(self.inside):
                if change.keeps_both:
                    change.take_back()
            if self.plan.kind == ROTATE:
                made = {change.new_id for change in self.plan.changes if change.new_id}
                for service in self.services:
                    self.engine.forget_previous(service.id, made)
                self._note_end(made, history.TAKEN_BACK)
                self._remove(secret for secret in self.engine.patiently(self.engine.secrets) if secret.id in made)
            self.engine.unlock(self.lock)

    def _note_end(self, gone: Collection[str], end: str) -> None:
        """Write into the labels of each key's newest version that stays what became of those that go."""
        there = self.engine.patiently(self.engine.secrets)
        when = today().isoformat(timespec="seconds")
        for change in self.plan.changes:
            of_key = swarm_plan.of_key(there, change.key, self.plan.stack)
            going = [secret for secret in of_key if secret.id in gone]
            staying = [secret for secret in of_key if secret.id not in gone]
            if going and staying:
                told = {HISTORY: history.left(staying[0], going, end, when, self.settings.by)}
                self.engine.patiently(partial(self.engine.label_secret, staying[0].id, told))

    def way(self, service: RotatedService, towards: str) -> Way:
        """Return where *service* goes *towards* there."""
        least = _BACK_SECONDS if towards == BACK else 0
        return Way(
            service,
            swarm_plan.swaps(self.plan, service.id, towards),
            self.plan.running.get(service.id, service.replicas),
            max(self.settings.timeout_seconds, least),
            towards == BACK,
        )

    def _move_all(self, towards: str) -> None:
        """Move the services, so many at a time; after one that does not come up no other is begun.

        While the old tasks of one end, which may take as long as their grace period, the next moves. On the way back
        every one goes, whatever becomes of the others.
        """
        has_failed = False
        turns = Semaphore(self.settings.parallel)

        def one(service: RotatedService) -> None:
            nonlocal has_failed
            way = self.way(service, towards)
            try:
                with turns:
                    if has_failed:
                        return
                    arrival = self._move(way)
                if arrival is not None:
                    self._seen(way, arrival)
                    self.engine.left(way)
            except NotMoved as not_moved:
                if towards == BACK and not isinstance(not_moved, NotEnded):
                    output.warn(f"it has its old version again, but {not_moved.message}", *not_moved.hints)
                else:
                    has_failed = towards == FORWARD
                    raise
            except BaseException:
                has_failed = True
                raise
            finally:
                advance()

        jobs: list[Future[None]] = []
        with (
            output.progress("moving" if towards == FORWARD else "taking back", len(self.services), least=2) as advance,
            ThreadPoolExecutor(self.settings.parallel * _ENDING_PER_TURN) as pool,
        ):
            try:
                for turn in self._turns(towards):
                    jobs += [pool.submit(one, service) for service in turn]
                    wait(jobs)
            except BaseException:
                has_failed = True
                self.engine.interrupted.set()
                output.warn("interrupted while services were moving", f"{resume(self.plan.stack)} goes on")
                raise
        errors = [error for job in jobs if (error := job.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, Ended)):  # a bug first: it hides nothing
            raise error

    def _turns(self, towards: str) -> list[list[RotatedService]]:
        """Return the services in the order in which they move: those that others wait for, the rest, and the systems.

        A system that holds two values takes both until it starts with the new one: by then its clients have that.
        """
        systems = {service_of(change) for change in self.inside} - {""}

        def rank(service: RotatedService) -> int:
            if service.name in systems or service.name.removeprefix(f"{service.stack}_") in systems:
                return 2
            return 0 if service.goes_first else 1

        turns = [[service for service in self.services if rank(service) == number] for number in range(3)]
        return turns if towards == FORWARD else [turns[2], turns[0], turns[1]]

    def _move(self, way: Way) -> Arrival | None:
        """Move a service; return how it runs then, None for one that nobody waits for."""
        service = way.service
        self.engine.swap(service.id, way.swaps)
        where = "back" if way.is_back else "forward"
        if not way.before:
            output.detail(f"{service.name}: written, {where}; nothing of it was up")
            return None
        output.detail(f"{service.name}: moving {where}")
        return self.engine.arrive(way)

    def _seen(self, way: Way, arrival: Arrival) -> None:
        """Verify what has arrived, while the next service moves."""
        name = way.service.name
        if arrival.is_gone:
            output.warn(f"{name} was removed in the meantime", "the rotation goes on without it")
            self.gone.add(name)
            return
        if not way.is_back:
            self._verify(way, arrival)
        if not arrival.is_empty:
            self.arrived.add(name)
        output.detail(f"{name}: every task runs it")

    def _look_again(self) -> None:
        """See that no service has failed since it came up, while the version before can still be gone back to.

        Name those that were created since, which nobody has moved.

        Raises:
            NotMoved: one has.
        """
        ways = [self.way(service, FORWARD) for service in self.services]
        self.engine.patiently(partial(self.engine.stay, [way for way in ways if way.before]))
        there = self.engine.patiently(self.engine.services)
        for one in preflight.made_meanwhile(self.plan, there, self.known):
            output.warn(one.message, one.hint)

    def _verify(self, way: Way, arrival: Arrival) -> None:
        """Ask the shim in each container of this node for the fingerprints that it got.

        Raises:
            NotMoved: one has another value.
        """
        name = way.service.name
        mounted = {mount.secret_id for _, mount in way.swaps.values()}
        wanted = {
            secret.key: secret.fingerprint
            for secret in self._new_versions()
            if secret.salt == self.settings.prints.mark and secret.id in mounted and not secret.template
        }
        for container in arrival.containers:
            said = self.engine.explained(RunningContainer(container, name, name), self.settings.prints.question)
            found = said.fingerprints if said is not None else {}
            wrong = [key for key, print_ in wanted.items() if key in found and found[key] != print_]
            if wrong:
                raise NotMoved(
                    f"{name} runs with a different value of {', '.join(wrong)} than the new version has",
                    "does its environment or another file set the key? `shim explain` in the container shows it",
                )
            self.verified += bool(found.keys() & wanted.keys())
        self.elsewhere += arrival.elsewhere

    def _new_versions(self) -> list[SwarmSecret]:
        if not hasattr(self, "_made"):
            ids = {change.new_id for change in self.plan.changes}
            self._made = [secret for secret in self.engine.patiently(self.engine.secrets) if secret.id in ids]
        return self._made

    def _remove_left(self) -> None:
        """Remove the versions that nothing needs any more: those before the kept ones, or those rolled back from."""
        if self.plan.kind == ROLLBACK:
            left = {old for change in self.plan.changes for old in change.old_ids}
            for service in self.services:
                self.engine.forget_previous(service.id, left)
            self._note_end(left, history.ROLLED_BACK)
            named = self.engine.patiently(self.engine.named_ids)
            there = self.engine.patiently(self.engine.secrets)
            idle = [secret for secret in there if secret.id in left and secret.id not in named]
        elif self.plan.kind == ROTATE:
            named = self.engine.patiently(self.engine.named_ids)
            there = self.engine.patiently(self.engine.secrets)
            keys = [change.key for change in self.plan.changes]
            idle = swarm_plan.superfluous(there, keys, self.plan.stack, named, self.settings.keep)
        else:
            return
        for secret in idle:
            try:
                self._remove([secret])
            except Unclear:
                raise
            except Failed as failed:  # somebody has taken it up since we looked
                prune = f"manage-secrets prune{stacks.option(self.plan.stack)}"
                output.warn(f"{secret.name} stays: {failed.message}", f"{prune} removes it once it is idle")

    def _remove(self, secrets: Iterable[SwarmSecret]) -> None:
        for secret in secrets:
            self.engine.patiently(partial(self.engine.remove, secret))


@contextmanager
def _resumable(stack: str) -> Iterator[None]:
    """Say what goes on from where an engine that fails left it."""
    try:
        yield
    except Failed as failed:
        if any(RESUME in hint for hint in failed.hints):
            raise
        goes_on = f"{resume(stack)} goes on"
        if isinstance(failed, Unclear) and not isinstance(failed, NotManager):
            raise Failed(failed.message, f"once the engine answers again, {goes_on}") from None
        raise Failed(failed.message, *failed.hints, goes_on) from None


def resume(stack: str) -> str:
    """Return the command that finishes a rotation in *stack*, or takes it back."""
    return RESUME + stacks.option(stack)


def labels(
    change: Change, value: Secret, before: Iterable[SwarmSecret], plan: RotationPlan, settings: Settings
) -> dict[str, str]:
    """Return what is kept with a new version: as for a first one, who made those before, and which rotation it was."""
    step = versions.Step(versions.Wanted(change.key, "", value), change.name, change.version, versions.CREATED)
    prints = settings.prints
    kept = versions.labels(step, prints.of(change.key, value), plan.stack, prints.mark, settings.by)
    return {**kept, HISTORY: history.after(before), RUN: plan.id}


def today() -> datetime:
    """Return now."""
    return datetime.now(UTC)
