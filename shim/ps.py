"""`shim ps`: what runs below PID 1, and which of it holds which keys. Names only; neither a value nor an argument.

Read from /proc (proc(5)) by ourselves: psutil's extension would add more to the binary than this does. It is cold code,
with the whole standard library at hand.
"""

import os
from typing import NamedTuple

from shim import kernel, stdout
from shim.errors import Refused
from shim.options import Options
from shim.plan import load_schema
from shim.sources import gather

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATES = {"R": "running", "S": "sleeping", "D": "waiting", "Z": "zombie", "T": "stopped", "t": "traced", "I": "idle"}


class Process(NamedTuple):
    """One process as /proc shows it."""

    pid: int
    parent: int
    user: int
    state: str
    rss_bytes: int
    name: str  # the kernel's short one; the command line may hold a value
    keys: list[str] | None  # those in its environment; None when that cannot be read, or no key is known here


def run(options: Options) -> int:
    """Write the processes of this PID namespace to stdout, as a table or as JSON; return the exit code.

    Raises:
        Refused: it cannot answer; with --json that is a document too.
    """
    try:
        known = known_keys(options)
    except Refused as refusal:
        if options.json:
            stdout.give_refused("ps", refusal.breaches)
        raise
    found = processes(known)
    if options.json:
        return stdout.give_json({"processes": [process._asdict() for process in found]})
    return stdout.write(_table(found))


def known_keys(options: Options) -> set[str]:
    """Return the keys that a start with these options looks after: of schema, roots and pointers."""
    sources = gather(kernel.environ, options, load_schema(options, []))
    return {*sources.asked, *sources.pointers, *sources.roots}


def processes(known: set[str]) -> list[Process]:
    """Return every process but this one, by pid, each with those of the *known* keys that it holds."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            process = _process(int(name), f"/proc/{name}", known)
            if process is not None:
                found.append(process)
    return sorted(found)


def _process(pid: int, folder: str, known: set[str]) -> Process | None:
    """Return the process, or None when it has ended in the meantime."""
    try:
        with open(f"{folder}/stat", "rb") as file:
            before, _, after = file.read().rpartition(b")")
        user = os.stat(folder).st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = after.split()
    state = _STATES.get(fields[0].decode(), fields[0].decode())
    if fields[20] == b"0" and state != "zombie":
        return None  # a thread of the kernel: no memory of its own
    rss_bytes = int(fields[21]) * _PAGE_BYTES
    short_name = before.partition(b"(")[2].decode("utf-8", "backslashreplace")
    keys = [] if state == "zombie" else _held_keys(f"{folder}/environ", known) if known else None
    return Process(pid, int(fields[1]), user, state, rss_bytes, short_name, keys)


def _held_keys(path: str, known: set[str]) -> list[str] | None:
    try:
        with open(path, "rb") as file:
            entries = file.read().split(b"\0")
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return None
    names = {entry.partition(b"=")[0].decode("utf-8", "surrogateescape") for entry in entries if b"=" in entry}
    return sorted(name for name in names if name in known or (name.endswith("_FILE") and name[:-5] in known))


def _table(found: list[Process]) -> str:
    rows = [("PID", "PARENT", "USER", "STATE", "MEMORY", "NAME", "KEYS")]
    for process in found:
        keys = "?" if process.keys is None else ", ".join(process.keys) or "-"
        memory = f"{process.rss_bytes / 1_048_576:.1f}M"
        name = "".join(letter if letter.isprintable() else "?" for letter in process.name)
        row = (str(process.pid), str(process.parent), str(process.user), process.state, memory, name, keys)
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[6]]) for row in rows
    ]
    zombies = sum(process.state == "zombie" for process in found)
    if zombies:
        lines.append(f"{zombies} of them ended, and their parent has not asked how (zombies)")
    return "\n".join([*lines, ""])
