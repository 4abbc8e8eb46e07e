"""What is expected of a PID 1: one function a row of docs/PID1.md, which runs against any init and says if it does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.pid1 import (
    DEADLINE_SECONDS,
    Init,
    Running,
    children_of,
    is_armed,
    running,
    settles,
    status_of,
    until,
)

RT = signal.SIGRTMIN + 3
_ENOUGH_LOST = 3
CANNOT_BE_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}


class Behaviour(NamedTuple):
    """One row: what it says, and how to find out."""

    title: str
    test: Callable[[Init, str, Path], bool]


BEHAVIOURS: list[Behaviour] = []


def row(title: str) -> Callable[[Callable[[Init, str, Path], bool]], Callable[[Init, str, Path], bool]]:
    """Make a function a row of the comparison."""

    def add(test: Callable[[Init, str, Path], bool]) -> Callable[[Init, str, Path], bool]:
        BEHAVIOURS.append(Behaviour(title, test))
        return test

    return add


def _code(argv: list[str], *, is_pid_1: bool = True, preexec: Callable[[], None] | None = None) -> int:
    with running(argv, preexec=preexec, is_pid_1=is_pid_1) as init:
        return init.end()


# --- ends -----------------------------------------------------------------------------------------------------------


@row("the exit code is the service's")
def exit_code(init: Init, service: str, tmp_path: Path) -> bool:
    return _code(init.argv("sh", "-c", "exit 7")) == 7


@row("a service ended by signal N gives 128+N")
def ended_by_a_signal(init: Init, service: str, tmp_path: Path) -> bool:
    return _code(init.argv("sh", "-c", "kill -USR1 $$")) == 128 + signal.SIGUSR1


@row("127 for a command that is not found, 126 for one that cannot be executed")
def exec_failure(init: Init, service: str, tmp_path: Path) -> bool:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    return _code(init.argv("no-such-command")) == 127 and _code(init.argv(str(plain))) == 126


@row("exit codes can be rewritten (143 as 0)")
def exit_as(init: Init, service: str, tmp_path: Path) -> bool:
    return _code(init.argv("sh", "-c", "kill -TERM $$", asks=["exit 143 as 0"])) == 0


# --- signals --------------------------------------------------------------------------------------------------------


def _ready(init: Running) -> None:
    assert init.line() == "ready"


@row("every signal that can be forwarded is, ABRT and SEGV sent by kill too")
def forwards_all(init: Init, service: str, tmp_path: Path) -> bool:
    wanted = [number for number in range(1, 32) if number not in CANNOT_BE_FORWARDED]
    with running(init.argv(service, "signals")) as run:
        _ready(run)
        # Each by itself: a pending CONT removes a pending TSTP, and the other way round.
        for number in wanted:
            run.send(number)
            if int(run.line().split()[0]) != number:
                return False
            if number == signal.SIGUSR2:
                break
        return True


@row("real-time signals are counted one by one")
def counts_real_time_signals(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "signals")) as run:
        _ready(run)
        for _ in range(200):
            run.send(RT)
        heard = [int(run.line().split()[0]) for _ in range(200)]
        return heard.count(RT) == 200


@row("a signal's value (sigqueue) is kept")
def keeps_values(init: Init, service: str, tmp_path: Path) -> bool:
    import ctypes

    with running(init.argv(service, "signals")) as run:
        _ready(run)
        assert ctypes.CDLL(None).sigqueue(run.pid, int(RT), ctypes.c_void_p(4711)) == 0
        return run.line() == f"{int(RT)} 4711"


@row("a signal can be sent as another one (TERM as QUIT)")
def rewrites(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "signals", asks=["rewrite TERM to QUIT"])) as run:
        _ready(run)
        run.send(signal.SIGTERM)
        return run.line().split()[0] == str(int(signal.SIGQUIT))


@row("a signal can be dropped")
def drops(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "signals", asks=["drop HUP"])) as run:
        _ready(run)
        run.send(signal.SIGHUP)
        run.send(signal.SIGUSR1)
        return run.line().split()[0] == str(int(signal.SIGUSR1))


@row("signals can go to the service's whole group")
def signals_the_group(init: Init, service: str, tmp_path: Path) -> bool:
    argv = init.argv("sh", "-c", f"trap : TERM; {service} signals & {service} stubborn", asks=["group"])
    with running(argv) as run:
        _ready(run)
        _ready(run)
        run.send(signal.SIGTERM)
        return run.line().split()[0] == str(int(signal.SIGTERM))


@row("a TERM between the arming and the service's start is not lost (150 moments)")
def early_signals(init: Init, service: str, tmp_path: Path) -> bool:
    return lost_early_signals(init, service, 15 if init.name == "module" else 150) == 0


def lost_early_signals(init: Init, service: str, count: int, asks: tuple[str, ...] = ()) -> int:
    """Return how many of *count* TERMs were lost, each sent a little later after the arming than the one before."""
    lost = 0
    for at in range(count):
        with running(init.argv(service, "plain", asks=asks)) as run:
            while not is_armed(run.pid):  # an event that the kernel announces to nobody
                if run.process.poll() is not None:
                    break
            moment = time.perf_counter() + 0.012 * at / count
            while time.perf_counter() < moment:
                pass
            run.send(signal.SIGTERM)
            try:
                assert run.end() == 128 + signal.SIGTERM
            except TimeoutError:
                lost += 1
                if lost == _ENOUGH_LOST:
                    break
    return lost


@row("the same with signals to the group")
def early_group_signals(init: Init, service: str, tmp_path: Path) -> bool:
    return lost_early_signals(init, service, 15 if init.name == "module" else 150, ("group",)) == 0


@row("a service that may not be signalled (EPERM) does not end the init")
def tolerates_eperm(init: Init, service: str, tmp_path: Path) -> bool:
    rooted = tmp_path / "rooted"
    shutil.copy(service, rooted)
    rooted.chmod(0o4755)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *init.argv(str(rooted), "signals")]
    with running(argv) as run:
        _ready(run)
        run.send(signal.SIGHUP)
        run.send(signal.SIGTERM)
        time.sleep(0.2)  # nothing is to happen: there is no event to wait for
        if run.process.poll() is not None or not run.children():
            return False
        os.kill(run.children()[0], signal.SIGUSR2)
        return run.end() == 42


# --- what the service is handed -------------------------------------------------------------------------------------


def _service_status(init: Init, preexec: Callable[[], None] | None = None) -> dict[str, str]:
    with running(init.argv("cat", "/proc/self/status"), preexec=preexec) as run:
        assert run.process.stdout is not None
        text = run.process.stdout.read().decode()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@row("ignored and blocked signals reach the service as they were inherited")
def keeps_dispositions(init: Init, service: str, tmp_path: Path) -> bool:
    def arrange() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})

    status = _service_status(init, arrange)
    ignored, blocked = int(status["SigIgn"], 16), int(status["SigBlk"], 16)
    wanted = 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGUSR1 - 1)
    return ignored & 0x7FFFFFFF == wanted and blocked == 1 << (signal.SIGWINCH - 1)


@row("nothing is blocked or ignored that was not (TSTP, TTIN, TTOU…)")
def adds_no_dispositions(init: Init, service: str, tmp_path: Path) -> bool:
    def arrange() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    status = _service_status(init, arrange)
    return int(status["SigIgn"], 16) == 0 and int(status["SigBlk"], 16) == 0


@row("an inherited ignored SIGCHLD does not keep it from seeing the end")
def ignored_sigchld(init: Init, service: str, tmp_path: Path) -> bool:
    return _code(["env", "--ignore-signal=CHLD", *init.argv("sh", "-c", "exit 7")]) == 7


@row("starts and ends with descriptors 0, 1 and 2 closed")
def closed_stdio(init: Init, service: str, tmp_path: Path) -> bool:
    argv = init.argv("sh", "-c", "exit 7")
    return all(
        _code(["sh", "-c", f'exec "$@" {closed}', "sh", *argv]) == 7
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")
    )


@row("descriptors from 3 up reach the service, and the init keeps none")
def passes_descriptors(init: Init, service: str, tmp_path: Path) -> bool:
    reader, writer = os.pipe()
    try:
        with running(
            init.argv("bash", "-c", f"echo hello >&{writer}; echo ready; read x"), pass_fds=[writer], stdin=-1
        ) as run:
            _ready(run)
            os.close(writer)
            writer = -1
            if os.read(reader, 100) != b"hello\n":
                return False
            # The service may say that it is ready before the init goes on after the fork.
            return until(lambda: not [name for name in os.listdir(f"/proc/{run.pid}/fd") if int(name) > 2])
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


@row("the service leads a process group of its own, in the session it was started in")
def own_group_same_session(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "plain")) as run:
        _ready(run)
        pid = next(iter(run.children()), 0)
        return bool(pid) and os.getpgid(pid) == pid and os.getsid(pid) == os.getsid(run.pid)


@row("a service can become another user")
def becomes_another_user(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv("id", "-un", asks=["become nobody"])) as run:
        return run.line() == "nobody"


# --- descendants ----------------------------------------------------------------------------------------------------


@row("adopted orphans are reaped")
def reaps(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "orphans", "50")) as run:
        _ready(run)
        # Numbers start again for the machine, and not in a namespace of so few.
        main = min(services_below(run.pid), key=_number_inside)
        os.kill(main, signal.SIGUSR1)
        return until(lambda: len(_all_below(run.pid)) <= (1 if main in children_of(run.pid) else 3))


def _all_below(pid: int) -> list[int]:
    found = children_of(pid)
    for child in list(found):
        found += _all_below(child)
    return found


def services_below(pid: int) -> list[int]:
    return [below for below in _all_below(pid) if status_of(below).get("Name") == "service"]


def _number_inside(pid: int) -> int:
    return int(status_of(pid).get("NSpid", "0").split()[-1])


@row("a grace period, then KILL")
def grace(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "stubborn", asks=["grace of half a second"])) as run:
        _ready(run)
        started = time.monotonic()
        run.send(signal.SIGTERM)
        return run.end() == 137 and time.monotonic() - started > 0.4


@row("a second stop signal ends the grace period")
def second_stop(init: Init, service: str, tmp_path: Path) -> bool:
    with running(init.argv(service, "stubborn", asks=["grace of a minute"])) as run:
        _ready(run)
        run.send(signal.SIGTERM)
        assert until(lambda: not int(status_of(run.pid).get("ShdPnd", "0"), 16))
        run.send(signal.SIGTERM)
        return run.end() == 137


@row("can wait until every descendant has ended, daemons in sessions of their own too")
def waits_for_all(init: Init, service: str, tmp_path: Path) -> bool:
    argv = init.argv(service, "remains", "3", asks=["wait for all"])
    with running(argv, is_pid_1=False) as run:
        _ready(run)
        started = time.monotonic()
        code = run.end()
        return code in (0, 5) and time.monotonic() - started > 0.4


@row("adopts orphans when it is not PID 1, unasked")
def subreaper_by_itself(init: Init, service: str, tmp_path: Path) -> bool:
    return _adopts(init.argv(service, "orphans", "2", asks=[]))


@row("adopts orphans when it is not PID 1, when asked")
def subreaper(init: Init, service: str, tmp_path: Path) -> bool:
    return _adopts(init.argv(service, "orphans", "2", asks=["subreaper"]))


def _adopts(argv: list[str]) -> bool:
    with running(argv, is_pid_1=False) as run:
        _ready(run)
        return until(lambda: len(run.children()) == 3)


@row("the service ends with the init's parent")
def parent_death(init: Init, service: str, tmp_path: Path) -> bool:
    argv = init.argv(service, "plain", asks=["die with the parent"])
    with running(
        ["sh", "-c", '"$@" & echo $! >pid; wait', "sh", "sh", "-c", '"$@" & wait', "sh", *argv], cwd=tmp_path
    ) as run:
        _ready(run)
        parent = run.children()[0]
        below = _all_below(parent)
        os.kill(parent, signal.SIGKILL)
        return until(lambda: not any(status_of(pid).get("State", "Z")[0] not in "ZX" for pid in below))


# --- terminals ------------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal whose session leader runs *argv*; what a person at it would do."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir("/")
                os.environ.update({"PS1": "shell$ ", "TERM": "dumb", "HISTFILE": ""})
                os.execvp(argv[0], argv)
            finally:
                os._exit(99)
        self.seen = ""

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.master, keys.encode())

    def shows(self, text: str, seconds: float = DEADLINE_SECONDS) -> bool:
        """Return whether *text* appears, behind what was waited for before."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                return False
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return text in self.seen
        self.seen = self.seen.split(text, 1)[1]
        return True

    def resize(self, rows: int, columns: int) -> None:
        """Change the window."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Hang up, and end what is left of the session."""
        os.close(self.master)
        for pid in [*_all_below(self.pid), self.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def terminal(*argv: str) -> Iterator[Terminal]:
    """Give a terminal of its own to *argv*, in a PID namespace of its own."""
    it = Terminal(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv])
    try:
        yield it
    finally:
        it.close()


