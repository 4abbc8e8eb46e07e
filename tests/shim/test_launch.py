"""The last step: the service is handed what the shim was handed, and a program is found as execvp(3) finds it."""

import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.forms import Shim

HOSTILE = [
    b"PATH=/usr/bin:/bin",
    b"EMPTY=",
    b"DUPLICATE=first",
    b"DUPLICATE=second",
    b"NO_EQUALS_SIGN",
    b"=starts with it",
    b"BYTES=\xff\xfe\x80 \n\t",
    b"B\xc3\xa4D-NAME.x=1",
    b"\xff=name of no text",
    b"SPACES=  a  b  ",
    b"EQUALS=a=b=c",
    b"LD_LIBRARY_PATH=/nowhere:/lib/musl",
    b"PYTHONPATH=/nowhere",
    b"PYTHONHASHSEED=123",
    b"LC_ALL=xx_XX",
    b"LANG=C",
    b"_PYI_ARCHIVE_FILE=/nowhere",
    b"_MEIPASS2=/nowhere",
    b"SSL_CERT_FILE=/etc/ssl/cert.pem",
    b"EMPTY_FILE=",
    b"_FILE=/nowhere",
    b"",
    b"",
]
# What exec itself decides, not who calls it.
OF_THE_PROCESS = ("Pid", "Tgid", "NSpid", "NStgid", "NSpgid", "NSsid", "PPid", "FDSize", "SigQ")
COUNTED = (
    "Vm",
    "Rss",
    "Hugetlb",
    "voluntary_ctxt",
    "nonvoluntary_ctxt",
    "Mems_",
    "Cpus_",
    "x86_",
    "CoreDumping",
    "Thread",
)


def dumped(argv: list[str], launch: list[str], folder: Path, **more: object) -> dict[str, object]:
    """Return what a service sees that is started by *argv*, as far as it must not depend on who started it."""
    folder.mkdir()
    settings = {"env": {"PATH": "/usr/bin:/bin"}, "cwd": folder.parent, "capture_output": True, "check": False, **more}
    done = subprocess.run([*launch, *argv, str(folder), "two words", "", "-x", "$HOME", "*"], **settings)  # type: ignore[call-overload]
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
    status = [line.partition(":") for line in (folder / "status").read_text().splitlines()]
    stat = (folder / "stat").read_text().rpartition(")")[2].split()
    return {
        "environ": (folder / "environ").read_bytes(),
        "argv": (folder / "cmdline").read_bytes().replace(os.fsencode(folder), b"FOLDER"),
        "limits": (folder / "limits").read_text(),
        "fds": sorted(re.sub(r":\[\d+]", "", (folder / "fds").read_text()).splitlines()),
        "cwd": (folder / "cwd").read_bytes(),
        "leads its session": stat[3] == (folder / "stat").read_text().split()[0],
        "terminal, foreground, priority, nice, threads": [stat[4], stat[5], *stat[15:18]],
        **{name: value for name, _, value in status if name not in OF_THE_PROCESS and not name.startswith(COUNTED)},
    }


def assert_same(shim: Shim, launch: list[str], **more: object) -> None:
    plain = dumped([shim.dump], launch, shim.folder / "plain", **more)
    started = dumped([*shim.command, "--", shim.dump], launch, shim.folder / "started", **more)
    assert started == plain


@pytest.fixture
def hostile_environment(tmp_path: Path) -> str:
    path = tmp_path / "environment"
    path.write_bytes(b"".join(entry + b"\0" for entry in HOSTILE))
    return str(path)


def test_environment_and_argv_are_byte_exact(shim: Shim, launch: str, hostile_environment: str) -> None:
    """Duplicates, empty values, entries without "=" and bytes that are not text pass through, in their order."""
    if shim.form != "frozen":  # the interpreter is the image's own there, and these variables are for it
        kept = [entry for entry in HOSTILE if not entry.startswith((b"PYTHON", b"LD_", b"LC_ALL"))]
        Path(hostile_environment).write_bytes(b"".join(entry + b"\0" for entry in kept))
    assert_same(shim, [launch, "-e", hostile_environment])


def test_an_empty_environment_stays_empty(shim: Shim, launch: str, tmp_path: Path) -> None:
    (tmp_path / "nothing").write_bytes(b"")
    assert_same(shim, [launch, "-e", str(tmp_path / "nothing")])


@pytest.mark.parametrize("number", [1, 2, 3, 10, 14, 15, 17, 18, 20, 21, 22, 28, 33, 34, 50, 64])
def test_signals_that_were_blocked_or_ignored_stay_so(frozen: Shim, launch: str, number: int) -> None:
    """A signal that was blocked or ignored for the shim is so for the service, and no other one is."""
    options = ["-b", str(number)]
    if number not in (33,):  # the C library keeps it for itself and refuses to ignore it
        options += ["-i", str(number)]
    assert_same(frozen, [launch, *options])


