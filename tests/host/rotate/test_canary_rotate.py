"""Rotate, rollback, history and audit, wherever they can fail, at each log level: no value comes out of any of them.

Whatever is said is searched by `custody`; what is written outside ./secrets, and what the engine keeps and shows, too.
By default each way to fail is walked at one level, the levels taking turns; with ROTATE_FULL=1 at each.
"""

import itertools
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.forms import Custody, End
from tests.support.host import SCRIPT, Canary, Manage, Meddler, PrivateSwarm
from tests.support.rotation import serve
from tests.support.rotation_compose import Running, plug_in_compose

LEVELS = [("-v",), ("--json",), ("-v", "--json"), ()]
FULL = bool(os.environ.get("ROTATE_FULL"))

SCHEMA = """\
# @sensitive @type=string(minLength=10)
DB_PASSWORD=
# @sensitive @type=port
PORT=
# @sensitive @type=json
JSON=
# @sensitive @type=string(matches="^[0-9]+$")
DIGITS=
# @sensitive
ANY=
# @sensitive
SIGNER=
# @sensitive @type=jwt(signedBy=SIGNER, role=anon)
TOKEN=
"""


@pytest.fixture
def canary(custody: Custody) -> Canary:
    """Return a maker of values of which no part is found by chance: there are many, and what is said holds hashes."""

    def make() -> str:
        custody.canaries.append("Qz" + "".join(secrets.choice("GHJKLMNPRSTVWXYghjkmnpqrstvwxyz") for _ in range(24)))
        return custody.canaries[-1]

    return make


class Walk:
    """Runs a command that must end with a given code; every one that changes nothing, at each level or at the next."""

    def __init__(self, manage: Manage) -> None:
        self.manage = manage
        self.turns = itertools.cycle(LEVELS)

    def __call__(
        self, code: int, words: str, *, stdin: str | bytes = b"", env: dict[str, str] | None = None, once: bool = False
    ) -> End:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        for level in LEVELS if FULL and not once else [next(self.turns)]:
            end = self.manage(*words.split(), *level, stdin=data, env=env)
            assert end.code == code, (words, end)
        return end


