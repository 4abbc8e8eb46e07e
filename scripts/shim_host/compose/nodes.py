"""One Compose file as YAML nodes that know their places in the text. No value is put together here.

Nodes and not plain data: a file is changed by editing its text at these places, so that comments, order, anchors and
spacing stay. Merge keys (`<<`) are followed; what Go's YAML makes of a plain scalar is what Compose sees.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, NoReturn

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose.composing import MAX_DEPTH, Composing
from shim_host.compose.composing import Layout as Layout
from shim_host.compose.composing import Spot as Spot
from shim_host.errors import Refused, failed_file
from shim_host.inputs import read_bounded

RESET, OVERRIDE = "!reset", "!override"  # Compose's tags: forget what earlier files say, or replace it

_MOST_NODES = 200_000  # with every alias and merge key written out; a Compose file of a thousand services has 50,000
_BOOLEANS = {"true": "true", "True": "true", "TRUE": "true", "false": "false", "False": "false", "FALSE": "false"}
_STRINGS = ("!", "tag:yaml.org,2002:str")
_NULLS = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?(?:0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_MOST_DIGITS = 100  # far more than 64 bits have
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class Item(NamedTuple):
    """One `key: value` of a mapping; *holder* is the mapping it is written in, perhaps another one by a merge key."""

    key: str
    key_node: ScalarNode
    value: Node
    holder: MappingNode


@dataclass(frozen=True, eq=False)
class Document:
    """One YAML document: the path of its file as the user typed it, the file's text, the nodes and where they are."""

    path: Path
    text: str
    root: MappingNode
    folder: Path = field(default=Path())  # what relative paths in it start from
    layout: Layout = field(default_factory=dict, repr=False)
    original: str = ""  # the file's text, where *text* is one that says the same in a form that can be edited
    environ: Mapping[str, str] | None = None  # what `${...}` in it is looked up in, where an `include` says so


