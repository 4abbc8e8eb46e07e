"""The new files of a migration, as text: Compose files, `.env` and other env files, and what may be shown of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host import compose_yaml
from shim_host.compose import SECRETS_ROOT, names_in
from shim_host.compose_edit import Editor, Value, is_flow, own_sequence, quoted
from shim_host.compose_yaml import Document, child, elements, is_null, item, items, scalar
from shim_host.env_reduced import decoded, reduce
from shim_host.migrate import IMAGE, SHIM, Finding, Held, Moved, Place, Plan, own_node, places_of, removable
from shim_host.sensitive import masked_line, why_by_name, why_by_value

SHIM_FOLDER = "/opt/shim"
SHIM_PATH = SHIM_FOLDER + "/shim"
_VOLUME_PLACE = "/opt/shim-volume"
_MASK = "***"
_SHORTEST_MASKED = 4  # a shorter value is found in too many words; its place is masked all the same


@dataclass(frozen=True)
class ShimSource:
    """Where containers have the shim from: a program on this machine, or an image that puts it into a volume."""

    program: str = ""  # as a Compose file writes the path
    image: str = "docker-secrets-shim"


class NewFile(NamedTuple):
    """One file of the result; the shown texts hold no value."""

    old: Path
    new: Path
    text: str
    old_shown: str
    new_shown: str


def new_files(plan: Plan, shim: ShimSource, rename: Callable[[Path], Path], env_file: Path | None) -> list[NewFile]:
    """Return the files that *plan* leads to. `plan.findings` may grow.

    Args:
        plan: what changes.
        shim: where the shim comes from.
        rename: old path -> new path; the same path where files are replaced.
        env_file: the project's `.env`, if there is one.
    """
    values = [held.value.reveal().decode("utf-8", "surrogateescape") for held in plan.held.values()]
    env_files = _env_files(plan, rename, env_file, values)
    renamed = {file.old.absolute(): file.new for file in env_files if file.old != file.new}
    return [*_ComposeFiles(plan, shim, rename, renamed).files(values), *env_files]


def _env_files(plan: Plan, rename: Callable[[Path], Path], env_file: Path | None, values: list[str]) -> list[NewFile]:
    found = {} if env_file is None else {env_file.absolute(): (env_file, "compose", _of_env_file(plan))}
    for name, service in plan.project.services.items():
        for use in service.env_files:
            _, _, held = found.setdefault(use.path.absolute(), (use.path, use.dialect, {}))
            for used in plan.moved[name].uses if name in plan.moved else ():
                if env_file is None or use.path.absolute() != env_file.absolute():
                    held.setdefault(used.key, plan.held[used.source])
    secret = dict.fromkeys([*plan.reasons, *(use.key for moved in plan.moved.values() for use in moved.uses)], "")
    files = []
    for path, dialect, held in found.values():
        places = {key: plan.place(held[key].name) for key in removable(plan, path, held)}
        if not places or not path.exists():
            continue
        done = reduce(path.read_bytes(), places, secret, dialect)
        for key in done.emptied_comments:
            plan.findings.append(Finding("", key, f"a comment in {path} held an old value, which is taken out"))
        if done.text != decoded(path.read_bytes()):
            old_shown, new_shown = _without(done.old_shown, values), _without(done.new_shown, values)
            files.append(NewFile(path, rename(path), done.text, old_shown, new_shown))
    return files


def _of_env_file(plan: Plan) -> dict[str, Held]:
    """Return what leaves the `.env`, unless a service needs it there."""
    gone = {key for key in plan.reasons if key not in plan.staying}
    return {held.key: held for held in plan.held.values() if held.key in gone}


class _ComposeFiles:
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
        if not self.plan.moved:
            return []
        self.remove_variables()
        for moved in self.plan.moved.values():
            self.change_service(moved)
        self.settle_emptied()
        self.rename_env_files()
        self.add_sections()
        self.rename_documents()
        keys = {*self.plan.reasons, *(use.key for moved in self.plan.moved.values() for use in moved.uses)}
        found = []
        for document in self.project.documents:
            editor = self.editor(document)
            if editor.has_edits:
                text = editor.result()
                root = compose_yaml.parse(text, document.path)
                old_shown = shown(document.text, document.root, keys, values)
                new_shown = shown(text, root, keys, values)
                found.append(NewFile(document.path, self.rename(document.path), text, old_shown, new_shown))
        return found

    def editor(self, document: Document) -> Editor:
        return self.editors[id(document)]

    def remove_variables(self) -> None:
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
                    self.point(places[0], f"{SECRETS_ROOT}/{use.target}")
                    continue
                for place in places:
                    users = effective.get(id(place.node), set())
                    if all(use.key in moved_keys.get(user, ()) for user in users):
                        note = f"{use.key}: {self.plan.place(use.source)}  "
                        self.editor(place.document).remove(place.collection, place.position, note)
                if moved.how == IMAGE or use.needs_pointer:
                    pointers[f"{use.key}_FILE"] = f"{SECRETS_ROOT}/{use.target}"
            if pointers:
                self.add_variables(moved, pointers)

    def point(self, place: Place, path: str) -> None:
        """Write KEY_FILE in the place of KEY."""
        editor = self.editor(place.document)
        start, end = editor.spans(place.collection)[place.position]
        if isinstance(place.collection, MappingNode):
            editor.replace(start, end, f"{quoted(place.key + '_FILE')}: {path}")
        else:
            editor.replace(start, end, quoted(f"{place.key}_FILE={path}"))

    def add_variables(self, moved: Moved, new: Mapping[str, str]) -> None:
        document, node = own_node(self.project, moved.service.name, "environment")
        editor = self.editor(document)
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

    def change_service(self, moved: Moved) -> None:
        name = moved.service.name
        if moved.how == SHIM:
            self.set_entrypoint(moved)
            if moved.user:
                document, node = own_node(self.project, name, "user")
                self.editor(document).set_field(node, "user", "0:0", after="image")
                self.let_change_user(moved)
        self.set_healthcheck(moved)
        new: list[Value] = [
            use.source if use.source == use.target else {"source": use.source, "target": use.target}
            for use in moved.uses
        ]
        self.add_to_list(name, "secrets", new)
        if moved.mounts_shim:
            if self.shim.program:
                mount: Value = {"type": "bind", "source": self.shim.program, "target": SHIM_PATH, "read_only": "true"}
                self.add_to_list(name, "volumes", [mount])
            else:
                self.add_to_list(name, "volumes", [f"{self.volume_name()}:{SHIM_FOLDER}:ro"])
                self.depend_on(name, self.installer_name())

    def words(self, moved: Moved) -> list[str]:
        """Return the shim's options, as a Compose file writes them."""
        raw = self.raw_user(moved)
        return [raw if raw and word == moved.user else _literal(word) for word in moved.options]

    def raw_user(self, moved: Moved) -> str:
        for definition in reversed(moved.service.definitions):
            node = definition.value("user")
            if isinstance(node, ScalarNode) and not is_null(node):
                return scalar(node) or ""
        return ""

    def set_entrypoint(self, moved: Moved) -> None:
        name = moved.service.name
        front = [SHIM_PATH, *self.words(moved), "--"]
        document, node = own_node(self.project, name, "entrypoint")
        editor = self.editor(document)
        if moved.entrypoint is not None:
            editor.set_field(node, "entrypoint", (*front, *map(_literal, moved.entrypoint)), after="image")
        else:
            self.put_in_front(moved, editor, node, front)
        if moved.command or (moved.service.command is None and self.inherits_command(moved)):
            document, node = own_node(self.project, name, "command")
            words = tuple(map(_literal, moved.command or ()))
            self.editor(document).set_field(node, "command", words, after="image")

    def inherits_command(self, moved: Moved) -> bool:
        """Return whether the service extends one that gets a command written down, which is not its own."""
        bases = {id(definition.node) for definition in moved.service.definitions}
        others = (other for other in self.plan.moved.values() if other is not moved and other.command)
        return any(id(other.service.definitions[-1].node) in bases for other in others)

    def put_in_front(self, moved: Moved, editor: Editor, node: MappingNode, front: list[str]) -> None:
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

    def let_change_user(self, moved: Moved) -> None:
        """Give back what the shim needs to become another user where all capabilities are dropped."""
        dropped = {
            str(element.value).upper()
            for definition in moved.service.definitions
            for element in elements(definition.value("cap_drop"))
        }
        needed = ("DAC_READ_SEARCH", "SETGID", "SETUID")
        if dropped.intersection(("ALL", *needed)):
            self.add_to_list(moved.service.name, "cap_add", list(needed))
            message = f"the shim gets {', '.join(needed)} to read the secrets and to become {moved.user}"
            self.plan.findings.append(Finding(moved.service.name, "", message, "the service itself has none of them"))

    def set_healthcheck(self, moved: Moved) -> None:
        front = ["CMD", SHIM_PATH, "exec", *self.words(moved), "--"]
        if moved.healthcheck is not None:
            test = (*front, *map(_literal, moved.healthcheck))
        elif moved.wraps_healthcheck:
            test = self.wrapped(moved, front)
        else:
            return
        document, node = own_node(self.project, moved.service.name, "healthcheck")
        editor = self.editor(document)
        found = item(node, "healthcheck")
        if found is None or is_null(found.value):
            editor.set_field(node, "healthcheck", {"test": test})
        elif found.holder is node and not editor.is_alias(found.value, int(found.key_node.end_mark.index)):
            editor.set_field(found.value, "test", test)
        else:
            kept = {key: _value(value) for key, _, value, _ in items(found.value)}
            editor.set_field(node, "healthcheck", {**kept, "test": test})

    def wrapped(self, moved: Moved, front: list[str]) -> tuple[str, ...]:
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

    def add_to_list(self, name: str, field_name: str, new: Iterable[Value]) -> None:
        document, node = own_node(self.project, name, field_name)
        editor = self.editor(document)
        own = own_sequence(node, field_name, editor)
        if own is not None:
            for value in new:
                editor.add_item(own, value)
        else:
            # What is inherited by a merge key or an alias is replaced by the service's own field, so it is written out.
            inherited = [_value(element) for element in elements(child(node, field_name))]
            editor.set_field(node, field_name, [*inherited, *new])

    def depend_on(self, name: str, installer: str) -> None:
        document, node = own_node(self.project, name, "depends_on")
        editor = self.editor(document)
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
            self.list_to_mapping(editor, found.key_node, found.value, new)

    def list_to_mapping(self, editor: Editor, key_node: ScalarNode, old: SequenceNode, new: dict[str, Value]) -> None:
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

    def installer_name(self) -> str:
        return self.free_name("shim-install", self.project.services)

    def volume_name(self) -> str:
        known = {key for document in self.project.documents for key, *_ in items(child(document.root, "volumes"))}
        return self.free_name("shim", known)

    def free_name(self, name: str, taken: Iterable[str]) -> str:
        taken = set(taken)
        while name in taken:
            name += "-secrets"
        return name

    def settle_emptied(self) -> None:
        """Take away each `environment:` that has nothing left."""
        for document in self.project.documents:
            self.settle_below(self.editor(document), document.root, set())

    def settle_below(self, editor: Editor, node: Node, seen: set[int]) -> None:
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
                self.settle_below(editor, value, seen)

    def rename_env_files(self) -> None:
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
                        self.rename_path(definition.document, path, service.name)

    def rename_path(self, document: Document, node: ScalarNode, service: str) -> None:
        old = str(node.value)
        new = self.renamed.get((document.folder / old).absolute())
        if new is not None:
            editor = self.editor(document)
            text = old[: len(old) - len(Path(old).name)] + new.name
            editor.replace(int(node.start_mark.index), editor.end_of(node), quoted(text))
        elif names_in(old):
            message = f"its env_file {old} depends on a variable, and still names the old file"
            self.plan.findings.append(Finding(service, "", message, "name the new file there"))

    def add_sections(self) -> None:
        main = self.project.documents[0]
        editor = self.editor(main)
        if not self.shim.program and any(moved.mounts_shim for moved in self.plan.moved.values()):
            volume = self.volume_name()
            installer: dict[str, Value] = {
                "image": self.shim.image,
                "entrypoint": (SHIM_PATH, "install", _VOLUME_PLACE),
                "network_mode": "none",
                "volumes": [f"{volume}:{_VOLUME_PLACE}"],
            }
            editor.add_top("services", {self.installer_name(): installer})
            editor.add_top("volumes", {volume: {}})
        files: dict[str, Value] = {
            held.name: {"file": self.plan.place(held.name)}
            for held in self.plan.held.values()
            if held.services and held.name not in self.project.secrets
        }
        if files:
            editor.add_top("secrets", files)

    def rename_documents(self) -> None:
        """Where a changed file is named by another one, name the new file there; that changes the other one, too."""
        done: set[int] = set()
        while True:
            before = len(done)
            changed = {
                document.path.absolute(): self.rename(document.path)
                for document in self.project.documents
                if self.editor(document).has_edits and self.rename(document.path) != document.path
            }
            for document in self.project.documents:
                for node in _document_paths(document):
                    new = changed.get((document.folder / str(node.value)).absolute())
                    if new is not None and id(node) not in done:
                        done.add(id(node))
                        editor = self.editor(document)
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


