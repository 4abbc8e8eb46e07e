"""One value out of many: the member of a JSON document, the variable of a file with KEY=value lines.

What a store hands over for a whole login becomes single values here, without a shell. Text comes in, a value leaves.
Each document is read once and each byte of it a few times at most, however many members are asked for: a schema that
asks ten thousand times must not hold a start up.
"""

from shim import json_text
from shim.secret import is_key

_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
MAX_BYTES = 131_072  # of a document: stores take half of that
_MOST_LEVELS = 8  # the innards of a document are looked through once a level
_BLANK = b" \t\n\r\v\f"


class Document:
    """A text with many values in it."""

    def __init__(self, data: bytes) -> None:
        """Read *data*.

        Raises:
            ValueError: it is neither JSON nor lines of KEY=value, or too long.
        """
        if len(data) > MAX_BYTES:
            raise ValueError("too long")
        self._text = ""
        self._variables: dict[str, bytes] = {}
        self._picked: dict[str, bytes | None] = {}
        self._seen: dict[int, dict[str, int]] = {}  # where an object or array begins -> what is in it, and where
        if data.lstrip()[:1] in (b"{", b"["):
            self._text = json_text.checked(data.strip())
        else:
            self._variables = variables(data)

    def pick(self, path: str) -> bytes | None:
        """Return what is under *path*, names between dots in JSON, else a variable; None: it is not there.

        Where no member is found so, the last names are one that has dots itself, such as `tls.crt`.
        """
        if not self._text:
            return self._variables.get(path)
        if path not in self._picked:
            names = path.split(".", _MOST_LEVELS)
            found = json_text.member(self._text, names, self._seen) if len(names) <= _MOST_LEVELS else None
            for level in range(len(names) - 1):
                if found is None:
                    whole = [*names[:level], ".".join(names[level:])]
                    found = json_text.member(self._text, whole, self._seen)
            self._picked[path] = found
        return self._picked[path]


def document_of(data: bytes) -> Document | None:
    """Return *data* as a `Document`; None when it is none, so that nobody reads it again."""
    try:
        return Document(data)
    except ValueError:
        return None


def variables(data: bytes) -> dict[str, bytes]:
    """Return the variables of a dotenv file; of two lines for one the last counts, and nothing is expanded.

    A value in single quotes is taken as it is; in double quotes a backslash escapes; both may go over lines. Without
    quotes it ends at ` #`. Names may hold `.` and `-`.

    Raises:
        ValueError: a line is none.
    """
    found: dict[str, bytes] = {}
    text = data.replace(b"\r\n", b"\n")
    at = _after(text, 0, _BLANK)
    while at < len(text):
        if text[at] == 35:  # "#"
            at = _after(text, _line_end(text, at), _BLANK)
            continue
        name, equals_sign, _ = text[at : _line_end(text, at)].partition(b"=")
        equals = at + len(name)
        key = name.strip().removeprefix(b"export ").strip().decode("utf-8", "surrogateescape")
        if not equals_sign or not is_key(key.replace("-", "_").replace(".", "_")):
            raise ValueError("no KEY=value")
        at = _after(text, equals + 1, b" \t")
        if text[at : at + 1] in (b"'", b'"'):
            found[key], at = _quoted(text, at)
        else:
            end = _line_end(text, at)
            line = text[at:end]
            found[key] = b"" if line[:1] == b"#" else line.partition(b" #")[0].strip()
            at = end
        at = _after(text, at, _BLANK)
    return found


def _after(text: bytes, at: int, blanks: bytes) -> int:
    """Return the place of the first byte, from *at* on, that is not one of *blanks*."""
    end = len(text)
    while at < end and text[at] in blanks:
        at += 1
    return at


def _line_end(text: bytes, at: int) -> int:
    end = text.find(b"\n", at)
    return len(text) if end < 0 else end


def _quoted(text: bytes, start: int) -> tuple[bytes, int]:
    """Return the value in the quotes that open at *start*, and where its line ends."""
    quote, at, end = text[start : start + 1], start + 1, -1
    done: list[bytes] = []
    while True:
        if end < at:  # not looked for again after each escape
            end = text.find(quote, at)
        if end < 0:
            raise ValueError("an open quote")
        escape = text.find(b"\\", at, end) if quote == b'"' else -1
        if escape < 0:
            done.append(text[at:end])
            return b"".join(done), _line_end(text, end)
        follower = text[escape + 1 : escape + 2]
        done.append(text[at:escape])
        done.append(_ESCAPES.get(follower, follower if follower in (b'"', b"\\", b"$") else b"\\" + follower))
        at = escape + 2
