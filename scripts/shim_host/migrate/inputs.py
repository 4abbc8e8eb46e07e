"""What a migration is made from, besides the Compose files: env files, wishes, and what is known about images."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shim.schema import Schema
from shim_host import inputs
from shim_host.compose import images, reading
from shim_host.compose.beside import beside
from shim_host.compose.images import ImageConfig
from shim_host.compose.project import Project
from shim_host.env import envfile
from shim_host.env.compose_rules import Malformed
from shim_host.errors import Failed, Refused, failed_file
from shim_host.inputs import read_bounded
from shim_host.migrate.model import EnvSource, MigrationPlan, Remark, Wishes, image_of
from shim_host.output import Warned
from shim_host.recognition.sensitive import why_secret


def read_sources(project: Project, named: Sequence[Path]) -> tuple[list[EnvSource], list[tuple[Path, Warned]]]:
    """Return the env files that give `${...}` its values, and what is likely to surprise in them."""
    sources: list[EnvSource] = []
    warned: list[tuple[Path, Warned]] = []
    wanted = [(path, project.environ) for path in project.env_files]
    for path, around in project.included_env_files.items():
        wanted.append((path, {**reading.settings_of([path], around), **around}))
    for path, environ in wanted:
        try:
            data = read_bounded(path)
            read = envfile.read(data, environ, use="project", shell=os.environ)
        except FileNotFoundError:
            if path in named:
                raise Refused(f"there is no {path}") from None
            continue
        except OSError as error:
            raise failed_file("read", str(path), error) from None
        except Malformed as error:
            raise Refused(f"{path}:{error.line}: {error.message}", *([error.hint] if error.hint else [])) from None
        sources.append(EnvSource(path, data, environ))
        warned += [(path, warning) for warning in read.warnings]
    return sources, warned


def wishes_of(
    project: Project, schema_path: Path | None, secrets_dir: Path, secret: Iterable[str], public: Iterable[str]
) -> Wishes:
    """Return what the person asked for."""
    place = project.folder / inputs.SCHEMA
    schema = inputs.read_schema(schema_path or (place if place.exists() else None))
    if schema_path is None:
        schema = inputs.deciding(schema)  # not one of a run before this one, which is to come to the same end
    return Wishes(schema, frozenset(secret), frozenset(public), secrets_dir)


def known_images(project: Project, image_configs: Sequence[Path]) -> tuple[dict[str, ImageConfig], Failed | None]:
    """Return what *image_configs* and the engine say about the project's images, and what was wrong with the engine."""
    known: dict[str, ImageConfig] = {}
    wanted = {image_of(service, project) for service in project.services.values()}
    for path in image_configs:
        given = images.read_configs(path)
        for service in project.services.values():
            name = image_of(service, project)
            found = images.find(given, name) or given.get(service.name)
            if found is not None:
                known[name] = found
    # The engine is asked only for what is missing; where it is not there, official images are known by name.
    try:
        known.update(images.ask_engine(sorted(wanted - set(known)), os.environ))
    except Failed as failed:
        return known, failed
    return known, None


def without_value(project: Project, schema: Schema | None) -> list[str]:
    """Return the variables of services that would be secrets by their names, if they had a value."""
    given = [entry for service in project.services.values() for entry in service.environment.items()]
    return sorted({key for key, value in given if not value and why_secret(key, "a-value-1", schema)})


def in_files(plan: MigrationPlan, known: Mapping[str, str]) -> Iterator[Remark]:
    """Yield a finding for each file that a service mounts or is built from, and that has the value of a secret."""
    wishes = plan.wishes
    for found in beside(plan.project, wishes.schema, wishes.public, known, wishes.secrets_dir):
        message = f"{found.path}, which it mounts, holds the value of {found.key} in plain text"
        hint = "let the shim make that file when the service starts, with --render"
        if found.is_built:
            message = f"{found.path}, which its image is built from, holds the value of {found.key} in plain text"
            hint = "what a build sets stays in the image: let the service get it when it starts"
        yield Remark(found.service, found.key, message, hint, is_exposed=True)
