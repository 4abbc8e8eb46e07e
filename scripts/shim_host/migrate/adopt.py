"""The new files of a migration in the place of the old ones, and the way back. The old ones are kept in ./secrets.

They hold values, and ./secrets is the one folder that is private and kept from git already. Each adoption has a folder
of its own there, so that the one before it can be undone afterwards. A run that is killed at any moment, on either way,
can be undone: its index is the last file to be written, and the first to go.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from shim_host import output
from shim_host.errors import Refused, failed_file
from shim_host.files import opened, remove, write_whole
from shim_host.inputs import MOST_BYTES, read_bounded
from shim_host.migrate.model import NewFile
from shim_host.migrate.write import Written
from shim_host.shell import quoted
from shim_host.store.ownership import is_anothers
from shim_host.store.vault import Vault

_FOLDER = ".before-migrate"  # in ./secrets, where a name with a dot is not a secret; the next is `.before-migrate-2`
_INDEX = "index.json"
_MOST_BYTES = 2 * MOST_BYTES  # of one file: less was taken


class Kept(NamedTuple):
    """A file as it was: where it belongs, how it was, and what took its place."""

    path: Path
    data: bytes
    mode: int
    adopted: str  # digest of what took its place
    was_there: bool = True


def refuse_edited(tried: Iterable[NewFile], force: bool) -> None:
    """See that the files of an earlier run, which go, hold nothing that is not adopted.

    Raises:
        Refused: somebody has changed one of them, and nobody said --force.
    """
    edited = [
        str(file.new)
        for file in tried
        if file.new != file.old
        and file.new.exists()
        and read_bounded(file.new) != file.text.encode("utf-8", "surrogateescape")
    ]
    if edited and not force:
        hint = "replace the old one with it by hand, or discard the changes with --force"
        raise Refused(f"differs from what migrate would write now: {', '.join(edited)}", hint)


def refuse_links(results: Iterable[NewFile]) -> None:
    """See that no old file is a link: a new one in its place would leave the values in the file that it leads to.

    Raises:
        Refused: one is.
    """
    links = [file for file in results if file.old.is_symlink()]
    if links:
        moves = " && ".join(f"mv {quoted(str(f.new))} {quoted(os.path.realpath(f.old))}" for f in links)
        shown = ", ".join(str(file.old) for file in links)
        raise Refused(
            f"a link, which --adopt would replace, and what it leads to would keep the values: {shown}",
            f"run migrate without --adopt, and then: {moves}",
        )


def keep(store: Vault, written: Sequence[Written]) -> None:
    """Keep in *store* what *written* is about to replace.

    Raises:
        Failed: the file system does not take it; nothing has been replaced.
    """
    index = []
    with store.writing() as writer, writer.making(_folder(_count(store) + 1)) as folder:
        for number, item in enumerate(written):
            folder.write(str(number), item.before or b"")
            where = os.path.relpath(item.path, store.path)
            digest = hashlib.sha256(item.data).hexdigest()
            index.append({"path": where, "mode": item.mode, "adopted": digest, "new": item.before is None})
        folder.write(_INDEX, json.dumps(index, indent=2).encode())


def kept(store: Vault) -> list[Kept]:
    """Return what the last adoption replaced.

    Raises:
        Refused: there was none.
        Failed: what is kept cannot be read.
    """
    name = _folder(max(_count(store), 1))
    folder = store.path / name
    try:
        with opened(store.path) as around, around.inner(name) as place:
            for one in (around, place):
                if one.descriptor is not None and is_anothers(os.fstat(one.descriptor).st_uid):
                    # Its owner may have written there what root is to write, and where.
                    hint = "run it as that user"
                    raise Refused(f"{one.path} belongs to somebody else, who could choose what root writes", hint)
            index = json.loads(place.read(_INDEX, _MOST_BYTES)[1])
            return [
                Kept(
                    Path(os.path.relpath(store.path / entry["path"])),
                    place.read(str(number), _MOST_BYTES)[1],
                    entry["mode"],
                    entry["adopted"],
                    not entry.get("new", False),
                )
                for number, entry in enumerate(index)
            ]
    except FileNotFoundError:
        raise Refused("there is nothing to undo", f"migrate --adopt keeps what it replaces in {folder}") from None
    except OSError as error:
        raise failed_file("read", str(folder), error) from None
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{folder} is damaged", "look at the files in it, and restore them by hand") from None


def put_back(store: Vault, files: Sequence[Kept], force: bool) -> None:
    """Put back what was replaced, and forget it.

    Raises:
        Refused: a file has changed since, and nobody said --force; nothing is put back.
        Failed: the file system does not take it.
    """
    changed = [str(file.path) for file in files if file.path.exists() and _is_changed(file)]
    if changed and not force:
        raise Refused(f"changed since it was adopted: {', '.join(changed)}", "discard the changes with --force")
    for file in files:
        if not file.was_there:
            remove(file.path)
            output.say(f"{file.path} is gone again")
            continue
        write_whole(file.path, file.data, file.mode, owner=_owner_of(file.path))
        output.say(f"{file.path} is as it was")
    name = _folder(_count(store))
    with store.writing() as writer:
        with writer.inside(name) as folder:
            folder.remove(_INDEX)
        writer.remove_folder(name)


def _owner_of(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_uid, status.st_gid


def _is_changed(file: Kept) -> bool:
    """Return whether *file* is neither what took its place nor, as a run that was killed leaves it, what it was."""
    data = read_bounded(file.path)
    return hashlib.sha256(data).hexdigest() != file.adopted and not (file.was_there and data == file.data)


def _folder(number: int) -> str:
    return _FOLDER if number < 2 else f"{_FOLDER}-{number}"


def _count(store: Vault) -> int:
    """Return how many adoptions can be undone."""
    number = 0
    while (store.path / _folder(number + 1) / _INDEX).exists():
        number += 1
    return number
