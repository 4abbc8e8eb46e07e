"""From a Compose project with values to the same project with secrets: what is to change, as data. Nothing is written.

A variable that is a secret leaves `environment:` and `.env` and becomes a file. A service whose image reads KEY_FILE
itself gets that; every other one is started by the shim, which gives it the variable with the same bytes.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim.schema import Schema
from shim.secret import MAX_SECRET_BYTES, Secret, clean, env_key, is_key
from shim_host import compose, names, profiles
from shim_host.compose import SECRETS_ROOT, Project, Service, names_in
from shim_host.compose_yaml import Document, child, elements, layers, scalar
from shim_host.env_reduced import decoded, statements
from shim_host.errors import Refused
from shim_host.images import ImageConfig
from shim_host.profiles import Profile
from shim_host.sensitive import why_secret

SHIM, IMAGE, READY = "shim", "image", "already"  # who hands a service its secrets: the shim, its image, a shim it has
_ROOTS = ("", "0", "root")


@dataclass(frozen=True)
class Wishes:
    """What the person asked for."""

    schema: Schema | None = None
    secret: frozenset[str] = frozenset()
    public: frozenset[str] = frozenset()
    secrets_dir: Path = Path("secrets")


class Finding(NamedTuple):
    """What could not be migrated, or will surprise; *service* is empty when it concerns the project."""

    service: str
    key: str
    message: str
    hint: str = ""


@dataclass
class Held:
    """One value that becomes a secret file."""

    name: str
    key: str
    value: Secret
    why: str
    services: list[str] = field(default_factory=list)


class Use(NamedTuple):
    """A secret as one service gets it."""

    key: str
    source: str
    target: str
    needs_pointer: bool  # the shim takes it only from KEY_FILE


@dataclass
class Moved:
    """What changes in one service."""

    service: Service
    image: ImageConfig | None
    how: str = SHIM
    why: str = ""
    uses: list[Use] = field(default_factory=list)
    user: str = ""  # whom the shim becomes
    options: list[str] = field(default_factory=list)  # of the shim
    entrypoint: list[str] | None = None  # the whole new one; None: it stays, or the old text gets a prefix
    command: list[str] | None = None  # the image's, where a new entrypoint would erase it
    healthcheck: list[str] | None = None  # the image's, with the shim in front
    wraps_healthcheck: bool = False  # the Compose file's own gets the shim in front

    @property
    def mounts_shim(self) -> bool:
        """Return whether the shim has to be in the container."""
        return self.how == SHIM or self.wraps_healthcheck or self.healthcheck is not None


@dataclass
class Plan:
    """The whole migration."""

    project: Project
    wishes: Wishes
    env_file: Path | None = None
    held: dict[str, Held] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # key of the .env -> why it is a secret
    moved: dict[str, Moved] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    staying: dict[str, str] = field(default_factory=dict)  # secret keys that `.env` must keep -> why

    def place(self, name: str) -> str:
        """Return the path of the secret file *name*, as the Compose file writes it."""
        return compose_path(self.wishes.secrets_dir / name, self.project.folder)


def compose_path(path: Path, folder: Path) -> str:
    """Return *path* as a Compose file in *folder* writes it: relative, but where the two have nothing in common."""
    path, folder = path.absolute(), folder.absolute()
    if path.parts[:2] != folder.parts[:2]:
        return str(path)
    relative = os.path.relpath(path, folder).replace(os.sep, "/")
    return relative if relative.startswith("../") else f"./{relative}"


def image_of(service: Service, project: Project) -> str:
    """Return the image's name; Compose names one that it builds after project and service."""
    return service.image or f"{project.name}-{service.name}"


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
        _hold(plan, [key], "", project.environ[key], why)
    chosen = {name: _chosen(plan, service) for name, service in project.services.items()}
    _refuse_shared_nodes(project)
    _decide_services(plan, {name: keys for name, keys in chosen.items() if keys}, images)
    _keep_what_is_referred_to(plan)
    _avoid_both(plan)
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
    text = decoded(env_data)
    parts = {entry.key: names_in(text[entry.start : entry.end].partition("=")[2]) for entry in statements(env_data)}
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
    for key, value in compose.environment_of(service, plan.project).items():
        variable = service.variables.get(key)
        why = _why(key, value, plan.wishes) or (plan.reasons.get(key, "") if variable is None else "")
        if not why and variable is not None and variable.raw is not None:
            secret_parts = names_in(variable.raw) & set(plan.reasons)
            why = f"it is made from {min(secret_parts)}" if secret_parts and value else ""
        if not why:
            continue
        reason_against = "it is empty" if not value else why_not(key, value)
        if not value:
            continue
        if reason_against:
            plan.findings.append(Finding(service.name, key, f"it stays in plain: {reason_against}"))
            continue
        chosen[key] = (value, why)
    return chosen


