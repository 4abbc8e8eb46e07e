"""`set`, `get`, `edit` and `remove`: one secret at a time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from shim.secret import MAX_SECRET_BYTES
from tests.support.forms import Custody
from tests.support.host import SCRIPT, Canary, Manage
from tests.support.provoked import provokes

SCHEMA = "# @required @sensitive\nDB_PASSWORD=\n# @sensitive @type=string(minLength=8)\nAPI_KEY=\n"


def terminal(manage: Manage, *arguments: str) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        sys.executable,
        [str(SCRIPT), *arguments],
        cwd=str(manage.folder),
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "TERM": "dumb"},
        encoding="utf-8",
        timeout=30,
    )


def test_a_value_is_typed_unseen_and_read_back(manage: Manage, canary: Canary, custody: Custody) -> None:
    value = canary()
    person = terminal(manage, "set", "DB_PASSWORD")
    for _ in range(2):
        person.expect(": ")
        person.sendline(value)
    person.expect(pexpect.EOF)
    custody.said.append(str(person.before))

    assert manage.secrets() == {"db_password": value.encode()}
    assert (manage.folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert (manage.folder / "secrets/db_password").stat().st_mode & 0o777 == 0o600
    assert "/secrets/*" in (manage.folder / ".gitignore").read_text()
    manage("get", "DB_PASSWORD", "--output", "copy")
    assert (manage.folder / "copy").read_text() == value
    assert (manage.folder / "copy").stat().st_mode & 0o777 == 0o600


def test_a_pipe_gets_the_exact_bytes(manage: Manage, canary: Canary) -> None:
    value = f"{canary()}\r\n\xff\n".encode("latin-1")
    manage.write("blob", value)

    assert manage("set", "KEYSTORE", "--value-file", "blob").code == 0
    assert manage("get", "KEYSTORE", "--output", "out").code == 0
    assert (manage.folder / "out").read_bytes() == value


def test_a_key_keeps_its_spelling_without_a_schema(manage: Manage, canary: Canary) -> None:
    """`.NET` reads ConnectionStrings__Shop; nobody has to type it in capitals because a file has its name."""
    first, second = canary(), canary()
    manage.write(".env", f"ConnectionStrings__Shop={first}\n")
    assert manage("create-from-env", "--all").code == 0
    (manage.folder / ".env").unlink()
    manage.write("v", second)

    assert manage("get", "ConnectionStrings__Shop", "--output", "out").code == 0
    assert (manage.folder / "out").read_text() == first
    assert manage("set", "ConnectionStrings__Shop", "--value-file", "v", "--yes").code == 0
    assert manage.secrets() == {"ConnectionStrings__Shop": second.encode()}
    assert manage("remove", "ConnectionStrings__Shop", "--yes").code == 0
    assert manage.secrets() == {}


def test_keys_that_differ_by_case_or_are_no_variables_are_told_apart(manage: Manage, canary: Canary) -> None:
    """Their files have other names, which the `.env` explains; without it none gets the value of another."""
    values = {key: f"{canary()}{key}" for key in ("DB_PASSWORD", "Db_Password", "db_password", "2FA.key")}
    manage.write(".env", "".join(f"{key}={value}\n" for key, value in values.items()))
    manage.write("new", values["2FA.key"])
    assert manage("create-from-env", "--yes").code == 0

    for key in ("db_password", "2FA.key"):
        assert manage("set", key, "--value-file", "new", "--yes").code == 0
    assert manage("get", "db_password", "--output", "first").code == 0
    (manage.folder / ".env").unlink()
    assert manage("get", "DB_PASSWORD", "--output", "second").code == 0
    held = [(manage.folder / name).read_text() for name in ("first", "second")]
    assert held == [values["2FA.key"], values["DB_PASSWORD"]]
    assert len(list((manage.folder / "secrets").iterdir())) == len(values)


def test_a_value_that_only_a_stack_has_is_found_by_the_hint(manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write("v", value)
    assert manage("set", "DB_PASSWORD", "--value-file", "v", "--secrets-dir", "secrets/prod").code == 0

    refused = manage("get", "DB_PASSWORD", "--output", "out")

    assert refused.code == 1
    assert "hint: add --secrets-dir secrets/prod, which has one" in refused.stderr
    assert manage("get", "DB_PASSWORD", "--output", "out", "--secrets-dir", "secrets/prod").code == 0
    assert (manage.folder / "out").read_text() == value


def test_a_terminal_shows_no_value_unless_it_is_asked_to(manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write("v", value)
    manage("set", "DB_PASSWORD", "--value-file", "v")

    refused = terminal(manage, "get", "DB_PASSWORD")
    refused.expect(pexpect.EOF)
    shown = terminal(manage, "get", "DB_PASSWORD", "--show")
    shown.expect(pexpect.EOF)

    assert value not in str(refused.before)
    assert "stdout is a terminal" in str(refused.before)
    assert value in str(shown.before)


@provokes("… both write to stdout")
def test_a_dash_is_stdout(manage: Manage) -> str:
    """And no file of that name is made."""
    manage.write(".env.schema", SCHEMA)
    manage.write("secrets/db_password", "of no worth")

    assert manage("get", "DB_PASSWORD", "--output", "-").stdout == "of no worth"
    assert "get_secret" in manage("types", "--python", "-o", "-").stdout
    sarif, page = (manage("audit", "--no-engine", kind, "-").stdout for kind in ("--sarif", "--html"))
    refused = manage("audit", "--no-engine", "--json", "--sarif", "-")

    assert json.loads(sarif)["version"] == "2.1.0"
    assert page.startswith("<!doctype html>")
    assert refused.code == 2
    assert "--json and --sarif - both write to stdout" in refused.stderr
    assert not (manage.folder / "-").exists()
    return refused.stderr


def test_a_value_is_generated_and_another_one_is_replaced_only_when_that_is_said(manage: Manage) -> None:
    assert manage("set", "SESSION_KEY", "--generate").code == 0
    first = manage.secrets()["session_key"]

    assert manage("set", "SESSION_KEY", "--generate").code == 1
    assert manage.secrets()["session_key"] == first
    assert manage("set", "SESSION_KEY", "--generate", "--yes").code == 0
    assert manage.secrets()["session_key"] != first


@pytest.mark.parametrize(
    ("typed", "kept"), [(b"one line\n", b"one line"), (b"-----\na\n-----\n", b"-----\na\n-----\n")]
)
def test_an_editor_changes_a_value_in_memory(typed: bytes, kept: bytes, manage: Manage, tmp_path: Path) -> None:
    """A single line loses the line end that editors add; a text keeps its own. Nothing is left of the copy."""
    manage.write("typed", typed)
    manage.write("ed", '#!/bin/sh\ndirname "$1" >"$OUT/where"\ncp "$OUT/typed" "$1"\n').chmod(0o755)
    manage.env |= {"VISUAL": str(manage.folder / "ed"), "OUT": str(manage.folder)}

    assert manage("edit", "TLS_KEY").code == 0
    assert manage.secrets() == {"tls_key": kept}
    where = Path((manage.folder / "where").read_text().strip())
    assert str(where).startswith(("/dev/shm/", "/run/"))
    assert not where.exists()


@provokes("… needs a terminal, and there is none", "… has a quotation mark that is not closed")
def test_an_editor_that_draws_is_not_started_without_a_terminal(manage: Manage, canary: Canary) -> str:
    """vi would wait forever for whoever is not there; one that a script drives has work to do."""
    value = canary()
    manage.write("secrets/db_password", "first")
    manage.write("vim", f'#!/bin/sh\nshift\nprintf %s {value} >"$1"\n').chmod(0o755)
    script = f"{manage.folder / 'vim'} -es"

    ends = [manage("edit", "DB_PASSWORD", env={"VISUAL": editor}) for editor in ("", " ", "/usr/bin/nano -w", "vi '")]
    scripted = manage("edit", "DB_PASSWORD", "--yes", env={"EDITOR": script}, timeout=20)

    assert [end.code for end in ends] == [1] * 4
    assert ["vi needs" in end.stderr for end in ends] == [True, True, False, False]
    assert (scripted.code, manage.secrets()) == (0, {"db_password": value.encode()})
    return "".join(end.stderr for end in ends)


@pytest.mark.parametrize("stop", [signal.SIGHUP, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing_of_an_edited_value(
    stop: signal.Signals, manage: Manage, canary: Canary
) -> None:
    """A terminal that is closed sends SIGHUP, and the value was in a file."""
    manage("set", "A", "--value-file", "-", stdin=canary().encode())
    manage.write("ed", '#!/bin/sh\necho "$1"\nexec sleep 60\n').chmod(0o755)
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "edit", "A"],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "VISUAL": str(manage.folder / "ed")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as run:
        assert run.stdout is not None
        copy = Path(run.stdout.readline().strip())
        assert copy.is_file()
        run.send_signal(stop)
        assert run.wait(20) == 130
    assert not copy.parent.exists()


def test_under_nohup_a_terminal_that_is_closed_ends_nothing(manage: Manage, canary: Canary) -> None:
    new = canary()
    manage("set", "A", "--value-file", "-", stdin=canary().encode())
    manage.write("ed", f'#!/bin/sh\nkill -HUP "$PPID"\nprintf %s {new} >"$1"\n').chmod(0o755)
    done = subprocess.run(
        ["nohup", sys.executable, str(SCRIPT), "edit", "A", "--yes"],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "VISUAL": str(manage.folder / "ed")},
        capture_output=True,
        text=True,
        check=False,
    )
    manage.custody.said += [done.stdout, done.stderr]

    assert done.returncode == 0, done.stderr
    assert manage.secrets() == {"a": new.encode()}


def test_what_is_needed_is_not_removed(manage: Manage, canary: Canary) -> None:
    manage.write("v", canary())
    for key in ("USED", "FREE"):
        manage("set", key, "--value-file", "v")
    manage.write(
        "docker-compose.yml",
        "services: {a: {image: i, secrets: [used]}}\nsecrets: {used: {file: ./secrets/used}}\n",
    )

    refused = manage("remove", "USED", "FREE", "--yes")
    assert refused.code == 1
    assert "USED is used by a" in refused.stderr
    assert set(manage.secrets()) == {"used", "free"}
    planned = manage.json("remove", "FREE", "--dry-run")["secrets"]
    removed = manage.json("remove", "FREE", "--yes")["secrets"]
    assert planned == [{"key": "FREE", "path": str(manage.folder / "secrets/free"), "state": "planned"}]
    assert removed == [{**planned[0], "state": "removed"}]
    assert manage("remove", "USED", "--force", "--yes").code == 0
    assert manage.secrets() == {}


def test_a_slip_of_the_finger_gets_a_hint(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write("v", canary())

    assert "did you mean DB_PASSWORD?" in manage("set", "DB_PASWORD", "--value-file", "v").stderr
    assert "did you mean rotate?" in manage("rotat").stderr


@provokes("there is no folder in memory (tmpfs) to edit in")
def test_without_memory_nothing_is_edited(manage: Manage, custody: Custody, as_root: None) -> str:
    """In a mount namespace where /dev/shm and /run lie on the disk."""
    cover = manage.folder / "cover"
    cover.mkdir()
    script = f'mount --bind {cover} /dev/shm && mount --bind {cover} /run && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, str(SCRIPT), "edit", "TLS_KEY"],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "VISUAL": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert not (manage.folder / "secrets").exists()
    return done.stderr


@provokes(
    "… has no file in …",
    "… is not the name of a variable",
    "… is not in …",
    "--value-file and --generate cannot be used together",
    "--stack works with --swarm",
    "stdout is a terminal, and would show the value",
    "there is no editor …",
    "… ended with …",
    "… left no file that can be read: …",
    "--secrets-dir is empty",
    "stdin holds more than … bytes",
    "the new value of … is empty",
    "the new value of … holds a NUL byte, which no environment can carry",
    "the new value of … is longer than …",
)
def test_what_these_commands_refuse(manage: Manage, canary: Canary) -> str:
    manage.write(".env.schema", SCHEMA)
    manage.write("docker-compose.yml", "services: {a: {image: i, environment: [API_KEY]}}\n")
    for key in ("DB_PASSWORD", "API_KEY"):
        manage.write("v", canary())
        manage("set", key, "--value-file", "v")
    said = [
        manage(*arguments).stderr
        for arguments in (
            ("get", "NONE_SUCH"),
            ("set", "no-name", "--generate"),
            ("set", "DB_PASWORD", "--generate"),
            ("set", "API_KEY", "--generate", "--value-file", "v"),
            ("set", "API_KEY", "--generate", "--stack", "shop"),
            ("remove", "API_KEY", "DB_PASSWORD", "--yes"),
            ("lits",),
            ("set", "API_KEY", "--generate", "--secrets-dir", ""),
        )
    ]
    larger = manage("set", "API_KEY", "--value-file", "-", stdin=b"x" * (MAX_SECRET_BYTES + 1))
    assert larger.code == 1
    said.append(larger.stderr)
    for unfit in (b"\n", b"key\0store", b"x" * 131_071):
        manage.write("unfit", unfit)
        said.append(manage("set", "API_KEY", "--value-file", "unfit").stderr)
    assert "@deliver=file" in said[-1]
    for editor in ("no-such-editor", "false", "sh -c 'kill -TERM $$'", "sh -c 'kill -37 $$'", "rm"):
        manage.env["VISUAL"] = editor
        said.append(manage("edit", "API_KEY").stderr)
    assert "sh ended with SIGTERM" in said[-3]
    assert "sh ended with SIGRTMIN+3" in said[-2]
    shown = terminal(manage, "get", "API_KEY")
    shown.expect(pexpect.EOF)
    return "\n".join([*said, str(shown.before)])


def test_what_makes_a_value_keeps_it_out_of_git(manage: Manage) -> None:
    manage.write(".env.schema", "# @generate\nSESSION_KEY=\n")

    planned = manage("generate", "--dry-run")
    assert ".gitignore would get /secrets/*" in planned.stderr
    assert not (manage.folder / ".gitignore").exists()
    assert manage("generate").code == 0

    assert {"/secrets/*", ".env"} <= set((manage.folder / ".gitignore").read_text().splitlines())
    assert manage("validate").code == 0


@pytest.mark.parametrize("words", ["set SESSION_KEY --generate", "generate", "create-from-env --all"])
def test_what_is_refused_changes_nothing(words: str, manage: Manage) -> None:
    """No value is written through a link, so that git needs no lines either."""
    (manage.folder / "elsewhere").mkdir()
    (manage.folder / "secrets").symlink_to("elsewhere")
    manage.write(".env.schema", "# @generate\nSESSION_KEY=\n")
    manage.write(".env", "API_KEY=a-value-of-some-length\n")
    before = {path: path.stat().st_mtime_ns for path in manage.folder.iterdir()}

    end = manage(*words.split())

    assert (end.code, "secrets is a link or a file" in end.stderr) == (1, True), end
    assert {path: path.stat().st_mtime_ns for path in manage.folder.iterdir()} == before


@provokes(
    "there is no command …",
    "there are more arguments than this command takes",
    "--passphrase-file names a file that does not exist",
)
def test_a_value_that_is_typed_as_an_argument_is_not_repeated(manage: Manage, canary: Canary) -> str:
    """Whatever a value is put in place of: the canary fails the test if it is in any output."""
    manage.write(".env.schema", SCHEMA)
    manage.write("secrets/db_password", canary())
    value = canary()
    pair = f"DB_PASSWORD={value}"
    said = ""
    for arguments in (
        ("set", "DB_PASSWORD", value),
        ("set", pair),
        ("get", pair),
        ("get", value),
        ("remove", "DB_PASSWORD", value),
        ("generate", pair),
        ("generate", value),
        ("rotate", "DB_PASSWORD", value, "--compose"),
        ("lock", pair),
        ("export", "--passphrase", value),
        ("export", "--no-swarm", "--passphrase-file", value, "-o", "backup"),
        ("create-from-env", pair),
        (pair,),
    ):
        end = manage(*arguments)
        assert end.code in (1, 2), (arguments[0], end.stderr)
        said += end.stderr
    return said


def test_mistakes_on_the_command_line_have_the_voice_of_all_errors(manage: Manage) -> None:
    for arguments, error, hint in (
        (("rotat",), "there is no command rotat", "did you mean rotate?"),
        (("creat",), "there is no command creat", "did you mean create-from-env or create-swarm?"),
        (("rm", "KEY"), "there is no command rm", "did you mean remove?"),
        (
            ("completion",),
            "missing argument '{bash|zsh|fish}'",
            "manage-secrets completion --help shows how it is used",
        ),
        (("list", "-f", "no.yml"), "--file: no.yml does not exist", "manage-secrets list --help shows how it is used"),
        (("migrate", "A=b"), "A does not exist", "manage-secrets migrate --help shows"),
        (
            ("list", "KEY"),
            "there are more arguments than this command takes",
            "manage-secrets list --help shows how it is used",
        ),
        (("rotate", "--generat"), "there is no option --generat", "did you mean --generate?"),
        (("set",), "missing argument 'KEY'", "manage-secrets set --help shows how it is used"),
        (("create-from-env", "none.env"), "none.env does not exist", "name a file, or - for stdin"),
    ):
        end = manage(*arguments)

        assert (end.code, end.stdout) == (2, "")
        assert end.stderr.startswith(f"manage-secrets: error: {error}\nmanage-secrets: hint: {hint}")

    for words in ((), ("compose",)):
        end = manage(*words)
        assert (end.code, end.stdout) == (2, "")
        assert end.stderr == manage(*words, "--help").stdout
