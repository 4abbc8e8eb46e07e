"""./secrets by itself: whole files, private from their first moment, no links, one writer at a time."""

import fcntl
import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from shim_host import files
from shim_host.errors import Failed, LinkOfAnother, Refused
from shim_host.files import make_folders, opened, place_to_read, unfinished_of
from shim_host.fingerprints import WITHOUT_KEY
from shim_host.inputs import read_bounded
from shim_host.rotate.files import Files
from shim_host.store import gitignore, ownership
from shim_host.store.vault import Vault

from shim.secret import MAX_SECRET_BYTES
from tests.support.forms import cannot_run
from tests.support.host import Manage


@pytest.fixture
def store(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "secrets")


def test_what_is_written_is_read_back(store: Vault) -> None:
    data = bytes(range(256)) * 3
    with store.writing() as writer:
        writer.write("a", data)
        writer.write("a", data + b"\n")

    entry = store.read("a")

    assert entry is not None
    assert entry.value.reveal() == data + b"\n"
    assert entry.mode == 0o600
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    assert store.names() == ["a"]


def test_an_open_reader_keeps_the_old_file_whole(store: Vault) -> None:
    with store.writing() as writer:
        writer.write("a", b"old")
        with open(store.path / "a", "rb") as reader:
            writer.write("a", b"new")
            assert reader.read() == b"old"


