"""Who can read what, and what is wrong with that: facts come in, rows and findings leave. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from shim_host import ages
from shim_host.audit import gaps, readers, undeliverable
from shim_host.audit.model import (
    ENV_FILE,
    ERROR,
    GRANTED,
    LEVELS,
    MOUNTED,
    NOT_ASKED,
    NOTE,
    OLD,
    PLACES,
    PLAIN,
    STALE,
    UNGRANTED,
    WARNING,
    Audit,
    AuditedService,
    Container,
    Facts,
    File,
    Finding,
    Row,
    Trace,
    Version,
)
from shim_host.audit.rules import RULES
from shim_host.names import key_of
from shim_host.shell import quoted
from shim_host.swarm import stacks
from shim_host.swarm.mounts import is_behind

MAX_SERVICES = 5
MAX_AGE_DAYS = 365  # where nothing says how long a value may live
_SOON_DAYS = 14
_ORDER = (PLAIN, UNGRANTED, STALE, OLD, MOUNTED, GRANTED)
_NAMES_SHOWN = 6
_A_MOMENT = timedelta(seconds=1)  # to which engines say when a container started


def judge(facts: Facts, max_services: int = MAX_SERVICES) -> Audit:
    """Return what is to be said of *facts*; more than *max_services* services are many for one secret."""
    rows = _rows(facts)
    found: list[Finding] = []
    for service in facts.services:
        found += _cells_of(service, rows, facts)
    for container in facts.containers:
        found += _stale(container, rows, facts)
    found += _of_images(facts, rows)
    found += [_of_trace(trace, "the Swarm", "") for trace in facts.configs]
    for row in rows:
        row.cells = {name: tuple(sorted(set(states), key=_ORDER.index)) for name, states in row.cells.items()}
        found += [*_of_age(row, facts), *_of_use(row, facts, max_services), *_of_place(row)]
    found += [*_of_mounts(facts), *_of_containers(facts, rows), *_of_weak_values(facts), *_of_key_file(facts)]
    found += gaps.findings(facts.gaps)
    # One service may be described twice, by its file and by its container.
    found = list({(finding.id, finding.message): finding for finding in found}.values())
    order = list(RULES)
    found.sort(key=lambda finding: (LEVELS.index(finding.level), order.index(finding.id)))
    readers.add_to(rows, facts)
    return Audit(facts, rows, found, readers.of_all(facts))


def _of_weak_values(facts: Facts) -> Iterator[Finding]:
    if facts.weak_keys:
        message = f"short, a single word, or what a user or a database is called: the value of {some(facts.weak_keys)}"
        yield Finding("secret-weak", NOTE, message, RULES["secret-weak"].help)


def _of_key_file(facts: Facts) -> Iterator[Finding]:
    if (file := facts.open_key_file) is not None:
        hint = "whoever knows the key of the fingerprints can guess values from labels that they see"
        yield Finding(
            "file-readable-by-others", ERROR, f"{file.path} {file.message}", hint, "", "", file.path, file.command
        )


def is_reached(audit: Audit, level: str) -> bool:
    """Return whether there is a finding of *level*, or of a more urgent one."""
    return any(LEVELS.index(finding.level) <= LEVELS.index(level) for finding in audit.findings)


def some(names: Iterable[str]) -> str:
    """Return *names* as a list that stays short."""
    listed = list(names)
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return ", ".join(listed[:_NAMES_SHOWN]) + more


def _rows(facts: Facts) -> list[Row]:
    """Return a row for each secret: the schema's in its order, then the others by name."""
    specs = {spec.key: spec for spec in facts.keys}
    files = {file.key: file for file in facts.files}
    rows: dict[tuple[str, str], Row] = {}
    ours = {(version.stack, version.key) for version in facts.versions if version.is_ours}
    for version in sorted(facts.versions, key=lambda version: -version.version):
        at = (version.stack, version.key)
        key = version.key if version.is_ours or at not in ours else ""  # its name alone makes it no version of ours
        title = key or version.name
        at = at if key else ("", version.name)
        if at not in rows:
            shown = f"{version.stack}/{title}" if version.stack else title
            rows[at] = Row(shown, key, version.stack, specs.get(key))
        rows[at].versions.append(version)
    for key, file in files.items():  # of the stack that is looked at; where that has no such key, of another
        of_key = [row for row in rows.values() if row.key == key]
        for row in [row for row in of_key if row.stack == facts.stack] or of_key[:1]:
            row.file = file
    seen = {row.key for row in rows.values()}
    in_plain = {trace.key for service in facts.services for trace in service.traces}
    in_plain |= {trace.key for image in facts.images for trace in image.traces}
    mounted = {mount.key for service in facts.services for mount in service.mounts}
    # What only the schema knows, and nobody has, is not a secret yet.
    for key in (*files, *sorted((in_plain | mounted) - facts.public_keys - {""})):
        if key not in seen:
            seen.add(key)
            rows["", key] = Row(key, key, "", specs.get(key), file=files.get(key))
    order = {key: number for number, key in enumerate(specs)}
    found = sorted(rows.values(), key=lambda row: (order.get(row.key, len(order)), row.title))
    for row in found:
        newest = row.newest
        since = newest.created if newest is not None else row.file.changed if row.file is not None else None
        if since is not None:
            row.age_days = max(0.0, (facts.now - since).total_seconds() / ages.SECONDS_A_DAY)
            if row.spec is not None and row.spec.rotate_days is not None:
                row.rotate_in_days = row.spec.rotate_days - row.age_days
    return found


