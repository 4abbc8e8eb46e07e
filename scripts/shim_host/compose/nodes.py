"""One Compose file as YAML nodes that know their places in the text. No value is put together here.

Nodes and not plain data: a file is changed by editing its text at these places, so that comments, order, anchors and
spacing stay. Merge keys (`<<`) are followed; what Go's YAML makes of a plain scalar is what Compose sees.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.errors import Refused, failed_file

RESET, OVERRIDE = "!reset", "!override"  # Compose's tags: forget what earlier files say, or replace it

_BOOLEANS = {"true": "true", "True": "true", "TRUE": "true", "false": "false", "False": "false", "FALSE": "false"}
_NULLS = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?(?:0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class Item(NamedTuple):
    """One `key: value` of a mapping; *holder* is the mapping it is written in, perhaps another one by a merge key."""

    key: str
    key_node: ScalarNode
    value: Node
    holder: MappingNode


@dataclass(frozen=True)
class Document:
    """One file: its path as the user typed it, its text, and the nodes."""

    path: Path
    text: str
    root: MappingNode
    folder: Path = field(default=Path())  # what relative paths in it start from


def load(path: Path, folder: Path) -> Document:
    """Return the Compose file at *path*.

    Raises:
        Refused: it is missing, or is not what YAML or Compose allow; the message names the line.
        Failed: it cannot be read.
    """
    try:
        # Line ends stay as they are: the text is edited and written again.
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise Refused(f"there is no Compose file {path}", "name it with --file") from None
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8", "save it as UTF-8") from None
    except OSError as error:
        raise failed_file("read", str(path), error) from None
    return Document(path, text, parse(text, path), folder)


def parse(text: str, path: Path) -> MappingNode:
    """Return the root node of *text*.

    Raises:
        Refused: as `load` says.
    """
    loader = YAML(typ="safe", pure=True)
    try:
        root = loader.compose(text)
    except MarkedYAMLError as error:
        # The library's words may quote the file, and the file may hold a value.
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise Refused(f"{where}: this is not valid YAML", "look at indentation, quotes and anchors there") from None
    except YAMLError:
        raise Refused(f"{path}: this is not valid YAML") from None
    if not isinstance(root, MappingNode):
        raise Refused(f"{path}: a Compose file is a mapping with services:")
    _refuse_duplicates(root, path, set())
    return root


def _refuse_duplicates(node: Node, path: Path, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, SequenceNode):
        for child in node.value:
            _refuse_duplicates(child, path, seen)
    elif isinstance(node, MappingNode):
        keys: set[str] = set()
        for key_node, value in node.value:
            if isinstance(key_node, ScalarNode):
                if key_node.value in keys and not is_merge(key_node):
                    line = key_node.start_mark.line + 1
                    raise Refused(f"{path}:{line}: {key_node.value} stands twice in one mapping", "keep one of them")
                keys.add(key_node.value)
            _refuse_duplicates(value, path, seen)


def is_merge(node: Node) -> bool:
    """Return whether *node* is a merge key, `<<`."""
    return isinstance(node, ScalarNode) and node.value == "<<" and node.style is None


def items(node: Node | None) -> Iterator[Item]:
    """Yield what is in effect in the mapping *node*, merge keys followed; nothing when it is no mapping."""
    if isinstance(node, MappingNode):
        found: dict[str, Item] = {}
        for mapping in layers(node):
            for key_node, value in mapping.value:
                if isinstance(key_node, ScalarNode) and not is_merge(key_node):
                    found[key_node.value] = Item(key_node.value, key_node, value, mapping)
        yield from found.values()


def layers(node: Node | None) -> Iterator[MappingNode]:
    """Yield the mappings that *node* is made of, the weakest first and itself last."""
    if not isinstance(node, MappingNode):
        return
    for key_node, value in node.value:
        if is_merge(key_node):
            # Of several merged mappings the first has the last word (yaml.org/type/merge).
            for merged in reversed(value.value) if isinstance(value, SequenceNode) else (value,):
                yield from layers(merged)
    yield node


def item(node: Node | None, key: str) -> Item | None:
    """Return the entry *key* that is in effect in *node*."""
    return next((found for found in items(node) if found.key == key), None)


def child(node: Node | None, key: str) -> Node | None:
    """Return the value of *key* in *node*, or None where there is none."""
    found = item(node, key)
    return None if found is None else found.value


def elements(node: Node | None) -> list[Node]:
    """Return the elements of a sequence; none of anything else."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def is_null(node: Node | None) -> bool:
    """Return whether *node* is absent, or a null."""
    return node is None or (isinstance(node, ScalarNode) and scalar(node) is None)


def tag_of(node: Node) -> str:
    """Return Compose's own tag of *node*, or ""."""
    tag = str(node.tag)
    return tag if tag in (RESET, OVERRIDE) else ""


def scalar(node: ScalarNode) -> str | None:
    """Return the text that Compose sees, before `${...}` is replaced; None for a null.

    A plain number arrives there as a number and is printed again, so `0123` becomes `83`.
    """
    text = str(node.value)
    if node.style is not None:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    bare = text.replace("_", "")
    if _INTEGER.fullmatch(bare):
        return _integer(bare)
    if _FLOAT.fullmatch(bare):
        return _float(bare)
    return text


def _integer(text: str) -> str:
    digits = text.lstrip("+-")
    sign = "-" if text.startswith("-") else ""
    is_octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    return f"{sign}{int(digits, 8) if is_octal else int(digits, 0)}"


def _float(text: str) -> str:
    """Print a number as Go's `%v` does: the shortest form, with an exponent below 1e-4 and from 1e21."""
    number = float(text)
    if number == int(number) and abs(number) < 1e21:
        return str(int(number))
    shortest = repr(number)
    if "e" not in shortest:
        return shortest
    if 1e-4 <= abs(number) < 1e21:
        return f"{number:f}".rstrip("0")
    return shortest
