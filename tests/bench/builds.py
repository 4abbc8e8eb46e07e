"""What has to be built before it can be measured: the shim, and what PyInstaller makes of it without any care."""

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Builds:
    """The programs of our own; None for one that was not built, and why in `missing`."""

    def __init__(self, cache: Path, shim: Path | None, public_api_shim: Path | None, *, is_tiny: bool) -> None:
        self.missing = "a tiny run builds only the shim" if is_tiny else ""
        self.shim = (shim or _shim()).resolve()
        self.public_api_shim: Path | None = None
        if public_api_shim or not is_tiny:
            self.public_api_shim = (public_api_shim or _public_api_shim(cache / "public-api")).resolve()
        self.onedir: Path | None = None if is_tiny else _naive(cache, "onedir")
        self.onefile: Path | None = None if is_tiny else _naive(cache, "onefile")


def _shim() -> Path:
    done = subprocess.run([ROOT / "scripts/shim-binary"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())


def _public_api_shim(out: Path) -> Path:
    command = [str(ROOT / "scripts/debian-13"), str(ROOT / "images/shim/build"), "--public-api", "--out", str(out)]
    subprocess.run(command, stdout=sys.stderr, check=True)
    return out / f"shim-linux-{ARCHITECTURES[platform.machine()]}"


def _naive(cache: Path, kind: str) -> Path:
    """Return the executable that PyInstaller makes of the shim with its defaults; made once for each state of it."""
    sources = sorted((ROOT / "shim").glob("*.py"))
    state = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    out = cache / f"{kind}-{state}"
    executable = out / "naive" / "naive" if kind == "onedir" else out / "naive"
    if not executable.exists():
        for stale in cache.glob(f"{kind}-*"):
            shutil.rmtree(stale)
        work = cache / "work"
        folders = ("--distpath", out, "--workpath", work, "--specpath", work, "--paths", ROOT)
        command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=WARN", "--name=naive", f"--{kind}"]
        subprocess.run([*command, *folders, ROOT / "shim/__main__.py"], stdout=sys.stderr, check=True, cwd=ROOT)
    return executable
