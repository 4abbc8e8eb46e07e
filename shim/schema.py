"""`.env.schema`: what a service needs. Text comes in, a `Schema` leaves; nothing is looked up, no value is read.

The file is in the published @env-spec comment style, so editors colour it and every dotenv reader can read it. All
mistakes are reported at once, each with its line. Shared by the container and the host.
"""

from shim import checks, errors, files, schema_text
from shim.schema_text import TYPES as TYPES
from shim.schema_text import Type
from shim.secret import clean, is_protected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Decorator = tuple[int, str, str]  # line, name, value; one named "@" is a comment that is yet to be taken apart
    Block = tuple[Any, ...]  # what _take takes

DELIVERIES = ("env", "file", "memfd", "none")

# A schema is a page that somebody wrote. What is far beyond that would cost time and memory, and helps nobody.
MAX_SCHEMA_BYTES = 262_144
_MOST_KEYS, _MOST_MISTAKES = 4_096, 100

# The decorators of a key, the usual ones first.
_PLAIN = (
    *("required", "type", "sensitive", "services", "composed", "rotate", "generate", "deliver", "optional", "public"),
    *("literal", "from", "resolve", "rotate-with", "rotateWith"),
)


class KeySpec:
    """What the schema says of one key."""

    is_required = False
    sensitive: bool | None = None
    type: Type | None = None
    raw_bytes = 0  # the length of a value that is binary, `bytes(N, raw)`
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
        text: the bytes of the file, UTF-8 or what Windows PowerShell writes: UTF-16 with a byte order mark.
        source: the path that messages name.

    Raises:
        Refused: with one `Breach` a mistake, each naming *source* and the line.
    """
    if len(text) > MAX_SCHEMA_BYTES:
        message = f"the schema {source} is not a file of at most {MAX_SCHEMA_BYTES} bytes"
        raise errors.Refused([errors.Breach("", message, "name the file itself with --schema (SHIM_SCHEMA)")])
    reading = _Reading(source)
    reading.read(clean(text) if text[:1] >= b"\xef" else text)
    if reading.mistakes:
        raise reading.refused()
    return reading.schema


def check_value(spec: KeySpec, value: bytes) -> str:
    """Return what is wrong with *value* by what *spec* asks for, as words that follow the key; "" when it is right."""
    if spec.type is None and value and not spec.is_sensitive:
        return ""
    return checks.check_value(value, spec.type, spec.is_required, spec.is_sensitive)


class _Reading:
    """What the lines mean, key by key."""

    def __init__(self, source: str) -> None:
        self.schema = Schema(source)
        self.mistakes: list[tuple[int, errors.Breach]] = []  # each with its line
        self.types: dict[str, Type] = {}
        self.default_required = False
        self.default_sensitive: bool | None = None

    def wrong(self, line: int, message: str, hint: str = "") -> None:
        """Take note of a mistake.

        Raises:
            Refused: there are so many that it is not a schema at all.
        """
        self.mistakes.append((line, errors.Breach("", f"{self.schema.source}:{line}: {message}", hint)))
        if len(self.mistakes) == _MOST_MISTAKES:
            raise self.refused()

    def refused(self) -> "errors.Refused":
        """Return what says all mistakes, in the order of the lines."""
        return errors.Refused([breach for _, breach in sorted(self.mistakes, key=lambda mistake: mistake[0])])

    def read(self, text: bytes) -> None:
        """Take every key of *text*."""
        blocks: Iterable[Block] | None = files.ordinary_blocks(text)
        if blocks is None:
            from shim import schema_lines

            blocks = schema_lines.blocks(text, self.wrong)
        for block in blocks:
            self._take(*block)
        self._inherit()

    def _take(
        self,
        line: int,
        key: str,
        default: bytes | None,
        words: "Sequence[str]",
        decorators: "Sequence[Decorator]",
        behind: "Sequence[Decorator]" = (),
        written: str = "",
    ) -> None:
        """Take one key, or "" for none, with the decorators above and behind it; its default, also as it is written."""
        if decorators:
            decorators = self._kept(decorators)
        spec = self._begun(key, line) if key else None
        if spec is None:
            return
        if words:
            spec.description = tuple(words)
        if default is not None:
            spec.default = default
        if behind:
            decorators = [*self._kept(behind), *decorators]
        for at, name, value in decorators:
            self._apply(spec, name, value, at)
        if written and spec.default and written[0] != "'":
            text = spec.default
            if b"$" in text or text[-1:] == b")" or text == b"undefined":
                self._refuse_evaluated(spec, written)
        if (spec.default is not None or spec.composed is not None) and is_protected(key):
            self.wrong(
                line,
                f"{key} changes what programs load, run and trust: a schema cannot set it",
                f"write {key}= alone, and set it in the image (ENV) or in the service's environment",
            )
        self.schema.keys[key] = spec

    def _kept(self, decorators: "Sequence[Decorator]") -> "Sequence[Decorator]":
        """Return the *decorators* that concern a key; those of the whole file take effect at once."""
        for _, name, _ in decorators:
            if name not in _PLAIN:
                break
        else:
            return decorators
        kept: list[Decorator] = []
        for line, name, value in decorators:
            if name == "@":
                from shim import schema_lines

                kept += self._kept(schema_lines.scan(value, line, self.wrong))
            elif f" {name} " not in schema_text.FOREIGN and not self._is_of_the_file(name, value, line):
                kept.append((line, name, value))
        return kept

    def _inherit(self) -> None:
        """A value composed from a secret is a secret, and so are the values it does not say anything about."""
        for spec in self.schema.keys.values():
            if spec.sensitive is None and spec.composed is not None:
                parts = (self.schema.keys.get(key) for key in references(spec.composed))
                if any(part is not None and part.is_sensitive for part in parts):
                    spec.sensitive = True

    def _is_of_the_file(self, name: str, value: str, line: int) -> bool:
        """Let a decorator of the whole file take effect; return whether it is one."""
        if name == "only":
            self.schema.is_exclusive = self._truth(name, value, line)
        elif name == "defaultRequired":
            self.default_required = value == "true" or value == ""
        elif name == "defaultSensitive":
            self.default_sensitive = self._truth(name, value, line)
        elif name == "import":
            self.wrong(line, "@import is not supported: a schema is one file here", "copy the keys into this one")
        else:
            return False
        return True

    def _begun(self, key: str, line: int) -> KeySpec | None:
        """Return a new spec of *key*; None when there can be none."""
        if key.startswith("SHIM_"):
            self.wrong(line, f"{key}: names that begin with SHIM_ are the shim's own", "give it another name")
            return None
        keys = self.schema.keys
        if len(keys) == _MOST_KEYS:
            self.wrong(line, f"there are more than {_MOST_KEYS} keys", "give each service a schema of its own")
            raise self.refused()
        if key in keys:
            self.wrong(line, f"{key} is listed twice", f"it is first listed on line {keys[key].line}")
            return None
        spec = KeySpec(key, line)
        spec.is_required = self.default_required
        spec.sensitive = self.default_sensitive
        return spec

    def _refuse_evaluated(self, spec: KeySpec, value: str) -> None:
        """Refuse a default that other tools of @env-spec would evaluate, unless a decorator says where ours is from."""
        from shim.schema_values import evaluated

        if not (form := evaluated(value)):
            return
        if spec.is_derived or spec.from_command:
            spec.default = None
        else:
            hint = f"write @composed or @from above {spec.key}=, or put the value in single quotes if it is plain text"
            if form == "undefined":
                hint = f"write {spec.key}= alone, or put the value in single quotes if it is plain text"
            self.wrong(spec.line, f"{spec.key}: the shim does not evaluate {form}", hint)

    def _truth(self, name: str, value: str, line: int) -> bool:
        if value in ("", "true"):
            return True
        if value != "false":
            self.wrong(line, f"@{name} must be true or false", f"write @{name} or @{name}=false")
        return False

    def _apply(self, spec: KeySpec, name: str, value: str, line: int) -> None:
        """Let a decorator of a key take effect."""
        if name == "required":
            spec.is_required = not value or self._truth(name, value, line)
        elif name == "type":
            spec.type = self.types.get(value) or self._type(value, line)
            spec.raw_bytes = 0 if spec.type is None else spec.type.raw_bytes
        elif name == "sensitive":
            spec.sensitive = not value or self._truth(name, value, line)
        elif name == "services":
            spec.services = tuple(part.strip() for part in value.strip("()[]").split(",") if part.strip())
        elif name == "optional":
            spec.is_required = not self._truth(name, value, line)
        elif name == "public":
            spec.sensitive = not self._truth(name, value, line)
        elif name == "composed":
            self._compose(spec, value, line)
        elif name == "from":
            self._take_from(spec, value, line)
        elif name == "resolve":
            spec.resolves = self._truth(name, value, line)
        elif name == "rotate":
            if not (schema_text.is_count(value[:-1]) and value[-1] in "hdwmy"):
                self.wrong(line, "@rotate takes a number and a unit", "h, d, w, m or y, as in @rotate=90d")
            spec.rotate = value
        elif name in ("rotate-with", "rotateWith"):
            spec.rotate_with = value
        elif name == "generate":
            spec.generate = value[1:-1] if value[:1] == "(" and value[-1:] == ")" else value
        elif name == "literal":
            spec.literal = self._truth(name, value, line)
        elif name == "deliver":
            self._deliver(spec, value, line)
        else:
            self.wrong(line, f"there is no decorator @{name}", schema_text.nearest(name, schema_text.OURS))

    def _deliver(self, spec: KeySpec, value: str, line: int) -> None:
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

    def _take_from(self, spec: KeySpec, value: str, line: int) -> None:
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

    def _compose(self, spec: KeySpec, value: str, line: int) -> None:
        from shim import template

        spec.composed = value
        try:
            template.parse(value.encode("utf-8", "surrogateescape"))
        except template.Malformed as error:
            self.wrong(line, f"{spec.key}: @composed: {error}", "write ${KEY} or ${KEY|url}, and $$ for a dollar")

    def _type(self, text: str, line: int) -> Type | None:
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
