"""What is wrong with the secrets of a project: everything at once, each with its repair. Decides; changes nothing."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shim.schema import KeySpec, Schema, check_value, composed_value, references
from shim.secret import Secret, clean, is_skipped
from shim_host import deployment_key, names
from shim_host.backup import locked
from shim_host.errors import Ended
from shim_host.generate import mistake_of
from shim_host.inventory import Outside, creation, env_files_with_secrets, outside_files
from shim_host.shell import quoted
from shim_host.store import gitignore, vault
from shim_host.store.vault import FILE_MODE, FOLDER_MODE, Entry, Vault, Writer

if TYPE_CHECKING:
    from shim_host.compose.project import Project, Service

_NOTHING = Secret(b"")

Repair = Callable[[Writer], None]


class Fault(NamedTuple):
    """One thing that is wrong; `repair` fixes it where that is safe."""

    kind: str
    key: str
    where: str
    message: str
    hint: str
    repair: Repair | None = None


class Subject(NamedTuple):
    """All that is looked at."""

    store: Vault
    entries: Mapping[str, Entry]  # by file name
    unreadable: Mapping[str, Ended]  # why a file could not be read, by file name
    schema: Schema | None
    env_files: Sequence[Path]
    env: Mapping[str, Secret]
    project: "Project | None"
    image_users: Mapping[str, str]  # by service, where the image is known
    outside: Mapping[str, Outside]  # the project's other secret files, by key
    in_swarm: frozenset[str] = frozenset()  # keys that need no file here
    expects_values: bool = True  # False in CI, where nobody has them

    @property
    def env_file(self) -> Path:
        """Return the env file that counts most."""
        return self.env_files[-1]


def subject_of(
    store: Vault,
    schema: Schema | None,
    env_files: Sequence[Path],
    env: Mapping[str, Secret],
    project: "Project | None",
    image_users: Mapping[str, str],
) -> Subject:
    """Return what is to be looked at; a file that cannot be read is a finding, not the end."""
    entries: dict[str, Entry] = {}
    unreadable: dict[str, Ended] = {}
    for name in store.names():
        try:
            entry = store.read(name)
        except Ended as ended:
            unreadable[name] = ended
        else:
            if entry is not None:
                entries[name] = entry
    outside = outside_files(project, store, [*(schema.keys if schema else ()), *env])
    return Subject(store, entries, unreadable, schema, env_files, env, project, image_users, outside)


def findings(subject: Subject) -> list[Fault]:
    """Return everything that is wrong, the schema's keys first."""
    keys = _keys(subject)
    by_key = entries_by_key(subject)
    found = [
        *_of_keys(subject, by_key),
        *_of_composed(subject, by_key),
        *_of_names(subject, keys),
        *_of_files(subject, keys),
        *_of_outside(subject),
        *_of_folder(subject),
        *_of_fingerprint_key(subject),
        *_of_git(subject),
        *_of_locked(subject, keys),
    ]
    if subject.project is not None:
        found += _of_services(subject, subject.project)
    if subject.schema is not None:
        found += _unused(subject, by_key, subject.schema)
        found += _of_decorators(subject, by_key, subject.schema)
    return found


def entries_by_key(subject: Subject) -> dict[str, Entry]:
    """Return the secret files by their keys."""
    return {key: subject.entries[name] for name, key in _keys(subject).items() if key}


def _keys(subject: Subject) -> dict[str, str]:
    return names.keys_of(subject.entries, [*(subject.schema.keys if subject.schema else ()), *subject.env])


def _of_keys(subject: Subject, by_key: Mapping[str, Entry]) -> Iterator[Fault]:
    """Missing, empty, of the wrong type, a placeholder: what the schema says, where the value is."""
    in_compose = _compose_keys(subject.project)
    for spec in subject.schema.keys.values() if subject.schema else ():
        entry = by_key.get(spec.key)
        if entry is not None:
            yield from _of_value(spec, _value_of(entry, spec), subject.store.shown(entry.name), subject.store)
        elif spec.key in subject.outside:
            path, entry = subject.outside[spec.key]
            yield from _of_value(spec, _value_of(entry, spec), str(path), None)
        elif len(subject.env.get(spec.key, _NOTHING)):
            where = str(subject.env_file)
            yield from _of_value(spec, subject.env[spec.key].reveal(), where, None)
            if spec.is_sensitive and spec.is_required and subject.entries:
                message = "is in plain text in the .env, and has no file"
                yield Fault("not-a-file", spec.key, where, message, f"manage-secrets create-from-env {quoted(where)}")
        elif not spec.is_required or spec.default is not None or spec.is_derived or not subject.expects_values:
            continue
        elif spec.key not in subject.in_swarm and spec.key not in in_compose:
            yield _missing(subject, spec)