def look_outside_secrets(folder: Path, custody: Custody, *known: str) -> None:
    """Look for values in everything below *folder*, but ./secrets and the files the test wrote values into."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(("secrets/", ".docker/")) and name not in known:
            assert_holds_none(path.read_bytes().decode("utf-8", "replace"), custody)


def assert_holds_none(text: str, custody: Custody) -> None:
    """Fail when a value is in *text*, which may hold many identifiers."""
    assert not [number for number, value in enumerate(custody.canaries) if value in text]


def test_no_refusal_without_a_swarm_says_a_value(manage: Manage, canary: Canary, custody: Custody) -> None:
    """What the person gives, what the files hold, what the schema and a program that lives elsewhere say to it."""
    walk = Walk(manage)
    manage.env |= {"DOCKER_HOST": "unix:///nowhere/docker.sock", "SHIM_SALT": canary()}
    manage.write(".env.schema", SCHEMA)
    for name in ("db_password", "port", "json", "digits", "any", "signer", "token"):
        manage.write(f"secrets/{name}", canary()).chmod(0o600)
    plug_in_compose(manage)
    rotate, files = "rotate --compose --how none", "--value-file -"
    for key in ("PORT", "JSON", "DIGITS"):
        assert key in walk(1, f"{rotate} {files.replace(' -', '=-')} {key}", stdin=canary()).stderr
    walk(1, f"{rotate} {files} DB_PASSWORD", stdin=canary()[:9])
    walk(1, f"{rotate} {files} DB_PASSWORD", stdin=canary() + "\0")
    walk(1, f"{rotate} {files} DB_PASSWORD", stdin=canary() * 30_000)
    walk(1, f"{rotate} {files} ANY", stdin="\n")
    walk(1, f"{rotate} {files} NOBODY", stdin=canary())
    walk(2, f"{rotate} {files} ANY PORT", stdin=canary())
    walk(1, f"{rotate} ANY", stdin=canary())
    # A value where something else belongs.
    walk(2, f"{rotate} --generate ANY={canary()}")
    walk(2, f"rollback --compose --how none ANY={canary()}")
    walk(2, f"{rotate} ANY --value-file {canary()}")
    walk(2, f"{rotate} ANY --value-file - --timeout {canary()}", stdin=canary())
    walk(2, f"rotate --compose --how {canary()} ANY {files}", stdin=canary())
    walk(2, f"rotate --resume {files}", stdin=canary())
    walk(1, "rollback --compose --how none ANY NOBODY")
    walk(2, f"history ANY={canary()}")
    walk(111, "history ANY")
    # Files that are damaged, or hold what they should not.
    manage.write("compose.yaml", f"services:\n  a: {{image: a, environment: [X={canary()}]\n  b: [{canary()}\n")
    walk(1, f"rotate --compose compose.yaml ANY {files}", stdin=canary())
    assert "not valid YAML" in walk(1, "audit --no-engine").stderr
    manage.write("compose.yaml", f"services: {{a: {{image: '${{A:?{canary()}}}', environment: ['X={canary()}']}}}}\n")
    walk(1, f"rotate --compose compose.yaml ANY {files}", stdin=canary(), env={"DOCKER_HOST": ""})
    manage.write(".env", f"A='{canary()}\n")
    assert ".env" in walk(1, "audit --no-engine").stderr
    manage.write(".env", f"A={canary()}\n")
    manage.write("compose.yaml", f"services: {{a: {{image: a, command: [--password, {canary()}]}}}}\n")
    walk(1, "audit --no-engine --html a.html --sarif a.sarif")
    walk(111, "audit --html /nowhere/a.html")
    manage.write("secrets/.rotation/plan", f'{{"{canary()}": ').chmod(0o600)
    walk(1, "rotate --compose --how none --resume")
    (manage.folder / "secrets/.rotation/plan").unlink()
    # A program that repeats what it is told.
    program = manage.write("loud", '#!/bin/sh\ncat; exec >&2; cat /proc/self/environ; [ "$1" = "$UNTIL" ]\n')
    program.chmod(0o755)
    manage.write(".env.schema", "# @sensitive @rotate-with=command(./loud)\nANY=\n")
    walk(1, f"{rotate} {files} ANY", stdin=canary())
    manage.write("loud", "#!/bin/sh\ntee /dev/stderr; [ $1 != begin ]\n")
    assert "begin ended with 1" in walk(1, f"{rotate} {files} ANY", stdin=canary(), once=True).stderr
    manage.write("loud", "#!/bin/sh\ntee /dev/stderr\n")
    walk(0, f"{rotate} {files} ANY --dry-run", stdin=canary())
    walk(0, f"{rotate} {files} ANY", stdin=canary(), once=True)
    walk(0, "rollback --compose --how none ANY", once=True)

    look_outside_secrets(manage.folder, custody, ".env", "compose.yaml")


# Says all that it is told, until it is told to end.
LOUD_CLIENT = r"""#!/bin/sh
exec >&2
while IFS= read -r line && echo "$line" && [ "$line" != '\q' ]; do :; done
cat /dev/fd/3
exit 1
"""
# With a bad value it does not come up, and says the value.
COMMAND = "echo $DB_PASSWORD; case $DB_PASSWORD in bad*) exit 3;; esac; echo >/up; exec /busybox sleep 1000"
APP = """\
name: PROJECT
services:
  app:
    image: with-shim
    entrypoint: [/opt/shim/shim, -v, --]
    command: [/busybox, sh, -c, 'COMMAND']
    healthcheck: {test: [CMD, /busybox, test, -e, /up], interval: 500ms, start_period: 1m}
    stop_signal: SIGKILL
    secrets: [db_password]
    volumes: ['./loud:/bin/mariadb']
secrets:
  db_password: {file: ./secrets/db_password}
