"""Everything that an audit looks at, read once: schema, ./secrets, .env, the Compose file, this machine, the engine."""

import os
import platform
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shim.schema import KeySpec, Schema
from shim.secret import Secret, clean
from shim_host import deployment_key, inputs, inventory, output
from shim_host.ages import days_of
from shim_host.audit import joining, written_out
from shim_host.audit.model import (
    ARGUMENTS,
    CONFIG,
    ENGINE_NOT_WANTED,
    ENV_FILE,
    ENVIRONMENT,
    HEALTH_CHECK,
    LABEL,
    VOLUME,
    AuditedMount,
    AuditedService,
    Facts,
    File,
    Key,
    KeyFile,
    Seen,
    Trace,
)
from shim_host.audit.traces import Recogniser
from shim_host.audit.written_out import place_of
from shim_host.errors import Ended
from shim_host.files import is_unknown
from shim_host.fingerprints import Fingerprints
from shim_host.store.vault import Entry, Vault

if TYPE_CHECKING:
    from shim_host.compose import project as compose


def gather(
    schema: Schema | None,
    store: Vault,
    given: inventory.Asked,
    salt: bytes,
    *,
    asks_containers: bool,
    asks_engine: bool,
    stack: str = "",
) -> Facts:
    """Return the facts, with *stack* those that concern it alone; what cannot be looked at is a gap in them.

    Raises:
        Refused, Failed: the Compose file that was named has mistakes, or a file of ./secrets cannot be read.
    """
    gaps: list[str] = []
    specs = schema.keys if schema else {}
    env = inventory.env_values(given.env_paths, os.environ, gaps)
    known = [*specs, *env]
    entries = inventory.files_by_key(store, known)
    project = inventory.compose_project(given, gaps) if not stack else None
    outside = inventory.outside_files(project, store, known)
    entries.update({key: item.entry for key, item in outside.items() if key not in entries})
    public = frozenset(key for key, spec in specs.items() if not spec.is_sensitive)
    secret_entries = {key: entry for key, entry in entries.items() if key not in public}

    deciding = inputs.deciding(schema)
    values = _values(deciding, env, entries)
    alike = _named_alike(project, env, values)
    recogniser = Recogniser(values, deciding, alike, specs)
    services: list[AuditedService] = []
    if project is not None:
        literals = [
            *written_out.literals(project, deciding, values, alike),
            *written_out.named(project, values, env),
            *written_out.beside(project, deciding, values, alike, store.path),
        ]
        services = list(_compose_services(project, recogniser, store, gaps, literals))

    prints_under = partial(deployment_key.looking, salt, store)
    if asks_engine:
        seen = _ask_engine(recogniser, [*known, *entries], prints_under, asks_containers)
    else:
        seen = Seen(prints=prints_under(None), gaps=(ENGINE_NOT_WANTED,))
    gaps += seen.gaps
    seen = _of_stack(seen, stack) if stack else seen
    name, others = "", set[str]()
    if project is not None:
        name, others = project.name, joining.twins(seen.services, project.name, str(project.folder), store)
    gaps += joining.left_out(seen.containers, name, others)
    services = joining.with_keys(joining.joined(services, seen.services, name, others, store), [*known, *entries])

    of_files = seen.prints.of_all({key: entry.value for key, entry in secret_entries.items()})
    group, users = _engine_users(seen.place)
    return Facts(
        now=datetime.now(UTC),
        schema=schema.source if schema else "",
        stack=stack,
        project=name,
        host=platform.node(),
        engine=seen.place,
        folder=str(Path.cwd()),
        keys=tuple(_keys(specs)),
        public_keys=public,
        weak_keys=tuple(sorted(key for key, entry in secret_entries.items() if _is_weak(entry.value, alike))),
        versions=tuple(version for version in seen.versions if version.key not in public),
        files=tuple(
            _file(outside[key].path if key in outside else store.path / entry.name, key, entry, of_files[key])
            for key, entry in secret_entries.items()
        ),
        files_salt_mark=seen.prints.mark,
        open_key_file=_open_key_file(store),
        services=tuple(services),
        containers=tuple(joining.concerned(seen.containers, services, name, others)),
        images=seen.images,
        configs=seen.configs,
        engine_users=users,
        engine_group=group,
        managers=seen.managers,
        gaps=tuple(gaps),
    )


