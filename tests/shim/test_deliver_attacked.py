"""Files that root makes, renews and removes for a service which exchanges what lies at their paths."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.forms import Shim
from tests.support.host import Canary

SERVICE = """
trap : HUP
d=$(dirname "$COPY"); n=$(basename "$COPY")
{ mv "$d" "$d.aside" && ln -s "$ELSEWHERE" "$d"; } 2>/dev/null
echo "$d" > "$TOLD"
while [ "$(cat "$d.aside/$n" 2>/dev/null || cat "$COPY")" = one ]; do sleep 0.05; done
exit 7
"""


@pytest.fixture(params=["module", "frozen"])
def shim(request: pytest.FixtureRequest, make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in the forms whose way to open a file differs."""
    return make_shim(request.param)


@pytest.fixture
def memory(as_root: None) -> Iterator[Path]:
    """Return a folder in memory that everybody may enter, and that is removed with what an attack leaves."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("how", ["deliver", "render"])
def test_a_renewal_follows_no_exchanged_folder(shim: Shim, memory: Path, how: str) -> None:
    """The service's user puts a link to root's folder in the place of its own: root changes nothing there."""
    elsewhere = memory / "roots"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "KEY").write_text("root wrote this")
    theirs = memory / "theirs"
    theirs.mkdir()
    os.chown(memory, 65534, 65534)
    os.chown(theirs, 65534, 65534)
    (shim.folder / "template").write_text("${KEY}")
    (shim.folder / "schema").write_text("# @deliver=file\nKEY=\n" if how == "deliver" else "KEY=\n")
    options = [f"--render={shim.folder}/template:{theirs}/KEY"] if how == "render" else []
    copy = '"$KEY_FILE"' if how == "deliver" else f"{theirs}/KEY"
    told = shim.folder / "told"
    told.touch()
    told.chmod(0o666)
    (shim.root / "key").write_text("one")
    running = subprocess.Popen(
        [
            *shim.command,
            *options,
            f"--schema={shim.folder}/schema",
            "--user=nobody",
            "--on-change=signal=HUP",
            "--",
            *("sh", "-c", f"COPY={copy}; {SERVICE}"),
        ],
        env={
            "PATH": "/usr/bin:/bin",
            "SHIM_SECRETS_DIR": str(shim.root),
            "ELSEWHERE": str(elsewhere),
            "TOLD": str(told),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not told.read_text():
            assert running.poll() is None
        (shim.folder / "new").write_text("two")
        (shim.folder / "new").rename(shim.root / "key")
        said = running.communicate(timeout=60)[1]
    finally:
        running.kill()
        folder = Path(told.read_text().strip() or memory)
        if folder.parent == Path("/dev/shm") and folder != memory:
            folder.unlink(missing_ok=True)
            shutil.rmtree(f"{folder}.aside", ignore_errors=True)

    assert running.returncode == 7, said  # it got the new value; what could not be undone does not count
    assert (elsewhere / "KEY").read_text() == "root wrote this"
    assert (elsewhere / "KEY").stat().st_uid == 0


def test_a_link_of_a_stranger_is_not_followed_to_a_rendered_file(shim: Shim, memory: Path, canary: Canary) -> None:
    """Where a link on the way to a rendered file is another's, they would say where root writes."""
    (memory / "roots").mkdir()
    theirs = memory / "theirs"
    theirs.mkdir()
    (theirs / "conf").symlink_to(memory / "roots")
    os.chown(theirs, 12345, 12345)
    os.lchown(theirs / "conf", 12345, 12345)
    (shim.folder / "template").write_text("${KEY}")

    end = shim(f"--render={shim.folder}/template:{theirs}/conf/file", "--", "true", key=canary())
    assert end.code == 100
    assert f"--render: the path {theirs}/conf/file goes through a link that belongs to uid 12345" in end.stderr
    assert list((memory / "roots").iterdir()) == []

    os.lchown(theirs / "conf", 0, 0)
    end = shim(f"--render={shim.folder}/template:{theirs}/conf/file", "--", "true")
    assert (end.code, [path.name for path in (memory / "roots").iterdir()]) == (0, ["file"]), end


