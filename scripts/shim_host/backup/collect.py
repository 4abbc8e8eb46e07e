"""What there is to save: the files of ./secrets and the secrets of the Swarm become the items of a backup. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from shim.secret import Secret, clean
from shim_host import names
from shim_host.backup import document
from shim_host.backup.document import Item
from shim_host.store.vault import Entry
from shim_host.swarm.model import SwarmSecret
from shim_host.swarm.versions import fingerprint_of, salt_mark

ONLY_IN_SWARM = "it is in the Swarm only, which never gives a value back"


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
    """Return the keys that *secrets* are versions of; one that this tool did not make is a key of its own."""
    grouped: dict[tuple[str, str, str], list[SwarmSecret]] = {}
    for secret in secrets:
        grouped.setdefault((secret.key, secret.stack, "" if secret.key else secret.name), []).append(secret)
    return [
        SwarmKey(key or names.key_of(name), stack, tuple(sorted(versions, key=lambda secret: -secret.version)))
        for (key, stack, name), versions in sorted(grouped.items())
    ]


def of_folder(entries: Mapping[str, Entry], known: Iterable[str]) -> list[Item]:
    """Return the items of the files in ./secrets; *known* are the keys that the schema names."""
    keys = names.keys_of(entries, known)
    return [Item(keys[name], name, entry.value, document.FOLDER, entry.mode) for name, entry in entries.items()]


def with_swarm(items: Iterable[Item], swarm: Iterable[SwarmKey], values: Mapping[str, Secret]) -> list[Item]:
    """Return *items* together with what is in the Swarm.

    A key of no stack is the file of that key. Its value is the file's, or else the one that was read from the Swarm.

    Args:
        items: what the folder holds.
        swarm: what the Swarm holds.
        values: what was read back from it, by the name of the version.
    """
    merged = {item.file: item for item in items}
    taken = {name.casefold() for name in merged}
    for found in swarm:
        about = tuple(_about(version) for version in found.versions)
        file = _plain_name(found)
        if file in merged and not merged[file].swarm:
            merged[file] = merged[file]._replace(swarm=about)
            continue
        file = _free_name(found, taken)
        taken.add(file.casefold())
        value = values.get(found.newest.name)
        absent = "" if value is not None else ONLY_IN_SWARM
        merged[file] = Item(found.key, file, value, document.SWARM, swarm=about, absent=absent)
    return list(merged.values())


def differing(items: Iterable[Item], values: Mapping[str, Secret]) -> list[str]:
    """Return the files whose value is not what the newest version in the Swarm has, as a service would see the two."""
    return [
        item.file
        for item in items
        if item.value is not None
        and item.swarm
        and (read := values.get(item.swarm[0]["name"])) is not None
        and clean(read.reveal()) != clean(item.value.reveal())
    ]


def misread(swarm: Iterable[SwarmKey], values: Mapping[str, Secret], salt: bytes) -> list[str]:
    """Return the versions whose value, as it was read back, has not the fingerprint that it had when it was made.

    Versions without a fingerprint, or with one of another salt, cannot be checked and do not count.
    """
    mark = salt_mark(salt)
    newest = [found.newest for found in swarm if found.newest.fingerprint and found.newest.salt == mark]
    return [
        version.name
        for version in newest
        if fingerprint_of(version.key, values[version.name], salt) != version.fingerprint
    ]


def _plain_name(found: SwarmKey) -> str:
    if found.stack or not found.key:
        return ""
    return names.file_name(found.key) if found.newest.key else found.newest.name


def _free_name(found: SwarmKey, taken: set[str]) -> str:
    """Return a file name that no other item has, not even when case is ignored; names in the Swarm are unique."""
    own = names.file_name(found.key) if found.key else ""
    base, _ = names.split_version(found.newest.name)
    for name in (_plain_name(found), own, base, found.newest.name):
        if name and document.is_file_name(name) and name.casefold() not in taken:
            return name
    return names.encoded(found.newest.name)


def _about(version: SwarmSecret) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "created": version.created,
        "stack": version.stack,
        "fingerprint": version.fingerprint,
    }
