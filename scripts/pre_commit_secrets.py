"""Stop a secret from being committed: check what is staged, and report every finding at once, never a value.

usage: pre-commit-secrets [--all] [--secrets-dir DIR]... [FILE...]

It refuses files below ./secrets, or any other folder of that name, other than examples, documentation and program
code; files meant for values (.env, *.env, .envrc, .netrc); content that contains the value of a file in ./secrets (8
bytes or more), or a value from before its last rotation; and content that looks like a well-known kind of key. Values
are recognised as they are, percent-encoded, escaped for JSON, HTML or a shell, in hexadecimal or base64, in UTF-16, in
names of files, and inside gzip, zlib, zip, tar, bzip2 and xz, also where that is in base64. What is encrypted, packed
in another way, or encoded more than that is not recognised. A line that contains "not-a-secret" may look like a key;
for your own values there is no exception.

--all checks everything in git instead of what is staged: the index, every commit that a branch, a tag or a stash
reaches, and the commit messages. What it once found is found again even after the value was rotated.
FILEs are ignored: pre-commit passes them.
Exit codes: 0 nothing found, 1 findings, 2 usage, 111 git or the file system failed, 130 interrupted.
"""

import binascii
import gzip
import html
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

try:
    import bz2
except ModuleNotFoundError:  # a Python that was built without the library
    bz2 = None  # type: ignore[assignment]
try:
    import lzma
except ModuleNotFoundError:
    lzma = None  # type: ignore[assignment]

if os.name == "nt":  # or Windows starts a git.exe of the folder of the commit
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"
sys.path.append(str(Path(__file__).resolve().parent.parent))

from shim_host.recognition import key_shapes, value_forms

from shim.errors import Refused
from shim.schema import Schema, parse
from shim.secret import clean, env_key, is_skipped

CLEAN, FOUND, USAGE, FAILED, INTERRUPTED = 0, 1, 2, 111, 130
# A shorter value occurs in any text by chance: `postgres`, `5432`.
MIN_VALUE_BYTES = 8
EXCEPTION = b"not-a-secret"
# What is looked at of one file, and of what is packed in one: a secret is looked for in text, not in films.
MOST_BYTES = 64 << 20
_NOT_UNPACKED: set[str] = set()  # what was met, and this Python has no module for
_GIT = ("git", "-c", "core.fsmonitor=false")  # a checkout that came as an archive may name a program there
_MOST_UNPACKED = 8 << 20
_MOST_SECRET_BYTES = 1 << 20
_MOST_LEVELS = 3
# How often progress is shown: on a terminal, and in a log.
_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 5
_HARMLESS_DOT_FILES = (".gitignore", ".gitkeep", ".gitattributes", ".dockerignore", ".keep")
_HARMLESS_ENV = ("schema", "example", "sample", "template", "dist", "defaults", "lock")
_MADE_FOR_VALUES = (".envrc", ".netrc", "_netrc", ".pgpass", ".git-credentials", ".htpasswd", ".vault-token", ".my.cnf")
# A package that is called so holds no values.
_CODE = (
    *(".c", ".cc", ".cpp", ".cs", ".css", ".dart", ".erb", ".ex", ".exs", ".go", ".h", ".hs", ".html", ".java", ".js"),
    *(".jsx", ".kt", ".lua", ".md", ".mjs", ".php", ".pl", ".proto", ".py", ".pyi", ".rb", ".rs", ".rst", ".scala"),
    *(".sh", ".sql", ".svelte", ".svg", ".swift", ".tf", ".tmpl", ".tpl", ".ts", ".tsx", ".vue", ".zig"),
)
_ESCAPE = re.compile(rb"\\(u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[^ux])", re.DOTALL)
# A run that is long enough for a value, over any number of lines.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]{4,})*={0,2}")
_SPACE = b" \t\r\n\v\f"
_LZMA_ERRORS = (lzma.LZMAError,) if lzma is not None else ()


class Staged(NamedTuple):
    """One object as git has it: its path in the repository (or what else it is), and its name."""

    path: str
    blob: str
    is_past: bool = False  # in the history only


