"""Rotation, decided: which versions are made, which services move, and what would fail. No I/O, and never a value.

What is found comes in (services, versions), a `Plan` leaves. It is kept in the Swarm for as long as the rotation runs,
so that any machine can finish it or take it back.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shim.schema import Schema
from shim_host import names
from shim_host.ages import days_of
from shim_host.generate import can_be_made, signer_of
from shim_host.swarm.model import START_FIRST, Mount, Service, SwarmSecret, newest

FORWARD, BACK = "forward", "back"
_UNDER_WAY = frozenset(["updating", "rollback_started"])
_STUCK = frozenset(["paused", "rollback_paused"])


class Finding(NamedTuple):
    """What would go wrong with a rotation; a hard one refuses it unless `--force` is given."""

    is_hard: bool
    service: str
    message: str
    hint: str


@dataclass(frozen=True)
class Change:
    """A key that gets another version: from `old_ids` to `name`, whose id is known once it is made."""

    key: str
    name: str
    version: int
    old_ids: tuple[str, ...]
    new_id: str = ""


@dataclass(frozen=True)
class Plan:
    """A whole rotation. `moves` holds each service's mounts before, by the service's id."""

    id: str
    stack: str
    changes: tuple[Change, ...]
    moves: Mapping[str, tuple[Mount, ...]] = field(default_factory=dict)
    kind: str = "rotate"  # or rollback: then the versions are there already, and those left behind are removed

    def to_json(self) -> bytes:
        """Return the plan as it is kept in the Swarm; it holds names and ids."""
        changes = [[change.key, change.name, change.version, list(change.old_ids)] for change in self.changes]
        document = {"id": self.id, "stack": self.stack, "kind": self.kind, "changes": changes, "moves": self.moves}
        return json.dumps(document, separators=(",", ":")).encode()


def plan_from_json(data: bytes) -> Plan:
    """Return the plan that `Plan.to_json` wrote.

    Raises:
        ValueError: it did not.
    """
    try:
        document = json.loads(data)
        return Plan(
            document["id"],
            document["stack"],
            tuple(Change(key, name, version, tuple(old)) for key, name, version, old in document["changes"]),
            {service: tuple(Mount(*mount) for mount in mounts) for service, mounts in document["moves"].items()},
            document["kind"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no plan of a rotation: {type(error).__name__}") from None


def plan(
    rotation_id: str,
    stack: str,
    keys: Iterable[str],
    secrets: Sequence[SwarmSecret],
    services: Iterable[Service],
) -> Plan:
    """Return the rotation of *keys*, each of which has a version in *stack*.

    Every service that mounts any version of a key moves, so that afterwards one version is in use.
    """
    current = newest(secrets, stack)
    changes = []
    for key in keys:
        base, _ = names.split_version(current[key].name)
        version = current[key].version + 1
        old = tuple(secret.id for secret in secrets if secret.key == key and secret.stack == stack)
        changes.append(Change(key, names.versioned(base, version), version, old))
    return Plan(rotation_id, stack, tuple(changes), _moves(changes, services))


def plan_back(
    rotation_id: str, stack: str, keys: Iterable[str], secrets: Sequence[SwarmSecret], services: Sequence[Service]
) -> tuple[Plan, list[str]]:
    """Return the rollback of *keys* to the version before the one in use, and the keys that have none."""
    changes = []
    lacking = []
    for key in keys:
        versions = sorted(
            (secret for secret in secrets if secret.key == key and secret.stack == stack),
            key=lambda secret: -secret.version,
        )
        mounted = {mount.secret_id for service in services for mount in service.mounts}
        present = next((secret for secret in versions if secret.id in mounted), versions[0] if versions else None)
        before = next((secret for secret in versions if present and secret.version < present.version), None)
        if before is None:
            lacking.append(key)
            continue
        old = tuple(secret.id for secret in versions if secret.version > before.version)
        changes.append(Change(key, before.name, before.version, old, before.id))
    return Plan(rotation_id, stack, tuple(changes), _moves(changes, services), "rollback"), lacking


def _moves(changes: Iterable[Change], services: Iterable[Service]) -> dict[str, tuple[Mount, ...]]:
    leaving = {old for change in changes for old in change.old_ids}
    return {
        service.id: service.mounts
        for service in services
        if any(mount.secret_id in leaving for mount in service.mounts)
    }


def with_ids(planned: Plan, secrets: Iterable[SwarmSecret]) -> Plan:
    """Return *planned* with the ids of the new versions that are among *secrets*."""
    ids = {secret.name: secret.id for secret in secrets}
    return replace(
        planned, changes=tuple(replace(change, new_id=ids.get(change.name, "")) for change in planned.changes)
    )


def direction(planned: Plan, is_going_back: bool) -> str:
    """Return where an interrupted rotation goes, its new ids known: back when a new version was never made."""
    return BACK if is_going_back or not all(change.new_id for change in planned.changes) else FORWARD


def swaps_forward(planned: Plan) -> dict[str, tuple[str, str]]:
    """Return, by the id of each version that is left, id and name of the one that takes its place."""
    return {old: (change.new_id, change.name) for change in planned.changes for old in change.old_ids}


def swaps_back(planned: Plan, service_id: str) -> dict[str, tuple[str, str]]:
    """Return, by the id of each new version, id and name of what the service mounted before under that target."""
    taken = {old: change.new_id for change in planned.changes for old in change.old_ids}
    return {
        taken[mount.secret_id]: (mount.secret_id, mount.name)
        for mount in planned.moves[service_id]
        if taken.get(mount.secret_id)
    }


def expected(planned: Plan, service_id: str, towards: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the ids that a service has mounted once it arrived *towards* there, and those it must not have."""
    swaps = swaps_forward(planned) if towards == FORWARD else swaps_back(planned, service_id)
    before = {mount.secret_id for mount in planned.moves[service_id]}
    if towards == BACK:
        return frozenset(new for new, _ in swaps.values()), frozenset(swaps)
    return frozenset(swaps[old][0] for old in before if old in swaps), frozenset(before & swaps.keys())


