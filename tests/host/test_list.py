"""`list` and `diff`: where every key is stored, and whether it is the same everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Canary, Manage, PrivateSwarm, seconds_of

SCHEMA = """\
# @required @sensitive @rotate=90d @services=db
DB_PASSWORD=

LOG_LEVEL=info
"""


def keys(manage: Manage, *arguments: str) -> dict[str, Any]:
    return {row["key"]: row for row in manage.json("list", *arguments)["keys"]}


def test_a_key_is_shown_wherever_it_stands(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write(".env", f"DB_PASSWORD={canary()}\nLOG_LEVEL=debug\n")
    manage.write("compose.yaml", "services:\n  web:\n    image: x\n    environment:\n      LOG_LEVEL: x\n")
    manage("create-from-env")
    manage.write("secrets/other", canary())

    rows = keys(manage, "--env-file", ".env", "--no-engine")

    assert list(rows) == ["DB_PASSWORD", "LOG_LEVEL", "OTHER"]
    assert rows["DB_PASSWORD"] == {
        "key": "DB_PASSWORD",
        "category": "required secret",
        "required": True,
        "sensitive": True,
        "env": True,
        "file": "db_password",
        "path": str(manage.folder / "secrets/db_password"),
        "swarm": None,
        "services": ["db"],
    }
    assert rows["LOG_LEVEL"]["services"] == ["web"]
    assert rows["OTHER"]["category"] == "not in the schema"
    assert manage("list").stdout.splitlines()[1].split()[:4] == ["DB_PASSWORD", "required", "secret", "yes"]
    assert manage.json("list", "--services", "--no-engine")["services"] == [
        {"service": "db", "keys": ["DB_PASSWORD"]},
        {"service": "web", "keys": ["LOG_LEVEL"]},
    ]


def test_without_an_engine_that_answers_nothing_is_clean(manage: Manage, canary: Canary) -> None:
    """The exit code, the table and the JSON say that nobody looked; who wants files only says so."""
    manage.write("secrets/a", canary())
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"

    table = manage("list")
    document = manage("list", "--services", "--json")

    assert (table.code, document.code) == (111, 111)
    assert " ?" in table.stdout
    assert "no engine answers" in json.loads(document.stdout)["not_looked_at"][0]
    assert manage.json("list", "--no-engine")["not_looked_at"] == []


@pytest.mark.engine
def test_the_swarms_version_and_services_are_shown(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write("secrets/db_password", canary())
    manage("create-swarm")
    service = ["service", "create", "--detach", "--name", "backend", "--replicas", "0", "--secret", "db_password.v1"]
    swarm.docker(*service, swarm.image(), "/busybox")

    row = keys(manage)["DB_PASSWORD"]

    assert row["swarm"]["version"] == 1
    assert row["swarm"]["age_days"] < 0.1
    assert 89.9 < row["swarm"]["rotate_in_days"] <= 90
    assert row["services"] == ["backend", "db"]


@pytest.mark.engine
@pytest.mark.slow
def test_a_thousand_secrets_and_two_hundred_services_are_listed(swarm: PrivateSwarm, manage: Manage) -> None:
    for number in range(1000):
        manage.write(f"secrets/key_{number}", f"value-{number}")
    assert manage("create-swarm").code == 0
    for number in range(200):
        name = f"key_{number}.v1"
        options = ["service", "create", "--detach", "--no-resolve-image", "--replicas", "0", "--secret", name]
        options += ["--name", f"service-{number}"]  # the engine's own made-up names may meet
        swarm.docker(*options, swarm.image(), "/busybox")

    rows: dict[str, Any] = {}
    took = seconds_of(lambda: rows.update(keys(manage)))

    print(f"list: {took:.2f} s")  # noqa: T201
    assert len(rows) == 1000
    assert rows["KEY_199"]["services"] == ["service-199"]
    assert not rows["KEY_200"]["services"]


def state_of(manage: Manage, *arguments: str) -> dict[str, str]:
    end = manage("diff", "--json", *arguments)
    assert end.code in (0, 1), end.stderr
    return {row["key"]: row["state"] for row in json.loads(end.stdout)["keys"]}


@pytest.mark.engine
def test_a_difference_between_any_two_places_is_found(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    same = canary()
    manage.write(".env", f"A={same}\nB={canary()}\n")
    manage("create-from-env")
    manage("create-swarm")
    assert state_of(manage, "--all") == {"A": "same", "B": "same"}
    assert manage("diff").code == 0

    manage.write("secrets/b", canary())
    manage.write("secrets/c", canary())

    assert state_of(manage) == {"B": "different", "C": "only in secrets"}
    assert manage("diff").code == 1


@pytest.mark.engine
@pytest.mark.frozen
def test_a_container_is_asked_through_its_shim(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, shim_binary: Path
) -> None:
    manage.write("secrets/a", canary())
    manage("create-swarm")
    options = ["--name", "s", "--secret", "source=a.v1,target=a", "--stop-grace-period", "1s"]
    swarm.serve(*options, swarm.image_with_shim(shim_binary), "/opt/shim/shim", "--", "/busybox", "sleep", "1000")

    end = manage("diff", "--all", "--json")
    document = json.loads(end.stdout)

    assert end.code == 0, end.stderr
    container = next(place for place in document["places"] if place.startswith("s.1."))
    assert document["keys"][0]["fingerprints"][container] == document["keys"][0]["fingerprints"]["swarm"]

    swarm.docker("pause", container)
    for words in ("diff", "audit"):  # what cannot be asked is not clean
        end = manage(words, "--json")
        assert end.code == 111
        assert f"{container} is paused" in " ".join(json.loads(end.stdout)["not_looked_at"])
    swarm.docker("unpause", container)

    manage.write("secrets/a", canary())
    assert manage("diff").code == 1
