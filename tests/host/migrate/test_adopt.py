"""`migrate --adopt` and `--undo`: the new files in the place of the old ones, and back to the byte."""

import json
import os
from pathlib import Path

import pytest

from tests.support import compose_judge as judge
from tests.support.host import Canary, Manage
from tests.support.provoked import provokes
from tests.support.rotation_compose import plug_in_compose

FILES = {
    "docker-compose.yml": "services:\n  a:\n    image: i\n    env_file: .env\n"
    "    extends: {file: base.yml, service: b}\n",
    "base.yml": "services:\n  b:\n    image: i\n    environment: {OTHER_TOKEN: '${OTHER_TOKEN}'}\n",
    ".env": "A=1\nDB_PASSWORD=VALUE\nOTHER_TOKEN=VALUEx\n",
}


@pytest.fixture
def project(manage: Manage, canary: Canary) -> Manage:
    """Return the host tool in a project, with Compose and without an engine."""
    plug_in_compose(manage)
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/no.sock"
    manage.write("images.json", json.dumps({"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}))
    value = canary()
    for name, text in FILES.items():
        manage.write(name, text.replace("VALUE", value))
    return manage


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("tries_first", [False, True])
def test_what_is_adopted_works_and_can_be_undone(project: Manage, tries_first: bool) -> None:
    """Whether it was tried before or not; nothing of the try is left, and the way back is exact."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(project.folder), **project.env}
    before, files = judge.read(project.folder, environ=environ), contents(project.folder)
    migrate = ("migrate", "--yes", "--json", "--image-config", "images.json")
    if tries_first:
        assert project(*migrate).code == 0
        assert (project.folder / "docker-compose.secrets.yml").exists()

    end = project(*migrate, "--adopt")

    assert end.code == 0, end.stderr
    after = judge.read(project.folder, environ=environ)
    assert judge.differences(json.loads(end.stdout), before, after) == []
    assert "DB_PASSWORD=" not in (project.folder / ".env").read_text()
    assert not list(project.folder.glob("*.secrets.yml"))
    assert not (project.folder / ".env.new").exists()
    (kept,) = (project.folder / "secrets").glob(".before-migrate")
    assert kept.stat().st_mode & 0o077 == 0
    assert "there is nothing to migrate" in project("migrate", "--image-config", "images.json").stderr

    assert project("migrate", "--undo", "--yes").code == 0

    assert contents(project.folder) == files
    assert judge.read(project.folder, environ=environ) == before


def test_each_adoption_can_be_undone_and_so_can_one_that_was_killed(project: Manage, canary: Canary) -> None:
    """The last one first. What a kill leaves, on the way there or back, is half the old files and half the new."""
    migrate = ("migrate", "--yes", "--image-config", "images.json", "--adopt")
    first = contents(project.folder)
    assert project(*migrate).code == 0
    project.write(".env", (project.folder / ".env").read_text() + f"NEW_TOKEN={canary()}\n")
    second = contents(project.folder)
    again = project(*migrate)
    assert again.code == 0, again.stderr
    third = contents(project.folder)
    assert second != third
    for half in range(1, len(FILES) + 1):
        for name in list(FILES)[:half]:
            (project.folder / name).write_bytes(second[name])
        assert project("migrate", "--undo", "--dry-run").code == 0
    assert project("migrate", "--undo", "--yes").code == 0
    assert contents(project.folder) == second

    edited = project("migrate", "--undo", "--yes")
    assert "changed since it was adopted: .env" in edited.stderr, "the line that came in between"
    assert project("migrate", "--undo", "--yes", "--force").code == 0

    assert contents(project.folder) == first
    assert "there is nothing to undo" in project("migrate", "--undo", "--yes").stderr
    assert not list((project.folder / "secrets").glob(".before-migrate*"))


def test_what_somebody_changed_is_not_lost_unasked(project: Manage, canary: Canary) -> None:
    """Neither a new file that is not adopted yet, nor one that is."""
    migrate = ("migrate", "--yes", "--image-config", "images.json")
    assert project("migrate", "--undo", "--yes").stderr.startswith("manage-secrets: error: there is nothing to undo\n")
    assert project(*migrate).code == 0
    with (project.folder / "docker-compose.secrets.yml").open("a") as file:
        file.write("# mine\n")
    files = contents(project.folder)

    edited = project(*migrate, "--adopt")

    assert edited.code == 1
    assert "differs from what migrate would write now: docker-compose.secrets.yml" in edited.stderr
    assert contents(project.folder) == files
    assert project(*migrate, "--adopt", "--force").code == 0
    project.write(".env", f"A=2\nNEW={canary()}\n")
    changed = project("migrate", "--undo", "--yes")
    assert changed.code == 1
    assert "changed since it was adopted: .env" in changed.stderr
    index = project.folder / "secrets" / ".before-migrate" / "index.json"
    whole = index.read_bytes()
    index.write_text("{")
    assert "secrets/.before-migrate is damaged" in project("migrate", "--undo", "--yes").stderr
    index.write_bytes(whole)
    assert project("migrate", "--undo", "--yes", "--force").code == 0
    assert contents(project.folder) == files


def test_root_puts_nothing_back_that_somebody_else_may_have_kept(project: Manage, as_root: None) -> None:
    """Whoever owns ./secrets could write there what root is to write, and where."""
    for name in ("secrets/.before-migrate/index.json", "secrets/.before-migrate/0"):
        project.write(name, "x")
    index = [{"path": "../pwned", "mode": 0o644, "adopted": "", "new": False}]
    project.write("secrets/.before-migrate/index.json", json.dumps(index))
    os.chown(project.folder / "secrets", 12345, 12345)

    end = project("migrate", "--undo", "--yes", "--force")
    assert (end.code, (project.folder / "pwned").exists()) == (1, False), end
    assert "secrets belongs to somebody else, who could choose what root writes" in end.stderr


def test_what_root_migrates_stays_with_its_owner(project: Manage, as_root: None) -> None:
    """The Compose files, the env file and what is kept of them: else they could neither edit nor undo."""
    project.write("secrets/README.md", "x")
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, 12345, 54321, follow_symlinks=False)

    end = project("migrate", "--yes", "--image-config", "images.json", "--adopt")

    assert end.code == 0, end.stderr
    kept = project.folder / "secrets" / ".before-migrate"
    files = [project.folder / name for name in (*FILES, ".gitignore", "secrets/db_password")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (*files, kept, *kept.iterdir())} == {(12345, 54321)}
    assert "belongs to somebody else" in project("migrate", "--undo", "--yes").stderr
    for path in (project.folder / "secrets", kept):
        os.chown(path, 0, 0)
    assert project("migrate", "--undo", "--yes").code == 0
    assert (project.folder / ".env").stat().st_uid == 12345
    assert not kept.exists()


def test_a_project_that_was_migrated_can_be_migrated_again(project: Manage, canary: Canary) -> None:
    """A new key goes to the shim that is there, and a new service has it from the same volume."""
    migrate = ("migrate", "--yes", "--json", "--image-config", "images.json", "--adopt")
    assert project(*migrate).code == 0
    project.write(".env", (project.folder / ".env").read_text() + f"NEW_TOKEN={canary()}\n")
    text = (project.folder / "docker-compose.yml").read_text()
    more = "  c: {image: i, environment: ['C_TOKEN=${NEW_TOKEN}']}\n  d: {image: i, entrypoint: "
    shim = "[/opt/shim/shim, --only, X, --, d], environment: ['D_TOKEN=${NEW_TOKEN}']}\n"
    project.write("docker-compose.yml", text.replace("services:\n", f"services:\n{more}{shim}"))
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(project.folder), **project.env}
    before = judge.read(project.folder, environ=environ)

    end = project(*migrate)

    plan = json.loads(end.stdout)
    assert {entry["service"]: entry["how"] for entry in plan["services"]} == {"a": "already", "c": "shim"}
    assert "the shim that starts it would need D_TOKEN in its --only" in end.stderr
    after = judge.read(project.folder, environ=environ)
    assert judge.differences(plan, before, after) == []
    assert set(after["services"]) == {"a", "c", "d", "shim-install"}
    assert list(after["volumes"]) == ["shim"]


@provokes("a link, which --adopt would replace, and what it leads to would keep the values: …")
def test_a_file_that_is_a_link_is_not_replaced(project: Manage) -> str:
    """The file that it leads to may be in a repository of dotfiles, and would keep the values unseen."""
    (project.folder / "mine").mkdir()
    (project.folder / ".env").rename(project.folder / "mine/env")
    (project.folder / ".env").symlink_to("mine/env")
    before = contents(project.folder)

    end = project("migrate", "--adopt", "--yes", "--image-config", "images.json")

    assert end.code == 1
    assert f"mv .env.new {project.folder.resolve()}/mine/env" in end.stderr
    assert (contents(project.folder), (project.folder / ".env").is_symlink()) == (before, True)
    assert not (project.folder / "secrets").exists()
    return end.stderr
