"""Who hands each service its secrets, and how it is started then: decided from its image and the Compose file."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shim.secret import env_key, is_protected
from shim_host import names
from shim_host.compose.images import ImageConfig
from shim_host.compose.nodes import child, elements
from shim_host.compose.project import SECRETS_ROOT, Service, environment_of, names_in
from shim_host.migrate import profiles
from shim_host.migrate.model import IMAGE, READY, Entangled, MigrationPlan, Moved, Remark, Use, image_of
from shim_host.migrate.profiles import Profile

_ROOTS = ("", "0", "root")


def decide_services(
    plan: MigrationPlan, chosen: Mapping[str, dict[str, tuple[str, str]]], images: Mapping[str, ImageConfig]
) -> None:
    """Fill `plan.moved` for the services and variables of *chosen*: key -> value, and why it is a secret.

    A service of whose image nothing is known stays as it is, and is named: its command would be lost.
    """
    for name, keys in chosen.items():
        service = plan.project.services[name]
        image = image_of(service, plan.project)
        moved = Moved(service, images.get(image) or profiles.known_start(image))
        targets = _targets(service, keys)
        profile = _profile(moved, keys)
        reads_files = profile is not None and not any(needs_pointer for _, needs_pointer in targets.values())
        if moved.image is None and not reads_files:
            plan.unknown.append(name)
            continue
        _refuse_what_the_shim_would(service, keys)
        in_image = moved.image.variables if moved.image is not None else {}
        # The image's own KEY_FILE would lead the shim to another file, or nowhere.
        targets = {
            key: (target, needs_pointer or bool(in_image.get(f"{key}_FILE")))
            for key, (target, needs_pointer) in targets.items()
        }
        moved.uses = _uses(plan, service, keys, targets)
        for use in moved.uses:
            plan.held[use.source].services.append(name)
        if profile is not None and reads_files:
            moved.how = IMAGE
            moved.why = f"{profile.title}'s own entrypoint reads {', '.join(f'{key}_FILE' for key in keys)}"
        else:
            _start_by_shim(plan, moved)
            _refuse_what_the_shim_keeps(plan, moved)
        _check_health(moved, keys)
        _say_foreign(plan, moved)
        plan.moved[name] = moved
    _say_unknown(plan, chosen)


def _refuse_what_the_shim_would(service: Service, keys: Iterable[str]) -> None:
    """See that the service could start with secrets beside what it mounts already.

    Raises:
        Entangled: it could not.
    """
    keys = list(keys)
    by_key: dict[str, str] = {}
    for use in service.secrets:
        key = env_key(use.target, keys)
        if key in keys and "/" not in use.target and by_key.setdefault(key, use.target) != use.target:
            reason = f"its secrets {by_key[key]} and {use.target} would both be {key}, which the shim refuses"
            raise Entangled(service.name, reason)
    for definition in service.definitions:
        for volume in elements(definition.value("volumes")):
            target = child(volume, "target") or volume
            if any(part.rstrip("/").removeprefix("/var") == SECRETS_ROOT for part in str(target.value).split(":")):
                raise Entangled(
                    service.name, f"it has a folder of its own at {SECRETS_ROOT}, where no file can be added"
                )


def _refuse_what_the_shim_keeps(plan: MigrationPlan, moved: Moved) -> None:
    """See that the shim passes on every variable: those that begin with SHIM_ are for itself.

    Raises:
        Entangled: the service, or its image, has one that was not meant for a shim, as none starts it yet.
    """
    if moved.how == READY or moved.image is None:
        return
    given = {**moved.image.variables, **environment_of(moved.service, plan.project)}
    lost = [key for key in given if key.startswith("SHIM_")]
    if lost:
        reason = f"the shim passes on no variable that begins with SHIM_, and would keep {', '.join(lost)}"
        raise Entangled(moved.service.name, reason)


def _say_unknown(plan: MigrationPlan, chosen: Mapping[str, Collection[str]]) -> None:
    """Name what is not migrated because nobody knows what its image starts, with the line that finds out."""
    services = [plan.project.services[name] for name in plan.unknown]
    for is_built in (True, False):
        group = [service for service in services if (service.is_built and not service.image) is is_built]
        if not group:
            continue
        wanted = ", ".join(
            f"{image_of(service, plan.project)} ({service.name}: {', '.join(chosen[service.name])})"
            for service in group
        )
        images = " ".join(dict.fromkeys(shlex.quote(image_of(service, plan.project)) for service in group))
        names_ = " ".join(shlex.quote(service.name) for service in group)
        first = f"docker compose {'build' if is_built else 'pull'} {names_}"
        file = "built.json" if is_built else "pulled.json"
        hint = f"{first} && docker image inspect {images} > {file}; then add --image-config {file}"
        message = f"it is not known what these images start, so their services stay as they are: {wanted}"
        plan.findings.append(Remark("", "", message, hint, is_exposed=True))


def _say_foreign(plan: MigrationPlan, moved: Moved) -> None:
    """Say that a database gets secrets of others, because an env file is shared."""
    profile = profiles.profile_of(moved.service.image, moved.image.variables if moved.image else ())
    if profile is None or not profile.keys:
        return
    foreign = [use.key for use in moved.uses if use.key not in profile.keys and use.key not in moved.service.variables]
    if foreign:
        own = [use.key for use in moved.uses if use.key not in foreign]
        message = f"its env_file gives it secrets that {profile.title} does not read: {', '.join(foreign)}"
        hint = "leave env_file out there, and list what it needs" + (
            f": environment: [{', '.join(own)}]" if own else ""
        )
        plan.findings.append(Remark(moved.service.name, "", message, hint))


def _profile(moved: Moved, keys: Iterable[str]) -> Profile | None:
    """Return the profile of the service's image, if that reads all of *keys* from files itself."""
    service, image = moved.service, moved.image
    profile = profiles.profile_of(service.image, image.variables if image else ())
    if profile is None or not set(profile.keys).issuperset(keys) or _uid(moved) not in _ROOTS:
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


