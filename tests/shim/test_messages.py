"""What the shim can say, provoked: real files, real options, and each message of the troubleshooting page comes out.

`@provokes` names the messages that a test makes the program say; `test_provoked.py` counts them.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.forms import Shim
from tests.support.host import Canary
from tests.support.provoked import provokes

JWT_WITHOUT_ALG = "eyJ4IjoxfQ.e30.c2ln"  # {"x":1}, {}, sig


@pytest.fixture
def shim(make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in its quickest form to test: what it says is the same in each."""
    return make_shim("module")


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    """Return a folder in memory that is root's alone to change."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def schema(shim: Shim, text: str) -> str:
    """Write a schema; return the option that names it."""
    (shim.folder / "schema").write_text(text)
    return f"--schema={shim.folder}/schema"


@provokes(
    "still holds a placeholder",
    "is shorter than … characters",
    "is longer than … characters",
    "does not start with …",
    "does not end with …",
    "does not match the schema's pattern",
    "is not a number",
    "is below …",
    "is above …",
    "is not a boolean (true, false, 1, 0, yes, no, on, off)",
    "is not a port (1 to 65535)",
    "is not a URL",
    "is not an email address",
    "is not one of …",
    "is not hexadecimal",
    "is not base64",
    "is … bytes, not …",
    "is not JSON",
    "is not a JSON web token (three base64url parts)",
    "is not a JSON web token (its header names no alg)",
    r"is PEM with \n instead of line ends",
    "is not PEM (it does not start with -----BEGIN)",
    "is truncated PEM (there is no -----END line)",
)
def test_values_of_the_wrong_form(shim: Shim, canary: Canary) -> str:
    wrong = {
        "string(minLength=99)": canary(),
        "string(maxLength=3)": canary(),
        "string(startsWith=zz-)": canary(),
        "string(endsWith=-zz)": canary(),
        "string(matches=^only$)": canary(),
        "number": canary(),
        "number(min=5)": "1",
        "number(max=5)": "9",
        "boolean": canary(),
        "port": "70000",
        "url": canary(),
        "email": canary(),
        "enum(a, b)": canary(),
        "bytes(32, hex)": canary(),
        "bytes(32, base64)": f"{canary()}!",
        "bytes(32)": canary(),
        "json": "{" + canary(),
        "jwt": canary(),
        "jwt()": JWT_WITHOUT_ALG,
        "pem": f"-----BEGIN KEY-----\\n{canary()}\\n-----END KEY-----",
        "pem()": canary(),
        "pem( )": f"-----BEGIN KEY-----\n{canary()}\n",
    }
    lines = [f"# @type={kind} @public\nK{number}=\n" for number, kind in enumerate(wrong)]
    files = {f"k{number}": value for number, value in enumerate(wrong.values())}

    end = shim("check", schema(shim, "\n".join([*lines, "# @sensitive\nHELD=\n"])), secrets={**files, "held": "xxx"})

    assert len(end.errors) == len(wrong) + 1
    return end.stderr


@provokes(
    "… is required, and nothing provides it",
    "is required, and is empty",
    "… is required, and is empty (from the environment)",
    "… is required, and is empty…",
    "… is required, and cannot be composed: nothing provides …",
    "… is composed from itself: …",
    "… is composed in over … steps",
    "… cannot be composed: …",
    "… is not UTF-8 text, so |… cannot write it",
)
def test_values_that_are_missing(shim: Shim) -> str:
    steps = "".join(f'# @composed="${{S{number + 1}}}"\nS{number}=\n\n' for number in range(102))
    text = f"""\
# @required
NOWHERE=

# @required
BLANK=

# @required
EMPTY=

# @required @composed="${{NOT_THERE}}"
WHOLE=

# @composed="${{ROUND}}"
ROUND=

BINARY=

# @composed="${{BINARY|json}}"
TEXT=

