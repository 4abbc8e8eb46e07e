"""The pictures show what the programs print today: a picture that has rotted is made again by scripts/pages."""

import re

import pytest

from tests.support import pictures
from tests.support.forms import REPOSITORY

AGAIN = "the picture has rotted: scripts/pages makes it again"


def picture(name: str) -> str:
    return (pictures.FOLDER / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module", name="run")
def _run() -> list[str]:
    return pictures.recording()


@pytest.mark.parametrize("scheme", pictures.PALETTES)
def test_the_terminal_shows_a_real_run(scheme: str, run: list[str]) -> None:
    shown = pictures.words_of(picture(f"terminal-{scheme}.svg"))

    assert [line for line in shown if line] == [line for line in run if line], AGAIN
    assert any("is required, and nothing provides it" in line for line in run)
    assert any(re.fullmatch(r"listening; the password has \d+ characters", line) for line in run)


@pytest.mark.parametrize("scheme", pictures.PALETTES)
def test_idea_and_plot_are_those_of_today(scheme: str) -> None:
    """The plot's numbers are those of the newest measurements, and the README claims no more than they show."""
    assert picture(f"idea-{scheme}.svg") == pictures.idea(scheme), AGAIN
    assert picture(f"start-up-{scheme}.svg") == pictures.plot(scheme), AGAIN
    shares = pictures.ratios()
    assert shares["the shim"] < 0.38, "the README calls it about a third of a bare Python"
    assert shares["the shim"] < shares["bash file_env"], "the README calls it faster than a bash script"


def test_the_audit_page_of_the_picture_is_that_of_today() -> None:
    assert picture("audit.txt").strip() == pictures.seen_on(pictures.audited()), AGAIN


def test_every_picture_is_shown_and_loads_nothing() -> None:
    """README and guide show each; no picture asks the network for anything."""
    pages = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md"))
    )

    for path in pictures.FOLDER.iterdir():
        if path.suffix in (".svg", ".png"):
            assert f"pictures/{path.name}" in pages, path.name
        if path.suffix == ".svg":
            assert not re.search(r"(?:href|src|url\()\W*https?:", path.read_text(encoding="utf-8")), path.name
