"""Put the binaries into wheels: one for each machine, and one with all of them for whatever else.

usage: release_wheels.py DIST MAN BINARY...
    DIST holds one wheel, py3-none-any; afterwards one for each machine, too. MAN holds manual pages for all of them.

A wheel for Linux carries the binary of its processor. The wheel for anything carries all that there are: on Windows and
macOS the engine runs in a machine of its own. Each binary is packed by xz, which halves what an installation takes; it
is data there, written to a file or into an image by `manage-secrets shim` and `manage-secrets image`.
"""

import base64
import csv
import hashlib
import io
import lzma
import sys
import zipfile
from pathlib import Path

FOLDER = "docker_secrets_shim/binaries"
# The binary is static: it runs on any Linux, and these are the oldest that pip knows.
GLIBC = {
    "amd64": ("manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_17_aarch64", "manylinux2014_aarch64"),
}
MUSL = {"amd64": ("musllinux_1_1_x86_64",), "arm64": ("musllinux_1_1_aarch64",)}


def main(dist: Path, man: Path, binaries: list[Path]) -> None:
    """Write the wheels beside the one in *dist*, and replace that."""
    (plain,) = dist.glob("*-py3-none-any.whl")
    pages = {path.name: path.read_bytes() for path in sorted(man.iterdir())}
    packed = {path.name.rpartition("-")[2]: lzma.compress(path.read_bytes(), preset=9) for path in binaries}
    for arch, data in packed.items():
        for platforms, drop in ((GLIBC[arch], b""), (MUSL[arch], b"Requires-Dist: pyrage")):
            write(plain, dist, pages, {arch: data}, platforms, drop)
    write(plain, dist, pages, packed, ("any",))


def write(
    plain: Path,
    dist: Path,
    pages: dict[str, bytes],
    packed: dict[str, bytes],
    platforms: tuple[str, ...],
    drop: bytes = b"",
) -> None:
    """Write the wheel for *platforms*: *plain*, the manual *pages* and the *packed* binaries.

    Metadata that begins as *drop* is left out.

    pyrage has no wheel for musl, and nobody who installs the extra `host` there has a compiler for Rust.
    """
    with zipfile.ZipFile(plain) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        when = archive.infolist()[0].date_time
    (info,) = {name.partition("/")[0] for name in files if name.endswith(".dist-info/WHEEL")}
    if drop:
        lines = files[f"{info}/METADATA"].splitlines(keepends=True)
        files[f"{info}/METADATA"] = b"".join(line for line in lines if not line.startswith(drop))
    about = [line for line in files[f"{info}/WHEEL"].decode().splitlines() if line and not line.startswith("Tag: ")]
    if platforms != ("any",):
        about[about.index("Root-Is-Purelib: true")] = "Root-Is-Purelib: false"
    tags = [f"Tag: py3-none-{platform}" for platform in platforms]
    files[f"{info}/WHEEL"] = "\n".join([*about, *tags, ""]).encode()
    files |= {f"{FOLDER}/shim-linux-{arch}.xz": data for arch, data in packed.items()}
    # pip puts what is below `data` where the environment has such files; man finds it beside its `bin`.
    data_folder = info.removesuffix(".dist-info") + ".data/data"
    files |= {f"{data_folder}/share/man/man1/{name}": page for name, page in pages.items()}
    del files[f"{info}/RECORD"]
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for name in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(files[name])))
    rows.writerow((f"{info}/RECORD", "", ""))
    files[f"{info}/RECORD"] = record.getvalue().encode()
    target = dist / plain.name.replace("-any.whl", f"-{'.'.join(platforms)}.whl")
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files, key=lambda name: (name.startswith(info), name)):
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".xz") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=9)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
