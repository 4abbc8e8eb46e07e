"""A folder that was opened once: what lies below it is reached through its descriptor, and no link leaves it.

Whoever may write into the folder can exchange a file for a link at any moment. So nothing is looked at first and opened
then: what is opened is what counts, and openat2(2) lets no link on the way lead out. A kernel without it gets the same
by walking name by name. Loaded when a file is not simply there: the way to exec reads it by itself (resolve.py).
"""

from posix import close

from shim import errors, files

_LINK, _WRITABLE_BY_OTHERS = 0o120000, 0o022
_EPERM, _ENOENT, _EAGAIN, _EXDEV, _EINVAL, _ENOSYS, _ELOOP = 1, 2, 11, 18, 22, 38, 40
_HERE = -100  # AT_FDCWD, openat(2)
_MOST_LINKS = 40  # the kernel's own limit, path_resolution(7)
_MOST_TRIES = 8
_NOBODY = 65534  # how a user namespace shows everybody whom it does not know (user_namespaces(7)); we may be called so


class Folder:
    """A folder, opened when it is first used, and open from then on."""

    # No __slots__: their descriptors would take longer to make, at every start, than all that is done with them.

    def __init__(self, path: bytes, follow: bool = True, descriptor: int = -1) -> None:
        """Make it of a path, which may only be a link where somebody named it, or of what is open already."""
        self._path = path
        self._follow = follow
        self._descriptor = descriptor

    def opened(self) -> int:
        """Return its descriptor.

        Raises:
            OSError: as open(2) says.
        """
        if self._descriptor < 0:
            self._descriptor = files.open_folder(self._path, self._follow)
        return self._descriptor

    def close(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)

    def names(self) -> list[bytes]:
        """Return the names in it, in no order."""
        return files.list_folder(self.opened())

    def read(self, name: bytes, limit: int, is_guarded: bool = False) -> tuple[int, int, bytes]:
        """Return mode, size in bytes, and at most `limit + 1` bytes of the file *name*, a path below this folder.

        Args:
            name: a file's name, or a path; links on the way are followed while they stay below this folder.
            limit: how much of it is needed.
            is_guarded: follow no link, and take only a file that nobody else could have written.

        Raises:
            OSError: as open(2) and read(2) say; EXDEV: a link leads out of this folder.
            NotOurs: it is not to be used.
        """
        if b"/" not in name and name not in (b".", b".."):
            try:
                mode, owner, size, data = files.read_at(self.opened(), name, limit)
            except OSError as error:
                if is_guarded:
                    self._check_owner_of(name)
                if error.errno != _ELOOP:
                    raise
            else:
                if is_guarded:
                    _check_owner(mode, owner)
                return mode, size, data
        descriptor = self._open(name)
        try:
            mode, _, size, data = files.read_open(descriptor, limit)
        finally:
            close(descriptor)
        return mode, size, data

    def enter(self, name: bytes) -> "Folder":
        """Return the folder *name* in this one, if nobody else could have put it there.

        Raises:
            OSError: as open(2) says.
            NotOurs: it is another's, or a link.
        """
        try:
            folder = Folder(self._path + b"/" + name, False, files.open_at(self.opened(), name, True))
        except OSError:
            self._check_owner_of(name)
            raise
        try:
            folder.check_owner()
        except errors.Breach:
            folder.close()
            raise
        return folder

    def check_owner(self) -> None:
        """Check that nobody else could write into this folder.

        Raises:
            NotOurs: naming the owner.
        """
        _check_owner(*files.status(self.opened()))

    def _check_owner_of(self, name: bytes) -> None:
        """Check the same of what cannot be opened, if it is there at all."""
        try:
            mode, owner = files.status_at(self.opened(), name)
        except OSError:
            return
        if mode & 0o170000 == _LINK:
            raise _not_ours("is a link")
        _check_owner(mode, owner)

    def _open(self, path: bytes) -> int:
        """Return a descriptor of the file at *path*, links included that stay below this folder."""
        tries = _MOST_TRIES
        while True:
            tries -= 1
            try:
                return files.open_beneath(self.opened(), path)
            except OSError as error:
                # EXDEV: it leads out, or is an absolute link that may lead back in. EAGAIN: something on the way was
                # renamed meanwhile. EPERM: a filter that does not know the call.
                if error.errno in (_EXDEV, _ENOSYS, _EPERM) or (error.errno == _EAGAIN and not tries):
                    break
                # Kubernetes removes the old folder once `..data` names the new one, and we may be in between.
                if error.errno not in (_EAGAIN, _ENOENT) or not tries:
                    raise
        while True:
            try:
                return self._walk(path)
            except OSError as error:
                if error.errno != _ENOENT or tries <= 0:
                    raise
            tries -= 1

    def _walk(self, path: bytes) -> int:
        """Do the same name by name; each folder on the way is held open, and `..` goes back to the one before."""
        todo = path.split(b"/")
        held: list[int] = []
        links = 0
        try:
            while todo:
                name = todo.pop(0)
                if name in (b"", b"."):
                    continue
                if name == b"..":
                    if not held:
                        raise OSError(_EXDEV, "the link leads out of its folder")
                    close(held.pop())
                    continue
                here = held[-1] if held else self.opened()
                try:
                    target = files.read_link_at(here, name)
                except OSError as error:
                    if error.errno != _EINVAL:
                        raise
                else:
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(_ELOOP, "Too many levels of symbolic links")
                    if target[:1] == b"/":
                        target = self._below(target)
                        while held:
                            close(held.pop())
                    todo[:0] = target.split(b"/")
                    continue
                descriptor = files.open_at(here, name, any(part not in (b"", b".") for part in todo))
                held.append(descriptor)
            return held.pop() if held else files.open_at(self.opened(), b".", True)
        finally:
            for descriptor in held:
                close(descriptor)

    def _below(self, target: bytes) -> bytes:
        """Return where the absolute path *target* leads below this folder, whose own path may go through links."""
        if not target.startswith(self._path + b"/"):
            from shim import links

            target = links.by_another_name(target, {self._path: links.real(self._path)})[0]
            if not target:
                raise OSError(_EXDEV, "the link leads out of its folder")
        return target[len(self._path) :]


