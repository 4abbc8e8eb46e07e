"""`@from=command(...)`: a person agrees to the programs that the schema names, and their values come back."""

import os
from collections.abc import Collection
from pathlib import Path

from shim.schema import Schema
from shim.secret import Secret
from shim_host import output
from shim_host.errors import Refused
from shim_host.fetch import wanted


def keys_of(schema: Schema | None) -> list[str]:
    """Return the keys whose values a program prints."""
    return [spec.key for spec in schema.keys.values() if spec.from_command] if schema is not None else []


def among(schema: Schema | None, keys: Collection[str]) -> list[str]:
    """Return those of *keys* whose values a program prints."""
    return [key for key in keys_of(schema) if key in keys]


def fetched(schema: Schema | None, keys: Collection[str], *, yes: bool, dry_run: bool) -> dict[str, Secret]:
    """Return the values of those of *keys* that a program prints; with *dry_run* none, for then nothing is run.

    A schema may come from a stranger with the rest of a checkout, and what it names runs as the person who is here.
    So each command is shown, and none runs before somebody has agreed.

    Raises:
        Refused: nobody agrees, somebody else could have written the schema, or it does not take a value.
        Failed: a program gives no value.
    """
    asks = wanted.asks(schema, keys)
    if schema is None or not asks:
        return {}
    for ask in asks:
        output.say(f"{ask.key}: {'would run' if dry_run else 'to be run'}: {ask.shown}")
    if dry_run:
        return {}
    wanted.refuse_untrusted(Path(schema.source))
    output.confirm(f"run {_programs(len(asks))} that {schema.source} names?", yes=yes)
    from shim_host.fetch import programs
    from shim_host.rotate.values import refusal

    found = programs.fetch(asks, os.environ)
    wrong = [words for key, value in found.items() if (words := refusal(key, value, schema))]
    if wrong:
        raise Refused.of_all(wrong, "nothing was changed")
    return found


def _programs(count: int) -> str:
    return "the program" if count == 1 else f"the {count} programs"
