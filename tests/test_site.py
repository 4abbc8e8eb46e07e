"""The guide as a site: it builds with every link leading somewhere, finds words, and loads nothing from elsewhere."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support import site
from tests.support.forms import REPOSITORY


@pytest.fixture(scope="module", name="built")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = site.build(folder)
    assert done.returncode == 0, done.stdout
    return folder


def test_every_page_of_the_guide_is_on_the_site_and_can_be_searched(built: Path) -> None:
    index = json.loads((built / "search/search_index.json").read_text(encoding="utf-8"))
    found = {document["location"].partition("#")[0] for document in index["docs"]}

    for page in (REPOSITORY / "docs").glob("*.md"):
        assert f"docs/{page.stem}/" in found
    assert any("nothing provides it" in document["text"] for document in index["docs"])


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"docs/(\w+)\.md", text))

    assert named == {page.stem for page in (REPOSITORY / "docs").glob("*.md")}
    assert YAML(typ="rt").load(text)["validation"]["links"]["anchors"] == "warn"


def test_no_page_loads_anything_from_elsewhere(built: Path) -> None:
    for page in built.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://", text), page


@pytest.mark.parametrize("link", ["[x](docs/NOT_THERE.md)", "[x](docs/COMPOSE.md#not-there)"])
def test_a_link_that_leads_nowhere_fails_the_build(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gather = site.gather

    def with_a_dead_link(folder: Path) -> list[Path]:
        found = gather(folder)
        (folder / site.FIRST).write_text((folder / site.FIRST).read_text() + f"\n{link}\n")
        return found

    monkeypatch.setattr(site, "gather", with_a_dead_link)

    done = site.build(tmp_path / "site")

    assert done.returncode != 0
    assert "not_there" in done.stdout.lower().replace("-", "_")
