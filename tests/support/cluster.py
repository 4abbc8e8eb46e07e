"""A Swarm of three managers on this machine: each an engine in namespaces of its own, on one switch.

A node has its own network, mounts, host name and processes: when it is killed nothing of it is left, as when a machine
loses its power, and when it is started again it has what was on its disk.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.forms import cannot_run
from tests.support.host import Manage, PrivateEngine, folder_of_engines, unmount

T = TypeVar("T")

NETWORK = "10.77.0"  # of the switch, which nothing outside its namespace is on
TASKS = ("ps", "--all", "--quiet", "--filter", "label=com.docker.swarm.task.id")
NODES = ("node1", "node2", "node3")
SETTLE_SECONDS = 60
RESTARTS = 3
SWITCH = "ip link set lo up && ip link add br0 type bridge && ip link set br0 up && echo ready && exec cat"
# The word comes once the cable is there. No way out: what asks for a registry must be told so at once. The engine's
# shims keep their sockets in /run/containerd, and would leave them there.
NODE = """
set -e
hostname "$1"
mount -t tmpfs node /run
# A Swarm sends its news over a connection to a leader that lost its power for as long as the kernel tries: 15 minutes,
# unless it is told to give up after about half of one (docs/SWARM.md).
echo 6 >/proc/sys/net/ipv4/tcp_retries2
echo here >&2
read -r _
ip link set lo up
ip addr add "$2/24" dev eth0
ip link set eth0 up
ip route add unreachable default
shift 2
"$@" </dev/null &
wait $!
"""


class Node(PrivateEngine):
    """One manager."""

    START_SECONDS = 180

    def __init__(self, folder: Path, name: str, address: str, switch: int) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.name = name
        self.address = address
        self.switch = switch

    def start(self) -> None:
        """Start it, or start it again: a new machine with the disk of the one before."""
        (self.folder / "docker.pid").unlink(missing_ok=True)
        # As it would be with the power: a process number in it may be another's by now, and would be waited for.
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        namespaces = ("--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        self.begin("unshare", *namespaces, "--", "sh", "-c", NODE, "sh", self.name, self.address, stdin=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        if said != "here\n":
            self.process.kill()
            cannot_run(f"a node of a cluster did not start: {said}")
        _ip("link", "add", self.name, "netns", self.switch, "type", "veth", "peer", "eth0", "netns", self.process.pid)
        _ip("link", "set", self.name, "master", "br0", "up", inside=self.switch)
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def wait_for_start(self) -> None:
        """Wait until the daemon listens; one that gives its containerd too little time is started once more."""
        if self.read_log():
            self.kill()
            self._unplug()
            self.start()
            super().wait_for_start()

    def kill(self) -> None:
        """End it and everything on it; nobody has the time for a last word."""
        if self.process.poll() is not None:
            return
        first = Path(f"/proc/{self._first()}")
        self.process.kill()  # the first process of its namespace goes with it, and all others with that
        self.process.wait(60)
        while first.exists():  # until the last one is gone, and the kernel has closed its connections
            time.sleep(0.05)
        self._unplug()

    def _first(self) -> str:
        """Return the first process inside."""
        (first,) = _children(str(self.process.pid))
        return first

    def restart(self) -> None:
        """End the engine as its init would, and start it again."""
        subprocess.run(["kill", "-TERM", *_children(self._first())], check=True)
        self.process.wait(120)
        self._unplug()
        self.start()
        self.wait_for_start()

    def _unplug(self) -> None:
        """Remove the cable, which the kernel does, too, but only in a while."""
        with suppress(AssertionError):
            _ip("link", "del", self.name, inside=self.switch)

    def cut(self) -> None:
        """Pull its cable."""
        _ip("link", "set", self.name, "down", inside=self.switch)

    def heal(self) -> None:
        """Put its cable back."""
        _ip("link", "set", self.name, "up", inside=self.switch)


class Cluster:
    """Three managers; every method waits until what it did is so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.switch = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", SWITCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.switch.stdout is not None
        assert self.switch.stdout.readline() == "ready\n"
        self.nodes: list[Node] = []
        for number, name in enumerate(NODES, 1):
            node = Node(folder / name, name, f"{NETWORK}.{number}", self.switch.pid)
            (node.folder / "daemon.json").write_text(f'{{"cgroup-parent": "/{folder.name}"}}')
            self.nodes.append(node)
            node.start()
        for node in self.nodes:
            node.wait_for_start()
        first, *others = self.nodes
        pool = ("--default-addr-pool", "10.90.0.0/16", "--default-addr-pool-mask-length", "24")
        first.docker("swarm", "init", "--advertise-addr", first.address, *pool)
        token = first.docker("swarm", "join-token", "--quiet", "manager")
        for node in others:
            node.docker("swarm", "join", "--token", token, "--advertise-addr", node.address, first.address)
        self.settle()

    def leader(self) -> Node:
        """Return who leads, as a majority sees it."""
        return self._wait("no leader", self._leader)

    def _leader(self) -> Node | None:
        for node in self.nodes:
            for name, said in self._managers(node).items():
                if said.startswith("Leader"):
                    return next(node for node in self.nodes if node.name == name)
        return None

    def follower(self, *but: Node) -> Node:
        """Return one that does not lead, and is none of *but*."""
        leader = self.leader()
        return next(node for node in self.nodes if node is not leader and node not in but)

    def start(self, *nodes: Node) -> None:
        """Start nodes that were killed."""
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_for_start()
        self.settle()

    def heal(self, node: Node) -> None:
        """Put a node's cable back."""
        node.heal()
        self.settle()

    def settle(self) -> None:
        """Wait until each manager can be reached, and each sees that.

        An engine that hangs meanwhile is killed and started again: this one's raft may, after the loss of others.
        """
        for _ in range(RESTARTS):
            deadline = time.monotonic() + SETTLE_SECONDS
            while hanging := [node for node in self.nodes if not self._sees_all(node)]:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            if not hanging:
                return
            for node in hanging[:1]:
                node.kill()
                node.start()
                node.wait_for_start()
        raise AssertionError(f"the managers do not find each other: {[self._managers(node) for node in self.nodes]}")

    def _sees_all(self, node: Node) -> bool:
        managers = sorted(self._managers(node).values())
        return managers == ["Leader Ready", "Reachable Ready", "Reachable Ready"]

    def _managers(self, node: Node) -> dict[str, str]:
        """Return each manager's part and state, as *node* sees it; nothing where it sees no majority."""
        shown = ("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}} {{.Status}}")
        try:
            said = node.docker(*shown, check=False, timeout=10)
        except subprocess.TimeoutExpired:
            return {}
        lines = (line.partition(" ") for line in said.splitlines())
        return {name: rest for name, _, rest in lines}

    def fix(self) -> None:
        """Undo what a test did to the nodes."""
        dead = [node for node in self.nodes if node.process.poll() is not None]
        for node in self.nodes:
            if node not in dead:
                node.heal()
        self.start(*dead)

    def load(self, *images: str) -> None:
        """Give the others what the first node has."""
        archive = self.folder / "images.tar"
        self.nodes[0].docker("save", "--output", archive, *images)
        for node in self.nodes[1:]:
            node.docker("load", "--quiet", "--input", archive)
        archive.unlink()

    def empty(self) -> None:
        """Remove every service, secret and config, and every container."""
        self.fix()
        first = self.nodes[0]
        for kind in ("service", "secret", "config"):
            if names := first.docker(kind, "ls", "-q").split():
                first.docker(kind, "rm", *names)
        for node in self.nodes:
            by_hand = set(node.docker("ps", "--all", "--quiet").split()) - set(node.docker(*TASKS).split())
            if by_hand:
                node.docker("rm", "--force", *by_hand)
            # Removing a task's container behind the Swarm's back was seen to hang this engine for good.
            self._wait("a task does not end", partial(_is_idle, node))

    def stop(self) -> None:
        """End every node; nothing of them stays."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.kill, self.nodes))
        self.switch.kill()
        self.switch.wait()
        root = Path("/sys/fs/cgroup")
        for folder in (root / self.folder.name, *root.glob(f"*/{self.folder.name}")):  # both versions of them
            self._wait("a process does not end", partial(_is_removed, folder))
        unmount(self.folder)

    def _wait(self, words: str, look: Callable[[], T | None]) -> T:
        """Return what *look* gives once it gives something."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, words
            time.sleep(0.2)
        return found


def _ip(*arguments: str | int, inside: int = 0) -> None:
    enter = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    done = subprocess.run([*enter, "ip", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _children(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _is_idle(node: Node) -> bool:
    return not node.docker("ps", "--quiet")


def _is_removed(cgroup: Path) -> bool:
    """Remove a folder of control groups; return whether it is gone, which it can be once its processes are."""
    for folder in sorted(cgroup.glob("**/"), reverse=True):
        with suppress(OSError):
            folder.rmdir()
    return not cgroup.exists()


@pytest.fixture(scope="module")
def whole_cluster() -> Iterator[Cluster]:
    """Return three managers that nobody else uses."""
    programs = ("dockerd", "docker", "unshare", "nsenter", "ip")
    if os.geteuid() != 0 or not all(map(shutil.which, programs)):
        cannot_run("a cluster needs root, " + ", ".join(programs))
    cluster = Cluster(folder_of_engines("cluster-"))
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(whole_cluster: Cluster, manage: Manage) -> Cluster:
    """Return them with nothing on them; `manage` uses the first."""
    whole_cluster.empty()
    manage.env["DOCKER_HOST"] = whole_cluster.nodes[0].host
    return whole_cluster
