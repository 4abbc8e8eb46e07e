"""What a person hands in: files that are named, the schema, and what is typed unseen."""

import difflib
import errno
import getpass
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from shim.schema import KeySpec, Schema, parse
from shim.secret import Secret
from shim.secret import read_file as read_secret_file
from shim_host import output
from shim_host.errors import Refused, UsageError, failed_file
from shim_host.files import place_to_read

SCHEMA = ".env.schema"
SCHEMA_HEAD = "# What the services of this project need. Values are in ./secrets; this file may be in git.\n"
SECRETS_DIR = "./secrets"


# A Compose file, a `.env` or a schema has some kilobytes; what a program could not finish in a moment is no such file.
MOST_BYTES = 1 << 20
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device"}
# Where a shell puts `<(command)`: a FIFO, but the person's own.
_GIVEN = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


def read_bounded(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the bytes of the file at *path*, which may come from a stranger: a link may lead anywhere.

    Raises:
        OSError: it is not there, cannot be read, is not a file (a device or a FIFO could go on forever), or is larger
            than *most_bytes*.
    """
    if str(path).startswith(_GIVEN):
        with open(path, "rb") as file:
            data = file.read(most_bytes + 1)
    else:
        with place_to_read(path) as place:
            mode, _size, data = read_secret_file(place, most_bytes, True)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
            raise OSError(errno.EINVAL, f"it is {kind}, and reading it could go on forever")
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes >> 10} KiB")
    return data


def read_schema(path: Path | None) -> Schema | None:
    """Return the schema at *path*, or the one at the default place if there is one.

    Raises:
        Refused: it is not there, or has mistakes; all of them are named.
    """
    from shim.errors import Refused as SchemaRefused

    place = path or Path(SCHEMA)
    try:
        return parse(read_bounded(place), str(place))
    except FileNotFoundError:
        if path is None:
            return None
        raise Refused(f"there is no schema {path}") from None
    except OSError as error:
        raise failed_file("read", str(place), error) from None
    except SchemaRefused as refused:
        wrong = [Refused(breach.message, *filter(None, [breach.hint])) for breach in refused.breaches]
        raise Refused.of_all(wrong) from None


def deciding(schema: Schema | None) -> Schema | None:
    """Return *schema* if it decides what is a secret, or None: one that is as `migrate` wrote it only lists some."""
    if schema is None or not Path(schema.source).is_file():
        return schema
    plain = KeySpec("")
    said = ("type", "default", "rotate", "generate", "services", "deliver", "description", "is_required")
    is_own = read_bounded(Path(schema.source)).startswith(SCHEMA_HEAD.encode()) and all(
        spec.sensitive and all(getattr(spec, name) == getattr(plain, name) for name in said)
        for spec in schema.keys.values()
    )
    return None if is_own else schema


def read_file(path: Path) -> bytes:
    """Return the bytes of *path*; `-` is stdin.

    Raises:
        Refused, Failed: it is not there, or cannot be read.
    """
    if str(path) == "-":
        data = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise Refused(f"stdin holds more than {MOST_BYTES} bytes", "mount larger files as volumes")
        return data
    try:
        return read_bounded(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        problem = "is a folder" if isinstance(error, IsADirectoryError) else "does not exist"
        shown = "the file that was named" if "=" in str(path) else path  # KEY=VALUE is not repeated
        raise UsageError(f"{shown} {problem}", "name a file, or - for stdin") from None
    except OSError as error:
        raise failed_file("read", str(path), error) from None


def typed(what: str, *, twice: bool) -> Secret:
    """Return what the person at the terminal types unseen, asked for as *what*; *twice*: until both are the same."""
    while True:
        first = getpass.getpass(f"{output.PROGRAM}: {what}: ", stream=sys.stderr)
        if not first:
            continue
        if not twice or getpass.getpass("Repeat for confirmation: ", stream=sys.stderr) == first:
            return Secret(first.encode("utf-8", "surrogateescape"))
        output.say("these were two different values: type it again")


def did_you_mean(word: str, known: Iterable[str]) -> list[str]:
    """Return the hint that names what of the *known* is spelt like *word*; none when nothing is."""
    by_fold = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_fold, n=3, cutoff=0.75)
    return [f"did you mean {' or '.join(by_fold[name] for name in close)}?"] if close else []
