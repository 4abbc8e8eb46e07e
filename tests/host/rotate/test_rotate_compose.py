"""Rotation without a Swarm: files that change whole, services that follow, and a way back from any moment."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest
from shim_host.compose.running import ComposeService, Container, RunningProject
from shim_host.errors import Refused
from shim_host.rotate.compose_journal import desk
from shim_host.rotate.compose_run import Settings, planned, resume, rotate
from shim_host.rotate.compose_uses import OVERLAP, RECREATE, WATCHES, Use, other_files, way
from shim_host.store.vault import Vault

from shim.secret import Secret
from tests.support.host import SCRIPT, Canary, Manage
from tests.support.rotation_compose import Running, plug_in_compose

FULL = bool(os.environ.get("ROTATE_FULL"))
# Ends at once when it is told to, so that no test waits; comes up with any password but one.
COMPOSE = """\
name: PROJECT
services:
  web:
    image: with-shim
    entrypoint: [/opt/shim/shim, --init, --]
    command: [/busybox, sh, -c, 'case $$DB_PASSWORD in bad*) exit 3;; esac; exec /busybox sleep 1d']
    healthcheck: {test: [CMD, /busybox, 'true'], interval: 500ms}
    secrets: [db_password]
  worker:
    image: with-shim
    entrypoint: [/opt/shim/shim, --]
    command: [/busybox, sh, -c, 'case $$DB_PASSWORD in bad*) exit 3;; esac; exec /busybox sleep 1d']
    stop_signal: SIGKILL
    secrets: [db_password]
  folder:
    image: with-shim
    entrypoint: [/opt/shim/shim, --init, --on-change, restart, --]
    command: [/busybox, sleep, 1d]
    volumes: ['./secrets:/run/secrets:ro']
  other:
    image: with-shim
    entrypoint: [/busybox, sleep, 1d]
    stop_signal: SIGKILL
secrets:
  db_password: {file: ./secrets/db_password}
