"""Secrets that hold others: `migrate` writes how they are made, and a rotation of a part reaches them."""

import json
from pathlib import Path

import pytest

from shim.schema import composed_value, parse
from tests.support.host import Canary, Manage
from tests.support.provoked import provokes
from tests.support.rotation_compose import plug_in_compose

COMPOSE = """services:
  db:
    image: postgres:16
    environment: {POSTGRES_PASSWORD: "${DB_PASSWORD}"}
  web:
    image: app
    environment:
      DATABASE_URL: "postgresql://app:${DB_PASSWORD}@db/x"
      ODBC_DSN: Server=db;Password=${DB_PASSWORD};
      JDBC_URL: jdbc:postgresql://db/x?user=a&password=${DB_PASSWORD}&ssl=1
"""


@pytest.fixture(autouse=True)
def without_engine(manage: Manage) -> None:
    plug_in_compose(manage)
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/no.sock"
    manage.write("images.json", json.dumps({"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}))


def migrated(manage: Manage, *more: str) -> dict[str, list[str]]:
    """Return what `migrate` composes, by key."""
    end = manage("migrate", "--json", "--yes", "--image-config", "images.json", *more)
    assert end.stdout, end.stderr
    return {entry["key"]: entry["of"] for entry in json.loads(end.stdout)["composed"]}


def value_of(manage: Manage, name: str) -> str:
    return (manage.folder / "secrets" / name).read_text()


def composed_here(manage: Manage, key: str) -> bytes | None:
    """Return what the schema composes of the files that are there."""
    schema = parse((manage.folder / ".env.schema").read_bytes())
    return composed_value(schema.keys[key], lambda part: value_of(manage, part.lower()).encode())


@provokes("… is composed of …", "is not what the schema composes from …", "…: … has no value to compose it with")
def test_a_rotation_of_a_part_reaches_what_holds_it(manage: Manage, canary: Canary) -> str:
    """By `rotate`, by `set`, and, where a file was written by hand, by `validate --fix`."""
    old = canary()
    manage.write("compose.yaml", COMPOSE)
    manage.write(".env", f"DB_PASSWORD={old}\n")

    assert migrated(manage, "--adopt") == {key: ["DB_PASSWORD"] for key in ("DATABASE_URL", "ODBC_DSN", "JDBC_URL")}

    assert old not in (manage.folder / ".env.schema").read_text()
    assert value_of(manage, "odbc_dsn") == f"Server=db;Password={old};"
    rotated = manage("rotate", "--compose", "--how", "none", "--generate", "DB_PASSWORD")
    assert rotated.code == 0, rotated.stderr
    assert old not in value_of(manage, "database_url")
    for key in ("DATABASE_URL", "ODBC_DSN", "JDBC_URL"):
        assert value_of(manage, key.lower()).encode() == composed_here(manage, key)

    refused = manage("rotate", "--compose", "--how", "none", "--generate", "DATABASE_URL")
    assert refused.code == 1
    assert "DATABASE_URL is composed of DB_PASSWORD" in refused.stderr

    hard = canary() + "/@ $"
    assert manage("set", "DB_PASSWORD", "--value-file", "-", "--yes", stdin=hard.encode()).code == 0
    assert composed_here(manage, "DATABASE_URL") == value_of(manage, "database_url").encode()
    assert "%2F%40%20%24@db/x" in value_of(manage, "database_url")

    manage.write("secrets/db_password", canary())
    stale = manage("validate")
    assert "is not what the schema composes from DB_PASSWORD" in stale.stdout + stale.stderr
    manage("validate", "--fix")
    assert composed_here(manage, "DATABASE_URL") == value_of(manage, "database_url").encode()

    schema = (manage.folder / ".env.schema").read_text()
    manage.write(".env.schema", schema.replace("@db/x", "@${DB_HOST}/x"))
    lacking = manage("set", "DB_PASSWORD", "--value-file", "-", "--yes", stdin=canary().encode())
    manage.write(".env.schema", schema)
    assert manage("migrate", "--undo", "--yes").code == 0
    assert not (manage.folder / ".env.schema").exists()
    return refused.stderr + stale.stdout + stale.stderr + lacking.stderr


ONE = "services:\n  db: {image: postgres:16, environment: {POSTGRES_PASSWORD: 'PASSWORD'}}\n"
# What is in compose.yaml, and what is composed then.
FORMS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "by value, percent-encoded": (
        ONE + "  a: {image: i, environment: {DB_URL: 'postgres://app:ENCODED@db/x'}}\n",
        {"DB_URL": ["POSTGRES_PASSWORD"]},
    ),
    "a short one, by the host that has it": (
        ONE.replace("PASSWORD'", "app'") + "  r: {image: i, environment: {REDIS_PASSWORD: app}}\n"
        "  a: {image: i, environment: {DB_URL: 'postgres://app:app@db/app'}}\n",
        {"DB_URL": ["POSTGRES_PASSWORD"]},
    ),
    "one that two have, which nothing tells apart": (
        ONE.replace("PASSWORD'", "app'") + "  r: {image: i, environment: {REDIS_PASSWORD: app}}\n"
        "  a: {image: i, environment: {DB_URL: 'postgres://app:app@pg/app'}}\n",
        {},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_value_inside_another_is_known_again(form: str, manage: Manage, canary: Canary) -> None:
    text, expected = FORMS[form]
    value = canary()
    manage.write("compose.yaml", text.replace("ENCODED", f"{value}%2F%40x").replace("PASSWORD'", f"{value}/@x'"))

    assert migrated(manage, "--dry-run") == expected

    if not expected:
        said = manage("migrate", "--dry-run", "--image-config", "images.json").stderr
        assert "have in common, so it is not known which it follows" in said


NAMESAKES = """services:
  db: {image: postgres:16, environment: {POSTGRES_PASSWORD: "VALUE"}}
  web:
    image: i
    build: {context: ., args: {DATABASE_URL: "sqlite://build.db"}}
    labels: {DATABASE_URL: none-at-all}
    command: [run, "DATABASE_URL=file:x.db"]
    environment: {LEVEL: "pre-${SITE}", SITE: "${SITE}", DATABASE_URL: "postgres://u:VALUE@db/x", CODE: "a${PIN_TOKEN}"}
  api: {image: i, environment: {LEVEL: "${LEVEL}", DATABASE_URL: "sqlite://x.db", CODE: aq7x}}
"""


@provokes("a rotation of … does not change it: … has another, public …")
def test_audit_and_migrate_agree_about_a_name_that_is_a_secret_in_one_place_only(manage: Manage, canary: Canary) -> str:
    """What is equal is the same secret; what `.env` goes on having in public, no schema can call a secret."""
    manage.write("compose.yaml", NAMESAKES.replace("VALUE", canary()))
    manage.write(".env", f"LEVEL=info\nSITE=http://u:{canary()}@h/\nPIN_TOKEN=q7x\n")

    end = manage("migrate", "--json", "--yes", "--image-config", "images.json")

    assert end.code == 0, end.stderr
    plan = json.loads(end.stdout)
    assert {service["service"]: sorted(service["secrets"]) for service in plan["services"]} == {
        "db": ["POSTGRES_PASSWORD"],
        "web": ["CODE", "DATABASE_URL", "LEVEL", "SITE"],
        "api": ["CODE"],
    }
    text = (manage.folder / ".env.schema").read_text()
    keys = parse(text.encode()).keys
    assert "LEVEL" not in keys
    assert keys["DATABASE_URL"].composed == "postgres://u:${POSTGRES_PASSWORD|url}@db/x"
    audit = ("audit", "--no-engine", "-f", "compose.secrets.yaml", "--env-file", ".env.new")
    assert "secret-in-" not in manage(*audit).stdout
    manage.write(".env.schema", text + "\n# @sensitive\n# @rotate=90d\nMINE=\n")
    assert "seems to hold a secret (by the schema)" in manage(*audit).stdout, "now a person says so"
    return end.stderr


def test_a_schema_that_is_there_keeps_all_it_says(manage: Manage, canary: Canary) -> None:
    """It gets a line before the key, and the parts that it does not know at its end."""
    own = "# mine\n# @required\nDATABASE_URL=\n\n# @type=port\nPORT=80"
    manage.write("compose.yaml", COMPOSE)
    manage.write(".env", f"DB_PASSWORD={canary()}\n")
    manage.write(".env.schema", own)

    migrated(manage)

    assert (manage.folder / ".env.schema").read_text() == own
    new = (manage.folder / ".env.schema.new").read_text()
    assert [line for line in new.splitlines() if "@composed" not in line][: len(own.splitlines())] == own.splitlines()
    schema = parse(new.encode())
    assert schema.keys["DATABASE_URL"].is_required
    assert schema.keys["DATABASE_URL"].composed == "postgresql://app:${DB_PASSWORD|url}@db/x"
    assert schema.keys["DB_PASSWORD"].is_sensitive


@provokes("… is a different value from what the schema composes, and is used as it is")
def test_create_from_env_makes_the_files_of_composed_keys(manage: Manage, canary: Canary) -> str:
    """On a fresh checkout the .env has the parts, and a service mounts what is made of them."""
    value = canary()
    schema = '# @sensitive\nDB_PASSWORD=\n# @composed="pg://a:${DB_PASSWORD|url}@db"\nURL=\n# @sensitive\nNONE=\n'
    manage.write(".env.schema", schema)
    manage.write("compose.yaml", "services: {a: {image: i, secrets: [url]}}\nsecrets: {url: {file: ./secrets/url}}\n")
    manage.write(".env", f"DB_PASSWORD={value}\nNONE=\n")

    end = manage("create-from-env")

    assert end.code == 0, end.stderr
    assert value_of(manage, "url") == f"pg://a:{value}@db"
    assert "NONE: the value is empty, and an empty file counts as not set" in end.stderr
    assert "no key differs (3 compared)" in manage("diff", "--no-engine").stderr

    manage.write(".env", f"DB_PASSWORD={value}\nURL=pg://other\n")
    return manage("create-from-env").stderr


def test_a_project_that_is_mounted_whole_does_not_give_its_schema(manage: Manage, canary: Canary) -> None:
    """The schema is for the tools of this machine: a service that could see it would be held to it."""
    manage.write("compose.yaml", COMPOSE + "    volumes: ['.:/app']\n    working_dir: /app\n")
    manage.write(".env", f"DB_PASSWORD={canary()}\n")

    migrated(manage)

    assert '"--schema", "none"' in Path(manage.folder, "compose.secrets.yaml").read_text()
