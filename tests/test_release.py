"""What a release consists of: the same bytes twice, whole, listed; and the workflows that make it are well-formed."""

import importlib.util
import json
import lzma
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from shim import __version__
from tests.support.engine import copy_of_the_repository
from tests.support.forms import REPOSITORY, cannot_run

WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
# Both architectures take a minute more; the other's binary is built and run by test_frozen_build.
ARCHITECTURES = ("amd64", "arm64") if os.environ.get("RELEASE_FULL") else ("amd64",)
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PLATFORMS = [
    "any",
    *(f"manylinux_2_17_{MACHINES[arch]}.manylinux2014_{MACHINES[arch]}" for arch in ARCHITECTURES),
    *(f"musllinux_1_1_{MACHINES[arch]}" for arch in ARCHITECTURES),
]


def release(checkout: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Return how scripts/release of *checkout*, made a repository with one commit, ended."""
    when = {"GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"}
    environ = {**os.environ, **when, "GIT_CONFIG_GLOBAL": os.devnull}
    if not (checkout / ".git").exists():
        for argv in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "a release"]):
            person = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
            subprocess.run(["git", *person, *argv], cwd=checkout, env=environ, check=True)
    return subprocess.run(
        [checkout / "scripts/release", "--out", out, *options],
        cwd="/",
        env=environ,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(name="dist", scope="module")
def _dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.getuid() != 0 or not Path("/etc/debian_version").exists() or os.uname().machine != "x86_64":
        cannot_run("a release is made as root on Debian, amd64")
    folder = tmp_path_factory.mktemp("release")
    made = release(
        copy_of_the_repository(folder / "a"), folder / "dist", *(f for a in ARCHITECTURES for f in ("--arch", a))
    )
    assert made.returncode == 0, made.stderr
    return folder / "dist"


@pytest.mark.frozen
def test_a_release_is_the_same_when_made_again_elsewhere(dist: Path, tmp_path: Path) -> None:
    """Another folder, another moment, the same bytes of every file; what lay there before is replaced."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "shim-linux-arm64").write_text("of the release before")
    (out / "notes.txt").write_text("mine")

    made = release(
        copy_of_the_repository(tmp_path / "elsewhere"), out, *(f for a in ARCHITECTURES for f in ("--arch", a))
    )

    assert made.returncode == 0, made.stderr
    (out / "notes.txt").unlink()
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        file.name: file.read_bytes() for file in dist.iterdir()
    }


