"""`export` with a real Swarm: what it knows of its secrets, and values read back through a helper task."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyrage
import pytest
from shim_host.swarm.connection import connect_as
from shim_host.swarm.helper.read_back import ValueReader
from shim_host.swarm.model import LABEL

from tests.support.forms import Custody
from tests.support.host import SCRIPT, Canary, Manage, Meddler, PrivateSwarm, image

pytestmark = pytest.mark.engine
LIAR = b"#!/bin/sh\necho something else\n"


def opened(manage: Manage) -> dict[str, dict[str, object]]:
    """Return what the backup says of each file."""
    identity = pyrage.x25519.Identity.from_str((manage.folder / "key.txt").read_text())
    document = json.loads(pyrage.decrypt((manage.folder / "backup.age").read_bytes(), [identity]))
    return {item["file"]: item for item in document["body"]["secrets"]}


def readers(swarm: PrivateSwarm) -> list[str]:
    return swarm.docker("service", "ls", "-q", "--filter", "label=docker-secrets-shim.reader").split()


def test_values_come_back_byte_for_byte(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary, custody: Custody
) -> None:
    """Values of every kind go through the Swarm, the task and the backup; the task and its container are gone then."""
    values = {
        "text": canary().encode(),
        "line_end": canary().encode() + b"\n",
        "binary": bytes(range(256)) * 3,
        "large": os.urandom(511_999),
        "lines": b"-----BEGIN\r\n" + canary().encode() + b"\r\n-----END\n\n",
        "zeros": bytes(7),
    }
    for name, value in values.items():
        swarm.docker("secret", "create", name, "-", stdin=value)

    document = manage.json("export", "--from-swarm", *seal)

    assert {item["origin"] for item in document["secrets"]} == {"swarm"}
    assert readers(swarm) == []
    assert manage("import", "backup.age", "--identity", "key.txt").code == 0
    assert manage.secrets() == values
    custody.said.append(json.dumps(swarm.events("10m")))


def test_the_task_is_shut_in(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    """No log, no capability, a read-only root, on this node; and off every network before a value is read."""
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    since = f"{time.time():.6f}"
    assert manage("export", "--from-swarm", *seal).code == 0

    said = swarm.events(since)
    own = [event for event in said if "shim-reader" in event["Actor"]["Attributes"].get("name", "")]
    container = next(event["Actor"]["ID"] for event in own if event["Action"] == "start")
    about = [
        event["Action"].split(":")[0]
        for event in said
        if container in (event["Actor"]["ID"], event["Actor"]["Attributes"].get("container"))
    ]
    assert "disconnect" in about
    assert about.index("disconnect") < about.index("exec_create")


def test_without_being_asked_the_backup_says_what_it_lacks(
    swarm: PrivateSwarm, manage: Manage, seal: list[str], canary: Canary
) -> None:
    manage.write("secrets/db_password", canary())
    manage("create-swarm")
    swarm.docker("secret", "create", "other", "-", stdin=canary().encode())

    end = manage("export", *seal)

    assert end.code == 0
    assert "without a value, because they are only in the Swarm: other" in end.stderr
    assert readers(swarm) == []
    found = opened(manage)
    assert found["other"]["value"] is None
    versions = found["db_password"]["swarm"]
    assert isinstance(versions, list)
    assert [version["name"] for version in versions] == ["db_password.v1"]

    imported = manage.json("import", "backup.age", "--identity", "key.txt")
    assert {item["key"]: item["state"] for item in imported["secrets"]} == {
        "DB_PASSWORD": "unchanged",
        "OTHER": "absent",
    }


def test_equal_keys_of_stacks_stay_apart(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    values = {stack: canary() for stack in ("", "shop", "blog")}
    for stack, value in values.items():
        manage.write("secrets/a", value)
        assert manage("create-swarm", "--stack", stack).code == 0
    (manage.folder / "secrets" / "a").unlink()

    assert manage("export", "--from-swarm", *seal).code == 0
    assert manage("import", "backup.age", "--identity", "key.txt").code == 0

    for stack, value in values.items():
        assert (manage.folder / "secrets" / stack / "a").read_bytes() == value.encode()
    assert set(manage.secrets()) == {"a"}


def test_a_swarm_is_made_again_by_stack(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    """After a disaster: the backup's values, the committed numbers, and a name for each stack file that it knows.

    What Ansible keeps as rolling versions is one value, and one that a folder and a stack share is saved once.
    """
    values = {stack: canary() for stack in ("shop", "blog")}
    manage.write("secrets/db_password", values["blog"])
    assert manage("create-swarm", "--stack", "blog").code == 0
    assert [item["stack"] for item in manage.json("export", "--from-swarm", *seal)["secrets"]] == [None]
    manage.write("secrets/db_password", values["shop"])
    assert manage("create-swarm", "--stack", "shop").code == 0
    old, new = canary(), canary()
    for number, value in enumerate((old, new), 1):
        labels = ("--label", "ansible_key=x", "--label", f"ansible_version={number}")
        swarm.docker("secret", "create", *labels, f"api_key_v{number}", "-", stdin=value.encode())
    shutil.rmtree(manage.folder / "secrets")
    assert manage("export", "--from-swarm", "--force", *seal).code == 0
    swarm.empty()

    assert manage("import", "backup.age", "--identity", "key.txt").code == 0
    assert manage.secrets() == {"api_key": new.encode()}
    manage.write("secrets.shop.lock.env", "DB_PASSWORD_VERSION=3\n")
    for stack in values:
        assert manage("create-swarm", "--stack", stack).code == 0
    assert sorted(swarm.docker("secret", "ls", "--format", "{{.Name}}").split()) == [
        "blog_db_password.v1",
        "shop_db_password.v3",
    ]
    assert manage("validate", "--swarm", "--stack", "shop").code == 0
    for item in manage.json("export", "--from-swarm", "--force", *seal)["secrets"]:
        assert item["included"]
    saved = {item["stack"]: base64.b64decode(str(item["value"])).decode() for item in opened(manage).values()}
    assert saved == {**values, "": new}


def test_a_template_is_one_again(swarm: PrivateSwarm, manage: Manage, seal: list[str], canary: Canary) -> None:
    """The backup knows its driver, and create-swarm gives it the same; a rotation keeps it."""
    labels = [
        word for name, text in (("key", "APP_CONF"), ("version", "1")) for word in ("--label", f"{LABEL}{name}={text}")
    ]
    swarm.docker("secret", "create", "--template-driver", "golang", *labels, "app_conf.v1", "-", stdin=b"{{.Node.ID}}")
    manage.write("secrets/app_conf", "{{.Node.ID}}")
    manage.write("secrets/plain", canary())
    assert manage("create-swarm").code == 1  # what others made has no fingerprint to compare
    assert manage("export", *seal).code == 0
    swarm.empty()
    shutil.rmtree(manage.folder / "secrets")

    assert manage("import", "backup.age", "--identity", "key.txt").code == 0
    end = manage("create-swarm")

    assert "filled in by a template driver when a task starts: APP_CONF" in end.stderr
    assert manage("rotate", "APP_CONF", "--generate").code == 0
    found = json.loads(swarm.docker("secret", "inspect", "app_conf.v1", "app_conf.v2", "plain.v1"))
    assert [(one["Spec"].get("Templating") or {}).get("Name") for one in found] == ["golang", "golang", None]
    assert manage("import", "backup.age", "--identity", "key.txt", "--force", "--yes").code == 0


def test_a_value_that_differs_from_the_folders_is_said(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    manage.write("secrets/a", canary())
    manage("create-swarm")
    assert "another value" not in manage("export", "--from-swarm", *seal).stderr
    newer = canary()
    manage.write("secrets/a", newer)

    end = manage("export", "--from-swarm", "--force", *seal)

    assert "the Swarm and the folder hold different values: a" in end.stderr
    assert manage("import", "backup.age", "--identity", "key.txt", "--secrets-dir", "there").code == 0
    assert (manage.folder / "there" / "a").read_text() == newer


def test_an_image_that_lies_is_caught(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    """What is read back must have the fingerprint that the value had when it was made."""
    manage.write("secrets/a", canary())
    manage("create-swarm", "--salt", "pepper")
    image(swarm, "lying:latest", LIAR)

    end = manage("export", "--from-swarm", "--image", "lying:latest", "--salt", "pepper", *seal)

    assert end.code == 111
    assert "is not what the Swarm was given: a.v1" in end.stderr
    assert not (manage.folder / "backup.age").exists()
    assert manage("export", "--from-swarm", "--salt", "pepper", *seal).code == 0


def test_an_image_whose_cat_fails_is_said(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    manage.write("secrets/a", canary())
    manage("create-swarm")
    image(swarm, "failing:latest", b"#!/bin/sh\nexit 3\n")

    end = manage("export", "--from-swarm", "--image", "failing:latest", *seal)

    assert end.code == 111
    assert "cannot read a.v1: cat ended with 3 in the helper task" in end.stderr
    assert "try another --image" in end.stderr
    assert swarm.docker("service", "ls", "-q") == ""


def test_nothing_is_read_where_a_network_is_left(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    """An engine that says it has cut the task off, and has not."""
    manage.write("secrets/a", canary())
    manage("create-swarm")
    meddler = Meddler(swarm, lambda _number: "200" if b"/disconnect" in meddler.request.split(b"\r\n")[0] else "pass")

    end = manage("export", "--from-swarm", *seal, env={"DOCKER_HOST": meddler.host})
    meddler.close()

    assert end.code == 111
    assert "the helper task stays on the network " in end.stderr
    assert not (manage.folder / "backup.age").exists()
    assert swarm.docker("service", "ls", "-q") == ""


def test_a_killed_run_is_tidied_up_after(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    """A task ends by itself; the service that is left over is named by doctor."""
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    swarm.docker("service", "create", "-d", "--name", "shim-reader-lost", "--replicas", "0", "busybox", "sleep", "1")
    swarm.docker("service", "update", "-d", "--label-add", "docker-secrets-shim.reader=export", "shim-reader-lost")

    assert "docker service rm shim-reader-lost" in manage("doctor").stdout
    assert manage("export", "--from-swarm", *seal).code == 0
    assert readers(swarm), "it is young: its run may be under way"


@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_run_that_is_killed_is_tidied_up_after_by_the_next(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary, fatal: int
) -> None:
    """Killed once the task is made, cut off, or asked: the next run on this machine knows that its owner is gone."""
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    meddler = Meddler(swarm, lambda number: "kill" if number == fatal else "pass")
    meddler.victim = subprocess.Popen(
        [sys.executable, str(SCRIPT), "export", "--from-swarm", "--image", "busybox", *seal],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], **manage.env, "DOCKER_HOST": meddler.host},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert meddler.victim.wait(60) == -9
    meddler.close()
    assert len(readers(swarm)) == 1

    assert manage("export", "--from-swarm", *seal).code == 0
    assert readers(swarm) == []


def test_the_task_of_a_killed_run_ends_by_itself(
    swarm: PrivateSwarm, busybox: str, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, which is shortened here; it is not started again."""
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    monkeypatch.setattr("shim_host.swarm.helper.read_back.LIFETIME_SECONDS", 3)
    reader = connect_as(ValueReader, {"DOCKER_HOST": swarm.host})

    with reader._reader("busybox:latest", reader.secrets()) as container:
        swarm.docker("wait", container)
        (service,) = readers(swarm)
        task = json.loads(swarm.docker("service", "inspect", service))[0]["Spec"]["TaskTemplate"]
        assert len(swarm.docker("service", "ps", "-q", service).split()) == 1
        assert swarm.docker("ps", "-q") == ""

    assert task["RestartPolicy"]["Condition"] == "none"


