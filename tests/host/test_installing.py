"""What `manage-secrets` says where it is not installed as a whole, and how it gives away the shim that it carries."""

import ast
import json
import lzma
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from shim_host import binary
from shim_host.backup import age, age_program
from shim_host.env import envfile
from shim_host.errors import Ended
from shim_host.swarm.connection import connect_as
from shim_host.swarm.load import Loader

from shim.secret import Secret
from tests.support.engine import Engine
from tests.support.forms import REPOSITORY, Custody, cannot_run
from tests.support.host import SCRIPT, Manage
from tests.support.provoked import provokes

# The first bytes of a program for ARM, as elf(5) has them.
FOR_ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + b"the rest"


def ended(call: object, *arguments: object, **named: object) -> str:
    """Return what ended *call*: its message and hints."""
    with pytest.raises(Ended) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return "\n".join([caught.value.message, *caught.value.hints])


@provokes("this is Python ….…, and 3.11 or newer is needed")
def test_an_older_python_is_told_which_is_needed() -> str:
    """The file parses there; what it says is seen with the version that it looks at set to an older one."""
    ast.parse(SCRIPT.read_bytes(), feature_version=(3, 6))
    script = "import runpy, sys; sys.version_info = (3, 8, 2); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script, SCRIPT], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.count("\n")) == (2, 2)
    assert "Python 3.8," in done.stderr
    return done.stderr


@provokes(
    "the host tool is the extra `host`, and that is not installed (… is missing)",
    "this Python has no …, which is part of its standard library",
)
def test_without_its_libraries_it_names_the_extra() -> str:
    """Without any of them, as after `pip install docker-secrets-shim`, and without one that a command needs."""
    bare = subprocess.run([sys.executable, "-S", SCRIPT, "list"], capture_output=True, text=True, check=False)
    script = (
        "import runpy, sys; sys.modules['{}'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    without_one, minimal = (
        subprocess.run(
            [sys.executable, "-c", script.format(library), SCRIPT, "list"],
            capture_output=True,
            text=True,
            check=False,
        )
        for library in ("ruamel", "email")
    )

    for done, library in ((bare, "click"), (without_one, "ruamel")):
        assert (done.returncode, done.stderr.count("\n"), library in done.stderr) == (2, 2, True), done.stderr
        assert "pip install 'docker-secrets-shim[host]'" in done.stderr
    assert (minimal.returncode, "this Python has no email," in minimal.stderr) == (2, True), minimal.stderr
    return bare.stderr + minimal.stderr


def test_an_interruption_while_libraries_are_loaded_is_not_a_traceback(tmp_path: Path) -> None:
    """Others' modules are loaded before anything of ours could wait for Ctrl-C."""
    tmp_path.joinpath("click.py").write_text("raise KeyboardInterrupt\n")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, SCRIPT, "list"], capture_output=True, text=True, check=False, env=environ)

    assert (done.returncode, done.stderr) == (130, "\nmanage-secrets: interrupted\n")


@provokes("--dialect python-dotenv needs that library: pip install 'docker-secrets-shim[dotenv]'")
def test_a_dialect_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "dotenv.parser", None)
    return ended(envfile.read, b"A=1", {}, "python-dotenv")


@provokes(
    "age does not know a recipient",
    "age does not open it",
    "neither the library pyrage nor the program age is here",
    "the program age reads a passphrase only from a terminal, and the library pyrage is not here",
)
def test_the_program_age_does_what_the_library_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, custody: Custody
) -> str:
    """What the one seals the other opens, armored or not; what it says about a failure holds no value."""
    if shutil.which("age") is None:
        cannot_run("the program age is not installed")
    from pyrage import x25519

    value = custody.canary().encode()
    key, other = x25519.Identity.generate(), x25519.Identity.generate()
    (tmp_path / "key").write_text(f"# mine\n{key}\n")
    (tmp_path / "other").write_text(f"{other}\n")
    mine, public = [tmp_path / "key"], [str(key.to_public())]
    by_library = age.seal(value, public, None, armor=True)
    by_program = [age_program.seal(value, public, None, armor=armor) for armor in (True, False)]
    assert [age.unseal(sealed, None, mine) for sealed in by_program] == [value, value]

    monkeypatch.setattr(age, "pyrage", None)
    assert age.unseal(by_library, None, mine) == value
    assert age.unseal(age.seal(value, public, None, armor=False), None, mine) == value
    said = [
        ended(age.seal, value, ["age1nonsense"], None, armor=False),
        ended(age.unseal, by_library, None, [tmp_path / "other"]),
        ended(age.unseal, by_library[:-40], None, mine),
        ended(age.seal, value, [], Secret(b"a passphrase"), armor=False),
        ended(age.unseal, by_library, Secret(b"a passphrase"), []),
    ]
    monkeypatch.setenv("PATH", str(tmp_path))
    said.append(ended(age.seal, value, public, None, armor=False))
    custody.said += said
    return "\n".join(said)


