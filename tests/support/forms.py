"""What every test shares: the shim in each form a user has, children to start, and canaries that must not sing."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent.parent
REPOSITORY = TESTS.parent
IN_CI = bool(os.environ.get("CI"))
# Machines are slow in turns, and a run that fails in CI must fail again at home.
settings.register_profile("shim", deadline=None, derandomize=IN_CI, max_examples=100)
settings.load_profile("shim")
# What is ignored here (`nohup scripts/test`) would be ignored in every program under test; a handler ends at exec.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda _number, _frame: None)
FORMS = ("module", "installed", "frozen")


def cannot_run(reason: str) -> None:
    """Skip, loudly, on a laptop; fail in CI, where nothing may be missing."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


class End(NamedTuple):
    """How a run ended. `code` is negative when a signal ended it, as subprocess has it."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The messages that name what is wrong, without the hints."""
        start = "shim: error: "
        return [line.removeprefix(start) for line in self.stderr.splitlines() if line.startswith(start)]


class Custody:
    """Every canary that a test made, and everything that the shim said."""

    def __init__(self) -> None:
        self.canaries: list[str] = []
        self.said: list[str] = []

    def canary(self) -> str:
        """Return a value that is nowhere else."""
        # No hexadecimal digit: what the engine says is full of those, and six in a row meet by chance.
        self.canaries.append("Qz" + "".join(secrets.choice("GHJKLMNPQRSTUVWXYZ") for _ in range(24)))
        return self.canaries[-1]

    def check(self) -> None:
        """Fail when a canary, or six characters of one in a row, was said."""
        said = "\n".join(self.said)
        for canary in self.canaries:
            for start in range(2, len(canary) - 5):
                assert canary[start : start + 6] not in said, f"a part of a value was said:\n{said}"


