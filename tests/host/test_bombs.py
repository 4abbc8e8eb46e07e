"""Files of strangers: a pull request, an `include:`, a link. What would go on forever ends with a message."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from shim_host import inputs
from shim_host.compose import nodes
from shim_host.compose.project import interpolated
from shim_host.env import envfile
from shim_host.env.compose_rules import InvalidReference, Malformed
from shim_host.errors import Refused

from tests.support.host import Manage

SECONDS = 2  # of this process's own, whoever else uses the processors
SERVICES = "services:\n  web:\n    image: b\n"


def merged(levels: int) -> str:
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{level}: &x{level}\n  <<: [*x{level - 1}, *x{level - 1}]" for level in range(1, levels)]
    return "\n".join(lines) + f"\nservices:\n  web:\n    <<: *x{levels - 1}\n    image: b\n"


def laughing(levels: int) -> str:
    lines = ["l0: &l0 [x]"]
    lines += [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n" + SERVICES


REFUSED: Mapping[str, str] = {
    "merge keys that double at each level": merged(31),
    "aliases that multiply by ten": laughing(9),
    "lists in lists": SERVICES + "    labels: " + "[" * 3000 + "]" * 3000 + "\n",
    "mappings in mappings": SERVICES + "    labels: " + "{a: " * 3000 + "}" * 3000 + "\n",
    "blocks in blocks": SERVICES + "\n".join("  " * (level + 2) + "a:" for level in range(2000)) + "\n",
    "an alias of what is around it": "x: &x\n  <<: *x\n" + SERVICES,
    "tabs all over": SERVICES + "    labels: [" + "\t,a" * 5000 + "]\n",
}


@pytest.mark.parametrize("bomb", REFUSED)
def test_a_compose_file_that_would_never_end_is_refused(bomb: str) -> None:
    began = time.process_time()

    with pytest.raises(Refused, match=r"this expands beyond what a Compose file can need|not valid YAML"):
        nodes.parse(REFUSED[bomb], Path("compose.yaml"))

    assert time.process_time() - began < SECONDS


def test_what_is_merged_several_times_counts_once_and_where_it_did() -> None:
    """The nearest has the last word: a mapping itself, then what it merges, of several the first."""
    text = (
        "a: &a {k: a, l: a}\nb: &b {<<: *a, k: b}\nc: &c {<<: [*a, *b], m: c}\nservices: {web: {<<: [*c, *b], n: w}}\n"
    )
    ((root, _),) = nodes.parse(text, Path("compose.yaml"))
    web = nodes.child(nodes.child(root, "services"), "web")

    found = {item.key: nodes.scalar(item.value) for item in nodes.items(web)}  # type: ignore[arg-type]

    assert found == {"k": "a", "l": "a", "m": "c", "n": "w"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e999", "1e999"),
        ("-1e999", "-1e999"),
        ("7" * 5000, "7" * 5000),
        ("0x" + "f" * 5000, "0x" + "f" * 5000),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709552000"),
        ("1e400000000", "1e400000000"),
    ],
)
def test_a_number_that_no_machine_holds_is_text(written: str, read: str) -> None:
    """As Go's YAML has it: what no 64 bits hold is a float, and what no float holds is a string."""
    ((root, _),) = nodes.parse(f"services: {{}}\nx: {written}\n", Path("compose.yaml"))

    assert nodes.scalar(nodes.child(root, "x")) == read  # type: ignore[arg-type]


def test_references_in_references_end() -> None:
    for text, why in (
        ("${A:-" * 2000 + "}" * 2000, "the references are nested too deeply"),
        ("${A}" * 50_000, "is longer than a program can receive"),
    ):
        began = time.process_time()
        with pytest.raises(InvalidReference, match=why):
            interpolated(text, {"A": "x" * 1000}.get)
        assert time.process_time() - began < SECONDS


LONGER = "the references make it longer than a program can receive"
MORE = "the references make the file larger than any program could need"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A0=aaaaaaaaaa\n" + "".join(f"A{level}={f'$A{level - 1}' * 10}\n" for level in range(1, 9)), LONGER),
        ("A0=" + "a" * 100_000 + "\n" + "".join(f"A{level}=$A0\n" for level in range(1, 5000)), MORE),
        ("A=" + "${A:-" * 2000 + "}" * 2000 + "\n", "the references are nested too deeply"),
        ('A="' + "x" * 1_000_000, "the quote that opens"),
        ("A='" + "\\'" * 300_000, "the quote that opens"),
    ],
    ids=["laughs", "copies", "nested", "open quote", "open quote with escapes"],
)
def test_an_env_file_that_blows_up_is_refused(text: str, why: str) -> None:
    began = time.process_time()

    with pytest.raises(Malformed, match=why):
        envfile.read(text.encode(), {}, use="project")

    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("kind", ["a FIFO", "a character device"])
@pytest.mark.parametrize("name", [".env", ".env.schema", "compose.yaml"])
def test_what_is_no_file_is_not_read(manage: Manage, name: str, kind: str) -> None:
    """A link in a checkout may lead to what never ends; nobody waits for it."""
    manage.write("compose.yaml", SERVICES)
    manage.write("secrets/a", "value-of-a").chmod(0o600)
    path = manage.folder / name
    path.unlink(missing_ok=True)
    if kind == "a FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    end = manage("validate", timeout=20)

    assert end.code in (1, 111)
    assert f"{name}: it is {kind}, and reading it could go on forever" in end.stderr


def test_what_a_shell_hands_over_is_read(tmp_path: Path) -> None:
    """`--env-file <(sops -d env)` is a FIFO, too, but the person's own."""
    read, write = os.pipe()
    os.write(write, b"A=b\n")
    os.close(write)
    try:
        assert inputs.read_bounded(Path(f"/dev/fd/{read}")) == b"A=b\n"
    finally:
        os.close(read)
    (tmp_path / "large").write_bytes(b"x" * (inputs.MOST_BYTES + 1))
    with pytest.raises(OSError, match="larger than 1024 KiB"):
        inputs.read_bounded(tmp_path / "large")
