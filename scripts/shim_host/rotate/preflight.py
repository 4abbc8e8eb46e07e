"""What would go wrong with a rotation, and what it would leave behind; found before anything is made. No I/O."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from shim_host import names, output
from shim_host.errors import Refused
from shim_host.rotate import swarm_plan
from shim_host.rotate.swarm_plan import ROTATE, Change, RotationPlan
from shim_host.shell import quoted
from shim_host.swarm import stacks, versions_file
from shim_host.swarm.model import START_FIRST, UNDER_WAY, RotatedService, SecretMount, SwarmSecret, SwarmService
from shim_host.swarm.mounts import is_behind
from shim_host.swarm.move import room
from shim_host.swarm.move.room import Node

_STUCK = frozenset(["paused", "rollback_paused"])


_VERBS = {"is": "are", "has": "have"}
# What else is written differently of several services.
_SEVERAL = (
    ("are a job,", "are jobs,"),
    ("before its next task starts", "before their next tasks start"),
    ("run to its end", "run to their end"),
    (": it gets the version, but is not", ": they get the version, but are not"),
    ("up, and is not waited", "up, and are not waited"),
    (": it stays", ": they stay"),
    (": it keeps", ": they keep"),
)


class Obstacle(NamedTuple):
    """What would go wrong with a rotation; a hard one refuses it unless `--force` is given."""

    is_hard: bool
    service: str
    message: str
    hint: str


def grouped(found: Iterable[Obstacle]) -> list[tuple[str, str]]:
    """Return each message once, with the services that it is about, and its hint.

    Where there are several, a hint that names one of them names SERVICE.
    """
    services: dict[tuple[str, str], list[Obstacle]] = {}
    for one in found:
        # In a command only: a service may be called `c`, or `add`.
        own = rf"(--leave |docker service [^;]*? ){re.escape(quoted(one.service))}(?![^ =;,])"
        general = re.sub(own, r"\1SERVICE", one.hint) if one.service else one.hint
        services.setdefault((one.message, general), []).append(one)
    return [
        (f"{output.listed(one.service for one in alike)} {_plural(message)}", hint)
        if len(alike) > 1
        else (f"{alike[0].service} {message}".strip(), alike[0].hint)
        for (message, hint), alike in services.items()
    ]


def _plural(message: str) -> str:
    """Return what is wrong with one service as it is written of several."""
    verb, _, rest = message.partition(" ")
    words = f"{_VERBS.get(verb, verb.removesuffix('s'))} {rest}"
    for one, several in _SEVERAL:
        words = words.replace(one, several)
    return words


def preflight(services: Iterable[RotatedService], nodes: Sequence[Node], managers: tuple[int, int]) -> list[Obstacle]:
    """Return what would go wrong, all of it.

    Args:
        services: those that would move.
        nodes: those that take tasks.
        managers: how many there are, and how many of them can be reached.
    """
    found = []
    whole, reachable = managers
    if lacks_quorum(whole, reachable):
        found.append(
            Obstacle(
                True, "", f"{reachable} of {whole} managers can be reached: no quorum", "bring managers back first"
            )
        )
    elif whole > 1 and (reachable - 1) * 2 <= whole:
        hint = "a rotation goes on where it stopped: rotate --resume"
        found.append(Obstacle(False, "", f"{reachable} of {whole} managers: one more lost ends the quorum", hint))
    for service in services:
        found += _troubles(service, nodes)
    return found


def lacks_quorum(managers: int, reachable: int) -> bool:
    """Return whether so few of the managers can be reached that they decide nothing."""
    return managers > 0 and reachable * 2 <= managers


def _troubles(service: RotatedService, nodes: Sequence[Node]) -> Iterator[Obstacle]:
    name = service.name
    hint = f"--leave {quoted(name)} keeps it on the version it has; --force lets it run again"
    if service.mode.endswith("-job"):
        yield Obstacle(True, name, "is a job, and would run again", hint)
        return
    if service.is_finished:
        yield Obstacle(True, name, "has run to its end, and would run again", hint)
        return
    if service.update_state in UNDER_WAY and service.is_up:
        yield Obstacle(True, name, "is being updated right now", f"wait for it: docker service ps {quoted(name)}")
    elif service.update_state in _STUCK:
        words = f"has an update that stopped ({service.update_state})"
        yield Obstacle(True, name, words, f"docker service rollback {quoted(name)}, or fix the cause")
    if not service.is_up:
        words = f"is not up ({service.trouble or 'nothing of it runs'}): it gets the version, but is not waited for"
        yield Obstacle(False, name, words, f"docker service ps {quoted(name)} shows more")
        return
    if service.unplaced:
        up, why = service.running, service.unplaced
        words = f"has {up} of {service.replicas} tasks up, and an update would wait for the others: {why}"
        scale = f", or docker service scale {quoted(name)}={up}" if service.mode == "replicated" else ""
        yield Obstacle(True, name, words, f"make room for them{scale}")
    elif service.running < service.replicas:
        words = f"has {service.running} of {service.replicas} tasks up, and is not waited for to have more"
        yield Obstacle(False, name, words, f"see why with docker service ps {quoted(name)}")
    if service.order == START_FIRST:
        yield from _no_room_for_two(service, nodes)
    elif service.replicas == 1 or service.mode == "global":
        words = "stops before its next task starts (stop-first)"
        yield Obstacle(False, name, words, "requests fail meanwhile; start-first avoids it")
    if service.has_health_check is False:
        words = "has no health check, so a task counts as ready as soon as its process exists"
        yield Obstacle(
            False, name, words, "add one (HEALTHCHECK, --health-cmd): without one, requests fail while it starts"
        )


def of_images(services: Iterable[RotatedService], changed: Mapping[str, tuple[str, bool]]) -> Iterator[Obstacle]:
    """Yield what would start with more than another value; *changed* is as the engine's `changed_images` has it."""
    for service in services:
        image, is_there = changed.get(service.id, ("", False))
        if image and is_there:
            words = f"would start with another image: {image} has been built or pulled again since its tasks began"
            hint = (
                f"deploy that first, so that only the value changes; --leave {quoted(service.name)} keeps it as it is"
            )
            yield Obstacle(False, service.name, words, hint)
        elif image:
            words = f"needs {image}, which is no longer on this node and would have to be pulled"
            yield Obstacle(False, service.name, words, f"see that it can be: docker pull {quoted(image)}")


