"""Names: each key has a file name that is also its mount target, and a versioned name in the Swarm; and back again.

`DB_PASSWORD` is `db_password`. A key that is not all upper-case keeps its spelling. Where that does not do (two keys
differ only by case, which neither Windows nor the Swarm tells apart; the Swarm, Windows or the shim refuses the name),
the first other spelling is taken that the shim's schema maps back to the key: it ignores case and `.`, `-`, `_`.
Where there is none, the name is `k.` and the key written so that it can be read back: `.` switches between upper and
lower case, `-2e` is the byte 0x2e.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

from shim.secret import env_key, fold_keys, is_skipped

SHIM_FOLDER = "/opt/shim"  # in every image
SHIM_PROGRAM = SHIM_FOLDER + "/shim"

# The Swarm takes 64 characters (swarmkit's name rules); a version of up to five digits must fit behind the name.
MAX_SWARM_NAME = 64
MAX_VERSIONED_BASE = MAX_SWARM_NAME - len(".v99999")
MAX_FILE_NAME = 240  # file systems take 255 bytes, and a file that is being written has a longer name
_PORTABLE_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?")
_SERVICE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_PREFIX = "k."
_VERSIONED = re.compile(r"(?P<base>.+)\.v(?P<version>[1-9][0-9]{0,4})")
# What deployments put behind the name of a secret that they create again: a number, a date, part of a digest.
_OF_A_DEPLOYMENT = re.compile(r"[._-](?:v?[0-9][0-9._-]*|(?=[a-f]*[0-9])[0-9a-f]{7,64})", re.IGNORECASE)
# Windows refuses these with any extension (learn.microsoft.com, "Naming Files, Paths, and Namespaces").
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def file_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the file name of each of *keys*; no two are equal, not even when case is ignored.

    Args:
        keys: all that are known, those of the schema first and in its order, since the shim reads it in that order.
    """
    known = dict.fromkeys(keys)
    folded = fold_keys(known)
    taken: set[str] = set()
    names: dict[str, str] = {}
    # A key that is all upper-case comes first, so that its name depends least on the others.
    for key in sorted(known, key=lambda key: (key != key.upper(), key)):
        for name in _spellings(key):
            if _is_taken_everywhere(name) and name.casefold() not in taken and env_key(name, known, folded) == key:
                names[key] = name
                break
        else:
            names[key] = encoded(key)
        taken.add(names[key].casefold())
    return names


def _spellings(key: str) -> Iterator[str]:
    """Yield the names that *key* may have, the one that every reader would guess first."""
    plain = key.lower() if key == key.upper() else key
    yield plain
    yield plain.strip("_.-")
    yield plain.replace("_", "-")
    yield plain.replace("_", ".")
    yield f"{plain[:1]}-{plain[1:]}"
    yield key


def likeliest(key: str, there: Sequence[str]) -> str:
    """Return which of *there*, files that may all be meant by *key*, it would be given first."""
    spellings = list(_spellings(key))
    return min(there, key=lambda name: spellings.index(name) if name in spellings else len(spellings))


def _is_taken_everywhere(name: str) -> bool:
    """Return whether file systems, the Swarm (but for its length) and the shim take *name*."""
    return (
        len(name) <= MAX_FILE_NAME
        and _PORTABLE_NAME.fullmatch(name) is not None
        and not name.lower().startswith(_PREFIX)
        and not is_skipped(name)
        and not _WINDOWS_DEVICE.fullmatch(name)
    )


def file_name(key: str) -> str:
    """Return the file name of *key* where no other key is in its way."""
    return file_names([key])[key]


def key_of(name: str, known: Iterable[str] = ()) -> str:
    """Return the key that the file *name* belongs to; an empty string when it belongs to none.

    Args:
        name: the file's name.
        known: the keys that a schema or a `.env` names, in the order of `file_names`.
    """
    return keys_of([name], known)[name]


