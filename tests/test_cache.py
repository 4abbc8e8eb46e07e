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


# What a system offers, of what is called differently somewhere, what is installed there, and what is wished for then.
SYSTEMS = {
    "Debian 12": ("docker.io libpython3.11", "", "docker.io", ""),
    "Debian 13": (
        "docker.io docker-cli docker-compose docker-buildx",
        "",
        "docker.io docker-cli",
        "docker-compose docker-buildx",
    ),
    "Ubuntu 24.04": ("docker.io docker-compose-v2 docker-buildx", "", "docker.io", "docker-compose-v2 docker-buildx"),
    "Docker's packages": (
        "docker.io docker-ce docker-ce-cli docker-compose-v2 docker-buildx docker-compose-plugin docker-buildx-plugin",
        "docker-ce docker-ce-cli",
        "docker-ce docker-ce-cli",
        "docker-compose-plugin docker-buildx-plugin",
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_is_asked_for_what_it_has(system: str, tmp_path: Path) -> None:
    """The decisions are those of its own apt and dpkg, which know the packages of that system alone."""
    if not Path("/usr/bin/apt-cache").exists():
        cannot_run("packages are Debian's")
    offered, installed, engine, plugins = SYSTEMS[system]
    form = "Package: {}\nArchitecture: all\nVersion: 1\nMaintainer: nobody\nDescription: none\n{}\n"
    (tmp_path / "Packages").write_text(
        "".join(form.format(name, f"Filename: ./{name}.deb\n") for name in offered.split())
    )
    (tmp_path / "status").write_text(
        "".join(form.format(name, "Status: install ok installed\n") for name in installed.split())
    )
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path} ./\n")
    (tmp_path / "lists/partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list"; Dir::Etc::sourceparts "-"; Dir::State "{tmp_path}";\n'
        f'Dir::State::status "{tmp_path}/status"; Dir::Cache "{tmp_path}/cache"; APT::Sandbox::User "";\n'
    )
    env = {"XDG_CACHE_HOME": str(tmp_path), "APT_CONFIG": str(tmp_path / "apt.conf"), "DPKG_ADMINDIR": str(tmp_path)}
    wishes = '"${ENGINE_PACKAGES[@]:0:2}"', "$(plugin_packages)"
    asked = " ".join(f"echo $(for wish in {wish}; do package_of $wish; echo; done);" for wish in wishes)

    done = run("bash", "-c", f'apt-get update -qq && . "{REPOSITORY}/scripts/lib.sh" && {asked}', env=env)

    assert (done.stdout.splitlines(), done.stderr) == ([engine, plugins], "")


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


BUILD = str(REPOSITORY / "images/shim/build")
MAKE = f'. "{REPOSITORY}/scripts/lib.sh" && make_cache && printf %s "$CACHE"'


def test_a_cache_that_is_a_link_of_a_stranger_or_to_nothing_is_not_used(tmp_path: Path) -> None:
    """What a link to nothing leads to can be made by others, after it was looked at."""
    cache, own, env = tmp_path / "docker-secrets-shim", tmp_path / "own", {"XDG_CACHE_HOME": str(tmp_path)}
    own.mkdir(mode=0o755)
    cache.symlink_to(own)
    assert run("bash", "-c", MAKE, env=env).stdout == str(cache)

    own.rmdir()
    for argv in (["bash", "-c", MAKE], [BUILD, "--out", str(tmp_path / "out")]):
        end = run(*argv, env=env)
        assert (end.returncode in (1, 111), end.stdout, own.exists()) == (True, "", False)
        assert f"{cache} is a link to nothing" in end.stderr

    if os.geteuid() != 0:
        cannot_run("only root can make a link that belongs to somebody else")
    own.mkdir(mode=0o755)
    os.chown(cache, STRANGER, STRANGER, follow_symlinks=False)
    for argv in (["bash", "-c", MAKE], [BUILD, "--out", str(tmp_path / "out")]):
        end = run(*argv, env=env)
        assert (end.returncode in (1, 111), end.stdout) == (True, "")
        assert f"{cache} belongs to someone else" in end.stderr


@pytest.mark.parametrize("mode", [0o777, 0o755])
def test_a_folder_that_appears_meanwhile_is_looked_at_again(tmp_path: Path, mode: int) -> None:
    if os.geteuid() != 0:
        cannot_run("only root can make a folder that belongs to somebody else")
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    meanwhile = f'mkdir -m {mode:o} "$CACHE" && chown {STRANGER} "$CACHE"'

    end = run("bash", "-c", f'. "{REPOSITORY}/scripts/lib.sh" && {meanwhile} && make_cache', env=env)
    build = run(BUILD, "--out", str(tmp_path / "out"), env=env)

    assert (end.returncode, build.returncode) == (111, 1)
    for one in (end, build):
        assert "docker-secrets-shim belongs to someone else, or others can write to it" in one.stderr
