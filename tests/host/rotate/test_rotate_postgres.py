"""Workers of a Swarm service write to a real PostgreSQL, each statement over a connection of its own, none tried twice,
while the password that they connect with rotates through the command line."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.host import Canary, Manage, PrivateSwarm

pytestmark = pytest.mark.engine

FULL = bool(os.environ.get("ROTATE_FULL"))
ROTATIONS = 20 if FULL else 2
WORKERS = 2 if FULL else 1
WAYS = {
    "alternate": "postgres(users=app_a|app_b, userKey=DB_USER, service=db, admin=app, database=app)",
    "single": "postgres(user=app_a, service=db, admin=app, database=app)",
}
SCHEMA = """\
# @sensitive
POSTGRES_PASSWORD=
# @sensitive @generate @rotate-with={way}
DB_PASSWORD=
# @sensitive
DB_USER=
"""
ROLES = """
CREATE ROLE app_owner NOLOGIN;
CREATE ROLE app_a LOGIN IN ROLE app_owner;
CREATE ROLE app_b LOGIN IN ROLE app_owner;
ALTER ROLE app_a IN DATABASE app SET role app_owner;
ALTER ROLE app_b IN DATABASE app SET role app_owner;
CREATE TABLE written (who text DEFAULT session_user);
ALTER TABLE written OWNER TO app_owner;
"""
# Two loops; told to end, each finishes its statement and says what it counted. psql repeats no password.
WORK = """
trap 'touch /tmp/end' TERM
work() {
  ok=0 failed=0
  while [ ! -e /tmp/end ]; do
    if PGPASSWORD=$DB_PASSWORD /usr/lib/postgresql/15/bin/psql -X -q -w -h db -U "$DB_USER" -d app \
      -c 'INSERT INTO written DEFAULT VALUES'; then
      ok=$((ok + 1)); [ -e /tmp/up ] || touch /tmp/up
    else
      failed=$((failed + 1))
    fi
    sleep 0.02
  done
  echo "{\\"ok\\": $ok, \\"failed\\": $failed}"
}
work & work &
until [ -e /tmp/end ]; do wait; done
wait
"""


@pytest.fixture
def database(
    engine: Engine, swarm: PrivateSwarm, manage: Manage, canary: Canary, tmp_path: Path, shim_binary: Path
) -> Iterator[Callable[..., str]]:
    """Run PostgreSQL in the Swarm; return what runs SQL there."""
    (tmp_path / "shim").mkdir()
    shutil.copy(shim_binary, tmp_path / "shim" / "shim")
    image = engine.base("postgres")
    with subprocess.Popen(["docker", "save", image], env=engine.environ, stdout=subprocess.PIPE) as saving:
        environ = {**os.environ, "DOCKER_HOST": swarm.host}
        subprocess.run(["docker", "load", "--quiet"], stdin=saving.stdout, env=environ, check=True, capture_output=True)
    swarm.docker("tag", image, "database")
    if "inside" not in swarm.docker("network", "ls", "--format", "{{.Name}}").split():
        swarm.docker("network", "create", "--driver", "overlay", "--attachable", "inside")
    # The containers that have ended hold what their workers counted.
    swarm.docker("swarm", "update", "--task-history-limit", "100")
    manage.write("secrets/postgres_password", canary())
    manage.write("secrets/db_password", password := canary())
    manage.write("secrets/db_user", "app_a")
    assert manage("create-swarm").code == 0
    settings = (
        *("POSTGRES_USER=app", "POSTGRES_DB=app", "POSTGRES_INITDB_ARGS=--no-sync"),
        "POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password",
    )
    swarm.serve(
        *("--name", "db", "--network", "inside", "--endpoint-mode", "dnsrr"),
        *("--stop-signal", "SIGINT"),  # it ends sessions instead of waiting for them
        *(word for setting in settings for word in ("--env", setting)),
        *("--health-cmd", "pg_isready -q -h 127.0.0.1 -U app", "--health-interval", "1s", "--health-retries", "60"),
        *("--secret", "source=postgres_password.v1,target=postgres_password,mode=0400"),
        *("database", "postgres", "-c", "fsync=off"),
    )
    container = swarm.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=db")

    def run(statements: str) -> str:
        words = ("exec", "--interactive", container, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
        return swarm.docker(*words, "-U", "app", "-d", "app", stdin=statements.encode())

    run(ROLES + f"ALTER ROLE app_a PASSWORD '{password}';")
    yield run
    swarm.empty()
    swarm.docker("swarm", "update", "--task-history-limit", "5")


def workers(swarm: PrivateSwarm, folder: Path) -> None:
    swarm.serve(
        *("--name", "worker", "--replicas", str(WORKERS), "--network", "inside"),
        *("--endpoint-mode", "dnsrr", "--update-order", "start-first", "--update-parallelism", "1"),
        *("--update-failure-action", "rollback", "--update-monitor", "1s", "--stop-grace-period", "60s"),
        *("--health-cmd", "test -e /tmp/up", "--health-interval", "1s", "--health-retries", "60"),
        *("--restart-condition", "none"),  # a worker that ends ends the test
        *("--mount", f"type=bind,source={folder}/shim,target=/opt/shim,readonly"),
        *("--secret", "source=db_password.v1,target=db_password", "--secret", "source=db_user.v1,target=db_user"),
        *("--entrypoint", "/opt/shim/shim", "database", "--", "sh", "-c", WORK),
    )


def end(swarm: PrivateSwarm) -> tuple[int, int, list[str]]:
    """Stop the workers; return how many statements succeeded and failed in all of them, and what was said of those."""
    of_service = ("--filter", "label=com.docker.swarm.service.name=worker")
    swarm.docker("stop", "--time", "60", *swarm.docker("ps", "--quiet", *of_service).split())
    ok = failed = 0
    said: list[str] = []
    for container in swarm.docker("ps", "--all", "--quiet", *of_service).split():
        log = subprocess.run(
            ["docker", "logs", container],
            env={**os.environ, "DOCKER_HOST": swarm.host},
            capture_output=True,
            text=True,
            check=True,
        )
        counts = [json.loads(line) for line in log.stdout.splitlines() if line.startswith("{")]
        assert len(counts) == 2, log.stdout + log.stderr  # none was killed, and none is missing
        ok += sum(count["ok"] for count in counts)
        failed += sum(count["failed"] for count in counts)
        said += log.stderr.splitlines()
    return ok, failed, said


@pytest.mark.timeout(1800 if FULL else 300)
@pytest.mark.parametrize("strategy", ["alternate", "single"] if FULL else ["alternate"])
def test_statements_while_the_password_rotates(
    swarm: PrivateSwarm,
    manage: Manage,
    database: Callable[..., str],
    tmp_path: Path,
    strategy: str,
    record_property: Callable[[str, object], None],
) -> None:
    manage.write(".env.schema", SCHEMA.format(way=WAYS[strategy]))
    workers(swarm, tmp_path)

    for number in range(ROTATIONS):
        document = manage.json("rotate", "DB_PASSWORD", "--generate")
        keys = ["DB_PASSWORD", "DB_USER"] if strategy == "alternate" else ["DB_PASSWORD"]
        assert [(key["key"], key["version"]) for key in document["keys"]] == [(key, number + 2) for key in keys]
        assert (document["services"], document["verified"]) == (["worker"], WORKERS)
    ok, failed, said = end(swarm)

    written = dict(line.split("|") for line in database("SELECT who, count(*) FROM written GROUP BY who").splitlines())
    record_property("statements", {"ok": ok, "failed": failed, "written": written})
    assert sum(map(int, written.values())) == ok
    assert set(written) == ({"app_a", "app_b"} if strategy == "alternate" else {"app_a"})
    assert ok > 10 * ROTATIONS
    if strategy == "alternate":
        assert failed == 0, said[:5]
    else:
        assert failed > 0  # in the moment when one half has the new value; docs/ROTATION.md says how many
        assert all(re.search("password authentication failed", line) for line in said), said[:5]
