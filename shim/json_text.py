"""Whether bytes are JSON (RFC 8259), and one member of it, by hand: the standard library's reader takes longer to load
than a whole start.

Nothing is built and nothing is kept but the member that was asked for. Nesting has no limit, since nothing
here calls itself.
"""

from shim.secret import utf8_text

_BLANK = (" ", "\t", "\n", "\r")
_WORDS = ("true", "false", "null")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = frozenset("0123456789abcdefABCDEF")


def is_json(value: bytes) -> bool:
    """Return whether *value* is one JSON text in UTF-8. `NaN` and `Infinity` are none, whatever Python reads."""
    text = utf8_text(value)
    if text is None:
        return False
    end = _after_value(text, 0)
    return end >= 0 and _after_blank(text, end) == len(text)


def checked(value: bytes) -> str:
    """Return the JSON text *value* as text, if it is one.

    Raises:
        ValueError: it is not JSON.
    """
    if not is_json(value):
        raise ValueError("no JSON")
    return value.decode("utf-8")


def member(text: str, names: list[str], seen: dict[int, dict[str, int]]) -> bytes | None:
    """Return what a JSON *text* holds under *names*, one name or index a level; None when that is not there.

    A string is itself, without quotes and escapes; a number, a word, an array or an object is its own text. `null` is
    not there.

    Args:
        text: from `checked`.
        names: of the members.
        seen: what was found of this text before, to be handed in again the next time.
    """
    at = 0
    for name in names:
        if at not in seen:
            seen[at] = _members(text, at)
        found = seen[at].get(name)
        if found is None:
            return None
        at = found
    part = text[at : _after_value(text, at)].strip()
    if part == "null":
        return None
    return (_string(part) if part[:1] == '"' else part).encode("utf-8", "surrogatepass")


def _members(text: str, at: int) -> dict[str, int]:
    """Return the names in the object, or the numbers of the items in the array, that begins at *at*, and where each is.

    There are none in anything else. Of two members of one name the last counts, as everywhere.
    """
    found: dict[str, int] = {}
    at = _after_blank(text, at)
    opener = text[at]
    if opener not in "{[":
        return found
    number = 0
    at = _after_blank(text, at + 1)
    while text[at] not in "}]":
        label = str(number)
        if opener == "{":
            label = _string(text[at : _after_string(text, at + 1)])
            at = _after_blank(text, _after_name(text, at))
        found[label] = at
        at = _after_blank(text, _after_value(text, at))
        if text[at] == ",":
            at = _after_blank(text, at + 1)
        number += 1
    return found


def _string(quoted: str) -> str:
    """Return the text that a JSON string encodes."""
    done: list[str] = []
    at, end = 1, len(quoted) - 1
    while (escape := quoted.find("\\", at, end)) >= 0:
        done.append(quoted[at:escape])
        kind = quoted[escape + 1]
        at = escape + 2
        if kind == "u":
            code = int(quoted[at : at + 4], 16)
            at += 4
            if 0xD800 <= code < 0xDC00 and quoted[at : at + 2] == "\\u":
                low = int(quoted[at + 2 : at + 6], 16)
                if 0xDC00 <= low < 0xE000:
                    code = 0x10000 + (code - 0xD800 << 10) + low - 0xDC00
                    at += 6
            done.append(chr(code))
        else:
            done.append(_ESCAPES.get(kind, kind))
    return "".join(done) + quoted[at:end]


def _after_value(text: str, at: int) -> int:
    """Return where the value at *at* ends, blanks before it included; -1 when there is none."""
    closers: list[str] = []  # what ends each array and object around here
    while True:
        at = _after_blank(text, at)
        opener = text[at : at + 1]
        if opener in ("{", "["):
            closer = "}" if opener == "{" else "]"
            at = _after_blank(text, at + 1)
            if text[at : at + 1] != closer:
                closers.append(closer)
                if closer == "}":
                    at = _after_name(text, at)
                    if at < 0:
                        return -1
                continue
            at += 1
        else:
            at = _after_scalar(text, at)
            if at < 0:
                return -1
        while True:  # a value ends here
            if not closers:
                return at
            at = _after_blank(text, at)
            follower = text[at : at + 1]
            at += 1
            if follower == closers[-1]:
                closers.pop()
                continue
            if follower != ",":
                return -1
            if closers[-1] == "}":
                at = _after_name(text, _after_blank(text, at))
                if at < 0:
                    return -1
            break


def _after_blank(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANK:
        at += 1
    return at


def _after_name(text: str, at: int) -> int:
    """Return where the value of the object's member at *at* begins; -1 when there is no `"name":`."""
    if text[at : at + 1] != '"':
        return -1
    at = _after_string(text, at + 1)
    if at < 0:
        return -1
    at = _after_blank(text, at)
    return at + 1 if text[at : at + 1] == ":" else -1


def _after_scalar(text: str, at: int) -> int:
    """Return where the string, number or word at *at* ends; -1 when there is none."""
    if text[at : at + 1] == '"':
        return _after_string(text, at + 1)
    for word in _WORDS:
        if text.startswith(word, at):
            return at + len(word)
    return _after_number(text, at)


def _after_string(text: str, at: int) -> int:
    """Return where the string ends whose first character is at *at*; -1 when it does not, or holds what it must not."""
    end = -1
    while True:
        if end < at:  # not looked for again after each escape
            end = text.find('"', at)
        if end < 0:
            return -1
        escape = text.find("\\", at, end)
        plain = text[at : end if escape < 0 else escape]
        if not plain.isprintable() and min(plain) < " ":
            return -1
        if escape < 0:
            return end + 1
        kind = text[escape + 1]
        if kind == "u":
            digits = text[escape + 2 : escape + 6]
            if len(digits) != 4 or not _HEX.issuperset(digits):
                return -1
            at = escape + 6
        elif kind in '"\\/bfnrt':
            at = escape + 2
        else:
            return -1


def _after_number(text: str, at: int) -> int:
    """Return where the number at *at* ends; -1 when there is none."""
    if text[at : at + 1] == "-":
        at += 1
    end = _after_digits(text, at)
    if end == at or (text[at] == "0" and end > at + 1):
        return -1
    if text[end : end + 1] == ".":
        at = end + 1
        end = _after_digits(text, at)
        if end == at:
            return -1
    if text[end : end + 1] in ("e", "E"):
        at = end + 1
        if text[at : at + 1] in ("+", "-"):
            at += 1
        end = _after_digits(text, at)
        if end == at:
            return -1
    return end


def _after_digits(text: str, at: int) -> int:
    while "0" <= text[at : at + 1] <= "9":
        at += 1
    return at
