"""Write docs/PID1.md: every behaviour against every init, each cell from a run just now.

    python tests/pid1_page.py SHIM >docs/PID1.md

Run as root on Linux with tini, dumb-init, catatonit, s6 and docker-init (Debian's packages) and gcc installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pid1
from pid1 import OTHERS, OURS, Init, Lacking, is_installed
from pid1_behaviours import BEHAVIOURS, Behaviour
from pid1_figures import figures

HERE = Path(__file__).parent
YES, NO, LACKING = "yes", "**no**", "–"
HEAD = """\
# PID 1: ours and theirs

What a container's first process should do, and which of them does. Every cell comes from a test that ran against that
program as a real PID 1 (`tests/pid1_behaviours.py`); `python tests/pid1_page.py SHIM` makes this page anew, and
`tests/test_pid1_page.py` fails when a cell is no longer true.

**yes**: it does. **no**: it does not, or does something else. –: it has no such feature.
"docker --init" is the `docker-init` of Debian's docker.io (tini's code). "s6" is s6-svscan with one service that is the
container's command, as s6-overlay runs it; it is a supervisor and means to do less of this.
"""


def cell(init: Init, behaviour: Behaviour, service: str) -> str:
    """Return what a run of *behaviour* against *init* shows."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            return YES if behaviour.test(init, service, Path(folder)) else NO
        except Lacking:
            return LACKING
        except (AssertionError, TimeoutError, IndexError, KeyError, ValueError, ProcessLookupError):
            return NO  # what it wrote, or that it wrote nothing, is not what was expected


def compiled_service(folder: Path) -> str:
    """Return the program that is launched as a service, in a folder that every user may enter."""
    folder.chmod(0o755)
    program = folder / "service"
    subprocess.run(["gcc", "-O1", "-static", "-o", program, HERE / "children" / "service.c"], check=True)
    return str(program)


def rows(inits: list[Init], service: str) -> list[str]:
    """Return the lines of the table."""
    lines = ["| | " + " | ".join(init.name for init in inits) + " |", "|---" * (len(inits) + 1) + "|"]
    for behaviour in BEHAVIOURS:
        cells = [cell(init, behaviour, service) for init in inits]
        lines.append(f"| {behaviour.title} | " + " | ".join(cells) + " |")
        sys.stderr.write(lines[-1] + "\n")
    return lines


def main(shim: str) -> None:
    """Write the page to stdout."""
    pid1.DEADLINE_SECONDS = 3.0  # what has not come by then does not come
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as root:
        service = compiled_service(Path(folder))
        # A name of a whole path: the test of an unprivileged init must find it, too.
        program = shutil.copy(shim, folder)
        ours = Init("shim --init", (program, "--init", "--secrets-dir", root), OURS)
        Path(root).chmod(0o755)
        inits = [ours, *(init for init in OTHERS if is_installed(init))]
        sys.stdout.write("\n".join([HEAD, *rows(inits, service), "", *figures(inits, service), ""]))


if __name__ == "__main__":
    main(sys.argv[1])
