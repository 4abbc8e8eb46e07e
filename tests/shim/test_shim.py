"""The program as a whole: its commands, what it says and where, and how it ends."""

import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from shim import __version__
from shim.options import KINDS
from tests.support.forms import Shim


def test_a_required_key_without_a_source_stops_the_start(shim: Shim) -> None:
    """A missing required key ends the shim with 100 and names every place it looked."""
    end = shim("--require", "DB_PASSWORD", "--", "true")

    assert end.code == 100
    assert end.stdout == ""
    assert "DB_PASSWORD is required" in end.stderr


def test_silent_when_all_is_well(shim: Shim) -> None:
    end = shim("true", a="v")

    assert end == (0, "", "")


def test_verbose_says_what_was_done(shim: Shim, tmp_path: Path) -> None:
    end = shim("-v", "true", env={"LOG_FILE": "/x", "B": "1", "B_FILE": str(shim.root / "a")}, a="1")

    assert end.code == 0
    assert end.stdout == ""
    assert "shim: A from " in end.stderr
    assert "shim: B from " in end.stderr
    assert "LOG_FILE left alone" in end.stderr
    assert shim("true", env={"SHIM_VERBOSE": "1"}).stderr.startswith("shim: A from ")


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [{"env": {"SHIM_LOG": "json"}}, {"argument": "--log=json"}])
def test_messages_as_json(shim: Shim, way: dict[str, dict[str, str] | str]) -> None:
    """One object per line."""
    argument = [str(way["argument"])] if "argument" in way else []
    env = way.get("env")
    (shim.root / "b").write_bytes(b"\0")

    end = shim(*argument, "--require", "A,B", "true", env=env if isinstance(env, dict) else None)

    first, second = [json.loads(line) for line in end.stderr.splitlines()]
    assert (first["level"], first["key"], first["code"]) == ("error", "A", 100)
    assert first["message"] == "A is required, and nothing provides it"
    assert first["hint"].startswith("looked at A, A_FILE, ")
    assert second["key"] == "B"


def test_odd_names_stay_on_one_line(shim: Shim) -> None:
    """Text, escaped; JSON, as JSON."""
    names = [b"new\nline", b"\xff\xfe", b"\x1b[31m", b"q\"'\\", b"\x7f", "ü".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(shim.root) + b"/" + name)).write_text("v")

    end = shim("-v", "true")
    assert len(end.stderr.splitlines()) == len(names)
    assert "new\\x0aline" in end.stderr
    assert "\\xff\\xfe" in end.stderr
    end = shim("-v", "--log", "json", "true")
    assert len([json.loads(line) for line in end.stderr.splitlines()]) == len(names)
    explained = shim("explain", env={"a\x1b[31m\nb_FILE": "text"}).stdout.splitlines()
    assert len(explained) == len(names) + 1
    assert all(line.isprintable() for line in explained)
    assert len(json.loads(shim("explain", "--json").stdout)["left_alone"]) == len(names)


def test_mistakes_in_the_options_as_json(shim: Shim) -> None:
    for end in (shim("--nope", "true", env={"SHIM_LOG": "json"}), shim("--log", "json", "--nope", "true")):
        assert end.code == 100
        assert json.loads(end.stderr)["message"] == "there is no option --nope"


# --- commands --------------------------------------------------------------------------------------------------------


def test_help_and_version(shim: Shim) -> None:
    end = shim("--help")
    assert (end.code, end.stderr) == (0, "")
    for word in (
        "100",
        "111",
        "126",
        "127",
        "128+N",
        "shim exec",
        "shim check",
        "shim explain",
        "shim install",
        "shim ps",
    ):
        assert word in end.stdout
    assert not [name for name in KINDS if f"--{name}" not in end.stdout]
    lines = end.stdout.splitlines()
    assert not [line for above, line in pairwise(lines) if above.startswith(" ") and line and not line.startswith(" ")]
    assert [line for line in lines if len(line) > 120] == []
    end = shim("--version")
    assert (end.code, end.stdout) == (0, f"shim {__version__}\n")


