"""argv up to `--` and the SHIM_* variables; all mistakes at once."""

import os

import pytest

from shim.errors import Refused
from shim.options import FLAG, KINDS, LIST, VALUE, Options
from shim.read_options import read_options
from tests.support.forms import Shim


def options(*argv: str, **variables: str) -> Options:
    environ = [os.fsencode(f"SHIM_{name}={value}") for name, value in variables.items()]
    return read_options([os.fsencode(word) for word in argv], environ)


def mistakes(*argv: str, **variables: str) -> list[str]:
    with pytest.raises(Refused) as caught:
        options(*argv, **variables)
    return [breach.message for breach in caught.value.breaches]


def example(name: str) -> str:
    """Return a value that the option takes."""
    return {
        "prefer": "env",
        "log": "json",
        "signal": "TERM=QUIT",
        "exit-as": "143=0",
        "on-change": "exit",
        "grace": "5s",
        "wait": "5s",
        "parent-death": "KILL",
        "ready-fd": "3",
        "keep-caps": "KILL",
    }.get(name, "a")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_option_has_a_variable_and_a_flag_wins(name: str) -> None:
    field, variable = name.replace("-", "_"), name.upper().replace("-", "_")
    if name == "json":  # belongs to explain, check and ps
        assert options("explain", "--json").json
        assert options("explain", JSON="1").json
        return
    if KINDS[name] is FLAG:
        assert getattr(options("true", **{variable: "1"}), field) is True
        assert getattr(options(f"--{name}", "true"), field) is True
        assert getattr(options(f"--{name}=0", "true", **{variable: "yes"}), field) is False
        assert getattr(options("true"), field) is False
        return
    value = example(name)
    wanted = value if KINDS[name] is VALUE else [value]
    beside = ["--user=a"] if name == "keep-caps" else []
    assert getattr(options(*beside, "true", **{variable: value}), field) == wanted
    assert getattr(options(*beside, f"--{name}", value, "true"), field) == wanted
    assert getattr(options(*beside, f"--{name}={value}", "true"), field) == wanted
    if KINDS[name] is LIST and name not in ("signal", "exit-as", "keep-caps"):
        assert getattr(options(f"--{name}=b", f"--{name}=c, d,,", "true", **{variable: "z"}), field) == ["b", "c", "d"]


def test_lists_in_variables() -> None:
    assert options("x", SECRETS_DIR="/a::b:").secrets_dir == ["/a", "b"]
    assert options("x", RENDER="a:b\nc:d\n").render == ["a:b", "c:d"]
    assert options("--secrets-dir", "/a:b", "--secrets-dir", "/c", "x").secrets_dir == ["/a", "b", "/c"]


@pytest.mark.parametrize("argv", [["--", "true", "-v"], ["true", "-v"]])
def test_the_command_begins_behind_the_options(argv: list[str]) -> None:
    assert options(*argv).argv == [b"true", b"-v"]


def test_subcommands() -> None:
    assert options("exec", "--", "x").action == "exec"
    assert options("-v", "exec", "-v", "x").action == "exec"
    assert options("exec", "--", "exec", "--").argv == [b"exec", b"--"]
    assert options("--", "exec").action == "start"
    assert options("check", "--require", "A").require == ["A"]
    assert options("install", "/x").argv == [b"/x"]
    assert options("--help").action == "help"
    assert options("-h").action == "help"
    assert options("--version").action == "version"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no command"),
        (["--"], "no command"),
        (["exec"], "no command"),
        (["--requrie", "A", "x"], "no option --requrie"),
        (["--requrie=A", "x"], "no option --requrie"),
        (["-x", "y"], "no option -x"),
        (["--require"], "needs a value"),
        (["--require", "--", "x"], "needs a value"),
        (["--prefer", "both", "x"], "--prefer takes file or env"),
        (["--log", "xml", "x"], "--log takes text or json"),
        (["--clear-env=maybe", "x"], "neither on nor off"),
        (["--json", "x"], "--json works only with"),
        (["install"], "one folder"),
        (["install", "a", "b"], "one folder"),
        (["check", "x"], "takes no command"),
        (["explain", "x"], "takes no command"),
        (["", "x"], "empty word"),
        (["--", ""], "empty word"),
    ],
)
def test_a_mistake(argv: list[str], words: str) -> None:
    assert words in " ".join(mistakes(*argv))


