"""What a terminal of 50, 80 or 160 columns shows, and a pipe: no line too long, no word broken, nothing lost."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.support.forms import cannot_run
from tests.support.host import ROOT, SCRIPT, Canary, Manage

WIDTHS = (50, 80, 160)
KEYS = ("POSTGRES_SUPERUSER_PASSWORD_OF_THE_SHOP", "API_KEY")
COMMANDS = {
    "list": "list",
    "services": "list --services",
    "diff": "diff --all --no-engine",
    "validate": "validate",
    "audit": "audit --no-engine",
    "generate": "generate --dry-run",
    "refused": "import not-there.age",
}


@pytest.fixture
def project(manage: Manage, canary: Canary) -> Manage:
    """Return the tool in a project with something to show for every command."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"
    services = "@services=backend,frontend,worker,reports,mailer"
    manage.write(
        ".env.schema",
        "".join(f"# @required @sensitive @rotate=90d @generate {services}\n{key}=\n" for key in (*KEYS, "MISSING")),
    )
    manage.write(".env", f"{KEYS[0]}={canary()}\nLOG_LEVEL=info\n")
    for key in KEYS:
        manage.write(f"secrets/{key.lower()}", canary()).chmod(0o644)
    names = ("backend", "frontend", "worker", "reports", "mailer", "another-service-with-a-long-name")
    secrets = ", ".join(key.lower() for key in KEYS)
    body = "".join(f"  {name}:\n    image: app\n    secrets: [{secrets}]\n" for name in names)
    files = "".join(f"  {key.lower()}:\n    file: ./secrets/{key.lower()}\n" for key in KEYS)
    manage.write(
        "docker-compose.yml",
        f"services:\n{body}  plain:\n    image: app\n    environment: [{KEYS[0]}]\nsecrets:\n{files}",
    )
    return manage


@pytest.fixture
def on_terminal(project: Manage) -> Callable[..., str]:
    """Return a function that gives what a terminal of a width shows of a command, without colours."""

    def show(command: str, columns: int) -> str:
        terminal = pexpect.spawn(
            sys.executable,
            [str(SCRIPT), *command.split()],
            cwd=str(project.folder),
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **project.env},
            dimensions=(50, columns),
            encoding="utf-8",
            timeout=60,
        )
        said = terminal.read()
        terminal.close()
        project.custody.said.append(said)
        return said

    return show


def plain(said: str) -> str:
    """Return *said* without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).replace("\r", "")


def words(text: str) -> set[str]:
    return set(re.sub(r"[─…]+|(?<=\w):(?=\s)", " ", text).split())


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_word_is_broken_and_no_line_is_too_long(
    project: Manage, on_terminal: Callable[..., str], command: str
) -> None:
    """What is piped has each message whole on a line; a terminal has the same words, each on one line."""
    piped = project(*command.split())
    known = words(piped.stdout + piped.stderr)
    if command.startswith("audit"):  # places, which a terminal has room for
        known |= words(project(*command.split(), "--json").stdout.replace('"', " ").replace(",\n", "\n"))

    for columns in WIDTHS:
        shown = plain(on_terminal(command, columns))

        long = [line for line in shown.split("\n") if len(line) > columns and len(line.split()) > 1]
        assert not long, columns
        assert sorted(words(shown) - known) == [], columns
        for key in KEYS:
            assert (key in shown) == (key in piped.stdout + piped.stderr), columns


def test_continuation_lines_hang_and_levels_have_colours(on_terminal: Callable[..., str]) -> None:
    refused = plain(on_terminal("set not-a-name", 50)).split("\n")
    doctor = plain(on_terminal("doctor", 80)).split("\n")

    assert [line for line in refused[1:] if line.startswith("    ")], refused
    assert not [line for line in doctor if len(line) > 80 and len(line.split()) > 1]
    audit = on_terminal("audit --no-engine", 50)
    assert "\x1b[1;31merror" in audit
    assert "\x1b[33mwarning" in audit


def test_lock_and_unlock_show_how_far_they_are(
    project: Manage, on_terminal: Callable[..., str], canary: Canary
) -> None:
    """At a terminal, many files have a bar with the count; a pipe has none."""
    for number in range(28):
        project.write(f"secrets/key_{number}", canary())
    if shutil.which("age-keygen") is None:
        cannot_run("age is not installed")
    made = subprocess.run(
        ["age-keygen", "-o", "age.key"], cwd=project.folder, capture_output=True, text=True, check=True
    )
    recipient = made.stderr.split()[-1]

    assert "encrypting" not in project("lock", "--dry-run", "--recipient", recipient).stderr
    locked = plain(on_terminal(f"lock --yes --recipient {recipient}", 80))
    assert re.search(r"encrypting .*30/30", locked), locked
    shutil.rmtree(project.folder / "secrets")
    unlocked = plain(on_terminal("unlock --identity age.key", 80))
    assert re.search(r"decrypting .*30/30", unlocked), unlocked


def test_what_is_printed_beside_a_bar_leaves_nothing_of_it(tmp_path: Path) -> None:
    """Messages appear above the bar, and so does data, or it goes where stdout goes; the bar disappears."""
    script = """
