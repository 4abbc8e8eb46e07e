"""Secrets where no file can be: in a command, a label, a build argument, a config. They are found and named.

Three things tell: an option or a name in front of a value (`--password x`, `PGPASSWORD=x`), the shape of the value (a
URL with a password, a key of a known service), and that it is the value of a secret of this very project.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

from ruamel.yaml.nodes import Node, ScalarNode

from shim.schema import Schema
from shim_host.compose.nodes import Document, child, is_null, items
from shim_host.compose.places import having, scalars_in_effect, scalars_of
from shim_host.compose.project import Project, environment_of, interpolated, names_in
from shim_host.env.compose_rules import InvalidReference
from shim_host.errors import Ended
from shim_host.names import behind_shim
from shim_host.recognition import command_lines
from shim_host.recognition.known_values import KnownValues
from shim_host.recognition.sensitive import is_telling, label_words, why_by_value, why_secret

HINTS = {
    "": "let the service read the variable, or a file that the shim makes with --render",
    "build": "what a build gets as an argument stays in the image; use secrets: of build: instead",
    "labels": "a label is there for all to read; let what reads it take a file",
    "x-": "remove it there: Compose itself does not read it",
    "environment": "migrate it as well with --secret, or name it with --public if it may be read",
    "configs": "a config is not secret: make the whole text a secret, or let the shim make the file with --render",
    "secrets": "give it file: in place of environment:, and a file in ./secrets",
    "logging": "docker inspect shows a log driver's options; let a collector that has the secret fetch the log",
    "networks": "docker inspect shows a driver's options; let the driver read a file",
    "volumes": "docker inspect shows a driver's options; name a file with credentials there, as credentials=FILE",
}
_COMMANDS = ("command", "entrypoint", "healthcheck", "post_start", "pre_stop")
_WORD = re.compile(r"(?:\$\{[^}]*\}|[^\s;&|])+")
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)(?:=(?P<value>.*))?", re.DOTALL)
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)=(?P<value>.+)", re.DOTALL)
_SETTING = re.compile(r"[\"'\s-]*(?P<name>[A-Za-z_][\w.-]*)[\"']?\s*[=:]\s*[\"']?(?P<value>[^\s\"',]+)")
# A `$$` of the file reaches a shell in the container as `$`: what it names is looked up at run time.
# So is what a template puts in, and `<your-key>` tells what is to be there.
_AT_RUN_TIME = re.compile(r"\$(?:\w|[{(])|^(?:`|\{\{|<[^>]*>?$|%\w+%$)")
_USER_AND_PASSWORD = frozenset(("u", "U", "user", "proxy-user", "userpwd"))
# The colon between the two, and not that of `${DB_USER:-app}`.
_ACCOUNT = re.compile(r"(?P<user>(?:\$\{[^}]*\}|[^:$]|\$(?!\{))*):(?P<password>.*)", re.DOTALL)
_USER_AND_GROUP = re.compile(r"[0-9]+:[0-9]+")
# Programs whose `-u` is whom to become, or nothing of the kind; and groups, which follow a user's name as well.
_NO_PASSWORD = frozenset(
    ("chown", "chroot", "docker", "gosu", "nc", "podman", "runuser", "setpriv", "sort", "su", "su-exec", "sudo", "ssh")
)
_CURL_FLAGS = re.compile(r"[a-zA-Z]{1,8}[uU]")  # several options of one letter, and their value: -fsu
_GROUP = re.compile(r"[0-9]+|adm|docker|nobody|nogroup|root|staff|users|wheel|www-data")
_PORTS = re.compile(r"[0-9.:-]+(?:/tcp|/udp)?")
_SHELL_WORDS = frozenset(("sudo", "exec", "env", "then", "do", "if", "while", "until", "!", "cmd", "cmd-shell"))


class Literal(NamedTuple):
    """A secret that is written out, and where."""

    service: str  # "" where it concerns no one service
    section: str  # the field of the service, or the section of the file
    place: str  # its path in the file, as services.web.command
    name: str  # the key whose value it is, or the name in front of it; "" for neither
    is_certain: bool  # it was compared with the value itself
    document: Document
    node: Node


class _Text(NamedTuple):
    """What one scalar of a project says: where it is, in which section, whose service."""

    service: str
    section: str
    path: tuple[str, ...]
    node: ScalarNode


class _Pair(NamedTuple):
    """A value, and the name in front of it; "" when it has none."""

    name: str
    value: str
    is_shown: bool = True  # whether the name may be said: `-pVALUE` looks like one, too


def written_out(
    project: Project,
    schema: Schema | None,
    public: Collection[str],
    known: Mapping[str, str],
    referred: Collection[str] = (),
    removed: Collection[int] = (),
) -> Iterator[Literal]:
    """Yield each secret that the Compose files of *project* hold where no file can be.

    Args:
        project: the project as it is.
        schema: what it says of names, if there is one.
        public: names that are not secrets.
        known: key -> value of the secrets of this project.
        referred: keys whose references are found elsewhere already.
        removed: nodes (by `id`) that are about to go.
    """
    owners = KnownValues()
    for key, value in known.items():
        if is_telling(value):
            owners.add(key, value)
    seen: set[tuple[str, ...]] = set()
    told: dict[tuple[str, str], set[str]] = {}
    for document in project.documents:
        environ = project.environ if document.environ is None else document.environ
        for path, group in groupby(_texts(document), key=lambda text: text.path):
            texts = list(group)
            section = texts[0].section
            for name, raw, is_shown in _pairs(section, path, texts, removed):
                if name in public or names_in(raw) & set(referred):
                    continue
                value = _as_compose_reads(raw, environ)
                key = (owners.within(value) or ("", ""))[0]
                named = "" if section not in _SECTIONS or _AT_RUN_TIME.search(value) else name
                named = label_words(named) if section == "labels" else named
                if not value or not (key or _is_secret(section, named, value, schema)):
                    continue
                if not key and value in project.secrets:
                    continue  # a label that names one of the project's secrets
                said, node = key or (name if is_shown else ""), texts[0].node
                for service in _services(project, document, texts[0]):
                    place = _place_of(path, raw)
                    values = told.setdefault((service, place), set())
                    # Two readings of one text may name a value differently, or not at all; the first has its name.
                    is_told = (service, place, said) in seen or (not key and value in values)
                    is_told = is_told or (not said and any(other in value for other in values))
                    values.add(value)
                    if not is_told:
                        seen.add((service, place, said))
                        yield Literal(service, section, place, said, bool(key), document, node)


def _services(project: Project, document: Document, text: _Text) -> list[str]:
    """Return the services that have *text*; the one that it is written in, also where nothing uses that one."""
    names = having(project, document, text.path, text.node) if text.service else []
    return names or [text.service]


class NamedAlone(NamedTuple):
    """A variable that something takes by its name alone, as `args: [KEY]` and `secrets: {s: {environment: KEY}}`."""

    key: str
    path: tuple[str, ...]
    document: Document
    node: ScalarNode


def named_alone(project: Project, keys: Collection[str], removed: Collection[int] = ()) -> Iterator[NamedAlone]:
    """Yield each place that takes one of *keys* by its name alone, services' `environment:` included.

    Args:
        project: the project as it is.
        keys: the variables that are looked for.
        removed: nodes (by `id`) that are about to go.
    """
    for document in project.documents:
        for path, node in scalars_of(project, document):
            if id(node) in removed and path[2:3] == ("environment",):
                continue
            if path[-1:] in _TAKE_NAMES and str(node.value) in keys:
                yield NamedAlone(str(node.value), path, document, node)
            elif path[-2:-1] in _TAKE_NAMES and is_null(node) and path[-1] in keys:
                yield NamedAlone(path[-1], path, document, node)


def names_asked_for(project: Project, keys: Collection[str]) -> set[str]:
    """Return those of *keys* that the files of *project* name, by `${...}` or alone, or that a service has."""
    texts = [str(node.value) for document in project.documents for _, node in scalars_of(project, document)]
    asked = {name for text in texts if "$" in text for name in names_in(text)}
    asked |= {found.key for found in named_alone(project, keys)}
    for service in project.services.values():
        asked.update(service.environment)
        with suppress(Ended):  # of an env file, whoever starts the service hears why
            asked.update(environment_of(service, project))
    return asked & set(keys)


def _place_of(path: tuple[str, ...], raw: str) -> str:
    """Return where *raw* is, as services.web.command; of variables, with the name."""
    if path[2:3] != ("environment",):
        return ".".join(path[: 4 if path[2:3] == ("deploy",) else 3])
    name, equals, _ = raw.partition("=")
    return ".".join((*path, name) if len(path) == len(_A_LIST) and equals else path)


_A_LIST = ("services", "web", "environment")  # where the name is in the text
_TAKE_NAMES = (("environment",), ("args",))
# What only names things of the project: a value that is also such a name tells nothing there.
_NAMES = frozenset(
    ("secrets", "networks", "depends_on", "container_name", "hostname", "image", "links", "profiles", "volumes")
)
_OPTIONS = ("logging", "networks", "volumes")  # options of a driver, by name
_SECTIONS = frozenset((*_COMMANDS, *_OPTIONS, "labels", "build", "configs"))


def _texts(document: Document) -> Iterator[_Text]:
    """Yield every scalar of every service, each service's own even where an anchor gives it to several, and configs."""
    for name, _, service, *_ in items(child(document.root, "services")):
        for section, _, value, *_ in items(service):
            if section in _NAMES:
                continue
            for path, node in scalars_in_effect(value, ("services", name, section)):
                yield _Text(name, _section_of(section, path), path, node)
    for name, _, config, *_ in items(child(document.root, "configs")):
        for path, node in scalars_in_effect(config, ("configs", name)):
            if path[2:] == ("content",):
                yield _Text("", "configs", path, node)

    for name, _, volume, *_ in items(child(document.root, "volumes")):
        for path, node in scalars_in_effect(
            child(volume, "driver_opts") or ScalarNode("", ""), ("volumes", name, "driver_opts")
        ):
            yield _Text("", "volumes", path, node)

    for name, _, network, *_ in items(child(document.root, "networks")):
        options = child(network, "driver_opts") or ScalarNode("", "")
        for path, node in scalars_in_effect(options, ("networks", name, "driver_opts")):
            yield _Text("", "networks", path, node)