@provokes(
    "… holds …, and one for … is needed",
    "this Python has no module lzma, which unpacks the shim",
    "scripts/shim-binary did not build the shim for …",
    "the shim is for amd64 and arm64",
    "the shim is for Linux: linux/amd64 or linux/arm64",
    "it is not the name of an image",
)
def test_the_shim_comes_from_a_wheel_or_a_file(manage: Manage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """For the processor that is asked for: out of a wheel, packed, or as it is; anything else is refused by name."""
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        wheel.writestr("docker_secrets_shim/binaries/shim-linux-arm64.xz", lzma.compress(FOR_ARM))
    (tmp_path / "plain").write_bytes(FOR_ARM)
    for source in ("some.whl", "plain"):
        made = manage("shim", "--out", f"of-{source}", "--arch", "aarch64", "--from", source)
        assert (made.code, made.stdout) == (0, f"of-{source}/shim-linux-arm64\n")
        path = manage.folder / made.stdout.strip()
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (FOR_ARM, 0o755)
    assert manage("shim", "--out", "dry", "--arch", "arm64", "--from", "plain", "--dry-run").code == 0
    assert not (manage.folder / "dry").exists()

    (tmp_path / "text").write_text("no program")
    refused = [
        manage("shim", "--out", "x", "--arch", "amd64", "--from", "some.whl"),
        manage("shim", "--out", "x", "--arch", "amd64", "--from", "plain"),
        manage("shim", "--out", "x", "--arch", "amd64", "--from", "text"),
        manage("shim", "--out", "x", "--arch", "sparc"),
        manage("image", "--platform", "windows/amd64"),
        manage("image", "--tag", "Not A Name"),
        manage("shim", "--out", "x", env={"SHIM_TEST_BINARY": "/nowhere"}),
    ]
    assert [end.code for end in refused] == [1, 1, 1, 2, 2, 2, 111]
    assert not (manage.folder / "x").exists()
    # An installation that carries one processor's, and is not a checkout.
    monkeypatch.setattr(binary, "_PACKED", tmp_path)
    monkeypatch.setattr(binary, "_CHECKOUT", tmp_path)
    (tmp_path / "shim-linux-arm64.xz").write_bytes(lzma.compress(FOR_ARM))
    assert binary.binary("arm64") == FOR_ARM
    monkeypatch.setattr(binary, "_MOST_BYTES", len(FOR_ARM) // 2)
    assert "holds no shim" in ended(binary.binary, "arm64")  # what unpacks to more than any shim is not unpacked
    said = ended(binary.binary, "amd64")
    assert "this installation holds the shim for arm64" in said
    assert "manylinux2014_x86_64" in said
    monkeypatch.setitem(sys.modules, "lzma", None)  # as in a Python that was built without it
    return "".join([*(end.stderr for end in refused), ended(binary.binary, "arm64")])


@pytest.mark.engine
@pytest.mark.frozen
@provokes("the engine at … did not load …: …")
def test_the_image_is_loaded_without_a_build(manage: Manage, engine: Engine, shim_binary: Path) -> str:
    """It runs, is the same when loaded again, and holds the binary alone."""
    tag = f"{engine.run_name}-loaded"
    environ = {name: value for name, value in engine.environ.items() if name.startswith("DOCKER_")}
    load = ("image", "--tag", tag, "--from", shim_binary)
    try:
        planned, first = manage(*load, "--dry-run", env=environ), manage(*load, env=environ)
        again = manage(*load, "--json", env=environ)
        assert (planned.code, planned.stdout, first.code) == (0, "", 0), planned.stderr + first.stderr
        given = json.loads(again.stdout)
        assert (given["digest"], given["state"]) == (first.stdout.strip(), "unchanged")
        assert first.stdout.startswith("sha256:")
        assert engine.run(tag, "--version").code == 0
    finally:
        engine.docker("rmi", tag, check=False)
    archive = binary.image(b"", "amd64", tag).replace(f"{tag}:latest".encode(), f"{tag}-latest".encode())
    return ended(connect_as(Loader, {**os.environ, **environ}).load, archive, tag)


def test_every_dependency_has_its_reason() -> None:
    """Each library of the extras has a comment, and none is needed by an application."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert "\ndependencies = []\n" in text
    extras = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    lines = extras.splitlines()
    for number, line in enumerate(lines):
        if '"' in line and not line.startswith("#"):
            assert "#" in line or lines[number - 1].lstrip().startswith("#"), line
