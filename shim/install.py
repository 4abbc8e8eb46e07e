"""`shim install DIR`: a copy of this program, for init containers and shared volumes."""

import os

from shim import kernel
from shim.breaches import Unreadable
from shim.errors import Refused


def run(folder: bytes) -> int:
    """Copy this program to `folder/shim`, whole or not at all; a newer one replaces an older one."""
    target = os.path.join(folder, b"shim")
    temporary = target + b".new-%d" % os.getpid()
    try:
        os.makedirs(folder, exist_ok=True)
        content = _own_program()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o755)
            os.fsync(descriptor)
        os.rename(temporary, target)
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        shown = target.decode("utf-8", "surrogateescape")
        message = f"cannot install {shown}: {error.strerror}"
        raise Refused([Unreadable("", message, "name a writable folder, such as a shared volume")]) from None
    return 0


def _own_program() -> bytes:
    if kernel.IS_FROZEN:
        for path in (b"/proc/self/exe", kernel.argv[0]):
            try:
                with open(path, "rb") as file:
                    return file.read()
            except FileNotFoundError:
                continue
        raise FileNotFoundError(2, "this program's own file is not to be found without /proc")
    return _zipped()


def _zipped() -> bytes:
    """Return this package as one executable file for any Python, where it was not frozen."""
    import io
    import tempfile
    import zipapp
    from pathlib import Path

    package = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "shim"
        copy.mkdir()
        for source in sorted(package.glob("*.py")):
            (copy / source.name).write_bytes(source.read_bytes())
        archive = io.BytesIO()
        zipapp.create_archive(folder, archive, interpreter="/usr/bin/env python3", main="shim.__main__:main")
        return archive.getvalue()
