"""Swarms as operators have them: services that are down, slow, changed meanwhile or mount what others made."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.host import Canary, Manage, Meddler, PrivateSwarm
from tests.support.rotation import mounted, serve, spec, versions
from tests.support.rotation_crash import at, begun

pytestmark = pytest.mark.engine

SECRET = ("--secret", "source=db_password.v1,target=db_password")
QUICK = ("--endpoint-mode", "dnsrr", "--stop-grace-period", "1s", "--update-monitor", "500ms", "--no-resolve-image")
V1, V2, V3 = ([(f"db_password.v{number}", "db_password")] for number in (1, 2, 3))
PATIENCE_SECONDS = 60


def add(swarm: PrivateSwarm, name: str, image: str, command: str, *options: str) -> None:
    """Make a service, and wait for nothing."""
    swarm.docker(
        *("service", "create", "--quiet", "--detach", "--name", name, *QUICK, *SECRET, *options, image),
        *("/opt/shim/shim", "--", "/busybox", "sh", "-c", command),
    )


def tasks(swarm: PrivateSwarm, name: str) -> list[str]:
    """Return the state of each task of a service, the newest first."""
    return swarm.docker("service", "ps", "--format", "{{.CurrentState}}", name).splitlines()


def wait(look: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def locks(swarm: PrivateSwarm) -> str:
    return swarm.docker("config", "ls", "--quiet", "--filter", "label=docker-secrets-shim.rotation")


def test_services_that_are_not_up(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """What has run to its end is not run again unasked; what is down gets the version, and nobody waits for it."""
    first = project.secrets()["db_password"].decode()
    serve(swarm, "api", image, *SECRET)
    add(swarm, "lost", image, "exec /busybox sleep 1000", "--constraint", "node.labels.gpu==yes")
    add(swarm, "asleep", image, "exec /busybox sleep 1000", "--replicas", "0")
    add(swarm, "crashing", image, "/busybox sleep 1; exit 7", "--restart-delay", "500ms")
    add(swarm, "once", image, "exit 0", "--restart-condition", "none")
    add(swarm, "tight", image, "exec /busybox sleep 1000", "--replicas", "2", "--replicas-max-per-node", "1")
    wait(lambda: sorted(state.split()[0] for state in tasks(swarm, "tight")) == ["Pending", "Running"])
    wait(lambda: tasks(swarm, "once")[0].startswith("Complete"))
    wait(lambda: len([state for state in tasks(swarm, "crashing") if state.startswith("Failed")]) > 1)

    end = project("rotate", "DB_PASSWORD", "--generate")
    assert end.code == 1
    assert "error: once has run to its end, and would run again\n" in end.stderr
    assert "hint: --leave once keeps it on the version it has; --force lets it run again\n" in end.stderr
    assert (
        "tight has 1 of 2 tasks up, and an update would wait for the others: no suitable node (max replica"
        in end.stderr
    )
    assert "make room for them, or docker service scale tight=1" in end.stderr
    swarm.docker("service", "scale", "--detach", "tight=1")
    assert versions(swarm) == ["anon_key.v1", "db_password.v1", "jwt_secret.v1"]
    assert (
        "there is no service twice to leave"
        in project("rotate", "DB_PASSWORD", "--leave", "twice", "--generate").stderr
    )

    document = project.json("rotate", "DB_PASSWORD", "--generate", "--leave", "once", "--timeout", "30s")

    project.custody.canaries.append(project.secrets()["db_password"].decode())
    assert project.secrets()["db_password"].decode() != first
    assert (document["services"], document["not_running"]) == (
        ["api", "tight"],
        ["asleep", "crashing", "lost"],
    )
    assert [mounted(swarm, name) for name in ("api", "lost", "asleep", "crashing", "tight")] == [V2] * 5
    assert (mounted(swarm, "once"), len(tasks(swarm, "once"))) == (V1, 1)
    assert locks(swarm) == ""
    swarm.docker("service", "rm", "crashing")  # its update stopped, which is said by name

    # What is older stays, and the job that is done with it; nobody need leave it by name again.
    end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "30s")
    project.custody.canaries.append(project.secrets()["db_password"].decode())
    assert end.code == 0, end.stderr
    assert "once mounts version 1 of DB_PASSWORD, and 2 is in use: it stays" in end.stderr
    assert "api: given" not in end.stderr
    assert "and run no task: asleep, lost" in end.stderr
    assert (mounted(swarm, "api"), mounted(swarm, "once")) == (V3, V1)


def test_numbers_names_and_persons(swarm: PrivateSwarm, project: Manage, image: str, canary: Canary) -> None:
    """A number is given once, also after a rollback; `history` knows of all of it, and of whom."""
    serve(swarm, "api", image, *SECRET)
    new = canary()
    env = {"USER": "alice", "LOGNAME": "alice", "SUDO_USER": ""}
    assert project("rotate", "DB_PASSWORD", "--value-file", "-", stdin=new.encode(), env=env).code == 0
    assert project("rollback", "DB_PASSWORD", "--yes", "--by", "bob").code == 0
    assert mounted(swarm, "api") == V1

    rows = project.json("history", "DB_PASSWORD")["versions"]
    assert [(row["version"], row["state"], row["end"]) for row in rows] == [
        (1, "in use", ""),
        (2, "removed", "rolled back"),
    ]
    assert rows[1]["by"].startswith("alice on ")
    assert rows[1]["ended_by"].startswith("bob on ")
    assert "rolled back" in project("history", "DB_PASSWORD").stdout

    swarm.docker("secret", "create", "db_password.v3", "-", stdin=b"made by hand")
    end = project("rotate", "DB_PASSWORD", "--generate")
    assert end.code == 1
    assert "secrets of these names that this tool did not create: db_password.v3; nothing was changed" in end.stderr
    assert (mounted(swarm, "api"), locks(swarm)) == (V1, "")
    assert "db_password.v3" in versions(swarm)
    swarm.docker("secret", "rm", "db_password.v3")
    assert project.json("rotate", "DB_PASSWORD", "--dry-run")["keys"][0]["name"] == "db_password.v3"

    # A deployment puts version 1 back; who gives the newest value again is not told that all is well.
    assert project("rotate", "DB_PASSWORD", "--value-file", "-", stdin=new.encode()).code == 0
    swap(swarm, "api", "db_password.v3", "db_password.v1")
    end = project("rotate", "DB_PASSWORD", "--value-file", "-", stdin=new.encode())
    assert end.code == 1
    assert "DB_PASSWORD has this value already, in db_password.v3, which does not run in api" in end.stderr


def swap(swarm: PrivateSwarm, service: str, old: str, new: str) -> None:
    """Write the service with another version, as somebody who knows nothing of a rotation."""
    add = f"source={new},target=db_password"
    swarm.docker("service", "update", "--quiet", "--detach", "--secret-rm", old, "--secret-add", add, service)


def test_a_value_is_bytes_and_a_template_stays_one(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """What --value-file holds arrives to the byte; targets, owners, modes and the template's driver stay."""
    bytes_ = b"\xff\xfe0\x82\n\n"
    labels = json.loads(swarm.docker("secret", "inspect", "anon_key.v1"))[0]["Spec"]["Labels"]
    swarm.docker("secret", "rm", "anon_key.v1")
    given = [word for name, text in labels.items() for word in ("--label", f"{name}={text}")]
    swarm.docker(
        "secret", "create", "--template-driver", "golang", *given, "anon_key.v1", "-", stdin=b"{{.Service.Name}}"
    )
    config = b'password={{ secret "db_password" }}'
    swarm.docker("config", "create", "--template-driver", "golang", "app.conf", "-", stdin=config)
    mounts = (
        "source=db_password.v1,target=db_password,uid=1000,mode=0440",
        "source=db_password.v1,target=/etc/pw,gid=7",
    )
    secrets = [word for mount in (*mounts, "source=anon_key.v1,target=anon_key") for word in ("--secret", mount)]
    serve(swarm, "api", image, *secrets, "--config", "source=app.conf,target=/app.conf")
    before = spec(swarm, "api")

    project.write("value", bytes_)
    assert project("rotate", "DB_PASSWORD", "--value-file", "value").code == 0
    project.write("template", b"name={{.Service.Name}}")
    assert project("rotate", "ANON_KEY", "--value-file", "template").code == 1  # the schema wants a token
    project.write(".env.schema", "# @sensitive\nDB_PASSWORD=\n# @sensitive\nANON_KEY=\n")
    assert project("rotate", "ANON_KEY", "--value-file", "template").code == 0

    def read(path: str) -> bytes:
        (container,) = swarm.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=api").split()
        shown = swarm.docker("exec", container, "/busybox", "od", "-An", "-v", "-tx1", path)
        return bytes.fromhex(shown)

    assert read("/run/secrets/db_password") == read("/etc/pw") == bytes_
    assert read("/app.conf") == b"password=" + bytes_
    assert read("/run/secrets/anon_key") == b"name=api"
    files = [
        [reference["File"] for reference in found["TaskTemplate"]["ContainerSpec"]["Secrets"]]
        for found in (before, spec(swarm, "api"))
    ]
    assert files[0] == files[1]
    assert (project.folder / "secrets/db_password").read_bytes() == bytes_


