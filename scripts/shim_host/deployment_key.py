"""The random key of a deployment's fingerprints: in `./secrets`, or in the Swarm for all its operators.

Where a Swarm answers, its key counts, since the labels there were made under it. A folder's own key becomes the Swarm's
when that has none. What only looks makes a key for itself where there is none, and keeps nothing.
"""

import os
import secrets as randomness
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from shim.secret import Secret
from shim_host import output
from shim_host.errors import Ended, Refused
from shim_host.files import is_own, is_unknown
from shim_host.fingerprints import KEY_BYTES, Fingerprints
from shim_host.shell import quoted
from shim_host.store.vault import FILE_MODE, Vault, Writer, has_private_modes
from shim_host.swarm import labels
from shim_host.swarm.connection import Swarm

FILE = ".fingerprint-key"


class Doubt(NamedTuple):
    """Why the key in a folder is not only its owner's; one that others could have chosen is not used."""

    message: str
    command: str  # what repairs it
    is_used: bool

    def repair(self, writer: Writer) -> None:
        """Make the key its owner's alone, or let the next run make another."""
        if self.is_used:
            writer.restrict(FILE)
        else:
            writer.remove(FILE)


def doubt(store: Vault) -> Doubt | None:
    """Return why others may know the key in the folder; None where they cannot, or where there is none."""
    path = store.path / FILE
    try:
        found, folder = os.lstat(path), os.stat(store.path)
    except OSError:
        return None
    mode, remove = stat.S_IMODE(found.st_mode), f"rm {quoted(str(path))}"
    if not stat.S_ISREG(found.st_mode):
        return Doubt("is not a regular file", remove, is_used=False)
    if not has_private_modes():
        return None
    is_folders = found.st_uid == folder.st_uid and not is_unknown(found.st_uid)
    if not (is_folders or found.st_uid == 0 or is_own(found.st_uid)):
        return Doubt("belongs to somebody else", remove, is_used=False)
    if mode & 0o022:
        return Doubt(f"can be written by others (mode {mode:04o})", remove, is_used=False)
    if mode & ~FILE_MODE:
        return Doubt(
            f"can be read by others (mode {mode:04o})", f"chmod {FILE_MODE:o} {quoted(str(path))}", is_used=True
        )
    return None


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
    kept = None if salt else _in_folder(store)
    prints = looking(salt, store, kept or randomness.token_bytes(KEY_BYTES))
    if not salt and kept is None and store.path.is_dir() and not store.is_anothers():
        with suppress(Ended), store.writing() as writer:  # one that is closed to us can be looked at all the same
            writer.remove(FILE)  # what replaces somebody else's is not theirs, too
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
    found = doubt(store)
    if found is not None and not found.is_used:
        output.warn(f"{store.shown(FILE)} {found.message}, and is not used", found.command)
        return None
    entry = store.read(FILE)
    if entry is None:
        return None
    key = b""
    with suppress(ValueError):
        key = bytes.fromhex(entry.value.reveal().decode("ascii"))
    if len(key) != KEY_BYTES:
        raise Refused(f"{store.shown(FILE)} holds no key", "remove it: the next run makes a new one")
    return key
