"""The reference stack in a Swarm of the tests' own: deployed, waited for, looked into, and removed."""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.engine import ROOT, SHIM, Engine
from tests.support.host import SCRIPT
from tests.support.stack import IMAGES, built_images

# Where these tests run the kernel may have no IPVS, so the doors are published on their node.
WITHOUT_IPVS = {"PUBLISH_MODE": "host", "ENDPOINT_MODE": "dnsrr", "DOOR_REPLICAS": "1", "DOOR_ORDER": "stop-first"}


class SwarmStack:
    """`docker stack deploy` of the repository's file in a Swarm of one or more managers, reached by their sockets."""

    NAME = "shim"

    def __init__(
        self, engine: Engine, hosts: list[str], folder: Path, secrets: dict[str, str], network: str = "stack"
    ) -> None:
        self.engine = engine
        self.network = network
        self.hosts = hosts
        self.folder = folder
        self.secrets = dict(secrets)

    def docker(self, *argv: str | Path, host: str = "", stdin: bytes = b"", timeout: float = 120) -> str:
        """Return what `docker ARGV` said, on the first manager unless *host* names another."""
        done = subprocess.run(
            ["docker", *map(str, argv)],
            env={**os.environ, "DOCKER_HOST": host or self.hosts[0]},
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def load_images(self) -> None:
        """Give every node the stack's images, built from this checkout."""
        tag = built_images(self.engine)
        archive = self.folder / "images.tar"
        images = [f"docker-secrets-shim/{name}:{tag}" for name in IMAGES]
        self.engine.docker("save", "--output", archive, *images)
        for host in self.hosts:
            self.docker("load", "--quiet", "--input", archive, host=host, timeout=300)
        archive.unlink()

    def create_secrets(self) -> None:
        """Make the Swarm's secrets with the host tool."""
        (self.folder / "secrets").mkdir(mode=0o700)
        for name, value in self.secrets.items():
            file = self.folder / "secrets" / name
            file.touch(mode=0o600)
            file.write_text(value + "\n", encoding="utf-8")
        shutil.copy(ROOT / ".env.schema", self.folder)
        self.manage("create-swarm")

    def manage(self, *argv: str, timeout: float = 120) -> str:
        """Return what `manage-secrets ARGV` gave, in the folder, against the first manager."""
        done = subprocess.run(
            [sys.executable, SCRIPT, *argv],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "DOCKER_HOST": self.hosts[0]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_load(self, address: str) -> str:
        """Ask *address* all the time, from a container beside `feed`; return that, as HOST|ID.

        The stack's network lets nobody in from outside, and `feed` goes on when the login of the others rotates.
        """
        image = f"docker-secrets-shim/app-python:{built_images(self.engine)}"
        host, _, feed = self.containers()["feed"][0].partition("|")
        beside = ("--detach", "--no-healthcheck", "--network", f"container:{feed}", "--entrypoint", "python3")
        return f"{host}|{self.docker('run', *beside, image, '-m', 'app.load', address, host=host)}"

    def end_load(self, container: str) -> Any:
        """Return what was counted."""
        host, _, name = container.partition("|")
        self.docker("stop", name, host=host)
        counted = self.docker("logs", name, host=host).splitlines()[-1]
        self.docker("rm", name, host=host)
        return json.loads(counted)

    def deploy(self, lock: Path | None = None) -> None:
        """Deploy the stack file; *lock* is read before, as its page says."""
        reading = f"set -a; . {lock}; set +a; " if lock else ""
        deploying = "exec docker stack deploy --resolve-image never --compose-file"
        done = subprocess.run(
            ["bash", "-euc", f"{reading}{deploying} {ROOT / 'docker-compose.swarm.yml'} {self.NAME}"],
            env={
                **os.environ,
                **WITHOUT_IPVS,
                "STACK_NETWORK": self.network,
                "HEALTH_INTERVAL": "2s",
                "TAG": built_images(self.engine),
                "DOCKER_HOST": self.hosts[0],
                "STRICT_API_PORT": "18090",
                "BACKEND_PORT": "13000",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def containers(self) -> dict[str, list[str]]:
        """Return the healthy containers of each service, as HOST|ID."""
        found: dict[str, list[str]] = {}
        for host in self.hosts:
            shown = '{{.ID}} {{.Label "com.docker.swarm.service.name"}}'
            for line in self.docker("ps", "--filter", "health=healthy", "--format", shown, host=host).splitlines():
                container, _, service = line.partition(" ")
                if service.startswith(f"{self.NAME}_"):
                    found.setdefault(service.removeprefix(f"{self.NAME}_"), []).append(f"{host}|{container}")
        return found

    def exec(self, container: str, *argv: str) -> str:
        """Return what a command says in a container, started through the shim as a health check is."""
        host, _, name = container.partition("|")
        return self.docker("exec", name, SHIM, "exec", "--", *argv, host=host)

    def fetch(self, container: str, address: str) -> str:
        """Return what *address* answers to somebody inside a Python service's *container*."""
        program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
        return self.exec(container, "python3", "-c", program, address)

    def wait_until_healthy(self, seconds: float = 150) -> None:
        """Wait until each service has as many healthy replicas as it should, and no more."""
        with self._changes(seconds) as changes:
            for _ in changes:
                lines = self.docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines()
                wanted = {line.split()[0].removeprefix(f"{self.NAME}_"): line.split()[1] for line in lines}
                there = {service: len(containers) for service, containers in self.containers().items()}
                if wanted == {service: f"{count}/{count}" for service, count in there.items()}:
                    return
        tasks = self.docker("stack", "ps", "--no-trunc", self.NAME)
        raise AssertionError(f"not healthy within {seconds} s: {wanted}\n{tasks}")

    def wait_until_updated(self, *services: str, seconds: float = 150) -> list[str]:
        """Wait until no update of *services* is under way; return how each ended."""
        shown = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}"
        names = [f"{self.NAME}_{service}" for service in services]
        with self._changes(seconds) as changes:
            for _ in changes:
                states = self.docker("service", "inspect", "--format", shown, *names).splitlines()
                if all(state in ("completed", "rollback_completed") for state in states):
                    return states
        raise AssertionError(f"not updated within {seconds} s: {states}")

    @contextmanager
    def _changes(self, seconds: float) -> Iterator[Iterator[None]]:
        """Give something to go through that goes on at each event of the Swarm, and ends when the time is up."""
        deadline = time.monotonic() + seconds
        reading, writing = os.pipe()
        watching = [
            subprocess.Popen(
                ["docker", "events", "--format", "{{.Type}}"],
                env={**os.environ, "DOCKER_HOST": host},
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.DEVNULL,
            )
            for host in self.hosts
        ]
        os.close(writing)

        def each() -> Iterator[None]:
            yield
            while (left := deadline - time.monotonic()) > 0:
                # Replicas that were told to stop make no event when the manager learns that they have.
                select.select([reading], [], [], min(left, 1))
                if select.select([reading], [], [], 0)[0]:
                    os.read(reading, 65536)
                yield

        try:
            yield each()
        finally:
            for watcher in watching:
                watcher.kill()
                watcher.wait()
            os.close(reading)

    def kept(self) -> str:
        """Return every log, and all that can be inspected of services, tasks and secrets."""
        services = self.docker("stack", "services", "--quiet", self.NAME).split()
        logs = []
        # Of the containers: `service logs` can wait forever for a task that has just ended.
        for host in self.hosts:
            for container in self.docker("ps", "--all", "--quiet", host=host).split():
                done = subprocess.run(
                    ["docker", "logs", container],
                    env={**os.environ, "DOCKER_HOST": host},
                    capture_output=True,
                    check=False,
                )
                logs += [(done.stdout + done.stderr).decode(), self.docker("inspect", container, host=host)]
        tasks = self.docker("stack", "ps", "--quiet", self.NAME).split()
        secrets = self.docker("secret", "ls", "--quiet").split()
        inspected = [
            self.docker(*words)
            for words in (("service", "inspect", *services), ("inspect", *tasks), ("secret", "inspect", *secrets))
        ]
        return "\n".join(logs + inspected)

    def remove(self) -> None:
        """Remove the stack, its data and its secrets, and wait until its tasks are gone."""
        self.docker("stack", "rm", self.NAME)
        deadline = time.monotonic() + 120
        for host in self.hosts:
            while running := self.docker("ps", "--quiet", host=host).split():
                assert time.monotonic() < deadline, "the stack's containers do not end"
                # Those that have ended meanwhile are not a mistake.
                subprocess.run(
                    ["docker", "stop", "--time", "1", *running],
                    env={**os.environ, "DOCKER_HOST": host},
                    capture_output=True,
                    check=False,
                )
        secrets = self.docker("secret", "ls", "--quiet").split()
        if secrets:
            self.docker("secret", "rm", *secrets)
        for host in self.hosts:
            self.docker("container", "prune", "--force", host=host)
            self.docker("volume", "rm", "--force", f"{self.NAME}_database", host=host)
