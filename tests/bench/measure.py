"""How the numbers are taken: times by spawner.c, instructions by callgrind, memory from /proc, sizes from the files."""

import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.builds import Builds
from tests.bench.programs import Program

HERE = Path(__file__).parent
# A program that takes longer than this sits out rounds, so that it does not eat the others' share of the time.
MILLISECONDS_PER_ROUND = 12
# Callgrind's counts are lost in the moment of exec, so they are written down every so many blocks of instructions.
BLOCKS_PER_DUMP = 10_000

FAILS = "does not work: "
_DROP_CACHES = "/proc/sys/vm/drop_caches"

Row = dict[str, Any]


def compiled(name: str, place: Path) -> Path:
    """Return the program made of NAME.c, without libraries to look for."""
    program = place / name
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-static"]
    subprocess.run(["cc", *options, "-o", program, HERE / f"{name}.c"], check=True)
    return program


def proven(program: Program) -> Program:
    """Return the program once it has been seen to hand on the secret that it is timed for; else with what is wrong."""
    if program.missing or program.proof is None:
        return program
    key, value = program.proof
    command = [*program.prefix, "/usr/bin/printenv", key]
    done = subprocess.run(command, env=dict(program.environment), capture_output=True, text=True, check=False)
    if done.stdout == value + "\n":
        return program
    return replace(program, missing=FAILS + (done.stderr.splitlines() or [f"{key} does not arrive"])[0])


def read_files_again() -> None:
    """Let the kernel read every program from the disk once more, where we may ask it to.

    How a file was written decides how its pages lie in memory, and that was 7 % of a start: a binary that had just been
    copied was that much faster than the same one as the build had left it. On a disk, both are alike.
    """
    if os.access(_DROP_CACHES, os.W_OK):
        os.sync()
        Path(_DROP_CACHES).write_text("1")


def starts(spawner: Path, programs: list[Program], rounds: int) -> list[Row]:
    """Return a row of times for each program, all of one interleaved run; the ratios are to the first."""
    return _timed([str(spawner), str(rounds), str(MILLISECONDS_PER_ROUND)], programs)


def cold_starts(spawner: Path, programs: list[Program], rounds: int) -> list[Row]:
    """Return the same with the kernel's caches dropped before every start; no times when *rounds* is 0."""
    missing = "" if rounds else "a tiny run leaves the kernel's caches alone"
    if not os.access(_DROP_CACHES, os.W_OK):
        missing = "only root may drop the kernel's caches"
    if missing:
        return [{**program.row, "missing": program.missing or missing} for program in programs]
    return _timed([str(spawner), str(rounds), str(MILLISECONDS_PER_ROUND), "cold"], programs)


def _timed(command: list[str], programs: list[Program]) -> list[Row]:
    present = [program for program in programs if not program.missing]
    done = subprocess.run(command, input=b"".join(map(_described, present)), stdout=subprocess.PIPE, check=True)
    rows: list[Row] = []
    lines = iter(done.stdout.decode().splitlines())
    base: Row = {}
    for program in programs:
        if program.missing:
            rows.append({**program.row, "missing": program.missing})
            continue
        count, median, p10, least, processor, faults = map(float, next(lines).split())
        row: Row = {
            **program.row,
            "starts": int(count),
            "median_us": median,
            "p10_us": p10,
            "min_us": least,
            "processor_us": processor,
            "page_faults": int(faults),
        }
        base = base or row
        row["ratio"] = round(median / base["median_us"], 3)
        row["ratio_p10"] = round(p10 / base["p10_us"], 3)
        row["ratio_processor"] = round(processor / base["processor_us"], 3)
        rows.append(row)
    return rows


def _described(program: Program) -> bytes:
    """Return the program as spawner.c reads it."""
    variables = [f"{name}={value}" for name, value in program.environment]
    strings = [str(len(program.argv)), *program.argv, str(len(variables)), *variables]
    return b"".join(os.fsencode(string) + b"\0" for string in strings)


