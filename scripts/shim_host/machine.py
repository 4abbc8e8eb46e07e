"""What can be seen of this machine, for `doctor`: disk, memory, processes, files, programs. Nothing is judged here."""

import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import psutil

from shim.secret import is_skipped
from shim_host.files import is_own

# Module: what pip calls it.
LIBRARIES = {
    "docker": "docker",
    "gnupg": "python-gnupg",
    "pyrage": "pyrage",
    "rich": "rich",
    "ruamel.yaml": "ruamel.yaml",
}
_PROGRAM_SECONDS = 30
_DEFAULT_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True)
class Disk:
    """Room on the file system that *path* lies on."""

    path: str
    type: str
    free_bytes: int
    total_bytes: int
    free_files: int | None  # None where the file system does not count them


@dataclass(frozen=True)
class Memory:
    """Bytes of this machine."""

    available_bytes: int
    total_bytes: int
    swap_bytes: int


@dataclass(frozen=True)
class Folder:
    """./secrets as it lies there."""

    path: str
    exists: bool
    is_folder: bool = True
    is_link: bool = False
    mode: int = 0o700
    is_ours: bool = True
    can_write: bool = True
    wide_files: tuple[str, ...] = ()
    other_owners: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Socket:
    """The engine's socket, when it is a file."""

    path: str
    exists: bool
    is_socket: bool = True
    mode: int = 0o660
    group: str = ""
    can_use: bool = True


@dataclass(frozen=True)
class Daemon:
    """The process behind the engine's socket."""

    pid: int
    name: str
    up_seconds: float
    resident_bytes: int
    open_files: int | None  # None where they may not be counted
    most_files: int | None
    status: str


def disk(path: Path) -> Disk | None:
    """Return the disk below *path*, or below the nearest folder that exists; None where it cannot be seen."""
    place = Path(os.path.abspath(path))
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        usage = psutil.disk_usage(str(place))
        free_files = None
        if hasattr(os, "statvfs"):
            found = os.statvfs(place)
            free_files = found.f_favail if found.f_files else None
    except OSError:
        return None
    return Disk(str(path), _file_system(place), usage.free, usage.total, free_files)


def _file_system(place: Path) -> str:
    mounts = [(Path(part.mountpoint), part.fstype) for part in psutil.disk_partitions(all=True)]
    resolved = place.resolve()
    # Of several at one place the last one mounted is what shows there.
    holding = [
        (len(mount.parts), number, kind)
        for number, (mount, kind) in enumerate(mounts)
        if resolved.is_relative_to(mount)
    ]
    return max(holding, default=(0, 0, ""))[2].lower()


def memory() -> Memory:
    """Return what memory there is."""
    found = psutil.virtual_memory()
    return Memory(found.available, found.total, psutil.swap_memory().total)


def folder(path: Path) -> Folder:
    """Return how the folder of secrets lies there; no file in it is opened."""
    shown = str(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        return Folder(shown, exists=False, is_link=path.is_symlink())
    except OSError as error:
        return Folder(shown, exists=True, trouble=error.strerror or type(error).__name__)
    about = Folder(
        shown,
        exists=True,
        is_folder=stat.S_ISDIR(status.st_mode),
        is_link=path.is_symlink(),
        mode=stat.S_IMODE(status.st_mode),
        is_ours=is_own(status.st_uid),
        can_write=os.access(path, os.W_OK | os.X_OK),
    )
    if not about.is_folder:
        return about
    wide, others = [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                file = entry.stat(follow_symlinks=False)
                if is_skipped(entry.name) or not stat.S_ISREG(file.st_mode):
                    continue
                if file.st_mode & 0o077:
                    wide.append(entry.name)
                if not is_own(file.st_uid):
                    others.append(entry.name)
    except OSError as error:
        return Folder(shown, exists=True, trouble=error.strerror or type(error).__name__)
    if sys.platform == "win32":  # its modes say nothing; the access list of the folder does
        return about
    return replace(about, wide_files=tuple(sorted(wide)), other_owners=tuple(sorted(others)))


def socket_path(place: str) -> str:
    """Return the path of the engine's socket at *place* (a DOCKER_HOST); empty when it is not a local file."""
    if place.startswith("unix://"):
        return place.removeprefix("unix://")
    is_default = not place or "://" not in place
    return _DEFAULT_SOCKET if is_default and sys.platform != "win32" else ""


def look_at_socket(path: str) -> Socket:
    """Return how the engine's socket lies there."""
    try:
        status = os.stat(path)
    except OSError:
        return Socket(path, exists=False)
    group = str(status.st_gid)
    if sys.platform != "win32":
        import grp

        with suppress(KeyError):  # a number without a name is shown as it is
            group = grp.getgrgid(status.st_gid).gr_name
    can_use = os.access(path, os.R_OK | os.W_OK)
    return Socket(path, True, stat.S_ISSOCK(status.st_mode), stat.S_IMODE(status.st_mode), group, can_use)


def daemon(path: str) -> Daemon | None:
    """Return the process that listens on the socket at *path*; None where that cannot be told."""
    pid = _listener(path)
    candidates = [pid] if pid not in (None, 1) else _dockerds()  # systemd may have opened it for another
    for candidate in candidates:
        try:
            process = psutil.Process(candidate)
            with process.oneshot():
                return Daemon(
                    pid=process.pid,
                    name=process.name(),
                    up_seconds=time.time() - process.create_time(),
                    resident_bytes=process.memory_info().rss,
                    open_files=_counted(process),
                    most_files=_most_files(process),
                    status=process.status(),
                )
        except psutil.Error:
            continue
    return None


def _listener(path: str) -> int | None:
    """Return who made the socket at *path* listen (SO_PEERCRED, unix(7)), on Linux."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    pid = int(struct.unpack("3i", credentials)[0])
    return pid or None  # 0: it lives in another PID namespace


def _dockerds() -> list[int]:
    return [process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == "dockerd"]


def _counted(process: psutil.Process) -> int | None:
    if not hasattr(process, "num_fds"):
        return None
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        return None


def _most_files(process: psutil.Process) -> int | None:
    if not hasattr(process, "rlimit"):
        return None
    try:
        return int(process.rlimit(psutil.RLIMIT_NOFILE)[0])
    except psutil.AccessDenied:
        return None


def program_version(command: list[str], environ: Mapping[str, str]) -> str | None:
    """Return the first line that *command* prints; None where it is missing or fails."""
    if shutil.which(command[0], path=environ.get("PATH")) is None:
        return None
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROGRAM_SECONDS,
            check=False,
            env=dict(environ),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def missing_libraries() -> list[str]:
    """Return what pip would have to install; the program `age` does what pyrage does."""
    has_age = shutil.which("age") is not None
    return [
        package
        for module, package in LIBRARIES.items()
        if not _is_there(module) and not (module == "pyrage" and has_age)
    ]


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
