"""What was asked for goes to stdout, which is the service's whenever one is started. Never on the way to exec."""

import os

from shim.breaches import Unreadable
from shim.errors import Refused


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
                [Unreadable("", f"cannot write to stdout: {error.strerror}", "is it full, or closed?")]
            ) from None
    return 0
