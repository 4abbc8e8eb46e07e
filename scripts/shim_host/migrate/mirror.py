"""A project with some of its files exchanged, in a temporary folder: what Compose would make of them is known there.

Every folder that holds a file of the project is made again below one temporary folder, with links to all that is not
exchanged, so that relative paths lead where they led. Nothing of the project itself is touched.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shim_host.compose import nodes
from shim_host.compose.editor import Editor
from shim_host.compose.nodes import Document
from shim_host.compose.places import document_paths
from shim_host.compose.project import Project, interpolated
from shim_host.env.compose_rules import InvalidReference
from shim_host.errors import Refused, failed_file


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
def mirrored(
    folders: Iterable[Path], needed: Iterable[Path], exchanged: Callable[[Mirror], Mapping[Path, bytes]]
) -> Iterator[Mirror]:
    """Give the copy of a project; it is gone afterwards.

    Args:
        folders: those that the project's files lie in.
        needed: further files that it reads, wherever they are.
        exchanged: gives for the copy path -> what it holds there.

    Raises:
        Failed: the temporary folder cannot be written.
    """
    top = Path(tempfile.mkdtemp(prefix="manage-secrets-")).resolve()
    mirror = Mirror(top)
    try:
        contents = exchanged(mirror)
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


def led_into(mirror: Mirror, project: Project, contents: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """Return *contents* with every absolute path from one Compose file to another leading into *mirror*.

    A file of *project* that stays as it is, and names another one so, is added.
    """
    environs = {document.path.parent.absolute(): document.environ for document in project.documents}
    known = {path.absolute(): path for path in contents}
    found = dict(contents)
    for document in project.documents:
        if document.path.absolute() not in known:
            known[document.path.absolute()] = document.path
            found[document.path] = (document.original or document.text).encode()
    for path, data in list(found.items()):
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if path.suffix in (".yml", ".yaml", ".json") or path not in contents:
            edited = _led(mirror, path, text, environs.get(path.parent.absolute()) or project.environ)
            if edited is not None:
                found[path] = edited.encode("utf-8", "surrogateescape")
            elif path not in contents:
                del found[path]
    return found


def _led(mirror: Mirror, path: Path, text: str, environ: Mapping[str, str]) -> str | None:
    """Return the Compose file *text* of *path* with absolute paths to others in *mirror*; None when it has none."""
    try:
        documents = [Document(path, text, root, path.parent, layout) for root, layout in nodes.parse(text, path)]
    except Refused:
        return None  # Compose says better what is wrong with it
    editor = Editor(documents)
    for document in documents:
        for node in document_paths(document):
            try:
                written = interpolated(str(node.value), environ.get)
            except InvalidReference:
                continue
            if os.path.isabs(written):
                editor.replace_scalar(node, str(mirror.place(Path(written))))
    return editor.result() if editor.has_edits else None


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
