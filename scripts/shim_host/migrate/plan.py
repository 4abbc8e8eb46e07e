"""From a Compose project with values to the same project with secrets: what is to change, as data. Nothing is written.

A variable that is a secret leaves `environment:` and `.env` and becomes a file. A service whose image reads KEY_FILE
itself gets that; every other one is started by the shim, which gives it the variable with the same bytes.
"""

from collections.abc import Mapping
from pathlib import Path

from shim.secret import MAX_SECRET_BYTES, clean, is_key
from shim_host.compose import project as compose
from shim_host.compose.images import ImageConfig
from shim_host.compose.places import scalars, variable_nodes
from shim_host.compose.project import Project, Service, names_in
from shim_host.env.reduced import decoded, statements
from shim_host.errors import Refused
from shim_host.migrate.literals import HINTS, written_out
from shim_host.migrate.model import Finding, Plan, Wishes
from shim_host.migrate.services import avoid_both, decide_services
from shim_host.sensitive import why_secret


def make_plan(
    project: Project, env_file: Path | None, env_data: bytes, wishes: Wishes, images: Mapping[str, ImageConfig]
) -> Plan:
    """Return the `Plan` for *project*.

    Args:
        project: the project as it is.
        env_file: its `.env`, if there is one.
        env_data: the content of that.
        wishes: what the person asked for.
        images: image name -> its configuration, for those that are known.

    Raises:
        Refused: something is not known that decides what a service would see; all of it is named at once.
    """
    plan = Plan(project, wishes, env_file)
    plan.reasons = _reasons(project, env_data, wishes)
    for key, why in plan.reasons.items():
        plan.hold([key], "", project.environ[key], why)
    chosen = {name: _chosen(plan, service) for name, service in project.services.items()}
    _refuse_shared_nodes(project)
    decide_services(plan, {name: keys for name, keys in chosen.items() if keys}, images)
    _keep_what_is_referred_to(plan)
    known = {held.key: held.value.reveal().decode("utf-8", "surrogateescape") for held in plan.held.values()}
    plan.findings += written_out(project, wishes, known, plan.reasons, _removed(plan))
    avoid_both(plan)
    for held in plan.held.values():
        if not held.services and held.key not in plan.staying:
            hint = "it is kept as a file; remove it if nothing needs it"
            plan.findings.append(Finding("", held.key, "no service gets it", hint))
    return plan


def _reasons(project: Project, env_data: bytes, wishes: Wishes) -> dict[str, str]:
    """Return the keys of `.env` that are secrets, with the reason for each."""
    values = {entry.key: project.environ.get(entry.key, "") for entry in statements(env_data)}
    reasons = {}
    for key, value in values.items():
        why = _why(key, value, wishes)
        if why and value and not why_not(key, value):
            reasons[key] = why
    parts = _parts(env_data)
    # What refers to a secret holds it; and once the secret is gone from the file, the reference would lead nowhere.
    while True:
        made = {
            key: f"it is made from {min(parts[key] & set(reasons))}"
            for key in values
            if key not in reasons and parts[key] & set(reasons) and values[key] and not why_not(key, values[key])
        }
        if not made:
            return reasons
        reasons.update(made)


def _parts(env_data: bytes, dialect: str = "compose") -> dict[str, set[str]]:
    """Return the variables that each value of an env file refers to."""
    text = decoded(env_data)
    parts = {}
    for key, start, end in statements(env_data, dialect):
        raw = text[start:end].partition("=")[2].lstrip()
        parts[key] = set() if raw.startswith("'") or dialect == "raw" else names_in(raw)
    return parts


def _why(key: str, value: str, wishes: Wishes) -> str:
    if key in wishes.secret:
        return "you said so"
    return "" if key in wishes.public else why_secret(key, value, wishes.schema)


def why_not(key: str, value: str) -> str:
    """Return why no secret file can give a service this variable with the same bytes, or ""."""
    data = value.encode("utf-8", "surrogateescape")
    if not is_key(key):
        return "its name is no variable of a shell"
    if clean(data) != data:
        return "its value ends in a line end (or begins with a byte order mark), which a secret file loses"
    if len(data) > MAX_SECRET_BYTES:
        return "its value is too large for a secret"
    return ""


def _chosen(plan: Plan, service: Service) -> dict[str, tuple[str, str]]:
    """Return the variables of *service* that become secrets: key -> value and reason."""
    chosen = {}
    parts: dict[str, set[str]] = {}
    for use in service.env_files:
        if use.path.exists():
            parts.update(_parts(use.path.read_bytes(), use.dialect))
    parts.update({key: names_in(variable.raw or "") for key, variable in service.variables.items()})
    for key, value in compose.environment_of(service, plan.project).items():
        is_written_here = key in service.variables
        why = _why(key, value, plan.wishes) or ("" if is_written_here else plan.reasons.get(key, ""))
        secret_parts = parts.get(key, set()) & set(plan.reasons)
        if not why and secret_parts and key not in plan.wishes.public:
            why = f"it is made from {min(secret_parts)}"
        if not why or not value:
            continue
        reason_against = why_not(key, value)
        if reason_against:
            plan.findings.append(Finding(service.name, key, f"it stays in plain: {reason_against}", is_exposed=True))
        else:
            chosen[key] = (value, why)
    return chosen


def _refuse_shared_nodes(project: Project) -> None:
    owners: dict[int, str] = {}
    for name, service in project.services.items():
        node = service.definitions[-1].node
        if owners.setdefault(id(node), name) != name:
            hint = "write it out, or let it extend the other one"
            raise Refused(f"the service {name} is an alias of {owners[id(node)]}", hint)


def _removed(plan: Plan) -> set[int]:
    """Return the nodes that the migration takes out, by their `id`."""
    return {
        id(node)
        for moved in plan.moved.values()
        for use in moved.uses
        for node in variable_nodes(moved.service, use.key)
    }


def _keep_what_is_referred_to(plan: Plan) -> None:
    """Find the secrets that the Compose file puts where no file can be: a command, a label, a build argument."""
    removed = _removed(plan)
    for name, definition in plan.project.secrets.items():
        if definition.environment in plan.reasons:
            plan.staying.setdefault(str(definition.environment), f"secrets.{name}")
    for document in plan.project.documents:
        for path, node in scalars(document.root, ()):
            service = path[1] if path[0] == "services" and len(path) > 1 else ""
            text = str(node.value)
            found = names_in(text) & set(plan.reasons) if "$" in text and id(node) not in removed else set()
            where = ".".join(path[:4])
            for key in sorted(found):
                plan.staying.setdefault(key, where)
                message = f"{where} holds it in plain, so it stays in {plan.env_file or '.env'} too"
                hint = HINTS.get("".join(path[2:3]), HINTS[""])
                plan.findings.append(Finding(service, key, message, hint, is_exposed=True))
            if (
                service
                and path[2:3] == ("volumes",)
                and _mounts(plan.env_file, document.folder / text.partition(":")[0])
            ):
                hint = "let it read its environment, or the files in /run/secrets"
                message = f"it mounts {plan.env_file} and may read the values there"
                plan.findings.append(Finding(service, "", message, hint, is_exposed=True))


def _mounts(env_file: Path | None, source: Path) -> bool:
    return env_file is not None and source.absolute() == env_file.absolute()