"""


def files(manage: Manage) -> dict[str, bytes]:
    folder = manage.folder / "secrets"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_started_with_other_files_is_not_recreated_with_ours(manage: Manage) -> None:
    """Its settings would be lost; files that change nothing of the service, and those of elsewhere, do not matter."""
    plug_in_compose(manage)
    environ = {"PATH": os.environ["PATH"], "HOME": str(manage.folder)}
    service = "services: {web: {image: with-shim, environment: {A: '${A-none}'}}}"
    base = manage.write("compose.yaml", f"name: p\n{service}\n")
    prod = manage.write("prod.yaml", "services: {web: {environment: {B: c}}}\n")
    more = manage.write("more.yaml", "services: {worker: {image: with-shim}}\n")
    named = manage.write("prod.env", "A=b\n")
    ours = RunningProject([base], environ)

    def found(started: list[Path], env_files: tuple[Path, ...] = (), how: str = RECREATE) -> list[str]:
        made = RunningProject(started, environ, env_files=env_files).configured("web")
        assert len(made) == 64
        container = Container(
            *("i", "p-web-1", True, "", False, False, ""),
            files=tuple(map(str, started)),
            env_files=tuple(map(str, env_files)),
            configured=made,
        )
        return other_files(Use(ComposeService("web", (), has_fixed_place=False), True, [container]), how, ours)

    assert found([base]) == found([base, more]) == found([base, prod], how=WATCHES) == []
    other = "p-web-1 was started with other files, and would be recreated with other settings"
    first = "or start it with those of now first: docker compose up -d"
    assert found([base, prod]) == [f"{other}: give --compose {base} --compose {prod}, {first}"]
    assert found([base], (named,))[0].endswith(f"give --compose {base} --env-file {named}, {first}")
    prod.unlink()
    named.unlink()
    container = Container(*("i", "p-web-1", True, "", False, False, ""), files=(str(prod),), configured="0" * 64)
    assert other_files(Use(ComposeService("web", (), has_fixed_place=False), True, [container]), RECREATE, ours) == []
    assert replace(container, project="p", folder="/p", service="web", env_files=("/p/.env", "/e")).start_again == (
        f"docker compose -p p -f {prod} --env-file /e up -d --force-recreate web"
    )


@pytest.mark.engine
def test_every_service_follows_and_the_way_back_is_kept(running: Running, manage: Manage, canary: Canary) -> None:
    """One beside the old one, one in its place, one that watches by itself, and one that it does not concern."""
    old, new = canary(), canary()
    running.up(COMPOSE, db_password=old)
    before = {name: running.ids(name) for name in ("web", "worker", "folder", "other")}

    planned = json.loads(running.rotate(new, "--dry-run", "--json").stdout)
    assert {item["service"]: item["how"] for item in planned["services"]} == {
        "web": "overlap",
        "worker": "recreate",
        "folder": "watches",
    }
    assert files(manage) == {"db_password": old.encode()}
    with running.engine.watched() as events:
        end = running.rotate(new, "--json")

    assert end.code == 0, end.stderr
    document = json.loads(end.stdout)
    assert document["state"] == "rotated"
    assert {item["proof"] for item in document["services"]} == {"fingerprint"}
    assert running.value("worker") == new.encode()
    assert running.read("web") == running.read("folder") == new.encode()
    after = {name: running.ids(name) for name in before}
    assert [name for name in before if before[name] == after[name]] == ["folder", "other"]
    assert files(manage) == {"db_password": new.encode(), ".previous/db_password": old.encode()}
    assert (manage.folder / "secrets/.previous").stat().st_mode & 0o777 == 0o700
    assert (manage.folder / "secrets/.previous/db_password").stat().st_mode & 0o777 == 0o600
    healthy_before_the_old_one_was_told(events, after["web"][0], before["web"][0])

    assert manage("rollback", "DB_PASSWORD").code == 0
    assert running.value("worker") == old.encode()
    assert files(manage) == {"db_password": old.encode(), ".previous/db_password": new.encode()}


def healthy_before_the_old_one_was_told(seen: list[dict[str, Any]], new: str, old: str) -> None:
    events = [f"{event['Actor']['ID']} {event['Action']}" for event in seen]
    told = events.index(f"{old} kill")
    assert events.index(f"{new} health_status: healthy") < told
    # An address that becomes free goes to the next that starts, and with it whoever still asks for the one that went.
    assert not [event for event in events[told:] if event.endswith(" start")]


# Two of each; what writes to a volume is recreated, the other is doubled.
TWICE = """\
name: PROJECT
services:
  web: &web
    image: with-shim
    entrypoint: [/opt/shim/shim, --init, --]
    command: [/busybox, sh, -c, 'case $$DB_PASSWORD in bad*) exit 3;; esac; exec /busybox sleep 1d']
    healthcheck: {test: [CMD, /busybox, 'true'], interval: 300ms}
    secrets: [db_password]
    scale: 2
  worker: {<<: *web, volumes: ['data:/data']}
volumes: {data: {}}
secrets:
  db_password: {file: ./secrets/db_password}
