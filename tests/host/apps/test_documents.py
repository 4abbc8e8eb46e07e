"""What `--json` prints. `Manage` holds every document of every test against its schema; here are the schemas."""

import json
import re
from pathlib import Path

import manage_secrets
import pytest
from jsonschema import Draft202012Validator
from pyrage import x25519

from tests.support.documents import check, schemas
from tests.support.host import Canary, Manage


def test_every_schema_is_one_and_has_a_command() -> None:
    """Each command that has `--json` has a schema, and each schema that is not about errors has a command."""
    for name, schema in schemas().items():
        Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:docker-secrets-shim:json:1:{name}"
    group = manage_secrets.cli
    with_json = {
        name
        for name in manage_secrets.COMMANDS
        for command in [group.get_command(group.make_context("", [], resilient_parsing=True), name)]
        if command is not None and any("--json" in parameter.opts for parameter in command.params)
    }

    assert with_json == {name for name in schemas() if not name.startswith(("error", "shim-"))}


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("validate --json --nope", 2, "--nope"),
        ("validate --schema gone --json", 1, "there is no schema gone"),
        ("rotate --json", 2, ""),
        ("history --json", 111, ""),
        ("list --file gone.yml --json", 2, "gone.yml"),
    ],
)
def test_an_error_is_a_document_too(manage: Manage, words: str, code: int, part: str) -> None:
    """On stdout, beside the words on stderr; `Manage` looks at its form."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"
    end = manage(*words.split())

    document = json.loads(end.stdout)
    assert (end.code, document["version"], document["error"]["code"]) == (code, 1, code)
    assert part in document["error"]["message"]
    assert document["error"]["message"].split("\n")[0] in end.stderr


def test_what_was_found_before_an_error_is_in_its_document(manage: Manage) -> None:
    """The Swarm cannot be asked: what files show is there, and so is the error, in one document."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/none.sock"
    manage.write(".env.schema", "# @required\nKEY=\n")
    end = manage("validate", "--swarm", "--json")

    document = json.loads(end.stdout)
    assert end.code == document["error"]["code"] == 111
    assert "KEY" in [finding["key"] for finding in document["findings"]]


def test_a_path_is_absolute(manage: Manage, canary: Canary) -> None:
    """In what each of these prints; `file` beside it is the name in ./secrets."""
    manage.write(".env", f"KEY={canary()}\n")
    manage.write("compose.yml", "services: {db: {image: postgres:15, environment: {POSTGRES_PASSWORD: of-the-test}}}")
    to_key = ("--recipient", str(x25519.Identity.generate().to_public()))
    made = manage.json("create-from-env", "--all")["secrets"][0]
    listed = manage.json("list", "--no-engine")["keys"]
    sealed = manage.json("export", "--no-swarm", "--output", "of.age", *to_key)
    moved = json.loads(manage("migrate", "--json", "--dry-run").stdout)

    (key,) = (row for row in listed if row["key"] == "KEY")
    assert (made["file"], key["file"]) == (key["path"], "key")
    assert key["path"] == str(manage.folder / "secrets/key")
    assert sealed["output"] == str(manage.folder / "of.age")
    assert str(manage.folder / "secrets/postgres_password") in [secret["file"] for secret in moved["secrets"]]
    assert all(Path(file["path"]).is_absolute() for file in moved["files"])


def test_a_field_that_no_schema_names_is_found() -> None:
    document = {"version": 1, "healthy": True, "checks": [], "new": 1}
    with pytest.raises(AssertionError, match=re.escape("new")):
        check("doctor", json.dumps(document))
    del document["new"]
    check("doctor", json.dumps(document))
