"""A real Docker engine, for the tests that ask for one by name.

The only way to an engine is `require_engine()`: without one a test is skipped with the reason, and with `CI` set it
fails, as does any test marked `engine` that skips. Containers carry this run's name and are removed with their test;
a secret that was mounted is looked for in all that the engine keeps: logs, and what `docker inspect` shows.
"""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from shim.secret import keyed
from tests.support.cache import cache_folder

ROOT = Path(__file__).resolve().parent.parent.parent
IS_CI = bool(os.environ.get("CI"))
SHIM = "/opt/shim/shim"
FINGERPRINT_KEY = bytes(range(32))
# What a service started by the shim is left with: to become its user. Files of somebody else need one more to be read.
HARDENED = (
    *("--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--security-opt", "no-new-privileges"),
    *(() if os.geteuid() == 0 else ("--cap-add", "DAC_OVERRIDE")),
)
# All that a shell, a URL, a configuration file or a terminal could trip over.
UGLY = "c4n4ry \"double\" 'single' $HOME $(X) $$ back\\slash 50% &;|<>` #hash =equals größe€ end"


def unavailable(reason: str) -> NoReturn:
    """End the test: what it needs is not here. On a laptop it counts as skipped, in CI as failed."""
    if IS_CI:
        pytest.fail(f"cannot run, and this is CI: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a skipped test of the engine as failed in CI: what cannot run there is not known to work."""
    report = yield
    if IS_CI and report.skipped and item.get_closest_marker("engine") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and this is CI: {reason}"
    return report


class End(NamedTuple):
    """How a foreground container ended, and what it said."""

    code: int
    stdout: str
    stderr: str


class Engine:
    """A Docker client's command line, against the engine of `scripts/engine`."""

    def __init__(self, exports: dict[str, str]) -> None:
        self.environ = {**os.environ, **exports}
        self.run_name = f"shim-test-{uuid.uuid4().hex[:8]}"

    def docker(self, *argv: str | Path, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
        """Return how `docker ARGV` ended; the test fails when it failed, unless `check=False`."""
        check = options.pop("check", True)
        done = subprocess.run(
            ["docker", *map(str, argv)],
            env={**self.environ, **options.pop("environ", {})},
            stdin=None if "input" in options else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
            **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"docker {argv[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def run(self, image: str, *argv: str, options: tuple[str | Path, ...] = ()) -> End:
        """Run a container to its end; its output is not kept by the engine."""
        done = self.docker(
            "run", "--rm", "--log-driver", "none", "--label", self.run_name, *options, image, *argv, check=False
        )
        return End(done.returncode, done.stdout, done.stderr)

    def base(self, name: str) -> str:
        """Return the name of a base image, which scripts/base-images pulls or makes."""
        return _base_image(self, name)

    def image(self, name: str) -> str:
        """Return the name of the image of images/NAME/Dockerfile, built from this checkout."""
        return _service_image(self, name)

    def wait_for_log(self, container: str, pattern: str, seconds: float = 60) -> str:
        """Return the container's log up to the line with *pattern*; following the log is the waiting."""
        deadline = time.monotonic() + seconds
        log = ""
        with subprocess.Popen(
            ["docker", "logs", "--follow", container],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        ) as following:
            assert following.stdout is not None
            killer = _Deadline(following, deadline)
            try:
                for line in following.stdout:
                    log += line
                    if re.search(pattern, line):
                        return log
            finally:
                killer.cancel()
                following.kill()
        raise AssertionError(f"the log of {container} does not say {pattern!r} within {seconds} s; it says:\n{log}")

    def wait_until_healthy(self, container: str, seconds: float = 90) -> None:
        """Wait for the container's own health check, by the engine's events."""
        since = str(int(time.time()) - 1)
        with subprocess.Popen(
            ["docker", "events", "--since", since, "--filter", f"container={container}", "--format", "{{.Status}}"],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as events:
            assert events.stdout is not None
            killer = _Deadline(events, time.monotonic() + seconds)
            try:
                # Asked only once the events are being read, so that none falls between the two.
                if self.state(container)["Health"]["Status"] == "healthy":
                    return
                for line in events.stdout:
                    if line.strip() == "health_status: healthy":
                        return
                    if line.strip() == "die":
                        break
            finally:
                killer.cancel()
                events.kill()
        log = self.docker("logs", "--tail", "30", container, check=False)
        health = json.dumps(self.state(container).get("Health"))
        raise AssertionError(f"{container} does not become healthy:\n{log.stdout}{log.stderr}\n{health}")

    def state(self, container: str) -> Any:
        """Return the State that `docker inspect` shows."""
        return self.inspect(container)["State"]

    def inspect(self, container: str) -> Any:
        """Return all that `docker inspect` shows of a container."""
        return json.loads(self.docker("inspect", container).stdout)[0]

    def exec(self, container: str, *argv: str) -> End:
        """Run a command in the container through the shim, as a health check does."""
        done = self.docker("exec", container, SHIM, "exec", "--", *argv, check=False)
        return End(done.returncode, done.stdout, done.stderr)

    def fingerprints(self, container: str) -> dict[str, str]:
        """Return what the shim in *container* says about its values, under `FINGERPRINT_KEY`."""
        command = ("exec", "--interactive", container, SHIM, "explain", "--json", "--fingerprint-key-stdin")
        document = json.loads(self.docker(*command, input=FINGERPRINT_KEY.hex()).stdout)
        return {row["key"]: row["fingerprint"] for row in document["keys"] if row["fingerprint"]}

    def published(self, container: str, port: int) -> tuple[str, int]:
        """Return the address on this machine of a container's port."""
        host, _, number = self.docker("port", container, str(port)).stdout.splitlines()[0].rpartition(":")
        return host, int(number)

    def main_program(self, container: str) -> str:
        """Return what PID 1 of the container is called, as the kernel of this machine sees it."""
        pid = self.state(container)["Pid"]
        return Path(f"/proc/{pid}/comm").read_text().strip()

    def check_health(self, container: str) -> int:
        """Run the health check of the container's image once more; return how it ended."""
        kind, *words = self.inspect(container)["Config"]["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.docker("exec", container, *words, check=False).returncode

    def stop(self, container: str) -> tuple[int, float]:
        """Stop the container; return its exit code and how many seconds that took."""
        begin = time.monotonic()
        self.docker("stop", "--time", "30", container)
        return self.state(container)["ExitCode"], time.monotonic() - begin


class _Deadline:
    """Ends a process that is being read when the time is up, so that the reading ends."""

    def __init__(self, process: subprocess.Popen[str], deadline: float) -> None:
        from threading import Timer

        self._timer = Timer(max(0.0, deadline - time.monotonic()), process.kill)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()


@pytest.fixture
def demo_turn() -> Iterator[None]:
    """Wait until no other process of a run is at the demo, whose state is one for each user."""
    with (cache_folder() / "demo-turn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def require_engine() -> Engine:
    """Return the engine of `scripts/engine`; without one the test ends here."""
    return _find_engine()


def _find_engine() -> Engine:
    found = subprocess.run([ROOT / "scripts/engine", "find"], capture_output=True, text=True, check=False, timeout=60)
    if found.returncode != 0:
        unavailable(f"there is no Docker engine ({found.stderr.strip().splitlines()[0]}); ./scripts/test starts one")
    return Engine(exports_in(found.stdout))


def exports_in(text: str) -> dict[str, str]:
    """Return the variables of a script's `export NAME=value` lines."""
    pairs = (word.partition("=") for line in text.splitlines() for word in shlex.split(line)[1:])
    return {name: value for name, _, value in pairs}


@cache
def fingerprint_of(value: str, key: str) -> str:
    """Return what `Engine.fingerprints` is to say of *key* when the service has *value*."""
    return keyed(value.encode(), key, FINGERPRINT_KEY)


def _base_image(engine: Engine, name: str) -> str:
    made = subprocess.run(
        [ROOT / "scripts/base-images", name],
        env=engine.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if made.returncode != 0:
        unavailable(f"there is no base image {name}: {made.stderr.strip()[-400:]}")
    return exports_in(made.stdout)[f"BASE_{name.upper()}"]


_BASE_OF = {"app-python": "python", "backend-node": "node", "static": "gcc"}


@cache
def shim_image(engine: Engine) -> str:
    """Return the name of the image that holds the frozen binary of this checkout, and nothing else."""
    made = subprocess.run(
        [ROOT / "scripts/shim-binary", "--image"],
        env=engine.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if made.returncode != 0:
        unavailable("the frozen binary cannot be built here: " + made.stderr.strip()[-400:])
    return "docker-secrets-shim"


@cache
def _service_image(engine: Engine, name: str) -> str:
    tag = f"docker-secrets-shim/{name}"
    base = engine.base(_BASE_OF.get(name, name))
    dockerfile = ROOT / "images" / name / "Dockerfile"
    arguments = ("--build-arg", f"SHIM_IMAGE={shim_image(engine)}", "--build-arg", f"BASE={base}")
    engine.docker("build", "--quiet", "--file", dockerfile, *arguments, "--tag", tag, ROOT, timeout=600)
    return tag


@pytest.fixture(scope="session", name="engine")
def _engine() -> Engine:
    return require_engine()


@pytest.fixture(scope="session", name="shim_image")
def _shim_image(engine: Engine) -> str:
    return shim_image(engine)


class SecretsFolder:
    """What Compose makes of ./secrets in a container: a folder that anyone may list, files that only root may read.

    Every value in it is a canary.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.canaries: list[str] = []
        path.mkdir()
        path.chmod(0o755)

    def add(self, name: str, value: str) -> Path:
        """Write a secret's file, as `manage_secrets` does: 0600, with a line end."""
        file = self.path / name
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(value + "\n")
        self.canaries.append(value)
        return file

    @property
    def mount(self) -> tuple[str, str]:
        """Return the option that puts the folder where the shim looks."""
        return "--volume", f"{self.path}:/run/secrets:ro"


@pytest.fixture(name="secrets_folder")
def _secrets_folder(tmp_path: Path) -> SecretsFolder:
    return SecretsFolder(tmp_path / "secrets")


Start = Callable[..., str]


@pytest.fixture(name="start")
def _start(engine: Engine, secrets_folder: SecretsFolder) -> Iterator[Start]:
    """Give a function that starts a container in the background; what the engine kept of it may hold no secret."""
    started: list[str] = []

    def start(image: str, *argv: str, options: tuple[str | Path, ...] = ()) -> str:
        made = engine.docker(
            *("run", "--detach", "--label", engine.run_name, "--health-interval", "2s"),
            *(*secrets_folder.mount, *options, image, *argv),
        )
        started.append(made.stdout.strip())
        return started[-1]

    yield start
    try:
        for container in started:
            assert_kept_nothing(engine, container, secrets_folder.canaries)
    finally:
        if started:
            engine.docker("rm", "--force", "--volumes", *started)


def assert_kept_nothing(engine: Engine, container: str, canaries: list[str]) -> None:
    """Fail when a value is in the container's log, or in what `docker inspect` shows of it (health checks too)."""
    log = engine.docker("logs", container)
    kept = {"log": log.stdout + log.stderr, "docker inspect": engine.docker("inspect", container).stdout}
    for place, text in kept.items():
        for canary in canaries:
            # As it is, and as JSON writes it.
            forms = {canary, json.dumps(canary)[1:-1], json.dumps(canary, ensure_ascii=False)[1:-1]}
            assert not any(form in text for form in forms), f"a secret's value stands in the {place} of a container"


def copy_of_the_repository(to: Path) -> Path:
    """Return a folder with the files that git knows, as they are now: what a fresh clone would hold."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name)
    return to