def row_of(rows: Iterable[Row], key: str, stack: str) -> Row | None:
    """Return the row of *key* that concerns a service of *stack*."""
    found = [row for row in rows if key and row.key == key]
    return next((row for row in found if row.stack == stack), next((row for row in found if not row.stack), None))


def _mark(row: Row, service: str, state: str) -> None:
    row.cells[service] = (*row.cells.get(service, ()), state)


def _is_behind(service: AuditedService, row: Row, newest: Version) -> bool:
    """Return whether *service* has only older versions; the previous half of a pair is not a reason."""
    numbers = {version.id: version.version for version in row.versions}
    mounted = {mount.target: numbers[mount.secret_id] for mount in service.mounts if mount.secret_id in numbers}
    return is_behind(mounted, row.key, newest.version) if row.key else max(mounted.values()) < newest.version


def _is_meant(row: Row, service: AuditedService) -> bool:
    """Return whether the schema lets *service* have the secret."""
    allowed = row.spec.services if row.spec is not None else ()
    return not allowed or service.own_name in allowed or service.name in allowed


def _cells_of(service: AuditedService, rows: list[Row], facts: Facts) -> Iterator[Finding]:
    """Fill in what *service* has of each secret."""
    by_id = {version.id: row for row in rows for version in row.versions}
    for mount in service.mounts:
        row = by_id.get(mount.secret_id) or row_of(rows, mount.key, service.stack)
        if row is None:
            continue
        _mark(row, service.name, MOUNTED)
        mounted = next((version for version in row.versions if version.id == mount.secret_id), None)
        newest = row.newest
        if mounted is not None and newest is not None and _is_behind(service, row, newest):
            _mark(row, service.name, OLD)
            message = f"{service.name} mounts {mounted.name}, and {newest.name} is the newest"
            yield Finding(
                "service-drift",
                WARNING,
                message,
                "move it to the newest, its mount kept as it is",
                row.key,
                service.name,
                command=f"manage-secrets sync {quoted(row.key)}{stacks.option(row.stack)}",
            )
        if not _is_meant(row, service):
            _mark(row, service.name, UNGRANTED)
            place = service.place or (f"{facts.schema}:{row.spec.line}" if row.spec and facts.schema else "")
            message = f"{service.name} gets {row.title}, which the schema gives to other services only"
            hint = f"take it from the service, or add {service.own_name} to @services of {row.key}"
            yield Finding("secret-not-granted", ERROR, message, hint, row.key, service.name, place)
    yield from undeliverable.findings(service, facts)
    for trace in service.traces:
        if (row := row_of(rows, trace.key, service.stack)) is not None:
            _mark(row, service.name, PLAIN)
        yield _of_trace(trace, service.name, service.name)
    if service.reach:
        message = f"{service.name} {', '.join(service.reach)}: it could read every secret of its machine"
        hint = RULES["service-reaches-everything"].help
        yield Finding("service-reaches-everything", WARNING, message, hint, "", service.name, service.place)
    for row in rows:
        spec = row.spec
        if spec is None or not {service.own_name, service.name} & set(spec.services):
            continue
        if not row.cells.get(service.name) and row.stack in ("", service.stack):
            _mark(row, service.name, GRANTED)


def _of_trace(trace: Trace, owner: str, service: str) -> Finding:
    message = f"{owner}: {PLACES[trace.where]} {trace.name} {trace.reason}"
    if not trace.is_certain:
        message = f"{owner}: {PLACES[trace.where]} {trace.name} seems to hold a secret ({trace.reason})"
    rule_id = f"secret-in-{trace.where}"
    level = ERROR if trace.is_certain and trace.where != ENV_FILE else WARNING
    command = "manage-secrets migrate" if trace.place and trace.where == "environment" else ""
    return Finding(rule_id, level, message, RULES[rule_id].help, trace.key, service, trace.place, command)


