"""The manual pages of a wheel: one for each command, with all that its --help has, and without a mistake to troff."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.forms import REPOSITORY, cannot_run


def test_every_command_has_a_page_that_troff_takes(tmp_path: Path) -> None:
    from click.testing import CliRunner
    from manage_secrets import COMMANDS, cli

    if shutil.which("groff") is None:
        cannot_run("groff is not installed")
    make = [sys.executable, str(REPOSITORY / "scripts/man_pages.py"), str(REPOSITORY), str(tmp_path)]
    subprocess.run(make, env={"SOURCE_DATE_EPOCH": "1790000000"}, check=True)
    pages = sorted(tmp_path.iterdir())
    assert {page.stem for page in pages} == {"manage-secrets", *(f"manage-secrets-{name}" for name in COMMANDS)}

    linted = subprocess.run(
        ["groff", "-man", "-ww", "-z", "-Tutf8", "-Kutf8", *pages], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stderr) == (0, "")

    page = tmp_path / "manage-secrets-rotate.1"
    shown = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", page], capture_output=True, text=True, check=True
    ).stdout
    text = " ".join(shown.split())
    assert "MANAGE-SECRETS-ROTATE(1)" in text
    for words in ("--value-file FILE", "manage-secrets rotate --due --stack shop", "2026-09-21", "EXIT STATUS"):
        assert words in text, shown
    help_text = CliRunner().invoke(cli, ["rotate", "--help"]).output
    options = {word for word in help_text.split() if word.startswith("--") and word.isascii() and word[-1].isalnum()}
    assert not [option for option in options if option not in text]