def load(path: Path, folder: Path, environ: Mapping[str, str] | None = None) -> list[Document]:
    """Return the YAML documents of the Compose file at *path*; Compose merges them like several files.

    There are none where it is empty, as an override may be that somebody commented out.

    Raises:
        Refused: it is missing, or is not what YAML or Compose allow; the message names the line.
        Failed: it cannot be read.
    """
    try:
        # Line ends stay as they are: the text is edited and written again.
        text = read_bounded(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise Refused(f"there is no Compose file {path}", "name it with --file") from None
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8", "save it as UTF-8") from None
    except OSError as error:
        raise failed_file("read", str(path), error) from None
    return [Document(path, text, root, folder, layout, environ=environ) for root, layout in parse(text, path)]


def with_own_services(documents: Sequence[Document]) -> list[Document]:
    """Return the *documents* of one file with `b: *a` written as `b: {<<: *a}`, which says the same.

    So each service has a mapping of its own, which can be changed.
    """
    spots = [
        spot
        for document in documents
        for entry in [item(document.root, "services")]
        if entry is not None
        for (_, _), spot in zip(entry.value.value, document.layout.get(id(entry.value), ()), strict=False)
        if spot.is_alias
    ]
    if not spots:
        return list(documents)
    first = documents[0]
    text = first.text
    for spot in sorted(spots, reverse=True):
        text = f"{text[: spot.value]}{{<<: {text[spot.value : spot.end]} }}{text[spot.end :]}"
    return [
        Document(first.path, text, root, first.folder, layout, first.original or first.text, first.environ)
        for root, layout in parse(text, first.path)
    ]


def parse(text: str, path: Path) -> list[tuple[MappingNode, Layout]]:
    """Return the root node of each document in *text*, with the places of its nodes.

    Raises:
        Refused: as `load` says.
    """
    try:
        found = Composing(text).documents()
    except MarkedYAMLError as error:
        # The library's words may quote the file, and the file may hold a value.
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise Refused(f"{where}: this is not valid YAML", "look at indentation, quotes and anchors there") from None
    except YAMLError:
        raise Refused(f"{path}: this is not valid YAML") from None
    roots = []
    for root, layout in found:
        if isinstance(root, MappingNode):
            _refuse_bomb(root, path)
            _refuse_duplicates(root, path, set())
            roots.append((root, layout))
        elif not is_null(root):
            refuse(path)
    return roots


def refuse(path: Path) -> NoReturn:
    """Refuse the file *path*, which is empty, or no mapping."""
    raise Refused(f"{path}: a Compose file is a mapping with services:")


def _refuse_bomb(root: Node, path: Path) -> None:
    """Refuse what a few lines of aliases blow up to more than anybody wrote.

    Raises:
        Refused: it is one.
    """
    sizes: dict[int, tuple[int, int]] = {}  # of each node with all below it: how many, and how deep
    todo: list[tuple[Node, bool]] = [(root, False)]
    while todo:
        node, is_ready = todo.pop()
        if id(node) in sizes:
            continue
        below = _below(node)
        if not is_ready:
            todo.append((node, True))
            todo += [(child_node, False) for child_node in below if id(child_node) not in sizes]
            continue
        known = [sizes[id(child_node)] for child_node in below]
        size, depth = 1 + sum(size for size, _ in known), 1 + max((depth for _, depth in known), default=0)
        if size > _MOST_NODES or depth > MAX_DEPTH * 2:
            hint = "aliases and merge keys repeat what they name: shorten it, or split it into several files"
            raise Refused(f"{path}:{node.start_mark.line + 1}: this expands beyond what a Compose file can need", hint)
        sizes[id(node)] = (size, depth)


def _below(node: Node) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return []


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
                    raise Refused(f"{path}:{line}: {key_node.value} appears twice in one mapping", "keep one of them")
                keys.add(key_node.value)
            _refuse_duplicates(value, path, seen)


def is_merge(node: Node) -> bool:
    """Return whether *node* is a merge key, `<<`."""
    return isinstance(node, ScalarNode) and node.value == "<<" and node.style is None


def items(node: Node | None) -> Iterator[Item]:
    """Yield what is in effect in the mapping *node*, merge keys followed; nothing when it is not a mapping."""
    if isinstance(node, MappingNode):
        found: dict[str, Item] = {}
        for mapping in layers(node):
            for key_node, value in mapping.value:
                if isinstance(key_node, ScalarNode) and not is_merge(key_node):
                    found[key_node.value] = Item(key_node.value, key_node, value, mapping)
        yield from found.values()


def layers(node: Node | None) -> Iterator[MappingNode]:
    """Yield the mappings that *node* is made of, the weakest first and itself last; each once, where it counts most."""
    found: list[MappingNode] = []
    seen: set[int] = set()
    todo = [node]
    while todo:
        mapping = todo.pop()
        if not isinstance(mapping, MappingNode) or id(mapping) in seen:
            continue
        seen.add(id(mapping))
        found.append(mapping)
        for key_node, value in mapping.value:
            if is_merge(key_node):
                # Of several merged mappings the first has the last word (yaml.org/type/merge).
                todo += reversed(value.value) if isinstance(value, SequenceNode) else [value]
    yield from reversed(found)


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
    if node.style is not None or str(node.tag) in _STRINGS:
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
    if len(digits) > _MOST_DIGITS:
        return text if is_octal or not digits.isdecimal() else _float(text)
    number = int(digits, 8) if is_octal else int(digits, 0)
    # What no 64 bits hold is a float to Go, if it is written as one could be.
    is_too_large = number > (1 << 63 if sign else (1 << 64) - 1)
    return _float(text) if is_too_large and digits.isdecimal() and not is_octal else f"{sign}{number}"


def _float(text: str) -> str:
    """Print a number as Go's `%v` does: the shortest form, with an exponent below 1e-4 and from 1e21.

    One that no float holds is not a number to Go's YAML, and stays what it is.
    """
    number = float(text)
    if not math.isfinite(number):
        return text
    shortest = repr(number)
    if number == int(number) and abs(number) < 1e21:
        return format(Decimal(shortest).normalize(), "f")
    if "e" not in shortest:
        return shortest
    if 1e-4 <= abs(number) < 1e21:
        return f"{number:f}".rstrip("0")
    return shortest