"""


@pytest.mark.engine
def test_a_container_that_was_stopped_by_hand_is_not_started(running: Running, canary: Canary) -> None:
    """Neither on the way there nor on the way back; whoever starts it later starts it with the file as it is then."""
    new = canary()
    running.up(TWICE, db_password=canary())
    docker = running.engine.docker

    def states() -> list[str]:
        label = f"label=com.docker.compose.project={running.name}"
        listed = docker("ps", "--all", "--filter", label, "--format", "{{.Names}} {{.State}}").splitlines()
        return sorted(line.removeprefix(f"{running.name}-") for line in listed)

    def read() -> list[bytes]:
        return [running.read("web"), running.read("worker")]

    docker("stop", "--time", "0", f"{running.name}-web-2", f"{running.name}-worker-2")

    end = running.rotate(new, "--json")

    assert end.code == 0, end.stderr
    assert {item["proof"] for item in json.loads(end.stdout)["services"]} == {"fingerprint"}
    assert read() == [new.encode()] * 2
    assert states() == ["web-2 exited", "web-3 running", "worker-1 running", "worker-2 created"]
    end = running.rotate(f"bad{canary()}")
    assert end.code == 1, end.stderr
    assert f"cannot start web: {running.name}-web-4 did not come up" in end.stderr
    assert read() == [new.encode()] * 2
    assert states() == ["web-2 exited", "web-3 running", "worker-1 running", "worker-2 created"]


@pytest.mark.engine
def test_a_value_that_no_service_comes_up_with_goes_back(running: Running, manage: Manage, canary: Canary) -> None:
    """The old container of a service that could be doubled never stopped; the others are started with the old value."""
    old, new = canary(), "bad" + canary()
    running.up(COMPOSE, db_password=old)
    web = running.ids("web")

    end = running.rotate(new, "--timeout", "30")

    assert end.code == 1, end
    assert "the old value is back everywhere" in end.stderr
    assert "worker" in end.stderr
    assert running.ids("web") == web
    assert running.value("worker") == old.encode()
    assert running.read("folder") == old.encode()
    assert files(manage) == {"db_password": old.encode()}
    assert "there is no previous value of DB_PASSWORD" in manage("rollback", "DB_PASSWORD").stderr


@pytest.mark.engine
def test_a_service_that_fails_once_it_is_up_goes_back(running: Running, manage: Manage, canary: Canary) -> None:
    """It has no health check, so that it counts as up from its first moment, and its shim cannot be asked any more."""
    old = canary()
    running.up(ONE, db_password=old)
    web = running.ids("web")
    (mark := manage.folder / "not-yet").touch()
    docker = shutil.which("docker")
    env = running.docker_that(
        f'case " $* " in *" up "*" worker "*) mv {mark} {mark}-up 2>/dev/null;; '
        f'*" exec "*) ! rm {mark}-up 2>/dev/null || {{ {docker} kill $3; {docker} wait $3; }} >/dev/null;; esac'
    )

    end = running.rotate(canary(), env=env)

    assert end.code == 1, end
    assert "worker-1 came up with the new value, and then failed" in end.stderr
    assert "the old value is back everywhere" in end.stderr
    assert running.ids("web") == web
    assert running.value("worker") == old.encode()


TOLD = """\
name: PROJECT
services:
  told:
    image: with-shim
    entrypoint: [/opt/shim/shim, --init, --]
    command:
      - /busybox
      - sh
      - -c
      - trap '/busybox cat /run/secrets/db_password >/seen' HUP; echo >/hears; while :; do /busybox sleep 0.1; done
    stop_signal: SIGKILL
    volumes: ['./secrets:/run/secrets:ro']
