"""Time `audit` on a large Swarm of its own: services without replicas, each of which mounts some of many secrets.

    .venv/bin/python tests/bench/audit_swarm.py [--services 200] [--secrets 1000] [--mounted 15] [--rounds 3]

Every secret has its file in ./secrets, whose fingerprint is compared. Needs root, dockerd and docker, as the tests do.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.bench.rotate_swarm import client, mount, run
from tests.support.host import PrivateSwarm, unmount

WAYS = {"table": (), "--json": ("--json",), "--html": ("--html", "audit.html")}


def main() -> None:
    """Measure in turns, and print the minima."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--secrets", type=int, default=1000)
    parser.add_argument("--mounted", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))  # a socket's path is short
    swarm = PrivateSwarm(folder)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    try:
        prepare(swarm, folder, options.services, options.secrets, options.mounted)
        for _ in range(options.rounds):
            for name, arguments in WAYS.items():
                begin = time.monotonic()
                run(swarm, folder, "audit", *arguments)
                taken[name].append(time.monotonic() - begin)
    finally:
        swarm.stop()
        unmount(folder)
    for name, rounds in taken.items():
        sys.stdout.write(f"{name:6} {min(rounds):6.2f} s (of {len(rounds)}, the slowest {max(rounds):.2f} s)\n")


def prepare(swarm: PrivateSwarm, folder: Path, services: int, secrets: int, mounted: int) -> None:
    """Make the secrets with their files, and the services; each secret is mounted about as often as the others."""
    (folder / "secrets").mkdir(0o700)
    for number in range(secrets):
        path = folder / "secrets" / f"key_{number}"
        path.write_text(f"value of number {number}")
        path.chmod(0o600)
    run(swarm, folder, "create-swarm")
    api = client(swarm)
    ids = {secret["Spec"]["Name"]: secret["ID"] for secret in api.secrets()}
    for number in range(services):
        keys = [f"key_{(number * secrets // services + place) % secrets}" for place in range(mounted)]
        container = {
            "Image": swarm.image(),
            "Command": ["/busybox", "true"],
            "Env": ["LOG_LEVEL=info", "PORT=8080"],
            "Secrets": [mount(ids[f"{key}.v1"], f"{key}.v1", key) for key in keys],
        }
        mode = {"Replicated": {"Replicas": 0}}
        api.create_service({"ContainerSpec": container}, name=f"service-{number}", mode=mode)


if __name__ == "__main__":
    main()
