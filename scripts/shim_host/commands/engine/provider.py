"""`compose`: what Docker Compose asks of a provider (github.com/docker/compose, docs/extension.md).

Compose reads one JSON object per line on stdout, and nothing of stderr: every word goes there, and never a value.
`setenv` is not used: a value in a variable is what all of this avoids.
"""

import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.schema import Schema
from shim.secret import Secret
from shim_host import inputs, inventory, names, output, shell, validation
from shim_host.apps import docker_plugin
from shim_host.commands import options
from shim_host.errors import Ended, Failed, Refused
from shim_host.store import filing
from shim_host.store.filing import Planned
from shim_host.store.vault import Vault
from shim_host.validation import Subject

if TYPE_CHECKING:
    from shim_host.compose.project import Project

TYPES = ("manage-secrets", docker_plugin.NAME)
# A container that starts without these would stop again.
_STOPPING = ("missing", "empty", "placeholder", "type")
PARAMETERS = {
    "schema": ("Schema of what the services need", ".env.schema"),
    "secrets-dir": ("Folder of the secret files", options.SECRETS_DIR),
    "directory": ("Folder of the project, if Compose is given -f or --project-directory", ""),
}


@click.group("compose", invoke_without_command=True, subcommand_metavar="COMMAND [ARGS]...")
@click.option("--project-name", default="", expose_value=False, metavar="NAME", help="Name of the project.")
@click.pass_context
def compose(ctx: click.Context) -> None:
    """Act as a provider for Docker Compose, which runs this command before the services.

    \b
    services:
      secrets:
        provider: {type: secretshim}
      api:
        depends_on: [secrets]

    `docker compose up` then generates the values that the schema marks @generate and that ./secrets does not have yet,
    and stops if you have to provide one yourself. Services get their secrets as files, as always; no value passes
    through Compose.

    \b
    Examples:
      manage-secrets compose up secrets
      manage-secrets compose metadata
    """
    output.help_alone(ctx)


_ANY = {"ignore_unknown_options": True, "allow_extra_args": True}


@compose.command("metadata")
def metadata() -> None:
    """Print the options of the provider."""
    listed = [
        {"name": name, "description": words, "required": False, "type": "string", "default": default}
        for name, (words, default) in PARAMETERS.items()
    ]
    description = "Generates what is missing in ./secrets, and names what you have to provide"
    output.give_message({"description": description, "up": {"parameters": listed}, "down": {"parameters": []}})


@compose.command("up", context_settings=_ANY)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def up(words: tuple[str, ...]) -> int:
    """Generate what is missing; stop if you have to provide a value yourself."""
    return answered(lambda: _up(*_read(words)))


@compose.command("down", context_settings=_ANY)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def down(words: tuple[str, ...]) -> int:  # noqa: ARG001  (whatever it is given, the files stay)
    """Do nothing: secrets outlive the containers."""
    give("debug", "the files in ./secrets stay")
    return 0


def give(kind: str, message: str) -> None:
    """Say *message* to Compose, which shows it as it is: names in it are escaped, line by line."""
    output.give_message(
        {"type": kind, "message": "\n".join(output.shown(shell.offered(line)) for line in message.split("\n"))}
    )


def answered(work: Callable[[], None]) -> int:
    """Do *work*; what is wrong becomes a message that Compose shows."""
    try:
        work()
    except Ended as ended:
        errors = [one.message for one in (ended, *ended.others)]
        give("error", "\n".join([*errors, *(f"hint: {hint}" for hint in ended.all_hints)]))
        return ended.code
    return 0


