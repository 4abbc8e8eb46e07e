"""What the commands have in common: options, and reading the schema they name."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from shim.schema import Schema, parse
from shim_host.errors import Refused, failed_file

F = TypeVar("F", bound=Callable[..., Any])

SECRETS_DIR = "./secrets"
SCHEMA = ".env.schema"


def secrets_dir(function: F) -> F:
    """Add `--secrets-dir`."""
    return click.option(
        "--secrets-dir",
        type=click.Path(path_type=Path),
        default=SECRETS_DIR,
        show_default=True,
        metavar="DIR",
        help="Where the secret files are.",
    )(function)


def schema(function: F) -> F:
    """Add `--schema`; the command gets a path, or None for the default place."""
    return click.option(
        "--schema",
        "schema_path",
        type=click.Path(path_type=Path),
        envvar="SHIM_SCHEMA",
        metavar="FILE",
        help=f"What the services need.  [default: {SCHEMA} if it is there]",
    )(function)


def env_file(function: F) -> F:
    """Add `--env-file`."""
    return click.option(
        "--env-file",
        type=click.Path(path_type=Path),
        default=".env",
        show_default=True,
        metavar="FILE",
        help="The .env.",
    )(function)


def reading(function: F) -> F:
    """Add `--dialect` and `--use`: how an env file is read."""
    from shim_host.env import envfile

    dialect = click.option("--dialect", type=click.Choice(envfile.DIALECTS), default="compose", show_default=True)
    use = click.option(
        "--use", type=click.Choice(envfile.USES), help="How Compose gets the file, where that changes a value."
    )
    return dialect(use(function))


def as_json(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "is_json", is_flag=True, help="Print JSON for another program.")(function)


def dry_run(function: F) -> F:
    """Add `--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")(function)


def yes(function: F) -> F:
    """Add `--yes`."""
    return click.option("--yes", "-y", is_flag=True, help="Answer every question with yes.")(function)


def no_questions(function: F) -> F:
    """Add `--yes` to a command that asks nothing, so that a script may give it to every command."""
    return click.option("--yes", "-y", is_flag=True, expose_value=False, help="Taken, but nothing is asked.")(function)


def salt(function: F) -> F:
    """Add `--salt`; the command gets bytes."""
    return click.option(
        "--salt",
        envvar="SHIM_SALT",
        default="",
        metavar="TEXT",
        callback=lambda _ctx, _option, value: os.fsencode(value),
        help="The deployment's salt for fingerprints, as the services have it in SHIM_SALT.",
    )(function)


def read_schema(path: Path | None) -> Schema | None:
    """Return the schema at *path*, or the one at the default place if there is one.

    Raises:
        Refused: it is not there, or has mistakes; all of them are named.
    """
    from shim.errors import Refused as SchemaRefused

    place = path or Path(SCHEMA)
    try:
        return parse(place.read_bytes(), str(place))
    except FileNotFoundError:
        if path is None:
            return None
        raise Refused(f"there is no schema {path}") from None
    except OSError as error:
        raise failed_file("read", str(place), error) from None
    except SchemaRefused as refused:
        lines = [text for breach in refused.breaches for text in (breach.message, breach.hint) if text]
        raise Refused(lines[0], *lines[1:]) from None


def read_file(path: Path) -> bytes:
    """Return the bytes of *path*; `-` is stdin.

    Raises:
        Refused, Failed: it is not there, or cannot be read.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        problem = "is a folder" if isinstance(error, IsADirectoryError) else "does not exist"
        raise click.UsageError(f"{path} {problem}") from None
    except OSError as error:
        raise failed_file("read", str(path), error) from None
