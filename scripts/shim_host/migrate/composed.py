"""Secrets that hold other secrets: how a URL with a password is made of its parts, and the schema that says so.

A value that holds another secret of the project goes stale when that one rotates. So the schema gets `@composed` for
it, and `rotate`, `set` and `validate` keep its file in step. Nothing is written here.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from shim.errors import Refused as SchemaRefused
from shim.schema import KeySpec, Schema, composed_value, parse
from shim.secret import is_key, is_protected
from shim_host import inputs
from shim_host.compose.nodes import child, elements
from shim_host.compose.project import Service, interpolated, names_in
from shim_host.env.compose_rules import InvalidReference
from shim_host.env.reduced import decoded, statements
from shim_host.migrate.model import SHIM, Held, MigrationPlan, Remark
from shim_host.recognition.sensitive import SHORTEST_TELLING, is_telling, words_of

_IN_URL = re.compile(
    r"(?:[A-Za-z][\w+.-]*:)?[A-Za-z][\w+.-]*://"
    r"(?:[^/\s:@]*:(?P<password>\S+)@(?P<host>[\w.-]+)|\S*?[?&;](?:password|passwd|pass|pwd)=(?P<queried>[^&;\s]+))"
)
_UNRESERVED = "-._~"


def find_composed(plan: MigrationPlan) -> None:
    """Note in *plan* which of its secrets are made of others, and of which."""
    written = _written(plan)
    held = [item for item in plan.held.values() if item.services and _can_be_listed(item.key)]
    listed = [item for item in held if item.key not in plan.public_keys]
    starts = _starts(held)
    for item in held:
        if not _may_hold_another(item, starts, written.get(item.key, ())):
            continue
        template = _template(plan, item, held, written.get(item.key, ()))
        public = {item.key, *_parts(template)} & plan.public_keys if template else set()
        without = _template(plan, item, listed, written.get(item.key, ())) if public and item in listed else ""
        for key in sorted(public) if not without else ():
            _say_left_out(plan, item.key, _parts(template), key)
        if without or (template and not public):
            plan.composed[item.key] = without or template
    if plan.composed and plan.wishes.schema is None:
        for moved in plan.moved.values():
            if moved.how == SHIM and _mounts(moved.service, plan.project.folder.absolute()):
                moved.options += ["--schema", "none"]


def _starts(held: Iterable[Held]) -> dict[str, set[str]]:
    """Return the keys of *held* by how their values begin, plain and percent-encoded."""
    starts: dict[str, set[str]] = {}
    for item in held:
        value = text_of(item)
        for form in (value, quote(value, safe=_UNRESERVED)) if is_telling(value) else ():
            starts.setdefault(form[:SHORTEST_TELLING], set()).add(item.key)
    return starts


def _may_hold_another(item: Held, starts: Mapping[str, set[str]], written: Iterable[str]) -> bool:
    """Return whether *item* is worth a comparison with each of the others, of which there may be thousands."""
    text = text_of(item)
    if any("$" in raw for raw in written) or _IN_URL.search(text):
        return True
    pieces = (text[at : at + SHORTEST_TELLING] for at in range(len(text) - SHORTEST_TELLING + 1))
    return any(starts.get(piece, set()) - {item.key} for piece in pieces)


def _template(plan: MigrationPlan, item: Held, held: Iterable[Held], written: Sequence[str]) -> str:
    """Return how *item* is made of others that are *held*; "" where it is not."""
    text = text_of(item)
    values = {other.key: text_of(other) for other in held if other is not item}
    others = {other: value for other, value in values.items() if value and len(value) < len(text)}
    template = _of_references(written, text, others) or _of_values(plan, item, text, others)
    known = {key: value.encode("utf-8", "surrogateescape") for key, value in others.items()}
    is_right = template and composed_value(_spec(item.key, template), known.get) == item.value.reveal()
    return template if is_right else ""


def _say_left_out(plan: MigrationPlan, key: str, parts: Iterable[str], public: str) -> None:
    changed = ", ".join(dict.fromkeys(parts))
    message = f"a rotation of {changed} does not change it: {plan.env_name(public)} has another, public {public}"
    hint = f"rename one of the two, or make both secrets: --secret {public}"
    plan.findings.append(Remark("", key, message, hint))


def _mounts(service: Service, folder: Path) -> bool:
    """Return whether *service* has *folder* mounted: its shim would take the new schema there for the service's own."""
    for definition in service.definitions:
        for volume in elements(definition.value("volumes")):
            source = child(volume, "source") or volume
            written = str(source.value).partition(":")[0] if source is volume else str(source.value)
            if written.startswith((".", "/", "~", "$")):
                place = os.path.abspath(definition.document.folder / os.path.expandvars(os.path.expanduser(written)))
                if folder.is_relative_to(place):
                    return True
    return False


def text_of(held: Held) -> str:
    """Return the value of *held* as text."""
    return held.value.reveal().decode("utf-8", "surrogateescape")


def _can_be_listed(key: str) -> bool:
    return is_key(key) and not key.startswith("SHIM_") and not is_protected(key)


def _spec(key: str, template: str) -> KeySpec:
    spec = KeySpec(key)
    spec.composed = template
    return spec


