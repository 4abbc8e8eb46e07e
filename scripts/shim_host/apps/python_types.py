"""A schema as a module of Python: a dataclass with a field per key, and how each is read. Text leaves."""

from collections.abc import Iterator

from shim.schema import Schema
from shim_host.apps import fields
from shim_host.apps.fields import Field, fields_of, snake

_TYPES = {
    fields.TEXT: "str",
    fields.NUMBER: "float",
    fields.PORT: "int",
    fields.BOOLEAN: "bool",
    fields.JSON: "object",
    fields.HEX: "bytes",
    fields.BASE64: "bytes",
    fields.FILE: "Path",
}
# What a field of this name would hide from the lines below it.
_RESERVED = ("load", "field", *_TYPES.values(), "Literal")
# How a text becomes a value; what is wrong names the key, and never the value.
_READERS = {
    fields.NUMBER: """
def _number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text or text.strip() != text:
        raise ValueError(f"{key} is not a number")
    return value
""",
    fields.PORT: """
def _port(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{key} is not a port (1 to 65535)")
    return int(text)
""",
    fields.BOOLEAN: """
def _boolean(key: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError(f"{key} is not a boolean (true, false, 1, 0, yes, no, on, off)")
    return text.lower() in ("true", "1", "yes", "on")
""",
    fields.CHOICE: """
def _choice(key: str, text: str, choices: Sequence[_Text]) -> _Text:
    for choice in choices:
        if text == choice:
            return choice
    raise ValueError(f"{key} is not one of {', '.join(choices)}")
""",
    fields.JSON: """
def _json(key: str, text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        raise ValueError(f"{key} is not JSON") from None
    return value
""",
    fields.HEX: """
def _hex(key: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{key} is not in hexadecimal") from None
""",
    fields.BASE64: """
def _base64(key: str, text: str) -> bytes:
    try:
        return base64.b64decode(text.translate({45: 43, 95: 47}) + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ValueError(f"{key} is not in base64") from None
""",
    fields.FILE: """
def _file(_key: str, text: str) -> Path:
    return Path(text)
""",
}


def module(schema: Schema, source: str) -> str:
    """Return the text of a module that gives what *schema*, read from *source*, describes."""
    found = fields_of(schema, snake, _RESERVED)
    kinds = dict.fromkeys(field.kind for field in found)
    return "\n".join(
        [
            f'"""What {_quoted(source)} describes. Written by `manage-secrets types --python`: change the schema."""',
            "",
            *_imports(kinds, found),
            "",
            "",
            "@dataclass(frozen=True, kw_only=True, slots=True)",
            "class Secrets:",
            '    """One field per key; no secret is shown by repr()."""',
            "",
            *(line for field in found for line in _declared(field)),
            "    @classmethod",
            '    def load(cls) -> "Secrets":',
            '        """Return what is there now: in files, in the environment, or as the default of the schema.',
            "",
            "        Raises:",
            "            SecretNotFound: a required one is missing, or its file cannot be used.",
            "            ValueError: one does not have its type; the message names the key, never the value.",
            '        """',
            "        return cls(",
            *(f"            {field.name}={_loaded(field)}," for field in found),
            "        )",
            *(f"\n{_READERS[kind].rstrip()}\n" for kind in kinds if kind in _READERS),
        ]
    )


def _imports(kinds: dict[str, None], found: list[Field]) -> Iterator[str]:
    if fields.BASE64 in kinds:
        yield "import base64"
    if fields.JSON in kinds:
        yield "import json"
    if fields.NUMBER in kinds:
        yield "import math"
    if fields.CHOICE in kinds:
        yield "from collections.abc import Sequence"
    has_hidden = any(field.is_sensitive for field in found)
    yield f"from dataclasses import dataclass{', field' if has_hidden else ''}"
    if fields.FILE in kinds:
        yield "from pathlib import Path"
    if fields.CHOICE in kinds:
        yield "from typing import Literal, TypeVar"
    yield ""
    yield "from docker_secrets_shim import get_secret"
    if fields.CHOICE in kinds:
        yield ""
        yield '_Text = TypeVar("_Text", bound=str)'
        for field in found:
            if field.kind == fields.CHOICE:
                yield f"_{field.key}: tuple[{_type(field)}, ...] = {_choices(field)}"


def _type(field: Field) -> str:
    if field.kind == fields.CHOICE:
        return f"Literal[{', '.join(map(_quoted_text, field.choices))}]"
    return _TYPES[field.kind]


def _choices(field: Field) -> str:
    listed = ", ".join(map(_quoted_text, field.choices))
    return f"({listed})" if len(field.choices) > 1 else f"({listed},)"


def _declared(field: Field) -> Iterator[str]:
    """Yield the field, with its description behind it, as tools for documentation read it."""
    optional = "" if field.is_required or field.default is not None else " | None"
    hidden = " = field(repr=False)" if field.is_sensitive else ""
    yield f"    {field.name}: {_type(field)}{optional}{hidden}"
    if field.description:
        first, *others = map(_quoted, field.description)
        if others:
            yield f'    """{first}'
            yield from (f"    {line}".rstrip() for line in others)
            yield '    """'
        else:
            yield f'    """{first}"""'
    yield ""


def _loaded(field: Field) -> str:
    """Return the expression that reads the field."""
    key = _quoted_text(field.key if field.kind != fields.FILE else field.variable)
    more = f", _{field.key}" if field.kind == fields.CHOICE else ""
    if field.is_required or field.default is not None:
        given = "required=True" if field.default is None else f"default={_quoted_text(field.default)}"
        text = f"get_secret({key}, {given})"
        return text if field.kind == fields.TEXT else f"_{field.kind}({key}, {text}{more})"
    if field.kind == fields.TEXT:
        return f"get_secret({key}) or None"
    return f"_{field.kind}({key}, text{more}) if (text := get_secret({key})) else None"


def _quoted(text: str) -> str:
    """Return *text* as it can be written between three quotes."""
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f"{text} " if text.endswith('"') else text


def _quoted_text(text: str) -> str:
    written = repr(text)
    return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in written else written
