"""The reference stack of docker-compose.swarm.yml in a real Swarm of one node: started, looked at, and changed."""

import json
from collections.abc import Iterator

import pytest

from tests.support.engine import UGLY, Engine
from tests.support.host import PrivateSwarm
from tests.support.stack import NAMES, PYTHON_SERVICES, SECRETS_OF, canaries, remove_images, values
from tests.support.stack_swarm import SwarmStack

pytestmark = [pytest.mark.engine, pytest.mark.frozen, pytest.mark.slow]


@pytest.fixture(scope="module", name="stack")
def _stack(
    engine: Engine, private_swarm: PrivateSwarm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SwarmStack]:
    """Give the whole stack, deployed once for all tests here."""
    every = values()
    folder = tmp_path_factory.mktemp("swarm-stack")
    stack = SwarmStack(engine, [private_swarm.host], folder, {name: every[name] for name in NAMES})
    try:
        stack.load_images()
        stack.create_secrets()
        stack.deploy()
        yield stack
    finally:
        stack.remove()
        remove_images(engine)


def test_every_service_is_healthy(stack: SwarmStack) -> None:
    """All replicas run and pass the images' health checks; none needed a second try because others were missing."""
    stack.wait_until_healthy()
    assert set(stack.containers()) == set(SECRETS_OF)
    assert len(stack.containers()["prediction-service"]) == 2


def test_a_service_finds_its_own_secrets_under_names_without_version(stack: SwarmStack) -> None:
    """Whichever version: the file is called as in Compose, is for root alone, and holds what the host made."""
    stack.wait_until_healthy()
    for service, (container, *_) in stack.containers().items():
        listed = stack.exec(container, "sh", "-c", "cd /run/secrets && stat -c '%n %a %u' *").split("\n")
        assert {tuple(line.split(" ")) for line in listed} == {(name, "400", "0") for name in SECRETS_OF[service]}
        if service in PYTHON_SERVICES:
            page = json.loads(stack.fetch(container, "http://127.0.0.1:8090/health"))
            assert (page["status"], page["pid"], page["user"]) == ("ok", 1, "app")
            for key in {name.upper() for name in SECRETS_OF[service]} - {"DB_USER"}:
                assert page["secrets"][key] == {"origin": "root"}
                assert stack.exec(container, "printenv", key) == stack.secrets[key.lower()]


def test_our_own_audit_finds_nothing_to_mend(stack: SwarmStack) -> None:
    """Nothing above a note in the stack that everybody is told to copy from."""
    stack.wait_until_healthy()
    found = json.loads(stack.manage("audit", "--json"))
    assert {finding["level"] for finding in found["findings"]} <= {"note"}


def test_services_find_each_other_by_name(stack: SwarmStack) -> None:
    """Prices and games came in, and predictions go out, over the overlay network."""
    stack.wait_until_healthy()
    container = stack.containers()["strict-api"][0]
    predictions = json.loads(stack.fetch(container, "http://prediction-service:8090/predictions"))
    assert [line["game"] for line in predictions] == ["game-0", "game-1", "game-2", "game-3"]
    assert "supabaseUrl" in json.loads(stack.fetch(container, "http://backend:3000/config"))


def test_a_deploy_with_the_lock_file_brings_the_version_that_is_in_use(stack: SwarmStack) -> None:
    """The next version is deployed by its number alone; who issues the key and who uses it both move to it."""
    stack.wait_until_healthy()
    new = f"next {UGLY}"
    stack.secrets["the_odds_api_key"] = new
    stack.docker("secret", "create", "the_odds_api_key.v2", "-", stdin=new.encode())
    lock = stack.folder / "secrets.lock.env"
    lock.write_text("# which versions are in use\nTHE_ODDS_API_KEY_VERSION=2\n")

    stack.deploy(lock)
    stack.wait_until_updated("feed", "odds-ingestion")

    stack.wait_until_healthy()
    for service in ("feed", "odds-ingestion"):
        assert stack.exec(stack.containers()[service][0], "printenv", "THE_ODDS_API_KEY") == new


@pytest.mark.timeout(600)
def test_the_login_rotates_under_load_and_nobody_is_turned_away(stack: SwarmStack) -> None:
    """`rotate` gives every service the next login while requests, each with a login of its own, go on; none fails.

    The lock file that it leaves makes the next deploy one that changes nothing.
    """
    stack.wait_until_healthy()
    lock = stack.folder / "secrets.lock.env"
    lock.write_text("THE_ODDS_API_KEY_VERSION=2\n")
    load = stack.start_load("http://prediction-service:8090/predictions")

    # All at once: who comes with the new login waits until database-login has made it.
    done = stack.manage("rotate", "DB_USER", "DB_PASSWORD", "--generate", "--json", timeout=400)

    counted = stack.end_load(load)
    assert json.loads(done)["state"] == "rotated"
    assert counted["failed"] == 0, counted
    assert counted["requests"] > 100
    stack.wait_until_healthy()
    for container in stack.containers()["prediction-service"]:
        stack.secrets["rotated"] = stack.exec(container, "printenv", "DB_PASSWORD")
        assert stack.secrets["rotated"] != stack.secrets["db_password"]

    before = stack.containers()
    stack.deploy(lock)
    stack.wait_until_healthy()
    assert stack.containers() == before


def test_a_value_that_does_not_do_changes_nothing(stack: SwarmStack) -> None:
    """A new version that the service cannot start with is rolled back by itself; the old replica never stopped."""
    stack.wait_until_healthy()
    before = set(stack.containers()["prediction-service"])
    stack.secrets["too short for the schema"] = "c4n4ry!"
    stack.docker("secret", "create", "db_password.v9", "-", stdin=b"c4n4ry!")

    stack.docker(
        *("service", "update", "--detach", "--quiet", "--secret-rm", "db_password.v2", "--secret-add"),
        *("source=db_password.v9,target=db_password,mode=0400", "shim_prediction-service"),
    )
    assert stack.wait_until_updated("prediction-service") == ["rollback_completed"]

    stack.wait_until_healthy()
    assert before & set(stack.containers()["prediction-service"]), "no replica was left alone"


def test_the_swarm_keeps_no_value(stack: SwarmStack) -> None:
    """The last test: no value is in any log, nor in what can be inspected of services, tasks and secrets."""
    kept = stack.kept()
    for value in canaries(stack.secrets):
        for form in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            assert form not in kept