def _hold(plan: Plan, keys: list[str], service: str, value: str, why: str) -> Held:
    """Return the secret for *value*, named after the first of *keys* that is free, or holds the same value."""
    secret = Secret(value.encode("utf-8", "surrogateescape"))
    known = {*plan.reasons, *(held.key for held in plan.held.values()), *keys}
    for key in [*keys, f"{service}_{keys[-1]}".upper().replace("-", "_").replace(".", "_")]:
        name = names.file_names({*known, key})[key]
        held = plan.held.get(name)
        if held is not None and held.value == secret:
            return held
        definition = plan.project.secrets.get(name)
        is_ours = definition is not None and definition.file is not None and _same(definition.file, plan, name)
        if held is None and (definition is None or is_ours):
            plan.held[name] = Held(name, key, secret, why)
            return plan.held[name]
    raise Refused(
        f"{service}: there is no free name for the secret of {keys[-1]}", "rename what secrets: has under its name"
    )


def _same(file: Path, plan: Plan, name: str) -> bool:
    return file.absolute() == (plan.wishes.secrets_dir / name).absolute()


def _refuse_shared_nodes(project: Project) -> None:
    owners: dict[int, str] = {}
    for name, service in project.services.items():
        node = service.definitions[-1].node
        if owners.setdefault(id(node), name) != name:
            hint = "write it out, or let it extend the other one"
            raise Refused(f"the service {name} is an alias of {owners[id(node)]}", hint)


def _decide_services(
    plan: Plan, chosen: Mapping[str, dict[str, tuple[str, str]]], images: Mapping[str, ImageConfig]
) -> None:
    unknown = []
    for name, keys in chosen.items():
        service = plan.project.services[name]
        moved = Moved(service, images.get(image_of(service, plan.project)))
        profile = _profile(moved, keys)
        moved.uses = _uses(plan, service, keys)
        for use in moved.uses:
            plan.held[use.source].services.append(name)
        if profile is not None and not any(use.needs_pointer for use in moved.uses):
            moved.how = IMAGE
            moved.why = f"{profile.name}'s own entrypoint reads {', '.join(f'{key}_FILE' for key in keys)}"
        elif moved.image is None:
            unknown.append(name)
            continue
        else:
            _start_by_shim(plan, moved)
        _check_health(moved, keys)
        plan.moved[name] = moved
    if unknown:
        wanted = ", ".join(f"{image_of(plan.project.services[name], plan.project)} ({name})" for name in unknown)
        raise Refused(
            f"not known is what these images start: {wanted}",
            "an entrypoint that is set anew erases the image's command, so it is written down too",
            f"docker compose build {' '.join(unknown)}, or docker compose pull {' '.join(unknown)}, and run this again",
            "or give what docker image inspect prints with --image-config FILE",
        )


def _profile(moved: Moved, keys: Iterable[str]) -> Profile | None:
    """Return the profile of the service's image, if that reads all of *keys* from files itself."""
    service, image = moved.service, moved.image
    profile = profiles.profile_of(service.image, image.variables if image else ())
    if profile is None or not profile.keys.issuperset(keys) or _uid(moved) not in _ROOTS:
        return None
    entrypoint = service.entrypoint or (image.entrypoint if image else [profiles.ENTRYPOINT])
    command = service.command or (image.command if image and service.entrypoint is None else []) or [profile.servers[0]]
    is_its_own = [word.rsplit("/", 1)[-1] for word in entrypoint] == [profiles.ENTRYPOINT]
    starts_server = command[0] in profile.servers or command[0].startswith("-")
    pointers = {f"{key}_FILE" for key in keys}
    return profile if is_its_own and starts_server and not pointers.intersection(service.environment) else None


def _uid(moved: Moved) -> str:
    user = moved.service.user or (moved.image.user if moved.image else "")
    return user.partition(":")[0]


