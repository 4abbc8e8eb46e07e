"""Every message of docs/MESSAGES.md is provoked by a test."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.messages import DYNAMIC
from tests.support.messages_page import shown_messages
from tests.support.provoked import by_decorator
from tests.support.provoked_elsewhere import ELSEWHERE

TESTS = Path(__file__).parent


def test_every_message_is_provoked() -> None:
    accounted = {*by_decorator(), *ELSEWHERE}

    lacking = [line for line in shown_messages() if line not in accounted]

    assert not lacking, (
        "provoke these (@provokes in test_messages.py or test_messages_host.py), or name in provoked_elsewhere.py the "
        "test that does:\n" + "\n".join(lacking)
    )


def test_no_account_is_of_the_past() -> None:
    shown = set(shown_messages())

    assert not [line for line in (*by_decorator(), *ELSEWHERE) if line not in shown]


@cache
def literals(file: str, name: str) -> list[str]:
    """Return every literal of the test *name* in *file*, and of what is in its module and it uses by name."""
    body = {key: node for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body for key in _names(node)}
    assert isinstance(body.get(name), ast.FunctionDef), f"there is no test {file}::{name}"
    wanted, found = [name], set()
    while wanted:
        key = wanted.pop()
        found.add(key)
        used = {node.id for node in ast.walk(body[key]) if isinstance(node, ast.Name)}
        wanted += sorted(used & body.keys() - found)
    nodes = [node for key in found for node in ast.walk(body[key])]
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("message", ELSEWHERE)
def test_who_is_said_to_provoke_a_message_asks_for_its_words(message: str) -> None:
    test, words = ELSEWHERE[message]

    assert any(words in part for part in message.split(DYNAMIC)), f"{words!r} is not part of the message"
    assert any(words in literal for literal in literals(*test.split("::"))), f"{test} does not ask for {words!r}"
