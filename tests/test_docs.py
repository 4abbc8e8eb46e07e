"""The guide is true: its commands run as they are, its files load, its messages exist, its links lead somewhere.

What a block is, its language says:

- `sh` is typed by the reader: run, and it must succeed;
- `console` shows a dialogue: each line after `$ ` is run, and says what is below it (`…` is anything, a line of `…`
  any lines); without words below it, it must succeed;
- `bash` cannot run here (kubectl, a registry, other machines): it must be a script;
- `yaml` is loaded, and given to `docker compose config` when it has services;
- `dockerfile` is built, where the base is one that can be made here.

The blocks of a page are one story: they run one after the other in one folder.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from tests.support import messages
from tests.support.engine import Engine
from tests.support.forms import REPOSITORY, Custody
from tests.support.host import PrivateSwarm, compose_program
from tests.support.messages_page import PAGE, SECTIONS, TROUBLE, shown_messages
from tests.support.messages_page import page as messages_page
from tests.support.pages import Block, blocks

DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *DOCS]
# Pages whose commands change a Swarm: they get one of their own.
SWARM_PAGES = ("SWARM.md", "ROTATION.md", "RESTORE.md", "STORES.md")
# Pages that need a Compose which knows providers, and that install a plugin beside it.
PROVIDER_PAGES = ("PLUGIN.md",)
# An old release that is still met, and the newest one that is known here.
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
# The official images, and what replaces them where there is no registry.
BASES = {"postgres": "postgres", "mariadb": "mariadb", "redis": "redis", "python": "python", "node": "node"}


def every_block(*languages: str) -> list[Block]:
    """Return the blocks of all pages of the guide in one of *languages*."""
    return [block for page in DOCS for block in blocks(page, *languages)]


# --- what is run --------------------------------------------------------------------------------------------------


@pytest.fixture(name="reader")
def _reader(
    request: pytest.FixtureRequest, engine: Engine, shim_image: str, shim_binary: Path, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Give the environment of a reader: the commands are installed, an engine answers, the base images are named."""
    page: Path = request.getfixturevalue("page")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "shim").symlink_to(shim_binary)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environ = {
        **{name: value for name, value in engine.environ.items() if not name.startswith(("SHIM_", "GIT_"))},
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "COMPOSE_PROJECT_NAME": f"{engine.run_name}-docs",
        "CHECKOUT": str(REPOSITORY),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # The names that the pages use are those of this run: no reader meets another one.
        "BUSYBOX": engine.base("busybox"),
    }
    if page.name in SWARM_PAGES:
        swarm: PrivateSwarm = request.getfixturevalue("private_swarm")
        swarm.empty()
        environ.update(DOCKER_HOST=swarm.host, SERVICE_IMAGE=swarm.image_with_shim(shim_binary))
        yield environ
        swarm.empty()
        return
    if page.name in PROVIDER_PAGES:
        plugins = tmp_path / "docker" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(compose_program("forky"))
        environ["DOCKER_CONFIG"] = str(tmp_path / "docker")
    yield environ
    engine.docker("compose", "down", "--volumes", "--timeout", "2", environ=environ, check=False, cwd=tmp_path / "work")


