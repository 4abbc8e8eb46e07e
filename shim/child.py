"""A child from fork to exec: its own process group, the terminal, another user; signals as they were handed to us.

Everything stays blocked between fork and exec, so that a signal sent in between still finds the child.
"""

import posix

from shim import kernel
from shim.errors import WORLD, Refused
from shim.launch import candidates, execute, restrict
from shim.signals import CHLD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from shim.options import Options
    from shim.user import Target

    class Birth(Protocol):
        """What every child of an init gets, however often one is started. It is the init itself: a class takes long."""

        options: Options
        target: "Target | None"  # whom it becomes; None where --user asks for nobody, or cannot have them
        changes_user: bool  # not for what runs before the service, as who we are
        ignores_children: bool  # SIGCHLD was handed to us as ignored
        parent_death: int

    class Extra(Protocol):
        """What only some children need; the init calls these in this order."""

        makes_session: bool  # a child with a terminal of its own leads a session, and so a process group

        def prepare(self) -> None:
            """Make ready, before the fork."""

        def arrange(self) -> None:
            """Arrange the child's descriptors, in the child, while it is still what the init is."""

        def begin(self, pid: int, /) -> None:
            """Go on in the init after the fork."""

        def descriptors(self) -> list[int]:
            """Return what must stay open in the init."""
            ...

        def pause(self) -> None:
            """Get ready to be stopped by the terminal."""

        def resume(self) -> None:
            """Go on after that."""

        def finish(self) -> None:
            """Take what the child has left behind, once it has ended."""

        def is_busy(self) -> bool:
            """Return whether there is something to be done before the init ends."""
            ...

        def end(self) -> None:
            """Let go of everything."""


_PR_SET_PDEATHSIG = 1
_LAST_DESCRIPTOR = 0xFFFFFFFF
# They name the process that systemd means (sd_listen_fds(3), sd_watchdog_enabled(3)); across a fork that is another.
_PID_VARIABLES = (b"LISTEN_PID=", b"WATCHDOG_PID=")


def spawn(
    argv: list[bytes],
    environment: list[bytes],
    birth: "Birth",
    terminal: int,
    extras: "list[Extra]",
) -> int:
    """Start *argv* and return its pid; the child leads a process group of its own, which exists on return.

    Args:
        argv: what to run.
        environment: all of its variables, `KEY=value` each.
        birth: what every child gets.
        terminal: the terminal whose foreground the child becomes; -1 when there is none, or it is another's turn.
        extras: what this child needs arranged.

    Raises:
        Refused: the kernel starts no process. That exec failed is the child's exit code, and it says so itself.
    """
    parent = posix.getpid()
    try:
        pid = _spawn_plain(argv, environment, birth) if terminal < 0 and not extras else 0
        if pid:
            return pid
        pid = posix.fork()
    except OSError as error:
        from shim.breaches import Retryable

        message = f"cannot start a process: {error.strerror}"
        raise Refused([Retryable("", message, "raise the container's pids or memory limit")]) from None
    if pid == 0:
        _become(argv, environment, birth, terminal, parent, extras)
    try:
        if not any(extra.makes_session for extra in extras):
            posix.setpgid(pid, pid)  # here too: whoever is first, no signal to the group comes before it exists
    except OSError as error:
        if error.errno not in (3, 13):  # it has ended, or is past exec and did it itself
            raise
    return pid


def _spawn_plain(argv: list[bytes], environment: list[bytes], birth: "Birth") -> int:
    """Start a child that needs nothing arranged, the quick way; return 0 when it does, or cannot be executed."""
    options = birth.options
    if (options.user and birth.changes_user) or options.no_core or options.no_new_privs or birth.parent_death:
        return 0
    return kernel.spawn(candidates(argv[0], environment), argv, environment, birth.ignores_children)


def _become(
    argv: list[bytes],
    environment: list[bytes],
    birth: "Birth",
    terminal: int,
    parent: int,
    extras: "list[Extra]",
) -> None:
    """Turn this new process into *argv*, or end it with the code that says why not."""
    code = WORLD
    try:
        if not any(extra.makes_session for extra in extras):
            posix.setpgid(0, 0)
        if terminal >= 0:
            from shim.terminal import give

            give(terminal, posix.getpid())
        for extra in extras:
            extra.arrange()
        restrict(birth.options, birth.target, parent, birth.changes_user)
        if birth.parent_death:
            kernel.prctl(_PR_SET_PDEATHSIG, birth.parent_death)  # after the change of user, which would clear it
        if birth.ignores_children:
            kernel.set_disposition(CHLD, 1)
        environment = with_pid(environment, parent, posix.getpid())
        kernel.restore_signals()
        raise Refused([execute(argv, environment)])
    except BaseException as error:  # noqa: BLE001  (this process must not return into the init's loop)
        from shim import stderr

        code = stderr.report(error)
    finally:
        posix._exit(code)


def with_pid(environment: list[bytes], before: int, now: int) -> list[bytes]:
    """Return *environment* with the variables that name process *before* naming process *now*."""
    renamed = {b"%s%d" % (name, before): b"%s%d" % (name, now) for name in _PID_VARIABLES}
    return [renamed.get(entry, entry) for entry in environment]


def close_others(kept: list[int]) -> None:
    """Close every descriptor from 3 up but *kept*: they belong to the service, which has them."""
    first = 3
    for descriptor in sorted(descriptor for descriptor in set(kept) if descriptor >= first):
        if descriptor > first:
            kernel.close_range(first, descriptor - 1)
        first = descriptor + 1
    kernel.close_range(first, _LAST_DESCRIPTOR)