def instructions(programs: list[Program], place: Path) -> list[Row]:
    """Return how many instructions each program executes until it becomes another, to about one in a hundred."""
    valgrind = shutil.which("valgrind")
    rows: list[Row] = []
    for program in programs:
        missing = program.missing or ("" if valgrind else "valgrind is not installed")
        if missing:
            rows.append({**program.row, "missing": missing})
            continue
        with tempfile.TemporaryDirectory(dir=place) as dumps:
            options = [f"--dump-every-bb={BLOCKS_PER_DUMP}", f"--callgrind-out-file={dumps}/dump"]
            command = [valgrind or "", "-q", "--tool=callgrind", *options, *program.argv]
            done = subprocess.run(command, env=dict(program.environment), capture_output=True, text=True, check=False)
            count = sum(map(_instructions_of, Path(dumps).iterdir()))
        if done.returncode:
            words = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[0]
            rows.append({**program.row, "missing": f"{FAILS}under valgrind: {words}"})
        else:
            rows.append({**program.row, "instructions": count})
    return rows


def _instructions_of(dump: Path) -> int:
    for line in dump.read_text().splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    return 0


def sizes(builds: Builds) -> list[Row]:
    """Return the bytes of each program on a disk, and in an image's layer (`gzip -9`)."""
    places: list[tuple[str, Path | None, str]] = [
        ("shim", builds.shim, builds.missing),
        ("shim, public API only", builds.public_api_shim, builds.missing),
        ("naive onedir", builds.onedir and builds.onedir.parent, builds.missing),
        ("naive onefile", builds.onefile, builds.missing),
    ]
    for name in ("tini", "dumb-init", "gosu"):
        found = shutil.which(name)
        places.append((name, Path(found) if found else None, f"{name} is not installed"))
    return [
        {"program": name, "bytes": _bytes(path), "bytes_gzipped": _bytes_gzipped(path)}
        if path
        else {"program": name, "missing": missing}
        for name, path, missing in places
    ]


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    return sum(file.stat().st_size for file in files)


def _bytes_gzipped(path: Path) -> int:
    command = f'{"cat" if path.is_file() else "tar -cf -"} "$1" | gzip -9n | wc -c'
    done = subprocess.run(["sh", "-c", command, "sh", path.name], cwd=path.parent, stdout=subprocess.PIPE, check=True)
    return int(done.stdout)


def resident(program: Program) -> Row:
    """Return the KiB that stay in memory while the program waits for its child: all (RSS), and its own alone.

    Two of them run, as two containers of one image do: what both map from the same file counts as shared.
    """
    if program.missing:
        return {**program.row, "missing": program.missing}
    with _waiting(program) as process, _waiting(program) as other:
        words = _started(process) or _started(other)
        if words:
            return {**program.row, "missing": FAILS + words}
        try:
            kib = _at_rest(process.pid)
        except PermissionError:
            return {**program.row, "missing": "only root may look at its memory"}
    return {**program.row, "rss_kib": kib["Rss"], "private_kib": kib["Private_Clean"] + kib["Private_Dirty"]}


@contextmanager
def _waiting(program: Program) -> Iterator["subprocess.Popen[bytes]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen(program.argv, env=dict(program.environment), stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.terminate()


def _started(process: "subprocess.Popen[bytes]") -> str:
    """Wait until the child says that it has started; return "", or what went wrong."""
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() == b"started\n":
        return ""
    return process.stderr.readline().decode(errors="replace").strip() or "its child was not started"


def _at_rest(pid: int) -> dict[str, int]:
    """Return the process's memory once it sleeps and has as much as half a second before; no event tells.

    An init of ours changes for the last time when its service has run for 0.2 s. What of it others share changes with
    them.
    """
    before = (0, 0)
    same = 0
    for _ in range(100):
        with Path(f"/proc/{pid}/smaps_rollup").open() as file:
            fields = [line.split() for line in file if line.endswith(" kB\n")]
        now = {name.rstrip(":"): int(kib) for name, kib, _ in fields}
        size = now["Rss"], now["Anonymous"]
        same = same + 1 if size == before else 0
        if same >= 5 and "(sleeping)" in Path(f"/proc/{pid}/status").read_text():
            return now
        before = size
        select.poll().poll(100)
    raise TimeoutError(f"process {pid} does not come to rest")
