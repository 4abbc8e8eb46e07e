"""From Compose files to a `Project`: which files Compose takes, and what it makes of them. No engine is asked.

Follows Compose where it matters to secrets: several files and documents, `extends`, `include` with its own env files,
merge keys, `!reset` and `!override`, `${...}` with every operator, `env_file`, COMPOSE_* variables, the project's name.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose import nodes
from shim_host.compose.nodes import OVERRIDE, RESET, Document, child, elements, is_null, item, items, scalar, tag_of
from shim_host.compose.plain_keys import with_plain_keys
from shim_host.compose.project import (
    SECRETS_ROOT,
    Definition,
    EnvFileUse,
    Project,
    SecretDefinition,
    SecretUse,
    Service,
    Variable,
    interpolated,
    placed,
)
from shim_host.env import envfile
from shim_host.env.compose_rules import InvalidReference, Malformed
from shim_host.errors import Refused, failed_file
from shim_host.inputs import read_bounded

# In Compose's own order; the first one is taken.
DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = tuple(f"{name}.override.{ending}" for name in ("compose", "docker-compose") for ending in ("yml", "yaml"))

Load = Callable[[Path, Path, Mapping[str, str] | None], list[Document]]


def default_files(folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the files that Compose takes in *folder* when none is named; COMPOSE_FILE counts, then parent folders.

    Raises:
        Refused: there is none.
    """
    named = environ.get("COMPOSE_FILE")
    if named:
        return [folder / part for part in named.split(environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep) if part]
    for place in (folder, *_above(folder)):
        found = [place / name for name in DEFAULT_FILES if (place / name).exists()][:1]
        if found:
            return found + [place / name for name in _OVERRIDES if (place / name).exists()][:1]
    raise Refused(f"there is no Compose file in {folder}", "name it with --file")


def _above(folder: Path) -> list[Path]:
    """Return the parents of *folder*, the next one first, spelled as short as they can be."""
    count = len(folder.absolute().parts) - 1
    return [folder.joinpath(*[".."] * steps) for steps in range(1, count + 1)]


def default_env_files(folder: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the env files that Compose reads in *folder* when none is named; COMPOSE_ENV_FILES counts."""
    named = environ.get("COMPOSE_ENV_FILES")
    if named:
        return [Path(part) for part in named.split(",") if part]
    if environ.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in ("1", "t", "true"):
        return []
    return [folder / ".env"] if (folder / ".env").is_file() else []


def normalised_name(name: str) -> str:
    """Return the project name that Compose makes of a folder's name."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def read_project(
    path: Path | Sequence[Path],
    environ: Mapping[str, str] | None = None,
    env_files: Sequence[Path] | None = None,
    *,
    to_edit: bool = False,
) -> Project:
    """Return the project of the Compose file *path*, of several files (the last one counts), or of a folder.

    Args:
        path: the file or files, or the folder that they are looked for in.
        environ: the shell's environment, which comes before the `.env`; nothing by default. Its COMPOSE_FILE,
            COMPOSE_ENV_FILES and COMPOSE_PROJECT_NAME count.
        env_files: what is read in place of the `.env` beside the first file; the last one counts.
        to_edit: give each service a node of its own, so that it can be changed.

    Raises:
        Refused: a file is missing, or is not what Compose takes. The message names the line, never a value.
        Failed: a file cannot be read.
    """
    shell = dict(environ or {})
    is_folder = isinstance(path, Path) and path.is_dir()
    named = [path] if isinstance(path, Path) else list(path)
    folder = named[0] if is_folder else named[0].parent
    read = list(default_env_files(folder, shell) if env_files is None else env_files)
    settings = {**settings_of(read, shell), **shell}
    files = default_files(folder, settings) if is_folder else named
    if files[0].parent.absolute() != folder.absolute():
        # The `.env` beside the files counts, too, after that of the folder one is in.
        folder = files[0].parent
        more = [] if env_files is not None else [p for p in default_env_files(folder, shell) if p not in read]
        settings = {**settings_of(more, shell), **settings}
        read += more
    load = _load_to_edit if to_edit else nodes.load
    # One of several may be empty, as an override is that somebody commented out.
    documents = [document for file in files for document in load(file, folder, None)] or nodes.refuse(files[0])
    name = settings.get("COMPOSE_PROJECT_NAME") or _last_name(documents, settings)
    name = name or normalised_name(folder.absolute().resolve().name if folder == Path() else folder.absolute().name)
    project = Project(name, folder, documents, {**settings, "COMPOSE_PROJECT_NAME": name}, files=files, env_files=read)
    _Reading(project, load).read()
    return project


def _load_to_edit(path: Path, folder: Path, environ: Mapping[str, str] | None) -> list[Document]:
    return nodes.with_own_services(with_plain_keys(nodes.load(path, folder, environ)))


def settings_of(paths: Sequence[Path], shell: Mapping[str, str]) -> dict[str, str]:
    """Return what the env files *paths* set for `${...}`; a later file counts more, and one may be missing.

    Raises:
        Refused: a file has a mistake.
        Failed: it cannot be read.
    """
    values: dict[str, str] = {}
    for path in paths:
        try:
            read = envfile.read(read_bounded(path), {**values, **shell}, use="project")
        except FileNotFoundError:
            continue
        except Malformed as error:
            raise Refused(f"{path}:{error.line}: {error.message}", *([error.hint] if error.hint else [])) from None
        except OSError as error:
            raise failed_file("read", str(path), error) from None
        values.update({key: secret.reveal().decode("utf-8") for key, secret in read.values.items()})
    return values


