"""Whether bytes are JSON (RFC 8259), by hand: the standard library's reader takes longer to load than a whole start.

Nothing is built and nothing is kept; a value goes in and a yes or no comes out. Nesting has no limit, since nothing
here calls itself.
"""

from shim.secret import utf8_text

_BLANK = (" ", "\t", "\n", "\r")
_WORDS = ("true", "false", "null")
_HEX = frozenset("0123456789abcdefABCDEF")


def is_json(value: bytes) -> bool:
    """Return whether *value* is one JSON text in UTF-8. `NaN` and `Infinity` are none, whatever Python reads."""
    text = utf8_text(value)
    if text is None:
        return False
    closers: list[str] = []  # what ends each array and object around here
    at = 0
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
                        return False
                continue
            at += 1
        else:
            at = _after_scalar(text, at)
            if at < 0:
                return False
        while True:  # a value ends here
            at = _after_blank(text, at)
            if not closers:
                return at == len(text)
            follower = text[at : at + 1]
            at += 1
            if follower == closers[-1]:
                closers.pop()
                continue
            if follower != ",":
                return False
            if closers[-1] == "}":
                at = _after_name(text, _after_blank(text, at))
                if at < 0:
                    return False
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
    while True:
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
