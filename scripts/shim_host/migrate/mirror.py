"""A project with some of its files exchanged, in a temporary folder: what Compose would make of them is known there.

Every folder that holds a file of the project is made again below one temporary folder, with links to all that is not
exchanged, so that relative paths lead where they led. Nothing of the project itself is touched.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shim_host.errors import failed_file


class Mirror:
    """The copy: where each path of the project is in it."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def place(self, path: Path) -> Path:
        """Return where *path* of the project is in the copy."""
        return self.top.joinpath(*Path(os.path.abspath(path)).parts[1:])

    def unplaced(self, text: str) -> str:
        """Return *text*, which Compose wrote about the copy, as if it were about the project."""
        return text.replace(str(self.top), "")


@contextmanager
def mirrored(folders: Iterable[Path], needed: Iterable[Path], contents: Mapping[Path, bytes]) -> Iterator[Mirror]:
    """Give the copy of a project; it is gone afterwards.

    Args:
        folders: those that the project's files lie in.
        needed: further files that it reads, wherever they are.
        contents: path -> what it holds in the copy.

    Raises:
        Failed: the temporary folder cannot be written.
    """
    top = Path(tempfile.mkdtemp(prefix="manage-secrets-")).resolve()
    mirror = Mirror(top)
    try:
        for path, data in contents.items():
            place = mirror.place(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
        for folder in {Path(os.path.abspath(folder)) for folder in (*folders, *(path.parent for path in contents))}:
            _link_all(folder, mirror)
        for path in needed:
            _link(Path(os.path.abspath(path)), mirror)
        yield mirror
    except OSError as error:
        raise failed_file("write", str(top), error) from None
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _link_all(folder: Path, mirror: Mirror) -> None:
    mirror.place(folder).mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        for entry in folder.iterdir():
            _link(entry, mirror)


def _link(path: Path, mirror: Mirror) -> None:
    """Make *path* be found in the copy; in a folder that is exchanged itself, everything is found."""
    place = mirror.place(path)
    if place.is_symlink() or place.is_file() or not path.exists():
        return
    if place.is_dir():
        for entry in path.iterdir():
            _link(entry, mirror)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(path)
