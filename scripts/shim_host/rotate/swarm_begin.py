"""A rotation is begun, or taken over from a run that has ended: whoever holds its lock carries it out."""

from collections.abc import Iterable, Sequence

from shim_host.errors import Refused
from shim_host.rotate import swarm_plan
from shim_host.rotate.inside import InsideChange
from shim_host.rotate.swarm_plan import BACK, RotationPlan
from shim_host.rotate.swarm_run import Rotation, Settings, resume
from shim_host.swarm import owner
from shim_host.swarm.lock import Lock
from shim_host.swarm.model import RotatedService
from shim_host.swarm.move.arrival import ServiceMover


def begin(
    engine: ServiceMover,
    plan: RotationPlan,
    services: Iterable[RotatedService],
    settings: Settings,
    inside: Sequence[InsideChange] = (),
) -> Rotation:
    """Take the lock for *plan*.

    Raises:
        Refused: another rotation is under way.
    """
    me = owner.this_run() or settings.by
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
        f"wait for it; if that run has ended, finish it or take it back: {resume(lock.stack)}",
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
    me = owner.this_run() or settings.by
    towards = swarm_plan.direction(plan, held.goes_back)
    lock = engine.change_lock(held, me, goes_back=towards == BACK)
    if lock is None:
        raise Refused("another run has just taken this rotation over", "wait for it")
    return Rotation(engine, plan, lock, engine.movable(), settings)


def plan_of(lock: Lock) -> RotationPlan:
    """Return the plan that *lock* keeps.

    Raises:
        Refused: it is not one that this release understands.
    """
    try:
        return swarm_plan.plan_from_json(lock.data)
    except ValueError:
        hint = f"finish it with the release that began it; else remove the config {lock.id}, and check with `list`"
        raise Refused("another release of manage-secrets began a rotation here", hint) from None