def hint_at(path: tuple[str, ...]) -> str:
    """Return what to do about a value at *path* of a Compose file."""
    section = _section_of("".join(path[2:3]), path) if path[0] == "services" else path[0]
    return HINTS.get("x-" if section.startswith("x-") else section, HINTS[""])


def _section_of(section: str, path: tuple[str, ...]) -> str:
    """Return what kind of place *path* is: what a field of a service called *section* has there."""
    if section == "annotations" or path[2:4] == ("deploy", "labels"):
        return "labels"
    if section in _OPTIONS and path[2:4] != ("logging", "options"):
        return ""
    return section


def _pairs(section: str, path: tuple[str, ...], texts: Sequence[_Text], removed: Collection[int]) -> Iterator[_Pair]:
    # A value that goes there may be here by an alias.
    goes = removed if section == "environment" else ()
    words = [str(text.node.value) for text in texts if id(text.node) not in goes]
    if section in _COMMANDS:
        yield from _of_command(behind_shim(words if len(words) > 1 else _WORD.findall(" ".join(words))))
        for script in words if len(words) > 1 else ():
            if len(script.split()) > 1:
                yield from _of_command(_WORD.findall(script))
        yield from _in_scripts(" ".join(words))
    elif section in ("labels", *_OPTIONS) or path[2:4] == ("build", "args"):
        if section == "volumes":
            yield from (_Pair(*word.partition("=")[::2]) for text in words for word in text.split(",") if "=" in word)
        is_mapping = path[-1] not in ("labels", "annotations", "args")
        for word in words:
            name, _, value = (path[-1], "", word) if is_mapping else word.partition("=")
            yield _Pair(name, value)
            if len(value.split()) > 1:  # a command, as those who start jobs take it from a label
                yield from _of_script(value)
    elif section == "configs":
        for line in "\n".join(words).splitlines():
            is_remark = line.lstrip().startswith(("#", ";", "//"))
            for found in _SETTING.finditer(line):
                if not is_remark or is_telling(found["value"]):
                    yield _Pair(found["name"], found["value"])
            yield from (_Pair("", word) for word in (line, *line.split()))
            yield from _in_scripts(line)
    else:
        yield from (_Pair("", word) for word in words)


