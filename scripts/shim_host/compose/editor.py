"""Changes to the text of one Compose file. What is not changed stays byte for byte: comments, order, anchors, spacing.

Edits are collected against the text as it was read, and made in one go; they never overlap.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import AliasToken

from shim_host.compose.nodes import Document, elements, is_merge, is_null, item

Value = str | bool | Sequence["Value"] | Mapping[str, "Value"]

_PLAIN = re.compile(r"[A-Za-z_./](?:[A-Za-z0-9_./-]|:(?=[A-Za-z0-9_./]))*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


class Editor:
    """Collects the edits of one file."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.line_end = "\r\n" if "\r\n" in document.text else "\n"
        self.step = _step(document.root)
        self.aliases = _aliases(document.text)
        # Start, end, rank, new text; where several stand at one place the deeper one comes first, then the older one.
        self._edits: list[tuple[int, int, int, str]] = []
        self._removed: set[int] = set()
        self._grown: set[int] = set()  # collections that get more at their end
        # What happens to collections in braces or brackets, where commas depend on all of it.
        self._flows: dict[int, _Flow] = {}

    @property
    def has_edits(self) -> bool:
        """Return whether anything is to change."""
        return bool(self._edits or self._flows)

    def result(self) -> str:
        """Return the text with every edit made."""
        text = self.text
        edits = [*self._edits, *(edit for flow_ in self._flows.values() for edit in self._flow_edits(flow_))]
        for start, end, _, new in sorted(edits, key=lambda edit: edit[:3])[::-1]:
            text = text[:start] + new + text[end:]
        return text

    def replace(self, start: int, end: int, new: str) -> None:
        """Put *new* in the place of what stands from *start* to *end*."""
        self._edits.append((start, end, 0, new))

    def end_of(self, node: Node) -> int:
        """Return where the text of *node* ends, without what follows it."""
        if isinstance(node, ScalarNode):
            start = int(node.start_mark.index)
            return start + len(self.text[start : node.end_mark.index].rstrip())
        if is_flow(node) or not node.value:
            return int(node.end_mark.index)
        return self.spans(node)[-1][1]

    def spans(self, node: Node) -> list[tuple[int, int]]:
        """Return where each element of a collection begins and ends; of a mapping, each key with its value."""
        found = []
        at = int(node.start_mark.index)
        for entry in node.value:
            key, value = entry if isinstance(node, MappingNode) else (None, entry)
            if key is not None:
                start = int(key.start_mark.index)
                at = int(key.end_mark.index)
            value_start, end = self.span(value, at)
            found.append((start if key is not None else value_start, end))
            at = end
        return found

    def span(self, node: Node, after: int) -> tuple[int, int]:
        """Return where *node* stands behind *after*: itself, or the alias that stands for it."""
        if node.start_mark.index >= after:
            return int(node.start_mark.index), self.end_of(node)
        return next((start, end) for start, end in self.aliases if start >= after)

    def is_alias(self, node: Node, after: int) -> bool:
        """Return whether an alias stands for *node* behind *after*."""
        return bool(node.start_mark.index < after)

    def remove(self, collection: Node, position: int, note: str = "") -> None:
        """Remove one element of *collection*. A comment behind it stays, behind *note*, as a line of its own."""
        spans = self.spans(collection)
        start, end = spans[position]
        if id(collection.value[position]) in self._removed:
            return
        self._removed.add(id(collection.value[position]))
        if is_flow(collection):
            self._flow_of(collection).removed.add(position)
            return
        line, next_line = self.line_start(start), self.next_line(end)
        comment = self.text[end:next_line].strip()
        front = self.text[line:start]
        indent = front[: len(front) - len(front.lstrip())]
        kept = f"{indent}# {note}{comment}{self.line_end}" if comment.startswith("#") else ""
        self.replace(line, next_line, kept)

    def is_emptied(self, collection: Node) -> bool:
        """Return whether every element of *collection* is removed, and nothing added."""
        gone = all(id(entry) in self._removed for entry in collection.value)
        return gone and id(collection) not in self._grown

    def settle_emptied(self, holder: MappingNode, position: int) -> None:
        """Take away the field at *position* of *holder*, whose elements are all removed; comments in it stay.

        Where something refers to it by its anchor, or *holder* would get another one by a merge key or have nothing
        left, it stays and is empty.
        """
        key_node, value = holder.value[position]
        colon = self.text.index(":", key_node.end_mark.index)
        if value.anchor or len(holder.value) == 1 or any(is_merge(key) for key, _ in holder.value):
            start = int(value.start_mark.index)
            anchor = f"&{value.anchor} " if value.anchor else ""
            empty = "[]" if isinstance(value, SequenceNode) else "{}"
            if is_flow(value):
                self._drop_inner(value)
                self.replace(start, int(value.end_mark.index), anchor + empty)
            else:
                line_end = self.next_line(colon)
                has_anchor = bool(value.anchor) and start < line_end
                at = start + len(anchor) - 1 if has_anchor else colon + 1
                self.replace(at, at, " " + empty)
        elif is_flow(holder) or is_flow(value):
            self._drop_inner(value)
            self.remove(holder, position)
        else:
            start, end = self.line_start(int(key_node.start_mark.index)), self.next_line(colon)
            comment = self.text[colon + 1 : end].strip()
            indent = " " * int(key_node.start_mark.column)
            self.replace(start, end, f"{indent}{comment}{self.line_end}" if comment.startswith("#") else "")

    def _drop_inner(self, node: Node) -> None:
        start, end = int(node.start_mark.index), int(node.end_mark.index)
        # What is put in at the very end belongs to what stands around it.
        self._edits = [edit for edit in self._edits if not start <= edit[0] <= edit[1] <= end or edit[0] == end]
        self._flows = {
            key: found for key, found in self._flows.items() if not start <= found.node.start_mark.index < end
        }

    def add_item(self, sequence: Node, new: Value) -> None:
        """Add *new* behind the last element of *sequence*, which stands here and is not empty."""
        if is_flow(sequence):
            self._grow_flow(sequence, flow(new))
            return
        spans = self.spans(sequence)
        dash = self.text.rfind("-", 0, spans[-1][0])
        indent = dash - self.line_start(dash)
        # A list may stand as far left as the fields beside it, and yet its elements come before those.
        self._insert_lines(spans[-1][1], block_item(new, indent, self.step), indent + 1)
        self._grown.add(id(sequence))

    def add_field(self, mapping: Node, key: str, new: Value, after: str = "", *, gap: bool = False) -> None:
        """Add `key: new` to *mapping*, behind the field *after* if that stands in it, else at its end.

        With *gap* an empty line comes before it.
        """
        if is_flow(mapping):
            self._grow_flow(mapping, f"{quoted(key)}: {flow(new)}")
            return
        spans = self.spans(mapping)
        names = [str(key_node.value) for key_node, _ in mapping.value]
        position = names.index(after) if after in names else len(names) - 1
        indent = int(mapping.value[0][0].start_mark.column)
        lines = block_field(key, new, indent, self.step)
        self._insert_lines(spans[position][1], [*([""] if gap else []), *lines], indent)
        self._grown.add(id(mapping))

    def _has_gaps(self, mapping: Node) -> bool:
        """Return whether empty lines stand between the fields of *mapping*."""
        return len(mapping.value) > 1 and any(self._follows_empty_line(start) for start, _ in self.spans(mapping)[1:])

    def _follows_empty_line(self, at: int) -> bool:
        above = self.text[: self.line_start(at)].splitlines()
        while above and above[-1].lstrip().startswith("#"):
            above.pop()
        return bool(above) and not above[-1].strip()

    def add_to_empty(self, key_node: ScalarNode, fields: Mapping[str, Value]) -> None:
        """Give the key *key_node*, which has no value, a mapping."""
        lines: list[str] = []
        indent = int(key_node.start_mark.column) + self.step
        for key, new in fields.items():
            lines += block_field(key, new, indent, self.step)
        self._insert_lines(int(key_node.end_mark.index), lines, indent)

    def set_field(self, mapping: Node, key: str, new: Value, after: str = "") -> None:
        """Give *mapping* `key: new`, in the place of what the key has there."""
        for key_node, value in mapping.value:
            if key_node.value == key:
                start, end = self.span(value, int(key_node.end_mark.index))
                space = "" if self.text[start - 1 : start].isspace() else " "
                self._drop_inner(value)
                if isinstance(value, ScalarNode) or is_flow(value) or self.is_alias(value, key_node.end_mark.index):
                    self.replace(start, end, space + flow(new))
                else:
                    colon = self.text.index(":", key_node.end_mark.index)
                    self.replace(colon + 1, end, " " + flow(new))
                return
        self.add_field(mapping, key, new, after)

    def add_top(self, section: str, fields: Mapping[str, Value]) -> None:
        """Add *fields* to the section *section* of the file, which is made at the end where it is missing."""
        found = item(self.document.root, section)
        if found is not None and is_null(found.value):
            self.add_to_empty(found.key_node, fields)
        elif found is not None and found.value.value:
            for key, new in fields.items():
                self.add_field(found.value, key, new, gap=self._has_gaps(found.value))
        elif found is not None:
            self.set_field(self.document.root, section, fields)
        else:
            lines = block_field(section, fields, 0, self.step)
            gap = "" if self.text.endswith(self.line_end) else self.line_end
            self.replace(len(self.text), len(self.text), gap + self._joined(["", *lines]))

    def raw(self, node: Node) -> str:
        """Return *node* as it can stand in a flow collection, its references as they are."""
        if isinstance(node, ScalarNode):
            own = self.text[node.start_mark.index : self.end_of(node)]
            return own if node.style in ("'", '"') and "\n" not in own else quoted(str(node.value))
        if isinstance(node, SequenceNode):
            return "[" + ", ".join(map(self.raw, node.value)) + "]"
        return "{" + ", ".join(f"{self.raw(key)}: {self.raw(value)}" for key, value in node.value) + "}"

    def line_start(self, at: int) -> int:
        """Return where the line of the offset *at* begins."""
        return self.text.rfind("\n", 0, at) + 1

    def next_line(self, at: int) -> int:
        """Return where the line behind the one of *at* begins."""
        newline = self.text.find("\n", at)
        return len(self.text) if newline < 0 else newline + 1

    def _insert_lines(self, behind: int, lines: list[str], depth: int) -> None:
        at = self.next_line(behind)
        gap = "" if at == 0 or self.text[at - 1] == "\n" else self.line_end
        self._edits.append((at, at, -depth, gap + self._joined(lines)))

    def _joined(self, lines: Iterable[str]) -> str:
        return "".join(line + self.line_end for line in lines)

    def _flow_of(self, collection: Node) -> "_Flow":
        return self._flows.setdefault(id(collection), _Flow(collection, set(), []))

    def _grow_flow(self, collection: Node, new: str) -> None:
        self._grown.add(id(collection))
        self._flow_of(collection).added.append(new)

    def _flow_edits(self, changed: "_Flow") -> Iterator[tuple[int, int, int, str]]:
        """Yield the edits of one collection: runs of elements go with the comma behind them, or before the last."""
        spans = self.spans(changed.node)
        last = len(spans) - 1
        position = 0
        while position <= last:
            if position in changed.removed:
                first = position
                while position + 1 in changed.removed:
                    position += 1
                if position < last:
                    yield spans[first][0], spans[position + 1][0], 0, ""
                else:
                    yield spans[first - 1][1] if first else spans[0][0], spans[last][1], 0, ""
            position += 1
        if changed.added:
            closing = int(changed.node.end_mark.index) - 1
            has_comma = self.text[:closing].rstrip().endswith(",")
            is_empty = len(changed.removed) == len(spans)
            front = "" if is_empty else " " if has_comma else ", "
            at = closing if has_comma or is_empty else spans[last][1]
            yield at, at, 0, front + ", ".join(changed.added)


