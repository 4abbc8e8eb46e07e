"""The Compose files of a migration: what changes in each, as edits of its text."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose import nodes as compose_yaml
from shim_host.compose.editor import Editor, Value, is_flow, own_sequence, quoted
from shim_host.compose.masked import shown
from shim_host.compose.nodes import Document, child, elements, is_null, item, items, scalar
from shim_host.compose.places import Place, own_node, places_of
from shim_host.compose.project import SECRETS_ROOT, names_in
from shim_host.migrate.model import IMAGE, SHIM, Finding, Moved, NewFile, Plan, ShimSource
from shim_host.names import SHIM_FOLDER, SHIM_PROGRAM

_VOLUME_PLACE = "/opt/shim-volume"


class ComposeFiles:
    """Edits every Compose file of the project."""

    def __init__(
        self, plan: Plan, shim: ShimSource, rename: Callable[[Path], Path], renamed: Mapping[Path, Path]
    ) -> None:
        self.plan = plan
        self.project = plan.project
        self.shim = shim
        self.rename = rename
        self.renamed = renamed  # env files that have a new name
        self.editors = {id(document): Editor(document) for document in self.project.documents}

    def files(self, values: list[str]) -> list[NewFile]:
        """Return the files that change; none of *values* is in what may be shown of them."""
        if not self.plan.moved:
            return []
        self._remove_variables()
        for moved in self.plan.moved.values():
            self._change_service(moved)
        self._settle_emptied()
        self._rename_env_files()
        self._add_sections()
        self._rename_documents()
        keys = {*self.plan.reasons, *(use.key for moved in self.plan.moved.values() for use in moved.uses)}
        found = []
        for document in self.project.documents:
            editor = self._editor(document)
            if editor.has_edits:
                text = editor.result()
                root = compose_yaml.parse(text, document.path)
                old_shown = shown(document.text, document.root, keys, values)
                new_shown = shown(text, root, keys, values)
                found.append(NewFile(document.path, self.rename(document.path), text, old_shown, new_shown))
        return found

    def _editor(self, document: Document) -> Editor:
        return self.editors[id(document)]

    def _remove_variables(self) -> None:
        """Take each variable that is a secret now out of every place that has it."""
        effective: dict[int, set[str]] = {}
        for name, service in self.project.services.items():
            for variable in service.variables.values():
                effective.setdefault(id(variable.node), set()).add(name)
        moved_keys = {name: {use.key for use in moved.uses} for name, moved in self.plan.moved.items()}
        for name, moved in self.plan.moved.items():
            by_key: dict[str, list[Place]] = {}
            for place in places_of(moved.service):
                by_key.setdefault(place.key, []).append(place)
            pointers = {}
            for use in moved.uses:
                places = by_key.get(use.key, [])
                if moved.how == IMAGE and len(places) == 1 and effective.get(id(places[0].node)) == {name}:
                    self._point(places[0], f"{SECRETS_ROOT}/{use.target}")
                    continue
                for place in places:
                    users = effective.get(id(place.node), set())
                    if all(use.key in moved_keys.get(user, ()) for user in users):
                        note = f"{use.key}: {self.plan.place(use.source)}  "
                        self._editor(place.document).remove(place.collection, place.position, note)
                if moved.how == IMAGE or use.needs_pointer:
                    pointers[f"{use.key}_FILE"] = f"{SECRETS_ROOT}/{use.target}"
            if pointers:
                self._add_variables(moved, pointers)

    def _point(self, place: Place, path: str) -> None:
        """Write KEY_FILE in the place of KEY."""
        editor = self._editor(place.document)
        start, end = editor.spans(place.collection)[place.position]
        if isinstance(place.collection, MappingNode):
            editor.replace(start, end, f"{quoted(place.key + '_FILE')}: {path}")
        else:
            editor.replace(start, end, quoted(f"{place.key}_FILE={path}"))

    def _add_variables(self, moved: Moved, new: Mapping[str, str]) -> None:
        document, node = own_node(self.project, moved.service.name, "environment")
        editor = self._editor(document)
        found = item(node, "environment")
        if found is None or is_null(found.value):
            editor.set_field(node, "environment", dict(new))
            return
        is_elsewhere = found.holder is not node or editor.is_alias(found.value, int(found.key_node.end_mark.index))
        if is_elsewhere or not found.value.value:
            # The service's own field replaces what it inherits, so that is written out.
            gone = {use.key for use in moved.uses}
            inherited = [
                key if variable.raw is None else f"{key}={variable.raw}"
                for key, variable in moved.service.variables.items()
                if key not in gone and variable.definition.node is node
            ]
            editor.set_field(node, "environment", [*inherited, *(f"{key}={value}" for key, value in new.items())])
            return
        for key, value in new.items():
            if isinstance(found.value, MappingNode):
                editor.add_field(found.value, key, value)
            else:
                editor.add_item(found.value, f"{key}={value}")

    def _change_service(self, moved: Moved) -> None:
        name = moved.service.name
        if moved.how == SHIM:
            self._set_entrypoint(moved)
            if moved.user:
                document, node = own_node(self.project, name, "user")
                self._editor(document).set_field(node, "user", "0:0", after="image")
                self._let_change_user(moved)
        self._set_healthcheck(moved)
        new: list[Value] = [
            use.source if use.source == use.target else {"source": use.source, "target": use.target}
            for use in moved.uses
        ]
        self._add_to_list(name, "secrets", new)
        if moved.mounts_shim:
            if self.shim.program:
                mount: Value = {"type": "bind", "source": self.shim.program, "target": SHIM_PROGRAM, "read_only": True}
                self._add_to_list(name, "volumes", [mount])
            else:
                self._add_to_list(name, "volumes", [f"{self._volume_name()}:{SHIM_FOLDER}:ro"])
                self._depend_on(name, self._installer_name())

    def _words(self, moved: Moved) -> list[str]:
        """Return the shim's options, as a Compose file writes them."""
        raw = self._raw_user(moved)
        return [raw if raw and word == moved.user else _literal(word) for word in moved.options]

    def _raw_user(self, moved: Moved) -> str:
        for definition in reversed(moved.service.definitions):
            node = definition.value("user")
            if isinstance(node, ScalarNode) and not is_null(node):
                return scalar(node) or ""
        return ""

    def _set_entrypoint(self, moved: Moved) -> None:
        name = moved.service.name
        front = [SHIM_PROGRAM, *self._words(moved), "--"]
        document, node = own_node(self.project, name, "entrypoint")
        editor = self._editor(document)
        if moved.entrypoint is not None:
            editor.set_field(node, "entrypoint", (*front, *map(_literal, moved.entrypoint)), after="image")
        else:
            self._put_in_front(moved, editor, node, front)
        if moved.command or (moved.service.command is None and self._inherits_command(moved)):
            document, node = own_node(self.project, name, "command")
            words = tuple(map(_literal, moved.command or ()))
            self._editor(document).set_field(node, "command", words, after="image")

    def _inherits_command(self, moved: Moved) -> bool:
        """Return whether the service extends one that gets a command written down, which is not its own."""
        bases = {id(definition.node) for definition in moved.service.definitions}
        others = (other for other in self.plan.moved.values() if other is not moved and other.command)
        return any(id(other.service.definitions[-1].node) in bases for other in others)

    def _put_in_front(self, moved: Moved, editor: Editor, node: MappingNode, front: list[str]) -> None:
        """Put the shim in front of the entrypoint that the Compose file sets."""
        for definition in reversed(moved.service.definitions):
            old = definition.value("entrypoint")
            if old is None or is_null(old):
                continue
            if isinstance(old, ScalarNode):
                text = " ".join([*front, scalar(old) or ""]).rstrip()
                editor.set_field(node, "entrypoint", text, after="image")
            elif own_sequence(node, "entrypoint", editor) is old and not is_flow(old):
                start = editor.spans(old)[0][0]
                dash = editor.text.rfind("-", 0, start)
                gap = editor.line_end + editor.text[editor.line_start(dash) : dash]
                editor.replace(dash, dash, "".join(f'- "{word}"{gap}' for word in front))
            else:
                words = [scalar(word) or "" for word in elements(old) if isinstance(word, ScalarNode)]
                editor.set_field(node, "entrypoint", (*front, *words), after="image")
            return

    def _let_change_user(self, moved: Moved) -> None:
        """Give back what the shim needs to become another user where all capabilities are dropped."""
        dropped = {
            str(element.value).upper()
            for definition in moved.service.definitions
            for element in elements(definition.value("cap_drop"))
        }
        needed = ("DAC_READ_SEARCH", "SETGID", "SETUID")
        if dropped.intersection(("ALL", *needed)):
            self._add_to_list(moved.service.name, "cap_add", list(needed))
            message = f"the shim gets {', '.join(needed)} to read the secrets and to become {moved.user}"
            self.plan.findings.append(Finding(moved.service.name, "", message, "the service itself has none of them"))

    def _set_healthcheck(self, moved: Moved) -> None:
        front = ["CMD", SHIM_PROGRAM, "exec", *self._words(moved), "--"]
        if moved.healthcheck is not None:
            test = (*front, *map(_literal, moved.healthcheck))
        elif moved.wraps_healthcheck:
            test = self._wrapped(moved, front)
        else:
            return
        document, node = own_node(self.project, moved.service.name, "healthcheck")
        editor = self._editor(document)
        found = item(node, "healthcheck")
        if found is None or is_null(found.value):
            editor.set_field(node, "healthcheck", {"test": test})
        elif found.holder is node and not editor.is_alias(found.value, int(found.key_node.end_mark.index)):
            editor.set_field(found.value, "test", test)
        else:
            kept = {key: _value(value) for key, _, value, _ in items(found.value)}
            editor.set_field(node, "healthcheck", {**kept, "test": test})

    def _wrapped(self, moved: Moved, front: list[str]) -> tuple[str, ...]:
        """Return the Compose file's own test behind *front*, its references as they are."""
        shell = moved.image.shell if moved.image is not None else ["/bin/sh", "-c"]
        for definition in reversed(moved.service.definitions):
            test = child(definition.value("healthcheck"), "test")
            if test is None or is_null(test):
                continue
            if isinstance(test, ScalarNode):
                return (*front, *shell, scalar(test) or "")
            words = [scalar(word) or "" for word in elements(test) if isinstance(word, ScalarNode)]
            return (*front, *(shell if words[0] == "CMD-SHELL" else ()), *words[1:])
        return tuple(front)

    def _add_to_list(self, name: str, field_name: str, new: Iterable[Value]) -> None:
        document, node = own_node(self.project, name, field_name)
        editor = self._editor(document)
        own = own_sequence(node, field_name, editor)
        if own is not None:
            for value in new:
                editor.add_item(own, value)
        else:
            # What is inherited by a merge key or an alias is replaced by the service's own field, so it is written out.
            inherited = [_value(element) for element in elements(child(node, field_name))]
            editor.set_field(node, field_name, [*inherited, *new])

    def _depend_on(self, name: str, installer: str) -> None:
        document, node = own_node(self.project, name, "depends_on")
        editor = self._editor(document)
        found = item(node, "depends_on")
        new: dict[str, Value] = {installer: {"condition": "service_completed_successfully"}}
        if found is None or is_null(found.value) or not found.value.value:
            editor.set_field(node, "depends_on", new)
        elif found.holder is not node or editor.is_alias(found.value, int(found.key_node.end_mark.index)):
            editor.set_field(node, "depends_on", {**_conditions(found.value), **new})
        elif isinstance(found.value, MappingNode):
            editor.add_field(found.value, installer, new[installer])
        elif is_flow(found.value) or not isinstance(found.value, SequenceNode):
            editor.set_field(node, "depends_on", {**_conditions(found.value), **new})
        else:
            self._list_to_mapping(editor, found.key_node, found.value, new)

    def _list_to_mapping(self, editor: Editor, key_node: ScalarNode, old: SequenceNode, new: dict[str, Value]) -> None:
        """Turn `- db` into `db: {condition: service_started}` line by line, so that comments stay."""
        column = int(key_node.start_mark.column) + editor.step
        spans = editor.spans(old)
        for position, (element, (start, end)) in enumerate(zip(old.value, spans, strict=True)):
            dash = editor.text.rfind("-", 0, start)
            line = editor.line_start(dash)
            text = " " * column + f"{quoted(str(element.value))}:{editor.line_end}"
            text += " " * (column + editor.step) + "condition: service_started"
            if position == len(spans) - 1:
                ((name, condition),) = new.items()
                rest = editor.text[end : editor.next_line(end)].rstrip("\r\n")
                text += rest + editor.line_end + " " * column + f"{quoted(name)}:{editor.line_end}"
                text += " " * (column + editor.step) + f"condition: {condition['condition']}"  # type: ignore[call-overload,index]
                end += len(rest)
            editor.replace(line, end, text)

    def _installer_name(self) -> str:
        return self._free_name("shim-install", self.project.services)

    def _volume_name(self) -> str:
        known = {key for document in self.project.documents for key, *_ in items(child(document.root, "volumes"))}
        return self._free_name("shim", known)

    def _free_name(self, name: str, taken: Iterable[str]) -> str:
        taken = set(taken)
        while name in taken:
            name += "-secrets"
        return name

    def _settle_emptied(self) -> None:
        """Take away each `environment:` that has nothing left."""
        for document in self.project.documents:
            self._settle_below(self._editor(document), document.root, set())

    def _settle_below(self, editor: Editor, node: Node, seen: set[int]) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for position, entry in enumerate(node.value if isinstance(node, MappingNode | SequenceNode) else ()):
            value = entry[1] if isinstance(node, MappingNode) else entry
            if isinstance(value, ScalarNode) or id(value) in seen:
                continue
            if isinstance(node, MappingNode) and value.value and editor.is_emptied(value):
                seen.add(id(value))
                editor.settle_emptied(node, position)
            else:
                self._settle_below(editor, value, seen)

    def _rename_env_files(self) -> None:
        if not self.renamed:
            return
        done: set[int] = set()
        for service in self.project.services.values():
            for definition in service.definitions:
                node = definition.value("env_file")
                for element in elements(node) if isinstance(node, SequenceNode) else [node]:
                    path = child(element, "path") if isinstance(element, MappingNode) else element
                    if isinstance(path, ScalarNode) and not is_null(path) and id(path) not in done:
                        done.add(id(path))
                        self._rename_path(definition.document, path, service.name)

    def _rename_path(self, document: Document, node: ScalarNode, service: str) -> None:
        old = str(node.value)
        new = self.renamed.get((document.folder / old).absolute())
        if new is not None:
            editor = self._editor(document)
            text = old[: len(old) - len(Path(old).name)] + new.name
            editor.replace(int(node.start_mark.index), editor.end_of(node), quoted(text))
        elif names_in(old):
            message = f"its env_file {old} depends on a variable, and still names the old file"
            self.plan.findings.append(Finding(service, "", message, "name the new file there"))

    def _add_sections(self) -> None:
        main = self.project.documents[0]
        editor = self._editor(main)
        if not self.shim.program and any(moved.mounts_shim for moved in self.plan.moved.values()):
            volume = self._volume_name()
            installer: dict[str, Value] = {
                "image": self.shim.image,
                "entrypoint": (SHIM_PROGRAM, "install", _VOLUME_PLACE),
                "network_mode": "none",
                "volumes": [f"{volume}:{_VOLUME_PLACE}"],
            }
            editor.add_top("services", {self._installer_name(): installer})
            editor.add_top("volumes", {volume: {}})
        files: dict[str, Value] = {
            held.name: {"file": self.plan.place(held.name)}
            for held in self.plan.held.values()
            if held.services and held.name not in self.project.secrets
        }
        if files:
            editor.add_top("secrets", files)

    def _rename_documents(self) -> None:
        """Where a changed file is named by another one, name the new file there; that changes the other one, too."""
        done: set[int] = set()
        while True:
            before = len(done)
            changed = {
                document.path.absolute(): self.rename(document.path)
                for document in self.project.documents
                if self._editor(document).has_edits and self.rename(document.path) != document.path
            }
            for document in self.project.documents:
                for node in _document_paths(document):
                    new = changed.get((document.folder / str(node.value)).absolute())
                    if new is not None and id(node) not in done:
                        done.add(id(node))
                        editor = self._editor(document)
                        text = str(node.value)[: len(str(node.value)) - len(Path(str(node.value)).name)] + new.name
                        editor.replace(int(node.start_mark.index), editor.end_of(node), quoted(text))
            if len(done) == before:
                return