def test_exec_is_the_same_for_docker_exec(shim: Shim) -> None:
    (shim.root / "a").write_text("v")

    end = shim("exec", "--", "sh", "-c", "echo $A; exit 3")
    assert (end.code, end.stdout) == (3, "v\n")
    end = shim("exec", "sh", "-c", "echo $A; exit 3", env={"SHIM_INIT": "1", "SHIM_RENDER": "none:none"})
    assert (end.code, end.stdout) == (3, "v\n")
    assert shim("exec", "--require", "B", "--", "true").code == 100
    assert shim("exec", "--", "no-such-program").code == 127


def test_check_ends_with_0_or_100(shim: Shim, tmp_path: Path) -> None:
    """It starts nothing and writes nothing."""
    (tmp_path / "s").write_text("# @required @type=port\nA=\n# @deliver=file\nB=\n# @required\nC=\n")

    end = shim("check", "--schema", "s", a="x", b="v")
    assert end.code == 100
    assert [text.split()[0] for text in end.errors] == ["A", "C"]
    end = shim("check", "--schema", "s", "--json")
    document = json.loads(end.stdout)
    assert (end.code, document["ok"], [breach["key"] for breach in document["breaches"]]) == (100, False, ["A", "C"])
    assert shim("check", "--schema", "s", a="1", c="v") == (0, "", "")
    assert json.loads(shim("check", "--json").stdout) == {"version": 1, "ok": True, "breaches": []}


def test_a_question_that_cannot_be_answered_has_a_document_too(shim: Shim) -> None:
    """On stdout, beside the words on stderr: mistakes in the options, and a schema that is not there."""
    for action in ("check", "explain", "ps"):
        for options, part in ((["--schema", "gone"], "gone"), (["--nope", "--only=1x"], "--nope"), (["true"], action)):
            end = shim(action, "--json", *options)
            document = json.loads(end.stdout)
            words = [breach["message"] for breach in document["breaches"]]
            assert (end.code, document["version"], document.get("ok", False)) == (100, 1, False)
            assert part in words[0]
            assert all(word in end.stderr for word in words) or action == "check"


def test_check_finds_what_a_retry_may_help_with(frozen: Shim, as_root: None) -> None:
    """A start ends with 111 for a file that it may not read; for who asks, it is one more thing that is wrong."""
    (frozen.root / "a").write_text("v")
    (frozen.root / "a").chmod(0o600)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    assert frozen("--require", "A", "true", before=nobody).code == 111
    end = frozen("check", "--require", "A", before=nobody)
    assert (end.code, len(end.errors)) == (100, 1)
    assert "permission denied" in end.stderr
    (breach,) = json.loads(frozen("check", "--require", "A", "--json", before=nobody).stdout)["breaches"]
    assert breach["code"] == 111


def test_explain_calls_required_what_an_option_requires(frozen: Shim) -> None:
    end = frozen("explain", "--json", "--require", "A,B", b="v")

    assert {row["key"]: row["required"] for row in json.loads(end.stdout)["keys"]} == {"A": True, "B": True}
    assert frozen("explain", "--require", "A").stdout.splitlines()[0].split() == ["A", "absent", "required"]


