"""What an anchor names, where its own place goes: it is written where it is used first. Edits come in, more leave."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ruamel.yaml.nodes import Node, ScalarNode

from shim_host.compose.braces import Edit
from shim_host.compose.nodes import Document, Spot
from shim_host.compose.written import Raw


def anchors_moved(
    documents: Sequence[Document],
    layout: Mapping[int, list[Spot]],
    edits: Sequence[Edit],
    raw: Callable[[Node], Raw],
) -> Iterator[Edit]:
    """Yield the edits that put what goes, and is used elsewhere by its anchor, where it is used first."""
    gone = [(start, end, new) for start, end, _, new in edits if end > start]

    def goes(at: int, anchor: str = "") -> bool:
        return any(
            start <= at < end and not (anchor and re.search(rf"&{re.escape(anchor)}\s", new))
            for start, end, new in gone
        )

    aliases: dict[int, list[Spot]] = {}
    targets: dict[int, Node] = {}
    for document in documents:
        for node, spot in values_below(document.root, layout, set()):
            if spot.is_alias:
                aliases.setdefault(id(node), []).append(spot)
            elif node.anchor and goes(spot.value, str(node.anchor)):
                targets[id(node)] = node
    for key, node in targets.items():
        left = sorted(spot for spot in aliases.get(key, ()) if not goes(spot.value))
        if left:
            spot = left[0]
            anchor, node.anchor = node.anchor, None
            text = f"&{anchor} {raw(node)}"
            node.anchor = anchor
            yield spot.value, spot.end, 0, text


def values_below(node: Node, layout: Mapping[int, list[Spot]], seen: set[int]) -> Iterator[tuple[Node, Spot]]:
    """Yield every value below *node* with its place, aliases too."""
    if id(node) in seen:
        return
    seen.add(id(node))
    for entry, spot in zip(node.value, layout.get(id(node), ()), strict=False):
        value = entry[1] if isinstance(entry, tuple) else entry
        yield value, spot
        if not isinstance(value, ScalarNode):
            yield from values_below(value, layout, seen)
