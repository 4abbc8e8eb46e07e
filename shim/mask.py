"""Which byte strings `--mask` looks for: every secret value, and what programs commonly make of one.

A value is found as it is, with `\\r\\n` line ends (a terminal's), line by line, as programs of several languages write
JSON, XML and HTML, percent-encoded, these two also twice, quoted by Python and by shells, in hexadecimal, and in base64
wherever it is in what was encoded.
"""

from binascii import b2a_base64

from shim.resolution import COMPOSED, FILE, ROOT
from shim.secret import utf8_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.plan import Plan
    from shim.resolution import Resolution, Resolved

# Shorter forms than these would hit unrelated text; the value itself is looked for however short it is.
_MIN_LINE_BYTES = 8
_MIN_ENCODED_BYTES = 4
_MIN_BASE64_BYTES = 6
_BASE64_LINES = (76, 64)  # base64(1) and MIME; PEM

# Who writes JSON how, besides what all must escape: which characters by number, too; only ASCII; in upper case.
_JSON_WRITERS = (
    ("", False, False),  # most
    ("", True, False),  # Python, PHP
    ("", True, True),
    ("<>&\u2028\u2029", False, False),  # Go, Rails
    ("<>&='\u2028\u2029", False, False),  # Gson
    ("<>&'\"+`", True, True),  # .NET
)
_LINE_ENDS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHORT_CONTROLS = {"\b": "\\b", "\f": "\\f"}
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
# What encoders leave as it is besides letters and digits: RFC 3986, Python's quote(), JavaScript's encodeURIComponent()
# and encodeURI(), HTML forms.
_ALSO_PLAIN = (b"~", b"~/", b"~!'()*", b"~!'()*;,/?:@&=+$#", b"*")


def patterns(plan: "Plan") -> list[bytes]:
    """Return what to look for in a service's output: all forms of all of its secret values."""
    found: dict[bytes, None] = {}
    for key, resolved in plan.resolution.secrets.items():
        if _is_secret(key, resolved, plan.resolution):
            found.update(dict.fromkeys(forms(resolved.secret.reveal())))
    found.pop(b"", None)
    return list(found)


def _is_secret(key: str, resolved: "Resolved", resolution: "Resolution") -> bool:
    """Return whether the value is to be hidden; a schema's `LOG_LEVEL=info` is not, a file in a secrets root is."""
    spec = resolution.schema.keys.get(key) if resolution.schema is not None else None
    if spec is None or spec.is_sensitive:
        return True
    return spec.sensitive is None and resolved.origin in (FILE, ROOT, COMPOSED)


def forms(value: bytes) -> "Iterator[bytes]":
    """Yield *value* and what it looks like after a usual encoding; some of them more than once."""
    yield value
    lines = value.splitlines()
    if len(lines) > 1:
        yield b"\r\n".join(value.split(b"\n"))
        yield from (line for line in lines if len(line) >= _MIN_LINE_BYTES)
    yield from _json_forms(value)
    yield from _markup_forms(value)
    for plain in _ALSO_PLAIN:
        for encoded in percent_encoded(value, plain):
            yield encoded
            yield encoded.replace(b"%", b"%25")  # in the query of a URL that is in a URL
    yield from _quoted_forms(value)
    yield from base64_forms(value)


def _json_forms(value: bytes) -> "Iterator[bytes]":
    text = utf8_text(value)
    if text is None:
        return  # it is not text: JSON cannot carry it either
    for also, is_ascii, is_upper in _JSON_WRITERS:
        for slash in ("/", "\\/"):
            for controls in (_SHORT_CONTROLS, {}):
                once = _json(text, also, is_ascii, is_upper, {"/": slash, **controls})
                yield once.encode("utf-8")
                yield _json(once, also, is_ascii, is_upper, {"/": slash, **controls}).encode("utf-8")  # a log of JSON


def _quoted_forms(value: bytes) -> "Iterator[bytes]":
    """Yield *value* as a traceback of Python shows it, as text and as bytes; as `set -x` does; and in hexadecimal."""
    text = utf8_text(value)
    if text is not None:
        yield repr(text)[1:-1].encode("utf-8")
    yield repr(value)[2:-1].encode("ascii")
    yield value.replace(b"'", b"'\\''")
    if len(value) >= _MIN_ENCODED_BYTES:
        digits = value.hex().encode("ascii")
        yield digits
        yield digits.upper()


def _json(text: str, also: str, is_ascii: bool, is_upper: bool, spelled: dict[str, str]) -> str:
    """Return *text* as JSON writes it between its quotes."""
    done = []
    for character in text:
        if character in also or (is_ascii and character > "~"):
            done.append(_numbered(ord(character), is_upper))
        elif character in spelled:
            done.append(spelled[character])
        elif character in '"\\':
            done.append("\\" + character)
        elif character < " ":
            done.append(_LINE_ENDS.get(character) or _numbered(ord(character), is_upper))
        else:
            done.append(character)
    return "".join(done)


def _numbered(code: int, is_upper: bool) -> str:
    if code >= 0x10000:
        code -= 0x10000  # as UTF-16 writes it: RFC 8259, 7
        return _numbered(0xD800 | code >> 10, is_upper) + _numbered(0xDC00 | code & 0x3FF, is_upper)
    return f"\\u{code:04X}" if is_upper else f"\\u{code:04x}"


def _markup_forms(value: bytes) -> "Iterator[bytes]":
    """Yield *value* as XML and HTML write it, in text and in attributes, with each of the usual quotes."""
    if not any(letter in value for letter in b"&<>\"'"):
        return
    for quote in (b'"', b"&quot;", b"&#34;"):
        for apostrophe in (b"'", b"&apos;", b"&#39;", b"&#x27;", b"&#039;"):
            for greater in (b">", b"&gt;"):
                yield (
                    value.replace(b"&", b"&amp;")
                    .replace(b"<", b"&lt;")
                    .replace(b">", greater)
                    .replace(b'"', quote)
                    .replace(b"'", apostrophe)
                )


def percent_encoded(value: bytes, plain: bytes) -> "Iterator[bytes]":
    """Yield *value* percent-encoded but for letters, digits and *plain*: upper and lower case, with `+` for a blank."""
    kept = _LETTERS.union(plain)
    for form in (b"%%%02X", b"%%%02x"):
        encoded = b"".join(b"%c" % byte if byte in kept else form % byte for byte in value)
        yield encoded
        yield encoded.replace(b"%20", b"+")


def base64_forms(value: bytes) -> "Iterator[bytes]":
    """Yield the forms of *value* in base64: alone, before a line end, or anywhere in a longer text."""
    if len(value) < _MIN_ENCODED_BYTES:
        return
    for text in (value, value + b"\n"):
        whole = b2a_base64(text, newline=False)
        for form in (whole, whole.rstrip(b"=")):
            if len(form) >= _MIN_BASE64_BYTES:
                yield form
                yield _for_urls(form)
        for width in _BASE64_LINES:
            if len(whole) > width:
                for end in (b"\n", b"\r\n"):
                    yield end.join([whole[start : start + width] for start in range(0, len(whole), width)])
    for offset in range(3):
        # Only letters that no neighbour has a share in: what is encoded before and behind is not known.
        encoded = b2a_base64(bytes(offset) + value + bytes(2), newline=False)
        inner = encoded[(offset * 8 + 5) // 6 : (offset + len(value)) * 8 // 6]
        if len(inner) >= _MIN_BASE64_BYTES:
            yield inner
            yield _for_urls(inner)


def _for_urls(text: bytes) -> bytes:
    return text.replace(b"+", b"-").replace(b"/", b"_")  # RFC 4648, 5