def _quoted(argv: list[str]) -> str:
    import shlex

    return " ".join(map(shlex.quote, argv))


@contextlib.contextmanager
def shell() -> Iterator[Terminal]:
    """Give an interactive shell with job control."""
    with terminal("bash", "--norc", "--noprofile", "-i") as it:
        assert it.shows("shell$ ")
        yield it


@row("Ctrl-C reaches the service, which has the terminal")
def interrupts(init: Init, service: str, tmp_path: Path) -> bool:
    with shell() as it:
        it.type(
            _quoted(init.argv("sh", "-c", 'trap "echo heard; exit 3" INT; echo up; while :; do read x; done')) + "\n"
        )
        if not (it.shows("up\r\n")):
            return False
        it.type("\x03")
        if not it.shows("heard"):
            return False
        it.type("echo code $?\n")
        return it.shows("code 3")


@row("Ctrl-Z stops both, fg continues both")
def stops_and_continues(init: Init, service: str, tmp_path: Path) -> bool:
    with shell() as it:
        it.type(_quoted(init.argv("sh", "-c", "echo up; read x; echo got $x")) + "\n")
        if not it.shows("up\r\n"):
            return False
        it.type("\x1a")
        if not it.shows("Stopped"):
            return False
        it.type("fg\n")
        it.type("word\n")
        return it.shows("got word")


