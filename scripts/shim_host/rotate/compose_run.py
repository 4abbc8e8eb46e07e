"""Rotation without a Swarm: the files in ./secrets change in one step, then the services of a Compose project follow.

A file that Compose mounts by itself is fixed to what it was when the container started, so its service is recreated:
beside the old one where that can be, so that somebody answers all the time. A folder shows the new file at once; who
watches it (--on-change) is left alone, who wants a signal gets one. What fails goes back, and says why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shim.secret import Secret
from shim_host import output
from shim_host.compose.running import Container, NotDone, RunningProject
from shim_host.errors import Ended, Failed, Refused
from shim_host.fingerprints import WITHOUT_KEY, Fingerprints
from shim_host.rotate.compose_journal import BACK, FOLDER, Desk, Journal, Moving, desk, is_under_way
from shim_host.rotate.compose_uses import (
    AUTO,
    NONE,
    NOT_RUNNING,
    OVERLAP,
    RECREATE,
    SIGNAL,
    Use,
    findings,
    other_files,
    strangers,
    uses,
    way,
)
from shim_host.rotate.inside import InsideChange
from shim_host.store.vault import Vault

# A key, all new values, all old ones.
InsideOf = Callable[[str, Mapping[str, Secret], Mapping[str, Secret]], InsideChange | None]


@dataclass(frozen=True)
class Settings:
    """Where, and how."""

    store: Vault
    project: RunningProject
    how: str = AUTO
    prints: Fingerprints = WITHOUT_KEY
    force: bool = False
    inside: InsideOf = lambda _key, _new, _old: None


@dataclass
class Result:
    """What became of it: `why` is empty when the new values stay."""

    services: list[Moving] = field(default_factory=list)
    proofs: dict[str, str] = field(default_factory=dict)  # service -> how its containers were seen to have the value
    why: str = ""


def rotate(journal: Journal, settings: Settings) -> Result:
    """Do what was `planned`.

    Raises:
        Refused: another one is under way, or the files changed meanwhile; nothing was changed.
        Failed: the engine or the file system failed; `resume` goes on from there.
    """
    with desk(settings.store) as open_desk:
        _refuse_unfinished(settings.store)
        for key, name in journal.files.items():
            entry = settings.store.read(name)
            if entry is None or entry.value != journal.old[key]:
                raise Refused(
                    f"{settings.store.shown(name)} has changed in the meantime", "look at it, and rotate again"
                )
        open_desk.begin(journal)
        return _carry_on(open_desk, journal, settings)


def _refuse_unfinished(store: Vault) -> None:
    if is_under_way(store):
        hint = "manage-secrets rotate --resume finishes it, or takes it back"
        raise Refused(f"a rotation in {store.path} is under way, or was interrupted", hint)


def resume(settings: Settings) -> Result | None:
    """Finish the rotation that was interrupted, or finish taking it back; None when there is none.

    Raises:
        Failed: the engine or the file system fails again.
    """
    with desk(settings.store) as open_desk:
        journal = open_desk.read()
        if journal is None:
            open_desk.clear()
            return None
        for key, name in journal.files.items():
            entry = settings.store.read(name)
            if entry is None or entry.value not in (journal.old[key], journal.new[key]):
                hint = f"it has neither of the two values in {settings.store.path / FOLDER}: put one of them there"
                raise Refused(f"{settings.store.shown(name)} has changed in the meantime", hint)
        if any(service.how != NONE for service in journal.services):
            settings.project.files = [Path(file) for file in journal.compose_files]
            settings.project.env_files = [Path(file) for file in journal.env_files]
            settings.project.name = journal.project
            settings.project.read()
        return _carry_on(open_desk, journal, settings)


def planned(values: Mapping[str, Secret], files: Mapping[str, str], settings: Settings) -> Journal:
    """Return the rotation to be done: *values* by key go into *files* by key, and to the services that have them.

    Everything that would fail is said at once, and nothing is changed.

    Raises:
        Refused: something would fail.
    """
    _refuse_unfinished(settings.store)
    old: dict[str, Secret] = {}
    wrong: list[str] = []
    for key, name in files.items():
        entry = settings.store.read(name)
        if entry is None:
            wrong.append(f"{settings.store.shown(name)} is not there: create-from-env or generate makes it")
        elif entry.value == values[key]:
            wrong.append(f"{key} has this value already")
        else:
            old[key] = entry.value
    moving: list[Moving] = []
    if settings.how != NONE and not wrong:
        paths = [settings.store.path / name for name in files.values()]
        found = uses(settings.project, paths)
        if not found:
            wrong.append(f"no service of {shown(settings.project)} mounts {', '.join(map(str, paths))}")
        for use in found:
            how = way(use, settings.how)
            before = [container.id for container in use.containers]
            moving.append(Moving(use.service.name, how, len(before), before, idle=list(use.idle)))
            strange = strangers(use, paths, settings.project)
            wrong += strange or [*findings(use, how), *other_files(use, how, settings.project)]
            if how != NOT_RUNNING and not strange:
                wrong += stale(use.containers, old, settings)
        if not wrong:
            _tell_guests(found, paths, settings.project)
    for key in old:
        change = settings.inside(key, values, old)
        wrong += change.check() if change is not None else []
    if wrong and (not settings.force or len(old) < len(files)):
        raise Refused.of_all(wrong, "nothing was changed")
    for words in wrong:
        output.warn(words)
    compose_files, env_files = settings.project.named()
    of_project = (compose_files, env_files, settings.project.name)
    return Journal(dict(files), moving, *of_project, new=dict(values), old=old)


def _tell_guests(found: Iterable[Use], paths: Sequence[Path], project: RunningProject) -> None:
    """Name containers that have the files, too, and belong to no service of the project: they keep the old value."""
    own = {container.id for use in found for container in use.containers}
    for guest in project.mounting(paths):
        if guest.id not in own and guest.is_running and not guest.watches:
            of = f", of the project {guest.project}," if guest.project not in ("", project.name) else ""
            name = guest.name + of
            output.warn(
                f"{name} mounts the file, too, and keeps the old value until it is started again", guest.start_again
            )


def stale(containers: Iterable[Container], old: Mapping[str, Secret], settings: Settings) -> list[str]:
    """Return which containers do not have the file's value before it changes: later nothing could be proven."""
    expected = {key: settings.prints.of(key, value) for key, value in old.items()}
    return [
        f"{container.name} has another {key} than the file already: restart it, or give its SHIM_SALT as --salt"
        for container in containers
        if container.is_running
        for key, its in _said(container, settings, expected).items()
        if its != expected[key]
    ]


