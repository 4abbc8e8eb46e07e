"""No input gives a traceback, a hang, a leak or a wrong exit code: names, bytes, sizes, links, modes, races."""

import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.environment import child_environment
from shim.errors import Breach, Refused
from shim.options import Options
from shim.read_options import read_options
from shim.resolve import resolve
from shim.schema import Schema, parse
from shim.secret import read_secret
from shim.sources import gather
from tests.support.forms import Child, Shim

# For a longer search: SHIM_TEST_EXAMPLES=20 tries twenty times as many.
TIMES = int(os.environ.get("SHIM_TEST_EXAMPLES", "1"))
NAMES = rb"db_password DB-PASSWORD api.key a A b.example .hidden ..data README x.md path ld_preload a=b 1st _".split()
NAMES += [b"shim_user", b"with space", b"new\nline", b"\xff\xfe", b"\xc3\xbc"]
NAME = st.sampled_from(NAMES) | st.binary(min_size=1, max_size=12).map(
    lambda name: name.translate(None, b"/\0") or b"n"
).filter(lambda name: name not in (b".", b".."))
PIECES = [b"\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"a\0", b"\xd8\x00", b"$", b"${A}"]
PIECE = st.sampled_from([*PIECES, b"changeme"]) | st.binary(max_size=6)
CONTENT = st.lists(PIECE, max_size=6).map(b"".join) | st.just(b"x" * 131_071) | st.just(b"")
TARGET = st.sampled_from(rb"a ..data ..data/a ../outside /etc/hostname gone . .. a/../a /".split())
WORD = st.sampled_from(["A", "DB_PASSWORD", "API_KEY,A", "env", "file", "json", "1000:1000", "A=B", "PATH", "�", "--"])
FLAGS = ["--clear-env", "--keep-file-vars", "-v", "--no-core", "--no-new-privs", "--nonsense"]
OPTION = st.sampled_from(FLAGS).map(lambda flag: [flag]) | st.builds(
    lambda option, word: [f"--{option}={word}"],
    st.sampled_from(["require", "only", "file-key", "prefer", "service", "log", "user", "secrets-dir"]),
    WORD,
)
OPTIONS = st.lists(OPTION, max_size=3).map(lambda all_: [os.fsencode(word) for words in all_ for word in words])
SCHEMA_LINE = st.sampled_from(
    [f"# @type={kind}" for kind in ("port", "url", "json", "pem", "jwt", "number", "bytes(3, hex)", "bytes(4, raw)")]
    + ["# @required", "# @sensitive", "# @deliver=memfd", "# @deliver=none", "# @only", '# @composed="${A|url}${B}"']
    + ["A=", "DB_PASSWORD=default", "API_KEY=", "LD_PRELOAD=", "B='a\nb'", "", '# @composed="${A|json}"']
    + ['# @type=string(minLength=2, matches="^x+$")', "# @type=enum(a, b)", "# @type=email"]
)
ENTRIES = [
    b"A=1",
    b"A=2",
    b"A",
    b"=",
    b"",
    b"DB_PASSWORD=\xff",
    b"A_FILE=ROOT/a",
    b"DB_PASSWORD_FILE=ROOT/x",
    b"A_FILE=/",
]
ENTRIES += [b"LOG_FILE=x", b"B_FILE=ROOT/../outside", b"PATH=/usr/bin:/bin", b"A_FILE=\xff"]
ENTRIES += [b"SHIM_LOG=json", b"SHIM_ONLY=,", b"SHIM_PREFER=env", b"SHIM_CLEAR_ENV=perhaps"]
ENTRY = st.sampled_from(ENTRIES) | st.binary(max_size=10).map(
    lambda entry: entry.replace(b"\0", b"").removeprefix(b"SHIM_")
)


class Tree(NamedTuple):
    """What lies in a secrets root."""

    files: dict[bytes, bytes]
    links: dict[bytes, bytes]
    others: dict[bytes, str]
    modes: dict[bytes, int]


TREE = st.builds(
    Tree,
    st.dictionaries(NAME, CONTENT, max_size=5),
    st.dictionaries(NAME, TARGET, max_size=3),
    st.dictionaries(NAME, st.sampled_from(["folder", "fifo"]), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0, 0o200, 0o400, 0o777]), max_size=2),
)


