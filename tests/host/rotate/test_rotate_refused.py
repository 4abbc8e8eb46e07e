"""A rotation that cannot go on: each message is met in a real Swarm, and what it promises is so."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.host import Manage, PrivateSwarm
from tests.support.rotation import mounted, serve, versions

pytestmark = pytest.mark.engine

SECRET = ("--secret", "source=db_password.v1,target=db_password")
BEFORE = ["anon_key.v1", "db_password.v1", "jwt_secret.v1"]
ENDS_WHEN_LET = (
    "trap 'until [ -e /go ]; do /busybox sleep 0.1; done; exit 0' TERM; while :; do /busybox sleep 0.1; done"
)


def test_a_plan_of_another_release_is_left_alone(swarm: PrivateSwarm, project: Manage) -> None:
    label = ("--label", "docker-secrets-shim.rotation=lock")
    swarm.docker("config", "create", *label, "docker-secrets-shim.rotation", "-", stdin=b'{"of": "a later release"}')

    for arguments in (("--resume",), ("DB_PASSWORD", "--generate")):
        end = project("rotate", *arguments)
        assert end.code == 1
        assert "another release of manage-secrets began a rotation here" in end.stderr

    assert swarm.docker("config", "ls", "-q") != ""
    assert versions(swarm) == BEFORE


def test_a_service_that_never_becomes_healthy_goes_back(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """Nor is it ever said to be ill: it may fail more often than anybody waits. Its own interval counts besides."""
    first = project.secrets()["db_password"].decode()
    command = f'[ "$DB_PASSWORD" != {first} ] || : >/ready; exec /busybox sleep 1000'
    slow = ("--health-cmd", "/busybox test -e /ready", "--health-retries", "1000", "--health-timeout", "1s")
    serve(swarm, "app", image, *SECRET, *slow, command=command)

    end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "5s")

    assert end.code == 1, end.stderr
    assert "app did not come up within 8 s" in end.stderr
    assert "every service is back" in end.stderr
    assert versions(swarm) == BEFORE


def test_a_service_that_fails_once_it_is_up_goes_back(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """The Swarm watches for a moment only; while old tasks end, the version before can still be gone back to."""
    first = project.secrets()["db_password"].decode()
    waits_for_its_end = "until [ -e /go ]; do /busybox sleep 0.1; done; exit 3"
    command = f'[ "$DB_PASSWORD" != {first} ] || exec /busybox sleep 1000; {waits_for_its_end}'
    serve(swarm, "app", image, *SECRET, "--stop-grace-period", "10s", "--restart-delay", "5m", command=command)

    def end_the_new_one() -> None:
        state = ("service", "inspect", "--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", "app")
        deadline = time.monotonic() + 60
        while swarm.docker(*state) != "completed":
            assert time.monotonic() < deadline
        for container in swarm.docker("ps", "-q").split():
            swarm.docker("exec", container, "/busybox", "touch", "/go", check=False)

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end_the_new_one)
        end = project("rotate", "DB_PASSWORD", "--generate")
        ending.result()

    assert end.code == 1, end.stderr
    assert "app came up with the new version, and then failed: task: non-zero exit (3)" in end.stderr
    assert "every service is back" in end.stderr
    assert versions(swarm) == BEFORE


def test_a_service_that_runs_with_another_value_goes_back(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    swarm.docker("config", "create", "other", "-", stdin=b"something else")
    elsewhere = ("--config", "source=other,target=/elsewhere/db_password", "--env", "SHIM_SECRETS_DIR=/elsewhere")
    serve(swarm, "app", image, *SECRET, *elsewhere)

    end = project("rotate", "DB_PASSWORD", "--generate")

    assert end.code == 1, end.stderr
    assert "app runs with a different value of DB_PASSWORD than the new version has" in end.stderr
    assert versions(swarm) == BEFORE


def test_an_old_task_may_take_its_grace_period_to_end(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """`--timeout` is for what does not move; a worker that finishes its work first is within its rights."""
    serve(swarm, "app", image, *SECRET, "--stop-grace-period", "10m", command=ENDS_WHEN_LET)
    (old,) = swarm.docker("ps", "-q").split()

    def let_it_end() -> None:
        deadline = time.monotonic() + 60
        while len(swarm.docker("ps", "-q").split()) < 2:
            assert time.monotonic() < deadline
        swarm.docker("events", "--until", str(int(time.time()) + 4))  # longer than --timeout
        swarm.docker("exec", old, "/busybox", "touch", "/go")

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(let_it_end)
        end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "1s")
        ending.result()

    assert end.code == 0, end.stderr
    assert mounted(swarm, "app") == [("db_password.v2", "db_password")]