"""


@pytest.mark.engine
def test_a_service_can_be_told_by_a_signal(running: Running, manage: Manage, canary: Canary) -> None:
    new = canary()
    running.up(TOLD, db_password=canary())
    before = running.ids("told")

    def inside(script: str) -> str:
        return running.engine.docker("exec", before[0], "/busybox", "timeout", "60", "/busybox", "sh", "-c", script)

    inside("until [ -e /hears ]; do /busybox sleep 0.05; done")

    end = running.rotate(new, "--how", "signal=HUP")

    assert end.code == 0, end.stderr
    assert running.ids("told") == before
    assert inside("until [ -s /seen ]; do /busybox sleep 0.05; done; /busybox cat /seen") == new


@pytest.mark.engine
def test_a_signal_that_ends_the_service_is_said(running: Running, canary: Canary) -> None:
    """Of the old value it cannot be told by the same signal: it is restarted."""
    old = canary()
    running.up(TOLD, db_password=old)

    end = running.rotate(canary(), "--how", "signal=KILL")

    assert end.code == 1, end
    assert "told-1 does not run properly with the new value" in end.stderr
    assert "the old value is back everywhere" in end.stderr
    assert running.read("told") == old.encode()


@pytest.mark.engine
def test_a_service_that_takes_the_value_from_elsewhere_goes_back(
    running: Running, manage: Manage, canary: Canary
) -> None:
    old = canary()
    manage.write("elsewhere/db_password", old)
    elsewhere = "    environment: {SHIM_SECRETS_DIR: /elsewhere}\n    volumes: ['./elsewhere:/elsewhere:ro']\n"
    running.up(ONE.replace("  worker:\n", f"  worker:\n{elsewhere}"), db_password=old)

    end = running.rotate(canary())

    assert end.code == 1, end
    assert "worker-1 has a different value of DB_PASSWORD from the file's" in end.stderr
    assert "the old value is back everywhere" in end.stderr
    assert running.value("worker") == running.read("web") == old.encode()


@pytest.mark.engine
def test_what_would_fail_is_said_before_anything_changes(running: Running, manage: Manage, canary: Canary) -> None:
    old = canary()
    running.up(COMPOSE, db_password=old, lonely=canary())

    told = running.rotate(canary(), "--how", "signal=HUP")
    assert told.code == 1
    assert "web mounts the file by itself" in told.stderr
    assert "worker mounts the file by itself" in told.stderr
    salted = running.rotate(canary(), "--salt", "another")
    assert salted.code == 1
    assert "than the file already" in salted.stderr
    assert "has this value already" in running.rotate(old).stderr
    manage.write("compose.yaml", COMPOSE.replace("./secrets:/run", "./data:/run").replace("PROJECT", running.name))
    lonely = manage("rotate", "LONELY", "--value-file", "-", stdin=canary().encode())
    assert lonely.code == 1
    assert "no service of" in lonely.stderr
    assert files(manage)["db_password"] == old.encode()
    assert not (manage.folder / "secrets/.rotation/plan").exists()
    manage.write("compose.yaml", COMPOSE.replace("PROJECT", running.name))
    forced = running.rotate(canary(), "--salt", "another", "--force")
    assert forced.code == 0, forced.stderr
    assert "has a different value of DB_PASSWORD from the file's, or another SHIM_SALT" in forced.stderr


ONE = COMPOSE.split("  folder:")[0] + "secrets:\n  db_password: {file: ./secrets/db_password}\n"


@pytest.mark.engine
@pytest.mark.parametrize("value", ["good", "bad"])
def test_killed_at_any_call_to_docker_the_resumed_run_completes(
    running: Running, manage: Manage, canary: Canary, value: str
) -> None:
    """Also while what Docker was asked for is still under way. Every service ends with the value that the file has.

    One call in three, or in two where there are few; ROTATE_FULL=1 takes every one.
    """
    old = canary()
    running.up(ONE, db_password=old)
    died = 0
    for fatal in range(1, 40, 1 if FULL else 3 if value == "good" else 2):
        new = ("bad" if value == "bad" else "") + canary()
        # Every other time the call itself is still carried out.
        is_lost = ":" if died % 2 else "exit 1"
        end = running.rotate(
            new, "--timeout", "30", env=running.docker_that(f"[ $count != {fatal} ] || {{ kill -9 $PPID; {is_lost}; }}")
        )
        if end.code != -9:
            break
        died += 1
        assert files(manage)["db_password"] in (old.encode(), new.encode())
        if (manage.folder / "secrets/.rotation/plan").exists():
            refused = running.rotate(canary())
            assert refused.code == 1
            assert "--resume" in refused.stderr
            # The project is that of the run that was killed, whatever this shell would call it.
            env = {"COMPOSE_PROJECT_NAME": "another"}
            resumed = manage("rotate", "--resume", "--timeout", "30", env=env)
            assert resumed.code == (0 if value == "good" else 1), resumed
        elif value == "good":
            assert running.rotate(new).code == 0
        expected = new.encode() if value == "good" else old.encode()
        assert files(manage)["db_password"] == expected
        assert not (manage.folder / "secrets/.rotation/plan").exists()
        assert running.value("worker") == running.read("web") == expected
        old = expected.decode()
    assert end.code == (0 if value == "good" else 1), end
    # A value that no service comes up with is taken back at the first of them: four calls in all.
    assert died >= (2 if not FULL else 5 if value == "good" else 4)


@pytest.mark.engine
def test_an_engine_that_goes_away_leaves_what_can_be_resumed(running: Running, manage: Manage, canary: Canary) -> None:
    old, new = canary(), canary()
    running.up(ONE, db_password=old)
    env = running.docker_that(f"[ $count -lt 4 ] || touch {manage.folder}/gone")
    script = manage.folder / "bin/docker"
    script.write_text(
        script.read_text().replace("exec ", f"[ ! -e {manage.folder}/gone ] || DOCKER_HOST=unix:///gone\nexec ")
    )

    end = running.rotate(new, env=env)
    assert end.code == 111, end
    assert "the engine does not answer" in end.stderr
    assert "rotate --resume" in end.stderr

    assert manage("rotate", "--resume").code == 0
    assert running.value("worker") == running.read("web") == new.encode()
    assert json.loads(manage("rotate", "--resume", "--json").stdout)["state"] == "nothing to do"


@pytest.mark.engine
def test_a_service_that_comes_up_with_neither_value_is_said_and_resumed(
    running: Running, manage: Manage, canary: Canary
) -> None:
    """Docker takes the service away, and starts it neither way; the old value is in the file again."""
    old = canary()
    running.up(ONE, db_password=old)
    mine = f"label=com.docker.compose.project={running.name}"
    worker = f"--filter {mine} --filter label=com.docker.compose.service=worker"
    docker = shutil.which("docker")
    env = running.docker_that(
        f'case " $* " in *" up "*" worker "*) {docker} rm --force $({docker} ps --quiet {worker}) >/dev/null\n'
        "echo no room >&2; exit 1;; esac"
    )

    end = running.rotate(canary(), env=env)

    assert end.code == 111, end.stderr
    assert "worker has the old value again, but cannot start worker: " in end.stderr
    assert "rotate --resume" in end.stderr
    resumed = manage("rotate", "--resume")
    assert resumed.code == 1, resumed.stderr
    assert "the old value is back everywhere" in resumed.stderr
    assert running.value("worker") == running.read("web") == old.encode()


def test_killed_before_any_change_of_a_file_the_resumed_run_completes(manage: Manage, canary: Canary) -> None:
    old = canary()
    manage.write("secrets/a", old).chmod(0o600)
    (manage.folder / "secrets").chmod(0o700)
    new = canary()
    command = ("rotate", "A", "--value-file", "-", "--how", "none")
    for dies_at in range(1, 200):
        shutil.rmtree(manage.folder / "secrets" / ".previous", ignore_errors=True)
        shutil.rmtree(manage.folder / "secrets" / ".rotation", ignore_errors=True)
        manage.write("secrets/a", old)
        end = manage(*command, stdin=new.encode(), dies_at=dies_at)
        if end.code == 0:
            break
        assert end.code == -9, end
        there = files(manage)
        assert there["a"] in (old.encode(), new.encode())
        if there["a"] == new.encode():
            assert old.encode() in (there.get(".rotation/old.a"), there.get(".previous/a")), "the old value is lost"
        if dies_at % 4 == 0:
            if any(name.startswith(".rotation/") and not name.startswith(".rotation/.") for name in there):
                assert manage("rotate", "--resume").code == 0  # which also clears what is left of a finished one
            if files(manage)["a"] == old.encode():
                assert manage(*command, stdin=new.encode()).code == 0
            assert files(manage) == {"a": new.encode(), ".previous/a": old.encode()}
    else:
        pytest.fail("the run never came to its end")
    assert dies_at > 30, "the loop killed it too rarely to mean anything"


class Inside:
    keeps_both = False

    """Writes down what it is asked, and fails where it is told to."""

    def __init__(self, fails_at: str = "") -> None:
        self.calls: list[str] = []
        self.fails_at = fails_at

    def check(self) -> list[str]:
        self.calls.append("check")
        return ["it would fail"] if self.fails_at == "check" else []

    def begin(self) -> None:
        self._call("begin")

    def finish(self) -> None:
        self._call("finish")

    def take_back(self) -> None:
        self._call("undo")

    def _call(self, name: str) -> None:
        from shim_host.errors import Failed, Refused

        self.calls.append(name)
        if self.fails_at == name:
            self.fails_at = ""
            raise (Failed if name == "finish" else Refused)("the database says no")


@pytest.mark.parametrize(
    ("fails_at", "calls"),
    [
        ("", ["check", "begin", "finish"]),
        ("check", ["check"]),
        ("begin", ["check", "begin", "undo"]),
        ("finish", ["check", "begin", "finish", "begin", "finish"]),
    ],
)
def test_a_change_inside_a_system_goes_along(manage: Manage, canary: Canary, fails_at: str, calls: list[str]) -> None:
    """Before the files change, once all is done, and back where it fails; what failed for the world is resumed."""
    from shim_host.errors import Failed, Refused

    old, new = canary(), canary()
    manage.write("secrets/a", old)
    inside = Inside(fails_at)
    settings = Settings(
        Vault(manage.folder / "secrets"), RunningProject([], {}), "none", inside=lambda _key, _new, _old: inside
    )
    wanted = {"A": Secret(new.encode())}, {"A": "a"}, settings

    if fails_at == "check":
        with pytest.raises(Refused, match="it would fail"):
            planned(*wanted)
    elif fails_at == "finish":
        with pytest.raises(Failed, match="the database says no"):
            rotate(planned(*wanted), settings)
        assert resume(settings) is not None
    else:
        assert bool(rotate(planned(*wanted), settings).why) is (fails_at == "begin")

    assert inside.calls == calls
    assert files(manage)["a"] == (old if fails_at in ("check", "begin") else new).encode()
    assert resume(settings) is None


def plain(manage: Manage) -> dict[str, bytes]:
    """Return the secret files, without what rotations keep."""
    return {name: value for name, value in files(manage).items() if not name.startswith(".")}


SCHEMA = """\
# @sensitive @type=string(minLength=10)
PLAIN=