""".replace("COMMAND", COMMAND.replace("$", "$$"))


@pytest.mark.engine
def test_no_rotation_with_compose_says_a_value(
    running: Running, manage: Manage, canary: Canary, custody: Custody
) -> None:
    walk, since = Walk(manage), str(int(time.time()))
    manage.write("loud", LOUD_CLIENT).chmod(0o755)
    admin = canary()
    running.up(APP, db_password=canary(), admin=admin, user="a")
    rotate = "rotate --value-file - --timeout 60 DB_PASSWORD"

    walk(0, f"{rotate} --dry-run", stdin=canary())
    walk(1, f"{rotate} --how signal=HUP", stdin=canary())
    walk(1, rotate, stdin="bad" + canary(), once=True)
    walk(0, rotate, stdin=canary(), once=True)
    walk(1, f"{rotate} --salt other", stdin=canary())
    walk(0, "rollback DB_PASSWORD", once=True)
    manage.write(
        ".env.schema",
        f"# @sensitive @rotate-with=mariadb(users=a|b, userKey=USER, service={running.name}_app, adminKey=ADMIN)\n"
        "DB_PASSWORD=\nUSER=\n# @sensitive\nADMIN=\n",
    )
    assert "mariadb in" in walk(1, rotate, stdin=canary()).stderr
    end = walk(1, "audit --html a.html --sarif a.sarif")
    assert "app" in end.stdout

    assert_holds_none(json.dumps(running.engine.events(since)), custody)
    assert_holds_none(running.engine.docker("inspect", *running.ids("app")), custody)
    look_outside_secrets(manage.folder, custody)


@pytest.mark.engine
def test_no_rotation_in_a_swarm_says_a_value(
    swarm: PrivateSwarm, manage: Manage, shim_binary: Path, canary: Canary, custody: Custody
) -> None:
    walk, since = Walk(manage), str(int(time.time()))
    image = swarm.image_with_shim(shim_binary)
    manage.write(".env.schema", "# @sensitive @type=string(minLength=10)\nDB_PASSWORD=\n")
    manage.write("secrets/db_password", canary()).chmod(0o600)
    assert manage("create-swarm").code == 0
    options = ("--secret", "source=db_password.v1,target=db_password", "--health-start-period", "1m")
    serve(swarm, "app", image, *options, "--health-cmd", "/busybox test -e /up", command=COMMAND)
    rotate = "rotate --value-file - DB_PASSWORD"

    walk(0, f"{rotate} --dry-run", stdin=canary())
    walk(1, rotate, stdin=canary()[:9])
    walk(1, "rotate --value-file - NOBODY", stdin=canary())
    walk(2, f"rotate --generate --stack shop DB_PASSWORD={canary()}")
    walk(2, f"rollback --stack shop DB_PASSWORD={canary()}")
    walk(1, "rollback DB_PASSWORD --yes")
    walk(1, rotate, stdin="bad" + canary(), once=True)
    for end in killed(swarm, manage, canary()), walk(1, rotate, stdin=canary()), walk(0, "rotate --resume", once=True):
        assert end.stderr
    walk(1, "rollback DB_PASSWORD")  # which asks, and nobody answers
    walk(0, "rollback DB_PASSWORD --yes", once=True)
    # Where values are in plain text, the audit says where, and not what.
    plain = canary()
    manage.write("secrets/other", plain).chmod(0o600)
    labels = ("--label", f"note={plain}", "--container-label", f"url=redis://:{plain}@r", "--hostname", plain[:12])
    more = ("--env", f"OTHER={plain}", "--health-cmd", f"check --password {plain}", "--replicas", "0")
    swarm.docker(
        *("service", "create", "--detach", "--quiet", "--name", "leaky", *labels, *more),
        *(swarm.image(), "/busybox", "sleep", plain),
    )
    assert "secret-in-" in walk(1, "audit --html a.html --sarif a.sarif").stdout
    walk(1, "audit --no-exec --fail-on note")
    swarm.docker("service", "rm", "leaky")
    manage("history", "DB_PASSWORD")
    assert manage.json("history")["versions"]
    for words in (rotate, "rollback DB_PASSWORD --yes --stack a", "rotate --resume --stack a", "history", "audit"):
        end = manage(*words.split(), stdin=canary().encode(), env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
        assert end.code in (1, 111), (words, end)

    assert_holds_none(json.dumps(swarm.events(since)), custody)
    secret_ids = swarm.docker("secret", "ls", "-q").split()
    of_service = ("service", "inspect", "app"), ("service", "ps", "app", "--no-trunc")
    for asked in (*of_service, ("secret", "inspect", *secret_ids)):
        assert_holds_none(swarm.docker(*asked), custody)
    look_outside_secrets(manage.folder, custody)


def killed(swarm: PrivateSwarm, manage: Manage, value: str) -> End:
    """Kill a rotation when it has made the new version; return what it said till then."""
    meddler = Meddler(swarm, lambda number: "kill" if number > 2 else "pass")
    meddler.victim = subprocess.Popen(
        [sys.executable, SCRIPT, "rotate", "DB_PASSWORD", "--value-file", "-", "-v"],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "DOCKER_HOST": meddler.host},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = meddler.victim.communicate(value.encode(), timeout=100)
    meddler.close()
    assert meddler.victim.returncode == -9
    lock = swarm.docker("config", "inspect", *swarm.docker("config", "ls", "-q").split())
    assert_holds_none(lock, manage.custody)
    manage.custody.said += [out.decode(), err.decode()]
    return End(0, out.decode(), err.decode())
