"""`migrate`: the same services, with secrets. Nothing else of the files changes, and no value is shown."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shim_host.compose import nodes
from shim_host.compose.images import find, read_configs
from shim_host.env.reduced import reduce
from shim_host.migrate.profiles import profile_of
from shim_host.recognition.sensitive import masked_line, why_secret

from tests.support.engine import Engine
from tests.support.forms import Custody
from tests.support.host import Canary, Manage

# What "docker image inspect" would say; no engine is needed with it.
IMAGES = {
    "app": {"Config": {"Entrypoint": None, "Cmd": ["python", "app.py", "$HOME"], "User": "", "Env": ["PATH=/bin"]}},
    "entry": {"Config": {"Entrypoint": ["/entry.sh", "--x"], "Cmd": ["serve"], "User": "app"}},
    "checked": {"Config": {"Entrypoint": ["/app"], "Cmd": None, "Healthcheck": {"Test": ["CMD-SHELL", "up $A"]}}},
    "ready": {"Config": {"Entrypoint": ["/opt/shim/shim", "--", "/app"], "Cmd": ["x"]}},
    "postgres:16": {
        "Config": {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["postgres"], "Env": ["PG_MAJOR=16"], "User": ""}
    },
    "redis": {"Config": {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["redis-server"]}},
}


@pytest.fixture(autouse=True)
def without_engine(manage: Manage) -> None:
    """Point the Docker client at nothing; tests that want an engine say so."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/no.sock"
    manage.write("images.json", json.dumps(IMAGES))


def migrated(manage: Manage, *arguments: str, code: int = 0) -> Any:
    """Migrate; return the JSON document, or how it ended where that holds only an error."""
    end = manage("migrate", "--json", "--image-config", "images.json", *arguments)
    assert end.code == code, end.stderr
    document = json.loads(end.stdout)
    return end if document.keys() == {"version", "error"} else document


def services(manage: Manage, name: str = "docker-compose.secrets.yml") -> Any:
    """Return the services of a new Compose file, merge keys followed, as plain data."""
    (document,) = nodes.load(manage.folder / name, manage.folder)
    root = document.root
    return _plain(root)["services"]


def _plain(node: Any) -> Any:
    if hasattr(node, "flow_style") and node.value and isinstance(node.value[0], tuple):
        return {item.key: _plain(item.value) for item in nodes.items(node)}
    if isinstance(node.value, list):
        return [_plain(element) for element in node.value]
    return nodes.scalar(node)


COMMENTED = """\
# the shop
name: shop  # its name

x-common: &common
  restart: unless-stopped   # always
  environment: &env
    # how chatty
    LEVEL: ${LEVEL:-info}
    TOKEN: ${TOKEN}   # signs things
    # who we are
    NAME: "shop"

services:
    # four spaces here

    web:
        <<: *common
        image:   app
        ports: [ "127.0.0.1:80:80" ]   # only here
        depends_on:
        - db    # first

    db:
        image: postgres:16
        environment:
          POSTGRES_PASSWORD: ${DB_PASSWORD}   # never shown
          POSTGRES_USER: app
        volumes:
          - data:/data
    # the end of the services
volumes:
    data: {}  # kept
"""


def test_comments_order_anchors_and_spacing_stay(manage: Manage, canary: Canary) -> None:
    """Every line that has nothing to do with a secret is there as it was, and every comment."""
    manage.write("docker-compose.yml", COMMENTED)
    manage.write(".env", f"LEVEL=debug\nTOKEN={canary()}\nDB_PASSWORD={canary()}\n")

    migrated(manage)

    new = (manage.folder / "docker-compose.secrets.yml").read_text()
    assert [re.sub(r"#", "", c) for c in re.findall(r"#.*", COMMENTED) if c not in new] == []
    gone = [line for line in COMMENTED.splitlines() if line not in new.splitlines()]
    assert gone == [
        "    TOKEN: ${TOKEN}   # signs things",
        "        - db    # first",
        "          POSTGRES_PASSWORD: ${DB_PASSWORD}   # never shown",
    ]
    kept = [line for line in COMMENTED.splitlines() if line not in gone]
    rest = iter(new.splitlines())
    assert all(line in rest for line in kept), "the order changed"


