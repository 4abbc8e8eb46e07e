"""What the shim says when a kernel refuses: limits, a filter of system calls, no inotify left."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.forms import Shim
from tests.support.host import Canary
from tests.support.provoked import provokes

# Nobody else on this machine has it, so that its processes are those of the test.
LONELY = 64_999
# Filters system calls and becomes argv: seccomp(2), BPF as in linux/filter.h.
FILTERED = """\
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
program = [(LOAD, 0, 0, 0), {program}, (RETURN, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0
assert prctl(22, 2, ctypes.byref(Filter(len(program), ctypes.cast(code, ctypes.c_void_p))), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
IS_ARM = os.uname().machine == "aarch64"
# EPERM for prctl(PR_SET_CHILD_SUBREAPER).
NO_SUBREAPER = FILTERED.format(
    program=f"(EQUAL, 0, 3, {167 if IS_ARM else 157}), (LOAD, 0, 0, 16), (EQUAL, 0, 1, 36), (RETURN, 0, 0, 0x50001)"
)
# A user namespace has limits of its own, which its root may lower.
LIMITED = ("unshare", "--user", "--map-root-user", "sh", "-c", 'echo 0 >/proc/sys/user/"$0"; exec "$@"')


@pytest.fixture
def shim(make_shim: Callable[[str], Shim]) -> Shim:
    """Return the shim in its quickest form to test: what it says is the same in each."""
    return make_shim("module")


@pytest.fixture
def user_namespaces() -> None:
    if subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel gives no user namespace")


def said_after(
    shim: Shim, words: str, arguments: Sequence[str], then: Callable[[], object], before: Sequence[str] = ()
) -> str:
    """Start the shim, do *then* once its service says `ready`, and return what it said up to *words*, or to its end."""
    said = ""
    with subprocess.Popen(
        [*before, *shim.command, *arguments],
        env={"PATH": os.environ["PATH"], "SHIM_SECRETS_DIR": str(shim.root)},
        cwd=shim.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        too_long = threading.Timer(60, process.kill)
        too_long.start()
        if process.stdout.readline() == "ready\n":
            then()
        for line in process.stderr:
            said += line
            if words in line:
                break
        process.terminate()
        too_long.cancel()
    shim.custody.said.append(said)
    return said


def replace(path: Path, value: str) -> None:
    """Replace the file as `manage-secrets` does: nobody sees half of it."""
    new = path.with_name("new")
    new.write_text(value)
    new.rename(path)


@provokes("…: cannot be started: …")
def test_a_user_with_too_many_processes(shim: Shim, as_root: None) -> str:
    """Execve(2): who was over its RLIMIT_NPROC when it became the user gets EAGAIN. One process is there before."""
    shim.folder.chmod(0o755)
    with subprocess.Popen(["sleep", "60"], user=LONELY, group=LONELY) as other:
        end = shim("--user", f"{LONELY}:{LONELY}", "true", before=("prlimit", "--nproc=0:0"))
        other.kill()

    assert end.code == 111
    return end.stderr


@provokes("… cannot be read: …", "… is a folder")
def test_a_list_of_users_that_cannot_be_read(frozen: Shim, tmp_path: Path, as_root: None) -> str:
    """A link to itself; and a folder, which the engine makes for a mount whose source is not there."""
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (image / "etc/passwd").symlink_to("passwd")
    shutil.copy(frozen.command[0], image / "shim")
    frozen.command = ["/shim"]
    said = in_image(frozen, image)
    (image / "etc/passwd").unlink()
    (image / "etc/passwd").mkdir()
    return said + in_image(frozen, image)


def in_image(frozen: Shim, image: Path) -> str:
    end = frozen(
        "--user", "somebody", "/shim", "--version", before=(shutil.which("chroot") or "/usr/sbin/chroot", str(image))
    )

    assert end.code == 100
    return end.stderr


@provokes("--on-change: cannot watch the secrets: …")
def test_no_inotify_is_left(shim: Shim, user_namespaces: None, canary: Canary) -> str:
    end = shim("--on-change", "exit", "true", before=(*LIMITED, "max_inotify_instances"), a=canary())

    assert end.code == 111
    return end.stderr


@provokes("cannot watch the new files: …")
def test_no_watch_is_left_for_new_files(shim: Shim, user_namespaces: None, canary: Canary) -> str:
    """The service lowers the limit itself: it is the root of the shim's user namespace."""
    (shim.root / "a").write_text(canary())
    service = "echo 0 >/proc/sys/user/max_inotify_watches; echo ready; exec sleep 60"
    return said_after(
        shim,
        "cannot watch",
        ("--on-change", "restart", "sh", "-c", service),
        lambda: replace(shim.root / "a", canary()),
        before=("unshare", "--user", "--map-root-user"),
    )


@provokes("…: the kernel refuses it: …")
@pytest.mark.parametrize(
    ("option", "calls", "at", "argument"), [("--no-core", (302, 261), 24, 4), ("--no-new-privs", (157, 167), 16, 38)]
)
def test_a_filter_of_what_an_option_promises(
    shim: Shim, option: str, calls: tuple[int, int], at: int, argument: int
) -> str:
    """prlimit64(2), and prctl(2): in neither mode is the service started without it."""
    program = f"(EQUAL, 0, 3, {calls[IS_ARM]}), (LOAD, 0, 0, {at}), (EQUAL, 0, 1, {argument}), (RETURN, 0, 0, 0x50001)"
    before = (sys.executable, "-c", FILTERED.format(program=program))

    ends = [shim(*staying, option, "--", "echo", "ran", before=before) for staying in ((), ("--init",))]

    assert [(end.code, end.stdout, len(end.errors)) for end in ends] == [(100, "", 1)] * 2
    assert f"{option}: the kernel refuses it: Operation not permitted" in ends[0].stderr
    return ends[0].stderr


@provokes("--subreaper: …; orphans are left to another process")
def test_a_filter_of_system_calls(shim: Shim) -> str:
    end = shim("--subreaper", "true", before=(sys.executable, "-c", NO_SUBREAPER))

    assert end.code == 0
    return end.stderr


@provokes("the service failed … times since its secrets changed; giving up")
def test_a_service_that_does_not_bear_its_new_secrets(shim: Shim, canary: Canary) -> str:
    first = canary()
    (shim.root / "a").write_text(first)
    service = f'[ "$A" = {first} ] || exit 7; echo ready; exec sleep 60'
    return said_after(
        shim, "giving up", ("--on-change", "restart", "sh", "-c", service), lambda: replace(shim.root / "a", canary())
    )


@provokes("nothing provides … any more")
def test_a_key_that_goes(shim: Shim, canary: Canary) -> str:
    (shim.root / "a").write_text(canary())
    return said_after(
        shim,
        "nothing provides",
        ("--on-change", "restart", "sh", "-c", "echo ready; exec sleep 60"),
        (shim.root / "a").unlink,
    )


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("error", [1, 38], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize(
    ("calls", "deliver", "said"),
    [
        ((117, 147), "file", "cannot become user 64998"),  # setresuid(2), on x86-64 and on arm64
        ((119, 149), "env", "cannot become user 64998"),  # setresgid(2)
        ((126, 91), "env", "the capabilities cannot be given up"),  # capset(2)
        ((319, 279), "memfd", "has no memfd_create(2): use @deliver=file"),
    ],
)
def test_a_filter_of_system_calls_has_its_words(
    frozen: Shim, tmp_path: Path, calls: tuple[int, int], deliver: str, said: str, error: int
) -> None:
    (tmp_path / "s").write_text(f"# @deliver={deliver}\nKEY=\n")
    refused = FILTERED.format(program=f"(EQUAL, 0, 1, {calls[IS_ARM]}), (RETURN, 0, 0, {0x50000 | error})")
    before = [sys.executable, "-c", refused]

    end = frozen("--user", "64998", "--schema", f"{tmp_path}/s", "--", "true", before=before, key="v")

    assert end.code != 0
    assert said in end.stderr
