"""A rotation that is killed, cut off or refused at any call: finished or taken back, and never half of each."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Canary, Manage, Meddler, PrivateSwarm
from tests.support.rotation_crash import at, begun

pytestmark = pytest.mark.engine
# lock, two secrets, three services, the note of the numbers, and the lock's end; each fault is tried at every one.
CALLS = 8
COMMAND = ("rotate", "A", "B", "--generate", "--parallel", "1", "--yes")


@pytest.fixture
def project(swarm: PrivateSwarm, manage: Manage) -> Manage:
    swarm.image()
    return manage


def prepare(swarm: PrivateSwarm, project: Manage, canary: Canary) -> None:
    """Two keys, and three services of no replicas that mount one or both."""
    swarm.empty()
    (project.folder / "secrets.lock.env").unlink(missing_ok=True)  # the numbers of the round before
    project.write("secrets/a", canary())
    project.write("secrets/b", canary())
    assert project("create-swarm").code == 0
    for name, mounts in {"one": ("a.v1",), "two": ("b.v1",), "both": ("a.v1", "b.v1")}.items():
        secrets = [word for mount in mounts for word in ("--secret", f"source={mount},target={mount[0]}")]
        swarm.docker(
            *("service", "create", "--detach", "--quiet", "--name", name, "--replicas", "0", *secrets),
            *(swarm.image(), "/busybox", "true"),
        )


def services(swarm: PrivateSwarm) -> list[Any]:
    found: list[Any] = json.loads(swarm.docker("service", "inspect", *swarm.docker("service", "ls", "-q").split()))
    return found


def mounts(spec: Any) -> dict[str, str]:
    secrets = spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
    return {item["File"]["Name"]: item["SecretName"] for item in secrets}


def check(swarm: PrivateSwarm, project: Manage) -> str:
    """One version in use, nothing left over, nothing named that is gone; return the version."""
    there = set(swarm.docker("secret", "ls", "--format", "{{.Name}}").split())
    in_use: dict[str, set[str]] = {}
    for service in services(swarm):
        for target, name in mounts(service["Spec"]).items():
            in_use.setdefault(target, set()).add(name)
        for name in mounts(service.get("PreviousSpec") or service["Spec"]).values():
            assert name in there, "a previous specification names a secret that is gone"
    assert in_use in ({"a": {"a.v1"}, "b": {"b.v1"}}, {"a": {"a.v2"}, "b": {"b.v2"}})
    version = "v2" if "a.v2" in in_use["a"] else "v1"
    assert there == ({"a.v1", "b.v1"} if version == "v1" else {"a.v1", "b.v1", "a.v2", "b.v2"})
    assert swarm.docker("config", "ls", "-q", "--filter", "label=docker-secrets-shim.rotation") == "", (
        "the lock is still there"
    )
    states = [row["state"] for row in project.json("diff", "--all")["keys"]]
    assert states == ["same"] * 2, "./secrets and the Swarm disagree"
    assert sorted(project.secrets()) == ["a", "b"], "a value is left in waiting"
    return version


def test_killed_at_every_call_it_is_finished_or_taken_back(
    swarm: PrivateSwarm, project: Manage, canary: Canary
) -> None:
    ends = []
    for fatal in range(1, CALLS + 1):
        prepare(swarm, project, canary)
        meddler = Meddler(swarm, at(fatal, "kill"))
        victim = begun(project, meddler, *COMMAND)
        assert victim.wait(60) == -9, f"it made fewer than {fatal} calls"
        meddler.close()

        end = project("rotate", "--resume")

        assert end.code == 0, end.stderr
        project.custody.canaries += [value.decode() for value in project.secrets().values()]
        ends.append(check(swarm, project))
        assert project("rotate", "A", "--generate").code == 0
    # With the values lost it goes back; once both versions exist, forward.
    assert ends == ["v1", "v1", *["v2"] * (CALLS - 2)]


@pytest.mark.parametrize("fate", ["drop", "lose", "500"])
def test_a_call_that_fails_once_does_not_stop_it(
    swarm: PrivateSwarm, project: Manage, canary: Canary, fate: str
) -> None:
    for bad in range(1, CALLS + 1, 1 if os.environ.get("ROTATE_FULL") else 2):
        prepare(swarm, project, canary)
        meddler = Meddler(swarm, at(bad, fate))
        victim = begun(project, meddler, *COMMAND)
        said = victim.communicate(timeout=100)[1].decode()
        meddler.close()
        project.custody.said.append(said)
        if victim.returncode != 0:
            assert victim.returncode == 111, said
            assert "--resume" in said or bad == 1, said
            assert project("rotate", "--resume").code == 0
        check(swarm, project)


def test_two_operators_at_once(swarm: PrivateSwarm, project: Manage, canary: Canary) -> None:
    """The second is refused, and may not take over from a run that lives; from one that was killed it may."""
    prepare(swarm, project, canary)
    meddler = Meddler(swarm, at(4, "hang"))
    first = begun(project, meddler, *COMMAND)
    while meddler.requests < 4:
        assert first.poll() is None

    second = project("rotate", "A", "--generate")
    takeover = project("rotate", "--resume")
    first.kill()
    first.wait()
    meddler.close()

    assert second.code == 1
    assert "a rotation of A, B is under way" in second.stderr
    assert takeover.code == 1
    assert "make sure that it has ended" in takeover.stderr
    assert project("rotate", "--resume").code == 0
    assert check(swarm, project) == "v2"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_services_move_says_how_it_goes_on(
    stop: signal.Signals, swarm: PrivateSwarm, project: Manage, canary: Canary
) -> None:
    """Ctrl-C, or a CI's job that is cancelled."""
    prepare(swarm, project, canary)
    meddler = Meddler(swarm, at(5, "hang"))
    victim = begun(project, meddler, *COMMAND)
    while meddler.requests < 5:
        assert victim.poll() is None
    victim.send_signal(stop)
    assert victim.stderr is not None
    said = ""
    for line in victim.stderr:  # it may have ended by the time that it is heard
        said += line.decode()
        if "interrupted" in said:
            break
    victim.kill()
    victim.wait()
    meddler.close()
    project.custody.said.append(said)

    assert "interrupted while services were moving" in said
    assert project("rotate", "--resume").code == 0
    check(swarm, project)


