"""docs/PID1.md says what is true: its rows are the tests', ours does everything, and what others do, they still do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.forms import cannot_run
from tests.support.pid1 import OTHERS, Init, is_installed
from tests.support.pid1_behaviours import BEHAVIOURS, Behaviour
from tests.support.pid1_page import LACKING, NO, YES, cell

PAGE = Path(__file__).parents[2] / "docs" / "PID1.md"
# To wait for what does not come takes long: what others do not do is only looked at again on request.
EXPECTED = (YES, NO, LACKING) if os.environ.get("PID1_FULL") else (YES, LACKING)


def table() -> dict[str, dict[str, str]]:
    """Return the page's first table: what each init does, by row and column."""
    lines = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    names = [name.strip() for name in lines[0][1:]]
    rows: dict[str, dict[str, str]] = {}
    for line in lines[2:]:
        if line[0].strip().startswith("Figures"):
            break
        rows[line[0].strip()] = dict(zip(names, (text.strip() for text in line[1:]), strict=True))
    return rows


def test_every_behaviour_has_its_row() -> None:
    """And ours has no cell but yes."""
    rows = table()

    assert list(rows) == [behaviour.title for behaviour in BEHAVIOURS]
    assert {row["shim --init"] for row in rows.values()} == {YES}


def cells() -> list[tuple[Init, Behaviour]]:
    """Return what is looked at again."""
    rows = table() if PAGE.exists() else {}
    return [
        (init, behaviour)
        for init in OTHERS
        for behaviour in BEHAVIOURS
        if rows.get(behaviour.title, {}).get(init.name) in EXPECTED and "moments" not in behaviour.title
    ]


@pytest.mark.parametrize(
    ("init", "behaviour"), cells(), ids=lambda it: it.name if isinstance(it, Init) else it.test.__name__
)
def test_a_cell(init: Init, behaviour: Behaviour, children: Path, as_root: None) -> None:
    """What the page says about the others is not only true of the day it was made."""
    if not is_installed(init):
        cannot_run(f"there is no {init.name} here; it is a Debian package")
    said = table()[behaviour.title][init.name]
    # A machine under load may be too slow once; once in three is not the rule.
    seen = [cell(init, behaviour, str(children / "service"))]
    while seen.count(said) < 2 and len(seen) - seen.count(said) < 2 and said != seen[0]:
        seen.append(cell(init, behaviour, str(children / "service")))
    assert seen.count(said) > len(seen) // 2, seen
