"""The drift guard of `validate --swarm`: files, Swarm, services, versions file and stack files that disagree.

Each finding has a direction: the hint is the command that fixes what it is about.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, ScalarNode

from shim_host import names, output, validation
from shim_host.compose import nodes
from shim_host.compose.project import interpolated
from shim_host.env.compose_rules import InvalidReference
from shim_host.errors import Ended, Refused
from shim_host.fingerprints import Fingerprints
from shim_host.rotate import swarm_begin as begin
from shim_host.rotate import swarm_plan
from shim_host.shell import quoted
from shim_host.store.vault import Entry
from shim_host.swarm import model, stacks, versions_file
from shim_host.swarm.lock import Lock
from shim_host.swarm.model import SwarmSecret, SwarmService
from shim_host.swarm.mounts import is_behind
from shim_host.validation import Fault, Subject

_STACK_FILES = ("*stack*.yml", "*stack*.yaml", "*swarm*.yml", "*swarm*.yaml", "*compose*.yml", "*compose*.yaml")


class Swarm(NamedTuple):
    """What a Swarm holds of one stack, and who runs it."""

    stack: str
    secrets: tuple[SwarmSecret, ...]  # of that stack
    services: tuple[SwarmService, ...]
    newest: Mapping[str, SwarmSecret]
    others: tuple[SwarmSecret, ...] = ()  # of no stack, or of another one
    foreign: tuple[SwarmSecret, ...] = ()  # of this stack, or of none, made by somebody else
    unmanaged: frozenset[str] = frozenset()  # the names of all that somebody else made

    def sync(self, key: str, option: str = "") -> str:
        """Return the command that brings *key* together."""
        return f"manage-secrets sync {quoted(key)}{option}{stacks.option(self.stack)}"


def swarm_of(secrets: Iterable[SwarmSecret], services: Iterable[SwarmService], stack: str) -> Swarm:
    """Return what concerns *stack*."""
    secrets = list(secrets)
    own = tuple(stacks.of_stack(secrets, stack))
    others = tuple(secret for secret in secrets if secret.key and secret.stack != stack)
    foreign = tuple(
        secret for secret in secrets if not secret.key and secret.stack in ("", stack) and not secret.template
    )
    unmanaged = frozenset(secret.name for secret in secrets if not secret.key)
    return Swarm(stack, own, tuple(services), model.newest(own, stack), others, foreign, unmanaged)


def findings(
    subject: Subject, swarm: Swarm, prints: Fingerprints, lock_file: Path, folder: Path, given: Sequence[Path] = ()
) -> list[Fault]:
    """Return everything that disagrees.

    Args:
        subject: the files of ./secrets.
        swarm: what the Swarm holds.
        prints: what compares the two.
        lock_file: which versions the next deployment names.
        folder: where the stack files are.
        given: those that were named, too.
    """
    versions = versions_file.read(lock_file)
    return [
        *_of_files(subject, swarm, prints),
        *_of_services(swarm),
        *_of_other_stacks(swarm),
        *_of_others(subject, swarm),
        *_of_versions_file(lock_file, versions, swarm),
        *_of_stack_files([*given, *_stack_files(folder)], versions, swarm),
    ]


def _of_files(subject: Subject, swarm: Swarm, prints: Fingerprints) -> Iterator[Fault]:
    """Files whose value is not the newest version's: whichever was written last counts."""
    entries = validation.entries_by_key(subject)
    for key, entry in entries.items():
        newest = swarm.newest.get(key)
        if newest is None or not prints.is_own(newest.salt):
            continue
        of_key = swarm_plan.of_key(swarm.secrets, key, swarm.stack)
        holding = [secret for secret in of_key if _holds(secret, entry, prints)]
        if newest in holding:
            continue
        older = next((secret.name for secret in holding), "")
        path = subject.store.path / entries[key].name
        if older or not _is_newer(path, newest):
            has = f"the value of {older}" if older else "another value, written before it"
            message = f"is newer than the file, which has {has}"
            yield Fault("drift", key, newest.name, message, swarm.sync(key, " --to-files"))
        else:
            yield Fault("drift", key, newest.name, "is older than the file", swarm.sync(key, " --from-files"))


def _holds(secret: SwarmSecret, entry: Entry, prints: Fingerprints) -> bool:
    return prints.is_of(secret.key, entry.value, secret.salt, secret.fingerprint)


def _is_newer(path: Path, version: SwarmSecret) -> bool:
    try:
        return path.stat().st_mtime >= datetime.fromisoformat(version.created).timestamp()
    except (OSError, ValueError):
        return True


def _of_services(swarm: Swarm) -> Iterator[Fault]:
    """Services that mount only versions older than the newest; one that has current and previous may keep the pair."""
    for service in swarm.services:
        for key, newest in swarm.newest.items():
            numbers = {secret.id: secret for secret in swarm_plan.of_key(swarm.secrets, key, swarm.stack)}
            mounted = {t: numbers[at] for at, targets in service.mounts.items() if at in numbers for t in targets}
            versions = {target: secret.version for target, secret in mounted.items()}
            if versions and is_behind(versions, newest.key, newest.version):
                its = max(mounted.values(), key=lambda secret: secret.version)
                message = f"mounts {its.name}, and {newest.name} is the newest"
                yield Fault("stale", key, service.name, message, swarm.sync(key))


