"""From a Compose project with values to the same project with secrets: what is to change, as data. Nothing is written.

A variable that is a secret leaves `environment:` and `.env` and becomes a file. A service whose image reads KEY_FILE
itself gets that; every other one is started by the shim, which gives it the variable with the same bytes.
"""

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ruamel.yaml.nodes import ScalarNode

from shim.secret import MAX_SECRET_BYTES, clean, is_key
from shim_host.compose import project as compose
from shim_host.compose.images import ImageConfig
from shim_host.compose.literals import HINTS, hint_at, named_alone, written_out
from shim_host.compose.nodes import Document
from shim_host.compose.places import having, in_extensions, places_of, related, scalars_of, unused_places
from shim_host.compose.project import Project, Service, names_in
from shim_host.env.reduced import decoded, statements
from shim_host.inputs import read_bounded
from shim_host.migrate.composed import find_composed
from shim_host.migrate.inputs import in_files
from shim_host.migrate.model import EnvSource, MigrationPlan, Remark, Wishes
from shim_host.migrate.namesakes import add_inherited, add_same
from shim_host.migrate.services import decide_services, mounting, only_reference, removable
from shim_host.recognition.known_values import KnownValues
from shim_host.recognition.sensitive import is_placeholder, is_telling, named_alike, why_secret
from shim_host.shell import quoted
from shim_host.store.vault import has_private_modes


def make_plan(
    project: Project,
    sources: Sequence[EnvSource],
    wishes: Wishes,
    images: Mapping[str, ImageConfig],
    left: Mapping[str, str] | None = None,
) -> MigrationPlan:
    """Return the `MigrationPlan` for *project*.

    Args:
        project: the project as it is.
        sources: the env files that give `${...}` its values.
        wishes: what the person asked for.
        images: image name -> its configuration, for those that are known.
        left: services that are to stay as they are, and why.

    Raises:
        Refused: an env file has a mistake, or a secret has no free name.
    """
    plan = MigrationPlan(project, wishes, list(sources), left=dict(left or {}))
    parts = _Parts(sources)
    plan.reasons = _reasons(plan, parts)
    for key, why in plan.reasons.items():
        plan.hold([key], "", parts.values[key], why)
    _read_env_files(plan)
    values = {name: compose.environment_of(service, project) for name, service in project.services.items()}
    whys = {name: _whys(plan, service, values[name]) for name, service in project.services.items()}
    add_same(plan, values, whys)
    add_inherited(plan, values, whys)
    plan.public_keys = {key for key, value in parts.values.items() if value and key not in plan.reasons}
    chosen = {name: _chosen(plan, name, values[name], found) for name, found in whys.items()}
    for name, why in plan.left.items():
        keys = chosen.pop(name)
        message = f"it stays as it is, with {', '.join(keys)} in plain text: {why}"
        hint = "see docs/TROUBLESHOOTING.md"
        if others := related(project, name):
            hint = (
                f"it shares extends: with {', '.join(others)}, so each secret that one adds reaches the other: "
                "write its settings out without extends:, or give all of them the same secret variables"
            )
        plan.findings.append(Remark(name, "", message, hint, is_exposed=True))
    decide_services(plan, {name: keys for name, keys in chosen.items() if keys}, images)
    _keep_what_is_referred_to(plan)
    _keep_parts(plan, parts)
    known = _known_values(plan)
    for found in written_out(project, wishes.schema, wishes.public, known, plan.reasons, _removed(plan)):
        owner = f"the value of {found.name}" if found.name else "a value"
        message = f"{found.place} holds {owner} in plain text"
        hint = HINTS.get(found.section, HINTS[""])
        plan.findings.append(Remark(found.service, found.name, message, hint, is_exposed=True))
    plan.findings += [*in_files(plan, known), *_equal_values(plan, known), *_in_extensions(plan, known)]
    plan.findings += _open_files(plan)
    find_composed(plan)
    for held in plan.held.values():
        held.services += [name for name in mounting(plan, held.name) if name not in held.services]
        if not held.services and held.key not in plan.staying:
            hint = "it is kept as a file; remove it if nothing needs it"
            plan.findings.append(Remark("", held.key, "no service gets it", hint))
    return plan


