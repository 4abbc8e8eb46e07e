"""`@from=command(...)`: what a store's own program prints becomes a secret, when somebody agreed to run it."""

import os
import select
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from shim_host.errors import Failed
from shim_host.fetch import programs
from shim_host.fetch.wanted import Ask

from tests.support.forms import Custody, cannot_run
from tests.support.host import Canary, Manage, PrivateSwarm
from tests.support.provoked import provokes


def schema(manage: Manage, **commands: str) -> None:
    lines = [f"# @required @from=command({command})\n{key}=\n" for key, command in commands.items()]
    manage.write(".env.schema", "\n".join(lines))


def test_nothing_runs_before_somebody_agrees(manage: Manage, canary: Canary) -> None:
    """A stranger's checkout names programs: they are shown, and without a yes none of them runs."""
    value = canary()
    manage.write("value", f"{value}\n")
    schema(manage, DB_PASSWORD="sh -c 'touch ran; cat value'")

    for end in (
        manage("create-from-env"),
        manage("create-from-env", "--dry-run", "--yes"),
        manage("validate"),
        manage("list"),
        manage("generate"),
        manage("rotate", "DB_PASSWORD", "--compose", "--how", "none"),
    ):
        assert not (manage.folder / "ran").exists(), end.stderr
    refused = manage("create-from-env")
    assert refused.code == 1
    assert "DB_PASSWORD: to be run: sh -c 'touch ran; cat value'" in refused.stderr
    assert "add --yes" in refused.stderr

    end = manage("create-from-env", "--yes")

    assert end.code == 0, end.stderr
    assert manage.secrets() == {"db_password": value.encode()}
    assert stat.S_IMODE((manage.folder / "secrets/db_password").stat().st_mode) == 0o600
    assert "/secrets/*" in (manage.folder / ".gitignore").read_text()