def test_a_planted_link_to_a_folder_keeps_no_file_from_being_rendered(shim: Shim, memory: Path, canary: Canary) -> None:
    """It is replaced, and what it leads to stays as it was."""
    theirs = memory / "theirs"
    theirs.mkdir()
    (theirs / "conf").symlink_to("/etc")
    os.chown(theirs, 12345, 12345)
    os.lchown(theirs / "conf", 12345, 12345)
    (shim.folder / "template").write_text("${KEY}")

    end = shim(f"--render={shim.folder}/template:{theirs}/conf", "--", "true", key=canary())
    assert (end.code, (theirs / "conf").is_symlink(), (theirs / "conf").is_file()) == (0, False, True), end


def test_what_an_earlier_life_left_is_removed_only_where_it_is_ours(shim: Shim, memory: Path) -> None:
    """A link with the name of a folder of ours leads nowhere."""
    (shim.folder / "schema").write_text("# @deliver=file\nKEY=\n")
    script = 'mount -t tmpfs -o mode=1777 none /dev/shm && exec "$@"'
    look = 'n=$(basename "$(dirname "$KEY_FILE")"); ls /dev/shm; echo "${n#shim-*-}" >/dev/null; echo "${n%%-[0-9]*-*}"'
    unshared = ["unshare", "--mount", "sh", "-c", script, "sh"]
    end = shim(f"--schema={shim.folder}/schema", "--", "sh", "-c", look, before=unshared, key="v")
    prefix = end.stdout.split()[-1]
    victim = shim.folder / "victim"
    victim.mkdir()
    (victim / "file").touch()
    planted = f'mount -t tmpfs -o mode=1777 none /dev/shm; ln -s {victim} /dev/shm/{prefix}-1-2-3; exec "$@"'

    again = ["unshare", "--mount", "sh", "-c", planted, "sh"]
    assert shim(f"--schema={shim.folder}/schema", "--", "sh", "-c", look, before=again).code == 0
    assert (victim / "file").exists()


def test_what_an_earlier_life_left_keeps_no_start_from_going_on(shim: Shim, memory: Path) -> None:
    """Its user fills the folder with what cannot be removed, or closes it; the next life starts, and the copy goes."""
    (shim.folder / "schema").write_text("# @deliver=file\nKEY=\n")
    script = 'mount -t tmpfs -o mode=1777 none /dev/shm; "$@"; "$@"; ls /dev/shm/shim-*'
    last_act = 'd=$(dirname "$KEY_FILE"); mkdir "$d/more"; echo started'

    unshared = ["unshare", "--mount", "sh", "-c", script, "sh"]
    end = shim(f"--schema={shim.folder}/schema", "--", "sh", "-c", last_act, before=unshared, key="v")

    assert (end.code, end.stdout.count("started\n"), end.stderr) == (0, 2, "")
    assert end.stdout.count("KEY\n") == 1


def test_a_copy_that_cannot_be_removed_does_not_change_the_exit_code(frozen: Shim, as_root: None) -> None:
    """The service's last act is a folder in its folder; what can be removed is, and the rest is said."""
    (frozen.folder / "schema").write_text("# @deliver=file\nKEY=\n")
    last_act = 'd=$(dirname "$KEY_FILE"); mkdir "$d/more"; echo "$d"; exit 9'

    end = frozen(f"--schema={frozen.folder}/schema", "--init", "--user=nobody", "--", "sh", "-c", last_act, key="v")
    folder = Path(end.stdout.strip())
    left = [path.name for path in folder.iterdir()]
    shutil.rmtree(folder)
    assert (end.code, left) == (9, ["more"]), end
    assert f"{folder} cannot be removed: " in end.stderr


def test_a_signal_does_not_keep_the_copy(frozen: Shim, memory: Path) -> None:
    """Ended by a signal, the init removes what it made."""
    (frozen.folder / "schema").write_text("# @deliver=file\nKEY=\n")
    (frozen.root / "key").write_text("v")
    running = subprocess.Popen(
        [
            *(*frozen.command, f"--schema={frozen.folder}/schema", "--init", "--user=nobody", "--"),
            *("sh", "-c", 'echo "$KEY_FILE"; exec sleep 60'),
        ],
        env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(frozen.root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    copy = Path(running.stdout.readline().strip())
    assert copy.read_text() == "v"
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 128 + signal.SIGTERM
    assert not copy.parent.exists()
