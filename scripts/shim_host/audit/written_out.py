"""What a Compose file writes out where no file can be, or takes by a name alone: as `migrate` finds it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shim.schema import Schema
from shim.secret import Secret, clean
from shim_host.audit.model import ARGUMENTS, BUILD, CONFIG, ENV_FILE, HEALTH_CHECK, LABEL, LOGGING, VOLUME, Trace

if TYPE_CHECKING:
    from shim_host.compose import project as compose

_PLACES = {
    "labels": LABEL,
    "healthcheck": HEALTH_CHECK,
    "build": BUILD,
    "configs": CONFIG,
    "logging": LOGGING,
    "volumes": VOLUME,
}


def literals(
    project: "compose.Project",
    schema: Schema | None,
    values: Mapping[str, Iterable[Secret]],
    names: Collection[str],
) -> Iterator[tuple[str, Trace]]:
    """Yield what is written out where no file can be, with its service, as `migrate` finds it."""
    from shim_host.compose.literals import written_out

    known = _known(values, names)
    for found in written_out(project, schema, (), known):
        if found.section == "environment":
            continue  # each variable is looked at by itself
        where = _PLACES.get(found.section, ARGUMENTS)
        name = found.place.split(".")[1] if where in (CONFIG, VOLUME) else found.name or found.place
        key = found.name if found.is_certain else ""
        reason = f"holds the value of {key}" if key else "by its name or its form"
        place = place_of(found.document.path, found.node)
        yield found.service, Trace(where, name, key, reason, found.is_certain, place)


def beside(
    project: "compose.Project",
    schema: Schema | None,
    values: Mapping[str, Iterable[Secret]],
    names: Collection[str],
    secrets: Path,
) -> Iterator[tuple[str, Trace]]:
    """Yield what is in files that a service mounts or is built from, as `migrate` finds it."""
    from shim_host.compose.beside import beside as found_beside

    known = _known(values, names)
    for found in found_beside(project, schema, (), known, secrets):
        name = f"{found.key} of {found.path}" if found.is_built else str(found.path)
        reason = f"holds the value of {found.key}" if found.is_certain else "by its name"
        key = found.key if found.is_certain else ""
        where = BUILD if found.is_built else CONFIG
        yield found.service, Trace(where, name, key, reason, found.is_certain, str(project.folder / found.path))


def _known(values: Mapping[str, Iterable[Secret]], names: Collection[str]) -> dict[str, str]:
    """Return the values that are looked for, by key, without what users and databases are called."""
    texts = (
        (key, clean(value.reveal()).decode("utf-8", "surrogateescape")) for key, few in values.items() for value in few
    )
    return {key: text for key, text in texts if text not in names}


def named(project: "compose.Project", values: Collection[str], env: Collection[str]) -> Iterator[tuple[str, Trace]]:
    """Yield what a build, a config or a secret takes by its name alone, with its service, as `migrate` finds it."""
    from shim_host.compose.literals import named_alone
    from shim_host.compose.places import having

    for key, path, document, node in named_alone(project, values):
        place = place_of(document.path, node)
        if path[0] == "services" and "args" in path:
            for service in having(project, document, path, node):
                yield service, Trace(BUILD, key, key, f"has the value of {key}", True, place)
        elif path[0] == "configs":
            yield "", Trace(CONFIG, path[1], key, f"has the value of {key}", True, place)
        elif path[0] == "secrets" and key in env:
            yield "", Trace(ENV_FILE, path[1], key, f"takes {key} from .env, which has it in plain text", True, place)


def place_of(path: Path, node: object) -> str:
    """Return where *node* is: file:line."""
    mark = getattr(node, "start_mark", None)
    return f"{path}:{mark.line + 1}" if mark is not None else str(path)
