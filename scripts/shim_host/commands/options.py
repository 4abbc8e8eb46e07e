"""The options that commands have in common."""

import functools
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from shim_host import output
from shim_host.commands import completion
from shim_host.errors import UsageError
from shim_host.inputs import SCHEMA
from shim_host.inputs import SECRETS_DIR as SECRETS_DIR

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
R = TypeVar("R")


def gathered(kind: Callable[..., T]) -> Callable[[Callable[[T], R]], Callable[..., R]]:
    """Let a command take all of its arguments and options as one *kind* of object, whose fields have their names."""

    def decorate(function: Callable[[T], R]) -> Callable[..., R]:
        @functools.wraps(function)
        def command(**values: Any) -> R:
            return function(kind(**values))

        return command

    return decorate


class _Folder(click.Path):
    """A path that is not empty, as of "$VARIABLE" that is not set: that would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            raise UsageError("--secrets-dir is empty", "name a folder; ./secrets is the default")
        return super().convert(value, param, ctx)


def secrets_dir(function: F) -> F:
    """Add `--secrets-dir`."""
    return click.option(
        "--secrets-dir",
        type=_Folder(path_type=Path, readable=False),  # the error names the owner of what cannot be read
        default=SECRETS_DIR,
        show_default=True,
        metavar="DIR",
        help="Folder of the secret files.",
    )(function)


def schema(function: F) -> F:
    """Add `--schema`; the command gets a path, or None for the default place."""
    return click.option(
        "--schema",
        "schema_path",
        type=click.Path(path_type=Path, readable=False),
        envvar="SHIM_SCHEMA",
        metavar="FILE",
        help=f"Schema of what the services need.  [default: {SCHEMA} if it exists]",
    )(function)


def writing(function: F) -> F:
    """Add the options of a command that writes ./secrets: where, by which schema, and how it tells and asks."""
    return secrets_dir(schema(as_json(dry_run(yes(function)))))


def output_file(help_text: str) -> Callable[[F], F]:
    """Return what adds `--output`; the command gets the path *target*, or None for stdout."""
    return click.option(
        "--output",
        "-o",
        "target",
        type=click.Path(path_type=Path),
        metavar="FILE",
        callback=lambda _ctx, _option, path: None if str(path) == "-" else path,
        help=f"{help_text}  [default: - (stdout)]",
    )


def env_files(function: F, *, exists: bool = True) -> F:
    """Add `--env-file`; the command gets the paths *env_files*."""
    return click.option(
        "--env-file",
        "env_files",
        multiple=True,
        type=click.Path(path_type=Path, exists=exists, dir_okay=not exists),
        metavar="FILE",
        help="A .env file of the Compose project; may be repeated.  [default: those that Compose finds]",
    )(function)


def project(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--file` and `--env-file`, each as often as Compose takes it; the command gets `given`, an `Asked`."""
    from shim_host.inventory import Asked

    @wraps(function)
    def command(*arguments: Any, files: tuple[Path, ...], env_files: tuple[Path, ...], **others: Any) -> Any:
        return function(*arguments, given=Asked(files, env_files), **others)

    file = click.option(
        "--file",
        "-f",
        "files",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="A Compose file; may be repeated.  [default: those that Compose finds]",
    )
    return file(env_files(command, exists=False))


def reading(function: F) -> F:
    """Add `--dialect` and `--use`: how an env file is read."""
    from shim_host.env import envfile

    dialect = click.option(
        "--dialect",
        type=click.Choice(envfile.DIALECTS),
        default="compose",
        show_default=True,
        help="The rules to read the file by.",
    )
    use = click.option(
        "--use", type=click.Choice(envfile.USES), help="How Compose uses the file, if that changes a value."
    )
    return dialect(use(function))


def stack(help_text: str) -> Callable[[F], F]:
    """Return what adds `--stack`; the command gets "" where none is named."""

    return click.option("--stack", default="", metavar="NAME", help=help_text, shell_complete=completion.stacks)


def lock_file(function: F) -> F:
    """Add `--lock-file`; the command gets a path, or None for that of its stack."""
    from shim_host.swarm import versions_file

    return click.option(
        "--lock-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File that records the versions in use, for `docker stack deploy`."
        f"  [default: {versions_file.DEFAULT}, with --stack {versions_file.default_of('NAME')}]",
    )(function)


def as_json(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "is_json", is_flag=True, help="Print JSON for other programs.")(function)


def dry_run(function: F) -> F:
    """Add `--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")(function)


def yes(function: F) -> F:
    """Add `--yes`."""
    return click.option("--yes", "-y", is_flag=True, callback=_answer, help="Answer yes to every question.")(function)


def no_questions(function: F) -> F:
    """Add `--yes` to a command that asks nothing by itself, so that a script may give it to every command."""
    return click.option(
        "--yes", "-y", is_flag=True, expose_value=False, callback=_answer, help="Answer yes to every question."
    )(function)


def _answer(_context: click.Context, _option: click.Parameter, is_given: bool) -> bool:
    output.answer_yes(is_given=is_given)
    return is_given


def keys(name: str = "keys", *, required: bool = False) -> Callable[[F], F]:
    """Return the decorator that adds the argument KEYS, or one KEY if that is its *name*; KEY=VALUE is refused."""
    many = -1 if name == "keys" else 1
    return click.argument(
        name, nargs=many, required=required or many == 1, callback=_without_values, shell_complete=completion.keys
    )


def _without_values(_context: click.Context, _argument: click.Parameter, words: Any) -> Any:
    if any("=" in word for word in ([words] if isinstance(words, str) else words)):
        # Not named: what follows the sign is a value.
        raise click.UsageError("name keys without a value; that is typed, or comes from a file or a pipe")
    return words


def by(function: F) -> F:
    """Add `--by`; the command gets what the label `by` says."""
    from shim_host.swarm import owner

    return click.option(
        "--by",
        envvar="SHIM_BY",
        default="",
        metavar="NAME",
        callback=lambda _ctx, _option, value: owner.author({**os.environ, "SHIM_BY": value}),
        help="Your name in `history`.  [default: the user who is logged in]",
    )(function)


def insecure(function: F) -> F:
    """Add `--insecure` to a command that sends values to an engine, or reads them there."""

    def allow(_context: click.Context, _option: click.Parameter, is_given: bool) -> None:
        if is_given:
            from shim_host.swarm import privacy

            privacy.allow_open_connections()

    return click.option(
        "--insecure",
        is_flag=True,
        expose_value=False,
        callback=allow,
        help="Allow values to travel over plain TCP or unverified TLS.",
    )(function)


def salt(function: F) -> F:
    """Add `--salt`; the command gets bytes."""
    return click.option(
        "--salt",
        envvar="SHIM_SALT",
        default="",
        metavar="TEXT",
        callback=lambda _ctx, _option, value: os.fsencode(value),
        help="Make fingerprints with this salt (SHIM_SALT in services); anyone who knows it can guess weak values.",
    )(function)


def passphrase(function: F) -> F:
    """Add `--passphrase-file` and `--passphrase`."""
    from_file = click.option(
        "--passphrase-file", metavar="FILE", help="Read the passphrase from FILE, one line; - is stdin."
    )
    typed = click.option("--passphrase", "asks", is_flag=True, help="Ask for the passphrase at the terminal.")
    return from_file(typed(function))
