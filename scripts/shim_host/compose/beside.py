"""Secrets in the files that a Compose file names: what a service mounts, and the Dockerfile its image is built from.

Only values of this very project are looked for in them, and in a Dockerfile what it sets under the name of a secret.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.nodes import ScalarNode

from shim.schema import Schema
from shim_host.compose.nodes import Document, child, elements
from shim_host.compose.project import SECRETS_ROOT, Project, Service, interpolated, placed
from shim_host.env.compose_rules import InvalidReference
from shim_host.recognition.known_values import KnownValues
from shim_host.recognition.sensitive import is_placeholder, is_telling, why_secret
from shim_host.recognition.value_forms import forms

_MOST_BYTES = 131_072  # of a file that is looked into: configuration is shorter
_SETTING = re.compile(r"(?im)^[ \t]*(?:ENV|ARG)[ \t]+(?P<pairs>(?:[^\n\\]|\\.|\\\r?\n)+)")
_PAIR = re.compile(
    r"(?P<name>[A-Za-z_]\w*)=(?:\"(?P<double>[^\"$]+)\"|'(?P<single>[^'$]+)'|(?P<bare>[^\s\"'$\\]+)(?=\s|$))"
)
_OLD_PAIR = re.compile(r"(?P<name>[A-Za-z_]\w*)[ \t]+(?P<bare>[^=$\\]+)")  # ENV NAME the rest of the line

_FOR_THE_BUILD = re.compile(r"(?i).*(?:dummy|fake|not[-_ ]?used|unused|build[-_ ]?(?:time|only)).*|build|test|none")


class Beside(NamedTuple):
    """A secret in a file that a service mounts or is built from."""

    service: str
    path: Path
    key: str  # whose value it is, or the name in front of it
    is_built: bool  # the file is a Dockerfile
    is_certain: bool  # it was compared with the value itself


def beside(
    project: Project, schema: Schema | None, public: Collection[str], known: Mapping[str, str], secrets: Path
) -> Iterator[Beside]:
    """Yield each secret in a file of the project's folder that a service mounts or is built from.

    Args:
        project: the project as it is.
        schema: what it says of names, if there is one.
        public: names that are not secrets.
        known: key -> value of the secrets of this project.
        secrets: the folder of secrets, where values belong.
    """
    texts = {
        key: [form for form in _forms(value) if is_telling(form)]
        for key, value in known.items()
        if key not in public and is_telling(value) and not is_placeholder(value)
    }
    env_files = [use.path for service in project.services.values() for use in service.env_files]
    own = [item.file for item in project.secrets.values() if item.file is not None]
    apart = {os.path.realpath(path) for path in (*project.env_files, *project.files, *env_files, *own)}
    look = _Look(project, texts, apart, os.path.realpath(secrets))
    for service in project.services.values():
        for path in dict.fromkeys(_mounted(service, look)):
            yield from (Beside(service.name, path, key, False, True) for key in look.keys_in(path))
        for path in dict.fromkeys(_built_from(service, look)):
            keys = look.keys_in(path)
            yield from (Beside(service.name, path, key, True, True) for key in keys)
            for name, value in _set_in(look.text(path)):
                is_known = any(value == known.get(key) for key in keys)
                if name not in {*keys, *public} and not is_known and _is_secret(name, value, schema):
                    yield Beside(service.name, path, name, True, False)


def _forms(value: str) -> list[str]:
    return [form.decode("utf-8", "surrogateescape") for form, _ in forms(value.encode("utf-8", "surrogateescape"))]


def _is_secret(name: str, value: str, schema: Schema | None) -> bool:
    is_for_the_build = is_placeholder(value) or _FOR_THE_BUILD.fullmatch(value) is not None
    if not is_telling(value) and not name.upper().endswith(("PASS", "PASSWORD", "SECRET")):
        return False  # a word is as likely a method, or the name of a key
    return not is_for_the_build and not value.startswith(SECRETS_ROOT) and bool(why_secret(name, value, schema))


class _Look:
    """Where files of one project are, and what is in them."""

    def __init__(self, project: Project, texts: Mapping[str, list[str]], apart: set[str], secrets: str) -> None:
        self.project, self.texts, self.apart, self.secrets = project, texts, apart, secrets
        self.any = KnownValues()
        for key, found in texts.items():
            self.any.add(key, found[0])
        self.root = os.path.realpath(project.folder)
        self._read: dict[Path, str] = {}

    def replaced(self, document: Document, written: str) -> str:
        """Return what is *written* in *document* with its references replaced; "" where Compose would refuse it."""
        environ = self.project.environ if document.environ is None else document.environ
        try:
            return interpolated(written, environ.get)
        except InvalidReference:
            return ""

    def file(self, document: Document, written: str, below: str = "") -> Path | None:
        """Return the file that is *written* so, where it is one of the project that is looked into."""
        real = os.path.realpath(placed(document.folder, self.replaced(document, written)) / below)
        is_ours = real.startswith(self.root + os.sep) and not real.startswith(self.secrets + os.sep)
        if not is_ours or real in self.apart or not os.path.isfile(real) or os.path.getsize(real) > _MOST_BYTES:
            return None
        return Path(os.path.relpath(real, self.root))

    def text(self, path: Path) -> str:
        """Return what is in *path*; nothing where that cannot be read."""
        if path not in self._read:
            try:
                self._read[path] = Path(self.root, path).read_text("utf-8", "surrogateescape")
            except OSError:
                self._read[path] = ""
        return self._read[path]

    def keys_in(self, path: Path) -> list[str]:
        """Return the keys whose values are in *path*; a file that is a value as a whole is a secret file."""
        text = self.text(path)
        if self.any.within(text) is None:
            return []
        return [
            key for key, found in self.texts.items() if any(form in text and form != text.strip() for form in found)
        ]


def _mounted(service: Service, look: _Look) -> Iterator[Path]:
    for definition in service.definitions:
        for entry in elements(definition.value("volumes")):
            if isinstance(entry, ScalarNode):
                written, _, target = look.replaced(definition.document, str(entry.value)).partition(":")
                written = written.replace("$", "$$") if target and written.startswith((".", "/", "~")) else ""
            else:
                written, target = _text(entry, "source"), _text(entry, "target")
            found = look.file(definition.document, written) if written else None
            if found is not None and not target.startswith(SECRETS_ROOT + "/"):
                yield found
        for entry in elements(definition.value("configs")):
            name = str(entry.value) if isinstance(entry, ScalarNode) else _text(entry, "source")
            for document in look.project.documents:
                written = _text(child(child(document.root, "configs"), name), "file")
                if written and (found := look.file(document, written)) is not None:
                    yield found


def _built_from(service: Service, look: _Look) -> Iterator[Path]:
    for definition in service.definitions:
        build = definition.value("build")
        context = str(build.value) if isinstance(build, ScalarNode) else _text(build, "context") or "."
        if build is None or "://" in context or _text(build, "dockerfile_inline"):
            continue
        found = look.file(definition.document, context, _text(build, "dockerfile") or "Dockerfile")
        if found is not None:
            yield found


def _text(node: object, name: str) -> str:
    found = child(node, name)  # type: ignore[arg-type]
    return str(found.value) if isinstance(found, ScalarNode) else ""


def _set_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield what the Dockerfile *text* sets, as written out there."""
    for line in _SETTING.finditer(text):
        pairs = line["pairs"].strip()
        if old := _OLD_PAIR.fullmatch(pairs):
            yield old["name"], old["bare"].strip().strip("\"'")
        for found in _PAIR.finditer(pairs):
            yield found["name"], found["double"] or found["single"] or found["bare"]