class Value(NamedTuple):
    """A form of a value that must not appear anywhere, and whose value it is."""

    form: bytes
    owner: str
    how: str
    is_packed: bool  # looked for where white space does not count: what is broken into lines


class Leak(NamedTuple):
    """One thing that must not be committed."""

    message: str
    hint: str


class Failed(Exception):
    """git, or the file system, does not do its part."""


def main(argv: Sequence[str]) -> int:
    """Look, say what was found, and return the exit code."""
    folders, looks_at_all = [], False
    words = iter(argv)
    for word in words:
        if word in ("-h", "--help"):
            print(__doc__.strip())  # noqa: T201  (asked for)
            return CLEAN
        if word == "--all":
            looks_at_all = True
        elif word == "--secrets-dir" or word.startswith("--secrets-dir="):
            folders.append(word.partition("=")[2] or next(words, ""))
        elif word.startswith("-"):
            _say(f"error: there is no option {word.partition('=')[0]}")
            return USAGE
    try:
        os.chdir(os.fsdecode(_git("rev-parse", "--show-toplevel").removesuffix(b"\n")))
        places = [Path(folder).as_posix().strip("/") for folder in folders or ["secrets"]]
        found = list(everything(places) if looks_at_all else findings(_staged(), places))
    except Failed as failed:
        _say(f"error: {failed}")
        return FAILED
    for finding in found:
        _say(f"error: {finding.message}")
        _say(f"hint: {finding.hint}")
    for module in sorted(_NOT_UNPACKED):
        _say(f"warning: files packed by {module} were not looked into: this Python has no module {module}")
        _say("hint: name one that has it with PYTHON=/path/to/python3")
    if found and not looks_at_all:
        _say("nothing was committed")
    is_partly = looks_at_all and bool(_NOT_UNPACKED)
    return FOUND if found else FAILED if is_partly else CLEAN


def run() -> None:
    """Be the command `pre-commit-secrets`."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def findings(files: Sequence[Staged], places: Sequence[str], memory: "Memory | None" = None) -> Iterator[Leak]:
    """Yield what is wrong with *files*: their names first, then what is in them."""
    values = list(_values(places))
    named = [_without_values(file, values) for file in files]
    files = [file for file, _ in named]
    for file, owner in named:
        if not file.is_past:
            yield from _of_name(file, places, owner)
    owners = dict(named)
    for file, content in _contents(files):
        if file.is_past:  # only now it is known that it is a file
            yield from _of_name(file, places, owners.get(file, ""))
        found = list(_of_content(file, content, values))
        if memory is not None:
            found += memory.again(file, {owner for owner, _ in found})
        for owner, finding in found:
            if memory is not None and owner:
                memory.add(file.blob, owner)
            yield finding


def everything(places: Sequence[str]) -> Iterator[Leak]:
    """Yield what is wrong with all that git has, the present first."""
    memory = Memory(Path(os.fsdecode(_git("rev-parse", "--git-path", "pre-commit-secrets.found").strip())))
    files = _index()
    known = {file.blob for file in files}
    files += [file for file in _history() if file.blob not in known]
    yield from findings(files, places, memory)
    memory.keep()


class Memory:
    """Which objects held a value once. It outlives the value, which a rotation replaces, and holds nothing of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, set[str]] = {}
        # A checkout that came as an archive may have a link to any file there, or a FIFO.
        self._is_file = not os.path.lexists(path) or (path.is_file() and not path.is_symlink())
        with suppress(OSError):
            for line in path.read_text("utf-8", "surrogateescape").splitlines() if self._is_file else ():
                blob, _, owner = line.partition(" ")
                self.add(blob, owner)

    def add(self, blob: str, owner: str) -> None:
        """Remember that *blob* holds a value of *owner*."""
        self._known.setdefault(blob, set()).add(owner)

    def again(self, file: Staged, said: "set[str]") -> Iterator[tuple[str, Leak]]:
        """Yield what was found in *file* before, and is not *said* now."""
        for owner in sorted(self._known.get(file.blob, set()) - said):
            message = f"{_where(file)} holds a value that {owner} had"
            yield owner, Leak(message, _hint_of_past(file, "it was replaced since; is the old one revoked?"))

    def keep(self) -> None:
        """Write it down, for the next time; a repository that cannot be written is looked at all the same."""
        lines = [f"{blob} {owner}\n" for blob, owners in sorted(self._known.items()) for owner in sorted(owners)]
        if lines and self._is_file:
            with suppress(OSError):
                self._path.write_text("".join(lines), "utf-8", "surrogateescape")


