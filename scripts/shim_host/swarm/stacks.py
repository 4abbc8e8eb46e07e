"""Whose versions a command is about: without `--stack` the keys of no stack, with it those of that stack.

What the Swarm keeps under equal keys for different stacks is kept apart on this machine, too: a file of versions for
each stack, and a folder of values where there is one.
"""

from collections.abc import Collection, Iterable

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
    """Say where there are keys that this is not about, so that nobody takes silence for "there are none".

    That is where no stack was named, and where a stack was that has none: its name may be misspelt.
    """
    secrets = list(secrets)
    others = other_stacks(secrets, stack)
    words = [f"{name} ({len(keys)})" for name, keys in others.items()]
    if not stack and others:
        listed = ", ".join(words)
        output.say(f"this is about keys of no stack; there are some of {listed}: --stack {next(iter(others))}")
    if stack and not of_stack(secrets, stack):
        words += [f"no stack ({len({secret.key for secret in mine})})"] if (mine := of_stack(secrets, "")) else []
        output.say(
            f"the Swarm has no key of the stack {stack}" + (f"; it has some of {', '.join(words)}" if words else "")
        )


def hint(secrets: Iterable[SwarmSecret], missing: Collection[str], stack: str, otherwise: str) -> str:
    """Return how to name the *missing* keys that another stack has, or none; *otherwise* where nobody has them."""
    elsewhere = sorted({secret.stack for secret in secrets if secret.key in missing and secret.stack != stack})
    if elsewhere == [""]:
        return "it belongs to no stack: leave --stack out"
    return f"give its stack: --stack {quoted(elsewhere[-1])}" if elsewhere else otherwise


def described(stack: str) -> str:
    """Return *stack* for a message."""
    return f"the stack {stack}" if stack else "no stack"


def option(stack: str) -> str:
    """Return what a command needs besides to be about *stack*, for a hint."""
    return f" --stack {quoted(stack)}" if stack else ""
