"""The audit of a real Swarm, real containers and real images: what is in plain text is found, and never printed."""

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit_examples import holds_to_schema
from tests.support.host import Canary, Manage, Meddler, PrivateSwarm

pytestmark = pytest.mark.engine

SHIM = ["/opt/shim/shim", "--", "/busybox", "sleep", "1000"]


def audited(manage: Manage, *arguments: str) -> Any:
    end = manage("audit", "--json", *arguments)
    assert end.code in (0, 1), end.stderr
    return json.loads(end.stdout)


def found(document: Any) -> set[tuple[str, str, str, str]]:
    return {(item["level"], item["id"], item["key"], item["service"]) for item in document["findings"]}


def create(swarm: PrivateSwarm, name: str, *options: str, image: str = "", argv: tuple[str, ...] = ()) -> None:
    command = argv or ("/busybox", "sleep", "1000")
    quick = ("--stop-grace-period", "1s")
    swarm.serve(*quick, "--name", name, *options, image or swarm.image(), *command)


def mount(name: str, target: str, mode: str = "0400") -> tuple[str, str]:
    return "--secret", f"source={name},target={target},mode={mode}"


def test_a_service_that_does_all_right_is_clean(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    (manage.folder / "secrets/a").chmod(0o600)
    manage.write(".env.schema", "# @sensitive @services=s @rotate=90d\nA=\n")
    assert manage("create-swarm").code == 0
    create(swarm, "s", *mount("a.v1", "a"))

    end = manage("audit", "--json")
    document = json.loads(end.stdout)

    assert end.code == 0, end.stdout
    assert [item["id"] for item in document["findings"]] == ["container-without-shim"]
    (row,) = document["secrets"]
    assert (row["title"], row["version"], row["name"], row["managed"]) == ("A", 1, "a.v1", True)
    assert row["services"] == {"s": ["mounted"]}
    assert 0 <= row["age_days"] < 1
    assert 89 < row["rotate_in_days"] <= 90
    assert {"name": "s", "how": "mounts it, as root"} in row["readers"]
    host = swarm.docker("node", "ls", "--format", "{{.Hostname}}")
    assert f"root of {host}" in [reader["name"] for reader in document["readers_of_all"]]


def test_what_stands_in_plain_in_a_service_is_found(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    a, b, other = canary(), canary(), canary()
    manage.write("secrets/a", a)
    manage.write("secrets/b", b)
    for name in "ab":
        (manage.folder / "secrets" / name).chmod(0o600)
    manage.write(".env.schema", "# @sensitive\nA=\n# @sensitive @services=nobody\nB=\n")
    assert manage("create-swarm").code == 0
    plain = ("--env", f"URL=postgres://app:{a}@db/app", "--env", f"ADMIN_PASSWORD={other}", "--label", f"note={b}")
    create(swarm, "plain", *plain, *mount("b.v1", "b", "0444"), "--container-label", f"more={b}")
    create(swarm, "args", argv=("/busybox", "sh", "-c", f"sleep 1000 # {a}"))
    # Of no replicas: this image has no shell that could run the check.
    create(swarm, "check", "--replicas", "0", "--health-cmd", f"true {a}", "--health-interval", "60s")

    for name in ("used", "left"):
        swarm.docker("config", "create", name, "-", stdin=f"[db]\npassword = {a}\n".encode())
    create(swarm, "reads", "--config", "source=used,target=/app.conf", "--label", "com.docker.stack.namespace=shop")

    document = audited(manage)

    assert {
        ("error", "secret-in-config", "A", "reads"),
        ("error", "secret-in-config", "A", ""),
        ("error", "secret-in-environment", "A", "plain"),
        ("warning", "secret-in-environment", "", "plain"),
        ("error", "secret-in-label", "B", "plain"),
        ("error", "secret-in-arguments", "A", "args"),
        ("error", "secret-in-health-check", "A", "check"),
        ("error", "secret-not-granted", "B", "plain"),
        ("note", "mount-readable-by-all", "", "plain"),
        ("warning", "secret-unused", "A", ""),
    } <= found(document)
    labels = [item for item in document["findings"] if item["id"] == "secret-in-label"]
    assert len(labels) == 2  # of the service, and of its containers
    cells = {row["title"]: row["services"] for row in document["secrets"]}
    assert cells["A"] == {"plain": ["plain"], "args": ["plain"], "check": ["plain"], "reads": ["plain"]}
    assert cells["B"] == {"plain": ["plain", "ungranted", "mounted"]}
    of_stack = audited(manage, "--stack", "shop")
    assert [item["name"] for item in of_stack["services"]] == ["reads"]
    assert {item["id"] for item in of_stack["findings"] if item["level"] == "error"} == {"secret-in-config"}


def test_versions_left_behind_and_secrets_of_others(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    manage.write(".env.schema", "# @sensitive\nA=\n")
    assert manage("create-swarm").code == 0
    labels = json.loads(swarm.docker("secret", "inspect", "a.v1"))[0]["Spec"]["Labels"]
    labels["docker-secrets-shim.version"] = "2"
    marks = [word for pair in labels.items() for word in ("--label", "=".join(pair))]
    swarm.docker("secret", "create", *marks, "a.v2", "-", stdin=canary().encode())
    swarm.docker("secret", "create", "theirs", "-", stdin=canary().encode())
    create(swarm, "old", *mount("a.v1", "a"))
    create(swarm, "new", *mount("a.v2", "a"), *mount("theirs", "theirs"))

    document = audited(manage)
    drift = [item for item in document["findings"] if item["id"] == "service-drift"]

    assert [(item["key"], item["service"]) for item in drift] == [("A", "old")]
    assert ("note", "secret-unmanaged", "", "") in found(document)
    assert "manage-secrets adopt theirs" in {item["command"] for item in document["findings"]}
    assert {row["title"]: row["services"] for row in document["secrets"]} == {
        "A": {"new": ["mounted"], "old": ["old", "mounted"]},
        "theirs": {"new": ["mounted"]},
    }

    # The command that is given does what it says.
    assert manage(*drift[0]["command"].split()[1:]).code == 0
    assert "service-drift" not in {item["id"] for item in audited(manage, "--no-exec")["findings"]}


@pytest.mark.frozen
def test_a_container_that_runs_with_an_old_value_is_found(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, shim_binary: Path
) -> None:
    file = manage.write("secrets/a", canary())
    file.chmod(0o600)
    volume = ("--volume", f"{file}:/run/secrets/a:ro")
    swarm.docker("run", "--detach", "--name", "lone", *volume, swarm.image_with_shim(shim_binary), *SHIM)
    try:
        assert "container-stale" not in {item["id"] for item in audited(manage)["findings"]}

        newer = manage.write("newer", canary())
        newer.chmod(0o600)
        os.replace(newer, file)  # as every writer here does: the container keeps the file it had

        document = audited(manage)
        assert ("error", "container-stale", "A", "lone") in found(document)
        (finding,) = [item for item in document["findings"] if item["id"] == "container-stale"]
        assert "lone runs with a different value of A" in finding["message"]
        assert [row["title"] for row in document["secrets"] if row["services"] == {"lone": ["stale", "mounted"]}] == [
            "A"
        ]

        swarm.docker(*finding["command"].split()[1:])  # docker restart
        assert "container-stale" not in {item["id"] for item in audited(manage)["findings"]}
    finally:
        swarm.docker("rm", "--force", "lone")


def test_what_an_image_shows_is_found(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    a, b, other = canary(), canary(), canary()
    manage.write("secrets/a", a)
    manage.write("secrets/b", b)
    manage.write(
        "image/Dockerfile",
        f'FROM {swarm.image()}\nSHELL ["/busybox", "sh", "-c"]\nARG NPM_TOKEN\nARG BUILD_NOTE\n'
        f"RUN /busybox true\nENV SERVICE_KEY={a} GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305\n",
    )
    arguments = ("--build-arg", f"NPM_TOKEN={other}", "--build-arg", f"BUILD_NOTE={b}")
    done = subprocess.run(
        ["docker", "build", "--quiet", *arguments, "--tag", "shows", str(manage.folder / "image")],
        env={**os.environ, "DOCKER_HOST": swarm.host, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    create(swarm, "s", image="shows")
    swarm.docker("run", "--detach", "--name", "lone", "shows", "/busybox", "sleep", "1000")
    try:
        document = audited(manage)
    finally:
        swarm.docker("rm", "--force", "lone")

    of_image = {item for item in found(document) if "image" in item[1]}
    assert {(level, rule, key) for level, rule, key, _ in of_image} == {
        ("error", "secret-in-image-environment", "A"),
        ("error", "secret-in-image-history", "B"),
    } | {item[:3] for item in of_image if item[0] == "warning"}
    # What the image brings is not a second finding of each container that runs it.
    assert not {item for item in found(document) if item[1] == "secret-in-environment"}
    cells = {row["title"]: row["services"] for row in document["secrets"]}
    assert cells["A"]["s"] == ["plain"]


def test_who_could_read_everything(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    create(swarm, "agent", "--mount", f"type=bind,source={swarm.host[7:]},target=/var/run/docker.sock")
    options = {"seeing": "--pid=host", "wide": "--volume=/etc:/host"}
    for name, option in options.items():
        swarm.docker("run", "--detach", "--name", name, option, swarm.image(), "/busybox", "sleep", "1000")
    try:
        document = audited(manage)
    finally:
        swarm.docker("rm", "--force", *options)

    reach = {item["service"] for item in document["findings"] if item["id"] == "service-reaches-everything"}
    assert reach == {"agent", "seeing", "wide"}
    assert reach <= {reader["name"] for reader in document["readers_of_all"]}


COMPOSE = """
services:
  web:
    image: only-busybox
    command: [/busybox, sleep, "1000"]
    environment: {TOKEN: "${A}"}
    secrets: [b]
    stop_grace_period: 1s
secrets:
  b: {file: ./secrets/b}
"""


def test_a_compose_service_is_one_column_with_its_container(
    swarm: PrivateSwarm, manage: Manage, canary: Canary
) -> None:
    a, b = canary(), canary()
    swarm.image()
    manage.write("secrets/a", a)
    manage.write("secrets/b", b)
    manage.write(".env", f"A={a}\n")
    manage.write("compose.yaml", COMPOSE)
    (manage.folder / "secrets/b").chmod(0o600)
    swarm.compose(manage.folder, "up", "--detach")
    try:
        document = audited(manage)
    finally:
        swarm.compose(manage.folder, "down")

    assert [(item["name"], item["kind"]) for item in document["services"]] == [("web", "compose")]
    plain = [item for item in document["findings"] if item["id"] == "secret-in-environment"]
    assert [(item["key"], item["place"]) for item in plain] == [("A", "compose.yaml:6")]
    cells = {row["title"]: row["services"] for row in document["secrets"]}
    assert cells == {"A": {"web": ["plain"]}, "B": {"web": ["mounted"]}}


def test_an_engine_in_no_swarm_is_audited_all_the_same(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """A worker, and an engine that is in no Swarm, answer for their containers."""
    a = canary()
    manage.write("secrets/a", a)
    swarm.docker("swarm", "leave", "--force")
    try:
        swarm.docker("run", "--detach", "--name", "lone", "--env", f"X={a}", swarm.image(), "/busybox", "sleep", "1000")
        assert ("error", "secret-in-environment", "A", "lone") in found(audited(manage))
    finally:
        swarm.docker("rm", "--force", "lone", check=False)
        swarm.docker("swarm", "init", "--advertise-addr", "127.0.0.1")


def _fate(fates: dict[int, str], count: int) -> str:
    return fates.get(count, "pass")


@pytest.mark.parametrize("fate", ["drop", "500", "503"])
def test_an_engine_that_fails_in_the_middle_is_said_and_nothing_is_lost(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, fate: str
) -> None:
    manage.write("secrets/a", canary())
    manage("create-swarm")
    create(swarm, "s", *mount("a.v1", "a"))
    codes = []
    for number in range(1, 40):
        fates = {number: fate}
        meddler = Meddler(swarm, partial(_fate, fates), reads=True)
        # Without exec, whose stream the one in between does not understand.
        end = manage("audit", "--json", "--no-exec", env={"DOCKER_HOST": meddler.host, "DOCKER_CLIENT_TIMEOUT": "5"})
        meddler.close()
        document = json.loads(end.stdout)
        codes.append(end.code)
        assert [row["title"] for row in document["secrets"]] == ["A"]
        if meddler.requests < number:
            assert end.code in (0, 1)
            break
        # What could not be asked is said; an answer that is missing is never "clean".
        assert end.code == 111 or document["not_looked_at"] or end.code == 1
    else:
        pytest.fail("the audit makes more calls than one service is worth")
    assert 111 in codes


def test_the_page_and_sarif_of_a_real_swarm_hold_no_value(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write("secrets/a", value)
    manage("create-swarm")
    create(swarm, "s", *mount("a.v1", "a"), "--env", f"A={value}")

    assert manage("audit", "--html", "a.html", "--sarif", "a.sarif").code == 1
    for name in ("a.html", "a.sarif"):
        text = (manage.folder / name).read_text()
        assert "secret-in-environment" in text
        manage.custody.said.append(text)
    assert holds_to_schema(manage.folder / "a.sarif") == ""
