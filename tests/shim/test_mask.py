"""`--mask`: no value leaves in the service's output, and nothing else about that output changes."""

from __future__ import annotations

import base64
import json
import os
import random
import select
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from shim import kernel, kernel_unfrozen
from shim.mask import forms
from tests.support.forms import Shim
from tests.support.pid1_behaviours import shell, terminal

FORMS = ("module", "frozen")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no schema lies about."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=FORMS)
def shim(request: pytest.FixtureRequest, make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in the two forms whose masking differs."""
    return make_shim(request.param)


def test_a_value_is_replaced_in_both_outputs(shim: Shim, canary: Callable[[], str]) -> None:
    """stdout and stderr, around it nothing changes."""
    end = shim("--mask", "--", "sh", "-c", 'echo "a $DB_PASSWORD b"; echo "c $DB_PASSWORD d" >&2', db_password=canary())

    assert (end.code, end.stdout, end.stderr) == (0, "a *** b\n", "c *** d\n")


def test_a_value_in_two_writes_is_replaced(shim: Shim, canary: Callable[[], str]) -> None:
    """The start of a value waits for the rest; the start alone is shown in the end."""
    value = canary() * 2
    end = shim("--mask", "--", "sh", "-c", 'h=${K%????}; printf %s "$h"; sleep 0.3; printf %s "${K#"$h"}|end"', k=value)

    assert end.stdout == "***|end"


@pytest.mark.parametrize(
    "encode",
    [
        lambda value: base64.b64encode(value),
        lambda value: base64.b64encode(value + b"\n"),
        lambda value: base64.b64encode(b"u:" + value),
        lambda value: base64.b64encode(b"us:" + value + b":x"),
        lambda value: base64.urlsafe_b64encode(value),
        lambda value: urllib.parse.quote(value).encode(),
        lambda value: urllib.parse.quote(value, safe="").encode(),
        lambda value: urllib.parse.quote_plus(value).encode(),
        lambda value: json.dumps(value.decode()).encode(),
        lambda value: value.replace(b"\n", b"\r\n"),
    ],
    ids=[
        "base64",
        "base64 of a line",
        "in base64",
        "within base64",
        "urlsafe",
        "url",
        "url all",
        "form",
        "json",
        "crlf",
    ],
)
def test_what_programs_make_of_a_value_is_replaced(
    frozen: Shim, canary: Callable[[], str], encode: Callable[[bytes], bytes]
) -> None:
    """Encoded values hide as little as values."""
    value = f'{canary()} /+?&"\\ä\n{canary()}%~'
    encoded = encode(value.encode())
    end = frozen("--mask", "--", "cat", str(_file(frozen, encoded)), k=value)

    assert "***" in end.stdout
    for whole in (encoded, value.encode()):
        assert whole not in end.stdout.encode()


TEXT = "p\"<b>&'+=`/\u00e9\U0001d11e\b\n\u2028"


@pytest.mark.parametrize(
    "written",
    [
        "p\\\"<b>&'+=`/\u00e9\U0001d11e\\b\\n\u2028",  # JavaScript, Ruby
        "p\\\"<b>&'+=`\\/\\u00e9\\ud834\\udd1e\\b\\n\\u2028",  # PHP
        "p\\\"<b>&'+=`/\\u00E9\\uD834\\uDD1E\\b\\n\\u2028",  # upper case
        "p\\\"\\u003cb\\u003e\\u0026'+=`/\u00e9\U0001d11e\\b\\n\\u2028",  # Go, Rails
        "p\\\"\\u003cb\\u003e\\u0026'+=`/\u00e9\U0001d11e\\u0008\\n\\u2028",  # Go before 1.22
        'p\\"\\u003cb\\u003e\\u0026\\u0027+\\u003d`/\u00e9\U0001d11e\\b\\n\\u2028',  # Gson
        "p\\u0022\\u003Cb\\u003E\\u0026\\u0027\\u002B=\\u0060/\\u00E9\\uD834\\uDD1E\\b\\n\\u2028",  # .NET
        "p&quot;&lt;b&gt;&amp;&#x27;+=`/\u00e9\U0001d11e\b\n\u2028",  # Python's html
        "p&#34;&lt;b&gt;&amp;&#39;+=`/\u00e9\U0001d11e\b\n\u2028",  # Go's html/template
        "p&quot;&lt;b&gt;&amp;&apos;+=`/\u00e9\U0001d11e\b\n\u2028",  # XML
        "p\"&lt;b>&amp;'+=`/\u00e9\U0001d11e\b\n\u2028",  # XML, in text
        "p&quot;&lt;b&gt;&amp;&#039;+=`/\u00e9\U0001d11e\b\n\u2028",  # PHP
        json.dumps(json.dumps(TEXT)[1:-1])[1:-1],  # a log of JSON, in JSON
        repr(TEXT)[1:-1],  # Python's tracebacks
        repr(TEXT.encode())[2:-1],
        urllib.parse.quote(urllib.parse.quote(TEXT, safe=""), safe=""),  # a URL in a URL
        TEXT.encode().hex(),
        TEXT.replace("'", "'\\''"),  # a shell's set -x
    ],
)
def test_how_languages_write_a_value(written: str) -> None:
    assert written.encode() in set(forms(TEXT.encode()))


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_in_every_alignment(canary: Callable[[], str], before: int, encode: Callable[[bytes], bytes]) -> None:
    value = b"\xff\xfe" + canary().encode()

    for after in range(7):
        assert any(form in encode(b"x" * before + value + b"y" * after) for form in forms(value) if len(form) > 20)


def _file(shim: Shim, content: bytes) -> object:
    path = shim.folder / "content"
    path.write_bytes(content)
    return path


def test_each_line_of_a_value_is_replaced(shim: Shim, canary: Callable[[], str]) -> None:
    """A log that indents or numbers the lines of a key shows none of them."""
    one, two = canary(), canary()
    end = shim("--mask", "--", "sed", "s/^/line: /", str(_file(shim, f"{one}\n{two}\n".encode())), k=f"{one}\n{two}")

    assert end.stdout == "line: ***\nline: ***\n"


def test_binary_output_passes_through(shim: Shim, canary: Callable[[], str]) -> None:
    """Every byte, and no end of line is touched."""
    content = bytes(range(256)) * 5000
    path = _file(shim, content)
    done = subprocess.run(
        [*shim.command, "--mask", "--secrets-dir", str(shim.root), "--", "cat", str(path)],
        capture_output=True,
        check=True,
    )

    assert done.stdout == content


def test_the_order_of_both_outputs_in_one_file_stays(shim: Shim) -> None:
    """With `2>&1` both go through one pipe."""
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done"
    done = subprocess.run(
        [*shim.command, "--mask", "--secrets-dir", str(shim.root), "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )

    assert done.stdout.split() == [f"{kind}{number}" for number in range(1, 10) for kind in "oe"]


def test_a_reader_that_leaves_ends_the_service(shim: Shim) -> None:
    """SIGPIPE behaves as without it."""
    masked = " ".join([*shim.command, "--mask", "--secrets-dir", str(shim.root), "--", "yes"])
    done = subprocess.run(
        ["bash", "-c", f"{masked} | head -n 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )

    assert done.stdout == "y\n141\n"


def test_a_slow_reader_slows_the_service(shim: Shim, children: object) -> None:
    """Back-pressure: what nobody reads is not written; nothing is lost; a stop signal still goes through."""
    argv = [*shim.command, "--mask", "--secrets-dir", str(shim.root), "--", f"{children}/service", "writer", "8"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert not select.select([process.stderr], [], [], 0.5)[0]  # it has not written all, and cannot
    assert len(process.stdout.read()) == 8 << 20
    assert process.stderr.read() == b"written\n"
    assert process.wait(10) == 0

    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 10)[0]
        process.terminate()
        assert process.wait(10) == 143


def test_a_terminal_stays_a_terminal(shim: Shim, canary: Callable[[], str]) -> None:
    """Size, line discipline, Ctrl-C; and no value in what it shows."""
    value = canary()
    (shim.root / "k").write_text(value)
    child = (
        'trap "echo heard; exit 3" INT; test -t 0 && test -t 1 && test -t 2 && echo all; stty size; echo "<$K>"; '
        'echo up; while :; do read x; echo "got $x"; done'
    )
    argv = [*shim.command, "--mask", "--secrets-dir", str(shim.root), "--", "sh", "-c", child]
    with terminal(
        "setsid", "-c", "-w", "sh", "-c", 'stty rows 30 cols 90; "$@"; echo "code $?"; stty -a', "sh", *argv
    ) as it:
        assert it.shows("all\r\n")
        assert it.shows("30 90\r\n")
        assert it.shows("<***>\r\n")
        assert it.shows("up\r\n")
        it.type("word\n")
        assert it.shows("word\r\ngot word\r\n")
        it.type("\x03")
        assert it.shows("heard")
        assert it.shows("code 3")
        assert it.shows(" icanon")


def test_ctrl_z_and_fg_behind_a_masked_terminal(frozen: Shim) -> None:
    """Both stop, the shell gets its terminal as it was, and both go on."""
    child = "sh -c 'echo up; read x; echo got $x'"
    with shell() as it:
        it.type(f"{' '.join(frozen.command)} --mask --secrets-dir {frozen.root} -- {child}\n")
        assert it.shows("up\r\n")
        it.type("\x1a")
        assert it.shows("Stopped")
        it.type("stty -a | grep -o ' icanon'\n")
        assert it.shows(" icanon\r\n")
        it.type("fg\n")
        assert it.shows("sh -c")
        it.type("word\n")
        assert it.shows("got word")


def test_the_terminal_of_output_alone(frozen: Shim) -> None:
    """stdin may be a pipe: the output is still a terminal, and its lines end as ever."""
    argv = [
        *frozen.command,
        "--mask",
        "--secrets-dir",
        str(frozen.root),
        "--",
        "sh",
        "-c",
        "test -t 1 && cat; echo end",
    ]
    with terminal("setsid", "-c", "-w", "sh", "-c", 'echo in | "$@"', "sh", *argv) as it:
        assert it.shows("in\r\nend\r\n")


def test_both_scanners_agree() -> None:
    """The twin of the start code's search finds the same, however the text is cut."""
    seed = random.randrange(1 << 32)
    source = random.Random(seed)
    for _ in range(300):
        wanted = [bytes(source.choices(b"ab", k=source.randint(1, 6))) for _ in range(source.randint(1, 4))]
        text = bytes(source.choices(b"abc", k=source.randint(0, 60)))
        whole = _masked(wanted, [text])
        cuts = sorted(source.randint(0, len(text)) for _ in range(3))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert _masked(wanted, pieces) == whole, seed


def _masked(wanted: list[bytes], pieces: list[bytes]) -> bytes:
    patterns = kernel_unfrozen.mask_patterns(wanted)
    out, kept, covered, is_masked = b"", b"", 0, False
    for piece in [*pieces, None]:
        data = kept + (piece or b"")
        shown, rest, covered, is_masked = kernel.mask(patterns, data, covered, is_masked, piece is None)
        out += shown
        kept = data[rest:]
    return out


def test_an_overlap_leaves_no_part() -> None:
    """Two values that share bytes are one mask."""
    assert _masked([b"abcd", b"cdef"], [b"xabcdefy"]) == b"x***y"
    assert _masked([b"abcd", b"cdef"], [b"xabc", b"de", b"fy"]) == b"x***y"
    assert _masked([b"aa"], [b"a", b"a", b"a", b"b"]) == b"***b"
    assert _masked([b"ab"], [b"abab"]) == b"******"


def test_forms_of_a_short_value_hit_nothing_else() -> None:
    """Base64 of three bytes is four letters that many words hold."""
    assert set(forms(b"abc")) == {b"abc"}


@pytest.mark.slow
def test_throughput(frozen: Shim, canary: Callable[[], str], children: object) -> None:
    """Every byte comes through with 20 secrets to look for; the speed is printed, not judged."""
    values = {f"key{number}": canary() for number in range(20)}
    started = time.monotonic()
    for name, value in values.items():
        (frozen.root / name).write_text(value)
    megabytes = 400
    argv = [
        *frozen.command,
        "--mask",
        "--secrets-dir",
        str(frozen.root),
        "--",
        f"{children}/service",
        "writer",
        str(megabytes),
    ]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    count = 0
    while block := os.read(process.stdout.fileno(), 1 << 20):
        count += len(block)
    seconds = time.monotonic() - started
    assert process.wait() == 0
    assert count == megabytes << 20
    sys.stderr.write(f"masked {megabytes / seconds:.0f} MB/s\n")