def _said(container: Container, settings: Settings, keys: Iterable[str]) -> dict[str, str]:
    """Return the fingerprints that the shim in *container* says of *keys*; none where it cannot be asked."""
    said = settings.project.explained(container, settings.prints.question)
    if said is None:
        return {}
    if settings.prints.salt and said.made_with != "salt":
        return dict.fromkeys(keys, "")  # without the salt it can make none that would be the same
    return {key: said.fingerprints[key] for key in keys if key in said.fingerprints}


def shown(project: RunningProject) -> str:
    """Return the project's files for a message."""
    return ", ".join(map(str, project.files)) or "the Compose project"


def _carry_on(open_desk: Desk, journal: Journal, settings: Settings) -> Result:
    """Do what is left of *journal*; on a failure that is not the world's, go back."""
    if journal.direction != BACK:
        try:
            return _forward(open_desk, journal, settings)
        except Failed as failed:
            raise _interrupted(failed) from None
        except Ended as ended:
            journal.direction, journal.why = BACK, ended.message
            open_desk.note(journal)
            output.say(f"taking it back: {ended.message}")
    try:
        return _take_back(open_desk, journal, settings)
    except Ended as failed:
        raise _interrupted(failed) from None


def _interrupted(ended: Ended) -> Failed:
    hint = "manage-secrets rotate --resume goes on from there; both values are kept in ./secrets/.rotation until then"
    return Failed(ended.message, *ended.hints, hint)


def _forward(open_desk: Desk, journal: Journal, settings: Settings) -> Result:
    changes = _changes(journal, settings)
    for change in changes:
        change.begin()
    open_desk.put(journal, journal.new)
    proofs = {}
    with output.progress("moving", len(journal.services), least=2) as advance:
        for service in journal.services:
            if not service.is_moved:
                service.is_started = True
                open_desk.note(journal)
                proofs[service.name] = _move(service, journal.new, settings)
                service.is_moved = True
                open_desk.note(journal)
            advance()
    _look_again(journal.services, settings.project)
    _retire(journal.services, settings.project)
    for change in changes:
        change.finish()
    open_desk.finish(journal)
    return Result(journal.services, proofs)


def _look_again(services: Iterable[Moving], project: RunningProject) -> None:
    """See that what was restarted has not failed since, while there still is a way back.

    Raises:
        NotDone: one has. Failed: the engine does not answer.
    """
    started = [
        container
        for service in services
        if service.how in (OVERLAP, RECREATE)
        for container in project.containers(service.name, service.idle)
        if container.id not in service.before
    ]
    for container in project.watched(started):
        if not container.is_running or container.health == "unhealthy":
            raise NotDone(f"{container.name} came up with the new value, and then failed")


def _retire(services: Iterable[Moving], project: RunningProject) -> None:
    """End the containers that were replaced, all at once, and only now that every service has its new ones.

    The engine gives an address that became free to the next container that starts. A client that has just looked up a
    container that went then reaches another service there (measured: one request in some 4,500 answered by a stranger).
    """
    replaced = [
        container
        for service in services
        if service.how == OVERLAP
        for container in project.containers(service.name, service.idle)
        if container.id in service.before
    ]
    project.stop(replaced, gently=True)


