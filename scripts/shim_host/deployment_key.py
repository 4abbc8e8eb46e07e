"""The random key of a deployment's fingerprints: in `./secrets`, or in the Swarm for all its operators.

Where a Swarm answers, its key counts, since the labels there were made under it. A folder's own key becomes the Swarm's
when that has none. What only looks makes a key for itself where there is none, and keeps nothing.
"""

import secrets as randomness
from collections.abc import Mapping
from contextlib import suppress

from shim.secret import Secret
from shim_host.errors import Ended, Refused
from shim_host.fingerprints import KEY_BYTES, Fingerprints
from shim_host.store.vault import Vault
from shim_host.swarm import labels
from shim_host.swarm.connection import Swarm

FILE = ".fingerprint-key"


def of_swarm(salt: bytes, store: Vault, engine: Swarm) -> Fingerprints:
    """Return what makes the fingerprints of the Swarm's versions, as it is; nothing is kept yet."""
    return looking(salt, store, labels.fingerprint_key(engine))


def looking(salt: bytes, store: Vault, swarm_key: bytes | None = None) -> Fingerprints:
    """Return what makes fingerprints for a command that changes nothing; *swarm_key* is the key that the Swarm has."""
    if salt:
        return Fingerprints(salt=salt)
    kept = swarm_key or _in_folder(store)
    return Fingerprints(deployment_key=kept or randomness.token_bytes(KEY_BYTES))


def of_folder(salt: bytes, store: Vault) -> Fingerprints:
    """Return what makes fingerprints where there is no Swarm; a new key is kept in the folder, if that is there."""
    prints = looking(salt, store)
    if not salt and store.path.is_dir() and _in_folder(store) is None and not store.is_anothers():
        with suppress(Ended), store.writing() as writer:  # one that is closed to us can be looked at all the same
            writer.write(FILE, prints.question + b"\n")
    return prints


def kept_in_swarm(prints: Fingerprints, engine: Swarm, values: Mapping[str, Secret] | None = None) -> Fingerprints:
    """Keep the key of *prints* in the Swarm, unless it has one; return what makes fingerprints from now on.

    Labels of the time before there was a key get fingerprints under it; *values*, by key, are what is known here.
    """
    if prints.salt:
        return prints
    kept = Fingerprints(deployment_key=labels.keep_fingerprint_key(engine, prints.deployment_key))
    labels.take_over(engine, kept, values)
    return kept


def _in_folder(store: Vault) -> bytes | None:
    entry = store.read(FILE)
    if entry is None:
        return None
    key = b""
    with suppress(ValueError):
        key = bytes.fromhex(entry.value.reveal().decode("ascii"))
    if len(key) != KEY_BYTES:
        raise Refused(f"{store.shown(FILE)} holds no key", "remove it: the next run makes a new one")
    return key
