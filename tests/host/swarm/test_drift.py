"""What `validate --swarm` finds, decided without an engine: stack files, secrets of others, an unfinished rotation."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from shim_host import validation
from shim_host.commands import drift
from shim_host.fingerprints import WITHOUT_KEY
from shim_host.inventory import services_with
from shim_host.rotate import swarm_plan
from shim_host.store.vault import Vault
from shim_host.swarm.answers import secret_of
from shim_host.swarm.lock import Lock
from shim_host.swarm.model import KEY, STACK, VERSION, SwarmSecret, SwarmService
from shim_host.validation import Fault

NAMESPACE = "com.docker.stack.namespace"


def secret(name: str, labels: Mapping[str, str]) -> SwarmSecret:
    spec = {"Name": name, "Labels": dict(labels)}
    return secret_of({"ID": f"id-{name}", "CreatedAt": "2026-01-01T00:00:00Z", "Spec": spec})


def ours(number: int, stack: str = "shop") -> SwarmSecret:
    return secret(f"{stack}_db_password.v{number}", {KEY: "DB_PASSWORD", VERSION: str(number), STACK: stack})


def found(
    folder: Path, secrets: list[SwarmSecret], mounts: Mapping[str, str] | None = None, given: tuple[Path, ...] = ()
) -> list[Fault]:
    """Return what is found where a service of the stack mounts secrets, by name the target."""
    its = {f"id-{name}": (target,) for name, target in (mounts or {}).items()}
    services = [SwarmService("s1", "shop_api", "shop", its)]
    subject = validation.subject_of(Vault(folder / "secrets"), None, [], {}, None, {})
    swarm = drift.swarm_of(secrets, services, "shop")
    return drift.findings(subject, swarm, WITHOUT_KEY, folder / "secrets.shop.lock.env", folder, given)


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ("db: {external: true, name: shop_db_password.v1}", "names shop_db_password.v1 itself, and "),
        ("shop_db_password.v1: {external: true}", "names shop_db_password.v1 itself, and "),
        ("db: {external: {name: shop_db_password.v1}}", "names shop_db_password.v1 itself, and "),
        ("shop_db_password: {external: true}", "names shop_db_password, which is not in the Swarm"),
        ("db: {external: true, name: 'shop_db_password.v${DB_PASSWORD_VERSION:-1}'}", ""),
        ("shop_db_password: {file: ./secrets/db_password}", ""),
    ],
)
def test_a_stack_file_that_is_named_counts_whatever_it_is_called(tmp_path: Path, secrets: str, says: str) -> None:
    (tmp_path / "secrets.shop.lock.env").write_text("DB_PASSWORD_VERSION=2\n")
    path = tmp_path / "production.yml"
    path.write_text(f"services: {{}}\nsecrets:\n  {secrets}\n")

    assert found(tmp_path, [ours(1), ours(2)]) == []
    faults = found(tmp_path, [ours(1), ours(2)], given=(path,))

    assert [(one.kind, one.where) for one in faults] == ([("stack-file", "production.yml")] if says else [])
    assert all(says in one.message for one in faults)


def test_a_stack_file_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "secrets.shop.lock.env").write_text("DB_PASSWORD_VERSION=2\n")
    path = tmp_path / "docker-stack.yml"
    path.write_text("secrets: {shop_db_password.v1: {external: true}}\n")
    assert len(found(tmp_path, [ours(1), ours(2)], given=(path,))) == 1


def test_a_secret_of_somebody_else_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text("secrets: {shop_db_password: {external: true}}\n")
    assert found(tmp_path, [ours(1), secret("shop_db_password", {})]) == []


@pytest.mark.parametrize(
    ("name", "labels", "target", "is_found"),
    [
        ("db_password_7", {NAMESPACE: "shop"}, "db_password", True),
        ("db_password-9f86d081", {NAMESPACE: "shop"}, "db_password", True),
        ("shop_db_password", {}, "db_password", True),
        ("shop_db_password_20260131", {}, "db_password", True),
        ("db_password_7", {NAMESPACE: "shop"}, "/etc/pw", False),
        ("db_password_replica", {NAMESPACE: "shop"}, "db_password", False),
        ("db_password_7", {NAMESPACE: "blog"}, "db_password", False),
    ],
)
def test_a_secret_of_a_deployment_is_found_where_the_key_belongs(
    tmp_path: Path, name: str, labels: Mapping[str, str], target: str, is_found: bool
) -> None:
    faults = found(tmp_path, [ours(1), secret(name, labels)], {name: target})

    wanted = ("unmanaged", "DB_PASSWORD", "shop_api", f"manage-secrets adopt {name} --stack shop")
    assert [(one.kind, one.key, one.where, one.hint) for one in faults] == ([wanted] if is_found else [])


@pytest.mark.parametrize(
    ("stack", "mounts", "is_one"),
    [
        ("shop", {"id-shop_db_password.v1": ("/etc/pw",)}, True),
        ("blog", {"id-shop_db_password.v1": ("/etc/pw",)}, True),
        ("shop", {"by-hand": ("db_password",)}, True),
        ("shop", {"by-hand": ("other",)}, False),
        ("blog", {"by-hand": ("db_password",)}, False),
    ],
)
def test_diff_asks_those_that_have_something_else_for_a_key(
    stack: str, mounts: Mapping[str, tuple[str, ...]], is_one: bool
) -> None:
    services = [SwarmService("s1", f"{stack}_api", stack, mounts)]
    assert services_with(services, [ours(1)], ["DB_PASSWORD"], "shop") == ({"s1"} if is_one else set())


def test_an_unfinished_rotation_is_a_finding() -> None:
    """What disagrees may be its doing, and the commands that other hints name are refused until it ends."""
    change = swarm_plan.Change("DB_PASSWORD", "shop_db_password.v2", 2, ())
    plan = swarm_plan.RotationPlan("run", "shop", (change,))
    lock = Lock("l1", "lock", "shop", plan.to_json(), "vm 1 2", "2026-01-01T00:00:00Z", goes_back=False, revision=1)

    assert list(drift.unfinished(None)) == []
    (fault,) = drift.unfinished(lock)
    (other,) = drift.unfinished(lock._replace(data=b"{}"))

    assert fault.message == "a rotation of DB_PASSWORD is under way, begun on vm at 2026-01-01T00:00:00Z"
    assert fault.hint.endswith("manage-secrets rotate --resume --stack shop")
    assert other.message == "another release of manage-secrets began a rotation here"