def _without_values(file: Staged, values: Sequence[Value]) -> tuple[Staged, str]:
    """Return *file* under a name that can be shown, and whose value its own name contains; "" where there is none."""
    path, owner = os.fsencode(file.path), ""
    for value in values:
        if value.form in path:
            path, owner = path.replace(value.form, b"***"), owner or value.owner
    return (file._replace(path=os.fsdecode(path)), owner) if owner else (file, "")


def _of_name(file: Staged, places: Sequence[str], owner: str) -> Iterator[Leak]:
    if owner:
        hint = f"name it otherwise; {owner} needs a new value if this was pushed"
        yield Leak(f"the name {_where(file)} contains the value of {owner}", _hint_of_past(file, hint))
    folder, _, name = file.path.rpartition("/")
    lower = name.lower()
    if file.blob and _is_in_folder_of_secrets(folder, name, places):
        place = next((place for place in places if f"{folder}/".startswith(f"{place}/")), folder)
        hint = f"git rm --cached {_quoted(file.path)}, and keep {place}/* in .gitignore"
        yield Leak(f"{_where(file)} is a secret's file", _hint_of_past(file, hint))
    elif _is_made_for_values(lower):
        hint = f"git rm --cached {_quoted(file.path)}, and keep it in .gitignore; commit .env.schema"
        yield Leak(f"{_where(file)} holds values", _hint_of_past(file, hint))


def _is_in_folder_of_secrets(folder: str, name: str, places: Sequence[str]) -> bool:
    # A dot file may be a value that waits to be rotated.
    if is_skipped(name) and not (name.startswith(".") and name not in _HARMLESS_DOT_FILES):
        return False
    if any(f"{folder}/".startswith(f"{place}/") for place in places):
        return True
    is_nested = "secrets" in folder.lower().split("/")
    return is_nested and not name.startswith(".") and not name.lower().endswith((*_CODE, ".example", ".sample"))


def _is_made_for_values(name: str) -> bool:
    if name in _MADE_FOR_VALUES:
        return True
    parts = name.split(".")
    is_env = name == ".env" or name.startswith(".env.") or name.endswith(".env")
    return is_env and not any(part in _HARMLESS_ENV for part in parts)


def _values(places: Sequence[str]) -> Iterator[Value]:
    """Yield what must not appear in any file, and whose value it is. What the schema calls public may."""
    schema = _schema()
    seen: set[bytes] = set()
    for place in places:
        for path, key in _files_of(place):
            spec = schema.keys.get(env_key(key, schema.keys))
            if spec is not None and not spec.is_sensitive:
                continue
            try:
                with path.open("rb") as file:
                    value = clean(file.read(_MOST_SECRET_BYTES))
            except OSError as error:
                # What cannot be read here cannot have been copied from here either.
                _say(f"warning: {path} is not looked for: {error.strerror}")
                continue
            if len(value) >= MIN_VALUE_BYTES and value not in seen:
                seen.add(value)
                yield from _forms_of(value, str(path))


def _files_of(place: str) -> Iterator[tuple[Path, str]]:
    """Yield the files that hold values, and the file name whose key each has: today's, and those before a rotation."""
    root = Path(place)
    try:
        names = sorted(os.listdir(root))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Failed(f"cannot list {place}: {error.strerror}") from None
    for name in names:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            if name in (".previous", ".rotation") or not name.startswith("."):
                for inner, key in _files_of(str(path)):
                    yield inner, re.sub(r"^(?:old|new)\.", "", key)
        elif path.is_file() and name.startswith(".") and name.endswith(".next"):
            yield path, name[1:-5]
        elif path.is_file() and not is_skipped(name) and name != "plan":
            yield path, name