def _of_script(text: str) -> Iterator[_Pair]:
    yield from _of_command(_WORD.findall(text))
    yield from _in_scripts(text)


def _in_scripts(text: str) -> Iterator[_Pair]:
    for pattern in command_lines.IN_SCRIPTS:
        yield from (_Pair("token", found["value"]) for found in pattern.finditer(text))


def _of_command(words: Sequence[str]) -> Iterator[_Pair]:
    """Yield what *words* give values to: `--name value`, `--name=value`, `NAME=value`; any other word has no name."""
    option, program, is_shown = "", "", True
    for word in words:
        bare = word.strip("\"'`()")
        if not program and bare.lower() not in _SHELL_WORDS and not _ASSIGNMENT.fullmatch(bare):
            program = bare.rsplit("/", 1)[-1]
        short = command_lines.joined_password(program, bare)
        if short:
            yield _Pair("password", short)
            option = ""
            continue
        found = _OPTION.fullmatch(bare)
        if found is not None:
            is_shown = bool(command_lines.shown_option(bare.partition("=")[0]))
        if found is not None and found["value"] is None:
            option = "password" if command_lines.takes_password(program, bare) else found["name"]
            continue
        assigned = found or _ASSIGNMENT.fullmatch(bare)
        name, value = (assigned["name"], assigned["value"].strip("\"'")) if assigned else (option, bare)
        account = _ACCOUNT.fullmatch(value)
        user, password = (account["user"], account["password"]) if account else (value, "")
        is_account = name in _USER_AND_PASSWORD or _CURL_FLAGS.fullmatch(name) is not None
        if (
            is_account
            and password
            and not _USER_AND_GROUP.fullmatch(value)
            and program not in _NO_PASSWORD
            and not _is_group(program, user, password)
        ):
            name, value = "password", password
        elif option == "password" and program == "docker" and _PORTS.fullmatch(value):
            name = ""
        yield _Pair(name, value, is_shown)
        option, is_shown = "", True
        if command_lines.names_a_program(bare):
            program = bare.rsplit("/", 1)[-1]


def _is_group(program: str, user: str, group: str) -> bool:
    return program != "curl" and (group == user or bool(_GROUP.fullmatch(group)))


def _as_compose_reads(text: str, environ: Mapping[str, str]) -> str:
    """Return *text* with its references replaced; one that Compose would refuse stays as it is."""
    try:
        return interpolated(text, environ.get)
    except InvalidReference:
        return text


def _is_secret(section: str, name: str, value: str, schema: Schema | None) -> bool:
    if section not in _SECTIONS or value.startswith("/run/secrets/"):
        return False
    return bool((name and why_secret(name, value, schema)) or why_by_value(value))
