"""Rotation in a real Swarm: a new version everywhere, verified, or everything as it was."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shim.secret import keyed
from tests.support.forms import Custody
from tests.support.host import Canary, Manage, PrivateSwarm
from tests.support.rotation import SCHEMA, mounted, serve, spec, versions

pytestmark = pytest.mark.engine


# Whatever this client can say about a service.
EVERYTHING = """
--config source=settings,target=/settings,mode=0440 --constraint node.role==manager --placement-pref
spread=node.labels.a --container-label a=b --label c=d --dns 10.0.0.1 --dns-option ndots:2
--dns-search example.org --env A=1 --env B= --group 0 --health-cmd true --health-interval 1s
--health-retries 3 --health-start-period 2s --health-timeout 4s --host example:10.0.0.2 --hostname
{{.Node.Hostname}} --isolation default --limit-cpu 0.5 --limit-memory 64M --limit-pids 50
--log-driver json-file --log-opt max-size=1m --mount type=tmpfs,target=/scratch,tmpfs-size=1048576
--network name=inside,alias=other --no-resolve-image --read-only --replicas 1 --reserve-cpu 0.1
--reserve-memory 8M --restart-condition on-failure --restart-delay 3s --restart-max-attempts 4
--restart-window 60s --rollback-delay 1s --rollback-failure-action continue
--rollback-max-failure-ratio 0.2 --rollback-monitor 600ms --rollback-order start-first
--rollback-parallelism 2 --secret source=db_password.v1,target=db_password,mode=0400 --secret
source=jwt_secret.v1,target=/run/elsewhere,uid=7 --stop-grace-period 1s --stop-signal SIGINT
--sysctl net.ipv4.ip_default_ttl=60 --ulimit nofile=100:200 --update-delay 100ms
--update-failure-action rollback --update-max-failure-ratio 0.1 --update-monitor 700ms
--update-order start-first --update-parallelism 2 --user 0 --workdir / --endpoint-mode dnsrr
--cap-drop CAP_NET_RAW --init
"""


def test_a_service_moves_to_the_new_value(
    swarm: PrivateSwarm, project: Manage, image: str, canary: Canary, custody: Custody
) -> None:
    serve(swarm, "app", image, "--secret", "source=db_password.v1,target=db_password", replicas=2)
    value = canary()

    document = project.json("rotate", "DB_PASSWORD", "--value-file", "-", stdin=value.encode())

    assert document == {
        "version": 1,
        "keys": [{"key": "DB_PASSWORD", "name": "db_password.v2", "version": 2}],
        "services": ["app"],
        "not_running": [],
        "verified": 2,
        "elsewhere": 0,
        "state": "rotated",
    }
    assert mounted(swarm, "app") == [("db_password.v2", "db_password")]
    running = swarm.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=app").split()
    assert [swarm.environment(container)["DB_PASSWORD"] for container in running] == [value.encode()] * 2
    assert project.secrets()["db_password"] == value.encode()
    labels = json.loads(swarm.docker("secret", "inspect", "db_password.v2"))[0]["Spec"]["Labels"]
    (config,) = json.loads(swarm.docker("config", "inspect", *swarm.docker("config", "ls", "-q").split()))
    assert config["Spec"]["Name"] == "docker-secrets-shim.fingerprint-key"  # and no lock
    key = base64.b64decode(config["Spec"]["Data"])
    assert labels["docker-secrets-shim.fingerprint"] == keyed(value.encode(), "DB_PASSWORD", key)
    custody.said += [swarm.docker("service", "inspect", "app"), json.dumps(labels)]


def test_history_and_rollback(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    serve(swarm, "app", image, "--secret", "source=db_password.v1,target=pw")
    first = project.secrets()["db_password"]
    for _ in range(2):
        assert project("rotate", "DB_PASSWORD", "--generate").code == 0
    project.custody.canaries.append(project.secrets()["db_password"].decode())
    assert versions(swarm) == ["anon_key.v1", "db_password.v2", "db_password.v3", "jwt_secret.v1"]

    rows = project.json("history", "DB_PASSWORD")["versions"]
    assert [(row["version"], row["state"]) for row in rows] == [(1, "removed"), (2, "kept"), (3, "in use")]
    assert all("manage-secrets" in row["by"] and row["created"] for row in rows)

    end = project("rollback", "DB_PASSWORD")
    assert end.code == 1
    assert "remove db_password.v3" in end.stderr
    back = project("rollback", "DB_PASSWORD", "--yes")
    assert back.code == 0
    assert "rolled back" in back.stdout
    assert "rotated" not in back.stdout
    assert mounted(swarm, "app") == [("db_password.v2", "pw")]
    assert "db_password.v3" not in versions(swarm)
    assert project.secrets()["db_password"] != first
    assert "no earlier version of" in project("rollback", "DB_PASSWORD", "--yes").stderr


def test_while_the_old_tasks_of_one_service_end_the_next_moves(
    swarm: PrivateSwarm, project: Manage, image: str
) -> None:
    """The first service's old task ends when it is let, which is after the second has moved; one moves at a time."""
    secret = ("--secret", "source=db_password.v1,target=db_password")
    command = "trap 'until [ -e /go ]; do /busybox sleep 0.1; done; exit 0' TERM; while :; do /busybox sleep 0.1; done"
    serve(swarm, "a", image, *secret, "--stop-grace-period", "200s", command=command)
    serve(swarm, "b", image, *secret)
    old = swarm.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=a")

    with ThreadPoolExecutor(1) as pool:
        rotating = pool.submit(project, "rotate", "DB_PASSWORD", "--generate", "--parallel", "1")
        deadline = time.monotonic() + 100
        while mounted(swarm, "b") != [("db_password.v2", "db_password")]:
            assert time.monotonic() < deadline
            assert not rotating.done(), rotating.result().stderr
            time.sleep(0.2)
        assert not rotating.done(), rotating.result().stderr
        swarm.docker("exec", old, "/busybox", "touch", "/go")
        end = rotating.result()

    assert end.code == 0, end.stderr
    assert "2 services moved" in end.stderr
    for container in swarm.docker("ps", "--quiet").split():  # or the new one takes its 200 s
        swarm.docker("exec", container, "/busybox", "touch", "/go")


