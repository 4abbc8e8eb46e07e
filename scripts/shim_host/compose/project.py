"""What a Compose project says: files come in, a `Project` leaves. Nothing is changed here, and no engine is asked.

Follows Compose where it matters to secrets: several files, `extends`, `include`, merge keys, `!reset` and `!override`,
`${...}` with every operator, `env_file`, and names without a value that the shell fills in.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose import nodes
from shim_host.compose.nodes import RESET, Document, child, elements, is_null, item, items, scalar, tag_of
from shim_host.env import envfile
from shim_host.env.compose_rules import InvalidReference, Malformed, References
from shim_host.errors import Refused, failed_file

# In Compose's own order; the first one is taken.
DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = tuple(name.replace(".y", ".override.y") for name in DEFAULT_FILES)
SECRETS_ROOT = "/run/secrets"


class SecretUse(NamedTuple):
    """A secret as a service mounts it; *target* is the file's name below /run/secrets, or an absolute path."""

    source: str
    target: str


class EnvFileUse(NamedTuple):
    """One `env_file:` of a service."""

    path: Path
    is_required: bool
    dialect: str  # "compose", or "raw"


class SecretDefinition(NamedTuple):
    """One entry of the file's own `secrets:`."""

    name: str
    file: Path | None
    external: bool
    environment: str | None


class Variable(NamedTuple):
    """One variable of `environment:` as it is written."""

    key: str
    raw: str | None  # before ${...} is replaced; None for a name without a value
    definition: "Definition"
    holder: MappingNode | SequenceNode  # the collection it stands in
    node: Node  # its value in a mapping, the whole element in a sequence


@dataclass(frozen=True, eq=False)
class Definition:
    """A service as one file writes it; `extends` and further files add more of them."""

    document: Document
    node: MappingNode

    def value(self, name: str) -> Node | None:
        """Return the node of the field *name*, merge keys followed."""
        return child(self.node, name)


@dataclass
class Service:
    """One service, everything merged and replaced."""

    name: str
    definitions: list[Definition]  # the weakest first
    image: str = ""
    is_built: bool = False
    user: str = ""
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    environment: dict[str, str | None] = field(default_factory=dict)  # None: a name that nothing gives a value
    variables: dict[str, Variable] = field(default_factory=dict)
    env_files: list[EnvFileUse] = field(default_factory=list)
    secrets: list[SecretUse] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    healthcheck: list[str] = field(default_factory=list)  # its test, "CMD" or "CMD-SHELL" first


