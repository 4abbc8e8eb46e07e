"""How a value is written into a Compose file: quoted where it must be, on one line or as a block."""

import json
import re
from collections.abc import Callable, Mapping, Sequence

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode


class Raw(str):
    """A value as it is written in a file, on one line and fit for braces: it is put back with not a byte changed."""

    __slots__ = ()


Value = str | bool | Sequence["Value"] | Mapping[str, "Value"]

_PLAIN = re.compile(r"[A-Za-z_./](?:[A-Za-z0-9_./-]|:(?=[A-Za-z0-9_./]))*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def is_flow(node: Node) -> bool:
    """Return whether *node* is written in braces or brackets."""
    return bool(getattr(node, "flow_style", False))


def ends_in_block(node: Node) -> bool:
    """Return whether *node* ends with a text behind `|` or `>`: what follows and is as far right belongs to that."""
    while not isinstance(node, ScalarNode) and node.value and not is_flow(node):
        last = node.value[-1]
        node = last[1] if isinstance(node, MappingNode) else last
    return isinstance(node, ScalarNode) and node.style in ("|", ">")


def step_of(root: MappingNode) -> int:
    """Return how far this file indents."""
    for _, value in root.value:
        if isinstance(value, MappingNode) and not value.flow_style and value.value:
            return max(int(value.value[0][0].start_mark.column), 1)
    return 2


def is_json(text: str) -> bool:
    """Return whether the file *text* is JSON, as Compose takes it, too."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def quoted(text: str) -> str:
    """Return *text* as a YAML scalar, without quotes where every reader takes it for a string."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and text not in (".", ".."):
        return text
    return as_json(text)


def as_json(text: str) -> str:
    """Return *text* in double quotes."""
    # A JSON string is a YAML one, but for characters that YAML does not print.
    return "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}" if ord(character) > 0x1F else character
        for character in json.dumps(text, ensure_ascii=False)
    )


class Style:
    """How one file is written: how far it indents, and whether it is JSON."""

    def __init__(self, text: str, step: int) -> None:
        self.step = step
        self.quote: Callable[[str], str] = as_json if is_json(text) else quoted

    def flow(self, value: Value) -> str:
        """Return *value* on one line."""
        if isinstance(value, Raw):
            return str(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return self.quote(value)
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self._key(key)}: {self.flow(inner)}" for key, inner in value.items()) + "}"
        return "[" + ", ".join(self._word(inner) for inner in value) + "]"

    def _key(self, key: str) -> str:
        return key if key == "<<" else self.quote(key)

    def _word(self, value: Value) -> str:
        """Return *value* as an element of a list of words, where strings always have quotes."""
        return as_json(value) if isinstance(value, str) and not isinstance(value, Raw) else self.flow(value)

    def block_field(self, key: str, value: Value, indent: int) -> list[str]:
        """Return the lines of `key: value`. A list of words stays on one line when it is a tuple."""
        start = " " * indent + self._key(key) + ":"
        if isinstance(value, Mapping) and value:
            inner = [line for k, v in value.items() for line in self.block_field(k, v, indent + self.step)]
            return [start, *inner]
        if isinstance(value, list) and value:
            return [start, *(line for inner in value for line in self.block_item(inner, indent + self.step))]
        return [f"{start} {self.flow(value)}"]

    def block_item(self, value: Value, indent: int) -> list[str]:
        """Return the lines of `- value`."""
        start = " " * indent + "- "
        if isinstance(value, Mapping):
            lines = [line for k, v in value.items() for line in self.block_field(k, v, indent + 2)]
            return [start + lines[0].lstrip(), *lines[1:]]
        return [start + self.flow(value)]
