"""A rotation that was killed."""

import os
import subprocess
import sys
from collections.abc import Callable

from tests.support.host import SCRIPT, Manage, Meddler


def begun(project: Manage, meddler: Meddler, *arguments: str) -> subprocess.Popen[bytes]:
    meddler.victim = subprocess.Popen(
        [sys.executable, SCRIPT, *arguments],
        cwd=project.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(project.folder), "DOCKER_HOST": meddler.host},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    return meddler.victim


def at(fatal: int, fate: str) -> Callable[[int], str]:
    """Meddle with one call; whoever is killed does not come back for another."""
    return lambda number: fate if number == fatal or (fate == "kill" and number > fatal) else "pass"
