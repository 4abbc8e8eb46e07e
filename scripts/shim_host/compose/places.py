"""Where things are in the files of a Compose project: places of a variable, and where a field is to be written."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose.nodes import (
    OVERRIDE,
    RESET,
    Document,
    child,
    elements,
    is_merge,
    is_null,
    items,
    layers,
    scalar,
    tag_of,
)
from shim_host.compose.project import Definition, Project, Service, interpolated
from shim_host.env.compose_rules import InvalidReference


def scalars_in_effect(
    node: Node, path: tuple[str, ...], above: tuple[Node, ...] = ()
) -> Iterator[tuple[tuple[str, ...], ScalarNode]]:
    """Yield the scalars below *node* that count: a merged one that a stronger one hides is not among them."""
    if isinstance(node, ScalarNode):
        yield path, node
    elif node not in above:
        for element in elements(node):
            yield from scalars_in_effect(element, path, (*above, node))
        for key, _, value, _ in items(node):
            yield from scalars_in_effect(value, (*path, key), (*above, node))


def scalars_of(project: Project, document: Document) -> Iterator[tuple[tuple[str, ...], ScalarNode]]:
    """Yield the scalars of *document* that count in the *project*; what an anchor names, for each that has it."""
    definitions = {id(definition.node) for service in project.services.values() for definition in service.definitions}
    for section, _, value, _ in items(document.root):
        if section == "services":
            for name, _, service, _ in items(value):
                if id(service) in definitions:
                    yield from scalars_in_effect(service, (section, name))
        elif not section.startswith("x-"):
            yield from scalars_in_effect(value, (section,))


class Place(NamedTuple):
    """Where a variable is written: in which collection of which file, and how far down in it."""

    key: str
    document: Document
    collection: Node
    position: int
    node: Node

    @property
    def at(self) -> tuple[int, str]:
        """Return what tells this place from others, those of one anchor too."""
        return id(self.collection), self.key


def places_of(service: Service) -> Iterable[Place]:
    """Yield every place where *service* has a variable from, also those that a stronger one hides."""
    for definition in service.definitions:
        yield from places_in(definition)


def places_in(definition: Definition) -> Iterable[Place]:
    """Yield every place where the service has a variable from, as one file writes it."""
    node = definition.value("environment")
    for position, element in enumerate(elements(node)):
        if isinstance(element, ScalarNode):
            key = (scalar(element) or "").partition("=")[0]
            yield Place(key, definition.document, node, position, element)  # type: ignore[arg-type]
    for mapping in layers(node):
        for position, (key_node, value) in enumerate(mapping.value):
            yield Place(str(key_node.value), definition.document, mapping, position, value)


def reached(project: Project) -> set[int]:
    """Return the `id` of every node that says something about the project: not those of an anchor that is replaced."""
    found: set[int] = set()
    for service in project.services.values():
        for definition in service.definitions:
            _reach(definition.node, found)
    for document in project.documents:
        for key, _, value, _ in items(document.root):
            if key != "services" and not key.startswith("x-"):
                _reach(value, found)
    return found


def _reach(node: Node, found: set[int]) -> None:
    if id(node) in found:
        return
    found.add(id(node))
    for value in [entry.value for entry in items(node)] if isinstance(node, MappingNode) else elements(node):
        _reach(value, found)


def unused_places(project: Project, keys: Collection[str], gone: Collection[str] = ()) -> Iterator[Place]:
    """Yield every place that has one of *keys*, or cannot be without one of *gone*, and from which no service gets it.

    Compose reads what `${KEY:?}` is in, used or not.
    """
    known = reached(project)
    for document in project.documents:
        for place in _unused_below(document, document.root, known, set()):
            if place.key in keys or _demands(str(place.node.value), gone):
                yield place


def _demands(text: str, gone: Collection[str]) -> bool:
    """Return whether Compose would refuse *text* where only *gone* are not set."""
    try:
        interpolated(text, lambda name: None if name in gone else "x")
    except InvalidReference:
        return True
    return False


def in_extensions(project: Project, gone: Collection[tuple[int, str]]) -> Iterator[tuple[str, ScalarNode]]:
    """Yield every text of an `x-` section with the section's name, but for the places (`Place.at`) that are *gone*."""
    for document in project.documents:
        for name, _, value, holder in items(document.root):
            if name.startswith("x-"):
                todo = [(id(holder), name, value)]
                seen: set[int] = set()
                while todo:
                    around, key, node = todo.pop()
                    if isinstance(node, ScalarNode):
                        if (around, key) not in gone:
                            yield name, node
                    elif id(node) not in seen:
                        seen.add(id(node))
                        is_mapping = isinstance(node, MappingNode)
                        entries = node.value if is_mapping else [(element, element) for element in node.value]
                        for key_node, inner in entries:
                            text = str(key_node.value) if isinstance(key_node, ScalarNode) else ""
                            todo.append((id(node), text if is_mapping else text.partition("=")[0], inner))


