"""What is known about versions that are gone: who made them, when, and what became of them. Labels keep it.

The label holds a list of `[number, created, by]`, and `[number, created, by, end, when, by whom]` for a version that
was left again: `end` is `ROLLED_BACK` or `TAKEN_BACK`. No number in it is ever given to another version.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from shim_host.swarm.model import SwarmSecret

ROLLED_BACK, TAKEN_BACK = "rolled back", "taken back"
_LENGTH = 50
_SHORT, _LONG = 3, 6


class Past(NamedTuple):
    """A version that was; `end`, `ended` and `ended_by` are empty when another took its place."""

    number: int
    created: str
    by: str
    end: str = ""
    ended: str = ""
    ended_by: str = ""


def past(secret: SwarmSecret) -> list[Past]:
    """Return what *secret* tells of other versions of its key, the oldest first."""
    try:
        found = json.loads(secret.history or "[]")
    except ValueError:
        return []
    items = found if isinstance(found, list) else []
    good = [item for item in items if isinstance(item, list) and len(item) in (_SHORT, _LONG)]
    told = [Past(item[0], *map(str, item[1:])) for item in good if isinstance(item[0], int)]
    return sorted(told, key=lambda one: one.number)


def text(entries: Iterable[Past]) -> str:
    """Return *entries* as the label holds them: one a number, the last word on it, and not without end."""
    last = {entry.number: entry for entry in entries}
    kept = sorted(last.values(), key=lambda one: one.number)[-_LENGTH:]
    return json.dumps([list(one if one.end else one[:_SHORT]) for one in kept])


def after(before: Iterable[SwarmSecret]) -> str:
    """Return the history of a new version: what each of those *before* it tells, and themselves."""
    entries: list[Past] = []
    for secret in sorted(before, key=lambda secret: secret.version):
        entries += [*past(secret), Past(secret.version, secret.created, secret.by)]
    # What was left again stays so, whoever tells of it without knowing that.
    entries.sort(key=lambda entry: bool(entry.end))
    return text(entries)


def left(kept: SwarmSecret, gone: Iterable[SwarmSecret], end: str, when: str, by: str) -> str:
    """Return the history of *kept* once the *gone* versions were left for it."""
    return text([*past(kept), *(Past(s.version, s.created, s.by, end, when, by) for s in gone)])


def told(versions: Iterable[SwarmSecret]) -> dict[int, Past]:
    """Return by number what *versions* of a key tell of themselves and of others; of an end before all else."""
    found: dict[int, Past] = {}
    for entry in (entry for secret in versions for entry in past(secret)):
        if entry.end or entry.number not in found:
            found[entry.number] = entry
    return found


def last_number(versions: Iterable[SwarmSecret]) -> int:
    """Return the highest number that one of a key's versions has or ever had."""
    return max((n for s in versions for n in (s.version, *(entry.number for entry in past(s)))), default=0)
