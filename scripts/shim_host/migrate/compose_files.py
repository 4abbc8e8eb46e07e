"""The Compose files of a migration: what changes in each, as edits of its text."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shim_host.compose import nodes
from shim_host.compose.editor import Editor, own_sequence
from shim_host.compose.masked import shown
from shim_host.compose.nodes import OVERRIDE, RESET, Document, child, elements, is_null, item, items, scalar, tag_of
from shim_host.compose.places import document_paths, giving_node, own_node, related
from shim_host.compose.project import SECRETS_ROOT, Service, interpolated
from shim_host.compose.written import Raw, Value, is_flow
from shim_host.env.compose_rules import InvalidReference
from shim_host.errors import Refused
from shim_host.migrate.model import SHIM, MigrationPlan, Moved, NewFile, Rejected, Remark, ShimSource
from shim_host.migrate.variables import Variables
from shim_host.names import SHIM_FOLDER, SHIM_PROGRAM

_VOLUME_PLACE = "/opt/shim-volume"
_INSTALL = (SHIM_PROGRAM, "install", _VOLUME_PLACE)


class ComposeFiles:
    """Edits every Compose file of the project."""

    def __init__(self, plan: MigrationPlan, shim: ShimSource, rename: Callable[[Path], Path]) -> None:
        self.plan = plan
        self.project = plan.project
        self.shim = shim
        self.rename = rename
        self.files_read: dict[Path, list[Document]] = {}
        for document in self.project.documents:
            self.files_read.setdefault(document.path.absolute(), []).append(document)
        self.editors = {path: Editor(documents) for path, documents in self.files_read.items()}

    def files(self, values: list[str]) -> list[NewFile]:
        """Return the files that change; none of *values* is in what may be shown of them."""
        Variables(self.plan, self._editor).take_out()
        for moved in self.plan.moved.values():
            self._change_service(moved)
        self._settle_emptied()
        if self.plan.moved:
            self._add_sections()
        self._rename_documents()
        keys = {*self.plan.reasons, *(use.key for moved in self.plan.moved.values() for use in moved.uses)}
        found = []
        for path, documents in self.files_read.items():
            editor = self.editors[path]
            if editor.has_edits:
                text, place = editor.result(), documents[0].path
                old = documents[0].original
                roots = _parsed(old, place) if old else _roots(documents)
                old_shown = shown(old or documents[0].text, roots, keys, values)
                new_shown = shown(text, _parsed(text, place), keys, values)
                found.append(NewFile(place, self.rename(place), text, old_shown, new_shown))
        return found

    def _editor(self, document: Document) -> Editor:
        return self.editors[document.path.absolute()]

    def _change_service(self, moved: Moved) -> None:
        name = moved.service.name
        if moved.how == SHIM:
            self._set_entrypoint(moved)
            if moved.user:
                document, node = own_node(self.project, name, "user")
                self._editor(document).set_field(node, "user", "0:0", after="image")
                self._let_change_user(moved)
        self._set_healthcheck(moved)
        # Written out whole where services extend each other: only so does Compose see that one takes another's place.
        front = f"{SECRETS_ROOT}/" if related(self.project, name) else ""
        mounts: dict[int, tuple[Document, MappingNode, list[Value]]] = {}
        for use in moved.uses:
            place = giving_node(self.project, name, "secrets", use.key)
            _, _, new = mounts.setdefault(id(place[1]), (*place, []))
            new.append(use.source if use.source == use.target else {"source": use.source, "target": front + use.target})
        for document, node, new in mounts.values():
            self._editor(document).add_to_list(node, "secrets", new)
        if moved.mounts_shim:
            if self.shim.program:
                mount: Value = {"type": "bind", "source": self.shim.program, "target": SHIM_PROGRAM, "read_only": True}
                self._add_to_list(name, "volumes", [mount])
            else:
                self._add_to_list(name, "volumes", [f"{self.volume_name()}:{SHIM_FOLDER}:ro"])
                self._depend_on(name, self.installer_name())

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
        others = (name for name, other in self.plan.moved.items() if other is not moved and other.command)
        return any(id(own_node(self.project, name, "command")[1]) in bases for name in others)

    def _put_in_front(self, moved: Moved, editor: Editor, node: MappingNode, front: list[str]) -> None:
        """Put the shim in front of the entrypoint that the Compose file sets."""
        for definition in reversed(moved.service.definitions):
            old = definition.value("entrypoint")
            if old is None or is_null(old):
                continue
            if isinstance(old, ScalarNode):
                text = " ".join([*front, scalar(old) or ""]).rstrip()
                editor.set_field(node, "entrypoint", text, after="image")
            elif own_sequence(node, "entrypoint", editor) is old and old.value and id(old) not in editor.aliased:
                editor.insert_words(old, 0, front)
            else:
                words = [_again(editor, definition.document, word) for word in elements(old)]
                editor.set_field(node, "entrypoint", (*front, *words), after="image")
            return

    def _let_change_user(self, moved: Moved) -> None:
        """Give back what the shim needs to become another user where capabilities are dropped."""
        dropped = {
            str(element.value).upper().removeprefix("CAP_")
            for definition in moved.service.definitions
            for element in elements(definition.value("cap_drop"))
        }
        # Root reads its own files without a capability; those of somebody else it does not.
        owner = 0 if self.plan.owner is None else self.plan.owner
        needed = ["SETGID", "SETUID", *(["DAC_OVERRIDE"] if owner else [])]
        missing = needed if "ALL" in dropped else [name for name in needed if name in dropped]
        if missing:
            added = {
                str(element.value).upper().removeprefix("CAP_")
                for definition in moved.service.definitions
                for element in elements(definition.value("cap_add"))
            }
            missing = [name for name in missing if name not in added]
        if missing:
            self._add_to_list(moved.service.name, "cap_add", list(missing))
            message = f"the shim gets {', '.join(missing)} to read the secrets and to become {moved.user}"
            hint = "the service itself has none of them"
            if "DAC_OVERRIDE" in missing:
                hint += "; with --owner 0 the files belong to root, and DAC_OVERRIDE is not needed"
            self.plan.findings.append(Remark(moved.service.name, "", message, hint))

    def _set_healthcheck(self, moved: Moved) -> None:
        front = ["CMD", SHIM_PROGRAM, "exec", *self._words(moved), "--"]
        document, node = own_node(self.project, moved.service.name, "healthcheck")
        editor = self._editor(document)
        if moved.healthcheck is not None:
            self._set_test(editor, node, (*front, *map(_literal, moved.healthcheck)))
        elif moved.wraps_healthcheck:
            shell = moved.image.shell if moved.image is not None else ["/bin/sh", "-c"]
            for definition in reversed(moved.service.definitions):
                test = child(definition.value("healthcheck"), "test")
                if not is_null(test):
                    self._wrap_test(editor, node, definition.document, test, front, shell)
                    break

    def _wrap_test(
        self,
        editor: Editor,
        node: MappingNode,
        document: Document,
        test: Node | None,
        front: list[str],
        shell: list[str],
    ) -> None:
        """Put *front* before the Compose file's own *test*, whose words stay as they are."""
        if isinstance(test, ScalarNode):
            self._set_test(editor, node, (*front, *shell, _again(editor, document, test)))
            return
        words = elements(test)
        is_shell = isinstance(words[0], ScalarNode) and scalar(words[0]) == "CMD-SHELL"
        start = [*front, *(shell if is_shell else ())]
        own = item(node, "healthcheck")
        is_own = own is not None and own.holder is node and own_sequence(own.value, "test", editor) is test
        is_ours = own is not None and not editor.aliased & {id(own.value), id(test)}
        if own is not None and test is not None and is_own and is_ours and not editor.is_alias(node, own.value):
            editor.replace_element(test, 0, start)
            return
        self._set_test(editor, node, (*start, *(_again(editor, document, word) for word in words[1:])))

    def _set_test(self, editor: Editor, node: MappingNode, test: tuple[str, ...]) -> None:
        found = item(node, "healthcheck")
        value = None if found is None or found.holder is not node else found.value
        is_ours = isinstance(value, MappingNode) and value.value and id(value) not in editor.aliased
        if isinstance(value, MappingNode) and is_ours and not editor.is_alias(node, value):
            editor.set_field(value, "test", test)
            return
        editor.grow(node, "healthcheck", {"test": test}, keeps_others=True)

    def _add_to_list(self, name: str, field_name: str, new: Sequence[Value]) -> None:
        document, node = own_node(self.project, name, field_name)
        self._editor(document).add_to_list(node, field_name, new)

    def _depend_on(self, name: str, installer: str) -> None:
        document, node = own_node(self.project, name, "depends_on")
        editor = self._editor(document)
        value = child(node, "depends_on")
        new: dict[str, Value] = {installer: {"condition": "service_completed_successfully"}}
        if not isinstance(value, SequenceNode):
            editor.grow(node, "depends_on", new, keeps_others=True)
            return
        if tag_of(value) == RESET:
            editor.set_field(node, "depends_on", new, tag=OVERRIDE)
            return
        own = own_sequence(node, "depends_on", editor)
        is_plain = all("$" not in str(element.value) and element.anchor is None for element in value.value)
        is_simple = not is_flow(value) and id(value) not in editor.aliased and not value.tag
        if own is not None and value.value and is_plain and is_simple:
            at = [str(key_node.value) for key_node, _ in node.value].index("depends_on")
            start = editor.spots(node)[at].start
            self._list_to_mapping(editor, own, new, start - editor.line_start(start) + editor.step)
            return
        environ = self.project.environ if document.environ is None else document.environ
        conditions: dict[str, Value] = {}
        for element in value.value:
            conditions[_resolved(str(element.value), environ)] = {"condition": "service_started"}
        tag = str(own.tag) if own is not None and own.tag else ""
        editor.set_field(node, "depends_on", {**conditions, **new}, tag=tag)

    def _list_to_mapping(self, editor: Editor, old: Node, new: dict[str, Value], column: int) -> None:
        """Turn `- db` into `db: {condition: service_started}` line by line, so that comments stay."""
        spots = editor.spots(old)
        for position, (element, spot) in enumerate(zip(old.value, spots, strict=True)):
            line = editor.line_start(spot.dash)
            text = " " * column + f"{editor.quote(str(element.value))}:{editor.line_end}"
            text += " " * (column + editor.step) + "condition: service_started"
            end = spot.end
            if position == len(spots) - 1:
                ((name, condition),) = new.items()
                rest = editor.text[end : editor.next_line(end)].rstrip("\r\n")
                text += rest + editor.line_end + " " * column + f"{editor.quote(name)}:{editor.line_end}"
                text += " " * (column + editor.step) + f"condition: {condition['condition']}"  # type: ignore[call-overload,index]
                end += len(rest)
            editor.replace(line, end, text)

    def installer_name(self) -> str:
        """Return the name of the service that fills the shim's volume; an earlier migration may have made it."""
        for name, service in self.project.services.items():
            is_ours = service.entrypoint == list(_INSTALL) and service.image == self.shim.image
            if is_ours and self._volume_of(service):
                return name
        return self._free_name("shim-install", self.project.services)

    def volume_name(self) -> str:
        """Return the name of the shim's volume."""
        made = self.project.services.get(self.installer_name())
        if made is not None:
            return self._volume_of(made)
        known = {key for document in self.project.documents for key, *_ in items(child(document.root, "volumes"))}
        return self._free_name("shim", known)

    def _volume_of(self, installer: Service) -> str:
        """Return the named volume that *installer* fills, or ""."""
        for volume in elements(installer.definitions[-1].value("volumes")):
            name, _, place = str(volume.value).partition(":")
            if place == _VOLUME_PLACE and not name.startswith((".", "/", "~", "$")):
                return name
        return ""

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
            if isinstance(value, ScalarNode) or id(value) in seen or editor.spots(node)[position].is_alias:
                continue
            if isinstance(node, MappingNode) and value.value and editor.is_emptied(value):
                seen.add(id(value))
                editor.settle_emptied(node, position)
            else:
                self._settle_below(editor, value, seen)

    def _add_sections(self) -> None:
        main = self.project.documents[0]
        editor = self._editor(main)
        is_new = self.installer_name() not in self.project.services
        if is_new and not self.shim.program and any(moved.mounts_shim for moved in self.plan.moved.values()):
            volume = self.volume_name()
            installer: dict[str, Value] = {
                "image": self.shim.image,
                "entrypoint": _INSTALL,
                "network_mode": "none",
                "volumes": [f"{volume}:{_VOLUME_PLACE}"],
            }
            editor.add_top(main.root, "services", {self.installer_name(): installer})
            editor.add_top(main.root, "volumes", {volume: {}})
        files: dict[str, Value] = {
            held.name: {"file": _literal(self.plan.place(held.name))}
            for held in self.plan.held.values()
            if held.services and held.name not in self.project.secrets
        }
        if files:
            editor.add_top(main.root, "secrets", files)

    def _rename_documents(self) -> None:
        """Where a changed file is named by another one, name the new file there; that changes the other one, too."""
        done: set[int] = set()
        while True:
            before = len(done)
            changed = {
                path: self.rename(documents[0].path)
                for path, documents in self.files_read.items()
                if self.editors[path].has_edits and self.rename(documents[0].path) != documents[0].path
            }
            for document in self.project.documents:
                environ = self.project.environ if document.environ is None else document.environ
                for node in document_paths(document):
                    written = str(node.value)
                    named = os.path.normpath((document.folder / _resolved(written, environ)).absolute())
                    new = changed.get(Path(named)) or changed.get((document.folder / written).absolute())
                    if new is not None and id(node) not in done:
                        done.add(id(node))
                        front = written[: len(written) - len(Path(written).name)]
                        self._editor(document).replace_scalar(node, front + new.name)
            if len(done) == before:
                return


def _roots(documents: Sequence[Document]) -> Node:
    return SequenceNode("", [document.root for document in documents])


def _parsed(text: str, path: Path) -> Node:
    try:
        return SequenceNode("", [root for root, _ in nodes.parse(text, path)])
    except Refused as refused:
        # The user's file was read; what is wrong with the new one is our doing.
        raise Rejected(refused.message) from None


def _resolved(text: str, environ: Mapping[str, str]) -> str:
    try:
        return interpolated(text, environ.get)
    except InvalidReference:
        return text


def _again(editor: Editor, document: Document, word: Node) -> str:
    """Return *word* of *document* to be written by *editor*, unchanged if it is from the same file."""
    if document in editor.documents:
        return editor.raw(word)
    return Raw(editor.quote(scalar(word) or "")) if isinstance(word, ScalarNode) else ""


def _literal(text: str) -> str:
    """Return *text* so that Compose sees no reference in it."""
    return text.replace("$", "$$")
