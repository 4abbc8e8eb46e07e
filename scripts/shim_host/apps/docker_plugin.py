"""A plugin of Docker's command line: `docker secretshim COMMAND` is `manage-secrets COMMAND`.

Docker starts `docker-secretshim` in two ways (github.com/docker/cli, docs/extend/cli_plugins.md): with
`docker-cli-plugin-metadata`, to learn what it is, and with everything that was typed after `docker`, its own global
options included. Compose starts it as a provider, with `compose`. Nothing here knows a secret.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shim_host.errors import Refused, UsageError, failed_file
from shim_host.files import make_folders, write_whole

# Only a-z and 0-9 are allowed, and Docker itself has `secret` and `pass`, and a Secrets Engine.
NAME = "secretshim"
METADATA = "docker-cli-plugin-metadata"
_MARK = "docker-secrets-shim wrote this file"
_MODE = 0o755
# Docker's global options, and the variable that says the same; None for those that no variable replaces.
_VALUED = {
    "--config": "DOCKER_CONFIG",
    "--context": "DOCKER_CONTEXT",
    "-c": "DOCKER_CONTEXT",
    "--host": "DOCKER_HOST",
    "-H": "DOCKER_HOST",
    "--log-level": "",
    "-l": "",
    "--tlscacert": None,
    "--tlscert": None,
    "--tlskey": None,
}
_FLAGS = {"--debug": "", "-D": "", "--tls": None, "--tlsverify": "DOCKER_TLS_VERIFY"}


class Call(NamedTuple):
    """What Docker asks for: words for `manage-secrets`, and variables that replace Docker's own options."""

    words: list[str]
    environ: dict[str, str]


def metadata(version: str) -> dict[str, str]:
    """Return what Docker wants to know of a plugin."""
    return {
        "SchemaVersion": "0.1.0",
        "Vendor": "docker-secrets-shim",
        "Version": version,
        "ShortDescription": "Secrets of Compose projects and Swarms, from .env to rotation",
    }


def read_call(words: Sequence[str]) -> Call | None:
    """Return what the argv *words*, as Docker hands them over, ask for; None when they are not Docker's.

    Raises:
        UsageError: one of Docker's own options cannot be followed here.
    """
    environ: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in _VALUED:
            if not equals:
                if not rest:
                    return None
                value = rest.pop(0)
            variable = _VALUED[name]
        elif name in _FLAGS:
            value, variable = "1" if value != "false" else "", _FLAGS[name]
        else:
            return None
        if variable is None:
            raise UsageError(f"docker {NAME} does not take {name}; use a context, DOCKER_CERT_PATH or ssh://")
        if variable:
            environ[variable] = value
    if environ.get("DOCKER_CONTEXT", "default") != "default":
        environ.setdefault("DOCKER_HOST", "")  # which would win over the variable, but not over Docker's --context
    if rest[:1] == [NAME]:
        return Call(rest[1:], environ)
    if rest[:2] == ["help", NAME]:
        return Call([*rest[2:], "--help"], environ)
    return None


def folder(environ: Mapping[str, str]) -> Path:
    """Return where Docker looks for the plugins of this user."""
    own = environ.get("DOCKER_CONFIG")
    return (Path(own) if own else Path.home() / ".docker") / "cli-plugins"


def path_in(place: Path) -> Path:
    """Return the plugin's file in the folder *place*."""
    return place / (f"docker-{NAME}.exe" if sys.platform == "win32" else f"docker-{NAME}")


def launcher(python: str, program: Path) -> str:
    """Return the plugin: a script that starts *program* with the interpreter *python*."""
    return f'#!/bin/sh\n# {_MARK}\nexec {shlex.quote(python)} {shlex.quote(str(program))} "$@"\n'


def is_ours(path: Path) -> bool:
    """Return whether the file at *path* is such a plugin."""
    if sys.platform == "win32":
        return path.is_file()
    try:
        return _MARK.encode() in path.read_bytes()[:4096]
    except OSError:
        return False


def install(path: Path, program: Path) -> None:
    """Write the plugin to *path*.

    Raises:
        Refused: something else has that name.
        Failed: it cannot be written.
    """
    if os.path.lexists(path) and not is_ours(path):
        raise Refused(f"{path} was not written by manage-secrets", "move it away, if it is not needed")
    try:
        make_folders(path.parent)
        if sys.platform == "win32":
            # A plugin is an .exe there, and the command of an installed package is one that can be copied.
            shutil.copyfile(shutil.which("manage-secrets") or "manage-secrets.exe", path)
        else:
            write_whole(path, launcher(sys.executable, program).encode(), _MODE)
    except OSError as error:
        raise failed_file("write", str(path), error) from None


def remove(path: Path) -> bool:
    """Remove the plugin at *path*; return whether there was one.

    Raises:
        Refused: the file is something else.
        Failed: it cannot be removed.
    """
    if not os.path.lexists(path):
        return False
    if not is_ours(path):
        raise Refused(f"{path} was not written by manage-secrets", "move it away, if it is not needed")
    try:
        path.unlink()
    except OSError as error:
        raise failed_file("remove", str(path), error) from None
    return True
