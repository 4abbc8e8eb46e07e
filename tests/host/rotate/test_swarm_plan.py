"""What becomes of each mount, decided without an engine: pairs, older versions, numbers and names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shim_host.audit.from_engine import versions_of
from shim_host.fingerprints import WITHOUT_KEY
from shim_host.rotate import history, preflight, swarm_plan
from shim_host.rotate.files import Files
from shim_host.rotate.swarm import ROTATED, SwarmWork
from shim_host.rotate.swarm_plan import BACK, FORWARD
from shim_host.store.vault import Vault
from shim_host.swarm import versions
from shim_host.swarm.answers import secret_of
from shim_host.swarm.model import KEY, STACK, VERSION, RotatedService, SecretMount, SwarmSecret, SwarmService

from shim.schema import parse
from shim.secret import Secret


def version(number: int, key: str = "JWT_SECRET", stack: str = "", told: str = "", name: str = "") -> SwarmSecret:
    name = name or f"{stack}_{key.lower()}.v{number}".removeprefix("_")
    return SwarmSecret(f"id-{name}", name, key, number, f"2026-01-{number:02}", "", "", stack, "who", told)


def service(mounts: Mapping[str, SwarmSecret], name: str = "signer") -> RotatedService:
    mounted = tuple(SecretMount(secret.id, secret.name, target) for target, secret in mounts.items())
    return RotatedService(f"id-{name}", name, mounts=mounted)


def after(planned: swarm_plan.RotationPlan, of: RotatedService) -> dict[str, str]:
    """Return what the service mounts once it has moved, by target."""
    names = {mount.target: mount.name for mount in of.mounts}
    moved = {target: to.name for target, (_, to) in swarm_plan.swaps(planned, of.id, FORWARD).items()}
    return {**names, **moved}


V1, V2, V3 = version(1), version(2), version(3)
MODES = {
    "web": "replicated",
    "asleep": "replicated",
    "removed": "global",
    "mail": "replicated-job",
    "report": "global-job",
}


@pytest.mark.parametrize(
    ("mounts", "wanted"),
    [
        ({"a": V2, "b": V2}, {"a": 3, "b": 3}),  # two targets of one version, whatever they are called
        ({"jwt_secret": V2, "jwt_secret_previous": V1}, {"jwt_secret": 3, "jwt_secret_previous": 2}),
        ({"now": V2, "before": V1}, {"now": 3, "before": 2}),
        ({"jwt_secret": V2, "jwt_secret.old": V2}, {"jwt_secret": 3, "jwt_secret.old": 2}),  # there was none before
        ({"jwt_secret-prev": V1}, {"jwt_secret-prev": 2}),  # who only verifies
        ({"threshold": V2}, {"threshold": 3}),
    ],
)
def test_a_pair_of_versions_stays_a_pair(mounts: dict[str, SwarmSecret], wanted: dict[str, int]) -> None:
    """The current one becomes the new one, and the one before it what was current; a rollback gives both back."""
    moving, other = service(mounts), service({"jwt_secret": V2}, "other")

    planned = swarm_plan.plan("run", "", ["JWT_SECRET"], [V1, V2], [moving, other])

    assert after(planned, moving) == {target: f"jwt_secret.v{number}" for target, number in wanted.items()}
    there = {1: V1, 2: V2, 3: V3}
    moved = service({target: there[number] for target, number in wanted.items()})
    moved_other = service({"jwt_secret": V3}, "other")
    back, lacking = swarm_plan.plan_back("run", "", ["JWT_SECRET"], [V1, V2, V3], [moved, moved_other])
    assert not lacking
    first = {target: secret.name for target, secret in mounts.items()}
    first |= {"jwt_secret.old": V1.name} if "jwt_secret.old" in mounts else {}
    assert (after(back, moved) if moved.id in back.moves else first) == first


def test_who_mounts_only_an_older_version_stays_and_is_named() -> None:
    current, older = service({"jwt_secret": V2}, "current"), service({"jwt_secret": V1}, "older")

    planned = swarm_plan.plan("run", "", ["JWT_SECRET"], [V1, V2], [current, older])

    assert set(planned.moves) == {current.id}
    (finding,) = preflight.left_behind(planned, [V1, V2], [current, older])
    assert (finding.is_hard, finding.service) == (False, "older")
    assert finding.hint == "manage-secrets sync JWT_SECRET moves it"
    of_shop = [version(number, stack="shop") for number in (1, 2)]
    users = [service({"jwt_secret": of_shop[1]}, "current"), service({"jwt_secret": of_shop[0]}, "older")]
    of_stack = swarm_plan.plan("run", "shop", ["JWT_SECRET"], of_shop, users)
    (finding,) = preflight.left_behind(of_stack, of_shop, users)
    assert finding.hint == "manage-secrets sync JWT_SECRET --stack shop moves it"
    synced = swarm_plan.plan_to("run", "", {"JWT_SECRET": V2}, [V1, V2], [current, older])
    assert (set(synced.moves), after(synced, older)) == ({older.id}, {"jwt_secret": "jwt_secret.v2"})


def test_a_hint_names_the_stack() -> None:
    old, new = version(1, stack="shop"), version(2, stack="shop")
    current, older = service({"jwt_secret": new}, "current"), service({"jwt_secret": old}, "older")
    planned = swarm_plan.plan("run", "shop", ["JWT_SECRET"], [old, new], [current, older])

    (finding,) = preflight.left_behind(planned, [old, new], [current, older])

    assert finding.hint == "manage-secrets sync JWT_SECRET --stack shop moves it"


def test_what_was_taken_back_by_hand_is_named_where_no_version_is_earlier() -> None:
    """As with `docker service rollback`: the newest version is there, and no service has it."""
    back = service({"jwt_secret": V1})

    refused = preflight.nothing_before(["JWT_SECRET"], [V1, V2], [back], "")
    assert refused.message == "jwt_secret.v1 is in use already, and there is no earlier version of JWT_SECRET"
    assert refused.hints[0] == "jwt_secret.v2 is newer: manage-secrets sync JWT_SECRET moves the services to it"
    refused = preflight.nothing_before(["JWT_SECRET"], [V1], [back], "")
    assert refused.message == "there is no earlier version of JWT_SECRET"


def test_a_service_that_came_during_a_rotation_with_the_version_that_is_left_is_named() -> None:
    moving = service({"jwt_secret": V2}, "moving")
    planned = swarm_plan.plan("run", "", ["JWT_SECRET"], [V1, V2], [moving])
    planned = swarm_plan.with_ids(planned, [V1, V2, replace(V3, run="run")])
    there = [
        SwarmService("id-late", "late", "", {V2.id: ("jwt_secret",)}),
        SwarmService("id-new", "new", "", {V3.id: ("jwt_secret",)}),
        SwarmService("id-other", "other", "", {"id-of-another": ("jwt_secret",)}),
        SwarmService("id-left", "left", "", {V2.id: ("jwt_secret",)}),
        SwarmService(moving.id, moving.name, "", {V3.id: ("jwt_secret",)}),
    ]

    (found,) = preflight.made_meanwhile(planned, there, {moving.id, "id-left"})

    assert found.message == "created in the meantime, with another version of JWT_SECRET: late"
    assert found.hint == "manage-secrets sync JWT_SECRET moves what has it to jwt_secret.v3"


def test_what_is_told_of_services_that_run_nothing_and_of_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    """A job runs again once it is written; what was removed meanwhile is told of where that is seen."""
    there = [replace(service({"a": V1}, name), mode=mode) for name, mode in MODES.items()]
    plan = swarm_plan.plan("run", "", ["JWT_SECRET"], [V1], there)
    run: Any = SimpleNamespace(arrived={"web"}, gone={"removed"}, verified=1, elsewhere=0)
    work: Any = SimpleNamespace(services=there, is_json=False)

    SwarmWork.give(work, plan, ROTATED, run)

    told = capsys.readouterr().err.splitlines()
    assert told == [
        "manage-secrets: 1 service moved; the new value is confirmed in 1 container",
        "manage-secrets: jobs that got the version, and run again: mail, report",
        "manage-secrets: these got the version, and run no task: asleep",
    ]


def test_who_mounts_the_key_of_another_stack_keeps_its_value_and_is_named() -> None:
    """A stack that got secrets of its own, and was not deployed with them yet; or a --stack that was forgotten."""
    old, own, other = version(1), version(1, stack="shop"), version(1, stack="blog")
    versions_there = [old, own, other]
    late = replace(service({"jwt_secret": old}, "late"), stack="shop")
    strange = replace(service({"jwt_secret": other}, "strange"), stack="blog")

    def found(stack: str, *services: RotatedService) -> list[tuple[bool, str, str]]:
        planned = swarm_plan.plan("run", stack, ["JWT_SECRET"], versions_there, services)
        said = preflight.left_behind(planned, versions_there, services)
        return [(one.is_hard, f"{one.service} {one.message}", one.hint) for one in said]

    ((is_hard, message, hint),) = found("shop", late, strange)
    assert (is_hard, message) == (True, "late mounts jwt_secret.v1 of no stack for JWT_SECRET: it keeps that value")
    start = "name shop_jwt_secret.v${JWT_SECRET_VERSION:-1} in its stack file and deploy it, or rotate that one"
    assert hint == f"{start} without --stack"
    moved = replace(service({"jwt_secret": own}, "moved"), stack="shop")
    assert [one[0] for one in found("shop", late, moved)] == [False]
    ((is_hard, message, hint),) = found("", strange)
    assert (is_hard, hint) == (False, "rotate that one with --stack blog")
    assert found("", strange, service({"jwt_secret": old}, "plain")) == []


def test_when_a_deployment_put_the_old_version_back_everywhere_all_move() -> None:
    """The newest version is then in use nowhere."""
    planned = swarm_plan.plan(
        "run", "", ["JWT_SECRET"], [V1, V2], [service({"a": V1}, "one"), service({"b": V1}, "two")]
    )

    assert len(planned.moves) == 2
    assert planned.changes[0].name == "jwt_secret.v3"


def test_no_number_is_given_twice() -> None:
    """Not after a rollback, nor after one was taken back, nor once everything that tells of it is older."""
    kept = version(1, told=history.left(V1, [V2], history.ROLLED_BACK, "2026-02-01", "alice"))
    new = swarm_plan.plan("run", "", ["JWT_SECRET"], [kept], []).changes[0]
    assert (new.name, new.version) == ("jwt_secret.v3", 3)

    third = version(3, told=history.after([kept]))
    assert [past[:4] for past in history.past(third)] == [
        (1, "2026-01-01", "who", ""),
        (2, "2026-01-02", "who", "rolled back"),
    ]
    assert history.past(third)[1].ended_by == "alice"
    assert history.last_number([version(1, told="[[7, 'no JSON'")]) == 1
    known = {"JWT_SECRET": 9}  # of versions that were removed by hand, and told nobody
    assert swarm_plan.plan("run", "", ["JWT_SECRET"], [kept], [], known).changes[0].name == "jwt_secret.v10"


def test_names_of_two_stacks_that_collide_are_kept_apart() -> None:
    """`shop` + EU_DB and `shop_eu` + DB both want shop_eu_db; what is somebody else's is refused by name."""
    wanted = [versions.Wanted("DB", "db", Secret(b"x"))]
    first = version(4, "EU_DB", "shop", name="shop_eu_db.v4")

    (step,) = versions.plan(wanted, [first], "shop_eu")

    assert step.name != "shop_eu_db.v1"
    assert step.name.startswith("shop_eu_db.")
    assert step.name.endswith(".v1")
    second = version(3, "DB", "shop_eu", name="shop_eu_db.v3")
    (change,) = swarm_plan.plan("run", "shop_eu", ["DB"], [first, second], []).changes
    assert change.name != first.name
    assert change.version == 4
    foreign = SwarmSecret("f", "JWT_secret.V3", "", 0, "", "", "", "")  # the engine ignores case in names
    planned = swarm_plan.plan("run", "", ["JWT_SECRET"], [V1, V2, foreign], [])
    assert swarm_plan.taken(planned, [V1, V2, foreign]) == ["JWT_secret.V3"]


