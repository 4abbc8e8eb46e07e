"""Stop a secret from being committed: what is staged is looked at, and every finding is said at once, never a value.

usage: pre-commit-secrets [--all] [--secrets-dir DIR]... [FILE...]

Refused are files below ./secrets other than examples, README and .gitignore; .env files; content that holds the value
of a file in ./secrets (8 bytes or more, as it is or percent-encoded); and content that has the shape of a well-known
key. A line that holds "not-a-secret" may have such a shape; a value of yours has no exception.

--all looks at everything that git has, not at what is staged. FILEs are ignored: pre-commit gives them.
Exit codes: 0 nothing found, 1 findings, 2 usage, 111 git or the file system failed.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

sys.path.append(str(Path(__file__).resolve().parent.parent))

from shim.errors import Refused
from shim.schema import Schema, parse
from shim.secret import clean, env_key, is_skipped

CLEAN, FOUND, USAGE, FAILED = 0, 1, 2, 111
# A shorter value stands in any text by chance: `postgres`, `5432`.
MIN_VALUE_BYTES = 8
EXCEPTION = b"not-a-secret"
# As their makers publish them; all of a key is asked for, so that a prefix in a text is none.
SHAPES = {
    "a private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s+"
    rb"(?:[A-Za-z-]+: [^\n]*\n\s*)*[A-Za-z0-9+/=]{60}",
    "a secret key of age": rb"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    "an access key of AWS": rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})",
    "a token of GitLab": rb"\bglpat-[A-Za-z0-9_-]{20,}",
    "a token of Slack": rb"\bxox[abeoprs]-[A-Za-z0-9-]{20,}",
    "a key of Stripe": rb"\b[rs]k_live_[A-Za-z0-9]{20,}",
    "a key of Google": rb"\bAIza[A-Za-z0-9_-]{35}",
    "a key of OpenAI or Anthropic": rb"\bsk-(?:proj-|svcacct-|ant-)?[A-Za-z0-9_-]{40,}",
    "a token of npm": rb"\bnpm_[A-Za-z0-9]{36}\b",
    "a token of PyPI": rb"\bpypi-[A-Za-z0-9_-]{60,}",
}
_SHAPES = {what: re.compile(pattern) for what, pattern in SHAPES.items()}
_HARMLESS_DOT_FILES = (".gitignore", ".gitkeep", ".gitattributes", ".dockerignore")
_HARMLESS_ENV = (".schema", ".example", ".sample", ".template", ".dist")


class Staged(NamedTuple):
    """One file as git has it: its path in the repository, its content's name."""

    path: str
    blob: str


class Finding(NamedTuple):
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
        return _report(list(findings(_everything() if looks_at_all else _staged(), folders or ["secrets"])))
    except Failed as failed:
        _say(f"error: {failed}")
        return FAILED


