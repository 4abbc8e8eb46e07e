"""A backup: one JSON document, sealed by GPG or age. Its bytes come in and go out; nothing here opens a file.

The document is versioned and carries its own checksum, and each value carries one. Either all of it is right or
`decode` refuses it: what it returns can be written without a further question.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from shim.secret import MAX_SECRET_BYTES, Secret, is_skipped
from shim_host import names
from shim_host.errors import Refused

FORMAT = "docker-secrets-shim backup"
VERSION = 1
FOLDER = "folder"
SWARM = "swarm"

# It stays in its folder, on every system.
_FILE_NAME = re.compile(r"[^\x00-\x1f/\\\x7f]+")
_MOST_NAME_BYTES = 255  # NAME_MAX of Linux's file systems


class Item(NamedTuple):
    """One secret: where its value came from, and what else is known about it. `file` is unique in its stack."""

    key: str
    file: str
    value: Secret | None
    origin: str = FOLDER  # FOLDER or SWARM; where the value was read
    mode: int = 0o600
    swarm: tuple[dict[str, Any], ...] = ()  # its versions in the Swarm: name, version, created, labels
    absent: str = ""  # why there is no value
    stack: str = ""  # whose folder the file is in; empty for ./secrets itself

    @property
    def shown(self) -> str:
        """Return where the file is below ./secrets."""
        return f"{self.stack}/{self.file}" if self.stack else self.file

    @property
    def template(self) -> str:
        """Return the driver that fills the value in when a task starts; "" for a value that is taken as it is."""
        found = self.swarm[0].get("template") if self.swarm else None
        return found if isinstance(found, str) and found.isprintable() else ""  # it is one line of a file

    def is_of(self, stack: str) -> bool:
        """Return whether the value is one of *stack*: kept for it alone, or what its version in the Swarm holds too."""
        return self.stack == stack or (not self.stack and any(version.get("stack") == stack for version in self.swarm))


class Backup(NamedTuple):
    """All that a backup holds."""

    created: str
    tool: str
    items: tuple[Item, ...]


class Step(NamedTuple):
    """What an import does with one item: `created`, `replaced`, `unchanged`, `kept` or `absent`."""

    item: Item
    state: str


def encode(backup: Backup) -> bytes:
    """Return *backup* as the document that is sealed."""
    files = _unique_files(backup.items)
    body = {
        "created": backup.created,
        "tool": backup.tool,
        "secrets": [_document(item, file) for item, file in zip(backup.items, files, strict=True)],
    }
    document = {"format": FORMAT, "version": VERSION, "checksum": _checksum(_canonical(body)), "body": body}
    return json.dumps(document, ensure_ascii=True).encode("ascii")


def decode(plain: bytes) -> Backup:
    """Return the backup in the document *plain*, once everything in it has been verified.

    Raises:
        Refused: it is another document, of another version, or damaged.
    """
    try:
        document = json.loads(plain, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # Not a word of the error: it would quote the document.
        raise Refused("its content is not a backup, or is damaged", "import what export wrote") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Refused("its content is not a backup of docker-secrets-shim", "import what export wrote")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise Refused("the version of its format is unknown", "import what export wrote")
    if version != VERSION:
        message = f"its format is version {version}, and this release reads version {VERSION}"
        raise Refused(message, "import it with the release that wrote it, or upgrade this one")
    body = document.get("body")
    if not isinstance(body, dict) or document.get("checksum") != _checksum(_canonical(body)):
        raise _damaged("its checksum does not match")
    if not isinstance(body.get("secrets"), list):
        raise _damaged("it has no list of secrets")
    items = tuple(_item(number, found) for number, found in enumerate(body["secrets"], 1))
    _refuse_duplicates(items)
    return Backup(_text(body, "created"), _text(body, "tool"), items)


def plan(items: Iterable[Item], have: Mapping[tuple[str, str], Secret], *, force: bool) -> list[Step]:
    """Return what an import of *items* does to folders that hold *have* (values by stack and file name)."""
    return [Step(item, _state(item, have.get((item.stack, item.file)), force)) for item in items]


def _state(item: Item, there: Secret | None, force: bool) -> str:
    if item.value is None:
        return "absent"
    if there is None:
        return "created"
    if there == item.value:
        return "unchanged"
    return "replaced" if force else "kept"


def _unique_files(items: Iterable[Item]) -> list[str]:
    """Return a name for each of *items* that no other has: releases that know of no stack put all into one folder."""
    items = list(items)
    taken = {item.file.casefold() for item in items if not item.stack}
    files = []
    for item in items:
        file = item.file
        while item.stack and file.casefold() in taken:
            file = f"{item.stack}_{file}"
        taken.add(file.casefold())
        files.append(file)
    return files


def _document(item: Item, file: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "key": item.key,
        "file": file,
        "stack": item.stack,
        "name": item.file,
        "swarm": list(item.swarm),
    }
    if item.value is None:
        return {**document, "value": None, "absent": item.absent}
    data = item.value.reveal()
    return {
        **document,
        "origin": item.origin,
        "mode": f"{item.mode:04o}",
        "value": base64.b64encode(data).decode("ascii"),
        "bytes": len(data),
        "checksum": _checksum(data),
    }


def _item(number: int, found: object) -> Item:
    """Return the item that *found* describes, verified.

    Raises:
        Refused: its name could leave the folder, or its value is not what was saved.
    """
    if not isinstance(found, dict):
        raise _damaged(f"secret {number} is not an object")
    key, file = _text(found, "key"), _text(found, "file")
    if not is_file_name(file):
        raise _damaged(f"secret {number} has a file name that no secret can have")
    swarm = found.get("swarm", [])
    if not isinstance(swarm, list) or not all(isinstance(version, dict) for version in swarm):
        raise _damaged(f"{file}: its versions in the Swarm are malformed")
    stack, name = _stack(found, key, file, swarm)
    if not is_file_name(name) or (stack and not is_file_name(stack)):
        raise _damaged(f"secret {number} has a file name that no secret can have")
    encoded = found.get("value")
    if encoded is None:
        return Item(key, name, None, swarm=tuple(swarm), absent=_text(found, "absent"), stack=stack)
    try:
        data = base64.b64decode(encoded, validate=True)
        mode = int(_text(found, "mode"), 8)
    except (ValueError, TypeError):
        raise _damaged(f"{file}: its value or mode is malformed") from None
    if len(data) != found.get("bytes") or _checksum(data) != found.get("checksum"):
        raise _damaged(f"{file}: the checksum of its value does not match")
    if len(data) > MAX_SECRET_BYTES:
        raise _damaged(f"{file}: its value is larger than {MAX_SECRET_BYTES} bytes")
    return Item(key, name, Secret(data), _text(found, "origin"), mode, tuple(swarm), stack=stack)


def _stack(found: Mapping[str, Any], key: str, file: str, swarm: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the stack of an item, and its file's name there; older releases left both to be read from the Swarm's."""
    if "stack" in found:
        return _text(found, "stack"), _text(found, "name")
    stack = swarm[0].get("stack") if swarm and found.get("origin", SWARM) == SWARM else None
    return (stack, names.file_name(key) if key else file) if isinstance(stack, str) and stack else ("", file)


def is_file_name(name: str) -> bool:
    """Return whether a secret's file may have this *name*; one that may not could leave the folder."""
    try:
        size = len(name.encode("utf-8", "surrogateescape"))  # as the system names files, whatever their encoding
    except UnicodeEncodeError:
        return False
    is_in_folder = PurePath(name).name == name  # on Windows, C:x is x in the folder that drive C was last used in
    return size <= _MOST_NAME_BYTES and is_in_folder and _FILE_NAME.fullmatch(name) is not None and not is_skipped(name)


def _refuse_duplicates(items: Iterable[Item]) -> None:
    seen: set[tuple[str, str]] = set()
    for item in items:
        at = item.stack, item.file.casefold()
        if at in seen:
            raise _damaged(f"{item.file} is in it twice")
        seen.add(at)


def _damaged(what: str) -> Refused:
    return Refused(f"it is damaged: {what}", "take another copy of the backup")


def _text(fields: Mapping[str, Any], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str):
        raise _damaged(f"{name} is missing, or is not text")
    return text


def _checksum(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _canonical(body: object) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _no_constant(_name: str) -> None:
    raise ValueError("not a number of JSON")
