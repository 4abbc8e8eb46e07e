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
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.errors import Refused, failed_file
from shim_host.inputs import read_bounded

RESET, OVERRIDE = "!reset", "!override"  # Compose's tags: forget what earlier files say, or replace it

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


class Spot(NamedTuple):
    """Where one element of a collection stands in the text: an element of a list, or a key with its value."""

    start: int  # of the key, or of the element: its anchor, its tag, or the alias in its place
    key_end: int  # in a list the same as *value*
    value: int  # where the value starts; of an empty one, right behind the colon or the dash
    end: int
    is_alias: bool  # the value is written elsewhere
    dash: int  # of an element of a block list; -1 of anything else


Layout = dict[int, list[Spot]]  # by the `id` of a collection's node


@dataclass(frozen=True, eq=False)
class Document:
    """One YAML document: the path of its file as the user typed it, the file's text, the nodes and where they stand."""

    path: Path
    text: str
    root: MappingNode
    folder: Path = field(default=Path())  # what relative paths in it start from
    layout: Layout = field(default_factory=dict, repr=False)
    original: str = ""  # the file's text, where *text* is one that says the same in a form that can be edited
    environ: Mapping[str, str] | None = None  # what `${...}` in it is looked up in, where an `include` says so


def load(path: Path, folder: Path, environ: Mapping[str, str] | None = None) -> list[Document]:
    """Return the YAML documents of the Compose file at *path*; Compose merges them like several files.

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
        Document(first.path, text, root, first.folder, layout, first.text, first.environ)
        for root, layout in parse(text, first.path)
    ]


def parse(text: str, path: Path) -> list[tuple[MappingNode, Layout]]:
    """Return the root node of each document in *text*, with the places of its nodes.

    Raises:
        Refused: as `load` says.
    """
    try:
        found = _Composing(text).documents()
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
            raise Refused(f"{path}: a Compose file is a mapping with services:")
    if not roots:
        raise Refused(f"{path}: a Compose file is a mapping with services:")
    return roots


_TAB = "found character '\\t' that cannot start any token"


def _events(text: str) -> list[Event]:
    """Return the parser's events. A tab between tokens, which Go's YAML takes for a space, is one here, too."""
    if "\t" in text and text.lstrip("\ufeff \t\r\n").startswith("{"):
        # A JSON document, perhaps indented by tabs; a string of JSON holds none.
        text = text.replace("\t", " ")
    _refuse_open_brackets(text)
    tabs = 0
    while True:
        try:
            return list(_not_too_deep(YAML(typ="safe", pure=True).parse(text)))
        except MarkedYAMLError as error:
            mark = error.problem_mark
            tabs += 1
            if mark is None or _TAB not in str(error.problem) or tabs > _MOST_TABS:
                raise
            end = mark.index + 1
            while text[end : end + 1] in (" ", "\t"):
                end += 1
            text = text[: mark.index] + " " * (end - mark.index) + text[end:]


def _refuse_open_brackets(text: str) -> None:
    """Refuse what opens so many brackets that the library itself would take minutes to find out."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > _MOST_OPEN:
            raise MarkedYAMLError(problem="too deep")


def _not_too_deep(events: Iterator[Event]) -> Iterator[Event]:
    """Yield *events*; one too many collections in one another ends them, before the parser has read them all."""
    depth = 0
    for event in events:
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise MarkedYAMLError(problem="too deep", problem_mark=event.start_mark)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        yield event


_GAP = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")  # white space and comments
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]*)*")  # an anchor, a tag
_COLON = re.compile(r"[ \t]*:")
_COLON_BELOW = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*:(?=[ \t\r\n]|$)")
_MAX_DEPTH = 100  # of collections in one another; a Compose file has ten
_MOST_OPEN = 500  # brackets, those in quotes too
_BRACKET = re.compile(r"[\[\]{}]")
_MOST_TABS = 200  # the text is read once more for each
_MOST_NODES = 200_000  # with every alias and merge key written out; a Compose file of a thousand services has 50,000


class _Open:
    """A collection whose end has not come yet."""

    def __init__(self, node: Node, start: int, at: int) -> None:
        self.node = node
        self.start = start
        self.at = at  # behind the last key or element
        self.key: tuple[Node, int, int] | None = None  # a key that waits for its value
        self.spots: list[Spot] = []