def _of_composed(subject: Subject, by_key: Mapping[str, Entry]) -> Iterator[Fault]:
    """Files that do not hold what the schema composes: a part has changed since."""
    values = {key: clean(value.reveal()) for key, value in subject.env.items()}
    values |= {key: clean(entry.value.reveal()) for key, entry in by_key.items()}
    for spec in subject.schema.keys.values() if subject.schema else ():
        value = composed_value(spec, values.get) if spec.key in by_key else None
        entry = by_key.get(spec.key)
        if value is None or entry is None or clean(entry.value.reveal()) == value:
            continue

        def compose(writer: Writer, name: str = entry.name, value: bytes = value) -> None:
            writer.write(name, value)

        message = f"is not what the schema composes from {', '.join(references(spec.composed or ''))}"
        yield Fault(
            "stale", spec.key, subject.store.shown(entry.name), message, "manage-secrets validate --fix", compose
        )


def _missing(subject: Subject, spec: KeySpec) -> Fault:
    hint = f"write {spec.key}=VALUE into {subject.env_file}"
    if spec.generate is not None:
        hint = f"manage-secrets generate {quoted(spec.key)}"
    elif spec.is_sensitive:
        hint = f"manage-secrets set {quoted(spec.key)}"
    if spec.key in subject.env:
        return Fault("empty", spec.key, str(subject.env_file), "is required, and is empty", hint)
    return Fault("missing", spec.key, str(subject.store.path), "is required, and nothing provides it", hint)


def _compose_keys(project: "Project | None") -> set[str]:
    """Return the keys that some service is given a value of in its plain environment."""
    services = project.services.values() if project is not None else ()
    return {key for service in services for key, value in service.environment.items() if value}


def _value_of(entry: Entry, spec: KeySpec) -> bytes:
    value = entry.value.reveal()
    return value if spec.raw_bytes and len(value) == spec.raw_bytes else clean(value)


def _of_value(spec: KeySpec, value: bytes, where: str, store: Vault | None) -> Iterator[Fault]:
    wrong = check_value(spec, value)
    if not wrong and store is not None and value and value == _example(store, where):
        wrong = "still has the value from the example file"
    if wrong:
        kind = "empty" if not value else "placeholder" if "placeholder" in wrong or "example" in wrong else "type"
        yield Fault(kind, spec.key, where, wrong, f"set the right value in {where}")


def _example(store: Vault, where: str) -> bytes | None:
    example = store.read(Path(where).name + ".example")
    return clean(example.value.reveal()) if example is not None else None


def _of_names(subject: Subject, keys: Mapping[str, str]) -> Iterator[Fault]:
    """Names that no key or no Swarm has, and two names of one key."""
    first: dict[str, str] = {}
    for name, key in keys.items():
        where = subject.store.shown(name)
        if not key:
            yield Fault("name", "", where, "the name cannot become a key", "rename it to letters, digits and _")
        elif key in first:
            message = f"is the same key as {subject.store.shown(first[key])}, and the shim refuses two"
            yield Fault("name", key, where, message, "remove one of the two")
        elif not names.is_swarm_name(name):
            yield Fault(
                "name", key, where, "the Swarm refuses this name", f"create-swarm calls it {names.swarm_base(name)}"
            )
        first.setdefault(key, name)


def _of_files(subject: Subject, keys: Mapping[str, str]) -> Iterator[Fault]:
    """Modes, and what editors and shells of other systems leave in a file."""
    for name, ended in subject.unreadable.items():
        hint = ended.hints[0] if ended.hints else "look at the file"
        yield Fault("file", "", subject.store.shown(name), ended.message, hint)
    for name, entry in subject.entries.items():
        where = subject.store.shown(name)
        if vault.has_private_modes() and entry.mode & ~FILE_MODE:

            def restrict(writer: Writer, name: str = name) -> None:
                writer.restrict(name)

            message = f"can be read by others (mode {entry.mode:04o})"
            yield Fault("mode", keys[name], where, message, f"chmod {FILE_MODE:o} {quoted(where)}", restrict)
        value = entry.value.reveal()
        if _is_foreign_text(value):

            def rewrite(writer: Writer, name: str = name, value: bytes = value) -> None:
                writer.write(name, clean(value))

            message = "holds a byte order mark, UTF-16 or CR at its end, which not every reader drops"
            yield Fault("encoding", keys[name], where, message, "save it as UTF-8 with Unix line ends", rewrite)


