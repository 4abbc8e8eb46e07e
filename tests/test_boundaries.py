"""The walls between the two sides, and what is loaded on the way to exec."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forms import REPOSITORY, Shim
from tests.support.imports import imports

CONTAINER = sorted((REPOSITORY / "shim").glob("*.py"))
OURS = {f"shim.{path.stem}" for path in CONTAINER}
HOST = sorted((REPOSITORY / "scripts").rglob("*.py"))
# Beside what a secret is, what a service needs and the errors these raise: what is known of official images. The host
# must not tell a user to drop the shim in front of an image for which the shim itself knows better.
SHARED = {"shim.schema", "shim.secret", "shim.errors", "shim.profiles"}


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path, OURS)}


@pytest.mark.parametrize("path", CONTAINER, ids=lambda path: path.name)
def test_the_container_side_needs_the_standard_library_alone(path: Path) -> None:
    """But for the settings source, which only who has pydantic-settings imports, and the binary leaves out."""
    optional = {"pydantic_settings"} if path.name == "settings.py" else set()
    # CPython 3.12 calls _sha256 otherwise; fingerprint.py knows both.
    assert roots(path) <= {*sys.stdlib_module_names, "shim", "_kernel", "_sha256"} | optional


@pytest.mark.parametrize("path", HOST, ids=lambda path: path.name)
def test_the_host_shares_four_modules(path: Path) -> None:
    """What a secret is, what a service needs, and the errors these raise; the version is everybody's."""
    assert {name for name in imports(path, OURS) if name.split(".")[0] == "shim"} <= SHARED | {"shim"}


def circles(needs: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import one another, in however many steps."""

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        todo = list(needs[name])
        while todo:
            found.add(to := todo.pop())
            todo += needs[to] - found
        return found

    behind = {name: reached(name) for name in needs}
    groups = {frozenset(to for to in behind[name] if name in behind[to]) for name in needs}
    return sorted(sorted(group) for group in groups if group)


def needs_of(folder: Path) -> dict[str, set[str]]:
    """Return for each module of a package those of the same package that it imports anywhere in its file."""
    paths = [path for path in folder.glob("*.py") if path.stem != "__init__"]
    modules = {f"{folder.name}.{path.stem}": set(imports(path, OURS)) for path in paths}
    return {name: wanted & modules.keys() for name, wanted in modules.items()}


def test_no_module_of_the_container_side_is_in_a_circle(tmp_path: Path) -> None:
    """Deferred imports count, and those for the type checker alone; one import back up is found, so this can fail."""
    needs = needs_of(REPOSITORY / "shim")

    assert len(needs) == len(CONTAINER) - 1
    assert needs["shim.main"] >= {"shim.plan", "shim.stay", "shim.stderr", "shim.launch"}
    assert circles(needs) == []

    shutil.copytree(REPOSITORY / "shim", tmp_path / "shim", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "shim" / "environment.py").open("a") as module:
        module.write("\n\ndef late() -> None:\n    from shim import plan\n")
    assert circles(needs_of(tmp_path / "shim")) == [["shim.environment", "shim.plan"]]


def test_one_room_knows_docker_and_one_knows_dotenv() -> None:
    """And the docker one has two closets: how the SDK is loaded, and how it gets through ssh."""
    assert {path.name for path in HOST if "docker" in roots(path)} == {"client.py", "connection.py", "ssh.py"}
    assert {path.name for path in HOST if "dotenv" in roots(path)} == {"envfile.py"}


def test_no_script_hides_a_library() -> None:
    """`python scripts/manage_secrets.py` puts its folder first on the path."""
    hidden = {"secrets", "dotenv", "docker", "token", *sys.stdlib_module_names}

    assert not {path.stem for path in (REPOSITORY / "scripts").glob("*.py")} & hidden


# What is loaded between exec and exec. One `import signal` would cost as much as the whole shim.
ROOMS = (
    "errors files kernel options read_options main plan protected sources secret resolve resolution environment launch"
)


def test_nothing_slow_is_loaded_on_the_way_to_exec(tmp_path: Path) -> None:
    """The rooms that `sys.modules` holds at the moment of execve, for a start with secrets."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "key").write_text("v")
    (tmp_path / "look.py").write_text(
        "import os, sys\nfrom shim import kernel\n"
        "def execve(*_):\n    os.write(1, ' '.join(sys.modules).encode())\n    os._exit(0)\n"
        "kernel.execve = execve\nkernel.argv[:] = [b'shim', b'--', b'true']\nfrom shim import main\nmain.run()\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "look.py")],
        env={"SHIM_SECRETS_DIR": str(tmp_path / "root"), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.removeprefix("shim.") for name in done.stdout.split() if name.startswith("shim.")}
    assert loaded - {"files_unfrozen", "kernel_unfrozen"} == set(ROOMS.split())


def test_a_frozen_start_needs_nothing_of_the_archive(frozen: Shim) -> None:
    """The way to exec, with and without a schema, is in the start code: cut off what follows it, and it runs."""
    whole = Path(frozen.command[0]).read_bytes()
    cookie = whole.rindex(b"MEI\014\013\012\013\016")
    (length,) = struct.unpack_from("!I", whole, cookie + 8)
    bare = frozen.folder / "bare"
    bare.write_bytes(whole[: len(whole) - length])
    bare.chmod(0o755)
    frozen.command = [str(bare)]
    (frozen.folder / "s").write_text('# @type=bytes(2, hex)\nA=\n# @type=json\nB=\n# @composed="${A|url}"\nC=\n')

    assert frozen.child(a="ffff", b="{}").env["A"] == "ffff"
    assert frozen.child("--schema", "s").env["C"] == "ffff"
    assert frozen.child("--user", "12345:12345" if os.getuid() == 0 else str(os.getuid())).env["B"] == "{}"
    end = frozen("--require", "D", "true")
    assert (end.code, len(end.errors)) == (100, 1)
    assert subprocess.run([bare, "explain"], capture_output=True, check=False).returncode == 111  # that does need it
