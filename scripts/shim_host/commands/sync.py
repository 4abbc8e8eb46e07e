"""`sync`: services, the versions file and ./secrets brought together, in the direction that is asked for."""

from pathlib import Path

import click

from shim_host import inputs, output
from shim_host.commands import options, rotate
from shim_host.commands import swarm as create
from shim_host.errors import UsageError
from shim_host.rotate.swarm_run import Settings
from shim_host.rotate.sync import SyncWork
from shim_host.shell import quoted
from shim_host.store.vault import Vault
from shim_host.swarm import stacks


@click.command("sync")
@click.argument("keys", nargs=-1, callback=rotate.names_of_keys)
@click.option("--to", "number", type=click.IntRange(min=1), metavar="N", help="Move one KEY to version N.")
@click.option("--from-files", is_flag=True, help="First create versions from what is in ./secrets.")
@click.option("--to-files", is_flag=True, help="Write the Swarm's newest values into ./secrets instead; move nothing.")
@click.option(
    "--image", default="", metavar="IMAGE", help="With --to-files: image of the helper task; it needs cat and sleep."
)
@options.yes
@options.dry_run
@options.as_json
@options.salt
@options.schema
@options.secrets_dir
@click.option("--force", is_flag=True, help="Continue even if something is likely to fail.")
@options.lock_file
@rotate.timeout_option
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Number of services to move at a time."
)
@options.by
@click.option("--leave", multiple=True, metavar="SERVICE", help="Leave SERVICE on the version that it has.")
@click.option("--stack", default="", metavar="NAME", help="The stack that the secrets belong to.")
def sync_command(
    keys: tuple[str, ...],
    number: int | None,
    from_files: bool,
    to_files: bool,
    image: str,
    yes: bool,
    dry_run: bool,
    is_json: bool,
    salt: bytes,
    schema_path: Path | None,
    secrets_dir: Path,
    force: bool,
    lock_file: Path | None,
    timeout: float,
    parallel: int,
    by: str,
    leave: tuple[str, ...],
    stack: str,
) -> int:
    """Bring every service to the newest version of KEYS, or of all keys.

    Services fall behind when a stack deploy or a rollback by the Swarm sets them back, or when a rotation left them
    out. sync moves them forward and keeps each mount as it is: target, uid, gid, mode. No secret is created or removed.
    The versions file is updated too, so that the next stack deploy names what is running.

    --from-files brings the Swarm to what is in ./secrets, in one run: missing keys are created, keys whose file holds a
    different value get a new version, and all services are moved. --to-files goes the other way: it writes the Swarm's
    values into ./secrets, read through a helper task as export does.

    \b
    Examples:
      manage-secrets sync
      manage-secrets sync API_KEY --to 3
      manage-secrets sync --from-files --stack shop --dry-run
      manage-secrets sync DB_PASSWORD --to-files

    \b
    With --json: {"runs": [...]}, each as create-swarm or rotate prints it ("state": "moved"), or for --to-files
    {"keys": [KEY], "state": "written|planned"}.
    """
    if number is not None and (len(keys) != 1 or from_files or to_files):
        raise UsageError("--to works with one key, and without --from-files and --to-files")
    if from_files and to_files:
        raise UsageError("--from-files and --to-files cannot be used together")
    schema = inputs.read_schema(schema_path)
    store = Vault.of_stack(secrets_dir, stack)
    settings = Settings(salt, timeout, parallel, by=by)

    def work() -> SyncWork:
        return SyncWork(stack, settings, lock_file, store, schema, is_json, leave)

    if to_files:
        return _to_files(work(), keys, image, dry_run, yes, is_json)
    with output.gathered("runs"):
        if from_files:
            place = create.Place(stack, lock_file, store, salt, by)
            create.make_missing(keys, schema_path, place, is_json=is_json, dry_run=dry_run)
            now = work()
            values, older = now.differing(keys or now.files.by_key())
            if older:
                way_back = f"manage-secrets sync {' '.join(map(quoted, older))} --to-files{stacks.option(stack)}"
                shown = ", ".join(now.files.shown(key) for key in older)
                output.warn(f"older than the newest version: {shown}", f"{way_back} writes the newest into the file")
                output.confirm("make the older value the newest?", yes=yes or dry_run)
            if values:
                code = now.rotate(list(values), None, generate=False, force=force, dry_run=dry_run, given=values)
                if code or dry_run:
                    return code
        return work().sync(keys, number, force, dry_run)


def _to_files(work: SyncWork, keys: tuple[str, ...], image: str, dry_run: bool, yes: bool, is_json: bool) -> int:
    wanted = [version.key for version in work.wanted_by_files(keys)]
    will = "would be" if dry_run else "to be"
    output.say(f"{', '.join(wanted) or 'no file'}: {will} written into {work.files.store.path}")
    if wanted and not dry_run:
        output.confirm(f"replace the value of {', '.join(wanted)} in {work.files.store.path}?", yes=yes)
        work.to_files(keys, image)
    if is_json:
        output.give_json({"keys": wanted, "state": "planned" if dry_run else "written"})
    return 0
