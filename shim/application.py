"""For application code: one value, by the same order and the same trimming as at the start of a container.

from shim import get_secret
password = get_secret("DB_PASSWORD", required=True)
"""

import os
import sys
from typing import Literal, overload

from shim.breaches import Directory, Missing, NotOurs, Unreadable
from shim.errors import Breach, Refused
from shim.secret import read_secret
from shim.shown import shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.resolution import Sources


class SecretNotFound(KeyError):
    """A required secret is not there, or cannot be used; the words say where it was looked for, never a value."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Asked:
    """The options of a look-up: one key, the roots of SHIM_SECRETS_DIR."""

    profile = ""

    def __init__(self, key: str) -> None:
        self.require = [key]
        self.file_key: list[str] = []
        self.only: list[str] = []
        self.secrets_dir = [part for part in os.environ.get("SHIM_SECRETS_DIR", "").split(":") if part]


@overload
def get_secret(name: str, required: Literal[True], default: str | None = None) -> str: ...
@overload
def get_secret(name: str, required: bool = False, *, default: str) -> str: ...
@overload
def get_secret(name: str, required: bool, default: str) -> str: ...
@overload
def get_secret(name: str, required: bool = False, default: str | None = None) -> str | None: ...
def get_secret(name: str, required: bool = False, default: str | None = None) -> str | None:
    """Return the value of *name* as text, or *default*.

    The file that `NAME_FILE` points to wins, then a file in $CREDENTIALS_DIRECTORY, /run/secrets or ./secrets
    (`SHIM_SECRETS_DIR` replaces them), then the environment variable, then *default*. An empty file or variable is
    not set. Bytes that are not UTF-8 come as surrogates, as in `os.environ`.

    Args:
        name: the key, e.g. `DB_PASSWORD`.
        required: raise instead of returning *default* when nothing, or an empty value, is there.
        default: what to return when nothing is there, or only empty ones.

    Raises:
        SecretNotFound: it is required and missing, or a file that should hold it cannot be used.
    """
    try:
        value, is_there, looked_at = _looked_up(name)
    except (Breach, Refused) as refusal:
        breach = refusal.breaches[0] if isinstance(refusal, Refused) else refusal
        raise SecretNotFound(f"{breach.message}; {breach.hint}") from None
    if value or (value is not None and default is None and not required):
        return value.decode("utf-8", "surrogateescape")
    if required and default is None:
        is_empty = value == b"" or is_there
        raise SecretNotFound(
            f"{name} is required, and {'is empty' if is_empty else 'nothing provides it'}; looked at {name}, "
            f"{name}_FILE and " + ", ".join(looked_at)
        )
    return default


def read_secret_or_env(name: str, default: str = "") -> str:
    """Return the value of *name* from its file or the environment, or *default*; never raises for a missing one."""
    return get_secret(name) or default


def _looked_up(name: str) -> tuple[bytes | None, bool, list[str]]:
    """Return the value, whether there is a file for it, and the folders that were looked at."""
    if sys.platform != "linux":
        from shim.by_path import Look

        look = Look(name)
        return look.value(), look.is_there, look.roots
    from shim.sources import gather

    environ = [os.fsencode(key) + b"=" + os.fsencode(value) for key, value in os.environ.items()]
    sources = gather(environ, _Asked(name), None)  # type: ignore[arg-type]
    try:
        value = _first(name, sources)
    finally:
        sources.close()
    is_there = name in sources.roots or name in sources.pointers
    return value, is_there, [shown_path(root) for root in sources.looked_at]


def _first(name: str, sources: "Sources") -> bytes | None:
    pointer = sources.pointers.get(name)
    if pointer is not None:
        path, root = pointer
        folder = sources.folders.get(root, -1)
        pointed = read_secret(path, name, root, folder=folder, follow=sources.follows_roots).reveal()
        if pointed:
            return pointed
    value = sources.env.get(name)
    place = sources.roots.get(name)
    try:
        for breach in sources.breaches:
            if breach.key in (name, ""):
                raise breach
        if place is not None:
            path, root = place
            is_guarded = root == sources.guarded
            return read_secret(path, name, root, folder=sources.folders[root], is_guarded=is_guarded).reveal() or value
    except NotOurs:
        return value  # somebody else could have written it
    except (Missing, Unreadable, Directory):
        # The shim read it as root and handed it over, before it became the service's user; or it links to nothing, or
        # the engine made a folder in its place.
        if not value:
            raise
    return value


__all__ = ["SecretNotFound", "get_secret", "read_secret_or_env"]