def test_what_changes_meanwhile(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """Scaled down, scaled up, removed, or written back by a deployment: it goes on with what is needed now."""
    slow = ("--update-delay", "2s", "--update-order", "stop-first")
    for name, replicas in (("down", 3), ("up", 1), ("gone", 3), ("again", 3)):
        serve(swarm, name, image, *SECRET, *slow, replicas=replicas)

    def meanwhile() -> None:
        # One question for all of them: the services move meanwhile.
        target = "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{.SecretName}}{{end}}"
        inspect = ("service", "inspect", "--format", target, "down", "up", "gone", "again")
        wait(lambda: swarm.docker(*inspect).split() == ["db_password.v2"] * 4)
        swap(swarm, "again", "db_password.v2", "db_password.v1")
        swarm.docker("service", "rm", "gone")
        swarm.docker("service", "scale", "--detach", "down=1", "up=2")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(meanwhile)
        end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "30s")
        other.result()

    project.custody.canaries.append(project.secrets()["db_password"].decode())
    assert end.code == 0, end.stderr
    assert "gone was removed in the meantime" in end.stderr
    assert (
        "again was changed by someone else in the meantime, with the version before; it is moved once more"
        in end.stderr
    )
    assert [mounted(swarm, name) for name in ("down", "up", "again")] == [V2] * 3
    running = [len([s for s in tasks(swarm, name) if s.startswith("Running")]) for name in ("down", "up", "again")]
    assert running == [1, 2, 3]
    assert locks(swarm) == ""


