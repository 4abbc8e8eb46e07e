"""Values in plain text: whether a variable, an argument, a label or a line of an image's history shows a secret.

Values come in, and the places they are in leave; never a value, nor a part of one.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from shim.schema import Schema
from shim.secret import Secret, clean
from shim_host.audit.model import LABEL, Trace
from shim_host.names import behind_shim
from shim_host.recognition.command_lines import shown_option
from shim_host.recognition.known_values import KnownValues
from shim_host.recognition.sensitive import (
    is_nothing,
    is_placeholder,
    is_telling,
    label_words,
    why_by_value,
    why_named,
    why_secret,
)

# A value that is short or a single word occurs in many places by chance: it counts where it is the whole of what a
# secret's name gets, and nowhere else.
_SHORTEST_WHOLE = 4
# A place, a reference, or what replaces a value.
_NO_VALUE = re.compile(r"/[\w./@-]*|\$\{?\w+\}?|<[^>]*>|\*+|\[?redacted\]?", re.IGNORECASE)
# Images of languages carry the prints of the keys that their release is signed with.
_SIGNING_KEYS = re.compile(r"(?:0x)?[0-9A-Fa-f]{16,40}(?:\s+(?:0x)?[0-9A-Fa-f]{16,40})*")
# What a shell puts in when it gets there.
_AT_RUN_TIME = re.compile(r"\$(?:\w|[{(])|^`")
_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_])(?P<name>[A-Za-z_][A-Za-z0-9_]{0,200})=(?P<quote>[\"']?)(?P<value>[^\s\"']+)(?P=quote)"
)
_OPTION = re.compile(r"(?P<name>--?[A-Za-z][A-Za-z0-9-]*)(?:=(?P<value>.+))?", re.DOTALL)


class Recogniser:
    """Knows the values of ./secrets and .env in the forms that they travel in, and the schema."""

    def __init__(
        self,
        values: Mapping[str, Iterable[Secret]],
        schema: Schema | None,
        names: Collection[str] = (),
        keys: Collection[str] = (),
    ) -> None:
        self.schema = schema  # what decides, if there is one
        self._keys = keys  # that are known
        self._names = names  # of users and databases
        self._whole: dict[str, str] = {}
        self._telling: set[str] = set()  # those that nothing else is by chance
        self._within = KnownValues()
        for key, several in values.items():
            for value in several:
                self._add(key, clean(value.reveal()))

    def _add(self, key: str, value: bytes) -> None:
        text = value.decode("utf-8", "surrogateescape")
        if len(text) >= _SHORTEST_WHOLE and not is_nothing(text):
            self._whole.setdefault(text, key)
        if is_telling(text) and text not in self._names and not is_placeholder(text):
            self._telling.add(text)
            self._within.add(key, text)

    def variable(self, where: str, name: str, value: str, place: str = "") -> Trace | None:
        """Return the trace in the variable or label *name*, or None."""
        if not value or name.endswith("_FILE") or name.startswith("SHIM_"):
            return None
        found = self.known(value, name)
        if found is not None:
            return Trace(where, name, found[0], found[1], True, place)
        if _NO_VALUE.fullmatch(value) or is_nothing(value) or (_SIGNING_KEYS.fullmatch(value) and "G" in name):
            return None
        reason = why_secret(label_words(name) if where == LABEL else name, value, self.schema)
        key = name if name in self._keys else ""
        return Trace(where, name, key, reason, False, place) if reason else None

    def words(self, where: str, words: Sequence[str], place: str = "") -> Iterator[Trace]:
        """Yield the traces in an argv."""
        before = ""
        for number, word in enumerate(behind_shim(words)):
            option = _OPTION.fullmatch(word)
            found = self.known(word, before)
            name = shown_option(before or (option["name"] if option else "")) or f"word {number + 1}"
            if found is not None:
                yield Trace(where, name, found[0], found[1], True, place)
            elif before and not option and _is_told(before, word):
                yield Trace(where, name, "", why_named(before.lstrip("-"), word), False, place)
            elif option and option["value"] and _is_told(name, option["value"]):
                yield Trace(where, name, "", why_named(name.lstrip("-"), option["value"]), False, place)
            else:
                yield from self._unknown(where, word, name, place)
            before = option["name"] if option and not option["value"] else ""

    def text(self, where: str, text: str, name: str) -> Iterator[Trace]:
        """Yield the traces in a line of an image's history."""
        if (found := self._within.within(text)) is not None:
            key, _ = found
            yield Trace(where, name, key, f"holds the value of {key}", True)
            return
        yield from self._unknown(where, text, name, "")

    def _unknown(self, where: str, text: str, name: str, place: str) -> Iterator[Trace]:
        """Yield the trace in *text*, which holds no value that is known: an assignment, or what has a telling shape."""
        for match in _ASSIGNED.finditer(text):
            if _AT_RUN_TIME.search(match["value"]):
                continue
            variable = self.variable(where, match["name"], match["value"], place)
            if variable is not None:
                yield variable
        if not _ASSIGNED.search(text) and (reason := why_by_value(text)):
            yield Trace(where, name, "", reason, False, place)

    def known(self, text: str, name: str = "") -> tuple[str, str] | None:
        """Return the key whose value *text*, which *name* gets, is or holds, and how; None when none is known."""
        key = self._whole.get(text)
        if key is not None and (text in self._telling or key == name or _is_told(name, text)):
            return key, f"is the value of {key}"
        if (found := self._within.within(text)) is not None:
            return found[0], f"holds the value of {found[0]}{found[1]}"
        return None


def _is_told(option: str, value: str) -> bool:
    """Return whether *value* behind *option* is likely to be a secret."""
    name = option.lstrip("-")
    is_none = _NO_VALUE.fullmatch(value) or is_nothing(value) or _AT_RUN_TIME.search(value)
    return bool(why_named(name, value)) and not is_none