@row("in the background it leaves the terminal to the shell; reading stops it, fg continues it")
def background(init: Init, service: str, tmp_path: Path) -> bool:
    with shell() as it:
        it.type(_quoted(init.argv("sh", "-c", "echo up; read x; echo got $x")) + " &\n")
        if not it.shows("up\r\n"):
            return False
        it.type("echo shell still here\n")
        if not it.shows("here\r\n") or not it.shows("here\r\n"):
            return False
        for _ in range(50):  # the shell tells of it with its next prompt
            it.type("\n")
            if it.shows("Stopped", 0.2):
                break
        else:
            return False
        it.type("fg\n")
        it.type("word\n")
        return it.shows("got word")


@row("/dev/tty works when stdin is not the terminal")
def terminal_beside_stdin(init: Init, service: str, tmp_path: Path) -> bool:
    with shell() as it:
        child = init.argv("sh", "-c", "echo up; read x </dev/tty; echo got $x")
        it.type("echo data | " + _quoted(child) + "\n")
        if not it.shows("up\r\n"):
            return False
        it.type("word\n")
        return it.shows("got word")


@row("the service hears of a new window size")
def window_size(init: Init, service: str, tmp_path: Path) -> bool:
    child = 'trap "stty size; echo resized" WINCH; echo up; while :; do sleep 0.05; done'
    with terminal("setsid", "-c", "-w", *init.argv("sh", "-c", child)) as it:
        if not it.shows("up"):
            return False
        it.resize(33, 77)
        return it.shows("33 77")


