"""What a person meets at a terminal: tables that fit, shells that complete, help with examples, reasons that help."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.support.forms import Custody, cannot_run
from tests.support.host import SCRIPT, Canary, Manage, PrivateSwarm

LONG = "POSTGRES_SUPERUSER_PASSWORD_FOR_EVERYTHING"
COLUMNS = 60


def on_terminal(manage: Manage, *arguments: str) -> list[str]:
    """Return the lines that a narrow terminal would show, without colours."""
    terminal = pexpect.spawn(
        sys.executable,
        [str(SCRIPT), *arguments],
        cwd=str(manage.folder),
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **manage.env},
        dimensions=(24, COLUMNS),
        encoding="utf-8",
        timeout=60,
    )
    said = terminal.read()
    terminal.close()
    manage.custody.said.append(said)
    assert terminal.exitstatus in (0, 1), said
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).replace("\r", "").split("\n")


def test_tables_fit_a_narrow_terminal(manage: Manage, canary: Canary) -> None:
    """What has no room as a table becomes a block for each row; a key is never broken."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"
    manage.write(".env.schema", f"# @required @sensitive @rotate=90d @services=backend,frontend,worker\n{LONG}=\n")
    manage.write(".env", f"{LONG}={canary()}\n")
    assert manage("create-from-env").code == 0

    for command, shown in {
        "create-from-env": [LONG, f"  FILE: secrets/{LONG.lower()}", "  STATE: unchanged"],
        "list --no-engine": [LONG, "  CATEGORY: required secret", "  .env: yes"],
        "list --services --no-engine": ["SERVICE   KEYS"],
    }.items():
        lines = [line.rstrip() for line in on_terminal(manage, *command.split())]
        assert not [line for line in lines if len(line) > COLUMNS and len(line.split()) > 1], command
        assert not [line for line in shown if line not in lines], (command, lines)


