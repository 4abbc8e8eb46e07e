"""What the plugin of Docker's command line and the provider of Compose answer; docs/PLUGIN.md runs both for real."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest
from shim_host.apps import docker_plugin
from shim_host.apps.docker_plugin import Call
from shim_host.errors import UsageError

from tests.support.host import Canary, Manage

SCHEMA = """\
# @required @sensitive @generate
DB_PASSWORD=
# @required @sensitive @generate
OLD_PASSWORD=
# @required @sensitive @type=string(minLength=16)
STRIPE_KEY=
"""
COMPOSE = """\
services:
  secrets: {provider: {type: secretshim}}
  api:
    image: busybox
    secrets: [db_password, stripe_key, elsewhere]
secrets:
  db_password: {file: ./secrets/db_password}
  stripe_key: {file: ./secrets/stripe_key}
  elsewhere: {file: ./certificate.pem}
"""


def said(manage: Manage, *words: str, code: int = 0, **options: Any) -> list[dict[str, str]]:
    """Return the messages that Compose would read."""
    end = manage("compose", "--project-name=p", *words, **options)
    assert end.code == code, end
    return [json.loads(line) for line in end.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["secretshim", "list", "--json"], Call(["list", "--json"], {})),
        (["help", "secretshim", "list"], Call(["list", "--help"], {})),
        (["-H", "ssh://a", "secretshim"], Call([], {"DOCKER_HOST": "ssh://a"})),
        (
            ["--context=b", "-D", "secretshim", "get", "K"],
            Call(["get", "K"], {"DOCKER_CONTEXT": "b", "DOCKER_HOST": ""}),
        ),
        (["-c", "default", "secretshim"], Call([], {"DOCKER_CONTEXT": "default"})),  # that of DOCKER_HOST
        (["--config", "c", "--tlsverify", "secretshim"], Call([], {"DOCKER_CONFIG": "c", "DOCKER_TLS_VERIFY": "1"})),
        (["--log-level", "debug", "secretshim"], Call([], {})),
        (["get", "secretshim"], None),
        (["--new-option", "secretshim"], None),
        (["--host"], None),
    ],
)
def test_what_docker_means(words: Sequence[str], call: Call | None) -> None:
    assert docker_plugin.read_call(words) == call


def test_an_option_of_docker_that_cannot_be_followed_is_refused(manage: Manage) -> None:
    with pytest.raises(UsageError):
        docker_plugin.read_call(["--tlscert=x", "secretshim", "list"])

    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/another.sock"
    assert "production" in manage("--context=production", "secretshim", "history", "KEY").stderr
    hint = manage("--context=production", "secretshim", "get", "KEY").stderr
    assert "hint: `docker --context=production secretshim list` shows which keys have one" in hint
    end = manage("--tlscert=x", "secretshim", "list")
    assert (end.code, end.stdout) == (2, "")
    assert "docker secretshim does not take --tlscert" in end.stderr


def test_docker_learns_what_the_plugin_is(manage: Manage) -> None:
    """By a file that needs no PATH and may be anywhere; the name is one that Docker allows."""
    manage.env["DOCKER_CONFIG"] = str(manage.folder / "it's here")
    assert manage("plugin", "install", "--dry-run").code == 0
    assert manage.left_behind() == {}
    assert manage("plugin", "install").code == 0

    file = manage.folder / "it's here/cli-plugins/docker-secretshim"
    answer = subprocess.run([file, docker_plugin.METADATA], env={}, capture_output=True, text=True, check=True)
    known = json.loads(answer.stdout)
    assert (known["SchemaVersion"], known["Vendor"]) == ("0.1.0", "docker-secrets-shim")
    assert re.fullmatch(r"[a-z][a-z0-9]*", file.name.removeprefix("docker-"))
    assert stat.S_IMODE(file.stat().st_mode) & ~0o022 == 0o755 & ~0o022

    assert manage("plugin", "install").code == 0
    assert manage("plugin", "remove").code == 0
    assert not os.path.lexists(file)
    assert "there is no " in manage("plugin", "remove").stderr


def test_somebody_elses_plugin_stays(manage: Manage) -> None:
    manage.write("cli-plugins/docker-secretshim", "#!/bin/sh\n")

    for action in ("install", "remove"):
        end = manage("plugin", action, "--dir", "cli-plugins")
        assert end.code == 1
        assert "was not written by manage-secrets" in end.stderr


SERVICES_WITH_A_NAME = r"""
services:
  secrets: {provider: {type: secretshim}}
  w: {image: b, secrets: ["e\e]0;PWN\a"]}
