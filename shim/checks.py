"""What a value must be: the schema's types, and placeholders. Every answer says what is wrong, never what the value is.

Shared by the container and the host. Hand-written, because a regular expression costs more than the whole start; only
`matches=` loads one.
"""

from shim import files
from shim.secret import utf8_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.schema_text import Type

_MAX_MATCHED_BYTES = 65_536
_MAX_MATCH_SECONDS = 1.0
_NEXT_START_SECONDS = 10.0  # whoever resolves again, later, gets the full time again
_match_started, _match_seconds = -_NEXT_START_SECONDS, 0.0
_MAX_NUMBER = 400  # digits of the largest float, and some
# What a value may hold: nothing is left when it is stripped of that. A set would be built at every start.
_HEX = b"0123456789abcdefABCDEF"
_SIX_BITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # RFC 4648, 4
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_LABEL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
_SCHEME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-."
_UNSEEN = (
    b"\0\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
    b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f \x7f"
)
# How the header of a token begins, in base64url: {"alg", and {"typ":"JWT","alg".
_TOKENS = (b"eyJhbGci", b"eyJ0eXAiOiJKV1QiLCJhbGci")
_BOOLEANS = (b"true", b"false", b"1", b"0", b"yes", b"no", b"on", b"off")
_PLACEHOLDERS = (
    b" changeme change-me change_me change-this change_this changethis replaceme replace-me replace_me placeholder "
    b"todo tbd fixme example redacted secret-here password-here null none undefined [redacted] [hidden] [masked] "
)
_LONGEST_PLACEHOLDER = 13
_OF_PROGRAMS = (b"[object object]", b"(sensitive value)")  # what JavaScript and Terraform show in a value's place


def check_value(value: bytes, kind: "Type | None", is_required: bool, is_sensitive: bool) -> str:
    """Return what is wrong with *value*, as words that follow the key; "" when it is right.

    An empty value of a key that is not required is right: nothing was given.
    """
    if not value:
        return "is required, and is empty" if is_required else ""
    if is_sensitive and is_placeholder(value):
        return "still holds a placeholder"
    return "" if kind is None else _CHECKS[kind.name](value, kind)


def is_placeholder(value: bytes) -> bool:
    """Return whether *value* is what an example or a log holds: `changeme`, `your-…-here`, `xxx`, `<…>`, `***`."""
    if len(value) > 200:
        return False
    text = value.strip().lower()
    if len(text) <= _LONGEST_PLACEHOLDER and b" " + text + b" " in _PLACEHOLDERS and b" " not in text:
        return bool(text)
    if text[:1] in (b"x", b"*"):
        return len(text) > 2 and not text.strip(text[:1])
    if text[:1] == b"<":
        return text.endswith(b">")
    if text.startswith((b"replace-with-", b"replace_with_")) or text in _OF_PROGRAMS:
        return True
    return text.startswith((b"your-", b"your_", b"your ", b"insert-", b"insert_")) and text.endswith(b"here")


def _string(value: bytes, kind: "Type") -> str:
    options = kind.options
    if not options:
        return ""
    text = utf8_text(value)
    length = len(value if text is None else text)
    if length < int(options.get("minLength", 0)):
        return f"is shorter than {options['minLength']} characters"
    if "maxLength" in options and length > int(options["maxLength"]):
        return f"is longer than {options['maxLength']} characters"
    if not value.startswith(options.get("startsWith", "").encode("utf-8", "surrogateescape")):
        return f"does not start with {options['startsWith']}"
    if not value.endswith(options.get("endsWith", "").encode("utf-8", "surrogateescape")):
        return f"does not end with {options['endsWith']}"
    if "matches" in options:
        return _matched(options["matches"].encode("utf-8", "surrogateescape"), value)
    return ""


def _matched(pattern: bytes, value: bytes) -> str:
    """Try the schema's pattern; all patterns of a start together get a second."""
    if len(value) > _MAX_MATCHED_BYTES:
        return f"is longer than the {_MAX_MATCHED_BYTES} bytes that a pattern can be tried on"
    import re
    from time import monotonic

    from shim.deadline import TooLong, within

    global _match_started, _match_seconds
    now = monotonic()
    if now - _match_started > _NEXT_START_SECONDS:
        _match_started, _match_seconds = now, _MAX_MATCH_SECONDS
    try:
        if _match_seconds <= 0:
            raise TooLong
        # Not `search`: at each start it counts from zero to the next look for a signal, and may never look.
        match = re.compile(pattern).match
        found = within(_match_seconds, lambda: any(match(value, start) for start in range(len(value) + 1)))
    except TooLong:
        _match_seconds = 0.0
        return "cannot be matched in time: the schema's pattern is too complex"
    _match_seconds -= monotonic() - now
    return "" if found else "does not match the schema's pattern"


def _number(value: bytes, kind: "Type") -> str:
    if value.strip() != value or b"_" in value or len(value) > _MAX_NUMBER:
        return "is not a number"
    try:
        number = float(value)
    except ValueError:
        return "is not a number"
    if number - number != 0:  # no number, or infinite
        return "is not a number"
    return _within(number, kind)


