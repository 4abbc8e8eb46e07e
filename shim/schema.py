"""`.env.schema`: what a service needs. Text comes in, a `Schema` leaves; nothing is looked up, no value is read.

The file is in the published @env-spec comment style, so editors colour it and every dotenv reader can read it. All
mistakes are reported at once, each with its line. Shared by the container and the host.
"""

from shim import schema_text
from shim.errors import Breach, Refused
from shim.schema_text import TYPES as TYPES
from shim.schema_text import Type
from shim.secret import is_key, is_protected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DELIVERIES = ("env", "file", "memfd", "none")

# A schema is a page that somebody wrote. What is far beyond that would cost time and memory, and helps nobody.
MAX_SCHEMA_BYTES = 262_144
_MAX_LINE, _MOST_KEYS, _MOST_MISTAKES = 16_384, 4_096, 100


class KeySpec:
    """What the schema says of one key."""

    is_required = False
    sensitive: bool | None = None
    type: Type | None = None
    default: bytes | None = None
    composed: str | None = None
    services: tuple[str, ...] = ()
    rotate: str | None = None
    rotate_with: str | None = None
    generate: str | None = None
    from_file = ""  # the file of a root that holds the value among others, and under which name
    from_member = ""
    from_command = ""  # the program that prints the value, for manage-secrets on the host; nothing here runs it
    resolves = False  # a file: URL in the environment is replaced by the content of the file
    deliver = "env"
    deliver_owner = ""  # whose the file is; the service's user when empty
    deliver_mode = 0o400
    deliver_as = ""  # the variable that gets its path; KEY_FILE when empty
    literal = False  # the value is what it is, whatever it looks like
    description: tuple[str, ...] = ()

    def __init__(self, key: str, line: int = 0) -> None:
        self.key = key
        self.line = line

    @property
    def is_sensitive(self) -> bool:
        """Return whether the value is a secret: it is said to be one, or generated, fetched, or a signed token."""
        if self.sensitive is not None:
            return self.sensitive
        if self.generate is not None or self.from_command:
            return True
        return self.type is not None and self.type.name in ("jwt", "bytes")

    @property
    def is_derived(self) -> bool:
        """Return whether the value is composed of others, or is part of one, so that it has no file of its own."""
        return self.composed is not None or bool(self.from_file)

    @property
    def raw_bytes(self) -> int:
        """Return the length of a value that is binary, `bytes(N, raw)`; else 0."""
        if self.type is not None and self.type.name == "bytes" and self.type.arguments[1:] == ("raw",):
            return int(self.type.arguments[0])
        return 0


class Schema:
    """The keys a service needs, in the order of the file."""

    def __init__(self, source: str = "") -> None:
        self.source = source
        self.keys: dict[str, KeySpec] = {}
        self.is_exclusive = False  # @only: only these keys leave the secrets roots
        self.bundles: set[str] = set()  # names of files that hold many values (@from)
        self.delivers_files = False  # some value may become a file or a memory file

    def for_service(self, service: str) -> "Schema":
        """Return the part of this schema that concerns *service*; keys that name no services concern all."""
        part = Schema(self.source)
        part.is_exclusive = self.is_exclusive
        part.bundles = self.bundles
        part.delivers_files = self.delivers_files
        part.keys = {key: spec for key, spec in self.keys.items() if not spec.services or service in spec.services}
        return part


