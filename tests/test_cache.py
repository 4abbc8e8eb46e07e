"""Where the scripts keep what they make: programs that root runs later, so never where somebody else could put one."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.forms import REPOSITORY, cannot_run

STRANGER = 12345
CACHE = f'. "{REPOSITORY}/scripts/lib.sh" && printf %s "$CACHE"'


def run(*argv: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    whole = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(argv, env=whole, capture_output=True, text=True, check=False, timeout=60)


def test_without_home_the_users_own_folder_counts() -> None:
    """As in a systemd unit; /tmp, where anybody may have made the folder before, does not."""
    found = run("bash", "-c", CACHE, env={})

    home = subprocess.run(["getent", "passwd", str(os.geteuid())], capture_output=True, text=True, check=True).stdout
    assert found.stdout == f"{home.split(':')[5]}/.cache/docker-secrets-shim"


def test_a_named_folder_wins(tmp_path: Path) -> None:
    assert run("bash", "-c", CACHE, env={"XDG_CACHE_HOME": str(tmp_path)}).stdout == f"{tmp_path}/docker-secrets-shim"


def test_a_package_is_the_first_of_its_names_that_this_system_has(tmp_path: Path) -> None:
    """Debian 12, Debian 13 and Ubuntu call some differently, and lack others; what must be there is named."""
    if not Path("/usr/bin/apt-cache").exists():
        cannot_run("packages are Debian's")
    library, env = f'. "{REPOSITORY}/scripts/lib.sh" && ', {"XDG_CACHE_HOME": str(tmp_path)}
    asked = "for wish in 'no-such-package|bash' bash 'no-such-package?'; do package_of \"$wish\"; echo; done"

    assert run("bash", "-c", library + asked, env=env).stdout.split("\n") == ["bash", "bash", "", ""]
    nothing = run("bash", "-c", library + "install_packages bash 'no-such-package|bash'", env=env)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "")


@pytest.fixture(name="planted")
def _planted(tmp_path: Path) -> Path:
    """Return the binary that a stranger put where scripts/shim-binary would look for the one it made."""
    if os.geteuid() != 0:
        cannot_run("only root can make a file that belongs to somebody else")
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    name = '. scripts/lib.sh && printf "%s/shim-%s" "$CACHE" "$(content_hash "$ROOT/shim" "$ROOT/images/shim")"'
    folder = Path(run("bash", "-c", f"cd {REPOSITORY} && {name}", env=env).stdout)
    folder.mkdir(parents=True)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    binary = folder / f"shim-linux-{machine}"
    binary.write_text("#!/bin/sh\necho trojan\n")
    binary.chmod(0o755)
    return binary


@pytest.mark.parametrize("what", ["file", "folder", "cache", "open file", "open folder"])
def test_what_somebody_else_could_have_put_there_is_not_used(planted: Path, what: str) -> None:
    place = {"file": planted, "folder": planted.parent, "cache": planted.parent.parent}.get(what)
    if place is not None:
        os.chown(place, STRANGER, STRANGER)
    else:
        (planted if what == "open file" else planted.parent).chmod(0o777)

    end = run(str(REPOSITORY / "scripts/shim-binary"), env={"XDG_CACHE_HOME": str(planted.parents[2])})

    assert end.returncode == 111
    assert end.stdout == ""
    assert "belongs to someone else, or others can write to it" in end.stderr
