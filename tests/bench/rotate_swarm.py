"""Compare `rotate` with a bare engine that does the same service updates, in turns, on a Swarm of its own.

    .venv/bin/python tests/bench/rotate_swarm.py [--keys 1] [--services 200] [--rounds 3]

The services have no replicas, so that the tool's own cost is seen, not that of starting containers. The bare engine
gets the new secrets and one update a service through the SDK, as many at a time as `rotate` has under way.
"""

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))

import docker
from host import SCRIPT, PrivateSwarm, unmount

PARALLEL = 4


def main() -> None:
    """Measure in turns, and print the minima and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))  # a socket's path is short
    swarm = PrivateSwarm(folder)
    keys = [f"key_{number}" for number in range(options.keys)]
    taken: dict[str, list[float]] = {"bare engine": [], "rotate": []}
    try:
        for _ in range(options.rounds):
            for name, work in (("bare engine", bare), ("rotate", rotate)):
                prepare(swarm, folder, keys, options.services)
                begin = time.monotonic()
                work(swarm, folder, keys)
                taken[name].append(time.monotonic() - begin)
    finally:
        swarm.stop()
        unmount(folder)
    for name, rounds in taken.items():
        sys.stdout.write(f"{name:11} {min(rounds):6.2f} s\n")
    ratio = min(taken["rotate"]) / min(taken["bare engine"])
    sys.stdout.write(
        f"{options.keys} keys in {options.services} services: rotate takes {ratio:.2f} of the bare engine\n"
    )


def client(swarm: PrivateSwarm) -> Any:
    """Return the SDK's client, whose annotations leave some calls out."""
    return docker.APIClient(swarm.host, version="auto", max_pool_size=PARALLEL)


def prepare(swarm: PrivateSwarm, folder: Path, keys: list[str], count: int) -> None:
    """Make the first versions, and *count* services that mount all of them and run nothing."""
    swarm.empty()
    (folder / "secrets").mkdir(0o700, exist_ok=True)
    for key in keys:
        (folder / "secrets" / key).write_text(f"value of {key}")
    run(swarm, folder, "create-swarm")
    api = client(swarm)
    ids = {secret["Spec"]["Name"]: secret["ID"] for secret in api.secrets()}
    mounted = [mount(ids[f"{key}.v1"], f"{key}.v1", key) for key in keys]
    template = {"ContainerSpec": {"Image": swarm.image(), "Command": ["/busybox", "true"], "Secrets": mounted}}
    for number in range(count):
        api.create_service(template, name=f"service-{number}", mode={"Replicated": {"Replicas": 0}})


def mount(secret_id: str, name: str, target: str) -> dict[str, Any]:
    """Return a secret's reference as the engine takes it."""
    file = {"Name": target, "UID": "0", "GID": "0", "Mode": 0o400}
    return {"SecretID": secret_id, "SecretName": name, "File": file}


def bare(swarm: PrivateSwarm, _folder: Path, keys: list[str]) -> None:
    """Make the new secrets, and update each service once."""
    api = client(swarm)
    made = {key: api.create_secret(f"{key}.v2", b"new value")["ID"] for key in keys}

    def update(service: Any) -> None:
        spec = copy.deepcopy(service["Spec"])
        spec["TaskTemplate"]["ContainerSpec"]["Secrets"] = [mount(made[key], f"{key}.v2", key) for key in keys]
        url = f"{api.base_url}/v{api.api_version}/services/{service['ID']}/update"
        api.post(url, json=spec, params={"version": service["Version"]["Index"]}).raise_for_status()

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(update, api.services()))


def rotate(swarm: PrivateSwarm, folder: Path, keys: list[str]) -> None:
    """Do the same with the tool, which also looks first, verifies, and writes ./secrets."""
    run(swarm, folder, "rotate", *map(str.upper, keys), "--generate", "--parallel", str(PARALLEL))


def run(swarm: PrivateSwarm, folder: Path, *arguments: str) -> None:
    """Run manage-secrets; it must succeed."""
    environ = {**os.environ, "DOCKER_HOST": swarm.host}
    subprocess.run([sys.executable, SCRIPT, *arguments], cwd=folder, env=environ, check=True, capture_output=True)


if __name__ == "__main__":
    main()
