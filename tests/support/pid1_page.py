"""Write docs/PID1.md: every behaviour against every init, each cell from a run just now.

    python -m tests.support.pid1_page SHIM >docs/PID1.md

Run as root on Linux with tini, dumb-init, catatonit, s6 and docker-init (Debian's packages) and gcc installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import pid1
from tests.support.pid1 import OTHERS, OURS, Init, Lacking, is_installed
from tests.support.pid1_behaviours import BEHAVIOURS, Behaviour
from tests.support.pid1_figures import figures

TESTS = Path(__file__).resolve().parent.parent
YES, NO, LACKING, NOT_ALWAYS = "yes", "**no**", "–", "**not always**"
RACES = {
    # It asks once, right after the fork, if its child is there, and ends when it may not signal it by then.
    ("catatonit", "tolerates_eperm"),
    # It stops before its service has, which then takes what is typed next from the shell.
    ("dumb-init", "stops_and_continues"),
}
HEAD = """\
# PID 1: ours and theirs

What a container's first process should do, and which of them does. Every cell comes from a test that ran against that
program as a real PID 1 (`tests/support/pid1_behaviours.py`); `python -m tests.support.pid1_page SHIM` makes this page
again, and `tests/shim/test_pid1_page.py` fails when a cell is no longer true.

**yes**: it does. **no**: it does not, or does something else. **not always**: a race decides. –: it lacks that feature.
"docker --init" is the `docker-init` of Debian's docker.io (tini's code). "s6" is s6-svscan with one service that is the
container's command, as s6-overlay runs it; it is a supervisor and means to do less of this.
"""

TAIL = """\
## How the shim behaves where others differ

- **Arming**: the first instruction of the program blocks every signal, before the interpreter is up. A stop signal that
  comes while secrets are looked up ends the start with 128+N; one that comes later waits for the service.
- **Staying is asked for** by `--init` or by any option that only an init can follow, as a flag or as a variable.
  `--pre` alone does not ask for it: its commands run, then the service takes the shim's place. `shim exec`
  ignores both.
- **What the service leaves behind** in its process group gets TERM when it ends, unless the shim is PID 1: then
  everything ends with it. The init holds no working directory, unless a relative path is to be watched or removed.
- **Another user** can be signalled without the capability KILL: the init becomes that user for the moment, which it may
  with the SETUID that `--user` needs.
- **Stop signals** are TERM, INT and QUIT, before and after `--signal`. Only with `--grace`, the first one starts the
  clock and a second one ends the service at once; without it, every signal is passed on and the shim kills nothing.
- **`--wait-all`** sends TERM to what the service left behind, waits for `--grace` (10 s when not given), then kills.
  As PID 1 that means every process that can be seen, a `docker exec` too; it would end with PID 1 anyway.
- **`--on-change`** looks at the values that the service was started with. A new file beside them does not count as a
  change; if one of them is gone, the set is invalid. The service is stopped with TERM (rewritten by `--signal`), has
  `--grace` (10 s) to end, and starts with the new values. After three failures within 10 s each, its exit code becomes
  the shim's. With `signal=`, private copies (`@deliver=file`) and rendered files are renewed before the signal is sent.
  With `restart` the init keeps inherited descriptors, which the next start needs.
- **`--mask`** hides a value however short it is, and its base64, percent-encoded, JSON and line-by-line forms. The
  start of a value waits for its rest; on a terminal for a second at most (30 ms below four letters), and if the rest
  follows later that is still hidden. Where the output is a terminal the service gets one of its own.
- **`--ready-fd N`**: what the service writes to N is passed on to the reader of N, and the first line also as `READY=1`
  to `NOTIFY_SOCKET`. A service that speaks sd_notify itself is left alone.
- **Unusual inheritance**: closed standard descriptors stay closed, ignored signals ignored, `LISTEN_PID` and
  `WATCHDOG_PID` that named the shim name the service.
- **What it cannot do**: keep its promises when it is killed with SIGKILL itself, or, as `python -m shim`, arm before
  the interpreter is up; images use the frozen file.

`tests/shim/test_pid1_load.py` puts it under load. With `PID1_FULL=1`: 5,000 orphans that end at once with 2,000 signals
between them, 10,000 starts and stops, TERM at 2,000 random moments, `docker stop` straight after `docker run`
500 times.
"""


def cell(init: Init, behaviour: Behaviour, service: str) -> str:
    """Return what a run of *behaviour* against *init* shows."""
    if (init.name, behaviour.test.__name__) in RACES:
        return NOT_ALWAYS
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            return YES if behaviour.test(init, service, Path(folder)) else NO
        except Lacking:
            return LACKING
        except (AssertionError, IndexError, KeyError, ValueError, OSError):
            return NO  # what it wrote, or that it wrote nothing, is not what was expected


def compiled_service(folder: Path) -> str:
    """Return the program that is launched as a service, in a folder that every user may enter."""
    folder.chmod(0o755)
    program = folder / "service"
    subprocess.run(["gcc", "-O1", "-static", "-o", program, TESTS / "children" / "service.c"], check=True)
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
        sys.stdout.write("\n".join([HEAD, *rows(inits, service), "", *figures(inits, service), "", TAIL]))


if __name__ == "__main__":
    main(sys.argv[1])
