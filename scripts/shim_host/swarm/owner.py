"""Who made something that is to be gone when its run ends: written down so that a later run on the same machine can
tell whether that run is still alive. Elsewhere, and where the system does not say, only age tells.
"""

import os
import platform
import re
from collections.abc import Mapping

# Who asks for it: what was said first, then who began the pipeline, who became root, and who is logged in.
_PERSON = ("SHIM_BY", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "SUDO_USER", "LOGNAME", "USER", "USERNAME")
_MACHINE_ID, _BOOT_ID = "/etc/machine-id", "/proc/sys/kernel/random/boot_id"
_PARTS_OF_A_MACHINE = 4


def author(environ: Mapping[str, str]) -> str:
    """Return what the label `by` says: the person, the machine, and this tool."""
    from shim import __version__

    named = (re.sub(r"[^\w@.+-]+", " ", environ.get(name, "")).strip() for name in _PERSON)
    person = next(filter(None, named), "") or _logged_in()
    return f"{person} on {platform.node()} (manage-secrets {__version__})"


def _logged_in() -> str:
    """Return the user's name in this system: cron sets no variable for it everywhere."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return str(os.getuid()) if hasattr(os, "getuid") else "somebody"


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
    if not number.isdecimal():
        return False
    if machine == _machine():
        return _started(int(number)) != process
    return _is_from_before_this_start(machine)


def _machine() -> str:
    """Return the machine's name and number, its start, and the namespace within which process numbers count."""
    try:
        return f"{platform.node()} {_line(_MACHINE_ID) or '-'} {_line(_BOOT_ID)} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _is_from_before_this_start(machine: str) -> bool:
    """Return whether *machine* is this one before it was started the last time: nothing of that time runs any more."""
    then, now = machine.split(" "), _machine().split(" ")
    if not len(then) == len(now) == _PARTS_OF_A_MACHINE or now[1] == "-":
        return False
    return then[:2] == now[:2] and then[2] != now[2]


def _line(path: str) -> str:
    """Return what the file at *path* holds; nothing where it cannot be read."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


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
