"""No message repeats a value of the environment, wherever it was put by mistake; JSON lines tell a terminal nothing."""

import json
from collections.abc import Callable

import pytest

from tests.support.forms import Shim
from tests.support.host import Canary


@pytest.fixture
def shim(make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in its quickest form to test."""
    return make_shim("module")


@pytest.mark.parametrize(
    "words",
    [
        ["--", "CANARY"],
        ["--", "/usr/bin/CANARY"],
        ["--user", "CANARY", "--", "true"],
        ["--user", "root:CANARY", "--", "true"],
        ["--schema", "CANARY", "--", "true"],
        ["--signal", "CANARY=TERM", "--", "true"],
        ["--parent-death", "CANARY", "--", "true"],
        ["--grace", "CANARY", "--", "true"],
        ["--exit-as", "CANARY", "--", "true"],
        ["--profile", "CANARY", "--", "true"],
        ["--pre", "CANARY", "--", "true"],
        ["--render", "CANARY:/dev/shm/x", "--", "true"],
        ["--CANARY", "--", "true"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.parametrize("log", ["text", "json"])
def test_a_value_in_the_wrong_place_is_not_repeated(shim: Shim, canary: Canary, words: list[str], log: str) -> None:
    value = canary()

    end = shim(*(word.replace("CANARY", value) for word in words), env={"DB_PASSWORD": value, "SHIM_LOG": log})
    assert end.code != 0
    assert end.stderr  # the fixture looks for the value


@pytest.mark.parametrize("variable", ["USER", "SCHEMA", "SIGNAL", "PRE", "GRACE", "PARENT_DEATH"])
def test_nor_is_one_that_came_through_a_variable_of_ours(shim: Shim, canary: Canary, variable: str) -> None:
    end = shim("--", "true", env={f"SHIM_{variable}": canary()})
    assert (end.code != 0, bool(end.stderr)) == (True, True)


@pytest.mark.parametrize("word", ["--user=CANARY:x", "--signal=CANARY=TERM", "--exit-as=1=2,CANARY"])
def test_nor_is_the_part_that_a_message_names(shim: Shim, canary: Canary, word: str) -> None:
    """Of a value with `:`, `=` or `,`, which is taken apart where it arrived by mistake."""
    option, _, value = word.replace("CANARY", canary()).partition("=")

    for end in (
        shim(f"{option}={value}", "--", "true", env={"DB_PASSWORD": value}),
        shim("--", "true", env={f"SHIM_{option[2:].replace('-', '_').upper()}": value}),
    ):
        assert (end.code != 0, "***" in end.stderr) == (True, True), end


def test_words_and_paths_are_said(shim: Shim) -> None:
    env = {"NODE_ENV": "production", "APP": "/usr/bin/no-such-app", "WHO": "nosuchuser"}

    assert "/usr/bin/no-such-app: command not found" in shim("--", "/usr/bin/no-such-app", env=env).stderr
    assert "'nosuchuser'" in shim("--user", "nosuchuser", "--", "true", env=env).stderr


def test_a_path_is_said_whatever_the_name_of_its_variable_and_a_value_in_its_place_is_not(
    shim: Shim, canary: Canary
) -> None:
    """systemd's CREDENTIALS_DIRECTORY names a folder; KEY_PATH may have been set to the key itself."""
    value = canary()
    for variable in ("CREDENTIALS_DIRECTORY", "KEY_DIR", "TOKEN_PATH"):
        assert "/usr/bin/no-such-app: " in shim("/usr/bin/no-such-app", env={variable: "/usr/bin/no-such-app"}).stderr
        assert "***: command not found" in shim(value, env={variable: value}).stderr


def test_the_name_of_a_file_in_the_place_of_its_path_is_said(shim: Shim, canary: Canary) -> None:
    """The hint is about that very file, and would be of no use without its name."""
    end = shim("--require", "DB_PASSWORD", "true", env={"DB_PASSWORD_FILE": "db_password"}, db_password=canary())

    assert f"hint: {shim.root}/db_password is there: remove DB_PASSWORD_FILE, or let it name that file" in end.stderr


def test_json_lines_escape_what_a_terminal_obeys(shim: Shim) -> None:
    name = "a\x7f\x9b31m\u202egnp\u2028\U000e0001"

    said = shim("--", f"/no/{name}", env={"SHIM_LOG": "json"}).stderr
    assert said.replace("\n", "").isprintable()
    assert name in json.loads(said.splitlines()[0])["message"]