class Shim:
    """Runs the shim in one form, in a folder of its own, without anything of the test's own environment.

    `root` is its secrets root unless *env* names another; PATH is the system's.
    """

    def __init__(self, form: str, command: Sequence[str], folder: Path, dump: str, custody: Custody) -> None:
        self.form = form
        self.command = list(command)
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        self.dump = dump
        self.custody = custody
        self.runs = 0

    def __call__(
        self,
        *arguments: str | bytes,
        env: Mapping[str, str | bytes] | None = None,
        before: Sequence[str] = (),
        cwd: Path | None = None,
        timeout: float = 30,
        secrets: Mapping[str, str | bytes] | None = None,
        **secret_files: str | bytes,
    ) -> End:
        """Run with *arguments*; *secrets* and keyword arguments become files in the secrets root.

        *before* is the argv of a wrapper.
        """
        for name, value in {**(secrets or {}), **secret_files}.items():
            (self.root / name).write_bytes(value if isinstance(value, bytes) else value.encode())
        whole: dict[str, str | bytes] = {"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(self.root), **(env or {})}
        done = subprocess.run(
            [*before, *self.command, *arguments],
            env=whole,
            cwd=cwd or self.folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        end = End(
            done.returncode,
            done.stdout.decode("utf-8", "surrogateescape"),
            done.stderr.decode("utf-8", "surrogateescape"),
        )
        self.custody.said += [end.stdout, end.stderr]
        assert "internal error" not in end.stderr, end.stderr
        assert "Traceback" not in end.stderr, end.stderr
        if "--json" in arguments and arguments[0] in ("check", "explain", "ps") and end.stdout:
            from tests.support import documents  # which needs this module

            documents.check(f"shim-{arguments[0]}", end.stdout)
        return end

    def child(self, *options: str | bytes, env: Mapping[str, str | bytes] | None = None, **more: object) -> Child:
        """Start a service that dumps what it got; return that. The start must succeed, and in silence."""
        self.runs += 1
        folder = self.folder / f"dump{self.runs}"
        folder.mkdir()
        folder.chmod(0o777)
        end = self(*options, "--", self.dump, str(folder), env=env, **more)  # type: ignore[arg-type]
        assert (end.code, end.stderr) == (0, ""), end
        return Child(folder)


class Child:
    """What `children/dump` saw."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = (folder / "environ").read_bytes().split(b"\0")[:-1]
        self.argv = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
        self.status = dict(
            line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
        )

    @property
    def env(self) -> dict[str, str]:
        """The environment as a mapping; the first of duplicates counts."""
        pairs = [entry.decode("utf-8", "surrogateescape").partition("=") for entry in reversed(self.environ)]
        return {name: value for name, _, value in pairs}


def _compiled(name: str, folder: Path) -> str:
    program = folder / name
    try:
        done = subprocess.run(
            ["gcc", "-O1", "-static", "-Wall", "-Werror", "-o", str(program), str(TESTS / "children" / f"{name}.c")],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        cannot_run("the children of these tests are written in C, and there is no gcc")
    assert done.returncode == 0, done.stderr
    return str(program)


@pytest.fixture(scope="session")
def children(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder, open to every user, with the compiled programs of `children/`."""
    folder = tmp_path_factory.mktemp("children")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    for source in sorted((TESTS / "children").glob("*.c")):
        _compiled(source.stem, folder)
    return folder


@pytest.fixture(scope="session")
def dump(children: Path) -> str:
    """Return the path of a program that dumps what it was handed."""
    return str(children / "dump")


@pytest.fixture(scope="session")
def launch(children: Path) -> str:
    """Return the path of a program that hands on an exact state."""
    return str(children / "launch")


@pytest.fixture(scope="session")
def shim_binary(children: Path) -> Path:
    """Return the frozen shim of these sources, where every user can reach it; SHIM_TEST_BINARY names another.

    What it was built into may be below root's home, which nobody else may enter.
    """
    built = os.environ.get("SHIM_TEST_BINARY")
    if not built:
        done = subprocess.run([REPOSITORY / "scripts" / "shim-binary"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            cannot_run(f"the frozen shim cannot be built here:\n{done.stderr}")
        built = done.stdout.strip()
    return Path(shutil.copy(built, children / Path(built).name))


@pytest.fixture
def custody() -> Iterator[Custody]:
    """Give canaries, and fail the test if one of them is said."""
    custody = Custody()
    yield custody
    custody.check()


@pytest.fixture
def canary(custody: Custody) -> Callable[[], str]:
    """Return a maker of values that are nowhere else."""
    return custody.canary


@pytest.fixture
def make_shim(request: pytest.FixtureRequest, tmp_path: Path, dump: str, custody: Custody) -> Callable[[str], Shim]:
    """Return a maker of a `Shim` of a given form."""

    def make(form: str) -> Shim:
        for parent in tmp_path.parents:
            if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
                parent.chmod(0o755)
        tmp_path.chmod(0o755)
        return Shim(form, command_of(form, request), tmp_path, dump, custody)

    return make


def command_of(form: str, request: pytest.FixtureRequest) -> list[str]:
    """Return what starts the shim in this *form*."""
    if form == "module":
        return [sys.executable, "-m", "shim"]
    if form == "installed":
        program = Path(sys.executable).parent / "docker-secrets-shim"
        if not program.exists():
            cannot_run(f"the package is not installed: {program} is missing")
        return [str(program)]
    return [str(request.getfixturevalue("shim_binary"))]


@pytest.fixture(params=FORMS)
def shim(request: pytest.FixtureRequest, make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in each form a user has: module, installed command, frozen binary."""
    return make_shim(request.param)


@pytest.fixture
def frozen(make_shim: Callable[[str], Shim]) -> Shim:
    """Return the frozen binary, for what only it can do and for what is long."""
    return make_shim("frozen")


@pytest.fixture
def as_root() -> None:
    """Say that the test must be root."""
    if os.getuid() != 0:
        cannot_run("only root can become another user")