def _known_values(plan: MigrationPlan) -> dict[str, str]:
    """Return the values that are looked for elsewhere, by key; a password that is a user's name is a note instead."""
    values = {held.key: held.value.reveal().decode("utf-8", "surrogateescape") for held in plan.held.values()}
    alike = named_alike(compose.all_variables(plan.project), values)
    weak = [key for key, value in values.items() if value in alike]
    if weak:
        message = f"weak, since a user or a database is called the same: the value of {', '.join(weak)}"
        plan.findings.append(
            Remark("", "", message, "give it a long random value, in the system that it opens as well")
        )
    return {key: value for key, value in values.items() if key not in weak}


def _equal_values(plan: MigrationPlan, known: Mapping[str, str]) -> Iterator[Remark]:
    """Yield a finding for each variable that holds the value of a secret, whatever its name says.

    It is one of an env file, or one that is named in `environment:` without a value.
    """
    owners = _owners(known)
    for name, service in plan.project.services.items():
        moved = {use.key for use in plan.moved[name].uses} if name in plan.moved else set()
        for key, value in compose.environment_of(service, plan.project).items():
            variable = service.variables.get(key)
            if key in moved or key in plan.wishes.public or (variable is not None and variable.raw is not None):
                continue
            owner = (owners.within(value) or ("", ""))[0]
            if owner and owner != key:
                message = f"{key} of its env_file holds the value of {owner} in plain text"
                if variable is not None:
                    message = f"services.{name}.environment.{key} holds the value of {owner} in plain text"
                hint = f"name it with --secret {key}, or with --public {key}"
                yield Remark(name, key, message, hint, is_exposed=True)


def _in_extensions(plan: MigrationPlan, known: Mapping[str, str]) -> Iterator[Remark]:
    """Yield a finding for each `x-` section that keeps the value of a secret."""
    keys = {name: {use.key for use in moved.uses} for name, moved in plan.moved.items()}
    gone = {
        place.at for name, moved in plan.moved.items() for place in places_of(moved.service) if place.key in keys[name]
    }
    names = {key for found in keys.values() for key in found}
    unset = set(plan.reasons) - set(plan.staying)
    gone |= {place.at for place in unused_places(plan.project, names, unset)}
    owners, seen = _owners(known), set()
    for section, node in in_extensions(plan.project, gone):
        owner = (owners.within(str(node.value)) or ("", ""))[0]
        if owner and (section, owner) not in seen:
            seen.add((section, owner))
            message = f"{section} holds the value of {owner} in plain text"
            yield Remark("", owner, message, HINTS["x-"], is_exposed=True)


def _owners(known: Mapping[str, str]) -> KnownValues:
    """Return those of the *known* values that no text has by chance."""
    owners = KnownValues()
    for key, value in known.items():
        if is_telling(value) and not is_placeholder(value):
            owners.add(key, value)
    return owners


def _open_files(plan: MigrationPlan) -> Iterator[Remark]:
    """Yield a note for each secret file of the project that other users of this machine can read."""
    for definition in plan.project.secrets.values():
        file = definition.file
        if file is not None and has_private_modes() and file.is_file() and file.stat().st_mode & 0o077:
            message = f"can be read by others (mode {stat.S_IMODE(file.stat().st_mode):04o})"
            yield Remark("", str(file), message, f"chmod 600 {quoted(str(file))}")


class _Parts:
    """The assignments of the project's env files: each key with its value, and what that is made from."""

    def __init__(self, sources: Sequence[EnvSource]) -> None:
        self.values: dict[str, str] = {}
        self.parts: dict[str, set[str]] = {}
        self.only: dict[str, str] = {}  # the one key that a value consists of
        for source in sources:
            text = decoded(source.data)
            for entry in statements(source.data):
                self.values.setdefault(entry.key, source.environ.get(entry.key, ""))
                written = text[entry.start : entry.end].partition("=")[2].strip().strip('"')
                if other := only_reference(written):
                    self.only[entry.key] = other
            for key, found in parts_of(source.data).items():
                self.parts.setdefault(key, set()).update(found)


