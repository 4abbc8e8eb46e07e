"""How Docker Compose reads a `.env` file: statements, quotes, escapes and references.

The rules are those of compose-go's packages dotenv and template, where each oddity below has its origin; the tests ask
the real program. Text comes in, assignments leave; nothing is opened and no message holds a value.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from shim_host.output import Warned

# What Go's unicode.IsSpace calls space; Python's str.isspace() has the separators 0x1c-0x1f besides.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_BLANK = "\t\v\f\r \x85\xa0"  # what Compose skips inside a line
_NAME_MARKS = frozenset("_.-[]")
_EXPORT = re.compile(r"export[\t\n\f\r ]+")
_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
# Go folds the long s and the Kelvin sign onto s and k where a pattern ignores case.
_NAME = "[_A-Za-z\u017f\u212a][_A-Za-z0-9\u017f\u212a]*"
_REFERENCE = re.compile(
    rf"\$(?:(?P<dollar>\$)|(?P<plain>{_NAME})|\{{(?:(?P<name>{_NAME})(?:(?P<operator>:?[-+?])(?P<word>.*))?\}}|))"
)
_LOOKS_SECRET = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|SALT|DSN|AUTH", re.IGNORECASE)

# One string of an environment holds no more (execve(2)), and a reference in one in one is rare.
_MOST_CHARACTERS = 131_072
_MOST_DEPTH = 50
_MOST_WRITTEN = 16 << 20

Lookup = Callable[[str], str | None]


class Malformed(Exception):
    """The file is refused: what is wrong, and on which line."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message
        self.hint = hint


class Assignment(NamedTuple):
    """One statement that sets a key; `notes` are messages with their hints."""

    line: int
    key: str
    value: str
    notes: tuple[tuple[str, str], ...] = ()


