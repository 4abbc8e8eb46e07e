"""Why a program could not be started, in words for the person who must fix it. Loaded only when that happens."""

from shim import kernel
from shim.errors import CHANGE, NOT_EXECUTABLE, NOT_FOUND, WORLD, Breach

_LONG = 6  # a shorter value is part of many a word by chance
_E2BIG, _ENOEXEC, _ENOMEM, _ETXTBSY, _EAGAIN = 7, 8, 12, 26, 11


class CannotStart(Breach):
    """The program cannot be executed; `code` is 126, 127, or what else fits."""

    def __init__(self, code: int, message: str, hint: str) -> None:
        Breach.__init__(self, "", message, hint)
        self.code = code


def absent(program: bytes, paths: list[bytes], search_path: bytes, environment: list[bytes]) -> CannotStart:
    """Return why *program* is at none of the *paths* that were tried: it is not there, or its interpreter is not."""
    if is_secret(program, environment):
        message = "the command begins with a secret's value, and there is no such command"
        return CannotStart(
            NOT_FOUND,
            message,
            "name the program first; the service gets its secrets from its environment, not from arguments",
        )
    for path in paths:
        if _exists(path):  # execve(2) says ENOENT of the interpreter as well
            return _no_interpreter(program, path)
    if b"/" in program:
        hint = "there is no such file in the image"
    else:
        folders = _shown(search_path)
        hint = f"looked in PATH={folders}; the arguments of ENTRYPOINT and CMD must be a JSON list, one word an item"
    return CannotStart(NOT_FOUND, f"{_shown(program)}: command not found", hint)


def is_secret(word: bytes, environment: list[bytes]) -> bool:
    """Return whether *word* is, or holds, a value that *environment* has from the shim: it may not be repeated."""
    given = set(kernel.environ)
    for entry in environment:
        value = entry.partition(b"=")[2]
        if value and entry not in given and (value == word or (len(value) >= _LONG and value in word)):
            return True
    return False


def denied(program: bytes, path: bytes) -> CannotStart:
    """Return why *path* is there and may not be executed."""
    from posix import getuid, stat

    try:
        is_folder = stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        is_folder = False
    if is_folder:
        return CannotStart(NOT_EXECUTABLE, f"{_where(program, path)} is a directory", "name the program in it")
    return CannotStart(
        NOT_EXECUTABLE,
        f"{_where(program, path)} cannot be executed: permission denied",
        f"make it executable for uid {getuid()} (COPY --chmod=0755), its folders too, and not on a noexec mount",
    )


def _where(program: bytes, path: bytes) -> str:
    """Return the command as it was written, and the file that it is if that is another name."""
    return _shown(program) if program == path else f"{_shown(program)}: {_shown(path)}"


def _no_interpreter(program: bytes, path: bytes) -> CannotStart:
    try:
        _, _, head = kernel.read_file(path, 254, True)
    except OSError:  # it may be executed, but not read
        head = b"#!"
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        hint = f"its first line names {_shown(words[0]) if words else 'a program'}, which is not in the image"
        if head.split(b"\n", 1)[0].endswith(b"\r"):
            hint += "; the line ends with a carriage return: save the file with LF line ends"
    else:
        hint = (
            "its dynamic loader is not in the image: was it built for another libc (glibc, musl) or another processor?"
        )
    return CannotStart(NOT_FOUND, f"{_where(program, path)} is there, but its interpreter is not found", hint)


def failed(program: bytes, path: bytes, error: OSError) -> CannotStart:
    """Return what *error* says about *path*: neither that it is missing nor that it is denied."""
    number = error.errno
    if number == _E2BIG:
        return CannotStart(
            CHANGE,
            f"{_shown(program)}: arguments and environment together exceed the kernel's limit (a quarter of the "
            "stack limit, 6 MiB at most)",
            "hand large values over as files (@deliver=file), export fewer keys (--only), or raise the stack limit",
        )
    if number == _ENOEXEC:
        return CannotStart(
            NOT_EXECUTABLE,
            f"{_where(program, path)} is neither a program for this machine nor a script that names its interpreter",
            "give a script a first line such as #!/bin/sh; a program must be built for this processor",
        )
    if number in (_ENOMEM, _EAGAIN):
        hint = "its user has reached the limit of processes (ulimit -u), or memory is short; a retry may help"
        return CannotStart(WORLD, f"{_shown(program)}: cannot be started: {error.strerror}", hint)
    return CannotStart(
        NOT_EXECUTABLE,
        f"{_where(program, path)} cannot be executed: {error.strerror}",
        "another process has the file open for writing; start again once it is closed"
        if number == _ETXTBSY
        else "check the file and the mount that it is on",
    )


def _exists(path: bytes) -> bool:
    from posix import stat

    try:
        return stat(path).st_mode & 0o170000 == 0o100000
    except OSError:
        return False


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")[:256]