def open_beside_us(name: bytes) -> Folder:
    """Return the folder *name* of the working directory, if nobody else could have put it there.

    Raises:
        OSError: as open(2) says.
        NotOurs: the working directory or the folder is another's, or a link.
    """
    here = _working_directory()
    try:
        return here.enter(name)
    finally:
        here.close()


def read_beside_us(name: bytes, limit: int) -> tuple[int, int, bytes]:
    """Return what `Folder.read` does of a file in the working directory, if nobody else could have put it there.

    Raises:
        OSError: as open(2) and read(2) say.
        NotOurs: the working directory or the file is another's, or a link.
    """
    here = _working_directory()
    try:
        return here.read(name, limit, True)
    finally:
        here.close()


def open_place(path: bytes) -> int:
    """Return a descriptor of the folder in which the file at *path* lies, reached through no link of a stranger's.

    Somebody who may write into a folder on the way could lead us anywhere else with one.

    Raises:
        OSError: as open(2) says.
        NotOurs: a link on the way belongs to neither root nor us.
    """
    todo = _parts(path.rpartition(b"/")[0])
    at = files.open_path(_HERE, b"/" if path[:1] == b"/" else b".")
    links = 0
    while todo:
        before = at
        try:
            at = files.open_path(before, todo.pop(0))
            mode, owner = files.status(at)
            if mode & 0o170000 == _LINK:
                try:
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(_ELOOP, "Too many levels of symbolic links")
                    _check_owner(mode & ~_WRITABLE_BY_OTHERS, owner)
                    target = files.read_link_at(at, b"")
                finally:
                    close(at)
                at = files.open_path(before, b"/" if target[:1] == b"/" else b".")
                todo[:0] = _parts(target)
        finally:
            close(before)
    return at


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _working_directory() -> Folder:
    here = Folder(b".", True, files.open_path(_HERE, b"."))  # it may be closed to readers
    try:
        here.check_owner()
    except errors.Breach as trouble:
        here.close()
        raise _not_ours(f"is in a folder that {trouble.message}") from None
    return here


def _check_owner(mode: int, owner: int) -> None:
    """Check that root or the shim's own user owns what has this *mode*, and that nobody else can write it.

    Raises:
        NotOurs: naming the owner.
    """
    if owner != 0:
        from posix import geteuid

        if owner == _NOBODY:
            from shim.place import is_mapped

            if is_mapped() is not False:
                raise _not_ours(f"belongs to uid {owner}, which is everybody whom this user namespace does not know")
        if owner != geteuid():
            raise _not_ours(f"belongs to uid {owner}")
    if mode & _WRITABLE_BY_OTHERS:
        raise _not_ours(f"belongs to uid {owner}, and others can write it (mode {mode & 0o7777:04o})")


def _not_ours(words: str) -> "errors.Breach":
    from shim.breaches import NotOurs

    return NotOurs("", words)
