"""Which key the labels of versions are made under, and how those of the time before there was one get theirs.

Beside that key is what outlives the versions themselves: the last number that each key ever had.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from shim.secret import Secret
from shim_host import output
from shim_host.errors import Failed
from shim_host.fingerprints import KEY_BYTES, Fingerprints
from shim_host.swarm.connection import Swarm
from shim_host.swarm.model import FINGERPRINT, LABEL, SALT, SwarmSecret

KEY_CONFIG = LABEL + "fingerprint-key"
_NUMBERS = LABEL + "numbers"


class Last(NamedTuple):
    """The highest number that a key ever had in this Swarm, and the fingerprint of the value it had."""

    number: int
    fingerprint: str


def fingerprint_key(engine: Swarm) -> bytes | None:
    """Return the key under which the fingerprints in this Swarm's labels are made; None when it has none yet.

    Raises:
        Failed: the engine does not answer, or what it keeps in that place is not a key.
    """
    if engine.is_open:
        return None  # whoever listens would have it, too
    key = engine.config(KEY_CONFIG)
    if key is not None and len(key) != KEY_BYTES:
        hint = f"see who created it: docker config inspect {KEY_CONFIG}; if it is removed, a new one is created"
        raise Failed(f"the config {KEY_CONFIG} holds no key", hint)
    return key


def keep_fingerprint_key(engine: Swarm, key: bytes) -> bytes:
    """Keep *key* in the Swarm, unless it has one already; return the one that it has."""
    there = fingerprint_key(engine)
    if there is not None:
        return there
    labels = {LABEL + "kind": "fingerprint-key"}
    try:
        engine.make_config(KEY_CONFIG, key, labels)
    except Failed:
        # It may have been done, or another operator was first; so what is there is read before it is tried again.
        if fingerprint_key(engine) is None:
            engine.make_config(KEY_CONFIG, key, labels)
    return fingerprint_key(engine) or key


def taken_over(
    secrets: Iterable[SwarmSecret], prints: Fingerprints, values: Mapping[str, Secret] | None = None
) -> list[SwarmSecret]:
    """Return *secrets* as *prints* labels them now: those from before there was a key count as if made under it.

    Those that were made under the key when its fingerprints were slow become what they are now where *values*, by key,
    has what they hold.
    """
    found = []
    for secret in secrets:
        mark, its_fingerprint = prints.taken_over(secret.salt, secret.fingerprint)
        value = (values or {}).get(secret.key)
        if value is not None and mark != prints.mark and prints.is_of(secret.key, value, mark, its_fingerprint):
            mark, its_fingerprint = prints.mark, prints.of(secret.key, value)
        found.append(replace(secret, salt=mark, fingerprint=its_fingerprint) if secret.key else secret)
    return found


def take_over(engine: Swarm, prints: Fingerprints, values: Mapping[str, Secret] | None = None) -> None:
    """Write that into the labels of the versions that it concerns."""
    there = engine.secrets()
    for before, now in zip(there, taken_over(there, prints, values), strict=True):
        if before != now:
            engine.label_secret(now.id, {FINGERPRINT: now.fingerprint, SALT: now.salt})


def last_numbers(engine: Swarm) -> dict[tuple[str, str], Last]:
    """Return the highest number that each key ever had, by stack and key; of versions that are all removed, too.

    A Swarm whose labels are made with a salt, and one from before this was kept, tell of none.
    """
    if engine.is_open:
        return {}  # what the config holds would travel for all to read
    try:
        found = json.loads(engine.config_label(KEY_CONFIG, _NUMBERS) or "{}")
        return {
            (stack, key): Last(int(number), str(fingerprint))
            for stack, keys in found.items()
            for key, (number, fingerprint) in keys.items()
        }
    except (ValueError, TypeError, AttributeError):
        output.warn(f"the label {_NUMBERS} of the config {KEY_CONFIG} is damaged", "numbers may be given a second time")
        return {}


def note_numbers(engine: Swarm) -> None:
    """Keep the highest numbers of what is there, and of what was there before.

    Where that fails nothing else does: each run notes all that is there.
    """
    if engine.is_open:
        return
    try:
        known = last_numbers(engine)
        last = dict(known)
        for secret in engine.secrets():
            at = secret.stack, secret.key
            if secret.key and secret.version > last.get(at, Last(0, "")).number:
                last[at] = Last(secret.version, secret.fingerprint)
        if last == known:
            return
        document: dict[str, dict[str, Last]] = {}
        for (stack, key), one in sorted(last.items()):
            document.setdefault(stack, {})[key] = one
        engine.label_config(KEY_CONFIG, {_NUMBERS: json.dumps(document, separators=(",", ":"))})
    except Failed as failed:  # the engine, or another operator who noted his at this moment
        output.detail(failed.message)
