"""npm, and what the npm package is built with: installed once into the cache, by the digests of its lock file."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.support.cache import cache_folder
from tests.support.forms import REPOSITORY, cannot_run

PACKAGE = REPOSITORY / "npm"


def npm(*words: str | Path, cwd: Path) -> str:
    """Return what npm prints; it asks no registry whether something is outdated or unsafe."""
    program = shutil.which("npm")
    if program is None:
        cannot_run("npm is not installed")
    options = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    done = subprocess.run([str(program), *words, *options], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compiler_modules() -> Path:
    """Return the folder `node_modules` with TypeScript and the types of Node."""
    cache = cache_folder()
    lock_file = PACKAGE / "package-lock.json"
    folder = cache / f"npm-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:16]}"
    with (cache / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules/.package-lock.json").exists():
            folder.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(PACKAGE / name, folder)
            npm("ci", "--ignore-scripts", cwd=folder)
    return folder / "node_modules"
