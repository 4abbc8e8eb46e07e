"""How a value may be written down where it does not belong: as it is, escaped, encoded. For all who look for one."""

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_HEX = re.compile(r"%[0-9A-F]{2}")
# What some encoders leave as it is: encodeURIComponent, and those that only encode what a URL cannot hold.
_LEFT_ALONE = ("", "!*'()", "!$&'()*+,;=:@")


def forms(value: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield each form of *value*, the plain one first, with words for it that follow "holds the value"; none twice."""
    seen = {b""}
    for form, how in _all(value):
        if form not in seen:
            seen.add(form)
            yield form, how


def _all(value: bytes) -> Iterator[tuple[bytes, str]]:
    yield value, ""
    percent = {quote(value, safe=safe) for safe in _LEFT_ALONE} | {quote_plus(value)}
    for quoted in sorted(percent):
        yield quoted.encode(), ", percent-encoded"
        yield _HEX.sub(lambda match: match[0].lower(), quoted).encode(), ", percent-encoded"
    text = value.decode("utf-8", "surrogateescape")
    for escaped in sorted({json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}):
        yield escaped.encode("utf-8", "surrogateescape"), ", escaped"
        yield escaped.replace("/", "\\/").encode("utf-8", "surrogateescape"), ", escaped"
        # As Go, .NET and Rails escape what HTML could take for its own.
        careful = "".join(f"\\u{ord(c):04x}" if c in "<>&'+" else c for c in escaped)
        yield careful.encode("utf-8", "surrogateescape"), ", escaped"
        yield re.sub(r"\\u[0-9a-f]{4}", _upper, careful).encode("utf-8", "surrogateescape"), ", escaped"
    for entities in sorted(
        {html.escape(text), html.escape(text, quote=False), html.escape(text).replace("&#x27;", "&#39;")}
    ):
        yield entities.encode("utf-8", "surrogateescape"), ", escaped for HTML"
    yield value.replace(b"$", b"$$"), ", escaped for Compose"
    yield value.replace(b"'", b"''"), ", escaped"
    yield value.replace(b"'", b"'\\''"), ", escaped for a shell"
    yield value.hex().encode(), ", in hexadecimal"
    yield value.hex().upper().encode(), ", in hexadecimal"
    yield from _in_base64(value)


def _upper(match: "re.Match[str]") -> str:
    return "\\u" + match[0][2:].upper()


def _in_base64(value: bytes) -> Iterator[tuple[bytes, str]]:
    # Within a longer text, such as `user:password`, the value begins at any of the three places of a group.
    for skipped in range(3):
        coded = base64.b64encode(bytes(skipped) + value)
        start, rest = (0, 2, 3)[skipped], (skipped + len(value)) % 3
        form = coded[start : -4 if rest else None]
        yield form, ", in base64"
        yield form.translate(bytes.maketrans(b"+/", b"-_")), ", in base64"