@pytest.mark.frozen
def test_a_release_is_whole(dist: Path) -> None:
    assert {file.name for file in dist.iterdir()} == {
        *(f"shim-linux-{arch}" for arch in ARCHITECTURES),
        *(f"docker_secrets_shim-{__version__}-py3-none-{platform}.whl" for platform in PLATFORMS),
        f"docker_secrets_shim-{__version__}.tar.gz",
        f"docker-secrets-shim-{__version__}.cdx.json",
        "SHA256SUMS",
    }
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    assert (dist / "SHA256SUMS").read_text().count("\n") == len(list(dist.iterdir())) - 1
    version = subprocess.run([dist / "shim-linux-amd64", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in version.stdout
    modules = (path.relative_to(REPOSITORY / "scripts") for path in (REPOSITORY / "scripts/shim_host").rglob("*.py"))
    whole = {"docker_secrets_shim/main.py", "docker_secrets_shim/py.typed", "manage_secrets.py", *map(str, modules)}
    for platform in PLATFORMS:
        (path,) = dist.glob(f"*-{platform}.whl")
        with zipfile.ZipFile(path) as wheel:
            names = set(wheel.namelist())
            assert wheel.testzip() is None
            about = wheel.read(f"docker_secrets_shim-{__version__}.dist-info/METADATA").decode()
            carried = {name.rpartition("-")[2]: wheel.read(name) for name in names if name.endswith(".xz")}
        assert whole <= names
        assert not [name for name in names if name.startswith(("tests/", "secrets/", "shim/", "setup"))]
        assert ("pyrage" in about) is not platform.startswith("musl")
        assert set(carried) == {f"{a}.xz" for a in ARCHITECTURES if platform == "any" or MACHINES[a] in platform}
        for arch, packed in carried.items():
            binary = dist / f"shim-linux-{arch.removesuffix('.xz')}"
            assert lzma.decompress(packed) == binary.read_bytes()


@pytest.mark.frozen
def test_the_wheel_works_beside_another_shim_of_the_index(dist: Path, tmp_path: Path) -> None:
    """Neither overwrites the other, what an application needs is there without the extra, and the binary is carried.

    The self-test of the sources runs with what they built.
    """
    environment, python = tmp_path / "environment", tmp_path / "environment/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    with zipfile.ZipFile(tmp_path / "shim-1.0-py3-none-any.whl", "w") as other:
        other.writestr("shim/__init__.py", "get_secret = None\n")
        other.writestr("shim-1.0.data/scripts/shim", "#!python\n")
        other.writestr("shim-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shim\nVersion: 1.0\n")
        other.writestr("shim-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        other.writestr("shim-1.0.dist-info/RECORD", "")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-cache-dir"]
    (ours,) = dist.glob("*-manylinux*_x86_64.whl")
    subprocess.run([*map(str, pip), str(ours), str(tmp_path / "shim-1.0-py3-none-any.whl")], check=True)
    subprocess.run(["tar", "--extract", "--directory", tmp_path, "--file", next(dist.glob("*.tar.gz"))], check=True)
    (selftest,) = tmp_path.glob("*/tests/selftest.py")

    for more, skipped in ({}, "skipped=1"), ({"PYTHONPATH": site_packages()}, ""):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [python, selftest], env={**environ, **more}, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.rstrip().endswith(f"OK ({skipped})" if skipped else "OK"), done.stderr
    names = subprocess.run(
        [python, "-c", "import shim, docker_secrets_shim as ours; print(shim.get_secret, ours.get_secret.__module__)"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert names.stdout == "None docker_secrets_shim.application\n"
    assert {"shim", "docker-secrets-shim", "manage-secrets"} <= {path.name for path in python.parent.iterdir()}
    made = subprocess.run(
        [python.parent / "manage-secrets", "shim", "--out", tmp_path / "out", "--arch", "amd64"],
        env={**os.environ, "PYTHONPATH": site_packages()},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(made.stdout.strip()).read_bytes() == (dist / "shim-linux-amd64").read_bytes()


@pytest.mark.frozen
def test_the_wheel_runs_from_its_archive(dist: Path) -> None:
    """Both commands are there, and what the wheel holds is enough for them."""
    wheel = next(dist.glob("*-any.whl"))
    run = "import sys; sys.path.insert(0, sys.argv.pop(1)); from manage_secrets import main; main()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import site; site.addsitedir({site_packages()!r}); {run}", wheel, "--version"],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def site_packages() -> str:
    """Return where the dependencies lie that the tests use."""
    return next(path for path in sys.path if path.endswith("site-packages"))


@pytest.mark.frozen
def test_the_components_are_listed(dist: Path) -> None:
    """The list is valid CycloneDX, names what is linked into the binary with its checksum, and no path of a machine."""
    text = next(dist.glob("*.cdx.json")).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    by_ref = {component["bom-ref"]: component for component in bom["components"]}
    sums = {name: checksum for checksum, name in re.findall(r"^(\w+)  (.+)$", (dist / "SHA256SUMS").read_text(), re.M)}
    for arch in ARCHITECTURES:
        binary = by_ref[f"shim-linux-{arch}"]
        assert binary["hashes"] == [{"alg": "SHA-256", "content": sums[binary["name"]]}]
        linked = next(entry for entry in bom["dependencies"] if entry["ref"] == binary["bom-ref"])["dependsOn"]
        parts = {by_ref[ref]["name"]: by_ref[ref] for ref in linked}
        assert set(parts) == {"cpython", "glibc", "libmd", "pyinstaller-bootloader", "zlib"}
        assert parts["cpython"]["version"].startswith("3.13.")
        assert all(re.fullmatch(r"[0-9.]+", part["version"]) for part in parts.values())
    names = {component["name"] for component in bom["components"]}
    assert {"click", "docker", "ruamel.yaml", "pyrage"} <= names
    assert "docker-secrets-shim" not in names, "the product is what the list is about, and no part of itself"
    assert bom["metadata"]["component"]["version"] == __version__
    assert "/tmp" not in text
    assert "/root" not in text


@pytest.mark.parametrize("arguments", [("--arch", "sparc"), ("--what",)])
def test_what_cannot_be_made_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = release(copy_of_the_repository(tmp_path / "checkout"), tmp_path / "out", *arguments)

    assert done.returncode in (2, 111)
    assert not (tmp_path / "out/SHA256SUMS").exists()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_the_workflows_are_what_github_takes(workflow: Path) -> None:
    """By the published schema of workflows, which comes along with check-jsonschema."""
    check = Path(sys.executable).parent / "check-jsonschema"

    done = subprocess.run(
        [check, "--builtin-schema", "vendor.github-workflows", workflow], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_script_of_a_workflow_is_a_script(workflow: Path) -> None:
    """Each `run` parses as a shell script, and the project's own programs that it calls are there."""
    from ruamel.yaml import YAML

    jobs = YAML(typ="safe").load(workflow)["jobs"]
    scripts = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", "-c", script], check=True)
        for program in re.findall(r"(?:^| )((?:scripts|\.ci)/[\w-]+)", script):
            assert os.access(REPOSITORY / program, os.X_OK), program


# Images whose digest is for those to write who build theirs from it: the tag is what they update.
BY_TAG = {"app-python", "backend-node", "mariadb", "nginx", "postgres", "rabbitmq", "redis", "static"}


def test_what_others_could_move_is_named_by_its_digest() -> None:
    """Actions, the images that CI and a release run in, and what the shim is built on; the others are known here."""
    from ruamel.yaml import YAML

    for workflow in WORKFLOWS:
        jobs = YAML(typ="safe").load(workflow)["jobs"].values()
        for step in (step for job in jobs for step in job["steps"]):
            uses = step.get("uses", "")
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", uses) or not uses, uses
            if uses.startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, "the token lies in .git/config otherwise"
        for image in re.findall(r"\bdebian:\S+", workflow.read_text()):
            assert re.fullmatch(r"debian:(bookworm|trixie)@sha256:[0-9a-f]{64}", image)
    by_tag = set()
    for dockerfile in sorted((REPOSITORY / "images").glob("*/Dockerfile")):
        base = re.search(r"^(.*)\nARG BASE=(\S+)$", dockerfile.read_text(), re.MULTILINE)
        if base is not None and "@sha256:" not in base[2]:
            assert base[1].startswith("# A tag, which its owner can move: "), dockerfile
            by_tag.add(dockerfile.parent.name)
    assert by_tag == BY_TAG


def test_the_libraries_of_both_architectures_are_at_the_same_revision(tmp_path: Path) -> None:
    """Each is named with it."""
    components = load_script("release_components")
    (tmp_path / "revisions").write_text("libpython3.13-dev 3.13.5-2+deb13u5\nzlib1g-dev 1:1.3.dfsg+really1.3.1-1\n")
    there = components.revisions(tmp_path)
    assert there == {"libpython3.13-dev": "3.13.5-2+deb13u5", "zlib1g-dev": "1:1.3.dfsg+really1.3.1-1"}

    same = {"zlib": {"amd64": "1", "arm64": "1"}, "glibc": {"amd64": "2.41-12", "arm64": "2.41-12"}}
    assert components.differing(same) == []
    assert components.differing({**same, "cpython": {"amd64": "3.13.5-2+deb13u4", "arm64": "3.13.5-2+deb13u5"}}) == [
        "cpython"
    ]


def load_script(name: str) -> Any:
    """Return the module scripts/NAME.py, which no package holds."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_publishes_builds_nothing_and_what_builds_has_no_token() -> None:
    from ruamel.yaml import YAML

    release = YAML(typ="safe").load(REPOSITORY / ".github/workflows/release.yml")
    build, publish = release["jobs"]["build"], release["jobs"]["publish"]

    assert release["permissions"] == {}
    assert build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"contents": "write", "id-token": "write", "attestations": "write"}
    assert not any("checkout" in step.get("uses", "") or "scripts/" in step.get("run", "") for step in publish["steps"])
    assert any("attest" in step.get("uses", "") for step in publish["steps"])


@pytest.mark.parametrize("name", ["requirements", "release"])
def test_every_file_that_is_installed_is_known_by_its_hash(name: str) -> None:
    """The lists of scripts/lock have what pyproject.toml asks for, each version with its hashes, and no address."""
    text = (REPOSITORY / f"scripts/{name}.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)[^\n]*\\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = {"requirements": extras["host"] + extras["dotenv"], "release": project["dependency-groups"]["release"]}
    asked = {re.split(r"[><=\[]", entry)[0].replace(".", "-") for entry in groups[name]}

    assert asked <= pinned.keys()
    assert "://" not in text
    assert len(pinned) == len(re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE))


def test_a_tag_that_is_not_the_version_stops_the_release() -> None:
    from ruamel.yaml import YAML

    steps = YAML(typ="safe").load(REPOSITORY / ".github/workflows/release.yml")["jobs"]["build"]["steps"]
    check = next(step["run"] for step in steps if step.get("name") == "the tag is the version")

    ends = {
        tag: subprocess.run(
            ["bash", "-e", "-c", check], cwd=REPOSITORY, env={**os.environ, "GITHUB_REF_NAME": tag}, capture_output=True
        ).returncode
        for tag in (f"v{__version__}", "v999.0.0")
    }

    assert ends == {f"v{__version__}": 0, "v999.0.0": 1}