def _unused_below(document: Document, node: Node, known: set[int], seen: set[int]) -> Iterator[Place]:
    if id(node) in seen or isinstance(node, ScalarNode):
        return
    seen.add(id(node))
    for position, entry in enumerate(node.value):
        key_node, value = entry if isinstance(node, MappingNode) else (None, entry)
        if isinstance(value, ScalarNode) and id(value) not in known:
            text = str(value.value if key_node is None else key_node.value)
            key = text.partition("=")[0] if key_node is None else text
            if key_node is None or not is_merge(key_node):
                yield Place(key, document, node, position, value)
        else:
            yield from _unused_below(document, value, known, seen)


def own_node(project: Project, name: str, field_name: str) -> tuple[Document, MappingNode]:
    """Return the file, and the service's mapping in it, where the field *field_name* is to be written.

    That is the last file that has the field, so that it wins; else the first that has the service.
    """
    found = _own_nodes(project, name)
    with_field = [entry for entry in found if child(entry[1], field_name) is not None]
    return with_field[-1] if with_field else found[0]


def _own_nodes(project: Project, name: str) -> list[tuple[Document, MappingNode]]:
    ours = {id(definition.node) for definition in project.services[name].definitions}
    found = []
    for document in project.documents:
        node = child(child(document.root, "services"), name)
        if isinstance(node, MappingNode) and id(node) in ours:
            found.append((document, node))
    return found


def having(project: Project, document: Document, path: tuple[str, ...], node: ScalarNode) -> list[str]:
    """Return the services that have the text *node* at *path* of *document*.

    That is the one that it is written in, and those that extend that one and write nothing in its place.
    """
    written_in = child(child(document.root, "services"), path[1])
    found = []
    for service in project.services.values():
        at = [number for number, definition in enumerate(service.definitions) if definition.node is written_in]
        if not at:
            continue
        if path[2] == "environment":
            is_in_effect = any(variable.node is node for variable in service.variables.values())
        else:
            later = (definition.value(path[2]) for definition in service.definitions[at[-1] + 1 :])
            is_in_effect = not any(_takes_place_of(value, path[2:], node) for value in later)
        if is_in_effect or service.name == path[1]:
            found.append(service.name)
    return found


def _takes_place_of(value: Node | None, path: tuple[str, ...], node: ScalarNode) -> bool:
    """Return whether *value*, of the field that *path* begins with, replaces the text *node* of a weaker definition.

    Compose merges mappings and lists of `KEY=value` by their keys, appends to other lists, and replaces the rest.
    """
    for depth in range(1, len(path) + 1):
        if value is not None and tag_of(value) in (RESET, OVERRIDE):
            return True
        if value is None or is_null(value):
            return False
        if path[:depth] in _REPLACED_WHOLE:
            return True
        name = path[depth] if depth < len(path) else str(node.value).partition("=")[0]
        if isinstance(value, SequenceNode):
            texts = [str(element.value) for element in value.value if isinstance(element, ScalarNode)]
            return name in {text.partition("=")[0] for text in texts}
        if isinstance(value, ScalarNode):
            return depth == len(path)  # `build: .` is a build with a context, and merged like that
        value = child(value, name)
    return value is not None


_REPLACED_WHOLE = (("command",), ("entrypoint",), ("healthcheck", "test"))


def related(project: Project, name: str) -> list[str]:
    """Return the services that have settings in common with the service *name*, since one extends the other."""
    ours = {id(definition.node) for definition in project.services[name].definitions}
    return [
        other
        for other, service in project.services.items()
        if other != name and any(id(definition.node) in ours for definition in service.definitions)
    ]


def giving_node(project: Project, name: str, field_name: str, key: str) -> tuple[Document, MappingNode]:
    """Return what `own_node` does, or a later file if the variable *key* comes from there.

    That counts where another service extends this one: it inherits from the first file alone.
    """
    usual, own = own_node(project, name, field_name), _own_nodes(project, name)
    service = project.services[name]
    if not related(project, name):
        return usual
    for definition in service.definitions:
        gives = any(place.key == key for place in places_in(definition))
        if gives or (key not in service.variables and not is_null(definition.value("env_file"))):
            later = own[own.index(usual) + 1 :]
            return next((entry for entry in later if entry[1] is definition.node), usual)
    return usual


def document_paths(document: Document) -> Iterable[ScalarNode]:
    """Yield the scalars that name other Compose files."""
    for _, _, service, _ in items(child(document.root, "services")):
        file = child(child(service, "extends"), "file")
        if isinstance(file, ScalarNode):
            yield file
    for element in elements(child(document.root, "include")):
        path = child(element, "path") if isinstance(element, MappingNode) else element
        found = elements(path) if isinstance(path, SequenceNode) else [path]
        yield from (node for node in found if isinstance(node, ScalarNode))
