"""Who made something that is to be gone when its run ends: written down so that a later run on the same machine can
tell whether that run is still alive. Elsewhere, and where the system does not say, only age tells.
"""

import os
import platform
import re
from collections.abc import Mapping

# Who asks for it: what was said first, then who began the pipeline, who became root, and who is logged in.
_PERSON = ("SHIM_BY", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "SUDO_USER", "LOGNAME", "USER", "USERNAME")


def author(environ: Mapping[str, str]) -> str:
    """Return what the label `by` says: the person, the machine, and this tool."""
    from shim import __version__

    named = (re.sub(r"[^\w@.+-]+", " ", environ.get(name, "")).strip() for name in _PERSON)
    person = next(filter(None, named), "") or (str(os.getuid()) if hasattr(os, "getuid") else "somebody")
    return f"{person} on {platform.node()} (manage-secrets {__version__})"


def this_run() -> str:
    """Return what tells this process from every other: machine, start of the system, process, and its start.

    An empty string where the system does not say.
    """
    started = _started(os.getpid())
    return f"{_machine()} {os.getpid()} {started}" if started else ""


def has_ended(owner: str) -> bool:
    """Return whether the run that called itself *owner* ran here, and is no more; False when that cannot be known."""
    machine, _, process = owner.rpartition(" ")
    machine, _, number = machine.rpartition(" ")
    if not number.isdecimal() or machine != _machine():
        return False
    return _started(int(number)) != process


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"  # process numbers count within that
    except OSError:
        return platform.node()


def _started(number: int) -> str:
    """Return when the process *number* started, in the kernel's ticks; an empty string when there is none."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return ""
    # The name, in parentheses, may hold anything; the start is the 20th field behind it (proc(5)).
    state, *fields = text.rpartition(b")")[2].split()
    return "" if state in (b"Z", b"X") else fields[18].decode()