def _reasons(plan: MigrationPlan, parts: _Parts) -> dict[str, str]:
    """Return the keys of the project's env files that are secrets, with the reason for each."""
    reasons = {}
    for key, value in parts.values.items():
        why = _why(key, value, plan.wishes)
        if why and value and not why_not(key, value):
            reasons[key] = why
    reasons |= _sources_of_secrets(plan, parts, reasons)
    # What refers to a secret holds it; and once the secret is gone from the file, the reference would lead nowhere.
    while True:
        made = {
            key: f"it is made from {min(parts.parts[key] & set(reasons))}"
            for key, value in parts.values.items()
            if key not in reasons
            and key not in plan.wishes.public
            and parts.parts[key] & set(reasons)
            and value
            and not why_not(key, value)
        }
        if not made:
            return reasons
        reasons.update(made)


def _sources_of_secrets(plan: MigrationPlan, parts: _Parts, reasons: Mapping[str, str]) -> dict[str, str]:
    """Return the keys that give a secret its whole value, as DBROOT does in `MYSQL_ROOT_PASSWORD=${DBROOT}`."""
    given: dict[str, str] = {}
    for service in plan.project.services.values():
        for key, variable in service.variables.items():
            source = only_reference(variable.raw or "")
            value = parts.values.get(source, "")
            if value and _why(key, value, plan.wishes):
                given.setdefault(source, key)
    for key in reasons:
        if key in parts.only:
            given.setdefault(parts.only[key], key)
    return {
        source: f"it gives {key} its value"
        for source, key in given.items()
        if source not in reasons
        and source not in plan.wishes.public
        and not why_not(source, parts.values.get(source, ""))
    }


def parts_of(env_data: bytes, dialect: str = "compose") -> dict[str, set[str]]:
    """Return the variables that each value of an env file refers to; a bare name is its own part."""
    text = decoded(env_data)
    parts: dict[str, set[str]] = {}
    for key, start, end in statements(env_data, dialect):
        raw = text[start:end].partition("=")[2].lstrip()
        parts.setdefault(key, set()).update(() if raw.startswith("'") or dialect == "raw" else names_in(raw))
    return parts


def _read_env_files(plan: MigrationPlan) -> None:
    """Note which variables each `env_file:` sets, values aside."""
    for service in plan.project.services.values():
        for use in service.env_files:
            path = use.path.absolute()
            if path not in plan.env_file_keys and use.path.exists():
                data = read_bounded(use.path)
                plan.env_file_keys[path] = {entry.key for entry in statements(data, use.dialect)}


def _why(key: str, value: str, wishes: Wishes) -> str:
    if key in wishes.secret:
        return "by --secret"
    return "" if key in wishes.public else why_secret(key, value, wishes.schema)


def why_not(key: str, value: str) -> str:
    """Return why no secret file can give a service this variable with the same bytes, or ""."""
    data = value.encode("utf-8", "surrogateescape")
    if not is_key(key):
        return "its name is not a shell variable, and the shim sets no other"
    if clean(data) != data:
        return "its value ends in a line end (or begins with a byte order mark), which a secret file loses"
    if len(data) > MAX_SECRET_BYTES:
        return "its value is too large for a secret"
    return ""


