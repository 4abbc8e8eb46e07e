"""The small pieces of a schema's text: quotes, parentheses, and a type as it is written. schema.py reads the lines."""

# Decorators of @env-spec that mean nothing here (varlock's reference pages on root and item decorators).
FOREIGN = (
    " auditIgnore cacheTtl currentEnv deprecated disable disableProcessEnvInjection docs docsUrl encryptInjectedEnv "
    "envFlag example generateGoEnv generatePhpEnv generatePythonEnv generateRustEnv generateTsTypes generateTypes "
    "icon internal plugin preventLeaks redactLogs setValuesBulk tag tags "
)
OURS = (
    "composed deliver from generate literal only optional public required resolve rotate rotate-with sensitive "
    "services type"
)
TYPES = {
    "string": ("minLength", "maxLength", "startsWith", "endsWith", "matches"),
    "number": ("min", "max"),
    "boolean": (),
    "port": ("min", "max"),
    "url": (),
    "email": (),
    "enum": None,
    "bytes": None,
    "json": (),
    "jwt": ("signedBy", "role"),
    "pem": (),
}


MAX_PATTERN = 1_000  # characters of a regular expression; what needs more is a program


class Type:
    """A type as written: its name and what is between its parentheses."""

    def __init__(self, text: str, name: str, arguments: tuple[str, ...], options: dict[str, str]) -> None:
        self.text = text
        self.name = name
        self.arguments = arguments
        self.options = options
        is_raw = name == "bytes" and arguments[1:] == ("raw",) and is_count(arguments[0])
        self.raw_bytes = int(arguments[0]) if is_raw else 0


def read_type(text: str) -> Type | None:
    """Return the type that *text* names, with what is between its parentheses; None when there is none."""
    name, _, inner = text.partition("(")
    if name not in TYPES or (inner and not inner.endswith(")")):
        return None
    arguments: list[str] = []
    options: dict[str, str] = {}
    for part in split(inner[:-1]):
        option, equals, value = part.partition("=")
        if equals and option.isalnum() and name not in ("enum", "bytes"):
            options[option] = unquoted(value.strip())
        else:
            arguments.append(unquoted(part))
    return Type(text, name, tuple(arguments), options)


def type_mistake(made: Type) -> str:
    """Return what is wrong with a type as it is written, in words; "" when it is right."""
    allowed = TYPES[made.name]
    if made.name == "bytes":
        if not made.arguments or not is_count(made.arguments[0]):
            return "give a number, as in bytes(32, hex)"
        if made.arguments[1:] not in ((), ("hex",), ("base64",), ("raw",)):
            return "the encoding is hex, base64 or raw"
        return ""
    if made.name == "enum":
        return "" if made.arguments else "list the values, as in enum(dev, prod)"
    if made.arguments:
        return "its options have names, as in string(minLength=16)"
    for option, value in made.options.items():
        if option not in (allowed or ()):
            return f"there is no option {option}" + (f"; there are {', '.join(allowed)}" if allowed else "")
        if option in ("minLength", "maxLength") and not is_count(value):
            return f"{option} is a number of characters"
        if option in ("min", "max") and not _is_number(value):
            return f"{option} is a number"
        if option == "matches":
            if len(value) > MAX_PATTERN:
                return f"matches is longer than {MAX_PATTERN} characters"
            import re

            try:
                re.compile(value.encode("utf-8", "surrogateescape"))
            except (re.error, OverflowError, RecursionError) as error:
                return f"matches is not a regular expression: {error}"
    return ""


def is_count(text: str) -> bool:
    """Return whether *text* is a number of things."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def value_end(text: str, start: int) -> tuple[str, int]:
    """Return the decorator's value that begins at *start*, without its quotes, and where it ends; -1 if it does not."""
    if text[start : start + 1] in ("'", '"', "`"):
        end = closing_quote(text, start + 1, text[start])
        if end < 0:
            return "", -1
        inner = text[start + 1 : end]
        return (unescaped(inner) if text[start] == '"' else inner), end + 1
    end = _plain_end(text, start)
    if end >= 0:
        return text[start:end], end
    depth = 0
    at = start
    while at < len(text):
        character = text[at]
        if character in " \t" and not depth:
            break
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character in "'\"`" and depth:
            at = closing_quote(text, at + 1, character)
            if at < 0:
                return "", -1
        at += 1
    return (text[start:at], at) if depth <= 0 else ("", -1)


def _plain_end(text: str, start: int) -> int:
    """Return where a value ends that has no quotes and at most one pair of parentheses; -1 for any other."""
    value = text[start:].partition(" ")[0]
    after = ""
    if "(" in value:
        value, closing, after = text[start:].partition(")")
        if not closing or value.count("(") > 1:
            return -1
        value += closing
    elif ")" in value:
        return -1
    if "\t" in value or "'" in value or '"' in value or "`" in value or after[:1] not in ("", " "):
        return -1
    return start + len(value)


def closing_quote(text: str, start: int = 1, quote: str = "") -> int:
    """Return where *quote*, or that which opens *text*, closes from *start* on, or -1.

    A backslash protects one character in double quotes.
    """
    quote = quote or text[0]
    at = text.find(quote, start)
    while at >= 0 and quote == '"':
        before = at
        while before > start and text[before - 1] == "\\":
            before -= 1
        if (at - before) % 2 == 0:
            break
        at = text.find(quote, at + 1)
    return at


def unescaped(text: str) -> str:
    """Return what is between double quotes, with its backslashes resolved."""
    if "\\" not in text:
        return text
    done = ""
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\" and at + 1 < len(text):
            at += 1
            character = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}.get(text[at], "\\" + text[at])
        done += character
        at += 1
    return done


def unquoted(text: str) -> str:
    """Return *text* without blanks around it, and without the quotes."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`":
        return text[1:-1]
    return text


def dequoted(text: str) -> str:
    """Return what is between the quotes that open and close *text*, or *text* where it is not quoted as a whole."""
    if text[:1] not in ("'", '"', "`") or len(text) < 2 or closing_quote(text) != len(text) - 1:
        return text
    return unescaped(text[1:-1]) if text[0] == '"' else text[1:-1]


def split(text: str) -> list[str]:
    """Return the parts between commas; commas within quotes do not count."""
    if "'" not in text and '"' not in text and "`" not in text:
        return [part.strip() for part in text.split(",") if part.strip()]
    parts: list[str] = []
    part = ""
    quote = ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == ",":
            parts.append(part.strip())
            part = ""
            continue
        part += character
    parts.append(part.strip())
    return [part for part in parts if part]


def nearest(name: str, known: str) -> str:
    """Return the hint for a decorator *name* that is not one of the *known* ones."""
    from difflib import get_close_matches

    near = get_close_matches(name[:40], known.split(), 1, 0.6)
    return f"did you mean @{near[0]}?" if near else "the decorators are @" + known.replace(" ", ", @")
