"""Whether a migrated project is still the same one, before anything of it is written; and what is left out if not.

The new files are put beside the others in a copy of the project, and the real Compose reads it twice: as it is tried
(the new files beside the old ones), and as it is adopted (the new files in the place of the old ones).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shim_host.compose import reading
from shim_host.errors import Refused
from shim_host.migrate import check
from shim_host.migrate.check import Difference, Read
from shim_host.migrate.compose_files import ComposeFiles
from shim_host.migrate.mirror import Mirror, led_into, mirrored
from shim_host.migrate.model import Entangled, MigrationPlan, NewFile, Rejected, ShimSource

_TRIED_ONE_BY_ONE = 60  # more services than this are not tried one by one when Compose refuses them together


class Asked(NamedTuple):
    """What the real Compose was asked: the project as it is, and the shell's environment."""

    before: Read | None  # None: there is no Compose
    environ: Mapping[str, str]


class Proven(NamedTuple):
    """A plan with its files, as they are tried beside the old ones, and as they take the place of those."""

    plan: MigrationPlan
    files: list[NewFile]
    adopted: list[NewFile]


def proven(make: Callable[[Mapping[str, str]], Proven], shim: ShimSource, asked: Asked) -> Proven:
    """Return the plan that *make* makes, without the services that it would change.

    Args:
        make: what makes a plan with its files; it is given services that are to stay as they are, and why.
        shim: where the shim comes from.
        asked: what is known about the project as it is.

    Raises:
        Refused: what would change cannot be left out.
    """
    left: dict[str, str] = {}
    while True:
        try:
            found = make(left)
            difference = _difference(found, shim, asked)
        except Entangled as entangled:
            left[entangled.service] = entangled.reason
            continue
        except Rejected as rejected:
            alone = _fit_together(make, left, shim, asked)
            if not alone - set(left):
                raise Refused(
                    f"docker compose would refuse the new files, so nothing is written: {rejected.reason}",
                    "the project itself is fine: please report what migrate has made of it",
                ) from None
            left.update(dict.fromkeys(alone, f"docker compose would refuse the new files: {rejected.reason}"))
            continue
        if difference is None:
            return found
        culprits = _culprits(found.plan, difference)
        if not culprits:
            what = f"{difference.service}: {difference.problem}" if difference.service else difference.problem
            raise Refused(
                f"the new files would change what a service sees: {what}",
                "nothing was written; a service that extends another changes with it: write its settings out instead",
            )
        reason = f"the new files would change {difference.problem}"
        if difference.service not in culprits:
            reason = f"the new files would change {difference.service}, too: {difference.problem}"
        left.update(dict.fromkeys(culprits, reason))


def _culprits(plan: MigrationPlan, difference: Difference) -> set[str]:
    """Return the services to be left as they are: the one that differs, or those it has something from."""
    if difference.service in plan.moved:
        return {difference.service}
    service = plan.project.services.get(difference.service)
    if service is None:
        return set()
    nodes = {id(definition.node) for definition in service.definitions}
    documents = {id(definition.document) for definition in service.definitions}
    near = {
        name
        for name, moved in plan.moved.items()
        if any(id(definition.node) in nodes for definition in moved.service.definitions)
    }
    same_file = {
        name
        for name, moved in plan.moved.items()
        if any(id(definition.document) in documents for definition in moved.service.definitions)
    }
    return near or same_file


def _fit_together(
    make: Callable[[Mapping[str, str]], Proven], left: Mapping[str, str], shim: ShimSource, asked: Asked
) -> set[str]:
    """Return the services that Compose refuses when they are migrated; those that it takes together are not in it."""
    try:
        everything = list(make(dict.fromkeys(left, "")).plan.moved)
    except (Rejected, Entangled):
        everything = []
    names = [name for name in everything if name not in left]
    refused: set[str] = set()
    for position, name in enumerate(names[:_TRIED_ONE_BY_ONE]):
        others = [*refused, *names[position + 1 :]]
        try:
            _difference(make({**left, **dict.fromkeys(others, "")}), shim, asked)
        except (Rejected, Entangled):
            refused.add(name)
    return refused


def _difference(found: Proven, shim: ShimSource, asked: Asked) -> Difference | None:
    if not found.files:
        return None
    named = {file.old.absolute(): file.new for file in found.files}
    difference = _read_again(found.plan, shim, asked, named, contents_of(found.files))
    if difference is None and asked.before is not None:
        difference = _read_again(found.plan, shim, asked, {}, contents_of(found.adopted))
    return difference


def contents_of(files: Sequence[NewFile]) -> dict[Path, bytes]:
    """Return what each of *files* is to hold."""
    return {file.new: file.text.encode("utf-8", "surrogateescape") for file in files}


def _read_again(
    plan: MigrationPlan, shim: ShimSource, asked: Asked, named: Mapping[Path, Path], contents: Mapping[Path, bytes]
) -> Difference | None:
    """Return the first thing that changes where *contents* are there and *named* takes the place of what is named."""
    project = plan.project
    needed = [use.path for service in project.services.values() for use in service.env_files]
    folders = [project.folder, *(document.path.parent for document in project.documents)]
    with mirrored(folders, [*needed, *project.env_files], lambda mirror: led_into(mirror, project, contents)) as mirror:
        files = [mirror.place(named.get(path.absolute(), path)) for path in project.files]
        env_files = [mirror.place(named.get(path.absolute(), path)) for path in project.env_files]
        environ = dict(asked.environ)
        if asked.before is None:
            new = reading.read_project(files, environ, env_files)
            return check.differs(plan, new)
        read = json.loads(mirror.unplaced(_ask(plan, mirror, files, env_files, environ)))
        writer = ComposeFiles(plan, shim, lambda path: path)
        names = writer.installer_name(), writer.volume_name()
        return check.changed(plan, shim, names, asked.before, read) or _lost_setting(plan, env_files, environ)


def _ask(
    plan: MigrationPlan, mirror: Mirror, files: Sequence[Path], env_files: Sequence[Path], environ: Mapping[str, str]
) -> str:
    try:
        return check.composed(files, env_files, environ, mirror.place(plan.project.folder))
    except Rejected as rejected:
        names = {*plan.project.services, *plan.project.secrets, *plan.reasons}
        names |= {use.key for moved in plan.moved.values() for use in moved.uses}
        values = [held.value.reveal().decode("utf-8", "surrogateescape") for held in plan.held.values()]
        raise Rejected(check.reason_of(mirror.unplaced(rejected.reason), names, values)) from None


def _lost_setting(plan: MigrationPlan, env_files: Sequence[Path], environ: Mapping[str, str]) -> Difference | None:
    """Return the first variable that a secret or a config takes by its name, and that has another value now."""
    names = {definition.environment for definition in plan.project.secrets.values() if definition.environment}
    if not names:
        return None
    now = {**reading.settings_of(env_files, environ), **environ}
    wrong = sorted(name for name in names if now.get(name) != plan.project.environ.get(name))
    return Difference("", f"the secret from the variable {wrong[0]}") if wrong else None