secrets: {"e\e]0;PWN\a": {file: "./secrets/q\e[31m"}}
"""


def test_a_provider_generates_and_names_what_must_be_given(manage: Manage, canary: Canary) -> None:
    """From a folder below, too, as Compose does; a value that is somewhere already is not made a second time."""
    manage.write(".env.schema", SCHEMA)
    manage.write("compose.yaml", COMPOSE)
    manage.write(".env", f"OLD_PASSWORD={canary()}\n")
    (manage.folder / "sub").mkdir()
    manage.folder /= "sub"

    info, error = said(manage, "up", "secrets", code=1)

    assert info == {"type": "info", "message": "generated DB_PASSWORD"}
    first, *lines = error["message"].splitlines()
    assert (error["type"], first) == ("error", "2 values must be provided first: STRIPE_KEY, elsewhere")
    assert [line.partition(":")[0] for line in lines] == ["STRIPE_KEY", "elsewhere"]

    manage.folder = manage.folder.parent
    assert list(manage.secrets()) == ["db_password"]
    manage.custody.canaries.append(manage.secrets()["db_password"].decode())
    manage.write("secrets/stripe_key", canary())
    manage.write("certificate.pem", "certificate")
    assert said(manage, "up", "secrets") == []
    assert [message["type"] for message in said(manage, "down", "secrets")] == ["debug"]


def test_a_provider_shows_names_escaped(manage: Manage) -> None:
    """Compose shows a message as it is: a name in a Compose file must not speak to the terminal."""
    manage.write("docker-compose.yml", SERVICES_WITH_A_NAME)

    end = manage("compose", "up", "secrets")
    message = json.loads(end.stdout)["message"]
    assert r"e\x1b]0;PWN\x07: the file secrets/q\x1b[31m is missing" in message
    assert message.replace("\n", "").isprintable()


def test_a_provider_is_sure_which_project_it_serves(manage: Manage) -> None:
    """With `docker compose -f` nothing tells the provider; it never generates into a stranger's folder."""
    manage.write("app/.env.schema", "# @required @sensitive @generate\nKEY=\n")
    manage.write("app/other.yaml", "services: {secrets: {provider: {type: secretshim}}}\n")
    refusal = said(manage, "up", "secrets", code=1)[0]["message"]
    assert refusal.startswith("cannot tell which project secrets belongs to")
    manage.write("compose.yaml", "services: {secrets: {image: busybox}}\n")
    assert said(manage, "up", "secrets", code=1)[0]["message"] == refusal

    assert said(manage, "up", "--directory=app", "--secrets-dir=s", "secrets")[0]["type"] == "info"
    assert (manage.folder / "app/s/key").exists()
    manage.write("app/.env.schema", "# @required @sensitive\nGIVEN=\n")
    error = said(manage, "up", "--directory=app", "--secrets-dir=s t", "secrets", code=1)[0]["message"]
    place = manage.folder / "app"
    words = f"--secrets-dir '{place}/s t' --schema {place}/.env.schema"
    assert error.endswith(f"GIVEN: is required, and nothing provides it: manage-secrets set {words} GIVEN")
    assert "the provider has no option direktory" in said(manage, "up", "--direktory=app", "a", code=1)[0]["message"]
    assert "a provider is started for one service" in said(manage, "up", "one", "two", code=1)[0]["message"]
    assert "cannot enter the folder gone" in said(manage, "up", "--directory=gone", "secrets", code=111)[0]["message"]


def test_a_provider_goes_by_no_half_read_project(manage: Manage) -> None:
    manage.write("compose.yaml", COMPOSE)
    manage.write(".env", "A='open\n")

    assert said(manage, "up", "secrets", code=1)[0]["message"].startswith(".env:1: the quote that opens")
    (manage.folder / "compose.yaml").unlink()
    known = said(manage, "up", "--directory=.", "secrets", code=1)
    assert known[0]["message"].startswith("not looked at: the .env file")


def test_compose_learns_what_the_options_are(manage: Manage) -> None:
    document = said(manage, "metadata")[0]

    assert [option["name"] for option in document["up"]["parameters"]] == ["schema", "secrets-dir", "directory"]  # type: ignore[index]