def _no_room_for_two(service: RotatedService, nodes: Sequence[Node]) -> Iterator[Obstacle]:
    name = service.name
    stop_first = f"docker service update --update-order stop-first {quoted(name)}"
    allowed = room.where(service, nodes)
    count = len(allowed)
    if service.host_ports and (service.mode == "global" or service.replicas >= count > 0):
        ports = ", ".join(map(str, service.host_ports))
        words = f"has host port {ports}, so a second task cannot start beside the first on {output.many(count, 'node')}"
        yield Obstacle(True, name, words, stop_first)
    if missing := room.lacking(service, allowed):
        words = f"reserves {missing}, which no node has left for a second task beside the first"
        yield Obstacle(True, name, words, f"reserve less, add a node, or {stop_first}")
    if service.max_per_node and service.replicas >= count * service.max_per_node > 0:
        words = f"has max-replicas-per-node {service.max_per_node}, so a task cannot start beside the others"
        yield Obstacle(True, name, words, f"raise it by one, or {stop_first}")
    if service.volumes:
        words = f"writes to {', '.join(service.volumes)}, and start-first would run two tasks on it at once"
        yield Obstacle(True, name, words, f"{stop_first}; --force if two may")


def nothing_before(
    keys: Sequence[str], secrets: Sequence[SwarmSecret], services: Sequence[RotatedService], stack: str
) -> Refused:
    """Return the refusal to take *keys* back where services have the earliest version, or got it from somebody else."""
    key_of_stack = f"{quoted(keys[0]) if len(keys) == 1 else 'KEY'}{stacks.option(stack)}"
    again = f"rotate to the old value: manage-secrets rotate {key_of_stack} --value-file FILE"
    versions = swarm_plan.of_key(secrets, keys[0], stack)
    used = swarm_plan.in_use(versions, services)
    if len(keys) > 1 or used == versions[0]:
        return Refused(f"there is no earlier version of {output.listed(keys)}", again)
    return Refused(
        f"{used.name} is in use already, and there is no earlier version of {keys[0]}",
        f"{versions[0].name} is newer: manage-secrets sync {key_of_stack} moves the services to it",
        again,
    )


def left_behind(
    planned: RotationPlan, secrets: Sequence[SwarmSecret], services: Sequence[RotatedService]
) -> list[Obstacle]:
    """Return what *planned* does not reach, or reaches unasked: old versions, secrets made by others, other stacks."""
    found: list[Obstacle] = []
    moving = [service for service in services if service.id in planned.moves]
    for change in planned.changes:
        versions = swarm_plan.of_key(secrets, change.key, planned.stack)
        if planned.kind == ROTATE and versions:
            found += _behind(change, versions, services, planned.stack)
        found += made_by_others(change, planned, secrets, services)
        if planned.kind == ROTATE:
            found += of_another_stack(change, planned, secrets, services)
    moved = sorted({service.stack for service in moving if service.stack})
    if planned.stack:
        moved = [stack for stack in moved if stack != planned.stack]
    if moved[0 if planned.stack else 1 :]:
        words = f"services of {'other' if planned.stack else 'several'} stacks mount it and move: {', '.join(moved)}"
        found.append(Obstacle(False, "", words, "give each stack its own secrets with create-swarm --stack NAME"))
    return found


