"""`adopt`: what others made becomes versions of keys, byte for byte, with every mount as it was."""

import json

import pytest

from tests.support.host import Canary, Manage, PrivateSwarm

pytestmark = pytest.mark.engine


def mounts(swarm: PrivateSwarm, name: str) -> dict[str, tuple[str, str, int]]:
    spec = json.loads(swarm.docker("service", "inspect", name))[0]["Spec"]["TaskTemplate"]["ContainerSpec"]
    return {m["File"]["Name"]: (m["SecretName"], m["File"]["UID"], m["File"]["Mode"]) for m in spec["Secrets"]}


def inside(swarm: PrivateSwarm, service: str, path: str) -> str:
    container = swarm.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={service}")
    return swarm.docker("exec", container.split()[0], "cat", path)


def hints(manage: Manage) -> list[tuple[str, str]]:
    """Return what `validate` finds of secrets that others made, and its hints."""
    found = json.loads(manage("validate", "--swarm", "--json").stdout)["findings"]
    return [(item["message"], item["hint"]) for item in found if item["kind"] == "unmanaged"]


def test_what_others_made_is_taken_over(swarm: PrivateSwarm, manage: Manage, canary: Canary, busybox: str) -> None:
    """By hand, by Ansible with a pair of versions, and by a stack's file:; what the services see stays the same."""
    values = {
        name: canary() for name in ("api_token", "db_password_v1", "db_password_v2", "db_password_v3", "shop_key")
    }
    labels = {f"db_password_v{n}": f"ansible_version={n}" for n in (1, 2, 3)}
    labels["shop_key"] = "com.docker.stack.namespace=shop"
    for name, value in values.items():
        label = ("--label", labels[name]) if name in labels else ()
        swarm.docker("secret", "create", *label, name, "-", stdin=value.encode())
    secrets = {
        "api": ("source=api_token,target=/etc/token,uid=1000,mode=0400", "source=db_password_v3,target=db_password"),
        "shop_web": ("source=shop_key,target=key",),
    }
    old = "source=db_password_v2,target=db_password_old"
    for service, mounted in {**secrets, "api": (*secrets["api"], old)}.items():
        words = [word for mount in mounted for word in ("--secret", mount)]
        swarm.serve("--name", service, "--update-monitor", "1s", *words, busybox, "sleep", "1d")

    # One that nothing mounts may be of a run that failed: no deployment is to find it as the newest unasked.
    swarm.docker("secret", "create", "--label", "ansible_version=4", "db_password_v4", "-", stdin=canary().encode())
    planned = manage.json("adopt", "--dry-run")
    assert "db_password_v4 is newer than what services mount, and stays as it is" in manage("adopt", "--dry-run").stderr
    asked = manage.json("adopt", "--dry-run", "db_password_v4")
    assert [key["name"] for key in asked["keys"]] == ["db_password.v2", "db_password.v3", "db_password.v4"]
    assert [key["name"] for key in planned["keys"]] == ["api_token.v1", "db_password.v2", "db_password.v3"]
    older = manage.json("adopt", "--dry-run", "db_password_v1")
    assert [key["name"] for key in older["keys"]] == ["db_password.v1", "db_password.v2", "db_password.v3"]

    # A stack's file: is of that stack, also where its name without the stack's is that of a secret of no stack.
    stranger = manage("adopt", "--dry-run", "shop_key")
    assert stranger.code == 1
    assert "shop_key belongs to the stack shop" in stranger.stderr
    assert "hint: manage-secrets adopt shop_key --stack shop\n" in stranger.stderr
    swarm.docker("secret", "create", "key", "-", stdin=canary().encode())
    by_hand = manage.json("adopt", "--dry-run", "key")
    assert [key["name"] for key in by_hand["keys"]] == ["key.v1"]
    swarm.docker("secret", "rm", "key")
    manage.write(".env.schema", "# @sensitive\nAPI_TOKEN=\n")
    (unmanaged,) = hints(manage)
    assert unmanaged == ("mounts api_token, which this tool did not make", "manage-secrets adopt api_token")
    document = manage.json("adopt")

    assert (document["services"], document["state"]) == (["api"], "moved")
    assert hints(manage) == []
    assert mounts(swarm, "api") == {
        "/etc/token": ("api_token.v1", "1000", 0o400),
        "db_password": ("db_password.v3", "0", 0o444),
        "db_password_old": ("db_password.v2", "0", 0o444),
    }
    assert inside(swarm, "api", "/etc/token") == values["api_token"]
    assert inside(swarm, "api", "/run/secrets/db_password") == values["db_password_v3"]
    assert inside(swarm, "api", "/run/secrets/db_password_old") == values["db_password_v2"]
    swarm.docker("secret", "rm", "db_password_v4")
    by_name = manage("adopt", "db_password_v3")
    assert by_name.code == 0
    assert "its value is in db_password.v3 already" in by_name.stderr
    assert "db_password.v4" not in swarm.docker("secret", "ls", "--format", "{{.Name}}")
    again = manage("adopt")
    assert again.code == 0
    assert "manage-secrets adopt --stack shop" in again.stderr

    end = manage("adopt", "--stack", "shop")
    assert end.code == 0, end.stderr
    assert "name: shop_key.v${KEY_VERSION:-1}" in end.stderr
    assert mounts(swarm, "shop_web")["key"][0] == "shop_key.v1"
    assert inside(swarm, "shop_web", "/run/secrets/key") == values["shop_key"]

    swarm.docker("secret", "create", "9", "-", stdin=b"x")
    swarm.docker("secret", "create", "--template-driver", "golang", "made_up", "-", stdin=b"x")
    refusals = {
        "nosuch": "there is no secret of another tool called ",
        "api_token.v1": "it is already managed by this tool",
        "made_up": "a template fills in ",
        "9": " cannot become a key",
    }
    for name, said in refusals.items():
        end = manage("adopt", name)
        assert end.code == 1, name
        assert said in end.stderr
