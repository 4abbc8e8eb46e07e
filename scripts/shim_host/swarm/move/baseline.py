"""Whether a service is up, as its tasks tell: asked before anything changes, since what was down stays down."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

ENDED = frozenset(["complete", "failed", "shutdown", "rejected", "orphaned", "remove"])
ENDED_BY_ITSELF = frozenset(["complete", "failed", "rejected"])
_NOT_MEANT_TO_RUN = frozenset(["shutdown", "remove"])
# A task that has not lasted twice as long as the one before it, which failed, may be the next to fail; not forever.
_FLAPPING_LIMIT = timedelta(minutes=5)
_START = timedelta(seconds=5)
_ON_ITS_WAY = timedelta(minutes=1)
# The image is being pulled; it runs, and its health check has not answered yet. Either may take many minutes.
_TAKES_ITS_TIME = frozenset(["preparing", "starting"])


class Baseline(NamedTuple):
    """What runs of a service."""

    running: int  # tasks that are up, or on their way for the first time
    meant: int  # tasks that are meant to be
    is_finished: bool  # it has run to its end, and is not started again
    trouble: str  # what the Swarm says of one that is not up
    unplaced: str = ""  # why it finds no node for one, if it does not


def baseline(spec: Mapping[str, Any], tasks: Iterable[Any], now: datetime) -> Baseline:
    """Return what runs of the service with this *spec*, its *tasks*, and the engine's clock."""
    slots: dict[object, list[Any]] = {}
    for task in sorted(tasks, key=lambda task: str(task.get("CreatedAt"))):
        slots.setdefault(task.get("Slot") or task.get("NodeID"), []).append(task)
    current = [task for of_slot in slots.values() for task in of_slot if is_meant_to_run(task)]
    up = sum(
        any(is_meant_to_run(task) and _is_up(task, of_slot, now) for task in of_slot) for of_slot in slots.values()
    )
    trouble = ""
    if up < max(len(slots), 1):
        said = [(str(t["Status"].get("Timestamp")), t["Status"].get("Err") or "") for s in slots.values() for t in s]
        trouble = max((item for item in said if item[1]), default=("", ""))[1]
    unplaced = next(
        (t["Status"]["Err"] for t in current if t["Status"]["State"] == "pending" and t["Status"].get("Err")), ""
    )
    newest = [of_slot[-1]["Status"]["State"] for of_slot in slots.values()]
    return Baseline(up, len(current), not current and _has_finished(spec, newest), trouble, unplaced)


def is_meant_to_run(task: Any) -> bool:
    """Return whether the Swarm wants *task* to run."""
    return task["DesiredState"] not in _NOT_MEANT_TO_RUN and task["Status"]["State"] not in ENDED


def moment(text: str) -> datetime:
    """Return the time that the engine writes, to the microsecond."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _is_up(task: Any, of_slot: Sequence[Any], now: datetime) -> bool:
    before = [other for other in of_slot if other["CreatedAt"] < task["CreatedAt"]]
    last = before[-1] if before else None
    if task["Status"]["State"] != "running":  # it may just be on its way
        has_failed = task["Status"].get("Err") or (last is not None and last["Status"]["State"] in ENDED_BY_ITSELF)
        return not has_failed and (
            task["Status"]["State"] in _TAKES_ITS_TIME or now - moment(task["CreatedAt"]) < _ON_ITS_WAY
        )
    if last is None or last["Status"]["State"] not in ENDED_BY_ITSELF or last.get("Spec") != task.get("Spec"):
        return True
    lasted = moment(last["Status"]["Timestamp"]) - moment(last["CreatedAt"])
    return lasted > _FLAPPING_LIMIT or now - moment(task["Status"]["Timestamp"]) > 2 * lasted + _START


def _has_finished(spec: Mapping[str, Any], newest: Sequence[str]) -> bool:
    condition = (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition") or "any"
    good = {"none": ENDED_BY_ITSELF, "on-failure": frozenset(["complete"])}.get(condition, frozenset())
    return bool(newest) and all(state in good for state in newest)