def test_explain_says_one_line_a_key(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(
        '# @sensitive\nROOT_KEY=\nFILE_KEY=\nENV_KEY=\nDEFAULT_KEY=d\n# @composed="${ROOT_KEY}"\nCOMPOSED=\nABSENT=\n'
        "# @required @deliver=memfd\nMEM=m\n"
    )
    (tmp_path / "pointed").write_text("v")
    env = {"FILE_KEY_FILE": str(tmp_path / "pointed"), "ENV_KEY": "e", "ROOT_KEY": "old", "SSL_CERT_FILE": "/x"}

    end = shim("explain", "--schema", "s", env=env, root_key="value", other="v")

    assert (end.code, end.stderr) == (0, "")
    lines = {line.split()[0]: line for line in end.stdout.splitlines()}
    origins = {key: line.split()[1] for key, line in lines.items()}
    assert origins == {
        "ROOT_KEY": "root",
        "FILE_KEY": "file",
        "ENV_KEY": "environment",
        "DEFAULT_KEY": "default",
        "COMPOSED": "composed",
        "ABSENT": "absent",
        "MEM": "default",
        "OTHER": "root",
        "SSL_CERT_FILE": "left",
    }
    assert re.search(r" root +- +5 bytes ", lines["ROOT_KEY"])  # no key, no fingerprint
    assert "wins over the environment" in lines["ROOT_KEY"]
    assert "left alone: " in lines["SSL_CERT_FILE"]
    document = json.loads(shim("explain", "--json", "--schema", "s", env=env).stdout)
    row = document["keys"][0]
    assert (row["key"], row["origin"], row["length"], row["sensitive"]) == ("ROOT_KEY", "root", 5, True)
    assert document["left_alone"][0]["name"] == "SSL_CERT_FILE"


def test_fingerprints_need_a_key_or_a_salt_and_are_the_same_in_every_form(shim: Shim) -> None:
    """Without either there is none: whoever sees one could find a weak value by trying."""
    from shim.secret import fingerprint, keyed

    def told(*options: str, before: tuple[str, ...] = ()) -> tuple[str | None, str | None]:
        document = json.loads(shim("explain", "--json", *options, before=before, a="4711").stdout)
        return document["fingerprints"], document["keys"][0]["fingerprint"]

    key = bytes(range(32))
    on_stdin = ("sh", "-c", f'printf %s {key.hex()} | "$@"', "sh")

    assert told() == (None, None)
    assert told("--salt", "s") == ("salt", fingerprint(b"4711", "A", b"s"))
    for salt in ((), ("--salt", "s")):  # the key counts
        made = told("--fingerprint-key-stdin", *salt, before=on_stdin)
        assert made == ("hmac", keyed(b"4711", "A", key))
    text = shim("explain", "--fingerprint-key-stdin", before=on_stdin).stdout
    assert keyed(b"4711", "A", key) in text


@pytest.mark.parametrize("said", ["", "zz" * 32, "ab" * 31])
def test_what_is_no_fingerprint_key_is_refused_and_not_repeated(frozen: Shim, said: str) -> None:
    end = frozen("explain", "--fingerprint-key-stdin", before=("sh", "-c", f'printf %s "{said}" | "$@"', "sh"), a="v")

    assert end.code == 100
    assert "stdin does not contain a fingerprint key" in end.stderr
    assert not said or said not in end.stderr
    assert frozen("explain", "--fingerprint-key-stdin", before=("sh", "-c", '"$@" <&-', "sh")).code == 100


def test_explain_tells_breaches_too(shim: Shim) -> None:
    end = shim("explain", "--require", "A,B", b=b"\0")

    assert end.code == 100
    assert [text.split()[0] for text in end.errors] == ["A", "B"]


def test_install_copies_what_runs(shim: Shim, tmp_path: Path) -> None:
    """Whole or not at all; over an older one too; the copy needs nothing of the original."""
    (tmp_path / "bin").mkdir()
    target = tmp_path / "bin" / "shim"
    target.write_text("older")

    for folder in (tmp_path / "bin", tmp_path / "new" / "deep"):
        assert shim("install", str(folder)) == (0, "", "")
        assert os.listdir(folder) == ["shim"]
        assert (folder / "shim").stat().st_mode & 0o7777 == 0o755
        done = subprocess.run(
            [folder / "shim", "--", "sh", "-c", "exit 9"], env={"PATH": "/usr/bin:/bin"}, cwd=tmp_path, check=False
        )
        assert done.returncode == 9
    end = shim("install", "/proc/nowhere")
    assert end.code == 111
    assert "cannot install" in end.errors[0]


def test_an_output_that_cannot_be_written(shim: Shim) -> None:
    for arguments in (["--help"], ["explain"], ["check", "--json"]):
        for before in (["sh", "-c", 'exec "$@" >/dev/full', "sh"], ["sh", "-c", 'exec "$@" >&-', "sh"]):
            end = shim(*arguments, before=before, a="v")
            assert end.code == 111, (arguments, before, end)
            assert "stdout" in end.errors[0]


# --- hostile places --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variable",
    [
        "LD_LIBRARY_PATH=/nowhere", "LD_PRELOAD=/nowhere.so", "LD_BIND_NOW=1", "LD_DEBUG=all", "PYTHONHOME=/nowhere",
        "PYTHONPATH=/nowhere", "PYTHONSTARTUP=/nowhere", "PYTHONVERBOSE=1", "PYTHONMALLOC=debug", "PYTHONUTF8=0",
        "PYTHONWARNINGS=error", "PYTHONDEVMODE=1", "PYTHONINSPECT=1", "PYTHONIOENCODING=utf-16", "PYTHONOPTIMIZE=2",
        "GLIBC_TUNABLES=glibc.malloc.check=3", "LC_ALL=tr_TR.UTF-8", "LC_ALL=xx", "LANG=ja_JP.eucJP", "MALLOC_CHECK_=3",
        "_PYI_ARCHIVE_FILE=/nowhere", "_PYI_APPLICATION_HOME_DIR=/nowhere", "_MEIPASS2=/nowhere", "TMPDIR=/nowhere",
        "GCONV_PATH=/nowhere", "LOCPATH=/nowhere", "MALLOC_ARENA_MAX=1", "PYINSTALLER_RESET_ENVIRONMENT=1",
    ],
)  # fmt: skip
def test_the_images_environment_changes_nothing(frozen: Shim, variable: str) -> None:
    """It reaches the service, and never the shim: not on the way to exec, not where it reports."""
    name, _, value = variable.partition("=")
    if name == "LD_PRELOAD" and os.path.exists(value):
        pytest.fail("the test's library must not exist")

    assert frozen.child(env={name: value}, a="v").env == {"PATH": "/usr/bin:/bin", name: value, "A": "v"}
    end = frozen("explain", "--json", env={name: value})
    assert end.code == 0
    assert json.loads(end.stdout)["keys"][0]["length"] == 1
    assert end.stderr == ""