def _last_name(documents: list[Document], settings: Mapping[str, str]) -> str:
    names = [child(document.root, "name") for document in documents]
    found = next((str(node.value) for node in reversed(names) if isinstance(node, ScalarNode)), "")
    try:
        return interpolated(found, settings.get)
    except InvalidReference:
        return found


class _Reading:
    """Puts the definitions of each service together."""

    def __init__(self, project: Project, load: Load) -> None:
        self.project = project
        self.load = load
        self.environ = project.environ  # what the file that is being read sees; an included one has its own

    def enter(self, document: Document) -> None:
        """Look up the references of *document* from now on."""
        self.environ = self.project.environ if document.environ is None else document.environ

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
            self.enter(document)
            inner = child(node, "path") if isinstance(node, MappingNode) else node
            paths = [document.folder / (self.text(path_node) or "") for path_node in _one_or_more(inner)]
            if not paths:
                continue
            folder = self.text(child(node, "project_directory"))
            place = document.folder / folder if folder else paths[0].parent
            environ = self.included_environ(document, place, _one_or_more(child(node, "env_file")))
            for path in paths:
                if path.absolute() in on_the_way:
                    raise Refused(f"{document.path}: {path} includes itself")
                for included in self.load(path, place, environ) or nodes.refuse(path):
                    self.include(included, services, [*on_the_way, path.absolute()])
                    self.gather(included, services)
                    self.project.documents.append(included)

    def included_environ(self, document: Document, folder: Path, env_files: list[Node]) -> Mapping[str, str]:
        """Return what an included file sees: what the one that includes it sees, then its own env files."""
        names = [self.text(env_file) or "" for env_file in env_files]
        paths = [document.folder / name for name in names] or [folder / ".env"]
        paths = [path for path in paths if path.is_file()]
        around = self.environ
        environ = {**settings_of(paths, around), **around}
        self.project.included_env_files.update(dict.fromkeys(paths, around))
        return environ

    def gather(self, document: Document, services: dict[str, list[Definition]]) -> None:
        self.enter(document)
        for name, key_node, node, _ in items(child(document.root, "services")):
            if tag_of(node) == RESET:
                services.pop(name, None)
                continue
            if tag_of(node) == OVERRIDE:
                services.pop(name, None)
            if is_null(node):
                continue
            if not isinstance(node, MappingNode):
                line = key_node.start_mark.line + 1
                raise Refused(f"{document.path}:{line}: the service {name} is not a mapping")
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
            others = [document]
            file = self.text(child(extends, "file")) if isinstance(extends, MappingNode) else None
            if file:
                others = self.other_file(document.folder / file, document.environ)
            elif document in self.project.documents:
                # Compose merges the files in order, so an earlier one may have the base, too.
                others += self.project.documents[: self.project.documents.index(document)][::-1]
            bases = [(other, child(child(other.root, "services"), base)) for other in others]
            found = next(((other, node) for other, node in bases if isinstance(node, MappingNode)), None)
            if found is None:
                line = extends.start_mark.line + 1
                raise Refused(f"{document.path}:{line}: it extends {base}, which is not a service in {others[0].path}")
            yield from self.definitions(*found, [*on_the_way, id(node)])
        yield Definition(document, node)

    def other_file(self, path: Path, environ: Mapping[str, str] | None) -> list[Document]:
        key = path.absolute()
        known = [document for document in self.project.documents if document.path.absolute() == key]
        if not known:
            known = self.load(path, path.parent, environ) or nodes.refuse(path)
            self.project.documents += known
        return known

    def secret(self, document: Document, name: str, node: Node) -> SecretDefinition:
        file = self.text(child(node, "file"))
        external = child(node, "external")
        is_external = isinstance(external, MappingNode) or self.text(external) == "true"
        variable = self.text(child(node, "environment"))
        return SecretDefinition(name, placed(document.folder, file) if file else None, is_external, variable)

    def service(self, name: str, definitions: list[Definition]) -> Service:
        service = Service(name, definitions)
        service.image = self.last(definitions, "image")
        service.user = self.last(definitions, "user")
        service.is_built = any(not is_null(definition.value("build")) for definition in definitions)
        service.entrypoint = self.words(definitions, "entrypoint")
        service.command = self.words(definitions, "command")
        for definition in definitions:
            self.enter(definition.document)
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
                self.enter(definition.document)
                text = self.text(node) or ""
        return text

    def words(self, definitions: list[Definition], name: str) -> list[str] | None:
        found: list[str] | None = None
        for definition in definitions:
            node = definition.value(name)
            if node is not None and tag_of(node) == RESET:
                found = None
            elif isinstance(node, SequenceNode):
                self.enter(definition.document)
                found = self.texts(node)
            elif not is_null(node):
                self.enter(definition.document)
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
            if tag_of(variable.node) == RESET:
                service.variables.pop(variable.key, None)
                service.environment.pop(variable.key, None)
                continue
            service.variables[variable.key] = variable
            if variable.raw is None:
                service.environment[variable.key] = self.environ.get(variable.key)
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
                yield EnvFileUse(placed(definition.document.folder, path), is_required, dialect)

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
            return interpolated(raw, self.environ.get)
        except InvalidReference as error:
            # Compose would not start; somebody who lists secrets still wants to see the rest.
            if str(error) not in self.project.warnings:
                self.project.warnings.append(f"a ${{...}} in the Compose file cannot be replaced: {error}")
            return raw


def _one_or_more(node: Node | None) -> list[Node]:
    """Return the elements of a sequence, or the one thing that is in its place."""
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
