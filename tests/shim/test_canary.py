"""Every error path and log level, with values that must not come out: in no message, argv, core file or leftover."""

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forms import Custody, Shim

Canary = Callable[[], str]
LEVELS = [["start"], ["start", "-v"], ["start", "--log", "json"], ["start", "-v", "--log", "json"], ["exec", "-v"]]
LEVELS += [["check", "-v"], ["check", "--json"], ["explain"], ["explain", "--json"]]

SCHEMA = """\
# @required @type=port
PORT=
# @type=url
URL=
# @type=email
EMAIL=
# @type=json
JSON=
# @type=jwt
JWT=
# @type=pem
PEM=
# @type=number
NUMBER=
# @type=boolean
BOOLEAN=
# @type=enum(a, b)
ENUM=
# @type=bytes(8, hex)
HEX=
# @type=bytes(8, base64)
BASE64=
# @type=bytes(8, raw)
RAW=
# @type=string(minLength=500)
SHORT=
# @type=string(maxLength=3)
LONG=
# @type=string(startsWith=sk-)
START=
# @type=string(endsWith=-end)
END=
# @type=string(matches="^[0-9]$")
MATCH=
# @composed="${BINARY|json}${LARGE}"
COMPOSED=
# @composed="${LARGE}${LARGE}"
TOO_LONG=
# @deliver=none
BINARY=
# @deliver=none
LARGE=
# @sensitive
EXAMPLE=
"""


def commands(level: list[str]) -> tuple[list[str], list[str]]:
    """Return what precedes the options, and the service behind them."""
    action, *flags = level
    return ([] if action == "start" else [action]) + flags, ["--", "true"] if action in ("start", "exec") else []


@pytest.mark.parametrize("level", LEVELS, ids=" ".join)
def test_no_wrong_value_is_said(shim: Shim, canary: Canary, level: list[str]) -> None:
    """Each type, each delivery, each encoder."""
    (shim.folder / "s").write_text(SCHEMA)
    for line in SCHEMA.splitlines():
        if line.endswith("=") and line not in ("COMPOSED=", "TOO_LONG="):
            (shim.root / line[:-1].lower()).write_text(canary())
    (shim.root / "binary").write_bytes(b"\xff" + canary().encode())
    (shim.root / "large").write_text(canary() * 4000)
    (shim.root / "example.example").write_bytes((shim.root / "example").read_bytes())
    (shim.root / "nul").write_bytes(canary().encode() + b"\0")
    (shim.root / "huge").write_bytes(canary().encode() * 60_000)
    front, behind = commands(level)
    env = {
        "BOTH": canary(),
        "BOTH_FILE": str(shim.root / "nul"),
        "GIVEN": canary(),
        "SHIM_REQUIRE": "GIVEN,ABSENT,NUL,HUGE",
    }

    end = shim(*front, "--schema", "s", *behind, env=env)

    assert end.code == 100
    text = end.stderr + end.stdout
    for key in (
        "PORT",
        "URL",
        "JSON",
        "JWT",
        "PEM",
        "HEX",
        "RAW",
        "MATCH",
        "COMPOSED",
        "EXAMPLE",
        "NUL",
        "HUGE",
        "ABSENT",
    ):
        assert key in text


@pytest.mark.parametrize("level", LEVELS, ids=" ".join)
def test_no_value_in_the_wrong_place_is_said(frozen: Shim, canary: Canary, level: list[str]) -> None:
    """A pointer, a user, a render, an option that is set to the value itself."""
    front, behind = commands(level)
    for env in (
        {"A_FILE": canary(), "SHIM_REQUIRE": "A"},
        {"A_FILE": "/" + canary(), "SHIM_REQUIRE": "A"},
        {"A_FILE": "/" + canary() + "/x", "SHIM_FILE_KEY": "A"},
        {"A_FILE": canary() * 300, "SHIM_REQUIRE": "A"},
        {"A_FILE": "postgresql://u:" + canary() + "@h/d", "SHIM_REQUIRE": "A"},
        {"SHIM_REQUIRE": "A=" + canary()},
        {"SHIM_PREFER": canary()},
        {"SHIM_LOG": canary()},
        {"SHIM_CLEAR_ENV": canary()},
    ):
        end = frozen(*front, *behind, env=env)
        assert end.code in (100, 111), end


@pytest.mark.parametrize("level", LEVELS, ids=" ".join)
def test_no_right_value_is_said(shim: Shim, canary: Canary, level: list[str]) -> None:
    (shim.folder / "s").write_text(
        '# @composed="x${PW|url}"\nURL=\nPW=\n# @deliver=memfd\nMEM=\n# @type=string(minLength=5)\nENV=\n'
    )
    front, behind = commands(level)

    end = shim(*front, "--schema", "s", *behind, env={"ENV": canary(), "PW": canary()}, pw=canary(), mem=canary())

    assert end.code == 0