def _uses(plan: Plan, service: Service, keys: Mapping[str, tuple[str, str]]) -> list[Use]:
    targets = names.file_names(keys)
    taken = {use.target for use in service.secrets}
    uses = []
    for key, (value, why) in keys.items():
        variable = service.variables.get(key)
        referred = _only_reference(variable.raw) if variable is not None and variable.raw else ""
        preferred = [referred, key] if referred in plan.reasons else [key]
        held = _hold(plan, preferred, service.name, value, why)
        target = targets[key] if targets[key] not in taken else f"env.{targets[key]}"
        is_plain = target == targets[key] and env_key(target) == key and not profiles.is_protected(key)
        uses.append(Use(key, held.name, target, not is_plain))
    return uses


def _only_reference(raw: str) -> str:
    """Return the name in *raw* when it is one reference and nothing else."""
    found = names_in(raw)
    name = next(iter(found), "")
    is_alone = len(found) == 1 and (raw == f"${name}" or (raw.startswith(f"${{{name}") and raw.endswith("}")))
    return name if is_alone else ""


def _start_by_shim(plan: Plan, moved: Moved) -> None:
    """Decide how the shim starts the service: its options, and what it starts."""
    service, image = moved.service, moved.image
    if image is None:
        raise TypeError("the shim needs the image's configuration")
    old_entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
    if old_entrypoint and old_entrypoint[0].rsplit("/", 1)[-1] == "shim":
        moved.how, moved.why = READY, "the shim starts it already"
        only = image.variables.get("SHIM_ONLY", "")
        left_out = [use.key for use in moved.uses if only and use.key not in only.split(",")]
        if left_out:
            message = f"its image sets SHIM_ONLY without {', '.join(left_out)}"
            plan.findings.append(Finding(service.name, left_out[0], message, "set SHIM_ONLY in its environment"))
        return
    moved.why = "the shim hands over " + ", ".join(use.key for use in moved.uses)
    pointers = [use.key for use in moved.uses if use.needs_pointer]
    has_files = any(
        key.endswith("_FILE") and (value or "").startswith(SECRETS_ROOT + "/")
        for key, value in {**image.variables, **service.environment}.items()
    )
    # Other files in /run/secrets must not become variables that the service did not have.
    if service.secrets or has_files or any(env_key(use.target) != use.key for use in moved.uses):
        moved.options += ["--only", ",".join(use.key for use in moved.uses)]
    if pointers:
        moved.options += ["--file-key", ",".join(pointers)]
    if _uid(moved) not in _ROOTS:
        moved.user = service.user or image.user
        moved.options += ["--user", moved.user]
        moved.why += f", and becomes {moved.user} once it has read them"
        if "HOME" in {**image.variables, **service.environment}:
            message = "HOME is set, and the shim sets it to the home of the user it becomes"
            plan.findings.append(Finding(service.name, "HOME", message, "check that the service finds its home"))
    moved.entrypoint = [*old_entrypoint] if service.entrypoint is None else None
    # The engine takes the image's command only where the entrypoint was the image's, or an empty one.
    if service.command is None and not service.entrypoint:
        moved.command = list(image.command)


def _check_health(moved: Moved, keys: Iterable[str]) -> None:
    """A health check does not see what PID 1 sees: where it may need a secret, the shim gives it that, too."""
    own = moved.service.healthcheck
    test = own or (moved.image.healthcheck if moved.image else [])
    if moved.how == READY or not test or test == ["NONE"]:
        return
    if moved.how == IMAGE and not any(key in word for key in keys for word in test):
        return
    if own:
        moved.wraps_healthcheck = True
    elif moved.image is not None:
        shell = moved.image.shell if test[0] == "CMD-SHELL" else []
        moved.healthcheck = [*shell, *test[1:]]


def _keep_what_is_referred_to(plan: Plan) -> None:
    """Find the secrets that the Compose file puts where no file can be: a command, a label, a build argument."""
    removed = {
        id(node)
        for moved in plan.moved.values()
        for use in moved.uses
        for node in variable_nodes(moved.service, use.key)
    }
    for name, definition in plan.project.secrets.items():
        if definition.environment in plan.reasons:
            plan.staying.setdefault(str(definition.environment), f"secrets.{name}")
    for document in plan.project.documents:
        for path, node in _scalars(document.root, ()):
            found = names_in(str(node.value)) & set(plan.reasons) if id(node) not in removed else set()
            if "$" not in str(node.value) or not found:
                continue
            where = ".".join(path[:4])
            for key in sorted(found):
                plan.staying.setdefault(key, where)
                service = path[1] if path[0] == "services" and len(path) > 1 else ""
                hint = "let the service read the variable, or a file that the shim makes with --render"
                plan.findings.append(
                    Finding(
                        service, key, f"{where} holds it in plain, so it stays in {plan.env_file or '.env'} too", hint
                    )
                )


