"""Changes to the text of one Compose file. What is not changed stays byte for byte: comments, order, anchors, spacing.

Edits are collected against the text as it was read, and made in one go; they never overlap. Where each node is, its
layout says: an alias, an empty value and a block list have places like all others.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose.anchors import anchors_moved, values_below
from shim_host.compose.braces import Braces, Edit, comments
from shim_host.compose.nodes import OVERRIDE, RESET, Document, Spot, child, elements, is_merge, is_null, item, tag_of
from shim_host.compose.written import Raw, Style, Value, as_json, ends_in_block, is_flow, step_of

_ENDED = re.compile(r"^\.\.\.", re.MULTILINE)  # the document ends before the file does
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]*)+")
_FIT_FOR_BRACES = re.compile(r"[^\s,\[\]{}#&*!|>'\"%@`:?-][^\r\n,\[\]{}#:]*|-?[0-9.][0-9.eE+_-]*")


class Editor:
    """Collects the edits of one file, which may hold several YAML documents."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents
        whole = documents[0].text
        self.line_end = "\r\n" if "\r\n" in whole else "\n"
        # What is inserted behind the last line must find that line ended.
        self.text = whole if not whole or whole.endswith("\n") else whole + self.line_end
        self.style = Style(whole, step_of(documents[0].root))
        self.step, self.quote = self.style.step, self.style.quote
        self.layout = {key: spots for document in documents for key, spots in document.layout.items()}
        values = (entry for document in documents for entry in values_below(document.root, self.layout, set()))
        self.aliased = {id(node) for node, spot in values if spot.is_alias}
        # Start, end, rank, new text; where several are at one place the deeper one comes first, then the older one.
        self._edits: list[Edit] = []
        self._removed: set[int] = set()  # the starts of elements that go
        self._grown: set[int] = set()  # collections that get more at their end
        # What happens to collections in braces or brackets, where commas depend on all of it.
        self._flows: dict[int, Braces] = {}

    @property
    def has_edits(self) -> bool:
        """Return whether anything is to change."""
        return bool(self._edits or self._flows)

    def result(self) -> str:
        """Return the text with every edit made."""
        flows = (edit for changed in self._flows.values() for edit in changed.edits(self.text, self.line_end))
        edits = [*self._edits, *flows]
        edits += anchors_moved(self.documents, self.layout, edits, self.raw)
        return _edited(self.text, edits)

    def replace(self, start: int, end: int, new: str) -> None:
        """Put *new* in the place of what is between *start* and *end*."""
        self._edits.append((start, end, 0, new))

    def spots(self, node: Node) -> list[Spot]:
        """Return where each element of a collection is; of a mapping, each key with its value."""
        return self.layout.get(id(node), [])

    def is_alias(self, mapping: Node, value: Node) -> bool:
        """Return whether *mapping* has an alias in the place of *value*."""
        pairs = zip(mapping.value, self.spots(mapping), strict=True)
        return any(spot.is_alias for (_, own), spot in pairs if own is value)

    def replace_scalar(self, node: ScalarNode, new: str) -> None:
        """Put the text *new* in the place of *node*, as a string."""
        start = int(node.start_mark.index)
        properties = _PROPERTIES.match(self.text, start)
        start = start if properties is None else properties.end()
        self.replace(start, start + len(self.text[start : node.end_mark.index].rstrip()), self.quote(new))

    def remove(self, collection: Node, position: int, note: str = "") -> None:
        """Remove one element of *collection*. A comment behind it stays, behind *note*, as a line of its own."""
        spot = self.spots(collection)[position]
        if spot.start in self._removed:
            return
        self._removed.add(spot.start)
        if is_flow(collection):
            self._flow_of(collection).removed[position] = note
            return
        line, next_line = self.line_start(spot.start), self.next_line(spot.end)
        front = self.text[line : spot.dash if spot.dash >= 0 else spot.start]
        indent = front[: len(front) - len(front.lstrip())]
        kept = [*comments(self.text[spot.key_end : spot.value]), *comments(self.text[spot.end : next_line])]
        if kept and note:
            kept[0] = f"# {note}{kept[0]}"
        self.replace(line, next_line, "".join(f"{indent}{comment}{self.line_end}" for comment in kept))

    def is_emptied(self, collection: Node) -> bool:
        """Return whether every element of *collection* is removed, and nothing added."""
        gone = all(spot.start in self._removed for spot in self.spots(collection))
        return gone and id(collection) not in self._grown

    def settle_emptied(self, holder: MappingNode, position: int) -> None:
        """Take away the field at *position* of *holder*, whose elements are all removed; comments in it stay.

        Where something refers to it by its anchor, or it says what earlier files have no longer, or *holder* would get
        another one by a merge key or have nothing left, it stays and is empty.
        """
        value = holder.value[position][1]
        spot = self.spots(holder)[position]
        colon = self.colon_of(spot)
        if value.anchor or tag_of(value) or len(holder.value) == 1 or any(is_merge(key) for key, _ in holder.value):
            empty = "[]" if isinstance(value, SequenceNode) else "{}"
            properties = _PROPERTIES.match(self.text, spot.value)
            front = "" if properties is None else properties[0].rstrip() + " "
            if is_flow(value):
                self._drop_inner(spot.value, spot.end)
                self.replace(spot.value, spot.end, front + empty)
            elif properties is not None:
                at = spot.value + len(front) - 1
                self.replace(at, at, " " + empty)
            else:
                self.replace(colon + 1, colon + 1, " " + empty)
        elif is_flow(holder) or is_flow(value):
            self._drop_inner(spot.value, spot.end)
            self.remove(holder, position)
            inner = [] if is_flow(holder) else self._comments_in(value, spot)
            if inner:
                at, indent = self.line_start(spot.start), " " * self._column(spot.start)
                self._edits.append((at, at, 0, "".join(f"{indent}{comment}{self.line_end}" for comment in inner)))
        else:
            start, end = self.line_start(spot.start), self.next_line(colon)
            indent = " " * (spot.start - start)
            kept = "".join(f"{indent}{comment}{self.line_end}" for comment in comments(self.text[colon + 1 : end]))
            self.replace(start, end, kept)
            above = self.spots(holder)[position - 1]
            if position and not above.is_alias and ends_in_block(holder.value[position - 1][1]):
                self._move_comments(end, indent)

    def _move_comments(self, at: int, indent: str) -> None:
        """Move the comments from *at* on as far left as *indent*: further right, a text above would take them in."""
        removed = {edit[0]: edit for edit in self._edits if edit[0] < edit[1]}
        while at < len(self.text):
            if at in removed:
                edit = removed[at]
                lines = [indent + line.lstrip() for line in edit[3].splitlines(keepends=True)]
                self._edits[self._edits.index(edit)] = (*edit[:3], "".join(lines))
                at = edit[1]
                continue
            line = self.text[at : self.next_line(at + 1)]
            if line.strip() and not line.lstrip().startswith("#"):
                return
            if line.strip() and len(line) - len(line.lstrip()) > len(indent):
                self.replace(at, at + len(line) - len(line.lstrip()), indent)
            at += len(line)

    def _comments_in(self, collection: Node, whole: Spot) -> list[str]:
        """Return the comments between the elements of *collection*; a value may hold a `#` that begins none."""
        found, at = [], whole.value
        for spot in self.spots(collection):
            found += comments(self.text[at : spot.start])
            at = spot.end
        return found + comments(self.text[at : whole.end])

    def colon_of(self, spot: Spot) -> int:
        """Return where the colon after a key is."""
        return self.text.index(":", spot.key_end)

    def _drop_inner(self, start: int, end: int) -> None:
        # What is put in at the very end belongs to what is around it.
        self._edits = [edit for edit in self._edits if not start <= edit[0] < end]
        self._flows = {
            key: found for key, found in self._flows.items() if not start <= found.node.start_mark.index < end
        }

    def add_item(self, sequence: Node, new: Value) -> None:
        """Add *new* after the last element of *sequence*, which is here."""
        self._grown.add(id(sequence))
        if is_flow(sequence):
            self._flow_of(sequence).added.append(self.style.flow(new))
            return
        last = self.spots(sequence)[-1]
        indent = last.dash - self.line_start(last.dash)
        # A list may be as far left as the fields beside it, and yet its elements come before those.
        self._insert_lines(last.end, self.style.block_item(new, indent), indent + 1)

    def add_field(self, mapping: Node, key: str, new: Value, after: str = "", *, gap: bool = False) -> None:
        """Add `key: new` to *mapping*, after the field *after* if it has that, else at its end.

        With *gap* an empty line comes before it.
        """
        self._grown.add(id(mapping))
        if is_flow(mapping):
            self._flow_of(mapping).added.append(f"{self.quote(key)}: {self.style.flow(new)}")
            return
        spots = self.spots(mapping)
        names = [str(key_node.value) for key_node, _ in mapping.value]
        position = names.index(after) if after in names else len(names) - 1
        indent = self._column(spots[0].start)
        lines = self.style.block_field(key, new, indent)
        self._insert_lines(spots[position].end, [*([""] if gap else []), *lines], indent)

    def _column(self, at: int) -> int:
        return at - self.line_start(at)

    def _has_gaps(self, mapping: Node) -> bool:
        """Return whether there are empty lines between the fields of *mapping*."""
        return len(mapping.value) > 1 and any(self._follows_empty_line(spot.start) for spot in self.spots(mapping)[1:])

    def _follows_empty_line(self, at: int) -> bool:
        above = self.text[: self.line_start(at)].splitlines()
        while above and above[-1].lstrip().startswith("#"):
            above.pop()
        return bool(above) and not above[-1].strip()

    def set_field(self, mapping: Node, key: str, new: Value, after: str = "", *, tag: str = "") -> None:
        """Give *mapping* `key: new`, in the place of what the key has there; *tag* comes before the value."""
        for (key_node, value), spot in zip(mapping.value, self.spots(mapping), strict=True):
            if key_node.value == key:
                text = f"{tag} {self.style.flow(new)}".lstrip()
                self._drop_inner(spot.value, spot.end)
                if isinstance(value, ScalarNode) or is_flow(value) or spot.is_alias:
                    space = "" if self.text[spot.value - 1 : spot.value].isspace() else " "
                    self.replace(spot.value, spot.end, space + text)
                else:
                    self.replace(self.colon_of(spot) + 1, spot.end, " " + text)
                return
        self.add_field(mapping, key, Raw(f"{tag} {self.style.flow(new)}") if tag else new, after)

    def grow(
        self,
        mapping: Node,
        key: str,
        new: Mapping[str, Value],
        without: Collection[str] = (),
        *,
        gap: bool = False,
        keeps_others: bool = False,
    ) -> None:
        """Add *new* to the mapping that *mapping* has under *key*, and keep what it inherits there, but *without*."""
        found = item(mapping, key)
        if found is None:
            self.add_field(mapping, key, new)
            return
        position = [str(key_node.value) for key_node, _ in found.holder.value].index(key)
        spot = self.spots(found.holder)[position]
        is_reset = tag_of(found.value) == RESET
        if found.holder is not mapping:
            # The service's own field replaces what it inherits, so that is written out.
            fields = {} if is_reset else self.raw_fields(found.value)
            kept = {name: value for name, value in fields.items() if name not in without}
            self.add_field(mapping, key, {**kept, **new})
        elif is_reset:
            self.set_field(mapping, key, new, tag=OVERRIDE)
        elif is_null(found.value):
            if spot.value == spot.end and not is_flow(mapping):
                self._below_empty(spot, new)
            else:
                self.set_field(mapping, key, new)
        elif spot.is_alias:
            alias = self.text[spot.value : spot.end]
            self.set_field(mapping, key, {"<<": Raw(alias + " "), **new})
        elif keeps_others and found.value.anchor and id(found.value) in self.aliased:
            # Others have it by its anchor, and keep what it says.
            if not is_flow(found.value) and not is_flow(mapping) and not self.is_emptied(found.value):
                self._put_below_merge(spot, new)
                return
            kept_for_others = Raw(f"&{found.value.anchor} {self.raw(found.value)}")
            self._grown.add(id(found.value))
            self.set_field(mapping, key, {"<<": kept_for_others, **new})
        else:
            for name, value in new.items():
                self.add_field(found.value, name, value, gap=gap and self._has_gaps(found.value))

    def _put_below_merge(self, spot: Spot, fields: Mapping[str, Value]) -> None:
        """Move the block at *spot* one level down, below a merge key, and put *fields* beside that; comments stay."""
        start, end = spot.value, self.next_line(spot.end)
        colon = self.colon_of(spot) + 1
        front = self.line_end + " " * (self._column(spot.start) + self.step)
        inner = [edit for edit in self._edits if start <= edit[0] < end]
        lines = _edited(self.text[:end], inner)[start:].splitlines(keepends=True)
        self._drop_inner(start, end)
        moved = [" " * self.step + line if line.strip() else line for line in lines[1:]]
        self.replace(colon, end, f"{front}<<: {lines[0]}{''.join(moved)}")
        self._below_empty(spot, fields)

    def _below_empty(self, spot: Spot, fields: Mapping[str, Value]) -> None:
        """Give the key at *spot*, which has no value, a mapping."""
        indent = self._column(spot.start) + self.step
        lines = [line for key, new in fields.items() for line in self.style.block_field(key, new, indent)]
        self._insert_lines(spot.end, lines, indent)

    def add_to_list(self, mapping: Node, key: str, new: Sequence[Value]) -> None:
        """Add *new* to the list that *mapping* has under *key*; what it inherits there is kept."""
        own = own_sequence(mapping, key, self)
        if own is not None and id(own) not in self.aliased:
            for value in new:
                self.add_item(own, value)
            return
        found = item(mapping, key)
        is_reset = found is not None and tag_of(found.value) == RESET
        # What is inherited by a merge key or an alias is replaced by the service's own field, so it is written out.
        inherited = [] if is_reset else [self.raw(element) for element in elements(child(mapping, key))]
        self.set_field(mapping, key, [*inherited, *new], tag=OVERRIDE if is_reset else "")

    def add_top(self, root: MappingNode, section: str, fields: Mapping[str, Value]) -> None:
        """Add *fields* to the section *section* of the document *root*; where it is missing, it is made at the end."""
        if item(root, section) is not None:
            self.grow(root, section, fields, gap=True)
        elif is_flow(root) or len(self.documents) > 1 or _ENDED.search(self.text, self.spots(root)[-1].end):
            self.add_field(root, section, fields, gap=True)
        else:
            lines = self.style.block_field(section, fields, self._column(self.spots(root)[0].start))
            self.replace(len(self.text), len(self.text), self._joined(["", *lines]))

    def raw(self, node: Node) -> Raw:
        """Return *node* as it is written in braces, each scalar as it was, without the elements that are removed."""
        if isinstance(node, ScalarNode):
            own = self.text[node.start_mark.index : node.end_mark.index].rstrip()
            is_fit = node.style in ("'", '"') or _FIT_FOR_BRACES.fullmatch(own) is not None
            if is_fit and "\n" not in own and node.anchor is None:
                return Raw(own)
            if node.style is None and is_null(node):
                return Raw("null")
            return Raw(as_json(str(node.value)))
        if isinstance(node, SequenceNode):
            return Raw("[" + ", ".join(map(self.raw, self._left(node))) + "]")
        return Raw("{" + ", ".join(f"{key}: {value}" for key, value in self._raw_pairs(node)) + "}")

    def _raw_pairs(self, node: Node) -> Iterator[tuple[str, Raw]]:
        for key_node, value in self._left(node):
            if is_merge(key_node):
                for merged in value.value if isinstance(value, SequenceNode) else (value,):
                    present = {str(own.value) for own, _ in node.value}
                    yield from (pair for pair in self._raw_pairs(merged) if pair[0].strip("\"'") not in present)
            else:
                yield self.quote(str(key_node.value)), self.raw(value)

    def _left(self, node: Node) -> Iterator[Any]:
        gone = [spot.start in self._removed for spot in self.spots(node)]
        yield from (entry for position, entry in enumerate(node.value) if not any(gone[position : position + 1]))

    def raw_fields(self, node: Node) -> dict[str, Value]:
        """Return the fields of a mapping, or of a list of `KEY=value`, to be written again."""
        if isinstance(node, MappingNode):
            return {key.strip("\"'"): value for key, value in self._raw_pairs(node)}
        pairs = [str(element.value).partition("=") for element in elements(node)]
        return {key: value if equals else Raw("null") for key, equals, value in pairs}

    def line_start(self, at: int) -> int:
        """Return where the line of the offset *at* begins."""
        return self.text.rfind("\n", 0, at) + 1

    def next_line(self, at: int) -> int:
        """Return where the line behind the one of *at* begins."""
        if at and self.text[at - 1] == "\n":  # behind a text that keeps its empty lines
            return at
        newline = self.text.find("\n", at)
        return len(self.text) if newline < 0 else newline + 1

    def insert_words(self, sequence: Node, position: int, words: Iterable[str]) -> None:
        """Put *words* in front of the element at *position* of a list, in the list's own style."""
        spot = self.spots(sequence)[position]
        if is_flow(sequence):
            self.replace(spot.start, spot.start, "".join(f"{as_json(word)}, " for word in words))
            return
        gap = self.line_end + self.text[self.line_start(spot.dash) : spot.dash]
        if gap.strip():  # a list in a list: its first dash follows another
            gap = self.line_end + " " * self._column(spot.dash)
        self.replace(spot.dash, spot.dash, "".join(f"- {as_json(word)}{gap}" for word in words))

    def replace_element(self, sequence: Node, position: int, words: Sequence[str]) -> None:
        """Put *words* in the place of the element at *position* of a list, in the list's own style."""
        spot = self.spots(sequence)[position]
        if is_flow(sequence):
            self.replace(spot.start, spot.end, ", ".join(map(as_json, words)))
            return
        front = self.line_end + " " * self._column(spot.dash) + "- "
        self.replace(spot.start, spot.end, front.join(map(as_json, words)))

    def _insert_lines(self, behind: int, lines: list[str], depth: int) -> None:
        at = self.next_line(behind)
        self._edits.append((at, at, -depth, self._joined(lines)))

    def _joined(self, lines: Iterable[str]) -> str:
        return "".join(line + self.line_end for line in lines)

    def _flow_of(self, collection: Node) -> Braces:
        return self._flows.setdefault(id(collection), Braces(collection, self.spots(collection)))


def _edited(text: str, edits: Iterable[Edit]) -> str:
    for start, end, _, new in sorted(edits, key=lambda edit: edit[:3])[::-1]:
        text = text[:start] + new + text[end:]
    return text


def own_sequence(mapping: Node, key: str, editor: Editor) -> Node | None:
    """Return the sequence that *mapping* itself writes out under *key*, if it can be added to."""
    for (key_node, value), spot in zip(mapping.value, editor.spots(mapping), strict=True):
        if key_node.value == key and isinstance(value, SequenceNode) and not spot.is_alias:
            return value if (value.value or is_flow(value)) and tag_of(value) != RESET else None
    return None
