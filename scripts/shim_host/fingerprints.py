"""How values are compared without being shown: under the key of the deployment, or with a salt that somebody chose.

Values, the key and the salt come in; fingerprints and marks leave, which say nothing to whoever lacks the key.
"""

import hmac
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from shim.secret import Secret, clean, fingerprint, keyed

KEY_BYTES = 32
_SALT, _HMAC, _SEALED = "", "hmac-", "key-"  # how a mark begins, by what makes the fingerprints


class Fingerprints(NamedTuple):
    """What makes the fingerprints of one deployment: its key, or the *salt* where one was given."""

    salt: bytes = b""
    deployment_key: bytes = b""
    seals: bool = False  # under the key, but made of the slow one without it, as labels were at first

    def of(self, key: str, value: Secret) -> str:
        """Return the fingerprint of *value* as a service sees it; its shim makes the same."""
        seen = clean(value.reveal())
        if self.deployment_key and not self.seals:
            return keyed(seen, key, self.deployment_key)
        return self._sealed(fingerprint(seen, key, self.salt))

    def of_all(self, values: Mapping[str, Secret]) -> dict[str, str]:
        """Return the fingerprint of each key's value; with a salt all cores share the work."""
        if self.deployment_key:
            return {key: self.of(key, value) for key, value in values.items()}
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor() as pool:
            return dict(zip(values, pool.map(self.of, values.keys(), values.values()), strict=True))

    @property
    def mark(self) -> str:
        """Return what tells these fingerprints from those of another key or salt, showing neither."""
        kind = _SALT if not self.deployment_key else _SEALED if self.seals else _HMAC
        return kind + _mark(self)

    @property
    def question(self) -> bytes:
        """Return what a shim reads on stdin to make the same fingerprints; nothing where a salt makes them."""
        return self.deployment_key.hex().encode()

    def is_own(self, mark: str) -> bool:
        """Return whether what has *mark* can be compared with a value: it was made with this key, now or at first."""
        return self._of_mark(mark) is not None

    def is_of(self, key: str, value: Secret, mark: str, its_fingerprint: str) -> bool:
        """Return whether *its_fingerprint*, which has *mark*, is known to be that of *value*."""
        made_by = self._of_mark(mark)
        return made_by is not None and made_by.of(key, value) == its_fingerprint

    def taken_over(self, mark: str, its_fingerprint: str) -> tuple[str, str]:
        """Return *mark* and *its_fingerprint* as they are now; those of the time before there was a key get one."""
        if self.deployment_key and mark == WITHOUT_KEY.mark and its_fingerprint:
            return self._at_first.mark, self._sealed(its_fingerprint)
        return mark, its_fingerprint

    @property
    def _at_first(self) -> "Fingerprints":
        return self._replace(seals=True)

    def _of_mark(self, mark: str) -> "Fingerprints | None":
        if mark == self.mark:
            return self
        return self._at_first if self.deployment_key and mark == self._at_first.mark else None

    def _sealed(self, unkeyed: str) -> str:
        if not self.deployment_key:
            return unkeyed
        text = hmac.new(self.deployment_key, unkeyed.encode(), "sha256").hexdigest()
        return f"{text[:4]}-{text[4:8]}-{text[8:12]}"


@cache  # asked for with every version, and slow with a salt
def _mark(prints: Fingerprints) -> str:
    return prints.of("salt", Secret(b""))


# What releases before the deployment had a key wrote, unless a salt was given: anybody can make it.
WITHOUT_KEY = Fingerprints()