def _take_back(open_desk: Desk, journal: Journal, settings: Settings) -> Result:
    # The old value must work again before a service is started with it.
    for change in _changes(journal, settings):
        change.take_back()
    open_desk.put(journal, journal.old)
    for service in journal.services:
        if service.is_started and not service.is_back:
            _return(service, journal, settings)
            service.is_back = True
            open_desk.note(journal)
    open_desk.finish(journal)
    return Result(journal.services, {}, journal.why)


def _changes(journal: Journal, settings: Settings) -> list[InsideChange]:
    found = (settings.inside(key, journal.new, journal.old) for key in journal.files)
    return [change for change in found if change is not None]


def _move(service: Moving, values: Mapping[str, Secret], settings: Settings) -> str:
    """Let *service* have the files as they are now; return how that was seen.

    Raises:
        NotDone: it does not come up, or has another value. Failed: the engine does not answer.
    """
    project, name, how = settings.project, service.name, service.how
    if how in (NOT_RUNNING, NONE):
        return ""
    if how.startswith(SIGNAL):
        project.signal(name, how.removeprefix(SIGNAL))
    elif how == OVERLAP:
        _start_beside(service, project)
    elif how == RECREATE:
        _recreate(service, project)
    output.detail(f"{name}: {how}")
    there = project.containers(name, service.idle)
    if how == OVERLAP:
        there = [container for container in there if container.id not in service.before]
    return _proof(there, values, settings)


def _recreate(service: Moving, project: RunningProject) -> None:
    before = project.containers(service.name, service.idle)
    try:
        project.recreate(service.name, service.count, service.idle)
    except NotDone as once:
        # What an interrupted run started may still have been at work on the same containers.
        output.detail(f"once more: {once.message}")
        project.recreate(service.name, service.count, service.idle)
    gone = {container.id for container in before}
    there = project.containers(service.name, service.idle)
    project.stop([container for container in there if container.id in gone], gently=False)


def _start_beside(service: Moving, project: RunningProject) -> None:
    """Start as many beside the containers of *service*, which stay; on a failure only they are left."""
    there = project.containers(service.name, service.idle)
    if not any(container.id in service.before for container in there):
        service.before = [container.id for container in there]  # somebody recreated them meanwhile
    old = [container for container in there if container.id in service.before]
    left_over = [container for container in there if container not in old]  # of a run that was interrupted
    project.stop(left_over, gently=False)
    try:
        project.add(service.name, len(old) + service.count, service.idle)
    except NotDone:
        there = project.containers(service.name, service.idle)
        project.stop([container for container in there if container.id not in service.before], gently=False)
        raise


def _proof(containers: Iterable[Container], values: Mapping[str, Secret], settings: Settings) -> str:
    """Return how *containers* were seen to have *values*.

    Raises:
        NotDone: one does not run, or its shim says that it has another value.
    """
    expected = {key: settings.prints.of(key, value) for key, value in values.items()}
    asked = 0
    for container in containers:
        if not container.is_running or container.health == "unhealthy":
            raise NotDone(f"{container.name} does not run properly with the new value")
        found = _said(container, settings, expected)
        if not found:
            continue
        asked += 1
        other = [key for key, its in found.items() if its != expected[key]]
        if other and settings.force:
            differing = output.listed(other)
            output.warn(f"{container.name} has a different value of {differing} from the file's, or another SHIM_SALT")
        elif other:
            hint = "is SHIM_SALT in the container the same as --salt here?"
            raise NotDone(f"{container.name} has a different value of {output.listed(other)} from the file's", hint)
    return "fingerprint" if asked else "restarted; no shim to ask"


def _return(service: Moving, journal: Journal, settings: Settings) -> None:
    """Let *service* have the old files again, if it ever left them."""
    there = settings.project.containers(service.name, service.idle)
    old = [container for container in there if container.id in service.before]
    all_run = len(old) == len(service.before) and all(container.is_running for container in old)
    if service.how in (OVERLAP, RECREATE) and all_run:
        settings.project.stop([container for container in there if container not in old], gently=False)
        return
    # What is there has the new value: it is what makes room now. A signal reaches only what still runs.
    was_ended = service.how.startswith(SIGNAL) and not all(container.is_running for container in there)
    how = RECREATE if service.how == OVERLAP or was_ended else service.how
    again = Moving(service.name, how, service.count, [container.id for container in there], idle=service.idle)
    try:
        _move(again, journal.old, settings)
    except NotDone as not_done:
        raise Failed(f"{service.name} has the old value again, but {not_done.message}", *not_done.hints) from None
