"""Writes what a migration leads to, secrets first, each file in one step; what turns out wrong is taken back.

Git may have the values already: its history keeps them, whatever becomes of the files.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from shim_host import output
from shim_host.errors import Refused, failed_file
from shim_host.files import write_whole
from shim_host.inputs import read_bounded
from shim_host.migrate.model import MigrationPlan, NewFile, Remark
from shim_host.recognition.sensitive import is_telling
from shim_host.shell import quoted
from shim_host.store import gitignore
from shim_host.store.vault import Vault

CREATED, UNCHANGED, REPLACED = "created", "unchanged", "replaced"


_NEW_MODE = 0o644  # of a file that is made from none


class Written(NamedTuple):
    """A file of the result, and what is to happen with it."""

    path: Path
    data: bytes
    mode: int  # that of the file it is made from
    state: str
    before: bytes | None  # what is there now
    old: Path = Path()  # the file it is made from, absolute
    owner: tuple[int, int] | None = None  # user and group who have that


def outputs(results: Iterable[NewFile], force: bool) -> list[Written]:
    """Return what is to happen with each new file.

    Raises:
        Refused: one is there with another content, and nobody said --force.
    """
    written = []
    for file in results:
        data = file.text.encode("utf-8", "surrogateescape")
        before = None
        try:
            status = (file.old if file.old.exists() else file.new.absolute().parent).stat()
            mode = stat.S_IMODE(status.st_mode) if file.old.exists() else _NEW_MODE
            if file.new.exists():
                before = read_bounded(file.new)
        except OSError as error:
            raise failed_file("read", str(file.new), error) from None
        is_there = before is not None or file.new.is_symlink()
        is_same = before == data and not file.new.is_symlink()
        state = UNCHANGED if is_same else REPLACED if is_there else CREATED
        owner = (status.st_uid, status.st_gid)
        written.append(Written(file.new, data, mode, state, before, file.old.absolute(), owner))
    there = [str(item.path) for item in written if item.state == REPLACED]
    if there and not force:
        raise Refused(f"already there, and different: {', '.join(there)}", "look at it, then remove it or add --force")
    return written


def secrets_to_write(plan: MigrationPlan, store: Vault, force: bool) -> dict[str, bytes]:
    """Return the secret files that are new or change.

    Raises:
        Refused: a file holds another value, and nobody said --force.
    """
    todo, other = {}, []
    for name, held in plan.held.items():
        there = store.read(name)
        if there is None or there.value != held.value:
            todo[name] = held.value.reveal()
        if there is not None and there.value != held.value:
            other.append(store.shown(name))
    if other and not force:
        raise Refused(
            f"these no longer hold the value that the project has: {output.listed(other)}",
            "the services would get that value: remove the files, or replace them with --force",
        )
    return todo


def write(
    plan: MigrationPlan,
    written: list[Written],
    values: Mapping[str, bytes],
    store: Vault,
    owner: tuple[int, int] | None,
) -> None:
    """Write secrets first, so that no Compose file ever names one that is missing."""
    # First, so that git shows no value at any moment: a secret that must stay is in the new env files, too.
    env_files = {source.path.absolute() for source in plan.sources} | set(plan.env_file_keys)
    new = [item.path for item in written if item.old in env_files]
    # The old ones keep their values; one that is included may be in a repository of its own.
    old = [item.old for item in written if item.old in env_files]
    kept_out = [*(source.path for source in plan.sources[:1]), *old, *new]
    store.refuse_link()
    store.ask_owner()
    lacking = gitignore.missing(plan.project.folder, store.path, *kept_out, written=new)
    gitignore.add(lacking)
    for line in gitignore.told(lacking):
        output.say(line)
    with store.writing() as writer:
        for name, value in values.items():
            writer.write(name, value)
        for name in plan.held if owner is not None else ():
            writer.give_to(name, owner or (-1, -1))
    for item in written:
        if item.state != UNCHANGED:
            write_whole(item.path, item.data, item.mode, owner=item.owner)


def in_git(plan: MigrationPlan, results: Iterable[NewFile]) -> Iterator[Remark]:
    """Yield a note that names the old files of *results* that have a value which is a secret now, and are in git."""
    env_files = {source.path.absolute() for source in plan.sources} | set(plan.env_file_keys)
    values = [held.value.reveal() for held in plan.held.values()]
    telling = [value for value in values if is_telling(value.decode("utf-8", "surrogateescape"))]
    old = [file.old.absolute() for file in results if file.old.is_file()]
    having = [path for path in old if path in env_files or any(value in read_bounded(path) for value in telling)]
    names = gitignore.tracked(having, plan.project.folder) if having else None
    if not names:
        return
    shown = [os.path.relpath(plan.project.folder / name) for name in names]
    leaving = [name for name in shown if os.path.abspath(name) in map(str, env_files)]
    hint = "rotate the secrets once the new files work"
    if leaving:
        hint = f"git rm --cached {' '.join(map(quoted, leaving))}, and rotate the secrets once the new files work"
    yield Remark("", "", f"git has the values, and its history keeps them: {output.listed(shown)}", hint)