def grow(tree: Tree, folder: Path, canary: bytes) -> Path:
    """Make the *tree* in *folder*, with the *canary* in each value that is long enough for one; return the root."""
    root = folder / "root"
    if root.exists():
        shutil.rmtree(root)
    root.mkdir()
    (folder / "outside").write_bytes(canary)
    base = os.fsencode(root) + b"/"
    for name, content in tree.files.items():
        with open(base + name, "wb") as file:
            file.write(content[:3] + canary + content[3:] if 0 < len(content) < 1000 else content)
    for name, kind in tree.others.items():
        if not os.path.lexists(base + name):
            os.mkdir(base + name) if kind == "folder" else os.mkfifo(base + name)
    for name, target in tree.links.items():
        if not os.path.lexists(base + name):
            os.symlink(target, base + name)
    for name, mode in tree.modes.items():
        if os.path.isfile(base + name) and not os.path.islink(base + name):
            os.chmod(base + name, mode)
    return root


def environment(entries: list[bytes], root: Path) -> list[bytes]:
    return [entry.replace(b"ROOT", os.fsencode(root)) for entry in entries if b"/proc" not in entry]


@settings(max_examples=150 * TIMES)
@given(TREE, st.lists(ENTRY, max_size=6), st.lists(SCHEMA_LINE, max_size=8), OPTIONS)
def test_any_sources_are_resolved(
    tmp_path_factory: pytest.TempPathFactory,
    tree: Tree,
    entries: list[bytes],
    lines: list[str],
    words: list[bytes],
) -> None:
    """In this process: every outcome is a resolution or a list of breaches, and no breach holds a value."""
    canary = secrets.token_hex(8).encode()
    root = grow(tree, tmp_path_factory.getbasetemp(), canary)
    environ = environment(entries, root)
    wrong: list[Breach] = []
    leaking: list[bytes] = []
    try:
        options: Options = read_options([*words, b"--secrets-dir", os.fsencode(root), b"--", b"true"], environ)
        schema: Schema = parse("\n".join(lines).encode())
        resolution = resolve(gather(environ, options, schema), options, schema)
        wrong = resolution.breaches
        child = child_environment(environ, resolution, options)
        leaking = [entry for entry in child if entry.startswith(b"SHIM_")]
    except Refused as refusal:
        wrong = refusal.breaches
    assert wrong or not leaking
    assert canary.decode() not in "\n".join(breach.message + breach.hint for breach in wrong)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    folder.chmod(0o755)
    return folder


