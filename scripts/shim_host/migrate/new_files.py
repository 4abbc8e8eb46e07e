"""All new files of a migration, as text: the Compose files, and each env file without its secrets."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from shim_host import inputs
from shim_host.compose.masked import comments, without
from shim_host.env.reduced import decoded, reduce, without_known
from shim_host.inputs import read_bounded
from shim_host.migrate.compose_files import ComposeFiles
from shim_host.migrate.composed import text_of, with_composed
from shim_host.migrate.model import Held, MigrationPlan, NewFile, Remark, ShimSource, compose_path
from shim_host.migrate.services import removable
from shim_host.recognition.sensitive import is_telling


def new_path(path: Path) -> Path:
    """Return where the new form of *path* goes: `docker-compose.secrets.yml`, `.env.new`."""
    if path.suffix in (".yml", ".yaml"):
        return path.with_name(f"{path.name[: -len(path.suffix)]}.secrets{path.suffix}")
    return path.with_name(path.name + ".new")


def new_files(plan: MigrationPlan, shim: ShimSource, rename: Callable[[Path], Path]) -> list[NewFile]:
    """Return the files that *plan* leads to. `plan.findings` may grow.

    Args:
        plan: what changes.
        shim: where the shim comes from.
        rename: old path -> new path.
    """
    values = [held.value.reveal().decode("utf-8", "surrogateescape") for held in plan.held.values()]
    texts = {text_of(held): held.key for held in plan.held.values()}
    # Compose takes `KEY= # how to make one` for the value `# how to make one`, and a comment has to stay one.
    known = {text: key for text, key in texts.items() if is_telling(text) and text[0] != "#" and "\n" not in text}
    composed = [_without_comments(plan, file, known) for file in ComposeFiles(plan, shim, rename).files(values)]
    return [*composed, *_env_files(plan, rename, values, known), *_schema(plan, rename)]


def _without_comments(plan: MigrationPlan, file: NewFile, known: Mapping[str, str]) -> NewFile:
    """Return the Compose file *file* without the values of *known* in its comments: it is likely to be in git."""
    if not any(value in file.text for value in known):
        return file
    text, emptied, at = "", list[str](), 0
    for start, end in comments(file.text, file.old):
        text += file.text[at:start] + without_known(file.text[start:end], known, emptied)
        at = end
    _say_emptied(plan, file.old, emptied)
    return file._replace(text=text + file.text[at:])


def _say_emptied(plan: MigrationPlan, path: Path, emptied: Iterable[str]) -> None:
    for key in dict.fromkeys(emptied):
        plan.findings.append(Remark("", key, f"a comment in {path} contained an old value, which is removed"))


def _schema(plan: MigrationPlan, rename: Callable[[Path], Path]) -> Iterator[NewFile]:
    """Yield the schema, where a secret is made of others; one that is not there yet has no old file to lie beside."""
    named = plan.wishes.schema.source if plan.wishes.schema is not None else ""
    path = Path(named) if named else plan.project.folder / inputs.SCHEMA
    old = read_bounded(path).decode("utf-8", "surrogateescape") if path.is_file() else ""
    new = with_composed(old, plan) if plan.moved else old
    if new != old:
        yield NewFile(path, rename(path) if old else path, new, old, new)


def _env_files(
    plan: MigrationPlan, rename: Callable[[Path], Path], values: list[str], known: Mapping[str, str]
) -> list[NewFile]:
    found: dict[Path, tuple[Path, str, dict[str, Held]]] = {}
    for source in plan.sources:
        found[source.path.absolute()] = source.path, "compose", _of_project(plan)
    own = set(found)
    for name, service in plan.project.services.items():
        for use in service.env_files:
            _, _, held = found.setdefault(use.path.absolute(), (use.path, use.dialect, {}))
            for used in plan.moved[name].uses if name in plan.moved else ():
                if use.path.absolute() not in own:
                    held.setdefault(used.key, plan.held[used.source])
    secret = dict.fromkeys([*plan.reasons, *(use.key for moved in plan.moved.values() for use in moved.uses)], "")
    files = []
    for path, dialect, held in found.values():
        secrets = plan.wishes.secrets_dir
        places = {key: compose_path(secrets / held[key].name, path.parent) for key in removable(plan, path, held)}
        staying = plan.staying if path.absolute() in own else {}
        if not (places or staying) or not path.exists():
            continue
        done = reduce(read_bounded(path), places, secret, dialect, staying, known)
        _say_emptied(plan, path, done.emptied_comments)
        if done.text != decoded(read_bounded(path)):
            old_shown, new_shown = without(done.old_shown, values), without(done.new_shown, values)
            files.append(NewFile(path, rename(path), done.text, old_shown, new_shown))
    return files


def _of_project(plan: MigrationPlan) -> dict[str, Held]:
    """Return what leaves the project's env files, unless a service needs it there."""
    gone = {key for key in plan.reasons if key not in plan.staying}
    return {held.key: held for held in plan.held.values() if held.key in gone}