class _Composing:
    """Puts nodes together from events, as the library's own composer does, and keeps where each stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.anchors: dict[str, Node] = {}
        self.layout: Layout = {}
        self.open: list[_Open] = []
        self.root: Node | None = None

    def documents(self) -> list[tuple[Node, Layout]]:
        """Return the root of every document with its layout."""
        found = []
        for event in _events(self.text):
            if isinstance(event, DocumentStartEvent):
                self.anchors, self.layout, self.root = {}, {}, None
            elif isinstance(event, MappingStartEvent | SequenceStartEvent):
                self.begin(event)
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                self.finish(event)
                if not self.open and self.root is not None:
                    found.append((self.root, self.layout))
            elif isinstance(event, ScalarEvent):
                node = ScalarNode(_tag(event), event.value, event.start_mark, event.end_mark, event.style)
                self.place(self.named(node, event), int(event.start_mark.index), self.scalar_end(event), False)
                if not self.open and self.root is not None:
                    found.append((self.root, self.layout))
            elif isinstance(event, AliasEvent):
                target = self.anchors.get(event.anchor)
                if target is None or any(target is opened.node for opened in self.open):
                    raise MarkedYAMLError(problem="an alias of nothing", problem_mark=event.start_mark)
                self.place(target, int(event.start_mark.index), int(event.end_mark.index), True)
        return found

    def named(self, node: Node, event: Any) -> Node:
        node.anchor = event.anchor
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def begin(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        if len(self.open) == _MAX_DEPTH:
            raise MarkedYAMLError(problem="too deep", problem_mark=event.start_mark)
        kind = MappingNode if isinstance(event, MappingStartEvent) else SequenceNode
        node = kind(_tag(event), [], event.start_mark, event.end_mark, flow_style=bool(event.flow_style))
        self.named(node, event)
        start = int(event.start_mark.index)
        properties = _PROPERTIES.match(self.text, start)
        self.open.append(_Open(node, start, start if properties is None else properties.end()))

    def finish(self, event: MappingEndEvent | SequenceEndEvent) -> None:
        done = self.open.pop()
        is_flow = bool(getattr(done.node, "flow_style", False))
        end = int(event.end_mark.index) if is_flow else done.spots[-1].end if done.spots else done.at
        done.node.end_mark = event.end_mark
        self.layout[id(done.node)] = done.spots
        self.place(done.node, done.start, end, False)

    def scalar_end(self, event: ScalarEvent) -> int:
        start, end = int(event.start_mark.index), int(event.end_mark.index)
        if event.style in ("|", ">"):
            head = self.text[start : self.text.find("\n", start)].partition("#")[0]
            return end if "+" in head else start + len(self.text[start:end].rstrip())
        return end

    def place(self, node: Node, start: int, end: int, is_alias: bool) -> None:
        """Add *node*, which stands from *start* to *end*, to the collection around it."""
        if not self.open:
            self.root = node
            return
        around = self.open[-1]
        is_empty = start == end
        if isinstance(around.node, SequenceNode):
            dash = -1
            if not getattr(around.node, "flow_style", False):
                dash = self.behind_gap(around.at)
                around.at = dash + 1
            start = around.at if is_empty else start
            end = start if is_empty else end
            around.spots.append(Spot(start, start, start, end, is_alias, dash))
            around.node.value.append(node)
            around.at = end
        elif around.key is None:
            around.key = (node, start, end)
        else:
            key, key_start, key_end = around.key
            if is_empty:
                colon = _COLON.match(self.text, key_end) or _COLON_BELOW.match(self.text, key_end)
                start = end = key_end if colon is None else colon.end()
            around.spots.append(Spot(key_start, key_end, start, end, is_alias, -1))
            around.node.value.append((key, node))
            around.key, around.at = None, end

    def behind_gap(self, at: int) -> int:
        found = _GAP.match(self.text, at)
        return at if found is None else found.end()


def _tag(event: Any) -> str:
    return str(event.ctag) if event.ctag is not None else ""


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
        if size > _MOST_NODES or depth > _MAX_DEPTH * 2:
            hint = "aliases and merge keys repeat what they name: write less, or say it in several files"
            raise Refused(f"{path}:{node.start_mark.line + 1}: this expands to more than a Compose file can need", hint)
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

    One that no float holds is no number to Go's YAML, and stays what it is.
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
