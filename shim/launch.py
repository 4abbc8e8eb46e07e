"""The last step: find the program on the service's PATH and become it. No shell, ever; argv passes untouched."""

from shim import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.not_started import CannotStart

# What execvp(3) and the engines assume when an image sets no PATH.
DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ENOENT, _EACCES, _ENOTDIR = 2, 13, 20


def candidates(program: bytes, environment: list[bytes]) -> list[bytes]:
    """Return the paths to try for *program*, as execvp(3) does with the PATH of *environment*."""
    if b"/" in program:
        return [program]
    return [(folder + b"/" if folder else b"./") + program for folder in search_path(environment).split(b":")]


def search_path(environment: list[bytes]) -> bytes:
    """Return the PATH of *environment*, or what stands in for it."""
    for entry in environment:
        if entry.startswith(b"PATH="):
            return entry[5:]
    return DEFAULT_PATH


def execute(argv: list[bytes], environment: list[bytes]) -> "CannotStart":
    """Become *argv*; return only when that is impossible, with the reason.

    Signal mask and dispositions are put back as they were handed to the shim just before.
    """
    denied = b""
    paths = candidates(argv[0], environment)
    for path in paths:
        try:
            kernel.execve(path, argv, environment)
        except OSError as error:
            if error.errno == _EACCES:
                denied = denied or path
            elif error.errno not in (_ENOENT, _ENOTDIR):
                from shim import not_started

                return not_started.failed(argv[0], path, error)
    from shim import not_started

    return not_started.denied(argv[0], denied) if denied else not_started.absent(argv[0], paths, environment)