def preflight(services: Iterable[Service], nodes: int, managers: tuple[int, int]) -> list[Finding]:
    """Return what would go wrong, all of it.

    Args:
        services: those that would move.
        nodes: how many nodes take tasks.
        managers: how many there are, and how many of them can be reached.
    """
    found = []
    whole, reachable = managers
    if reachable * 2 <= whole:
        found.append(
            Finding(True, "", f"{reachable} of {whole} managers can be reached: no quorum", "bring managers back first")
        )
    elif whole > 1 and (reachable - 1) * 2 <= whole:
        hint = "a rotation goes on where it stopped: rotate --resume"
        found.append(Finding(False, "", f"{reachable} of {whole} managers: one more lost ends the quorum", hint))
    for service in services:
        found += _troubles(service, nodes)
    return found


def _troubles(service: Service, nodes: int) -> Iterator[Finding]:
    name = service.name
    if service.mode.endswith("-job"):
        yield Finding(True, name, "is a job, and would run again", "remove it first, or let it run again with --force")
        return
    if service.update_state in _UNDER_WAY:
        yield Finding(True, name, "is being updated right now", f"wait for it: docker service ps {name}")
    elif service.update_state in _STUCK:
        words = f"has an update that stopped ({service.update_state})"
        yield Finding(True, name, words, f"docker service rollback {name}, or mend what it stumbled over")
    if service.mode == "replicated" and service.replicas == 0:
        return
    if service.order == START_FIRST:
        yield from _no_room_for_two(service, nodes)
    elif service.replicas == 1 or service.mode == "global":
        words = "stops before its next task starts (stop-first)"
        yield Finding(False, name, words, "requests fail meanwhile; start-first avoids it")
    if service.has_health_check is False:
        words = "has no health check, so that a task counts as ready when its process exists"
        yield Finding(False, name, words, "add one (HEALTHCHECK, --health-cmd): without, requests fail while it starts")


def _no_room_for_two(service: Service, nodes: int) -> Iterator[Finding]:
    name = service.name
    stop_first = f"docker service update --update-order stop-first {name}"
    if service.host_ports and (service.mode == "global" or service.replicas >= nodes):
        ports = ", ".join(map(str, service.host_ports))
        words = f"has host port {ports}, so that no second task can start beside the first on {nodes} nodes"
        yield Finding(True, name, words, stop_first)
    if service.max_per_node and service.replicas >= nodes * service.max_per_node:
        words = f"has max-replicas-per-node {service.max_per_node}, so that no task can start beside the others"
        yield Finding(True, name, words, f"raise it by one, or {stop_first}")
    if service.volumes:
        words = f"writes to {', '.join(service.volumes)}, and start-first would run two tasks on it at once"
        yield Finding(True, name, words, f"{stop_first}; --force if two may")


def wrong_keys(keys: Iterable[str], secrets: Iterable[SwarmSecret], stack: str) -> list[str]:
    """Return those of *keys* that have no version in *stack*."""
    known = newest(secrets, stack)
    return [key for key in keys if key not in known]


def with_derived(keys: Sequence[str], schema: Schema | None, present: Collection[str]) -> list[str]:
    """Return *keys* and every key that is signed with one of them and *present*, parents first.

    Raises:
        ValueError: keys are signed with each other in a ring; the message names them.
    """
    wanted = dict.fromkeys(keys)
    if schema is None:
        return list(wanted)
    ordered: list[str] = []
    added = True
    while added:
        added = False
        for key, spec in schema.keys.items():
            if key not in wanted and key in present and signer_of(spec) in wanted:
                wanted[key] = None
                added = True
    left = list(wanted)
    while left:
        ready = [key for key in left if key not in schema.keys or signer_of(schema.keys[key]) not in left]
        if not ready:
            raise ValueError(", ".join(left))
        ordered += ready
        left = [key for key in left if key not in ready]
    return ordered


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