def made_meanwhile(
    planned: RotationPlan, services: Iterable[SwarmService], known: Collection[str]
) -> Iterator[Obstacle]:
    """Yield the services that are not among the *known* ones, and mount a version that *planned* leaves."""
    new = sorted((service for service in services if service.id not in known), key=lambda service: service.name)
    for change in planned.changes:
        left = set(change.old_ids) - {change.new_id}
        if behind := [one.name for one in new if left & one.mounts.keys() and change.new_id not in one.mounts]:
            words = f"created in the meantime, with another version of {change.key}: {output.listed(behind)}"
            key_of_stack = f"{quoted(change.key)}{stacks.option(planned.stack)}"
            yield Obstacle(False, "", words, f"manage-secrets sync {key_of_stack} moves what has it to {change.name}")


def not_going_along(
    back: Collection[str], parents: Mapping[str, Sequence[str]], folder: str, stack: str
) -> list[Obstacle]:
    """Return the keys that depend on one that goes back, and keep their value: another of their parts changed since.

    Args:
        back: the keys that go back.
        parents: all that depend on these, with what each is made from.
        folder: the option that names the folder of values, or "".
        stack: the option that names the stack, or "".
    """
    found = []
    for key in parents:
        if key not in back:
            changed = ", ".join(parent for parent in parents[key] if parent in parents)
            words = f"depends on {changed}, but was created by another rotation: it keeps its value"
            again = f"manage-secrets generate {quoted(key)} --force{folder}"
            hint = f"afterwards make it again: {again}, then manage-secrets rotate {quoted(key)}{stack}"
            found.append(Obstacle(False, key, words, hint))
    return found


def _behind(
    change: Change, versions: Sequence[SwarmSecret], services: Iterable[RotatedService], stack: str
) -> Iterator[Obstacle]:
    used = swarm_plan.in_use(versions, services)
    for service in services:
        mounted = swarm_plan.mounted_versions(service, versions)
        if mounted and is_behind(mounted, used.key, used.version):
            words = f"mounts version {max(mounted.values())} of {change.key}, and {used.version} is in use: it stays"
            key_of_stack = f"{quoted(change.key)}{stacks.option(stack)}"
            yield Obstacle(False, service.name, words, f"manage-secrets sync {key_of_stack} moves it")


def made_by_others(
    change: Change, planned: RotationPlan, secrets: Iterable[SwarmSecret], services: Iterable[RotatedService]
) -> Iterator[Obstacle]:
    """Yield services that mount a secret of somebody else where the key belongs: they would keep that value."""
    leaving = {old for other in planned.changes for old in other.old_ids}
    foreign = {secret.id: secret for secret in secrets if not secret.key and secret.id not in leaving}
    is_moved = any(move.new_name == change.name for moves in planned.moves.values() for move in moves)
    own = names.file_name(change.key)
    for service in services:
        for mount in service.mounts:
            if (theirs := foreign.get(mount.secret_id)) is None:
                continue
            is_copy = theirs.stack == planned.stack and names.split_version(theirs.base)[0] == own
            if is_copy or _is_meant_for(mount, service, change.key, planned.stack):
                words = f"mounts {mount.name} for {change.key}, which this tool did not make: it keeps that value"
                of_stack = f"{quoted(mount.name)}{stacks.option(theirs.stack or planned.stack)}"
                yield Obstacle(not is_moved, service.name, words, f"manage-secrets adopt {of_stack} takes it over")


def of_another_stack(
    change: Change, planned: RotationPlan, secrets: Iterable[SwarmSecret], services: Iterable[RotatedService]
) -> Iterator[Obstacle]:
    """Yield services that keep their value, since they mount the same key of another stack, or of none.

    With a stack these are its own services; without one, all of them where nothing moves: their stack may be meant.
    """
    others = {secret.id: secret for secret in secrets if secret.key == change.key and secret.stack != planned.stack}
    is_moved = any(move.new_name == change.name for moves in planned.moves.values() for move in moves)
    for service in services:
        if service.stack != planned.stack if planned.stack else is_moved:
            continue
        for mount in service.mounts:
            if (other := others.get(mount.secret_id)) is None:
                continue
            of_stack = stacks.described(other.stack)
            words = f"mounts {mount.name} of {of_stack} for {change.key}: it keeps that value"
            hint = f"rotate that one {f'with{stacks.option(other.stack)}' if other.stack else 'without --stack'}"
            if planned.stack:
                base, variable = names.split_version(change.name)[0], versions_file.variable(change.key)
                hint = f"name {base}.v${{{variable}:-1}} in its stack file and deploy it, or {hint}"
            yield Obstacle(bool(planned.stack) and not is_moved, service.name, words, hint)


def _is_meant_for(mount: SecretMount, service: RotatedService, key: str, stack: str) -> bool:
    own = names.file_name(key)
    if stack and service.stack not in ("", stack):
        return False
    if stack and mount.target == own:
        return True
    prefixes = "|".join(re.escape(f"{prefix}_") for prefix in {stack, service.stack} if prefix)
    pattern = rf"(?:{prefixes})?{re.escape(own)}(?:[._-]?v?[0-9]+)?"
    return re.fullmatch(pattern, mount.name, re.IGNORECASE) is not None
