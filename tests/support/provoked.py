"""Which test makes the programs say which message of docs/TROUBLESHOOTING.md.

A message is provoked by a test that says so with `@provokes`, and that fails when the message was not said; or by one
that stands in `provoked_elsewhere.py`.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

from tests.support.messages import DYNAMIC

# Filled by `@provokes`, when the modules of the tests are imported: message -> test.
BY_DECORATOR: dict[str, str] = {}


def pattern(template: str) -> re.Pattern[str]:
    """Return what a line that says *template* holds; `…` is anything but nothing."""
    return re.compile(".+?".join(re.escape(part) for part in template.split(DYNAMIC)), re.DOTALL)


def not_said(templates: tuple[str, ...], said: str) -> list[str]:
    """Return those of *templates* that nobody said."""
    return [template for template in templates if not pattern(template).search(said)]


def provokes(*templates: str) -> Callable[[Callable[..., str]], Callable[..., None]]:
    """Decorate a test that returns what a program said: each of *templates* must be in it."""

    def mark(test: Callable[..., str]) -> Callable[..., None]:
        name = f"{test.__module__}.py::{test.__name__}"
        BY_DECORATOR.update(dict.fromkeys(templates, name))

        @functools.wraps(test)
        def run(*arguments: Any, **named: Any) -> None:
            said = test(*arguments, **named)
            lacking = not_said(templates, said)
            assert not lacking, "nobody said\n" + "\n".join(lacking) + "\nbut\n" + said

        return run

    return mark
