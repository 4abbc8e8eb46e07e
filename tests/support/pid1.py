"""Inits under test: ours in each form, and those that people use today, each as a real PID 1 in a PID namespace.

What a test starts dies with its namespace, however the test ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.forms import cannot_run, command_of

DEADLINE_SECONDS = 10.0
# Over the kernel's largest pid: what has ended already. Never 0 or -1, which mean many.
NOBODY = (1 << 22) + 1


class Lacking(Exception):
    """This init has no such feature."""


class Init(NamedTuple):
    """One init: its name, how it is started, and which of its options means what."""

    name: str
    command: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]

    def argv(self, *child: str, asks: Sequence[str] = ()) -> list[str]:
        """Return what starts *child* under this init with the features *asks* names.

        Raises:
            Lacking: it has none of that.
        """
        options: list[str] = []
        for feature in asks:
            if feature not in self.options:
                raise Lacking(f"{self.name} has no {feature}")
            options += self.options[feature]
        return [*self.command, *options, *(() if self.name == "s6" else ("--",)), *child]


OURS = {
    "group": ("--group",),
    "rewrite TERM to QUIT": ("--signal", "TERM=QUIT"),
    "drop HUP": ("--signal", "HUP=0"),
    "exit 143 as 0": ("--exit-as", "143=0"),
    "grace of half a second": ("--grace", "500ms"),
    "grace of a minute": ("--grace", "1m"),
    "wait for all": ("--wait-all", "--grace", "500ms"),
    "subreaper": ("--subreaper",),
    "no subreaper asked for": (),
    "die with the parent": ("--parent-death", "KILL"),
    "become nobody": ("--user", "nobody"),
}
OTHERS = (
    Init(
        "tini",
        ("tini",),
        {
            "group": ("-g",),
            "exit 143 as 0": ("-e", "143"),
            "subreaper": ("-s",),
            "die with the parent": ("-p", "SIGKILL"),
        },
    ),
    Init(
        "docker --init",
        ("docker-init",),
        {
            "group": ("-g",),
            "exit 143 as 0": ("-e", "143"),
            "subreaper": ("-s",),
            "die with the parent": ("-p", "SIGKILL"),
        },
    ),
    Init(
        "dumb-init",
        ("dumb-init",),
        {"group": (), "rewrite TERM to QUIT": ("--rewrite", "15:3"), "drop HUP": ("--rewrite", "1:0")},
    ),
    Init("catatonit", ("catatonit",), {}),
    # What s6-overlay does with a container's command: one supervised service, whose end ends the container.
    Init("s6", (str(Path(__file__).parent.parent / "children" / "under-s6"),), {}),
)


def is_installed(init: Init) -> bool:
    """Return whether the program is there."""
    wanted = "s6-svscan" if init.name == "s6" else init.command[0]
    return shutil.which(wanted) is not None


class Running:
    """A started init: `pid` is the init's own, as this side sees it."""

    def __init__(self, process: subprocess.Popen[bytes], pid: int) -> None:
        self.process = process
        self.pid = pid
        self._rest = b""

    def send(self, number: int) -> None:
        """Send a signal to the init."""
        os.kill(self.pid, number)

    def line(self, seconds: float | None = None) -> str:
        """Return the next line of its stdout, "" at the end.

        Raises:
            TimeoutError: nothing came.
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + (DEADLINE_SECONDS if seconds is None else seconds)
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"no line came, only {self._rest!r}")
            block = os.read(self.process.stdout.fileno(), 65536)
            if not block:
                break
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def end(self, seconds: float | None = None) -> int:
        """Return the init's exit code.

        Raises:
            TimeoutError: it does not end.
        """
        try:
            return self.process.wait(DEADLINE_SECONDS if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError("it does not end") from None

    def children(self) -> list[int]:
        """Return the pids of the init's children."""
        return children_of(self.pid)


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children, zombies included."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def status_of(pid: int) -> dict[str, str]:
    """Return the lines of /proc/PID/status by name; empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def until(condition: Callable[[], bool], seconds: float | None = None) -> bool:
    """Return whether *condition* became true in time; the kernel tells nobody when /proc changes."""
    deadline = time.monotonic() + (DEADLINE_SECONDS if seconds is None else seconds)
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def settles(pid: int) -> bool:
    """Return whether *pid* comes to rest: for half a second it sleeps, and nothing wakes it up."""

    def rests() -> bool:
        before = _wakings(pid)
        time.sleep(0.5)  # nothing is to happen: there is no event to wait for
        return before is not None and before == _wakings(pid)

    return until(rests)


def _wakings(pid: int) -> str | None:
    status = status_of(pid)
    return status["voluntary_ctxt_switches"] if status.get("State", "Z")[0] == "S" else None


@contextlib.contextmanager
def running(
    argv: Sequence[str | bytes],
    *,
    env: Mapping[str, str] | None = None,
    is_pid_1: bool = True,
    preexec: Callable[[], None] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    cwd: Path | str = "/",
) -> Iterator[Running]:
    """Start *argv* as PID 1 of a PID namespace of its own (or, for *is_pid_1* false, as an ordinary process in one)."""
    wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if not is_pid_1:
        wrapper += ["sh", "-c", '"$@" & wait $!', "sh"]
    process = subprocess.Popen(
        [*wrapper, *argv],
        env={"PATH": os.defpath + ":/usr/sbin", **(env or {})},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=preexec,
        pass_fds=pass_fds,
        cwd=cwd,
    )
    first = -1
    try:
        pid = _only_child(process, process.pid)
        with contextlib.suppress(ProcessLookupError):  # it may be over already
            first = os.pidfd_open(pid)
        if not is_pid_1:
            pid = _only_child(process, pid)
        yield Running(process, pid)
    finally:
        # The kernel forgets --kill-child when the child's credentials change (prctl(2)).
        if first >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            os.close(first)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream is not None:
                stream.close()


def _only_child(process: subprocess.Popen[bytes], parent: int) -> int:
    found: list[int] = []

    def has_child() -> bool:
        found[:] = children_of(parent)
        return bool(found) or process.poll() is not None

    until(has_child)
    return found[0] if found else NOBODY


_C_LIBRARYS_OWN = 32  # the first real-time signal: no program blocks it, but the C library blocks all


def is_armed(pid: int) -> bool:
    """Return whether *pid* is the init by now, and blocks TERM or will hear it otherwise: no longer lost on a PID 1."""
    status = status_of(pid)
    if status.get("Name", "unshare") == "unshare":
        return False
    blocked, caught = (int(status.get(name, "0"), 16) for name in ("SigBlk", "SigCgt"))
    if blocked & 1 << (_C_LIBRARYS_OWN - 1):
        return False  # the C library's own moment, as when Python 3.13 starts
    bit = 1 << (signal.SIGTERM - 1)
    # While it sleeps in sigwait(3), /proc shows nothing as blocked; but then it has started the service.
    return bool((blocked | caught) & bit) or bool(children_of(pid))


def ours(form: str, request: pytest.FixtureRequest, folder: Path) -> Init:
    """Return our init; secrets and schema of the machine do not count."""
    for program in ("unshare", "setpriv", "strace"):
        if shutil.which(program) is None:
            cannot_run(f"there is no {program} here")
    for parent in (folder, *folder.parents):
        if str(parent).startswith("/tmp/") and parent.stat().st_uid == 0:
            parent.chmod(0o755)
    (folder / "root").mkdir(exist_ok=True)
    return Init(form, (*command_of(form, request), "--init", "--secrets-dir", str(folder / "root")), OURS)