def _targets(service: Service, keys: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Return for each of *keys* its file's name in the container, and whether only KEY_FILE leads the shim there.

    The shim takes no two files for one variable, and none for a variable that decides what programs load.
    """
    keys = list(keys)
    taken = [use.target for use in service.secrets]
    stand_for = {env_key(target, keys) for target in taken}
    targets = {}
    for key, name in names.file_names(keys).items():
        target, number = name, 1
        while target in taken or (target == name and key in stand_for):
            target = f"env{number if number > 1 else ''}.{name}"
            number += 1
        taken.append(target)
        targets[key] = target, target != name or env_key(target) != key or is_protected(key)
    return targets


def _uses(
    plan: MigrationPlan,
    service: Service,
    keys: Mapping[str, tuple[str, str]],
    targets: Mapping[str, tuple[str, bool]],
) -> list[Use]:
    uses = []
    for key, (value, why) in keys.items():
        variable = service.variables.get(key)
        referred = only_reference(variable.raw) if variable is not None and variable.raw else ""
        preferred = [referred, key] if referred in plan.reasons else [key]
        held = plan.hold(preferred, service.name, value, why)
        uses.append(Use(key, held.name, *targets[key]))
    return uses


def only_reference(raw: str) -> str:
    """Return the name in *raw* when it is one reference and nothing else."""
    found = names_in(raw)
    name = next(iter(found), "")
    is_alone = len(found) == 1 and (raw == f"${name}" or (raw.startswith(f"${{{name}") and raw.endswith("}")))
    return name if is_alone else ""


def _start_by_shim(plan: MigrationPlan, moved: Moved) -> None:
    """Decide how the shim starts the service: its options, and what it starts."""
    service, image = moved.service, moved.image
    if image is None:
        raise TypeError("the shim needs the image's configuration")
    old_entrypoint = image.entrypoint if service.entrypoint is None else service.entrypoint
    if old_entrypoint and old_entrypoint[0].rsplit("/", 1)[-1] == "shim":
        moved.how, moved.why = READY, "the shim starts it already"
        _refuse_what_its_shim_leaves_out(moved, old_entrypoint)
        only = image.variables.get("SHIM_ONLY", "")
        left_out = [use.key for use in moved.uses if only and use.key not in only.split(",")]
        if left_out:
            message = f"its image sets SHIM_ONLY without {', '.join(left_out)}"
            plan.findings.append(Remark(service.name, left_out[0], message, "set SHIM_ONLY in its environment"))
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
            plan.findings.append(Remark(service.name, "HOME", message, "check that the service finds its home"))
    moved.entrypoint = [*old_entrypoint] if service.entrypoint is None else None
    # The engine takes the image's command only where the entrypoint was the image's, or an empty one.
    if service.command is None and not service.entrypoint:
        moved.command = list(image.command)


def _refuse_what_its_shim_leaves_out(moved: Moved, entrypoint: Sequence[str]) -> None:
    """See that the shim that starts the service gives it the new secrets as well.

    Raises:
        Entangled: its options name those that it gives, and one of these is not among them.
    """
    options = [word for text in entrypoint[1:] for word in text.split("=", 1)]
    options = options[: options.index("--")] if "--" in options else options
    own = moved.service.environment.get("SHIM_ONLY") or ""
    given = [options[at + 1] for at, word in enumerate(options[:-1]) if word == "--only"] or [own]
    listed = {key.strip() for text in given for key in text.split(",")} - {""}
    for use in moved.uses:
        if (listed and use.key not in listed) or is_protected(use.key):
            option = "--file-key" if is_protected(use.key) else "--only"
            raise Entangled(moved.service.name, f"the shim that starts it would need {use.key} in its {option}")


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


def removable(plan: MigrationPlan, path: Path, keys: Iterable[str]) -> list[str]:
    """Return those of *keys* that may leave the env file *path*: every service that reads it has them otherwise."""
    users = [
        service
        for service in plan.project.services.values()
        if any(use.path.absolute() == path.absolute() for use in service.env_files)
    ]
    have = [_has(plan, user) for user in users]
    return [key for key in keys if all(key in has for has in have)]


def _has(plan: MigrationPlan, service: Service) -> set[str]:
    """Return the variables that *service* does not need an env file for."""
    moved = plan.moved.get(service.name)
    return {*service.variables, *(use.key for use in (moved.uses if moved is not None else ()))}


def mounting(plan: MigrationPlan, name: str) -> Iterator[str]:
    """Yield the services that mount the file *name* of the folder of secrets already."""
    file = (plan.wishes.secrets_dir / name).absolute()
    for service in plan.project.services.values():
        definitions = [plan.project.secrets.get(use.source) for use in service.secrets]
        if any(found is not None and found.file is not None and found.file.absolute() == file for found in definitions):
            yield service.name
