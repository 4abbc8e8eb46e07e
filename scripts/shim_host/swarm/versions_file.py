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
    try:
        lines = read_bounded(path).decode("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise failed_file("read", str(path), error if isinstance(error, OSError) else OSError(str(error))) from None
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name.strip(): int(number) for name, _, number in pairs if number.strip().isdecimal() and len(number) < 10}


def write(path: Path, versions: Mapping[str, int]) -> None:
    """Make the file at *path* hold *versions* (by key), in one step; lines of other keys stay.

    Raises:
        Failed: it cannot be written.
    """
    kept = {**read(path), **{variable(key): version for key, version in versions.items()}}
    stack = path.name.removeprefix("secrets.").removesuffix("lock.env").rstrip(".") or "NAME"
    text = _HEADER.format(name=path.name, stack=stack) + "".join(
        f"{name}={version}\n" for name, version in sorted(kept.items())
    )
    write_whole(path, text.encode(), 0o644)
    try:
        os.chmod(path, 0o644)  # whatever the umask says: it holds no value, and colleagues deploy with it
    except OSError as error:
        raise failed_file("write", str(path), error) from None
