"""Values written out where no file can be: in a command, a label, a build argument. They are found and named."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from shim_host.compose.places import scalars
from shim_host.compose.project import Project
from shim_host.migrate.model import Finding, Wishes
from shim_host.sensitive import why_by_value, why_secret

HINTS = {
    "": "let the service read the variable, or a file that the shim makes with --render",
    "build": "what a build gets as an argument stays in the image; use secrets: of build: instead",
    "labels": "a label is there for all to read; let what reads it take a file",
}
_COMMANDS = ("command", "entrypoint", "healthcheck")
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)(?:=(?P<value>.*))?", re.DOTALL)
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][\w.-]*)=(?P<value>.+)", re.DOTALL)
_Pair = tuple[str, str]


def written_out(project: Project, wishes: Wishes) -> Iterator[Finding]:
    """Yield a finding for each value in *project* that looks like a secret and stands in the Compose file itself."""
    for document in project.documents:
        places = [(path, str(node.value)) for path, node in scalars(document.root, ()) if path[:1] == ("services",)]
        for path, texts in groupby(places, key=lambda place: place[0]):
            section = path[2] if len(path) > 2 else ""
            words = [text for _, text in texts]
            if section in _COMMANDS:
                pairs: Iterable[_Pair] = _of_command(
                    [word for text in words for word in text.split()] if len(words) == 1 else words
                )
            elif section == "labels" or path[2:4] == ("build", "args"):
                is_mapping = path[-1] not in ("labels", "args")
                pairs = [(path[-1], words[0])] if is_mapping else [_pair(word) for word in words]
            else:
                continue
            for name, value in pairs:
                if name in wishes.public or "$" in value or value.startswith("/run/secrets/"):
                    continue
                if value and (why_secret(name, value, wishes.schema) or why_by_value(value)):
                    message = f"{'.'.join(path[:3])} holds {f'the value of {name}' if name else 'a value'} in plain"
                    hint = HINTS.get(section, HINTS[""])
                    yield Finding(path[1], name, message, hint, is_exposed=True)


def _pair(text: str) -> _Pair:
    name, _, value = text.partition("=")
    return name, value


def _of_command(words: Sequence[str]) -> Iterator[_Pair]:
    """Yield what *words* give values to: `--name value`, `--name=value`, `NAME=value`; any other word has no name."""
    option = ""
    for word in words:
        bare = word.strip("\"'")
        found = _OPTION.fullmatch(bare)
        if found is not None and found["value"] is None:
            option = found["name"]
            continue
        assigned = found or _ASSIGNMENT.fullmatch(bare)
        yield (assigned["name"], assigned["value"].strip("\"'")) if assigned else (option, bare)
        option = ""
