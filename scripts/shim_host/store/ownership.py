"""Root in someone else's folder: asked about once, and what is written there is theirs.

Whoever owns a folder may lead root anywhere with a link, and may lose the use of files that are suddenly root's. The
first is prevented (vault.py opens the folder once); that the second is meant, only the person knows.
"""

import os
from pathlib import Path

from shim_host import output
from shim_host.errors import Refused
from shim_host.files import is_unknown

_agreed: set[int] = set()  # whose folders root was told to write into


def is_anothers(owner: int) -> bool:
    """Return whether we are root, and a folder of *owner* is not root's; nobody is root on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and owner != 0


def ask(path: Path, owner: int) -> None:
    """Ask before root writes into the folder at *path*, which *owner* has; once is enough.

    Where root has no capability to write there it is nobody special, and the attempt itself says so.

    Raises:
        Refused: nobody agrees, or nobody can be given anything.
    """
    if is_anothers(owner) and owner not in _agreed and os.access(path, os.W_OK):
        if is_unknown(owner):
            hint = "write as the user who owns it, or map that user into this namespace"
            raise Refused(f"{path} belongs to somebody whom this user namespace does not know", hint)
        output.confirm(f"{path} belongs to {_name_of(owner)}: write there as root, and give them what is written?")
        _agreed.add(owner)


def give_as_around(folder: int, around: int) -> None:
    """Give a new *folder* to whoever has the one *around* it, if root was told to write there."""
    found = os.fstat(around)
    if is_anothers(found.st_uid) and found.st_uid in _agreed:
        os.fchown(folder, found.st_uid, found.st_gid)


def _name_of(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
