"""What is watched on the way to a value, and what its words mean to the options."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.errors import Breach
from shim.options import Options
from shim.signals import signal_number
from shim.staying_options import read_staying, split_words
from shim.watch import places


def test_every_link_on_the_way_is_a_place(tmp_path: Path) -> None:
    """Kubernetes: a key links to ..data, which links to the folder that is swapped."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "key").write_text("x")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")
    root = str(tmp_path).encode()

    found = places(root + b"/key")

    assert (root, b"key") in found
    assert (root, b"..data") in found
    assert found[-1] == (root + b"/..1", b"key")


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    """Forty links, as for the kernel."""
    (tmp_path / "key").symlink_to("key")

    assert len(places(str(tmp_path).encode() + b"/key")) == 41


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("sigterm", 15),
        ("15", 15),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("RTMAX", 64),
        ("RTMIN+40", 0),
        ("RTMIN3", 0),
        ("", 0),
        ("SIG", 0),
        ("65", 0),
        ("CLD", 17),
        ("SYS", 31),
    ],
)
def test_signal_names(text: str, number: int) -> None:
    """Names with and without SIG, numbers, real-time ones."""
    assert signal_number(text) == number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ('a\\ b \'c\\d\' "e\\"f\\g"', ["a b", r"c\d", r'e"f\g']),
        ("'' \"\"", ["", ""]),
        ("$X;*|", ["$X;*|"]),
        ("'open", []),
        ("open\\", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    """Quotes and backslashes of a shell, and nothing else of it."""
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10.0), ("500ms", 0.5), ("2m", 120.0), ("3", 3.0), ("1.5", 1.5), ("0", 0.0), ("1h", 3600)],
)
def test_times(text: str, seconds: float) -> None:
    """`10s`, `500ms`, `2m`, plain seconds."""
    options = Options()
    options.grace = text
    wrong: list[Breach] = []

    assert read_staying(options, wrong).grace_seconds == seconds
    assert not wrong


@pytest.mark.parametrize("text", ["", "x", "1d", "-1", "1 2", "1.2.3", "s"])
def test_no_times(text: str) -> None:
    """What is not a time is a mistake, not a guess."""
    options = Options()
    options.grace = text or " "
    wrong: list[Breach] = []
    read_staying(options, wrong)

    assert wrong