def _read(words: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the service, and the options that are given as `--name=value`."""
    given: dict[str, str] = {}
    services = []
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            services.append(word)
        elif equals and name in PARAMETERS:
            given[name] = value
        elif name != "project-name":
            raise Refused(f"the provider has no option {name}", f"the options are {', '.join(PARAMETERS)}")
    if len(services) != 1:
        raise Refused("a provider is started for one service", "docker compose up does that")
    return services[0], given


def _up(service: str, given: dict[str, str]) -> None:
    start = Path.cwd()
    project = _entered(service, given.get("directory", ""))
    _repeat_options(given, is_elsewhere=Path.cwd() != start)
    schema = inputs.read_schema(Path(given["schema"]) if given.get("schema") else None)
    store = Vault(Path(given.get("secrets-dir") or options.SECRETS_DIR))
    made = _missing(_subject(store, schema, project), schema) if schema is not None else []
    if made:
        filing.keep_out_of_git(store, dry_run=False)
        filing.write(store, made)
        give("info", f"generated {output.listed(item.key for item in made)}")
    subject = _subject(store, schema, project)
    faults = [fault for fault in validation.findings(subject) if fault.key and fault.kind in _STOPPING]
    lines = [f"{fault.key}: {fault.message}: {fault.hint}" for fault in faults]
    named = list(dict.fromkeys(fault.key for fault in faults))
    for name, file in _absent(subject, named):
        named.append(name)
        lines.append(f"{name}: the file {file} is missing: Compose would mount an empty folder in its place")
    if named:
        summary = f"{output.many(len(named), 'value')} must be provided first: {output.listed(named)}"
        raise Refused("\n".join([summary, *lines]))


def _repeat_options(given: dict[str, str], *, is_elsewhere: bool) -> None:
    """See that a command that is offered is about this folder and this schema, wherever Compose was started."""
    schema = inputs.SCHEMA if is_elsewhere and os.path.exists(inputs.SCHEMA) else ""
    places = {
        "--secrets-dir": given.get("secrets-dir") or (options.SECRETS_DIR if is_elsewhere else ""),
        "--schema": given.get("schema") or schema,
    }
    shell.repeat({name: [os.path.abspath(place) if is_elsewhere else place] for name, place in places.items() if place})


def _entered(service: str, folder: str) -> "Project | None":
    """Go to the project's folder, which Compose does not name, as Compose finds it; return the project.

    Raises:
        Refused: the project there is not the one that has this *service*.
    """
    from shim_host.compose import reading

    try:
        os.chdir(folder or ".")
        is_there = bool(reading.default_files(Path(), os.environ))
    except OSError as error:
        raise Failed(f"cannot enter the folder {folder}: {error.strerror}") from None
    except Refused:
        is_there = False
    project = reading.read_project(Path(), os.environ) if is_there else None
    if folder:
        return project
    if project is None or not _is_ours(project, service):
        hint = "name its folder in the provider's options, as directory: /srv/app, or its files in COMPOSE_FILE"
        raise Refused(f"cannot tell which project {service} belongs to: it is not the one of {Path.cwd()}", hint)
    if project.folder.absolute() != Path.cwd():
        os.chdir(project.folder)
        return reading.read_project(Path(), os.environ)  # its paths are relative to the folder one is in
    return project


def _is_ours(project: "Project", service: str) -> bool:
    """Return whether *service* is there, with a provider that is this program."""
    from shim_host.compose.nodes import child

    definitions = project.services[service].definitions if service in project.services else []
    providers = [definition.value("provider") for definition in definitions]
    kinds = [str(kind.value) for provider in providers if (kind := child(provider, "type")) is not None]
    return bool(kinds) and Path(kinds[-1]).name in TYPES


def _subject(store: Vault, schema: Schema | None, project: "Project | None") -> Subject:
    asked = inventory.Asked()
    gaps: list[str] = []
    env = inventory.env_values(asked.env_paths, os.environ, gaps)
    if gaps:
        raise Refused(f"not looked at: {gaps[0]}", "manage-secrets validate shows the line")
    return validation.subject_of(store, schema, asked.env_paths, env, project, {})


def _missing(subject: Subject, schema: Schema) -> list[Planned]:
    """Return new values for the keys that have one nowhere: neither here, nor in the .env, nor in a service."""
    file_names = names.file_names(schema.keys)
    elsewhere = {key: value for key, value in _elsewhere(subject) if key in schema.keys}
    there = [Planned(key, file_names[key], value, filing.UNCHANGED) for key, value in elsewhere.items()]
    return filing.make_missing(there, subject.store, schema)


def _elsewhere(subject: Subject) -> Iterator[tuple[str, Secret]]:
    services = subject.project.services.values() if subject.project is not None else ()
    for service in services:
        for key, text in service.environment.items():
            if text:
                yield key, Secret(text.encode("utf-8", "surrogateescape"))
    yield from ((key, value) for key, value in subject.env.items() if len(value))
    yield from ((key, outside.entry.value) for key, outside in subject.outside.items())


def _absent(subject: Subject, named: Container[str]) -> Iterator[tuple[str, Path]]:
    """Yield the secrets whose files services would mount and that are not there, but for the keys *named* already."""
    project = subject.project
    if project is None:
        return
    known = [*(subject.schema.keys if subject.schema else ()), *subject.env]
    for source in dict.fromkeys(use.source for service in project.services.values() for use in service.secrets):
        definition = project.secrets.get(source)
        if definition is None or definition.file is None or definition.file.is_file():
            continue
        if names.key_of(definition.file.name, known) not in named:
            yield source, definition.file