def test_an_image_without_cat_is_not_taken(
    swarm: PrivateSwarm, manage: Manage, seal: list[str], canary: Canary
) -> None:
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    swarm.docker("tag", swarm.image(), "busybox:latest")
    try:
        end = manage("export", "--from-swarm", *seal)
    finally:
        swarm.docker("rmi", "busybox:latest")

    assert end.code == 1
    assert "--image" in end.stderr
    assert not (manage.folder / "backup.age").exists()


def test_a_task_that_cannot_start_says_why(
    swarm: PrivateSwarm, manage: Manage, seal: list[str], canary: Canary
) -> None:
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())

    end = manage("export", "--from-swarm", "--image", "localhost:1/none:1", *seal)

    assert end.code == 111
    assert "No such image" in end.stderr
    assert readers(swarm) == []
    assert not (manage.folder / "backup.age").exists()


def test_a_drained_manager_is_seen(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    node = swarm.docker("node", "ls", "-q")
    swarm.docker("node", "update", "--availability", "drain", node)
    try:
        end = manage("export", "--from-swarm", *seal)
    finally:
        swarm.docker("node", "update", "--availability", "active", node)

    assert end.code == 111
    assert "must be active" in end.stderr
    assert readers(swarm) == []


@pytest.mark.parametrize("fate", ["500", "lose"])
def test_no_task_stays_when_the_engine_fails(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary, fate: str
) -> None:
    """Also when the engine made the task, and the answer was lost."""
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    meddler = Meddler(swarm, lambda number: fate if number == 1 else "pass")
    try:
        end = manage("export", "--from-swarm", "--image", "busybox", *seal, env={"DOCKER_HOST": meddler.host})
    finally:
        meddler.close()

    assert end.code == 111
    assert readers(swarm) == []
    assert not (manage.folder / "backup.age").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_leaves_no_task(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary, number: signal.Signals
) -> None:
    swarm.docker("secret", "create", "a", "-", stdin=canary().encode())
    events = subprocess.Popen(
        ["docker", "events", "--filter", "type=container", "--filter", "event=start", "--format", "{{.ID}}"],
        env={**os.environ, "DOCKER_HOST": swarm.host},
        stdout=subprocess.PIPE,
    )
    assert events.stdout is not None
    run = subprocess.Popen(
        [sys.executable, str(SCRIPT), "export", "--from-swarm", "--image", "busybox", *seal],
        cwd=manage.folder,
        env={"PATH": os.environ["PATH"], **manage.env},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    events.stdout.readline()
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    events.kill()
    events.communicate()
    manage.custody.said += [out.decode(), err.decode()]

    assert run.returncode in (0, 130), err  # it may have been done already
    assert readers(swarm) == []


@pytest.mark.slow
def test_many_values_are_read_in_seconds(
    swarm: PrivateSwarm, manage: Manage, busybox: str, seal: list[str], canary: Canary
) -> None:
    for number in range(60):
        manage.write(f"secrets/key_{number}", canary())
    assert manage("create-swarm").code == 0
    before = manage.secrets()
    shutil.rmtree(Path(manage.folder) / "secrets")

    assert manage("export", "--from-swarm", *seal, timeout=120).code == 0
    assert manage("import", "backup.age", "--identity", "key.txt").code == 0

    assert manage.secrets() == before