def test_every_signal_ignored_stays_ignored(frozen: Shim, launch: str) -> None:
    """SIGPIPE and SIGXFSZ too, which CPython changes at its start."""
    every = [str(number) for number in range(1, 65) if number not in (9, 19, 32, 33)]
    assert_same(frozen, [launch, *[word for number in every for word in ("-i", number)]])


def test_every_signal_blocked_stays_blocked(frozen: Shim, launch: str) -> None:
    every = [str(number) for number in range(1, 65)]
    assert_same(frozen, [launch, *[word for number in every for word in ("-b", number)]])


@pytest.mark.parametrize("number", [1, 2, 10, 15, 34, 64])
def test_blocked_and_ignored_signals_stay_so_in_every_form(shim: Shim, launch: str, number: int) -> None:
    assert_same(shim, [launch, "-b", str(number), "-i", str(number)])


@pytest.mark.parametrize("number", [10, 15, 34])
def test_a_signal_that_waits_blocked_still_waits(shim: Shim, launch: str, number: int) -> None:
    """A blocked signal that is pending at the shim's start is pending for the service."""
    assert_same(shim, [launch, "-k", str(number)])


def test_descriptors_pass_and_none_is_added(shim: Shim, launch: str) -> None:
    assert_same(shim, [launch, "-o", "3", "-o", "7", "-o", "200"])


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_stream_stays_closed(shim: Shim, launch: str, closed: int) -> None:
    assert_same(shim, [launch, "-c", str(closed)])


def test_all_closed_standard_streams_stay_closed(frozen: Shim, launch: str) -> None:
    """CPython's own start would open files in their places."""
    assert_same(frozen, [launch, "-c", "0", "-c", "1", "-c", "2"])


def test_umask_niceness_limits_session_and_folder_stay(shim: Shim, launch: str) -> None:
    def prepare() -> None:
        os.umask(0o137)
        os.nice(3)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_NOFILE, (77, 99))
        resource.setrlimit(resource.RLIMIT_CORE, (12345, 54321))
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 16 << 20))

    folder = shim.folder / "wörking folder"
    folder.mkdir()

    assert_same(shim, [launch], preexec_fn=prepare, cwd=folder)


def test_a_child_of_its_own_process_is_not_taken(shim: Shim) -> None:
    """exec in place: the service has the shim's own process id."""
    done = subprocess.Popen(
        [*shim.command, "--", "sh", "-c", "echo $$"], cwd=shim.folder, stdout=subprocess.PIPE, text=True
    )
    out, _ = done.communicate(timeout=30)

    assert int(out) == done.pid


def test_the_exit_code_is_the_services_own(shim: Shim) -> None:
    for code in (0, 1, 42, 100, 255):
        assert shim("sh", "-c", f"exit {code}").code == code


def test_a_signal_ends_the_service_not_the_shim(frozen: Shim) -> None:
    assert frozen("sh", "-c", "kill -TERM $$").code == -signal.SIGTERM


def test_argv_is_verbatim(shim: Shim) -> None:
    """No shell looks at it, and options after the command are the command's."""
    words = [
        shim.dump,
        str(shim.folder / "d"),
        "--",
        "--user",
        "root",
        "$HOME",
        "a b",
        "",
        "*",
        "'",
        '"',
        "\\",
        "-v",
        "\xff",
    ]
    shim("--", *words)

    assert (shim.folder / "d" / "cmdline").read_bytes() == b"\0".join(os.fsencode(word) for word in words) + b"\0"


def test_a_command_needs_no_double_dash(shim: Shim) -> None:
    shim(shim.dump, str(shim.folder / "d"), "--", "-x")

    assert (shim.folder / "d" / "cmdline").read_bytes().endswith(b"\0--\0-x\0")


@pytest.mark.parametrize("word", ["check", "explain", "ps", "install", "exec"])
def test_a_program_may_be_called_like_a_subcommand(shim: Shim, word: str) -> None:
    """Behind `--` is the command, whatever its name is."""
    (shim.folder / word).write_text("#!/bin/sh\nexit 33\n")
    (shim.folder / word).chmod(0o755)

    assert shim("--", word, env={"PATH": str(shim.folder)}).code == 33


# --- finding the program ---------------------------------------------------------------------------------------------


