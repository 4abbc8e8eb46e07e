"""The pre-commit hook: real commits, which go through or do not, and no value is ever said."""

import base64
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.engine import copy_of_the_repository
from tests.support.forms import REPOSITORY, Custody

HOOK = REPOSITORY / "scripts/pre-commit-secrets"


class Clone:
    """A git repository whose hooks are the project's."""

    def __init__(self, path: Path, custody: Custody) -> None:
        self.path = path
        self._custody = custody
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "core.hooksPath", str(REPOSITORY / "scripts/hooks"))

    def git(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Return how `git ARGV` ended, as nobody in particular."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        person = {
            f"GIT_{role}_{what}": "somebody@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        return subprocess.run(
            ["git", *argv],
            cwd=self.path,
            env={**environ, **person, "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=check,
        )

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the working tree."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, *names: str) -> tuple[bool, str]:
        """Stage *names*, whatever .gitignore says, and commit; return whether it went through, and what was said."""
        self.git("add", "--force", "--", *names)
        done = self.git("commit", "--message", "a change", check=False)
        self._custody.said += [done.stdout, done.stderr]
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode == 0, done.stderr


@pytest.fixture(name="clone")
def _clone(tmp_path: Path, custody: Custody) -> Clone:
    return Clone(tmp_path / "clone", custody)


def test_a_commit_without_secrets_goes_through(clone: Clone, canary: Callable[[], str]) -> None:
    clone.write("secrets/db_password", canary())
    clone.write("main.py", "print('hello')\n")
    clone.write(".env.schema", "# @required\nDB_PASSWORD=\n")
    clone.write("secrets/README.md", "what lies here\n")
    clone.write("secrets/db_password.example", "changeme\n")
    clone.write("secrets/.gitignore", "*\n")

    names = ("main.py", ".env.schema", "secrets/README.md", "secrets/db_password.example", "secrets/.gitignore")
    assert clone.commit(*names) == (True, "")


@pytest.mark.parametrize(
    "name",
    ["secrets/db_password", "secrets/api/token", "secrets/.db_password.next", ".env", ".env.production", "api/.env"],
)
def test_a_file_of_values_is_stopped(clone: Clone, canary: Callable[[], str], name: str) -> None:
    clone.write(name, canary())

    went_through, said = clone.commit(name)

    assert not went_through
    assert f"error: {name} " in said
    assert f"git rm --cached '{name}'" in said
    assert clone.git("log", "--oneline", check=False).returncode != 0, "something was committed"


def test_a_value_is_found_wherever_it_was_copied(clone: Clone, canary: Callable[[], str]) -> None:
    """All that is wrong is said at once: a script, a binary file, a URL with the value percent-encoded."""
    value, other = canary(), f"{canary()}/+ ü"
    clone.write("secrets/db_password", f"{value}\r\n")
    clone.write("secrets/api_key", other)
    clone.write("deploy.sh", f"#!/bin/sh\n\nPGPASSWORD={value} psql\n")
    clone.write("image.bin", b"\0\1\2" + other.encode() + b"\0")
    encoded = other.replace("/", "%2F").replace("+", "%2B").replace(" ", "%20").replace("ü", "%C3%BC")
    clone.write("url.txt", f"https://x:{encoded}@example.com\n")

    went_through, said = clone.commit("deploy.sh", "image.bin", "url.txt")

    assert not went_through
    assert "error: deploy.sh:3 holds the value of secrets/db_password" in said
    assert "error: image.bin:1 holds the value of secrets/api_key" in said
    assert "error: url.txt:1 holds the value of secrets/api_key" in said


def test_what_is_staged_counts_and_not_what_lies_there(clone: Clone, canary: Callable[[], str]) -> None:
    value = canary()
    clone.write("secrets/db_password", value)
    clone.write("notes", f"it is {value}\n")
    clone.git("add", "notes")
    clone.write("notes", "it is in the safe\n")

    done = clone.git("commit", "--message", "a change", check=False)

    assert done.returncode == 1
    assert "notes:1 holds the value" in done.stderr
    assert clone.commit("notes")[0]


def test_short_and_public_values_may_stand_anywhere(clone: Clone) -> None:
    clone.write(".env.schema", "# @sensitive=false\nCLIENT_ID=\n\n# @sensitive\nPIN=\n")
    clone.write("secrets/client_id", "a-public-client-id")
    clone.write("secrets/pin", "1234567")
    clone.write("app.js", "login('a-public-client-id', 1234567)\n")

    assert clone.commit("app.js", ".env.schema") == (True, "")


def key_shapes() -> dict[str, str]:
    """Return made-up keys of each shape; put together here, so that none stands in this file."""
    letters = base64.b32encode(secrets.token_bytes(100)).decode().rstrip("=")
    digits = secrets.token_hex(60)
    return {
        "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + letters[:64] + "\n",
        "a secret key of age": "AGE-SECRET-" + "KEY-1" + letters[:58],
        "an access key of AWS": "AKIA" + letters[:16],
        "a token of GitHub": "ghp_" + digits[:36],
        "a token of GitLab": "glpat-" + digits[:20],
        "a token of Slack": "xoxb-" + digits[:24],
        "a key of Stripe": "sk_live_" + digits[:24],
        "a key of Google": "AIza" + digits[:35],
        "a key of OpenAI or Anthropic": "sk-proj-" + digits[:48],
        "a token of npm": "npm_" + digits[:36],
        "a token of PyPI": "pypi-" + digits[:80],
    }


def test_the_shapes_of_well_known_keys_are_stopped(clone: Clone, custody: Custody) -> None:
    shapes = key_shapes()
    for number, (what, key) in enumerate(shapes.items()):
        custody.canaries.append(key)
        clone.write(f"file{number}", f"# {what}\nkey = '{key}'\n")

    went_through, said = clone.commit(*(f"file{number}" for number in range(len(shapes))))

    assert not went_through
    for number, what in enumerate(shapes):
        assert f"file{number}:2 holds what looks like {what}\n" in said


def test_a_shape_that_is_no_secret_can_be_marked(clone: Clone) -> None:
    key = key_shapes()["a token of GitHub"]
    clone.write("docs.md", f"A token looks so: {key} <!-- not-a-secret -->\n")

    assert clone.commit("docs.md") == (True, "")


def test_what_is_no_file_in_the_folder_is_passed_by(clone: Clone) -> None:
    """A directory in ./secrets is no secret; a link to nothing is not one either."""
    clone.write("secrets/folder/x", "y")
    (clone.path / "secrets/gone").symlink_to("nowhere")
    clone.write("a", "b")

    assert clone.commit("a") == (True, "")


def test_names_tell_a_terminal_nothing(clone: Clone) -> None:
    clone.write("secrets/a\x1b[31mb", "x" * 10)

    went_through, said = clone.commit("secrets/a\x1b[31mb")

    assert not went_through
    assert "\x1b" not in said


def test_everything_that_git_has_can_be_looked_at(clone: Clone, canary: Callable[[], str]) -> None:
    """--all finds what was committed before the hook was installed, from any folder below."""
    value = canary()
    clone.write("deep/old", value)
    clone.git("add", ".")
    clone.git("commit", "--no-verify", "--quiet", "--message", "without the hook")
    clone.write("secrets/db_password", value)

    done = subprocess.run([HOOK, "--all"], cwd=clone.path / "deep", capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "deep/old:1 holds the value of secrets/db_password" in done.stderr


def test_another_folder_can_be_named(clone: Clone, canary: Callable[[], str]) -> None:
    value = canary()
    clone.write("deploy/keys/db_password", value)
    clone.write("notes", value)
    clone.git("add", "--all")

    done = subprocess.run(
        [HOOK, "--secrets-dir", "deploy/keys"], cwd=clone.path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "deploy/keys/db_password is a secret's file" in done.stderr
    assert "notes:1 holds the value of deploy/keys/db_password" in done.stderr


def test_outside_of_git_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run([HOOK], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 111
    assert done.stderr.startswith("pre-commit-secrets: error: git rev-parse failed: ")


def test_this_repository_passes(tmp_path: Path) -> None:
    """What git knows of this project, as it is now, holds nothing that the hook would stop."""
    folder = copy_of_the_repository(tmp_path / "copy")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)

    done = subprocess.run([HOOK, "--all"], cwd=folder, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_pre_commit_finds_the_hook() -> None:
    """The file that the framework reads names a program that is there and may be run."""
    hooks: list[dict[str, Any]] = YAML(typ="safe").load(REPOSITORY / ".pre-commit-hooks.yaml")

    assert [hook["id"] for hook in hooks] == ["docker-secrets"]
    for hook in hooks:
        assert shutil.which(hook["entry"].split()[0], path=str(REPOSITORY)) or os.access(
            REPOSITORY / hook["entry"], os.X_OK
        )
        assert hook["language"] == "script"