def _of_other_stacks(swarm: Swarm) -> Iterator[Fault]:
    """Services of the stack that mount a key of no stack, or of another one, although it has its own."""
    others = {secret.id: secret for secret in swarm.others}
    for service in swarm.services:
        if not swarm.stack or service.stack != swarm.stack:
            continue
        for mounted in (others[at] for at in service.mounts if at in others):
            if (newest := swarm.newest.get(mounted.key)) is not None:
                message = f"mounts {mounted.name} of {stacks.described(mounted.stack)}, and not {newest.name}"
                yield Fault("stale", mounted.key, service.name, message, _in_stack_file(newest))


def _of_others(subject: Subject, swarm: Swarm) -> Iterator[Fault]:
    """Services that mount a secret for one of the keys here which somebody else made, or whose labels are damaged."""
    known = [*(subject.schema.keys if subject.schema else ()), *validation.entries_by_key(subject), *swarm.newest]
    foreign = {secret.id: secret for secret in swarm.foreign}
    for service in swarm.services:
        for secret, targets in ((foreign[at], its) for at, its in service.mounts.items() if at in foreign):
            if secret.stack != swarm.stack and service.stack != swarm.stack:
                continue
            base = names.split_version(secret.base)[0]
            copied = next((target for target in targets if names.is_copy(base, target, service.stack)), base)
            key = next((key for key in (names.key_of(name, known) for name in (base, copied)) if key in known), "")
            if key:
                message = f"mounts {secret.name}, which this tool did not make"
                hint = f"manage-secrets adopt {quoted(secret.name)}{stacks.option(swarm.stack)}"
                yield Fault("unmanaged", key, service.name, message, hint)


def _of_versions_file(path: Path, versions: Mapping[str, int], swarm: Swarm) -> Iterator[Fault]:
    """Keys for which the next deployment would not name the newest version."""
    deployed = {at for service in swarm.services if service.stack for at in service.mounts}
    for key, newest in swarm.newest.items():
        of_key = swarm_plan.of_key(swarm.secrets, key, swarm.stack)
        variable = versions_file.variable(key)
        named = versions.get(variable, 1)
        if named == newest.version or (variable not in versions and not deployed & {s.id for s in of_key}):
            continue
        is_there = any(secret.version == named for secret in of_key)
        of_newest = f"and {newest.name} is the newest" if is_there else f"which is not there; {newest.name} is"
        yield Fault("lock", key, str(path), f"names version {named}, {of_newest}", swarm.sync(key))


def unfinished(lock: Lock | None) -> Iterator[Fault]:
    """Yield the rotation that holds *lock*: what disagrees may be its doing, and other commands wait for its end."""
    if lock is not None:
        try:
            why = begin.busy(lock)
        except Refused as refused:  # by another release
            why = refused
        yield Fault("rotation", "", "", why.message, why.hints[0])


def _stack_files(folder: Path) -> Iterator[Path]:
    for pattern in _STACK_FILES:
        yield from sorted(folder.glob(pattern))


def _of_stack_files(paths: Iterable[Path], versions: Mapping[str, int], swarm: Swarm) -> Iterator[Fault]:
    """Stack files that name a version which is not there, or one by number where a newer one is."""
    bases = {names.split_version(newest.name)[0]: newest for newest in swarm.newest.values()}
    there = {secret.name for secret in swarm.secrets}
    for path in {path.absolute(): path for path in paths}.values():
        for raw in _external_names(path):
            try:
                name = interpolated(raw, lambda variable: str(versions[variable]) if variable in versions else None)
            except InvalidReference:
                continue  # stack deploy says so itself
            newest = bases.get(names.split_version(name)[0])
            if newest is None or name == newest.name or name in swarm.unmanaged:
                continue
            hint = _in_stack_file(newest)
            if name not in there:
                yield Fault("stack-file", newest.key, path.name, f"names {name}, which is not in the Swarm", hint)
            elif "$" not in raw:
                message = (
                    f"names {name} itself, and {newest.name} is the newest: the next stack deploy would go back to it"
                )
                yield Fault("stack-file", newest.key, path.name, message, hint)


def _in_stack_file(newest: SwarmSecret) -> str:
    """Return what is to be written into a stack file so that it names *newest*."""
    base, variable = names.split_version(newest.name)[0], versions_file.variable(newest.key)
    return f"write name: {base}.v${{{variable}:-1}} in the stack file, and deploy with the versions file"


def _external_names(path: Path) -> Iterator[str]:
    """Yield the names of the external secrets that a stack file has, as they are written."""
    try:
        documents = nodes.load(path, path.parent)
    except Ended as ended:
        output.detail(f"{path} is not a stack file: {ended.message}")
        return
    for item in (item for document in documents for item in nodes.items(nodes.child(document.root, "secrets"))):
        definition, external = item.value, nodes.child(item.value, "external")
        is_external = isinstance(external, MappingNode) or (
            isinstance(external, ScalarNode) and nodes.scalar(external) not in (None, "", "false")
        )
        name = nodes.child(definition, "name") or nodes.child(external, "name")
        if is_external and (text := nodes.scalar(name) if isinstance(name, ScalarNode) else item.key):
            yield text
