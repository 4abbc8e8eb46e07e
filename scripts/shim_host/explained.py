"""What the shim inside a container says of its keys: `shim explain --json`, read back."""

import json
from collections.abc import Collection


def fingerprints_in(document: str | None, known: Collection[str] | None = None) -> dict[str, str] | None:
    """Return the fingerprint of each key (of the *known* ones) in what `shim explain --json` printed, or None.

    A value that the environment brought has none: it is no version of a secret.
    """
    try:
        rows = json.loads(document or "")["keys"]
        found = {row["key"]: row["fingerprint"] for row in rows if row.get("fingerprint")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if known is None else {key: print_ for key, print_ in found.items() if key in known}
