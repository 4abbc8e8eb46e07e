"""Names in a command that is offered to a person: quoted, so that none of them writes the next command line."""

import shlex

# What a name becomes that a shell, a terminal or the program behind the command would take for something else.
PLACEHOLDER = "NAME"


def quoted(name: str) -> str:
    """Return *name* as one word of a shell; `PLACEHOLDER` for one that does not print, or would be an option."""
    if not name or not name.isprintable() or name.startswith("-"):
        return PLACEHOLDER
    return shlex.quote(name)
