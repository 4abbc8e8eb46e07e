"""Print where a start spends its instructions and its page faults, phase by phase, as a table in Markdown.

    .venv/bin/python tests/bench/phases.py [--shim BINARY]

The binary is one with its symbols (`images/shim/build --symbols`), built when none is given. callgrind counts the
instructions up to the moment of exec; the kernel counts the faults, read at breakpoints of gdb. A phase begins where a
function of the start code is called.
"""

import argparse
import contextlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.builds import ARCHITECTURES, ROOT
from tests.bench.programs import CHILD, PATH, Folder

# What a phase is called, and the function whose call begins it.
PHASES = {
    "main": "CPython's core",
    "shim_start_imports": "our modules, options",
    "end_on_stop_signals": "schema, variables, listing",
    "shim_read_short": "reading",
    "LAST_READ": "which source wins, checking",
    "block_signals": "the environment, execve",
}
FIRST = "libc"
REST = "the kernel's exec, `/bin/true`"
COUNT_FAULTS = """
import gdb
gdb.execute("set startup-with-shell off")
gdb.execute("set confirm off")
gdb.execute("starti", to_string=True)
def faults():
    with open(f"/proc/{gdb.selected_inferior().pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[7])
gdb.write(f"FAULTS start {faults()}\\n")
for name in NAMES:
    gdb.Breakpoint(name)
gdb.execute("catch syscall execve", to_string=True)
while True:
    gdb.execute("continue", to_string=True)
    name = gdb.selected_frame().name()
    gdb.write(f"FAULTS {name} {faults()}\\n")
    if name not in NAMES:
        break
gdb.execute("kill", to_string=True)
"""


def main() -> None:
    """Measure the starts with 1, 20 and 50 secrets, with and without a schema, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shim", type=Path, help="a binary with symbols")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        secrets = stack.enter_context(tempfile.TemporaryDirectory(dir=machine.memory_folder()))
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shim = (options.shim or _built(place)).resolve()
        stack.enter_context(contextlib.chdir(place))  # where no schema lies about
        sizes = (1, 20, 50)
        folder = Folder(Path(secrets), place, sizes)
        columns = {}
        for size in sizes:
            plain = {"PATH": PATH, **dict(folder.roots(size))}
            checked = {**plain, **dict(folder.plain(size)), "SHIM_SCHEMA": str(folder.schema)}
            columns[f"{size}"] = _phases(shim, plain, place)
            columns[f"{size}, schema"] = _phases(shim, checked, place)
    rows = [FIRST, *PHASES.values(), REST]
    sys.stdout.write("| thousand instructions, page faults | " + " | ".join(columns) + " |\n")
    sys.stdout.write("|---" * (len(columns) + 1) + "|\n")
    for row in rows:
        cells = [f"{spent[row] // 1000:,}, {faults[row]}" for spent, faults in columns.values()]
        sys.stdout.write(f"| {row} | " + " | ".join(cells) + " |\n")
    cells = [f"{spent.total() // 1000:,}, {faults.total()}" for spent, faults in columns.values()]
    sys.stdout.write("| all | " + " | ".join(cells) + " |\n")


def _built(place: Path) -> Path:
    command: list[str | Path] = [ROOT / "scripts/debian-13", ROOT / "images/shim/build", "--symbols"]
    subprocess.run([*command, "--out", place / "symbols"], stdout=sys.stderr, check=True)
    return place / "symbols" / f"shim-linux-{ARCHITECTURES[os.uname().machine]}"


def _phases(shim: Path, environment: dict[str, str], place: Path) -> tuple[Counter[str], Counter[str]]:
    """Return instructions and page faults by phase."""
    return _instructions(shim, environment, place), _faults(shim, environment, place)


def _instructions(shim: Path, environment: dict[str, str], place: Path) -> Counter[str]:
    names = [name for name in PHASES if name != "LAST_READ"]
    with tempfile.TemporaryDirectory(dir=place) as dumps:
        breaks = [f"--dump-before={name}" for name in names]
        # What is counted after the last dump is lost in the moment of exec: a dump every so often keeps most of it.
        command = ["valgrind", "-q", "--tool=callgrind", *breaks, "--dump-every-bb=2000"]
        command += [f"--callgrind-out-file={dumps}/dump", str(shim), "--", CHILD]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        pieces = []
        for path in sorted(Path(dumps).glob("dump.*"), key=lambda path: int(path.suffix[1:])):
            text = path.read_text()
            trigger = re.search(r"^desc: Trigger: --dump-before=(\w+)", text, re.MULTILINE)
            total = re.search(r"^summary: (\d+)", text, re.MULTILINE)
            pieces.append((int(total[1]) if total else 0, trigger[1] if trigger else ""))
    return _by_phase(pieces)


def _faults(shim: Path, environment: dict[str, str], place: Path) -> Counter[str]:
    names = [name for name in PHASES if name != "LAST_READ"]
    script = place / "faults.py"
    script.write_text(f"NAMES = {names!r}\n{COUNT_FAULTS}")
    command = ["gdb", "-q", "-batch", "-nx", "-x", str(script), "--args", str(shim), "--", CHILD]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seen = [(name, int(count)) for name, count in re.findall(r"^FAULTS (\S+) (\d+)", done.stdout, re.MULTILINE)]
    pieces = [(after - before, name) for (_, before), (name, after) in itertools.pairwise(seen)]
    found = _by_phase(pieces)
    child = os.posix_spawn(shim, [str(shim), "--", CHILD], environment)
    _, _, used = os.wait4(child, 0)
    found[REST] = used.ru_minflt - found.total()
    return found


def _by_phase(pieces: list[tuple[int, str]]) -> Counter[str]:
    """Return the sum of *pieces*, each with the function before which it ends, by phase."""
    reads = [at for at, (_, name) in enumerate(pieces) if name == "shim_read_short"]
    found: Counter[str] = Counter()
    phase = FIRST
    for at, (count, name) in enumerate(pieces):
        found[phase] += count
        if name in PHASES:
            phase = PHASES["LAST_READ" if name == "shim_read_short" and at == reads[-1] and len(reads) > 1 else name]
    return found


if __name__ == "__main__":
    main()
