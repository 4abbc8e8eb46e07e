"""The ready lines of docs/STORES.md: each runs against the real program, or one that answers as its makers document.

Real are age, pass, and the AWS command line against a server in this process. The others need an account: for them a
small program takes exactly the command line of the page and prints what the documentation says, and nothing else.
"""

import fcntl
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.forms import REPOSITORY, cannot_run
from tests.support.host import Canary, Manage
from tests.support.pages import blocks

PAGE = REPOSITORY / "docs/STORES.md"
AWSCLI = "awscli==1.46.3"


class Documented(NamedTuple):
    """How a store's program answers."""

    arguments: str
    has_line_end: bool


# From the reference pages of each program, as of November 2026.
DOCUMENTED = {
    "op": Documented("read op://prod/db/password", has_line_end=True),  # --no-newline is its option to leave it out
    "bw": Documented("get password prod-db", has_line_end=False),
    "vault": Documented("kv get -mount=secret -field=password prod/db", has_line_end=False),
    "bao": Documented("kv get -mount=secret -field=password prod/db", has_line_end=False),
    "gcloud": Documented("secrets versions access latest --secret=prod-db", has_line_end=False),
    "az": Documented("keyvault secret show --vault-name prod --name db --query value --output tsv", has_line_end=True),
    "doppler": Documented("secrets get DB_PASSWORD --plain", has_line_end=True),
    "infisical": Documented("secrets get DB_PASSWORD --env=prod --plain --silent", has_line_end=True),
    "sops": Documented("""decrypt --extract ["db_password"] prod.enc.yaml""", has_line_end=False),
}
STAND_IN = """#!/bin/sh
if [ "$*" != '{arguments}' ]; then echo "unknown command line: $*" >&2; exit 2; fi
if [ -z "$SIGNED_IN" ]; then echo "you are not signed in" >&2; exit 1; fi
printf '%s{end}' '{value}'
"""


def aws_program() -> Path:
    """Return the AWS command line, installed once into the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "docker-secrets-shim"
    folder = cache / AWSCLI.replace("==", "-")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "awscli.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bin/aws").exists():
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), AWSCLI]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(folder, ignore_errors=True)
                cannot_run(f"{AWSCLI} cannot be installed: {done.stderr[-300:]}")
    return folder


class Aws(http.server.BaseHTTPRequestHandler):
    """What the two services of AWS answer; the request is signed, and says what it wants in a header."""

    values: dict[str, str] = {}  # noqa: RUF012  (set by the test that starts the server)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        if operation == "GetSecretValue" and asked == {"SecretId": "prod/db"}:
            answer: dict[str, object] = {
                "Name": "prod/db",
                "SecretString": self.values["secretsmanager"],
                "VersionStages": ["AWSCURRENT"],
            }
        elif operation == "GetParameter" and asked == {"Name": "/prod/db", "WithDecryption": True}:
            answer = {"Parameter": {"Name": "/prod/db", "Type": "SecureString", "Value": self.values["ssm"]}}
        else:
            self.send_error(400)
            return
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (the base class's name)
        """Say nothing."""


@pytest.fixture
def aws(canary: Canary) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the address of a server that answers as AWS does, and what it holds."""
    Aws.values = {"secretsmanager": canary(), "ssm": canary()}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Aws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Aws.values
    server.shutdown()
    server.server_close()


def lines() -> str:
    """Return the schema of the page."""
    return "\n".join(block.text for block in blocks(PAGE, "properties"))


def made(*command: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_ready_line_gives_its_value(
    manage: Manage, canary: Canary, aws: tuple[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    for program in ("age", "pass", "gpg"):
        if shutil.which(program) is None:
            cannot_run(f"{program} is not installed")
    programs = manage.folder / "bin"
    programs.mkdir()
    values = {name: canary() for name in DOCUMENTED}
    for name, documented in DOCUMENTED.items():
        end = "\\n" if documented.has_line_end else ""
        text = STAND_IN.format(arguments=documented.arguments, end=end, value=values[name])
        manage.write(f"bin/{name}", text).chmod(0o755)

    values["age"] = canary()
    made("age-keygen", "-o", manage.folder / "key.txt")
    recipient = made("age-keygen", "-y", manage.folder / "key.txt").strip()
    made("age", "-r", recipient, "-o", manage.folder / "db_password.age", stdin=values["age"])

    values["pass"] = canary()
    home = tmp_path_factory.mktemp("g")  # short, since gpg's agent listens there
    home.chmod(0o700)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(manage.folder),
        "GNUPGHOME": str(home),
        "PASSWORD_STORE_DIR": str(manage.folder / "store"),
    }
    made("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "ops@example.org", env=environ)
    made("pass", "init", "ops@example.org", env=environ)
    made("pass", "insert", "--multiline", "prod/db", stdin=values["pass"], env=environ)

    manage.write(".env.schema", lines())
    outside = manage("create-from-env", "--yes", env=environ)

    address, of_aws = aws
    installed = aws_program()
    manage.write("bin/aws", f'#!/bin/sh\nexec {sys.executable} {installed}/bin/aws "$@"\n').chmod(0o755)
    environ |= {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "eu-central-1", "PYTHONPATH": str(installed)}
    environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-of-the-page",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    values |= {"aws secretsmanager": of_aws["secretsmanager"], "aws ssm": of_aws["ssm"]}

    fetched = manage("create-from-env", "--yes", env={**environ, "SIGNED_IN": "1"})
    subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=False)

    assert outside.code == 111
    assert outside.stderr.count("ended with 1: you are not signed in") == len(DOCUMENTED)
    assert fetched.code == 0, fetched.stderr
    found = {name.removeprefix("of_"): value.decode().rstrip("\n") for name, value in manage.secrets().items()}
    assert found == {
        "1password": values["op"],
        "bitwarden": values["bw"],
        "vault": values["vault"],
        "openbao": values["bao"],
        "aws_secrets_manager": values["aws secretsmanager"],
        "aws_ssm": values["aws ssm"],
        "google_cloud": values["gcloud"],
        "azure": values["az"],
        "doppler": values["doppler"],
        "infisical": values["infisical"],
        "sops": values["sops"],
        "age": values["age"],
        "pass": values["pass"],
    }
    assert all(not value.endswith(b"\n") for value in manage.secrets().values())
