"""The container side's binary: that of this installation, or that of this checkout; and the image that is made of it.

A wheel carries it packed (scripts/release_wheels.py); a checkout builds it (scripts/shim-binary).
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

from shim import __file__ as package_file
from shim import __version__
from shim_host.errors import Failed, Refused, failed_file

ARCHITECTURES = ("amd64", "arm64")
_NAMES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_MACHINES = {0x3E: "amd64", 0xB7: "arm64"}  # e_machine, elf(5)
_PACKED = Path(str(package_file)).parent / "binaries"
_CHECKOUT = Path(__file__).resolve().parents[2]
_PATH = "opt/shim/shim"
_MOST_BYTES = 64 << 20  # of the binary, unpacked; it has less than a quarter of that
# The same binary makes the same image, whenever that is: no time of day is in it.
_CREATED = "1970-01-01T00:00:00Z"


def architecture(name: str = "") -> str:
    """Return Docker's name for the processor *name*, or for this machine's; "" when there is no shim for it."""
    return _NAMES.get((name or platform.machine()).lower(), "")


def carried() -> list[str]:
    """Return the architectures whose binary this installation carries."""
    return [name for name in ARCHITECTURES if (_PACKED / f"shim-linux-{name}.xz").is_file()]


def binary(arch: str) -> bytes:
    """Return the binary for *arch*: the installation's, or the checkout's, which may have to be built.

    Raises:
        Refused: there is none here; the hint says how to get it.
        Failed: it cannot be read or built.
    """
    packed = _PACKED / f"shim-linux-{arch}.xz"
    if packed.is_file():
        return from_file(packed, arch)
    builder = _CHECKOUT / "scripts" / "shim-binary"
    if builder.is_file():
        return _of_checkout(builder, arch)
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[arch]
    raise _other(
        "this installation",
        f"the shim for {' and '.join(carried())}" if carried() else "no shim",
        arch,
        f"pip download --no-deps --only-binary :all: --platform manylinux2014_{machine} docker-secrets-shim "
        "gets a wheel with it: name that file with --from",
        "in a checkout scripts/shim-binary builds it",
    )


def _of_checkout(builder: Path, arch: str) -> bytes:
    try:
        done = subprocess.run([builder, "--arch", arch], stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise failed_file("run", str(builder), error) from None
    if done.returncode:
        raise Failed(f"scripts/shim-binary did not build the shim for {arch}", "its own message is above")
    return from_file(Path(done.stdout.strip()), arch)


def from_file(path: Path, arch: str) -> bytes:
    """Return the binary for *arch* in the file at *path*: the binary itself, packed or not, or a wheel with it.

    Raises:
        Refused: it is not one of these.
        Failed: it cannot be read.
    """
    import zipfile

    wanted = f"/binaries/shim-linux-{arch}.xz"
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                name = next((name for name in wheel.namelist() if name.endswith(wanted)), "")
                data = wheel.open(name).read(_MOST_BYTES) if name else b""
        data = _unpacked(data) if data.startswith(b"\xfd7zXZ") else data
    except OSError as error:
        raise failed_file("read", str(path), error) from None
    except zipfile.BadZipFile:
        data = b""
    machine = _MACHINES.get(int.from_bytes(data[18:20], "little")) if data[:4] == b"\x7fELF" else None
    if machine != arch:
        what = f"a program for {machine}" if machine else "no shim"
        raise _other(str(path), what, arch, "name a file of a release: a wheel, or shim-linux-" + arch)
    return data


def _unpacked(data: bytes) -> bytes:
    """Return what the xz file *data* holds; nothing where it is damaged, or holds more than any shim."""
    try:
        import lzma
    except ModuleNotFoundError:
        hint = "use another Python; this one was built without the library, liblzma-dev of Debian"
        raise Refused("this Python has no module lzma, which unpacks the shim", hint) from None
    packed = lzma.LZMADecompressor(memlimit=4 * _MOST_BYTES)
    try:
        unpacked = packed.decompress(data, max_length=_MOST_BYTES)
    except lzma.LZMAError:
        return b""
    return unpacked if packed.eof else b""


def _other(place: str, what: str, arch: str, *hints: str) -> Refused:
    return Refused(f"{place} holds {what}, and one for {arch} is needed", *hints)


def image(program: bytes, arch: str, tag: str) -> bytes:
    """Return an image with only *program* in it, as an archive that an engine loads under the name *tag*."""
    layer = _archive({"opt/": b"", "opt/shim/": b"", _PATH: program})
    config = json.dumps(
        {
            "architecture": arch,
            "os": "linux",
            "created": _CREATED,
            "config": {
                "Entrypoint": [f"/{_PATH}"],
                "Labels": {
                    "org.opencontainers.image.title": "docker-secrets-shim",
                    "org.opencontainers.image.version": __version__,
                    "sha256": hashlib.sha256(program).hexdigest(),
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": _CREATED, "created_by": "manage-secrets image"}],
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    whole_tag = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
    manifest = json.dumps([{"Config": name, "RepoTags": [whole_tag], "Layers": ["layer.tar"]}]).encode()
    return _archive({name: config, "layer.tar": layer, "manifest.json": manifest})


def _archive(files: dict[str, bytes]) -> bytes:
    """Return *files* as a tar archive, root's and of no time; a name that ends in a slash is a folder."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.size, entry.mode = len(data), 0o755
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(data))
    return written.getvalue()
