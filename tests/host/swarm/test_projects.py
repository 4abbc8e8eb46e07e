"""Whose containers count: those of this Compose project, whoever mounts its files; and what cannot be looked at."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Canary, Manage, PrivateSwarm, compose_program, folder_of_engines, unmount

pytestmark = pytest.mark.engine

SERVICE = """\
name: {project}
services:
  api:
    image: {image}
    network_mode: none
    entrypoint: [/opt/shim/shim, --, /busybox, sleep, "100000"]
    stop_grace_period: 1s
    secrets: [db_password]
secrets:
  db_password: {{file: {file}}}
"""


@pytest.fixture
def projects(swarm: PrivateSwarm, manage: Manage, canary: Canary, shim_binary: Path) -> Iterator[dict[str, str]]:
    """Run three projects: ours, one of others with the same names, and one that mounts our file."""
    image = swarm.image_with_shim(shim_binary)
    ours = manage.write("secrets/db_password", canary())
    theirs = manage.write("theirs/secrets/db_password", canary())
    files = {
        "ours": ("compose.yaml", ours),
        "theirs": ("theirs/compose.yaml", theirs),
        "guest": ("g/compose.yaml", ours),
    }
    plugins = manage.folder / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(compose_program())
    manage.env["DOCKER_CONFIG"] = str(plugins.parent)
    for project, (name, file) in files.items():
        folder = manage.write(name, SERVICE.format(project=project, image=image, file=file)).parent
        swarm.compose(folder, "up", "--detach")
    yield {project: f"{project}-api-1" for project in files}
    swarm.docker("rm", "--force", "one-off", check=False)
    for name, _ in files.values():
        swarm.compose((manage.folder / name).parent, "down", "--timeout", "1")


@pytest.mark.frozen
def test_only_containers_that_have_our_secrets_count(
    projects: dict[str, str], swarm: PrivateSwarm, manage: Manage, canary: Canary
) -> None:
    """A key of the same name in another project is none of our business; a file that another one mounts is."""
    same = manage.json("diff", "--all")
    assert {projects["ours"], projects["guest"]} <= set(same["places"])
    assert projects["theirs"] not in same["places"]
    assert len(set(same["keys"][0]["fingerprints"].values())) == 1
    row = manage.json("list")["keys"][0]
    assert row["services"] == ["api", "guest/api"]
    # Development mode complains of what is left open, as Python 3.13 does always; `Manage` sees that.
    document = json.loads(manage("audit", "--json", env={"PYTHONDEVMODE": "1"}).stdout)
    assert "theirs" not in json.dumps(document)
    assert [item for item in document["findings"] if item["id"] == "container-stale"] == []

    # Who mounts the file is told what it keeps; a project that is only called the same is not recreated as ours.
    words = ("rotate", "DB_PASSWORD", "--generate", "--compose", "--dry-run")
    by_hand = ("run", "--detach", "--name", "by-hand", "--network", "none", "--entrypoint", "/opt/shim/shim")
    file = manage.folder / "secrets" / "db_password"
    image = swarm.docker("inspect", "--format", "{{.Config.Image}}", projects["ours"])
    swarm.docker(*by_hand, "--volume", f"{file}:/run/secrets/db_password", image, "--", "/busybox", "sleep", "1d")
    swarm.compose(manage.folder, "run", "--detach", "--name", "one-off", "api")
    planned = manage(*words)
    guest = f"docker compose -p guest -f {manage.folder}/g/compose.yaml up -d --force-recreate api"
    assert planned.code == 0, planned.stderr
    assert "guest-api-1, of the project guest, mounts the file, too, and keeps the old value" in planned.stderr
    assert all(
        f"hint: {hint}\n" in planned.stderr for hint in (guest, "docker restart by-hand", "docker restart one-off")
    )
    swarm.docker("rm", "--force", "by-hand")
    refused = manage(*words, env={"COMPOSE_PROJECT_NAME": "theirs"})
    assert refused.code == 1
    folder = manage.folder / "theirs"
    assert f"theirs-api-1 was started from {folder}, and mounts none of the files" in refused.stderr
    called_the_same = {"COMPOSE_PROJECT_NAME": "theirs"}
    audited = manage("audit", "--json", env=called_the_same)
    its = f"theirs-api-1, started from {folder}: two projects are called theirs"
    assert (audited.code, json.loads(audited.stdout)["not_looked_at"]) == (1, [its])
    assert projects["theirs"] not in json.loads(manage("diff", "--json", env=called_the_same).stdout)["places"]

    # In place: every container now reads the new bytes, and runs with the old.
    with file.open("w") as opened:
        opened.write(canary())

    end = manage("diff", "--json")
    assert end.code == 1
    prints = json.loads(end.stdout)["keys"][0]["fingerprints"]
    assert prints["secrets"] != prints[projects["ours"]] == prints[projects["guest"]]
    document = json.loads(manage("audit", "--json").stdout)
    stale = {item["service"]: item["command"] for item in document["findings"] if item["id"] == "container-stale"}
    assert stale == {
        "api": "docker compose -p ours up -d --force-recreate api",
        "guest/api": guest,
        "one-off": "docker restart one-off",
    }


def test_a_locked_swarm_is_never_clean(manage: Manage, canary: Canary) -> None:
    """In the exit code, the table and the JSON: what cannot be seen is not fine."""
    folder = folder_of_engines("locked-")
    engine = PrivateSwarm(folder)
    try:
        manage.env["DOCKER_HOST"] = engine.host
        manage.write("secrets/db_password", canary()).chmod(0o600)
        assert manage("create-swarm").code == 0
        assert manage("diff").code == 0
        engine.docker("swarm", "update", "--autolock=true")
        engine.process.send_signal(signal.SIGTERM)
        engine.process.wait(60)
        engine.begin()
        engine.wait_for_start()

        for words in ("list", "diff", "audit", "validate --swarm", "history", "rotate DB_PASSWORD --generate", "prune"):
            end = manage(*words.split())
            assert end.code == 111, words
            assert "locked" in end.stderr
        assert " ?" in manage("list").stdout
        for words in ("list", "diff", "audit"):
            end = manage(words, "--json")
            assert end.code == 111
            assert "locked" in " ".join(json.loads(end.stdout)["not_looked_at"])
        assert manage("diff", "--no-engine").code == 0
        page = manage.folder / "audit.html"
        manage("audit", "--html", page.name)
        assert "nothing to do" not in page.read_text()
    finally:
        engine.docker("swarm", "leave", "--force", check=False)
        engine.process.send_signal(signal.SIGTERM)
        engine.process.wait(60)
        unmount(folder)