{steps}"""

    return shim("check", schema(shim, text), env={"BLANK": ""}, empty="", binary=b"\xff\xfe\xfd").stderr


@provokes(
    "both … and … are set, and their values differ; keep one",
    "… and … both map to …",
    "…: … does not exist",
    "…: the path to its file is too long for the kernel",
    "…: … is a directory, not a file",
    "…: … is …, and reading it could wait forever",
    "…: … is a link that leads to itself",
    "…: … is a link that leaves its secrets root …",
    "… holds a NUL byte, which no environment can carry…",
    "… is longer than the … bytes that the kernel allows for one variable…",
    "…: … is larger than … bytes",
)
def test_files_that_no_service_can_get(shim: Shim, canary: Canary) -> str:
    (shim.root / "folder").mkdir()
    os.mkfifo(shim.root / "pipe")
    (shim.root / "round").symlink_to("round")
    (shim.root / "out").symlink_to(shim.folder / "elsewhere")
    env = {
        "TWICE": canary(),
        "TWICE_FILE": f"{shim.root}/twice",
        "GONE_FILE": f"{shim.root}/gone",
        "LONG_FILE": "/" + "x/" * 3000,
        "FOLDER_FILE": f"{shim.root}/folder",
    }
    files: dict[str, str | bytes] = {
        "twice": canary(),
        "two_names": canary(),
        "TWO-NAMES": canary(),
        "nul": f"{canary()}\0{canary()}",
        "wide": canary() * 6000,
        "huge": canary() * 50_000,
    }

    return shim("--require", "LONG,GONE,FOLDER", "check", env=env, secrets=files).stderr


@provokes(
    "…: … is there but cannot be read: permission denied",
    "the secrets root … cannot be listed: …",
    "cannot become user …: … without CAP_…",
    "cannot become user …: …",
    "…: started as uid …, gid …, which cannot change user; continuing as that user",
)
def test_files_that_belong_to_somebody_else(shim: Shim, canary: Canary, as_root: None) -> str:
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=12345", "--regid=12345", "--clear-groups"]
    (shim.root / "mine").write_text(canary())
    (shim.root / "mine").chmod(0o600)
    closed = shim.folder / "closed"
    closed.mkdir(mode=0o700)

    ends = [
        shim("check", before=drop),
        shim("check", env={"SHIM_SECRETS_DIR": str(closed)}, before=drop),
    ]
    (shim.root / "mine").unlink()
    ends.append(shim("--user", "daemon", "--", "/bin/true", before=drop))
    ends.append(shim("--user", "daemon", "--", "/bin/true", before=drop[:2]))

    return "".join(end.stderr for end in ends)


@provokes(
    "@…: a quote or a parenthesis is not closed",
    "this is neither a comment nor KEY=",
    "…: names that begin with SHIM_ are the shim's own",
    "… is listed twice",
    "… changes what programs load, run and trust: a schema cannot set it",
    "…: the quote is not closed",
    "…: three quotes in a row are not supported",
    "…: there is text behind the closing quote",
    "@… must be true or false",
    "@rotate takes a number and a unit",
    "@deliver takes env, file, memfd or none",
    "@deliver=… takes nothing between parentheses",
    "@deliver=… does not take …",
    "@deliver=…: as must be the name of a variable",
    "@deliver=file: owner must be a user, by name or as UID:GID",
    "@deliver=file: mode must be octal, and let the owner read the file",
    "there is no decorator @…",
    "@import is not supported: a schema is one file here",
    "…: the shim does not evaluate …",
    "…: @composed: …",
    "there is no type …",
    "@type=…: …",
    "the ${ in line … is not closed",
    "the reference in line … names no key",
    "${…|…} in line … names an unknown encoder; the encoders are …",
)
def test_mistakes_in_a_schema_come_all_at_once(shim: Shim) -> str:
    text = """\
# @type=string(
A=

neither this
SHIM_OWN=

B=
B=

