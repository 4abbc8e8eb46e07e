"""What a shell offers at the tab key: keys, stacks and services, and the code that asks for it.

Where it is asked, it prints no message, and waits briefly.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from shim_host import inputs, names, output
from shim_host.errors import Ended
from shim_host.shell import quoted
from shim_host.store.vault import Vault

if TYPE_CHECKING:
    from shim_host.swarm.connection import Swarm

_SECONDS = "2"  # somebody waits at the prompt


def keys(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the keys of the schema and of ./secrets, without those that were typed already."""
    typed = ctx.params.get("keys") or ()
    try:
        schema = inputs.read_schema(ctx.params.get("schema_path"))
        known = list(schema.keys) if schema is not None else []
        store = Vault(ctx.params.get("secrets_dir") or Path(inputs.SECRETS_DIR))
        return _items([*known, *names.keys_of(store.names(), known).values()], incomplete, typed)
    except Ended:
        return []  # a shell that completes has no place for a message


def stacks(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the stacks that have secrets or services in the Swarm."""
    try:
        engine = _swarm()
        found = {secret.stack for secret in engine.secrets()} | {service.stack for service in engine.services()}
        return _items(sorted(found), incomplete)
    except Ended:
        return []


def services(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the services of the Swarm."""
    try:
        return _items(sorted(service.name for service in _swarm().services()), incomplete)
    except Ended:
        return []


def _swarm() -> "Swarm":
    from shim_host.swarm import connection

    return connection.connect({**os.environ, "DOCKER_CLIENT_TIMEOUT": _SECONDS})


def _items(found: Iterable[str], incomplete: str, typed: Iterable[str] = ()) -> list[CompletionItem]:
    """Return what a shell may put into a command line as it is: a label of a stranger may be `$(command)`."""
    left = dict.fromkeys(name for name in found if quoted(name) == name and name not in tuple(typed))
    return [CompletionItem(name) for name in left if name.startswith(incomplete)]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Write the code that completes commands, options, keys, stacks and services in SHELL.

    \b
    Examples:
      eval "$(manage-secrets completion bash)"    in ~/.bashrc; zsh: in ~/.zshrc, after compinit
      manage-secrets completion fish | source     in ~/.config/fish/config.fish
    """
    make = get_completion_class(shell)
    if make is None:
        raise TypeError(f"click does not complete in {shell}")
    variable = f"_{output.PROGRAM.replace('-', '_').upper()}_COMPLETE"
    output.give_text(make(ctx.find_root().command, {}, output.PROGRAM, variable).source() + "\n")