def keys_of(names: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """Return the key of each of *names*, as `key_of` does, in one pass."""
    known = dict.fromkeys(known)
    folded = fold_keys(known)
    by_name = {name: key for key, name in file_names(known).items()}
    keys = {}
    for name in names:
        decoded = _decoded(name)
        keys[name] = by_name.get(name) or (env_key(name, known, folded) if decoded is None else decoded)
    return keys


def swarm_base(name: str, stack: str = "") -> str:
    """Return what precedes `.vN` in the Swarm for the file *name*; *stack* keeps equal keys of stacks apart."""
    base = f"{stack}_{name}" if stack else name
    if len(base) <= MAX_VERSIONED_BASE and _PORTABLE_NAME.fullmatch(base):
        return base
    digest = hashlib.sha256(base.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    start = re.sub(r"[^a-zA-Z0-9_.-]", "-", base).strip("_.-")[: MAX_VERSIONED_BASE - len(digest) - 1].rstrip("_.-")
    return f"{start}.{digest}" if start else digest


def swarm_base_apart(name: str, stack: str) -> str:
    """Return another base for the file *name* of *stack*, where another stack's key has the plain one."""
    digest = hashlib.sha256(f"{stack}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{swarm_base(name, stack)[: MAX_VERSIONED_BASE - len(digest) - 1].rstrip('_.-')}.{digest}"


def is_swarm_name(name: str) -> bool:
    """Return whether the Swarm takes *name*."""
    return len(name) <= MAX_SWARM_NAME and _PORTABLE_NAME.fullmatch(name) is not None


def is_stack_name(name: str) -> bool:
    """Return whether a stack can be deployed under *name*, with which its services' names begin."""
    return _SERVICE_NAME.fullmatch(name) is not None


def versioned(base: str, version: int) -> str:
    """Return the Swarm's name of version *version*."""
    return f"{base}.v{version}"


def split_version(name: str) -> tuple[str, int]:
    """Return base and version of a Swarm name; version 0 when it has none."""
    match = _VERSIONED.fullmatch(name)
    return (match["base"], int(match["version"])) if match else (name, 0)


def is_copy(name: str, target: str, stack: str = "") -> bool:
    """Return whether *name* is another one that people and deployments give a secret for *target*.

    That is `db_password_20260131`, and in a service of the stack `shop` also `shop_db_password`.
    """
    own = name.removeprefix(f"{stack}_") if stack else name
    if own == target:
        return own != name
    return own.startswith(target) and _OF_A_DEPLOYMENT.fullmatch(own, len(target)) is not None


def encoded(key: str) -> str:
    """Return the other name of *key*: reversible, unless it is too long, when it ends in a digest."""
    text = _PREFIX
    is_lower = False
    for character in key:
        if character.isascii() and character.isalpha():
            if character.islower() != is_lower:
                is_lower = not is_lower
                text += "."
            text += character.lower()
        elif character.isascii() and (character.isdigit() or character == "_"):
            text += character
        else:
            text += "".join(f"-{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    if not text[-1].isalnum():
        text = text[:-1] + f"-{ord(text[-1]):02x}"
    if len(text) <= MAX_FILE_NAME:
        return text
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return text[: MAX_FILE_NAME - 18].rstrip("_.-") + "--" + digest


def _decoded(name: str) -> str | None:
    """Return the key that `encoded` made *name* from, or None."""
    if not name.startswith(_PREFIX):
        return None
    data = b""
    is_lower = False
    at = len(_PREFIX)
    while at < len(name):
        character = name[at]
        if character == ".":
            is_lower = not is_lower
        elif character == "-":
            try:
                data += bytes.fromhex(name[at + 1 : at + 3])
            except ValueError:
                return None
            at += 2
        else:
            data += (character if is_lower else character.upper()).encode()
        at += 1
    key = data.decode("utf-8", "surrogateescape")
    return key if encoded(key) == name else None


def behind_shim(words: Sequence[str]) -> Sequence[str]:
    """Return the command that the shim starts in the argv *words*; its own options name keys, and hold no value."""
    front = [number for number, word in enumerate(words[:2]) if word.rsplit("/", 1)[-1] == "shim"]
    if not front or "--" not in words[front[0] :]:
        return words
    return words[words.index("--", front[0]) + 1 :]