def _of_outside(subject: Subject) -> Iterator[Fault]:
    """Files of the Compose project's secrets that are not in ./secrets: they are not changed here, but looked at."""
    for key, (path, entry) in subject.outside.items():
        if vault.has_private_modes() and entry.mode & 0o077:
            message = f"can be read by others (mode {entry.mode:04o})"
            hint = f"chmod {FILE_MODE:o} {quoted(str(path))}, or move it to {subject.store.path}"
            yield Fault("mode", key, str(path), message, hint)


def _is_foreign_text(value: bytes) -> bool:
    return clean(value) != value and (not value.endswith(b"\n") or clean(value) != value.rstrip(b"\n"))


def _of_folder(subject: Subject) -> Iterator[Fault]:
    path = subject.store.path
    if vault.has_private_modes() and path.is_dir():
        mode = path.stat().st_mode & 0o7777
        if mode & 0o077:

            def nothing_more(writer: Writer) -> None:
                """Opening the folder to write restricts it already."""

            message = f"can be entered by others (mode {mode:04o})"
            yield Fault("mode", "", str(path), message, f"chmod {FOLDER_MODE:o} {quoted(str(path))}", nothing_more)


def _of_fingerprint_key(subject: Subject) -> Iterator[Fault]:
    """The key of the fingerprints, if others know it or could have chosen it."""
    if (found := deployment_key.doubt(subject.store)) is not None:
        yield Fault("mode", "", subject.store.shown(deployment_key.FILE), found.message, found.command, found.repair)


def _of_git(subject: Subject) -> Iterator[Fault]:
    """What git has, or would take with the next `git add`."""
    outside = {os.path.normpath(item.path) for item in subject.outside.values()}
    env_files = [*subject.env_files, *env_files_with_secrets(subject.project, subject.schema)]
    tracked = gitignore.tracked([subject.store.path, *env_files, *map(Path, sorted(outside))])
    if tracked is None:
        return
    whole = {*map(os.path.normpath, env_files), *outside}
    for name in tracked:
        path = Path(name)
        if os.path.normpath(name) not in whole and (is_skipped(path.name) or path.name not in subject.entries):
            continue
        hint = f"git rm --cached {quoted(name)}, and rotate what it holds: the history keeps it"
        yield Fault("in-git", "", name, "is in git", hint)
    lines = gitignore.missing(Path(), subject.store.path, subject.env_file)
    for path, lacking in lines.items():
        message = f"does not keep {subject.store.path} and {subject.env_file} out of git"
        yield Fault("in-git", "", str(path), message, f"add {' '.join(lacking)}", partial(_ignore, {path: lacking}))
    files = () if lines else [subject.store.path / name for name in subject.entries if not is_skipped(name)]
    for name in sorted({*gitignore.taken(files)}.difference(tracked)):
        shown = f"git check-ignore --verbose --no-index {quoted(name)} shows the line: remove it"
        yield Fault("in-git", "", name, "is not kept out of git: a line of a .gitignore lets it in", shown)


def _ignore(lines: Mapping[Path, Sequence[str]], _writer: Writer) -> None:
    gitignore.add(lines)


def _of_locked(subject: Subject, keys: Mapping[str, str]) -> Iterator[Fault]:
    """Values and their encrypted files in git that are not the same any more, and which of the two is newer."""
    folder = locked.beside(subject.store)
    sealed = folder.sealed()
    if not sealed:
        return
    note, recipients = locked.Note.of(subject.store), folder.recipients()
    keys = {**names.keys_of(sealed, subject.schema.keys if subject.schema else ()), **keys}
    for name in sorted({*sealed, *subject.entries}):
        entry, key, where = subject.entries.get(name), keys.get(name, ""), folder.shown(name)
        standing = note.standing(name, entry.value if entry is not None else None, sealed.get(name))
        if name in sealed and not note.is_for(name, sealed[name], recipients):
            message = "is not encrypted to exactly the keys in the file of recipients"
            yield Fault("locked", key, where, message, "manage-secrets lock encrypts it again")
        elif subject.expects_values:
            yield from _of_standing(standing, key, where)


