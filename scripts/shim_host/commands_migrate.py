"""`migrate`: from a Compose file and a `.env` with values to the same services with secrets."""

import difflib
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from shim_host import compose, envfile, images, migrate_check, options, report, vault
from shim_host.compose import Project
from shim_host.compose_dotenv import Malformed, Warned
from shim_host.errors import Ended, Failed, Refused, failed_file
from shim_host.images import ImageConfig
from shim_host.migrate import make_plan
from shim_host.migrate_files import new_files
from shim_host.migration import NewFile, Plan, ShimSource, Wishes, compose_path, image_of
from shim_host.vault import Vault

CREATED, UNCHANGED, REPLACED = "created", "unchanged", "replaced"


class Written(NamedTuple):
    """A file of the result, and what is to happen with it."""

    path: Path
    data: bytes
    mode: int  # the old file's
    state: str


@click.command("migrate")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--file", "-f", "more_files", multiple=True, type=click.Path(path_type=Path), help="A Compose file.")
@click.option(
    "--env-file", type=click.Path(path_type=Path), help="The project's .env.  [default: beside the first file]"
)
@click.option("--image-config", type=click.Path(path_type=Path), help="What docker image inspect prints, as a file.")
@click.option(
    "--shim", "program", type=click.Path(path_type=Path), help="Mount this shim instead of a volume from its image."
)
@click.option("--shim-image", default="docker-secrets-shim", show_default=True, help="The image that brings the shim.")
@click.option("--secret", "secret", multiple=True, metavar="KEY", help="This is a secret, whatever its name says.")
@click.option("--public", "public", multiple=True, metavar="KEY", help="This is no secret, whatever its name says.")
@click.option("--force", is_flag=True, help="Replace new files of an earlier run, and secrets with other values.")
@options.secrets_dir
@options.schema
@options.as_json
@options.dry_run
@options.yes
def command(
    files: tuple[Path, ...],
    more_files: tuple[Path, ...],
    env_file: Path | None,
    image_config: Path | None,
    program: Path | None,
    shim_image: str,
    secret: tuple[str, ...],
    public: tuple[str, ...],
    force: bool,
    secrets_dir: Path,
    schema_path: Path | None,
    is_json: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Move the secrets of a Compose project from its .env and environment: to files.

    FILES are the Compose files; without any, those that Compose would take. New files are written beside the old ones
    (docker-compose.secrets.yml, .env.new), with the values in ./secrets; the old files stay. A service whose image
    reads KEY_FILE itself gets that; every other one is started by the shim, with the image's own entrypoint and
    command behind it. What is a secret is decided by the schema, then by the name, then by what the value looks like.

    The shim comes from its image through a volume (a service shim-install fills it), or from --shim PATH.

    \b
    Examples:
      manage-secrets migrate --dry-run
      manage-secrets migrate -f docker-compose.yml -f docker-compose.prod.yml
      manage-secrets migrate --shim ./shim-linux-amd64 --public STRIPE_KEY --yes
    """
    environ = dict(os.environ)
    chosen = [*files, *more_files]
    project = compose.read_project(chosen or Path(), environ, None if env_file is None else [env_file])
    if project.warnings:
        raise Refused(project.warnings[0], *project.warnings[1:], "set the variable it needs, or mend the reference")
    env_path, env_data, warned = read_env_file(project, env_file, environ)
    plan = plan_for(project, env_path, env_data, warned, schema_path, secrets_dir, secret, public, image_config)
    source = ShimSource(compose_path(program, project.folder) if program else "", shim_image)
    if program is not None and not program.is_file():
        raise Refused(f"there is no shim at {program}", "scripts/shim-binary builds one, or leave --shim out")
    results = new_files(plan, source, new_path, env_path)
    before = migrate_check.composed(chosen, env_file, project.folder, environ)
    if before is None:
        report.warn("there is no docker compose here, so the result is not checked with it")
    else:
        migrate_check.check_reading(plan, before)
    document = describe(plan, results)
    document["diff"] = difference(results)
    if not is_json:
        show(plan, document)
    if not results:
        report.say("there is nothing to migrate: no service has a secret among its variables")
        give(document, is_json)
        return
    written = outputs(results, force)
    values = secrets_to_write(plan, Vault(secrets_dir), force)
    announce(plan, written, values, dry_run)
    if not dry_run:
        replaced = [str(item.path) for item in written if item.state == REPLACED]
        question = (
            f"replace {', '.join(replaced)}?"
            if replaced
            else f"write {len(written)} file(s) and {len(values)} secret(s)?"
        )
        report.confirm(question, yes=yes or (not replaced and not sys.stdin.isatty()))
        write(plan, written, values, Vault(secrets_dir), env_path)
        verify(plan, results, chosen, env_path, before, environ, written)
        say_what_is_next(results, project, chosen)
    document["files"] = [{"path": str(item.path), "state": item.state} for item in written]
    give(document, is_json)


def new_path(path: Path) -> Path:
    """Return where the new form of *path* goes: `docker-compose.secrets.yml`, `.env.new`."""
    if path.suffix in (".yml", ".yaml"):
        return path.with_name(f"{path.name[: -len(path.suffix)]}.secrets{path.suffix}")
    return path.with_name(path.name + ".new")


def read_env_file(
    project: Project, env_file: Path | None, environ: Mapping[str, str]
) -> tuple[Path | None, bytes, list[Warned]]:
    """Return the project's `.env`, its content, and what is likely to surprise in it."""
    path = env_file or project.folder / ".env"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if env_file is not None:
            raise Refused(f"there is no {env_file}") from None
        return None, b"", []
    except OSError as error:
        raise failed_file("read", str(path), error) from None
    try:
        read = envfile.read(data, environ, use="project")
    except Malformed as error:
        raise Refused(f"{path}:{error.line}: {error.message}", *([error.hint] if error.hint else [])) from None
    return path, data, read.warnings


def plan_for(
    project: Project,
    env_path: Path | None,
    env_data: bytes,
    warned: list[Warned],
    schema_path: Path | None,
    secrets_dir: Path,
    secret: Iterable[str],
    public: Iterable[str],
    image_config: Path | None,
) -> Plan:
    """Return the plan, with what the engine or *image_config* says of the images."""
    place = project.folder / options.SCHEMA
    schema = options.read_schema(schema_path or (place if place.exists() else None))
    wishes = Wishes(schema, frozenset(secret), frozenset(public), secrets_dir)
    known: dict[str, ImageConfig] = {}
    wanted = {image_of(service, project) for service in project.services.values()}
    if image_config is not None:
        given = images.read_configs(image_config)
        for service in project.services.values():
            name = image_of(service, project)
            found = images.find(given, name) or given.get(service.name)
            if found is not None:
                known[name] = found
    # The engine is asked only for what is missing; where it is not there, official images are known by name.
    trouble: Failed | None = None
    try:
        known.update(images.ask_engine(sorted(wanted - set(known)), os.environ))
    except Failed as failed:
        trouble = failed
    try:
        plan = make_plan(project, env_path, env_data, wishes, known)
    except Refused as refused:
        if trouble is None or "these images" not in refused.message:
            raise
        raise Failed(trouble.message, *trouble.hints, refused.message) from None
    for line, key, message, hint in warned:
        if not key or key in plan.reasons:
            report.warn(f"{env_path}:{line}: {key}: {message}" if key else f"{env_path}:{line}: {message}", hint)
    return plan


def difference(results: Iterable[NewFile]) -> str:
    """Return a unified diff of all files; values are masked in it."""
    parts = []
    for file in results:
        old, new = file.old_shown.splitlines(keepends=True), file.new_shown.splitlines(keepends=True)
        for line in difflib.unified_diff(old, new, str(file.old), str(file.new)):
            parts.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(parts)


def describe(plan: Plan, results: Iterable[NewFile]) -> dict[str, Any]:
    """Return the plan for `--json`."""
    return {
        "files": [{"path": str(file.new), "state": "planned"} for file in results],
        "secrets": [
            {"key": held.key, "file": plan.place(held.name), "why": held.why, "services": held.services}
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
        "staying": [{"key": key, "where": where} for key, where in plan.staying.items()],
        "findings": [finding._asdict() for finding in plan.findings],
    }


def show(plan: Plan, document: Mapping[str, Any]) -> None:
    """Print the difference and what is a secret, and why."""
    for line in str(document["diff"]).splitlines():
        report.give_line(line)
    if plan.held:
        report.give_table(
            ["KEY", "FILE", "WHY", "SERVICES"],
            [(h.key, plan.place(h.name), h.why, ", ".join(h.services) or "-") for h in plan.held.values()],
        )
    if plan.moved:
        report.give_table(["SERVICE", "HOW", "WHY"], [(n, m.how, m.why) for n, m in plan.moved.items()])


def give(document: Mapping[str, Any], is_json: bool) -> None:
    """Print the document, if that is asked for."""
    if is_json:
        report.give_json(document)


def outputs(results: Iterable[NewFile], force: bool) -> list[Written]:
    """Return what is to happen with each new file.

    Raises:
        Refused: one is there with another content, and nobody said --force.
    """
    written = []
    for file in results:
        data = file.text.encode("utf-8", "surrogateescape")
        state = CREATED
        if file.new.exists() or file.new.is_symlink():
            is_same = not file.new.is_symlink() and file.new.read_bytes() == data
            state = UNCHANGED if is_same else REPLACED
        written.append(Written(file.new, data, stat.S_IMODE(file.old.stat().st_mode), state))
    there = [str(item.path) for item in written if item.state == REPLACED]
    if there and not force:
        raise Refused(f"already there, and different: {', '.join(there)}", "look at it, then remove it or add --force")
    return written


def secrets_to_write(plan: Plan, store: Vault, force: bool) -> dict[str, bytes]:
    """Return the secret files that are new or change.

    Raises:
        Refused: a file holds another value, and nobody said --force.
    """
    todo, other = {}, []
    for name, held in plan.held.items():
        there = store.read(name)
        if there is None or there.value != held.value:
            todo[name] = held.value.reveal()
        if there is not None and there.value != held.value:
            other.append(store.shown(name))
    if other and not force:
        raise Refused(
            f"these hold another value than the project has now: {', '.join(other)}",
            "the services would see that one: remove the files, or replace them with --force",
        )
    return todo


def announce(plan: Plan, written: list[Written], values: Mapping[str, bytes], dry_run: bool) -> None:
    """Say on stderr what will be done, and what a person must look at."""
    for service, key, message, hint in plan.findings:
        where = f"{service}: " if service else ""
        report.warn(f"{where}{key}: {message}" if key else f"{where}{message}", hint)
    will = "would be" if dry_run else "to be"
    for item in written:
        report.say(f"{item.path} {will} {item.state}" if item.state != UNCHANGED else f"{item.path} is there already")
    report.say(f"{len(values)} secret file(s) {will} written, {len(plan.held) - len(values)} unchanged")


def write(plan: Plan, written: list[Written], values: Mapping[str, bytes], store: Vault, env_path: Path | None) -> None:
    """Write secrets first, so that no Compose file ever names one that is missing."""
    with store.writing() as writer:
        for name, value in values.items():
            writer.write(name, value)
    lacking = vault.missing_gitignore_lines(plan.project.folder, store.path, env_path)
    if lacking:
        vault.add_gitignore_lines(plan.project.folder, lacking)
        report.say(f".gitignore gets {' '.join(lacking)}")
    for item in written:
        if item.state != UNCHANGED:
            write_file(item.path, item.data, item.mode)


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Make *path* hold *data*, in one step.

    Raises:
        Failed: the file system does not take it.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(unfinished, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise failed_file("write", str(path), error) from None


def verify(
    plan: Plan,
    results: Sequence[NewFile],
    chosen: Sequence[Path],
    env_path: Path | None,
    before: Mapping[str, Any] | None,
    environ: Mapping[str, str],
    written: Sequence[Written],
) -> None:
    """Read the new files, here and with the real Compose, and compare what each service sees with what it saw.

    Raises:
        Refused: it is something else; what was written is taken back.
    """
    new = {file.old.absolute(): file.new for file in results}
    files = [new.get(path.absolute(), path) for path in chosen or named_files(plan.project)]
    env_file = new.get(env_path.absolute(), env_path) if env_path is not None else None
    try:
        read = compose.read_project(files, environ, [] if env_file is None else [env_file])
        problem = migrate_check.differs(plan, read)
        if not problem and before is not None:
            after = migrate_check.composed(files, env_file, plan.project.folder, environ)
            environments = migrate_check.environments
            problem = migrate_check.differing_variable(plan, environments(before), environments(after or {}))
        if problem:
            hint = "a service that extends another one gets what changes there: write it out in the service itself"
            raise Refused(f"the new files would change what a service sees: {problem}", hint)
    except Ended:
        for item in written:
            if item.state == CREATED:
                item.path.unlink(missing_ok=True)
        report.say("the new files are removed again; the secret files stay")
        raise
    if before is not None:
        report.say("docker compose config agrees: every service sees what it saw before")


def named_files(project: Project) -> list[Path]:
    """Return the files that Compose is given by default, without those that they include or extend."""
    wanted = {path.absolute() for path in compose.default_files(project.folder, project.environ)}
    return [document.path for document in project.documents if document.path.absolute() in wanted]


def say_what_is_next(results: Sequence[NewFile], project: Project, chosen: Sequence[Path]) -> None:
    """Say how to start the result, and what to remove once it works."""
    new = {file.old.absolute(): file.new for file in results}
    files = [new.get(path.absolute(), path) for path in chosen or named_files(project)]
    env_files = [file.new for file in results if file.old.name == ".env"]
    words = [
        "docker compose",
        *(f"-f {file}" for file in files),
        *(f"--env-file {file}" for file in env_files),
        "up -d",
    ]
    report.say(f"next: {' '.join(words)}")
    old = ", ".join(str(file.old) for file in results)
    report.say(f"once it works, {old} may go: they still hold the values")