# @sensitive @generate
JWT_SECRET=

# @sensitive @type=jwt(signedBy=JWT_SECRET, role=anon)
ANON_KEY=
"""


def test_a_new_value_is_read_made_or_typed_and_held_against_the_schema(manage: Manage, canary: Canary) -> None:
    """A token follows the key it is signed with, and comes back with it."""
    manage.write(".env.schema", SCHEMA)
    manage.write(".env", f"PLAIN={canary()}\n")
    manage("create-from-env", "--generate-missing")
    before = plain(manage)

    short = manage("rotate", "PLAIN", "--value-file", "-", "--how", "none", stdin=b"short")
    assert short.code == 1
    assert "PLAIN is shorter than 10 characters" in short.stderr
    nobody = manage("rotate", "PLAIN", "--how", "none")
    assert nobody.code == 1
    assert "--value-file" in nobody.stderr
    assert "the key is PLAIN" in manage("rotate", "plain", "--how", "none").stderr
    assert plain(manage) == before

    made = manage.json("rotate", "JWT_SECRET", "--generate", "--how", "none")
    assert [item["key"] for item in made["keys"]] == ["JWT_SECRET", "ANON_KEY"]
    now = plain(manage)
    assert {name for name in now if now[name] != before[name]} == {"jwt_secret", "anon_key"}
    signed, _, signature = now["anon_key"].rpartition(b".")
    mac = hmac.digest(now["jwt_secret"], signed, hashlib.sha256)
    assert base64.urlsafe_b64encode(mac).rstrip(b"=") == signature
    manage("rotate", "PLAIN", "--generate", "--how", "none")
    assert plain(manage)["plain"] != before["plain"]
    assert manage.json("rollback", "JWT_SECRET", "--how", "none")["state"] == "rolled back"
    assert plain(manage)["anon_key"] == before["anon_key"]


def test_a_composed_key_goes_back_to_what_its_parts_hold_now(manage: Manage, canary: Canary) -> None:
    """Another part changed since: the composed value before would take that one back, too."""
    first, other = canary(), canary()
    manage.write(".env.schema", '# @sensitive\nA=\n# @sensitive\nB=\n# @sensitive @composed="${A}/${B}"\nBOTH=\n')
    for name, value in (("a", first), ("b", other), ("both", f"{first}/{other}")):
        manage.write(f"secrets/{name}", value)
    for key in ("A", "B"):
        assert manage("rotate", key, "--generate", "--how", "none").code == 0
    now = plain(manage)["b"]

    end = manage("rollback", "A", "--how", "none")

    assert "has the previous value" in end.stderr
    assert plain(manage)["both"] == first.encode() + b"/" + now
    manage.custody.canaries += [value.decode() for value in plain(manage).values()]


def test_a_value_is_typed_unseen_and_twice(manage: Manage, canary: Canary) -> None:
    new = canary()
    manage.write("secrets/a", canary())
    terminal = pexpect.spawn(
        sys.executable,
        [str(SCRIPT), "rotate", "A", "--how", "none"],
        cwd=str(manage.folder),
        env={"PATH": os.environ["PATH"]},
        encoding="utf-8",
        timeout=30,
    )
    terminal.expect("new value of A: ")
    terminal.sendline(new)
    terminal.expect("Repeat for confirmation: ")
    terminal.sendline(new)
    said = terminal.read()
    terminal.close()
    manage.custody.said.append(said)

    assert terminal.exitstatus == 0, said
    assert files(manage)["a"] == new.encode()


def test_two_at_once_are_refused(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    with desk(Vault(manage.folder / "secrets")):
        end = manage("rotate", "A", "--value-file", "-", "--how", "none", stdin=canary().encode())

    assert end.code == 1
    assert "another run is writing" in end.stderr


def test_what_rotations_keep_is_no_secret_to_anybody_else(manage: Manage, canary: Canary) -> None:
    """Nor to git. A value that was put there by hand meanwhile is not written over."""
    old, new = canary(), canary()
    manage.write("secrets/a", old).chmod(0o600)
    manage.write(".gitignore", "/secrets/*\n.env\n")
    command = ("rotate", "A", "--value-file", "-", "--how", "none")
    plan = manage.folder / "secrets/.rotation/plan"
    for dies_at in range(10, 30, 2):
        assert manage(*command, stdin=new.encode(), dies_at=dies_at).code == -9
        if plan.exists():
            break
    assert plan.exists()
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"

    assert [item["key"] for item in manage.json("list", "--no-engine")["keys"]] == ["A"]
    assert manage.json("validate")["findings"] == []
    by_hand = canary()
    manage.write("secrets/a", by_hand)
    assert "has changed in the meantime" in manage("rotate", "--resume").stderr
    assert files(manage)["a"] == by_hand.encode()
    manage.write("secrets/a", old)
    assert manage("rotate", "--resume").code == 0
    assert [item["key"] for item in manage.json("list", "--no-engine")["keys"]] == ["A"]
    assert manage.json("validate")["findings"] == []


def test_a_plan_that_is_damaged_is_not_guessed_at(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    manage.write("secrets/.rotation/plan", "{")

    end = manage("rotate", "--resume")

    assert end.code == 1
    assert "secrets/.rotation" in end.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["A", "--generate", "--how", "signal="],
        ["A", "--generate", "--how", "later"],
        ["A", "--resume"],
        ["A", "--generate", "--compose", "missing.yaml"],
        ["A", "B", "--value-file", "-", "--how", "none"],
    ],
)
def test_wrong_usage_ends_with_2(manage: Manage, canary: Canary, arguments: list[str]) -> None:
    manage.write("secrets/a", canary())
    manage.write("secrets/b", canary())

    assert manage("rotate", *arguments).code == 2


RUNS = Container("1", "c", is_running=True, health="healthy", keeps_data=False, watches=True)


def test_for_cron_what_a_killed_run_left_is_finished_first(manage: Manage, canary: Canary) -> None:
    """`--due` says so, and then looks for what is due."""
    manage.write("secrets/a", canary())
    manage.write("kill-it", '#!/bin/sh\n[ "$1" != finish ] || [ -e done ] || { : >done; kill -9 $PPID; }\n').chmod(
        0o755
    )
    manage.write(".env.schema", "# @sensitive @generate @rotate=1d @rotate-with=command(./kill-it)\nA=\n")
    new = canary()
    assert manage("rotate", "A", "--value-file", "-", "--how", "none", stdin=new.encode()).code == -9
    os.utime(manage.folder / "secrets/a", (0, 0))

    end = manage("rotate", "--due", "--how", "none")

    assert end.code == 0, end.stderr
    assert "a run ended here in its middle: that is finished first, or taken back" in end.stderr
    assert manage("rotate", "--resume", "--how", "none").stderr.count("no rotation is unfinished") == 1


def test_two_at_once_only_where_that_can_be() -> None:
    def decided(container: Container, *, is_fixed: bool = True, has_place: bool = False, wish: str = "auto") -> str:
        return way(Use(ComposeService("s", (), has_place), is_fixed, [container]), wish)

    assert decided(RUNS) == OVERLAP
    assert decided(RUNS, has_place=True) == RECREATE
    assert decided(replace(RUNS, keeps_data=True)) == RECREATE
    assert decided(replace(RUNS, health="")) == RECREATE
    assert decided(RUNS, is_fixed=False) == WATCHES
    assert decided(RUNS, is_fixed=False, wish="recreate") == OVERLAP
    assert decided(replace(RUNS, is_running=False)) == "not running"


def test_without_a_compose_file_the_way_out_is_said(manage: Manage, canary: Canary) -> None:
    plug_in_compose(manage)
    manage.write("secrets/a", canary())

    end = manage("rotate", "A", "--value-file", "-", "--compose", stdin=canary().encode())

    assert end.code == 1, end
    assert "there is no Compose file in ." in end.stderr
    assert "--how none" in end.stderr


def test_the_door_is_the_command(manage: Manage) -> None:
    door = SCRIPT.parent / "secrets-rotate.sh"
    done = subprocess.run([door, "--help"], env={"PYTHON": sys.executable}, capture_output=True, text=True, check=True)

    assert done.stdout == manage("rotate", "--help").stdout


def test_no_docker_at_all_ends_with_111(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    manage.write("compose.yaml", "services: {}\n")

    end = manage("rotate", "A", "--value-file", "-", stdin=canary().encode(), env={"PATH": "/nowhere"})

    assert end.code == 111
    assert "docker is not installed" in end.stderr
    assert os.listdir(manage.folder / "secrets") == ["a"]


def test_a_plan_that_leads_out_of_the_folder_is_none(tmp_path: Path) -> None:
    """Whoever owns the folder may have written it, and who goes on with it may be root."""
    store = Vault(tmp_path / "secrets")
    plan = {"files": {"A": "../../pwned"}, "services": [], "compose_files": [], "direction": "forward", "why": ""}
    with desk(store) as opened:
        for odd in (plan, {**plan, "files": {"A": 7}}, {**plan, "files": 7}):
            (store.path / ".rotation/plan").write_text(json.dumps(odd))
            with pytest.raises(Refused, match="was not written by a rotation"):
                opened.read()