def _document_paths(document: Document) -> Iterable[ScalarNode]:
    """Yield the scalars that name other Compose files."""
    for _, _, service, _ in items(child(document.root, "services")):
        file = child(child(service, "extends"), "file")
        if isinstance(file, ScalarNode):
            yield file
    for element in elements(child(document.root, "include")):
        path = child(element, "path") if isinstance(element, MappingNode) else element
        nodes = elements(path) if isinstance(path, SequenceNode) else [path]
        yield from (node for node in nodes if isinstance(node, ScalarNode))


def _conditions(node: Node) -> dict[str, Value]:
    """Return `depends_on:` in its long form."""
    if isinstance(node, MappingNode):
        return {key: _value(value) for key, _, value, _ in items(node)}
    return {str(element.value): {"condition": "service_started"} for element in elements(node)}


def _value(node: Node) -> Value:
    """Return *node* as a value to be written again, its references as they are."""
    if isinstance(node, MappingNode):
        return {key: _value(value) for key, _, value, _ in items(node)}
    if isinstance(node, SequenceNode):
        return [_value(element) for element in node.value]
    return scalar(node) or ""  # type: ignore[arg-type]


def _literal(text: str) -> str:
    """Return *text* so that Compose sees no reference in it."""
    return text.replace("$", "$$")
