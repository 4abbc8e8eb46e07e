"""The guide as a site: `python -m tests.support.site FOLDER` builds it, and a link that leads nowhere fails.

The Markdown stays where it is, readable as it is: the README and whatever its links lead to is gathered, each at its
path, so that no link has to be another one on the site.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.forms import REPOSITORY

FIRST = "README.md"


def linked(page: Path) -> Iterator[Path]:
    """Yield the files of this repository that *page* links to or shows."""
    text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text):
        name = next(filter(None, target))
        if "://" not in name:
            yield (page.parent / name).resolve()


def gather(folder: Path) -> list[Path]:
    """Put the pages and what they show into *folder*, each at its path; return their paths."""
    wanted, found = [REPOSITORY / FIRST], []
    while wanted:
        path = wanted.pop()
        name = path.relative_to(REPOSITORY)
        if name in found or not path.is_file():
            continue  # a link to what is not there is for the builder to find
        found.append(name)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
        if path.suffix == ".md":
            wanted += linked(path)
    return found


def build(site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site in the folder *site*; what the builder said is returned, and its code."""
    with tempfile.TemporaryDirectory() as name:
        gather(Path(name))
        environ = {**os.environ, "SITE_PAGES": name, "SITE_FOLDER": str(site.resolve()), "NO_MKDOCS_2_WARNING": "1"}
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "mkdocs.yml"]
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


if __name__ == "__main__":
    built = build(Path(sys.argv[1]))
    sys.stderr.write(built.stdout)
    sys.exit(built.returncode)
