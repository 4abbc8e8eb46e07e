"""What `rotate`, `rollback`, `sync` and `adopt` take alike: whose services move, how many at a time, how patiently."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from shim.schema import Schema
from shim_host import inputs
from shim_host.commands import completion, options
from shim_host.rotate.swarm import SwarmWork
from shim_host.rotate.swarm_run import Settings
from shim_host.store.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])
W = TypeVar("W", bound=SwarmWork)

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, None: 1}


def seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """Return the seconds that *text* says, as a callback of an option."""
    match = _DURATION.fullmatch(text)
    if match is None or float(match["number"]) <= 0:
        raise click.BadParameter("give a duration, such as 90s, 5m or 1h")
    return float(match["number"]) * _SECONDS[match["unit"]]


@dataclass(frozen=True)
class MoveWish:
    """What the command line asks of a move; the options are those of `options_of_moves`."""

    stack: str
    leave: tuple[str, ...]
    by: str
    parallel: int
    timeout: float
    lock_file: Path | None
    force: bool
    secrets_dir: Path
    schema_path: Path | None
    salt: bytes
    is_json: bool
    dry_run: bool

    @cached_property
    def schema(self) -> Schema | None:
        """Return the schema that was named, or that of the folder."""
        return inputs.read_schema(self.schema_path)

    @property
    def store(self) -> Vault:
        """Return the secret files of the stack."""
        return Vault.of_stack(self.secrets_dir, self.stack)

    def settings(self, keep: int = 1) -> Settings:
        """Return how services are moved; *keep*: the number of previous versions that stay."""
        return Settings(self.salt, self.timeout, self.parallel, keep, self.by)

    def work(self, kind: type[W], keep: int = 1) -> W:
        """Return the *kind* of work that was asked for."""
        return kind(self.stack, self.settings(keep), self.lock_file, self.store, self.schema, self.is_json, self.leave)


def options_of_moves(function: F) -> F:
    """Add the options of every `MoveWish`."""
    for option in (
        options.insecure,
        options.dry_run,
        options.as_json,
        options.salt,
        options.schema,
        options.secrets_dir,
        click.option("--force", is_flag=True, help="Continue even if something is likely to fail."),
        options.lock_file,
        click.option(
            "--timeout",
            metavar="TIME",
            default="5m",
            show_default=True,
            callback=seconds,
            help="Limit for each service, and for each step of an @rotate-with command.",
        ),
        click.option(
            "--parallel",
            type=click.IntRange(1, 64),
            metavar="N",
            default=4,
            show_default=True,
            help="Number of services to move at a time.",
        ),
        options.by,
        click.option(
            "--leave",
            multiple=True,
            metavar="SERVICE",
            shell_complete=completion.services,
            help="Leave SERVICE on the version that it has.",
        ),
        options.stack("The stack that the secrets belong to."),
    ):
        function = option(function)
    return function
