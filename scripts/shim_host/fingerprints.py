"""How values are compared without being shown: under the key of the deployment, or with a salt that somebody chose.

Values, the key and the salt come in; fingerprints and marks leave, which say nothing to whoever lacks the key.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

from shim.secret import Secret, clean, fingerprint, keyed

KEY_BYTES = 32


class Fingerprints(NamedTuple):
    """What makes the fingerprints of one deployment: its key, or the *salt* where one was given."""

    salt: bytes = b""
    deployment_key: bytes = b""

    def of(self, key: str, value: Secret) -> str:
        """Return the fingerprint of *value* as a service sees it; its shim makes the same."""
        return self._sealed(fingerprint(clean(value.reveal()), key, self.salt))

    def of_all(self, values: Mapping[str, Secret]) -> dict[str, str]:
        """Return the fingerprint of each key's value; all cores share the work."""
        with ThreadPoolExecutor() as pool:
            return dict(zip(values, pool.map(self.of, values.keys(), values.values()), strict=True))

    @property
    def mark(self) -> str:
        """Return what tells these fingerprints from those of another key or salt, showing neither."""
        return f"key-{_mark(self)}" if self.deployment_key else _mark(self)

    @property
    def question(self) -> bytes:
        """Return what a shim reads on stdin to make the same fingerprints; nothing where a salt makes them."""
        return self.deployment_key.hex().encode()

    def taken_over(self, mark: str, its_fingerprint: str) -> tuple[str, str]:
        """Return *mark* and *its_fingerprint* as they are now; those of the time before there was a key get one."""
        if self.deployment_key and mark == WITHOUT_KEY.mark and its_fingerprint:
            return self.mark, self._sealed(its_fingerprint)
        return mark, its_fingerprint

    def _sealed(self, unkeyed: str) -> str:
        return keyed(unkeyed, self.deployment_key) if self.deployment_key else unkeyed


@cache  # as slow as a fingerprint, and asked for with every version
def _mark(prints: Fingerprints) -> str:
    return prints.of("salt", Secret(b""))


# What releases before the deployment had a key wrote, unless a salt was given: anybody can make it.
WITHOUT_KEY = Fingerprints()
