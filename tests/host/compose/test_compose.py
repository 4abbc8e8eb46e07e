"""Compose projects are read as Compose reads them; the real program is asked."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from shim_host.compose.project import (
    EnvFileUse,
    Project,
    SecretDefinition,
    SecretUse,
    environment_of,
    names_in,
)
from shim_host.compose.reading import default_files, read_project
from shim_host.compose.running import RunningProject
from shim_host.errors import Refused

from tests.support.host import Manage, compose_program
from tests.support.rotation_compose import plug_in_compose

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, "utf-8")
        return path

    return write


def read(folder: Path, *files: str, shell: dict[str, str] | None = None) -> Project:
    return read_project([folder / file for file in files] or folder, shell or {})


def compose_config(folder: Path, *files: str, shell: dict[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Return the variables that Compose gives each service."""
    done = subprocess.run(
        [
            compose_program(),
            *(word for file in files for word in ("-f", file)),
            "--profile",
            "*",
            "config",
            "--format",
            "json",
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **(shell or {})},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    services = json.loads(done.stdout)["services"]
    return {
        name: {
            key: value.replace("$$", "$")
            for key, value in (service.get("environment") or {}).items()
            if value is not None
        }
        for name, service in services.items()
    }


def assert_same(folder: Path, *files: str, shell: dict[str, str] | None = None) -> None:
    project = read(folder, *files, shell=shell)
    ours = {name: environment_of(service, project) for name, service in project.services.items()}
    assert ours == compose_config(folder, *files, shell=shell)


SCALARS = r"""
x-all: &all
  A: "1"
  OCTAL: 0123
  OCTAL_NEW: 0o17
  HEXADECIMAL: 0x1F
  UNDERSCORE: 1_000
  FLOAT: 1.50
  EXPONENT: 1e3
  SMALL: 0.00001
  AFFIRMED: yes
  TRUTH: True
  NOTHING:
  TILDE: ~
  QUOTED: '0123'
  DOLLAR: a$$b
  URL: "http://x/?a=b#c"
  BLOCK: |
    one
    two
  FOLDED: >-
    three
    four
services:
  a:
    image: a
    environment:
      <<: *all
      A: over
  b:
    image: b
    environment: *all
"""


def test_plain_scalars_reach_the_service_as_compose_prints_them(tmp_path: Path, write: Write) -> None:
    """A number is a number to YAML: 0123 arrives as 83, and 1.50 as 1.5."""
    write("compose.yaml", SCALARS)

    assert_same(tmp_path)


REFERENCES = """
services:
  a:
    image: ${IMAGE:-busybox}
    env_file:
      - one.env
      - path: missing.env
        required: false
    environment:
      - PLAIN=$SET
      - BRACED=${SET}
      - DEFAULT=${UNSET:-a=b}
      - EMPTY=${EMPTY:-was empty}
      - EMPTY_KEPT=${EMPTY-was empty}
      - NESTED=${UNSET:-${SET:-x}}
      - REPLACED=${SET:+yes}
      - BOTH
      - SET
      - ONLY_IN_FILE
      - TWO=$SET$${SET}
"""


def test_a_tab_between_two_tokens_is_a_space(tmp_path: Path, write: Write) -> None:
    write(
        "compose.yaml",
        "services:\n  a:\t# one\n    image: &i\t# two\n      x\n"
        "    command: !override\t# three\n    - >-\t# four\n      b\tc\n",
    )

    service = read_project(tmp_path).services["a"]

    assert (service.image, service.command) == ("x", ["b\tc"])


def test_references_are_replaced_from_the_shell_and_then_from_the_env_file(tmp_path: Path, write: Write) -> None:
    """Every operator, nested ones, bare names, and an env_file that refers to the project's values."""
    write("compose.yaml", REFERENCES)
    write(".env", "SET='p$a\"ss #1'\nEMPTY=\nBOTH=from the file\n")
    write("one.env", "ONLY_IN_FILE=1\nFROM_PROJECT=$SET\nOWN=${ONLY_IN_FILE}2\nBOTH=lost\n")

    assert_same(tmp_path, shell={"BOTH": "from the shell"})


LAYERED = """
services:
  base:
    image: base
    profiles: [never]
    entrypoint: /bin/tool --flag "a b"
    user: "1000"
    environment: {LEVEL: base, KEPT: base}
    env_file: base.env
    secrets: [one]
  web:
    extends: base
    environment: {LEVEL: web}
    secrets:
      - source: two
        target: other
  far:
    extends: {file: far/common.yaml, service: thing}
secrets:
  one: {file: ./keys/one}
  two: {environment: TWO}
  three: {external: true}
"""
FAR = "services:\n  thing:\n    image: far\n    env_file: far.env\n    environment: [FAR=1]\n"
OVERRIDE = """
services:
  web:
    environment:
      - LEVEL=override
      - MORE=1
    secrets:
      - source: three
        target: other
  base:
    environment: !override
      ONLY: this
"""


def test_extends_and_further_files_are_merged(tmp_path: Path, write: Write) -> None:
    """The last word has the strongest file; paths start from the file that names them."""
    write("compose.yaml", LAYERED)
    write("compose.override.yaml", OVERRIDE)
    write("far/common.yaml", FAR)
    write("far/far.env", "IN_FILE=1\n")
    write("base.env", "IN_BASE=1\n")

    assert_same(tmp_path)
    project = read(tmp_path)

    web = project.services["web"]
    assert web.secrets == [SecretUse("one", "one"), SecretUse("three", "other")]
    assert (web.image, web.user, web.entrypoint) == ("base", "1000", ["/bin/tool", "--flag", "a b"])
    assert web.env_files == [EnvFileUse(tmp_path / "base.env", True, "compose")]
    assert project.services["far"].env_files == [EnvFileUse(tmp_path / "far" / "far.env", True, "compose")]
    assert project.services["base"].profiles == ["never"]
    assert project.secrets == {
        "one": SecretDefinition("one", tmp_path / "keys" / "one", False, None),
        "two": SecretDefinition("two", None, False, "TWO"),
        "three": SecretDefinition("three", None, True, None),
    }


def test_included_files_add_their_services(tmp_path: Path, write: Write) -> None:
    """`include` reads another file from its own folder."""
    write("compose.yaml", "include:\n  - part/compose.yaml\nservices:\n  a: {image: a}\n")
    write("part/compose.yaml", "services:\n  b:\n    image: b\n    env_file: b.env\n")
    write("part/b.env", "B=1\n")

    assert_same(tmp_path)


def test_a_healthcheck_and_labels_are_read_in_both_forms(tmp_path: Path, write: Write) -> None:
    """A text is a shell's, a list says which; a disabled one is none."""
    write(
        "compose.yaml",
        "services:\n"
        "  a: {image: a, labels: {x: 1}, healthcheck: {test: curl x}}\n"
        "  b: {image: b, labels: [x=1], healthcheck: {test: [CMD, curl, x]}}\n"
        "  c: {image: c, healthcheck: {disable: true}}\n",
    )

    services = read(tmp_path).services

    assert [services[name].healthcheck for name in "abc"] == [["CMD-SHELL", "curl x"], ["CMD", "curl", "x"], ["NONE"]]
    assert services["a"].labels == services["b"].labels == {"x": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services:\n  a:\n    image: a\n  a:\n    image: b\n", "compose.yaml:4: a appears twice in one mapping"),
        ("services:\n  a: [\n", "compose.yaml:3: this is not valid YAML"),
        ("services:\n  a: text\n", "compose.yaml:2: the service a is not a mapping"),
        ("services:\n  a: {extends: b}\n", "compose.yaml:2: it extends b, which is not a service in"),
        ("services:\n  a: {extends: a}\n", "compose.yaml:2: a service extends itself"),
        ("- a\n", "compose.yaml: a Compose file is a mapping with services:"),
    ],
)
def test_what_compose_would_refuse_is_refused_with_its_line(
    tmp_path: Path, write: Write, text: str, message: str
) -> None:
    """The message names file and line, and quotes nothing."""
    write("compose.yaml", text)

    with pytest.raises(Refused) as refused:
        read(tmp_path)

    assert message in refused.value.message


