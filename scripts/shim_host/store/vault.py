"""`./secrets`: one file per secret, 0600 in a folder that is 0700. Links are not followed; files are whole.

A file is written beside its place and renamed into it, so a kill at any moment leaves whole files only; what a killed
run left over is removed by the next one.
"""

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from shim.secret import MAX_SECRET_BYTES, Secret, is_skipped
from shim_host import output
from shim_host.errors import Failed, Refused, failed_file
from shim_host.files import Folder, is_unknown, names_in, opened
from shim_host.store import ownership

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_PUBLIC_FOLDER_MODE = 0o755
_PUBLIC_FILE_MODE = 0o644
_TEMPLATES = ".templates"
_UNFINISHED = (".", ".new")  # how the name of a file that is being written begins and ends


class Entry(NamedTuple):
    """One secret file."""

    name: str
    value: Secret
    mode: int


class Vault:
    """The folder at *path*, as the user typed it; a public one holds what is encrypted, and everybody may read it."""

    def __init__(self, path: Path, *, is_public: bool = False) -> None:
        self.path = path
        self.is_public = is_public

    @classmethod
    def of_stack(cls, path: Path, stack: str) -> "Vault":
        """Return the folder of *stack* in the one at *path* where there is one, else that itself.

        Two stacks that are deployed from one checkout have other values for equal keys: `./secrets/prod/db_password`.
        """
        own = path / stack if stack else path
        return cls(own if stack and _has_files(own) else path)

    def shown(self, name: str) -> str:
        """Return the path of the file *name* for a message."""
        return str(self.path / name)

    def names(self) -> list[str]:
        """Return the names of what is a secret here: no dot file, example or README, and no folder of a stack.

        An empty folder is not one of these: Compose makes one for a file that is missing.
        """
        try:
            with opened(self.path):
                found = sorted(name for name in names_in(self.path) if not is_skipped(name))
            return [name for name in found if not _has_files(self.path / name)]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise Refused(f"{self.path} is not a folder", "move it away, or name another with --secrets-dir") from None
        except OSError as error:
            raise failed_file("list", str(self.path), error) from None

    def stacks(self) -> list[str]:
        """Return the names of the folders in this one: those of stacks."""
        try:
            found = sorted(name for name in os.listdir(self.path) if not is_skipped(name))
        except OSError:
            return []  # `names` says what is wrong with it
        return [name for name in found if _has_files(self.path / name)]

    def read(self, name: str) -> Entry | None:
        """Return the file *name* with its exact bytes, or None when there is none.

        Raises:
            Refused: it is a link, not a regular file, or larger than any secret.
            Failed: it cannot be read.
        """
        path = self.path / name
        try:
            if path.is_symlink():
                raise Refused(f"{path} is a link, and links are not followed here", "replace it with the file itself")
            with opened(self.path) as folder:
                mode, data = folder.read(name, MAX_SECRET_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failed_file("read", str(path), error) from None
        if not stat.S_ISREG(mode):
            raise Refused(f"{path} is not a regular file", "remove it; a secret is a file")
        if len(data) > MAX_SECRET_BYTES:
            raise Refused(f"{path} is larger than {MAX_SECRET_BYTES} bytes", "mount larger files as volumes")
        return Entry(name, Secret(data), stat.S_IMODE(mode))

    def entries(self) -> dict[str, Entry]:
        """Return every secret by its file name."""
        found = {}
        for name in self.names():
            entry = self.read(name)
            if entry is not None:
                found[name] = entry
        return found

    def has_unfinished(self) -> bool:
        """Return whether a run that was killed left something over, which the next `writing` removes."""
        try:
            return any(map(_is_unfinished, os.listdir(self.path)))
        except OSError:
            return False  # what is wrong with it shows when it is written

    def templates(self) -> dict[str, str]:
        """Return the driver of each file that is a template in the Swarm, by file name: what an import wrote here."""
        entry = self.read(_TEMPLATES)
        lines = entry.value.reveal().decode("utf-8", "replace").splitlines() if entry is not None else ()
        return {name: driver for name, _, driver in (line.rpartition("=") for line in lines) if name and driver}

    def is_anothers(self) -> bool:
        """Return whether we are root and the folder is not."""
        try:
            return ownership.is_anothers(os.stat(self.path, follow_symlinks=False).st_uid)
        except OSError:
            return False

    def refuse_link(self) -> None:
        """See that the place is a folder or free, where nothing has been changed yet.

        Raises:
            Refused: `writing` would not take it.
        """
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise self._no_folder()

    def ask_owner(self) -> None:
        """Ask before root writes into the folder of somebody else, where nothing has been changed yet.

        Raises:
            Refused: nobody says that it may.
        """
        with suppress(OSError):
            ownership.ask(self.path, os.stat(self.path, follow_symlinks=False).st_uid)

    def owner(self, name: str) -> int:
        """Return the user id that the file *name* belongs to; -1 when that cannot be said."""
        try:
            return os.lstat(self.path / name).st_uid
        except OSError:
            return -1

    @contextmanager
    def writing(self) -> Iterator["Writer"]:
        """Make the folder private, unless it is public, keep other runs out, and give a `Writer`.

        Raises:
            Refused: the folder is a link or something else, or another run is writing.
            Failed: the file system does not take it.
        """
        with ExitStack() as held:
            folder = self._entered(held)
            writer = Writer(folder, _PUBLIC_FILE_MODE if self.is_public else FILE_MODE)
            writer.remove_unfinished()
            yield writer
            writer.settle()

    def _entered(self, held: ExitStack) -> Folder:
        """Return the folder, made if need be, private and ours alone until *held* ends."""
        name = self.path.name or "."
        try:
            around = held.enter_context(opened(self.path.parent, is_made=True))
            try:
                around.make(name, _PUBLIC_FOLDER_MODE if self.is_public else FOLDER_MODE)
                is_new = True
            except FileExistsError:
                is_new = False
                if self.path.is_symlink() or not self.path.is_dir():
                    raise self._no_folder() from None
        except OSError as error:
            raise failed_file("make", str(self.path), error) from None
        if around.descriptor is None:
            if not self.is_public:
                _restrict_on_windows(self.path)
            return Folder(self.path, None)
        try:
            descriptor = around.open(name, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise failed_file("open", str(self.path), error) from None
        held.callback(os.close, descriptor)
        if is_new:
            ownership.give_as_around(descriptor, around.descriptor)
        ownership.ask(self.path, os.fstat(descriptor).st_uid)
        import fcntl

        try:
            if not self.is_public and stat.S_IMODE(os.fstat(descriptor).st_mode) != FOLDER_MODE:
                os.fchmod(descriptor, FOLDER_MODE)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another run is writing to {self.path}", "wait for it to end") from None
        except OSError as error:
            raise failed_file("restrict", str(self.path), error) from None
        return Folder(self.path, descriptor)

    def _no_folder(self) -> Refused:
        hint = "make it a folder, or name another with --secrets-dir"
        if self.is_public:
            hint = "make it a folder, or name another with --locked-dir"
        return Refused(f"{self.path} is a link or a file, and secrets are not written there", hint)


def _is_unfinished(name: str) -> bool:
    return name.startswith(_UNFINISHED[0]) and name.endswith(_UNFINISHED[1])


def _has_files(path: Path) -> bool:
    """Return whether *path* is a folder with something in it, and no link to one."""
    try:
        return not path.is_symlink() and path.is_dir() and any(True for _ in os.scandir(path))
    except OSError:
        return False  # what is wrong with it shows when it is read


def _restrict_on_windows(path: Path) -> None:
    """Give the folder to its user alone; files inside inherit it."""
    import subprocess

    user = os.environ.get("USERNAME", "")
    command = ["icacls", str(path), "/inheritance:r", "/grant:r", f"{user}:(OI)(CI)F"]
    try:
        is_done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        is_done = False
    if not is_done:
        raise Failed(f"cannot restrict {path} to {user} with icacls", "run icacls on the folder yourself to see why")


class Writer:
    """Writes into one folder; every file is there whole or not at all."""

    def __init__(self, folder: Folder, file_mode: int = FILE_MODE) -> None:
        self.path = folder.path
        self._folder = folder
        self._file_mode = file_mode
        self._has_changed = False

    def write(self, name: str, data: bytes) -> None:
        """Make *name* hold *data*, in one step; it stays with its owner, and a new one is its folder's owner's.

        Raises:
            Failed: the file system does not take it; the file is as it was.
        """

        def prepare(opened: int) -> None:
            if self._folder.descriptor is not None:
                os.fchmod(opened, self._file_mode)  # whatever the umask took away
                owner = self._owner_of(name)
                if owner is not None:
                    os.fchown(opened, *owner)

        try:
            self._folder.write(name, data, self._file_mode, prepare)
        except OSError as error:
            raise failed_file("write", str(self.path / name), error) from None
        self._has_changed = True
        output.detail(f"wrote {self.path / name}")

    def _owner_of(self, name: str) -> tuple[int, int] | None:
        """Return whose *name* is to be; None where only who writes can own it, or owns it anyway."""
        if self._folder.descriptor is None or os.geteuid() != 0:
            return None
        try:
            found = self._folder.status(name)
        except FileNotFoundError:
            found = os.fstat(self._folder.descriptor)
        is_roots = (found.st_uid, found.st_gid) == (0, 0)
        return None if is_roots or is_unknown(found.st_uid) else (found.st_uid, found.st_gid)

    @contextmanager
    def making(self, name: str) -> "Iterator[Writer]":
        """Make the folder *name*, empty, and give what writes into it.

        Raises:
            Failed: the file system does not take it.
        """
        try:
            with suppress(FileNotFoundError):
                is_folder = stat.S_ISDIR(self._folder.status(name).st_mode)
                (self._folder.remove_all if is_folder else self._folder.remove)(name)
            self._folder.make(name, FOLDER_MODE)
        except OSError as error:
            raise failed_file("make", str(self.path / name), error) from None
        with self.inside(name) as writer:
            yield writer

    @contextmanager
    def inside(self, name: str) -> "Iterator[Writer]":
        """Give what writes into the folder *name* in this one, which stays with the owner of this one.

        Raises:
            Failed: the file system does not take it.
        """
        try:
            with self._folder.inner(name) as folder:
                if folder.descriptor is not None and self._folder.descriptor is not None:
                    ownership.give_as_around(folder.descriptor, self._folder.descriptor)
                writer = Writer(folder, self._file_mode)
                yield writer
                writer.settle()
        except OSError as error:
            raise failed_file("write", str(self.path / name), error) from None
        self._has_changed = True

    def rename(self, old: str, new: str) -> None:
        """Let what is called *old* be called *new*.

        Raises:
            Failed: the file system does not take it.
        """
        try:
            self._folder.rename(old, new)
        except OSError as error:
            raise failed_file("make", str(self.path / new), error) from None
        self._has_changed = True

    def write_templates(self, drivers: Mapping[str, str]) -> None:
        """Note which files are templates in the Swarm, as `Vault.templates` reads them."""
        lines = (f"{name}={driver}\n" for name, driver in sorted(drivers.items()))
        self.write(_TEMPLATES, "".join(lines).encode())

    def give_to(self, name: str, owner: tuple[int, int]) -> None:
        """Make *name* belong to this user and group, -1 for as it is; where files have no owners, nothing is done."""
        if self._folder.descriptor is None:
            return
        try:
            os.chown(name, *owner, dir_fd=self._folder.descriptor, follow_symlinks=False)
        except OSError as error:
            raise failed_file("change the owner of", str(self.path / name), error) from None

    def remove(self, name: str) -> None:
        """Remove the file *name*, if it is there."""
        try:
            self._folder.remove(name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise failed_file("remove", str(self.path / name), error) from None
        self._has_changed = True

    def restrict(self, name: str) -> None:
        """Make *name* readable by its owner only; where files have no modes, they inherit the folder's access list."""
        if self._folder.descriptor is None:
            return
        try:
            opened = self._folder.open(name, os.O_RDONLY)
            try:
                os.fchmod(opened, FILE_MODE)
            finally:
                os.close(opened)
        except OSError as error:
            raise failed_file("restrict", str(self.path / name), error) from None

    def remove_unfinished(self) -> None:
        """Remove what a run that was killed left over: files, and the folder of a stack."""
        for name in os.listdir(self.path if self._folder.descriptor is None else self._folder.descriptor):
            if not _is_unfinished(name):
                continue
            if stat.S_ISDIR(self._folder.status(name).st_mode):
                self.remove_folder(name)
            else:
                self.remove(name)

    def remove_folder(self, name: str) -> None:
        """Remove the folder *name* with the files in it."""
        try:
            self._folder.remove_all(name)
        except OSError as error:
            raise failed_file("remove", str(self.path / name), error) from None
        self._has_changed = True

    def settle(self) -> None:
        """See that the new names outlive a power failure."""
        if self._has_changed:
            try:
                self._folder.settle()
            except OSError as error:
                raise failed_file("write", str(self.path), error) from None


def has_private_modes() -> bool:
    """Return whether files here have modes; on Windows their access lists are inherited from the folder."""
    return sys.platform != "win32"
