"""`manage-secrets` by itself, `create-from-env` and `generate`."""

import base64
import hashlib
import hmac
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import manage_secrets
import pytest

from tests.support.forms import Custody, End, cannot_run
from tests.support.host import SCRIPT, Canary, Manage
from tests.support.provoked import provokes

SCHEMA = """\
# @required @sensitive @type=string(minLength=8)
DB_PASSWORD=

LOG_LEVEL=info

# @required @type=bytes(32, hex) @generate
ENCRYPTION_KEY=

# @sensitive @type=string(startsWith="sk_", maxLength=20) @generate
API_KEY=

# @type=jwt(signedBy=JWT_SECRET, role=anon)
ANON_KEY=

# @sensitive @generate
JWT_SECRET=
"""


@pytest.mark.parametrize("command", ["", "create-from-env", "create-swarm", "list", "validate", "diff", "prune"])
def test_the_start_is_quick_and_loads_nothing_heavy(manage: Manage, command: str) -> None:
    """`--help` loads neither the Docker SDK nor rich nor YAML; that is what keeps it below 150 ms."""
    script = f"import sys, runpy; sys.argv[1:] = {[*command.split(), '--help']}\n"
    script += f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    script += "finally: print(sorted({'docker', 'rich', 'ruamel', 'dotenv', 'requests', 'psutil'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("[]\n")
    assert "Usage: manage-secrets" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands(manage: Manage, shell: str) -> None:
    script = manage(env={"_MANAGE_SECRETS_COMPLETE": f"{shell}_source"}).stdout
    words = {"COMP_WORDS": "manage-secrets create", "COMP_CWORD": "create" if shell == "fish" else "1"}

    assert "manage-secrets" in script
    offered = manage(env={**words, "_MANAGE_SECRETS_COMPLETE": f"{shell}_complete"}).stdout
    assert "create-from-env" in offered
    assert "create-swarm" in offered


def test_every_command_explains_itself(manage: Manage) -> None:
    table = manage("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    commands = [line.split()[0] for line in table.splitlines() if line[2:3].isalpha()]

    assert "create-from-env" in commands
    for command in commands:
        end = manage(command, "--help")
        assert end.code == 0, command
        assert "Usage: manage-secrets" in end.stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["create-from-env", "--nonsense"], ["create-from-env", "missing.env"]]
)
def test_wrong_usage_ends_with_2(manage: Manage, arguments: list[str]) -> None:
    assert manage(*arguments).code == 2


def test_windows_starts_no_program_of_the_current_folder() -> None:
    """It looks there before PATH, unless this is set; a stranger's checkout could have a git.exe."""
    assert manage_secrets.without_current_folder("nt") == {"NODEFAULTCURRENTDIRECTORYINEXEPATH": "1"}
    assert manage_secrets.without_current_folder("posix") == {}


def test_one_file_a_key(manage: Manage, canary: Canary) -> None:
    password, key = canary(), canary()
    manage.write(".env", f"DB_PASSWORD={password}\nEMPTY=\nBARE\napiKey='{key}'\n_EDGE=e\n")

    document = manage.json("create-from-env")

    assert manage.secrets() == {"db_password": password.encode(), "empty": b"", "apiKey": key.encode(), "edge": b"e"}
    assert [(item["key"], Path(item["file"]).name, item["state"]) for item in document["secrets"]] == [
        ("DB_PASSWORD", "db_password", "created"),
        ("EMPTY", "empty", "created"),
        ("apiKey", "apiKey", "created"),
        ("_EDGE", "edge", "created"),
    ]
    # An empty file is not a variable to the shim, and nothing takes a bare name for one.
    assert [warning["line"] for warning in document["warnings"]] == [2, 3]


