"""Every command that a page tells its reader to type is typed here: each ```sh block is run as it is.

A block runs in a fresh copy of the repository, against the tests' engine, under a Compose project of its own.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.engine import ROOT, Engine, copy_of_the_repository, unavailable

pytestmark = [pytest.mark.engine, pytest.mark.frozen, pytest.mark.usefixtures("demo_turn")]

PAGES = ("README.md", "secrets/README.md", "images/README.md")
# The one command that cannot run inside a test, because it is what runs the tests; it says so in the environment.
ITSELF = "./scripts/test"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of *page*."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in found]


def _shell_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language in ("sh", "bash", "console")]


@pytest.fixture(name="checkout")
def _checkout(tmp_path: Path) -> Path:
    return copy_of_the_repository(tmp_path / "checkout")


@pytest.fixture(name="environ")
def _environ(engine: Engine, shim_binary: Path, checkout: Path) -> Iterator[dict[str, str]]:
    """Give the environment of a reader whose machine has an engine and the base images; clean up after the reader."""
    for image in ("postgres", "app-python", "backend-node", "redis"):
        engine.image(image)
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
        port, backend_port = free.getsockname()[1], other.getsockname()[1]
    environ = {
        **engine.environ,
        "COMPOSE_PROJECT_NAME": f"{engine.run_name}-readme",
        "STRICT_API_PORT": str(port),
        "BACKEND_PORT": str(backend_port),
        "SHIM_TEST_BINARY": str(shim_binary),
        "BASE_POSTGRES": engine.base("postgres"),
        "BASE_PYTHON": engine.base("python"),
        "BASE_NODE": engine.base("node"),
    }
    yield environ
    engine.docker("compose", "--project-directory", checkout, "down", "--volumes", "--timeout", "5", environ=environ)
    engine.docker("rmi", "my-redis", check=False)


@pytest.mark.parametrize("block", _shell_blocks(), ids=lambda block: f"{block.page}:{block.line}")
def test_the_commands_of_a_page_work(block: Block, checkout: Path, environ: dict[str, str]) -> None:
    """A reader who types a block's commands, one after the other, meets no error."""
    lines = block.text.splitlines()
    if ITSELF in lines:
        if os.environ.get("TESTED_BY") != "scripts/test":
            unavailable(f"{ITSELF} does not run these tests, so nothing shows that it does")
        lines.remove(ITSELF)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=checkout,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_dockerfile_and_its_message(engine: Engine, shim_image: str, checkout: Path) -> None:
    """The Dockerfile that the README opens with builds, and without its secret it says what the README shows."""
    page = blocks("README.md")
    dockerfile = next(block for block in page if block.language == "dockerfile").text
    message = next(block for block in page if block.text.startswith("shim: error:")).text
    written = dockerfile.replace("FROM postgres:15", f"FROM {engine.base('postgres')}")
    assert written != dockerfile
    assert f"--from={shim_image} " in dockerfile
    (checkout / "Dockerfile").write_text(written)
    tag = f"{engine.run_name}-readme"
    engine.docker("build", "--quiet", "--tag", tag, checkout)

    try:
        end = engine.run(tag)
    finally:
        engine.docker("rmi", tag)

    assert end.code == 100
    assert message in end.stderr