def program(path: Path, text: str = "#!/bin/sh\nexit 7\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_program_that_is_not_there(shim: Shim) -> None:
    end = shim("no-such-program")

    assert end.code == 127
    assert end.errors == ["no-such-program: command not found"]
    assert "PATH=/usr/bin:/bin" in end.stderr
    assert "one word an item" in end.stderr, "searched for in logs: as it has always been"
    assert shim("/no/such/program").code == 127
    assert shim("./no-such-program").code == 127


def test_a_file_that_is_not_executable(shim: Shim) -> None:
    path = program(shim.folder / "data", mode=0o644)

    end = shim(str(path))

    assert end.code == 126
    assert "permission denied" in end.stderr
    assert shim("data", env={"PATH": str(shim.folder)}).code == 126


def test_a_folder_is_no_program(shim: Shim) -> None:
    end = shim("/tmp")

    assert end.code == 126
    assert "is a directory" in end.stderr


def test_a_script_without_a_first_line_is_no_program_and_no_shell_runs_it(shim: Shim) -> None:
    path = program(shim.folder / "script", f"touch {shim.folder}/ran\n")

    assert shim(str(path)).code == 126
    assert shim("script", env={"PATH": str(shim.folder)}).code == 126
    assert not (shim.folder / "ran").exists()


def test_an_empty_file_is_no_program(shim: Shim) -> None:
    assert shim(str(program(shim.folder / "empty", ""))).code == 126


@pytest.mark.parametrize(
    ("first", "named"), [("#!/no/interpreter", "/no/interpreter"), ("#!/bin/sh\r", "carriage return")]
)
def test_a_script_whose_interpreter_is_missing(shim: Shim, first: str, named: str) -> None:
    end = shim(str(program(shim.folder / "script", first + "\nexit 0\n")))

    assert end.code == 127
    assert "interpreter is not found" in end.stderr
    assert named in end.stderr


def test_path_is_searched_as_execvp_does(shim: Shim) -> None:
    """A file that cannot be executed does not end the search, nor does a folder, nor one whose interpreter is gone."""
    program(shim.folder / "a" / "tool", mode=0o644)
    (shim.folder / "b" / "tool").mkdir(parents=True)
    program(shim.folder / "c" / "tool", "#!/no/interpreter\n")
    program(shim.folder / "e" / "tool")
    path = ":".join(str(shim.folder / name) for name in ("missing", "a", "b", "c", "data/x", "e"))

    assert shim("tool", env={"PATH": path}).code == 7
    assert shim("tool", env={"PATH": str(shim.folder / "a") + ":" + str(shim.folder / "missing")}).code == 126
    assert shim("tool", env={"PATH": str(shim.folder / "c")}).code == 127


@pytest.mark.parametrize("path", ["", ":/usr/bin", "/usr/bin:", "/a::/b"])
def test_an_empty_part_of_path_is_the_working_folder(frozen: Shim, path: str) -> None:
    program(frozen.folder / "tool")

    assert frozen("tool", env={"PATH": path}).code == 7


def test_a_relative_part_of_path_is_tried(frozen: Shim) -> None:
    program(frozen.folder / "bin" / "tool")

    assert frozen("tool", env={"PATH": "bin"}).code == 7


def test_without_path_the_usual_folders_are_searched(frozen: Shim, launch: str) -> None:
    (frozen.folder / "nothing").write_bytes(b"")

    assert frozen("true", before=[launch, "-e", str(frozen.folder / "nothing")]).code == 0


def test_path_is_that_of_the_service(frozen: Shim) -> None:
    """A file may set PATH where the schema asks for it; the program is found with it."""
    program(frozen.folder / "bin" / "tool")
    (frozen.folder / "s").write_text("# @required\nPATH=\n")

    assert frozen("--schema", "s", "--", "tool", env={"PATH": ""}, path=f"{frozen.folder}/bin").code == 7


@pytest.mark.usefixtures("as_root")
def test_an_unreadable_script_without_interpreter_is_named(frozen: Shim) -> None:
    """The shim looks into a file that cannot start, and need not be allowed to."""
    path = program(frozen.folder / "script", "#!/no/interpreter\n", mode=0o711)

    end = frozen(str(path), before=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])

    assert end.code in (126, 127)
    assert end.errors


