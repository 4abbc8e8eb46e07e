"""A system whose tasks run on other nodes is spoken to by a helper task beside them, which leaves nothing behind."""

import time
from collections.abc import Callable

import pytest
from shim_host.errors import Failed, Refused
from shim_host.rotate.systems.mariadb import MariaDB
from shim_host.rotate.systems.postgres import Postgres
from shim_host.rotate.systems.redis import Redis
from shim_host.swarm import connection, owner
from shim_host.swarm.helper import elsewhere
from shim_host.swarm.helper.elsewhere import FarDoor, Sign
from shim_host.swarm.helper.read_back import OWNER
from shim_host.swarm.helper.run_inside import Lost, NotReady, Place

from tests.support.forms import Custody
from tests.support.host import Canary, PrivateSwarm

pytestmark = pytest.mark.engine

PATIENCE_SECONDS = 60
SIGNS = (Sign("ERROR 1045 "), Sign("ERR *aclfile", begins=True), Sign("ERR ", begins=True))


def wait(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)  # the engine has no event for a task


@pytest.fixture(name="network")
def _network(swarm: PrivateSwarm) -> str:
    """Return a network of the Swarm; as one of a stack it goes with the services."""
    swarm.docker("network", "create", "--driver", "overlay", "--label", "com.docker.stack.namespace=far", "far")
    return "far"


@pytest.fixture(name="door")
def _door(swarm: PrivateSwarm) -> FarDoor:
    return connection.connect_as(FarDoor, {"DOCKER_HOST": swarm.host})


def test_a_system_on_another_node_is_told_by_a_helper_task(
    swarm: PrivateSwarm, network: str, door: FarDoor, canary: Canary, custody: Custody, busybox: str
) -> None:
    """What it is told comes on stdin, from a secret that goes with the task; what it says comes back as a number."""
    told = canary()
    stack = ("--label", "com.docker.stack.namespace=shop", "--name", "shop_db", "--network", network)
    swarm.serve(*stack, "--endpoint-mode", "dnsrr", busybox, "sleep", "1d")
    remote = door.remote("db")
    assert (remote, remote.host) == (door.remote("shop_db"), "tasks.shop_db")

    def run(script: str) -> tuple[int, bytes]:
        return door.run_there(remote, ["sh", "-c", script, "sh"], f"{told}\n".encode(), SIGNS)

    assert run("IFS= read -r x && [ ${#x} = " + str(len(told)) + " ]") == (0, b"")
    assert run("cat >&2; echo 'the ERROR 1045 (28000)'; exit 1") == (0, b"ERROR 1045 ")
    assert run("echo ERR of an aclfile; echo OK") == (0, b"ERR aclfile")
    assert run("cat; echo ERR of an aclfile; echo 'ERR else'; exit 3") == (0, b"ERR ")
    assert run("exit 3") == (1, b"")
    assert run("exec /no/such/program") == (127, b"")
    events = swarm.docker("events", "--since", "10m", "--until", "0s", "--format", "{{json .}}")
    assert "shim-helper-" in events
    custody.said.append(events)
    assert swarm.docker("service", "ls", "--format", "{{.Name}}") == "shop_db"
    assert swarm.docker("secret", "ls", "--quiet") == ""


def test_what_a_killed_run_left_is_removed_by_the_next(
    swarm: PrivateSwarm, network: str, door: FarDoor, busybox: str
) -> None:
    swarm.serve("--name", "db", "--network", network, "--endpoint-mode", "dnsrr", busybox, "sleep", "1d")
    ended = owner.this_run().rsplit(" ", 2)[0] + " 999999999 1"
    for name, whose in (("shim-helper-1", ended), ("shim-helper-2", "elsewhere 1 1")):
        marks = ("--label", f"{elsewhere.HELPER}=rotate-with", "--label", f"{OWNER}={whose}")
        swarm.docker("secret", "create", *marks, name, "-", stdin=b"x")

    door.run_there(door.remote("db"), ["true"], b"x\n", ())

    assert swarm.docker("secret", "ls", "--format", "{{.Name}}") == "shim-helper-2"  # its run may be under way


def test_what_cannot_be_reached_is_said(
    swarm: PrivateSwarm, network: str, door: FarDoor, busybox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm.serve("--name", "alone", busybox, "sleep", "1d")
    swarm.docker("service", "create", "--detach", "--name", "down", "--replicas", "0", "--network", network, busybox)
    swarm.serve("--name", "db", "--network", network, "--endpoint-mode", "dnsrr", busybox, "sleep", "1d")

    with pytest.raises(Refused, match="alone runs on another node, and has no network to reach it through"):
        door.remote("alone")
    for name in ("down", "nowhere"):
        with pytest.raises(Refused, match=f"no container of the service {name} runs"):
            door.remote(name)
    remote = door.remote("db")
    monkeypatch.setattr(elsewhere, "_SECONDS", 4)
    for gone in (remote._replace(node="no-such-node"), remote):
        with pytest.raises(Failed, match="the helper task that speaks to db does not finish"):
            door.run_there(gone, ["sleep", "1d"], b"x\n", ())
    assert swarm.docker("secret", "ls", "--quiet") == ""


def test_a_task_that_is_to_end_is_no_place_to_speak_to(swarm: PrivateSwarm, door: FarDoor, busybox: str) -> None:
    """Its service was removed, and made once more under the same name, while it takes its time to end."""
    script = "trap '' TERM; trap 'exit 0' USR1; while :; do sleep 0.1; done"
    stays = ("--name", "db", "--stop-grace-period", "1h", busybox, "sh", "-c", script)
    swarm.serve(*stays)
    old = swarm.docker("ps", "--quiet", "--no-trunc")
    assert door.place_of("db") == Place(old)

    swarm.docker("service", "rm", "db")

    wait(lambda: door.place_of("db") is None)  # the Swarm tells the task of it in a moment
    assert swarm.docker("ps", "--quiet", "--no-trunc") == old
    swarm.docker("service", "create", "--detach", "--constraint", "node.labels.no==yes", *stays)
    wait(lambda: swarm.docker("service", "ps", "--quiet", "db"))
    with pytest.raises(NotReady, match="no container of the service db runs yet: its task is "):
        door.remote("db")
    swarm.docker("service", "rm", "db")
    swarm.serve(*stays)
    new = door.place_of("db")
    assert new is not None
    assert new.container != old
    with pytest.raises(Lost, match="its container ended while sh ran in it"):
        door.run_in(new.container, ["sh", "-c", "kill -USR1 1; sleep 1d"], b"")
    with pytest.raises(NotReady, match="cannot run true in a container"):
        door.run_in(new.container, ["true"], b"")


@pytest.mark.parametrize("system", [Postgres, MariaDB, Redis])
def test_every_answer_that_means_something_has_a_number(system: type[Postgres | MariaDB | Redis]) -> None:
    """A script that a shell takes, with fewer numbers than the shell's own begin with."""
    script = elsewhere._SCRIPT.format(cases="\n".join(elsewhere._cases(system.signs)))

    assert 0 < len(system.signs) < 100
    for sign in system.signs:
        assert sign.words.replace("*", "") in script.replace("'", "").replace("*", "")
