"""`--user` leaves no capability behind, whatever the start was; `--keep-caps` keeps the named ones."""

import sys

import pytest

from tests.support.forms import Shim

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
BIND = 1 << 10  # NET_BIND_SERVICE
MANY = "+setuid,+setgid,+setpcap,+dac_override,+sys_admin"
MANY_AMBIENT = [f"--inh-caps={MANY}", f"--ambient-caps={MANY}"]
AMBIENT = ["--inh-caps=+setuid,+setgid,+sys_admin", "--ambient-caps=+setuid,+setgid,+sys_admin"]
# setpriv(1) knows no securebits of its own kind, and unshare(1) asks newuidmap, which allows root no range.
SECUREBITS = "import ctypes, os, sys; ctypes.CDLL(None).prctl(28, {bits}); os.execvp(sys.argv[1], sys.argv[1:])"
USER_NAMESPACE = """
import ctypes, os, sys
reader, writer = os.pipe()
mapped = os.fork()
if not mapped:
    os.read(reader, 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{os.getppid()}/{name}", "w") as file:
            file.write("0 0 20000")
    os._exit(0)
assert ctypes.CDLL(None).unshare(0x10000000) == 0
os.write(writer, b"x")
os.waitpid(mapped, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


# Answers capset(2) with an error, or with 0 and without doing anything: seccomp(2), BPF as in linux/filter.h.
CAPSET_ANSWERS = """
import ctypes, os, struct, sys
number = {{"x86_64": 126, "aarch64": 91}}[os.uname().machine]
program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | {error}), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
prctl = ctypes.CDLL(None).prctl
assert prctl(22, 2, ctypes.byref(Filter(len(program), ctypes.cast(code, ctypes.c_void_p))), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def securebits(bits: int) -> list[str]:
    """Return a wrapper that sets these bits (capabilities(7)) before it becomes the rest."""
    return [sys.executable, "-c", SECUREBITS.format(bits=bits)]


STARTS = {
    "root": [],
    "root with inheritable ones": ["setpriv", "--inh-caps=+sys_admin,+net_raw"],
    "root with securebits": [*securebits(1 << 2), "setpriv", "--inh-caps=+sys_admin"],
    "root with ambient ones and locked securebits": [
        *("setpriv", *MANY_AMBIENT, "--securebits=+noroot,+noroot_locked,+no_setuid_fixup,+no_setuid_fixup_locked"),
    ],
    "another user with all of them and no new privileges": [
        *("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--no-new-privs", *MANY_AMBIENT),
    ],
    "another user with ambient ones": ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *AMBIENT],
    "another user who cannot change": [
        *("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"),
        *("--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"),
    ],
    "the same user with ambient ones": ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *AMBIENT],
    "root of a user namespace": [sys.executable, "-c", USER_NAMESPACE],
}


@pytest.fixture
def shim(frozen: Shim, as_root: None) -> Shim:
    """Return the frozen binary, which anybody may start."""
    return frozen


def sets(text: str) -> dict[str, int]:
    return {line[:6]: int(line[8:], 16) for line in text.splitlines() if line[:6] in SETS}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("mode", [(), ("--init",)], ids=["in place", "init"])
def test_no_capability_stays(shim: Shim, start: str, mode: tuple[str, ...]) -> None:
    """None that counts, none that comes back, and where the kernel lets us not even the bounds of one."""
    end = shim(*mode, "--user=12345:12345", "--", "cat", "/proc/self/status", before=STARTS[start])

    found = sets(end.stdout)
    assert end.code == 0, end
    assert [found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4, (start, end)
    assert found["CapBnd"] == 0 or not start.startswith("root"), (start, end)


def test_the_user_cannot_become_root_again(shim: Shim) -> None:
    again = ["setpriv", "--reuid=0", "id", "-u"]

    end = shim("--user=12345:12345", "--", *again, before=STARTS["another user with ambient ones"])
    assert (end.code != 0, end.stdout) == (True, "")


@pytest.mark.parametrize("mode", [(), ("--init",)], ids=["in place", "init"])
@pytest.mark.parametrize("name", ["NET_BIND_SERVICE", "cap_net_bind_service", "net-bind-service"])
def test_a_capability_that_is_named_is_kept(shim: Shim, name: str, mode: tuple[str, ...]) -> None:
    end = shim(*mode, "--user=nobody", f"--keep-caps={name}", "--", "cat", "/proc/self/status")

    assert set(sets(end.stdout).values()) == {BIND}, end


@pytest.mark.parametrize(
    ("options", "before", "words"),
    [
        (["--keep-caps=NET_BIND_SERVICE"], [], "--keep-caps works only with --user"),
        (["--user=nobody", "--keep-caps=FLY"], [], "--keep-caps names an unknown capability"),
        (
            ["--user=nobody", "--keep-caps=NET_RAW,NET_ADMIN"],
            ["setpriv", "--bounding-set=-net_raw,-net_admin", "--inh-caps=-all"],
            "--keep-caps: the container has no NET_ADMIN, NET_RAW to keep",
        ),
        (
            ["--user=nobody", "--keep-caps=NET_RAW"],
            securebits(1 << 6),
            "--keep-caps: the kernel passes on no capabilities: ",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(shim: Shim, options: list[str], before: list[str], words: str) -> None:
    end = shim(*options, "--", "true", before=before)

    assert end.code == 100
    assert words in end.stderr


def test_a_kernel_that_takes_nothing_away_starts_nothing(shim: Shim) -> None:
    before = ["setpriv", "--inh-caps=+sys_admin", sys.executable, "-c", CAPSET_ANSWERS.format(error=0)]

    end = shim("--user=12345:12345", "--", "true", before=before)
    assert end.code == 100
    assert "--user: capabilities remain that nobody asked for" in end.stderr


def test_the_init_gives_up_reading_what_is_closed_to_it(shim: Shim) -> None:
    """Once the secrets are read; a service that is root has what its container has."""
    look = "cat /proc/$PPID/status; echo; grep CapEff /proc/self/status"

    end = shim("--init", "--", "sh", "-c", f"sleep 0.3; {look}")
    init, own = end.stdout.split("\n\n")
    assert (sets(init)["CapEff"] & 0b110, sets(init)["CapPrm"] & 0b110) == (0, 0)
    assert sets(own)["CapEff"] & 0b010


def test_an_init_that_may_give_up_nothing_stays(shim: Shim) -> None:
    """Its service runs already when a filter (systemd's SystemCallFilter=~@privileged) says EPERM."""
    before = [sys.executable, "-c", CAPSET_ANSWERS.format(error=1)]

    for options in (["--init"], ["--mask"]):
        assert shim(*options, "--", "sh", "-c", "echo ran; exit 7", before=before) == (7, "ran\n", "")


def test_root_stays_what_the_container_lets_root_be(shim: Shim) -> None:
    end = shim("--user=root", "--", "cat", "/proc/self/status")

    assert sets(end.stdout)["CapEff"] & 1


def test_pid_1_is_open_to_nobody_under_init(shim: Shim) -> None:
    """It held values: neither its memory nor its descriptors are for others, as docs/SECURITY.md says."""
    before = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all", "unshare", "--pid", "--fork", "--mount-proc"]
    ways = (
        "(echo hi > /proc/1/fd/1) 2>/dev/null && exit 1; head -c1 /proc/1/mem 2>/dev/null && exit 2; echo > /dev/stdout"
    )

    assert shim("--init", "--", "sh", "-c", ways, before=before).code == 0