def test_what_a_rotation_made_is_known_by_its_label_and_by_no_name() -> None:
    planned = swarm_plan.plan("run", "", ["JWT_SECRET"], [V1], [service({"jwt_secret": V1})])
    by_hand = SwarmSecret("other", "jwt_secret.v2", "JWT_SECRET", 2, "", "", "", "")

    assert swarm_plan.direction(swarm_plan.with_ids(planned, [by_hand]), False) == BACK
    ours = SwarmSecret("ours", "jwt_secret.v2", "JWT_SECRET", 2, "", "", "", "", run="run")
    found = swarm_plan.plan_from_json(swarm_plan.with_ids(planned, [ours]).to_json())
    assert found.changes[0].new_id == "ours"
    assert swarm_plan.swaps(found, "id-signer", BACK)["jwt_secret"] == (
        "ours",
        SecretMount(V1.id, V1.name, "jwt_secret"),
    )


def test_what_is_composed_of_a_key_goes_back_with_it() -> None:
    """But not what has changed since then: the version before holds an older value of another key, too."""
    schema = parse(b'# @sensitive\nA=\n# @sensitive\nB=\n# @composed="${A}-${B}"\nBOTH=\n')

    def runs(**last: str) -> list[SwarmSecret]:
        return [version(1, key, name=f"{key}1") for key in last] + [
            replace(version(2, key, name=f"{key}2"), run=run) for key, run in last.items()
        ]

    def back(secrets: list[SwarmSecret]) -> list[str]:
        return swarm_plan.going_along(["A"], schema, "", secrets, [service({"x": secrets[-1]})])

    assert back(runs(A="first", B="second", BOTH="first")) == ["A", "BOTH"]
    assert back(runs(A="first", B="second", BOTH="second")) == ["A"]
    assert swarm_plan.going_along(["A"], None, "", runs(A="first", BOTH="first"), []) == ["A"]


