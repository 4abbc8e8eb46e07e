"""The pre-commit hook: real commits, which go through or do not, and no value is ever said."""

import base64
import gzip
import html
import io
import json
import lzma
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import termios
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML

from tests.support.engine import copy_of_the_repository
from tests.support.forms import REPOSITORY, Custody
from tests.support.key_examples import key_examples, pem

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
    [
        *("secrets/db_password", "secrets/api/token", "secrets/.db_password.next", "secrets/.fingerprint-key"),
        *(".env", ".env.production", "api/.env", ".ENV", "prod.env", "svc/secrets/db_password", ".envrc", ".netrc"),
    ],
)
def test_a_file_of_values_is_stopped(clone: Clone, canary: Callable[[], str], name: str) -> None:
    clone.write(name, canary())

    went_through, said = clone.commit(name)

    assert not went_through
    assert f"error: {name} " in said
    assert f"git rm --cached '{name}'" in said
    assert clone.git("log", "--oneline", check=False).returncode != 0, "something was committed"


def test_a_value_is_found_wherever_it_was_copied(clone: Clone, canary: Callable[[], str]) -> None:
    """Everything that is wrong is said at once: a script, a binary file, a URL with the value percent-encoded."""
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


@pytest.mark.parametrize(
    "name",
    [
        *("lib/secrets/store.py", "chart/secrets/values.yaml.example", "docs/secrets/README.md", "environment"),
        *("secrets.lock.env", "secrets.prod.lock.env", "example.env", "env.py"),
    ],
)
def test_a_file_that_only_sounds_like_values_goes_through(clone: Clone, name: str) -> None:
    clone.write(name, "nothing of value\n")

    assert clone.commit(name) == (True, "")


def tarred(name: str, content: bytes) -> bytes:
    """Return a tar archive of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    """Return a zip archive of one file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def test_a_value_is_found_in_what_it_was_turned_into(clone: Clone, canary: Callable[[], str]) -> None:
    """Encoded, escaped, in UTF-16, packed, or with other white space than its file has."""
    value, key = canary() + '&<"ü', pem()
    clone.write("secrets/db_password", value)
    clone.write("secrets/tls_key", key)
    forms = {
        "base64.yaml": base64.encodebytes(f"user:{value}".encode() * 3),
        "json": json.dumps({"p": value}).encode(),
        "html": html.escape(value).encode(),
        "lower": quote(value, safe="").replace("%C3%BC", "%c3%bc").encode(),
        "utf16": value.encode("utf-16"),
        "utf16be": b"x\0" + value.encode("utf-16-be"),
        "text.gz": gzip.compress(value.encode()),
        "text.tar.xz": lzma.compress(tarred("a", gzip.compress(value.encode()))),
        "book.xlsx": zipped("sheet.xml", html.escape(value).encode()),
        "values.yaml": key.replace("\n", "\n      ").encode(),
        "one-line": key.replace("\n", "\\n").encode(),
        "dockerconfigjson": base64.b64encode(b'{"auth": "' + base64.b64encode(f"user:{value}".encode()) + b'"}'),
        "log.json": json.dumps(json.dumps({"p": value})).encode(),
        "encoded-command": b"powershell -EncodedCommand " + base64.b64encode(f'Connect "{value}"'.encode("utf-16-le")),
        "user-data": b"user_data: " + base64.b64encode(gzip.compress(value.encode())),
        "helm-release": base64.b64encode(base64.b64encode(gzip.compress(json.dumps({"p": value}).encode()))),
        "object": zlib.compress(b"blob 99\0" + value.encode()),
        "redirect": quote(quote(value, safe=""), safe="").encode(),
    }
    for name, content in forms.items():
        clone.write(name, content)

    went_through, said = clone.commit(*forms)

    assert not went_through
    for name in forms:
        assert re.search(rf"error: {name}(:[0-9]+)? holds the value of secrets/", said), f"{name}: {said}"


def test_a_value_in_a_name_is_found_and_not_repeated(clone: Clone, canary: Callable[[], str]) -> None:
    value = canary()
    clone.write("secrets/db_password", value)
    name = f"backup/{quote(value)}/dump.sql"
    clone.write(name, "nothing")

    went_through, said = clone.commit(name)
    assert not went_through
    assert "error: the name backup/***/dump.sql contains the value of secrets/db_password" in said
    clone.git("commit", "--quiet", "--no-verify", "--message", "all")
    clone.git("rm", "--quiet", name)
    clone.git("commit", "--quiet", "--message", "none")
    done = subprocess.run([HOOK, "--all"], cwd=clone.path, capture_output=True, text=True, check=False)
    assert "the name backup/***/dump.sql, in the history, contains the value" in done.stderr