@row("the terminal is the caller's again afterwards")
def gives_the_terminal_back(init: Init, service: str, tmp_path: Path) -> bool:
    with shell() as it:
        it.type(f"sh -c '{_quoted(init.argv('true'))}; read x && echo got $x; echo end'\n")
        it.type("word\n")
        return it.shows("got word")


# --- rest -----------------------------------------------------------------------------------------------------------


@row("nothing wakes it up while nothing happens (2.5 s)")
def sleeps(init: Init, service: str, tmp_path: Path) -> bool:
    return wake_ups(init, service, 2.5) == 0


def wake_ups(init: Init, service: str, seconds: float) -> int:
    """Return how many system calls PID 1 makes in that time."""
    with running(init.argv(service, "plain")) as run:
        _ready(run)
        settles(run.pid)
        traced = subprocess.run(
            ["timeout", "-s", "INT", str(seconds), "strace", "-q", "-p", str(run.pid)], capture_output=True, check=False
        )
        # The call it sleeps in is shown when tracing starts; strace's own coming and going restarts it.
        lines = [line for line in traced.stderr.decode().splitlines() if line and not line.startswith("strace:")]
        return len([line for line in lines if "<detached ...>" not in line and "resumed" not in line])


@row("runs without /proc")
def without_proc(init: Init, service: str, tmp_path: Path) -> bool:
    argv = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs none /proc && exec "$@"',
        "sh",
        *init.argv("sh", "-c", "exit 7"),
    ]
    return _code(argv) == 7