def _forms_of(value: bytes, owner: str) -> Iterator[Value]:
    for form, how in value_forms.forms(value):
        if len(form) >= MIN_VALUE_BYTES:
            is_broken = how == ", in base64" and len(value) > MIN_VALUE_BYTES
            yield Value(form, owner, how, is_broken)
        for twice in _twice(form, how):
            if len(twice) >= MIN_VALUE_BYTES:
                yield Value(twice, owner, f"{how} twice", False)
    text = value.decode("utf-8", "surrogateescape")
    if b"\n" in value:
        # Lines that are indented, joined by \n on one, or end with CR are the value still.
        yield Value(_packed(value), owner, ", with other white space", True)
    for coding in ("utf-16-le", "utf-16-be"):
        with suppress(UnicodeEncodeError):
            yield Value(text.encode(coding), owner, ", in UTF-16", False)


def _twice(form: bytes, how: str) -> Iterator[bytes]:
    """Yield what becomes of a *form* that is encoded once more, as a login is in a Secret of Kubernetes."""
    if how == ", in base64":
        for again, kind in value_forms.forms(form):
            if kind == how:
                yield again
    elif how == ", escaped":
        yield form.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    elif how == ", percent-encoded":
        yield form.replace(b"%", b"%25")


def _packed(content: bytes) -> bytes:
    """Return *content* without white space, and without line ends that are written as such."""
    return content.replace(b"\\r", b"").replace(b"\\n", b"").translate(None, _SPACE)


def _schema() -> Schema:
    try:
        return parse(Path(".env.schema").read_bytes())
    except (OSError, Refused):
        return Schema()  # nothing is known to be public


def _of_content(file: Staged, content: bytes, values: Sequence[Value]) -> Iterator[tuple[str, Leak]]:
    """Yield what is in *content*, and whose value it is; "" for a shape."""
    said: set[str] = set()
    for view, packing in _views(content, 0, [_MOST_UNPACKED]):
        packed = b""
        for value in values:
            if value.owner in said:
                continue
            at = view.find(value.form)
            if at < 0 and value.is_packed:
                packed = packed or _packed(view)
                at = -2 if value.form in packed else -1
            if at == -1:
                continue
            said.add(value.owner)
            line = _line(view, at) if at >= 0 and not packing else 0
            yield value.owner, _of_value(file, line, value.owner, value.how + packing)
        for decoded in _decoded(view):
            for value in values:
                if not value.how and value.owner not in said and value.form in decoded:
                    said.add(value.owner)
                    yield value.owner, _of_value(file, 0, value.owner, ", encoded" + packing)
        kinds: set[str] = set()
        for what, found in key_shapes.found_in_bytes(view):
            start, end = view.rfind(b"\n", 0, found.start()) + 1, view.find(b"\n", found.end())
            if what in kinds or what in said or EXCEPTION in view[start : end if end >= 0 else len(view)]:
                continue
            kinds.add(what)
            where = _where(file, 0 if packing else _line(view, found.start()))
            hint = f"take it out, and revoke it if it is real; if not, write {EXCEPTION.decode()} on its line"
            yield "", Leak(f"{where} holds what looks like {what}{packing}", _hint_of_past(file, hint))
        said |= kinds


def _of_value(file: Staged, line: int, owner: str, how: str) -> Leak:
    hint = f"take it out, read {owner} where it is needed; it needs a new value if this was pushed"
    return Leak(f"{_where(file, line)} holds the value of {owner}{how}", _hint_of_past(file, hint))