def _within(number: float, kind: "Type") -> str:
    if "min" in kind.options and number < float(kind.options["min"]):
        return f"is below {kind.options['min']}"
    if "max" in kind.options and number > float(kind.options["max"]):
        return f"is above {kind.options['max']}"
    return ""


def _boolean(value: bytes, _kind: "Type") -> str:
    return "" if value.lower() in _BOOLEANS else "is not a boolean (true, false, 1, 0, yes, no, on, off)"


def _port(value: bytes, kind: "Type") -> str:
    if not value.isdigit() or len(value) > 5 or not 0 < int(value) < 65536:
        return "is not a port (1 to 65535)"
    return _within(int(value), kind)


def _url(value: bytes, _kind: "Type") -> str:
    scheme, colon, rest = value.partition(b"://")
    good = (
        colon
        and scheme[:1].isalpha()
        and not scheme.strip(_SCHEME)
        and rest
        and not rest.startswith((b"?", b"#"))
        and value.translate(None, _UNSEEN) == value
    )
    # A file or socket URL has no host, postgresql:///app neither; everything else that starts with / has lost its own.
    if good and rest.startswith(b"/") and scheme.lower() in (b"http", b"https", b"ws", b"wss", b"redis", b"amqp"):
        good = False
    return "" if good else "is not a URL"


def _email(value: bytes, _kind: "Type") -> str:
    local, at, domain = value.rpartition(b"@")
    good = (
        at
        and local
        and b"@" not in local
        and b"." in domain
        and not domain.strip(_LABEL)
        and b".." not in domain
        and domain[:1] not in (b".", b"-")
        and domain[-1:] not in (b".", b"-")
        and local.translate(None, _UNSEEN) == local
    )
    return "" if good else "is not an email address"


def _enum(value: bytes, kind: "Type") -> str:
    if value.decode("utf-8", "surrogateescape") in kind.arguments:
        return ""
    return "is not one of " + ", ".join(kind.arguments)


def _bytes(value: bytes, kind: "Type") -> str:
    wanted = int(kind.arguments[0])
    encoding = kind.arguments[1] if len(kind.arguments) > 1 else "raw"
    if encoding == "hex":
        if value.strip(_HEX) or len(value) % 2:
            return "is not hexadecimal"
        found = len(value) // 2
    elif encoding == "base64":
        bare = value.rstrip(b"=")
        if bare.strip(_BASE64) or len(bare) % 4 == 1 or len(value) - len(bare) > 2:
            return "is not base64"
        found = len(bare) * 3 // 4
    else:
        found = len(value)
    return "" if found == wanted else f"is {found} bytes, not {wanted}"


def _json(value: bytes, _kind: "Type") -> str:
    if files.is_ordinary_json(value):
        return ""
    from shim.json_text import is_json

    return "" if is_json(value) else "is not JSON"


def _jwt(value: bytes, _kind: "Type") -> str:
    parts = value.split(b".")
    if len(parts) != 3 or not parts[0] or not parts[1] or b"".join(parts).strip(_BASE64):
        return "is not a JSON web token (three base64url parts)"
    if len(parts[0]) % 4 == 1 or len(parts[0]) > _MAX_MATCHED_BYTES:
        return "is not a JSON web token (three base64url parts)"
    if value.startswith(_TOKENS):
        return ""
    header = _from_base64(parts[0])
    return "" if header.startswith(b"{") and b'"alg"' in header else "is not a JSON web token (its header names no alg)"


def _from_base64(text: bytes) -> bytes:
    """Return the bytes of *text*, base64 or base64url without padding; binascii would bring importlib along."""
    size = len(text) * 6 // 8
    digits = (text + b"AAA").translate(bytes.maketrans(_SIX_BITS + b"-_", bytes((*range(64), 62, 63))))
    done = []
    for at in range(0, len(text), 4):
        first, second, third, fourth = digits[at : at + 4]
        done.append((first << 18 | second << 12 | third << 6 | fourth).to_bytes(3, "big"))
    return b"".join(done)[:size]


def _pem(value: bytes, _kind: "Type") -> str:
    lines = value.strip().splitlines()
    if len(lines) == 1 and b"-----BEGIN " in value and b"\\n" in value:
        return "is PEM with \\n instead of line ends"
    if not lines or not lines[0].startswith(b"-----BEGIN ") or not lines[0].endswith(b"-----"):
        return "is not PEM (it does not start with -----BEGIN)"
    label = lines[0][11:-5]
    if not any(line == b"-----END " + label + b"-----" for line in lines[1:]):
        return "is truncated PEM (there is no -----END line)"
    return ""


_CHECKS: "dict[str, Callable[[bytes, Type], str]]" = {
    "string": _string,
    "number": _number,
    "boolean": _boolean,
    "port": _port,
    "url": _url,
    "email": _email,
    "enum": _enum,
    "bytes": _bytes,
    "json": _json,
    "jwt": _jwt,
    "pem": _pem,
}
