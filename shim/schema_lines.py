"""The lines of a schema, in every form that dotenv readers know: comments, decorators, assignments, their quotes.

What they mean is decided in schema.py. The frozen shim reads ordinary lines in its start code (schema.c), and needs
this for the others; everybody else reads all of them here.
"""

from shim import schema_text
from shim.secret import is_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Wrong = Callable[[int, str, str], None]  # what takes note of a mistake: line, message, hint
    Decorator = tuple[int, str, str]  # line, name, value
    # Line, key, default, description, decorators above, decorators behind the value, and that as it is written.
    Block = tuple[int, str, bytes | None, list[str], list[Decorator], list[Decorator], str]

_MAX_LINE = 16_384


def blocks(text: bytes, wrong: "Wrong") -> "Iterator[Block]":
    """Yield each key with what is above it; without a key, the decorators that an empty line or a divider drops."""
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    decorators: list[Decorator] = []
    words: list[str] = []
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        comment = line[1:].lstrip().removeprefix("shim:").lstrip()  # which hides ours from other tools
        if len(line) > _MAX_LINE:
            wrong(number, f"the line is longer than {_MAX_LINE} characters", "put the value into a file")
            continue
        if line[:1] == "#" and comment[:1] == "@":
            decorators += scan(comment, number, wrong)
            continue
        if line[:1] == "#" and (not comment or comment.strip("-=")):
            words.append(comment)
            continue
        name, equals, rest = line.removeprefix("export ").partition("=")
        key = name.strip()
        if line[:1] in ("", "#"):
            yield number, "", None, [], decorators, [], ""
        elif not equals or not is_key(key):
            yield number, "", None, [], decorators, [], ""
            wrong(number, "this is neither a comment nor KEY=", "write KEY= or KEY=default, with KEY of A-Z, 0-9, _")
        else:
            at, written = number, rest.strip()
            default, behind, number = _default(key, written, lines, number, wrong) if written else ("", [], number)
            value = default.encode("utf-8", "surrogateescape") or None
            yield at, key, value, words, decorators, behind, written
        decorators = []
        words = []
    yield number, "", None, [], decorators, [], ""


def _default(key: str, value: str, lines: list[str], number: int, wrong: "Wrong") -> "tuple[str, list[Decorator], int]":
    """Return the default that is right of `=`, the decorators behind it, and the number of its last line."""
    quote = value[0]
    if quote in "'\"`":
        start = number
        if value.startswith(3 * quote):
            wrong(start, f"{key}: three quotes in a row are not supported", "use one pair: it can span lines as well")
            return "", [], _behind(3 * quote, value, lines, number)
        parts = [value]
        end = schema_text.closing_quote(value)
        while end < 0 and number < len(lines):
            end = schema_text.closing_quote(lines[number], 0, quote)
            parts.append(lines[number])
            number += 1
        if end < 0:
            wrong(start, f"{key}: the quote is not closed", "close it, or drop it")
            return "", [], start
        parts[0] = parts[0][1:]
        if len(parts) == 1:
            end -= 1
        rest = parts[-1][end + 1 :].strip()
        parts[-1] = parts[-1][:end]
        text = "\n".join(parts)
        if quote == '"':
            text = schema_text.unescaped(text)
        if rest and rest[0] != "#":
            hint = "put the whole value in one pair of quotes, of a kind that is not in it; a comment begins with #"
            wrong(number, f"{key}: there is text behind the closing quote", hint)
            return "", [], number
    elif quote == "#":
        text, rest = "", value
    else:
        text, _, rest = value.partition(" #")
        text, rest = text.rstrip(), "#" + rest
    comment = rest[1:].lstrip() if rest.startswith("#") else ""
    return text, scan(comment, number, wrong), number


def _behind(quotes: str, value: str, lines: list[str], number: int) -> int:
    """Return the number of the line in which *quotes*, which open *value*, are closed; *number* if they never are."""
    if quotes in value[len(quotes) :]:
        return number
    return next((at + 1 for at in range(number, len(lines)) if quotes in lines[at]), number)


def scan(comment: str, line: int, wrong: "Wrong") -> "list[Decorator]":
    """Return the decorators at the beginning of a comment."""
    found: list[Decorator] = []
    while comment[:1] == "@":
        name = comment[1:].partition(" ")[0].partition("=")[0].partition("(")[0]
        end = 1 + len(name)
        if not name.isalnum():
            end = 1
            while end < len(comment) and (comment[end].isalnum() or comment[end] in "-_"):
                end += 1
            name = comment[1:end]
        value = ""
        if comment[end : end + 1] == "=":
            value, end = schema_text.value_end(comment, end + 1)
        elif comment[end : end + 1] == "(":
            value, end = schema_text.value_end(comment, end)
        if end < 0:
            wrong(line, f"@{name}: a quote or a parenthesis is not closed", "close it on the same line")
            break
        found.append((line, name, value))
        comment = comment[end:].lstrip(" \t,")
    return found
