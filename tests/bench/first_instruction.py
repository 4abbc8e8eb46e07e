"""Print how long a service waits for its first instruction: by exec, and as the child of `--init`, with 20 secrets.

    .venv/bin/python tests/bench/first_instruction.py [--shim BINARY] [--rounds N]

That is the start that people feel. What the init does afterwards, its own code included, happens beside the service.
Both are started in turns; on a busy machine the lower percentiles are the meaningful ones.
"""

import argparse
import contextlib
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.builds import ROOT
from tests.bench.programs import PATH, Folder

SERVICE = """
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void _start(void)
{
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    syscall(SYS_write, 1, &now, sizeof now);
    syscall(SYS_exit_group, 0);
}
"""
SECRETS = 20
WAYS: dict[str, tuple[str, ...]] = {"exec": (), "--init": ("--init",)}


def main() -> None:
    """Start both ways in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shim", type=Path, help="the binary; built when none is given")
    parser.add_argument("--rounds", type=int, default=500, help="how often each is started")
    options = parser.parse_args()
    shim = options.shim or Path(
        subprocess.run([ROOT / "scripts/shim-binary"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    )
    with contextlib.ExitStack() as stack:
        secrets = stack.enter_context(tempfile.TemporaryDirectory(dir=machine.memory_folder()))
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(contextlib.chdir(place))  # where no schema lies about
        by_exec, by_init = rows(shim.resolve(), Folder(Path(secrets), place, (SECRETS,)), place, options.rounds)
    sys.stdout.write("| percentile | exec, µs | --init, µs | ratio |\n|---|---|---|---|\n")
    for name, measure in (("10", "p10_us"), ("20", "p20_us"), ("50", "median_us")):
        ratio = by_init[measure] / by_exec[measure]
        sys.stdout.write(f"| {name} | {by_exec[measure]:.0f} | {by_init[measure]:.0f} | {ratio:.3f} |\n")


def rows(shim: Path | None, folder: Folder, place: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each way, in the order of `WAYS`; none without a *shim*."""
    if shim is None:
        return []
    environment = {"PATH": PATH, **dict(folder.roots(SECRETS))}
    service = place / "service"
    compiler = ["gcc", "-O1", "-static", "-nostartfiles", "-x", "c", "-", "-o", str(service)]
    subprocess.run(compiler, input=SERVICE, text=True, check=True)
    waits: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, arguments in WAYS.items():
            waits[way].append(_microseconds([str(shim), *arguments, "--", str(service)], environment))
    found = []
    for way, times in waits.items():
        times.sort()
        at = {name: times[rounds * percent // 100] for name, percent in (("p10", 10), ("p20", 20), ("median", 50))}
        found.append({"program": way, **{f"{name}_us": round(time, 1) for name, time in at.items()}})
    return found


def _microseconds(argv: list[str], environment: dict[str, str]) -> float:
    """Return the time from just before the shim is started to what its service says."""
    reading, writing = os.pipe()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    child = os.posix_spawn(argv[0], argv, environment, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    os.close(writing)
    seconds, nanoseconds = struct.unpack("qq", os.read(reading, 16))
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"{argv} ended with {status}")
    return float(seconds * 10**9 + nanoseconds - before) / 1000


if __name__ == "__main__":
    main()
