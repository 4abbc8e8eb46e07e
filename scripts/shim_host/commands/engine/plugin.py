"""`plugin`: the commands of this tool as `docker secretshim …`."""

import os
from pathlib import Path

import click

import shim_host
from shim_host import output
from shim_host.apps import docker_plugin
from shim_host.commands import options


@click.command("plugin")
@click.argument("action", type=click.Choice(["install", "remove"]))
@click.option("--dir", "place", type=click.Path(path_type=Path), metavar="DIR", help="Use another folder of plugins.")
@options.dry_run
@options.no_questions
def plugin(action: str, place: Path | None, dry_run: bool) -> None:
    """Add `docker secretshim` to Docker's command line, or remove it.

    The plugin is one small file in ~/.docker/cli-plugins ($DOCKER_CONFIG/cli-plugins) that starts this installation.
    `docker secretshim COMMAND` then runs `manage-secrets COMMAND`, and a Compose file can use it as a provider, so that
    `docker compose up` generates what is missing in ./secrets.

    \b
    Examples:
      manage-secrets plugin install
      docker secretshim validate
      manage-secrets plugin remove
    """
    path = docker_plugin.path_in(place or docker_plugin.folder(os.environ))
    if action == "install":
        if not dry_run:
            docker_plugin.install(path, Path(shim_host.__file__).parent.with_name("manage_secrets.py"))
        output.say(f"{'would write' if dry_run else 'wrote'} {path}: docker {docker_plugin.NAME} --help")
        return
    is_there = os.path.lexists(path) if dry_run else docker_plugin.remove(path)
    said = "would remove" if dry_run else "removed"
    output.say(f"{said} {path}" if is_there else f"there is no {path}")