def _decoded(content: bytes, levels: int = 2) -> Iterator[bytes]:
    """Yield *content* with what is encoded in it decoded: some encoders leave alone what others do not."""
    if b"%" in content:
        yield unquote_to_bytes(content)
    if b"&" in content:
        yield html.unescape(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogatepass")
    if b"\\" in content:
        yield _ESCAPE.sub(_unescaped, content)
    if levels:
        yield from _from_base64(content, levels - 1)


def _from_base64(content: bytes, levels: int) -> Iterator[bytes]:
    """Yield what is in base64 in *content*, decoded: text of any kind, and what is packed in it."""
    left, plain = [_MOST_UNPACKED], [b""]
    for run in _BASE64.finditer(content):
        text = run[0].translate(bytes.maketrans(b"-_", b"+/"), _SPACE)
        inner = binascii.a2b_base64(text[: len(text) // 4 * 4])
        left[0] -= len(inner)
        if left[0] < 0:
            break
        plain.append(inner)
        for view, _ in list(_views(inner, 1, left))[1:]:
            yield view
            yield from _decoded(view, levels)
    all_of_it = b"\n".join(plain)
    yield all_of_it
    yield from _decoded(all_of_it, levels)


def _unescaped(match: "re.Match[bytes]") -> bytes:
    name = match[1]
    if name[:1] in b"ux" and len(name) > 1:
        return chr(int(name[1:], 16)).encode("utf-8", "surrogatepass")
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(name, name)


def _views(content: bytes, level: int, left: list[int]) -> Iterator[tuple[bytes, str]]:
    """Yield *content*, and what is in it: text in UTF-16, files that are packed; with words for how.

    A bomb ends when no byte is *left* of what one file may hold.
    """
    yield content, "" if level == 0 else ", packed"
    text = _from_utf16(content)
    if text:
        yield text, ", in UTF-16"
    if level < _MOST_LEVELS:
        for inner in _unpacked(content, left):
            yield from _views(inner, level + 1, left)


def _from_utf16(content: bytes) -> bytes:
    """Return what text in UTF-16 is in UTF-8; nothing of what is none."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        coding = "utf-16"
    elif len(content) >= 16 and content[1:2000:2].count(0) * 4 > len(content[:2000]):
        coding = "utf-16-le"
    elif len(content) >= 16 and content[0:2000:2].count(0) * 4 > len(content[:2000]):
        coding = "utf-16-be"
    else:
        return b""
    return content.decode(coding, "ignore").encode("utf-8", "ignore")


def _unpacked(content: bytes, left: list[int]) -> Iterator[bytes]:
    """Yield what is packed in *content*, as far as it can be read."""
    if content[:1] == b"x" and int.from_bytes(content[:2], "big") % 31 == 0:  # zlib (RFC 1950)
        with suppress(zlib.error):
            stream = zlib.decompressobj().decompress(content, max(left[0], 1))
            left[0] -= len(stream)
            yield stream
        return
    broken = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, *_LZMA_ERRORS)
    kinds: dict[bytes, tuple[str, Any]] = {
        b"\x1f\x8b": ("gzip", gzip),
        b"BZh": ("bz2", bz2),
        b"\xfd7zXZ\0": ("lzma", lzma),
    }
    name, module = next((kind for magic, kind in kinds.items() if content.startswith(magic)), ("", None))
    if module is not None:
        with suppress(*broken), module.open(io.BytesIO(content)) as file:
            yield _at_most(file, left)
    elif name:
        _NOT_UNPACKED.add(name)
    elif content.startswith(b"PK\3\4"):
        with suppress(zipfile.BadZipFile, *broken), zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                with suppress(*broken), archive.open(member) as file:
                    yield _at_most(file, left)
                if left[0] <= 0:
                    break
    elif content[257:262] == b"ustar":
        with suppress(tarfile.TarError, *broken), tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for entry in tar:
                inner = tar.extractfile(entry) if entry.isfile() else None
                if inner is not None:
                    yield _at_most(inner, left)
                if left[0] <= 0:
                    break


def _at_most(file: Any, left: list[int]) -> bytes:
    """Return what can be read of *file*, which may be broken further on."""
    blocks: list[bytes] = []
    with suppress(OSError, EOFError, ValueError, zlib.error, *_LZMA_ERRORS):
        while left[0] > 0 and (block := file.read(min(left[0], 1 << 20))):
            blocks.append(block)
            left[0] -= len(block)
    return b"".join(blocks)


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _where(file: Staged, line: int = 0) -> str:
    return file.path + (f":{line}" if line else "") + (", in the history," if file.is_past else "")


def _hint_of_past(file: Staged, hint: str) -> str:
    if not file.is_past:
        return hint
    return f"git log --all --find-object={file.blob[:12]} shows where; give it a new value, then rewrite the history"


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"


def _staged() -> list[Staged]:
    # Raw, because a diff's text would leave out binary files.
    raw = _git("diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--diff-filter=AMT").split(b"\0")
    found = []
    for about, path in zip(raw[0::2], raw[1::2]):  # noqa: B905  (the last one is empty)
        _, mode, _, blob, _ = about.decode().split(" ")
        if mode != "160000":  # a submodule has no content here
            found.append(Staged(os.fsdecode(path), blob))
    return found


def _index() -> list[Staged]:
    found = []
    for entry in filter(None, _git("ls-files", "--stage", "-z").split(b"\0")):
        about, _, path = entry.partition(b"\t")
        mode, blob, _ = about.decode().split(" ")
        if mode != "160000":
            found.append(Staged(os.fsdecode(path), blob))
    return found


def _history() -> list[Staged]:
    """Return every object that a branch, a tag or a stash reaches: files, and the messages of commits and tags."""
    heads = _git("for-each-ref", "--format=%(objectname)").split()
    with suppress(Failed):  # a repository without a commit
        heads.append(_git("rev-parse", "--verify", "--quiet", "HEAD").strip())
    if not heads:
        return []
    listed = _git("rev-list", "--objects", "--stdin", said=b"\n".join(dict.fromkeys(heads)) + b"\n")
    found = []
    for line in filter(None, listed.split(b"\n")):
        blob, _, path = line.partition(b" ")
        found.append(Staged(os.fsdecode(path), blob.decode("ascii"), is_past=True))
    return found


def _contents(files: Sequence[Staged]) -> Iterator[tuple[Staged, bytes]]:
    """Yield each file with its content, one at a time, from one git; folders are passed by."""
    if not files:
        return
    cat_file = [*_GIT, "cat-file", "--batch"]
    pipe = subprocess.PIPE
    with _Progress(len(files)) as progress, subprocess.Popen(cat_file, stdin=pipe, stdout=pipe) as git:
        answers: Any = git.stdout
        threading.Thread(target=_ask, args=(git.stdin, files), daemon=True).start()
        for number, file in enumerate(files, 1):
            head = answers.readline().split(b" ")
            if len(head) != 3:
                raise Failed(f"git has no content of {file.path or file.blob}")
            kind, length = head[1], int(head[2])
            content = answers.read(min(length, MOST_BYTES))
            left = length - len(content)
            if left:
                progress.clear()
                _say(f"warning: of {file.path} only the first {MOST_BYTES >> 20} MiB are looked at")
            while left:
                left -= len(answers.read(min(left, 1 << 20)))
            answers.read(1)
            if kind == b"blob":
                yield file, content
            elif kind in (b"commit", b"tag"):
                yield file._replace(path=f"the message of {kind.decode()} {file.blob[:12]}"), content
            progress.show(number)


class _Progress:
    """How many objects were looked at: on a terminal one line, which disappears; in a log a line now and then."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._is_shown = False
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, number: int) -> None:
        """Show that *number* objects were looked at, unless something was shown a moment ago."""
        now = time.monotonic()
        if now - self._told < (_TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS):
            return
        self._told = now
        text = f"{number} of {self._count} objects looked at, after {now - self._began:.0f} s"
        if self._is_terminal:
            # A line that wraps could not be taken back.
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            self._is_shown = True  # first, since Ctrl-C may come at once
            self._write(f"\r\x1b[K{text[: columns - 1]}")
        else:
            _say(text)

    def clear(self) -> None:
        """Take the line back."""
        if self._is_shown:
            self._write("\r\x1b[K")
            self._is_shown = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _ask(stdin: Any, files: Iterable[Staged]) -> None:
    with suppress(OSError, ValueError), stdin:
        for file in files:
            stdin.write(file.blob.encode("ascii") + b"\n")


def _git(*arguments: str, said: bytes = b"") -> bytes:
    try:
        done = subprocess.run([*_GIT, *arguments], input=said, capture_output=True, check=False)
    except OSError as error:
        raise Failed(f"git cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise Failed(f"git {arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout


def _say(text: str) -> None:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    print(f"pre-commit-secrets: {shown}", file=sys.stderr)  # noqa: T201  (this is its only talk)


if __name__ == "__main__":
    run()
