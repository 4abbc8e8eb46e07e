"""What a container's shim answers to `explain --json`. A stranger's words: bounded, and checked before they count."""

import json
import re
from typing import NamedTuple

from shim_host.names import SHIM_PROGRAM

MOST_BYTES = 1 << 20  # a thousand keys with long paths are less than half of it
SECONDS = 20
_FINGERPRINT = re.compile(r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}")
_MOST_KEY_CHARACTERS = 256


class Explained(NamedTuple):
    """The fingerprints of what a container has, by key, and what they are made with: "hmac", "salt" or ""."""

    made_with: str
    fingerprints: dict[str, str]
    started: dict[str, str]  # of what its service was started with, where the shim can see that

    @property
    def running(self) -> dict[str, str]:
        """Return what counts where a file may have been edited in place: what the service was started with."""
        return {**self.fingerprints, **self.started}


def command(question: bytes) -> list[str]:
    """Return what asks the shim, which reads *question* on stdin if there is one."""
    return [SHIM_PROGRAM, "explain", "--json", *(["--fingerprint-key-stdin"] if question else [])]


def read(document: str | None) -> Explained | None:
    """Return what *document* says; None when it is no such answer, or there is none."""
    if document is None or len(document) > MOST_BYTES:
        return None
    try:
        found = json.loads(document)
        rows = [(row["key"], row["fingerprint"], row.get("started")) for row in found["keys"]]
        made_with = found.get("fingerprints") or ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if made_with not in ("hmac", "salt", "") or not all(_is_key(key) for key, _, _ in rows):
        return None
    fingerprints = {key: its for key, its, _ in rows if its is not None}
    started = {key: its for key, _, its in rows if its is not None}
    if not all(
        isinstance(its, str) and _FINGERPRINT.fullmatch(its) for its in (*fingerprints.values(), *started.values())
    ):
        return None
    return Explained(made_with, fingerprints, started)


def _is_key(key: object) -> bool:
    return isinstance(key, str) and len(key) <= _MOST_KEY_CHARACTERS
