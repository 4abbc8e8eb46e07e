"""`secrets.lock.env`: which version of each key is in use, for stack files that say `name: x.v${X_VERSION:-1}`.

`docker stack deploy` does not know what a rotation did; with this file in its environment it names the same versions.
Nothing in it is secret, so it belongs into git.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from shim_host.errors import failed_file
from shim_host.files import write_whole
from shim_host.inputs import read_bounded

DEFAULT = "secrets.lock.env"
_HEADER = """\
# Which version of each secret is in use. Written by manage-secrets; commit it.
# Deploy with: set -a; . ./{name}; set +a; docker stack deploy --compose-file docker-compose.swarm.yml {stack}
"""
# A shell reads the file, and people edit it: `export`, quotes and a comment behind the number are theirs.
_ASSIGNMENT = re.compile(r"\s*(?P<export>export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=")
_VERSION = re.compile(_ASSIGNMENT.pattern + r"""(?P<quote>["']?)(?P<number>[0-9]{1,9})(?P=quote)\s*(?:(?<=\s)\#.*)?""")
_OWN_LINES = re.compile("# (?:Which version of each secret is in use|Deploy with: set -a; )")


def default_of(stack: str) -> Path:
    """Return the file of *stack*: two stacks that are deployed from one folder run different versions of equal keys."""
    return Path(f"secrets.{stack}.lock.env" if stack else DEFAULT)


def variable(key: str) -> str:
    """Return the variable that holds the version of *key*."""
    return re.sub(r"[^A-Z0-9_]", "_", key.upper()) + "_VERSION"


def read(path: Path) -> dict[str, int]:
    """Return the versions in the file at *path*, by variable; none when there is no file.

    Raises:
        Failed: it cannot be read.
    """
    return {name: number for name, (_, number) in _read(path)[0].items()}


def _read(path: Path) -> tuple[dict[str, tuple[str, int]], list[str]]:
    """Return the versions, each with what precedes its variable (`export `), and the lines that people added."""
    try:
        lines = read_bounded(path).decode("utf-8").splitlines()
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        raise failed_file("read", str(path), error if isinstance(error, OSError) else OSError(str(error))) from None
    numbers: dict[str, tuple[str, int]] = {}
    others = []
    for line in lines:
        if match := _VERSION.fullmatch(line):
            numbers[match["name"]] = ("export " if match["export"] else "", int(match["number"]))
        elif line.strip() and not _OWN_LINES.match(line):
            others.append(line)
    return numbers, others


def write(path: Path, versions: Mapping[str, int]) -> None:
    """Make the file at *path* hold *versions* (by key), in one step; lines of other keys, and of people, stay.

    Raises:
        Failed: it cannot be written.
    """
    numbers, others = _read(path)
    for key, version in versions.items():
        name = variable(key)
        numbers[name] = (numbers[name][0] if name in numbers else "", version)
    stack = path.name.removeprefix("secrets.").removesuffix("lock.env").rstrip(".") or "NAME"
    kept = [line for line in others if (match := _ASSIGNMENT.match(line)) is None or match["name"] not in numbers]
    own = [f"{export}{name}={number}" for name, (export, number) in sorted(numbers.items())]
    text = _HEADER.format(name=path.name, stack=stack) + "".join(f"{line}\n" for line in (*kept, *own))
    write_whole(path, text.encode(), 0o644)
    try:
        os.chmod(path, 0o644)  # whatever the umask says: it holds no value, and colleagues deploy with it
    except OSError as error:
        raise failed_file("write", str(path), error) from None
