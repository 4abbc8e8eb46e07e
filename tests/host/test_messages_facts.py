"""What manage-secrets says of facts: messages of the rooms that only judge. Nobody fills a disk, or stops a clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shim_host.audit import judge
from shim_host.audit.model import AuditedMount, AuditedService, Container, Facts, Key, Trace
from shim_host.doctor import judge as doctor
from shim_host.doctor.engine import Node
from shim_host.machine import Daemon, Disk, Folder, Memory, Socket
from shim_host.rotate import preflight, swarm_plan
from shim_host.swarm import model
from shim_host.swarm.model import RotatedService, SwarmSecret
from shim_host.swarm.move import room

from tests.support import audit_examples
from tests.support.audit_examples import file, mounted, service, version
from tests.support.doctor_examples import FACTS, NOW, managers
from tests.support.provoked import provokes

GB = 10**9


@provokes(
    "missing: …",
    "… cannot be looked at: …",
    "… is a link, and secrets are not written through one",
    "there is no folder … yet",
    "… is a file",
    "… is open to others (mode …)",
    "… in … can be read by others",
    "… cannot be written to",
    "another user owns …",
    "it cannot be checked from here",
    "only … more files fit on the disk of …",
    "… lies on …, which may not keep files private",
    "… lies on … and is lost at a reboot",
    "only …",
    "… of … are available",
    "only …; services may be killed, and a rotation starts new ones beside the old",
    "values in memory may be written to the swap",
    "this machine's clock is at …: certificates will be refused",
    "the engine's clock is … s … this machine's",
    "there is no …",
    "… is not a socket",
    "… exists, but you may not use it",
    "every user of this machine may use …, which is equivalent to root access",
    "… without TLS: anyone who can reach it is root there, and values travel unencrypted",
    "… is open to every user of this machine",
    "it cannot be checked from here",
    "…, is …",
    "…, has … files open of at most …",
)
def test_what_the_doctor_says_of_a_machine() -> str:
    """Facts as `machine` gathers them; nobody fills a disk, or stops a clock, for a message."""
    folders = (
        Folder("./s", exists=True, trouble="Permission denied"),
        Folder("./s", exists=True, is_link=True),
        Folder("./s", exists=False),
        Folder("./s", exists=True, is_folder=False),
        Folder("./s", exists=True, mode=0o755, wide_files=("a",), can_write=False, other_owners=("a",)),
    )
    disks = (
        None,
        Disk("./s", "vfat", GB // 2, 100 * GB, 5),
        Disk("./s", "tmpfs", 4096, 100 * GB, 10**6),
    )
    sockets = (
        Socket("/s", exists=False),
        Socket("/s", exists=True, is_socket=False),
        Socket("/s", exists=True, can_use=False),
        Socket("/s", exists=True, mode=0o666),
    )
    daemons = (
        None,
        Daemon(7, "dockerd", 9e4, GB, None, None, "zombie"),
        Daemon(7, "dockerd", 9e6, GB, 1000, 1024, "sleeping"),
    )
    found = [
        doctor.libraries(["docker"]),
        *(finding for folder in folders for finding in doctor.folder(folder)),
        *(finding for disk in disks for finding in doctor.disk(disk, "the secrets")),
        *doctor.memory(Memory(GB // 100, 16 * GB, GB)),
        *doctor.memory(Memory(8 * GB, 16 * GB, 0)),
        doctor.clock(datetime(1970, 1, 1, tzinfo=UTC), None),
        doctor.clock(NOW, replace(FACTS, clock_ahead=timedelta(hours=1))),
        *map(doctor.socket, sockets),
        *filter(None, map(doctor.connection, ("tcp://10.0.0.1:2375", "tcp://127.0.0.1:2375"))),
        *map(doctor.daemon, daemons),
    ]
    return "\n".join(finding.message for finding in found)


@provokes(
    "…: older than API …",
    "…, API …, on …",
    "the engine …: root in a container is another user here",
    "this engine is not in a Swarm: …",
    "the Swarm is locked: …",
    "the Swarm is …: …",
    "this node is a worker: …",
    "the Swarm does not answer: …",
    "this manager takes no tasks: export --from-swarm will not work here",
    "down: …; an update that has to reach them waits for them",
    "the nodes run different engines: …",
    "an interrupted export left …, unless one is running now",
    "a rotation in … is unfinished, unless one is running now",
    "…: nothing can be changed",
    "…; unreachable: …",
    "there is only one manager: if it is lost, so are the Swarm and its secrets",
    "…: an even number tolerates no more failures than one manager fewer",
    "docker is not installed: neither compose nor stack works",
    "gpg is not installed: export and import work with age only",
    "`docker compose` does not work: no stack can be started or checked",
    "… is older than …, the first release that reads .env by the same rules",
)
def test_what_the_doctor_says_of_an_engine() -> str:
    """Facts as `swarm_facts` gathers them from engines; test_doctor.py asks real ones."""
    worker = Node("two", False, False, True, "20.10.24")
    changes: tuple[dict[str, Any], ...] = (
        {"swarm_state": "inactive"},
        {"swarm_state": "locked"},
        {"swarm_state": "error", "swarm_error": "certificate expired"},
        {"is_manager": False},
        {"trouble": "the leader is gone"},
        {
            "is_active": False,
            "lost_readers": ("shim-reader-1",),
            "rotating": ("shop",),
            "nodes": (*FACTS.nodes, worker),
        },
    )
    found = [
        *doctor.engine(replace(FACTS, api_version="1.40", is_rootless=True)),
        *doctor.engine(FACTS),
        *(finding for change in changes for finding in doctor.swarm(replace(FACTS, **change))),
        *(doctor.quorum(managers(*up)) for up in ([True], [True, False], [True, True], [True, True, False])),
        *doctor.programs(None, None, None),
        *doctor.programs("Docker 28", None, None),
        *doctor.programs("Docker 28", "2.3.3", None),
    ]
    return "\n".join(finding.message for finding in found)


@provokes(
    "… …: it could read every secret of its machine",
    "… mounts …, and … is the newest",
    "… gets …, which the schema gives to other services only",
    "…: … … seems to hold a secret (…)",
    "the container … runs with … of …, not with the current one",
    "the container … is older than …, and may have its old value",
    "not looked at: …",
    "… is … old, and should be rotated every …",
    "… is … old, and no @rotate limits its age",
    "… must be rotated within …",
    "… is shared by … services: …",
    "… is mounted by no service (…)",
    "the schema gives … to …, but it is not mounted there",
    "… can be read by others (mode …)",
    "the Swarm's secret … was not created by manage-secrets",
    "short, a single word, or what a user or a database is called: the value of …",
    "every user in the containers of … can read their secrets (mode 0444)",
    "no shim could be asked in …",
    "another key or salt is used in … than the secrets were made with",
)
def test_what_an_audit_says() -> str:
    """Facts of a stack in which everything is wrong that can be; test_audit_swarm.py has real ones."""
    old, new, foreign = version("K", 1, 500), version("K", 3, 400), version("F", is_ours=False)
    due, stale = version("DUE", days=80), version("STALE")
    guess = Trace("environment", "TOKEN", "K", "its name", is_certain=False)
    edited = AuditedService("edited", "container", mounts=(AuditedMount("", "file", file="secrets/file", key="FILE"),))
    long_ago = audit_examples.NOW - timedelta(days=90)
    services = (
        edited,
        *(service(f"s{number}", new) for number in range(6)),
        service("drift", old, traces=(guess,), reach=("is privileged",)),
        replace(service("open", stale), mounts=mounted(stale, mode=0o444)),
    )
    facts = Facts(
        audit_examples.NOW,
        keys=(Key("K", ("s1", "lacking"), None, False, 7), Key("DUE", (), 90, False), Key("LATE", (), 90, False)),
        versions=(old, new, foreign, due, stale, version("LATE", days=100)),
        files=(file("FILE", mode=0o644),),
        weak_keys=("K",),
        services=(*services, service("lacking")),
        containers=(
            Container("one", "open", {"STALE": "other"}, "salt"),
            Container("two", "s1", None, ""),
            Container("three", "s2", {"K": "x"}, "another salt"),
            Container("four", "edited", None, started=long_ago),
        ),
        gaps=("the Swarm: it is locked",),
    )
    return "\n".join(finding.message for finding in judge.judge(facts).findings)


@provokes(
    "… of … managers can be reached: no quorum",
    "… of … managers: one more lost ends the quorum",
    "is a job, and would run again",
    "is being updated right now",
    "has an update that stopped (…)",
    "stops before its next task starts (stop-first)",
    "has no health check, so a task counts as ready as soon as its process exists",
    "has host port …, so a second task cannot start beside the first on …",
    "reserves …, which no node has left for a second task beside the first",
    "has max-replicas-per-node …, so a task cannot start beside the others",
    "writes to …, and start-first would run two tasks on it at once",
    "has run to its end, and would run again",
    "is not up (…): it gets the version, but is not waited for",
    "has … of … tasks up, and is not waited for to have more",
    "has … of … tasks up, and an update would wait for the others: …",
    "would start with another image: … has been built or pulled again since its tasks began",
    "needs …, which is no longer on this node and would have to be pulled",
)
def test_what_is_found_before_a_rotation() -> str:
    first = model.START_FIRST
    services = (
        RotatedService("1", "job", mode="replicated-job"),
        RotatedService("2", "updating", update_state="updating"),
        RotatedService("3", "paused", update_state="paused", has_health_check=False),
        RotatedService("4", "full", order=first, host_ports=(80,), max_per_node=1, volumes=("data",)),
        RotatedService("9", "large", order=first, reserves=(("memory", 2 << 30),)),
        RotatedService("5", "once", running=0, is_finished=True),
        RotatedService("6", "down", running=0, trouble="no suitable node"),
        RotatedService("7", "some", running=2, replicas=3, has_health_check=True),
        RotatedService("8", "tight", running=1, replicas=3, has_health_check=True, unplaced="no suitable node"),
    )
    node = room.Node("n1", {}, {"memory": 1 << 30})
    found = [*preflight.preflight(services, [node], (3, 1)), *preflight.preflight((), [node], (3, 2))]
    found += preflight.of_images(services, {"7": ("app:1", True), "8": ("app:2", False)})
    return "\n".join(finding.message for finding in found)


@provokes(
    "services of other stacks mount it and move: …",
    "services of several stacks mount it and move: …",
    "mounts version … of …, and … is in use: it stays",
    "mounts … for …, which this tool did not make: it keeps that value",
    "mounts … of … for …: it keeps that value",
)
def test_what_a_rotation_does_not_reach_or_reaches_unasked() -> str:
    old, new, foreign = (SwarmSecret(name, name, key, n, "", "", "", "") for name, key, n in _SECRETS)
    services = (
        RotatedService("1", "one", "shop", (model.SecretMount("a.v2", "a.v2", "a"),)),
        RotatedService("2", "two", "blog", (model.SecretMount("a.v2", "a.v2", "a"),)),
        RotatedService("3", "late", "shop", (model.SecretMount("a.v1", "a.v1", "a"),)),
        RotatedService("4", "own", "shop", (model.SecretMount("a", "a", "a"),)),
    )
    planned = swarm_plan.plan("run", "", ["A"], [old, new], services)
    found = preflight.left_behind(planned, [old, new, foreign], services)
    versions = [replace(secret, stack="shop") for secret in (old, new)]
    planned = swarm_plan.plan("run", "shop", ["A"], versions, services)
    found += preflight.left_behind(planned, versions, services)
    late = RotatedService("1", "one", "shop", (model.SecretMount("shared", "shared", "a"),))
    versions.append(replace(old, id="shared", name="shared", stack=""))
    found += preflight.left_behind(planned, versions, [late])
    return "\n".join(finding.message for finding in found)


@provokes("depends on …, but was created by another rotation: it keeps its value")
def test_what_does_not_go_back_with_its_parts() -> str:
    return "\n".join(one.message for one in preflight.not_going_along(["A"], {"A": [], "URL": ["A", "B"]}, "", ""))


_SECRETS = (("a.v1", "A", 1), ("a.v2", "A", 2), ("a", "", 0))
