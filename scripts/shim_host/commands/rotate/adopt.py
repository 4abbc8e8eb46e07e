"""`adopt`: secrets that others made become versions of keys."""

from dataclasses import dataclass

import click

from shim_host.commands import options
from shim_host.commands.rotate import moving
from shim_host.commands.rotate.moving import MoveWish
from shim_host.rotate.adopt import AdoptWork


@dataclass(frozen=True)
class AdoptWish(MoveWish):
    """What the command line asks to be taken over."""

    names: tuple[str, ...]
    image: str


@click.command("adopt")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--image", default="", metavar="IMAGE", help="Image of the helper task that reads the values.")
@moving.options_of_moves
@options.no_questions
@options.gathered(AdoptWish)
def adopt_command(asked: AdoptWish) -> int:
    """Take over Swarm secrets that were not created by this tool: those named, or all that services mount.

    Such secrets were created by hand, by Ansible (db_password_v1, _v2 …), by Portainer, or by the file: of a stack.
    Their values are read back through a helper task on this manager and stored as versions of keys (DB_PASSWORD:
    db_password.v3). As in a rotation, every service is moved to them, and its mounts are kept as they are. The original
    secrets are not removed; at the end you are told which are no longer needed, and what to write in the stack file.

    A name that a deployment numbers (name: db_password_${VERSION}) belongs to the key whose file it is mounted as.
    Secrets of a stack's file: (shop_db_password) are taken over with --stack shop.

    \b
    Examples:
      manage-secrets adopt --dry-run
      manage-secrets adopt db_password_v3
      manage-secrets adopt --stack shop

    \b
    With --json: as rotate prints it ("state": "moved|planned|nothing to do").
    """
    return asked.work(AdoptWork).adopt(asked.names, asked.image, asked.force, asked.dry_run)
