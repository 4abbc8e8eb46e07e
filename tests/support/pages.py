"""The pages of the guide, as blocks."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.forms import REPOSITORY

TROUBLE = REPOSITORY / "docs/TROUBLESHOOTING.md"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Return where it is stored, for a test's name."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of *page* in one of *languages*."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    every = (Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found)
    return [block for block in every if block.language in languages]


def shown_messages() -> list[str]:
    """Return the messages of the page, one per line of its blocks."""
    return [line for block in blocks(TROUBLE, "text") for line in block.text.splitlines()]
