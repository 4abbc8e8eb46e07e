"""Changes to what is in braces or brackets, where the commas depend on all that goes and comes. Edits leave."""

import re
from collections.abc import Iterator, Sequence

from ruamel.yaml.nodes import Node

from shim_host.compose.nodes import Spot

Edit = tuple[int, int, int, str]  # start, end, rank, new text


class Braces:
    """What changes in one collection."""

    def __init__(self, node: Node, spots: Sequence[Spot]) -> None:
        self.node = node
        self.spots = spots
        self.removed: dict[int, str] = {}  # position -> what is written before a comment that stays
        self.added: list[str] = []

    def edits(self, text: str, line_end: str) -> Iterator[Edit]:
        """Yield the edits of *text*, the whole file."""
        spots = self.spots
        closing = int(self.node.end_mark.index) - 1
        kept = [position for position in range(len(spots)) if position not in self.removed]
        yield from self._removals(text, line_end, kept, closing)
        if not self.added:
            return
        line = text[_line_start(text, spots[-1].start) : spots[-1].start] if spots else ""
        has_lines = bool(spots) and not line.strip() and "\n" in text[self.node.start_mark.index : spots[-1].start]
        between = "," + (line_end + line if has_lines else " ")
        if not kept:
            yield closing, closing, 0, between.join(self.added)
            return
        at = spots[kept[-1]].end
        comma = uncommented(text[at:closing]).find(",") if kept[-1] == len(spots) - 1 else -1
        if comma < 0:
            # `data:,` would be a name with a comma in it; an empty value needs a space before one.
            gap = " " if text[at - 1 : at] == ":" else ""
            yield at, at, 0, gap + between + between.join(self.added)
        else:
            # The comma is there already, and what follows it stays behind what is new.
            yield at + comma + 1, at + comma + 1, 0, between[1:] + between.join(self.added) + ","

    def _removals(self, text: str, line_end: str, kept: list[int], closing: int) -> Iterator[Edit]:
        spots = self.spots
        for position in sorted(self.removed):
            spot = spots[position]
            is_last = position + 1 == len(spots)
            end = closing if is_last else spots[position + 1].start
            behind = text[spot.end : end]
            if not is_last and "\n" not in behind and "#" not in behind:
                yield spot.start, end, 0, ""
                continue
            comma = uncommented(behind).find(",")
            cut = spot.end if comma < 0 else spot.end + comma + 1
            line, next_line = _line_start(text, spot.start), _next_line(text, cut)
            if text[line : spot.start].strip() or text[cut:next_line].partition("#")[0].strip():
                yield spot.start, cut, 0, ""
                continue
            indent = text[line : spot.start]
            note = f"# {self.removed[position]}" if self.removed[position] else ""
            comment = next(iter(comments(text[cut:next_line])), "")
            yield line, next_line, 0, f"{indent}{note}{comment}{line_end}" if comment else ""
        # The comma behind the last one that stays goes, where what followed it has gone.
        if kept and kept[-1] < len(spots) - 1:
            after = spots[kept[-1]].end
            between = text[after : spots[kept[-1] + 1].start]
            at = after + uncommented(between).find(",")
            yield at, (at + 1 if "\n" in between else after + len(between)), 0, ""


def comments(text: str) -> list[str]:
    """Return the comments in *text*, which holds nothing else but white space, a colon and a comma."""
    return [line[line.index("#") :].rstrip() for line in text.splitlines() if "#" in line]


def uncommented(text: str) -> str:
    """Return *text* with blanks in the place of its comments."""
    return re.sub(r"#[^\r\n]*", lambda match: " " * len(match[0]), text)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _next_line(text: str, at: int) -> int:
    newline = text.find("\n", at)
    return len(text) if newline < 0 else newline + 1
