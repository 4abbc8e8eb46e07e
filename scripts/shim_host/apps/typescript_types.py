"""A schema as a module of TypeScript: an interface with a property per key, and how each is read. Text leaves."""

import json
import re
from collections.abc import Iterator

from shim.schema import Schema
from shim_host.apps import fields
from shim_host.apps.fields import Field, camel, fields_of

_TYPES = {
    fields.TEXT: "string",
    fields.NUMBER: "number",
    fields.PORT: "number",
    fields.BOOLEAN: "boolean",
    fields.JSON: "unknown",
    fields.HEX: "Uint8Array",
    fields.BASE64: "Uint8Array",
    fields.FILE: "string",
}
# How a text becomes a value; what is wrong names the key, and never the value.
_READERS = {
    fields.NUMBER: """
function number(key: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== text || text === "" || !Number.isFinite(value)) throw new TypeError(`${key} is not a number`);
  return value;
}
""",
    fields.PORT: """
function port(key: string, text: string): number {
  const value = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 65535) throw new TypeError(`${key} is not a port (1 to 65535)`);
  return value;
}
""",
    fields.BOOLEAN: """
function boolean(key: string, text: string): boolean {
  if (/^(true|1|yes|on)$/i.test(text)) return true;
  if (/^(false|0|no|off)$/i.test(text)) return false;
  throw new TypeError(`${key} is not a boolean (true, false, 1, 0, yes, no, on, off)`);
}
""",
    fields.CHOICE: """
function choice<T extends string>(key: string, text: string, choices: readonly T[]): T {
  const found = choices.find((one) => one === text);
  if (found === undefined) throw new TypeError(`${key} is not one of ${choices.join(", ")}`);
  return found;
}
""",
    fields.JSON: """
function json(key: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new TypeError(`${key} is not JSON`);
  }
}
""",
    fields.HEX: """
function hex(key: string, text: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/i.test(text)) throw new TypeError(`${key} is not in hexadecimal`);
  return Buffer.from(text, "hex");
}
""",
    fields.BASE64: """
function base64(key: string, text: string): Uint8Array {
  if (!/^[0-9a-z+/_-]*={0,2}$/i.test(text)) throw new TypeError(`${key} is not in base64`);
  return Buffer.from(text, "base64");
}
""",
    fields.FILE: """
function file(_key: string, text: string): string {
  return text;
}
""",
}
_RESERVED = ("__proto__",)


def module(schema: Schema, source: str) -> str:
    """Return the text of a module that gives what *schema*, read from *source*, describes."""
    found = fields_of(schema, camel, _RESERVED)
    kinds = dict.fromkeys(field.kind for field in found)
    name = _comment(source)
    return "\n".join(
        [
            f"/** What {name} describes. Written by `manage-secrets types --typescript`: change the schema. */",
            'import { getSecret } from "docker-secrets-shim";',
            "",
            "export interface Secrets {",
            *(line for field in found for line in _declared(field)),
            "}",
            "",
            "/**",
            " * Return what is there now: in files, in the environment, or as the default of the schema.",
            " *",
            " * @throws SecretNotFound a required one is missing, or its file cannot be used",
            " * @throws TypeError one does not have its type; the message names the key, never the value",
            " */",
            "export function loadSecrets(): Secrets {",
            "  return {",
            *(f"    {field.name}: {_loaded(field)}," for field in found),
            "  };",
            "}",
            *(line for kind in kinds if kind in _READERS for line in _READERS[kind].splitlines()),
            *(_WHERE_GIVEN.splitlines() if any(map(_is_converted_if_given, found)) else ()),
            "",
        ]
    )


_WHERE_GIVEN = """
function given<T>(text: string | undefined, read: (text: string) => T): T | undefined {
  return text ? read(text) : undefined;
}
"""


def _is_always(field: Field) -> bool:
    return field.is_required or field.default is not None


def _is_converted_if_given(field: Field) -> bool:
    return not _is_always(field) and field.kind != fields.TEXT


def _type(field: Field) -> str:
    return " | ".join(map(json.dumps, field.choices)) if field.kind == fields.CHOICE else _TYPES[field.kind]


def _declared(field: Field) -> Iterator[str]:
    if len(field.description) == 1:
        yield f"  /** {_comment(field.description[0])} */"
    elif field.description:
        yield "  /**"
        yield from (f"   * {_comment(line)}".rstrip() for line in field.description)
        yield "   */"
    optional = "" if _is_always(field) or field.kind == fields.JSON else " | undefined"
    yield f"  readonly {field.name}: {_type(field)}{optional};"


def _loaded(field: Field) -> str:
    """Return the expression that reads the field."""
    key = json.dumps(field.key if field.kind != fields.FILE else field.variable)
    more = f", [{', '.join(map(json.dumps, field.choices))}]" if field.kind == fields.CHOICE else ""
    if _is_always(field):
        text = (
            f"getSecret({key}, true)" if field.default is None else f"getSecret({key}) || {json.dumps(field.default)}"
        )
        return text if field.kind == fields.TEXT else f"{field.kind}({key}, {text}{more})"
    if field.kind == fields.TEXT:
        return f"getSecret({key}) || undefined"
    return f"given(getSecret({key}), (text) => {field.kind}({key}, text{more}))"


def _comment(text: str) -> str:
    return re.sub(r"\*/", "* /", text)
