"""`sync`, and the drift guard whose hints name it: each is carried out here, and fixes what it was about."""

import json
import os
import shlex
from typing import Any

import pytest

from tests.support.host import Canary, Manage, PrivateSwarm

pytestmark = pytest.mark.engine

TARGET = "/etc/app/token"
FILE = "secrets/api_token"


def found(manage: Manage) -> list[dict[str, Any]]:
    end = manage("validate", "--swarm", "--json")
    return list(json.loads(end.stdout)["findings"])


def fixed(manage: Manage, kind: str) -> str:
    """Carry out the hint of the one finding, which is of *kind*; return its message."""
    (finding,) = found(manage)
    assert finding["kind"] == kind, finding
    program, *words = shlex.split(finding["hint"])
    assert program == "manage-secrets"
    end = manage(*words, "--yes")
    assert end.code == 0, end.stderr
    assert found(manage) == []
    return str(finding["message"])


def mounted(swarm: PrivateSwarm, name: str) -> tuple[str, str, str, int]:
    spec = json.loads(swarm.docker("service", "inspect", name))[0]["Spec"]["TaskTemplate"]["ContainerSpec"]
    (secret,) = spec["Secrets"]
    return secret["SecretName"], secret["File"]["Name"], secret["File"]["UID"], secret["File"]["Mode"]


@pytest.mark.usefixtures("busybox")
def test_every_hint_mends_what_it_was_about(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write(FILE, canary()).chmod(0o600)
    manage.write(".gitignore", "secrets/\n.env\n")
    assert manage("create-swarm").code == 0
    options = ["--secret", f"source=api_token.v1,target={TARGET},uid=1000,mode=0400", "--update-monitor", "1s"]
    label = ("--label", "com.docker.stack.namespace=shop")
    swarm.serve("--name", "shop_api", *label, *options, swarm.image(), "/busybox", "sleep", "1d")
    assert manage("rotate", "API_TOKEN", "--generate").code == 0
    assert found(manage) == []
    kept = (TARGET, "1000", 0o400)

    # A redeployment with the old number, or the Swarm's own rollback.
    swarm.docker("service", "rollback", "--detach=false", "--quiet", "shop_api", timeout=60)
    audited = json.loads(manage("audit", "--json").stdout)["findings"]
    assert [item["command"] for item in audited if item["id"] == "service-drift"] == ["manage-secrets sync API_TOKEN"]
    assert "api_token.v2 is the newest" in fixed(manage, "stale")
    assert mounted(swarm, "shop_api") == ("api_token.v2", *kept)

    # The versions file names what is not the newest, and then what is not there.
    for number, words in ((1, "api_token.v2 is the newest"), (7, "which is not there")):
        (manage.folder / "secrets.lock.env").write_text(f"API_TOKEN_VERSION={number}\n")
        assert words in fixed(manage, "lock")
        assert "API_TOKEN_VERSION=2" in (manage.folder / "secrets.lock.env").read_text()

    # The file was edited: its value becomes the newest version.
    before = (manage.folder / FILE).read_text()
    manage.custody.canaries.append(before)
    manage.write(FILE, newer := canary())
    assert "--from-files" in manage("create-swarm").stderr
    assert "older than the file" in fixed(manage, "drift")
    assert mounted(swarm, "shop_api") == ("api_token.v3", *kept)

    # The file is that of another laptop: it gets the newest value.
    manage.write(FILE, before)
    asked = manage("sync", "--from-files")
    assert asked.code == 1
    assert "older than the newest version: " in asked.stderr
    assert "is newer than the file, which has the value of api_token.v2" in fixed(manage, "drift")
    assert (manage.folder / FILE).read_text() == newer
    # So it does when it holds something that no version has, and was written before the newest.
    manage.write(FILE, canary())
    os.utime(manage.folder / FILE, (1, 1))
    assert "written before it" in fixed(manage, "drift")
    assert (manage.folder / FILE).read_text() == newer

    # A stack file is a person's to change.
    stack = "secrets: {{t: {{external: true, name: '{}'}}}}\n"
    back, gone = "the next stack deploy would go back", ", which is not in the Swarm"
    for name, words in {"api_token.v2": back, "api_token.v${OTHER:-9}": gone}.items():
        manage.write("docker-stack.yml", stack.format(name))
        (finding,) = found(manage)
        assert (finding["kind"], finding["where"]) == ("stack-file", "docker-stack.yml")
        assert words in finding["message"]
        assert "api_token.v${API_TOKEN_VERSION:-1}" in finding["hint"]
    manage.write("docker-stack.yml", stack.format("api_token.v${API_TOKEN_VERSION:-1}"))
    assert found(manage) == []

    # And to the version that is named.
    for words in ("API_TOKEN --to 2", "API_TOKEN --to 3 --dry-run"):
        assert manage("sync", *words.split()).code == 0
    assert mounted(swarm, "shop_api") == ("api_token.v2", *kept)
    refusals = {
        "API_TOKEN --to 9": (1, " has no version "),
        "NO_SUCH": (1, "not in the Swarm"),
        "--to 2": (2, "--to works with one key, and without --from-files and --to-files"),
        "--from-files --to-files": (2, "--from-files and --to-files cannot be used together"),
    }
    for words, (code, said) in refusals.items():
        end = manage("sync", *words.split())
        assert end.code == code
        assert said in end.stderr


def test_all_that_the_folder_says_in_one_run(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """Three edited files and a new one: one command, one update of the service; `rotate` takes them, too."""
    for key in "abc":
        manage.write(f"secrets/{key}", canary())
    assert manage("create-swarm").code == 0
    secrets = [word for key in "abc" for word in ("--secret", f"source={key}.v1,target={key}")]
    swarm.serve("--name", "api", *secrets, "--update-monitor", "1s", swarm.image(), "/busybox", "sleep", "1d")
    for key in "abcd":
        manage.write(f"secrets/{key}", canary())

    runs = manage.json("sync", "--from-files")["runs"]

    assert runs[0]["secrets"][0]["name"] == "d.v1"
    assert [key["name"] for key in runs[1]["keys"]] == ["a.v2", "b.v2", "c.v2"]
    tasks = swarm.docker("service", "ps", "--quiet", "api").split()
    assert len(tasks) == 2
    manage.write("secrets/a", canary())
    assert "the new value is what" in manage("rotate", "A", "--dry-run").stderr
    assert manage("rotate", "A").code == 0
    assert manage("validate", "--swarm").code == 1  # .gitignore alone
    assert [item["kind"] for item in found(manage) if item["kind"] in ("drift", "stale", "lock")] == []
