"""Rotation, decided: which versions are made, and what becomes of each mount. No I/O, and never a value.

What is found comes in (versions, services), a `RotationPlan` leaves. It is kept in the Swarm for as long as the
rotation runs, so that any machine can finish it or take it back.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shim.schema import Schema
from shim_host import names
from shim_host.ages import days_of
from shim_host.generate import can_be_made, parents_of
from shim_host.rotate import history
from shim_host.swarm.model import Place, RotatedService, SecretMount, SwarmSecret, newest
from shim_host.swarm.mounts import is_behind, leading

FORWARD, BACK = "forward", "back"
ROTATE, ROLLBACK, SYNC = "rotate", "rollback", "sync"


class Move(NamedTuple):
    """What becomes of one mount: the version it leaves, and the one it gets, whose id is known once it is made."""

    target: str
    old_id: str
    old_name: str
    new_id: str
    new_name: str


@dataclass(frozen=True)
class Change:
    """A key that gets another version: from `old_ids` to `name`, whose id is known once it is made."""

    key: str
    name: str
    version: int
    old_ids: tuple[str, ...]
    new_id: str = ""
    template: str = ""  # the driver that fills the value in when a task starts


@dataclass(frozen=True)
class RotationPlan:
    """A whole rotation. `moves` holds what becomes of each service's mounts, by the service's id."""

    id: str
    stack: str
    changes: tuple[Change, ...]
    moves: Mapping[str, tuple[Move, ...]] = field(default_factory=dict)
    kind: str = ROTATE  # ROLLBACK, SYNC: the versions are there already; those rolled back from are removed
    running: Mapping[str, int] = field(default_factory=dict)  # how many tasks of each service were up before

    def to_json(self) -> bytes:
        """Return the plan as it is kept in the Swarm; it holds names and ids."""
        changes = [[c.key, c.name, c.version, list(c.old_ids), c.new_id, c.template] for c in self.changes]
        document = {
            "id": self.id,
            "stack": self.stack,
            "kind": self.kind,
            "changes": changes,
            "moves": self.moves,
            "running": self.running,
        }
        return json.dumps(document, separators=(",", ":")).encode()


def plan_from_json(data: bytes) -> RotationPlan:
    """Return the plan that `RotationPlan.to_json` wrote.

    Raises:
        ValueError: it did not.
    """
    try:
        document = json.loads(data)
        return RotationPlan(
            document["id"],
            document["stack"],
            tuple(
                Change(key, name, version, tuple(old), new_id, template)
                for key, name, version, old, new_id, template in document["changes"]
            ),
            {service: tuple(Move(*move) for move in moves) for service, moves in document["moves"].items()},
            document["kind"],
            document["running"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no plan of a rotation: {type(error).__name__}") from None


def plan(
    rotation_id: str,
    stack: str,
    keys: Iterable[str],
    secrets: Sequence[SwarmSecret],
    services: Sequence[RotatedService],
    given: Mapping[str, int] | None = None,
) -> RotationPlan:
    """Return the rotation of *keys*, each of which has a version in *stack*.

    A mount of the version in use gets the new one; one of the version before, in a service that mounts both, gets the
    one that was in use. A service that mounts only an older version stays where it is: `behind` names it.

    Args:
        rotation_id: what the new versions are known by.
        stack: who owns the versions.
        keys: what rotates.
        secrets: all that is there.
        services: those that may move.
        given: the highest number that each key is known to have had, of versions that are gone, too.
    """
    current = newest(secrets, stack)
    changes = []
    moves: dict[str, list[Move]] = {}
    for key in keys:
        versions = of_key(secrets, key, stack)
        number = max(history.last_number(versions), (given or {}).get(key, 0)) + 1
        name = _free_name(current[key], number, secrets)
        change = Change(key, name, number, tuple(s.id for s in versions), template=current[key].template)
        changes.append(change)
        used = in_use(versions, services)
        for service in services:
            mounted = mounted_versions(service, versions)
            if not mounted or is_behind(mounted, used.key, used.version):
                continue
            goals = _goals(mounted, number, versions, used)
            moves.setdefault(service.id, []).extend(_moves(service, mounted, goals, versions, change))
    return _planned(RotationPlan(rotation_id, stack, tuple(changes)), moves, services)


def plan_back(
    rotation_id: str,
    stack: str,
    keys: Iterable[str],
    secrets: Sequence[SwarmSecret],
    services: Sequence[RotatedService],
) -> tuple[RotationPlan, list[str]]:
    """Return the rollback of *keys* to the version before the one in use, and the keys that have none."""
    goals = {}
    lacking = []
    for key in keys:
        versions = of_key(secrets, key, stack)
        used = in_use(versions, services)
        before = max((s for s in versions if s.version < used.version), key=lambda s: s.version, default=None)
        if before is None:
            lacking.append(key)
        else:
            goals[key] = before
    return plan_to(rotation_id, stack, goals, secrets, services, ROLLBACK), lacking


def plan_to(
    rotation_id: str,
    stack: str,
    goals: Mapping[str, SwarmSecret],
    secrets: Sequence[SwarmSecret],
    services: Sequence[RotatedService],
    kind: str = SYNC,
) -> RotationPlan:
    """Return what brings every service to the versions in *goals* (by key), which are there already.

    A rollback moves what has a newer version; `SYNC` moves what has any other.
    """
    changes = []
    moves: dict[str, list[Move]] = {}
    for key, goal in goals.items():
        versions = of_key(secrets, key, stack)
        left = tuple(s.id for s in versions if (s.version > goal.version if kind == ROLLBACK else s.id != goal.id))
        change = Change(key, goal.name, goal.version, left, goal.id, goal.template)
        changes.append(change)
        used = in_use(versions, services)
        for service in services:
            mounted = mounted_versions(service, versions)
            first = max(mounted.values(), default=goal.version)
            if first == goal.version or (kind == ROLLBACK and first < goal.version):
                continue
            wanted = _goals(mounted, goal.version, versions, used)
            moves.setdefault(service.id, []).extend(_moves(service, mounted, wanted, versions, change))
    return _planned(RotationPlan(rotation_id, stack, tuple(changes), kind=kind), moves, services)


def _planned(
    planned: RotationPlan, moves: Mapping[str, Sequence[Move]], services: Iterable[RotatedService]
) -> RotationPlan:
    kept = {service: tuple(of_service) for service, of_service in moves.items() if of_service}
    running = {service.id: service.running for service in services if service.id in kept}
    return replace(planned, moves=kept, running=running)


def of_key(secrets: Iterable[SwarmSecret], key: str, stack: str) -> list[SwarmSecret]:
    """Return the versions of *key* in *stack*, the newest first."""
    return sorted((s for s in secrets if s.key == key and s.stack == stack), key=lambda s: -s.version)


def mounted_versions(service: RotatedService, versions: Iterable[SwarmSecret]) -> dict[str, int]:
    """Return which of a key's *versions* the service mounts, by target."""
    numbers = {secret.id: secret.version for secret in versions}
    return {mount.target: numbers[mount.secret_id] for mount in service.mounts if mount.secret_id in numbers}


