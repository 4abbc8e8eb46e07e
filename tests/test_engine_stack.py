"""The reference stack and the demo, from the files as they are in the repository, on a real engine."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine import ROOT, SHIM, UGLY, Engine, assert_kept_nothing, copy_of_the_repository

pytestmark = [pytest.mark.engine, pytest.mark.frozen]

Compose = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(name="port")
def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """Give a project folder with the repository's compose file and a `./secrets` of its own."""
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    file = secrets / "postgres_password"
    file.touch(mode=0o600)
    file.write_text(UGLY + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(name="compose")
def _compose(engine: Engine, project: Path, port: int) -> Iterator[Compose]:
    """Give a function that runs `docker compose` on a project of this test alone, with images made before."""
    engine.image("postgres")
    engine.image("app-python")
    own = {"COMPOSE_PROJECT_NAME": f"{engine.run_name}-stack", "STRICT_API_PORT": str(port)}

    def compose(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        environ = {**own, **options.pop("environ", {})}
        return engine.docker("compose", "--project-directory", project, *argv, environ=environ, **options)

    yield compose
    compose("down", "--volumes", "--timeout", "5")


def _health(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        return json.load(answer)


def _containers(compose: Compose) -> dict[str, str]:
    lines = compose("ps", "--all", "--format", "{{.Service}} {{.ID}}").stdout.splitlines()
    return {line.split()[0]: line.split()[1] for line in lines}


def test_the_stack_comes_up_from_files_alone(engine: Engine, compose: Compose, port: int) -> None:
    """With one secret file and no environment variable, every service becomes healthy, PID 1 is the service itself."""
    compose("up", "--no-build", "--detach", "--wait", timeout=180)

    page = _health(port)
    assert (page["status"], page["pid"], page["user"]) == ("ok", 1, "app")
    assert page["store"].startswith("PostgreSQL 15")
    assert {key: secret["origin"] for key, secret in page["secrets"].items()} == {
        "POSTGRES_PASSWORD": "root",
        "DB_CONNECTION_STRING": "composed",
    }
    containers = _containers(compose)
    assert engine.main_program(containers["postgres"]) == "postgres"
    assert engine.main_program(containers["strict-api"]).startswith("python3")
    for container in containers.values():
        assert_kept_nothing(engine, container, [UGLY])

    begin = time.monotonic()
    compose("stop")
    assert time.monotonic() - begin < 9, "a service waited for its SIGKILL"
    assert {engine.state(container)["ExitCode"] for container in containers.values()} == {0}


def test_a_secret_wins_over_a_variable(engine: Engine, compose: Compose, port: int) -> None:
    """The optional variable is set, too; the file is what counts, in both services, and `explain` says so."""
    compose(
        "up", "--no-build", "--detach", "--wait", environ={"POSTGRES_PASSWORD": "from-the-environment"}, timeout=180
    )

    assert _health(port)["status"] == "ok"
    explained = engine.docker("exec", _containers(compose)["strict-api"], SHIM, "explain", "--json").stdout
    assert "from-the-environment" not in explained
    assert UGLY not in explained


def test_the_demo_shows_a_healthy_service_and_goes_without_a_trace(
    engine: Engine, shim_binary: Path, tmp_path: Path, port: int
) -> None:
    """From a fresh copy of the repository, `scripts/demo` makes a secret, brings the stack up and shows /health."""
    checkout = copy_of_the_repository(tmp_path / "checkout")
    own = {
        "COMPOSE_PROJECT_NAME": f"{engine.run_name}-demo",
        "STRICT_API_PORT": str(port),
        "SHIM_TEST_BINARY": str(shim_binary),
    }
    demo = _Demo(checkout, {**engine.environ, **own})

    try:
        said = demo("up")
        secret = checkout / "secrets/postgres_password"
        value = secret.read_text()
        assert secret.stat().st_mode & 0o777 == 0o600
        assert secret.parent.stat().st_mode & 0o777 == 0o700
        assert '"status": "ok"' in said
        assert '"origin": "root"' in said
        assert value not in said
        assert f"http://127.0.0.1:{port}/health" in said
        assert _health(port)["store"].startswith("PostgreSQL")
        # Again: nothing is made anew, and the secret stays what it is.
        assert '"status": "ok"' in demo("up")
        assert secret.read_text() == value
    finally:
        demo("down")
    left = engine.docker(
        "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={own['COMPOSE_PROJECT_NAME']}"
    )
    assert left.stdout == ""
    assert secret.read_text() == value


def test_the_demo_works_without_an_engine(shim_binary: Path, tmp_path: Path, port: int) -> None:
    """Where no engine can be had, the shim starts the same service on this machine, and `down` ends it."""
    checkout = copy_of_the_repository(tmp_path / "checkout")
    engineless = checkout / "scripts/engine"
    engineless.write_text("#!/bin/sh\necho 'engine: error: no engine here' >&2\nexit 111\n")
    own = {
        "STRICT_API_PORT": str(port),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SHIM_TEST_BINARY": str(shim_binary),
    }
    demo = _Demo(checkout, {**os.environ, **own})
    secret = checkout / "secrets/postgres_password"
    secret.write_text("mine, and not to be changed\n")

    try:
        said = demo("up")
        assert '"status": "ok"' in said
        assert "mine, and not" not in said
        page = _health(port)
        assert page["store"].startswith("memory")
        assert page["secrets"]["POSTGRES_PASSWORD"]["origin"] == "root"
        name = (Path("/proc") / str(page["pid"]) / "comm").read_text()
        assert name.startswith("python3"), "the shim did not become the service"
    finally:
        demo("down")
    with pytest.raises(OSError, match="refused"):
        _health(port)
    assert secret.read_text() == "mine, and not to be changed\n"


class _Demo:
    """Runs scripts/demo of a checkout; returns all that it says."""

    def __init__(self, checkout: Path, environ: dict[str, str]) -> None:
        self.checkout = checkout
        self.environ = environ

    def __call__(self, command: str) -> str:
        done = subprocess.run(
            [self.checkout / "scripts/demo", command],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
