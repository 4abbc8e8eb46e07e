"""A service on three managers that is asked all the time while it rotates, and what must be so afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, Node
from tests.support.forms import End
from tests.support.host import SCRIPT, Canary, Manage

REPLICAS = 6
PATIENCE_SECONDS = 300
LOAD_SECONDS = 800
# Longer than the news that a task goes takes to other machines, which with 3 seconds they did not always on a busy one.
DRAIN_SECONDS = 8


class Run:
    """`rotate` against one manager, in the background."""

    def __init__(self, manage: Manage, node: Node, value: str, *arguments: str) -> None:
        self.manage = manage
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, "rotate", "TOKEN", "--value-file", "-", *arguments],
            cwd=manage.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "DOCKER_HOST": node.host},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(value.encode())
        self.process.stdin.close()
        self.process.stdin = None

    def end(self) -> End:
        """Return how it ended, which it must by itself."""
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS * 2)
        end = End(self.process.returncode, out.decode(), err.decode())
        self.manage.custody.said += [end.stdout, end.stderr]
        assert "internal error" not in end.stderr, end.stderr
        return end


class Scene:
    """A service of six tasks on three managers, its first value in the Swarm, and who asks it all the time."""

    def __init__(self, cluster: Cluster, manage: Manage, canary: Canary, children: Path, binary: Path) -> None:
        self.cluster = cluster
        self.manage = manage
        self.values = {"token.v1": canary(), "token.v2": canary()}
        first = cluster.nodes[0]
        if not first.docker("images", "--quiet", "with-shim"):
            cluster.load(first.image_with_shim(binary, children / "answer", children / "ask"))
        if "inside" not in first.docker("network", "ls", "--format", "{{.Name}}").split():
            first.docker("network", "create", "--driver", "overlay", "--attachable", "inside")
        manage.write("secrets/token", self.values["token.v1"])
        assert manage("create-swarm").code == 0

    def serve(self, *options: str) -> None:
        """Start the service, and wait until all of it is healthy."""
        health = "/busybox wget -q -O /dev/null http://127.0.0.1:8080/"
        self.cluster.nodes[0].docker(
            *("service", "create", "--detach", "--no-resolve-image", "--name", "answer", "--network", "inside"),
            *("--replicas", str(REPLICAS), *NO_GAP, "--update-parallelism", "2", "--health-cmd", health),
            *("--secret", "source=token.v1,target=token", *options, "with-shim", "/opt/shim/shim", "--", "/answer"),
            *("8080", str(DRAIN_SECONDS)),
        )
        self.wait(lambda: self.containers() is not None)

    def ask(self, node: Node, *how: str) -> None:
        """Begin the load from *node*; with "all" by clients that try each address of the name."""
        self.asker = node
        self.begin = time.monotonic()
        command = ("/ask", "answer", "8080", str(LOAD_SECONDS), "8", "15", *how)
        self.load = node.docker("run", "--detach", "--network", "inside", "with-shim", *command)

    def answers(self) -> dict[str, Any]:
        """End the load; return what it counted."""
        self.asker.docker("stop", "--time", "30", self.load)
        said: dict[str, Any] = json.loads(self.asker.docker("logs", self.load))
        return {**said, "per_second": round(said["ok"] / (time.monotonic() - self.begin))}

    def rotate(self, node: Node, *arguments: str) -> Run:
        """Begin a rotation against *node*; return it once some tasks, and not all, are new."""
        run = Run(self.manage, node, self.values["token.v2"], *arguments)
        self.wait(lambda: len(node.docker("service", "ps", "--quiet", "answer").split()) > REPLICAS)
        return run

    def finish(self, run: Run, node: Node) -> str:
        """Wait for the end of *run*; if it says that another must finish it, let one do so against *node*."""
        end = run.end()
        said = end.stderr
        if end.code == 111:
            assert "rotate --resume" in end.stderr, end.stderr
            end = self.manage("rotate", "--resume", env={"DOCKER_HOST": node.host}, timeout=PATIENCE_SECONDS * 2)
            said += end.stderr
        assert end.code in (0, 1), said
        assert end.code == 0 or "every service is back at the version before" in end.stderr, said
        return said

    def in_use(self) -> str:
        """Return the version that every task has, the only one in use; nothing may be left over."""
        first = self.cluster.nodes[0]
        self.wait(lambda: self.containers() is not None)
        found = {node.docker("exec", name, "/busybox", "cat", "/run/secrets/token") for node, name in self.tasks()}
        (version,) = [name for name, value in self.values.items() if found == {value}]
        (spec,) = json.loads(first.docker("service", "inspect", "answer"))
        mounted = [item["SecretName"] for item in spec["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]]
        assert mounted == [version]
        there = first.docker("secret", "ls", "--format", "{{.Name}}").split()
        assert sorted(there) == (["token.v1"] if version == "token.v1" else ["token.v1", "token.v2"])
        assert first.docker("config", "ls", "--quiet", "--filter", "label=docker-secrets-shim.rotation") == "", (
            "the lock is still there"
        )
        return version

    def tasks(self) -> list[tuple[Node, str]]:
        """Return the service's healthy containers."""
        shown = (
            "ps",
            "--quiet",
            "--filter",
            "label=com.docker.swarm.service.name=answer",
            "--filter",
            "health=healthy",
        )
        return [(node, name) for node in self.cluster.nodes for name in node.docker(*shown).split()]

    def containers(self) -> list[tuple[Node, str]] | None:
        """Return the same once there are as many as there should be, and none that goes."""
        running = self.cluster.nodes[0].docker(
            "service", "ps", "--quiet", "--filter", "desired-state=running", "answer"
        )
        tasks = self.tasks()
        return tasks if len(tasks) == len(running.split()) == REPLICAS else None

    def wait(self, look: Callable[[], bool]) -> None:
        """Wait until *look* says so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not look():
            assert time.monotonic() < deadline, self.cluster.leader().docker("service", "ps", "answer")
            time.sleep(0.2)


@pytest.fixture
def scene(cluster: Cluster, manage: Manage, canary: Canary, children: Path, shim_binary: Path) -> Scene:
    return Scene(cluster, manage, canary, children, shim_binary)


# What loses no request: docs/SWARM.md.
NO_GAP = (
    *("--endpoint-mode", "dnsrr", "--update-order", "start-first", "--update-parallelism", "1"),
    *("--update-failure-action", "rollback", "--update-monitor", "1s", "--rollback-order", "start-first"),
    *("--health-interval", "1s", "--stop-grace-period", "15s"),
)