def run(script: str, folder: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Return the exit code of *script* in bash, and all that it said."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout


def dialogue(text: str) -> list[tuple[str, str]]:
    """Return the commands of a `console` block, each with what it says."""
    steps: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line.startswith("> ") and not steps[-1][1]:
            steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", [])
        else:
            steps[-1][1].append(line)
    return [(command, "\n".join(said)) for command, said in steps]


def says(expected: str, said: str) -> bool:
    """Return whether *said* is what the page shows."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "…" else r".*?".join(map(re.escape, line.split("…"))) + r"[ ]*\n"
        for line in expected.strip("\n").splitlines()
    ]
    shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", said)  # Compose erases lines even where no terminal is
    text = "".join(line.rstrip() + "\n" for line in shown.strip("\n").splitlines())
    return re.fullmatch("".join(lines), text) is not None


@pytest.mark.engine
@pytest.mark.frozen
@pytest.mark.parametrize(
    "page", [page for page in DOCS if blocks(page, "sh", "console")], ids=lambda page: page.name.removesuffix(".md")
)
def test_the_story_of_a_page(page: Path, reader: dict[str, str], tmp_path: Path, custody: Custody) -> None:
    """A reader who types everything, from the first line to the last, sees what the page shows."""
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks(page, "sh", "console"):
        steps = [(block.text, "")] if block.language == "sh" else dialogue(block.text)
        for command, expected in steps:
            code, said = run(command, work, reader)
            # A task that ends holds its network for a moment more, and `docker stack rm` fails then: it is typed again.
            until = time.monotonic() + 60
            while code and "is in use by task" in said and time.monotonic() < until:
                code, said = run(command, work, reader)
            custody.said.append(said)
            if expected.strip("…\n"):
                assert says(expected, said), f"{block.place}: {command}\nshould say\n{expected}\nand says\n{said}"
            else:
                assert code == 0, f"{block.place}: {command}\n{said}"
    for file in filter(Path.is_file, (work / "secrets").rglob("*")):
        value = file.read_bytes().strip()
        if len(value) >= 8:
            assert value.decode("utf-8", "replace") not in "".join(custody.said), f"{file.name} was said"


# --- what is checked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", every_block("bash"), ids=lambda block: block.place)
def test_what_cannot_run_here_is_a_script(block: Block) -> None:
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.engine
@pytest.mark.parametrize("block", every_block("yaml"), ids=lambda block: block.place)
def test_a_yaml_file_is_what_its_reader_takes(block: Block, engine: Engine, tmp_path: Path) -> None:
    """A Compose file, or a part of one, passes `docker compose config`; a Kubernetes object fits its API's schema."""
    documents = list(YAML(typ="safe").load_all(block.text))
    assert documents
    for document in documents:
        assert isinstance(document, dict), block.place
        if "apiVersion" in document:
            _check_kubernetes(document)
        elif "repos" not in document and block.page.name != "CI.md":  # pre-commit's own file; what test_ci.py checks
            _check_compose(document, engine, tmp_path)


def _check_kubernetes(document: dict[str, Any]) -> None:
    """Hold an object against the published schemas, in which a field that there is not is a mistake."""
    assert re.fullmatch(r"[a-z0-9-]+", document["metadata"]["name"])
    for release in KUBERNETES:
        kubernetes_validate.validate(document, release, strict=True)


def test_a_kubernetes_object_with_a_misspelt_field_is_found() -> None:
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"}, "strngData": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        _check_kubernetes(document)


def _check_compose(document: dict[str, Any], engine: Engine, folder: Path) -> None:
    from io import StringIO

    if "services" not in document and not {"secrets", "volumes"} & set(document):
        document = {"services": {"app": {"image": "app", **document}}}  # a part of a service
    for service in (document.get("services") or {"none": None}).values():
        if service is not None and "build" not in service:
            service.setdefault("image", "app")
    document.setdefault("services", {"app": {"image": "app"}})
    named = {
        name if isinstance(name, str) else name["source"]
        for service in document["services"].values()
        for name in service.get("secrets", ())
    }
    for name in named:
        document.setdefault("secrets", {}).setdefault(name, {"file": f"./secrets/{name}"})
    text = StringIO()
    YAML().dump(document, text)
    (folder / "compose.yml").write_text(text.getvalue())
    said = engine.docker("compose", "--file", folder / "compose.yml", "config", "--quiet", check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.engine
@pytest.mark.frozen
@pytest.mark.parametrize("block", every_block("dockerfile"), ids=lambda block: block.place)
def test_a_dockerfile_builds(block: Block, engine: Engine, shim_image: str, tmp_path: Path) -> None:
    """With the base that can be made here, and what it copies beside it; a base of another name only parses."""
    text = block.text if re.search(r"^FROM", block.text, re.MULTILINE) else f"FROM postgres:15\n{block.text}"
    for match in re.finditer(r"^FROM (\S+)", text, re.MULTILINE):
        name = match[1].partition(":")[0].rpartition("/")[2]
        if match[1] != "scratch":
            text = text.replace(match[0], f"FROM {engine.base(BASES.get(name, 'busybox'))}")
    for source in re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE):
        (tmp_path / source).write_text("")
    (tmp_path / "Dockerfile").write_text(text)
    tag = f"{engine.run_name}-docs:{block.line}"

    engine.docker("build", "--quiet", "--tag", tag, tmp_path)

    engine.docker("rmi", tag)


# --- messages -----------------------------------------------------------------------------------------------------


def _known_commands() -> list[str]:
    from manage_secrets import COMMANDS

    return list(COMMANDS)


def test_the_guide_names_no_command_that_there_is_not() -> None:
    named = {
        (page.name, command)
        for page in PAGES
        for command in re.findall(r"manage-secrets ([a-z][a-z-]+)", page.read_text(encoding="utf-8"))
    }
    # "`manage-secrets` is", "manage-secrets on the host": a command is in a block or in code.
    wrong = {
        (page, command)
        for page, command in named
        if command not in _known_commands()
        and re.search(rf"(?:`|^|\$ )manage-secrets {command}", (find(page)).read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert not wrong


def find(name: str) -> Path:
    """Return the page called *name*."""
    return next(page for page in PAGES if page.name == name)


def test_every_message_is_in_the_catalogue() -> None:
    """The catalogue is what the sources hold today: every message, and none of the past."""
    assert PAGE.read_text(encoding="utf-8") == messages_page(), "run python -m tests.support.messages_page"
    assert set(shown_messages()) == set(messages.templates())


def test_every_problem_has_a_cause_and_a_repair() -> None:
    """Each section of the troubleshooting explains both, and every message of the catalogue leads to one."""
    sections = re.split(r"^### ", TROUBLE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]

    for section in sections:
        for word in ("**Why.** ", "**What to do.** "):
            assert section.count(word) == 1, f"{section.splitlines()[0]}: {word}"
    assert not {*SECTIONS} - {section.splitlines()[0] for section in sections}


def test_the_twenty_most_likely_problems_come_first() -> None:
    first = TROUBLE.read_text(encoding="utf-8").split("\n## ")[1]

    assert first.startswith("The twenty most likely problems")
    assert first.count("\n### ") == 20


def test_the_messages_are_read_out_of_the_sources() -> None:
    """What the reading of the sources finds includes messages of each kind: plain, in parts, chosen on the spot."""
    found = set(messages.templates())

    assert len(found) > 300
    assert {
        "… is required, and nothing provides it",
        "both … and … are set, and their values differ; keep one",
        "is in git",
        "the value ends before the space and #, where a comment begins",
        "the quote that opens the value of … is not closed",
        "there is only one manager: if it is lost, so are the Swarm and its secrets",
    } <= found


# --- links and names ----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of *page*, as GitHub makes them."""
    outside = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name}: {target}"


def test_every_page_can_be_reached_from_the_entry() -> None:
    entry = (REPOSITORY / "docs/DOCKER_SECRETS.md").read_text(encoding="utf-8")

    assert not [page.name for page in DOCS if page.name != "DOCKER_SECRETS.md" and f"]({page.name}" not in entry]


def test_every_command_of_the_host_stands_in_the_guide() -> None:
    guide = "".join(page.read_text(encoding="utf-8") for page in DOCS)

    assert not [command for command in _known_commands() if not re.search(rf"`(?:manage-secrets )?{command}\b", guide)]


def test_every_option_of_the_shim_stands_in_the_guide(frozen: Any) -> None:
    guide = "".join(page.read_text(encoding="utf-8") for page in DOCS)
    options = set(re.findall(r"--[a-z][a-z-]+", frozen("--help").stdout))

    assert not sorted(option for option in options if option not in guide)