import sys
from shim_host import output
with output.progress("moving", 3, least=2) as advance:
    for number in range(3):
        output.warn(f"service {number} has no health check", "add one")
        output.give_line(f"data {number}")
        advance()
"""
    program = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"
    env = {
        "PATH": os.environ["PATH"],
        "TERM": "xterm-256color",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "scripts"))),
    }

    def lines(command: str) -> list[str]:
        shown = pexpect.run(f"sh -c {shlex.quote(command)}", env=env, cwd=str(tmp_path), timeout=60, encoding="utf-8")
        assert isinstance(shown, str)
        return on_screen(shown)

    messages = [
        [f"manage-secrets: warning: service {number} has no health check", "manage-secrets: hint: add one"]
        for number in range(3)
    ]
    assert lines(program) == [line for number, both in enumerate(messages) for line in (*both, f"data {number}")]
    assert lines(f"{program} > data") == [line for both in messages for line in both]
    assert (tmp_path / "data").read_text() == "data 0\ndata 1\ndata 2\n"


def test_the_log_of_a_job_shows_that_long_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal there is a line now and then, and none where all of it is done soon."""
    from shim_host import output

    for seconds, lines in ((0, ["manage-secrets: moving: 1 of 2 done"]), (30, [])):
        monkeypatch.setattr(output, "_QUIET_SECONDS", seconds)
        assert output.each("moving", [1, 2], lambda number: number) == [1, 2]
        assert capsys.readouterr().err.splitlines() == lines


def on_screen(shown: str) -> list[str]:
    """Return the lines that a terminal shows in the end, for what rich sends: line ends, CR, cursor up, erase line."""
    screen = [""]
    row = 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if part == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            screen[row] = ""
        elif not part.startswith(("\x1b", "\r")):
            screen[row] += part
    return [line for line in screen if line]


def test_help_breaks_no_name_at_a_hyphen(project: Manage) -> None:
    project.env["COLUMNS"] = "50"
    lines = project("migrate", "--help").stdout.splitlines()

    assert not [line for line in lines if line.endswith("-")]
    assert [line for line in lines if line.strip().startswith("docker-secrets-shim]")]


