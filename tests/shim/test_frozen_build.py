"""The binary: built the same every time, small, static, and deaf to what its environment does to other programs."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.forms import REPOSITORY, TESTS, Shim, cannot_run
from tests.support.frozen_code import START, write_package

pytestmark = pytest.mark.frozen

DEBIAN_13 = REPOSITORY / "scripts" / "debian-13"
PT_DYNAMIC, PT_INTERP = 2, 3
SHADOWED = (
    "libc.so.6",
    "libm.so.6",
    "libz.so.1",
    "libexpat.so.1",
    "libpython3.13.so.1.0",
    "libdl.so.2",
    "libutil.so.1",
)
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
HIJACK = 'raise SystemExit("hijacked")\n'

# Each is what images set for their own programs, or what somebody sets who means no good. {traps} is a folder of traps.
HOSTILE: dict[str, dict[str, str]] = {
    "nothing": {},
    "libraries-of-another-libc": {"LD_LIBRARY_PATH": "{traps}"},
    "preload": {"LD_PRELOAD": "{traps}/preload.so"},
    "preload-missing": {"LD_PRELOAD": "/nowhere/jemalloc.so"},
    "audit": {"LD_AUDIT": "{traps}/preload.so"},
    "bind-now": {"LD_BIND_NOW": "1", "LD_BIND_NOT": "1"},
    "linker-talks": {"LD_DEBUG": "all", "LD_VERBOSE": "1"},
    "linker-only-lists": {"LD_TRACE_LOADED_OBJECTS": "1"},
    "linker-shows-auxv": {"LD_SHOW_AUXV": "1"},
    "linker-profiles": {"LD_PROFILE": "libc.so.6", "LD_PROFILE_OUTPUT": "{traps}"},
    "tunables": {"GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.perturb=85:glibc.malloc.tcache_count=0"},
    "tunables-unreadable": {"GLIBC_TUNABLES": "nonsense"},
    "malloc": {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "85", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1"},
    "python-home": {"PYTHONHOME": "{traps}", "PYTHONPLATLIBDIR": "traps"},
    "python-path": {"PYTHONPATH": "{traps}", "PYTHONSTARTUP": "{traps}/os.py", "PYTHONSAFEPATH": ""},
    "python-hash-seed": {"PYTHONHASHSEED": "not a number"},
    "python-malloc": {"PYTHONMALLOC": "debug", "PYTHONMALLOCSTATS": "1", "PYTHONTRACEMALLOC": "25"},
    "python-talks": {"PYTHONVERBOSE": "3", "PYTHONDEBUG": "1", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONDUMPREFS": "1"},
    "python-develops": {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", "PYTHONFAULTHANDLER": "1"},
    "python-asks-back": {"PYTHONINSPECT": "1", "PYTHONBREAKPOINT": "os.abort"},
    "python-encodings": {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict", "PYTHONCOERCECLOCALE": "warn"},
    "locale-unknown": {"LC_ALL": "xx_XX.EUC-JP", "LANG": "ja_JP.SJIS", "LANGUAGE": "ja"},
    "locale-posix": {"LC_ALL": "POSIX"},
    "locale-files": {"LOCPATH": "{traps}", "GCONV_PATH": "{traps}", "NLSPATH": "{traps}/%N", "LC_CTYPE": "de_DE.UTF-8"},
    "time-zone": {"TZ": ":{traps}/os.py", "TZDIR": "{traps}"},
    "resolver": {"RES_OPTIONS": "debug", "HOSTALIASES": "{traps}/os.py", "LOCALDOMAIN": "{traps}"},
    "virtual-environment": {"VIRTUAL_ENV": "{traps}", "__PYVENV_LAUNCHER__": "{traps}/python"},
    "pyinstaller-parent": {"_PYI_ARCHIVE_FILE": "{binary}", "_PYI_PARENT_PROCESS_LEVEL": "1"},
    "pyinstaller-home": {"_PYI_APPLICATION_HOME_DIR": "{traps}", "_MEIPASS2": "{traps}", "_PYI_SPLASH_IPC": "1"},
    "pyinstaller-name": {"_PYI_LINUX_PROCESS_NAME": "init", "PYINSTALLER_RESET_ENVIRONMENT": "1"},
}


def run(
    *command: str | Path, env: dict[str, str] | None = None, cwd: str | Path = "/"
) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end, where no schema lies about; the variable that chose the binary is not for the shim."""
    if env is None:
        env = {name: value for name, value in os.environ.items() if name != "SHIM_TEST_BINARY"}
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)