@dataclass
class Project:
    """A Compose project."""

    name: str
    folder: Path
    documents: list[Document]  # those named, then those they include, then those their services extend
    environ: Mapping[str, str]  # what `${...}` is looked up in: the shell, then .env
    services: dict[str, Service] = field(default_factory=dict)
    secrets: dict[str, SecretDefinition] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def default_files(folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the files that Compose takes in *folder* when none is named; COMPOSE_FILE counts.

    Raises:
        Refused: there is none.
    """
    named = environ.get("COMPOSE_FILE")
    if named:
        return [folder / part for part in named.split(environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep) if part]
    found = [folder / name for name in DEFAULT_FILES if (folder / name).exists()][:1]
    if not found:
        raise Refused(f"there is no Compose file in {folder}", "name it with --file")
    return found + [folder / name for name in _OVERRIDES if (folder / name).exists()][:1]


def read_project(
    path: Path | Sequence[Path], environ: Mapping[str, str] | None = None, env_files: Sequence[Path] | None = None
) -> Project:
    """Return the project of the Compose file *path*, of several files (the last one counts), or of a folder.

    Args:
        path: the file or files, or the folder that they are looked for in.
        environ: the shell's environment, which comes before the `.env`; nothing by default.
        env_files: what stands in for the `.env` beside the first file.

    Raises:
        Refused: a file is missing, or is not what Compose takes. The message names the line, never a value.
        Failed: a file cannot be read.
    """
    shell = dict(environ or {})
    if isinstance(path, Path) and path.is_dir():
        settings = {**_settings([path / ".env"] if env_files is None else env_files, shell), **shell}
        files = default_files(path, settings)
    else:
        files = [path] if isinstance(path, Path) else list(path)
    folder = files[0].parent
    settings = {**_settings([folder / ".env"] if env_files is None else env_files, shell), **shell}
    documents = [nodes.load(file, folder) for file in files]
    name = settings.get("COMPOSE_PROJECT_NAME") or _last_name(documents) or folder.absolute().name.lower()
    project = Project(name, folder, documents, settings)
    _Reading(project).read()
    return project


def _settings(paths: Sequence[Path], shell: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for path in paths:
        try:
            read = envfile.read(path.read_bytes(), shell, use="project")
        except FileNotFoundError:
            continue
        except Malformed as error:
            raise Refused(f"{path}:{error.line}: {error.message}", *([error.hint] if error.hint else [])) from None
        except OSError as error:
            raise failed_file("read", str(path), error) from None
        values.update({key: secret.reveal().decode("utf-8") for key, secret in read.values.items()})
    return values


def _last_name(documents: list[Document]) -> str:
    names = [child(document.root, "name") for document in documents]
    return next((str(node.value) for node in reversed(names) if isinstance(node, ScalarNode)), "")


def interpolated(text: str, lookup: Callable[[str], str | None]) -> str:
    """Return *text* with its `${...}` replaced.

    Raises:
        InvalidReference: Compose would refuse it.
    """
    return References(lookup, {}).expanded(text) if "$" in text else text


def names_in(text: str) -> set[str]:
    """Return the variables that *text* refers to, nested ones too."""
    names: set[str] = set()

    def look_up(name: str) -> str:
        names.add(name)
        return ""

    try:
        # Asked twice: an operator may use its word where the variable is set, or where it is not.
        interpolated(text, lambda name: look_up(name) + "x")
        interpolated(text, lambda name: look_up(name) or None)
    except InvalidReference:
        return names
    return names


def environment_of(service: Service, project: Project) -> dict[str, str]:
    """Return the variables that Compose gives the container of *service*: its env files, then `environment:`.

    Raises:
        Refused: an env file is missing or has a mistake.
    """
    values: dict[str, str] = {}
    for use in service.env_files:
        values.update(env_file_values(use, project))
    for key, value in service.environment.items():
        if value is None:
            values.pop(key, None)  # Compose hands the bare name on, and the engine takes that as "unset"
        else:
            values[key] = value
    return values


def env_file_values(use: EnvFileUse, project: Project) -> dict[str, str]:
    """Return what one `env_file:` sets.

    Raises:
        Refused: it is missing although it is required, or has a mistake.
    """
    try:
        data = use.path.read_bytes()
    except FileNotFoundError:
        if use.is_required:
            raise Refused(f"the env_file {use.path} does not exist") from None
        return {}
    except OSError as error:
        raise failed_file("read", str(use.path), error) from None
    try:
        # The project's final values are what references in it see, so it is read like a second project file.
        read = envfile.read(data, project.environ, use.dialect, "project")
    except Malformed as error:
        raise Refused(f"{use.path}:{error.line}: {error.message}", *([error.hint] if error.hint else [])) from None
    return {key: secret.reveal().decode("utf-8") for key, secret in read.values.items()}


class _Reading:
    """Puts the definitions of each service together."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def read(self) -> None:
        services: dict[str, list[Definition]] = {}
        for document in list(self.project.documents):
            self.include(document, services, [document.path.absolute()])
            self.gather(document, services)
        for name, definitions in services.items():
            self.project.services[name] = self.service(name, definitions)

    def include(self, document: Document, services: dict[str, list[Definition]], on_the_way: list[Path]) -> None:
        """Add the services and secrets of what *document* includes."""
        for node in elements(child(document.root, "include")):
            inner = child(node, "path") if isinstance(node, MappingNode) else node
            for path_node in _one_or_more(inner):
                path = document.folder / (self.text(path_node) or "")
                if path.absolute() in on_the_way:
                    raise Refused(f"{document.path}: {path} includes itself")
                included = nodes.load(path, path.parent)
                self.include(included, services, [*on_the_way, path.absolute()])
                self.gather(included, services)
                self.project.documents.append(included)

    def gather(self, document: Document, services: dict[str, list[Definition]]) -> None:
        for name, key_node, node, _ in items(child(document.root, "services")):
            if tag_of(node) == RESET:
                services.pop(name, None)
                continue
            if not isinstance(node, MappingNode):
                line = key_node.start_mark.line + 1
                raise Refused(f"{document.path}:{line}: the service {name} is no mapping")
            services.setdefault(name, []).extend(self.definitions(document, node, []))
        for name, _, node, _ in items(child(document.root, "secrets")):
            self.project.secrets[name] = self.secret(document, name, node)

    def definitions(self, document: Document, node: MappingNode, on_the_way: list[int]) -> Iterator[Definition]:
        """Yield what the service *node* extends, the weakest first, and then itself."""
        if id(node) in on_the_way:
            raise Refused(f"{document.path}:{node.start_mark.line + 1}: a service extends itself")
        extends = child(node, "extends")
        if extends is not None and not is_null(extends):
            base = self.text(child(extends, "service") if isinstance(extends, MappingNode) else extends) or ""
            other = document
            file = self.text(child(extends, "file")) if isinstance(extends, MappingNode) else None
            if file:
                other = self.other_file(document.folder / file)
            found = child(child(other.root, "services"), base)
            if not isinstance(found, MappingNode):
                line = extends.start_mark.line + 1
                raise Refused(f"{document.path}:{line}: it extends {base}, which is no service in {other.path}")
            yield from self.definitions(other, found, [*on_the_way, id(node)])
        yield Definition(document, node)

    def other_file(self, path: Path) -> Document:
        key = path.absolute()
        for document in self.project.documents:
            if document.path.absolute() == key:
                return document
        self.project.documents.append(nodes.load(path, path.parent))
        return self.project.documents[-1]

    def secret(self, document: Document, name: str, node: Node) -> SecretDefinition:
        file = self.text(child(node, "file"))
        external = child(node, "external")
        is_external = isinstance(external, MappingNode) or self.text(external) == "true"
        variable = self.text(child(node, "environment"))
        return SecretDefinition(name, document.folder / file if file else None, is_external, variable)

    def service(self, name: str, definitions: list[Definition]) -> Service:
        service = Service(name, definitions)
        service.image = self.last(definitions, "image")
        service.user = self.last(definitions, "user")
        service.is_built = any(not is_null(definition.value("build")) for definition in definitions)
        service.entrypoint = self.words(definitions, "entrypoint")
        service.command = self.words(definitions, "command")
        for definition in definitions:
            self.add_environment(service, definition)
            self.add_lists(service, definition)
            test = child(definition.value("healthcheck"), "test")
            if self.text(child(definition.value("healthcheck"), "disable")) == "true":
                service.healthcheck = ["NONE"]
            elif not is_null(test):
                text = self.text(test)
                service.healthcheck = ["CMD-SHELL", text] if text is not None else self.texts(test)
        return service

    def last(self, definitions: list[Definition], name: str) -> str:
        text = ""
        for definition in definitions:
            node = definition.value(name)
            if node is not None and tag_of(node) == RESET:
                text = ""
            elif not is_null(node):
                text = self.text(node) or ""
        return text

    def words(self, definitions: list[Definition], name: str) -> list[str] | None:
        found: list[str] | None = None
        for definition in definitions:
            node = definition.value(name)
            if node is not None and tag_of(node) == RESET:
                found = None
            elif isinstance(node, SequenceNode):
                found = self.texts(node)
            elif not is_null(node):
                text = self.text(node) or ""
                try:
                    found = shlex.split(text)
                except ValueError:
                    raise Refused(f"{self.place(definition, name)}: a quote in {name} is not closed") from None
        return found

    def place(self, definition: Definition, name: str) -> str:
        found = item(definition.node, name)
        line = definition.node.start_mark.line if found is None else found.key_node.start_mark.line
        return f"{definition.document.path}:{line + 1}"

    def add_environment(self, service: Service, definition: Definition) -> None:
        node = definition.value("environment")
        if node is not None and tag_of(node):
            service.environment.clear()
            service.variables.clear()
        for variable in variables(definition):
            service.variables[variable.key] = variable
            if variable.raw is None:
                service.environment[variable.key] = self.project.environ.get(variable.key)
            else:
                service.environment[variable.key] = self.replaced(variable.raw)

    def add_lists(self, service: Service, definition: Definition) -> None:
        for name, kept in (("env_file", service.env_files), ("secrets", service.secrets), ("profiles", None)):
            node = definition.value(name)
            if node is not None and tag_of(node) and kept is not None:
                kept.clear()
        service.env_files += self.env_files(definition)
        for use in self.secret_uses(definition):
            service.secrets = [known for known in service.secrets if known.target != use.target] + [use]
        service.profiles += [text for text in self.texts(definition.value("profiles")) if text not in service.profiles]
        labels = definition.value("labels")
        for key, _, value, _ in items(labels):
            service.labels[key] = self.text(value) or ""
        for text in self.texts(labels):
            key, _, value_text = text.partition("=")
            service.labels[key] = value_text

    def env_files(self, definition: Definition) -> Iterator[EnvFileUse]:
        for element in _one_or_more(definition.value("env_file")):
            is_mapping = isinstance(element, MappingNode)
            path = self.text(child(element, "path") if is_mapping else element)
            if path:
                is_required = not is_mapping or self.text(child(element, "required")) != "false"
                dialect = "raw" if is_mapping and self.text(child(element, "format")) == "raw" else "compose"
                yield EnvFileUse(definition.document.folder / path, is_required, dialect)

    def secret_uses(self, definition: Definition) -> Iterator[SecretUse]:
        for element in elements(definition.value("secrets")):
            if isinstance(element, MappingNode):
                source = self.text(child(element, "source")) or ""
                target = self.text(child(element, "target")) or source
            else:
                source = target = self.text(element) or ""
            yield SecretUse(source, target.removeprefix(SECRETS_ROOT + "/"))

    def texts(self, node: Node | None) -> list[str]:
        return [self.text(element) or "" for element in elements(node) if not isinstance(element, MappingNode)]

    def text(self, node: Node | None) -> str | None:
        """Return the text of a scalar with its references replaced; None of a null, or of anything else."""
        raw = scalar(node) if isinstance(node, ScalarNode) else None
        return None if raw is None else self.replaced(raw)

    def replaced(self, raw: str) -> str:
        try:
            return interpolated(raw, self.project.environ.get)
        except InvalidReference as error:
            # Compose would not start; somebody who lists secrets still wants to see the rest.
            if str(error) not in self.project.warnings:
                self.project.warnings.append(f"a ${{...}} in the Compose file cannot be replaced: {error}")
            return raw


def _one_or_more(node: Node | None) -> list[Node]:
    """Return the elements of a sequence, or the one thing that stands in its place."""
    if node is None or isinstance(node, SequenceNode):
        return elements(node)
    return [] if is_null(node) else [node]


def variables(definition: Definition) -> Iterator[Variable]:
    """Yield the variables of `environment:` in one definition, a mapping or a list."""
    node = definition.value("environment")
    if isinstance(node, SequenceNode):
        for element in node.value:
            text = scalar(element) if isinstance(element, ScalarNode) else None
            if text is not None:
                key, equals, raw = text.partition("=")
                yield Variable(key, raw if equals else None, definition, node, element)
    for key, _, value, holder in items(node):
        if isinstance(value, ScalarNode):
            yield Variable(key, scalar(value), definition, holder, value)
