"""A Compose project that runs while its secrets rotate."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.forms import End
from tests.support.host import Manage, PrivateSwarm, compose_program


class Running:
    """A Compose project on the tests' own engine."""

    def __init__(self, manage: Manage, engine: PrivateSwarm) -> None:
        self.manage = manage
        self.engine = engine
        self.name = manage.folder.name.lower().replace("_", "-")[-40:].strip("-")

    def up(self, text: str, **secrets: str) -> None:
        self.manage.write("compose.yaml", text.replace("PROJECT", self.name))
        for name, value in secrets.items():
            self.manage.write(f"secrets/{name}", value).chmod(0o600)
        (self.manage.folder / "secrets").chmod(0o700)
        self.engine.compose(self.manage.folder, "up", "--detach", "--wait", "--quiet-pull")

    def ids(self, service: str) -> list[str]:
        label = f"label=com.docker.compose.service={service}"
        mine = f"label=com.docker.compose.project={self.name}"
        return self.engine.docker("ps", "-q", "--no-trunc", "--filter", label, "--filter", mine).split()

    def value(self, service: str) -> bytes:
        """Return what the one container of *service* was started with."""
        (container,) = self.ids(service)
        return self.engine.environment(container)["DB_PASSWORD"]

    def read(self, service: str) -> bytes:
        (container,) = self.ids(service)
        return self.engine.docker("exec", container, "/busybox", "cat", "/run/secrets/db_password").encode()

    def rotate(self, value: str, *more: str, env: Mapping[str, str] | None = None) -> End:
        words = ("rotate", "DB_PASSWORD", "--value-file", "-", *more)
        return self.manage(*words, stdin=value.encode(), env=env)

    def docker_that(self, script: str) -> dict[str, str]:
        """Return an environment where `docker` runs *script* before each call that changes or enters a container."""
        tool = self.manage.write(
            "bin/docker",
            f'#!/bin/sh\ncase " $* " in *" up "*|*" stop "*|*" rm "*|*" exec "*)\n'
            f"count=$(($(cat {self.manage.folder}/count 2>/dev/null)+1)); echo $count >{self.manage.folder}/count\n"
            f'{script}\n;; esac\nexec {shutil.which("docker")} "$@"\n',
        )
        tool.chmod(0o755)
        (self.manage.folder / "count").unlink(missing_ok=True)
        return {"PATH": f"{tool.parent}:{os.environ['PATH']}"}


@pytest.fixture
def running(private_swarm: PrivateSwarm, manage: Manage, shim_binary: Path) -> Iterator[Running]:
    """Return a project whose `docker compose` works; what it starts is gone afterwards."""
    private_swarm.image_with_shim(shim_binary)
    plug_in_compose(manage)
    manage.env["DOCKER_HOST"] = private_swarm.host
    project = Running(manage, private_swarm)
    yield project
    if (manage.folder / "compose.yaml").exists():
        private_swarm.compose(manage.folder, "down", "--timeout", "0", "--volumes")


def plug_in_compose(manage: Manage) -> None:
    """Make `docker compose` work for `manage`, whose home is its folder."""
    plugins = manage.folder / ".docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(compose_program())
