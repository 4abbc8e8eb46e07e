"""The stack, and the Compose project, as a dimension of every command: what is meant, and what is left alone."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.forms import Custody
from tests.support.host import Canary, Manage, PrivateSwarm, compose_program

pytestmark = pytest.mark.engine

SCHEMA = "# @required @sensitive @type=string(minLength=8) @generate @rotate=1d\nDB_PASSWORD=\n"


def names(swarm: PrivateSwarm) -> list[str]:
    return sorted(swarm.docker("secret", "ls", "--format", "{{.Name}}").split())


def make(swarm: PrivateSwarm, stack: str, version: int, value: str, days: int = 0) -> None:
    """Make a version as the tool does, *days* ago."""
    created = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    labels = {"key": "DB_PASSWORD", "version": version, "created": created, "stack": stack}
    base = f"{stack}_db_password" if stack else "db_password"
    swarm.docker(
        *("secret", "create"),
        *(word for name, text in labels.items() if text for word in ("--label", f"docker-secrets-shim.{name}={text}")),
        *(f"{base}.v{version}", "-"),
        stdin=value.encode(),
    )


def test_a_command_is_about_one_stack_and_says_so(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, custody: Custody
) -> None:
    """prune, rotate --due, list and the versions file: those of the stack that was named, or of none."""
    manage.write(".env.schema", SCHEMA)
    for version in (1, 2, 3):
        make(swarm, "shop", version, canary(), days=3)
        make(swarm, "", version, canary())

    end = manage("prune", "--yes")
    assert end.code == 0
    assert "shop (1): --stack shop" in end.stderr
    assert names(swarm) == ["db_password.v2", "db_password.v3", *(f"shop_db_password.v{n}" for n in (1, 2, 3))]

    due = manage("rotate", "--due")
    assert due.code == 1
    assert "due in other stacks, and not rotated: shop: DB_PASSWORD" in due.stderr
    assert "--stack shop" in due.stderr
    assert "shop_db_password.v4" not in names(swarm)
    assert manage("rotate", "--due", "--everywhere", "--dry-run").code == 0
    document = manage.json("rotate", "--due", "--everywhere")
    assert [run["state"] for run in document["runs"]] == ["nothing to do", "rotated"]
    assert "shop_db_password.v4" in names(swarm)
    assert "db_password.v4" not in names(swarm)
    assert manage("rotate", "--due").code == 0

    # A stack that has nothing there may be misspelt.
    for command in ("list", "sync", "history", "prune --dry-run", "diff", "rotate --due"):
        said = manage(*command.split(), "--stack", "shpo").stderr
        assert "the Swarm has no key of the stack shpo; it has some of shop (1), no stack (1)" in said, command
    for command in ("rotate DB_PASSWORD --generate", "rollback DB_PASSWORD", "history DB_PASSWORD"):
        assert "give its stack: --stack shop" in manage(*command.split(), "--stack", "shpo").stderr, command
    (manage.folder / "secrets.shop.lock.env").write_text("")
    manage.json("rotate", "DB_PASSWORD", "--generate", "--stack", "shop")
    assert "DB_PASSWORD_VERSION=5" in (manage.folder / "secrets.shop.lock.env").read_text()
    assert not (manage.folder / "secrets.lock.env").exists()


def test_what_is_due_and_comes_from_a_store_gets_what_that_has(
    swarm: PrivateSwarm, manage: Manage, canary: Canary
) -> None:
    """Where somebody agrees to its program; a value that was not changed there stays due, and keeps nothing else."""
    manage.write(".env.schema", SCHEMA + '# @sensitive @rotate=1d @from=command("cat store")\nAPI_KEY=\n')
    old, new = canary(), canary()
    manage.write("store", old)
    manage.write("secrets/api_key", old)
    manage.write("secrets/db_password", canary())
    assert manage("create-swarm").code == 0
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="seconds")
    for name, value in (("api_key", old), ("db_password", "")):
        found = json.loads(swarm.docker("secret", "inspect", f"{name}.v1"))[0]["Spec"]["Labels"]
        swarm.docker("secret", "rm", f"{name}.v1")
        labels = {**found, "docker-secrets-shim.created": long_ago}
        given = (word for label, text in labels.items() for word in ("--label", f"{label}={text}"))
        swarm.docker("secret", "create", *given, f"{name}.v1", "-", stdin=(value or "of the past").encode())

    end = manage("rotate", "--due")
    assert end.code == 1
    assert "due, and their values come from programs that nobody has agreed to: API_KEY" in end.stderr
    assert names(swarm) == ["api_key.v1", "db_password.v1", "db_password.v2"]

    end = manage("rotate", "--due", "--yes")
    assert end.code == 1
    assert "due, and the store still has the same value: API_KEY" in end.stderr
    manage.write("store", new)
    planned = manage.json("rotate", "--due", "--dry-run")
    assert [change["name"] for change in planned["keys"]] == ["api_key.v2"]
    assert manage("rotate", "--due", "--yes").code == 0
    assert (manage.folder / "secrets/api_key").read_text() == new
    assert manage("rotate", "--due", "--yes").code == 0

    (manage.folder / "store").unlink()
    os.utime(manage.folder / "secrets/api_key", (0, 0))
    in_compose = manage("rotate", "--due", "--yes", "--how", "none")
    assert in_compose.code == 111  # the store does not answer
    manage.write("store", new)
    assert "the store still has the same value" in manage("rotate", "--due", "--yes", "--how", "none").stderr
    manage.write("store", old)
    assert manage("rotate", "--due", "--dry-run", "--how", "none").code == 0
    assert manage("rotate", "--due", "--yes", "--how", "none").code == 0
    assert (manage.folder / "secrets/api_key").read_text() == old


def test_each_stack_has_its_values(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """./secrets/prod is the folder of the stack prod, where it is there; ./secrets that of all others."""
    values = {"staging": canary(), "prod": canary()}
    manage.write("secrets/db_password", values["staging"])
    manage.write("secrets/prod/db_password", values["prod"])
    for stack in values:
        assert manage("create-swarm", "--stack", stack).code == 0

    for stack, value in values.items():
        service = ("--name", stack, "--secret", f"source={stack}_db_password.v1,target=db_password")
        swarm.serve(*service, swarm.image(), "/busybox", "sleep", "1d")
        container = swarm.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={stack}")
        assert swarm.docker("exec", container, "/busybox", "cat", "/run/secrets/db_password") == value
    assert manage("create-swarm", "--stack", "prod", "--dry-run").code == 0
    manage.write("secrets/eu_db", canary())
    manage.write("secrets/db", canary())
    for stack in ("shop", "shop_eu"):  # two keys that would have one name
        assert manage("create-swarm", "--stack", stack).code == 0
    made = [json.loads(swarm.docker("secret", "inspect", name))[0]["Spec"]["Labels"] for name in names(swarm)]

    # A stack that gets secrets of its own, and was deployed with those of no stack.
    manage.write(".env.schema", SCHEMA)
    make(swarm, "", 1, canary())
    label = ("--label", "com.docker.stack.namespace=staging")
    swarm.serve("--name", "late", *label, "--secret", "db_password.v1", swarm.image(), "/busybox", "sleep", "1d")
    rotated = manage("rotate", "DB_PASSWORD", "--generate", "--stack", "staging", "--leave", "staging")
    assert rotated.code == 1
    words = "late mounts db_password.v1 of no stack for DB_PASSWORD: it keeps that value"
    assert words in rotated.stderr
    synced = manage("sync", "--stack", "staging")
    assert (synced.code, words in synced.stderr) == (1, True)
    checked = json.loads(manage("validate", "--swarm", "--stack", "staging", "--json").stdout)["findings"]
    stale = [item["message"] for item in checked if item["kind"] == "stale"]
    assert stale == ["mounts db_password.v1 of no stack, and not staging_db_password.v1"]
    kept = {(labels["docker-secrets-shim.stack"], labels["docker-secrets-shim.key"]) for labels in made}
    assert {("shop", "EU_DB"), ("shop_eu", "DB")} <= kept


def test_what_is_due_in_compose_projects(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """With --compose a Swarm is not asked; --everywhere finds the projects that run here, each in its own folder."""
    image = swarm.image()
    manage.write("blog/.env.schema", SCHEMA)
    manage.write(
        "blog/compose.yaml",
        f"services: {{api: {{image: {image}, network_mode: none, command: [/busybox, sleep, 1d], stop_grace_period: 1s,"
        " secrets: [db_password]}}\nsecrets: {db_password: {file: ./secrets/db_password}}\n",
    )
    secret = manage.write("blog/secrets/db_password", first := canary())
    old = datetime.now(UTC).timestamp() - 3 * 86400
    os.utime(secret, (old, old))
    swarm.compose(manage.folder / "blog", "up", "--detach")
    plugins = manage.folder / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(compose_program())
    manage.env["DOCKER_CONFIG"] = str(plugins.parent)
    inside = Manage(manage.folder / "blog", manage.custody)
    inside.env = {**manage.env}

    planned = inside("rotate", "--due", "--compose", "--dry-run")
    assert planned.code == 0, planned.stderr
    assert "DB_PASSWORD: 1 file would get a new value" in planned.stderr
    document = manage.json("rotate", "--due", "--everywhere")
    assert [(run["project"], run["state"]) for run in document["runs"]] == [("blog", "rotated")]
    manage.custody.canaries.append(second := secret.read_text())
    assert second != first
    assert inside("rotate", "--due").code == 0  # nothing any more
    assert secret.read_text() == second
    if sys.platform != "win32":
        os.chown(manage.folder / "blog", 12345, -1)
        other = manage("rotate", "--due", "--everywhere")
        assert other.code == 1
        assert "belongs to another user" in other.stderr
    (manage.folder / "blog").rename(manage.folder / "gone")
    (manage.folder / "blog").symlink_to("nowhere")
    gone = manage("rotate", "--due", "--everywhere")
    assert gone.code == 1
    assert "cannot look into " in gone.stderr
    swarm.compose(manage.folder / "gone", "--project-name", "blog", "down", "--timeout", "1")


def test_stacks_that_share_a_folder_are_kept_apart_by_a_rotation(
    swarm: PrivateSwarm, manage: Manage, canary: Canary
) -> None:
    """Deployed with the same value, from one checkout: a new one for production is not what staging gets next."""
    first = canary()
    for name in ("db_password", "token"):
        manage.write(f"secrets/{name}", first).chmod(0o600)
    for words in ((), ("--stack", "prod"), ("--stack", "staging")):
        assert manage("create-swarm", *words).code == 0

    end = manage("rotate", "DB_PASSWORD", "--generate", "--stack", "prod")

    assert end.code == 0, end.stderr
    assert "secrets/prod has the values of the stack prod from now on" in end.stderr
    read = {name: (manage.folder / "secrets" / name).read_text() for name in ("db_password", "token", "prod/token")}
    assert set(read.values()) == {first}
    assert (manage.folder / "secrets/prod/db_password").read_text() != first
    for stack in ("prod", "staging", ""):
        of_stack = ("--stack", stack) if stack else ()
        drift = [item for item in manage.json("diff", "--all", *of_stack)["keys"] if item["state"] == "different"]
        assert (drift, manage("create-swarm", *of_stack).code) == ([], 0), stack

    assert manage("rotate", "TOKEN", "--generate").code == 0
    assert (manage.folder / "secrets/token").read_text() != first
    assert {(manage.folder / f"secrets/{stack}/token").read_text() for stack in ("prod", "staging")} == {first}
