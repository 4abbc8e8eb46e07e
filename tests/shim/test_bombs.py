"""Small inputs that could cost any time or memory: each ends within 2 seconds and 64 MiB, with a message."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping

import pytest

from tests.support.forms import Shim

MOST_SECONDS, MOST_BYTES = 2.0, 64 << 20


def chain(length: int, times: int, first: str = "A0=0123456789\n") -> str:
    """Return a schema whose keys are each composed of the one before, several times over."""
    lines = [f'# @composed="{f"${{A{number - 1}}}" * times}"\nA{number}=\n' for number in range(1, length)]
    return first + "".join(lines)


SCHEMAS: dict[str, tuple[Callable[[], str], str]] = {
    "a pattern": (lambda: '# @type=string(matches="^(a+)+$")\nK=\n', "cannot be matched in time"),
    "a pattern over many keys": (
        lambda: "".join(f'# @type=string(matches="^(a|a)*b{number}$")\nK{number}=\n' for number in range(30)),
        "cannot be matched in time",
    ),
    "a long pattern": (
        lambda: f'# @type=string(matches="{"(a{1,999}){1,999}" * 90}")\nK=\n',
        "matches is longer than 1000 characters",
    ),
    "doubling": (lambda: chain(60, 10), "it would be longer than 1048576 bytes"),
    "doubling of what is not there": (lambda: chain(90, 2, "A0=\n") + "# @required\nZ=\n", "Z is required"),
    "many large ones": (
        lambda: "A0=" + "x" * 10_000 + "\n" + "".join(f'# @composed="{"${A0}" * 100}"\nB{n}=\n' for n in range(20)),
        "all composed values together are longer than",
    ),
    "an open quote": (lambda: 'K="' + "\n" * 250_000, "the quote is not closed"),
    "backslashes": (lambda: 'K="' + '\\"' * 8_000, "the quote is not closed"),
    "dollars": (lambda: '# @composed="' + "$$" * 100_000 + '"\nK=\n', "the line is longer than 16384 characters"),
    "references": (lambda: "".join(f'# @composed="{"${A}" * 4000}"\nB{n}=\n' for n in range(15)) + "A=\n", ""),
    "decorators": (lambda: ("# " + "@x " * 5_000 + "\n") * 16 + "K=\n", "there is no decorator @x"),
    "parentheses": (lambda: ("# @type=" + "(" * 16_000 + "\nK=\n") * 15, "is not closed"),
    "quotes in parentheses": (lambda: ("# @type=string(" + "''" * 8_000 + "\nK=\n") * 15, "is not closed"),
    "keys": (lambda: "".join(f"K{number}=\n" for number in range(20_000)), "there are more than 4096 keys"),
    "lines that are none": (lambda: "x\n" * 100_000, "this is neither a comment nor KEY="),
    "size": (lambda: "#\n" * 200_000, "is not a file of at most 262144 bytes"),
}


@pytest.fixture
def shim(frozen: Shim) -> Shim:
    """Return the frozen binary: its memory is its own."""
    return frozen


def said_within_bounds(shim: Shim, *options: str, env: Mapping[str, str] | None = None) -> str:
    """Return what `shim check` said, within the bounds; the seconds are the processor's, whoever else uses it."""
    with open(shim.folder / "said", "wb") as said:
        process = subprocess.Popen(
            ["prlimit", f"--data={MOST_BYTES}", *shim.command, *options, "check"],
            env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(shim.root), **(env or {})},
            cwd=shim.folder,
            stdout=said,
            stderr=said,
        )
        _, status, used = os.wait4(process.pid, 0)
    text = (shim.folder / "said").read_text(errors="replace")
    assert os.waitstatus_to_exitcode(status) in (0, 100), text[-2000:]
    assert not [words for words in ("internal error", "out of memory") if words in text], text[-2000:]
    assert used.ru_utime + used.ru_stime < MOST_SECONDS, text[-500:]
    return text


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema(shim: Shim, name: str) -> None:
    make, words = SCHEMAS[name]
    (shim.folder / "schema").write_text(make())
    for number in range(31):
        (shim.root / ("k" if number == 30 else f"k{number}")).write_text("a" * 36 + "!")

    assert words in said_within_bounds(shim, f"--schema={shim.folder}/schema")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("json", '"' + "\\n" * 500_000 + '"', ""),
        ("json", "[" * 1_000_000, ""),
        ("json", '{"a":' * 200_000, ""),
        ("number", "1" * 1_000_000, ""),
        ("port", "1" * 1_000_000, ""),
        ("jwt", "A" * 1_000_000 + ".e30.c2ln", ""),
        ("email", "a@" * 500_000, ""),
        ("url", "https://" + "a" * 1_000_000, ""),
        ("pem", "-----BEGIN X-----\n" + "a\n" * 500_000, ""),
        ("bytes(32, base64)", "A" * 1_000_000, ""),
        ('string(matches="(a|b)*c")', "ab" * 32_000, ""),
        ('string(matches="(a|b)*c")', "ab" * 64_000, "bytes that a pattern can be tried on"),
        ('string(matches=".*.*x")', "a" * 3_900, "cannot be matched in time"),
    ],
    ids=lambda text: text[:12],
)
def test_a_value(shim: Shim, kind: str, value: str, words: str) -> None:
    (shim.folder / "schema").write_text(f"# @type={kind} @deliver=none\nK=\n")
    (shim.root / "k").write_text(value)

    assert words in said_within_bounds(shim, f"--schema={shim.folder}/schema")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("${K}" * 9_000, "it would be longer than 1048576 bytes"),
        ("${K}\n" * 200_000, "there are more than 10000 references"),
        ("$$" * 500_000, ""),
        ("${K|url}${K|json}${K|base64}", ""),
        ("".join(f"${{K{number}}}" for number in range(9_000)), "refers to K1, and nothing provides it"),
    ],
    ids=["doubling", "references", "dollars", "encoders", "unknown keys"],
)
def test_a_template(shim: Shim, template: str, words: str) -> None:
    (shim.folder / "template").write_text(template)
    (shim.root / "k").write_text("\u00fc/" * 40_000)

    assert words in said_within_bounds(shim, "--allow-disk", f"--render={shim.folder}/template:{shim.folder}/made")