def test_what_is_written_back_once_it_arrived_or_again_and_again_is_taken_back(
    swarm: PrivateSwarm, project: Manage, image: str
) -> None:
    serve(swarm, "early", image, *SECRET)
    serve(swarm, "late", image, *SECRET, "--update-delay", "1500ms", replicas=2)

    def write() -> None:
        wait(lambda: mounted(swarm, "late") == V2)
        swap(swarm, "early", "db_password.v2", "db_password.v1")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(write)
        end = project("rotate", "DB_PASSWORD", "--generate", "--parallel", "1")
        other.result()
    assert end.code == 1, end.stderr
    assert "early was changed by someone else in the meantime, with the version before" in end.stderr
    assert (mounted(swarm, "early"), mounted(swarm, "late"), locks(swarm)) == (V1, V1, "")

    swarm.docker("secret", "create", "theirs", "-", stdin=b"x")

    def replace() -> None:
        wait(lambda: mounted(swarm, "late") == V3)
        swap(swarm, "late", "db_password.v3", "theirs")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(replace)
        end = project("rotate", "DB_PASSWORD", "--generate")
        other.result()
    assert end.code == 1, end.stderr
    assert "late is being changed by someone else, with a different version" in end.stderr
    assert mounted(swarm, "late") == [("theirs", "db_password")]
    assert (mounted(swarm, "early"), locks(swarm)) == (V1, "")


