"""`sync`: services, the versions file and ./secrets brought together, in the direction that is asked for."""

from dataclasses import dataclass

import click

from shim_host import output
from shim_host.commands import options
from shim_host.commands import swarm as create
from shim_host.commands.rotate import moving
from shim_host.commands.rotate.moving import MoveWish
from shim_host.errors import UsageError
from shim_host.rotate.sync import SyncWork
from shim_host.shell import quoted
from shim_host.swarm import stacks


@dataclass(frozen=True)
class SyncWish(MoveWish):
    """What the command line asks to be brought up to date."""

    keys: tuple[str, ...]
    number: int | None
    from_files: bool
    to_files: bool
    image: str
    yes: bool


@click.command("sync")
@options.keys()
@click.option("--to", "number", type=click.IntRange(min=1), metavar="N", help="Move one KEY to version N.")
@click.option("--from-files", is_flag=True, help="First create versions from what is in ./secrets.")
@click.option("--to-files", is_flag=True, help="Write the Swarm's newest values into ./secrets instead; move nothing.")
@click.option(
    "--image", default="", metavar="IMAGE", help="With --to-files: image of the helper task; it needs cat and sleep."
)
@options.yes
@moving.options_of_moves
@options.gathered(SyncWish)
def sync_command(asked: SyncWish) -> int:
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
    if asked.number is not None and (len(asked.keys) != 1 or asked.from_files or asked.to_files):
        raise UsageError("--to works with one key, and without --from-files and --to-files")
    if asked.from_files and asked.to_files:
        raise UsageError("--from-files and --to-files cannot be used together")
    if asked.to_files:
        return _to_files(asked)
    with output.gathered("runs"):
        if asked.from_files:
            place = create.Place(asked.stack, asked.lock_file, asked.store, asked.salt, asked.by)
            create.make_missing(asked.keys, asked.schema_path, place, is_json=asked.is_json, dry_run=asked.dry_run)
            now = asked.work(SyncWork)
            values, older = now.differing(asked.keys or now.files.by_key())
            if older:
                way_back = f"manage-secrets sync {' '.join(map(quoted, older))} --to-files{stacks.option(asked.stack)}"
                shown = output.listed(now.files.shown(key) for key in older)
                output.warn(f"older than the newest version: {shown}", f"{way_back} writes the newest into the file")
                output.confirm("make the older value the newest?", yes=asked.yes or asked.dry_run)
            if values:
                code = now.rotate(
                    list(values), None, generate=False, force=asked.force, dry_run=asked.dry_run, given=values
                )
                if code or asked.dry_run:
                    return code
        return asked.work(SyncWork).sync(asked.keys, asked.number, asked.force, asked.dry_run)


def _to_files(asked: SyncWish) -> int:
    work = asked.work(SyncWork)
    wanted = [version.key for version in work.wanted_by_files(asked.keys)]
    will = "would be" if asked.dry_run else "to be"
    output.say(f"{output.listed(wanted) or 'no file'}: {will} written into {work.files.store.path}")
    if wanted and not asked.dry_run:
        output.confirm(f"replace the value of {output.listed(wanted)} in {work.files.store.path}?", yes=asked.yes)
        work.to_files(asked.keys, asked.image)
    if asked.is_json:
        output.give_json({"keys": wanted, "state": "planned" if asked.dry_run else "written"})
    return 0
