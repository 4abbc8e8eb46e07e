"""Plain English: no text has the turns of phrase in `style.toml`, and no page, help or message what proselint finds.

Code is blanked before: what is between backticks, in a block, or in a link's address is not prose.
"""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from proselint.config import Config
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckFlags, engine, types
from proselint.tools import LintFile

from tests.support import messages
from tests.support.forms import REPOSITORY

PAGES = [
    *(
        REPOSITORY / name
        for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "images/README.md", "secrets/README.md")
    ),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
# Of proselint's own: what is wrong in any register; typography and taste are the project's own matter.
GROUPS = (
    "archaism",
    "malapropisms",
    "mixed_metaphors",
    "mondegreens",
    "nonwords",
    "redundancy",
    "uncomparables",
    "shim",
)


RULES = tomllib.loads((REPOSITORY / "tests/style.toml").read_text(encoding="utf-8"))["rule"]


def _rules() -> tuple[Check, ...]:
    return tuple(
        Check(
            check_type=types.ExistenceSimple(pattern=rule["pattern"]),
            path=f"shim.{number}",
            message=f"'{{}}': write {rule['instead']}",
            engine=engine.Fancy(),
            flags=CheckFlags(allow_quotes=True),
        )
        for number, rule in enumerate(RULES)
    )


@cache
def _config() -> Config:
    from proselint.checks import __register__

    registry = CheckRegistry()
    registry.register_many((*__register__, *_rules()))
    return Config(max_errors=1000, checks=dict.fromkeys(GROUPS, True))


def odd(text: str, name: str) -> list[str]:
    """Return what is odd in *text*, each with its place."""
    found = LintFile(name, content=text).lint(_config())
    return [f"{name}:{line}: {result.message}" for result, (line, _column) in found]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", match[0])


def prose(page: Path) -> str:
    """Return the words of *page*, everything that is code as `_`, at the same places."""
    text = page.read_text(encoding="utf-8")
    for code in (
        r"^```.*?^```$",
        r"``.+?``",
        r"`[^`]+`",
        r"\]\([^)\s]+\)",
        r"<[^>\n]+>",
        r"^    \S.*$",
        r"https?://\S+",
    ):
        text = re.sub(code, _blank, text, flags=re.MULTILINE | re.DOTALL if "```" in code else re.MULTILINE)
    return text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_plain_english(page: Path) -> None:
    assert odd(prose(page), page.name) == []


def _said_in(path: Path) -> list[tuple[int, str]]:
    """Return every text of *path* that a user can meet: a string of several words that documents nothing."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and re.search(r"[a-z] [a-z]", node.value)
    ]


def test_the_programs_speak_plain_english() -> None:
    """Messages, hints, words of tables and of the audit page, and the help of the shim."""
    said = [
        (f"{path.relative_to(REPOSITORY)}:{line}", text)
        for path in (*messages.sources(), REPOSITORY / "scripts/pre_commit_secrets.py")
        for line, text in _said_in(path)
    ]
    assert len(said) > 1000

    assert [finding for place, text in said for finding in odd(text, place)] == []


def test_the_help_is_plain_english() -> None:
    from click.testing import CliRunner
    from manage_secrets import COMMANDS, cli

    for command in ("", *COMMANDS):
        help_text = CliRunner().invoke(cli, [*command.split(), "--help"]).output
        assert "Usage:" in help_text
        assert (
            odd(re.sub(r"(?ms)^  With --json:.*?(?=^  Exit codes|^Options:)", "", help_text), f"{command} --help") == []
        )


def _notes(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module, each with its first line's number."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            yield node.body[0].lineno, str(ast.get_docstring(node, clean=False))


def _noted(path: Path) -> list[tuple[int, str]]:
    """Return what *path* has in words: all of it, unless it is Python."""
    text = path.read_text(encoding="utf-8")
    notes = _notes(text) if path.suffix == ".py" else [(1, text)]
    return [(line, re.sub(r"``.+?``|`[^`]+`", _blank, note)) for line, note in notes]


@pytest.mark.parametrize("folder", ["shim", "scripts", "images", "tests"])
def test_comments_and_docstrings_are_plain_english(folder: str) -> None:
    rules = [(re.compile(rule["pattern"]), rule["instead"]) for rule in RULES if rule.get("code", True)]
    found = [
        f"{path.relative_to(REPOSITORY)}:{line + note[: match.start()].count(chr(10))}: '{match[0]}': write {instead}"
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.is_file() and (not path.suffix or path.suffix in (".py", ".sh", ".c", ".ts"))
        for line, note in _noted(path)
        for pattern, instead in rules
        for match in pattern.finditer(note)
    ]

    assert found == []


@pytest.mark.parametrize(
    "sentence",
    [
        "it is no port",
        "this says where it is",
        "the reason stands above",
        "one file a secret",
        "the world failed",
        "1 services moved",
    ],
)
def test_an_odd_form_is_found(sentence: str) -> None:
    assert odd(sentence, "x")


def test_plain_english_passes() -> None:
    assert (
        odd("There is no port. The value is not a port; it is no longer used. One file per secret, shown again.", "x")
        == []
    )
