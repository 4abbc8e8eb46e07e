"""`--dialect raw` against `docker run --env-file` itself: the same keys, the same values, the same files refused."""

import json
import subprocess
from pathlib import Path

import pytest
from shim_host.env import envfile
from shim_host.env.compose_rules import Malformed

from tests.support.host import PrivateSwarm

pytestmark = pytest.mark.engine

CORPUS = [
    text.encode() for text in json.loads((Path(__file__).parents[2] / "cases" / "envfile_corpus.json").read_text())
]
OTHERS = [b" \t A=1\n", b"A=1\r\n\r\nB=\r\n", b"A= 1 \n", b"A=\xff\n", b"A\xff=1\n", b"#A\nB=#\n"]
TOO_LONG = b"A=" + b"x" * 65_540


def docker(engine: PrivateSwarm, *arguments: str | Path) -> str | None:
    done = subprocess.run(
        ["docker", *arguments],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "DOCKER_HOST": engine.host, "FROM_SHELL": "sh ell", "A": "shell"},
        capture_output=True,
        check=False,
    )
    return done.stdout.decode().strip() if done.returncode == 0 else None


def test_the_corpus_means_the_same_to_docker_run(private_swarm: PrivateSwarm, tmp_path: Path) -> None:
    image = private_swarm.image()
    path = tmp_path / "env"
    compared = 0
    for data in [*CORPUS, *OTHERS, TOO_LONG]:
        path.write_bytes(data)
        try:
            read = envfile.read(data, {"FROM_SHELL": "sh ell", "A": "shell"}, "raw")
            ours = {key: secret.reveal().decode() for key, secret in read.values.items()}
        except Malformed:
            ours = None
        container = docker(private_swarm, "create", "--env-file", path, image, "/busybox")
        if container is None:
            assert ours is None, f"docker run refuses {data[:80]!r}"
            continue
        inspected = json.loads(docker(private_swarm, "inspect", container) or "")[0]["Config"]["Env"] or []
        docker(private_swarm, "rm", container)
        theirs = dict(entry.split("=", 1) for entry in inspected)
        theirs.pop("PATH", None)
        assert ours == theirs, data
        compared += 1
    assert compared > 50