def test_a_bomb_in_a_commit_ends(clone: Clone, canary: Callable[[], str]) -> None:
    """A few kilobytes that unpack to gigabytes cost neither the memory nor the time."""
    clone.write("secrets/db_password", canary())
    zeros = gzip.compress(gzip.compress(bytes(100 << 20), 9) * 10, 9)
    clone.write("bomb.gz", zeros)
    clone.write("broken.zip", b"PK\3\4" + zeros)
    clone.write("base64", base64.b64encode(zeros) + b"\n" + base64.b64encode(zlib.compress(bytes(100 << 20))) * 9)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert clone.commit("bomb.gz", "broken.zip", "base64")[0]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20


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


def test_the_shapes_of_well_known_keys_are_stopped(clone: Clone, custody: Custody) -> None:
    shapes = key_examples()
    for number, (what, key) in enumerate(shapes.items()):
        custody.canaries.append(key.rstrip()[-20:])
        clone.write(f"file{number}", f"# {what}\nkey = '{key}'\n")

    went_through, said = clone.commit(*(f"file{number}" for number in range(len(shapes))))

    assert not went_through
    for number, what in enumerate(shapes):
        assert f"file{number}:2 holds what looks like {what}\n" in said


def test_a_shape_that_is_no_secret_can_be_marked(clone: Clone) -> None:
    key = key_examples()["a token of GitHub"]
    clone.write("docs.md", f"A token looks so: {key} <!-- not-a-secret -->\n")

    assert clone.commit("docs.md") == (True, "")


def test_what_is_no_file_in_the_folder_is_passed_by(clone: Clone) -> None:
    """A directory in ./secrets is not a secret; a link to nothing is not one either."""
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


def test_the_history_is_looked_at_too(clone: Clone, canary: Callable[[], str]) -> None:
    """What was removed later, in a branch, a stash or a message; and it is found again once the value was rotated."""
    value, before = canary(), canary()
    clone.write("secrets/db_password", value)
    clone.write("secrets/.previous/db_password", before)
    clone.write("c.yml", f"key: {value}\n")
    clone.write("old", before)
    clone.write(".env", "A=b\n")
    clone.git("add", "c.yml", "old", ".env", "--force")
    clone.git("commit", "--no-verify", "--message", f"Use {value}")
    clone.git("rm", "--quiet", "c.yml", "old", ".env")
    clone.git("commit", "--no-verify", "--message", "Remove what should not be here")

    def everything() -> subprocess.CompletedProcess[str]:
        return subprocess.run([HOOK, "--all"], cwd=clone.path, capture_output=True, text=True, check=False)

    found = everything()
    assert found.returncode == 1
    for words in ("c.yml:1, in the history, holds the value of secrets/db_password", "old:1, in the history, holds"):
        assert words in found.stderr
    assert "the message of commit" in found.stderr
    assert ".env, in the history, holds values" in found.stderr
    assert "git log --all --find-object=" in found.stderr
    assert value not in found.stderr
    assert "nothing was committed" not in found.stderr

    clone.write("secrets/db_password", canary())
    again = everything()
    assert "c.yml, in the history, holds a value that secrets/db_password had" in again.stderr
    assert value not in (clone.path / ".git/pre-commit-secrets.found").read_text()


def test_what_was_found_is_noted_in_a_file_alone(clone: Clone, canary: Callable[[], str]) -> None:
    """The .git of an archive may have a link there, or a FIFO: nothing is written through it, and nobody waits."""
    value = canary()
    clone.write("secrets/db_password", value)
    clone.write("app.py", value)
    clone.write("mine", "b = 2\na = 1\n")
    clone.git("add", "app.py")
    note = clone.path / ".git/pre-commit-secrets.found"
    for is_link in (True, False):
        if is_link:
            note.symlink_to("../mine")
        else:
            os.mkfifo(note)
        done = subprocess.run([HOOK, "--all"], cwd=clone.path, capture_output=True, timeout=60, check=False)
        assert done.returncode == 1
        note.unlink()
    assert (clone.path / "mine").read_text() == "b = 2\na = 1\n"