class Reading:
    """One pass over a file as Compose makes it."""

    def __init__(self, data: bytes, lookup: Lookup, earlier: Mapping[str, str]) -> None:
        self.text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        self.lookup = lookup
        self.earlier = earlier
        self.at = 0
        self.line = 1
        self.line_at = 0  # the offset that `line` was counted for
        self.warnings: list[Warned] = []
        self.written = 0  # characters that references were replaced by

    def _here(self) -> int:
        """Return the number of the line at the present offset."""
        self.line += self.text.count("\n", self.line_at, self.at)
        self.line_at = self.at
        return self.line

    def assignments(self) -> Iterator[Assignment]:
        """Yield every statement that sets a key, in order; *earlier* is to hold those before it."""
        if "\r\n" in self.text:
            self._warn(1, "", "the lines end in CR LF", "save the file with Unix line ends")
        quoted_line = 0
        while self._skip_to_statement():
            line = self._here()
            if line == quoted_line:
                message = "Compose reads what follows the closing quote as a statement of its own"
                self._warn(line, "", message, "put it on its own line, or escape the quote")
            quoted_line = 0
            key, ending = self._name(line)
            if ending == "\n":
                yield from self._inherited(line, key)
                continue
            self._skip_blanks()
            if self.text[self.at : self.at + 1] in ("'", '"'):
                yield self._quoted(line, key)
                quoted_line = self._here()
            else:
                yield self._unquoted(line, key)

    def _warn(self, line: int, key: str, message: str, hint: str = "") -> None:
        self.warnings.append(Warned(line, key, message, hint))

    def _skip_to_statement(self) -> bool:
        text, end = self.text, len(self.text)
        while self.at < end:
            if text[self.at] in SPACE:
                self.at += 1
            elif text[self.at] == "#":
                newline = text.find("\n", self.at)
                self.at = end if newline < 0 else newline
            else:
                return True
        return False

    def _skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _BLANK:
            self.at += 1

    def _name(self, line: int) -> tuple[str, str]:
        """Read a name; return it with what ended it, which is nothing at the end of the file."""
        if _EXPORT.match(self.text, self.at):
            self.at += len("export")
            self._skip_blanks()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in "=:\n":
            character = self.text[self.at]
            if not (character in _BLANK or character in _NAME_MARKS or unicodedata.category(character)[0] in "LN"):
                column = self.at - self.text.rfind("\n", 0, self.at)
                hint = "a value over several lines needs quotes around it; a comment begins with #"
                raise Malformed(self._here(), f"character {column} is not allowed in a name", hint)
            self.at += 1
        ending = self.text[self.at : self.at + 1]
        if not ending:
            if start == self.at:
                raise Malformed(line, "export is not followed by a name")
            # Compose finds no end of the name, so to it the name is empty and all of this is the value.
            self.at = start
            message = "the file ends before an = or a line end, and Compose ignores such a line"
            self._warn(line, "", message, "write NAME=value")
            return "", ending
        key = self.text[start : self.at].rstrip(SPACE)
        if " " in key:
            raise Malformed(line, "there is a space inside a name", "write NAME=value, without spaces in the name")
        self.at += 1
        return key, ending

    def _inherited(self, line: int, key: str) -> Iterator[Assignment]:
        """A bare name takes the environment's value; without one it sets nothing."""
        value = self.lookup(key)
        if value is not None:
            yield Assignment(line, key, value)
        elif key:
            # It is not named here: where quotes are missing around several lines, it is a part of the value.
            message = "a name without = is set only where the environment has it, and it does not"
            self._warn(line, "", message, "write NAME=value; quote a value that has several lines")

    def _unquoted(self, line: int, key: str) -> Assignment:
        newline = self.text.find("\n", self.at)
        end = len(self.text) if newline < 0 else newline
        whole = self.text[self.at : end]
        self.at = end if newline < 0 else end + 1
        value, cut, _ = whole.partition(" #")
        if cut:
            message = "the value ends before the space and #, where a comment begins"
            self._warn(line, key, message, "quote the value if the # belongs to it")
        elif whole.startswith("#"):
            message = "the value begins with #, which to Compose is not a comment after ="
            self._warn(line, key, message, f"write {key}= alone on its line for an empty value")
        value = value.rstrip(SPACE)
        if value.startswith("-----BEGIN "):
            message = "the value is the first line of a key or certificate only"
            self._warn(line, key, message, "put double quotes around all of its lines")
        return Assignment(line, key, self._expanded(line, key, value))

    def _quoted(self, line: int, key: str) -> Assignment:
        """Read up to the next such quote that no backslash protects; the backslash goes, every other one stays."""
        quote = self.text[self.at]
        at = self.at + 1
        parts = []
        while True:
            end = self.text.find(quote, at)
            if end < 0:
                raise Malformed(line, f"the quote that opens the value of {key} is not closed", "close it")
            run = end
            while run > at and self.text[run - 1] == "\\":
                run -= 1
            if (end - run) % 2 == 0:
                break
            parts.append(self.text[at : end - 1] + quote)
            at = end + 1
        value = "".join(parts) + self.text[at:end]
        self.at = end + 1
        if "\r" in value:
            message = "there is a CR inside the quotes, and it stays in the value"
            self._warn(line, key, message, "save the file with Unix line ends")
        if quote == '"':
            value = self._expanded(line, key, _ESCAPE.sub(_unescaped, value))
        return Assignment(line, key, value)

    def _expanded(self, line: int, key: str, value: str) -> str:
        if "$" not in value:
            return value
        references = References(self.lookup, self.earlier)
        try:
            result = references.expanded(value)
        except InvalidReference as error:
            # No name of a variable is shown: in `pa$$word` written as `pa$word` it is a part of the password.
            hint = "put single quotes around a value that holds $, or write $$ for each"
            raise Malformed(line, f"{key}: {error}", hint) from None
        self.written += len(result)
        if self.written > _MOST_WRITTEN:
            raise Malformed(
                line,
                "the references make the file larger than any program could need",
                "use fewer or shorter references",
            )
        hint = "put single quotes around the value if the $ belongs to it"
        if references.missed:
            self._warn(line, key, "a $ refers to a variable that is not set, and is replaced by nothing", hint)
        elif references.found and _LOOKS_SECRET.search(key):
            self._warn(line, key, "a $ is replaced by the value of a variable", hint)
        return result


