"""YAML text becomes nodes, each with its place in the text: the parser's events, put together here."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
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


class Spot(NamedTuple):
    """Where one element of a collection is in the text: an element of a list, or a key with its value."""

    start: int  # of the key, or of the element: its anchor, its tag, or the alias in its place
    key_end: int  # in a list the same as *value*
    value: int  # where the value starts; of an empty one, right after the colon or the dash
    end: int
    is_alias: bool  # the value is written elsewhere
    dash: int  # of an element of a block list; -1 of anything else


Layout = dict[int, list[Spot]]  # by the `id` of a collection's node


_TABS = ("found character '\\t' that cannot start any token", "but found '\\t'")


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
            if mark is None or not str(error.problem).endswith(_TABS) or tabs > _MOST_TABS:
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
            if depth > MAX_DEPTH:
                raise MarkedYAMLError(problem="too deep", problem_mark=event.start_mark)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        yield event


_GAP = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")  # white space and comments
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]*)*")  # an anchor, a tag
_COLON = re.compile(r"[ \t]*:")
_COLON_BELOW = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*:(?=[ \t\r\n]|$)")
MAX_DEPTH = 100  # of collections in one another; a Compose file has ten
_MOST_OPEN = 500  # brackets, those in quotes too
_BRACKET = re.compile(r"[\[\]{}]")
_MOST_TABS = 200  # the text is read once more for each


class _Open:
    """A collection whose end has not come yet."""

    def __init__(self, node: Node, start: int, at: int) -> None:
        self.node = node
        self.start = start
        self.at = at  # behind the last key or element
        self.key: tuple[Node, int, int] | None = None  # a key that waits for its value
        self.spots: list[Spot] = []


class Composing:
    """Puts nodes together from events, as the library's own composer does, and keeps where each is."""

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
                self._begin(event)
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                self._finish(event)
                if not self.open and self.root is not None:
                    found.append((self.root, self.layout))
            elif isinstance(event, ScalarEvent):
                node = ScalarNode(_tag(event), event.value, event.start_mark, event.end_mark, event.style)
                self._place(self._named(node, event), int(event.start_mark.index), self._scalar_end(event), False)
                if not self.open and self.root is not None:
                    found.append((self.root, self.layout))
            elif isinstance(event, AliasEvent):
                target = self.anchors.get(event.anchor)
                if target is None or any(target is opened.node for opened in self.open):
                    raise MarkedYAMLError(problem="an alias of nothing", problem_mark=event.start_mark)
                self._place(target, int(event.start_mark.index), int(event.end_mark.index), True)
        return found

    def _named(self, node: Node, event: Any) -> Node:
        node.anchor = event.anchor
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _begin(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        if len(self.open) == MAX_DEPTH:
            raise MarkedYAMLError(problem="too deep", problem_mark=event.start_mark)
        kind = MappingNode if isinstance(event, MappingStartEvent) else SequenceNode
        node = kind(_tag(event), [], event.start_mark, event.end_mark, flow_style=bool(event.flow_style))
        self._named(node, event)
        start = int(event.start_mark.index)
        properties = _PROPERTIES.match(self.text, start)
        self.open.append(_Open(node, start, start if properties is None else properties.end()))

    def _finish(self, event: MappingEndEvent | SequenceEndEvent) -> None:
        done = self.open.pop()
        is_flow = bool(getattr(done.node, "flow_style", False))
        end = int(event.end_mark.index) if is_flow else done.spots[-1].end if done.spots else done.at
        done.node.end_mark = event.end_mark
        self.layout[id(done.node)] = done.spots
        self._place(done.node, done.start, end, False)

    def _scalar_end(self, event: ScalarEvent) -> int:
        start, end = int(event.start_mark.index), int(event.end_mark.index)
        if event.style in ("|", ">"):
            head = self.text[start : self.text.find("\n", start)].partition("#")[0]
            return end if "+" in head else start + len(self.text[start:end].rstrip())
        return end

    def _place(self, node: Node, start: int, end: int, is_alias: bool) -> None:
        """Add *node*, which is between *start* and *end*, to the collection around it."""
        if not self.open:
            self.root = node
            return
        around = self.open[-1]
        is_empty = start == end
        if isinstance(around.node, SequenceNode):
            dash = -1
            if not getattr(around.node, "flow_style", False):
                dash = self._behind_gap(around.at)
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

    def _behind_gap(self, at: int) -> int:
        found = _GAP.match(self.text, at)
        return at if found is None else found.end()


def _tag(event: Any) -> str:
    return str(event.ctag) if event.ctag is not None else ""
