"""`./scripts/demo` from a fresh copy of the repository: what it shows, and that nothing of it is left."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from shim.secret import keyed
from tests.support.engine import Engine, copy_of_the_repository
from tests.support.stack import NAMES, SECRETS_OF, free_port

pytestmark = [pytest.mark.engine, pytest.mark.frozen, pytest.mark.usefixtures("demo_turn")]


class Demo:
    """Runs scripts/demo of a checkout; returns all that it says."""

    def __init__(self, checkout: Path, environ: dict[str, str]) -> None:
        self.checkout = checkout
        self.port = free_port()
        ports = {"STRICT_API_PORT": str(self.port), "BACKEND_PORT": str(free_port())}
        self.environ = {**environ, **ports}

    def __call__(self, command: str) -> str:
        done = subprocess.run(
            [self.checkout / "scripts/demo", command],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def health(self) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10) as answer:
            return json.load(answer)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_shows_a_healthy_stack_and_goes_without_a_trace(
    engine: Engine, shim_binary: Path, tmp_path: Path
) -> None:
    """From a fresh copy of the repository, `scripts/demo` makes the secrets, brings the stack up and shows /health."""
    checkout = copy_of_the_repository(tmp_path / "checkout")
    project = f"{engine.run_name}-demo"
    own = {"COMPOSE_PROJECT_NAME": project, "SHIM_TEST_BINARY": str(shim_binary), "TAG": project}
    demo = Demo(checkout, {**engine.environ, **own})
    of_the_project = ("--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}")

    try:
        said = demo("up")
        files = {file.name: file for file in (checkout / "secrets").iterdir() if file.name in NAMES}
        made = {name: file.read_text() for name, file in files.items()}
        assert sorted(made) == NAMES
        assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o600}
        assert (checkout / "secrets").stat().st_mode & 0o777 == 0o700
        assert len(engine.docker("ps", *of_the_project).stdout.split()) == len(SECRETS_OF)
        assert '"status": "ok"' in said
        assert '"origin": "root"' in said
        assert not any(value in said for value in made.values())
        assert f"http://127.0.0.1:{demo.port}/health" in said
        assert demo.health()["store"].startswith("PostgreSQL")
        # In front of the user's eyes the login changed, and nobody was turned away.
        requests, failed = re.findall(r"^  meanwhile +(\d+) requests, (\d+) failed$", said, re.MULTILINE)[0]
        assert failed == "0", said
        assert int(requests) > 100
        before, now = re.findall(r"^  DB_PASSWORD \w+ +(\S+)$", said, re.MULTILINE)
        key = bytes.fromhex((checkout / "secrets/.fingerprint-key").read_text())
        assert before != now == keyed(made["db_password"].strip().encode(), "DB_PASSWORD", key)
        page = Path(re.findall(r"^ +(/\S*audit.html)$", said, re.MULTILINE)[0])
        assert "strict-api" in page.read_text()
        # Again: nothing is recreated, and the secrets stay what they are.
        demo("secrets")
        assert {name: file.read_text() for name, file in files.items()} == made
    finally:
        demo("down")
    assert engine.docker("ps", *of_the_project).stdout == ""
    assert engine.docker("images", "--quiet", f"docker-secrets-shim/*:{project}").stdout == ""
    assert not page.exists()
    assert {name: file.read_text() for name, file in files.items()} == made


def test_the_demo_works_without_an_engine(shim_binary: Path, tmp_path: Path) -> None:
    """Where no engine can be had, the shim starts the same service on this machine, and `down` ends it."""
    checkout = copy_of_the_repository(tmp_path / "checkout")
    engineless = checkout / "scripts/engine"
    engineless.write_text("#!/bin/sh\necho 'engine: error: no engine here' >&2\nexit 111\n")
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "SHIM_TEST_BINARY": str(shim_binary)}
    demo = Demo(checkout, {**os.environ, **own})
    secret = checkout / "secrets/db_password"
    secret.write_text("mine, and not to be changed\n")

    try:
        said = demo("up")
        assert '"status": "ok"' in said
        assert "mine, and not" not in said
        page = demo.health()
        assert page["store"].startswith("memory")
        assert page["secrets"]["DB_PASSWORD"]["origin"] == "root"
        name = (Path("/proc") / str(page["pid"]) / "comm").read_text()
        assert name.startswith("python3"), "the shim did not become the service"
    finally:
        demo("down")
    with pytest.raises(OSError, match="refused"):
        demo.health()
    assert secret.read_text() == "mine, and not to be changed\n"
