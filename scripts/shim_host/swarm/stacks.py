"""Whose versions a command is about: without `--stack` the keys of no stack, with it those of that stack.

What the Swarm keeps under equal keys for different stacks is kept apart on this machine, too: a file of versions for
each stack, and a folder of values where there is one.
"""

from collections.abc import Iterable

from shim_host import output
from shim_host.shell import quoted
from shim_host.swarm.model import SwarmSecret


def of_stack(secrets: Iterable[SwarmSecret], stack: str) -> list[SwarmSecret]:
    """Return the versions that a command with `--stack` *stack* is about."""
    return [secret for secret in secrets if secret.key and secret.stack == stack]


def other_stacks(secrets: Iterable[SwarmSecret], stack: str) -> dict[str, list[str]]:
    """Return the keys of the stacks that this is not about, by stack; those of no stack do not count."""
    found: dict[str, set[str]] = {}
    for secret in secrets:
        if secret.key and secret.stack and secret.stack != stack:
            found.setdefault(secret.stack, set()).add(secret.key)
    return {name: sorted(keys) for name, keys in sorted(found.items())}


def say_others(secrets: Iterable[SwarmSecret], stack: str) -> None:
    """Say that there are keys of stacks when no stack was named, so that nobody takes silence for "there are none"."""
    if stack:
        return
    others = other_stacks(secrets, stack)
    if others:
        words = ", ".join(f"{name} ({len(keys)})" for name, keys in others.items())
        output.say(f"this is about keys of no stack; there are some of {words}: --stack {next(iter(others))}")


def option(stack: str) -> str:
    """Return what a command needs besides to be about *stack*, for a hint."""
    return f" --stack {quoted(stack)}" if stack else ""
