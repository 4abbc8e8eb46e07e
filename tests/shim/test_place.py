"""Hints fit the place: as whom we run, with which rights, and in whose container."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forms import Shim

Canary = Callable[[], str]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NO_DAC = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
PODMAN = {"container": "podman"}
BUILD = {"HOSTNAME": "buildkitsandbox"}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, ("--user NAME", "uid 65534", "mode 0600")),
        (KUBERNETES, ("fsGroup",)),
        (PODMAN, ("--secret NAME,uid=65534",)),
        (BUILD, ("--mount=type=secret,id=NAME,uid=65534",)),
    ],
)
def test_why_a_user_is_denied(frozen: Shim, env: dict[str, str], said: tuple[str, ...]) -> None:
    (frozen.root / "a").write_text("v")
    (frozen.root / "a").chmod(0o600)

    end = frozen("--require", "A", "true", env=env, before=NOBODY)

    assert end.code == 111
    for words in said:
        assert words in end.stderr
    assert ("Compose" in end.stderr) == (not env)


@pytest.mark.usefixtures("as_root")
def test_why_root_is_denied(frozen: Shim, tmp_path: Path) -> None:
    """To who is root already nobody says to start as root."""
    (frozen.root / "a").write_text("v")
    (frozen.root / "a").chmod(0o600)
    rootless = (*NOBODY, "unshare", "-Ur")

    end = frozen("--require", "A", "true", before=rootless)
    assert (end.code, "user namespace" in end.stderr) == (111, True)
    assert "start the container as root" not in end.stderr

    os.chown(frozen.root / "a", 1000, 1000)
    end = frozen("--require", "A", "true", before=NO_DAC)
    assert (end.code, "cap_add: [DAC_OVERRIDE]" in end.stderr, "DAC_READ_SEARCH" in end.stderr) == (111, True, False)
    assert "start the container as root" not in end.stderr


@pytest.mark.usefixtures("as_root")
def test_a_mode_that_would_let_us(frozen: Shim) -> None:
    """Then something else denies it: a label, or a folder on the way."""
    from shim.place import why_denied

    (frozen.root / "a").write_text("v")

    assert "SELinux" in why_denied(bytes(frozen.root / "a"))


@pytest.mark.parametrize(
    ("env", "missing", "folder"),
    [
        ({}, "that the container gets it", "Docker makes an empty folder"),
        (KUBERNETES, "volumeMounts", "subPath"),
        (PODMAN, "--secret NAME", "fix the mount"),
        (BUILD, "--mount=type=secret,id=NAME", "Docker makes an empty folder"),
    ],
)
def test_what_is_missing(frozen: Shim, env: dict[str, str], missing: str, folder: str) -> None:
    (frozen.root / "folder").mkdir()

    end = frozen("true", env={**env, "A_FILE": str(frozen.root / "gone")})
    assert (end.code, missing in end.stderr) == (100, True)
    end = frozen("true", env={**env, "A_FILE": str(frozen.root / "folder")})
    assert (end.code, folder in end.stderr) == (100, True)
