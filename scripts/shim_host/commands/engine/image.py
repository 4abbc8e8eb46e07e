"""`shim` and `image`: from this installation to the shim that containers start with. Nothing is built or downloaded."""

import hashlib
import os
import re
from pathlib import Path

import click

from shim_host import binary, output
from shim_host.commands import options
from shim_host.errors import CLEAN, failed_file
from shim_host.files import make_folders, write_whole

TAG = "docker-secrets-shim"
_TAG = re.compile(r"(?:[\w.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?", re.ASCII)

_FROM = click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Take the shim from this wheel, or from this binary.",
)


@click.command("shim")
@click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to write to.",
)
@click.option(
    "--arch",
    "arches",
    multiple=True,
    metavar="ARCH",
    callback=lambda _ctx, _option, values: tuple(_arch(value) for value in values),
    help="Processor to write it for, amd64 or arm64; may be repeated.  [default: this machine's]",
)
@_FROM
@options.dry_run
def shim_command(folder: Path, arches: tuple[str, ...], source: Path | None, dry_run: bool) -> int:
    """Write the shim itself, a static binary for Linux, to DIR/shim-linux-ARCH, and print the path.

    Use it where you build images but cannot load docker-secrets-shim into the engine. Copy the binary from the build
    context:

    \b
      COPY shim-linux-amd64 /opt/shim/shim

    \b
    Examples:
      manage-secrets shim --out .
      manage-secrets shim --out build --arch amd64 --arch arm64
    """
    for arch in arches or (_arch(""),):
        path = folder / f"shim-linux-{arch}"
        data = binary.from_file(source, arch) if source else binary.binary(arch)
        output.say(f"{path} {'would be' if dry_run else 'is'} the shim for {arch}, {len(data)} bytes")
        if not dry_run:
            try:
                make_folders(folder)
            except OSError as error:
                raise failed_file("make", str(folder), error) from None
            write_whole(path, data, 0o755)
        output.give_line(str(path))
    return CLEAN


@click.command("image")
@click.option("--tag", default=TAG, show_default=True, metavar="NAME[:TAG]", help="Name of the image.")
@click.option(
    "--platform",
    "wanted",
    default="",
    metavar="OS/ARCH",
    help="Platform of the image, linux/amd64 or linux/arm64.  [default: the engine's]",
)
@_FROM
@options.as_json
@options.dry_run
def image_command(tag: str, wanted: str, source: Path | None, is_json: bool, dry_run: bool) -> int:
    """Load the image docker-secrets-shim into the engine, and print its digest.

    The image contains only the shim. A Dockerfile copies it from there:

    \b
      COPY --from=docker-secrets-shim /opt/shim/shim /opt/shim/shim

    Nothing is built, and no registry is contacted. A release creates the same image everywhere, so running the command
    again changes nothing.

    \b
    Examples:
      manage-secrets image
      manage-secrets image --tag registry.example.org/shim:1 --platform linux/arm64

    \b
    With --json: {"image", "platform", "digest", "sha256", "state": "loaded|unchanged|planned"}
    """
    from shim_host.swarm.connection import connect_as
    from shim_host.swarm.load import Loader

    if not _TAG.fullmatch(tag):
        raise click.BadParameter("it is not the name of an image", param_hint="--tag")
    if wanted and not wanted.startswith("linux/"):
        raise click.BadParameter("the shim is for Linux: linux/amd64 or linux/arm64", param_hint="--platform")
    engine = connect_as(Loader, os.environ)
    arch = _arch(wanted.removeprefix("linux/") if wanted else engine.processor())
    program = binary.from_file(source, arch) if source else binary.binary(arch)
    before = engine.digest(tag)
    digest = before if dry_run else engine.load(binary.image(program, arch, tag), tag)
    state = "planned" if dry_run else "unchanged" if digest == before else "loaded"
    words = {"planned": "would be loaded", "unchanged": "is there already", "loaded": "is loaded"}
    output.say(f"{tag} for linux/{arch} {words[state]}")
    if is_json:
        sha256 = hashlib.sha256(program).hexdigest()
        given = {"image": tag, "platform": f"linux/{arch}", "digest": digest, "sha256": sha256, "state": state}
        output.give_json(given)
    elif digest:
        output.give_line(digest)
    return CLEAN


def _arch(name: str) -> str:
    """Return Docker's name for the processor *name*, or of this machine.

    Raises:
        BadParameter: there is no shim for it.
    """
    arch = binary.architecture(name)
    if not arch:
        raise click.BadParameter("the shim is for amd64 and arm64", param_hint=repr(output.shown(name) or "here"))
    return arch
