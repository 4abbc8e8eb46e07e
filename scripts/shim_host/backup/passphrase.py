"""A passphrase: typed without echo, or read from a file or stdin; never an argument."""

import os
import stat
import sys
from pathlib import Path

from shim.secret import Secret, clean
from shim_host import inputs, output
from shim_host.errors import Refused, failed_file
from shim_host.shell import quoted

STDIN = "-"
_FEWEST_DIFFERENT = 4
SHORTEST = 12  # characters; whoever has the file may try as long as they like
_MAX_BYTES = 4096


def read(source: str) -> Secret:
    """Return the passphrase in the file *source*, `-` for stdin: one line, its line end dropped.

    Raises:
        Refused: it is empty, or more than one line.
        Failed: it cannot be read.
    """
    try:
        if source == STDIN:
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
                _warn_of_readers(Path(source), os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        hint = "name the file that holds the passphrase, or - for stdin"
        raise Refused("--passphrase-file names a file that does not exist", hint) from None
    except OSError as error:
        raise failed_file("read", source, error) from None
    shown = "stdin" if source == STDIN else source
    value = clean(data)
    if not value:
        raise Refused(f"there is no passphrase in {shown}")
    if len(data) > _MAX_BYTES or set(value) & set(b"\n\r\0"):
        raise Refused(f"the passphrase in {shown} is not one line", "write one line of text")
    return Secret(value)


def refuse_weak(secret: Secret) -> None:
    """Refuse to seal a backup with what can be guessed.

    Raises:
        Refused: it is short, or one character over and over.
    """
    value = secret.reveal()
    is_short = len(value.decode("utf-8", "replace")) < SHORTEST
    if is_short or len(set(value)) < _FEWEST_DIFFERENT:
        what = f"is shorter than {SHORTEST} characters" if is_short else "repeats a few characters"
        hint = "use five random words, or keys (--recipient); --weak-passphrase accepts it anyway"
        raise Refused(f"the passphrase {what}: whoever gets the backup can guess it", hint)


def warn_of_cheap_tries(work: int, enough: int) -> None:
    """Warn if *work*, as each one more is twice as much, makes a passphrase cheaper to try than what is *enough*."""
    if work < enough:
        faster = 1 << (enough - work)
        hint = "export it again when it is less busy, or on a faster machine; or encrypt it to keys: --recipient"
        output.warn(
            f"this machine is slow or busy: passphrases of the backup can be tried {faster} times as fast", hint
        )


def ask(*, twice: bool) -> Secret:
    """Return the passphrase that the person at the terminal types, unseen.

    Raises:
        Refused: there is no terminal.
    """
    if not can_ask():
        raise Refused(
            "a passphrase is needed, and there is no terminal to ask for it", "give it with --passphrase-file"
        )
    return inputs.typed("passphrase", twice=twice)


def can_ask() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty()


def _warn_of_readers(path: Path, mode: int) -> None:
    if sys.platform != "win32" and stat.S_ISREG(mode) and mode & 0o077:
        output.warn(f"{path} can be read by others (mode {stat.S_IMODE(mode):04o})", f"chmod 600 {quoted(str(path))}")
