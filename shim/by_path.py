"""`get_secret` where there is no Linux below: a developer's Windows or macOS. Files are read by their path.

The order, the trimming and the names are those of a container. What protects a container from other users (open
folders, who may write) needs Linux, and there is nobody else on a developer's machine.
"""

import os

from shim.errors import Breach
from shim.secret import MAX_SECRET_BYTES, clean, env_key, is_skipped

_ROOTS = ("/run/secrets", "./secrets")


class Look:
    """What is asked for, what was found, and where it was looked."""

    def __init__(self, key: str) -> None:
        self.key = key
        listed = os.environ.get("SHIM_SECRETS_DIR", "")
        # Windows separates folders with a semicolon, as its PATH does: a colon follows a drive.
        self.roots = [part for part in listed.split(os.pathsep) if part]
        self.follows_roots = bool(self.roots)
        if not self.roots:
            given = os.environ.get("CREDENTIALS_DIRECTORY", "")
            self.roots = [*([given] if os.path.isabs(given) else []), *_ROOTS]
        self.is_there = False  # there is a file for the key, if only an empty one

    def value(self) -> bytes | None:
        """Return the value, b"" when only empty ones are there, None when nothing is.

        Raises:
            Breach: a file that should hold it cannot be used.
        """
        given = os.environ.get(self.key)
        environment = None if given is None else given.encode("utf-8", "surrogateescape")
        for variable in (f"{self.key}_FILE", f"{self.key}__FILE", f"FILE__{self.key}"):
            pointer = os.environ.get(variable)
            if pointer:
                self.is_there = True
                pointed = self._read(pointer.strip("\"' \t\r\n"), "")
                if pointed:
                    return pointed
                break
        for root in self.roots:
            path = self._file_in(root)
            if path:
                self.is_there = True
                try:
                    return self._read(path, root) or environment
                except Breach:
                    # It is a link to nothing, or a folder that an engine made in its place.
                    if not environment or os.path.isfile(path):
                        raise
                    return environment
        return environment

    def _file_in(self, root: str) -> str:
        """Return the path of the file in *root* that is for the key; "" when there is none."""
        try:
            names = sorted(os.listdir(root))
        except OSError:
            return ""
        found = [name for name in names if not is_skipped(name) and env_key(name, (self.key,)) == self.key]
        files = [name for name in found if not os.path.isdir(os.path.join(root, name))] or found
        if len(files) > 1:
            first, second = (os.path.join(root, name) for name in files[:2])
            raise Breach(self.key, f"{first} and {second} both map to {self.key}", "keep one of the two")
        return os.path.join(root, files[0]) if files else ""

    def _read(self, path: str, root: str) -> bytes:
        shown = path if root else f"the file that {self.key}_FILE names"
        if root and not _is_below(path, root):
            raise Breach(
                self.key,
                f"{self.key}: {shown} is a link that leaves its secrets root {root}",
                "put the file itself below the root, or name its folder with SHIM_SECRETS_DIR",
            )
        if os.path.isdir(path):
            raise Breach(self.key, f"{self.key}: {shown} is a directory, not a file", "put a file in its place")
        try:
            if not os.path.isfile(path) and os.path.exists(path):
                raise Breach(
                    self.key,
                    f"{self.key}: {shown} is {_kind(path)}, and reading it could wait forever",
                    "a secret must be a regular file",
                )
            with open(path, "rb") as file:
                data = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise Breach(self.key, f"{self.key}: {shown} cannot be read: {error.strerror}", "check the path") from None
        if len(data) > MAX_SECRET_BYTES:
            raise Breach(
                self.key,
                f"{self.key}: {shown} is larger than {MAX_SECRET_BYTES} bytes",
                "a secret is a password or a key",
            )
        return clean(data)


def _kind(path: str) -> str:
    return "a FIFO" if os.stat(path).st_mode & 0o170000 == 0o010000 else "a device"


def _is_below(path: str, root: str) -> bool:
    real_root = os.path.realpath(root)
    try:
        return os.path.commonpath([os.path.realpath(path), real_root]) == real_root
    except ValueError:  # on another drive
        return False