# @required=perhaps
C=

# @rotate=soon
D=

# @deliver=pigeon
E=

# @requird
F=

# @type=strnig
G=
G1=```x```
G2="x" y

# @type=bytes()
H=

# @composed="${H"
I=

# @composed="${1}"
J=

# @composed="${H|rot13}"
K=

# @deliver=env(as=X)
D1=

# @deliver=memfd(owner=app)
D2=

# @deliver=file(as=1)
D3=

# @deliver=file(owner=)
D4=

# @deliver=file(mode=8)
D5=

LD_PRELOAD=/opt/hook.so

# @import(./.env.shared)
D6=concat($A, b)

L="open
"""

    return shim("check", schema(shim, text)).stderr


@provokes("the schema … is not a file of at most … bytes", "the schema … cannot be read: …")
def test_a_schema_that_is_no_file(shim: Shim) -> str:
    ends = [shim("check", f"--schema={place}") for place in (shim.folder, shim.folder / "gone")]

    return "".join(end.stderr for end in ends)


@provokes("stdin does not contain a fingerprint key")
def test_a_question_without_its_key(shim: Shim) -> str:
    return shim("explain", "--fingerprint-key-stdin", a="v").stderr


@provokes(
    "--json works only with explain, check and ps",
    "there is no command to start",
    "… is neither on nor off",
    "there is no option …",
    "--… is neither on nor off",
    "… takes …",
    "… takes names of variables",
    "… takes a command, and its quotes must be closed",
    "…: there is no signal …",
    "--signal takes SIGNAL=SIGNAL, not …",
    "--signal cannot rewrite …",
    "--exit-as takes CODE=CODE, not …",
    "… takes a time, not …",
    "--on-change takes restart, signal=NAME or exit",
    "--ready-fd takes a descriptor of 3 or more, not …",
)
def test_mistakes_in_options_come_all_at_once(shim: Shim) -> str:
    words = "--jsn --json --mask=perhaps --log=loud --only=1x --pre=' --signal=TERM --signal=KILL=TERM "
    words += "--signal=NONE=TERM --exit-as=x --grace=soon --on-change=dance --ready-fd=1"

    return shim(*words.split(), env={"SHIM_VERBOSE": "perhaps"}).stderr


@provokes(
    "the command is an empty word",
    "install takes one folder",
    "… takes no command",
    "--… needs a value",
    "--profile (SHIM_PROFILE) names an unknown profile",
    "…: there is no user '…' in /etc/passwd",
    "…: there is no group '…' in /etc/group",
    "--render takes TEMPLATE:DEST or TEMPLATE:DEST:USER",
    "cannot write to stdout: …",
    "cannot install …: …",
)
def test_options_that_cannot_be_meant(shim: Shim) -> str:
    lines = (
        ["--", ""],
        ["install"],
        ["check", "x"],
        ["--user"],
        ["--profile=none-such", "--", "/bin/true"],
        ["--user=none-such", "--", "/bin/true"],
        ["--user=daemon:none-such", "--", "/bin/true"],
        ["--render=x", "check"],
        ["install", "/proc/none-such"],
    )
    full = shim("--help", before=["sh", "-c", 'exec "$@" >/dev/full', "sh"])

    return "".join(shim(*line).stderr for line in lines) + full.stderr


@provokes(
    "the template … is not a file of at most … bytes",
    "the template …: …",
    "the template … refers to …, and nothing provides it",
    "the folder … of a rendered file: …",
    "--render: … is …",
    "--render: … is not on tmpfs, and its secrets would be written to a disk",
)
def test_templates_that_cannot_be_rendered(shim: Shim) -> str:
    good, open_, unknown = (shim.folder / name for name in ("good", "open", "unknown"))
    good.write_text("x\n")
    open_.write_text("${X")
    unknown.write_text("${NOT_THERE}")
    pairs = (
        f"{shim.folder}:/dev/shm/x",
        f"{shim.folder}/gone:/dev/shm/x",
        f"{open_}:/dev/shm/x",
        f"{unknown}:/dev/shm/x",
        f"{good}:/none-such/x",
        f"{good}:/dev/shm",
        f"{good}:/proc/x",
    )

    return shim("check", *(f"--render={pair}" for pair in pairs)).stderr


@provokes(
    "…: command not found",
    "the command begins with a secret's value, and there is no such command",
    "… is a directory",
    "… cannot be executed: permission denied",
    "… is there, but its interpreter is not found",
    "… is neither a program for this machine nor a script that names its interpreter",
    "…: arguments and environment together exceed the kernel's limit (a quarter of the stack limit, 6 MiB at most)",
    "… cannot be executed: …",
)
def test_commands_that_cannot_be_started(shim: Shim, canary: Canary) -> str:
    value = canary()
    programs = {
        "closed": (0o644, b"#!/bin/sh\n"),
        "lost": (0o755, b"#!/none/such\n"),
        "odd": (0o755, b"\x00\x01\x02"),
        "busy": (0o755, b"#!/bin/sh\n"),
    }
    for name, (mode, content) in programs.items():
        (shim.folder / name).write_bytes(content)
        (shim.folder / name).chmod(mode)
    commands = [
        ["none-such"],
        [value],
        [str(shim.folder)],
        *([f"{shim.folder}/{name}"] for name in ("closed", "lost", "odd")),
    ]
    with open(shim.folder / "busy", "ab"):
        said = shim("--", f"{shim.folder}/busy", token=value).stderr
    said += "".join(shim("--", *command).stderr for command in commands)
    small = ["sh", "-c", 'ulimit -s 1024; exec "$@"', "sh"]  # a quarter of it: 256 KiB

    asking = ("--require", "A,B,C", "--", "/bin/true")
    return said + shim(*asking, before=small, secrets=dict.fromkeys("abc", canary() * 4000)).stderr


@provokes("the environment alone exceeds the kernel's limit of … bytes for it and the arguments")
def test_more_values_than_an_environment_holds(shim: Shim, canary: Canary) -> str:
    """`check` says before what the start would say."""
    values: dict[str, str | bytes] = dict.fromkeys("abc", canary() * 4000)
    small = ["sh", "-c", 'ulimit -s 1024; exec "$@"', "sh"]  # a quarter of it: 256 KiB

    end = shim("check", "--require", "A,B,C", before=small, secrets=values)

    assert end.code == 100
    assert shim("--require", "A,B,C", "--", "/bin/true", before=small).code == 100
    assert shim("check", "--only", "A,B", before=small).code == 0
    assert shim("--only", "A,B", "--", "/bin/true", before=small).code == 0
    return end.stderr


@provokes(
    "… … ended with …; the service is not started",
    "NOTIFY_SOCKET cannot be told that the service is ready: …",
    "the service's output cannot be written: …",
    "…: … cannot be read: …",
    "… cannot be written: …",
)
def test_what_goes_wrong_around_a_service(shim: Shim, as_root: None, tmpfs: Path) -> str:
    (shim.folder / "template").write_text("x")
    other = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=12345", "--regid=12345", "--clear-groups"]
    ends = [
        shim("--init", "--pre=/bin/false", "--", "/bin/true"),
        shim("--ready-fd=9", "--", "sh", "-c", "echo READY=1 >&9", env={"NOTIFY_SOCKET": f"{shim.folder}/none"}),
        shim("--mask", "--", "echo", "x", before=["sh", "-c", 'exec "$@" >/dev/full', "sh"]),
        shim("check", env={"A_FILE": "/proc/self/mem", "SHIM_REQUIRE": "A"}),
        shim(f"--render={shim.folder}/template:{tmpfs}/x", "--", "/bin/true", before=other),
    ]

    return "".join(end.stderr for end in ends)