def findings(files: Sequence[Staged], folders: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with *files*: their names first, then what stands in them."""
    places = [Path(folder).as_posix().strip("/") for folder in folders]
    for file in files:
        yield from _of_name(file.path, places)
    values = dict(_values(places))
    for file, content in zip(files, _contents(files), strict=True):
        yield from _of_content(file.path, content, values)


def _of_name(path: str, places: Sequence[str]) -> Iterator[Finding]:
    folder, _, name = path.rpartition("/")
    place = next((place for place in places if f"{folder}/".startswith(f"{place}/")), "")
    # A dot file may be a value that waits to be rotated.
    if place and (not is_skipped(name) or (name.startswith(".") and name not in _HARMLESS_DOT_FILES)):
        yield Finding(f"{path} is a secret's file", f"git rm --cached '{path}', and keep {place}/* in .gitignore")
    elif (name == ".env" or name.startswith(".env.")) and not name.endswith(_HARMLESS_ENV):
        yield Finding(
            f"{path} holds values", f"git rm --cached '{path}', and keep it in .gitignore; commit .env.schema"
        )


def _values(places: Sequence[str]) -> Iterator[tuple[bytes, str]]:
    """Yield what must stand in no file, and whose value it is. What the schema calls public may."""
    schema = _schema()
    for place in places:
        try:
            names = sorted(os.listdir(place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Failed(f"cannot list {place}: {error.strerror}") from None
        for name in names:
            path = Path(place, name)
            if is_skipped(name) or not path.is_file():
                continue
            spec = schema.keys.get(env_key(name, schema.keys))
            if spec is not None and not spec.is_sensitive:
                continue
            try:
                value = clean(path.read_bytes())
            except OSError as error:
                # What cannot be read here cannot have been copied from here either.
                _say(f"warning: {path} is not looked for: {error.strerror}")
                continue
            if len(value) >= MIN_VALUE_BYTES:
                yield value, str(path)
                yield quote_from_bytes(value, safe="").encode(), str(path)


def _schema() -> Schema:
    try:
        return parse(Path(".env.schema").read_bytes())
    except (OSError, Refused):
        return Schema()  # nothing is known to be public


def _of_content(path: str, content: bytes, values: Mapping[bytes, str]) -> Iterator[Finding]:
    said = set()
    for value, owner in values.items():
        at = content.find(value)
        if at >= 0 and owner not in said:
            said.add(owner)
            hint = f"take it out, read {owner} where it is needed, and give the secret a new value if this was pushed"
            yield Finding(f"{path}:{_line(content, at)} holds the value of {owner}", hint)
    for what, shape in _SHAPES.items():
        for found in shape.finditer(content):
            start, end = content.rfind(b"\n", 0, found.start()) + 1, content.find(b"\n", found.end())
            if EXCEPTION not in content[start : end if end >= 0 else len(content)]:
                hint = f"take it out, and revoke it if it is real; if not, write {EXCEPTION.decode()} on its line"
                yield Finding(f"{path}:{_line(content, found.start())} holds what looks like {what}", hint)
                break


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _staged() -> list[Staged]:
    # Raw, because a diff's text would leave out binary files.
    raw = _git("diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--diff-filter=AMT").split(b"\0")
    found = []
    for about, path in zip(raw[0::2], raw[1::2], strict=False):
        _, mode, _, blob, _ = about.decode().split(" ")
        if mode != "160000":  # a submodule has no content here
            found.append(Staged(os.fsdecode(path), blob))
    return found


def _everything() -> list[Staged]:
    found = []
    for entry in filter(None, _git("ls-files", "--stage", "-z").split(b"\0")):
        about, _, path = entry.partition(b"\t")
        mode, blob, _ = about.decode().split(" ")
        if mode != "160000":
            found.append(Staged(os.fsdecode(path), blob))
    return found


def _contents(files: Sequence[Staged]) -> Iterator[bytes]:
    """Yield the content of each file, from one git."""
    if not files:
        return
    answer = _git("cat-file", "--batch", said="".join(f"{file.blob}\n" for file in files).encode())
    at = 0
    for file in files:
        head, _, _ = answer[at:].partition(b"\n")
        size = int(head.split(b" ")[2]) if head.split(b" ")[1:2] == [b"blob"] else -1
        if size < 0:
            raise Failed(f"git has no content of {file.path}")
        at += len(head) + 1
        yield answer[at : at + size]
        at += size + 1


def _git(*arguments: str, said: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["git", *arguments], input=said, capture_output=True, check=False)
    except OSError as error:
        raise Failed(f"git cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise Failed(f"git {arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout


def _report(found: Sequence[Finding]) -> int:
    for finding in found:
        _say(f"error: {finding.message}")
        _say(f"hint: {finding.hint}")
    if found:
        _say("nothing was committed")
    return FOUND if found else CLEAN


def _say(text: str) -> None:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    print(f"pre-commit-secrets: {shown}", file=sys.stderr)  # noqa: T201  (this is its only talk)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
