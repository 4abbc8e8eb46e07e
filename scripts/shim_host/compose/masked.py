"""A Compose file as it may be shown: without any value that is, or looks like, a secret. Text in, text out."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose import nodes
from shim_host.compose.project import SECRETS_ROOT, names_in
from shim_host.recognition import command_lines
from shim_host.recognition.sensitive import is_telling, masked_text, why_by_name, why_by_value, why_named

_MASK = "***"
_COMMENT = re.compile(r"(?m)(?<![^\s])#.*$")


def shown(text: str, root: Node, keys: Iterable[str], values: Iterable[str]) -> str:
    """Return the text of a Compose file without any value that is, or looks like, a secret.

    A short value or a single word is masked where it is one by its name alone: it is found in too many other words, and
    what is missing there would tell it.
    """
    values = [value for value in values if is_telling(value)]
    spans: list[tuple[int, int, str]] = []
    _find_masked(root, set(keys), values, spans, set(), text)
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return without(masked_text(text), values)


def _find_masked(
    node: Node, keys: set[str], values: list[str], spans: list[tuple[int, int, str]], seen: set[int], text: str
) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key_node, value in node.value:
            if (
                isinstance(value, ScalarNode)
                and id(value) not in seen
                and _is_secret(str(key_node.value), str(value.value), keys)
            ):
                seen.add(id(value))
                _mask(value, str(value.value), "", spans, text)
            else:
                _find_masked(value, keys, values, spans, seen, text)
    elif isinstance(node, SequenceNode):
        before, program = "", ""
        for element in node.value:
            # A list of words: `--password` and, behind it, the word to mask; or `-pVALUE` of a program known for it.
            word = str(element.value) if isinstance(element, ScalarNode) else ""
            joined = command_lines.joined_password(program, word)
            is_value = before.startswith("-") and bool(why_by_name(before.lstrip("-")))
            if word and (joined or is_value or command_lines.takes_password(program, before)):
                seen.add(id(element))
                _mask(element, joined or word, word[: len(word) - len(joined)] if joined else "", spans, text)
            else:
                _find_masked(element, keys, values, spans, seen, text)
            before, program = word, word.rsplit("/", 1)[-1] if command_lines.names_a_program(word) else program
    else:
        whole = str(node.value)
        key, equals, rest = whole.partition("=")
        if equals and _is_secret(key, rest, keys):
            _mask(node, rest, key + "=", spans, text)
        elif why_by_value(whole) or any(value in whole for value in values):
            _mask(node, whole, "", spans, text)


def comments(text: str, path: Path) -> Iterator[tuple[int, int]]:
    """Yield where each comment of the Compose file *text* is; a `#` in a value begins none."""
    within = bytearray(len(text) + 1)
    todo: list[Node] = [root for root, _ in nodes.parse(text, path)]
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            start, end = node.start_mark.index, node.end_mark.index
            within[start:end] = b"\1" * (end - start)
        else:
            todo += chain.from_iterable(node.value) if isinstance(node, MappingNode) else node.value
    at = 0
    while found := _COMMENT.search(text, at):
        at = found.start() + 1
        if not within[found.start()]:
            at = found.end()
            yield found.span()


def _is_secret(key: str, value: str, keys: set[str]) -> bool:
    return not key.endswith("_FILE") and (key in keys or bool(why_named(key, value)))


def _mask(node: Node, value: str, front: str, spans: list[tuple[int, int, str]], text: str) -> None:
    name = next(iter(names_in(value)), "")
    is_bare = value in ("", f"${name}", f"${{{name}}}") or value.startswith(SECRETS_ROOT + "/")
    if not is_bare:
        start = int(node.start_mark.index)
        old = text[start : node.end_mark.index]
        spans.append((start, start + len(old.rstrip()), front + _MASK))


def without(text: str, values: Iterable[str]) -> str:
    """Return *text* with each of *values* masked, wherever it is."""
    for value in values:
        if is_telling(value):
            text = text.replace(value, _MASK)
    return text
