"""`--init` end to end: what it starts, what it leaves, what it says; options, one-shots, readiness, changed secrets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.forms import Shim
from tests.support.pid1 import Running, running, status_of, until


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no schema lies about."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=("module", "frozen"))
def shim(request: pytest.FixtureRequest, make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in the two forms that differ as an init."""
    return make_shim(request.param)


def argv(shim: Shim, *rest: str) -> list[str]:
    """Return what starts the shim on its own secrets root."""
    return [*shim.command, "--secrets-dir", str(shim.root), *rest]


# --- options --------------------------------------------------------------------------------------------------------


def test_all_mistakes_in_one_go(shim: Shim) -> None:
    """Every wrong value of every option is named, with 100."""
    wrong = ["--signal", "FOO=TERM,KILL=TERM,TERM", "--exit-as", "300=0", "--grace", "soon", "--parent-death", "NONE"]
    more = ["--on-change", "reload", "--ready-fd", "x", "--pre", "unclosed 'quote"]
    end = shim("--init", *wrong, *more, "--", "true")

    assert end.code == 100
    assert len(end.errors) == 9


def test_an_option_that_only_an_init_has_makes_one(shim: Shim) -> None:
    """`--grace` alone is enough to stay."""
    end = shim(
        "--grace", "1s", "--", "sh", "-c", "test $PPID != $SHELL_PID; ps -o comm= -p $PPID", env={"SHELL_PID": "1"}
    )

    assert end.code == 0
    assert end.stdout.strip() not in ("pytest", "sh")


def test_exec_ignores_what_the_image_says_about_staying(shim: Shim) -> None:
    """A health check is over when it is over."""
    end = shim("exec", "--", "true", env={"SHIM_GRACE": "10s", "SHIM_INIT": "1", "SHIM_PRE": "false"})

    assert (end.code, end.stderr) == (0, "")


# --- what the service gets, and what is left ------------------------------------------------------------------------


def test_the_environment_is_as_without_init(shim: Shim, canary: Callable[[], str]) -> None:
    """Secrets in, SHIM_* out, the rest byte for byte."""
    value = canary()
    child = shim.child("--init", env={"SHIM_LOG": "text", "A": "1"}, db_password=value)

    assert child.env["DB_PASSWORD"] == value
    assert child.env["A"] == "1"
    assert not [name for name in child.env if name.startswith("SHIM_")]


def test_delivered_files_go_with_the_init(shim: Shim, canary: Callable[[], str]) -> None:
    """A private copy lives as long as the service."""
    schema = shim.folder / "schema"
    schema.write_text("# @required @deliver=file\nCERT=\n")
    end = shim(
        "--init", "--schema", str(schema), "--", "sh", "-c", 'test -s "$CERT_FILE" && echo "$CERT_FILE"', cert=canary()
    )

    assert end.code == 0
    path = Path(end.stdout.strip())
    assert str(path).startswith("/")
    assert not path.exists()
    assert not path.parent.exists()


def test_listen_pid_names_the_service(shim: Shim) -> None:
    """Socket activation: the variable that names the init names its child."""
    script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    end = shim("--init", "--", "sh", "-c", 'test "$LISTEN_PID" = $$ && echo same', before=["sh", "-c", script, "sh"])

    assert end.stdout == "same\n"


def test_the_init_stays_what_it_was(shim: Shim, as_root: None) -> None:
    """`--user` is for the service; the init can still read, signal and clean up."""
    with running(
        argv(shim, "--init", "--user", "nobody", "--", "sh", "-c", "id -u; echo $HOME; read x"), stdin=-1
    ) as run:
        assert run.line() == "65534"
        assert run.line() == "/nonexistent"
        assert status_of(run.pid)["Uid"].split()[0] == "0"