def run_build(*arguments: str | Path, source: Path | None = None, folder: Path = REPOSITORY) -> tuple[int, str]:
    """Run the build script of *folder*; return its exit code and what it said."""
    environment = {**os.environ, **({"SHIM_SOURCE": str(source)} if source else {})}
    done = run(DEBIAN_13, folder / "images" / "shim" / "build", *arguments, env=environment)
    return done.returncode, done.stderr


def build(out: Path, *options: str, folder: Path = REPOSITORY) -> Path:
    """Return the one file that a build puts into *out*."""
    code, said = run_build(*options, "--out", out, folder=folder)
    if "error: this needs" in said or "debian-13: error: " in said:
        cannot_run(said)
    assert code == 0, said
    (made,) = out.iterdir()
    return made


def copy_sources(origin: Path, place: Path) -> Path:
    """Copy what the binary is made of."""
    for part in ("shim", "images/shim"):
        shutil.copytree(origin / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sources that nobody edits meanwhile."""
    return copy_sources(REPOSITORY, tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a binary that was built here: the one that is tested, unless it is somebody else's."""
    if os.environ.get("SHIM_TEST_BINARY"):
        return build(tmp_path_factory.mktemp("built"), folder=sources)
    tested: Path = request.getfixturevalue("shim_binary")
    return tested


@pytest.fixture(scope="session")
def public_api(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the binary that uses only what CPython documents."""
    return build(tmp_path_factory.mktemp("public"), "--public-api")


@pytest.fixture(scope="session")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what starts the binary for arm64 here."""
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not emulator:
        cannot_run("qemu-user is not installed")
    return [str(emulator), str(build(tmp_path_factory.mktemp("arm64"), "--arch", "arm64"))]


@pytest.fixture(scope="session")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of libraries and modules that say so when they are loaded, or are of no use to anyone."""
    folder = tmp_path_factory.mktemp("traps")
    source = folder / "trap.c"
    source.write_text(
        '#include <unistd.h>\n__attribute__((constructor)) static void trap(void) { write(2, "hijacked\\n", 9); }\n'
    )
    for name in ("preload.so", *SHADOWED):
        subprocess.run(
            ["gcc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source], check=True
        )
    (folder / "encodings").mkdir()
    for module in ("encodings/__init__.py", "os.py", "json.py", "site.py", "re.py", "sitecustomize.py", "shim.py"):
        (folder / module).write_text(HIJACK)
    return folder


@pytest.fixture
def anybodys(shim_binary: Path, tmp_path: Path) -> Path:
    """Return a copy of the binary where every user can reach it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    return Path(shutil.copy(shim_binary, tmp_path / "anybodys"))


def handed_on(command: Sequence[str | Path], dump: str, folder: Path, env: dict[str, str]) -> tuple[bytes, bytes]:
    """Return environment and arguments, byte for byte, of a service that *command* starts."""
    folder.mkdir()
    done = subprocess.run(
        [*command, dump, folder, "-x", "", "two words"], env=env, cwd=folder, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    return (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes().replace(os.fsencode(folder), b"FOLDER")


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_is_the_same_file_when_built_twice_and_elsewhere(sources: Path, built: Path, tmp_path: Path) -> None:
    """Two builds, from two folders with names of different length, give the same bytes."""
    elsewhere = copy_sources(sources, tmp_path / "another place with a longer name")

    assert build(tmp_path / "out", folder=elsewhere).read_bytes() == built.read_bytes()


def test_it_is_small(built: Path) -> None:
    """At most 11 MB, and 5.5 MB as a compressed layer."""
    content = built.read_bytes()

    assert len(content) <= 11_000_000
    assert len(gzip.compress(content, 9)) <= 5_500_000


def test_it_is_static_and_may_be_run_by_everybody(built: Path) -> None:
    """It names no interpreter and no library, and what reads its own file is not locked out of it."""
    header = built.read_bytes()[:4096]
    (table,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
    segments = {struct.unpack_from("<I", header, table + size * number)[0] for number in range(count)}

    assert not segments & {PT_DYNAMIC, PT_INTERP}
    assert built.stat().st_mode & 0o7777 == 0o755


def test_its_fingerprints_are_those_of_pythons_own_sha2(shim_binary: Path) -> None:
    """Another library computes SHA-2 in the binary (sha2.c)."""
    arguments = ("explain", "--salt", "a salt", "--require", "DB_PASSWORD")
    commands = ((sys.executable, "-P", "-m", "shim"), (str(shim_binary),))

    plain, frozen = (
        run(*command, *arguments, env={"DB_PASSWORD": "value", "PYTHONPATH": str(REPOSITORY)}).stdout
        for command in commands
    )

    assert frozen == plain
    assert "DB_PASSWORD" in plain


# --- its environment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_environment_reaches_the_service_and_nothing_else(
    hostile: str, shim_binary: Path, traps: Path, dump: str, tmp_path: Path
) -> None:
    """The service gets every byte as it was; the shim is silent, and answers as ever."""
    env = {
        name: value.format(traps=traps, binary=os.path.realpath(shim_binary))
        for name, value in HOSTILE[hostile].items()
    }
    env = {"FIRST": "1", **env, "LAST": "\u00e4 $HOME `id`"}

    started = handed_on([shim_binary, "--"], dump, tmp_path / "started", env)
    answer = run(shim_binary, "--version", env=env, cwd=traps)

    assert started == handed_on([], dump, tmp_path / "plain", env)
    assert re.fullmatch(r"shim \d+\.\d+\.\d+\n", answer.stdout)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_modules_beside_the_binary_are_not_imported(shim_binary: Path, traps: Path, tmp_path: Path) -> None:
    """Neither the executable's folder nor the working directory has modules for it, whatever its name is."""
    for name in ("shim", "json", "other"):
        binary = tmp_path / name
        shutil.copytree(traps, tmp_path, dirs_exist_ok=True)
        shutil.copy(shim_binary, binary)

        answer = run(binary, "explain", env={}, cwd=traps)

        assert (answer.returncode, answer.stderr) == (0, "")
        binary.unlink()


def test_it_needs_no_proc(shim_binary: Path, as_root: None) -> None:
    """Both ways work where /proc is not mounted."""
    for arguments in (["--", "/bin/echo", "started"], ["--version"]):
        done = run("unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh", shim_binary, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(("started", "shim "))


def test_it_needs_no_second_process(anybodys: Path, as_root: None) -> None:
    """A user who may have one process has it all."""
    for arguments in (["--", "/bin/echo", "started"], ["--version"]):
        done = run(*AS_NOBODY, "prlimit", "--nproc=1", anybodys, *arguments)

        assert done.returncode == 0, done.stderr


def test_it_answers_with_its_descriptors_closed(shim_binary: Path) -> None:
    """Closed descriptors neither end it nor get a file of its own for one; an answer that nobody gets is an error."""
    for closed, code in (("<&-", 0), ("2>&-", 0), (">&-", 111), ("<&- >&- 2>&-", 111)):
        done = run("sh", "-c", f'"$0" explain --json {closed}', shim_binary)

        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_it_says_so_when_it_cannot_read_its_own_file(anybodys: Path, as_root: None) -> None:
    """With the right to run but not to read, a start works, and everything else ends with 111 and a hint."""
    anybodys.chmod(0o711)

    start = run(*AS_NOBODY, anybodys, "--", "true")
    answer = run(*AS_NOBODY, anybodys, "--version")

    assert (start.returncode, start.stderr) == (0, "")
    assert answer.returncode == 111
    assert "shim: hint: chmod 0755" in answer.stderr


def test_it_answers_below_a_folder_that_its_user_cannot_search(anybodys: Path, as_root: None) -> None:
    """Whoever may start it by its path need not be able to open that path a moment later."""
    closed = anybodys.parent / "closed"
    closed.mkdir(0o700)
    program = Path(shutil.copy(anybodys, closed / "shim"))

    # setpriv still may do everything when it executes; what it starts may not.
    for arguments in (["--version"], ["explain"], ["check"]):
        answer = run(*AS_NOBODY, program, *arguments, cwd="/")
        assert (answer.returncode, answer.stderr) == (0, ""), arguments
    # Nor does the user that it becomes: what is imported then comes from the archive, too.
    copied = run(program, "--user", "65534:65534", "-v", "--mask", "--", "true", cwd="/")
    assert copied.returncode == 0, copied.stderr
    program.chmod(0o711)
    refused = run(*AS_NOBODY, program, "--version", cwd="/")
    assert (refused.returncode, "internal error" in refused.stderr) == (111, False)
    assert "shim: hint: chmod 0755" in refused.stderr


def test_too_little_memory_is_said(shim_binary: Path) -> None:
    """Less and less address space: a start, then 111 with a hint, until the kernel itself cannot load the file."""
    ends = []
    for kilobytes in range(14_000, 8_000, -100):
        done = run("sh", "-c", f'ulimit -v {kilobytes}; exec "$0" -- /bin/true', shim_binary, env={})
        ends.append(done.returncode)
        assert (done.returncode == 111) == ("shim: error: out of memory" in done.stderr)
        if done.returncode not in (0, 111):
            break
    assert ends[0] == 0
    assert ends[:-1] == sorted(ends[:-1]), "what failed with more memory cannot work with less"
    assert ends.count(111) >= 15, "what the interpreter needs is asked for before it crashes"


# --- its start ----------------------------------------------------------------------------------------------------


def system_calls(command: Sequence[str | Path], trace: Path) -> list[str]:
    """Return the system calls of *command*, from its exec to that of the service."""
    if not shutil.which("strace"):
        cannot_run("strace is not installed")
    traced = run("strace", "-o", trace, *command, env={"PATH": "/usr/bin:/bin"})
    assert traced.returncode == 0, traced.stderr
    calls = [line for line in trace.read_text().splitlines() if re.match(r"\w+\(", line)]
    execs = [number for number, line in enumerate(calls) if line.startswith("execve(")]
    return calls[execs[0] + 1 : execs[1] if len(execs) > 1 else None]


def test_signals_are_blocked_before_anything_else(shim_binary: Path, tmp_path: Path) -> None:
    """The very first system call blocks all 64, before libc or Python have done a thing."""
    calls = system_calls([shim_binary, "--", "/bin/true"], tmp_path / "trace")

    assert calls[0].startswith("rt_sigprocmask(SIG_SETMASK, ~[], [], 8)")


def test_a_start_opens_nothing_but_secrets(shim_binary: Path, tmp_path: Path) -> None:
    """No library, no archive, no locale: what a start opens is what it was asked to read."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "db_password").write_text("x")

    calls = system_calls([shim_binary, "--secrets-dir", root, "--", "/bin/true"], tmp_path / "trace")
    opened = {match[1] for call in calls if (match := re.match(r'open(?:at2?)?\((?:\w+, )?"([^"]*)"', call))}

    assert opened == {str(root), "db_password", "/etc/shim/env.schema", "./.env.schema"}


def waits_for(number: int, pid: str) -> bool:
    """Return whether the process has blocked or caught the signal, so that it is kept even for PID 1."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = re.findall(r"^Sig(?:Blk|Cgt):\t(\w+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def test_a_stop_signal_early_in_the_start_is_not_lost(shim_binary: Path, tmp_path: Path, as_root: None) -> None:
    """As PID 1, for which the kernel drops what nobody waits for, a TERM from the first moment on ends it with 143."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(2000):
        (root / f"key_{number}").write_text("x")
    executable = os.path.realpath(shim_binary)
    for _ in range(20):
        launcher = subprocess.Popen(
            ["unshare", "--pid", "--fork", shim_binary, "--secrets-dir", root, "--", "sleep", "60"], cwd="/"
        )
        try:
            children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
            first = ""
            # The launcher's child is the launcher itself at first, and blocks TERM for its own reasons.
            while not first or os.readlink(f"/proc/{first}/exe") != executable or not waits_for(15, first):
                assert launcher.poll() is None
                first = children.read_text().strip()
            os.kill(int(first), 15)
            assert launcher.wait(timeout=60) == 143
        finally:
            launcher.kill()
            launcher.wait()


# --- its other forms ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_public_api_is_enough(public_api: Path, dump: str, tmp_path: Path) -> None:
    """Without CPython's provisional functions everything works as well, only slower."""
    env = {"A": "1", "LC_ALL": "xx_XX", "PYTHONHOME": "/nowhere"}
    schema = tmp_path / "schema"
    schema.write_text("# @type=string(matches=^a+$)\nWORD=\n")

    answer = subprocess.run([public_api, "--version"], env=env, capture_output=True, text=True, check=False)
    checked = subprocess.run(
        [public_api, "--schema", schema, "--", "true"],
        env={"WORD": "b", "PATH": "/bin"},
        capture_output=True,
        check=False,
    )

    assert handed_on([public_api, "--"], dump, tmp_path / "started", env) == handed_on(
        [], dump, tmp_path / "plain", env
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert checked.returncode == 100


@pytest.mark.slow
def test_arm64_starts_a_service(arm64: list[str], dump: str, tmp_path: Path) -> None:
    """The cross-built binary resolves, execs and answers, under an emulator."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "db_password").write_text("from a file\n")

    environ, _ = handed_on(
        [*arm64, "--secrets-dir", str(root), "--"], dump, tmp_path / "started", {"A": "1", "B": "\u00e4"}
    )
    answer = run(*arm64, "--version")
    missing = run(*arm64, "--", "/nowhere")

    # In what order the variables come is the emulator's doing: qemu-user turns it round.
    assert sorted(environ.decode().split("\0")) == ["", "A=1", "B=\u00e4", "DB_PASSWORD=from a file"]
    assert (answer.returncode, answer.stderr) == (0, "")
    assert missing.returncode == 127


@pytest.mark.slow
def test_code_that_lies_ready_does_what_code_does(tmp_path: Path) -> None:
    """Constants, closures, classes, generators and line numbers are the same in C as in plain CPython."""
    source = tmp_path / "source"
    write_package(source)
    code, said = run_build("--out", tmp_path / "out", source=source)
    assert code == 0, said
    (binary,) = (tmp_path / "out").iterdir()

    plain = run(DEBIAN_13, "python3.13", "-I", "-c", f"import sys; sys.path.append({str(source)!r})\n{START}")
    frozen = run(binary)

    assert (frozen.returncode, frozen.stderr) == (0, "")
    assert frozen.stdout.splitlines() == plain.stdout.splitlines()
    assert frozen.stdout.count("\n") > 50


# --- its build ----------------------------------------------------------------------------------------------------


def test_the_build_refuses_what_would_fail_or_be_slow(tmp_path: Path) -> None:
    """A slow import on the way to exec, or a module that is not there, is an error of the build; nothing is left."""
    source = tmp_path / "source"
    shutil.copytree(REPOSITORY / "shim", source / "shim", ignore=shutil.ignore_patterns("__pycache__"))
    for module, lines in (
        ("options", "import json"),
        ("main", "from shim import explain"),
        ("sources", "import _signal"),
        ("errors", "def late(): raise BufferError\ndef later(): import ctypes"),
        ("explain", "import ssl"),
    ):
        changed = source / "shim" / f"{module}.py"
        changed.write_text(f"{lines}\n{changed.read_text()}")

    code, answer = run_build("--out", tmp_path / "out", source=source)

    assert code == 1
    assert "shim.options, line 1: imports json on the way to exec" in answer
    assert "shim.main, line 1: imports shim.explain on the way to exec" in answer
    assert "shim.sources, line 1: imports _signal on the way to exec" in answer
    assert "shim.errors, line 1: names BufferError, which is not ready then" in answer
    for module in ("ssl", "ctypes"):
        assert re.search(rf"not importable with the built-in C modules alone: {module}\b", answer), answer
    assert "build: the whole log: " in answer
    assert list((tmp_path / "out").iterdir()) == []


def test_debian_13_is_there_for_one_program_only() -> None:
    """Its packages lie over /usr while a program runs; this system keeps its own, and no mount."""
    here, mounts = run("cat", "/etc/os-release").stdout, _mounts()

    inside = run(
        DEBIAN_13, "sh", "-c", '. /etc/os-release && echo "$VERSION_ID $0" && python3.13 --version', "an argument"
    )

    if inside.returncode == 111:
        cannot_run(inside.stderr)
    assert inside.stdout.startswith("13 an argument\nPython 3.13."), inside.stderr
    assert (run("cat", "/etc/os-release").stdout, _mounts()) == (here, mounts)
    assert run(DEBIAN_13).returncode == 2


def _mounts() -> list[str]:
    """Return where something is mounted over parts of the system; engines mount elsewhere all the time."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in places if place.startswith(("/usr", "/etc", "/var/lib/dpkg"))]


@pytest.mark.parametrize("arguments", [[], ["--arch", "mips", "--out", "x"], ["--out"], ["--quick"]])
def test_the_build_says_how_it_is_used(arguments: list[str], tmp_path: Path) -> None:
    """Wrong arguments end with what is right."""
    code, answer = run_build(*arguments, folder=REPOSITORY)

    assert code != 0
    assert "--arch" in answer or "--out" in answer


def test_the_start_code_is_hardened(frozen: Shim) -> None:
    """The linker made relocations read-only and no stack executable; the compiler guards what images/shim has in C."""
    data = Path(frozen.command[0]).read_bytes()
    (offset,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    segments = dict(struct.unpack_from("<II", data, offset + at * size) for at in range(count))

    assert 0x6474E552 in segments  # PT_GNU_RELRO
    assert segments[0x6474E551] == 0b110  # PT_GNU_STACK: read and write
    flags = (REPOSITORY / "images" / "shim" / "build").read_text()
    assert "-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2" in flags
    assert ("-fcf-protection=full" in flags, "-mbranch-protection=standard" in flags) == (True, True)


def test_the_start_code_under_sanitizers(tmp_path: Path) -> None:
    """Lengths, sizes, paths and patterns that nobody should give: no overflow, no read past an end (ASan, UBSan)."""
    if (there := run(DEBIAN_13, "test", "-e", "/usr/include/python3.13/Python.h")).returncode:
        cannot_run(f"the start code is compiled against the headers of Debian 13's Python: {there.stderr}")
    source, data = REPOSITORY / "images" / "shim", tmp_path / "data"
    data.mkdir()
    parts = [source / f"{part}.c" for part in ("blocks", "kernel", "ordinary", "posix", "schema", "staying", "wipe")]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    sources = [*parts, TESTS / "sanitized" / "module.c"]
    compiler = ["gcc", "-shared", "-fPIC", "-g", "-O1", "-w", *checks, "-I/usr/include/python3.13", f"-I{source}"]
    made = run(DEBIAN_13, *compiler, *sources, "-o", tmp_path / "_kernel.so")
    assert made.returncode == 0, made.stderr
    libraries = [
        run(DEBIAN_13, "gcc", f"-print-file-name={name}").stdout.strip() for name in ("libasan.so", "libubsan.so")
    ]
    for script, folder, rounds in (
        *(("fuzz_blocks.py", data, 20_000), ("fuzz_kernel.py", data, 5_000)),
        *(("fuzz_ordinary.py", REPOSITORY, 2_000), ("fuzz_schema.py", REPOSITORY, 5_000)),
    ):
        done = subprocess.run(
            [
                *(DEBIAN_13, "env", "-i", "PATH=/usr/bin:/bin", f"LD_PRELOAD={' '.join(libraries)}"),
                *("ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1", "python3.13", "-I", "-S", "-B"),
                *(TESTS / "sanitized" / script, tmp_path, folder, str(rounds)),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert "went through" in done.stdout