def _values(schema: Schema | None, env: Mapping[str, Secret], entries: Mapping[str, Entry]) -> dict[str, list[Secret]]:
    """Return the values that are secret, by key; a key may have one in each place."""
    from shim_host.recognition.sensitive import why_secret

    values: dict[str, list[Secret]] = {}
    for key, entry in entries.items():
        spec = schema.keys.get(key) if schema else None
        if spec is None or spec.is_sensitive:
            values.setdefault(key, []).append(entry.value)
    for key, value in env.items():
        if why_secret(key, value.reveal().decode("utf-8", "surrogateescape"), schema):
            values.setdefault(key, []).append(value)
    return values


def _named_alike(project: "compose.Project | None", env: Mapping[str, Secret], secret: Collection[str]) -> set[str]:
    """Return the values that users and databases are called."""
    from shim_host.compose.project import all_variables
    from shim_host.recognition.sensitive import named_alike

    in_env = ((key, value.reveal().decode("utf-8", "surrogateescape")) for key, value in env.items())
    return named_alike([*in_env, *(all_variables(project) if project is not None else ())], secret)


def _is_weak(value: Secret, names: Collection[str]) -> bool:
    from shim_host.recognition.sensitive import is_telling

    text = clean(value.reveal()).decode("utf-8", "surrogateescape")
    return bool(text) and (not is_telling(text) or text in names)


def _keys(specs: Mapping[str, KeySpec]) -> Iterable[Key]:
    for key, spec in specs.items():
        if spec.is_sensitive:
            is_made = spec.is_derived or spec.default is not None
            yield Key(key, spec.services, days_of(spec.rotate) if spec.rotate else None, is_made, spec.line)


def _file(path: Path, key: str, entry: Entry, its_fingerprint: str) -> File:
    status = path.stat()
    owner, group = str(status.st_uid), str(status.st_gid)
    if sys.platform != "win32":
        import grp
        import pwd

        with suppress(KeyError):  # a number without a name is shown as it is
            owner = "unknown" if is_unknown(status.st_uid) else pwd.getpwuid(status.st_uid).pw_name
        with suppress(KeyError):
            group = grp.getgrgid(status.st_gid).gr_name
    changed = datetime.fromtimestamp(status.st_mtime, UTC)
    return File(key, entry.name, str(path), entry.mode, owner, group, changed, its_fingerprint)


def _open_key_file(store: Vault) -> KeyFile | None:
    found = deployment_key.doubt(store)
    return KeyFile(store.shown(deployment_key.FILE), found.message, found.command) if found is not None else None


def _engine_users(place: str) -> tuple[str, tuple[str, ...]]:
    """Return the group that may use the engine's socket, and who is in it; empty where it is not a file here."""
    from shim_host import machine

    path = machine.socket_path(place) if place else ""
    if not path or sys.platform == "win32":
        return "", ()
    import grp
    import pwd

    found = machine.look_at_socket(path)
    if not found.exists:
        return "", ()
    if found.mode & 0o002:
        return "everybody", ("every user of this machine",)
    if not found.mode & 0o020:
        return "", ()
    try:
        group = grp.getgrnam(found.group)
    except KeyError:
        return found.group, ()
    primary = [user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid]
    return found.group, tuple(sorted({*group.gr_mem, *primary} - {"root"}))


def _ask_engine(
    recogniser: Recogniser,
    known: list[str],
    prints_under: Callable[[bytes | None], Fingerprints],
    asks_containers: bool,
) -> Seen:
    """Return what the engine says; where it does not answer, that is the gap."""
    from shim_host.audit.engine import Auditor
    from shim_host.swarm.connection import connect_as

    try:
        engine = connect_as(Auditor, os.environ)
        return engine.look(recogniser, known, prints_under, asks_containers=asks_containers)
    except Ended as ended:
        output.warn(f"{ended.message}; the engine is left out", *ended.hints[:1])
        return Seen(prints=prints_under(None), gaps=(f"the engine: {ended.message}",))


def _of_stack(seen: Seen, stack: str) -> Seen:
    """Return what concerns *stack*: its versions, its services with all they mount, and others that mount one."""
    ids = {version.id for version in seen.versions if version.stack == stack}
    own = (service for service in seen.services if service.kind == "swarm" and service.stack == stack)
    mounted = {mount.secret_id for service in own for mount in service.mounts}
    versions = tuple(version for version in seen.versions if version.id in ids | mounted)
    services = tuple(
        service
        for service in seen.services
        if service.kind == "swarm" and (service.stack == stack or any(m.secret_id in ids for m in service.mounts))
    )
    users = {service.name for service in services}
    containers = tuple(container for container in seen.containers if container.service in users)
    images = tuple(image for image in seen.images if image.name in {service.image for service in services})
    return replace(seen, versions=versions, services=services, containers=containers, images=images, configs=())


