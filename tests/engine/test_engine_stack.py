"""The reference stack of docker-compose.yml on a real engine, from the files as they are in the repository."""

import json
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import ROOT, SHIM, UGLY, Engine, assert_kept_nothing, fingerprint_of
from tests.support.host import SCRIPT
from tests.support.stack import IMAGES, NAMES, PYTHON_SERVICES, SECRETS_OF, Stack, canaries, remove_images, values

pytestmark = [pytest.mark.engine, pytest.mark.frozen]

WAIT_FOR_MOVEMENTS = """
SET statement_timeout = '60s';
DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM movement) LOOP COMMIT; PERFORM pg_sleep(0.2); END LOOP; END $$;
SELECT count(*) > 0 FROM movement;
"""


@pytest.fixture(scope="module", autouse=True)
def _images(engine: Engine) -> Iterator[None]:
    yield
    remove_images(engine)


@pytest.fixture(scope="module", name="stack")
def _stack(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give the whole stack, started once for all tests here; only the files that it needs are there."""
    every = values()
    stack = Stack(engine, tmp_path_factory.mktemp("stack"), "stack", {name: every[name] for name in NAMES})
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def _bearer(stack: Stack, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.secrets[name]}"}


def _psql(stack: Stack, statements: str) -> str:
    login = "PGPASSWORD=$POSTGRES_PASSWORD exec psql -h $(hostname) -U $POSTGRES_USER -d $POSTGRES_DB -qtA"
    done = stack.engine.docker(
        *("exec", "--interactive", stack.containers()["postgres"], SHIM, "exec", "--", "sh", "-c", login),
        input=statements,
    )
    return done.stdout.strip()


def test_every_service_is_healthy_and_is_pid_1(engine: Engine, stack: Stack) -> None:
    """From files alone, with no environment variable: the shim is gone, and no service is left root."""
    containers = stack.containers()
    assert set(containers) == set(SECRETS_OF)
    programs = {service: engine.main_program(container) for service, container in containers.items()}
    assert programs.pop("postgres") == "postgres"
    assert programs.pop("backend").startswith("node")
    assert all(program.startswith("python3") for program in programs.values()), programs
    for service, container in containers.items():
        assert engine.state(container)["Health"]["Status"] == "healthy", service
        pid = engine.state(container)["Pid"]
        assert Path(f"/proc/{pid}").stat().st_uid != 0, f"{service} runs as root"


def test_a_service_finds_its_own_secrets_and_no_other(engine: Engine, stack: Stack) -> None:
    """What is mounted is what the service needs, and nobody can write there."""
    for service, container in stack.containers().items():
        mounts = [mount for mount in engine.inspect(container)["Mounts"] if mount["Type"] == "bind"]
        assert {Path(mount["Destination"]).name for mount in mounts} == SECRETS_OF[service], service
        assert {(str(Path(mount["Destination"]).parent), mount["RW"]) for mount in mounts} == {("/run/secrets", False)}
        if service in PYTHON_SERVICES:
            page = json.loads(stack.ask(service, "http://127.0.0.1:8090/health")[1])
            assert (page["service"], page["status"], page["pid"], page["user"]) == (service, "ok", 1, "app")
            # Names that came from a file, nothing that is made of a value, and what the host made is what they have.
            from_files = {key for key, shown in page["secrets"].items() if shown == {"origin": "root"}}
            assert {key.lower() for key in from_files} == SECRETS_OF[service] - {"db_user"}  # is not a secret
            has = engine.fingerprints(container)
            for key in from_files:
                assert has[key] == fingerprint_of(stack.secrets[key.lower()], key)


def test_our_own_audit_finds_nothing_to_mend(engine: Engine, stack: Stack) -> None:
    """Nothing above a note in the stack that everybody is told to copy from, whatever else runs on this engine."""
    shutil.copy(ROOT / ".env.schema", stack.folder)
    done = subprocess.run(
        [sys.executable, SCRIPT, "audit", "--json"],
        cwd=stack.folder,
        env={**engine.environ, **stack.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    project = stack.environ["COMPOSE_PROJECT_NAME"]
    found = json.loads(done.stdout)["findings"]
    ours = [finding for finding in found if project in str(finding) or finding["service"] in ("", *SECRETS_OF)]
    assert {finding["level"] for finding in ours} <= {"note"}, ours


def test_data_flows_from_the_feed_to_the_browser(stack: Stack) -> None:
    """Games and prices are polled with their keys, movements computed, and predictions reach who has a token."""
    anonymous = _bearer(stack, "anon_key")
    predictions = stack.get(stack.backend_port, "/predictions", anonymous)
    assert [line["game"] for line in predictions] == ["game-0", "game-1", "game-2", "game-3"]
    assert all(0 < float(line["home_wins"]) < 1 for line in predictions)
    assert _psql(stack, WAIT_FOR_MOVEMENTS) == "t"
    assert int(_psql(stack, "SELECT count(DISTINCT bookmaker) FROM odds")) == 2


def test_who_lacks_the_secret_is_turned_away(stack: Stack) -> None:
    """The keys matter: the feed and the backend refuse who has none, or the wrong one."""
    assert stack.ask("strict-api", "http://feed:8090/v4/sports/basketball_nba/odds?apiKey=wrong")[0] == 401
    assert stack.ask("strict-api", "http://feed:8090/games")[0] == 401
    for headers, status in (({}, 401), ({"Authorization": "Bearer a.b.c"}, 401)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            stack.get(stack.backend_port, "/predictions", headers)
        assert refused.value.code == status
    with pytest.raises(urllib.error.HTTPError) as refused:
        stack.get(stack.backend_port, "/seal", _bearer(stack, "anon_key"), b"text")
    assert refused.value.code == 403


def test_what_the_backend_seals_only_it_can_open(stack: Stack) -> None:
    service = _bearer(stack, "service_role_key")
    sealed = stack.get(stack.backend_port, "/seal", service, b"a user's token")["sealed"]
    assert stack.get(stack.backend_port, "/unseal", service, sealed.encode())["text"] == "a user's token"
    with pytest.raises(urllib.error.HTTPError) as refused:
        stack.get(stack.backend_port, "/unseal", service, sealed[:-4].encode() + b"AAAA")
    assert refused.value.code == 400


def test_events_are_kept(stack: Stack) -> None:
    kept = stack.get(stack.port, "/events", data=b'{"kind": "test", "note": "kept"}')
    assert kept in stack.get(stack.port, "/events")


def test_a_new_start_of_the_database_is_no_event(engine: Engine, stack: Stack) -> None:
    """The services keep running, and find the database again by themselves."""
    containers = stack.containers()
    before = {service: engine.state(container)["StartedAt"] for service, container in containers.items()}
    stack("restart", "postgres")
    stack.up("postgres")
    assert stack.get(stack.port, "/health")["status"] == "ok"
    assert len(stack.get(stack.backend_port, "/predictions", _bearer(stack, "anon_key"))) == 4
    after = {service: engine.state(container)["StartedAt"] for service, container in containers.items()}
    assert {service for service in after if after[service] != before[service]} == {"postgres"}


def test_the_next_login_works_beside_the_one_before(engine: Engine, stack: Stack) -> None:
    """When name and password of the login rotate, neither who has the old ones is locked out, nor who has the new."""
    new = {"db_user": "app_next", "db_password": f"next {UGLY}"}
    for name, value in new.items():
        (stack.folder / "secrets" / name).write_text(value + "\n", encoding="utf-8")
    stack("up", "--no-build", "--detach", "--wait", "--no-deps", "--force-recreate", "database-login", timeout=180)
    logins = "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'app\\_%'"
    assert _psql(stack, logins) == "2"
    anonymous = _bearer(stack, "anon_key")
    assert len(stack.get(stack.backend_port, "/predictions", anonymous)) == 4

    stack("up", "--no-build", "--detach", "--wait", "--no-deps", "--force-recreate", "prediction-service", timeout=180)
    has = engine.fingerprints(stack.containers()["prediction-service"])
    assert has["DB_PASSWORD"] == fingerprint_of(new["db_password"], "DB_PASSWORD")
    assert len(stack.get(stack.backend_port, "/predictions", anonymous)) == 4
    # What one login made, the other can change: it belongs to neither.
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert _psql(stack, owners) == "app_owner"
    stack.secrets["the next db_password"] = new["db_password"]


def test_the_engine_keeps_no_value(engine: Engine, stack: Stack) -> None:
    """There is no value in a log, in what `docker inspect` shows, or in the layers of an image."""
    for container in stack.containers().values():
        assert_kept_nothing(engine, container, [*canaries(stack.secrets), UGLY])
    for image in IMAGES:
        history = engine.docker("history", "--no-trunc", f"docker-secrets-shim/{image}:{stack.environ['TAG']}").stdout
        assert not any(value in history for value in canaries(stack.secrets))


def test_a_stopping_service_still_answers_for_a_while(engine: Engine, stack: Stack) -> None:
    """Who balances the load learns of a stop later than the service: requests of that time are answered."""
    for service, address in (
        ("prediction-service", "http://prediction-service:8090/predictions"),
        ("backend", "http://backend:3000/config"),
    ):
        container = stack.containers()[service]
        with stack.about_to_ask("strict-api", address) as ask:
            engine.docker("kill", "--signal", "TERM", container)
            assert ask()[0] == 200
        assert engine.docker("wait", container).stdout.strip() == "0"
    stack.up("prediction-service", "backend")


def test_every_service_ends_when_it_is_asked_to(engine: Engine, stack: Stack) -> None:
    """The last test of the running stack: nobody waits for its SIGKILL, which would be 137."""
    containers = stack.containers()
    stack("stop", timeout=180)
    ends = {service: engine.state(container)["ExitCode"] for service, container in containers.items()}
    assert ends == dict.fromkeys(SECRETS_OF, 0)


def test_a_secret_wins_over_a_variable(engine: Engine, tmp_path: Path) -> None:
    """The optional variable is set, too; the file is what counts, in both services, and `explain` says so."""
    stack = Stack(engine, tmp_path, "wins", {name: values()[name] for name in NAMES})
    try:
        stack.up("strict-api", environ={"DB_PASSWORD": "from-the-environment"})
        assert stack.get(stack.port, "/health")["status"] == "ok"
        explained = engine.docker("exec", stack.containers()["strict-api"], SHIM, "explain", "--json").stdout
    finally:
        stack.down()
    assert "from-the-environment" not in explained
    assert UGLY not in explained


def test_variables_do_where_there_is_no_file(engine: Engine, tmp_path: Path) -> None:
    """Whoever has no files yet sets variables, and the services run all the same."""
    stack = Stack(engine, tmp_path, "variables", {name: values()[name] for name in NAMES})
    (tmp_path / "docker-compose.override.yml").write_text("services:\n  feed:\n    secrets: !reset []\n")
    given = {"THE_ODDS_API_KEY": "c4n4ry-odds-key", "API_BASKETBALL_KEY": "c4n4ry-games-key"}
    try:
        stack.up("feed", environ=given)
        page = json.loads(stack.ask("feed", "http://127.0.0.1:8090/health")[1])
    finally:
        stack.down()
    assert {key: shown["origin"] for key, shown in page["secrets"].items()} == dict.fromkeys(given, "environment")


def test_the_optional_keys_come_as_files_too(engine: Engine, tmp_path: Path) -> None:
    """With docker-compose.optional.yml every secret of the schema reaches the services that may have it."""
    stack = Stack(engine, tmp_path, "optional", values())
    try:
        stack.up("backend", files=("docker-compose.yml", "docker-compose.optional.yml"))
        shown = stack.get(stack.backend_port, "/health")["secrets"]
        container = stack.containers()["backend"]
        has = engine.fingerprints(container)
        assert_kept_nothing(engine, container, [*canaries(stack.secrets), UGLY])
    finally:
        stack.down()
    assert len(shown) == 15
    assert {key: has[key] for key in shown} == {key: fingerprint_of(stack.secrets[key.lower()], key) for key in shown}
