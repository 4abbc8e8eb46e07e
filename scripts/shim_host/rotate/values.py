"""The new values of a rotation: read, typed or made, held against the schema, with the tokens they sign."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from shim.schema import KeySpec, Schema, check_value
from shim.secret import MAX_ENV_BYTES, MAX_SECRET_BYTES, Secret, clean
from shim_host import inputs
from shim_host.errors import Refused, UsageError
from shim_host.generate import new_value, parents_of
from shim_host.rotate import swarm_plan
from shim_host.swarm.model import RotatedService, SwarmSecret


def new_values(
    keys: Sequence[str],
    schema: Schema | None,
    there: Mapping[str, Secret],
    source: str | None,
    present: Collection[str] | None = None,
    *,
    is_made: bool,
    given: Mapping[str, Secret] | None = None,
) -> dict[str, Secret]:
    """Return a new value for each of *keys*, and for the tokens that are signed with one of them.

    Args:
        keys: what rotates.
        schema: what it says of them.
        there: the present values by key.
        source: the file with the value, `-` for stdin; None when it is typed or made.
        present: the keys that can rotate along; those of *there* when it is not given.
        is_made: whether it is made although it could be typed.
        given: values that are known already.

    Raises:
        Refused: nobody says what the value is, or the schema does not take it.
    """
    if source is not None and len(keys) != 1:
        raise UsageError("--value-file gives a value to one key only")
    for key in keys:
        parts = parents_of(_spec(key, schema)) if _spec(key, schema).composed is not None else []
        if parts and not (given and key in given):
            listed = ", ".join(parts)
            raise Refused(f"{key} is composed of {listed}", f"change {listed}: {key} follows")
    values: dict[str, Secret] = {}
    wanted = with_signed(keys, schema, there if present is None else present)
    for key in wanted:
        if given and key in given:
            values[key] = given[key]
            continue
        values[key] = _value(key, schema, {**there, **values}, source, is_made=is_made or key not in keys)
    wrong = [words for key, value in values.items() if (words := refusal(key, value, schema))]
    if wrong:
        raise Refused.of_all(wrong, "nothing was changed")
    return values


def with_signed(keys: Sequence[str], schema: Schema | None, present: Collection[str]) -> list[str]:
    """Return *keys* and those of the *present* that are signed with one of them, in the order in which they are made.

    Raises:
        Refused: keys are made from each other.
    """
    try:
        return swarm_plan.with_derived(keys, schema, present)
    except ValueError as ring:
        raise _in_a_ring(ring) from None


def back_with(
    keys: Sequence[str],
    schema: Schema | None,
    stack: str,
    secrets: Sequence[SwarmSecret],
    services: Sequence[RotatedService],
) -> list[str]:
    """Return *keys* and what a rollback of them takes back, too, in the order in which they are made.

    Raises:
        Refused: keys are made from each other.
    """
    try:
        return swarm_plan.going_along(keys, schema, stack, secrets, services)
    except ValueError as ring:
        raise _in_a_ring(ring) from None


def _in_a_ring(ring: ValueError) -> Refused:
    return Refused(f"these depend on each other: {ring}", "fix @type=jwt(signedBy=...) or @composed")


def _value(
    key: str, schema: Schema | None, others: Mapping[str, Secret], source: str | None, *, is_made: bool
) -> Secret:
    if is_made:
        return new_value(_spec(key, schema), others)
    if source is not None:
        if source != "-" and not Path(source).exists():
            # Not named: it may be the value itself.
            raise UsageError("--value-file names a file that does not exist; - is stdin")
        return Secret(inputs.read_file(Path(source)))
    if not sys.stdin.isatty():
        raise Refused(
            f"nothing gives {key} a new value",
            "add --generate, or pipe the value: --value-file -",
        )
    return inputs.typed(f"new value of {key}", twice=True)


def _spec(key: str, schema: Schema | None) -> KeySpec:
    return schema.keys.get(key, KeySpec(key)) if schema is not None else KeySpec(key)


def refusal(key: str, value: Secret, schema: Schema | None) -> Refused | None:
    """Return why *value* cannot be the new one of *key*; None if it can."""
    spec = _spec(key, schema)
    whole = value.reveal()
    # As a variable has it, and as a type is held against it; a binary value may well end in a line end's byte.
    seen = whole if spec.raw_bytes and len(whole) == spec.raw_bytes else clean(whole)
    if not len(seen):
        return Refused(f"the new value of {key} is empty")
    if len(whole) > MAX_SECRET_BYTES:
        most = f"the {MAX_SECRET_BYTES} bytes that a secret may have"
        return Refused(f"the new value of {key} is longer than {most}", "mount larger files as volumes")
    if schema is not None and key in schema.keys and schema.keys[key].deliver == "env":
        hint = "write @deliver=file above the key in the schema: the service then gets a file"
        if b"\0" in seen:
            return Refused(f"the new value of {key} holds a NUL byte, which no environment can carry", hint)
        if len(key) + 1 + len(seen) > MAX_ENV_BYTES:
            most = f"the {MAX_ENV_BYTES} bytes that one variable may have"
            return Refused(f"the new value of {key} is longer than {most}", hint)
    wrong = check_value(spec, seen)
    return Refused(f"{key} {wrong}") if wrong else None
