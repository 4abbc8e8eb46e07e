"""List what a release is made of, as CycloneDX: the Python distribution with its dependencies, and each binary's parts.

usage: release_components.py TOOLS CACHE DIST ROOT     writes DIST/docker-secrets-shim-VERSION.cdx.json

TOOLS/bin/cyclonedx-py lists what is installed in TOOLS/product. What is linked into a binary is asked of Debian 13's
dpkg and headers, which are in ROOT, or in CACHE where another architecture's packages lie unpacked.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
SPEC = SchemaVersion.V1_6
# What is in a static binary: its name, licence, the package that holds it, and where its headers have the version.
# Where they have none, it is that of the package, up to Debian's own part.
PARTS = (
    ("cpython", "Python-2.0", "libpython3.13-dev", "usr/include/python3.13/patchlevel.h", r'PY_VERSION\s+"([^"]+)"'),
    ("zlib", "Zlib", "zlib1g-dev", "usr/include/zlib.h", r'ZLIB_VERSION "([^"]+)"'),
    ("libmd", "BSD-3-Clause", "libmd-dev", "", ""),
    ("glibc", "LGPL-2.1-or-later", "libc6-dev", "usr/include/features.h", r"__GLIBC(?:_MINOR)?__\s+(\d+)"),
)


def main(tools: Path, cache: Path, dist: Path, root: Path) -> None:
    """Write the list beside what it lists."""
    listed = subprocess.run(
        [
            tools / "bin/cyclonedx-py",
            "environment",
            "--output-reproducible",
            *("--spec-version", SPEC.to_version(), "--output-format", "JSON"),
            *("--pyproject", ROOT / "pyproject.toml", "--mc-type", "application"),
            tools / "product/bin/python",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    bom: dict[str, Any] = json.loads(listed.stdout)
    wheel = next(dist.glob("*-any.whl"))
    version = wheel.name.split("-")[1]
    _describe(bom, wheel, version)
    found: dict[str, dict[str, str]] = {}
    for binary in sorted(dist.glob("shim-linux-*")):
        arch = binary.name.rpartition("-")[2]
        parts = list(_parts(arch, cache, root))
        for part in parts:
            found.setdefault(part["name"], {})[arch] = part["purl"].partition("@")[2].partition("?")[0]
        bom["components"] += [_file(binary, version), *parts]
        bom["dependencies"].append({"ref": binary.name, "dependsOn": sorted(part["bom-ref"] for part in parts)})
        bom["dependencies"] += [{"ref": part["bom-ref"]} for part in parts]
    if unlike := differing(found):
        sys.exit(
            f"release: error: {', '.join(unlike)}: not at the same revision in all binaries; apt-get upgrade, rebuild"
        )
    text = json.dumps(bom, indent=2, sort_keys=True) + "\n"
    wrong = JsonStrictValidator(SPEC).validate_str(text)
    if wrong is not None:
        sys.exit(f"release: error: the list of components is not CycloneDX {SPEC.to_version()}: {wrong}")
    (dist / f"docker-secrets-shim-{version}.cdx.json").write_text(text, encoding="utf-8")


def _describe(bom: dict[str, Any], wheel: Path, version: str) -> None:
    """Say of the product itself what pyproject.toml leaves to the code: its version, and the wheel's checksum.

    Where the wheel lay on this machine concerns nobody.
    """
    product = bom["metadata"]["component"]
    own = {item["bom-ref"] for item in bom["components"] if item["name"] == product["name"]}
    bom["components"] = [item for item in bom["components"] if item["bom-ref"] not in own]
    product["version"] = version
    product["hashes"] = [_sha256(wheel)]
    product.pop("externalReferences", None)
    installed = {ref for entry in bom["dependencies"] if entry["ref"] in own for ref in entry.get("dependsOn", ())}
    bom["dependencies"] = [entry for entry in bom["dependencies"] if entry["ref"] not in own]
    for entry in bom["dependencies"]:
        if entry["ref"] == product["bom-ref"]:
            entry["dependsOn"] = sorted({*entry.get("dependsOn", ()), *installed} - own)


def _file(binary: Path, version: str) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": binary.name,
        "name": binary.name,
        "version": version,
        "hashes": [_sha256(binary)],
        "licenses": [{"license": {"id": "MIT"}}],
    }


def _sha256(file: Path) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}


def _parts(arch: str, cache: Path, root: Path) -> Iterator[dict[str, Any]]:
    """Yield what is linked into the binary for *arch*."""
    for name, licence, package, header, pattern in PARTS:
        folder = root if arch == HERE else _unpacked(arch, cache)
        revision = _debian_version(package) if arch == HERE else revisions(folder)[package]
        found = re.findall(pattern, (folder / header).read_text(encoding="utf-8")) if header else []
        part = _part(name, ".".join(found[:3]) or revision.partition("-")[0], licence, arch)
        part["purl"] = f"pkg:deb/debian/{package}@{revision}?arch={arch}".replace("+", "%2B")
        yield part
    pinned = (ROOT / "images/shim/pyinstaller.txt").read_text(encoding="utf-8")
    release = pinned.partition("pyinstaller==")[2].split()[0]
    yield {
        **_part("pyinstaller-bootloader", release, "GPL-2.0-or-later WITH Bootloader-exception", arch),
        "purl": f"pkg:pypi/pyinstaller@{release}",
    }


def _part(name: str, version: str, licence: str, arch: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": f"{name}-{arch}",
        "name": name,
        "version": version,
        "licenses": [{"expression": licence} if " WITH " in licence else {"license": {"id": licence}}],
        "purl": f"pkg:generic/{name}@{version}",
    }


def _unpacked(arch: str, cache: Path) -> Path:
    """Return where the headers of another architecture lie; images/shim/build names the folder after its Python."""
    return cache / f"debian-13-{arch}-{_debian_version('python3.13')}-with-libc"


def revisions(folder: Path) -> dict[str, str]:
    """Return the revision of each Debian package that images/shim/build unpacked into *folder*."""
    lines = (folder / "revisions").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def differing(parts: dict[str, dict[str, str]]) -> list[str]:
    """Return the parts that binaries of one release have at different revisions; *parts*: name -> arch -> revision."""
    return sorted(name for name, found in parts.items() if len(set(found.values())) > 1)


def _debian_version(package: str) -> str:
    asked = [str(ROOT / "scripts/debian-13"), "dpkg-query", "--show", "--showformat", "${Version}", package]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