def test_a_required_variable_that_is_missing_is_a_warning(tmp_path: Path, write: Write) -> None:
    """Who lists secrets wants to see the rest; the value in it is not repeated."""
    write("compose.yaml", "services:\n  a:\n    image: a\n    environment: {A: '${NOPE:?say it}'}\n")

    project = read(tmp_path)

    assert len(project.warnings) == 1
    assert "say it" not in project.warnings[0]


def test_the_files_are_found_as_compose_finds_them(tmp_path: Path, write: Write) -> None:
    """compose.yaml comes first, with its override; COMPOSE_FILE beats both."""
    with pytest.raises(Refused):
        default_files(tmp_path, {})
    for name in ("docker-compose.yml", "compose.yml", "compose.override.yml", "x.yml"):
        write(name, "services: {}\n")

    assert default_files(tmp_path, {}) == [tmp_path / "compose.yml", tmp_path / "compose.override.yml"]
    (tmp_path / "compose.override.yaml").touch()
    assert default_files(tmp_path, {})[1:] == [tmp_path / "compose.override.yml"], (
        "of two overrides, Compose takes .yml"
    )
    assert default_files(tmp_path, {"COMPOSE_FILE": "x.yml"}) == [tmp_path / "x.yml"]


def test_names_in_finds_every_variable_of_a_text() -> None:
    """Nested ones too, whichever way an operator would go."""
    assert names_in("a${A:-${B}}$C$$D${E:+${F}}") == {"A", "B", "C", "E", "F"}


def test_a_running_project_is_read_with_its_env_files(manage: Manage) -> None:
    """The last one counts, as for Compose itself."""
    plug_in_compose(manage)
    manage.write("compose.yaml", "services: {a: {image: i, secrets: [s]}}\nsecrets: {s: {file: '${WHERE}/s'}}\n")
    manage.write("a.env", "WHERE=./one\n")
    manage.write("b.env", "WHERE=./two\n")
    files = [manage.folder / name for name in ("compose.yaml", "a.env", "b.env")]
    environ = {"PATH": os.environ["PATH"], "HOME": str(manage.folder), **manage.env}
    project = RunningProject(files[:1], environ, env_files=files[1:])

    project.read()

    assert [mount.source for mount in project.services["a"].mounts] == [manage.folder / "two" / "s"]
    assert project.named() == ([str(files[0])], [str(files[1]), str(files[2])])