def _of_images(facts: Facts, rows: list[Row]) -> Iterator[Finding]:
    for image in facts.images:
        users = [service for service in facts.services if service.image == image.name]
        for trace in image.traces:
            for service in users:
                if (row := row_of(rows, trace.key, service.stack)) is not None:
                    _mark(row, service.name, PLAIN)
            yield _of_trace(trace, f"image {image.name}", users[0].name if len(users) == 1 else "")


def _stale(container: Container, rows: list[Row], facts: Facts) -> Iterator[Finding]:
    """Compare what a container runs with to what is the newest."""
    service = next((item for item in facts.services if item.name == container.service), None)
    if service is None:
        return
    yield from _edited(container, service, rows)
    if not container.fingerprints:
        return
    by_target = _seen_as(service, rows) if service.kind == "swarm" else {}
    for key, its_print in container.fingerprints.items():
        row, wanted = by_target.get(key) or (row_of(rows, key, service.stack), [])
        if row is None or not row.cells.get(service.name) or any(version.is_template for version in wanted):
            continue
        if row.key != key:  # under another name the same value has another fingerprint
            continue
        wanted = wanted or row.versions[:1]
        expected: Iterable[tuple[str, str]]
        if service.kind == "swarm":
            expected = [(version.fingerprint, version.salt_mark) for version in wanted if version.is_ours]
        else:
            expected = _of_file(row.file, facts)
        comparable = [good for good, mark in expected if mark == container.salt_mark]
        if not comparable or its_print in comparable:
            continue
        _mark(row, service.name, STALE)
        found = (version.name for version in row.versions if version.fingerprint == its_print)
        older = next(found, "a different value")
        message = f"the container {container.name} runs with {older} of {row.title}, not with the current one"
        hint = "restart it, so that it reads the current value"
        command = _anew(container, service)
        yield Finding("container-stale", ERROR, message, hint, row.key, service.name, service.place, command)


def _seen_as(service: AuditedService, rows: list[Row]) -> dict[str, tuple[Row, list[Version]]]:
    """Return which versions a service of the Swarm sees under which key, as its targets are called."""
    versions = {version.id: (row, version) for row in rows for version in row.versions}
    found: dict[str, tuple[Row, list[Version]]] = {}
    for mount in service.mounts:
        key = key_of(mount.target.rpartition("/")[2])
        if key and mount.secret_id in versions:
            row, version = versions[mount.secret_id]
            found.setdefault(key, (row, []))[1].append(version)
    return found


def _anew(container: Container, service: AuditedService) -> str:
    """Return the command that restarts the service."""
    if service.kind == "swarm":
        return f"docker service update --force {quoted(service.name)}"
    if service.kind == "compose":
        is_other = service.name != service.own_name or not service.place  # its files are not those of this folder
        files = "".join(f" -f {quoted(file)}" for file in container.compose_files if is_other)
        files += "".join(f" --env-file {quoted(file)}" for file in container.env_files)
        return f"docker compose -p {quoted(service.stack)}{files} up -d --force-recreate {quoted(service.own_name)}"
    return f"docker restart {quoted(container.name)}"


def _edited(container: Container, service: AuditedService, rows: list[Row]) -> Iterator[Finding]:
    """A file that was changed after the container had started, where nobody can see what its service got."""
    if container.started is None or container.watches:
        return
    for mount in service.mounts:
        row = row_of(rows, mount.key, service.stack) if mount.file else None
        if row is None or row.file is None or row.key in container.seen:
            continue
        if row.file.changed > container.started + _A_MOMENT:
            _mark(row, service.name, STALE)
            message = f"the container {container.name} is older than {row.file.path}, and may have its old value"
            hint = "restart it, so that it reads the current value"
            command = _anew(container, service)
            yield Finding("container-stale", WARNING, message, hint, row.key, service.name, service.place, command)


def _of_file(file: File | None, facts: Facts) -> list[tuple[str, str]]:
    return [(file.fingerprint, facts.files_salt_mark)] if file is not None else []


def _of_age(row: Row, facts: Facts) -> Iterator[Finding]:
    age, left = row.age_days, row.rotate_in_days
    if age is None:
        return
    place = f"{facts.schema}:{row.spec.line}" if row.spec is not None and facts.schema else ""
    command = f"manage-secrets rotate {quoted(row.key)}{stacks.option(row.stack)}" if row.key else ""
    if left is not None and row.spec is not None and row.spec.rotate_days is not None:
        if left < 0:
            level = ERROR if age > 2 * row.spec.rotate_days else WARNING
            old, every = ages.shown(age), ages.shown(row.spec.rotate_days)
            message = f"{row.title} is {old} old, and should be rotated every {every}"
            yield Finding("secret-too-old", level, message, "rotate it", row.key, "", place, command)
        elif left < min(_SOON_DAYS, row.spec.rotate_days / 5):
            message = f"{row.title} must be rotated within {ages.shown(left)}"
            yield Finding("secret-due-soon", NOTE, message, "plan its rotation", row.key, "", place, command)
    elif age > MAX_AGE_DAYS:
        message = f"{row.title} is {ages.shown(age)} old, and no @rotate limits its age"
        hint = "rotate it, and set how often in the schema: @rotate=180d"
        yield Finding("secret-too-old", NOTE, message, hint, row.key, "", place, command)


