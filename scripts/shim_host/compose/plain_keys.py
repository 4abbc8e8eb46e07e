"""A Compose file with `? key` and `: value`, as some programs write long keys, in the form that can be edited."""

import json
import re
from collections.abc import Iterator, Sequence

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose.braces import comments
from shim_host.compose.nodes import Document, Spot, parse
from shim_host.compose.written import is_flow
from shim_host.errors import Refused

_MARKED = re.compile(r"(?:^|[-:?{,])[ \t]*\?[ \t]", re.MULTILINE)
_BLOCK_FRONT = re.compile(r"[ \t]*(?:[-?:][ \t]+)*\?[ \t]+")
_FLOW_FRONT = re.compile(r".*[{,][ \t]*\?[ \t]+|[ \t]*\?[ \t]+", re.DOTALL)
_UP_TO_COLON = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*:(?=[ \t\r\n]|$)")
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]*)*")
_MOST_LEVELS = 20  # of such entries in one another
_LONGEST = 1000  # YAML takes no longer key without the mark

_Change = tuple[int, int, str]


def with_plain_keys(documents: Sequence[Document]) -> list[Document]:
    """Return the *documents* of one file with every `? key` and `: value` written as `key: value`.

    Comments, anchors and order stay. Where that would not be the same YAML, all stays as it is.
    """
    done = list(documents)
    for _ in range(_MOST_LEVELS):
        if not done or not _MARKED.search(done[0].text):
            break
        text = done[0].text
        changes = [change for entry in _outermost(done) for change in entry]
        if not changes:
            break
        for start, end, new in sorted(changes, reverse=True):
            text = text[:start] + new + text[end:]
        first = done[0]
        try:
            read = parse(text, first.path)
        except Refused:
            return list(documents)
        if [_plain(root) for root, _ in read] != [_plain(document.root) for document in documents]:
            return list(documents)
        original = first.original or first.text
        done = [
            Document(first.path, text, root, first.folder, layout, original, first.environ) for root, layout in read
        ]
    return done


def _outermost(documents: Sequence[Document]) -> Iterator[list[_Change]]:
    """Yield the changes for each marked entry that is in no other one."""
    for document in documents:
        todo: list[Node] = [document.root]
        seen: set[int] = set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, SequenceNode):
                todo += node.value
            if not isinstance(node, MappingNode):
                continue
            for (key, value), spot in zip(node.value, document.layout.get(id(node), ()), strict=False):
                changes = _changes(document.text, node, key, value, spot)
                if changes:
                    yield changes
                else:
                    todo.append(value)


def _changes(text: str, mapping: Node, key: Node, value: Node, spot: Spot) -> list[_Change]:
    """Return what makes one entry a plain one; nothing where it is one, or cannot be."""
    line = text.rfind("\n", 0, spot.start) + 1
    front = text[line : spot.start]
    fits = (_FLOW_FRONT if is_flow(mapping) else _BLOCK_FRONT).fullmatch(front)
    written = text[spot.start : spot.key_end]
    if fits is None or not isinstance(key, ScalarNode):
        return []
    mark = line + front.rindex("?")
    if "\n" in written and len(str(key.value)) < _LONGEST and written[0] in "|>\"'":
        # On one line first: then it is an entry like the others.
        header = comments(written.partition("\n")[0]) if written[0] in "|>" else []
        one_line = json.dumps(key.value, ensure_ascii=False)
        return [(spot.start, spot.start + len(written.rstrip()), " ".join([one_line, *header]))]
    if "\n" in written or not 0 < len(written) < _LONGEST:
        return []
    colon = _UP_TO_COLON.match(text, spot.key_end)
    if colon is None:
        return [(mark, spot.start, ""), (spot.key_end, spot.key_end, "" if is_flow(mapping) else ":")]
    line_end = "\r\n" if "\r\n" in text else "\n"
    kept = comments(text[spot.key_end : colon.end() - 1])
    if kept and is_flow(mapping):
        return []
    above = "".join(f"{comment}{line_end}{' ' * (mark - line)}" for comment in kept)
    space = " " if written.startswith("*") else ""
    changes = [(mark, spot.start, above), (spot.key_end, colon.end(), f"{space}:")]
    if not isinstance(value, ScalarNode) and not is_flow(value) and not spot.is_alias:
        gap, properties = text[colon.end() : spot.value], _PROPERTIES.match(text, spot.value)
        behind = text[properties.end() if properties is not None else spot.value :][:1]
        if "\n" not in gap and behind not in ("\n", "\r", "#"):
            column = spot.value - (text.rfind("\n", 0, spot.value) + 1)
            changes.append((colon.end(), spot.value, line_end + " " * column))
    return changes


def _plain(root: Node) -> list[object]:
    """Return all that *root* says, and which of it is written elsewhere."""
    found: list[object] = []
    numbers: dict[int, int] = {}
    todo = [root]
    while todo:
        node = todo.pop()
        is_known = id(node) in numbers
        number = numbers.setdefault(id(node), len(numbers))
        found.append((number, str(node.tag), node.anchor))
        if is_known:
            continue
        if isinstance(node, ScalarNode):
            found.append((node.value, bool(node.style)))  # a plain one has none, and may be a number
            continue
        parts = node.value if isinstance(node, SequenceNode) else [part for pair in node.value for part in pair]
        found.append((type(node), len(parts)))
        todo += reversed(parts)
    return found
