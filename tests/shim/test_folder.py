"""What is read, and through what: a folder is opened once, no link leaves it, and nobody's folder is trusted."""

import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shim import resolve
from shim.folder import Folder
from shim.options import NO_SCHEMA, Options
from shim.plan import prepare
from shim.secret import Secret, read_secret
from tests.support.forms import Shim
from tests.support.host import Canary

STRANGER = 12345
ROOT_WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.fixture(params=["module", "frozen"])
def shim(request: pytest.FixtureRequest, make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim with the standard library's way to open a file, and with the kernel's."""
    return make_shim(request.param)


@pytest.fixture
def work(tmp_path: Path, as_root: None) -> Path:
    """Return a working directory that belongs to root, and that everybody may enter."""
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
        if folder.parent == Path("/tmp"):
            break
    folder = tmp_path / "work"
    folder.mkdir(mode=0o755)
    return folder


def planted(path: Path, how: str) -> None:
    """Make the file at *path* one that somebody else could have put there."""
    if how == "folder":
        os.chown(path.parent, STRANGER, STRANGER)
    elif how == "open folder":
        path.parent.chmod(0o777)
    elif how == "file":
        os.chown(path, STRANGER, STRANGER)
    elif how == "open file":
        path.chmod(0o666)
    elif how == "closed file":
        os.chown(path, STRANGER, STRANGER)
        path.chmod(0)
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    else:
        path.unlink()
        path.mkdir()
        os.chown(path, STRANGER, STRANGER)


PLANTED = ["folder", "open folder", "file", "open file", "closed file", "link", "a folder"]


@pytest.mark.parametrize("how", PLANTED)
def test_a_schema_that_another_could_have_planted_is_left_alone(shim: Shim, work: Path, how: str) -> None:
    """It neither sets anything nor stops the start; one warning names its owner, but for a health check."""
    (work / ".env.schema").write_text("A=planted\n# @required\nLOCKED_OUT=\n")
    planted(work / ".env.schema", how)
    before = ROOT_WITHOUT_RIGHTS if how == "closed file" else []
    words_of = {
        "folder": "is in a folder that belongs to uid 12345",
        "open folder": "is in a folder that belongs to uid 0, and others can write it (mode 0777)",
        "open file": "belongs to uid 0, and others can write it (mode 0666)",
        "link": "is a link",
        **dict.fromkeys(("file", "closed file", "a folder"), "belongs to uid 12345"),
    }

    for words in (["--", "env"], ["exec", "--", "env"], ["check"], ["explain"]):
        end = shim(*words, cwd=work, before=before)
        is_silent = words[0] == "exec"
        assert (end.code, end.stderr.count("warning: ")) == (0, 0 if is_silent else 1), (words, end)
        assert is_silent or f"./.env.schema is left alone: it {words_of[how]}\n" in end.stderr
        assert "planted" not in end.stdout


def test_a_schema_of_our_own_counts_and_so_does_one_that_was_named(shim: Shim, work: Path) -> None:
    (work / ".env.schema").write_text("A=mine\n")

    assert "A=mine\n" in shim("--", "env", cwd=work).stdout
    os.chown(work, STRANGER, STRANGER)
    as_stranger = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    if shim.form == "frozen":  # the module lies where only root may look
        assert "A=mine\n" in shim("--", "env", cwd=work, before=as_stranger).stdout
    end = shim("--schema", ".env.schema", "--", "env", cwd=work)
    assert ("A=mine\n" in end.stdout, end.stderr) == (True, "")


def test_in_a_user_namespace_nobody_is_not_ourselves(work: Path, make_shim: Callable[[str], Shim]) -> None:
    """There everybody whom it does not know has this number, and it may be our own."""
    shim = make_shim("frozen")
    (work / ".env.schema").write_text("A=planted\n")
    (work / "secrets").mkdir()
    (work / "secrets" / "b").write_text("planted")
    for path in (work, work / ".env.schema", work / "secrets", work / "secrets" / "b"):
        os.chown(path, STRANGER, STRANGER)
    unmapped = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--user"]

    end = shim("--require", "B", "--", "env", cwd=work, before=unmapped, env={"B": "given"})
    assert (end.code, "planted" in end.stdout, "B=given" in end.stdout) == (0, False, True), end
    assert "belongs to uid 65534, which is everybody whom this user namespace does not know" in end.stderr
    (shim.root / "c").write_text("v")
    (shim.root / "c").chmod(0o600)
    end = shim("--require", "C", "--", "env", cwd=work, before=unmapped)
    assert (end.code, "belongs to somebody whom this user namespace does not know" in end.stderr) == (111, True), end


@pytest.mark.parametrize("how", PLANTED)
def test_secrets_of_the_working_directory_that_another_could_have_planted(
    shim: Shim, work: Path, how: str, canary: Canary
) -> None:
    (work / "secrets").mkdir(mode=0o755)
    (work / "secrets" / "a").write_text(canary())
    planted(work / "secrets" / "a", how)
    before = ROOT_WITHOUT_RIGHTS if how == "closed file" else []

    for words in (["--", "true"], ["check"], ["explain"]):
        end = shim("--require", "A", *words, cwd=work, before=before, env={"SHIM_SECRETS_DIR": "", "A": "given"})
        assert (end.code, end.stderr.count("warning: ")) == (0, 1), (words, end)
        assert "is left alone: it " in end.stderr
    (work / "secrets").rename(work / "theirs")
    (work / "secrets").symlink_to("theirs")
    end = shim("--require", "A", "--", "true", cwd=work, env={"SHIM_SECRETS_DIR": "", "A": "given"})
    assert (end.code, "./secrets is left alone: it " in end.stderr) == (0, True), end


def test_a_file_of_many_values_that_another_could_have_planted(shim: Shim, work: Path, canary: Canary) -> None:
    """It is left alone as any other, and the environment gives the value."""
    (work / "secrets").mkdir(mode=0o755)
    (work / "secrets" / "all.env").write_text(f"MEMBER={canary()}\n")
    os.chown(work / "secrets" / "all.env", STRANGER, STRANGER)
    (shim.folder / "schema").write_text("# @required @from=all.env(MEMBER)\nA=\n")

    for words in (["--", "true"], ["check"], ["explain"]):
        end = shim(f"--schema={shim.folder}/schema", *words, cwd=work, env={"SHIM_SECRETS_DIR": "", "A": "given"})
        assert (end.code, end.stderr.count("warning: ")) == (0, 1), (words, end)
        assert f"./secrets/all.env is left alone: it belongs to uid {STRANGER}" in end.stderr


def test_links_that_stay_in_a_root_count_and_others_do_not(shim: Shim, canary: Canary) -> None:
    """Relative and absolute ones, chains and `..`; what leads out is said, and never read."""
    value = "harmless"
    (shim.root / "..data").mkdir()
    (shim.root / "..data" / "key").write_text(value)
    (shim.folder / "outside").write_text(canary())
    for name, target in {
        "key": "..data/key",
        "absolute": f"{shim.root}/..data/key",
        "chain": "key",
        "there_and_back": "..data/../..data/key",
        "out": "../outside",
        "absolutely_out": str(shim.folder / "outside"),
        "magic": "/proc/self/environ",
        "round": "round",
        "nearly": f"{shim.root}/../outside",
    }.items():
        (shim.root / name).symlink_to(target)

    good = ("KEY", "ABSOLUTE", "CHAIN", "THERE_AND_BACK")
    end = shim("--only", ",".join(good), "--", "env")
    assert [f"{key}={value}" in end.stdout for key in good] == [True] * 4, end.stderr
    for bad in ("OUT", "ABSOLUTELY_OUT", "MAGIC", "NEARLY", "ROUND"):
        end = shim("--only", bad, "--require", bad, "--", "true")
        assert end.code == 100
        assert ("is a link that leads to itself" if bad == "ROUND" else "leaves its secrets root") in end.stderr, bad


@pytest.mark.parametrize("root", ["root", "link", "{}/link"])
def test_an_absolute_link_stays_inside_whatever_its_root_is_called(frozen: Shim, root: str) -> None:
    """The root is named by a relative path or is a link itself, as with sops-nix; a link names the folder itself."""
    (frozen.folder / "link").symlink_to("root")
    (frozen.root / "a").symlink_to(frozen.root / "key")
    (frozen.root / "b").symlink_to(frozen.folder / "link" / "key")
    (frozen.root / "c").symlink_to(frozen.folder / "link" / ".." / "outside")
    (frozen.folder / "outside").write_text("outside")

    end = frozen("sh", "-c", "echo $A $B $C", key="v", env={"SHIM_SECRETS_DIR": root.format(frozen.folder)})

    assert end.stdout == "v v\n"
    assert end.stderr.count("is a link that leaves its secrets root") == 1


def test_a_link_that_is_exchanged_while_it_is_read_leads_nowhere_else(tmp_path: Path) -> None:
    """Whoever may write into the folder swaps a file and a link all the time (RENAME_EXCHANGE)."""
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "real").write_text("harmless")
    (tmp_path / "outside").write_text("you may not use it")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "key").symlink_to("real")
    libc = ctypes.CDLL(None, use_errno=True)
    is_over = threading.Event()
    names = [os.fsencode(folder / name) for name in ("real", "out")]

    def swap() -> None:
        while not is_over.is_set():
            assert libc.renameat2(-100, names[0], -100, names[1], 2) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    seen = {"harmless": 0, "leaves": 0}
    opened = Folder(os.fsencode(folder))
    try:
        for number in itertools.count():  # until both were met; on a busy machine the other thread may come late
            if number >= 2000 and all(seen.values()):
                break
            for name in (b"key", b"real"):
                try:
                    assert opened.read(name, 100)[2] == b"harmless"
                    seen["harmless"] += 1
                except OSError:
                    seen["leaves"] += 1
    finally:
        is_over.set()
        thread.join()
        opened.close()


def test_a_service_that_changes_the_schema_changes_nothing(tmp_path: Path) -> None:
    """`--on-change` resolves again, by the schema of the start."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_text("one")
    (tmp_path / "schema").write_text("A=\n")
    options = Options()
    options.schema, options.secrets_dir = str(tmp_path / "schema"), [str(tmp_path / "root")]
    first = prepare(options, [])
    (tmp_path / "schema").write_text("A=\nB=planted\n")
    (tmp_path / "root" / "a").write_text("two")

    again = prepare(options, [], first)

    assert {key: resolved.secret.reveal() for key, resolved in again.resolution.secrets.items()} == {"A": b"two"}
    assert list(prepare(options, []).resolution.secrets) == ["A", "B"]


def test_all_values_are_of_one_generation(tmp_path: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes replaces all files of a folder at once, here between the reads of two of them."""
    generations = [{name: canary() for name in ("login", "password")} for _ in range(2)]
    for number, values in enumerate(generations):
        (tmp_path / f"..{number}").mkdir()
        for name, value in values.items():
            (tmp_path / f"..{number}" / name).write_text(value)
    (tmp_path / "..data").symlink_to("..0")
    for name in generations[0]:
        (tmp_path / name).symlink_to(f"..data/{name}")
    reads = []

    def read(*given: object) -> Secret:
        found = read_secret(*given)  # type: ignore[arg-type]
        reads.append(found.reveal().decode())
        if len(reads) == 1:
            (tmp_path / "..new").symlink_to("..1")
            (tmp_path / "..new").rename(tmp_path / "..data")
        return found

    monkeypatch.setattr(resolve, "read_secret", read)
    options = Options()
    options.schema, options.secrets_dir = NO_SCHEMA, [str(tmp_path)]

    secrets = prepare(options, []).resolution.secrets

    assert {key.lower(): resolved.secret.reveal().decode() for key, resolved in secrets.items()} == generations[1]
    assert reads[:2] == [generations[0]["login"], generations[1]["password"]]
    assert len(reads) == 4
