"""Secrets that others made where a key belongs: what `adopt` makes of them, and `sync` says of them. No engine."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from shim_host.rotate.adopt import AdoptWork
from shim_host.rotate.sync import SyncWork
from shim_host.swarm.answers import secret_of
from shim_host.swarm.model import RotatedService, SecretMount, SwarmSecret

from shim.schema import parse


def ours(number: int, stack: str) -> SwarmSecret:
    name = f"{stack}_db_password.v{number}".removeprefix("_")
    return SwarmSecret(f"id-{name}", name, "DB_PASSWORD", number, f"2026-01-{number:02}", "", "", stack, "who")


def adopting(stack: str, mounts: dict[str, tuple[str, str]], ours: Sequence[SwarmSecret] = ()) -> list[str]:
    """Return what `adopt` makes of secrets, by their names the service and the target that mount them.

    Those that are called after the stack were made by hand, the others by its deployments.
    """
    namespace = "com.docker.stack.namespace"
    theirs = {
        name: secret_of(
            {
                "ID": f"id-{name}",
                "CreatedAt": "2026-01-01T00:00:00Z",
                "Spec": {"Name": name, "Labels": {} if name.startswith(stack) else {namespace: stack}},
            }
        )
        for name in mounts
    }
    services = [
        RotatedService(f"id-{at}", at, at.partition("_")[0], (SecretMount(theirs[name].id, name, target),))
        for name, (at, target) in mounts.items()
    ]
    work = AdoptWork.__new__(AdoptWork)
    work.stack, work.secrets, work.services = stack, [*theirs.values(), *ours], services
    work.schema = parse(b"# @sensitive\nDB_PASSWORD=\n# @sensitive\nOAUTH_2=\n")
    work.files, work._last_numbers = SimpleNamespace(by_key=dict), {}  # type: ignore[assignment]
    return [f"{one.theirs.name} {one.name} {one.key}" for one in work._taken(work._groups(theirs))]


@pytest.mark.parametrize(
    ("name", "target", "becomes"),
    [
        ("db_password_7", "db_password", "shop_db_password.v4 DB_PASSWORD"),
        ("db_password-20260131", "db_password", "shop_db_password.v4 DB_PASSWORD"),
        ("db_password_2026-01-31", "db_password", "shop_db_password.v4 DB_PASSWORD"),
        ("db_password.9f86d08", "db_password", "shop_db_password.v4 DB_PASSWORD"),
        ("shop_db_password_v7", "db_password", "shop_db_password.v7 DB_PASSWORD"),
        ("shop_db_password", "db_password", "shop_db_password.v4 DB_PASSWORD"),
        ("db_password_7", "pw", "shop_db_password_7.v1 DB_PASSWORD_7"),  # nothing tells what it is for
        ("db_password_replica", "db_password", "shop_db_password_replica.v1 DB_PASSWORD_REPLICA"),
        ("db_password_facade", "db_password", "shop_db_password_facade.v1 DB_PASSWORD_FACADE"),
        ("oauth_2", "oauth", "shop_oauth_2.v1 OAUTH_2"),  # a key of its own
    ],
)
def test_a_secret_of_a_deployment_belongs_to_the_key_that_it_is_mounted_as(
    name: str, target: str, becomes: str
) -> None:
    assert adopting("shop", {name: ("shop_api", target)}, [ours(3, "shop")]) == [f"{name} {becomes}"]


def test_two_secrets_that_are_mounted_as_one_key_keep_their_names() -> None:
    """They may be those of two customers."""
    made = adopting(
        "shop", {"db_password_1": ("shop_one", "db_password"), "db_password_2": ("shop_two", "db_password")}
    )
    assert made == [
        "db_password_1 shop_db_password_1.v1 DB_PASSWORD_1",
        "db_password_2 shop_db_password_2.v1 DB_PASSWORD_2",
    ]


def syncing(stack: str, service_stack: str, target: str) -> list[str]:
    """Return what `sync` says of a service that mounts what somebody else made, and nothing of ours."""
    theirs = secret_of({"ID": "by-hand", "CreatedAt": "2026-01-01T00:00:00Z", "Spec": {"Name": "shop_db_password"}})
    mount = SecretMount(theirs.id, theirs.name, target)
    goal = ours(2, stack)
    work = SyncWork.__new__(SyncWork)
    work.stack, work.secrets = stack, [theirs, goal]
    work.services = [RotatedService("id-api", "api", service_stack, (mount,))]
    return [one.message for one in work._mounting_others({"DB_PASSWORD": goal})]


def test_sync_names_what_it_cannot_bring_together() -> None:
    """A service that has the key from somebody else does not run the version that it should."""
    (message,) = syncing("shop", "shop", "db_password")
    assert message.startswith("mounts shop_db_password for DB_PASSWORD, which this tool did not make")
    assert syncing("shop", "blog", "db_password") == []
    assert syncing("shop", "shop", "mail_password") != []  # its name tells
    assert syncing("", "shop", "db_password") == []  # the keys of no stack may be of others
