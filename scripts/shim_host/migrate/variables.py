"""The variables that are secrets now: taken out of each place that has them, blank or KEY_FILE where that is needed."""

from collections.abc import Callable, Mapping, Sequence

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose.editor import Editor, own_sequence
from shim_host.compose.nodes import OVERRIDE, RESET, Document, child, elements, item, tag_of
from shim_host.compose.places import Place, giving_node, own_node, places_of, unused_places
from shim_host.compose.project import SECRETS_ROOT
from shim_host.compose.written import Value
from shim_host.migrate.model import IMAGE, Entangled, MigrationPlan, Moved, Use

_At = tuple[int, str]  # what tells a place from others


class Variables:
    """Edits `environment:` wherever it is."""

    def __init__(self, plan: MigrationPlan, editor_of: Callable[[Document], Editor]) -> None:
        self.plan = plan
        self.project = plan.project
        self.editor_of = editor_of
        self.users: dict[_At, set[str]] = {}  # the services that a place gives its value
        for name, service in self.project.services.items():
            for variable in service.variables.values():
                self.users.setdefault((id(variable.holder), variable.key), set()).add(name)
        self.moved_keys = {name: {use.key for use in moved.uses} for name, moved in plan.moved.items()}
        self.new: dict[str, dict[str, str]] = {}  # what each service gets in the place of what is taken out
        self.written: set[_At] = set()  # where something else is now
        self.leaving: list[tuple[Place, str]] = []  # with what is written before a comment that stays

    def take_out(self) -> None:
        """Collect the edits for every service that is moved.

        Raises:
            Entangled: a service that stays as it is has a variable from one that does not.
        """
        for moved in self.plan.moved.values():
            by_key: dict[str, list[Place]] = {}
            for place in places_of(moved.service):
                by_key.setdefault(place.key, []).append(place)
            new = self.new[moved.service.name] = {}
            for use in moved.uses:
                new.update(self._settle(moved, use, by_key.get(use.key, [])))
        keys = {key for keys in self.moved_keys.values() for key in keys}
        gone = set(self.plan.reasons) - set(self.plan.staying)
        self.leaving += [(place, "") for place in unused_places(self.project, keys, gone)]
        for place, note in self.leaving:
            if place.at not in self.written:
                self.editor_of(place.document).remove(place.collection, place.position, note)
        for moved in self.plan.moved.values():
            places: dict[int, tuple[Document, MappingNode, dict[str, str]]] = {}
            for key, text in self.new[moved.service.name].items():
                own = giving_node(self.project, moved.service.name, "environment", key.removesuffix("_FILE"))
                places.setdefault(id(own[1]), (*own, {}))[2][key] = text
            for document, node, new in places.values():
                self._add(moved, document, node, new)

    def _settle(self, moved: Moved, use: Use, places: Sequence[Place]) -> dict[str, str]:
        """Decide what becomes of one variable of one service; return what its `environment:` gets besides."""
        pointer = {f"{use.key}_FILE": f"{SECRETS_ROOT}/{use.target}"}
        is_blank = self._is_given(moved, use.key)
        is_own = len(places) == 1 and self.users.get(places[0].at) == {moved.service.name}
        if is_own and self._is_in(moved, places[0]) and (is_blank or moved.how == IMAGE):
            self._write_in_place(places[0], {use.key: ""} if is_blank else pointer)
            return pointer if is_blank and (moved.how == IMAGE or use.needs_pointer) else {}
        for place in places:
            users = self.users.get(place.at, set())
            if all(use.key in self.moved_keys.get(user, ()) for user in users):
                self.leaving.append((place, f"{use.key}: {self.plan.place(use.source)}  "))
            elif self._is_in(moved, place):
                others = ", ".join(sorted(users - {moved.service.name}))
                raise Entangled(moved.service.name, f"{others} gets {use.key} from it, and stays as it is")
            else:
                is_blank = True
        blank = {use.key: ""} if is_blank else {}
        return {**blank, **(pointer if moved.how == IMAGE or use.needs_pointer else {})}

    def _is_in(self, moved: Moved, place: Place) -> bool:
        """Return whether *place* is in the `environment:` of the service itself, and of no other."""
        document, node = own_node(self.project, moved.service.name, "environment")
        found = item(node, "environment")
        if found is None or found.value is not place.collection or found.holder is not node:
            return False
        return id(found.value) not in self.editor_of(document).aliased

    def _is_given(self, moved: Moved, key: str) -> bool:
        """Return whether an env file gives the service the variable, so that it must be blank in `environment:`.

        The file keeps its name, and its values until the new one takes its place; the blank hides the one in it.
        """
        return any(key in self.plan.env_file_keys.get(use.path.absolute(), ()) for use in moved.service.env_files)

    def _write_in_place(self, place: Place, new: Mapping[str, str]) -> None:
        """Write the one variable of *new* in *place*."""
        self.written.add(place.at)
        editor = self.editor_of(place.document)
        spot = editor.spots(place.collection)[place.position]
        ((key, value),) = new.items()
        if isinstance(place.collection, MappingNode):
            editor.replace(spot.start, spot.end, f"{editor.quote(key)}: {editor.quote(value)}")
        else:
            editor.replace(spot.start, spot.end, editor.quote(f"{key}={value}"))

    def _add(self, moved: Moved, document: Document, node: MappingNode, new: Mapping[str, str]) -> None:
        editor = self.editor_of(document)
        value = child(node, "environment")
        gone = {use.key for use in moved.uses}
        own = own_sequence(node, "environment", editor)
        keeps_others = self._differs_for_others(moved, value, new)
        if not isinstance(value, SequenceNode):
            editor.grow(node, "environment", dict(new), without=gone, keeps_others=keeps_others)
        elif own is not None and not keeps_others:
            for key, text in new.items():
                editor.add_item(own, f"{key}={text}")
        else:
            # The service's own field replaces what it inherits, so that is written out.
            is_reset = tag_of(value) == RESET
            kept: list[Value] = [
                editor.raw(element)
                for element in ([] if is_reset else elements(value))
                if isinstance(element, ScalarNode) and str(element.value).partition("=")[0] not in gone
            ]
            tag = OVERRIDE if is_reset else tag_of(value)
            editor.set_field(node, "environment", [*kept, *(f"{key}={text}" for key, text in new.items())], tag=tag)

    def _differs_for_others(self, moved: Moved, value: Node | None, new: Mapping[str, str]) -> bool:
        """Return whether a service that has the same `environment:`, by an alias, is not to get all of *new*."""
        return any(
            value is not None
            and name != moved.service.name
            and any(definition.value("environment") is value for definition in service.definitions)
            and not new.items() <= self.new.get(name, {}).items()
            for name, service in self.project.services.items()
        )