JSON_WITH_ESCAPES = '{"a": "' + "\\u0041" * 20_000 + '"}'


@pytest.mark.parametrize(
    ("document", "member", "words"),
    [
        (json.dumps({f"A{number}": "v" * 20 for number in range(3_000)}), "A{}", ""),
        ("".join(f"A{number}={'v' * 20}\n" for number in range(3_000)), "A{}", ""),
        (JSON_WITH_ESCAPES, "a", ""),
        ("[" * 60_000 + "]" * 60_000, ".".join(["0"] * 8), ""),
        ("A=\n" * 40_000, "A", ""),
        ('A="' + "\\n" * 60_000 + '"', "A", ""),
        ("A=" + "x" * 200_000, "A", "is neither JSON nor lines of KEY=value"),
    ],
    ids=["JSON", "lines", "escapes", "nesting", "empty lines", "escapes in quotes", "too long"],
)
def test_members_of_a_document(shim: Shim, document: str, member: str, words: str) -> None:
    """However many are asked for, the document is read once."""
    (shim.root / "all").write_text(document)
    (shim.folder / "schema").write_text(
        "".join(f"# @from=all({member.format(number)})\n# @deliver=none\nK{number}=\n" for number in range(700))
    )

    said = said_within_bounds(shim, f"--schema={shim.folder}/schema")

    assert words in said


def test_many_large_files(shim: Shim) -> None:
    """What nobody asked for is left alone, and what is asked for is missed."""
    for number in range(40):
        (shim.root / f"k{number:02}").write_bytes(b"x" * 1_000_000)
    (shim.folder / "schema").write_text("".join(f"# @deliver=none\nK{number:02}=\n" for number in range(40)))

    assert "K16: all secrets together are longer than 16777216 bytes" in said_within_bounds(
        shim, f"--schema={shim.folder}/schema"
    )
    said = said_within_bounds(shim)
    assert "warning: K16: all secrets together are longer than 16777216 bytes; nothing asks for K16" in said


def test_many_variables_that_name_no_file(shim: Shim) -> None:
    """Each of the messages is searched for each of the variables' values."""
    env = {f"K{number}_FILE": f"{shim.root}/k{number}" for number in range(1_000)}

    assert f"K999: {shim.root}/k999 does not exist" in said_within_bounds(shim, env=env)


@pytest.mark.parametrize("option", ["--signal=%s=TERM", "--signal=TERM=RTMIN+%s", "--parent-death=%s", "--user=%s"])
def test_a_number_of_an_option(shim: Shim, option: str) -> None:
    """Python takes no number of so many digits."""
    assert "error: --" in said_within_bounds(shim, option % ("9" * 5_000))