def test_slow_is_not_dead(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """A delay and a start longer than half of --timeout start no task twice: it is not the tool's time that counts."""
    serve(swarm, "web", image, *SECRET, "--update-delay", "6s", replicas=2)
    ready = ("--health-cmd", "/busybox test -e /ready", "--health-start-period", "30s")
    command = "/busybox sleep 4; : >/ready; exec /busybox sleep 1000"
    serve(swarm, "db", image, *SECRET, *ready, "--update-order", "stop-first", command=command)

    end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "5s")

    assert end.code == 0, end.stderr
    assert (len(tasks(swarm, "web")), len(tasks(swarm, "db"))) == (4, 2)
    assert {spec(swarm, name)["TaskTemplate"].get("ForceUpdate", 0) for name in ("web", "db")} == {0}


def test_a_node_that_is_drained_meanwhile_is_no_failure(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """The Swarm may take the end of a task for one, and pause the update; it is started once more then."""
    serve(swarm, "api", image, *SECRET, "--update-monitor", "5s")
    node = swarm.docker("node", "ls", "--quiet").strip()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(project, "rotate", "DB_PASSWORD", "--generate", "--verbose")
        wait(lambda: [state.split()[0] for state in tasks(swarm, "api")] == ["Running", "Shutdown"])
        swarm.docker("node", "update", "--availability", "drain", node)
        try:
            wait(lambda: tasks(swarm, "api")[0].startswith("Pending"))
        finally:
            swarm.docker("node", "update", "--availability", "active", node)
        end = run.result()

    assert end.code == 0, end.stderr
    assert (mounted(swarm, "api"), locks(swarm)) == (V2, "")


def test_a_global_service_that_ends_with_the_new_value_goes_back(
    swarm: PrivateSwarm, project: Manage, image: str
) -> None:
    """That nothing runs is not a success; and a service that does not come back either holds no lock."""
    first = project.secrets()["db_password"].decode()
    check = f'[ "$DB_PASSWORD" = {first} ]'
    command = f"{check} || exit 3; exec /busybox sleep 1000"
    add(swarm, "agent", image, command, "--mode", "global", "--restart-condition", "none")
    swarm.docker("volume", "create", "spoilt")
    unspoilt = ("--health-cmd", "/busybox test ! -e /spoilt/it", "--health-interval", "1s", "--health-timeout", "1s")
    volume = ("--mount", "type=volume,source=spoilt,target=/spoilt", "--health-retries", "1000")
    spoil = f"{check} || : >/spoilt/it; exec /busybox sleep 1000"
    add(swarm, "fragile", image, spoil, *unspoilt, *volume)
    wait(lambda: all(tasks(swarm, name)[0].startswith("Running") for name in ("agent", "fragile")))

    end = project("rotate", "DB_PASSWORD", "--generate", "--timeout", "3s", "--force")

    assert end.code == 1, end.stderr
    assert "does not come up with the new version" in end.stderr or "did not come up within" in end.stderr
    assert "it has its old version again, but fragile did not come up within" in end.stderr
    wait(lambda: tasks(swarm, "agent")[0].startswith("Running"))
    assert (mounted(swarm, "agent"), mounted(swarm, "fragile"), locks(swarm)) == (V1, V1, "")


def test_what_cannot_be_written_is_known_before_the_lock(
    swarm: PrivateSwarm, project: Manage, image: str, canary: Canary
) -> None:
    """A folder that is not there, or full, refuses it; what fails at the very end is said with the command for it."""
    serve(swarm, "api", image, *SECRET, "--label", "com.docker.stack.namespace=shop")
    small = project.folder / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=16k tmpfs {small}") == 0
    try:
        for place in (project.folder / "nowhere", small):
            end = project("rotate", "DB_PASSWORD", "--generate", "--lock-file", str(place / "secrets.lock.env"))
            assert end.code == 111, end.stderr
            assert f"cannot write into {place}" in end.stderr
            assert (mounted(swarm, "api"), locks(swarm), len(versions(swarm))) == (V1, "", 3)
    finally:
        os.system(f"umount {small}")
    (project.folder / "folder").mkdir()
    end = project("rotate", "DB_PASSWORD", "--generate", "--lock-file", "folder")
    assert end.code == 111
    assert "cannot read folder: Is a directory" in end.stderr
    assert (mounted(swarm, "api"), locks(swarm), len(versions(swarm))) == (V1, "", 3)
    busy = project.write("versions", "# none\n")
    assert os.system(f"mount --bind {busy} {busy}") == 0  # it can be read, and not be replaced
    try:
        end = project("rotate", "DB_PASSWORD", "--generate", "--lock-file", "versions")
        project.write("secrets/other", canary())
        first = project("create-swarm", "--lock-file", "versions")  # a stack file names the first version without it
        swarm.docker("secret", "rm", "other.v1")
        project.write("secrets/other", canary())
        second = project("create-swarm", "--lock-file", "versions")
    finally:
        os.system(f"umount {busy}")

    assert (first.code, second.code, "cannot write" in first.stderr) == (0, 0, False), second.stderr
    assert "the secrets are created, but cannot" in second.stderr
    assert "printf 'OTHER_VERSION=2\\n' >>versions" in second.stderr
    assert end.code == 0, end.stderr
    assert "the services have moved, but cannot" in end.stderr
    assert "DB_PASSWORD_VERSION=2" in end.stderr
    assert (mounted(swarm, "api"), locks(swarm)) == (V2, "")


def test_a_run_that_was_killed_is_nobodys_business_any_more(
    swarm: PrivateSwarm, project: Manage, image: str, canary: Canary
) -> None:
    """For cron: `--due` first finishes or takes back what it left; what made nothing is in nobody's way."""
    project.write(".env.schema", "# @sensitive @generate @rotate=1d\nDB_PASSWORD=\n")
    serve(swarm, "api", image, *SECRET)
    for fatal, said in ((1, ""), (2, "finishing the rotation of DB_PASSWORD")):
        meddler = Meddler(swarm, at(fatal, "kill"))
        assert begun(project, meddler, "rotate", "DB_PASSWORD", "--generate").wait(60) == -9
        meddler.close()
        assert locks(swarm) != ""
        if said:
            elsewhere = project("rotate", "--resume", "--stack", "shop")
            assert "no rotation is unfinished here" in elsewhere.stderr
            assert "one of keys of no stack may be: manage-secrets rotate --resume\n" in elsewhere.stderr
            end = project("rotate", "--due")
            assert end.code == 0, end.stderr
            assert said in end.stderr
            assert "has ended in its middle" in end.stderr
        else:
            assert project("rotate", "DB_PASSWORD", "--value-file", "-", stdin=canary().encode()).code == 0
        assert locks(swarm) == ""
        project.custody.canaries.append(project.secrets()["db_password"].decode())
        assert sorted(project.secrets()) == ["anon_key", "db_password", "jwt_secret"]
    assert mounted(swarm, "api") == V3


def test_the_last_steps_hold_nothing_up(swarm: PrivateSwarm, project: Manage, image: str) -> None:
    """A system that keeps the old value, and a version that somebody has taken up, are said; the rotation has ended."""
    program = project.write("change-it", '#!/bin/sh\n[ "$1" != finish ]\n')
    program.chmod(0o755)
    project.write(".env.schema", "# @sensitive @generate @rotate-with=command(./change-it)\nDB_PASSWORD=\n")
    add(swarm, "api", image, "exec /busybox sleep 1000", "--replicas", "0")

    end = project("rotate", "DB_PASSWORD", "--generate")
    assert end.code == 1, end.stderr
    assert "every service has the new value, and the old one still works" in end.stderr
    assert (mounted(swarm, "api"), locks(swarm)) == (V2, "")

    project.write(".env.schema", "# @sensitive @generate\nDB_PASSWORD=\n")

    def take_up(_number: int) -> str:
        is_removal = meddler.request.startswith(b"DELETE") and b"/secrets/" in meddler.request
        if is_removal and "late" not in swarm.docker("service", "ls", "--format", "{{.Name}}"):
            add(swarm, "late", image, "exec /busybox sleep 1000", "--replicas", "0")
        return "pass"

    meddler = Meddler(swarm, take_up)
    end = project("rotate", "DB_PASSWORD", "--generate", env={"DOCKER_HOST": meddler.host})
    meddler.close()
    assert end.code == 0, end.stderr
    assert "db_password.v1 stays: cannot remove db_password.v1" in end.stderr
    assert (mounted(swarm, "api"), locks(swarm)) == (V3, "")
