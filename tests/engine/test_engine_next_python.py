"""The binary with Debian 13's CPython 3.13, built in a container of that release: it keeps what the other promises.

The tests are those of the other: they run here once more, each with the binary that SHIM_TEST_BINARY names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.forms import REPOSITORY
from tests.support.frozen_code import START, write_package

# With an empty cache, the image of Debian 13 and the binary are made first.
pytestmark = [pytest.mark.engine, pytest.mark.frozen, pytest.mark.slow, pytest.mark.timeout(900)]

# They build a binary of their own, here, with this system's CPython; or they take long, as those of PID 1.
OTHERS = "twice or small or everybody or public_api or arm64 or lies_ready or the_build or sanitizers or test_pid1"
PUBLIC_API_TESTS = "hostile or modules_beside or needs_no"
BUILD_AND_RUN = f"""
set -e
mkdir "/a longer name" && cp -r /checkout/images /checkout/shim "/a longer name"
"/a longer name/images/shim/build" --out /out/again
SHIM_SOURCE=/every-kind /checkout/images/shim/build --out /out/every-kind
/out/every-kind/shim-linux-* >/out/frozen
python3.13 -I -c 'import sys; sys.path.append("/every-kind"); {START}' >/out/plain
"""


def built(engine: Engine, *options: str) -> Path:
    """Return the binary with CPython 3.13, which `scripts/shim-binary` makes once for each state of the sources."""
    engine.base("trixie")
    done = subprocess.run(
        [REPOSITORY / "scripts" / "shim-binary", "--python", "3.13", *options],
        env={name: value for name, value in engine.environ.items() if name != "SHIM_TEST_BINARY"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def run_tests(binary: Path, select: str, file: str) -> int:
    """Run tests of the frozen form with *binary*; return how many passed, none failed."""
    with tempfile.TemporaryDirectory() as short:  # a socket's path has at most 108 bytes
        return _passed(binary, select, f"{short}/t", file)


def _passed(binary: Path, select: str, folder: str, file: str) -> int:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["SHIM_TEST_BINARY"] = str(binary)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "--basetemp", folder),
            *("-k", f"(frozen or wiped) and ({select})", f"tests/shim/{file}"),
        ],
        env=environ,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    return int(passed[1])


def test_it_keeps_what_the_other_promises(engine: Engine) -> None:
    """The tests of the frozen form pass, it is small, and completing it needs nothing that it does not hold."""
    binary = built(engine)

    assert binary.stat().st_size <= 11_000_000
    compressed = subprocess.run(["gzip", "-9", "--stdout", binary], capture_output=True, check=True).stdout
    assert len(compressed) <= 5_500_000
    arguments, secret = ("explain", "--salt", "a salt", "--require", "DB_PASSWORD"), {"DB_PASSWORD": "value"}
    plain, frozen = (
        subprocess.run([*command, *arguments], env=secret, cwd="/", capture_output=True, check=True).stdout
        for command in ((sys.executable, "-m", "shim"), (str(binary),))
    )
    assert frozen == plain != b"", "SHA-2 by another library gives the same fingerprints"
    assert run_tests(binary, f"not ({OTHERS})", "") > 250


def test_the_public_api_is_enough_for_it(engine: Engine) -> None:
    """Started by nothing that CPython calls provisional or private, it hands on the same bytes."""
    assert run_tests(built(engine, "--public-api"), PUBLIC_API_TESTS, "test_frozen_build.py") > 25


def test_its_build_gives_the_same_bytes_and_code_does_what_code_does(engine: Engine, tmp_path: Path) -> None:
    """Built in another folder it is the same file; constants, classes and line numbers are those of plain CPython."""
    binary = built(engine)
    caches, out = binary.parents[2], tmp_path / "out"
    release = next(caches.glob("pyinstaller-*"))
    shutil.copytree(release, tmp_path / "cache" / "docker-secrets-shim" / release.name)
    write_package(tmp_path / "every-kind")
    out.mkdir()

    engine.docker(
        *("run", "--rm", "--network", "none", "--env", "XDG_CACHE_HOME=/cache", "--volume", f"{tmp_path}/cache:/cache"),
        *("--volume", f"{REPOSITORY}:/checkout:ro", "--volume", f"{tmp_path}/every-kind:/every-kind:ro"),
        *("--volume", f"{out}:/out", engine.base("trixie"), "sh", "-c", BUILD_AND_RUN),
        timeout=600,
    )

    assert next((out / "again").iterdir()).read_bytes() == binary.read_bytes()
    assert (out / "frozen").read_bytes() == (out / "plain").read_bytes()
    assert (out / "plain").read_bytes().count(b"\n") > 50