@pytest.mark.parametrize("program", ["no-such-program", "/tmp", "/etc/hostname"])
def test_a_start_that_fails_at_the_last_step(shim: Shim, canary: Canary, program: str) -> None:
    (shim.folder / "s").write_text("# @deliver=memfd\nMEM=\n")

    assert shim("-v", "--schema", "s", "--", program, env={"E": canary()}, a=canary(), mem=canary()).code in (126, 127)


def test_a_bug_says_where_and_no_value(canary: Canary, custody: Custody) -> None:
    """What a bug raises may hold a value: only its type and its lines are said."""
    value = canary()
    script = (
        "import sys; from shim import main\n"
        f"def broken(*_): raise RuntimeError({value!r})\n"
        "main.read_options = broken\n"
        "main.run()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    custody.said += [done.stdout, done.stderr]

    assert done.returncode == 111
    assert "internal error: RuntimeError at " in done.stderr
    assert value not in done.stderr


# --- what others could look at ---------------------------------------------------------------------------------------


def slow(shim: Shim, value: str) -> list[str]:
    """Return a start that resolves for long, with *value* in its memory."""
    (shim.folder / "slow").write_text('# @required @type=string(matches="^(a+)+b$")\nSLOW=\n')
    (shim.root / "slow").write_text("a" * 60)
    (shim.root / "a").write_text(value)
    return [*shim.command, "--schema", "slow", "--", "true"]


def test_neither_core_nor_argv_nor_memory_is_for_others(frozen: Shim, canary: Canary) -> None:
    """While it resolves: no core file, /proc is root's alone, and argv is what the user wrote."""
    value = canary()
    start = subprocess.Popen(
        slow(frozen, value),
        env={"SHIM_SECRETS_DIR": str(frozen.root)},
        cwd=frozen.folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
    )
    try:
        folder = Path(f"/proc/{start.pid}")
        while not is_resolving(folder):
            assert start.poll() is None
        assert value.encode() not in (folder / "cmdline").read_bytes()
        assert value.encode() not in (folder / "environ").read_bytes()
        assert (folder / "mem").stat().st_uid == 0  # of a process that is not dumpable (proc(5))
        start.send_signal(signal.SIGILL)  # blocked like every other, and no reason to end
        start.send_signal(signal.SIGABRT)
        assert start.wait(timeout=20) == 128 + signal.SIGABRT
    finally:
        start.kill()
        start.wait()
    assert not [path for path in frozen.folder.iterdir() if "core" in path.name]


def is_resolving(folder: Path) -> bool:
    """Return whether the process of this folder of /proc takes stop signals: TERM is caught, and not blocked."""
    lines = (folder / "status").read_text().splitlines()
    masks = {line[:6]: int(line[8:], 16) for line in lines if line.startswith(("SigCgt:", "SigBlk:"))}
    term = 1 << (signal.SIGTERM - 1)
    return bool(masks["SigCgt"] & term and not masks["SigBlk"] & term)


@pytest.mark.usefixtures("as_root")
def test_no_copy_stays_anywhere(frozen: Shim, canary: Canary) -> None:
    """Neither a start nor a failed one leaves anything in a temporary folder; each tmpfs is the test's own."""
    value = canary()
    places = [Path(name) for name in ("/tmp", "/var/tmp")]
    before = {path for place in places for path in place.glob("*")}
    tmpfs = "mount -t tmpfs none /dev/shm; mount -t tmpfs none /run"
    own = ["unshare", "--mount", "sh", "-c", f'{tmpfs}; "$@"; find /dev/shm /run -mindepth 1 >>left', "sh"]
    (frozen.folder / "s").write_text("# @deliver=file\nA=\n")
    (frozen.folder / "t").write_text("${A}")
    for arguments in (
        ["true"],
        ["--schema", "s", "no-such"],
        ["--schema", "s", "--allow-disk", "--render", "t:/no/x", "true"],
    ):
        frozen(*arguments, before=own, a=value)
    frozen("check", "--schema", "s", before=own)
    frozen("explain", "--schema", "s", before=own)
    assert (frozen.folder / "left").read_text() == ""
    left = {path for place in places for path in place.glob("*")} - before
    for path in left:  # a build, a benchmark and Podman's tests have folders there too, beside this one
        assert not re.match(r"shim-[0-9a-f]{16}-|_MEI", path.name), path


def test_json_messages_hold_no_value_but_all_else(frozen: Shim, canary: Canary) -> None:
    end = frozen("--log", "json", "--require", "B", "true", a=canary() + "\0")

    for line in end.stderr.splitlines():
        assert set(json.loads(line)) <= {"level", "message", "hint", "key", "code"}
