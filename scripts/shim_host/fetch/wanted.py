"""Which programs a schema names, and whether it may: a schema comes in, argument vectors leave. Nothing is run here."""

import os
import shlex
import stat
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from shim.schema import Schema
from shim_host.errors import Refused, failed_file
from shim_host.files import is_unknown


class Ask(NamedTuple):
    """One key, and the program that prints its value."""

    key: str
    argv: tuple[str, ...]
    is_raw: bool  # a binary value, which has no line end

    @property
    def program(self) -> str:
        """Return what a message calls the program."""
        return self.argv[0]

    @property
    def shown(self) -> str:
        """Return the whole command, as a shell would take it."""
        return shlex.join(self.argv)


def asks(schema: Schema | None, keys: Collection[str]) -> list[Ask]:
    """Return what is to be run for those of *keys* whose values a program prints, in the order of the schema.

    Raises:
        Refused: a command cannot be cut into words; all such are named.
    """
    found, wrong = [], []
    for spec in schema.keys.values() if schema is not None else ():
        if not spec.from_command or spec.key not in keys:
            continue
        words = _words(spec.from_command)
        if words:
            found.append(Ask(spec.key, tuple(words), bool(spec.raw_bytes)))
        else:
            wrong.append(f"{spec.key}: @from=command(...) is not a command line")
    if wrong:
        raise Refused.of_all(wrong, 'write it as in a shell: @from=command("op read op://vault/item/field")')
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return []


def refuse_untrusted(schema: Path) -> None:
    """Refuse to run what *schema* names if somebody else could have written it.

    Raises:
        Refused: it belongs to another user, or everybody may write it, or replace it.
        Failed: it cannot be looked at.
    """
    if not hasattr(os, "geteuid"):
        return
    trusted = {os.geteuid(), 0}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        trusted.add(int(os.environ["SUDO_UID"]))
    try:
        # A folder is looked at as well: who may write there can put another file in this one's place.
        folders = dict.fromkeys([schema.absolute().parent, schema.resolve().parent])
        for path, what in (*((folder, "folder") for folder in folders), (schema, "file")):
            status = os.stat(path)
            is_shared = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
            if status.st_uid not in trusted or is_unknown(status.st_uid):
                hint = "read it, and make it yours with chown, or copy it"
                raise Refused(f"the {what} {path} belongs to another user, and names programs to run", hint)
            if is_shared:
                hint = f"chmod o-w {shlex.quote(str(path))}"
                raise Refused(f"everyone can write to the {what} {path}, which names programs to run", hint)
    except OSError as error:
        raise failed_file("look at", str(schema), error) from None
