"""The ready lines of docs/STORES.md: each runs against the real program, or one that answers as its makers document.

Real are age, pass, sops, OpenBao with its server, and those of AWS and Doppler against a service in this process.
The others need an account: for them a small program takes exactly the command line of the page and prints what the
documentation says, and nothing else.
"""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import store_programs
from tests.support.forms import REPOSITORY, cannot_run
from tests.support.host import Canary, Manage
from tests.support.pages import blocks

PAGE = REPOSITORY / "docs/STORES.md"


class Documented(NamedTuple):
    """How a store's program answers."""

    arguments: str
    has_line_end: bool


# From the reference pages of each program, as of November 2026.
DOCUMENTED = {
    "op": Documented("read op://prod/db/password", has_line_end=True),  # --no-newline is its option to leave it out
    "bw": Documented("get password prod-db", has_line_end=False),
    "vault": Documented("kv get -mount=secret -field=password prod/db", has_line_end=False),
    "gcloud": Documented("secrets versions access latest --secret=prod-db", has_line_end=False),
    "az": Documented("keyvault secret show --vault-name prod --name db --query value --output tsv", has_line_end=True),
    "infisical": Documented("secrets get DB_PASSWORD --env=prod --plain --silent", has_line_end=True),
}
STAND_IN = """#!/bin/sh
if [ "$*" != '{arguments}' ]; then echo "unknown command line: $*" >&2; exit 2; fi
if [ -z "$SIGNED_IN" ]; then echo "you are not signed in" >&2; exit 1; fi
printf '%s{end}' '{value}'
"""


def lines() -> str:
    """Return the schema of the page."""
    return "\n".join(block.text for block in blocks(PAGE, "properties"))


def made(*command: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_ready_line_gives_its_value(
    manage: Manage, canary: Canary, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for program in ("age", "pass", "gpg"):
        if shutil.which(program) is None:
            cannot_run(f"{program} is not installed")
    programs = manage.folder / "bin"
    programs.mkdir()
    values = {
        name: canary() for name in (*DOCUMENTED, "age", "bao", "doppler", "pass", "secretsmanager", "sops", "ssm")
    }
    for name, documented in DOCUMENTED.items():
        end = "\\n" if documented.has_line_end else ""
        text = STAND_IN.format(arguments=documented.arguments, end=end, value=values[name])
        manage.write(f"bin/{name}", text).chmod(0o755)
    (programs / "bao").symlink_to(store_programs.binary(store_programs.OPENBAO, "bao"))
    (programs / "doppler").symlink_to(store_programs.binary(store_programs.DOPPLER, "doppler"))
    (programs / "sops").symlink_to(store_programs.binary(store_programs.SOPS, "sops"))
    aws = store_programs.installed(store_programs.AWS)
    manage.write("bin/aws", f'#!/bin/sh\nPYTHONPATH={aws} exec {sys.executable} {aws}/bin/aws "$@"\n').chmod(0o755)
    home = tmp_path_factory.mktemp("g")  # short, since gpg's agent listens there
    home.chmod(0o700)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(manage.folder),
        "GNUPGHOME": str(home),
        "PASSWORD_STORE_DIR": str(manage.folder / "store"),
        "DOPPLER_ENABLE_VERSION_CHECK": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    made("age-keygen", "-o", manage.folder / "key.txt")
    recipient = made("age-keygen", "-y", manage.folder / "key.txt").strip()
    made("age", "-r", recipient, "-o", manage.folder / "db_password.age", stdin=values["age"])
    encrypt = ("sops", "encrypt", "--age", recipient, "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin")
    sealed = made(*encrypt, stdin=f"db_password: {values['sops']}\n", env=environ)
    manage.write("prod.enc.yaml", sealed)
    made("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "ops@example.org", env=environ)
    made("pass", "init", "ops@example.org", env=environ)
    made("pass", "insert", "--multiline", "prod/db", stdin=values["pass"], env=environ)
    manage.write(".env.schema", lines())

    with ExitStack() as servers:
        bao = servers.enter_context(store_programs.openbao(manage.folder))
        aws_address = servers.enter_context(store_programs.serving(store_programs.Aws, values))
        doppler_address = servers.enter_context(store_programs.serving(store_programs.Doppler, values))
        made("bao", "kv", "put", "-mount=secret", "prod/db", "password=-", stdin=values["bao"], env=environ | bao)
        addresses = {"AWS_ENDPOINT_URL": aws_address, "DOPPLER_API_HOST": doppler_address, "BAO_ADDR": bao["BAO_ADDR"]}
        environ |= {**addresses, "AWS_DEFAULT_REGION": "eu-central-1"}
        outside = manage("create-from-env", "--yes", env=environ)

        signed_in = {"SIGNED_IN": "1", "DOPPLER_TOKEN": "dp.st.prd.of-the-test", "SOPS_AGE_KEY_FILE": "key.txt"}
        of_aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-of-the-page"}
        environ |= {**signed_in, **of_aws, **bao}
        fetched = manage("create-from-env", "--yes", env=environ)
    subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=False)
    manage.write(".env.schema", "")
    whole = made(
        "sops",
        "decrypt",
        "--output-type",
        "dotenv",
        manage.folder / "prod.enc.yaml",
        env=environ | {"SOPS_AGE_KEY_FILE": str(manage.folder / "key.txt")},
    )
    piped = manage("create-from-env", "-", "--all", "--dialect", "raw", "--yes", stdin=whole.encode())

    assert outside.code == 111
    assert outside.stderr.count("ended with 1: you are not signed in") == len(DOCUMENTED)
    for program in ("aws", "bao", "doppler", "sops"):
        assert f": {program} ended with " in outside.stderr, outside.stderr
    assert "sops ended with 128: Recovery failed because no master key was able to decrypt the file." in outside.stderr
    assert fetched.code == 0, fetched.stderr
    assert piped.code == 0, piped.stderr
    found = {name.removeprefix("of_"): value.decode().rstrip("\n") for name, value in manage.secrets().items()}
    assert found == {
        "1password": values["op"],
        "bitwarden": values["bw"],
        "vault": values["vault"],
        "openbao": values["bao"],
        "aws_secrets_manager": values["secretsmanager"],
        "aws_ssm": values["ssm"],
        "google_cloud": values["gcloud"],
        "azure": values["az"],
        "doppler": values["doppler"],
        "infisical": values["infisical"],
        "sops": values["sops"],
        "age": values["age"],
        "pass": values["pass"],
        "db_password": values["sops"],
    }
    assert all(not value.endswith(b"\n") for value in manage.secrets().values())