def test_what_the_env_file_sets_wins_and_nothing_is_asked(manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write(".env", f"DB_PASSWORD={value}\nAPI_KEY=\n")
    schema(manage, DB_PASSWORD="touch ran", API_KEY="printf %s 0123456789abcdef")

    assert manage("create-from-env", "--yes").code == 0

    assert manage.secrets() == {"api_key": b"0123456789abcdef", "db_password": value.encode()}
    assert not (manage.folder / "ran").exists()


def test_the_bytes_are_those_that_the_program_prints(manage: Manage) -> None:
    """One line loses its line end; several lines, and a binary value, stay as they are."""
    manage.write("pem", "-----BEGIN X-----\nYWJj\n-----END X-----\n")
    manage.write("raw", b"\x01\x02\xff\n")
    manage.write(
        ".env.schema",
        "# @from=command(printf 'one line\\r\\n')\nA=\n\n# @from=command(cat pem)\nB=\n\n"
        "# @type=bytes(4, raw) @from=command(cat raw) @deliver=file\nC=\n\n"
        '# @from=command("sh -c \'printf \\"%s\\" \\"a  b\\"\'")\nD=\n',
    )

    end = manage("create-from-env", "--yes")

    assert end.code == 0, end.stderr
    assert manage.secrets() == {
        "a": b"one line",
        "b": b"-----BEGIN X-----\nYWJj\n-----END X-----\n",
        "c": b"\x01\x02\xff\n",
        "d": b"a  b",
    }


@provokes(
    "no value could be fetched for …",
    "the … … belongs to another user, and names programs to run",
    "everyone can write to the … …, which names programs to run",
)
def test_all_that_failed_is_said_at_once_and_masked(manage: Manage, canary: Canary) -> str:
    value, token = canary(), canary()
    manage.write("value", value)
    schema(
        manage,
        GOOD="cat value",
        TOLD="sh -c 'echo the value is $(cat value) and $(base64 < value), token=$STORE_TOKEN >&2; exit 3'",
        LACKING="no-such-program read x",
        SILENT="true",
        NULL="echo null",
        ENDLESS="yes",
        KILLED="sh -c 'kill -9 $$'",
        HURT="sh -c 'kill -40 $$'",
    )

    end = manage("create-from-env", "--yes", env={"STORE_TOKEN": token})

    assert end.code == 111
    for words in (
        "TOLD: sh ended with 3: the value is *** and ***",
        "LACKING: no-such-program is not installed, or is not on PATH",
        "SILENT: true prints nothing",
        "NULL: echo prints null, which is not a value",
        "ENDLESS: yes prints more than the ",
        "KILLED: sh was ended by SIGKILL",
        "HURT: sh was ended by SIGRTMIN+6",
    ):
        assert words in end.stderr, end.stderr
    assert not (manage.folder / "secrets").exists()
    said = end.stderr

    schema(manage, OPEN='"cat \'value"')
    assert "OPEN: @from=command(...) is not a command line" in manage("create-from-env", "--yes").stderr
    schema(manage, GOOD="cat value")
    (manage.folder / ".env.schema").chmod(0o666)
    said += manage("create-from-env", "--yes").stderr
    (manage.folder / ".env.schema").chmod(0o644)
    if os.geteuid() != 0:
        cannot_run("only root gives a file away")
    os.chown(manage.folder / ".env.schema", 12345, -1)
    said += manage("create-from-env", "--yes").stderr
    assert not (manage.folder / "secrets").exists()
    return said


def test_the_programs_run_beside_each_other(manage: Manage) -> None:
    """Each waits for the other, so that one after the other would never end."""
    os.mkfifo(manage.folder / "a")
    os.mkfifo(manage.folder / "b")
    schema(manage, FIRST="sh -c 'echo first-value > a; cat b'", SECOND="sh -c 'cat a; echo second-value > b'")

    end = manage("create-from-env", "--yes", timeout=30)

    assert end.code == 0, end.stderr
    assert manage.secrets() == {"first": b"second-value", "second": b"first-value"}


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/child; wait"
    began = time.monotonic()

    with pytest.raises(Failed) as failed:
        programs.fetch([Ask("A", ("sh", "-c", script), False)], dict(os.environ), seconds=1)

    assert failed.value.hints == ("A: sh takes longer than 1 s",)
    assert time.monotonic() - began < 30
    with suppress(ProcessLookupError):  # reaped already
        child = os.pidfd_open(int((tmp_path / "child").read_text()))
        assert select.select([child], [], [], 30)[0]  # it ends, on a busy machine a moment after its signal
        os.close(child)


def test_a_helper_that_stays_keeps_nobody_waiting() -> None:
    """A program may leave an agent behind that holds its end of the pipe."""
    script = "import os, sys, time\nprint('of-a-store', flush=True)\nif os.fork() == 0:\n os.setsid()\n time.sleep(20)"
    began = time.monotonic()

    found = programs.fetch([Ask("A", (sys.executable, "-c", script), False)], dict(os.environ))

    assert found["A"].reveal() == b"of-a-store"
    assert time.monotonic() - began < 15


def test_a_value_that_the_schema_does_not_take_is_not_written(manage: Manage) -> None:
    manage.write(".env.schema", "# @sensitive @type=string(minLength=20) @from=command(echo too-short)\nA=\n")

    end = manage("create-from-env", "--yes")

    assert end.code == 1
    assert "A " in end.stderr
    assert "too-short" not in end.stderr.replace("echo too-short", "")
    assert not (manage.folder / "secrets").exists()


def test_a_rotation_takes_what_the_program_prints_now(manage: Manage, canary: Canary) -> None:
    old, new = canary(), canary()
    manage.write("value", old)
    schema(manage, DB_PASSWORD="cat value")
    manage("create-from-env", "--yes")
    same = manage("rotate", "DB_PASSWORD", "--compose", "--how", "none", "--yes")
    assert "DB_PASSWORD has this value already" in same.stderr
    manage.write("value", new)
    planned = manage("rotate", "DB_PASSWORD", "--compose", "--how", "none", "--dry-run")
    assert (planned.code, manage.secrets()["db_password"]) == (0, old.encode()), planned.stderr

    end = manage("rotate", "DB_PASSWORD", "--compose", "--how", "none", "--yes")

    assert end.code == 0, end.stderr
    assert manage.secrets()["db_password"] == new.encode()


@pytest.mark.engine
def test_a_swarm_gets_the_values_without_a_file(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, custody: Custody
) -> None:
    """Made from the store; made again, nothing changes; a value that changed there is rotated to."""
    manage.write("value", canary())
    schema(manage, DB_PASSWORD="cat value", API_KEY="cat value")

    assert manage("create-swarm").code == 1
    assert manage("create-swarm", "--dry-run").code == 0
    assert swarm.docker("secret", "ls", "-q") == ""
    made = manage.json("create-swarm", "--yes")
    assert [item["state"] for item in made["secrets"]] == ["created", "created"]
    again = manage.json("create-swarm", "--yes")
    assert [item["state"] for item in again["secrets"]] == ["unchanged", "unchanged"]

    manage.write("value", canary())
    refused = manage("create-swarm", "--yes")
    assert refused.code == 1
    assert "manage-secrets rotate DB_PASSWORD API_KEY moves the services to it" in refused.stderr
    rotated = manage.json("rotate", "DB_PASSWORD", "API_KEY", "--yes")
    assert {item["name"] for item in rotated["keys"]} == {"db_password.v2", "api_key.v2"}
    assert (
        not [name for name in os.listdir(manage.folder / "secrets") if not name.startswith(".")]
        if (manage.folder / "secrets").exists()
        else True
    )
    custody.said.append(swarm.docker("secret", "inspect", "db_password.v2"))


def test_no_container_runs_what_the_schema_names(tmp_path: Path) -> None:
    """The shim takes the value from where it always does, and runs nothing; without one it says who would."""
    (tmp_path / ".env.schema").write_text('# @required @from=command("touch ran")\nDB_PASSWORD=\n')
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "SHIM_SCHEMA": ".env.schema"}

    def shim(**more: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "shim", "--", "true"]
        return subprocess.run(
            command, cwd=tmp_path, env={**environ, **more}, capture_output=True, text=True, check=False
        )

    assert shim(DB_PASSWORD="from-the-engine").returncode == 0
    missing = shim()

    assert missing.returncode == 100
    assert "its @from=command is run on the host" in missing.stderr
    assert not (tmp_path / "ran").exists()