def test_run_again_it_changes_nothing_and_keeps_what_differs(manage: Manage, canary: Canary) -> None:
    old, new = canary(), canary()
    manage.write(".env", f"A={old}\nB=same\n")
    manage.json("create-from-env")
    manage.write(".env", f"A={new}\nB=same\nC=\n")

    kept = manage.json("create-from-env")
    assert [item["state"] for item in kept["secrets"]] == ["kept", "unchanged", "created"]
    assert manage.secrets()["a"] == old.encode()

    dry = manage.json("create-from-env", "--force", "--dry-run")
    assert [item["state"] for item in dry["secrets"]] == ["replaced", "unchanged", "unchanged"]
    assert manage.secrets()["a"] == old.encode()

    manage.json("create-from-env", "--force", "--yes")
    assert manage.secrets()["a"] == new.encode()


def test_a_dry_run_makes_nothing(manage: Manage, canary: Canary) -> None:
    manage.write(".env", f"A={canary()}\n")

    assert manage.json("create-from-env", "--dry-run")["secrets"][0]["state"] == "created"
    assert [path.name for path in manage.folder.iterdir()] == [".env"]


def test_a_syntax_error_changes_nothing_and_names_the_line(manage: Manage, canary: Canary) -> None:
    manage.write(".env", f"A={canary()}\nB='{canary()}\n")

    end = manage("create-from-env")

    assert end.code == 1
    assert ".env:2:" in end.stderr
    assert not (manage.folder / "secrets").exists()


