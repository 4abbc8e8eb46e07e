"""The file a backup is in: told by its first bytes, read whole, written whole or not at all."""

import os
import stat
import sys
from pathlib import Path

from shim_host.errors import Refused, failed_file
from shim_host.files import write_whole

MAX_BYTES = 1024 * 1024 * 1024
STDIO = "-"
_AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_GPG = b"-----BEGIN PGP MESSAGE-----"
# What an encrypted message begins with: a session key, for a public key or a passphrase (RFC 9580, sections 4.2 and 5).
_GPG_PACKETS = frozenset([0x84, 0x85, 0x86, 0x8C, 0x8D, 0x8E, 0xC1, 0xC3])


def kind_of(sealed: bytes) -> str:
    """Return what seals *sealed*: `age` or `gpg`.

    Raises:
        Refused: neither does.
    """
    hint = "import what export wrote"
    start = sealed[:64].lstrip()
    if not start:
        raise Refused("it is empty", "take another copy of the backup")
    if start.startswith(_AGE):
        return "age"
    if start.startswith(_GPG) or start[0] in _GPG_PACKETS:
        return "gpg"
    if start.startswith(b"{"):
        raise Refused("it is plain JSON, and a backup is encrypted", hint)
    raise Refused("it is not a backup: neither GPG nor age encrypted it", hint)


def read(path: str) -> bytes:
    """Return the bytes of the file at *path*; `-` is stdin.

    Raises:
        Refused: it is not there, no file, or far too large.
        Failed: it cannot be read.
    """
    is_large = False
    try:
        if path == STDIO:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                # Nothing is read of what is too large, unless it does not say so (a pipe).
                size = os.fstat(file.fileno()).st_size
                data = b"" if (is_large := size > MAX_BYTES) else file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Refused(f"there is no {path}", "name the file that export wrote, or - for stdin") from None
    except IsADirectoryError:
        raise Refused(f"{path} is a folder", "name the file that export wrote") from None
    except OSError as error:
        raise failed_file("read", path, error) from None
    if is_large or len(data) > MAX_BYTES:
        raise Refused(f"{path} is larger than any backup", "name the file that export wrote")
    return data


def check_place(path: str, secrets_dir: Path, *, force: bool) -> None:
    """See that a backup may be written at *path*, before the work begins.

    Raises:
        Refused: something is there, or the folder is not, or it lies among the secrets.
    """
    place = Path(path)
    if place.parent.resolve() == secrets_dir.resolve():
        raise Refused(f"{path} would be in the folder of secrets, and count as one", "write it to another folder")
    if not place.parent.is_dir():
        raise Refused(f"there is no folder {place.parent}", "create it, or write to another place")
    try:
        there = place.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise failed_file("look at", path, error) from None
    if not stat.S_ISREG(there.st_mode):
        raise Refused(f"{path} is not a regular file, and is left alone", "name another, or - for stdout")
    if not force:
        raise Refused(f"{path} already exists", "name another, or replace it with --force")


def write(path: str, data: bytes) -> None:
    """Make the file at *path* hold *data*, for its owner only; a kill at any moment leaves the old file or the new.

    Raises:
        Failed: the file system does not take it; what was there is as it was.
    """
    write_whole(Path(path), data, 0o600, shown=path)