@settings(max_examples=100 * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREE, st.lists(ENTRY, max_size=6), st.lists(SCHEMA_LINE, max_size=8), OPTIONS)
def test_any_start_ends_well(
    place: Path,
    frozen: Shim,
    launch: str,
    tree: Tree,
    entries: list[bytes],
    lines: list[str],
    words: list[bytes],
) -> None:
    """The real program: it starts the service or says why not, in its own words and with its own exit codes."""
    canary = secrets.token_hex(8).encode()
    root = grow(tree, place, canary)
    (place / "schema").write_text("\n".join(lines))
    environ = [*environment(entries, root), b"SHIM_SECRETS_DIR=" + os.fsencode(root), b"SHIM_SCHEMA=schema"]
    (place / "environment").write_bytes(b"".join(entry + b"\0" for entry in environ))
    as_nobody = (
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 and tree.modes else []
    )

    done = subprocess.run(
        [*as_nobody, launch, "-e", "environment", *frozen.command, *words, b"--", b"/bin/true"],
        cwd=place,
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert done.returncode in (0, 100, 111), done
    assert canary not in done.stderr + done.stdout, done
    assert b"internal error" not in done.stderr, done
    lines_said = done.stderr.splitlines()
    assert all(line.startswith((b"shim: ", b'{"level":')) for line in lines_said), done
    assert bool(done.returncode) == any(b"error" in line[:20] for line in lines_said), done
    assert done.stdout == b""


@given(st.lists(st.binary(max_size=12).map(lambda word: word.replace(b"\0", b"")), max_size=6))
def test_any_words_are_options_or_mistakes(argv: list[bytes]) -> None:
    try:
        options = read_options(argv, [])
    except Refused as refusal:
        wrong = [breach.message for breach in refusal.breaches]
    else:
        wrong = []
        assert options.argv == argv[len(argv) - len(options.argv) :]
    assert all(wrong)


# --- races -----------------------------------------------------------------------------------------------------------


@contextmanager
def meanwhile(path: Path, values: list[bytes], way: str) -> Iterator[None]:
    """Change the file at *path* all the time, in the given *way*."""
    is_over = threading.Event()

    def change() -> None:
        turn = 0
        while not is_over.is_set():
            turn += 1
            value = values[turn % len(values)]
            if way == "replace":
                path.with_name(".new").write_bytes(value)
                path.with_name(".new").rename(path)
            elif way == "write":
                path.write_bytes(value)
            elif way == "vanish":
                path.unlink(missing_ok=True)
                path.write_bytes(value)
            elif way == "link":
                path.with_name(".new").symlink_to("/etc/hostname" if turn % 2 else ".target")
                path.with_name(".new").rename(path)
            else:
                path.unlink()
                path.mkdir()
                path.rmdir()
                path.write_bytes(value)

    thread = threading.Thread(target=change)
    path.write_bytes(values[0])
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


WAYS = ["replace", "write", "vanish", "link", "folder"]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, way: str) -> None:
    """A whole value, one of those that were there, or a breach."""
    values = [b"a" * 10, b"b" * 200_000]
    (tmp_path / ".target").write_bytes(values[0])
    path = tmp_path / "key"
    seen = set()
    with meanwhile(path, values, way):
        for _ in range(200):
            try:
                value = read_secret(os.fsencode(path), "KEY", os.fsencode(tmp_path)).reveal()
            except Breach as breach:
                seen.add(type(breach).__name__)
            else:
                seen.add("value")
                assert way not in ("replace", "link") or value in (*values, b""), value[:20]
    assert seen <= {"value", "Missing", "Directory", "Unusable", "Unreadable"}


def test_kubernetes_changes_a_secret_while_it_is_read(tmp_path: Path) -> None:
    """`..data` is replaced and the old folder removed: the value is the old one or the new one, never missing."""
    is_over = threading.Event()

    def change(turn: int = 0) -> None:
        while not is_over.is_set():
            turn += 1
            (tmp_path / f"..{turn}").mkdir()
            (tmp_path / f"..{turn}" / "key").write_text(f"v{turn}")
            (tmp_path / "..new").symlink_to(f"..{turn}")
            (tmp_path / "..new").rename(tmp_path / "..data")
            if turn > 1:
                shutil.rmtree(tmp_path / f"..{turn - 1}")

    thread = threading.Thread(target=change)
    thread.start()
    (tmp_path / "key").symlink_to("..data/key")
    try:
        while not (tmp_path / "..data").exists():
            assert thread.is_alive()
        for _ in range(300):
            value = read_secret(os.fsencode(tmp_path / "key"), "KEY", os.fsencode(tmp_path)).reveal()
            assert value.startswith(b"v")
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("way", WAYS)
def test_a_start_while_a_file_changes(frozen: Shim, way: str) -> None:
    values = [b"a" * 10, b"b" * 100_000]
    (frozen.root / ".target").write_bytes(values[0])
    codes = set()
    with meanwhile(frozen.root / "key", values, way):
        for number in range(15):
            folder = frozen.folder / f"race{number}"
            end = frozen("--", frozen.dump, str(folder))
            codes.add(end.code)
            if end.code == 0 and way == "replace":
                assert Child(folder).env["KEY"].encode() in values
            assert len(end.stderr) < 2000
    assert codes <= {0, 100, 111}
