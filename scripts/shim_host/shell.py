"""Commands that are offered to a person: names in them are quoted, so that none of them writes the next command line.

A command that is offered is about the same folder, schema and project as the one that offers it: it has its options.
"""

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence

# What a name becomes that a shell, a terminal or the program behind the command would take for something else.
PLACEHOLDER = "NAME"


def quoted(name: str) -> str:
    """Return *name* as one word of a shell; `PLACEHOLDER` for one that does not print, or would be an option."""
    if not name or not name.isprintable() or name.startswith("-"):
        return PLACEHOLDER
    return shlex.quote(name)


_REPEATED = ("--secrets-dir", "--schema", "--file", "--env-file", "--compose", "--locked-dir", "--lock-file")
_OFFERED = re.compile(r"\bmanage-secrets ([a-z-]+)((?:(?!\bmanage-secrets )[^`;])*)")
_WORD = r"(?:'[^']*'|[^\s'`;,]+)"
_COMPOSE = re.compile(rf"\bdocker compose((?: (?:-p|-f|--env-file) {_WORD})* (?:up -d|pull|build)\b)")
_given: dict[str, Sequence[str]] = {}
_program = ["manage-secrets"]
_options_of: list[Callable[[str], Collection[str]]] = []


def know(options_of: Callable[[str], Collection[str]]) -> None:
    """Take from *options_of* the options of the command of a name; none where there is no such command."""
    _options_of[:] = [options_of]


def repeat(given: Mapping[str, Sequence[str]]) -> None:
    """Repeat those of the options *given*, each with its values, that a command has which is offered from now on."""
    _given.clear()
    _given.update((option, given[option]) for option in _REPEATED if option in given)


def speak_as(words: Sequence[str]) -> None:
    """Offer commands of a program that is started by *words*, as `docker --context prod secretshim`."""
    _program[:] = [" ".join(map(shlex.quote, words))]


def offered(text: str) -> str:
    """Return *text* with each command that it offers as it is to be typed: the program, and the options of this run.

    Those that say which project it is are Compose's as well.
    """
    text = _COMPOSE.sub(_with_files, text)
    return _OFFERED.sub(_as_typed, text) if _options_of else text


def _as_typed(command: "re.Match[str]") -> str:
    name, rest = command.groups()
    known = _options_of[0](name)
    if not known:
        return command[0]
    if rest.startswith(" --help"):
        return f"{_program[0]} {name}{rest}"
    # One that has --compose asks the Swarm without it, and an env file means the same: only its own run repeats these.
    is_of_swarm = "--compose" in known and "--compose" not in _given
    words = [
        f" {option} {quoted(value)}"
        for option, values in _given.items()
        if option in known and f"{option} " not in rest and not (is_of_swarm and option == "--env-file")
        for value in values
    ]
    return f"{_program[0]} {name}{''.join(words)}{rest}"


def _with_files(command: "re.Match[str]") -> str:
    rest = command[1]
    words = [
        f" {short} {quoted(value)}"
        for option, short in (("--file", "-f"), ("--env-file", "--env-file"))
        for value in _given.get(option, ())
        if f"{short} " not in rest
    ]
    return f"docker compose{''.join(words)}{rest}"
