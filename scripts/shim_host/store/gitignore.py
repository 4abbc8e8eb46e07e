"""The lines of `.gitignore` that keep values out of git: which are lacking, and added in one step.

They go into the file of the project's folder; what is not below that, or in a repository of its own there, has one
beside it, since git would not look for it in the other.
"""

import fnmatch
import os
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from shim_host.errors import Refused, failed_file
from shim_host.files import UNFINISHED, alone_in, unfinished_of, write_whole
from shim_host.inputs import MOST_BYTES, read_bounded

_FOR_FOLDER = "{0}/*\n!{0}/.gitignore\n!{0}/README.md\n!{0}/*.example\n"


def missing(folder: Path, secrets: Path, *files: Path | None, written: Collection[Path] = ()) -> dict[Path, list[str]]:
    """Return the lines that keep *secrets* and *files* with values out of git, by the `.gitignore` that lacks them.

    Args:
        folder: that of the project, whose `.gitignore` counts whether git is used there or not.
        secrets: the folder of secrets.
        files: files that may hold a value.
        written: those of *files* that are about to be written: a kill leaves an unfinished one beside its place.
    """
    places: dict[Path, list[Path]] = {}
    for target in (secrets, *(file for file in files if file is not None)):
        place = _place(folder, target)
        if place is not None:
            places.setdefault(place, []).append(target)
    lines = {place / ".gitignore": _lacking(place, secrets, found, written) for place, found in places.items()}
    return {path: found for path, found in lines.items() if found}


def told(lines: Mapping[Path, Sequence[str]], *, dry_run: bool = False) -> Iterator[str]:
    """Yield what to say of *lines*, which `missing` found."""
    for path, found in lines.items():
        yield f"{path} {'would get' if dry_run else 'gets'} {' '.join(found)}"


def tracked(paths: Iterable[Path], folder: Path | None = None) -> list[str] | None:
    """Return those of *paths*, and of what is in them, that git has in *folder*; None where there is no repository."""
    try:
        # A checkout may have come as an archive, with a .git whose settings name programs.
        words = (
            "git",
            "-C",
            str(folder or "."),
            "-c",
            "core.fsmonitor=false",
            "ls-files",
            "-z",
            "--",
            *map(str, paths),
        )
        done = subprocess.run(words, capture_output=True, check=False)
    except OSError:
        return None  # no git, so nothing is in it
    if done.returncode != 0:
        return None
    return list(filter(None, done.stdout.decode("utf-8", "surrogateescape").split("\0")))


def taken(paths: Iterable[Path]) -> list[str]:
    """Return those of *paths* that git would take, as git itself answers; none where it cannot.

    A `.gitignore` nearer to a file, or a later line, lets in what a line keeps out: `!*` in the folder of secrets.
    """
    names = [os.fsencode(path) for path in paths if _is_in_repository(path)]
    words = ("git", "-c", "core.fsmonitor=false", "check-ignore", "-z", "--stdin", "--no-index")
    if not names:
        return []
    try:
        done = subprocess.run(words, input=b"\0".join(names), capture_output=True, check=False)
    except OSError:
        return []
    if done.returncode not in (0, 1):  # all, or some, or none are ignored; else there is no repository
        return []
    ignored = set(done.stdout.split(b"\0"))
    return [os.fsdecode(name) for name in names if name not in ignored]


def _place(folder: Path, target: Path) -> Path | None:
    """Return the folder whose `.gitignore` keeps *target* out of git; None where there is no git."""
    inside = Path(_below(folder, target)).parents
    if inside and not any((folder / parent / ".git").exists() for parent in inside[:-1]):
        return folder
    target = Path(os.path.normpath(target))
    return target.parent if inside or _is_in_repository(target) else None


def _is_in_repository(target: Path) -> bool:
    return any((parent / ".git").exists() for parent in Path(os.path.abspath(target)).parents)


def _lacking(folder: Path, secrets: Path, targets: Sequence[Path], written: Collection[Path]) -> list[str]:
    have = [line.strip() for line in _lines(folder / ".gitignore")]
    lacking = []
    inside = _below(folder, secrets) if secrets in targets else ""
    if inside and not ({"*", "/*"} & {line.strip() for line in _lines(secrets / ".gitignore")}):
        wanted = _FOR_FOLDER.format("/" + inside).splitlines()
        if not set(have) & {form + tail for form in (inside, "/" + inside) for tail in ("", "/", "/*", "/**")}:
            lacking += wanted
    for name in dict.fromkeys(_below(folder, file) for file in targets if file != secrets):
        if not _is_ignored(name, have):
            lacking.append(name if "/" not in name else "/" + name)
    unfinished = [_below(folder, unfinished_of(file)) for file in targets if file in written]
    if not all(_is_ignored(name, have) for name in unfinished):
        lacking.append(UNFINISHED)
    return lacking


def _is_ignored(name: str, lines: Iterable[str]) -> bool:
    """Return whether *lines* keep the file *name*: the last one counts that is about it."""
    last, is_ignored = name.rpartition("/")[2], False
    for line in lines:
        pattern = line.removeprefix("!")
        if pattern in (name, "/" + name) or fnmatch.fnmatchcase(last, pattern):
            is_ignored = pattern == line
    return is_ignored


def add(lines: Mapping[Path, Sequence[str]]) -> None:
    """Add to each `.gitignore` its *lines*, in one step; those it has stay as they are.

    Raises:
        Failed: one cannot be written.
    """
    for path, found in lines.items():
        with alone_in(path.parent):
            _add(path, found)


def _add(path: Path, lines: Sequence[str]) -> None:
    try:
        old, mode, owner = _as_it_is(path)
    except OSError as error:
        raise failed_file("write", str(path), error) from None
    added = [os.fsencode(line) for line in lines]
    if old.splitlines()[-len(added) :] == added:
        return  # another run lacked the same ones a moment ago
    end = b"\r\n" if b"\r\n" in old else b"\n"
    start = old if not old or old.endswith(b"\n") else old + end
    write_whole(path, start + b"".join(line + end for line in added), mode, owner=owner)


def _as_it_is(path: Path) -> tuple[bytes, int, tuple[int, int]]:
    """Return bytes, mode and owner of the file at *path*, opened once: whoever owns the folder may swap it."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            return file.read(MOST_BYTES), stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    except FileNotFoundError:
        around = path.absolute().parent.stat()
        return b"", 0o644, (around.st_uid, around.st_gid)
    except OSError as error:
        if path.is_symlink():  # git itself does not read one that is a link
            raise Refused(f"{path} is a link, which git does not read", "replace it with a file") from None
        raise failed_file("write", str(path), error) from None


def _lines(path: Path) -> list[str]:
    try:
        return read_bounded(path).decode("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failed_file("read", str(path), error) from None


def _below(folder: Path, path: Path) -> str:
    """Return *path* relative to *folder* with slashes, or "" when it is not below it."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    outside = relative == os.curdir or relative.split(os.sep)[0] == os.pardir or os.path.isabs(relative)
    return "" if outside else relative.replace(os.sep, "/")