def _of_standing(standing: str, key: str, where: str) -> Iterator[Fault]:
    lock, unlock = f"manage-secrets lock {quoted(key)}", f"manage-secrets unlock {quoted(key)}"
    if standing == locked.HERE:
        yield Fault("locked", key, where, "is older than the value in the folder of secrets", lock)
    elif standing == locked.ONLY_HERE:
        yield Fault("locked", key, where, "is missing, although other values are encrypted", lock)
    elif standing == locked.THERE:
        yield Fault("locked", key, where, "is newer than the value in the folder of secrets", unlock)
    elif standing == locked.ONLY_THERE:
        yield Fault("locked", key, where, "has no value in the folder of secrets", unlock)
    elif standing == locked.BOTH:
        hint = f"{unlock} --force takes this one, {lock} --force the other"
        yield Fault("locked", key, where, "changed, and so did the value in the folder of secrets", hint)
    elif standing == locked.GONE_HERE:
        hint = f"git rm {quoted(where)} removes it for everyone, {unlock} brings the value back"
        yield Fault("locked", key, where, "is still there, although its value was removed", hint)
    elif standing == locked.GONE_THERE:
        hint = f"manage-secrets remove {quoted(key)} removes the value too, {lock} --force brings the file back"
        yield Fault("locked", key, where, "was removed, although its value is still here", hint)
    elif standing == locked.UNKNOWN:
        yield Fault(
            "locked", key, where, "may hold a different value from the folder of secrets", f"{unlock} compares them"
        )


def _of_services(subject: Subject, project: "Project") -> Iterator[Fault]:
    """Secrets that a service names and nobody defines, or whose file is not there; users who could not read them."""
    for service in project.services.values():
        for use in service.secrets:
            definition = project.secrets.get(use.source)
            if definition is None:
                hint = f"define it under secrets: with file: {subject.store.path / use.source}"
                message = f"refers to the secret {use.source}, which is not defined"
                yield Fault("undefined", "", service.name, message, hint)
            elif subject.expects_values and definition.file is not None and not definition.file.is_file():
                message = f"needs the secret {use.source}, whose file {definition.file} is missing"
                yield Fault(
                    "missing", "", service.name, message, creation(subject.schema, definition.file, subject.store)
                )
        yield from _of_user(subject, project, service)


def _of_user(subject: Subject, project: "Project", service: "Service") -> Iterator[Fault]:
    """A service that neither starts as root, as the shim does before it becomes another user, nor owns its files."""
    user = (service.user or subject.image_users.get(service.name, "")).partition(":")[0]
    if user in ("", "0", "root"):
        return
    definitions = [project.secrets[use.source] for use in service.secrets if use.source in project.secrets]
    files = [definition.file for definition in definitions if definition.file is not None]
    if not any(
        file.is_file() and str(file.stat().st_uid) != user and not file.stat().st_mode & 0o004 for file in files
    ):
        return
    message = f"runs as {user}, who cannot read files of mode 0600 under Compose"
    hint = f"start it as root through the shim with --user {user}"
    if user.isdecimal():
        hint += f", or manage-secrets create-from-env --owner {quoted(user)}"
    yield Fault("user", "", service.name, message, hint)


def _unused(subject: Subject, by_key: Mapping[str, Entry], schema: Schema) -> Iterator[Fault]:
    """Files that neither the schema nor a service asks for."""
    named: set[str] = set()
    asked: set[str] = set()
    if subject.project is not None:
        from shim_host.compose.literals import names_asked_for

        asked = names_asked_for(subject.project, by_key)
        for service in subject.project.services.values():
            named.update(use.source for use in service.secrets)
        named.update(item.file.name for item in subject.project.secrets.values() if item.file is not None)
    for key, entry in by_key.items():
        if key not in schema.keys and key not in asked and entry.name not in named:
            message = "neither the schema nor a service asks for it"
            hint = f"remove it, or add {key}= to {schema.source}"
            yield Fault("unused", key, subject.store.shown(entry.name), message, hint)


def _of_decorators(subject: Subject, by_key: Mapping[str, Entry], schema: Schema) -> Iterator[Fault]:
    """What `generate` and `rotate` would refuse because of the schema, before anybody waits for a rotation."""
    for spec in schema.keys.values():
        if (wrong := mistake_of(spec)) is not None:
            yield Fault("generate", spec.key, f"{schema.source}:{spec.line}", *wrong)
    if all(spec.rotate_with is None for spec in schema.keys.values()):
        return
    from shim_host.rotate import decorator

    for spec, mistake in decorator.mistakes(schema, {*by_key, *subject.env, *subject.in_swarm}):
        where = f"{schema.source}:{spec.line}"
        yield Fault("rotate-with", spec.key, where, mistake.message, mistake.hint)
