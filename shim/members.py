"""One value out of many: the member of a JSON document, the variable of a file with KEY=value lines.

What a store hands over for a whole login becomes single values here, without a shell. Text comes in, a value leaves.
"""

from shim.json_text import member
from shim.secret import is_key

_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def pick(data: bytes, path: str) -> bytes | None:
    """Return what *data* holds under *path*: names between dots in JSON, else a variable's name; None: it is not there.

    Raises:
        ValueError: it is neither JSON nor lines of KEY=value.
    """
    if data.lstrip()[:1] in (b"{", b"["):
        return member(data.strip(), path.split("."))
    return variables(data).get(path)


def variables(data: bytes) -> dict[str, bytes]:
    """Return the variables of a dotenv file; of two lines for one the last counts, and nothing is expanded.

    A value in single quotes is taken as it is; in double quotes a backslash escapes; both may go over lines. Without
    quotes it ends at ` #`.

    Raises:
        ValueError: a line is none.
    """
    found: dict[str, bytes] = {}
    rest = data.replace(b"\r\n", b"\n").lstrip()
    while rest:
        if rest[:1] == b"#":
            rest = rest.partition(b"\n")[2].lstrip()
            continue
        name, equals, rest = rest.partition(b"=")
        key = name.strip().removeprefix(b"export ").strip().decode("utf-8", "surrogateescape")
        if not equals or not is_key(key):
            raise ValueError("no KEY=value")
        rest = rest.lstrip(b" \t")
        if rest[:1] in (b"'", b'"'):
            found[key], rest = _quoted(rest)
        else:
            line, _, rest = rest.partition(b"\n")
            found[key] = b"" if line[:1] == b"#" else line.partition(b" #")[0].strip()
        rest = rest.lstrip()
    return found


def _quoted(text: bytes) -> tuple[bytes, bytes]:
    """Return the value in the quotes that *text* begins with, and what follows its line."""
    quote, at, done = text[:1], 1, b""
    while True:
        end = text.find(quote, at)
        escape = text.find(b"\\", at, end) if quote == b'"' else -1
        if end < 0:
            raise ValueError("an open quote")
        if escape < 0:
            return done + text[at:end], text[end + 1 :].partition(b"\n")[2]
        follower = text[escape + 1 : escape + 2]
        done += text[at:escape] + _ESCAPES.get(
            follower, follower if follower in (b'"', b"\\", b"$") else b"\\" + follower
        )
        at = escape + 2
