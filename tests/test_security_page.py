"""docs/SECURITY.md promises only what a test shows: each row of its tables names the tests, and they are there."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.forms import REPOSITORY, TESTS

PAGE = (REPOSITORY / "docs" / "SECURITY.md").read_text(encoding="utf-8")
HEAD = "the test that shows it"
TEST = re.compile(r"`((?:[a-z_0-9]+/)*test_[a-z_0-9]+\.py)::(test_[a-z_0-9]+)`")


def rows() -> list[tuple[str, str]]:
    """Return each promise of the page with the cell that names its tests."""
    found: list[tuple[str, str]] = []
    is_table = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            is_table = False
        elif cells[-1].strip("| ") == HEAD:
            is_table = True
        elif is_table and set(line) - set("|-: "):
            found.append((cells[0], cells[-1]))
    return found


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("promise", "tests"), rows(), ids=[promise[:50] for promise, _ in rows()])
def test_a_promise_is_shown_by_a_test(promise: str, tests: str) -> None:
    named = TEST.findall(tests)

    assert named, f"no test shows: {promise}"
    for file, function in named:
        assert (TESTS / file).exists(), file
        assert function in functions(TESTS / file), f"{file} has no {function}"


def test_every_table_of_promises_names_its_tests() -> None:
    """A table that is to be walked says so in its head; the page has no other kind."""
    heads = [lines[0] for block in re.split(r"\n\n+", PAGE) if (lines := block.splitlines())[0].startswith("|")]

    assert heads
    assert [head for head in heads if not head.rstrip("| ").endswith(HEAD)] == []
    assert len(rows()) > 15