def _unescaped(match: re.Match[str]) -> str:
    text = match[0]
    if text == "\\$":
        return "$$"
    if text[1] != "0":
        return _ESCAPED.get(text[1], text)
    octal = text[2:]
    if len(octal) == 3 and octal.isdigit() and max(octal) < "8" and int(octal, 8) < 256:
        return chr(int(octal, 8))
    return "\\" + octal  # Compose loses the zero of what is not an octal escape


class InvalidReference(Exception):
    """Compose would refuse the text: a malformed `${...}`, or a required variable that is not set."""


class References:
    """Replaces references in a value (Compose files have the same); remembers if any were found, or led nowhere."""

    def __init__(self, lookup: Lookup, earlier: Mapping[str, str]) -> None:
        self.lookup = lookup
        self.earlier = earlier
        self.found = False
        self.missed = False
        self._depth = 0

    def value_of(self, name: str) -> str | None:
        """Return what *name* means, or None."""
        value = self.lookup(name)
        return self.earlier.get(name) if value is None else value

    def expanded(self, text: str) -> str:
        """Return *text* with every reference replaced.

        Raises:
            InvalidReference: Compose would refuse it.
        """
        if len(text) > _MOST_CHARACTERS:
            raise InvalidReference("the value with the $ is longer than a program can receive")
        if self._depth > _MOST_DEPTH:
            raise InvalidReference("the references are nested too deeply")
        done: list[str] = []
        length = 0
        waiting = [text]
        while waiting:
            text = waiting.pop()
            match = _REFERENCE.search(text)
            if match is None:
                done.append(text)
                continue
            done.append(text[: match.start()])
            before = len(done)
            waiting.append(text[match.end() :])
            if match["dollar"]:
                done.append("$")
            elif match["plain"]:
                done.append(self.plain(match["plain"]))
            elif match["name"] is None:
                raise InvalidReference("${ begins a reference that has no valid name, operator or end")
            elif match["operator"] is None:
                done.append(self.plain(match["name"]))
            else:
                inner, rest = _balanced(match[0])
                done.append(self.operated(match["name"], match["operator"], inner))
                waiting.append(rest)
            length += sum(map(len, done[before - 1 :]))
            if length > _MOST_CHARACTERS:
                raise InvalidReference("the references make it longer than a program can receive")
        return "".join(done)

    def plain(self, name: str) -> str:
        """Return what a reference without an operator means."""
        value = self.value_of(name)
        self.found = True
        self.missed |= value is None
        return value or ""

    def operated(self, name: str, operator: str, reference: str) -> str:
        """Return what `${name<operator>word}` means; the word is expanded even where it is not used."""
        self.found = True
        self._depth += 1
        word = self.expanded(reference[len(name) + len(operator) :])
        self._depth -= 1
        value = self.value_of(name)
        is_there = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "-":
            return (value or "") if is_there else word
        if operator[-1] == "+":
            return word if is_there else (value or "")
        if not is_there:
            raise InvalidReference("a variable it requires (${NAME?message}) is not set")
        return value or ""


def _balanced(reference: str) -> tuple[str, str]:
    """Return the inside of the `${...}` that *reference* begins with, and what follows it.

    The match is greedy; the reference ends at the brace that balances the first. An opening brace hides the character
    behind it, so `{}` does not balance itself: that is how Compose counts.
    """
    depth = 0
    at = 0
    while at < len(reference):
        if reference[at] == "}":
            depth -= 1
            if depth == 0:
                return reference[2:at], reference[at + 1 :]
        elif reference[at] == "{":
            depth += 1
            at += 1
        at += 1
    return reference[2:-1], ""
