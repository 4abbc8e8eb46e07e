"""The `.env` reader by itself; `test_envfile_compose` holds it against Docker Compose."""

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from shim_host.env import envfile
from shim_host.env.compose_rules import Malformed

CANARY = "c4n4ry-of-envfile"
LOST = "the value ends in a line end (or begins with a byte order mark), which a secret file loses"


def values(text: str, dialect: str = "compose", **environ: str) -> dict[str, str]:
    read = envfile.read(text.encode(), environ, dialect)
    return {key: secret.reveal().decode() for key, secret in read.values.items()}


def warnings(text: str, dialect: str = "compose", **environ: str) -> list[str]:
    return [
        f"{line} {key}: {message}" for line, key, message, _ in envfile.read(text.encode(), environ, dialect).warnings
    ]


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (f"A={CANARY} # note\n", "1 A: the value ends before the space and #, where a comment begins"),
        (f"A= # {CANARY}\n", "1 A: the value begins with #, which to Compose is not a comment after ="),
        (
            f"B=1\nPASSWORD=x$B{CANARY}",
            "2 PASSWORD: a $ refers to a variable that is not set, and is replaced by nothing",
        ),
        (f"B=1\nPASSWORD=x${{B}}{CANARY}", "2 PASSWORD: a $ is replaced by the value of a variable"),
        (f"A={CANARY}\nA=2\n", "2 A: it is set on line 1 already; the last one counts"),
        (f"A={CANARY}\r\n", "1 : the lines end in CR LF"),
        (f"A='{CANARY}\r\nx'\n", "1 A: there is a CR inside the quotes, and it stays in the value"),
        (f"COMPOSE_FILE={CANARY}\n", "1 COMPOSE_FILE: this configures Compose itself"),
        (f"A='x' B={CANARY}\n", "1 : Compose reads what follows the closing quote as a statement of its own"),
        (f"{CANARY}\n", "1 : a name without = is set only where the environment has it, and it does not"),
        (f"{CANARY}", "1 : the file ends before an = or a line end, and Compose ignores such a line"),
        (f"K=-----BEGIN {CANARY}\nx=\n", "1 K: the value is the first line of a key or certificate only"),
        (f"A.B={CANARY}\n", "1 A.B: the name is not a shell variable, and the shim would spell it differently"),
        (f'A="{CANARY}\\n"\n', f"1 A: {LOST}"),
    ],
)
def test_what_is_likely_to_surprise_is_said_without_the_value(text: str, warned: str) -> None:
    said = warnings(text)

    assert warned in said
    assert not any(CANARY in warning for warning in said)


def test_a_plain_file_needs_no_warning() -> None:
    assert warnings("# settings\nexport A=1\nB='$x # y'\nC=\"two\nlines\"\nD=\n") == []


def test_a_shell_that_sets_the_key_otherwise_is_mentioned() -> None:
    assert any("the shell sets it too" in warning for warning in warnings("A=1\n", A=CANARY))
    assert warnings("A=1\n", A="1") == []


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (f"A=1\nB='{CANARY}\n".encode(), 2, "is not closed"),
        (f"A=1\n\n{CANARY}+x\n".encode(), 3, "is not allowed in a name"),
        (f"A B={CANARY}\n".encode(), 1, "space inside a name"),
        (f"A={CANARY}${{\n".encode(), 1, "begins a reference"),
        (f"A=${{X:?{CANARY}}}\n".encode(), 1, "is not set"),
        (f"A={CANARY}\xff\n".encode("latin-1"), 1, "is not UTF-8"),
        (f"A={CANARY}\0\n".encode(), 1, "NUL byte"),
        (f"A={CANARY}\n".encode("utf-16"), 1, "UTF-16"),
        (b"A=" + b"${B:-" * 5000 + b"\n", 1, "begins a reference"),
        (b"A=" + b"${B:-" * 5000 + b"}" * 5000, 1, "nested too deeply"),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_line_and_without_the_value(data: bytes, line: int, words: str) -> None:
    with pytest.raises(Malformed) as refusal:
        envfile.read(data, {})

    assert refusal.value.line == line
    assert words in refusal.value.message
    assert CANARY not in refusal.value.message + refusal.value.hint


def test_a_value_that_depends_on_how_compose_gets_the_file_is_named() -> None:
    read = envfile.read(b"A=$B\nB=1\nC=2\n", {})

    assert list(read.as_env_file) == ["A"]
    assert read.values["A"].reveal() == b""
    assert envfile.read(b"A=$B\nB=1\n", {}, use="env-file").values["A"].reveal() == b"1"


def test_the_environment_comes_before_the_file() -> None:
    assert values("B=file\nA=$B\nC\n", B="shell", C="c") == {"B": "file", "A": "shell", "C": "c"}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for dialect in envfile.DIALECTS:
        try:
            envfile.read(data, {}, dialect)
        except Malformed as error:
            line = error.line
        else:
            line = 1
        assert 1 <= line <= data.count(b"\n") + 1


def test_docker_run_takes_lines_as_they_are() -> None:
    text = "# c\n\n \t A='x' # y \r\nB=$A\nC=\nHOME\nNOT_THERE\n=\n"
    with pytest.raises(Malformed, match="line 8: there is no name"):
        values(text, "raw")
    assert values(text[:-2], "raw", HOME="/h") == {"A": "'x' # y ", "B": "$A", "C": "", "HOME": "/h"}


@pytest.mark.parametrize("text", ["A B=1\n", "A =1\n", "A\t=1\n", f"A={'x' * 65536}\n"])
def test_docker_run_refuses_what_it_refuses(text: str) -> None:
    with pytest.raises(Malformed):
        values(text, "raw")


def test_quotes_that_docker_run_would_keep_are_mentioned() -> None:
    assert warnings('A="x"\n', "raw") == ["1 A: the quotes are part of the value"]


@pytest.mark.parametrize(
    "text",
    [
        "A=x#y # z\n",
        "A='it\\'s'\n",
        'A="a\\nb"\n',
        "A=${B:-d}$C\nB=1\nD=${B}\n",
        "export A = 1\r\nB='x\r\ny'\n",
        "A\nB=2\n",
    ],
)
def test_python_dotenv_is_that_library(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("env") / ".env"
    path.write_bytes(text.encode())

    expected = {key: value for key, value in dotenv_values(path).items() if value is not None}

    assert values(text, "python-dotenv") == expected


def test_python_dotenv_files_with_a_mistake_are_refused_by_line() -> None:
    with pytest.raises(Malformed, match="line 2"):
        values(f"A=1\nB='{CANARY}\n", "python-dotenv")
