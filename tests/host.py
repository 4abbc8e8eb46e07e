"""The host tool as a person runs it: another process, in a folder of its own, watched by the canaries' `custody`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Custody, End

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "manage_secrets.py"

# Runs the script with every change of the file system counted: before the N-th the process dies by SIGKILL, and after
# each the modes below ./secrets are looked at.
WATCHED = """
import os, runpy, signal, stat, sys
deadly, count, wide = int(sys.argv[1]), 0, []

def look():
    for folder, _, files in os.walk("secrets"):
        if stat.S_IMODE(os.stat(folder).st_mode) & 0o077:
            wide.append(folder)
        for name in files:
            if stat.S_IMODE(os.lstat(os.path.join(folder, name)).st_mode) & 0o177:
                wide.append(name)

def counted(function):
    def call(*arguments, **options):
        global count
        count += 1
        if count == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return function(*arguments, **options)
        finally:
            look()
    return call

for name in ("mkdir", "open", "write", "fchmod", "fsync", "rename", "replace", "unlink", "close"):
    wrapped = counted(getattr(os, name))
    if getattr(os, name) in os.supports_dir_fd:
        os.supports_dir_fd.add(wrapped)
    setattr(os, name, wrapped)
sys.argv = sys.argv[2:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    assert not wide, wide
"""


class Manage:
    """Runs `manage-secrets` in `folder`; what it says is searched for canaries when the test ends."""

    def __init__(self, folder: Path, custody: Custody) -> None:
        self.folder = folder
        self.custody = custody
        self.env: dict[str, str] = {}

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        dies_at: int | None = None,
        timeout: float = 120,
    ) -> End:
        """Run with *arguments*; *dies_at* kills it before its N-th change of the file system (0: it is only watched)."""
        before = [] if dies_at is None else ["-c", WATCHED, str(dies_at)]
        done = subprocess.run(
            [sys.executable, *before, str(SCRIPT), *map(str, arguments)],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        end = End(done.returncode, done.stdout.decode(), done.stderr.decode())
        self.custody.said += [end.stdout, end.stderr]
        assert "internal error" not in end.stderr, end.stderr
        assert "Traceback" not in end.stderr, end.stderr
        return end

    def json(self, *arguments: str | Path, **options: Any) -> Any:
        """Run with `--json`; the run must be clean. Return the document."""
        end = self(*arguments, "--json", **options)
        assert end.code == 0, end.stderr
        return json.loads(end.stdout)

    def write(self, name: str, text: str | bytes) -> Path:
        """Make the file *name* in the folder."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def secrets(self) -> dict[str, bytes]:
        """Return every secret file with its bytes."""
        return {path.name: path.read_bytes() for path in sorted((self.folder / "secrets").iterdir())}


@pytest.fixture
def manage(tmp_path: Path, custody: Custody) -> Manage:
    """Return the host tool in an empty folder."""
    return Manage(tmp_path, custody)


Canary = Callable[[], str]
