"""Writes what a migration leads to, secrets first, each file in one step; what turns out wrong is taken back."""

import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shim_host import output
from shim_host.compose import project as compose
from shim_host.compose.project import Project
from shim_host.errors import Ended, Refused, failed_file
from shim_host.files import write_whole
from shim_host.migrate import check
from shim_host.migrate.model import NewFile, Plan
from shim_host.store import vault
from shim_host.store.vault import Vault

CREATED, UNCHANGED, REPLACED = "created", "unchanged", "replaced"


class Written(NamedTuple):
    """A file of the result, and what is to happen with it."""

    path: Path
    data: bytes
    mode: int  # that of the file it is made from
    state: str
    before: bytes | None  # what is there now


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
            mode = stat.S_IMODE(file.old.stat().st_mode)
            if file.new.exists():
                before = file.new.read_bytes()
        except OSError as error:
            raise failed_file("read", str(file.new), error) from None
        is_there = before is not None or file.new.is_symlink()
        is_same = before == data and not file.new.is_symlink()
        state = UNCHANGED if is_same else REPLACED if is_there else CREATED
        written.append(Written(file.new, data, mode, state, before))
    there = [str(item.path) for item in written if item.state == REPLACED]
    if there and not force:
        raise Refused(f"already there, and different: {', '.join(there)}", "look at it, then remove it or add --force")
    return written


def secrets_to_write(plan: Plan, store: Vault, force: bool) -> dict[str, bytes]:
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
            f"these hold another value than the project has now: {', '.join(other)}",
            "the services would see that one: remove the files, or replace them with --force",
        )
    return todo


def write(plan: Plan, written: list[Written], values: Mapping[str, bytes], store: Vault, env_path: Path | None) -> None:
    """Write secrets first, so that no Compose file ever names one that is missing."""
    with store.writing() as writer:
        for name, value in values.items():
            writer.write(name, value)
    lacking = vault.missing_gitignore_lines(plan.project.folder, store.path, env_path)
    if lacking:
        vault.add_gitignore_lines(plan.project.folder, lacking)
        output.say(f".gitignore gets {' '.join(lacking)}")
    for item in written:
        if item.state != UNCHANGED:
            write_whole(item.path, item.data, item.mode)


def verify(
    plan: Plan,
    results: Sequence[NewFile],
    chosen: Sequence[Path],
    env_path: Path | None,
    before: Mapping[str, Any] | None,
    environ: Mapping[str, str],
    written: Sequence[Written],
) -> None:
    """Read the new files, here and with the real Compose, and compare what each service sees with what it saw.

    Raises:
        Refused: it is something else; what was written is taken back.
    """
    new = {file.old.absolute(): file.new for file in results}
    files = [new.get(path.absolute(), path) for path in chosen or named_files(plan.project)]
    env_file = new.get(env_path.absolute(), env_path) if env_path is not None else None
    try:
        read = compose.read_project(files, environ, [] if env_file is None else [env_file])
        problem = check.differs(plan, read)
        if not problem and before is not None:
            after = check.composed(files, env_file, plan.project.folder, environ)
            environments = check.environments
            problem = check.differing_variable(plan, environments(before), environments(after or {}))
        if problem:
            hint = "a service that extends another one gets what changes there: write it out in the service itself"
            raise Refused(f"the new files would change what a service sees: {problem}", hint)
    except Ended:
        for item in written:
            if item.before is not None:
                write_whole(item.path, item.before, item.mode)
            else:
                item.path.unlink(missing_ok=True)
        output.say("the new files are taken back; the secret files stay")
        raise
    if before is not None:
        output.say("docker compose config agrees: every service sees what it saw before")


def named_files(project: Project) -> list[Path]:
    """Return the files that Compose is given by default, without those that they include or extend."""
    wanted = {path.absolute() for path in compose.default_files(project.folder, project.environ)}
    return [document.path for document in project.documents if document.path.absolute() in wanted]