@pytest.mark.usefixtures("as_root")
def test_it_runs_without_proc_and_dev_in_a_bare_root(frozen: Shim) -> None:
    """As a `scratch` image is: only the shim, a static service and a secret."""
    bare = frozen.folder / "bare"
    for folder in ("run/secrets", "out"):
        (bare / folder).mkdir(parents=True)
    (bare / "run/secrets/a").write_text("v")
    subprocess.run(["cp", frozen.command[0], bare / "shim"], check=True)
    subprocess.run(
        ["gcc", "-static", "-x", "c", "-o", bare / "service", "-"],
        input=b'#include <stdlib.h>\n#include <string.h>\nint main(void) { return strcmp(getenv("A"), "v") ? 1 : 5; }',
        check=True,
    )

    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert chroot is not None

    done = subprocess.run([chroot, bare, "/shim", "--", "/service"], env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (5, b"")
    done = subprocess.run([chroot, bare, "/shim", "explain"], env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run([chroot, bare, "/shim", "install", "/out"], env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_schema_whose_path_is_no_text_is_named(shim: Shim) -> None:
    """In the core of the interpreter few ways to decode are there."""
    end = shim(b"--schema", b"\xff", "true")

    assert (end.code, len(end.errors)) == (100, 1)
    assert "cannot be read" in end.errors[0]
