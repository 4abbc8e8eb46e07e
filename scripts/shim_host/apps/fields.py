"""What an application gets by a schema: a field per key, whatever the language. No value is read."""

import keyword
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shim.schema import KeySpec, Schema

# What a value is in a program. A file is one that no text can carry: `bytes(32, raw)`.
TEXT, NUMBER, PORT, BOOLEAN, CHOICE, JSON, HEX, BASE64, FILE = (
    *("text", "number", "port", "boolean", "choice", "json"),
    *("hex", "base64", "file"),
)
_KINDS = {"number": NUMBER, "port": PORT, "boolean": BOOLEAN, "enum": CHOICE, "json": JSON}


class Field(NamedTuple):
    """One key, as a program sees it."""

    key: str
    name: str
    kind: str
    choices: tuple[str, ...]
    default: str | None  # what the schema gives where nothing else does
    is_required: bool
    is_sensitive: bool
    description: tuple[str, ...]
    variable: str  # of a file: the variable that holds its path


def fields_of(schema: Schema, spelled: Callable[[str], str], reserved: Iterable[str]) -> list[Field]:
    """Return the fields of *schema*, in its order.

    Args:
        schema: what a service needs; a key that is delivered to none is left out.
        spelled: how the language spells the name of a key.
        reserved: the names that no field may have.
    """
    taken = set(reserved)
    found = []
    for spec in schema.keys.values():
        if spec.deliver == "none":
            continue
        name = _free(spelled(spec.key), spec.key, taken)
        taken.add(name)
        found.append(_field(spec, name))
    return found


def without_file(schema: Schema) -> list[Field]:
    """Return the fields whose value is the path of a file, though the shim makes no file for their keys."""
    found = [_field(spec, "") for spec in schema.keys.values() if spec.deliver == "env"]
    return [field for field in found if field.kind == FILE]


def _free(name: str, key: str, taken: set[str]) -> str:
    """Return *name*, or the key itself, or one with an underscore behind it: the first that is not *taken*."""
    for candidate in (name, key):
        if candidate not in taken:
            return candidate
    while name in taken:
        name += "_"
    return name


def _field(spec: KeySpec, name: str) -> Field:
    kind = _kind(spec)
    default = None if spec.default is None else spec.default.decode("utf-8", "surrogateescape")
    return Field(
        key=spec.key,
        name=name,
        kind=kind,
        choices=spec.type.arguments if spec.type is not None and kind == CHOICE else (),
        default=None if kind == FILE else default,
        is_required=spec.is_required,
        is_sensitive=spec.is_sensitive,
        description=spec.description,
        variable=spec.deliver_as or f"{spec.key}_FILE",
    )


def _kind(spec: KeySpec) -> str:
    if spec.type is None:
        return TEXT
    if spec.type.name == "bytes":
        encoding = spec.type.arguments[1] if len(spec.type.arguments) > 1 else "raw"
        return {"hex": HEX, "base64": BASE64}.get(encoding, FILE)
    return _KINDS.get(spec.type.name, TEXT)


def snake(key: str) -> str:
    """Return the attribute of Python for *key*: `db_password`."""
    name = (key.lower() if key == key.upper() else key).lstrip("_") or "key"
    name = name if name[0].isalpha() else f"key_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def camel(key: str) -> str:
    """Return the property of TypeScript for *key*: `dbPassword`; every word is one there."""
    if key != key.upper():
        return key
    first, *others = [part for part in key.lower().split("_") if part] or ["key"]
    name = first + "".join(part[0].upper() + part[1:] for part in others)
    return name if name[0].isalpha() else key