class _Flow(NamedTuple):
    node: Node
    removed: set[int]
    added: list[str]


def is_flow(node: Node) -> bool:
    """Return whether *node* is written in braces or brackets."""
    return bool(getattr(node, "flow_style", False))


def _step(root: MappingNode) -> int:
    """Return how far this file indents."""
    for _, value in root.value:
        if isinstance(value, MappingNode) and not value.flow_style and value.value:
            return max(int(value.value[0][0].start_mark.column), 1)
    return 2


def _aliases(text: str) -> list[tuple[int, int]]:
    if "*" not in text:
        return []
    tokens = YAML(typ="safe", pure=True).scan(text)
    return [(t.start_mark.index, t.end_mark.index) for t in tokens if isinstance(t, AliasToken)]


def quoted(text: str) -> str:
    """Return *text* as a YAML scalar, without quotes where every reader takes it for a string."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and text not in (".", ".."):
        return text
    # A JSON string is a YAML one, but for characters that YAML does not print.
    return "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}" if ord(character) > 0x1F else character
        for character in json.dumps(text, ensure_ascii=False)
    )


def flow(value: Value) -> str:
    """Return *value* on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(json_like(inner) for inner in value) + "]"


def json_like(value: Value) -> str:
    """Return *value* as an element of a list of words, where strings always have quotes."""
    if isinstance(value, str):
        text = quoted(value)
        return text if text.startswith('"') else f'"{text}"'
    return flow(value)


def block_field(key: str, value: Value, indent: int, step: int) -> list[str]:
    """Return the lines of `key: value`. A list of words stays on one line when it is a tuple."""
    start = " " * indent + quoted(key) + ":"
    if isinstance(value, Mapping) and value:
        return [start, *(line for k, v in value.items() for line in block_field(k, v, indent + step, step))]
    if isinstance(value, list) and value:
        return [start, *(line for inner in value for line in block_item(inner, indent + step, step))]
    return [f"{start} {flow(value)}"]


def block_item(value: Value, indent: int, step: int) -> list[str]:
    """Return the lines of `- value`."""
    start = " " * indent + "- "
    if isinstance(value, Mapping):
        lines = [line for k, v in value.items() for line in block_field(k, v, indent + 2, step)]
        return [start + lines[0].lstrip(), *lines[1:]]
    return [start + flow(value)]


def own_sequence(mapping: Node, key: str, editor: Editor) -> Node | None:
    """Return the sequence that *mapping* itself writes out under *key*, if it can be added to."""
    found = item(mapping, key)
    if found is None or found.holder is not mapping or not elements(found.value):
        return None
    return None if editor.is_alias(found.value, int(found.key_node.end_mark.index)) else found.value