def test_nothing_of_a_value_stays_in_the_init(frozen: Shim, canary: Callable[[], str], as_root: None) -> None:
    """Supervising takes 8 MiB at most, 1.2 of them its own, also once it has taken what it needs for that."""
    (frozen.root / "k").write_text(canary())
    with running(argv(frozen, "--init", "--", "sh", "-c", "echo ready; read x"), stdin=-1) as run:
        assert run.line() == "ready"
        smaps = Path(f"/proc/{run.pid}/smaps_rollup")

        def kilobytes(*names: str) -> int:
            lines = [line.split() for line in smaps.read_text().splitlines()]
            return sum(int(words[1]) for words in lines if words[0].rstrip(":") in names)

        begun = time.monotonic()  # 0.2 s later the init is made ready, and no event tells
        assert until(lambda: time.monotonic() > begun + 0.5 and kilobytes("Anonymous") <= 1229)
        assert kilobytes("Private_Clean", "Private_Dirty") <= 3072  # with what only this one has of the program's file
        assert kilobytes("Rss") <= 8192


# --- one-shots ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stays", [["--init"], []], ids=["init", "exec"])
def test_one_shots_run_before(shim: Shim, canary: Callable[[], str], stays: list[str]) -> None:
    """In order, with the service's environment, without a shell."""
    value = canary()
    say = f'sh -c \'test "$K" = "{"$K"}" && echo "first of $#" "a b"\' x y'
    end = shim(*stays, "--pre", say, "--pre", "echo $K ;", "--", "echo", "service", k=value)

    assert end.stdout == "first of 1 a b\n$K ;\nservice\n"


@pytest.mark.parametrize("stays", [["--init"], []], ids=["init", "exec"])
def test_a_one_shot_that_fails_ends_the_start(shim: Shim, stays: list[str]) -> None:
    """Its code is ours, and the service is not started."""
    end = shim(*stays, "--pre", "sh -c 'exit 3'", "--", "echo", "service")

    assert (end.code, end.stdout) == (3, "")
    assert "--pre sh ended with 3" in end.stderr


def test_a_stop_during_a_one_shot_ends_the_start(shim: Shim) -> None:
    """The one-shot gets the signal; the service is not started any more."""
    pre = "sh -c 'trap \"exit 0\" TERM; echo up; while :; do sleep 0.05; done'"
    with running(argv(shim, "--init", "--pre", pre, "--", "echo", "service")) as run:
        assert run.line() == "up"
        run.send(signal.SIGTERM)
        assert run.end() == 143
        assert run.line() == ""


# --- readiness ------------------------------------------------------------------------------------------------------