def in_use(versions: Sequence[SwarmSecret], services: Iterable[RotatedService]) -> SwarmSecret:
    """Return the newest of a key's *versions* that a service mounts as the current one; the newest if none does."""
    used = set()
    for service in services:
        used |= set(leading(mounted_versions(service, versions), versions[0].key).values())
    return next((secret for secret in versions if secret.version in used), versions[0])


def _goals(mounted: Mapping[str, int], top: int, versions: Iterable[SwarmSecret], used: SwarmSecret) -> dict[str, int]:
    """Return which version each mount of one key gets, by target, when the current one becomes *top*.

    Args:
        mounted: the versions that a service mounts, by target.
        top: what the current one becomes: newer, or older.
        versions: all that are there.
        used: the one that was in use.
    """
    current = leading(mounted, used.key)
    first = max(current.values(), default=used.version)
    goals = {target: top for target, version in current.items() if version == first}
    above, goal_above = first, top
    for version in sorted({v for target, v in mounted.items() if target not in goals}, reverse=True):
        if top > first:
            goal = above if version < above else version
        else:
            lower = max((s.version for s in versions if s.version < goal_above), default=goal_above)
            goal = version if version < goal_above else min(version, lower)
        goals |= {target: goal for target, v in mounted.items() if v == version and target not in goals}
        above, goal_above = version, goal
    return goals


def _moves(
    service: RotatedService,
    mounted: Mapping[str, int],
    goals: Mapping[str, int],
    versions: Iterable[SwarmSecret],
    to: Change,
) -> list[Move]:
    found = {secret.version: (secret.id, secret.name) for secret in versions}
    found.setdefault(to.version, (to.new_id, to.name))
    by_target = {mount.target: mount for mount in service.mounts}
    return [
        Move(target, by_target[target].secret_id, by_target[target].name, *found[goal])
        for target, goal in goals.items()
        if goal != mounted[target]
    ]


def _free_name(current: SwarmSecret, number: int, secrets: Iterable[SwarmSecret]) -> str:
    """Return the name of version *number*; another base where a key of another stack has taken that name."""
    base, _ = names.split_version(current.name)
    name = names.versioned(base, number)
    if any(s.name.casefold() == name.casefold() for s in secrets if s.key):
        return names.versioned(names.swarm_base_apart(names.file_name(current.key), current.stack), number)
    return name


def taken(planned: RotationPlan, secrets: Iterable[SwarmSecret]) -> list[str]:
    """Return the names that *planned* is to make and somebody else's secrets have; the engine ignores case there."""
    there = {secret.name.casefold(): secret.name for secret in secrets}
    wanted = [change.name.casefold() for change in planned.changes if planned.kind == ROTATE]
    return [there[name] for name in wanted if name in there]