def test_what_depends_on_a_key_and_does_not_go_back_is_named_with_its_commands() -> None:
    parents = {"A": [], "BOTH": ["A", "B"], "LONG": ["BOTH"], "TOKEN": ["A"]}

    found = preflight.not_going_along(["A", "TOKEN"], parents, "", " --stack shop")

    assert [one.service for one in found] == ["BOTH", "LONG"]
    assert "depends on A, but" in found[0].message
    assert "generate BOTH --force, then manage-secrets rotate BOTH --stack shop" in found[0].hint


@pytest.mark.parametrize("label", ["three", "", "0", "-1", "9" * 5000, "\u0663"])
def test_a_secret_whose_number_is_damaged_is_named_and_never_ours(label: str) -> None:
    labels = {KEY: "JWT_SECRET", VERSION: label, STACK: "shop"}

    found = secret_of({"ID": "id", "Spec": {"Name": "shop_jwt_secret.v3", "Labels": labels}})

    assert (found.key, found.version, found.stack, found.base) == ("", 0, "shop", "jwt_secret.v3")
    assert swarm_plan.unmanaged(["JWT_SECRET"], [found], "shop", []) == ["shop_jwt_secret.v3"]
    (audited,) = versions_of([found], ["JWT_SECRET"])
    assert not audited.is_ours
    good = version(2, stack="shop")
    planned = swarm_plan.plan("run", "shop", ["JWT_SECRET"], [good, found], [])
    assert swarm_plan.taken(planned, [good, found]) == ["shop_jwt_secret.v3"]