def test_without_an_engine_for_longer_than_it_waits_nothing_is_taken_back(
    swarm: PrivateSwarm, project: Manage, canary: Canary
) -> None:
    """From the second service on nothing is answered: 111, the lock stays, and `--resume` finishes it."""
    prepare(swarm, project, canary)
    written: list[int] = []

    def meddle(number: int) -> str:
        if meddler.request.startswith(b"POST") and b"/services/" in meddler.request.split(b"\r\n", 1)[0]:
            written.append(number)
        return "drop" if len(written) > 1 else "pass"

    meddler = Meddler(swarm, meddle, reads=True)
    victim = begun(project, meddler, *COMMAND, "--timeout", "1s")
    said = victim.communicate(timeout=200)[1].decode()
    meddler.close()
    project.custody.said.append(said)

    assert victim.returncode == 111, said
    assert "rotate --resume" in said
    assert swarm.docker("config", "ls", "-q", "--filter", "label=docker-secrets-shim.rotation") != ""
    assert project("rotate", "--resume").code == 0
    check(swarm, project)


def test_killed_at_its_very_end_it_still_knows_what_was_before(
    swarm: PrivateSwarm, project: Manage, canary: Canary, shim_binary: Path
) -> None:
    """./secrets holds the new value by then, and what drops the old one inside a system must not take that for it."""
    swarm.docker("tag", swarm.image_with_shim(shim_binary), "busybox:latest")  # what reads values back
    said = project.folder / "said"
    project.write("change-it", f'#!/bin/sh\ncat >"{said}-$1"\n').chmod(0o755)
    project.write(".env.schema", "# @sensitive @generate @rotate-with=command(./change-it)\nA=\n# @sensitive\nB=\n")
    prepare(swarm, project, canary)
    first = project.secrets()["a"].decode()

    def meddle(number: int) -> str:
        if number == CALLS and meddler.victim is not None:
            meddler.victim.kill()
            return "drop"
        return "pass"

    meddler = Meddler(swarm, meddle)
    assert begun(project, meddler, *COMMAND).wait(60) == -9
    meddler.close()
    new = project.secrets()["a"].decode()
    project.custody.canaries.append(new)
    assert new != first
    Path(f"{said}-finish").unlink()

    assert project("rotate", "--resume").code == 0

    swarm.docker("rmi", "busybox:latest")
    told = json.loads(Path(f"{said}-finish").read_text())
    assert (told["old"], told["new"]) == (first, new)
    assert check(swarm, project) == "v2"


def test_going_back_without_a_leader_it_asks_again(swarm: PrivateSwarm, project: Manage, canary: Canary) -> None:
    """That the lock could not be written at once is not a sign of another run that has taken it."""
    project.write("secrets/a", canary())
    assert project("create-swarm").code == 0
    # The default monitor, 5 s: in a shorter one a busy engine can have missed that the task failed.
    update = ("--update-failure-action", "rollback")
    swarm.serve(
        *("--name", "one", "--secret", "source=a.v1,target=a", *update, swarm.image()),
        *("/busybox", "sh", "-c", "/busybox grep -q Qz /run/secrets/a && exec /busybox sleep 1000"),
    )
    meddler = Meddler(swarm, at(4, "500"))  # lock, secret, service; then the lock says that it goes back

    value = canary()[2:].encode()
    end = project("rotate", "A", "--value-file", "-", stdin=value, env={"DOCKER_HOST": meddler.host})
    meddler.close()

    assert end.code == 1
    assert "every service is back" in end.stderr
    assert swarm.docker("secret", "ls", "--format", "{{.Name}}") == "a.v1"
    assert swarm.docker("config", "ls", "-q", "--filter", "label=docker-secrets-shim.rotation") == "", (
        "the lock is still there"
    )
