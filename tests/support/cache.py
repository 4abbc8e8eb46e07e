"""Where the tests keep programs that they installed: the folder of the scripts, by the scripts' own check of it."""

import subprocess
from functools import cache
from pathlib import Path

_LIBRARY = Path(__file__).resolve().parent.parent.parent / "scripts/lib.sh"
_SCRIPT = f'. "{_LIBRARY}" && make_cache && printf %s "$CACHE"'


@cache
def cache_folder() -> Path:
    """Return the folder; it is there, and nobody else can write to it."""
    done = subprocess.run(["bash", "-c", _SCRIPT], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout)
