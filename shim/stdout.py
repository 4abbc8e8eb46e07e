"""What was asked for goes to stdout, which is the service's whenever one is started. Never on the way to exec."""

import os

from shim.breaches import Unreadable
from shim.errors import Breach, Refused

JSON_VERSION = 1  # of every document; it changes when a field goes away or means something else


def give_json(document: dict[str, object]) -> int:
    """Write *document* with its version, and return the exit code of a command that has answered."""
    import json

    return write(json.dumps({"version": JSON_VERSION, **document}, indent=2) + "\n")


def give_refused(action: str, breaches: list[Breach]) -> None:
    """Write the document of an *action* that could not answer."""
    verdict: dict[str, object] = {"ok": False} if action == "check" else {}
    give_json({**verdict, "breaches": [row(breach) for breach in breaches]})


def row(breach: Breach) -> dict[str, object]:
    """Return *breach* as documents have it."""
    return {"key": breach.key or None, "message": breach.message, "hint": breach.hint or None, "code": breach.code}


def write(text: str) -> int:
    """Write *text*, and return the exit code of a command that has answered."""
    data = text.encode("utf-8", "backslashreplace")
    while data:
        try:
            data = data[os.write(1, data) :]
        except BrokenPipeError:
            return 0  # whoever read it has seen enough
        except OSError as error:
            raise Refused(
                [Unreadable("", f"cannot write to stdout: {error.strerror}", "is the disk full, or the pipe closed?")]
            ) from None
    return 0
