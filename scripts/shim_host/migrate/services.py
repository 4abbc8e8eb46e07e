"""Who hands each service its secrets, and how it is started then: decided from its image and the Compose file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shim.secret import env_key
from shim_host import names
from shim_host.compose import project
from shim_host.compose.images import ImageConfig
from shim_host.compose.project import SECRETS_ROOT, Service, names_in
from shim_host.errors import Refused
from shim_host.migrate import profiles
from shim_host.migrate.model import IMAGE, READY, SHIM, Finding, Moved, Plan, Use, image_of
from shim_host.migrate.profiles import Profile

_ROOTS = ("", "0", "root")


def decide_services(
    plan: Plan, chosen: Mapping[str, dict[str, tuple[str, str]]], images: Mapping[str, ImageConfig]
) -> None:
    """Fill `plan.moved` for the services and variables of *chosen*: key -> value, and why it is a secret.

    Raises:
        Refused: the configuration of an image is not known, and its command would be lost; all are named.
    """
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
            moved.why = f"{profile.title}'s own entrypoint reads {', '.join(f'{key}_FILE' for key in keys)}"
        elif moved.image is None:
            unknown.append(name)
            continue
        else:
            _start_by_shim(plan, moved)
        _check_health(moved, keys)
        plan.moved[name] = moved
    _refuse_unknown(plan, unknown)


def _refuse_unknown(plan: Plan, services: Sequence[str]) -> None:
    if services:
        wanted = ", ".join(f"{image_of(plan.project.services[name], plan.project)} ({name})" for name in services)
        of_these = " ".join(services)
        raise Refused(
            f"not known is what these images start: {wanted}",
            "an entrypoint that is set anew erases the image's command, so it is written down too",
            f"docker compose build {of_these}, or docker compose pull {of_these}, and run this again",
            "or give what docker image inspect prints with --image-config FILE",
        )


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


def _uses(plan: Plan, service: Service, keys: Mapping[str, tuple[str, str]]) -> list[Use]:
    targets = names.file_names(keys)
    taken = {use.target for use in service.secrets}
    uses = []
    for key, (value, why) in keys.items():
        variable = service.variables.get(key)
        referred = _only_reference(variable.raw) if variable is not None and variable.raw else ""
        preferred = [referred, key] if referred in plan.reasons else [key]
        held = plan.hold(preferred, service.name, value, why)
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


def avoid_both(plan: Plan) -> None:
    """Where an env file goes on giving KEY, an image refuses KEY_FILE beside it; the shim can be told which counts.

    Raises:
        Refused: as `decide_services` does, for those that the shim must start now.
    """
    unknown = []
    for name, moved in plan.moved.items():
        both = [use for use in moved.uses if _still_given(plan, moved.service, use.key)]
        if moved.how == IMAGE and both:
            if moved.image is None:
                unknown.append(name)
                continue
            moved.how = SHIM
            _start_by_shim(plan, moved)
        elif moved.how == SHIM and any(use.needs_pointer for use in both):
            moved.options[:0] = ["--prefer", "file"]
    _refuse_unknown(plan, unknown)


def _still_given(plan: Plan, service: Service, key: str) -> bool:
    """Return whether an env file of *service* still sets *key* when the secrets have left it."""
    for use in service.env_files:
        is_project_file = plan.env_file is not None and use.path.absolute() == plan.env_file.absolute()
        leaves = key in plan.reasons and key not in plan.staying if is_project_file else True
        if key in project.env_file_values(use, plan.project) and not (leaves and removable(plan, use.path, [key])):
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
