"""What is rare in a schema: longer decorators, misspelt ones, and values that other tools would evaluate."""

from shim.schema_text import split, unquoted
from shim.secret import is_key

_OCTAL = frozenset("01234567")


class Delivery:
    """How a file is delivered: who owns it, its mode, and the variable that has its path."""

    owner = ""
    mode = 0o400
    variable = ""

    def read(self, kind: str, inner: str) -> str:
        """Take what `@deliver=kind(inner)` says; return what is wrong with it, "" when nothing is."""
        if kind not in ("file", "memfd"):
            return f"@deliver={kind} takes nothing between parentheses"
        for part in split(inner):
            name, _, value = part.partition("=")
            name, value = name.strip(), unquoted(value)
            if name == "as" and is_key(value) and not value.startswith("SHIM_"):
                self.variable = value
            elif name == "as":
                return f"@deliver={kind}: as must be the name of a variable"
            elif kind == "memfd" or name not in ("owner", "mode"):
                return f"@deliver={kind} does not take {name!r}"
            elif name == "owner" and value:
                self.owner = value
            elif name == "owner":
                return "@deliver=file: owner must be a user, by name or as UID:GID"
            else:
                self.mode = _mode(value.removeprefix("0o"))
                if not self.mode & 0o400:
                    return "@deliver=file: mode must be octal, and let the owner read the file"
        return ""


def _mode(text: str) -> int:
    """Return the mode, or 0."""
    if not 0 < len(text) < 5 or not _OCTAL.issuperset(text):
        return 0
    return int(text, 8) if int(text, 8) <= 0o777 else 0


def evaluated(value: str) -> str:
    """Return the part of *value*, as it is written, that other tools of @env-spec evaluate; "" for plain text."""
    quote = value[0] if value[0] in '"`' else ""
    text = value[1:] if quote else value.partition(" #")[0].rstrip()
    if text == "undefined" and not quote:
        return text  # which means no value there
    name, parenthesis, _ = text.partition("(")
    if parenthesis and not quote and text.endswith(")") and name.replace("-", "_").isidentifier():
        return f"{name}(...)"
    at = text.find("$")
    while at >= 0:
        end = at + 1
        while end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        if text[at + 1 : at + 2] in ("{", "("):
            return "${...}" if text[at + 1] == "{" else "$(...)"
        if end > at + 1 and not text[at + 1].isdigit():
            return text[at:end]
        at = text.find("$", at + 1)
    return ""
