"""`migrate`: from a Compose file and a `.env` with values to the same services with secrets."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from shim_host import output
from shim_host.commands import options
from shim_host.commands.env import OWNER_HELP, owner_of
from shim_host.commands.migrate import words
from shim_host.compose import reading
from shim_host.compose.project import Project, all_variables
from shim_host.errors import Failed, Refused
from shim_host.files import remove
from shim_host.migrate import adopt, check
from shim_host.migrate.inputs import known_images, read_sources, wishes_of
from shim_host.migrate.model import (
    DEFAULT_IMAGE,
    SHIM,
    MigrationPlan,
    Rejected,
    ShimSource,
    compose_path,
)
from shim_host.migrate.new_files import new_files, new_path
from shim_host.migrate.plan import make_plan
from shim_host.migrate.prove import Asked, Proven, proven
from shim_host.migrate.write import REPLACED, Written, in_git, outputs, secrets_to_write, write
from shim_host.recognition.sensitive import why_secret
from shim_host.store.vault import Vault

_A_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@dataclass(frozen=True)
class MigrateWish:
    """What the command line asks of a migration."""

    files: tuple[Path, ...]
    more_files: tuple[Path, ...]
    env_files: tuple[Path, ...]
    image_configs: tuple[Path, ...]
    program: Path | None
    shim_image: str
    secret: tuple[str, ...]
    public: tuple[str, ...]
    adopts: bool
    undoes: bool
    force: bool
    owner: tuple[int, int] | None
    secrets_dir: Path
    schema_path: Path | None
    is_json: bool
    dry_run: bool
    yes: bool


@click.command("migrate")
@click.argument("files", nargs=-1, type=_A_FILE)
@click.option(
    "--file", "-f", "more_files", multiple=True, type=_A_FILE, metavar="FILE", help="A Compose file; may be repeated."
)
@options.env_files
@click.option(
    "--image-config",
    "image_configs",
    multiple=True,
    type=_A_FILE,
    metavar="FILE",
    help="Output of `docker image inspect`, for images that are not here; may be repeated.",
)
@click.option(
    "--shim", "program", type=_A_FILE, metavar="FILE", help="Mount this shim binary instead of a volume from the image."
)
@click.option(
    "--shim-image",
    default=DEFAULT_IMAGE,
    show_default=True,
    metavar="IMAGE",
    help="The image that contains the shim.",
)
@click.option(
    "--secret",
    "secret",
    multiple=True,
    metavar="KEY",
    help="Treat KEY as a secret, whatever its name; may be repeated.",
)
@click.option(
    "--public", "public", multiple=True, metavar="KEY", help="Treat KEY as public, whatever its name; may be repeated."
)
@click.option("--adopt", "adopts", is_flag=True, help="Replace the old files with the new ones.")
@click.option("--undo", "undoes", is_flag=True, help="Restore the files that --adopt replaced; secret files stay.")
@click.option(
    "--force", is_flag=True, help="Replace the new files of an earlier run, and secrets that hold different values."
)
@click.option("--owner", callback=lambda _ctx, _option, value: owner_of(value), metavar="UID[:GID]", help=OWNER_HELP)
@options.writing
@options.gathered(MigrateWish)
def command(wish: MigrateWish) -> int:
    """Move the secrets of a Compose project from its .env and environment: to files.

    FILES are the Compose files; by default, those that Compose would use. New files are written beside the old ones
    (docker-compose.secrets.yml, .env.new), the values go into ./secrets, and the old files are kept. A service whose
    image reads KEY_FILE itself gets that variable; every other service is started through the shim, followed by the
    image's own entrypoint and command. Whether a key is a secret is decided by the schema, then by its name, then by
    what its value looks like.

    With --adopt the new files replace the old ones, at once or after you have tried them. The old files are kept in
    ./secrets, and --undo restores them.

    The shim comes from its image through a volume, filled by a service shim-install, or from --shim PATH.

    A secret in a command, a label or a build argument cannot become a file. It stays where it is, a finding shows
    where, and the exit code is 1, although the new files have been written.

    \b
    Examples:
      manage-secrets migrate --dry-run
      manage-secrets migrate -f docker-compose.yml -f docker-compose.prod.yml
      manage-secrets migrate --adopt
      manage-secrets migrate --undo
      manage-secrets migrate --shim ./shim-linux-amd64 --public STRIPE_KEY --yes

    \b
    With --json: {"files": [{"path", "state": "created|unchanged|replaced|planned"}],
      "secrets": [{"key", "file", "why", "services": []}],
      "services": [{"service", "how": "shim|image|already", "why", "secrets": {KEY: SECRET}}],
      "composed": [{"key", "of": [KEY]}], "staying": [{"key", "where"}], "diff",
      "findings": [{"service", "key", "message", "hint", "exposed"}]}
    """
    if wish.undoes:
        return undo(Vault(wish.secrets_dir), force=wish.force, dry_run=wish.dry_run, yes=wish.yes)
    environ = dict(os.environ)
    chosen = [*wish.files, *wish.more_files]
    project = reading.read_project(chosen or Path(), environ, list(wish.env_files) or None, to_edit=True)
    before = as_composed(project, chosen, wish.env_files, environ)
    sources, warned = read_sources(project, wish.env_files)
    wishes = wishes_of(project, wish.schema_path, wish.secrets_dir, wish.secret, wish.public)
    images, trouble = known_images(project, wish.image_configs)
    source = ShimSource(compose_path(wish.program, project.folder) if wish.program else "", wish.shim_image)

    def make(left: Mapping[str, str]) -> Proven:
        plan = make_plan(project, sources, wishes, images, left)
        plan.owner = wish.owner[0] if wish.owner is not None else os.geteuid() if hasattr(os, "geteuid") else None
        return Proven(plan, new_files(plan, source, new_path), new_files(plan, source, lambda path: path))

    found = proven(make, source, Asked(before, {**environ, "PWD": os.getcwd()}))
    plan = found.plan
    plan.findings = list(dict.fromkeys([*plan.findings, *in_git(plan, found.files)]))
    if trouble is not None and plan.unknown:
        if not plan.moved:
            raise Failed(trouble.message, *trouble.hints, *(f.message for f in plan.findings if f.is_exposed))
        output.warn(trouble.message, *trouble.hints[:1])
    words.say_warnings(plan, warned)
    document = words.describe(plan, found.files)
    document["diff"] = words.difference(found.files)
    if not wish.is_json:
        words.show(plan, document)
    if found.files:
        written = carry_out(wish, found, project, is_checked=before is not None)
        document["files"] = [{"path": os.path.abspath(item.path), "state": item.state} for item in written]
    else:
        words.say_findings(plan)
        words.say_nothing_to_do(plan, project, wish.env_files)
    if wish.is_json:
        output.give_json(document)
    return exit_code(plan)


def carry_out(wish: MigrateWish, found: Proven, project: Project, *, is_checked: bool) -> list[Written]:
    """Say what will be done and, unless that is all that was asked for, do it; return the files.

    Args:
        wish: what the command line asks for.
        found: the plan, and its new files.
        project: what is migrated.
        is_checked: whether the real Compose has seen both.

    Raises:
        Refused: a file is there already, was edited or must not be replaced, or the answer is no.
    """
    plan, store = found.plan, Vault(wish.secrets_dir)
    if wish.adopts:
        adopt.refuse_links(found.files)
        adopt.refuse_edited(found.files, wish.force)
    written = outputs(found.adopted if wish.adopts else found.files, wish.force or wish.adopts)
    values = secrets_to_write(plan, store, wish.force)
    words.announce(plan, written, values, wish.dry_run)
    words.warn_of_stack(project)
    if is_checked:
        output.say("docker compose config agrees: every service sees what it saw before")
    if wish.dry_run:
        return written
    ask(written, values, wish.yes)
    if wish.adopts:
        adopt.keep(store, written)
    write(plan, written, values, store, wish.owner)
    if not wish.program and any(moved.how == SHIM for moved in plan.moved.values()):
        output.say(f"first, once: manage-secrets image{_tagged(wish.shim_image)} gives the engine {wish.shim_image}")
    if wish.adopts:
        for file in found.files:
            if file.new != file.old:
                remove(file.new)
        output.say("next: docker compose up -d; manage-secrets migrate --undo is the way back")
    else:
        words.say_what_is_next(found.files, project, [*wish.files, *wish.more_files], wish.env_files)
    return written


def _tagged(image: str) -> str:
    return "" if image == DEFAULT_IMAGE else f" --tag {image}"


def undo(store: Vault, *, force: bool, dry_run: bool, yes: bool) -> int:
    """Put back what --adopt replaced."""
    files = adopt.kept(store)
    names = ", ".join(str(file.path) for file in files)
    if dry_run:
        output.say(f"would be put back as it was: {names}")
        return 0
    output.confirm(f"put back {names}?", yes=yes)
    adopt.put_back(store, files, force)
    return 0


def as_composed(
    project: Project, files: Sequence[Path], env_files: Sequence[Path], environ: Mapping[str, str]
) -> check.Read | None:
    """Return what the real Compose makes of *project*, which is told so; None where there is no Compose.

    Raises:
        Refused: Compose takes the project not; its reason is said.
    """
    if not check.is_there(environ):
        output.warn("docker compose is not installed here, so it has not checked the result")
        if project.warnings:
            hint = "set the variable it needs, or fix the reference"
            raise Refused(project.warnings[0], *project.warnings[1:], hint)
        return None
    try:
        # Where the shell is in a folder by a link, Compose would name that one, and not the one that is meant.
        read = check.composed(files, env_files, {**environ, "PWD": os.getcwd()})
    except Rejected as rejected:
        names = {*project.services, *project.secrets, *project.environ}
        values = [value for key, value in project.environ.items() if key not in {*environ, "COMPOSE_PROJECT_NAME"}]
        values += [value for key, value in all_variables(project) if why_secret(key, value, None)]
        shown = " ".join(str(file) for file in files) or "the project"
        reason = check.reason_of(rejected.reason, names, values)
        raise Refused(f"docker compose config refuses {shown}: {reason}") from None
    before: check.Read = json.loads(read)
    check.see(project, before)
    return before


def exit_code(plan: MigrationPlan) -> int:
    """Return 1 when a value stays where it can be read, and say so; 0 when all is done."""
    exposed = sum(finding.is_exposed for finding in plan.findings)
    if exposed:
        output.say(f"a secret stays in plain text in {exposed} place{'' if exposed == 1 else 's'}; see the warnings")
    return 1 if exposed else 0


def ask(written: Iterable[Written], values: Mapping[str, bytes], yes: bool) -> None:
    """Ask before anything is replaced; on a terminal, before anything is written.

    Raises:
        Refused: the answer is no, or nobody can answer.
    """
    written = list(written)
    replaced = [str(item.path) for item in written if item.state == REPLACED]
    question = f"write {output.many(len(written), 'file')} and {output.many(len(values), 'secret')}?"
    if replaced:
        question = f"replace {output.listed(replaced)}?"
    output.confirm(question, yes=yes or (not replaced and not sys.stdin.isatty()))
