"""`${KEY|encoder}` references in composed values and rendered files: text comes in, parts leave, values go in.

`$$` is a dollar; any other dollar means itself, so that a config file's own `$host` survives.
"""

from shim.secret import utf8_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.members import Document

    Part = bytes | tuple[str, str]  # literal text, or (key, encoder)

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_MEMBERS_HINT = "write ${KEY|.name}, or ${KEY|.outer.inner}, as the value has it"


MAX_FILLED_BYTES = 1_048_576  # of a composed value or a rendered file; references to each other could double it at will
_MOST_REFERENCES = 10_000
_DOLLAR = 0x24
_PIECE = 65_536  # encoded at a time, so that memory is needed for that many characters only


class Malformed(ValueError):
    """The template cannot be read; the words say where and never hold a value."""


class NotEncodable(ValueError):
    """The value cannot be written as the reference asks for."""

    def __init__(self, message: str, hint: str = "use |url or |base64, which take any byte") -> None:
        ValueError.__init__(self, message)
        self.hint = hint


def parse(text: bytes) -> "list[Part]":
    """Return the parts of *text*: literal bytes, and a pair of key and what is done to its value for each reference.

    That is nothing (""), an encoder, a member (`.user.name`), or both (`.user.name|url`).

    Raises:
        Malformed: a reference is not closed, has no key, or names an unknown encoder.
    """
    parts: list[Part] = []
    known: dict[bytes, tuple[str, str]] = {}
    at = searched = counted = 0
    line = 1
    while (opener := text.find(b"${", searched)) >= 0:
        dollars = opener
        while dollars > at and text[dollars - 1] == _DOLLAR:
            dollars -= 1
        if (opener - dollars) % 2:  # the one before it is written with it
            searched = opener + 2
            continue
        end = text.find(b"}", opener)
        line += text.count(b"\n", counted, opener)
        counted = opener
        if end < 0:
            raise Malformed(f"the ${{ in line {line} is not closed")
        if len(parts) > 2 * _MOST_REFERENCES:
            raise Malformed(f"there are more than {_MOST_REFERENCES} references")
        if opener > at:
            parts.append(text[at:opener].replace(b"$$", b"$"))
        inner = text[opener + 2 : end]
        if inner not in known:
            known[inner] = _reference(inner, line)
        parts.append(known[inner])
        at = searched = end + 1
    if at < len(text):
        parts.append(text[at:].replace(b"$$", b"$"))
    return parts


def _reference(inner: bytes, line: int) -> tuple[str, str]:
    key, bar, done = inner.decode("utf-8", "surrogateescape").partition("|")
    if not key or not key.replace("_", "a").isalnum() or not key.isascii() or key[0].isdigit():
        raise Malformed(f"the reference in line {line} names no key")
    path, more, encoder = done.partition("|") if done[:1] == "." else ("", bar, done)
    if path and not all(path[1:].split(".")):
        raise Malformed(f"the reference in line {line} names no member")
    if more and encoder not in ENCODERS:
        raise Malformed(f"${{{key}|…}} in line {line} names an unknown encoder; the encoders are {', '.join(ENCODERS)}")
    return key, done


def fill(
    parts: "list[Part]", value_of: "Callable[[str], bytes]", documents: "dict[bytes, Document | None] | None" = None
) -> bytes:
    """Return the text with every reference replaced by the encoded value that *value_of* gives for its key.

    Args:
        parts: of a template.
        value_of: gives the value of a key, the same one each time.
        documents: the values of which a member was picked before, by key; new ones are added.

    Raises:
        NotEncodable: naming key and encoder, never the value.
    """
    known = {} if documents is None else documents
    done: list[bytes] = []
    room = MAX_FILLED_BYTES
    for part in parts:
        if isinstance(part, bytes):
            done.append(part)
            room -= len(part)
            continue
        key, encoder = part
        value = value_of(key)
        if encoder[:1] == ".":
            path, _, encoder = encoder[1:].partition("|")
            value = _member(key, value, path, known)
        if encoder:
            try:
                value = ENCODERS[encoder](value)
            except ValueError:
                raise NotEncodable(f"{key} is not UTF-8 text, so |{encoder} cannot write it") from None
        done.append(value)
        room -= len(value)
        if room < 0:
            hint = "name large values once, or hand them over as files (@deliver=file)"
            raise NotEncodable(f"it would be longer than {MAX_FILLED_BYTES} bytes", hint)
    return b"".join(done)


def _member(key: str, value: bytes, path: str, documents: "dict[bytes, Document | None]") -> bytes:
    from shim.members import document_of

    name = key.encode("utf-8", "surrogateescape")
    if name not in documents:
        documents[name] = document_of(value)
    document = documents[name]
    if document is None:
        message = f"{key} is neither JSON nor lines of KEY=value, so it has no member {path}"
        raise NotEncodable(message, _MEMBERS_HINT)
    found = document.pick(path)
    if found is None:
        raise NotEncodable(f"{key} has no member {path}", _MEMBERS_HINT)
    return found


def url(value: bytes) -> bytes:
    """Return *value* percent-encoded, everything but RFC 3986's unreserved characters, so that it fits any part."""
    if _UNRESERVED.issuperset(value):
        return value
    if len(value) > _PIECE:
        return b"".join([url(value[start : start + _PIECE]) for start in range(0, len(value), _PIECE)])
    return b"".join(b"%c" % byte if byte in _UNRESERVED else b"%%%02X" % byte for byte in value)


def json(value: bytes) -> bytes:
    """Return *value* as a JSON string, its quotes included (RFC 8259); it must be UTF-8."""
    text = utf8_text(value)
    if text is None:
        raise ValueError("not UTF-8")
    pieces = [_json_inside(text[start : start + _PIECE]) for start in range(0, len(text), _PIECE)]
    return b'"' + b"".join(pieces) + b'"'


def _json_inside(text: str) -> bytes:
    done = []
    for character in text:
        if character in '"\\':
            done.append("\\" + character)
        elif character < " ":
            done.append(f"\\u{ord(character):04x}")
        else:
            done.append(character)
    return "".join(done).encode("utf-8")


def base64(value: bytes) -> bytes:
    """Return *value* in base64 (RFC 4648, 4), on one line."""
    from binascii import b2a_base64

    return b2a_base64(value, newline=False)


def sq(value: bytes) -> bytes:
    """Return *value* in the shell's single quotes, the quotes included."""
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


ENCODERS = {"url": url, "json": json, "base64": base64, "sq": sq}


def references(text: str) -> list[str]:
    """Return the keys that *text* refers to, in order; none when it is malformed."""
    try:
        parts = parse(text.encode("utf-8", "surrogateescape"))
    except Malformed:
        return []
    return [part[0] for part in parts if isinstance(part, tuple)]


def composed_value(text: str, value_of: "Callable[[str], bytes | None]") -> bytes | None:
    """Return what *text* makes of the values that *value_of* gives; None where one is missing, or cannot be written."""
    try:
        parts = parse(text.encode("utf-8", "surrogateescape"))
        values = {part[0]: value_of(part[0]) for part in parts if isinstance(part, tuple)}
        known = {key: value for key, value in values.items() if value is not None}
        return fill(parts, known.__getitem__) if len(values) == len(known) else None
    except (Malformed, NotEncodable):
        return None
