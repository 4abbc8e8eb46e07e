"""Figures of inits: memory, time to start, time from signal to service, wake-ups. Measured in one interleaved run."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
from pathlib import Path

from tests.support.pid1 import Init, Running, children_of, running
from tests.support.pid1_behaviours import wake_ups

ROUNDS = int(os.environ.get("PID1_ROUNDS", "200"))
IDLE_SECONDS = float(os.environ.get("PID1_IDLE_SECONDS", "3"))


def memory(init: Init, service: str) -> tuple[int, int, int]:
    """Return kB resident, private, and of no file, once the service has settled."""
    with running(init.argv(service, "plain")) as run:
        assert run.line() == "ready"
        time.sleep(0.6)
        fields = {}
        for line in Path(f"/proc/{run.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            fields[name] = int(rest.split()[0])
    return fields["Rss"], fields["Private_Clean"] + fields["Private_Dirty"], fields["Anonymous"]


def start_milliseconds(commands: dict[str, list[str]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return how long each takes from exec to the end of a service that does nothing: the median of *rounds*."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            begun = time.perf_counter()
            # What tini says about its place in life goes nowhere.
            quiet = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
            pid = os.posix_spawnp(command[0], command, {"PATH": os.defpath}, file_actions=quiet)
            os.waitpid(pid, 0)
            taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) * 1000 for name, times in taken.items()}


def forwarding_microseconds(inits: list[Init], service: str, rounds: int = ROUNDS) -> dict[str, float]:
    """Return how long a signal takes to the service and back to us, less what it takes without an init (medians).

    All of them run at the same time and take turns, so that a busy moment hits them alike.
    """
    with contextlib.ExitStack() as stack:
        runs = {init.name: stack.enter_context(running(init.argv(service, "signals"))) for init in inits}
        for run in runs.values():
            assert run.line() == "ready"
        direct = {name: _service_below(run.pid) for name, run in runs.items()}
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                through = _round_trip(run, run.pid)
                taken[name].append(through - _round_trip(run, direct[name]))
    return {name: statistics.median(times) * 1e6 for name, times in taken.items()}


def _service_below(pid: int) -> int:
    return next(child for child in _below(pid) if Path(f"/proc/{child}/comm").read_text() == "service\n")


def _round_trip(run: Running, pid: int) -> float:
    begun = time.perf_counter()
    os.kill(pid, signal.SIGUSR1)
    run.line()
    return time.perf_counter() - begun


def _below(pid: int) -> list[int]:
    found = children_of(pid)
    for child in list(found):
        found += _below(child)
    return found


def figures(inits: list[Init], service: str) -> list[str]:
    """Return the lines of the page's second table."""
    names = [init.name for init in inits]
    plain = [init for init in inits if init.name != "s6"]
    starts = start_milliseconds({init.name: init.argv("/bin/true") for init in plain})
    forwards = forwarding_microseconds(plain, service)
    lines = ["| Figures, from one run | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    sizes = {init.name: memory(init, service) for init in inits}
    for place, title in enumerate(("resident, kB", "private, kB", "of no file, kB")):
        lines.append(f"| {title} | " + " | ".join(str(sizes[name][place]) for name in names) + " |")
    start = [f"{starts[name]:.1f}" if name in starts else "–" for name in names]
    lines.append("| start and end of `true`, ms | " + " | ".join(start) + " |")
    forward = [f"{forwards[name]:.0f}" if name in forwards else "–" for name in names]
    lines.append("| a signal's way through it, µs | " + " | ".join(forward) + " |")
    idle = [str(wake_ups(init, service, IDLE_SECONDS)) for init in inits]
    lines.append(f"| system calls in {IDLE_SECONDS:.0f} idle seconds | " + " | ".join(idle) + " |")
    return lines
