"""Measure how long a start takes, how large and how hungry the shim is, against everything people use today.

One command, `tests/bench/run`, does all of it and writes `results/DATE.md` and `.json`. Nothing here asserts a time:
a machine that is busy must not fail a build. The shares of `python3.11 -I -S -c pass` in one interleaved run travel
between machines; milliseconds do not.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from tests.bench import first_instruction, machine, measure, report
from tests.bench.builds import Builds
from tests.bench.programs import Folder, cold_programs, counted_programs, resident_programs, start_programs

HERE = Path(__file__).parent


def main() -> int:
    """Measure, write the two files, print the tables; return 1 when a program does not do what it is timed for."""
    options = _options()
    builds = Builds(options.cache, options.shim, options.public_api_shim, is_tiny=options.tiny)
    sizes = (1, 20) if options.tiny else (1, 20, 50, 200, 2000)
    with contextlib.ExitStack() as stack:
        # Engines mount secrets in memory, where nothing may be executed.
        secrets = stack.enter_context(tempfile.TemporaryDirectory(prefix="shim-bench-", dir=machine.memory_folder()))
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="shim-bench-"))
        stack.enter_context(contextlib.chdir(place))
        folder = Folder(Path(secrets), Path(place), sizes)
        spawner, least = (measure.compiled(name, Path(place)) for name in ("spawner", "least"))
        starts = [measure.proven(program) for program in start_programs(folder, builds, least)]
        rounds = 1 if options.tiny else options.rounds
        if not options.tiny:
            measure.read_files_again()
        results = {
            **machine.description(builds.shim),
            "rounds": rounds,
            "starts": measure.starts(spawner, starts, rounds),
            "first_instruction": first_instruction.rows(builds.shim, folder, Path(place), rounds),
            "cold": measure.cold_starts(spawner, cold_programs(starts), 0 if options.tiny else options.cold_rounds),
            "instructions": measure.instructions(counted_programs(starts, is_tiny=options.tiny), Path(place)),
            "sizes": measure.sizes(builds),
            "memory": [measure.resident(program) for program in resident_programs(folder, builds)],
        }
    results["slopes"] = report.slopes(results["starts"])
    results["targets"] = report.targets(results)
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / results["date"][:10]
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    page = report.page(results)
    stem.with_suffix(".md").write_text(page)
    sys.stdout.write(page)
    broken = [f"{program.name} {program.missing}" for program in starts if program.missing.startswith(measure.FAILS)]
    for line in dict.fromkeys(broken):
        sys.stderr.write(f"bench: error: {line}\n")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--shim", type=Path, help="the binary to measure; built when not given")
    parser.add_argument("--public-api-shim", type=Path, help="the one without CPython's provisional API")
    parser.add_argument("--rounds", type=int, default=300, help="how often each program is started at most")
    parser.add_argument("--cold-rounds", type=int, default=15, help="the same, with cold caches")
    parser.add_argument("--tiny", action="store_true", help="one round of little, to see that all of it works")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="the folder for the results")
    parser.add_argument("--cache", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