def _written(plan: MigrationPlan) -> dict[str, list[str]]:
    """Return how each key's value is written, before `${...}` is replaced."""
    found: dict[str, list[str]] = {}
    for service in plan.project.services.values():
        for key, variable in service.variables.items():
            if variable.raw:
                found.setdefault(key, []).append(variable.raw)
    for source in plan.sources:
        text = decoded(source.data)
        for entry in statements(source.data):
            raw = text[entry.start : entry.end].partition("=")[2].strip()
            if not raw.startswith("'"):
                found.setdefault(entry.key, []).append(raw.strip('"'))
    return found


def _of_references(written: Sequence[str], text: str, others: Mapping[str, str]) -> str:
    """Return the template of what is *written* with references to *others*, if that is *text*; else ""."""
    for raw in written:
        parts = names_in(raw) & set(others)
        if not parts:
            continue
        for inside in ("|url", ""):
            marked = _expanded(raw, {key: f"\x01{key}\x02" for key in parts}, others)
            pieces = re.split("\x01([^\x02]*)\x02", marked)
            template = "".join(
                f"${{{piece}{inside if _is_url(pieces[at - 1]) else ''}}}" if at % 2 else _literal(piece)
                for at, piece in enumerate(pieces)
            )
            plain = {key: value.encode("utf-8", "surrogateescape") for key, value in others.items()}
            if composed_value(_spec("X", template), plain.get) == text.encode("utf-8", "surrogateescape"):
                return template
    return ""


def _expanded(raw: str, marks: Mapping[str, str], others: Mapping[str, str]) -> str:
    try:
        return interpolated(raw, lambda name: marks.get(name, others.get(name)))
    except InvalidReference:
        return ""


def _is_url(before: str) -> bool:
    return "://" in before or before.startswith(("@", ":", "&", "?"))


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def _of_values(plan: MigrationPlan, item: Held, text: str, others: Mapping[str, str]) -> str:
    """Return the template of *text* with the values of *others* found in it, plain or percent-encoded; else ""."""
    spot = _IN_URL.search(text)
    if spot is not None:
        name = "password" if spot["password"] else "queried"
        key, is_encoded = _whose(plan, item, spot[name], str(spot["host"] or ""), others)
        if key:
            reference = f"${{{key}|url}}" if is_encoded else f"${{{key}}}"
            return _literal(text[: spot.start(name)]) + reference + _literal(text[spot.end(name) :])
    telling = {key: value for key, value in others.items() if is_telling(value)}
    values = list(telling.values())
    for key, value in sorted(telling.items(), key=lambda pair: -len(pair[1])):
        form, encoder = (value, "") if value in text else (quote(value, safe=_UNRESERVED), "|url")
        if form in text and values.count(value) == 1:
            return f"${{{key}{encoder}}}".join(map(_literal, text.split(form)))
    return ""


def _whose(plan: MigrationPlan, item: Held, password: str, host: str, others: Mapping[str, str]) -> tuple[str, bool]:
    """Return the key whose value is *password* in a URL to *host*, and whether it is percent-encoded there.

    Of several with one value that is the one which the host itself has; where that does not tell, none.
    """
    same = [key for key, value in others.items() if password in (value, quote(value, safe=_UNRESERVED))]
    holders = {other.key: other.services for other in plan.held.values()}
    at_host = [key for key in same if host in holders[key]]
    named = [key for key in same if {"PASS", "PASSWORD", "PWD", "PASSWD"}.intersection(words_of(key))]
    found = next((few for few in (at_host, same, named) if len(few) == 1), [])
    if not found:
        if len(same) > 1:
            message = f"it holds a password that {', '.join(same)} have in common, so it is not known which it follows"
            hint = "give each a value of its own, and write @composed into .env.schema: docs/MIGRATION.md shows it"
            plan.findings.append(Remark("", item.key, message, hint))
        return "", False
    return found[0], password == quote(others[found[0]], safe=_UNRESERVED)


def with_composed(text: str, plan: MigrationPlan) -> str:
    """Return the schema *text* with what *plan* has composed, and all that is there as it was; made if it is ""."""
    lines = (text or inputs.SCHEMA_HEAD).splitlines(keepends=True)
    line_end = "\r\n" if text.endswith("\r\n") else "\n"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += line_end
    known = _parsed(text)
    if known is None:
        return text
    keys = known.keys
    todo = {key: template for key, template in plan.composed.items() if key not in keys or keys[key].composed is None}
    if not todo:
        return text
    for key in sorted(todo.keys() & keys.keys(), key=lambda key: -keys[key].line):
        lines.insert(keys[key].line - 1, _decorator(todo[key]) + line_end)
    parts = {part for template in todo.values() for part in _parts(template)}
    listed = [
        held.key
        for held in plan.held.values()
        if held.services and _can_be_listed(held.key) and held.key not in plan.public_keys
    ]
    for key in listed if not text else [key for key in listed if key in todo or key in parts]:
        if key not in keys:
            lines += [line_end, *(line + line_end for line in _entry(key, todo.get(key, "")))]
    new = "".join(lines)
    after = _parsed(new)
    is_right = after is not None and all(after.keys[key].composed == template for key, template in todo.items())
    return new if is_right else text


def _entry(key: str, template: str) -> Iterator[str]:
    yield "# @sensitive"
    if template:
        yield _decorator(template)
    yield f"{key}="


def _decorator(template: str) -> str:
    escaped = template.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'# @composed="{escaped}"'


def _parts(template: str) -> list[str]:
    return re.findall(r"(?<!\$)(?:\$\$)*\$\{([A-Za-z_]\w*)", template)


def _parsed(text: str) -> Schema | None:
    try:
        return parse(text.encode("utf-8", "surrogateescape"))
    except SchemaRefused:
        return None