@pytest.mark.parametrize(
    ("name", "target", "stack", "of_stack", "found"),
    [
        ("jwt_secret", "jwt_secret", "", "", True),
        ("jwt_secret_v3", "elsewhere", "", "", True),
        ("shop_jwt_secret", "jwt_secret", "shop", "shop", True),
        ("anything", "jwt_secret", "shop", "shop", True),
        ("shop_jwt_secret", "jwt_secret", "", "shop", True),
        ("jwt_secret", "jwt_secret", "shop", "blog", False),
        ("other", "jwt_secret", "", "", False),
    ],
)
def test_a_secret_made_by_others_in_place_of_the_key_is_named(
    name: str, target: str, stack: str, of_stack: str, found: bool
) -> None:
    mine = version(1, stack=stack)
    foreign = SwarmSecret("f", name, "", 0, "", "", "", "")
    user = RotatedService("id-app", "app", of_stack, (SecretMount("f", name, target),))

    planned = swarm_plan.plan("run", stack, ["JWT_SECRET"], [mine, foreign], [user])

    findings = preflight.left_behind(planned, [mine, foreign], [user])
    assert [(one.is_hard, one.service) for one in findings] == ([(True, "app")] if found else [])


def test_what_waits_is_removed_also_when_it_was_half_written(tmp_path: Path) -> None:
    """A run may be killed while it writes a value that is to wait."""
    store = Vault(tmp_path / "secrets")
    store.path.mkdir()
    for left in ("..a.next.new", ".a.next"):
        (store.path / left).write_bytes(b"half")
        Files(store, tmp_path / "secrets.lock.env", None, WITHOUT_KEY).unstage(["A"])
        assert list(store.path.iterdir()) == []


def test_a_copy_with_our_labels_is_never_ours() -> None:
    """Made by hand from a version: it may hold anything, and no next version takes its name."""
    labels = {KEY: "JWT_SECRET", VERSION: "1"}
    own, copy = (
        secret_of({"ID": name, "Spec": {"Name": name, "Labels": labels}}) for name in ("jwt_secret.v1", "jwt_copy")
    )
    assert (own.key, copy.key, copy.base) == ("JWT_SECRET", "", "jwt_secret")
    one, two = service({"jwt_secret": own}, "one"), service({"jwt_secret": copy}, "two")

    planned = swarm_plan.plan("run", "", ["JWT_SECRET"], [own, copy], [one, two])

    assert (planned.changes[0].name, set(planned.moves)) == ("jwt_secret.v2", {one.id})
    (finding,) = preflight.left_behind(planned, [own, copy], [one, two])
    assert finding.message == "mounts jwt_copy for JWT_SECRET, which this tool did not make: it keeps that value"
    assert swarm_plan.unmanaged(["JWT_SECRET"], [copy], "", [two]) == ["jwt_copy"]
