"""`adopt`: secrets that somebody else made become versions of keys."""

from pathlib import Path

import click

from shim_host import inputs
from shim_host.commands import options, rotate
from shim_host.rotate.adopt import AdoptWork
from shim_host.rotate.swarm_run import Settings
from shim_host.store.vault import Vault


@click.command("adopt")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--image", default="", metavar="IMAGE", help="Image of the helper task that reads the values.")
@click.option("--force", is_flag=True, help="Continue even if something is likely to fail.")
@options.lock_file
@rotate.timeout_option
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Number of services to move at a time."
)
@options.by
@click.option("--leave", multiple=True, metavar="SERVICE", help="Leave SERVICE on the secret that it has.")
@click.option("--stack", default="", metavar="NAME", help="The stack that the secrets belong to.")
@options.secrets_dir
@options.schema
@options.salt
@options.as_json
@options.dry_run
@options.no_questions
def adopt_command(
    names: tuple[str, ...],
    image: str,
    force: bool,
    lock_file: Path | None,
    timeout: float,
    parallel: int,
    by: str,
    leave: tuple[str, ...],
    stack: str,
    secrets_dir: Path,
    schema_path: Path | None,
    salt: bytes,
    is_json: bool,
    dry_run: bool,
) -> int:
    """Take over Swarm secrets that were not created by this tool: those named, or all that services mount.

    Such secrets were created by hand, by Ansible (db_password_v1, _v2 …), by Portainer, or by the file: of a stack.
    Their values are read back through a helper task on this manager and stored as versions of keys (DB_PASSWORD:
    db_password.v3). As in a rotation, every service is moved to them, and its mounts are kept as they are. The original
    secrets are not removed; at the end you are told which are no longer needed, and what to write in the stack file.

    Secrets of a stack's file: (shop_db_password) are taken over with --stack shop.

    \b
    Examples:
      manage-secrets adopt --dry-run
      manage-secrets adopt db_password_v3
      manage-secrets adopt --stack shop

    \b
    With --json: as rotate prints it ("state": "moved|planned|nothing to do").
    """
    schema = inputs.read_schema(schema_path)
    settings = Settings(salt, timeout, parallel, by=by)
    work = AdoptWork(stack, settings, lock_file, Vault.of_stack(secrets_dir, stack), schema, is_json, leave)
    return work.adopt(names, image, force, dry_run)