def test_all_mistakes_at_once() -> None:
    assert len(mistakes("--nope", "--prefer", "x", "--clear-env=x", PREFER="y", CLEAR_ENV="z")) == 6


def test_a_value_in_the_wrong_place_is_not_repeated() -> None:
    said = " ".join(
        mistakes("--password=hunter2", "-phunter2", "--prefer=hunter2", "x", LOG="hunter2", CLEAR_ENV="hunter2")
    )

    assert "hunter2" not in said


@pytest.mark.parametrize("name", ["require", "only", "file-key"])
def test_what_cannot_be_a_key(shim: Shim, name: str) -> None:
    """`KEY=value` in the place of a key is a mistake, and the value is not repeated."""
    end = shim(f"--{name}", "A,B=hunter2", "true")

    assert end.code == 100
    assert f"--{name}" in end.errors[0]
    assert "hunter2" not in end.stderr
    assert shim("true", env={"SHIM_" + name.upper().replace("-", "_"): "1A"}).code == 100


def test_mistakes_name_what_was_meant(shim: Shim) -> None:
    end = shim("--requrie", "A", "true")

    assert end.code == 100
    assert "did you mean --require?" in end.stderr


def test_a_misspelt_variable_is_warned_of(shim: Shim) -> None:
    """Most of all when the start is refused because of it; a health check by `exec` does not say it each time."""
    misspelt = {"SHIM_SECRET_DIR": "/elsewhere"}

    started = shim("true", env=misspelt)
    refused = shim("--require", "A", "true", env=misspelt)

    for end in (started, refused, shim("check", env=misspelt), shim("explain", env=misspelt)):
        assert "there is no option SHIM_SECRET_DIR" in end.stderr
        assert "did you mean SHIM_SECRETS_DIR?" in end.stderr
    assert (started.code, refused.code) == (0, 100)
    assert shim("exec", "--", "true", env=misspelt).stderr == ""


def test_variables_of_somebody_else_are_no_misspelt_ones(shim: Shim) -> None:
    """Kubernetes gives every pod such for a service that is named shim."""
    link = {"SHIM_PORT": "tcp://10.0.0.1:80", "SHIM_SERVICE_HOST": "10.0.0.1", "SHIM_PORT_80_TCP_PROTO": "tcp"}

    assert shim("true", env=link).stderr == ""


@pytest.mark.parametrize("around", ['"{}"', "'{}'", " {}", "{}\r", '"{}"\r'])
def test_quotes_around_a_variable_are_removed(frozen: Shim, around: str) -> None:
    """`- SHIM_INIT="1"` in a YAML list keeps them, and so does docker's --env-file; a CRLF file keeps the `\\r`."""
    given = {"INIT": "1", "REQUIRE": "A,B", "GRACE": "10s", "SCHEMA": "none", "SECRETS_DIR": "/run/a:/run/b"}
    chosen = options("true", **{name: around.format(value) for name, value in given.items()})
    end = frozen("sh", "-c", "echo $A", env={"SHIM_ONLY": around.format("A")}, a="v", b="v")

    assert (chosen.init, chosen.grace, chosen.secrets_dir) == (True, "10s", ["/run/a", "/run/b"])
    assert (end.code, end.stdout) == (0, "v\n")
    assert "SHIM_ONLY has quotes or white space around its value" in end.stderr
    assert options("true", PRE='"/opt/my program" "a b"').pre == ['"/opt/my program" "a b"'], "a command's own stay"