def _whys(plan: MigrationPlan, service: Service, values: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of *service* that are secrets, with the reason for each."""
    whys = {}
    parts: dict[str, set[str]] = {}
    for use in service.env_files:
        if use.path.exists():
            parts.update(parts_of(read_bounded(use.path), use.dialect))
    parts.update({key: names_in(variable.raw or "") for key, variable in service.variables.items()})
    for key, value in values.items():
        variable = service.variables.get(key)
        # A name without a value takes that of the project's env file, as an env_file does.
        is_written_here = variable is not None and variable.raw is not None
        why = _why(key, value, plan.wishes) or ("" if is_written_here else plan.reasons.get(key, ""))
        secret_parts = parts.get(key, set()) & set(plan.reasons)
        if not why and secret_parts and key not in plan.wishes.public:
            why = f"it is made from {min(secret_parts)}"
        if why and value:
            whys[key] = why
    return whys


def _chosen(
    plan: MigrationPlan, name: str, values: Mapping[str, str], whys: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Return the variables of the service *name* that become secrets: key -> value and reason."""
    chosen = {}
    for key, why in whys.items():
        value = values[key]
        against = why_not(key, value)
        if not against and values.get(f"{key}_FILE"):
            against = f"{key}_FILE is set, too, and the two would be one"
        if against:
            hint = _WAY_OUT if not is_key(key) else ""
            message = f"it stays in plain text: {against}"
            plan.findings.append(Remark(name, key, message, hint, is_exposed=True))
        else:
            chosen[key] = (value, why)
    return chosen


_WAY_OUT = (
    "give it a name of letters, digits and _ that the service reads as well (Spring reads APP_DB_PASSWORD for "
    "app.db.password), or let the shim write it into a file that the service reads: --render"
)


def _removed(plan: MigrationPlan) -> set[int]:
    """Return the nodes that the migration takes out, by their `id`."""
    found = set()
    for moved in plan.moved.values():
        keys = {use.key for use in moved.uses}
        found |= {id(place.node) for place in places_of(moved.service) if place.key in keys}
    return found


def _keep_what_is_referred_to(plan: MigrationPlan) -> None:
    """Find the secrets that the Compose file puts where no file can be: a command, a label, a build argument."""
    removed = _removed(plan)
    env_files = {source.path.absolute(): source.path for source in plan.sources}
    for document in plan.project.documents:
        for path, node in scalars_of(plan.project, document):
            text = str(node.value)
            # By an anchor it may be elsewhere, too.
            is_removed = id(node) in removed and path[2:3] == ("environment",)
            names = names_in(text) & set(plan.reasons) if "$" in text and not is_removed else set()
            for key in sorted(names):
                _stays(plan, document, path, node, key)
            mounted = env_files.get((document.folder / text.partition(":")[0]).absolute())
            if path[0] == "services" and path[2:3] == ("volumes",) and mounted is not None:
                hint = "let it read its environment, or the files in /run/secrets"
                message = f"it mounts {mounted} and may read the values there"
                services = having(plan.project, document, path, node)
                plan.findings += [Remark(service, "", message, hint, is_exposed=True) for service in services]
    for found in named_alone(plan.project, plan.reasons, removed):
        _stays(plan, found.document, found.path, found.node, found.key)


def _stays(plan: MigrationPlan, document: Document, path: tuple[str, ...], node: ScalarNode, key: str) -> None:
    """Keep *key* in the env file, because what is at *path* takes it from there."""
    where = ".".join(path[:4])
    plan.staying.setdefault(key, where)
    services = having(plan.project, document, path, node) if path[0] == "services" else [""]
    message = f"{where} holds it in plain text, so it stays in {plan.env_name(key)} too"
    for service in services:
        is_unknown = path[2:3] == ("environment",) and service in plan.unknown
        plan.findings.append(
            Remark(service, key, message, _FIRST_THE_IMAGE if is_unknown else hint_at(path), is_exposed=True)
        )


_FIRST_THE_IMAGE = "it moves, too, once the image is known: --image-config"


def _keep_parts(plan: MigrationPlan, parts: _Parts) -> None:
    """Keep what the values that stay in an env file are made from."""
    env_files = {source.path.absolute() for source in plan.sources}
    wanted: dict[str, str] = {}
    for service in plan.project.services.values():
        for use in service.env_files:
            if use.path.exists() and use.path.absolute() not in env_files:
                path = use.path
                staying = parts_of(read_bounded(path), use.dialect)
                gone = removable(plan, path, staying)
                for key, found in staying.items():
                    if key not in gone or not _is_moved_everywhere(plan, path, key):
                        wanted.update(dict.fromkeys(found, f"{key} in {path}"))
    while True:
        for key, found in parts.parts.items():
            if key not in plan.reasons or key in plan.staying:
                wanted.update(dict.fromkeys(found, key))
        new = {key: why for key, why in wanted.items() if key in plan.reasons and key not in plan.staying}
        if not new:
            return
        for key, why in new.items():
            plan.staying[key] = why
            message = f"it stays in {plan.env_name(key)}: {why} is made from it"
            plan.findings.append(Remark("", key, message, "fix what holds that one first", is_exposed=True))


def _is_moved_everywhere(plan: MigrationPlan, path: Path, key: str) -> bool:
    """Return whether *key* is a secret in every service that reads the env file *path*."""
    users = [
        name
        for name, service in plan.project.services.items()
        if any(use.path.absolute() == path.absolute() for use in service.env_files)
    ]
    return all(name in plan.moved and any(use.key == key for use in plan.moved[name].uses) for name in users)
