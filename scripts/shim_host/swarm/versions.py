"""From values to versions in the Swarm: what is to be made is decided first, and refused whole or made in order.

A run that ends early leaves whole versions with whole labels, so the next run finds them and goes on from there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import NamedTuple

from shim.secret import Secret
from shim_host import names
from shim_host.errors import Ended, Refused
from shim_host.fingerprints import Fingerprints
from shim_host.output import listed
from shim_host.swarm import connection, model
from shim_host.swarm.connection import Swarm
from shim_host.swarm.model import SwarmSecret

CREATED, UNCHANGED, CHANGED, MISSING = "created", "unchanged", "changed", "not made"
# What the Swarm keeps for an empty value, which it does not take; every reader drops a line end at the end.
EMPTY_IN_SWARM = Secret(b"\n")


class Wanted(NamedTuple):
    """A value that is to be in the Swarm; its fingerprint is slow, and empty until it is needed."""

    key: str
    file_name: str
    value: Secret
    fingerprint: str = ""


class Step(NamedTuple):
    """What one key needs: `state` is `CREATED` (to be made), `UNCHANGED` or `CHANGED`."""

    wanted: Wanted
    name: str
    version: int
    state: str
    template: str = ""  # the driver that fills it in when a task starts


def refusal_of_other_marks(keys: Iterable[str], hint: str) -> Refused:
    """Return the refusal of versions that were labelled under another key, or with another salt."""
    return Refused(
        f"these were made with a different key or salt, so they cannot be compared: {listed(keys)}",
        "give the deployment's salt with --salt or SHIM_SALT",
        hint,
    )


def refusals(values: Mapping[str, tuple[str, Secret]]) -> list[str]:
    """Return what the Swarm would not take of *values* (key to file name and value), before anything is made."""
    return [
        f"{key}: {len(value)} bytes are more than the Swarm takes ({model.MAX_VALUE_BYTES})"
        for key, (_name, value) in values.items()
        if len(value) > model.MAX_VALUE_BYTES
    ]


def plan(
    wanted: Iterable[Wanted],
    existing: Sequence[SwarmSecret],
    stack: str,
    numbers: Callable[[str], int] = lambda _key: 1,
) -> list[Step]:
    """Return the steps to *wanted*; those that have a version in *stack* need their fingerprint.

    Args:
        wanted: what is to be there.
        existing: all that is there.
        stack: whose versions these are.
        numbers: the number of a key that has no version; what stack files name, where a Swarm is made again.
    """
    steps = []
    newest = model.newest(existing, stack)
    for item in wanted:
        base = names.swarm_base(item.file_name, stack)
        found = newest.get(item.key)
        if found is None:
            number = numbers(item.key)
            others = {names.split_version(secret.name)[0].casefold() for secret in existing if secret.key}
            if base.casefold() in others:  # as of shop and EU_DB, and of shop_eu and DB
                base = names.swarm_base_apart(item.file_name, stack)
            steps.append(Step(item, names.versioned(base, number), number, CREATED))
        elif found.fingerprint == item.fingerprint:
            steps.append(Step(item, found.name, found.version, UNCHANGED))
        else:
            steps.append(Step(item, found.name, found.version, CHANGED))
    return steps


def foreign(steps: Iterable[Step], existing: Iterable[SwarmSecret]) -> list[str]:
    """Return the names that *steps* need and somebody else's secrets have; the engine ignores case there."""
    taken = {secret.name.casefold() for secret in existing}
    return [step.name for step in steps if step.state == CREATED and step.name.casefold() in taken]


def labels(step: Step, its_fingerprint: str, stack: str, mark: str, by: str) -> dict[str, str]:
    """Return what is kept with a version: all that anybody can know of it later, and no part of its value."""
    kept = {
        model.KEY: step.wanted.key,
        model.VERSION: str(step.version),
        model.CREATED: datetime.now(UTC).isoformat(timespec="seconds"),
        model.BY: by,
        model.FINGERPRINT: its_fingerprint,
        model.SALT: mark,
    }
    if stack:
        kept[model.STACK] = stack
    return kept


def apply(
    engine: Swarm, steps: Iterable[Step], stack: str, prints: Fingerprints, by: str, advance: Callable[[], None]
) -> tuple[list[Step], Ended | None]:
    """Make the versions of *steps*; return what was made, and what stopped it if something did."""
    todo = [step for step in steps if step.state == CREATED]
    made: list[Step] = []
    trouble: Ended | None = None

    def one(step: Step) -> None:
        key, value = step.wanted.key, step.wanted.value
        kept = labels(step, prints.of(key, value), stack, prints.mark, by)
        engine.create(step.name, value if len(value) else EMPTY_IN_SWARM, kept, step.template)

    jobs: dict[Future[None], Step] = {}
    pool = ThreadPoolExecutor(connection.PARALLEL_CALLS)
    try:
        for step in todo:
            job = pool.submit(one, step)
            jobs[job] = step
            job.add_done_callback(lambda _: advance())
        wait(jobs, return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(cancel_futures=True)  # those that have not begun; what is under way comes to its end
    for job, step in jobs.items():
        if job.cancelled():
            continue
        error = job.exception()
        if error is None:
            made.append(step)
        elif isinstance(error, Ended):
            trouble = trouble or error
        else:
            raise error
    return made, trouble
