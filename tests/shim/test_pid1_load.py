"""PID 1 under load: storms, thousands of starts and stops, signals at any moment, a real engine's `docker stop`.

Scaled down by default; PID1_FULL=1 runs the figures that tests/bench/results/pid1.md records.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.pid1 import (
    OTHERS,
    Init,
    children_of,
    is_armed,
    is_installed,
    ours,
    running,
    settles,
    status_of,
    until,
)
from tests.support.pid1_figures import forwarding_microseconds, start_milliseconds

FULL = bool(os.environ.get("PID1_FULL"))
ORPHANS, SIGNALS = (5000, 2000) if FULL else (500, 300)
CYCLES = 10_000 if FULL else 100
MOMENTS = 2_000 if FULL else 100
STOPS = 500 if FULL else 3
IDLE_SECONDS = 60 if FULL else 2


@pytest.fixture
def init(request: pytest.FixtureRequest, tmp_path: Path) -> Init:
    """Return the frozen init."""
    return ours("frozen", request, tmp_path)


@pytest.fixture
def service(children: Path) -> str:
    """Return the program that tests launch as a service."""
    return str(children / "service")


def _processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _is_quiet(pid: int) -> bool:
    """Return whether *pid* uses no processor time for half a second."""
    ticks = _processor_ticks(pid)
    time.sleep(0.5)
    return _processor_ticks(pid) == ticks


def test_a_storm_of_zombies_and_signals(init: Init, service: str, as_root: None) -> None:
    """Orphans that all end at once, signals in between: all reaped, none lost, and then it is quiet."""
    script = f"setsid {service} orphans {ORPHANS} & exec {service} signals"
    with running(init.argv("sh", "-c", script)) as run:
        assert [run.line(60), run.line(60)] == ["ready", "ready"]
        main = children_of(run.pid)[0]
        os.kill(_with_word(children_of(main), b"orphans"), signal.SIGUSR1)
        for _ in range(SIGNALS):
            run.send(signal.SIGRTMIN + 5)
        heard = [int(run.line(60).split()[0]) for _ in range(SIGNALS)]
        assert heard == [signal.SIGRTMIN + 5] * SIGNALS
        assert until(lambda: children_of(run.pid) == [main], 30)
        assert any(_is_quiet(run.pid) for _ in range(5))  # the end of the storm may fall into the first


def _with_word(pids: list[int], word: bytes) -> int:
    return next(pid for pid in pids if word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))


def test_thousands_of_starts_and_stops(init: Init, tmp_path: Path, as_root: None) -> None:
    """No process and no descriptor stays behind; here it is not PID 1, and what it leaves would be adopted by one."""
    loop = 'i=0; while [ $i -lt "$N" ]; do "$@" || exit 1; i=$((i+1)); done; '
    loop += "ls /proc/self/fd | wc -l; ls -d /proc/[0-9]* | wc -l"
    with running(["sh", "-c", loop, "sh", *init.argv("/bin/true")], env={"N": str(CYCLES)}) as run:
        descriptors, processes = int(run.line(600)), int(run.line())
    assert descriptors <= 5
    assert processes <= 4  # the shell, ls, wc


def test_a_signal_at_any_moment(init: Init, service: str, as_root: None) -> None:
    """From the arming on, a TERM reaches the service or ends the start with 143; nothing hangs."""
    source = random.Random(4)
    for _ in range(MOMENTS):
        with running(init.argv(service, "plain")) as run:
            while not is_armed(run.pid):
                assert run.process.poll() is None
            moment = time.perf_counter() + source.random() * 0.010
            while time.perf_counter() < moment:
                pass
            run.send(signal.SIGTERM)
            assert run.end() == 143


def test_it_is_armed_at_once(init: Init, service: str, as_root: None) -> None:
    """The first thing that the program does is to block every signal."""
    done = subprocess.run(
        ["strace", "-q", "-r", "-e", "trace=execve,rt_sigprocmask,mmap,openat", *init.argv("/bin/true")],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.defpath},
        cwd="/",
    )
    lines = [line for line in done.stderr.splitlines() if not line.split()[1].startswith("execve")]
    block = next(number for number, line in enumerate(lines) if "SIG_SETMASK, ~[" in line)
    assert block <= 3


def test_idle_is_idle(init: Init, service: str, as_root: None) -> None:
    """No system call, no context switch, no tick."""
    with running(init.argv(service, "plain")) as run:
        assert run.line() == "ready"
        assert settles(run.pid)
        before = status_of(run.pid)["voluntary_ctxt_switches"], _processor_ticks(run.pid)
        time.sleep(IDLE_SECONDS)
        assert (status_of(run.pid)["voluntary_ctxt_switches"], _processor_ticks(run.pid)) == before


def test_a_signal_goes_through_quickly(init: Init, service: str, as_root: None) -> None:
    """Within a millisecond at the median; how that compares with tini is in the comparison page."""
    tini = [other for other in OTHERS if other.name == "tini" and is_installed(other)]
    taken = forwarding_microseconds([init, *tini], service)
    assert taken["frozen"] < 1000, taken


def test_staying_costs_little_at_the_start(init: Init, as_root: None) -> None:
    """Printed for the record; a busy machine must not fail a build, so that the bound is loose."""
    program = init.command[0]
    commands = {"exec": [program, "--", "/bin/true"], "init": [program, "--init", "--", "/bin/true"]}
    taken = start_milliseconds(commands)
    assert taken["init"] < taken["exec"] * 2, taken


@pytest.mark.engine
def test_docker_stop_straight_after_run(engine: Engine, shim_binary: Path, service: str) -> None:
    """The first TERM is never lost: no stop takes the seconds that the engine would wait."""
    mounts = ["-v", f"{shim_binary}:/shim:ro", "-v", f"{service}:/service:ro"]
    image = engine.base("busybox")
    for _ in range(STOPS):
        run = engine.docker("run", "-d", *mounts, "--entrypoint", "/shim", image, "--init", "--", "/service", "plain")
        container = run.stdout.strip()
        try:
            code, seconds = engine.stop(container)
        finally:
            engine.docker("rm", "-f", container)
        assert code == 143
        assert seconds < 20  # the engine would kill after 30