def _compose_services(
    project: "compose.Project",
    recogniser: Recogniser,
    store: Vault,
    gaps: list[str],
    literals: Sequence[tuple[str, Trace]],
) -> Iterable[AuditedService]:
    """Yield the services of the Compose file."""
    for service in project.services.values():
        last = service.definitions[-1]
        place = place_of(last.document.path, last.node)
        traces = _traces_of(service, project, recogniser, gaps, place)
        seen, uses = {trace.where for trace in traces}, _used_by(service)
        for of, trace in literals:
            is_ours = of == service.name or trace.name in uses.get(trace.where, ())
            if is_ours and trace.where not in seen:
                traces.append(trace)
        yield AuditedService(
            name=service.name,
            kind="compose",
            own_name=service.name,
            stack=project.name,
            image=service.image,
            user=service.user,
            mounts=tuple(_mounts_of(service, project, store)),
            traces=tuple(dict.fromkeys(traces)),
            reach=tuple(_reach_of(service)),
            is_read_only=_last(service, "read_only") == "true",
            place=place,
        )


def _traces_of(
    service: "compose.Service", project: "compose.Project", recogniser: Recogniser, gaps: list[str], place: str
) -> list[Trace]:
    """Return the values in plain text that *service* itself has."""
    from shim_host.compose import project as compose

    try:
        environment = compose.environment_of(service, project)
    except Ended as ended:
        gaps.append(f"the env_file of {service.name}: {ended.message}")
        environment = {key: value for key, value in service.environment.items() if value is not None}
    traces: list[Trace] = []
    for name, value in environment.items():
        variable = service.variables.get(name)
        where = place
        if variable is not None:
            where = place_of(variable.definition.document.path, variable.node)
        elif service.env_files:
            where = str(service.env_files[-1].path)
        if (trace := recogniser.variable(ENVIRONMENT, name, value, where)) is not None:
            traces.append(trace)
    for name, value in service.labels.items():
        if (trace := recogniser.variable(LABEL, name, value, place)) is not None:
            traces.append(trace)
    traces += recogniser.words(ARGUMENTS, [*(service.entrypoint or ()), *(service.command or ())], place)
    traces += recogniser.words(HEALTH_CHECK, service.healthcheck, place)
    return traces


def _used_by(service: "compose.Service") -> dict[str, set[str]]:
    """Return the names of what the project defines and *service* uses, by where a value could be in it."""
    from shim_host.compose import nodes

    def sources(field: str) -> Iterable[str]:
        return (str((nodes.child(use, "source") or use).value) for use in _fields(service, field))

    return {
        CONFIG: set(sources("configs")),
        VOLUME: {source.partition(":")[0] for source in sources("volumes")},
        ENV_FILE: {use.source for use in service.secrets},
    }


def _mounts_of(service: "compose.Service", project: "compose.Project", store: Vault) -> Iterable[AuditedMount]:
    for use in service.secrets:
        definition = project.secrets.get(use.source)
        file = definition.file if definition is not None else None
        name = inventory.secret_name(project, use.source, store)
        yield AuditedMount(
            "",
            use.target,
            name=name,
            file=str(file.absolute()) if file is not None else "",
            is_external=definition is not None and definition.external,
            is_copied=definition is not None and definition.environment is not None,
        )


def _reach_of(service: "compose.Service") -> Iterable[str]:
    """Yield how *service* can reach beyond its container."""
    from shim_host.compose import nodes

    last = service.definitions[-1]
    for volume in nodes.elements(last.value("volumes")):
        source = nodes.child(volume, "source") or volume
        if "docker.sock" in str(source.value):
            yield "has the engine's socket"
    if _last(service, "privileged") == "true":
        yield "is privileged"


def _last(service: "compose.Service", name: str) -> str:
    """Return the text of the last definition of *service* that has *name*."""
    found = [node for definition in service.definitions if (node := definition.value(name)) is not None]
    return str(getattr(found[-1], "value", "")).lower() if found else ""


def _fields(service: "compose.Service", name: str) -> list[Any]:
    from shim_host.compose.nodes import elements

    return [element for definition in service.definitions for element in elements(definition.value(name))]
