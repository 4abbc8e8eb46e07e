"""Which test makes the programs say which message of docs/MESSAGES.md.

A message is provoked by a test that says so with `@provokes`, and that fails when the message was not said; or by one
that is in `provoked_elsewhere.py`.
"""

import ast
import functools
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.messages import DYNAMIC

TESTS = Path(__file__).parent.parent


@cache
def by_decorator() -> dict[str, str]:
    """Return which test says with `@provokes` that it provokes a message, read out of the tests: message -> test."""
    found = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_bytes()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "provokes":
                    test = f"{path.relative_to(TESTS)}::{node.name}"
                    found.update({ast.literal_eval(argument): test for argument in decorator.args})
    return found


def pattern(template: str) -> re.Pattern[str]:
    """Return what a line that says *template* holds; `…` is anything but nothing."""
    return re.compile(".+?".join(re.escape(part) for part in template.split(DYNAMIC)), re.DOTALL)


def not_said(templates: tuple[str, ...], said: str) -> list[str]:
    """Return those of *templates* that nobody said."""
    return [template for template in templates if not pattern(template).search(said)]


def provokes(*templates: str) -> Callable[[Callable[..., str]], Callable[..., None]]:
    """Decorate a test that returns what a program said: each of *templates* must be in it."""

    def mark(test: Callable[..., str]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*arguments: Any, **named: Any) -> None:
            said = test(*arguments, **named)
            lacking = not_said(templates, said)
            assert not lacking, "nobody said\n" + "\n".join(lacking) + "\nbut\n" + said

        return run

    return mark