def _avoid_both(plan: Plan) -> None:
    """Where an env file goes on giving KEY, an image refuses KEY_FILE beside it; the shim can be told which counts."""
    for moved in plan.moved.values():
        both = [use for use in moved.uses if _still_given(plan, moved.service, use.key)]
        if moved.how == IMAGE and both:
            if moved.image is None:
                hint = "give what docker image inspect prints with --image-config FILE"
                raise Refused(f"not known is what {moved.service.image} starts ({moved.service.name})", hint)
            moved.how = SHIM
            _start_by_shim(plan, moved)
        elif moved.how == SHIM and any(use.needs_pointer for use in both):
            moved.options[:0] = ["--prefer", "file"]


def _still_given(plan: Plan, service: Service, key: str) -> bool:
    """Return whether an env file of *service* still sets *key* when the secrets have left it."""
    for use in service.env_files:
        is_project_file = plan.env_file is not None and use.path.absolute() == plan.env_file.absolute()
        leaves = key in plan.reasons and key not in plan.staying if is_project_file else True
        if key in compose.env_file_values(use, plan.project) and not (leaves and removable(plan, use.path, [key])):
            return True
    return False


def removable(plan: Plan, path: Path, keys: Iterable[str]) -> list[str]:
    """Return those of *keys* that may leave the env file *path*: every service that reads it has them otherwise."""
    users = [
        service
        for service in plan.project.services.values()
        if any(use.path.absolute() == path.absolute() for use in service.env_files)
    ]
    return [key for key in keys if all(key in _has(plan, user) for user in users)]


def _has(plan: Plan, service: Service) -> set[str]:
    """Return the variables that *service* does not need an env file for."""
    moved = plan.moved.get(service.name)
    return {*service.variables, *(use.key for use in (moved.uses if moved is not None else ()))}


def _scalars(
    node: Node, path: tuple[str, ...], seen: set[int] | None = None
) -> Iterable[tuple[tuple[str, ...], ScalarNode]]:
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        yield path, node
    elif isinstance(node, SequenceNode):
        for element in node.value:
            yield from _scalars(element, path, seen)
    elif isinstance(node, MappingNode):
        for key_node, value in node.value:
            yield from _scalars(value, (*path, str(key_node.value)), seen)


def variable_nodes(service: Service, key: str) -> Iterable[Node]:
    """Yield every node that gives *service* the variable *key*: values in mappings, whole elements of lists."""
    for place in places_of(service):
        if place.key == key:
            yield place.node


class Place(NamedTuple):
    """Where a variable is written: in which collection of which file, and how far down in it."""

    key: str
    document: Document
    collection: Node
    position: int
    node: Node


def places_of(service: Service) -> Iterable[Place]:
    """Yield every place where *service* has a variable from, also those that a stronger one hides."""
    for definition in service.definitions:
        node = definition.value("environment")
        for position, element in enumerate(elements(node)):
            if isinstance(element, ScalarNode):
                key = (scalar(element) or "").partition("=")[0]
                yield Place(key, definition.document, node, position, element)  # type: ignore[arg-type]
        for mapping in layers(node):
            for position, (key_node, value) in enumerate(mapping.value):
                yield Place(str(key_node.value), definition.document, mapping, position, value)


def own_node(project: Project, name: str, field_name: str) -> tuple[Document, MappingNode]:
    """Return the file, and the service's mapping in it, where the field *field_name* is to be written.

    That is the last file that has the field, so that it wins; else the first that has the service.
    """
    ours = {id(definition.node) for definition in project.services[name].definitions}
    found = []
    for document in project.documents:
        node = child(child(document.root, "services"), name)
        if isinstance(node, MappingNode) and id(node) in ours:
            found.append((document, node))
    with_field = [entry for entry in found if child(entry[1], field_name) is not None]
    return with_field[-1] if with_field else found[0]