def test_every_command_shows_examples_and_says_what_its_json_is(manage: Manage) -> None:
    table = manage("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    commands = [line.split()[0] for line in table.splitlines() if line[2:3].isalpha()]
    for command in commands:
        text = manage(command, "--help").stdout
        assert "Examples:" in text, command
        if "--json " in text.partition("Options:")[2]:
            assert "With --json: " in text, command
        assert max(map(len, text.splitlines())) <= 120


BASH = """
eval "$(manage-secrets completion bash)"
complete -p manage-secrets >/dev/null
COMP_WORDS=(manage-secrets $1); COMP_CWORD=1
_manage_secrets_completion manage-secrets "$1" manage-secrets
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
manage-secrets completion fish | source
complete -C "manage-secrets $argv[1]"
"""


@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("fish", FISH)])
def test_a_real_shell_completes_commands(manage: Manage, shell: str, script: str) -> None:
    done = subprocess.run(
        [program(shell), "-c", script, *(["bash"] if shell == "bash" else []), "create-"],
        env={"PATH": path_with_tool(manage), "HOME": str(manage.folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["create-from-env", "create-swarm"], done


def test_zsh_completes_commands(manage: Manage) -> None:
    """It completes only where a person types; so one does."""
    shell = pexpect.spawn(
        program("zsh"),
        ["-f"],
        env={"PATH": path_with_tool(manage), "HOME": str(manage.folder), "TERM": "dumb", "PS1": "ready> "},
        encoding="utf-8",
        timeout=60,
    )
    shell.expect("ready> ")
    shell.sendline('autoload -Uz compinit; compinit -u -D; eval "$(manage-secrets completion zsh)"')
    shell.expect("ready> ")
    shell.send("manage-secrets create-f\t")
    shell.expect("create-from-env")
    shell.close(force=True)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        cannot_run(f"{name} is not installed")
    return str(found)


def path_with_tool(manage: Manage) -> str:
    """Return a PATH where `manage-secrets` is this checkout's."""
    tool = manage.write("bin/manage-secrets", f'#!/bin/sh\nexec {sys.executable} {SCRIPT} "$@"\n')
    tool.chmod(0o755)
    return f"{tool.parent}:{os.environ['PATH']}"


def test_why_no_engine_answers_is_said(manage: Manage, custody: Custody) -> None:
    """Not there, nobody listens, or not for you, which has its own hint."""
    (manage.folder / "not-a-socket").touch()
    for place, why in (
        (f"unix://{manage.folder}/none.sock", "No such file or directory"),
        (f"unix://{manage.folder}/not-a-socket", "Connection refused"),
        ("tcp://127.0.0.1:1", "Connection refused"),
    ):
        end = manage("prune", env={"DOCKER_HOST": place})
        assert end.code == 111
        assert f"no engine answers at {place} ({why})" in end.stderr


@pytest.mark.parametrize(
    ("shut", "command", "hint"),
    [
        ("secrets", "list", "secrets belongs to uid 12345 and has mode 0700: run this as its owner"),
        ("secrets/a", "get A", "secrets/a belongs to uid 12345 and has mode 0700"),
        (".env.schema", "validate", ".env.schema belongs to uid 12345 and has mode 0700"),
        (".", "generate", "the current folder belongs to uid 12345 and has mode 0555"),
    ],
)
def test_whose_a_file_is_that_cannot_be_read_or_written(
    shut: str, command: str, hint: str, manage: Manage, canary: Canary
) -> None:
    """After one run with sudo, say; without capabilities, root has no more rights than others."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        cannot_run("only root can give a file away")
    manage.write(".env.schema", "# @generate\nB=\n")
    manage.write("secrets/a", canary())
    os.chown(manage.folder / shut, 12345, 12345)
    (manage.folder / shut).chmod(0o555 if shut == "." else 0o700)

    end = manage(*command.split(), through=[str(shutil.which("setpriv")), "--bounding-set=-all", "--inh-caps=-all"])

    assert end.code in (1, 111)  # validate has findings
    assert f"hint: {hint}" in end.stderr


def test_a_socket_that_is_for_others_has_its_own_hint(manage: Manage) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        cannot_run("only root can give a socket away")
    folder = Path(manage.write("private/x", "").parent)
    os.chown(folder, 12345, 12345)
    folder.chmod(0o700)
    through = [str(shutil.which("setpriv")), "--bounding-set=-all", "--inh-caps=-all"]

    end = manage("prune", env={"DOCKER_HOST": f"unix://{folder}/docker.sock"}, through=through)

    assert end.code == 111
    assert "Permission denied" in end.stderr
    assert "join the group" in end.stderr


@pytest.mark.engine
def test_keys_stacks_and_services_are_completed_and_a_value_is_set_in_the_swarm(
    swarm: PrivateSwarm, busybox: str, manage: Manage, canary: Canary, custody: Custody
) -> None:
    """What a shell offers comes from the schema, ./secrets and the Swarm; `set --swarm` makes a version or the next."""

    def offered(*words: str) -> list[str]:
        line = " ".join(["manage-secrets", *words])
        env = {"_MANAGE_SECRETS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        return [item.partition(",")[2] for item in manage(env=env).stdout.split()]

    manage.write(".env.schema", "# @sensitive\nDB_PASSWORD=\nDB_HOST=\n")
    for version in ("v1", "v2"):
        value = canary()
        end = manage("set", "DB_PASSWORD", "--swarm", "--stack", "shop", "--value-file", "-", stdin=value.encode())
        assert end.code == 0, end.stderr
        assert f"shop_db_password.{version}" in end.stdout
    assert not [path for path in manage.folder.glob("secrets/*") if not path.name.startswith(".")]
    custody.said.append(swarm.docker("secret", "inspect", "shop_db_password.v2"))
    swarm.docker("service", "create", "--detach", "--quiet", "--replicas", "0", "--name", "shop_web", busybox, "true")

    assert offered("rotate", "DB_") == ["DB_PASSWORD", "DB_HOST"]
    assert offered("rotate", "DB_PASSWORD", "DB_") == ["DB_HOST"]
    assert offered("rotate", "--stack", "s") == ["shop"]
    assert offered("rotate", "DB_HOST", "--leave", "shop") == ["shop_web"]
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"
    assert offered("rotate", "--stack", "s") == []
