"""The lines of `.gitignore` that keep values out of git: which are lacking, and added in one step."""

import fnmatch
import os
import stat
from pathlib import Path

from shim_host.errors import Refused, failed_file
from shim_host.files import write_whole
from shim_host.inputs import MOST_BYTES, read_bounded

_FOR_FOLDER = "{0}/*\n!{0}/.gitignore\n!{0}/README.md\n!{0}/*.example\n"


def missing_lines(folder: Path, secrets: Path, *files: Path | None) -> list[str]:
    """Return the lines that the `.gitignore` in *folder* lacks to keep *secrets* and *files* with values out of git."""
    have = {line.strip() for line in _lines(folder / ".gitignore")}
    lacking = []
    inside = _below(folder, secrets)
    if inside and not ({"*", "/*"} & {line.strip() for line in _lines(secrets / ".gitignore")}):
        wanted = _FOR_FOLDER.format("/" + inside).splitlines()
        if not have & {form + tail for form in (inside, "/" + inside) for tail in ("", "/", "/*", "/**")}:
            lacking += wanted
    for name in dict.fromkeys(_below(folder, file) for file in files if file is not None):
        last = name.rpartition("/")[2]
        if name and not any(line in (name, "/" + name) or fnmatch.fnmatchcase(last, line) for line in have):
            lacking.append(name if "/" not in name else "/" + name)
    return lacking


def add_lines(folder: Path, lines: list[str]) -> None:
    """Add *lines* to the `.gitignore` in *folder*, in one step; the lines it has stay as they are.

    Raises:
        Failed: it cannot be written.
    """
    path = folder / ".gitignore"
    try:
        old, mode = _as_it_is(path)
    except OSError as error:
        raise failed_file("write", str(path), error) from None
    end = b"\r\n" if b"\r\n" in old else b"\n"
    start = old if not old or old.endswith(b"\n") else old + end
    write_whole(path, start + b"".join(os.fsencode(line) + end for line in lines), mode)


def _as_it_is(path: Path) -> tuple[bytes, int]:
    """Return the bytes and the mode of the file at *path*, opened once: whoever owns the folder may swap it."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            return file.read(MOST_BYTES), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        return b"", 0o644
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
