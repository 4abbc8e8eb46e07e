"""Compare `create-swarm` with a shell loop of `docker secret create`, in turns, on a Swarm of its own.

    .venv/bin/python tests/bench/create_swarm.py [--secrets 500] [--rounds 3]

The ratio of the two minima travels between machines; seconds do not. A second run, which finds nothing to do, is timed
too. Needs root, dockerd and docker, as the tests do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.support.host import SCRIPT, PrivateSwarm, unmount

LOOP = 'for file in secrets/*; do docker secret create "loop_${file##*/}" "$file" >/dev/null || exit; done'


def main() -> None:
    """Measure in turns, and print the minima and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))  # a socket's path is short
    swarm = PrivateSwarm(folder)
    try:
        (folder / "secrets").mkdir(0o700)
        for number in range(options.secrets):
            (folder / "secrets" / f"key_{number}").write_text(f"value-{number}")
        taken: dict[str, list[float]] = {"shell loop": [], "create-swarm": [], "second run": []}
        for _ in range(options.rounds):
            for name, command in (
                ("shell loop", ["bash", "-c", LOOP]),
                ("create-swarm", [sys.executable, str(SCRIPT), "create-swarm"]),
                ("second run", [sys.executable, str(SCRIPT), "create-swarm"]),
            ):
                taken[name].append(seconds(command, folder, swarm.host))
            swarm.empty()
    finally:
        swarm.stop()
        unmount(folder)
    best = {name: min(rounds) for name, rounds in taken.items()}
    for name, took in best.items():
        sys.stdout.write(f"{name:13} {took:6.2f} s\n")
    sys.stdout.write(f"create-swarm is {best['shell loop'] / best['create-swarm']:.1f} times as fast as the loop\n")


def seconds(command: list[str], folder: Path, host: str) -> float:
    """Return how long *command* takes; it must succeed."""
    begin = time.monotonic()
    subprocess.run(command, cwd=folder, env={**os.environ, "DOCKER_HOST": host}, check=True, capture_output=True)
    return time.monotonic() - begin


if __name__ == "__main__":
    main()
