"""Files that are not called as this tool calls them: their keys have them, and no second file comes beside them."""

from pathlib import Path

import pytest
from shim_host.fingerprints import WITHOUT_KEY
from shim_host.rotate.files import Files
from shim_host.store import filing
from shim_host.store.vault import Vault
from shim_host.swarm.model import SwarmSecret

from shim.secret import Secret
from tests.support.host import Canary, Manage

NAMES = ["DB_PASSWORD", "db-password", "db.password", "Db_Password"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_that_a_key_has_gets_its_new_value(manage: Manage, canary: Canary, name: str) -> None:
    manage.write(".env.schema", "# @sensitive @generate\nDB_PASSWORD=\n")
    manage.write(f"secrets/{name}", first := canary()).chmod(0o600)
    manage.write(".env", f"DB_PASSWORD={(second := canary())}\n")

    assert manage("generate").code == 0
    kept = manage("create-from-env")
    assert "kept, although .env holds a different value: DB_PASSWORD" in kept.stderr
    assert manage.secrets()[name].decode() == first
    assert manage("create-from-env", "--force", "--yes").code == 0
    assert manage.secrets()[name].decode() == second
    assert manage("generate", "DB_PASSWORD", "--force", "--yes").code == 0
    manage.custody.canaries.append(third := manage.secrets()[name].decode())

    assert third not in (first, second)
    assert names_in(manage.folder / "secrets") == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_rotation_writes_into_the_file_that_is_there(tmp_path: Path, name: str) -> None:
    """It is all that has the new value, besides the Swarm, which gives none back."""
    store = Vault(tmp_path / "secrets")
    with store.writing() as writer:
        writer.write(name, b"old")
    made = {"DB_PASSWORD": SwarmSecret("id", "db_password.v2", "DB_PASSWORD", 2, "2026-01-01", "", "", "")}

    files = Files(store, tmp_path / "secrets.lock.env", None, WITHOUT_KEY)
    files.settle(made, {"DB_PASSWORD": Secret(b"new")})

    assert files.shown("DB_PASSWORD").endswith(f"/{name}")
    assert {at: entry.value.reveal() for at, entry in store.entries().items()} == {name: b"new"}


def test_a_file_with_the_usual_name_comes_first(tmp_path: Path) -> None:
    store = Vault(tmp_path / "secrets")
    with store.writing() as writer:
        for name in ("db-password", "db_password", "api.key"):
            writer.write(name, b"x")
    found = filing.file_names(store, ["DB_PASSWORD", "API_KEY", "OTHER"])
    assert found == {"DB_PASSWORD": "db_password", "API_KEY": "api.key", "OTHER": "other"}