def test_many_errors_are_errors_and_counted(project: Manage, canary: Canary) -> None:
    """Further errors are not hints; of many, a message has the first and a count, --verbose and --json have all."""
    keys = [f"KEY_{number:02}" for number in range(30)]
    project.write(".env.schema", "".join(f"{key}=\n" for key in keys))
    for key in keys:
        project.write(f"secrets.age/{key.lower()}.age", "no age file")
    project.write("id", "AGE-SECRET-KEY-1" + "Q" * 58)
    short = project("unlock", "-i", "id")
    whole = project("unlock", "-i", "id", "--verbose")
    document = json.loads(project("unlock", "-i", "id", "--json").stdout)["error"]

    def errors(stderr: str) -> list[str]:
        return [line for line in stderr.splitlines() if "error: " in line]

    assert len(errors(short.stderr)) == 13
    assert errors(short.stderr)[-1] == "manage-secrets: error: 18 more errors like these; --verbose lists them"
    assert short.stderr.splitlines()[-1] == "manage-secrets: hint: nothing was changed"
    assert len(errors(whole.stderr)) == 1 + len(document["others"]) == 30

    project.write(".env", "".join(f"{key}={canary()}\n" for key in keys))
    project("create-from-env", ".env", "--all")
    project.write(".env", "".join(f"{key}={canary()}\n" for key in keys))
    kept = project("create-from-env", ".env", "--all")
    assert "KEY_11 and 18 more (--verbose lists them)" in kept.stderr
    assert "KEY_29" in project("create-from-env", ".env", "--all", "--verbose").stderr


def test_all_mistakes_of_a_schema_are_errors(project: Manage) -> None:
    """Each mistake has its own hint below it."""
    project.write(".env.schema", "# @type=intger\nA=\n# @requird\nB=\n# @type=prt\nC=\n")
    said = project("validate").stderr.splitlines()

    assert [line.split(": ")[1] for line in said] == 3 * ["error", "hint"], said


def test_a_piped_audit_has_a_finding_per_line(project: Manage) -> None:
    end = project("audit", "--no-engine")
    findings = [line for line in end.stdout.splitlines() if re.match(r"(error|warning|note) ", line)]

    assert len(findings) == sum(map(int, re.findall(r"(\d+) (?:error|warning|note)", end.stderr)))
    assert all(" -> " in line and "   " not in line.split(None, 1)[1] for line in findings)


def test_what_a_place_lacks_counts_as_a_difference(project: Manage) -> None:
    """A row per key and place."""
    end = project("diff", "--no-engine")
    rows = [line.split() for line in end.stdout.splitlines()]

    assert rows[0] == ["KEY", "PLACE", "FINGERPRINT", "STATE"]
    assert ["API_KEY", ".env", "-", "missing"] in rows
    assert [row[3:] for row in rows if row[:2] == ["API_KEY", "secrets"]] == [["only", "here"]]
    assert "2 of 2 keys differ" in end.stderr
    assert end.code == 1


def test_a_rotation_gives_each_warning_once_with_its_services() -> None:
    """Several services with one trouble are one warning; what is about one alone names it in the hint."""
    from shim_host.rotate.preflight import Obstacle, grouped

    found = [
        Obstacle(False, "api", "has no health check", "add one"),
        Obstacle(False, "web", "has no health check", "add one"),
        Obstacle(False, "web", "is being updated right now", "wait for it: docker service ps web"),
        Obstacle(False, "job", "is being updated right now", "wait for it: docker service ps job"),
        Obstacle(False, "db", "is a job, and would run again", "docker service rm db"),
        Obstacle(False, "api", "stops before its next task starts (stop-first)", "start-first avoids it"),
        Obstacle(False, "db", "stops before its next task starts (stop-first)", "start-first avoids it"),
        Obstacle(False, "api", "is not up (no node): it gets the version, but is not waited for", "see why"),
        Obstacle(False, "db", "is not up (no node): it gets the version, but is not waited for", "see why"),
        Obstacle(False, "", "2 of 3 managers can be reached: no quorum", "bring one back"),
        Obstacle(False, "c", "writes to /data", "check whether two may"),
        Obstacle(False, "two", "writes to /data", "check whether two may"),
    ]

    assert grouped(found) == [
        ("api, web have no health check", "add one"),
        ("web, job are being updated right now", "wait for it: docker service ps SERVICE"),
        ("db is a job, and would run again", "docker service rm db"),
        ("api, db stop before their next tasks start (stop-first)", "start-first avoids it"),
        ("api, db are not up (no node): they get the version, but are not waited for", "see why"),
        ("2 of 3 managers can be reached: no quorum", "bring one back"),
        ("c, two write to /data", "check whether two may"),
    ]