def _of_use(row: Row, facts: Facts, max_services: int) -> Iterator[Finding]:
    """Too many users, or none."""
    place = f"{facts.schema}:{row.spec.line}" if row.spec is not None and facts.schema else ""
    users = [name for name, states in row.cells.items() if MOUNTED in states]
    if len(users) > max_services:
        message = f"{row.title} is shared by {len(users)} services: {some(users)}"
        hint = "give each a value of its own, or declare that they share it: @services in the schema, or --max-services"
        names_them = row.spec is not None and bool(row.spec.services)
        is_meant = names_them and not any(UNGRANTED in row.cells[name] for name in users)
        yield Finding("secret-shared-widely", NOTE if is_meant else WARNING, message, hint, row.key, "", place)
    newest = row.newest
    # Who has it in plain text is told to mount it, so a file for that is there to stay.
    is_plain = any(PLAIN in states for states in row.cells.values())
    if not users and facts.services and (newest is not None or (row.file is not None and not is_plain)):
        where = newest.name if newest is not None else row.file.path if row.file is not None else ""
        message = f"{row.title} is mounted by no service ({where})"
        command = (
            f"docker secret rm {' '.join(quoted(version.name) for version in row.versions)}" if row.versions else ""
        )
        hint = "remove it, or mount it where it is needed"
        file_place = row.file.path if newest is None and row.file is not None else place
        yield Finding("secret-unused", WARNING, message, hint, row.key, "", file_place, command)
    is_made = row.spec is not None and row.spec.is_made
    lacking = [name for name, states in row.cells.items() if states == (GRANTED,)]
    if users and lacking and not is_made:
        message = f"the schema gives {row.title} to {some(lacking)}, but it is not mounted there"
        hint = RULES["secret-not-mounted"].help
        yield Finding("secret-not-mounted", NOTE, message, hint, row.key, "", place)


def _of_place(row: Row) -> Iterator[Finding]:
    """Files that are open, and secrets that others made."""
    if row.file is not None and row.file.mode & 0o077:
        message = f"{row.file.path} can be read by others (mode {row.file.mode:04o})"
        command = f"chmod 600 {quoted(row.file.path)}"
        hint = "only its owner should be able to read a secret's file"
        yield Finding("file-readable-by-others", ERROR, message, hint, row.key, "", row.file.path, command)
    for version in row.versions:
        if not version.is_ours:
            message = f"the Swarm's secret {version.name} was not created by manage-secrets"
            adopt = f"manage-secrets adopt {quoted(version.name)}{stacks.option(version.stack)}"
            adopt = "" if version.is_template else adopt
            yield Finding("secret-unmanaged", NOTE, message, RULES["secret-unmanaged"].help, row.key, "", "", adopt)


def _of_mounts(facts: Facts) -> Iterator[Finding]:
    open_to_all = sorted(
        service.name for service in facts.services if any((mount.mode or 0) & 0o004 for mount in service.mounts)
    )
    if open_to_all:
        message = f"every user in the containers of {some(open_to_all)} can read their secrets (mode 0444)"
        hint = RULES["mount-readable-by-all"].help
        yield Finding("mount-readable-by-all", NOTE, message, hint, "", open_to_all[0] if len(open_to_all) == 1 else "")


def _of_containers(facts: Facts, rows: list[Row]) -> Iterator[Finding]:
    """Containers that cannot say what they run with; those of services that mount nothing are not among these."""
    if NOT_ASKED in facts.gaps:
        return
    holders = {name for row in rows for name, states in row.cells.items() if MOUNTED in states}
    silent = [
        item.name
        for item in facts.containers
        if item.fingerprints is None and item.service in holders and not gaps.is_of(item.name, facts.gaps)
    ]
    if silent:
        message = f"no shim could be asked in {some(silent)}"
        yield Finding("container-without-shim", NOTE, message, RULES["container-without-shim"].help)
    marks = {version.salt_mark for version in facts.versions if version.is_ours} | {facts.files_salt_mark}
    other = [
        item.name
        for item in facts.containers
        if item.fingerprints is not None and item.salt_mark and item.salt_mark not in marks
    ]
    if other:
        message = f"another key or salt is used in {some(other)} than the secrets were made with"
        yield Finding("container-other-salt", NOTE, message, RULES["container-other-salt"].help)
