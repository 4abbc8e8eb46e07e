"""Our reading of `.env` against Docker Compose itself: the same keys, the same values, the same files refused."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shim_host.env import envfile
from shim_host.env.compose_rules import Malformed, Reading

from tests.support.compose_judge import QUICK
from tests.support.host import compose_program

SUITES = ("trixie", "forky")  # Compose 2.26 and 2.40
SHELL = {"FROM_SHELL": "sh ell", "EMPTY_IN_SHELL": "", "B": "b of the shell"}
NO_CONTAINER_GETS = ("not UTF-8", "NUL byte")

CORPUS = [
    text.encode() for text in json.loads((Path(__file__).parents[2] / "cases" / "envfile_corpus.json").read_text())
]

WORDS = "A B C N M FROM_SHELL EMPTY_IN_SHELL export 1 x é = : # $ $$ ${ } { :- - :+ + :? ? ' [ ] . _ /"
ESCAPES = r'" \ \\ \" \' \$ \n \0123 \0 \c'
SPACES = " |\t|\n|\n|\r\n|\v|\xa0|\u2003|\x1c| #|='|=\"|=\n"
PIECES = st.sampled_from([*WORDS.split(), *ESCAPES.split(), *SPACES.split("|")])
VALUES = st.lists(PIECES, max_size=10).map("".join)
NAMES = st.sampled_from(["A", "B", "C", "D", "export E", "F.G"])
ENDS = st.sampled_from(["\n", "\n", ""])
STATEMENTS = st.builds("{}{}{}{}".format, NAMES, st.sampled_from("==:"), VALUES, ENDS)
QUOTED = st.sampled_from("'\"").flatmap(lambda quote: st.builds(f"{{}}={quote}{{}}{quote}\n".format, NAMES, VALUES))
FILES = st.lists(STATEMENTS | QUOTED | VALUES, min_size=1, max_size=5).map("".join).map(str.encode)


@pytest.fixture(scope="module", params=SUITES)
def compose(request: pytest.FixtureRequest) -> Path:
    """Return the Compose plugin of a Debian suite."""
    return compose_program(request.param)


Asked = Callable[[Mapping[str, object]], "dict[str, dict[str, str]] | None"]


@pytest.fixture
def ask(compose: Path, tmp_path: Path) -> Asked:
    """Return the environment Compose gives each service of a project in `tmp_path`, or None when it refuses."""

    def asked(services: Mapping[str, object]) -> dict[str, dict[str, str]] | None:
        (tmp_path / "compose.json").write_text(json.dumps({"name": "p", "services": services}))
        end = subprocess.run(
            [compose, "-f", "compose.json", "config", "--format", "json"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **QUICK, **SHELL},
            capture_output=True,
        )
        if end.returncode:
            return None
        found = json.loads(end.stdout)["services"]
        return {name: _unescaped(service.get("environment") or {}) for name, service in found.items()}

    return asked


def _unescaped(environment: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value.replace("$$", "$") for key, value in environment.items() if key and value is not None}


def ours(data: bytes, use: str, environ: Mapping[str, str] = SHELL) -> dict[str, str] | None:
    try:
        read = envfile.read(data, environ, use=use)
    except Malformed as error:
        if any(words in error.message for words in NO_CONTAINER_GETS):
            raise
        return None
    return {key: secret.reveal().decode() for key, secret in read.values.items()}


def is_comparable(data: bytes) -> bool:
    try:
        ours(data, "project")
        ours(data, "env-file")
    except Malformed:
        return False
    return True


def has_empty_name(data: bytes) -> bool:
    earlier: dict[str, str] = {}
    for found in Reading(data, SHELL.get, earlier).assignments():
        earlier[found.key] = found.value
    return "" in earlier


def compare_as_env_file(ask: Asked, folder: Path, files: list[bytes]) -> None:
    """Compare many files that only `env_file:` names: those we accept at once, those we refuse one by one."""
    accepted = {}
    for number, data in enumerate(files):
        (folder / f"{number}.env").write_bytes(data)
        service = {"image": "x", "env_file": [f"{number}.env"]}
        expected = ours(data, "project")
        if expected is None:
            assert ask({"s": service}) is None, f"Compose takes {data!r}"
        else:
            accepted[f"s{number}"] = (service, expected, data)
    found = ask({name: service for name, (service, _, _) in accepted.items()})
    if found is None:
        for service, _, data in accepted.values():
            assert ask({"s": service}) is not None, f"Compose refuses {data!r}"
    assert found is not None
    for name, (_, expected, data) in accepted.items():
        assert found[name] == expected, data


def compare_as_project(ask: Asked, folder: Path, data: bytes) -> None:
    """Compare both readings of one `.env`: the project's, and the one of `env_file: .env` in the same project."""
    (folder / ".env").write_bytes(data)
    project = ours(data, "project")
    if project is None:
        assert ask({"p": {"image": "x"}}) is None, f"Compose takes {data!r}"
        return
    if has_empty_name(data) and ask({"p": {"image": "x"}}) is None:
        return  # 2.26 passes the empty name on to setenv(3), which refuses it; later releases ignore it, as we do
    shell = dict.fromkeys({*project, "A", "B", "C", "D", "E", "N", "M"})
    services = {"p": {"image": "x", "environment": shell}, "e": {"image": "x", "env_file": [".env"]}}
    second = ours(data, "env-file")
    if second is None:
        assert ask({"e": services.pop("e")}) is None, f"Compose takes {data!r}"
    found = ask(services)
    assert found is not None, f"Compose refuses {data!r}"
    assert found["p"] == {**project, **{key: value for key, value in SHELL.items() if key in shell}}, data
    assert found.get("e") == second, data


def test_the_corpus_means_the_same_as_env_file(ask: Asked, tmp_path: Path) -> None:
    compare_as_env_file(ask, tmp_path, CORPUS)


def test_the_corpus_means_the_same_as_project_file(ask: Asked, tmp_path: Path) -> None:
    for data in CORPUS:
        compare_as_project(ask, tmp_path, data)


EXAMPLES = int(os.environ.get("ENVFILE_EXAMPLES", "12"))


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * EXAMPLES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100)
@given(files=st.lists(FILES.filter(is_comparable), min_size=1, max_size=60))
def test_made_up_files_mean_the_same_as_env_file(ask: Asked, tmp_path: Path, files: list[bytes]) -> None:
    compare_as_env_file(ask, tmp_path, files)


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * EXAMPLES)
@settings(max_examples=4 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100)
@given(data=FILES.filter(is_comparable))
def test_made_up_files_mean_the_same_as_project_file(ask: Asked, tmp_path: Path, data: bytes) -> None:
    compare_as_project(ask, tmp_path, data)
