"""Where things stand in the files of a Compose project: places of a variable, and where a field is to be written."""

from collections.abc import Iterable
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose.nodes import Document, child, elements, layers, scalar
from shim_host.compose.project import Project, Service


def scalars(
    node: Node, path: tuple[str, ...], seen: set[int] | None = None
) -> Iterable[tuple[tuple[str, ...], ScalarNode]]:
    """Yield every scalar below *node* once, with the keys on the way to it."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        yield path, node
    elif isinstance(node, SequenceNode):
        for element in node.value:
            yield from scalars(element, path, seen)
    elif isinstance(node, MappingNode):
        for key_node, value in node.value:
            yield from scalars(value, (*path, str(key_node.value)), seen)


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