def test_a_long_history_shows_how_far_it_is(clone: Clone) -> None:
    """A terminal gets one line, which is as narrow as the terminal and gone in the end, also after Ctrl-C."""
    text = "a line of some text that is ordinary\n" * 300
    commits = (
        f"commit refs/heads/main\ncommitter a <a@b> {number} +0000\ndata 1\nx\nM 644 inline f\n"
        f"data {len(text) + 5}\n{number:05}{text}\n"
        for number in range(1000)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=clone.path, input="".join(commits).encode(), check=True)

    for is_interrupted, code in ((False, 0), (True, 130)):
        parent, child = pty.openpty()
        termios.tcsetwinsize(child, (12, 30))
        environ = {**os.environ, "TERM": "xterm"}
        said = b""
        # Whoever is to interrupt it goes first.
        with subprocess.Popen(["nice", HOOK, "--all"], cwd=clone.path, env=environ, stderr=child) as process:
            os.close(child)
            with suppress(OSError):  # its other end is closed
                while block := os.read(parent, 4096):
                    said += block
                    if is_interrupted:
                        process.send_signal(signal.SIGINT)
                        is_interrupted = False
        os.close(parent)

        first, *shown, last = said.decode().split("\r\x1b[K")
        assert process.returncode == code
        assert re.fullmatch(r"\d+ of 3000 objects looked a.*", shown[0])
        assert max(map(len, shown)) < 30
        assert (first, last) == ("", "")


def test_an_empty_repository_has_no_history(clone: Clone) -> None:
    assert subprocess.run([HOOK, "--all"], cwd=clone.path, capture_output=True, check=False).returncode == 0


def test_without_a_python_that_is_new_enough_it_says_so(clone: Clone, tmp_path: Path) -> None:
    """A commit goes through, since nobody could make one otherwise; --all does not say that all is well."""
    old = tmp_path / "bin"
    old.mkdir()
    for name in ("python3", "python3.10", "python3.11", "python3.12", "python3.13"):
        (old / name).write_text("#!/bin/sh\nexit 1\n")  # what asks for its version is answered: too old
        (old / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{old}:/usr/bin:/bin", "PYTHON": "python3"}

    for arguments, code in (((), 0), (("--all",), 111)):
        done = subprocess.run([HOOK, *arguments], cwd=clone.path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert "nothing was looked at: there is no Python 3.10 or newer" in done.stderr


def test_no_module_of_the_repository_is_loaded(clone: Clone) -> None:
    """Not even while a Python is looked for; without `site`, which may have loaded some of these before."""
    for name in ("bz2", "gzip", "lzma", "subprocess", "sys", "zlib"):
        clone.write(f"{name}.py", "open('was-loaded', 'w')")
    python = clone.path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)

    done = subprocess.run([HOOK], cwd=clone.path, env={**os.environ, "PYTHON": str(python)}, check=False)

    assert done.returncode == 0
    assert not (clone.path / "was-loaded").exists()


def test_a_python_without_some_modules_looks_at_the_rest(
    clone: Clone, tmp_path: Path, canary: Callable[[], str]
) -> None:
    """Some builds have no bz2 or lzma; what these pack is named as not looked into, and --all fails then."""
    for name in ("bz2", "lzma"):
        tmp_path.joinpath(f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named _{name}')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    clone.write("secrets/db_password", value := canary())
    clone.write("a.xz", lzma.compress(value.encode() * 50))
    clone.write("b.gz", gzip.compress(value.encode()))

    clone.git("add", "a.xz", "b.gz")

    done = subprocess.run([HOOK], cwd=clone.path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "b.gz holds the value of secrets/db_password, packed" in done.stderr
    assert "files packed by lzma were not looked into: this Python has no module lzma" in done.stderr
    clone.git("rm", "--quiet", "--cached", "b.gz")
    every = [sys.executable, f"{HOOK.parent}/pre_commit_secrets.py", "--all"]
    assert subprocess.run(every, cwd=clone.path, env=env, capture_output=True, check=False).returncode == 111


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

    done = subprocess.run([HOOK, "--all"], cwd=folder, capture_output=True, text=True, check=False)

    found = [
        line for line in done.stderr.splitlines() if not re.search(r"\d of \d+ objects looked at", line)
    ]  # a busy machine
    assert (done.returncode, found) == (0, [])


def test_pre_commit_finds_the_hook() -> None:
    """The file that the framework reads names a program that is there and may be run."""
    hooks: list[dict[str, Any]] = YAML(typ="safe").load(REPOSITORY / ".pre-commit-hooks.yaml")

    assert [hook["id"] for hook in hooks] == ["docker-secrets"]
    for hook in hooks:
        assert shutil.which(hook["entry"].split()[0], path=str(REPOSITORY)) or os.access(
            REPOSITORY / hook["entry"], os.X_OK
        )
        assert hook["language"] == "script"
