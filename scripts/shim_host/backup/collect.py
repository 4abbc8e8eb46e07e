"""What there is to save: the files of ./secrets and the secrets of the Swarm become the items of a backup. No I/O."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from shim.secret import Secret, clean
from shim_host import names
from shim_host.backup import document
from shim_host.backup.document import Item
from shim_host.fingerprints import Fingerprints
from shim_host.store.vault import Entry
from shim_host.swarm.model import SwarmSecret

ONLY_IN_SWARM = "it is in the Swarm only, which never gives a value back"
OF_A_TEMPLATE = "a template fills it in when a task starts, and its text cannot be read back"


class SwarmKey(NamedTuple):
    """A key in the Swarm, or a secret that somebody else made there: all its versions, newest first."""

    key: str
    stack: str
    versions: tuple[SwarmSecret, ...]

    @property
    def newest(self) -> SwarmSecret:
        """Return the version whose value is saved."""
        return self.versions[0]


def swarm_keys(secrets: Iterable[SwarmSecret]) -> list[SwarmKey]:
    """Return the keys that *secrets* are versions of; one that this tool did not make is a key of its own.

    Ansible's rolling versions are versions of one: each says in a label which it is.
    """
    grouped: dict[tuple[str, str, str], list[SwarmSecret]] = {}
    for secret in secrets:
        own = "" if secret.key else secret.base if secret.version else secret.name
        grouped.setdefault((secret.key, secret.stack, own), []).append(secret)
    found = []
    for (key, stack, _), versions in sorted(grouped.items()):
        versions.sort(key=lambda secret: -secret.version)
        found.append(SwarmKey(key or names.key_of(versions[0].base), stack, tuple(versions)))
    return found


def of_folder(entries: Mapping[str, Entry], known: Iterable[str], stack: str = "") -> list[Item]:
    """Return the items of the files in ./secrets, or in the folder of *stack*; *known* are the keys of the schema."""
    keys = names.keys_of(entries, known)
    return [
        Item(keys[name], name, entry.value, document.FOLDER, entry.mode, stack=stack) for name, entry in entries.items()
    ]


def with_swarm(
    items: Iterable[Item],
    swarm: Iterable[SwarmKey],
    values: Mapping[str, Secret],
    holds: Callable[[SwarmSecret, Secret], bool],
) -> list[Item]:
    """Return *items* together with what is in the Swarm.

    A key is the file of that key in the folder of its stack. Its value is the file's, or else the one that was read
    from the Swarm. Where a stack has no folder of its own, and a file of ./secrets has the very value, it is that file.

    Args:
        items: what the folders hold.
        swarm: what the Swarm holds.
        values: what was read back from it, by the name of the version.
        holds: whether a version is known to hold a value, by its fingerprint.
    """
    merged = {(item.stack, item.file): item for item in items}
    taken = {(stack, file.casefold()) for stack, file in merged}
    spelled = {
        (item.stack, item.key): item.file for item in merged.values() if item.key
    }  # `DB_PASSWORD`, `db-password`
    for found in sorted(swarm, key=lambda one: not one.newest.key):  # what we made comes first, and has its key's name
        about = tuple(_about(version) for version in found.versions)
        value = values.get(found.newest.name)
        plain, key = _plain_name(found), found.key if found.newest.key else ""
        at, flat = ((stack, spelled.get((stack, key), plain)) for stack in (found.stack, ""))
        was_adopted = not key and at in merged and bool(merged[at].swarm)
        if was_adopted and value is not None and _is_same(merged[at].value, value, found.newest, holds):
            continue  # a version of ours has the value
        if at in merged and not merged[at].swarm:
            merged[at] = merged[at]._replace(swarm=about)
            continue
        if found.stack and flat in merged and _is_same(merged[flat].value, value, found.newest, holds):
            merged[flat] = merged[flat]._replace(swarm=(*merged[flat].swarm, *about))
            continue
        file = _free_name(found, taken)
        taken.add((found.stack, file.casefold()))
        absent = "" if value is not None else OF_A_TEMPLATE if found.newest.template else ONLY_IN_SWARM
        item = Item(found.key, file, value, document.SWARM, swarm=about, absent=absent, stack=found.stack)
        merged[found.stack, file] = item
    return list(merged.values())


def _is_same(
    in_file: Secret | None, read: Secret | None, version: SwarmSecret, holds: Callable[[SwarmSecret, Secret], bool]
) -> bool:
    """Return whether a file is known to have what *version* has: by what was *read* back, else by the fingerprint."""
    if in_file is None:
        return False
    return clean(read.reveal()) == clean(in_file.reveal()) if read is not None else holds(version, in_file)


def differing(
    items: Iterable[Item], swarm: Iterable[SwarmKey], values: Mapping[str, Secret], prints: Fingerprints
) -> list[str]:
    """Return the files whose value is not what the newest version in the Swarm has, as a service would see the two.

    That is known by what was read back, else by its fingerprint, where one of this key or salt is there.
    """
    newest = {found.newest.name: found.newest for found in swarm}

    def differs(value: Secret, version: SwarmSecret) -> bool:
        if (read := values.get(version.name)) is not None:
            return clean(read.reveal()) != clean(value.reveal())
        is_known = version.fingerprint and not version.template and prints.is_own(version.salt)
        return bool(is_known) and not prints.is_of(version.key, value, version.salt, version.fingerprint)

    return [
        item.shown
        for item in items
        if item.value is not None and item.swarm and differs(item.value, newest[item.swarm[0]["name"]])
    ]


def misread(swarm: Iterable[SwarmKey], values: Mapping[str, Secret], prints: Fingerprints) -> list[str]:
    """Return the versions whose value, as it was read back, has not the fingerprint that it had when it was made.

    Versions without a fingerprint, or with one of another key or salt, cannot be checked and do not count.
    """
    return [
        version.name
        for version in (found.newest for found in swarm)
        if version.name in values
        and version.fingerprint
        and prints.is_own(version.salt)
        and not prints.is_of(version.key, values[version.name], version.salt, version.fingerprint)
    ]


def _plain_name(found: SwarmKey) -> str:
    if not found.key:
        return ""
    return names.file_name(found.key) if found.newest.key else found.newest.base


def _free_name(found: SwarmKey, taken: set[tuple[str, str]]) -> str:
    """Return a file name that no other item of the stack has, not even when case is ignored."""
    own = names.file_name(found.key) if found.key else ""
    base, _ = names.split_version(found.newest.name)
    for name in (_plain_name(found), own, base, found.newest.name):
        if name and document.is_file_name(name) and (found.stack, name.casefold()) not in taken:
            return name
    return names.encoded(found.newest.name)


def _about(version: SwarmSecret) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "created": version.created,
        "stack": version.stack,
        "fingerprint": version.fingerprint,
        **({"template": version.template} if version.template else {}),
    }