def test_too_much_for_the_kernel(shim: Shim) -> None:
    """Arguments and environment over the limit: 100, and what to do."""
    words = ["x" * 100_000] * 100

    end = subprocess.run(
        ["sh", "-c", 'ulimit -s 512; exec "$@"', "sh", *shim.command, "--", "true", *words[:1]],
        cwd=shim.folder,
        env={"PATH": "/usr/bin:/bin", **{f"V{n}": "y" * 1000 for n in range(20)}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == 0, end.stderr
    for number in range(60):
        (shim.root / f"k{number}").write_bytes(b"z" * 100_000)
    asked = ",".join(f"K{number}" for number in range(60))
    done = shim("--require", asked, "true", before=["sh", "-c", 'ulimit -s 8192; exec "$@"', "sh"])

    assert done.code == 100
    assert "exceed the kernel's limit" in done.stderr
    assert "@deliver=file" in done.stderr


def test_a_program_that_is_being_written(frozen: Shim) -> None:
    path = frozen.folder / "busy"
    shutil.copy("/bin/true", path)
    with path.open("ab"):
        end = frozen(str(path))

    assert end.code == 126
    assert "cannot be executed" in end.stderr


# --- signals while it resolves ---------------------------------------------------------------------------------------


@contextmanager
def started(command: list[str], **settings: object) -> Iterator[subprocess.Popen[Any]]:
    """Give the process; it does not outlive the test, and takes every signal, wherever the tests run."""

    def take_signals() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)

    process = subprocess.Popen(command, preexec_fn=take_signals, **settings)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def slow(shim: Shim) -> list[str]:
    """Return arguments that keep the shim resolving for seconds: a pattern that needs ages for this value."""
    (shim.folder / "slow.schema").write_text('# @required @sensitive @type=string(matches="^(a+)+b$")\nSLOW=\n')
    (shim.root / "slow").write_bytes(b"a" * 60)
    return ["--schema", str(shim.folder / "slow.schema"), "--", "true"]


def is_resolving(pid: int) -> bool:
    """Return whether the shim takes stop signals: TERM is no longer blocked, and is caught."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    term = 1 << (signal.SIGTERM - 1)
    return not int(fields["SigBlk"], 16) & term and bool(int(fields["SigCgt"], 16) & term)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, 34, 64]
)
def test_a_stop_signal_while_it_resolves_ends_the_start(shim: Shim, number: int) -> None:
    """128+N, at once, and the service is never started."""
    with started(
        [*shim.command, *slow(shim)],
        env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(shim.root)},
        cwd=shim.folder,
        stderr=subprocess.PIPE,
    ) as start:
        while not is_resolving(start.pid):
            assert start.poll() is None
        start.send_signal(number)

        assert start.wait(timeout=20) == 128 + number
        assert start.stderr is not None
        assert start.stderr.read() == b""


def test_a_stop_signal_before_it_resolves_is_not_lost(frozen: Shim) -> None:
    """A signal right after exec waits, blocked, and ends the start then."""
    for _ in range(20):
        with started(
            [*frozen.command, *slow(frozen)],
            env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(frozen.root)},
            cwd=frozen.folder,
        ) as start:
            start.send_signal(signal.SIGTERM)  # Popen returns once exec was done

            assert start.wait(timeout=20) in (143, -15)


@pytest.mark.usefixtures("as_root")
def test_a_stop_signal_ends_the_start_as_pid_1(frozen: Shim) -> None:
    """The kernel drops what PID 1 has not armed for; the shim arms first."""
    with started(
        ["unshare", "--pid", "--fork", "--kill-child", *frozen.command, *slow(frozen)],
        env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(frozen.root)},
        cwd=frozen.folder,
    ) as start:
        children = Path(f"/proc/{start.pid}/task/{start.pid}/children")
        while not (pid := children.read_text().strip()) or not is_resolving(int(pid)):
            assert start.poll() is None
        os.kill(int(pid), signal.SIGTERM)

        assert start.wait(timeout=20) == 143


def test_signals_that_end_nobody_do_not_end_the_start(frozen: Shim) -> None:
    """CHLD, CONT, WINCH and URG are not a reason to stop."""
    with started(
        [*frozen.command, *slow(frozen)],
        env={"PATH": "/usr/bin:/bin", "SHIM_SECRETS_DIR": str(frozen.root)},
        cwd=frozen.folder,
    ) as start:
        while not is_resolving(start.pid):
            assert start.poll() is None
        for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGURG):
            start.send_signal(number)
        assert start.poll() is None
        start.terminate()

        assert start.wait(timeout=20) == 143


def test_nobody_reads_its_errors(shim: Shim) -> None:
    """A broken or closed stderr changes no exit code and ends nothing by SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    with started([*shim.command, "--require", "NOT_THERE", "--", "true"], cwd=shim.folder, stderr=write) as start:
        os.close(write)
        assert start.wait(timeout=20) == 100
    with started(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *shim.command, "--require", "NOT_THERE", "--", "true"],
        cwd=shim.folder,
    ) as start:
        assert start.wait(timeout=20) == 100


@pytest.mark.parametrize("options", [[], ["--init"], ["--pre"]])
def test_a_value_in_the_place_of_the_command_is_not_repeated(
    shim: Shim, canary: Callable[[], str], options: list[str]
) -> None:
    """`shim -- $DB_PASSWORD cmd`, where a shell or Compose put the value there."""
    value = canary()

    end = shim(*options, *([value, "--", "true"] if options == ["--pre"] else ["--", value]), db_password=value)

    assert end.code == 127
    assert "the command begins with a secret's value" in end.errors[0]
    if not options:
        assert shim("--", f"/app/{value}").code == 127
        assert "cat-not-there: command not found" in shim("cat-not-there", short="cat").stderr