def shown(text: str, root: MappingNode, keys: Iterable[str], values: Iterable[str]) -> str:
    """Return the text of a Compose file without any value that is, or looks like, a secret."""
    values = [value for value in values if len(value) >= _SHORTEST_MASKED]
    spans: list[tuple[int, int, str]] = []
    _find_masked(root, set(keys), values, spans, set(), text)
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    lines = text.splitlines(keepends=True)
    masked = "".join(masked_line(line.rstrip("\r\n")) + line[len(line.rstrip("\r\n")) :] for line in lines)
    return _without(masked, values)


def _find_masked(
    node: Node, keys: set[str], values: list[str], spans: list[tuple[int, int, str]], seen: set[int], text: str
) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key_node, value in node.value:
            if isinstance(value, ScalarNode) and id(value) not in seen and _is_secret(str(key_node.value), keys):
                seen.add(id(value))
                _mask(value, str(value.value), "", spans, text)
            else:
                _find_masked(value, keys, values, spans, seen, text)
    elif isinstance(node, SequenceNode):
        before = ""
        for element in node.value:
            # A list of words: `--password` and, behind it, the word to mask.
            if isinstance(element, ScalarNode) and before.startswith("-") and why_by_name(before.lstrip("-")):
                seen.add(id(element))
                _mask(element, str(element.value), "", spans, text)
            else:
                _find_masked(element, keys, values, spans, seen, text)
            before = str(element.value) if isinstance(element, ScalarNode) else ""
    else:
        whole = str(node.value)
        key, equals, rest = whole.partition("=")
        if equals and _is_secret(key, keys):
            _mask(node, rest, key + "=", spans, text)
        elif why_by_value(whole) or any(value in whole for value in values):
            _mask(node, whole, "", spans, text)


def _is_secret(key: str, keys: set[str]) -> bool:
    return not key.endswith("_FILE") and (key in keys or bool(why_by_name(key)))


def _mask(node: Node, value: str, front: str, spans: list[tuple[int, int, str]], text: str) -> None:
    name = next(iter(names_in(value)), "")
    is_bare = value in ("", f"${name}", f"${{{name}}}") or value.startswith(SECRETS_ROOT + "/")
    if not is_bare:
        start = int(node.start_mark.index)
        old = text[start : node.end_mark.index]
        spans.append((start, start + len(old.rstrip()), front + _MASK))


def _without(text: str, values: Iterable[str]) -> str:
    for value in values:
        if len(value) >= _SHORTEST_MASKED:
            text = text.replace(value, _MASK)
    return text
