"""The last step: give up what the service must not have, find the program on its PATH and become it. No shell, ever."""

from shim import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.not_started import CannotStart
    from shim.options import Options
    from shim.user import Target

# What execvp(3) and the engines assume when an image sets no PATH.
DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ENOENT, _EACCES, _ENOTDIR = 2, 13, 20
_RLIMIT_CORE = 4
_PR_SET_NO_NEW_PRIVS = 38


def restrict(options: "Options", target: "Target | None", init_pid: int = 0, changes_user: bool = True) -> None:
    """Give up what the service must not have: core files, other users' rights, new privileges."""
    if options.no_core:
        try:
            kernel.setrlimit(_RLIMIT_CORE, 0, 0)
        except OSError as error:
            from shim import cannot_become

            raise cannot_become.forbidden("--no-core", error) from None
    if options.user and changes_user:
        _leave_rights(options, target, init_pid)
    if options.no_new_privs:
        try:
            kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
        except OSError as error:
            from shim import cannot_become

            raise cannot_become.forbidden("--no-new-privs", error) from None


def _leave_rights(options: "Options", target: "Target | None", init_pid: int) -> None:
    """Become the user of --user; where the engine chose another one, that one loses its capabilities all the same."""
    from shim import capabilities

    kept = capabilities.bits(options.keep_caps, [])
    if target is None:
        capabilities.give_up_bounds(kept)
        capabilities.give_up(kept)
        return
    from shim.user import become

    become(target, init_pid, kept)


def candidates(program: bytes, environment: list[bytes]) -> list[bytes]:
    """Return the paths to try for *program*, as execvp(3) does with the PATH of *environment*."""
    if b"/" in program:
        return [program]
    return [(folder + b"/" if folder else b"./") + program for folder in search_path(environment).split(b":")]


def search_path(environment: list[bytes]) -> bytes:
    """Return the PATH of *environment*, or what replaces it."""
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

    return (
        not_started.denied(argv[0], denied)
        if denied
        else not_started.absent(argv[0], paths, search_path(environment), environment)
    )
