"""A key that a service mounts more than once: which mounts are of the current version, and which trail it."""

import re
from collections.abc import Mapping

from shim_host import names

# What a target is called that holds the version before the one in use: tokens signed with that are still verified.
_TRAILING = re.compile(r"(?P<stem>.+)[._-](?:previous|prev|old)", re.IGNORECASE)


def is_behind(mounted: Mapping[str, int], key: str, used: int) -> bool:
    """Return whether a service mounts only versions of *key* older than *used*, and one of them as the current one.

    Args:
        mounted: the versions that it mounts, by target.
        key: whose versions they are.
        used: the version that counts.
    """
    return bool(leading(mounted, key)) and max(mounted.values()) < used


def leading(mounted: Mapping[str, int], key: str) -> dict[str, int]:
    """Return the mounts that are meant for the current version: all but those whose name says that they trail it."""
    stems = {*mounted, names.file_name(key)}
    found = {}
    for target, version in mounted.items():
        match = _TRAILING.fullmatch(target)
        if match is None or match["stem"] not in stems:
            found[target] = version
    return found
