"""Where and on what a measurement was made: without it, a number says nothing."""

import hashlib
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def description(shim: Path) -> dict[str, Any]:
    """Return date, machine, commit, and the hash of the binary that was measured."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "machine": {
            "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "memory": _field("/proc/meminfo", "MemTotal"),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
            "load": round(os.getloadavg()[0], 2),
        },
        "commit": _git("rev-parse", "--short=12", "HEAD") + _uncommitted(),
        "sha256": hashlib.sha256(shim.read_bytes()).hexdigest(),
    }


def memory_folder() -> str:
    """Return a folder in memory, as an engine mounts secrets on one; else where temporary files go."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else tempfile.gettempdir()


def _uncommitted() -> str:
    return " and uncommitted changes" if _git("status", "--porcelain", "--", "shim", "images/shim") else ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if done.returncode else "")


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        field, colon, value = line.partition(":")
        if colon and field.strip() == name:
            return value.strip()
    return ""