def test_the_image_decides_who_reads_the_file(manage: Manage, canary: Canary) -> None:
    """PostgreSQL reads POSTGRES_PASSWORD_FILE itself, but no other variable's; Redis reads none."""
    manage.write(
        "docker-compose.yml",
        "services:\n"
        "  db: {image: 'postgres:16', environment: {POSTGRES_PASSWORD: '${DB_PASSWORD}'}}\n"
        "  odd:\n    image: postgres:16\n"
        "    environment: {POSTGRES_PASSWORD: '${DB_PASSWORD}', BACKUP_TOKEN: '${BACKUP_TOKEN}'}\n"
        "  cache: {image: redis, environment: {REDIS_PASSWORD: '${DB_PASSWORD}'}}\n"
        "  have: {image: ready, environment: {API_TOKEN: '${BACKUP_TOKEN}'}}\n"
        "  free: {image: unknown, environment: {LEVEL: info}}\n",
    )
    manage.write(".env", f"DB_PASSWORD={canary()}\nBACKUP_TOKEN={canary()}\n")

    document = migrated(manage)

    assert {entry["service"]: entry["how"] for entry in document["services"]} == {
        "db": "image",
        "odd": "shim",
        "cache": "shim",
        "have": "already",
    }
    found = services(manage)
    assert found["db"]["environment"] == {"POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"}
    assert found["db"]["secrets"] == [{"source": "db_password", "target": "postgres_password"}]
    assert "entrypoint" not in found["db"]
    assert found["odd"]["entrypoint"] == ["/opt/shim/shim", "--", "docker-entrypoint.sh"]
    assert found["odd"]["command"] == ["postgres"]
    assert "entrypoint" not in found["have"]
    assert found["have"]["secrets"] == [{"source": "backup_token", "target": "api_token"}]
    assert found["free"] == {"image": "unknown", "environment": {"LEVEL": "info"}}


def test_the_command_is_never_lost(manage: Manage, canary: Canary) -> None:
    """A new entrypoint erases the image's command, so it is written down; what the file sets stays as it is written."""
    environment = "environment: {TOKEN: '${TOKEN}'}"
    manage.write(
        "docker-compose.yml",
        "services:\n"
        f"  a: {{image: app, {environment}}}\n"
        f"  b: {{image: app, {environment}, command: 'run $$X ${{LEVEL}}'}}\n"
        f"  c: {{image: entry, {environment}, entrypoint: \"/tool 'a b' ${{LEVEL}}\"}}\n"
        f"  d:\n    image: entry\n    {environment}\n    entrypoint:\n      - /tool   # ours\n      - a b\n"
        f"  e: {{image: entry, {environment}, entrypoint: []}}\n"
        f"  f: {{image: entry, {environment}, user: '${{WHO}}:5'}}\n",
    )
    manage.write(".env", f"TOKEN={canary()}\nLEVEL=info\nWHO=7\n")

    migrated(manage)

    found = services(manage)
    shim, app = "/opt/shim/shim", ["--user", "app"]
    assert (found["a"]["entrypoint"], found["a"]["command"]) == ([shim, "--"], ["python", "app.py", "$$HOME"])
    assert (found["b"]["entrypoint"], found["b"]["command"]) == ([shim, "--"], "run $$X ${LEVEL}")
    assert found["c"]["entrypoint"] == f"{shim} --user app -- /tool 'a b' ${{LEVEL}}"
    assert "command" not in found["c"]
    assert found["d"]["entrypoint"] == [shim, *app, "--", "/tool", "a b"]
    assert (found["e"]["entrypoint"], found["e"]["command"]) == ([shim, *app, "--"], ["serve"])
    assert (found["f"]["user"], found["f"]["entrypoint"][1:3]) == ("0:0", ["--user", "${WHO}:5"])