def parse(text: bytes, source: str = ".env.schema") -> Schema:
    """Return the `Schema` that *text* describes.

    Args:
        text: the file's bytes, UTF-8, with or without a byte order mark.
        source: the path that messages name.

    Raises:
        Refused: with one `Breach` a mistake, each naming *source* and the line.
    """
    if len(text) > MAX_SCHEMA_BYTES:
        message = f"the schema {source} is not a file of at most {MAX_SCHEMA_BYTES} bytes"
        raise Refused([Breach("", message, "name the file itself with --schema (SHIM_SCHEMA)")])
    reading = _Reading(source)
    reading.read(text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
    if reading.breaches:
        raise Refused(reading.breaches)
    return reading.schema


def check_value(spec: KeySpec, value: bytes) -> str:
    """Return what is wrong with *value* by what *spec* asks for, as words that follow the key; "" when it is right."""
    if spec.type is None and value and not spec.is_sensitive:
        return ""
    from shim import checks

    return checks.check_value(value, spec.type, spec.is_required, spec.is_sensitive)


class _Reading:
    """One pass over the lines: decorators gather until a key takes them or an empty line drops them."""

    def __init__(self, source: str) -> None:
        self.schema = Schema(source)
        self.breaches: list[Breach] = []
        self.types: dict[str, Type] = {}
        self.default_required = False
        self.default_sensitive: bool | None = None

    def wrong(self, line: int, message: str, hint: str = "") -> None:
        self.breaches.append(Breach("", f"{self.schema.source}:{line}: {message}", hint))
        if len(self.breaches) == _MOST_MISTAKES:
            raise Refused(self.breaches)  # it is not a schema at all

    def read(self, text: str) -> None:
        lines = text.split("\n")
        decorators: list[tuple[int, str, str]] = []
        description: list[str] = []
        number = 0
        while number < len(lines):
            line = lines[number].strip()
            number += 1
            if len(line) > _MAX_LINE:
                self.wrong(number, f"the line is longer than {_MAX_LINE} characters", "put the value into a file")
            elif not line:
                decorators = []
                description = []
            elif line[0] == "#":
                comment = line[1:].lstrip().removeprefix("shim:").lstrip()  # which hides ours from other tools
                if comment[:1] == "@":
                    decorators += self.scan(comment, number)
                elif comment and not comment.strip("-="):
                    decorators = []  # a divider ends the header
                    description = []
                else:
                    description.append(comment)
            else:
                number = self.item(lines, number, decorators, description)
                decorators = []
                description = []
        self.inherit()

    def inherit(self) -> None:
        """A value composed from a secret is a secret, and so are the values it does not say anything about."""
        for spec in self.schema.keys.values():
            if spec.sensitive is None and spec.composed is not None:
                parts = (self.schema.keys.get(key) for key in references(spec.composed))
                if any(part is not None and part.is_sensitive for part in parts):
                    spec.sensitive = True

    def scan(self, comment: str, line: int) -> list[tuple[int, str, str]]:
        """Return the decorators of one comment line; those of the whole file take effect at once."""
        found: list[tuple[int, str, str]] = []
        while comment[:1] == "@":
            name = comment[1:].partition(" ")[0].partition("=")[0].partition("(")[0]
            end = 1 + len(name)
            if not name.isalnum():
                end = 1
                while end < len(comment) and (comment[end].isalnum() or comment[end] in "-_"):
                    end += 1
                name = comment[1:end]
            value = ""
            if comment[end : end + 1] == "=":
                value, end = schema_text.value_end(comment, end + 1)
            elif comment[end : end + 1] == "(":
                value, end = schema_text.value_end(comment, end)
            if end < 0:
                self.wrong(line, f"@{name}: a quote or a parenthesis is not closed", "close it on the same line")
                break
            comment = comment[end:].lstrip(" \t,")
            if f" {name} " not in schema_text.FOREIGN and not self.root_decorator(name, value, line):
                found.append((line, name, value))
        return found

    def root_decorator(self, name: str, value: str, line: int) -> bool:
        if name == "only":
            self.schema.is_exclusive = self.truth(name, value, line)
        elif name == "defaultRequired":
            self.default_required = value == "true" or value == ""
        elif name == "defaultSensitive":
            self.default_sensitive = self.truth(name, value, line)
        elif name == "import":
            self.wrong(line, "@import is not supported: a schema is one file here", "copy the keys into this one")
        else:
            return False
        return True

    def item(self, lines: list[str], number: int, decorators: list[tuple[int, str, str]], words: list[str]) -> int:
        """Take the assignment that ends at line *number*; return the number of the last line that belongs to it."""
        line = number
        text = lines[number - 1].strip()
        if text.startswith("export "):
            text = text[7:].lstrip()
        name, equals, rest = text.partition("=")
        key = name.strip()
        if not equals or not is_key(key):
            self.wrong(line, "this is neither a comment nor KEY=", "write KEY= or KEY=default, with KEY of A-Z, 0-9, _")
            return number
        if key.startswith("SHIM_"):
            self.wrong(line, f"{key}: names that begin with SHIM_ are the shim's own", "give it another name")
            return number
        if len(self.schema.keys) == _MOST_KEYS:
            self.wrong(line, f"there are more than {_MOST_KEYS} keys", "give each service a schema of its own")
            raise Refused(self.breaches)
        if key in self.schema.keys:
            self.wrong(line, f"{key} is listed twice", f"it is first listed on line {self.schema.keys[key].line}")
            return number
        spec = KeySpec(key, line)
        spec.is_required = self.default_required
        spec.sensitive = self.default_sensitive
        if words:
            spec.description = tuple(words)
        value = rest.strip()
        if value:
            number = self.default(spec, value, lines, number)
        for at, decorator, argument in decorators:
            self.apply(spec, decorator, argument, at)
        if spec.default is not None and value[0] != "'" and (b"$" in spec.default or spec.default[-1:] == b")"):
            self.refuse_evaluated(spec, value)
        if (spec.default is not None or spec.composed is not None) and is_protected(key):
            self.wrong(
                line,
                f"{key} changes what programs load, run and trust: a schema cannot set it",
                f"write {key}= alone, and set it in the image (ENV) or in the service's environment",
            )
        self.schema.keys[key] = spec
        return number

    def default(self, spec: KeySpec, value: str, lines: list[str], number: int) -> int:
        """Set the default that is right of `=`, with the decorators behind it; quoted ones may span lines."""
        quote = value[0]
        if quote in "'\"`":
            start = number
            parts = [value]
            end = schema_text.closing_quote(value)
            while end < 0 and number < len(lines):
                end = schema_text.closing_quote(lines[number], 0, quote)
                parts.append(lines[number])
                number += 1
            if end < 0:
                self.wrong(start, f"{spec.key}: the quote is not closed", "close it, or drop it")
                return start
            parts[0] = parts[0][1:]
            if len(parts) == 1:
                end -= 1
            rest = parts[-1][end + 1 :].strip()
            parts[-1] = parts[-1][:end]
            text = "\n".join(parts)
            if quote == '"':
                text = schema_text.unescaped(text)
        elif quote == "#":
            text, rest = "", value
        else:
            text, _, rest = value.partition(" #")
            text, rest = text.rstrip(), "#" + rest
        comment = rest[1:].lstrip() if rest.startswith("#") else ""
        if comment.startswith("@"):
            for at, decorator, argument in self.scan(comment, number):
                self.apply(spec, decorator, argument, at)
        if text:
            spec.default = text.encode("utf-8", "surrogateescape")
        return number

    def refuse_evaluated(self, spec: KeySpec, value: str) -> None:
        """Refuse a default that other tools of @env-spec would evaluate, unless a decorator says where ours is from."""
        from shim.schema_values import evaluated

        if not (form := evaluated(value)):
            return
        if spec.is_derived or spec.from_command:
            spec.default = None
        else:
            hint = f"write @composed or @from above {spec.key}=, or put the value in single quotes if it is plain text"
            self.wrong(spec.line, f"{spec.key}: the shim does not evaluate {form}", hint)

    def truth(self, name: str, value: str, line: int) -> bool:
        if value in ("", "true"):
            return True
        if value != "false":
            self.wrong(line, f"@{name} must be true or false", f"write @{name} or @{name}=false")
        return False

    def apply(self, spec: KeySpec, name: str, value: str, line: int) -> None:
        if name == "required":
            spec.is_required = self.truth(name, value, line)
        elif name == "sensitive":
            spec.sensitive = self.truth(name, value, line)
        elif name == "type":
            spec.type = self.types.get(value) or self.type(value, line)
        elif name == "services":
            spec.services = tuple(part.strip() for part in value.strip("()[]").split(",") if part.strip())
        elif name == "optional":
            spec.is_required = not self.truth(name, value, line)
        elif name == "public":
            spec.sensitive = not self.truth(name, value, line)
        elif name == "composed":
            self.compose(spec, value, line)
        elif name == "from":
            self.take_from(spec, value, line)
        elif name == "resolve":
            spec.resolves = self.truth(name, value, line)
        elif name == "rotate":
            if not (schema_text.is_count(value[:-1]) and value[-1] in "hdwmy"):
                self.wrong(line, "@rotate takes a number and a unit", "h, d, w, m or y, as in @rotate=90d")
            spec.rotate = value
        elif name in ("rotate-with", "rotateWith"):
            spec.rotate_with = value
        elif name == "generate":
            spec.generate = value.strip("()")
        elif name == "literal":
            spec.literal = self.truth(name, value, line)
        elif name == "deliver":
            self.deliver(spec, value, line)
        else:
            self.wrong(line, f"there is no decorator @{name}", schema_text.nearest(name, schema_text.OURS))

    def deliver(self, spec: KeySpec, value: str, line: int) -> None:
        kind, parenthesis, inner = value.partition("(")
        if kind not in DELIVERIES:
            self.wrong(line, "@deliver takes env, file, memfd or none", "write @deliver=file for large values")
            return
        spec.deliver = kind
        self.schema.delivers_files = self.schema.delivers_files or kind in ("file", "memfd")
        if parenthesis:
            from shim.schema_values import Delivery

            delivery = Delivery()
            mistake = delivery.read(kind, inner[:-1])
            spec.deliver_owner, spec.deliver_mode, spec.deliver_as = delivery.owner, delivery.mode, delivery.variable
            if mistake:
                self.wrong(line, mistake, "write file(owner=USER, mode=0400, as=VARIABLE) or memfd(as=VARIABLE)")

    def take_from(self, spec: KeySpec, value: str, line: int) -> None:
        file, parenthesis, member = value.partition("(")
        if not parenthesis or not file or "/" in file or not member[:-1].strip():
            message = "@from takes the name of a file in a secrets root, and one of its members"
            self.wrong(line, message, "as in @from=db.json(username), or @from=command(PROGRAM ARGUMENTS) for the host")
            return
        if file == "command":
            spec.from_command = schema_text.dequoted(member[:-1].strip())
            return
        spec.from_file, spec.from_member = file, schema_text.unquoted(member[:-1])
        self.schema.bundles.add(file)

    def compose(self, spec: KeySpec, value: str, line: int) -> None:
        from shim import template

        spec.composed = value
        try:
            template.parse(value.encode("utf-8", "surrogateescape"))
        except template.Malformed as error:
            self.wrong(line, f"{spec.key}: @composed: {error}", "write ${KEY} or ${KEY|url}, and $$ for a dollar")

    def type(self, text: str, line: int) -> Type | None:
        name = text.partition("(")[0]
        made = schema_text.read_type(text)
        if made is None:
            self.wrong(line, f"there is no type {name}", "the types are " + ", ".join(TYPES))
            return None
        mistake = schema_text.type_mistake(made)
        if mistake:
            self.wrong(line, f"@type={name}: {mistake}")
        self.types[text] = made
        return made


def references(text: str) -> list[str]:
    """Return the keys that a composed value refers to, in order; none when it is malformed (`parse` reports that)."""
    from shim import template

    return template.references(text)


def composed_value(spec: KeySpec, value_of: "Callable[[str], bytes | None]") -> bytes | None:
    """Return what @composed of *spec* makes of the values that *value_of* gives; None where a part has none."""
    from shim import template

    return None if spec.composed is None else template.composed_value(spec.composed, value_of)