def test_only_what_the_schema_calls_sensitive_is_taken(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write(".env", f"DB_PASSWORD={canary()}\nLOG_LEVEL=debug\nOTHER=x\n")

    end = manage("create-from-env")
    assert list(manage.secrets()) == ["db_password"]
    assert "OTHER" in end.stderr
    assert "LOG_LEVEL" not in end.stderr

    manage("create-from-env", "--all")
    assert list(manage.secrets()) == ["db_password", "log_level", "other"]


def test_missing_values_are_made_as_the_schema_says(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write(".env", f"DB_PASSWORD={canary()}\n")

    manage.json("create-from-env", "--generate-missing")

    made = manage.secrets()
    assert list(made) == ["anon_key", "api_key", "db_password", "encryption_key", "jwt_secret"]
    assert len(bytes.fromhex(made["encryption_key"].decode())) == 32
    assert made["api_key"].startswith(b"sk_")
    assert len(made["api_key"]) == 20
    signed, _, signature = made["anon_key"].rpartition(b".")
    expected = base64.urlsafe_b64encode(hmac.digest(made["jwt_secret"], signed, hashlib.sha256)).rstrip(b"=")
    assert signature == expected
    manage.custody.canaries += [value.decode() for value in made.values()]

    manage.json("create-from-env", "--generate-missing")
    assert manage.secrets() == made


def test_a_copy_of_the_schema_is_a_fine_start(manage: Manage) -> None:
    """What is empty there and generated or composed elsewhere makes no empty file, which would win over that."""
    composed = '# @required @composed="postgres://app:${DB_PASSWORD|url}@db/app"\nDB_URL=\n'
    manage.write(".env.schema", SCHEMA + "\n" + composed)
    manage.write(".env", (manage.folder / ".env.schema").read_bytes())

    document = manage.json("create-from-env", "--generate-missing")

    made = manage.secrets()
    assert [item["key"] for item in document["secrets"]] == [
        *("DB_PASSWORD", "ENCRYPTION_KEY", "API_KEY", "JWT_SECRET", "ANON_KEY"),
    ]
    assert made["db_password"] == b""
    assert all(value for name, value in made.items() if name != "db_password")
    manage.json("create-from-env", "--generate-missing", "--force")
    assert manage.secrets() == made


def test_generate_replaces_only_when_told_to(manage: Manage) -> None:
    manage.write(".env.schema", SCHEMA)
    manage("generate")
    first = manage.secrets()

    assert manage("generate", "JWT_SECRET").code == 0
    assert manage.secrets() == first
    manage("generate", "JWT_SECRET", "--force", "--yes")
    assert {name for name, value in manage.secrets().items() if value != first[name]} == {"jwt_secret"}
    assert manage("generate", "DB_PASSWORD").code == 0
    assert manage("generate", "NOBODY").code == 1


def test_a_value_that_depends_on_the_use_is_refused_until_the_use_is_said(manage: Manage) -> None:
    manage.write(".env", "A=x$B\nB=1\n")

    end = manage("create-from-env")
    assert end.code == 1
    assert "A (line 1)" in end.stderr
    manage.json("create-from-env", "--use", "env-file")
    assert manage.secrets()["a"] == b"x1"
    manage.json("create-from-env", "--use", "project", "--force", "--yes")
    assert manage.secrets()["a"] == b"x"


def test_references_see_the_shell_first(manage: Manage) -> None:
    manage.write(".env", "B=file\nA=$B\n")
    manage.json("create-from-env", env={"B": "shell"})

    assert manage.secrets() == {"a": b"shell", "b": b"file"}


def test_stdin_can_be_the_file(manage: Manage, canary: Canary) -> None:
    value = canary()
    assert manage("create-from-env", "-", stdin=f"A={value}\n".encode()).code == 0
    assert manage.secrets() == {"a": value.encode()}


def test_git_never_shows_a_secret(manage: Manage, canary: Canary) -> None:
    git = ["git", "-c", "init.defaultBranch=main"]
    try:
        subprocess.run([*git, "init", "-q"], cwd=manage.folder, check=True)
    except FileNotFoundError:
        cannot_run("git is not installed")
    manage.write(".gitignore", "node_modules\r\n")
    manage.write(".env", f"A={canary()}\n")
    manage("create-from-env")
    manage("create-from-env")

    shown = subprocess.run([*git, "status", "--porcelain", "-uall"], cwd=manage.folder, capture_output=True, check=True)

    assert shown.stdout == b"?? .gitignore\n"
    assert manage.folder.joinpath(".gitignore").read_bytes().startswith(b"node_modules\r\n/secrets/*\r\n")
    assert manage.folder.joinpath(".gitignore").read_bytes().count(b".env") == 1


def test_killed_at_every_change_nothing_is_half_and_the_next_run_completes(manage: Manage, canary: Canary) -> None:
    old, new, other = canary(), canary(), canary()
    manage.write(".gitignore", "x\n")
    for dies_at in range(1, 200):
        manage.write(".env", f"A={old}\n")
        assert manage("create-from-env", "--force", "--yes").code == 0
        manage.write(".env", f"A={new}\nB={other}\n")
        manage.write(".gitignore", "x\n")
        end = manage("create-from-env", "--force", "--yes", dies_at=dies_at)
        if end.code == 0:
            break
        assert end.code == -9
        there = {name: value for name, value in manage.secrets().items() if not name.startswith(".")}
        assert there["a"] in (old.encode(), new.encode())
        assert there.get("b") in (None, other.encode())
        assert manage.folder.joinpath(".gitignore").read_text().startswith("x\n")
        assert manage("create-from-env", "--force", "--yes").code == 0
        assert manage.secrets() == {"a": new.encode(), "b": other.encode()}
        (manage.folder / "secrets" / "b").unlink()
    else:
        pytest.fail("the run never came to its end")
    assert dies_at > 15, "the loop killed it too rarely to mean anything"
    assert not (manage.folder / ".gitignore.new").exists()


@pytest.mark.parametrize("mode", [None, 0o755, 0o777])
def test_nothing_is_ever_wider_than_private(manage: Manage, canary: Canary, mode: int | None) -> None:
    manage.write(".env", f"A={canary()}\nB={canary()}\n")
    if mode is not None:
        (manage.folder / "secrets").mkdir()
        (manage.folder / "secrets").chmod(mode)

    os.umask(0)
    try:
        end = manage("create-from-env", dies_at=0) if mode is None else manage("create-from-env")
    finally:
        os.umask(0o022)

    assert end.code == 0, end.stderr
    assert (manage.folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (manage.folder / "secrets").iterdir()} == {0o600}


@pytest.mark.parametrize("link", ["secrets", "secrets/a"])
def test_links_are_not_followed(manage: Manage, canary: Canary, link: str) -> None:
    manage.write(".env", f"A={canary()}\n")
    elsewhere = manage.write("elsewhere/a", b"untouched")
    if link == "secrets":
        (manage.folder / link).symlink_to("elsewhere")
    else:
        (manage.folder / "secrets").mkdir()
        (manage.folder / link).symlink_to(elsewhere)

    end = manage("create-from-env", "--force", "--yes")

    assert end.code == 1
    assert "link" in end.stderr
    assert elsewhere.read_bytes() == b"untouched"


def test_a_file_system_that_refuses_ends_with_111(manage: Manage, canary: Canary) -> None:
    manage.write(".env", f"A={canary()}\n")
    full = Path("/dev/full")
    if not full.exists() or os.geteuid() != 0:
        cannot_run("a read-only file system can be mounted by root only")
    (manage.folder / "secrets").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", manage.folder / "secrets"],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        cannot_run("mount is not permitted here")
    try:
        manage.write(".env", f"A={canary()}\nB={canary()}\nC={canary()}\n")
        end = manage("create-from-env")
    finally:
        subprocess.run(["umount", manage.folder / "secrets"], check=True)
    assert end.code == 111
    assert "No space left on device" in end.stderr


@provokes("cannot write to stdout: …", "the current folder no longer exists")
def test_streams_that_are_closed_or_full_and_a_folder_that_is_gone(manage: Manage, canary: Canary) -> str:
    """What is read there is empty, data that cannot be given is an error, and what cannot be said changes nothing."""
    manage.write(".env", f"A={canary()}\n")
    assert manage("create-from-env", "--all").code == 0

    def run(redirections: str, *arguments: str) -> End:
        return manage(*arguments, through=["sh", "-c", f'exec "$@" {redirections}', "sh"])

    full, closed = (run(where, "get", "A") for where in (">/dev/full", ">&-"))
    assert (full.code, closed.code) == (111, 111)
    assert "error: cannot write to stdout: No space left on device" in full.stderr
    assert "error: cannot write to stdout: Bad file descriptor" in closed.stderr
    assert "hint: add --generate" in run("<&-", "set", "B").stderr
    assert [run(where, "remove", "C").code for where in ("2>/dev/full", "2>&-")] == [1, 1]
    gone = manage("list", through=["sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"])
    return full.stderr + gone.stderr


def test_a_question_is_asked_on_a_terminal(manage: Manage, canary: Canary, custody: Custody) -> None:
    old, new = canary(), canary()
    manage.write(".env", f"A={old}\n")
    manage("create-from-env")
    manage.write(".env", f"A={new}\n")

    for answer, expected, code in ((b"n\n", old, 1), (b"y\n", new, 0)):
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, SCRIPT, "create-from-env", "--force"],
            stdin=child,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=manage.folder,
            env={"PATH": os.environ["PATH"]},
        )
        os.write(parent, answer)
        said, _ = process.communicate(timeout=30)
        os.close(child)
        os.close(parent)
        custody.said.append(said.decode())
        assert b"replace 1 value: a?" in said
        assert process.returncode == code
        assert manage.secrets()["a"] == expected.encode()


def test_the_other_dialects_are_read(manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write(".env", f"A='{value} # x'\n")
    manage("create-from-env", "--dialect", "raw")
    assert manage.secrets()["a"] == f"'{value} # x'".encode()
    manage("create-from-env", "--dialect", "python-dotenv", "--force")
    assert manage.secrets()["a"] == f"{value} # x".encode()


def test_a_mistake_in_the_schema_is_refused(manage: Manage) -> None:
    manage.write(".env.schema", "# @type=nonsense\nA=\n")
    manage.write(".env", "A=1\n")

    end = manage("create-from-env")

    assert end.code == 1
    assert "nonsense" in end.stderr


def test_json_is_all_there_is_on_stdout(manage: Manage) -> None:
    manage.write(".env", "A=$NOPE\n")

    json.loads(manage("create-from-env", "--json").stdout)
