"""The new values of a rotation: read, typed or made, held against the schema, with the tokens they sign."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from shim.schema import Schema, check_value
from shim.secret import Secret, clean
from shim_host import options, report
from shim_host.errors import Refused
from shim_host.generate import can_be_made, new_value, signer_of


def new_values(
    keys: Sequence[str], schema: Schema | None, there: Mapping[str, Secret], source: str | None, *, is_made: bool
) -> dict[str, Secret]:
    """Return a new value for each of *keys*, and for the tokens that are signed with one of them.

    Args:
        keys: what rotates.
        schema: what it says of them.
        there: the present values by key.
        source: the file with the value, `-` for stdin; None when it is typed or made.
        is_made: whether it is made although it could be typed.

    Raises:
        Refused: nobody says what the value is, or the schema does not take it.
    """
    if source is not None and len(keys) != 1:
        raise Refused("--value-file has one value, and there is not one key", "rotate the keys one after the other")
    values: dict[str, Secret] = {}
    wanted = [*keys, *signed_with(keys, schema, there)]
    for key in sorted(wanted, key=lambda key: bool(schema and key in schema.keys and signer_of(schema.keys[key]))):
        values[key] = _value(key, schema, {**there, **values}, source, is_made=is_made or key not in keys)
    wrong = [words for key, value in values.items() if (words := _refusal(key, value, schema))]
    if wrong:
        raise Refused(wrong[0], *wrong[1:], "nothing was changed")
    return {key: values[key] for key in wanted}


def signed_with(keys: Sequence[str], schema: Schema | None, there: Mapping[str, Secret]) -> list[str]:
    """Return the keys whose tokens are signed with one of *keys*, and that have a value."""
    specs = schema.keys.values() if schema is not None else ()
    return [spec.key for spec in specs if signer_of(spec) in keys and spec.key in there and spec.key not in keys]


def _value(
    key: str, schema: Schema | None, others: Mapping[str, Secret], source: str | None, *, is_made: bool
) -> Secret:
    spec = schema.keys.get(key) if schema is not None else None
    if source is not None and not is_made:
        return Secret(clean(options.read_file(Path(source))))
    if spec is not None and (can_be_made(spec) or is_made):
        return new_value(spec, others)
    if is_made:
        raise Refused(f"{key} is not in the schema, which would say how it is made", "give it with --value-file")
    if not sys.stdin.isatty():
        raise Refused(
            f"nobody says what the new value of {key} is",
            "--value-file FILE (- for stdin), or --generate, or @generate in the schema",
        )
    prompt = f"{report.PROGRAM}: new value of {key}"
    typed = click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)
    return Secret(typed.encode("utf-8", "surrogateescape"))


def _refusal(key: str, value: Secret, schema: Schema | None) -> str:
    if not len(value):
        return f"the new value of {key} is empty"
    spec = schema.keys.get(key) if schema is not None else None
    wrong = check_value(spec, value.reveal()) if spec is not None else ""
    return f"the new value of {key} {wrong}" if wrong else ""
