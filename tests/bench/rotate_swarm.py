"""Compare `rotate` with a bare engine that does the same service updates, in turns, on a Swarm of its own.

    .venv/bin/python tests/bench/rotate_swarm.py [--keys 1] [--services 200] [--replicas 1] [--rounds 3]

The bare engine gets the new secrets and one update per service through the SDK, in a process that runs already, as many
at a time as `rotate` has under way, and each is waited for until the engine calls it completed. With `--replicas 0`
nothing starts and nothing is waited for: what is left is the tool's own cost.
"""

import argparse
import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

import docker

from tests.support.host import SCRIPT, PrivateSwarm, unmount

PARALLEL = 4
LOOK_SECONDS = 0.05
MOST_SECONDS = 600
MONITOR_SECONDS = 1


def main() -> None:
    """Measure in turns, and print the minima and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))  # a socket's path is short
    swarm = PrivateSwarm(folder)
    keys = [f"key_{number}" for number in range(options.keys)]
    taken: dict[str, list[float]] = {"bare engine": [], "rotate": []}
    try:
        for _ in range(options.rounds):
            for name, work in (("bare engine", bare), ("rotate", rotate)):
                prepare(swarm, folder, keys, options.services, options.replicas)
                begin = time.monotonic()
                work(swarm, folder, keys)
                taken[name].append(time.monotonic() - begin)
                sys.stderr.write(f"{name:11} {taken[name][-1]:6.2f} s\n")
    finally:
        swarm.stop()
        unmount(folder)
    for name, rounds in taken.items():
        sys.stdout.write(f"{name:11} {min(rounds):6.2f} s\n")
    ratio = min(taken["rotate"]) / min(taken["bare engine"])
    what = f"{options.keys} keys, {options.services} services, {options.replicas} replicas each"
    sys.stdout.write(f"{what}: rotate takes {ratio:.2f} of the bare engine\n")


def client(swarm: PrivateSwarm) -> Any:
    """Return the SDK's client, whose annotations leave some calls out."""
    return docker.APIClient(swarm.host, version="auto", max_pool_size=PARALLEL)


def prepare(swarm: PrivateSwarm, folder: Path, keys: list[str], count: int, replicas: int) -> None:
    """Make the first versions, and *count* services that mount all of them; return when every task runs."""
    swarm.empty()
    (folder / "secrets.lock.env").unlink(missing_ok=True)  # of the round before
    (folder / "secrets").mkdir(0o700, exist_ok=True)
    for key in keys:
        (folder / "secrets" / key).write_text(f"value of {key}")
    run(swarm, folder, "create-swarm")
    api = client(swarm)
    ids = {secret["Spec"]["Name"]: secret["ID"] for secret in api.secrets()}
    mounted = [mount(ids[f"{key}.v1"], f"{key}.v1", key) for key in keys]
    container = {"Image": swarm.image(), "Command": ["/busybox", "sleep", "100000"], "Secrets": mounted}
    container |= {"StopSignal": "KILL"}  # how long it takes to end does not depend on the tool
    update = {"Order": "start-first", "Parallelism": 1, "FailureAction": "rollback"}
    for number in range(count):
        api.create_service(
            {"ContainerSpec": container},
            name=f"service-{number}",
            mode={"Replicated": {"Replicas": replicas}},
            update_config={**update, "Monitor": MONITOR_SECONDS * 10**9},
        )
    wait_until(lambda: running(api) == count * replicas)


def running(api: Any) -> int:
    """Return how many tasks run."""
    return sum(task["Status"]["State"] == "running" for task in api.tasks(filters={"desired-state": "running"}))


def wait_until(is_so: Callable[[], bool]) -> None:
    """Look again and again."""
    deadline = time.monotonic() + MOST_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(LOOK_SECONDS)


def mount(secret_id: str, name: str, target: str) -> dict[str, Any]:
    """Return a secret's reference as the engine takes it."""
    file = {"Name": target, "UID": "0", "GID": "0", "Mode": 0o400}
    return {"SecretID": secret_id, "SecretName": name, "File": file}


def bare(swarm: PrivateSwarm, _folder: Path, keys: list[str]) -> None:
    """Make the new secrets, update each service once, and see each update to its end."""
    api = client(swarm)
    made = {key: api.create_secret(f"{key}.v2", b"new value")["ID"] for key in keys}

    def update(service: Any) -> None:
        spec = copy.deepcopy(service["Spec"])
        spec["TaskTemplate"]["ContainerSpec"]["Secrets"] = [mount(made[key], f"{key}.v2", key) for key in keys]
        url = f"{api.base_url}/v{api.api_version}/services/{service['ID']}/update"
        api.post(url, json=spec, params={"version": service["Version"]["Index"]}).raise_for_status()
        if service["Spec"]["Mode"]["Replicated"]["Replicas"]:
            wait_until(lambda: state(api, service["ID"]) == "completed")

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(update, api.services()))


def state(api: Any, service_id: str) -> str:
    """Return how far a service's update is."""
    return str((api.inspect_service(service_id).get("UpdateStatus") or {}).get("State"))


def rotate(swarm: PrivateSwarm, folder: Path, keys: list[str]) -> None:
    """Do the same with the tool, which also looks first, verifies, and writes ./secrets."""
    run(swarm, folder, "rotate", *map(str.upper, keys), "--generate", "--parallel", str(PARALLEL))


def run(swarm: PrivateSwarm, folder: Path, *arguments: str, code: int = 0) -> None:
    """Run manage-secrets; it must end with *code*."""
    environ = {**os.environ, "DOCKER_HOST": swarm.host}
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], cwd=folder, env=environ, check=False, capture_output=True
    )
    assert done.returncode == code, done.stderr.decode()


if __name__ == "__main__":
    main()
