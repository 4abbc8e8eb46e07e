"""`.env` files. Bytes and an environment come in, an `EnvFile` leaves; nothing is opened, and no message holds a value.

`compose` means what Docker Compose means, byte for byte (compose-go's dotenv and template packages are the reference,
and the tests ask the real program); `raw` is `docker run --env-file`; `python-dotenv` is that library.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from shim.secret import Secret, clean, is_key
from shim_host.env.compose_rules import SPACE, Assignment, Lookup, Malformed, Reading
from shim_host.errors import UsageError
from shim_host.output import Warned

DIALECTS = ("compose", "raw", "python-dotenv")
USES = ("project", "env-file")

_RAW_LINE_BYTES = 65_536  # the Docker client reads a line into a buffer of this size


@dataclass
class EnvFile:
    """What a file sets: each key with its value and the line that decides it, in the file's order."""

    values: dict[str, Secret] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    warnings: list[Warned] = field(default_factory=list)
    # Keys whose value depends on how Compose is given the file; `values` has the project's.
    as_env_file: dict[str, Secret] = field(default_factory=dict)


def read(
    data: bytes,
    environ: Mapping[str, str],
    dialect: str = "compose",
    use: str = "",
    shell: Mapping[str, str] | None = None,
) -> EnvFile:
    """Return what the `.env` file with the content *data* sets.

    Args:
        data: the file's bytes.
        environ: what references are looked up in first: the shell's environment, and what other files set.
        dialect: one of `DIALECTS`.
        use: one of `USES`, how Compose is given the file; "" for both, and then `as_env_file` says where they differ.
        shell: the shell's part of *environ*; all of it by default.

    Raises:
        Malformed: the dialect's own reader would refuse it, or no environment could carry a value.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Malformed(1, "the file is UTF-16", "save it as UTF-8 (PowerShell: Set-Content -Encoding utf8)")
    if dialect == "raw":
        return _finished(_raw(data, environ))
    if dialect == "python-dotenv":
        return _finished(_python_dotenv(data, environ))
    return _compose(data, environ, use, environ if shell is None else shell)


def _compose(data: bytes, environ: Mapping[str, str], use: str, shell: Mapping[str, str]) -> EnvFile:
    assignments, warnings = _read_compose(data, environ.get)
    # For `${KEY}` in a Compose file the shell comes first, then the file; for `env_file:` all of these come first.
    final = {**{found.key: found.value for found in assignments}, **environ}
    if use == "env-file":
        assignments, warnings = _read_compose(data, final.get)
    env_file = _finished(assignments)
    env_file.warnings = sorted([*warnings, *env_file.warnings, *_shell_wins(env_file, shell)])
    if not use:
        second = _finished(_read_compose(data, final.get)[0])
        env_file.as_env_file = {
            key: secret for key, secret in second.values.items() if secret != env_file.values.get(key)
        }
    return env_file


def _read_compose(data: bytes, lookup: Lookup) -> tuple[list[Assignment], list[Warned]]:
    earlier: dict[str, str] = {}
    assignments = []
    reading = Reading(data, lookup, earlier)
    for found in reading.assignments():
        earlier[found.key] = found.value
        assignments.append(found)
    return assignments, reading.warnings


def _shell_wins(env_file: EnvFile, shell: Mapping[str, str]) -> Iterator[Warned]:
    for key, secret in env_file.values.items():
        if key in shell and shell[key].encode("utf-8", "surrogateescape") != secret.reveal():
            message = "the shell sets it too, and for ${...} in a Compose file the shell's value would be used"
            yield Warned(env_file.lines[key], key, message, "unset it in the shell, unless the file's value is right")


def _raw(data: bytes, environ: Mapping[str, str]) -> Iterator[Assignment]:
    """`docker run --env-file`: a line per key, nothing is quoted, expanded or cut."""
    for line, content in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if len(content) >= _RAW_LINE_BYTES:
            raise Malformed(line, "the line is longer than docker run reads", "a line may have 65,535 bytes")
        try:
            text = content.removesuffix(b"\r").decode("utf-8").lstrip(SPACE)
        except UnicodeDecodeError:
            raise Malformed(line, "the line is not UTF-8", "save the file as UTF-8") from None
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not key:
            raise Malformed(line, "there is no name before the =", "write NAME=value")
        if " " in key or "\t" in key:
            raise Malformed(line, "there is white space in the name", "write NAME=value, without spaces around =")
        if equals:
            notes: tuple[tuple[str, str], ...] = ()
            if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
                notes = (("the quotes are part of the value", "docker run takes them as they are: leave them out"),)
            yield Assignment(line, key, value, notes)
        elif key in environ:
            yield Assignment(line, key, environ[key])


def _python_dotenv(data: bytes, environ: Mapping[str, str]) -> Iterator[Assignment]:
    import io

    try:
        from dotenv.parser import parse_stream
        from dotenv.variables import parse_variables
    except ModuleNotFoundError:
        raise UsageError(
            "--dialect python-dotenv needs that library: pip install 'docker-secrets-shim[dotenv]'"
        ) from None

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Malformed(line, "the line is not UTF-8", "save the file as UTF-8") from None
    env: dict[str, str | None] = dict(environ)
    # The library opens files in text mode, where every kind of line end becomes LF.
    for binding in parse_stream(io.StringIO(text, newline=None)):
        line = binding.original.line
        if binding.error:
            raise Malformed(line, "python-dotenv cannot read this statement", "write NAME=value; close every quote")
        if binding.key is None or binding.value is None:
            continue
        value = "".join(atom.resolve(env) for atom in parse_variables(binding.value))
        env[binding.key] = value
        yield Assignment(line, binding.key, value)


def _finished(assignments: Iterable[Assignment]) -> EnvFile:
    """Return the outcome of *assignments*: the last of a name counts.

    Raises:
        Malformed: a value that no container gets as it is, because it is not UTF-8 or holds a NUL byte.
    """
    env_file = EnvFile()
    for line, key, value, notes in assignments:
        if not key:
            continue
        try:
            secret = Secret(value.encode("utf-8"))
        except UnicodeEncodeError:
            hint = "Compose would pass on a different value: save the file as UTF-8, or write a secret file by hand"
            raise Malformed(line, f"{key}: the value is not UTF-8", hint) from None
        if "\0" in value:
            raise Malformed(line, f"{key}: the value holds a NUL byte, which no environment can carry")
        if key in env_file.lines:
            message = f"it is set on line {env_file.lines[key]} already; the last one counts"
            env_file.warnings.append(Warned(line, key, message, "remove one of the two"))
        env_file.values[key] = secret
        env_file.lines[key] = line
        env_file.warnings += [Warned(line, key, *note) for note in notes]
    env_file.warnings += _notes_on_keys(env_file)
    return env_file


def _notes_on_keys(env_file: EnvFile) -> Iterator[Warned]:
    for key, secret in env_file.values.items():
        line = env_file.lines[key]
        if key.startswith("COMPOSE_"):
            yield Warned(line, key, "this configures Compose itself", "leave it in .env")
        elif not is_key(key):
            hint = "give it a name of A-Z, 0-9 and _ that the service reads"
            yield Warned(line, key, "the name is not a shell variable, and the shim would spell it differently", hint)
        if clean(secret.reveal()) != secret.reveal():
            message = "the value ends in a line end (or begins with a byte order mark), which a secret file loses"
            yield Warned(line, key, message, "drop it, unless the service needs it")