def test_a_value_that_does_not_work_is_taken_back(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """The service ends with the new value: the old one is back everywhere, and the message says why."""
    first = project.secrets()["db_password"].decode()
    command = f'[ "$DB_PASSWORD" = {first} ] || exit 3; exec /busybox sleep 1000'
    serve(swarm, "app", image, "--secret", "source=db_password.v1,target=db_password", command=command)
    before = spec(swarm, "app")

    end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "60s")

    assert end.code == 1
    assert "app does not come up with the new version" in end.stderr
    assert "non-zero exit (3)" in end.stderr
    assert "every service is back" in end.stderr
    assert spec(swarm, "app") == before
    assert versions(swarm) == ["anon_key.v1", "db_password.v1", "jwt_secret.v1"]
    assert project.secrets()["db_password"].decode() == first
    assert project("rotate", "--resume").code == 0
    assert project("rotate", "JWT_SECRET", "--generate").code == 0


def test_a_signing_key_takes_its_tokens_along(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    secrets = [f"source={name}.v1,target={name}" for name in ("jwt_secret", "anon_key")]
    serve(swarm, "api", image, "--secret", secrets[0], "--secret", secrets[1])
    index = ("service", "inspect", "--format", "{{.Version.Index}}", "api")
    before = int(swarm.docker(*index))

    document = project.json("rotate", "JWT_SECRET", "--generate")

    assert [item["key"] for item in document["keys"]] == ["JWT_SECRET", "ANON_KEY"]
    assert mounted(swarm, "api") == [("anon_key.v2", "anon_key"), ("jwt_secret.v2", "jwt_secret")]
    assert int(swarm.docker(*index)) > before
    project.custody.canaries += [value.decode() for value in project.secrets().values()]
    assert "ANON_KEY" not in project("validate").stdout  # the token fits the new key


def test_what_would_fail_is_said_before_anything_is_made(swarm: PrivateSwarm, project: Manage) -> None:
    options = ("--secret", "db_password.v1", "--publish", "mode=host,target=80,published=18080")
    swarm.docker(
        *("service", "create", "--quiet", "--detach", "--name", "port", "--update-order", "start-first", *options),
        *(swarm.image(), "/busybox", "sleep", "1000"),
    )
    swarm.docker(
        *("service", "create", "--quiet", "--detach", "--name", "job", "--mode", "replicated-job"),
        *("--secret", "db_password.v1", swarm.image(), "/busybox", "true"),
    )

    end = project("rotate", "DB_PASSWORD", "--generate")

    assert end.code == 1
    assert "host port 18080" in end.stderr
    assert "job is a job, and would run again" in end.stderr
    assert "has no health check" in end.stderr
    assert versions(swarm) == ["anon_key.v1", "db_password.v1", "jwt_secret.v1"]


def test_every_refusal_names_the_way_out(swarm: PrivateSwarm, project: Manage, canary: Canary) -> None:
    assert "name the keys" in project("rotate").stderr
    assert "not in the Swarm: NOTHING" in project("rotate", "NOTHING", "--generate").stderr
    assert "--generate" in project("rotate", "DB_PASSWORD").stderr
    short = canary()[:20]
    end = project("rotate", "JWT_SECRET", "--value-file", "-", stdin=short.encode())
    assert end.code == 1
    assert "JWT_SECRET" in end.stderr
    same = project.secrets()["db_password"]
    assert "has this value already" in project("rotate", "DB_PASSWORD", "--value-file", "-", stdin=same).stderr
    plan = project.json("rotate", "DB_PASSWORD", "--dry-run")
    assert (plan["state"], plan["keys"][0]["name"]) == ("planned", "db_password.v2")
    assert versions(swarm) == ["anon_key.v1", "db_password.v1", "jwt_secret.v1"]


def kinds(project: Manage) -> set[str]:
    return {finding["kind"] for finding in json.loads(project("validate", "--swarm", "--json").stdout)["findings"]}


def test_a_stack_that_is_deployed_again_keeps_the_new_version(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    stack = {
        "version": "3.8",
        "services": {
            "app": {
                "image": image,
                "entrypoint": ["/opt/shim/shim", "--", "/busybox", "sleep", "1000"],
                "secrets": [{"source": "db_password", "target": "db_password"}],
                "deploy": {"endpoint_mode": "dnsrr", "update_config": {"order": "start-first"}},
                "stop_grace_period": "1s",
            }
        },
        "secrets": {"db_password": {"external": True, "name": "db_password.v${DB_PASSWORD_VERSION:-1}"}},
    }
    project.write("stack.yml", json.dumps(stack))
    deploy = ("stack", "deploy", "--compose-file", str(project.folder / "stack.yml"), "shop")
    swarm.docker(*deploy)

    assert project("rotate", "DB_PASSWORD", "--generate").code == 0

    lines = (project.folder / "secrets.lock.env").read_text().splitlines()
    versions_in_use = dict(line.split("=") for line in lines if not line.startswith("#"))
    assert versions_in_use["DB_PASSWORD_VERSION"] == "2"
    swarm.docker(*deploy, env=versions_in_use)
    assert mounted(swarm, "shop_app") == [("db_password.v2", "db_password")]
    assert "lock" not in kinds(project)
    (project.folder / "secrets.lock.env").unlink()
    assert "lock" in kinds(project)
    said = project("validate", "--swarm").stdout
    assert "names version 1, and db_password.v2 is the newest" in said
    assert "manage-secrets sync DB_PASSWORD" in said


def test_what_lives_inside_a_system_changes_before_services_move_and_goes_back_with_them(
    swarm: PrivateSwarm, project: Manage, image: str
) -> None:
    steps = project.folder / "steps"
    program = project.write("change-it", f'#!/bin/sh\necho "$1" >>"{steps}"\ncat >"{project.folder}/said"\n')
    program.chmod(0o755)
    project.write(".env.schema", SCHEMA.replace("@generate\nDB", "@generate @rotate-with=command(./change-it)\nDB", 1))
    first = project.secrets()["db_password"].decode()
    command = f'[ "$DB_PASSWORD" = {first} ] || exit 3; exec /busybox sleep 1000'
    serve(swarm, "app", image, "--secret", "source=db_password.v1,target=db_password", command=command)

    assert project("rotate", "DB_PASSWORD", "--generate").code == 1
    assert steps.read_text().split() == ["check", "begin", "undo"]
    assert json.loads((project.folder / "said").read_text())["old"] == first

    swarm.docker("service", "rm", "app")
    steps.unlink()
    assert project("rotate", "DB_PASSWORD", "--generate").code == 0
    assert steps.read_text().split() == ["check", "begin", "finish"]
    new = project.secrets()["db_password"].decode()
    project.custody.canaries.append(new)
    said = json.loads((project.folder / "said").read_text())
    assert (said["old"], said["new"]) == (first, new)


def test_a_service_that_others_wait_for_moves_first(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """The others come up only when what the first makes is there; with room for one at a time they would never."""
    swarm.docker("volume", "create", "login")
    shared = (
        "--secret",
        "source=db_password.v1,target=db_password",
        "--mount",
        "type=volume,source=login,target=/login",
    )
    make = 'echo "$DB_PASSWORD" >/login/made; exec /busybox sleep 1000'
    there = '[ "$(/busybox cat /login/made)" = "$DB_PASSWORD" ]'
    need = f"until {there}; do /busybox sleep 0.1; done; exec /busybox sleep 1000"
    fits = '[ "$(/busybox cat /login/made)" = "$(/busybox cat /run/secrets/db_password)" ]'
    ready = ("--health-cmd", fits, "--health-retries", "1000")  # the old task stays, whatever it lacks meanwhile
    serve(swarm, "b-login", image, *shared, "--label", "docker-secrets-shim.rotate=first", command=make)
    serve(swarm, "a-door", image, *shared, *ready, command=need)

    end = project("rotate", "DB_PASSWORD", "--generate", "--parallel", "1", "--timeout", "60s", "--force")

    assert end.code == 0, end.stderr
    assert mounted(swarm, "a-door") == [("db_password.v2", "db_password")]


def test_nothing_else_of_a_service_changes(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """A service that uses whatever this client can say, before and after a rotation and a rollback."""
    swarm.docker("config", "create", "settings", "-", stdin=b"x")
    if "inside" not in swarm.docker("network", "ls", "--format", "{{.Name}}").split():
        swarm.docker("network", "create", "--driver", "overlay", "--attachable", "inside")
    options = EVERYTHING.split()
    command = ("/opt/shim/shim", "--", "/busybox", "sleep", "1000")
    swarm.serve("--name", "whole", *options, image, *command)
    before = spec(swarm, "whole")

    assert project("rotate", "DB_PASSWORD", "--generate", "--force").code == 0
    after = spec(swarm, "whole")
    assert mounted(swarm, "whole") == [("db_password.v2", "db_password"), ("jwt_secret.v1", "/run/elsewhere")]
    for service_spec in (before, after):
        for reference in service_spec["TaskTemplate"]["ContainerSpec"]["Secrets"]:
            if reference["File"]["Name"] == "db_password":
                del reference["SecretID"], reference["SecretName"]
    assert after == before
    assert project("rollback", "DB_PASSWORD", "--yes", "--force").code == 0
    assert mounted(swarm, "whole") == [("db_password.v1", "db_password"), ("jwt_secret.v1", "/run/elsewhere")]
    swarm.docker("service", "rm", "whole")