def test_a_health_check_gets_the_secrets_as_well(manage: Manage, canary: Canary) -> None:
    """It does not see what PID 1 sees, so the shim starts the file's test, and the image's."""
    environment = "environment: {TOKEN: '${TOKEN}'}"
    manage.write(
        "docker-compose.yml",
        "services:\n"
        f"  a: {{image: checked, {environment}}}\n"
        f"  b: {{image: app, {environment}, healthcheck: {{test: 'curl -H $$TOKEN, x', interval: 2s}}}}\n"
        f"  c: {{image: app, {environment}, healthcheck: {{test: [CMD, curl, x]}}}}\n"
        f"  d: {{image: app, {environment}, healthcheck: {{test: [CMD-SHELL, 'curl $$TOKEN']}}}}\n"
        f"  e: {{image: checked, {environment}, healthcheck: {{disable: true}}}}\n",
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    migrated(manage)

    found = services(manage)
    front = ["CMD", "/opt/shim/shim", "exec", "--"]
    assert found["a"]["healthcheck"]["test"] == [*front, "/bin/sh", "-c", "up $$A"]
    assert found["b"]["healthcheck"] == {"test": [*front, "/bin/sh", "-c", "curl -H $$TOKEN, x"], "interval": "2s"}
    assert found["c"]["healthcheck"]["test"] == [*front, "curl", "x"]
    assert found["d"]["healthcheck"]["test"] == [*front, "/bin/sh", "-c", "curl $$TOKEN"]
    assert found["e"]["healthcheck"] == {"disable": "true"}


def test_no_value_is_shown_however_it_is_written(manage: Manage, canary: Canary) -> None:
    """Literals, defaults, several lines, comments, labels and arguments; the fixture looks for every one of them."""
    manage.write(
        "docker-compose.yml",
        "services:\n"
        "  a:\n"
        "    image: app\n"
        f"    # old: DB_PASSWORD: {canary()}\n"
        f"    command: [run, --password, {canary()}]\n"
        f"    labels: {{api.token: {canary()}}}\n"
        "    environment:\n"
        f"      API_KEY: {canary()}\n"
        f"      SECRET: ${{NOT_SET:-{canary()}}}\n"
        f"      URL: postgres://app:{canary()}@db/x\n"
        "      PEM_KEY: |\n"
        f"        -----BEGIN PRIVATE KEY-----\n        {canary()}\n        -----END PRIVATE KEY-----\n"
        f"      TOKENS: 'one\n\n        {canary()}'\n",
    )
    manage.write(".env", f'# OLD_TOKEN={canary()}\nUNUSED_SECRET="a\n{canary()}" # x\n')

    for arguments in ((), ("--json",), ("--dry-run",)):
        end = manage("migrate", "--image-config", "images.json", *arguments, "--force")
        assert end.code == 1, end.stderr

    assert "a: password: services.a.command holds the value of password in plain text" in end.stderr
    assert "a: api.token: services.a.labels holds the value of api.token in plain text" in end.stderr

    assert "PEM_KEY: it stays in plain text: its value ends in a line end" in end.stderr
    assert "UNUSED_SECRET: no service gets it" in end.stderr
    assert set(manage.secrets()) == {"api_key", "secret", "url", "tokens", "unused_secret"}


def test_the_env_file_keeps_what_is_no_secret(manage: Manage, canary: Canary) -> None:
    """In its own words: comments, quotes and order. A value made from a secret is one, too."""
    value = canary()
    manage.write(
        ".env",
        "# settings\nLEVEL='in fo' # chatty\n\n# the database\n"
        f'export DB_PASSWORD="x\n{value}" # tail\nDB_URL=http://db/${{DB_PASSWORD}}\nEMPTY_TOKEN=\nPORT=80',
    )
    manage.write("docker-compose.yml", "services: {a: {image: app, env_file: .env}}\n")

    document = migrated(manage)

    assert (manage.folder / ".env.new").read_text() == (
        "# settings\nLEVEL='in fo' # chatty\n\n# the database\n"
        "# DB_PASSWORD is a secret now, in ./secrets/db_password\n"
        "# DB_URL is a secret now, in ./secrets/db_url\nEMPTY_TOKEN=\nPORT=80"
    )
    assert {entry["key"]: entry["why"] for entry in document["secrets"]} == {
        "DB_PASSWORD": "its name contains PASSWORD",
        "DB_URL": "it is made from DB_PASSWORD",
    }
    assert manage.secrets()["db_url"] == f"http://db/x\n{value}".encode()
    # The file keeps its name, so that the new one can take its place; until then the old value is hidden.
    assert services(manage)["a"]["env_file"] == ".env"
    assert services(manage)["a"]["environment"] == {"DB_PASSWORD": "", "DB_URL": ""}


def test_what_cannot_be_a_file_keeps_its_key_and_is_named(manage: Manage, canary: Canary) -> None:
    """A build argument or a label is not a variable: the key stays in the .env, and a finding says where it is used."""
    manage.write(
        "docker-compose.yml",
        "services:\n  a:\n    image: app\n    command: serve --token ${TOKEN}\n    environment: [TOKEN]\n",
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    document = migrated(manage, code=1)

    assert document["staying"] == [{"key": "TOKEN", "where": "services.a.command"}]
    assert re.fullmatch(
        r"# TOKEN is a secret, and stays: services.a.command\nTOKEN=.*\n", (manage.folder / ".env.new").read_text()
    )
    assert [(finding["service"], finding["key"]) for finding in document["findings"]] == [("a", "TOKEN")]
    assert "environment" not in services(manage)["a"]


PLACES = {
    "command: [serve, --api-key, VALUE]": "services.a.command",
    "command: serve --api-key=VALUE": "services.a.command",
    "entrypoint: ['env', 'API_KEY=VALUE', 'serve']": "services.a.entrypoint",
    "healthcheck: {test: curl --password VALUE localhost}": "services.a.healthcheck",
    "command: serve https://me:VALUE@example.org": "services.a.command",
    "labels: {api.key: VALUE}": "services.a.labels",
    "labels: ['api.key=VALUE']": "services.a.labels",
    "build: {context: ., args: {API_KEY: VALUE}}": "services.a.build",
    "build: {context: ., args: [API_KEY=VALUE]}": "services.a.build",
}


@pytest.mark.parametrize("is_reference", [False, True], ids=["literal", "reference"])
@pytest.mark.parametrize("place", PLACES)
def test_a_value_where_no_file_can_be_is_a_finding(
    manage: Manage, canary: Canary, place: str, is_reference: bool
) -> None:
    """The new files are made all the same; the exit code says that something is left, once more in a dry run."""
    text = place.replace("VALUE", "$API_KEY" if is_reference else canary())
    manage.write("docker-compose.yml", f"services:\n  a:\n    image: app\n    environment: [TOKEN]\n    {text}\n")
    manage.write(".env", f"TOKEN={canary()}\n" + (f"API_KEY={canary()}\n" if is_reference else ""))

    dry = migrated(manage, "--dry-run", code=1)
    document = migrated(manage, code=1)

    assert dry["findings"] == document["findings"]
    exposed = [finding for finding in document["findings"] if finding["exposed"]]
    assert [finding["service"] for finding in exposed] == ["a"]
    assert PLACES[place] in exposed[0]["message"]
    assert exposed[0]["hint"]
    assert services(manage)["a"]["secrets"]


def test_where_nothing_can_be_migrated_the_findings_are_said(manage: Manage, canary: Canary) -> None:
    manage.write("docker-compose.yml", f"services: {{a: {{image: app, command: [serve, --token, {canary()}]}}}}\n")

    end = manage("migrate", "--image-config", "images.json")

    assert end.code == 1
    assert "there is nothing to migrate" in end.stderr
    assert "services.a.command holds the value of token in plain text" in end.stderr


def test_options_that_are_no_secrets_are_no_findings(manage: Manage, canary: Canary) -> None:
    manage.write(
        "docker-compose.yml",
        "services:\n  a:\n    image: app\n    environment: [TOKEN]\n"
        "    command: [serve, --token-file, /run/secrets/token, --port, '80', --auth, 'true', --password, '$$PW']\n"
        "    labels: {traefik.http.routers.a.rule: Host(`a`), auth.enabled: 'true'}\n"
        "    healthcheck: {test: [CMD, pg_isready, -U, app]}\n",
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    assert migrated(manage)["findings"] == []


def test_what_refers_to_a_secret_holds_it_wherever_it_is_written(manage: Manage, canary: Canary) -> None:
    """In another env file, too. What the person calls public stays, and keeps the key that it needs."""
    manage.write(
        "docker-compose.yml",
        "services:\n  a:\n    image: app\n    env_file: [a.env]\n"
        "    environment:\n      NOTE: see ${CODE_TOKEN}\n    volumes: ['./.env:/app/.env']\n",
    )
    manage.write("a.env", "LINK=http://x/$TOKEN\nQUOTED='$TOKEN'\nA=1\n")
    manage.write(".env", f"TOKEN={canary()}\nCODE_TOKEN={canary()}\n")

    document = migrated(manage, "--public", "NOTE", code=1)

    assert document["services"][0]["secrets"] == {"LINK": "link"}
    assert (manage.folder / "a.env.new").read_text() == (
        "# LINK is a secret now, in ./secrets/link\nQUOTED='$TOKEN'\nA=1\n"
    )
    assert document["staying"] == [{"key": "CODE_TOKEN", "where": "services.a.environment.NOTE"}]
    assert any("may read the values there" in finding["message"] for finding in document["findings"])


def test_other_files_in_run_secrets_do_not_become_variables(manage: Manage, canary: Canary) -> None:
    """A service that reads a secret file itself gets exactly the variables it had."""
    manage.write(
        "docker-compose.yml",
        "services:\n"
        "  a:\n    image: app\n    environment:\n      apiKey: ${apiKey}\n      JAVA_OPTS: -Dkey=${apiKey}\n"
        "      CERT_FILE: /run/secrets/cert\n    secrets: [cert]\n"
        "secrets: {cert: {file: ./cert}}\n",
    )
    manage.write(".env", f"apiKey={canary()}\n")

    migrated(manage)

    found = services(manage)["a"]
    keys = found["entrypoint"][2]
    assert sorted(keys.split(",")) == ["JAVA_OPTS", "apiKey"]  # in the file's order, or in that of Compose
    assert found["entrypoint"] == ["/opt/shim/shim", "--only", keys, "--file-key", keys, "--"]
    assert found["environment"] == {
        "CERT_FILE": "/run/secrets/cert",
        "apiKey_FILE": "/run/secrets/apiKey",
        "JAVA_OPTS_FILE": "/run/secrets/java_opts",
    }
    assert found["secrets"][0] == "cert"
    assert sorted(found["secrets"][1:]) == ["apiKey", "java_opts"]


def test_several_files_extends_and_shared_parts_are_followed(manage: Manage, canary: Canary) -> None:
    """A file that another one names gets a new name there as well."""
    manage.write(
        "docker-compose.yml", "services:\n  web:\n    extends: {file: common.yml, service: base}\n    image: app\n"
    )
    manage.write("common.yml", "services:\n  base:\n    environment:\n      A: 1\n      TOKEN: ${TOKEN}\n")
    manage.write(
        "docker-compose.override.yml", "services:\n  web:\n    command: over\n    environment: {TOKEN: '${TOKEN}'}\n"
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    migrated(manage)

    found = services(manage)["web"]
    assert found["extends"] == {"file": "common.secrets.yml", "service": "base"}
    assert found["entrypoint"] == ["/opt/shim/shim", "--"]
    assert services(manage, "common.secrets.yml")["base"] == {"environment": {"A": "1"}}
    assert services(manage, "docker-compose.override.secrets.yml")["web"] == {"command": "over"}


def test_one_secret_each_where_services_have_different_values(manage: Manage, canary: Canary) -> None:
    """The same variable with another value is another secret."""
    one, two = canary(), canary()
    manage.write(
        "docker-compose.yml",
        f"services:\n  a: {{image: app, environment: {{DB_PASSWORD: {one}}}}}\n"
        f"  b: {{image: app, environment: {{DB_PASSWORD: {two}}}}}\n",
    )

    migrated(manage)

    assert manage.secrets() == {"db_password": one.encode(), "b_db_password": two.encode()}
    assert services(manage)["b"]["secrets"] == [{"source": "b_db_password", "target": "db_password"}]


def test_the_schema_and_the_person_have_the_first_word(manage: Manage, canary: Canary) -> None:
    """A name decides only where neither says anything."""
    manage.write(".env.schema", "# @public\nSITE_KEY=\n\n# @sensitive\nNICKNAME=\n")
    manage.write(".env", f"SITE_KEY=public-1\nNICKNAME={canary()}\nCODE={canary()}\nAPI_TOKEN=shown-1\n")
    manage.write("docker-compose.yml", "services: {a: {image: app, env_file: [.env]}}\n")

    document = migrated(manage, "--secret", "CODE", "--public", "API_TOKEN")

    assert {entry["key"]: entry["why"] for entry in document["secrets"]} == {
        "NICKNAME": "by the schema",
        "CODE": "by --secret",
    }


def test_nothing_is_overwritten_unasked_and_a_second_run_changes_nothing(manage: Manage, canary: Canary) -> None:
    """Another content, or another value, is refused; --force replaces it. --dry-run writes nothing at all."""
    manage.write("docker-compose.yml", "services: {a: {image: app, environment: [TOKEN]}}\n")
    manage.write(".env", f"TOKEN={canary()}\n")
    (manage.folder / ".env").chmod(0o600)
    before = set(os.listdir(manage.folder))

    migrated(manage, "--dry-run")
    assert set(os.listdir(manage.folder)) == before

    migrated(manage)
    assert (manage.folder / ".env.new").stat().st_mode & 0o777 == 0o600
    assert ".env" in (manage.folder / ".gitignore").read_text().splitlines()
    again = migrated(manage)
    assert {entry["state"] for entry in again["files"]} == {"unchanged"}

    manage.write(".env", f"TOKEN={canary()}\n")
    assert "these no longer hold the value" in migrated(manage, code=1).stderr
    manage.write("docker-compose.secrets.yml", "mine\n")
    assert "already there, and different" in migrated(manage, code=1).stderr
    assert (manage.folder / "docker-compose.secrets.yml").read_text() == "mine\n"
    assert {entry["state"] for entry in migrated(manage, "--force", "--yes")["files"]} == {"replaced", "unchanged"}


def test_without_the_image_the_command_would_be_lost_and_it_is_refused(manage: Manage, canary: Canary) -> None:
    """All such services are named at once. No engine: 111, since it may come back."""
    manage.write(
        "docker-compose.yml", "services: {a: {build: ., environment: [TOKEN]}, b: {image: x, environment: [TOKEN]}}\n"
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    end = manage("migrate")

    assert end.code == 111
    assert re.search(r"not known what these images start.*: test\S*-a \(a: TOKEN\)", end.stderr)
    assert re.search(r"not known what these images start.*: x \(b: TOKEN\)", end.stderr)
    assert not (manage.folder / "secrets").exists()


def test_an_image_that_refuses_both_forms_does_not_see_what_an_env_file_still_says(
    manage: Manage, canary: Canary
) -> None:
    """It reads KEY_FILE itself, and a label keeps KEY in the .env that it reads, too: a blank variable hides that."""
    service = "{image: 'postgres:16', env_file: [.env], labels: {said: '${POSTGRES_PASSWORD}'}}"
    manage.write("docker-compose.yml", f"services: {{db: {service}}}\n")
    manage.write(".env", f"POSTGRES_PASSWORD={canary()}\n")

    document = migrated(manage, code=1)

    assert [entry["how"] for entry in document["services"]] == ["image"]
    assert services(manage)["db"]["environment"] == {
        "POSTGRES_PASSWORD": "",
        "POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password",
    }


def test_windows_line_ends_stay(manage: Manage, canary: Canary) -> None:
    """A file with CR LF keeps them, on the lines that are new as well."""
    manage.write(
        "docker-compose.yml",
        "services:\r\n  a:\r\n    image: app\r\n    environment:\r\n      - TOKEN\r\n      - A=1\r\n",
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    migrated(manage)

    lines = (manage.folder / "docker-compose.secrets.yml").read_bytes().split(b"\n")[:-1]
    assert lines
    assert all(line.endswith(b"\r") for line in lines)


def test_an_empty_environment_behind_an_anchor_stays_usable(manage: Manage, canary: Canary) -> None:
    """Who merges it still can; a service's own empty one goes."""
    manage.write(
        "docker-compose.yml",
        "x-env: &env\n  TOKEN: ${TOKEN}  # the only one\nservices:\n  a:\n    image: app\n"
        "    environment:\n      <<: *env\n      A: 1\n  b:\n    image: app\n    environment: *env\n"
        "  c:\n    image: app\n    environment:\n      # about it\n      TOKEN: ${TOKEN}\n",
    )
    manage.write(".env", f"TOKEN={canary()}\n")

    migrated(manage)

    found = services(manage)
    assert found["a"]["environment"] == {"A": "1"}
    assert found["b"]["environment"] == []
    assert "environment" not in found["c"]
    assert "# about it" in (manage.folder / "docker-compose.secrets.yml").read_text()


def test_image_configurations_are_read_in_each_form(tmp_path: Path) -> None:
    """What `docker image inspect` prints, a mapping by name, one alone; a tag may be left out."""
    file = tmp_path / "x.json"
    config = {"Entrypoint": ["/a"], "Cmd": "b"}
    for document, name in (
        ([{"RepoTags": ["app:latest"], "Config": config}], "app"),
        ({"app:1": {"config": config}}, "app:1"),
        ({"app": config}, "app:latest"),
        (config, "anything"),
    ):
        file.write_text(json.dumps(document))
        found = find(read_configs(file), name)
        assert found is not None
        assert (found.entrypoint, found.command) == (["/a"], ["b"])


@pytest.mark.parametrize(
    ("key", "value", "is_secret"),
    [
        ("DB_PASSWORD", "1", True),
        ("PGPASSWORD", "x", True),
        ("apiKey", "abcdefgh", True),
        ("DATABASE_URL", "postgres://u:p@h/d", True),
        ("DATABASE_URL", "postgres://h/d", False),
        ("MAX_TOKENS", "4096", False),
        ("JWT_EXPIRES_IN", "7d", False),
        ("AWS_ACCESS_KEY_ID", "x", False),
        ("STRIPE_PUBLISHABLE_KEY", "x", False),
        ("KEYCLOAK_USER", "admin", False),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/x", False),
        ("COMPOSE_PROJECT_NAME", "x", False),
        ("MONKEY", "x", False),
        ("SSH_AUTH_SOCK", "/run/x", False),
        ("HOOK_URL", "https://hooks.slack.com/services/T/B/x", True),
        ("X", "eyJhbGciOiJI.eyJzdWIiOiIx.abc", True),
    ],
)
def test_what_looks_like_a_secret(key: str, value: str, is_secret: bool) -> None:
    assert bool(why_secret(key, value, None)) is is_secret


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  DB_PASSWORD: hunter2", "  DB_PASSWORD: ***"),
        ("# - API_KEY=abc", "# - API_KEY=***"),
        ("  DB_PASSWORD: ${DB_PASSWORD}  # x", "  DB_PASSWORD: ${DB_PASSWORD}  # x"),
        ("  DB_PASSWORD: ${DB_PASSWORD:-abc}", "  DB_PASSWORD: ***"),
        ("  DB_PASSWORD_FILE: /run/secrets/x", "  DB_PASSWORD_FILE: /run/secrets/x"),
        ('command: ["redis-server", "--requirepass", "abc"]', 'command: ["redis-server", "--requirepass", "***"]'),
        ("  url: http://u:p@h/x", "  url: http://***h/x"),
        ("  image: keycloak/keycloak:1", "  image: keycloak/keycloak:1"),
    ],
)
def test_a_line_is_shown_without_its_secret(line: str, shown: str) -> None:
    assert masked_line(line) == shown


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
@pytest.mark.parametrize("dialect", ["compose", "raw"])
def test_what_ends_a_line_for_python_alone_ends_no_value(dialect: str, end: str, canary: Canary) -> None:
    """Neither Compose nor docker knows such a line's end: a value, or an old one in a comment, is longer than that."""
    first, second, old = canary(), canary(), canary()
    text = f"# KEY_PASSWORD=x{end}{old}\nKEY_PASSWORD={first}{end}{second}\nPORT=1\n"

    done = reduce(text.encode(), {"KEY_PASSWORD": "./secrets/p"}, {"KEY_PASSWORD": "./secrets/p"}, dialect)

    for written in (done.text, done.old_shown, done.new_shown):
        assert not any(value in written for value in (first, second, old))
        assert written.endswith("\nPORT=1\n")


def test_a_raw_env_file_is_reduced_line_by_line() -> None:
    done = reduce(b"A=1\nTOKEN= x y \n# c\nB=2\n", {"TOKEN": "./secrets/token"}, {"TOKEN": ""}, "raw")

    assert done.text == "A=1\n# TOKEN is a secret now, in ./secrets/token\n# c\nB=2\n"
    assert "x y" not in done.old_shown


@pytest.mark.slow
def test_killed_before_any_change_the_next_run_completes(manage: Manage, canary: Canary) -> None:
    """Secrets come first and every file is there whole or not at all, so a second run finds nothing in its way."""
    manage.env["PATH"] = "/nowhere"  # no Docker client: it has no part in this, and takes long
    manage.write("docker-compose.yml", "services: {a: {image: app, environment: [TOKEN, KEY]}}\n")
    manage.write(".env", f"TOKEN={canary()}\nKEY={canary()}\n")
    subprocess.run(["git", "init", "-q", str(manage.folder)], check=True)
    whole = migrated(manage)
    wanted = {entry["path"]: (manage.folder / entry["path"]).read_bytes() for entry in whole["files"]}
    secrets = manage.secrets()

    died, seen = 0, list[dict[str, tuple[int, bytes]]]()
    while True:
        for name in (*wanted, ".gitignore", *(f"secrets/{name}" for name in secrets)):
            (manage.folder / name).unlink(missing_ok=True)
        died += 1
        end = manage("migrate", "--image-config", "images.json", dies_at=died)
        for name, content in wanted.items():
            path = manage.folder / name
            assert not path.exists() or (path.read_bytes() == content and manage.secrets() == secrets)
        if end.code == 0:
            break
        assert end.code == -signal.SIGKILL, end.stderr
        left = manage.left_behind()
        if left in seen:  # the call changed nothing: what comes of this was looked at
            continue
        seen.append(left)
        shown = subprocess.run(
            ["git", "status", "--short", "-uall"], cwd=manage.folder, capture_output=True, check=True
        )
        assert not [name for name in shown.stdout.decode().split() if ".env." in name or "secrets/" in name]
        migrated(manage)
        assert {name: (manage.folder / name).read_bytes() for name in wanted} == wanted
        assert manage.secrets() == secrets
    assert died > 10
    assert len(seen) > 8


# With a real engine: what each service sees before and afterwards.

UGLY = {
    "DOLLARS": ("DB_PASSWORD='p$a$$ss ${X} #1'", "p$a$$ss ${X} #1"),
    "QUOTES": ('QUOTE_SECRET="say \\"hi\\" \'there\' \\\\ "', "say \"hi\" 'there' \\ "),
    "UNICODE": ("WIDE_TOKEN=größe € 日本 #x", "größe € 日本"),
    "LINES": ('PEM_KEY="-----BEGIN X-----\nab+/=\n\n-----END X-----"', "-----BEGIN X-----\nab+/=\n\n-----END X-----"),
    "SPACES": ("SPACE_KEY='  lead and trail  '", "  lead and trail  "),
}
DUMP = '["sh", "-c", "cat /proc/$$$$/environ > /out/$$WHO"]'


@pytest.fixture
def project(engine: Engine, manage: Manage, shim_image: str) -> Iterator[Manage]:
    """Return the host tool in a folder with the engine's settings; what Compose starts there is removed."""
    manage.env = {name: engine.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG") if name in engine.environ}
    manage.env["COMPOSE_PROJECT_NAME"] = engine.run_name
    (manage.folder / "out").mkdir(mode=0o777)
    (manage.folder / "out").chmod(0o777)
    yield manage
    for file in manage.folder.glob("docker-compose*.yml"):
        compose(manage, file.name, "down", "--volumes", "--timeout", "0")


def compose(manage: Manage, file: str, *words: str) -> None:
    """Run Compose with this file, and the `.env` that belongs to it."""
    env_files = [name for name in (".env.new" if "secrets" in file else ".env",) if (manage.folder / name).exists()]
    done = subprocess.run(
        ["docker", "compose", "--file", file, *(f"--env-file={name}" for name in env_files), *words],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), **manage.env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    manage.custody.said.append(done.stdout + done.stderr)


def seen(manage: Manage) -> dict[str, set[bytes]]:
    """Return what each service dumped, its host name left out, and forget it."""
    found = {}
    for path in sorted((manage.folder / "out").iterdir()):
        found[path.name] = {entry for entry in path.read_bytes().split(b"\0") if not entry.startswith(b"HOSTNAME=")}
        path.unlink()
    return found


@pytest.mark.engine
@pytest.mark.parametrize("by_volume", [True, False], ids=["volume", "bind"])
def test_every_service_sees_the_bytes_it_saw_before(
    engine: Engine, project: Manage, shim_binary: Path, by_volume: bool
) -> None:
    """By env_file, by reference, made from parts, as another user, with an entrypoint of its own."""
    image = engine.base("bookworm")
    lines = [text for text, _ in UGLY.values()]
    project.write(".env", "\n".join(["# settings", "LEVEL=debug", *lines, "EMPTY_TOKEN=", ""]))
    project.write(
        "docker-compose.yml",
        f"""
x-env: &env
  DB_PASSWORD: ${{DB_PASSWORD}}
  LEVEL: ${{LEVEL}}
x-out: &out
  image: {image}
  volumes: [./out:/out]
services:
  all:
    <<: *out
    env_file: .env
    environment: {{WHO: all}}
    command: {DUMP}
  some:
    <<: *out
    environment:
      <<: *env
      WHO: some
      DATABASE_URL: "postgres://app:${{DB_PASSWORD}}@db/x?q=$$1"
      Mixed_Key: ${{WIDE_TOKEN}}
      _TOKEN: "${{PEM_KEY}}"
      literal_secret: 'a''b "c" $$d'
    entrypoint: {DUMP}
  other:
    <<: *out
    user: "1234:4321"
    environment:
      - WHO=other
      - SPACE_KEY
      - QUOTE_SECRET
    command: {DUMP}
    cap_drop: [ALL]
""",
    )
    compose(project, "docker-compose.yml", "up")
    before = seen(project)
    for key, (text, value) in UGLY.items():
        name = text.partition("=")[0]
        assert f"{name}={value}".encode() in before["all"], key

    end = project("migrate", *([] if by_volume else ["--shim", str(shim_binary)]))

    assert end.code == 0, end.stderr
    assert "docker compose config agrees" in end.stderr
    assert all(value not in end.stdout + end.stderr for _, value in UGLY.values())
    compose(project, "docker-compose.secrets.yml", "up")
    assert seen(project) == before
    assert set(before) == {"all", "some", "other"}


@pytest.mark.engine
def test_postgres_reads_its_own_file_and_its_health_check_still_logs_in(engine: Engine, project: Manage) -> None:
    """The database starts from the file that its image reads; the check gets the password from the shim."""
    project.write(".env", "DB_PASSWORD='p$a\"ss #1'\n")
    project.write(
        "docker-compose.yml",
        f"""
services:
  db:
    image: {engine.base("postgres")}
    environment: {{POSTGRES_PASSWORD: "${{DB_PASSWORD}}", POSTGRES_USER: app}}
    healthcheck:
      test: PGPASSWORD="$$POSTGRES_PASSWORD" psql -h 127.0.0.1 -U app -c 'SELECT 1'
      interval: 1s
      retries: 60
""",
    )

    document = project.json("migrate")

    assert [entry["how"] for entry in document["services"]] == ["image"]
    compose(project, "docker-compose.secrets.yml", "up", "--wait")


@pytest.mark.engine
def test_the_reference_stack_has_nothing_left_to_migrate(engine: Engine, project: Manage, custody: Custody) -> None:
    """Its secrets are files already; an empty `${POSTGRES_PASSWORD:-}` is not a value."""
    text = (Path(__file__).resolve().parents[3] / "docker-compose.yml").read_bytes()
    project.write("docker-compose.yml", text)

    document = project.json("migrate")

    assert (document["secrets"], document["services"], document["files"]) == ([], [], [])


def test_a_stack_file_is_known_for_one(manage: Manage, canary: Canary) -> None:
    """What is written is for Compose, and `docker stack deploy` would refuse it: said before it is tried."""
    manage.write("images.json", '{"Config": {"Cmd": ["c"]}}')
    manage.write(".env", f"TOKEN={canary()}\n")
    file = "services: {web: {image: app, environment: {TOKEN: '${TOKEN}'}%s}}\n%s"
    signs = {
        "web has deploy.endpoint_mode": file % (", deploy: {replicas: 2, endpoint_mode: dnsrr}", ""),
        "secrets.jwt is external": file % ("", "secrets: {jwt: {external: true, name: jwt_v3}}\n"),
    }
    for sign, text in signs.items():
        manage.write("docker-compose.yml", text)
        end = manage("migrate", "--image-config", "images.json", "--dry-run")
        assert end.code == 0, end.stderr
        assert f"this looks like a stack file ({sign})" in end.stderr
        assert "create-swarm" in end.stderr
    manage.write("docker-compose.yml", file % (", deploy: {resources: {limits: {memory: 1G}}}", ""))
    assert "stack file" not in manage("migrate", "--image-config", "images.json", "--dry-run").stderr


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("postgres:15", "postgres"),
        ("docker.io/library/mysql:8.4@sha256:0", "mysql"),
        ("mariadb", "mariadb"),
        ("mongo:7", None),  # becomes mongodb first
        ("wordpress:6", None),  # PHP reads as www-data
        ("redis:7", None),
    ],
)
def test_only_an_image_that_reads_its_files_as_root_is_left_alone(image: str, name: str | None) -> None:
    profile = profile_of(image, ())

    assert (profile and profile.name) == name
