"""The signal of our parent's death, which the kernel forgets whenever we act as another user (prctl(2))."""

import posix

from shim import kernel

_PR_SET_PDEATHSIG = 1

_number = 0
_parent = 0


def ask_for(number: int) -> None:
    """Have the kernel send us signal *number* when our parent dies."""
    global _number, _parent
    _number, _parent = number, posix.getppid()
    ask_again()


def ask_again() -> None:
    """Ask for the same once more; a parent that has died meanwhile is heard of, too."""
    if _number:
        kernel.prctl(_PR_SET_PDEATHSIG, _number)
        if posix.getppid() != _parent:
            posix.kill(posix.getpid(), _number)