def test_a_file_that_is_replaced_during_a_listing_is_in_it(store: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """btrfs leaves it out: the new file gets a place behind the end that the listing had at its start."""
    with store.writing() as writer:
        for name in ("a", "b"):
            writer.write(name, b"old")
        everything = os.listdir
        replaced: list[str] = []

        def listdir(path: Path) -> list[str]:
            if replaced:
                return everything(path)
            replaced.append("b")
            writer.write("b", b"new")
            return [name for name in everything(path) if name != "b"]

        monkeypatch.setattr(os, "listdir", listdir)
        assert store.names() == ["a", "b"]
    assert replaced == ["b"]


def test_the_umask_does_not_matter(store: Vault) -> None:
    before = os.umask(0o777)
    try:
        with store.writing() as writer:
            writer.write("a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((store.path / "a").stat().st_mode) == 0o600


def test_two_writers_at_once_one_is_refused(store: Vault) -> None:
    with store.writing(), pytest.raises(Refused, match="another run"), store.writing():
        pass
    with store.writing() as writer:
        writer.write("a", b"x")


def test_what_a_killed_run_left_is_removed(store: Vault) -> None:
    store.path.mkdir()
    (store.path / ".a.new").write_bytes(b"half")
    (store.path / ".shop.new").mkdir()  # the folder of a stack, which was to be kept apart
    (store.path / ".shop.new" / "a").write_bytes(b"whole")
    assert store.has_unfinished()
    with store.writing():
        pass
    assert not store.has_unfinished()
    assert list(store.path.iterdir()) == []


def test_a_file_that_would_wait_is_refused(store: Vault) -> None:
    store.path.mkdir()
    os.mkfifo(store.path / "pipe")
    with pytest.raises(Refused, match="not a regular file"):
        store.read("pipe")


def test_a_folder_that_cannot_be_made_is_the_worlds_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed), Vault(tmp_path / "file" / "secrets").writing():
        pass


def test_a_value_over_the_limit_is_refused(store: Vault) -> None:
    with store.writing() as writer:
        writer.write("a", b"x" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(Refused, match="larger than"):
        store.read("a")


def test_nobody_else_sees_a_file_in_any_moment(store: Vault) -> None:
    """Whoever watches the folder with inotify and looks at each event sees private modes only."""
    libc = _libc()
    watch = libc.inotify_init1(0o2000000)
    store.path.mkdir(0o700)
    created_or_changed = 0x100 | 0x4 | 0x80 | 0x40  # IN_CREATE, IN_ATTRIB, IN_MOVED_TO, IN_MOVED_FROM
    assert libc.inotify_add_watch(watch, os.fsencode(store.path), created_or_changed) >= 0
    wide: list[int] = []
    is_done = threading.Event()

    def look() -> None:
        while not is_done.is_set():
            os.read(watch, 65536)
            for name in os.listdir(store.path):
                try:
                    mode = stat.S_IMODE(os.lstat(store.path / name).st_mode)
                except FileNotFoundError:
                    continue
                if mode & 0o177:
                    wide.append(mode)

    watcher = threading.Thread(target=look)
    watcher.start()
    before = os.umask(0)
    try:
        with store.writing() as writer:
            for number in range(200):
                writer.write(f"key{number % 7}", b"x" * number)
    finally:
        os.umask(before)
        is_done.set()
        (store.path / "last").touch(0o600)  # one more event, so that the watcher looks up
        watcher.join()
        os.close(watch)
    assert wide == []


def _libc() -> Any:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        cannot_run("inotify is Linux's")
    return libc


def test_without_folder_descriptors_paths_are_used(
    store: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows: the platform is faked, everything else is real. The folder's access list is made by icacls."""
    log = tmp_path / "icacls.log"
    program = tmp_path / "bin" / "icacls"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s " "$@" >{log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("USERNAME", "somebody")
    monkeypatch.setattr(files, "HAS_DESCRIPTORS", False)

    with store.writing() as writer:
        writer.write("a", b"old")
        writer.write("a", b"new")
        writer.restrict("a")
        writer.remove("b")

    entry = store.read("a")
    assert entry is not None
    assert entry.value.reveal() == b"new"
    assert store.names() == ["a"]
    assert log.read_text() == f"{store.path} /inheritance:r /grant:r somebody:(OI)(CI)F "


def test_a_folder_that_cannot_be_restricted_is_not_written_to(store: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "HAS_DESCRIPTORS", False)
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(Failed, match=r"cannot restrict .* with icacls"), store.writing():
        pass


@pytest.mark.parametrize(
    ("have", "lacking"),
    [
        ("", ["/secrets/*", "!/secrets/.gitignore", "!/secrets/README.md", "!/secrets/*.example", ".env"]),
        ("secrets/\n.env\n", []),
        ("/secrets/*\n.env*\n", []),
        ("/secrets\n", [".env"]),
        ("/secrets\n.env*\n!.env\n", [".env"]),
    ],
)
def test_gitignore_gets_what_it_lacks(
    have: str, lacking: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".gitignore").write_text(have)

    missing = gitignore.missing(Path(), Path("./secrets"), Path(".env"))
    assert missing == ({Path(".gitignore"): lacking} if lacking else {})
    gitignore.add(missing)
    assert gitignore.missing(Path(), Path("./secrets"), Path(".env")) == {}


def test_runs_at_the_same_moment_add_to_one_gitignore(tmp_path: Path) -> None:
    same, different = tmp_path / "same/.gitignore", tmp_path / "different/.gitignore"
    same.parent.mkdir()
    different.parent.mkdir()

    with ThreadPoolExecutor(12) as runs:
        list(runs.map(lambda number: gitignore.add({same: ["/secrets/*"], different: [f"/{number}"]}), range(12)))

    assert same.read_text() == "/secrets/*\n"
    assert set(different.read_text().split()) == {f"/{number}" for number in range(12)}


def test_a_folder_that_somebody_else_locked_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`flock . manage-secrets set KEY` holds that lock until this run has ended."""
    monkeypatch.setattr(files, "_MOMENTS", 0.1)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)

    gitignore.add({tmp_path / ".gitignore": ["/secrets/*"]})

    os.close(holder)
    assert (tmp_path / ".gitignore").read_text() == "/secrets/*\n"


def test_what_is_elsewhere_is_kept_out_of_the_repository_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git looks for a file's `.gitignore` in its own folder and above, and in no other repository."""
    work = tmp_path / "work"
    files = ("deploy/.env", "deploy/sub/s.env", "shared.env", "deploy/tree/n.env", "deploy/clone/deep/.env")
    for file in (*files, "secrets/x", "clone/x"):
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        (work / file).write_text("x")
    for place in (work, work / "deploy/clone"):
        subprocess.run(["git", "init", "-q", str(place)], check=True)
    (work / "deploy/tree/.git").write_text("gitdir: elsewhere\n")  # as `git worktree` and submodules have it
    (tmp_path / "no-git.env").write_text("x")
    monkeypatch.chdir(work)

    gitignore.add(missing := gitignore.missing(Path("deploy"), Path("secrets"), *map(Path, (*files, "../no-git.env"))))

    assert [str(path) for path in missing] == [
        *(f"{folder}.gitignore" for folder in ("", "deploy/", "deploy/tree/", "deploy/clone/deep/")),
    ]
    (work / "deploy/tree/.git").unlink()
    for folder in (work, work / "deploy/clone"):
        seen = subprocess.run(["git", "status", "--short", "-uall"], cwd=folder, capture_output=True, check=True)
        assert not [name for name in seen.stdout.decode().split() if "env" in name or "secrets" in name]


@pytest.mark.parametrize("have", ["", "*.env\n.env*\n/secrets/\n", ".*.new\n!..env.new\n"])
def test_what_a_kill_leaves_of_an_env_file_is_kept_out_of_git(
    have: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written beside its place, under a name that no pattern for `.env` matches."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    Path(".gitignore").write_text(have)
    files = [Path(".env"), Path("sub/prod.env")]

    gitignore.add(gitignore.missing(Path(), Path("secrets"), *files, written=files))

    assert gitignore.missing(Path(), Path("secrets"), *files, written=files) == {}
    for file in files:
        unfinished_of(file).parent.mkdir(exist_ok=True)
        unfinished_of(file).write_text("x")
    seen = subprocess.run(["git", "status", "--short", "-uall"], capture_output=True, check=True)
    assert seen.stdout == b"?? .gitignore\n"


def test_a_folder_that_ignores_itself_needs_no_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secrets").mkdir()
    Path("secrets/.gitignore").write_text("*\n!.gitignore\n")

    assert gitignore.missing(Path(), Path("secrets"), None) == {}


WRITING = {
    "set": (["set", "B", "--value-file", "-"], b"c4n4ry"),
    "create-from-env": (["create-from-env", "--all"], b""),
    "generate": (["generate", "C"], b""),
    "validate": (["validate", "--fix"], b""),
}


@pytest.mark.parametrize("command", WRITING)
def test_root_asks_before_it_writes_into_the_folder_of_somebody_else(
    manage: Manage, as_root: None, command: str
) -> None:
    """`--yes` answers, and what is written is the owner's, who could not use it otherwise."""
    words, typed = WRITING[command]
    manage.write(".env", "B=c4n4ry\n")
    manage.write(".env.schema", "A=\nB=\n# @generate @type=string(minLength=20)\nC=\n")
    mine = manage.write("secrets/a", "c4n4ry")
    mine.chmod(0o640)
    for path in (mine, mine.parent):
        os.chown(path, 12345, 54321)
    before = manage.left_behind()

    end = manage(*words, stdin=typed)
    assert (end.code, "secrets belongs to uid 12345: write there as root" in end.stderr) == (1, True), end
    assert {name: kept for name, kept in before.items() if name.startswith("secrets")} == {
        name: kept for name, kept in manage.left_behind().items() if name.startswith("secrets")
    }
    end = manage(*words, "--yes", stdin=typed)
    assert "write there as root" not in end.stderr
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in mine.parent.iterdir()}
    assert set(found.values()) <= {(12345, 54321)}
    assert command == "validate" or found.keys() & {"b", "c"}, end


def test_what_belongs_to_nobody_that_a_namespace_knows_is_nobodys(manage: Manage, as_root: None) -> None:
    """Root of a user namespace can give nothing to its owner, and takes it for nobody's."""
    folder = manage.write("secrets/b", "c4n4ry").parent
    (folder / "b").chmod(0o600)
    folder.chmod(0o777)
    os.chown(folder, 12345, 54321)

    end = manage(
        "set", "A", "--yes", "--value-file", "-", stdin=b"c4n4ry", through=("unshare", "--user", "--map-root-user")
    )
    assert end.code == 1
    assert "secrets belongs to somebody whom this user namespace does not know" in end.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["b"]


def test_a_file_stays_with_its_owner(manage: Manage, as_root: None) -> None:
    """In the folder of root, too: a service that was given it must read the next value."""
    manage("set", "A", "--value-file", "-", stdin=b"c4n4ry")
    os.chown(manage.folder / "secrets" / "a", 12345, 54321)

    assert manage("set", "A", "--yes", "--value-file", "-", stdin=b"c4n4ry-2").code == 0
    status = (manage.folder / "secrets" / "a").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o600)


def test_root_reads_nothing_through_a_link_of_somebody_who_could_not(manage: Manage, as_root: None) -> None:
    """What root read would be theirs afterwards: the values go into their ./secrets."""
    closed = manage.write("elsewhere", "TOP_SECRET=c4n4ry\n")
    closed.chmod(0o600)
    for path in (manage.folder / ".env", manage.folder / "folder"):
        path.symlink_to("elsewhere" if path.name == ".env" else ".")
        os.chown(path, 12345, 12345, follow_symlinks=False)

    for name in (".env", "folder/elsewhere"):
        end = manage("create-from-env", "--yes", name)
        assert (end.code, "a link of another user leads to it, who could not read it" in end.stderr) == (111, True), end
        assert not (manage.folder / "secrets").exists()

    os.chown(manage.folder / ".env", 0, 0, follow_symlinks=False)
    assert manage("create-from-env", "--dry-run").code == 0
    closed.chmod(0o644)
    assert manage("create-from-env", "--dry-run", "folder/elsewhere").code == 0


@pytest.mark.parametrize(
    "words",
    [["get", "A", "--output", "folder/file"], ["set", "B", "--value-file", "-", "--secrets-dir", "folder/new/secrets"]],
    ids=lambda words: words[0],
)
def test_root_writes_nowhere_that_a_link_of_another_user_leads_to(
    manage: Manage, as_root: None, words: list[str]
) -> None:
    """A folder of a checkout may be such a link, to /etc; a folder of theirs is theirs to link to."""
    manage.write("secrets/a", "c4n4ry-of-a-test").chmod(0o600)
    (manage.folder / "roots").mkdir()
    (manage.folder / "folder").symlink_to("link")
    (manage.folder / "link").symlink_to("roots")
    os.chown(manage.folder / "link", 12345, 12345, follow_symlinks=False)

    end = manage(*words, stdin=b"c4n4ry-of-a-test")
    with pytest.raises(Failed, match="a link of another user leads there"), Vault(manage.folder / "link/x").writing():
        pass
    with pytest.raises(LinkOfAnother):
        make_folders(manage.folder / "link" / "new")
    assert (end.code, list((manage.folder / "roots").iterdir())) == (111, [])
    assert "a link of another user leads there" in end.stderr
    os.chown(manage.folder / "roots", 12345, 12345)
    assert manage(*words, stdin=b"c4n4ry-of-a-test").code == 0
    assert list((manage.folder / "roots").iterdir())


def test_no_link_that_is_exchanged_meanwhile_leads_root_astray(tmp_path: Path, as_root: None) -> None:
    """The folder is the one that was looked at, even if its path leads elsewhere by the time a file is written."""
    for name in ("theirs", "roots"):
        (tmp_path / name).mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    link = tmp_path / "link"
    link.symlink_to("theirs")

    with opened(link) as folder:
        link.unlink()
        link.symlink_to("roots")
        folder.write("file", b"x", 0o600)
    assert [path.name for path in tmp_path.glob("*/file")] == ["file"]
    assert (tmp_path / "theirs" / "file").exists()


def test_no_link_that_is_exchanged_meanwhile_lets_root_read_what_was_not_looked_at(
    tmp_path: Path, as_root: None
) -> None:
    """Neither the file itself nor a folder on the way: both were opened, and count as they were then."""
    for name in ("theirs", "roots"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        (tmp_path / name / "file").chmod(0o600)
    os.chown(tmp_path / "theirs" / "file", 12345, 12345)
    link = tmp_path / "link"
    link.symlink_to("theirs")
    os.chown(link, 12345, 12345, follow_symlinks=False)

    with place_to_read(link / "file") as place:
        link.unlink()
        link.symlink_to("roots")
        (tmp_path / "theirs" / "file").unlink()
        (tmp_path / "theirs" / "file").symlink_to("../roots/file")
        assert Path(os.fsdecode(place)).read_text() == "theirs"
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(PermissionError, match="a link of another user leads to it"), place_to_read(link / "file"):
        pass
    for missing in (tmp_path / "no", tmp_path / "roots/file/x", link / "no"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            read_bounded(missing)
    assert read_bounded(Path(f"/proc/{os.getpid()}/root") / (tmp_path / "roots/file").relative_to("/")) == b"roots"


def test_a_folder_in_that_of_somebody_else_is_made_where_that_was_looked_at(
    tmp_path: Path, as_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is theirs: one with the values of a stack, or with what `migrate --adopt` replaced."""
    theirs, roots = tmp_path / "theirs", tmp_path / "roots"
    for folder in (theirs, roots):
        folder.mkdir(0o700)
    (roots / "kept").mkdir()
    (theirs / "kept").symlink_to(roots / "kept")
    os.chown(theirs, 12345, 54321)
    monkeypatch.setattr(ownership, "_agreed", {12345})

    with Vault(theirs).writing() as writer:
        theirs.rename(tmp_path / "away")
        theirs.symlink_to("roots")
        with writer.making("kept") as inner:
            inner.write("file", b"c4n4ry")
        writer.rename("kept", "new")
    assert [path for path in roots.rglob("*") if path != roots / "kept"] == []
    for path in (tmp_path / "away" / "new", tmp_path / "away" / "new" / "file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
    Files(Vault(tmp_path / "away"), tmp_path, None, WITHOUT_KEY).keep_apart("shop", ["A"])
    assert (tmp_path / "away" / "shop").stat().st_uid == 12345


@pytest.mark.parametrize("words", [["list"], ["get", "A"], ["lock", "--yes"]], ids=lambda words: words[0])
def test_root_reads_no_secrets_through_a_link_of_another_user(manage: Manage, as_root: None, words: list[str]) -> None:
    """Whoever may write the recipients beside such a link would get what they cannot read."""
    manage.write("roots/a", "c4n4ry-of-a-test").chmod(0o600)
    manage.write("secrets.age/recipients", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n")
    (manage.folder / "secrets").symlink_to("roots")
    os.chown(manage.folder / "secrets", 12345, 12345, follow_symlinks=False)

    end = manage(*words)
    assert end.code == 111
    assert "secrets: a link of another user leads there" in end.stderr
    assert "hint: name the place itself, without the link, or run this as that user" in end.stderr
    assert [path.name for path in (manage.folder / "secrets.age").iterdir()] == ["recipients"]