def test_readiness_is_passed_on(shim: Shim) -> None:
    """A line to the descriptor: to its other end, and to NOTIFY_SOCKET."""
    reader, writer = os.pipe()
    where = str(shim.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(where)
        listener.settimeout(10)
        command = argv(shim, "--init", "--ready-fd", str(writer), "--", "bash", "-c", f"echo >&{writer}; read x")
        with running(command, env={"NOTIFY_SOCKET": where}, pass_fds=[writer], stdin=-1):
            os.close(writer)
            assert os.read(reader, 10) == b"\n"
            assert listener.recv(100) == b"READY=1\n"
    os.close(reader)


def test_sd_notify_passes_through(shim: Shim) -> None:
    """The variable reaches the service untouched."""
    end = shim("--init", "--", "sh", "-c", "echo $NOTIFY_SOCKET", env={"NOTIFY_SOCKET": "@abstract"})

    assert end.stdout == "@abstract\n"


# --- a secret that changes ------------------------------------------------------------------------------------------

TELL = (
    'trap "echo told; cat $CERT_FILE 2>/dev/null | wc -c" HUP; trap "exit 0" TERM; echo "start ${#K}"; '
    "while :; do sleep 0.02; done"
)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(".new")
    new.write_text(text)
    new.rename(path)


def _changing(shim: Shim, action: str, *options: str) -> list[str]:
    return argv(shim, "--on-change", action, *options, "--", "sh", "-c", TELL)


@pytest.mark.parametrize("how", ["rename", "write", "links"])
def test_restart_with_the_new_value(shim: Shim, canary: Callable[[], str], how: str) -> None:
    """Atomic replacement, a write in place, and Kubernetes' swap of ..data are all seen."""
    file = shim.root / "k"
    if how == "links":
        (shim.root / "..1").mkdir()
        (shim.root / "..1" / "k").write_text(canary())
        (shim.root / "..data").symlink_to("..1")
        file.symlink_to("..data/k")
    else:
        file.write_text(canary())
    with running(_changing(shim, "restart")) as run:
        assert run.line() == "start 26"
        if how == "links":
            (shim.root / "..2").mkdir()
            (shim.root / "..2" / "k").write_text(canary() * 2)
            (shim.root / "..tmp").symlink_to("..2")
            (shim.root / "..tmp").rename(shim.root / "..data")
        elif how == "write":
            file.write_text(canary() * 2)
        else:
            _replace(file, canary() * 2)
        assert run.line() == "start 52"
        run.send(signal.SIGTERM)
        assert run.end() == 0


@pytest.mark.parametrize("is_first", [True, False], ids=["at the start", "later"])
def test_a_file_that_is_half_written_is_no_change_yet(shim: Shim, canary: Callable[[], str], is_first: bool) -> None:
    """Whoever truncates a file may take a while to fill it; no service is started with what is there meanwhile."""
    file = shim.root / "k"
    file.write_text(canary())
    with running(_changing(shim, "restart")) as run:
        assert run.line() == "start 26"
        if not is_first:
            _replace(file, canary() * 3)
            assert run.line() == "start 78"
        with file.open("w") as opened:
            with pytest.raises(TimeoutError):
                run.line(0.7)
            opened.write(canary() * 2)
        assert run.line() == "start 52"
        run.send(signal.SIGTERM)
        assert run.end() == 0


def test_a_signal_and_fresh_files(shim: Shim, canary: Callable[[], str]) -> None:
    """The service is told once its private copies are new; it keeps running."""
    (shim.root / "cert").write_text(canary())
    schema = shim.folder / "schema"
    schema.write_text("# @required @deliver=file\nCERT=\n")
    with running(_changing(shim, "signal=HUP", "--schema", str(schema))) as run:
        assert run.line() == "start 0"
        _replace(shim.root / "cert", canary() * 3)
        assert run.line() == "told"
        assert run.line().strip() == "78"


def test_exit_lets_somebody_else_restart(shim: Shim, canary: Callable[[], str]) -> None:
    """The service is stopped in peace, and its code is ours."""
    (shim.root / "k").write_text(canary())
    with running(_changing(shim, "exit")) as run:
        assert run.line() == "start 26"
        _replace(shim.root / "k", canary() * 2)
        assert run.end() == 0


def test_the_same_value_is_no_change(shim: Shim, canary: Callable[[], str]) -> None:
    """Touched, rewritten, another file beside it: nothing happens until the value is another one."""
    value = canary()
    (shim.root / "k").write_text(value)
    with running(_changing(shim, "restart")) as run:
        assert run.line() == "start 26"
        _replace(shim.root / "k", value + "\n")
        (shim.root / "other").write_text(canary())
        with pytest.raises(TimeoutError):
            run.line(1)
        _replace(shim.root / "k", value * 2)
        assert run.line() == "start 52"


def test_an_invalid_new_set_changes_nothing(shim: Shim, canary: Callable[[], str]) -> None:
    """One warning, and the old service keeps running; a valid set later is taken."""
    (shim.root / "k").write_text(canary())
    with running(_changing(shim, "restart", "--require", "K")) as run:
        assert run.line() == "start 26"
        for _ in range(2):
            (shim.root / "k").write_text("")
            (shim.root / "k").unlink()
            with pytest.raises(TimeoutError):
                run.line(0.6)
        (shim.root / "k").write_text(canary() * 2)
        assert run.line() == "start 52"
        run.send(signal.SIGTERM)
        assert run.end() == 0
        assert run.process.stderr is not None
        said = run.process.stderr.read().decode()
        assert said.count("warning") == 1
        assert "the secrets changed, and the new set cannot be used: K is required" in said


def test_it_gives_up_after_quick_failures(shim: Shim, canary: Callable[[], str]) -> None:
    """A service that cannot live with its new secrets ends the init with its own code."""
    (shim.root / "k").write_text(canary())
    script = 'echo start; test ${#K} = 26 || exit 9; trap "exit 0" TERM; while :; do sleep 0.02; done'
    with running(argv(shim, "--on-change", "restart", "--", "sh", "-c", script)) as run:
        assert run.line() == "start"
        _replace(shim.root / "k", canary() * 2)
        assert run.end() == 9
        assert [run.line() for _ in range(4)] == ["start"] * 3 + [""]


def test_a_stop_between_two_starts_ends_it(shim: Shim, canary: Callable[[], str]) -> None:
    """While a failed restart waits for its next try, a stop signal is not lost."""
    (shim.root / "k").write_text(canary())
    script = 'echo start; test ${#K} = 26 || exit 9; trap "exit 0" TERM; while :; do sleep 0.02; done'
    with running(argv(shim, "--on-change", "restart", "--", "sh", "-c", script)) as run:
        assert run.line() == "start"
        _replace(shim.root / "k", canary() * 2)
        assert run.line() == "start"
        assert until(lambda: not _has_children(run))
        run.send(signal.SIGTERM)
        assert run.end() == 143


def _has_children(run: Running) -> bool:
    return bool(run.children())


# --- limits ---------------------------------------------------------------------------------------------------------


def test_two_processes_are_enough(frozen: Shim, as_root: None) -> None:
    """`--pids-limit 2`: the init and the service."""
    place = Path("/sys/fs/cgroup")
    folder = (place / "pids" if (place / "pids").is_dir() else place) / f"shim-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "pids.max").write_text("2")
    except OSError as error:
        pytest.skip(f"no pids controller here: {error}")
    try:
        enter = f'echo $$ >{folder}/cgroup.procs; exec "$@"'
        end = frozen("--init", "--", "/bin/echo", "ran", before=["sh", "-c", enter, "sh"])
        assert (end.code, end.stdout) == (0, "ran\n")
    finally:
        assert until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


def test_a_fork_that_fails_is_the_worlds_fault(frozen: Shim, as_root: None) -> None:
    """111, and what limit to look at; nothing stays behind."""
    if shutil.which("prlimit") is None or shutil.which("setpriv") is None:
        pytest.skip("no prlimit or setpriv here")
    nobodys = 1_000_000 + os.getpid()  # a user who runs something already could not even start the shim
    before = ["prlimit", "--nproc=0", "setpriv", f"--reuid={nobodys}", "--clear-groups"]
    end = frozen("--init", "--", "true", before=before)

    assert end.code == 111
    assert "cannot start a process" in end.stderr


# --- a service that is somebody else's ------------------------------------------------------------------------------

HARDENED = ["setpriv", "--bounding-set=-all,+setuid,+setgid"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("is_pid_1", [True, False])
def test_root_without_the_capability_to_kill_stops_it(shim: Shim, is_pid_1: bool) -> None:
    """Hardened, root may not signal the user that it let its service become; it does so as that user."""
    # Whoever has been forked and not become a program yet may still have the trap, and the signal is lost there.
    stays = "setsid sh -c 'echo up; exec sleep 1000' & while :; do sleep 0.02; done"
    traps = f'trap "echo stopped; exit 7" TERM; {stays}'
    options = ["--user", "65534:65534", "--wait-all", "--grace", "5s", "--parent-death", "TERM"]
    with running([*HARDENED, *argv(shim, *options, "--", "sh", "-c", traps)], is_pid_1=is_pid_1) as run:
        assert run.line() == "up"
        run.send(signal.SIGTERM)
        assert (run.end(), run.line()) == (7, "stopped")


@pytest.mark.usefixtures("as_root")
def test_a_service_that_changed_user_itself_is_killed_after_its_grace(shim: Shim) -> None:
    """An entrypoint dropped root: everything below is found and killed all the same."""
    drops = 'exec setpriv --reuid=65533 --clear-groups sh -c "trap : TERM; echo up; while :; do sleep 0.02; done"'
    with running([*HARDENED, *argv(shim, "--grace", "200ms", "--", "sh", "-c", drops)]) as run:
        assert run.line() == "up"
        run.send(signal.SIGTERM)
        assert run.end() == 137


@pytest.mark.usefixtures("as_root")
def test_restart_without_the_capability_to_kill(shim: Shim, canary: Callable[[], str]) -> None:
    """The old service is stopped, its private copy replaced, and the new one finds the new value."""
    (shim.folder / "schema").write_text("# @deliver=file\nK=\n")
    (shim.root / "k").write_text(canary())
    tells = 'wc -c <"$K_FILE"; exec sleep 1000'
    options = ["--on-change", "restart", "--user", "65534:65534", "--schema", str(shim.folder / "schema")]
    with running([*HARDENED, *argv(shim, *options, "--", "sh", "-c", tells)]) as run:
        assert run.line() == "26"
        _replace(shim.root / "k", canary() + "x")
        assert run.line() == "27"


# --- before the service, and after it -------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("stays", [["--init"], []], ids=["init", "exec"])
def test_one_shots_run_before_the_user_changes(shim: Shim, stays: list[str]) -> None:
    """`--pre-root` comes first and gets no secret; both can fix the owner of a volume."""
    (shim.folder / "volume").mkdir(mode=0o700)
    says = "sh -c 'echo \"$0 $(id -u) ${K:-none}\"' "
    options = [*stays, "--user", "65534:65534", "--pre", says + "pre", "--pre-root", says + "root"]
    options += ["--pre-root", "chown 65534 volume"]

    end = shim(*options, "--", "sh", "-c", 'touch volume/x && echo "service $(id -u) $K"', k="value")

    assert (end.code, end.stdout) == (0, "root 0 none\npre 0 value\nservice 65534 value\n"), end
    failed = shim(*stays, "--pre-root", "false", "--", "echo", "service")
    assert (failed.code, failed.stdout) == (1, "")
    assert "--pre-root false ended with 1" in failed.stderr


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("stays", [["--init"], []], ids=["init", "exec"])
def test_what_only_root_can_do_is_left_out_for_others(frozen: Shim, stays: list[str]) -> None:
    """An image with a --pre-root starts as an arbitrary uid, too; --pre is for whoever we are."""
    before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    end = frozen(*stays, "--pre-root", "chown 0 /", "--pre", "id -u", "--", "echo", "service", before=before)

    assert (end.code, end.stdout) == (0, "65534\nservice\n"), end
    assert "--pre-root: started as uid 65534, which is not root; nothing is run" in end.stderr


def test_no_working_directory_is_held(shim: Shim) -> None:
    """A mount that only the init would be in could not be taken away; a watch of relative paths needs it."""
    for options, held in (([], "/"), (["--on-change", "exit"], str(shim.folder))):
        with running(argv(shim, "--init", *options, "--", "sh", "-c", "pwd; read x"), cwd=shim.folder, stdin=-1) as run:
            assert run.line() == str(shim.folder)
            assert until(lambda held=held, pid=run.pid: os.readlink(f"/proc/{pid}/cwd") == held)  # type: ignore[misc]


@pytest.mark.parametrize("before", ["", "sleep 0.3;"], ids=["at once", "later"])
def test_what_is_left_of_the_group_is_told_to_stop(shim: Shim, before: str) -> None:
    """Outside PID 1 the end of the service would leave it running, however soon it ends."""
    left = 'mkfifo f; (trap "echo told; exit" TERM; echo >f; while :; do sleep 0.02; done) & read x <f; exit 3'

    end = shim("--init", "--", "sh", "-c", before + left)

    assert (end.code, end.stdout) == (3, "told\n")


def test_a_service_that_ends_at_once(shim: Shim) -> None:
    """Its code arrives before the init was needed, and is rewritten all the same."""
    for options, command, code in (
        ((), "exit 7", 7),
        ((), "kill -KILL $$", 137),
        (("--exit-as", "7=0"), "exit 7", 0),
        ((), "(sleep 0.01 &) ; (exit 1 &); sleep 0.05; exit 5", 5),
    ):
        assert shim("--init", *options, "--", "sh", "-c", command).code == code, command
