"""A service in a Swarm whose secrets rotate."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.host import Canary, Manage, PrivateSwarm

SCHEMA = """\
# @sensitive @generate
DB_PASSWORD=
# @sensitive @type=string(minLength=32) @generate
JWT_SECRET=
# @sensitive @type=jwt(signedBy=JWT_SECRET, role=anon) @generate
ANON_KEY=
"""


def spec(swarm: PrivateSwarm, service: str) -> Any:
    return json.loads(swarm.docker("service", "inspect", service))[0]["Spec"]


def mounted(swarm: PrivateSwarm, service: str) -> list[tuple[str, str]]:
    secrets = spec(swarm, service)["TaskTemplate"]["ContainerSpec"].get("Secrets", [])
    return sorted((item["SecretName"], item["File"]["Name"]) for item in secrets)


def versions(swarm: PrivateSwarm) -> list[str]:
    return sorted(swarm.docker("secret", "ls", "--format", "{{.Name}}").split())


def serve(swarm: PrivateSwarm, name: str, image: str, *options: str, replicas: int = 1, command: str = "") -> None:
    """Start a service behind the shim, and wait until its tasks run."""
    swarm.serve(
        *("--name", name, "--replicas", str(replicas)),
        *("--endpoint-mode", "dnsrr", "--update-order", "start-first", "--stop-grace-period", "1s"),
        *("--update-monitor", "500ms", "--rollback-monitor", "500ms"),
        *("--health-cmd", "true", "--health-interval", "1s", *options),
        *(image, "/opt/shim/shim", "--", "/busybox", "sh", "-c", command or "exec /busybox sleep 1000"),
    )


@pytest.fixture
def image(swarm: PrivateSwarm, shim_binary: Path) -> str:
    return swarm.image_with_shim(shim_binary)


@pytest.fixture
def project(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> Manage:
    """Return a folder with three secrets that the Swarm has, too."""
    manage.write(".env.schema", SCHEMA)
    manage.write("secrets/db_password", canary())
    assert manage("generate").code == 0
    manage.custody.canaries += [value.decode() for value in manage.secrets().values()]
    assert manage("create-swarm").code == 0
    return manage
