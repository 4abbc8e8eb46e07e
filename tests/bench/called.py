"""Print the functions that usual starts call, for images/shim/called.txt.

    tests/bench/called.py >images/shim/called.txt

Starts of secrets in a root, through KEY_FILE, with a schema and under `--init` are traced up to the moment of exec, or
to their end, by the Python that runs this. A name that is missing there costs a start a few copied pages, nothing else.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.bench import machine
from tests.bench.builds import ROOT
from tests.bench.programs import PATH, Folder

HEAD = """\
# Functions that usual starts call, those indented only with a schema or --init; tests/bench/called.py writes this.
# What every start calls lies side by side, and what none calls keeps its constants and names apart (static_code.py),
# so that fewer pages of data are copied.
"""
TRACE = """
import posix, sys
sys.path.insert(0, sys.argv[1])

called = set()
def take(frame, event, argument):
    code = frame.f_code
    folder, _, name = code.co_filename.rpartition("/")
    if folder.endswith("/shim"):
        called.add(f"shim/{name}:{code.co_qualname}")

def end(*_):
    sys.setprofile(None)
    print("\\n".join(called))
    sys.stdout.flush()
    posix._exit(0)

sys.setprofile(take)
from shim import kernel
kernel.execve = end
from shim import main
main.main([*map(str.encode, sys.argv[2:])], kernel.environ)
end()
"""


def main() -> None:
    """Trace the starts, and print the list."""
    with (
        tempfile.TemporaryDirectory(dir=machine.memory_folder()) as secrets,
        tempfile.TemporaryDirectory() as place,
    ):
        folder = Folder(Path(secrets), Path(place), (20,))
        plain = {"PATH": PATH, **dict(folder.roots(20))}
        checked = {**plain, **dict(folder.plain(20)), "SHIM_SCHEMA": str(folder.schema)}
        pointed = {**plain, **dict(folder.pointers(20))}
        always = _called(plain, [], place) | _called(pointed, [], place)
        sometimes = _called(checked, [], place) | _called(plain, ["--init"], place)
    names = sorted((name, name not in always) for name in always | sometimes)
    sys.stdout.write(HEAD + "".join(f"{'  ' * is_rare}{name}\n" for name, is_rare in names))


def _called(environment: dict[str, str], options: list[str], place: str) -> set[str]:
    command = [sys.executable, "-B", "-I", "-c", TRACE, str(ROOT), *options, "--", "/bin/true"]
    done = subprocess.run(command, env=environment, cwd=place, check=True, capture_output=True, text=True)
    known = {f"shim/{path.name}" for path in (ROOT / "shim").glob("*.py") if not path.stem.endswith("_unfrozen")}
    return {name for name in done.stdout.split() if name.partition(":")[0] in known}


if __name__ == "__main__":
    main()
