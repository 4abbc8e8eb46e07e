"""What `--json` prints, held against its schema: every test that asks for a document checks it on the way."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.support.forms import REPOSITORY

FOLDER = REPOSITORY / "scripts/shim_host/schemas"


def schemas() -> dict[str, Any]:
    """Return every schema by the name of its command."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def closed(schema: Any) -> Any:
    """Return *schema* with no room for a field that it does not name: a reader has that room, a test has not."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in made else made


@cache
def validator(command: str) -> Draft202012Validator:
    """Return what checks the documents of *command*."""
    found = {name: closed(schema) for name, schema in schemas().items()}
    resources = [(schema["$id"], Resource.from_contents(schema)) for schema in found.values()]
    return Draft202012Validator(found.get(command, found["error"]), registry=Registry().with_resources(resources))


def check(command: str, text: str) -> None:
    """See that *text* is one document, as the schema of *command* has it."""
    mistakes = list(validator(command).iter_errors(json.loads(text)))
    assert not mistakes, (
        f"{command}: {[(one.json_path, [str(e.message)[:300] for e in one.context or [one]]) for one in mistakes]}"
    )
