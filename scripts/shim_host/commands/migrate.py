"""`migrate`: from a Compose file and a `.env` with values to the same services with secrets."""

import difflib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shim.schema import references
from shim_host import inputs, output
from shim_host.commands import options
from shim_host.commands.env import OWNER_HELP, owner_of
from shim_host.compose import reading
from shim_host.compose.nodes import child
from shim_host.compose.project import Project, all_variables
from shim_host.errors import Failed, Refused
from shim_host.files import remove
from shim_host.migrate import adopt, check
from shim_host.migrate.inputs import known_images, read_sources, wishes_of
from shim_host.migrate.model import (
    DEFAULT_IMAGE,
    SHIM,
    MigrationPlan,
    NewFile,
    Rejected,
    ShimSource,
    compose_path,
)
from shim_host.migrate.new_files import new_files
from shim_host.migrate.plan import make_plan
from shim_host.migrate.prove import Asked, Proven, proven
from shim_host.migrate.write import REPLACED, UNCHANGED, Written, outputs, secrets_to_write, write
from shim_host.output import Warned
from shim_host.recognition.sensitive import why_secret
from shim_host.shell import quoted
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
    plan, results = found.plan, found.files
    plan.findings = list(dict.fromkeys(plan.findings))
    if trouble is not None and plan.unknown:
        if not plan.moved:
            raise Failed(trouble.message, *trouble.hints, *(f.message for f in plan.findings if f.is_exposed))
        output.warn(trouble.message, *trouble.hints[:1])
    say_warnings(plan, warned)
    document = describe(plan, results)
    document["diff"] = difference(results)
    if not wish.is_json:
        show(plan, document)
    if not results:
        say_findings(plan)
        if not plan.unknown and not plan.left:
            output.say("there is nothing to migrate: no service has a secret among its variables")
            if not wish.env_files and Path(".env").is_file() and not os.path.samefile(project.folder, "."):
                where = f"since the project is in {project.folder}: --env-file .env adds it"
                output.say(f"Compose does not read the .env of this folder, {where}")
        give(document, wish.is_json)
        return exit_code(plan)
    if wish.adopts:
        adopt.refuse_links(results)
        adopt.refuse_edited(results, wish.force)
    written = outputs(found.adopted if wish.adopts else results, wish.force or wish.adopts)
    values = secrets_to_write(plan, Vault(wish.secrets_dir), wish.force)
    announce(plan, written, values, wish.dry_run)
    warn_of_stack(project)
    if before is not None:
        output.say("docker compose config agrees: every service sees what it saw before")
    if not wish.dry_run:
        ask(written, values, wish.yes)
        if wish.adopts:
            adopt.keep(Vault(wish.secrets_dir), written)
        write(plan, written, values, Vault(wish.secrets_dir), wish.owner)
        if not wish.program and any(moved.how == SHIM for moved in plan.moved.values()):
            output.say(
                f"first, once: manage-secrets image{_tagged(wish.shim_image)} gives the engine {wish.shim_image}"
            )
        if wish.adopts:
            for file in results:
                if file.new != file.old:
                    remove(file.new)
            output.say("next: docker compose up -d; manage-secrets migrate --undo is the way back")
        else:
            say_what_is_next(results, project, chosen, wish.env_files)
    document["files"] = [{"path": os.path.abspath(item.path), "state": item.state} for item in written]
    give(document, wish.is_json)
    return exit_code(plan)


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


def new_path(path: Path) -> Path:
    """Return where the new form of *path* goes: `docker-compose.secrets.yml`, `.env.new`."""
    if path.suffix in (".yml", ".yaml"):
        return path.with_name(f"{path.name[: -len(path.suffix)]}.secrets{path.suffix}")
    return path.with_name(path.name + ".new")


def say_warnings(plan: MigrationPlan, warned: Iterable[tuple[Path, Warned]]) -> None:
    """Say what is likely to surprise in the env files, where it concerns a secret."""
    for path, (line, key, message, hint) in warned:
        if not key or key in plan.reasons:
            output.warn(f"{path}:{line}: {key}: {message}" if key else f"{path}:{line}: {message}", hint)


def difference(results: Iterable[NewFile]) -> str:
    """Return a unified diff of all files; values are masked in it."""
    parts = []
    for file in results:
        old, new = file.old_shown.splitlines(keepends=True), file.new_shown.splitlines(keepends=True)
        for line in difflib.unified_diff(old, new, str(file.old), str(file.new)):
            parts.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(parts)


