"""Every message that the shim and manage-secrets can say, read out of their sources.

A message is the argument for it in a call that makes one (`Breach(key, MESSAGE, hint)`,
`Refused(MESSAGE, *hints)`, …), and what the rooms that answer in words return. What is not constant becomes `…`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
DYNAMIC = "…"
# Which argument is the message, by what is called; a module may have its own.
PLACES = {
    "Breach": 1,
    "Missing": 1,
    "Directory": 1,
    "Unusable": 1,
    "Unreadable": 1,
    "NotOurs": 1,
    "_not_ours": 0,
    "CannotStart": 1,
    "NotEncodable": 0,
    "wrong": 1,
    "warning": 0,
    "Retryable": 1,
    "Malformed": 1,
    "InvalidReference": 0,
    "Refused": 0,
    "Failed": 0,
    "Unclear": 0,
    "NotMoved": 0,
    "NotReady": 0,
    "Lost": 0,
    "NotEnded": 0,
    "NotLetIn": 0,
    "NoSwarm": 0,
    "NotManager": 0,
    "NotDone": 0,
    "Ended": 0,
    "refuse": 0,
    "warn": 0,
    "Warned": 2,
    "_warn": 2,
    "_damaged": 0,
    "UsageError": 0,
    "BadParameter": 0,
    "Finding": 2,
    "Diagnosis": 2,
    "Obstacle": 2,
    "Remark": 2,
    "Fault": 3,
    "Mistake": 0,
}
OWN_PLACES = {
    ("shim/template.py", "Malformed"): 0,
    ("shim/watch.py", "_warn"): 0,
}
# Rooms whose functions answer with words that a message is made of.
ROOMS_OF_WORDS = ("shim/checks.py", "shim/schema_values.py")
# Rooms that yield a warning with its hint.
ROOMS_OF_WARNINGS = ("shim/profile_effects.py", "shim/doubts.py")


class Message(NamedTuple):
    """One message, as its source has it."""

    template: str
    file: str
    line: int
    hints: tuple[str, ...] = ()


def sources() -> list[Path]:
    """Return the files whose messages a user can meet."""
    return [
        *sorted((ROOT / "shim").glob("*.py")),
        ROOT / "scripts/manage_secrets.py",
        *sorted((ROOT / "scripts/shim_host").rglob("*.py")),
    ]


def messages() -> list[Message]:
    """Return every message, once for each place that says it."""
    return [message for path in sources() for message in _messages_in(path)]


def _messages_in(path: Path) -> Iterator[Message]:
    file = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node, function in _with_functions(tree):
        beside: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = _name(node.func)
            place = 0 if _is_kept_warning(node) else OWN_PLACES.get((file, name), PLACES.get(name))
            if place is None or len(node.args) <= place:
                continue
            if any(_name(argument) == "OK" for argument in node.args):
                continue  # what `doctor` says about a thing that is right
            parts = node.args[place:]
            if _is_kept_warning(node) and isinstance(node.args[0], ast.Tuple):
                parts = node.args[0].elts
            said = _texts(parts[0], function)
            beside = [*parts[1:], *(word.value for word in node.keywords if word.arg == "hint")]
        elif isinstance(node, ast.Return) and node.value is not None and file in ROOMS_OF_WORDS:
            said = _texts(node.value, function)
        elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and file in ROOMS_OF_WARNINGS:
            said = _texts(node.value.elts[0], function)
            beside = node.value.elts[1:]
        else:
            continue
        for text in said:
            if text.replace(DYNAMIC, "").strip(" :.,;") and " " in text.strip():
                yield Message(text, file, node.lineno, _hints(beside, function))


def _hints(beside: list[ast.expr], function: ast.AST) -> tuple[str, ...]:
    """Return the sentences among the arguments that follow a message."""
    texts = (text for node in beside for text in _texts(node, function))
    return tuple(text for text in texts if " " in text and re.search(r"[a-z]{2}", text.replace(DYNAMIC, "")))


def _is_kept_warning(call: ast.Call) -> bool:
    """Return whether this is `warnings.append((MESSAGE, hint))`: said later, once."""
    return isinstance(call.func, ast.Attribute) and call.func.attr == "append" and _name(call.func.value) == "warnings"


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _with_functions(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield each node with the function that it is in."""

    def below(node: ast.AST, function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            yield child, inner
            yield from below(child, inner)

    yield from below(tree, tree)


def _texts(node: ast.expr, function: ast.AST, depth: int = 0) -> list[str]:
    """Return what *node* can say, `…` for each part that only a run can tell."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else [DYNAMIC]
    if isinstance(node, ast.JoinedStr):
        parts = [_inside(part, function, depth) for part in node.values]
        return _products(parts)
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, function, depth), *_texts(node.orelse, function, depth)]
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _texts(value, function, depth)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _products([_texts(node.left, function, depth), _texts(node.right, function, depth)])
    if isinstance(node, ast.Name) and depth < 2:
        return _assigned(node.id, function, depth) or [DYNAMIC]
    return [DYNAMIC]


def _inside(part: ast.expr, function: ast.AST, depth: int) -> list[str]:
    if isinstance(part, ast.FormattedValue):
        # Only words chosen on the spot are spelt out; a name is a path or a key.
        return _texts(part.value, function, depth) if isinstance(part.value, ast.IfExp) else [DYNAMIC]
    return _texts(part, function, depth)


def _products(parts: list[list[str]]) -> list[str]:
    texts = [""]
    for part in parts:
        texts = [text + piece for text in texts for piece in part]
    return texts


def _assigned(name: str, function: ast.AST, depth: int) -> list[str]:
    found = []
    for node in ast.walk(function):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            found += [text for to in targets if _name(to) == name for text in _texts(node.value, function, depth + 1)]
    return found


@cache
def templates() -> dict[str, str]:
    """Return each template with where it is said first."""
    found: dict[str, str] = {}
    for message in messages():
        found.setdefault(message.template, f"{message.file}:{message.line}")
    return found