def with_ids(planned: RotationPlan, secrets: Iterable[SwarmSecret]) -> RotationPlan:
    """Return *planned* with the ids of the new versions that are among *secrets*: those that this rotation made."""
    if planned.kind != ROTATE:
        return planned
    ids = {secret.name: secret.id for secret in secrets if secret.run == planned.id}
    moves = {
        service: tuple(move if move.new_id else move._replace(new_id=ids.get(move.new_name, "")) for move in moves)
        for service, moves in planned.moves.items()
    }
    changes = tuple(replace(change, new_id=ids.get(change.name, "")) for change in planned.changes)
    return replace(planned, changes=changes, moves=moves)


def direction(planned: RotationPlan, is_going_back: bool) -> str:
    """Return where an interrupted rotation goes, its new ids known: back when a new version was never made."""
    return BACK if is_going_back or not all(change.new_id for change in planned.changes) else FORWARD


def swaps(planned: RotationPlan, service_id: str, towards: str) -> dict[str, tuple[str, SecretMount]]:
    """Return, by target, the id that a service has mounted there, and the mount that takes its place."""
    if towards == FORWARD:
        return {m.target: (m.old_id, SecretMount(m.new_id, m.new_name, m.target)) for m in planned.moves[service_id]}
    return {
        m.target: (m.new_id, SecretMount(m.old_id, m.old_name, m.target)) for m in planned.moves[service_id] if m.new_id
    }


def expected(planned: RotationPlan, service_id: str, towards: str) -> tuple[frozenset[Place], frozenset[Place]]:
    """Return the places that a service has once it arrived *towards* there, and those it must not have."""
    found = swaps(planned, service_id, towards)
    wanted = frozenset((target, mount.secret_id) for target, (_, mount) in found.items())
    return wanted, frozenset((target, leaving) for target, (leaving, _) in found.items())


def wrong_keys(keys: Iterable[str], secrets: Iterable[SwarmSecret], stack: str) -> list[str]:
    """Return those of *keys* that have no version in *stack*."""
    known = newest(secrets, stack)
    return [key for key in keys if key not in known]


def unmanaged(
    keys: Iterable[str], secrets: Iterable[SwarmSecret], stack: str, services: Iterable[RotatedService]
) -> list[str]:
    """Return the secrets of somebody else in *stack*, or with damaged labels, whose names are those of *keys*.

    Those that a service mounts come first.
    """
    wanted = {names.file_name(key).casefold() for key in keys}
    mounted = {mount.secret_id for service in services for mount in service.mounts}
    mine = [secret for secret in secrets if not secret.key and secret.stack == stack]
    found = [secret for secret in mine if names.split_version(secret.base)[0].casefold() in wanted]
    return [secret.name for secret in sorted(found, key=lambda secret: secret.id not in mounted)]


def with_derived(keys: Sequence[str], schema: Schema | None, present: Collection[str]) -> list[str]:
    """Return *keys* and every key that is signed with or composed of one of them and *present*, parents first.

    Raises:
        ValueError: keys are made from each other in a ring; the message names them.
    """
    wanted = dict.fromkeys(keys)
    if schema is None:
        return list(wanted)
    ordered: list[str] = []
    added = True
    while added:
        added = False
        for key, spec in schema.keys.items():
            if key not in wanted and key in present and wanted.keys() & set(parents_of(spec)):
                wanted[key] = None
                added = True
    left = list(wanted)
    while left:
        ready = [key for key in left if key not in schema.keys or not set(parents_of(schema.keys[key])) & set(left)]
        if not ready:
            raise ValueError(", ".join(left))
        ordered += ready
        left = [key for key in left if key not in ready]
    return ordered


def going_along(
    keys: Sequence[str],
    schema: Schema | None,
    stack: str,
    secrets: Sequence[SwarmSecret],
    services: Sequence[RotatedService],
) -> list[str]:
    """Return *keys* and those made from them whose version in use is of the same rotation: these go back together.

    What has changed since then holds more than the one change, and is not taken back with it.

    Raises:
        ValueError: keys are made from each other in a ring; the message names them.
    """
    used = {key: in_use(of_key(secrets, key, stack), services) for key in newest(secrets, stack)}
    runs = {used[key].run for key in keys if key in used} - {""}
    return [key for key in with_derived(keys, schema, used) if key in keys or used[key].run in runs]


def due(schema: Schema, ages_days: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the keys whose newest version is older than their `@rotate`: those that can be made, and the others."""
    late = [
        spec
        for key, spec in schema.keys.items()
        if spec.rotate is not None and key in ages_days and ages_days[key] >= days_of(spec.rotate)
    ]
    makeable = [spec.key for spec in late if can_be_made(spec)]
    return makeable, [spec.key for spec in late if spec.key not in makeable]


def superfluous(
    secrets: Sequence[SwarmSecret], keys: Collection[str], stack: str, named: Collection[str], keep: int
) -> list[SwarmSecret]:
    """Return the versions of *keys* that nothing names and that are not among the *keep* before the newest."""
    left = []
    for key in keys:
        versions = sorted(
            (secret for secret in secrets if secret.key == key and secret.stack == stack),
            key=lambda secret: -secret.version,
        )
        left += [secret for secret in versions[keep + 1 :] if secret.id not in named]
    return left