def describe(plan: MigrationPlan, results: Iterable[NewFile]) -> dict[str, Any]:
    """Return the plan for `--json`."""
    folder = os.path.abspath(plan.wishes.secrets_dir)
    return {
        "files": [{"path": os.path.abspath(file.new), "state": "planned"} for file in results],
        "secrets": [
            {"key": held.key, "file": os.path.join(folder, held.name), "why": held.why, "services": held.services}
            for held in plan.held.values()
        ],
        "services": [
            {
                "service": name,
                "how": moved.how,
                "why": moved.why,
                "secrets": {use.key: use.source for use in moved.uses},
            }
            for name, moved in plan.moved.items()
        ],
        "composed": [{"key": key, "of": references(template)} for key, template in plan.composed.items()],
        "staying": [{"key": key, "where": where} for key, where in plan.staying.items()],
        "findings": [
            {"service": service, "key": key, "message": message, "hint": hint, "exposed": is_exposed}
            for service, key, message, hint, is_exposed in plan.findings
        ],
    }


def show(plan: MigrationPlan, document: Mapping[str, Any]) -> None:
    """Print the difference and what is a secret, and why."""
    for line in str(document["diff"]).splitlines():
        output.give_line(line)
    if plan.held:
        folder = plan.wishes.secrets_dir
        rows = [(h.key, str(folder / h.name), h.why, ", ".join(h.services) or "-") for h in plan.held.values()]
        output.give_table(["KEY", "FILE", "WHY", "SERVICES"], rows)
    if plan.moved:
        output.give_table(["SERVICE", "HOW", "WHY"], [(n, m.how, m.why) for n, m in plan.moved.items()])


def give(document: Mapping[str, Any], is_json: bool) -> None:
    """Print the document, if that is asked for."""
    if is_json:
        output.give_json(document)


def announce(plan: MigrationPlan, written: list[Written], values: Mapping[str, bytes], dry_run: bool) -> None:
    """Say on stderr what will be done, and what a person must look at."""
    say_findings(plan)
    for key, template in plan.composed.items():
        parts = ", ".join(dict.fromkeys(references(template)))
        output.say(f"{key} is composed of {parts} in {inputs.SCHEMA}: a rotation of {parts} changes it, too")
    will = "would be" if dry_run else "to be"
    for item in written:
        output.say(f"{item.path} {will} {item.state}" if item.state != UNCHANGED else f"{item.path} is there already")
    output.say(f"{output.many(len(values), 'secret file')} {will} written, {len(plan.held) - len(values)} unchanged")


def say_findings(plan: MigrationPlan) -> None:
    """Say on stderr what a person must look at."""
    for service, key, message, hint, _ in plan.findings:
        where = f"{service}: " if service else ""
        output.warn(f"{where}{key}: {message}" if key else f"{where}{message}", hint)


# What only a Swarm does of `deploy:`; Compose knows the rest, too.
_OF_A_STACK = ("update_config", "rollback_config", "endpoint_mode", "placement", "labels", "mode")


def warn_of_stack(project: Project) -> None:
    """Say that a file which is deployed as a stack becomes one for Compose: a stack's secrets are made in the Swarm."""
    signs = [f"secrets.{name} is external" for name, definition in project.secrets.items() if definition.external]
    for service in project.services.values():
        deploy = service.definitions[-1].value("deploy")
        signs += [f"{service.name} has deploy.{name}" for name in _OF_A_STACK if deploy and child(deploy, name)]
    if signs:
        output.warn(
            f"this looks like a stack file ({signs[0]}), and the new files are for docker compose only",
            "for a stack: manage-secrets create-swarm, and name the versions as docs/SWARM.md shows",
        )


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


def say_what_is_next(
    results: Sequence[NewFile], project: Project, chosen: Sequence[Path], named: Sequence[Path]
) -> None:
    """Say how to start the result, and what to remove once it works."""
    new = {file.old.absolute(): file.new for file in results}
    files = [new.get(path.absolute(), path) for path in chosen or project.files]
    has_new_env = any(path.absolute() in new for path in project.env_files)
    env_files = [new.get(path.absolute(), path) for path in project.env_files] if has_new_env or named else []
    words = [
        "docker compose",
        *(f"-f {quoted(str(file))}" for file in files),
        *(f"--env-file {quoted(str(file))}" for file in env_files),
        "up -d",
    ]
    output.say(f"next: {' '.join(words)}")
    old = ", ".join(str(file.old) for file in results if file.old.name != inputs.SCHEMA)
    output.say(f"once it works, run this again with --adopt: it replaces {old}, where the values still are")
