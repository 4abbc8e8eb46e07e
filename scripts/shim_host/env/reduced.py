"""A `.env` without its secrets: the text as it was, comments and order kept, a note where a secret was."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shim_host.env.compose_rules import Reading
from shim_host.recognition.sensitive import (
    is_placeholder,
    masked_text,
    may_hold_value,
    why_by_name,
    why_by_value,
    why_named,
)

_OLD_VALUE = re.compile(
    r"(?P<start>[ \t]*#[# \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=)[ \t]*"
    r"(?P<value>[^\s\"']+|\"[^\"]*\"|'[^']*')?(?P<rest>.*)"
)
# What an example has in the place of a value: how to come by one.
_EXAMPLE = re.compile(
    r"(?:your|insert|put|enter|replace|change-?me)(?:[-_][a-z]{1,15})+|(?:[a-z]{1,15}[-_])+here"
    r"|(?:YOUR|INSERT|PUT|ENTER|REPLACE|CHANGE_?ME)(?:_[A-Z]{1,15})+|(?:[A-Z]{1,15}_)+HERE"
)
_TO_FILL_IN = re.compile(r"<[^<>]+>\s*")
# What follows a value on its line; a `#` inside quotes belongs to the value.
_REMARK = re.compile(
    r"[^=\n]*=[ \t]*(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|(?:(?! #)[^\n\"'])(?:(?! #)[^\n])*)?[ \t]*"
    r"(?P<remark>#[^\n]*?)\r?\n?"
)
_REFERENCE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})")
_LINES = re.compile(r"(?<=\n)")  # what is a line for Compose and docker --env-file, whatever Python has more
_MASK = "***"


class Statement(NamedTuple):
    """One assignment and its place in the text, its line end included where nothing follows it there."""

    key: str
    start: int
    end: int


class Reduced(NamedTuple):
    """The new file, and what is shown of both in a difference."""

    text: str
    old_shown: str
    new_shown: str
    emptied_comments: list[str]  # keys of commented-out assignments that lost their value


def decoded(data: bytes) -> str:
    """Return the text of a `.env`; bytes that are not UTF-8 survive."""
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def statements(data: bytes, dialect: str = "compose") -> list[Statement]:
    """Return the assignments of a file that its dialect can read."""
    return list(_raw(decoded(data)) if dialect == "raw" else _compose(data))


def _compose(data: bytes) -> Iterator[Statement]:
    # Every name has some value here, so that names without one are seen and no required one is missed.
    reading = Reading(data, lambda _name: "x", {})
    line, offset, last = 1, 0, 0
    for found in reading.assignments():
        while line < found.line:
            offset = reading.text.index("\n", offset) + 1
            line += 1
        start, end = max(offset, last), reading.at
        rest = reading.text[end : (reading.text + "\n").index("\n", end)]
        if reading.text[end - 1 : end] != "\n" and (not rest.strip() or rest.lstrip().startswith("#")):
            end = min(end + len(rest) + 1, len(reading.text))
        last = end
        if found.key:
            yield Statement(found.key, start, end)


_MOVED = re.compile(r"^[ \t]*# \S+ is a secret now, in ", re.MULTILINE)


def _raw(text: str) -> Iterator[Statement]:
    at = 0
    for line in _LINES.split(text):
        key = line.partition("=")[0].strip()
        if key and not key.startswith("#"):
            yield Statement(key, at, at + len(line))
        at += len(line)


def is_reduced(data: bytes) -> bool:
    """Return whether secrets have left the env file *data* already."""
    return _MOVED.search(decoded(data)) is not None


def reduce(
    data: bytes,
    places: Mapping[str, str],
    secret: Mapping[str, str],
    dialect: str = "compose",
    staying: Mapping[str, str] | None = None,
    known: Mapping[str, str] | None = None,
) -> Reduced:
    """Return *data* without the keys of *places*, which says of each where it is now.

    Args:
        data: the file.
        places: key -> path of its secret.
        secret: every key whose value must not be shown, those that stay too.
        dialect: how the file is read.
        staying: key -> why it stays although it is a secret, which is written before it.
        known: value -> key, of what no comment may hold either.
    """
    text = decoded(data)
    line_end = "\r\n" if "\r\n" in text else "\n"
    new, old_shown, new_shown = [], [], []
    emptied: list[str] = []
    noted: set[str] = set()
    at = 0
    for key, start, end in [*statements(data, dialect), Statement("", len(text), len(text))]:
        between = text[at:start]
        kept = "".join(_without_value(line, emptied) for line in _LINES.split(between))
        kept = without_known(kept, known or {}, emptied)
        new.append(kept)
        new_shown.append(masked_text(kept))
        old_shown.append(masked_text(between))
        whole = text[start:end]
        tail = line_end if whole.endswith("\n") else ""
        masked = f"{key}={_MASK}{tail}" if key in secret else masked_text(whole)
        old_shown.append(masked)
        if key not in places or not key:
            note = f"# {key} is a secret, and stays: {staying[key]}{line_end}" if staying and key in staying else ""
            if note and (start == 0 or text[start - 1] == "\n") and not text[:start].endswith(note):
                new.append(note)
                new_shown.append(note)
            found = _REMARK.fullmatch(whole) if dialect != "raw" else None
            behind = found.start("remark") if found is not None and found["value"] else len(whole)
            new.append(whole[:behind] + without_known(whole[behind:], known or {}, emptied))
            new_shown.append(masked)
        elif key not in noted:
            noted.add(key)
            gap = "" if start == 0 or text[start - 1] == "\n" else line_end
            note = f"{gap}# {key} is a secret now, in {places[key]}{line_end}"
            remark = _remark(whole)
            note += f"{remark}{line_end}" if remark else ""
            new.append(note)
            new_shown.append(note)
        at = end
    return Reduced("".join(new), "".join(old_shown), "".join(new_shown), emptied)


def _remark(statement: str) -> str:
    """Return the comment behind the value of *statement*; "" when it has none, or may hold a value itself."""
    found = _REMARK.fullmatch(statement)
    if found is None:
        return ""
    value, remark = (found["value"] or "").strip("\"' \t"), found["remark"].rstrip()
    return "" if may_hold_value(remark) or (value and value in remark) else remark


def without_known(comment: str, known: Mapping[str, str], emptied: list[str]) -> str:
    """Return *comment* with each value of *known* masked; the keys of those that it held are added to *emptied*."""
    for value, key in known.items():
        if value in comment:
            comment = comment.replace(value, _MASK)
            emptied.append(key)
    return comment


def _without_value(line: str, emptied: list[str]) -> str:
    match = _OLD_VALUE.fullmatch(line.rstrip("\r\n"))
    value = (match["value"] or "").strip("\"'") if match is not None else ""
    if match is None or not value:
        return line
    is_example = _EXAMPLE.fullmatch(value) or _TO_FILL_IN.fullmatch(f"{value}{match['rest']}")
    is_none = is_example or is_placeholder(value) or _REFERENCE.fullmatch(value) is not None
    is_one = not is_none and bool(why_named(match["key"], value) or why_by_value(value))
    if not is_one and not (why_by_name(match["key"]) and may_hold_value(match["rest"])):
        return line
    emptied.append(match["key"])
    return match["start"] + line[len(line.rstrip("\r\n")) :]
