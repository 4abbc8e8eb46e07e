"""Become another user, with /etc/passwd and /etc/group as they are."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import Refused
from shim.user import find_user
from tests.support.forms import Shim

PASSWD = """\
# a comment
root:x:0:0:root:/root:/bin/sh
app:x:1000:1001:,,,:/home/app:/bin/sh
nohome:x:1002:1002:::
broken:x:y:z
short:x
huge:x:99999999999999999999:1::/:
minus:x:4294967295:4294967295::/:
2000:x:2001:2001::/named-2000:
+nis::::::
"""
GROUP = """\
root:x:0:
app:x:1001:
extra:x:3000:other,app
another:x:3001:app
not:x:3002:apple,xapp
huge:x:99999999999999999999:app
"""


@pytest.fixture
def etc(tmp_path: Path) -> bytes:
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "group").write_text(GROUP)
    return os.fsencode(tmp_path)


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("app", 1000, 1001, [1001, 3000, 3001], b"/home/app"),
        ("1000", 1000, 1001, [1001, 3000, 3001], b"/home/app"),
        ("app:extra", 1000, 3000, [3000], b"/home/app"),
        ("app:3005", 1000, 3005, [3005], b"/home/app"),
        ("app:", 1000, 1001, [1001, 3000, 3001], b"/home/app"),
        ("1234", 1234, 0, [0], b"/"),
        ("1234:5678", 1234, 5678, [5678], b"/"),
        ("4294967294:4294967294", 4294967294, 4294967294, [4294967294], b"/"),
        ("nohome", 1002, 1002, [1002], b"/"),
        ("root", 0, 0, [0], b"/root"),
        ("2000", 2001, 2001, [2001], b"/named-2000"),
    ],
)
def test_users(etc: bytes, text: str, uid: int, gid: int, groups: list[int], home: bytes) -> None:
    target = find_user(text, etc)

    assert (target.uid, target.gid, target.groups, target.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "nobody-here",
            "",
            ":",
            ":app",
            "app:nope",
            "broken",
            "short",
            "huge",
            "minus",
            "+nis",
            "-1",
            "1.5",
            "\u00b2",
        ),
        *("4294967295", "1:4294967295", "9" * 5000, "1:" + "9" * 5000, "app:huge", "a:b:c", "1000 ", "0x0"),
    ],
)
def test_who_is_no_user(etc: bytes, text: str) -> None:
    """(uid_t) -1 would leave root as it is (setresuid(2)), so it is nobody's number."""
    with pytest.raises(Refused):
        find_user(text, etc)


def test_without_the_files_numbers_do(tmp_path: Path) -> None:
    assert find_user("1000:1000", os.fsencode(tmp_path)).uid == 1000
    with pytest.raises(Refused):
        find_user("app", os.fsencode(tmp_path))


@given(st.text(max_size=20), st.binary(max_size=60), st.binary(max_size=60))
def test_any_file_and_any_text_are_answered(
    tmp_path_factory: pytest.TempPathFactory, text: str, passwd: bytes, group: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "passwd").write_bytes(passwd)
    (folder / "group").write_bytes(group)
    try:
        target = find_user(text, os.fsencode(folder))
    except Refused:
        return
    assert 0 <= target.uid < 4294967295
    assert all(0 <= gid < 4294967295 for gid in target.groups)


# --- for real --------------------------------------------------------------------------------------------------------


def etc_of(folder: Path) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", f'mount --bind "{folder}" /etc; exec "$@"', "sh"]


@pytest.mark.usefixtures("as_root")
def test_the_service_is_the_user(shim: Shim, etc: bytes) -> None:
    """Root-only secrets are read before; all ids, the groups and HOME are the user's; no capability is left."""
    (shim.root / "a").write_text("root-only")
    (shim.root / "a").chmod(0o400)

    child = shim.child("--user", "app", env={"HOME": "/root"}, before=etc_of(Path(os.fsdecode(etc))))

    assert child.status["Uid"] == "\t".join(["1000"] * 4)
    assert child.status["Gid"] == "\t".join(["1001"] * 4)
    assert child.status["Groups"].split() == ["1001", "3000", "3001"]
    assert (child.status["CapEff"], child.status["CapPrm"]) == ("0" * 16, "0" * 16)
    assert (child.env["HOME"], child.env["A"]) == ("/home/app", "root-only")


@pytest.mark.usefixtures("as_root")
def test_a_number_needs_no_entry(shim: Shim) -> None:
    child = shim.child("--user", "12345:23456")

    assert child.status["Uid"].split() == ["12345"] * 4
    assert child.status["Gid"].split() == ["23456"] * 4
    assert child.status["Groups"].split() == ["23456"]
    assert child.env["HOME"] == "/"
    assert shim.child(env={"SHIM_USER": "12345"}).status["Uid"].split() == ["12345"] * 4


@pytest.mark.usefixtures("as_root")
def test_who_is_the_user_already_needs_no_rights(shim: Shim) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    assert shim.child("--user", "65534:65534", before=nobody).status["Uid"].split() == ["65534"] * 4


def test_an_unknown_user_is_refused_with_all_else(shim: Shim) -> None:
    end = shim("--user", "no-such-user:no-such-group", "--require", "A", "true")

    assert end.code == 100
    assert len(end.errors) == 3
    assert "'no-such-user'" in end.errors[1]


def test_no_new_privileges_and_no_core(shim: Shim) -> None:
    plain = shim.child()
    child = shim.child("--no-new-privs", "--no-core")

    assert (plain.status["NoNewPrivs"], child.status["NoNewPrivs"]) == ("0", "1")
    limits = (child.folder / "limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")] == [["0", "0"]]
    assert shim.child(env={"SHIM_NO_NEW_PRIVS": "true"}).status["NoNewPrivs"] == "1"


@pytest.mark.usefixtures("as_root")
def test_no_new_privileges_for_another_user(shim: Shim) -> None:
    child = shim.child("--no-new-privs", "--user", "12345:12345")

    assert (child.status["NoNewPrivs"], child.status["Uid"].split()[0]) == ("1", "12345")


@pytest.mark.usefixtures("as_root")
def test_the_service_can_open_its_own_stdout(shim: Shim) -> None:
    """`/dev/stdout` leads to the engine's pipe, which root owns; the service's user can open it all the same."""
    end = shim("--user", "65534:65534", "--", "sh", "-c", "echo opened > /proc/self/fd/1; echo too > /proc/self/fd/2")

    assert end.code == 0
    assert end.stdout == "opened\n"
    assert end.stderr == "too\n"


# --- as the engine's USER does ---------------------------------------------------------------------------------------

SOMEBODY = ["setpriv", "--reuid=1000680000", "--regid=0", "--clear-groups"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("user", "given", "has"),
    [
        ("app", {}, ("/home/app", "app", "app")),
        ("app", {"HOME": "", "USER": "", "LOGNAME": ""}, ("/home/app", "app", "app")),
        ("app", {"HOME": "/root", "USER": "root", "LOGNAME": "root"}, ("/home/app", "app", "app")),
        ("app", {"HOME": "/data", "USER": "tenant", "LOGNAME": "other"}, ("/data", "tenant", "other")),
        ("app", {"HOME": "/"}, ("/", "app", "app")),
        ("12345:12345", {"HOME": "/root", "USER": "root", "LOGNAME": "root"}, ("/", None, None)),
        ("12345:12345", {"HOME": "/data", "USER": "tenant"}, ("/data", "tenant", None)),
    ],
)
def test_home_and_names_follow_unless_somebody_set_them(
    frozen: Shim, etc: bytes, user: str, given: dict[str, str], has: tuple[str | None, ...]
) -> None:
    """What only says who we were is replaced; what the image or the user chose is not, as with the engine's USER."""
    env = frozen.child("--user", user, env=given, before=etc_of(Path(os.fsdecode(etc)))).env

    assert tuple(env.get(name) for name in ("HOME", "USER", "LOGNAME")) == has


@pytest.mark.usefixtures("as_root")
def test_a_user_that_the_schema_asks_for_is_the_schemas(frozen: Shim) -> None:
    """`USER` can be the name of a login, too."""
    (frozen.folder / "schema").write_text("LOGNAME=\n")

    env = frozen.child("--schema", "schema", "--user", "nobody", env={"LOGNAME": "root", "USER": "root"}).env

    assert (env["LOGNAME"], env["USER"]) == ("root", "nobody")


@pytest.mark.usefixtures("as_root")
def test_groups_that_the_engine_added_are_kept(frozen: Shim, etc: bytes) -> None:
    """`--group-add` and `supplementalGroups` reach the service; what /etc/group gives root does not."""
    group = Path(os.fsdecode(etc)) / "group"
    group.write_text(GROUP + "disk:x:6:root,adm\n")
    before = [*etc_of(group.parent), "setpriv", "--groups=0,6,998"]

    child = frozen.child("--user", "app", before=before)
    number = frozen.child("--user", "12345:23456", before=before)

    assert child.status["Groups"].split() == ["998", "1001", "3000", "3001"]
    assert number.status["Groups"].split() == ["998", "23456"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("more", [[], ["--init"]])
def test_who_was_started_as_somebody_else_goes_on_as_that(frozen: Shim, more: list[str]) -> None:
    """OpenShift gives each project a uid of its own, with no entry in /etc/passwd, and no right to change."""
    whoami = ["--", "sh", "-c", 'echo "$(id -u):$(id -g) $HOME"']

    end = frozen(*more, *whoami, env={"SHIM_USER": "nobody", "HOME": "/"}, before=SOMEBODY)

    assert (end.code, end.stdout) == (0, "1000680000:0 /\n"), end
    assert (
        "--user nobody: started as uid 1000680000, gid 0, which cannot change user; continuing as that user"
        in end.stderr
    )
    assert "SHIM_USER=" in end.stderr


@pytest.mark.usefixtures("as_root")
def test_who_cannot_change_needs_no_entry_of_the_other(frozen: Shim) -> None:
    """The platform's /etc/passwd is not the image's; and a health check every few seconds does not say it again."""
    start = frozen("--user", "no-such-user", "--", "id", "-u", before=SOMEBODY)
    check = frozen("exec", "--user", "nobody", "--", "id", "-u", before=SOMEBODY)

    assert (start.code, start.stdout) == (check.code, check.stdout) == (0, "1000680000\n")
    assert ("continuing as that user" in start.stderr, check.stderr) == (True, "")


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("left", "missing"), [("+setuid", "CAP_SETGID"), ("+setgid", "CAP_SETUID"), ("", "CAP_SETGID and CAP_SETUID")]
)
def test_root_without_the_capabilities_stays_no_root(frozen: Shim, left: str, missing: str) -> None:
    bounds = "-all" + ("," + left if left else "")

    end = frozen("--user", "65534:65534", "true", before=["setpriv", f"--bounding-set={bounds}"])

    assert end.code == 100
    assert end.errors[0].endswith(f"without {missing}")


# Becomes root of a user namespace in which 1,000 ids exist, and then argv.
FEW_IDS = """\
import ctypes, os, sys
ready, done = os.pipe(), os.pipe()
pid = os.fork()
if pid:
    os.read(ready[0], 1)
    for table in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{table}", "w") as file:
            file.write("0 0 1000")
    os.write(done[1], b"x")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
assert ctypes.CDLL(None).unshare(0x10000000) == 0
os.write(ready[1], b"x")
os.read(done[0], 1)
os.setgroups([])
os.setresgid(0, 0, 0)
os.setresuid(0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.usefixtures("as_root")
def test_a_user_namespace_has_words_of_its_own(frozen: Shim) -> None:
    """EINVAL of an id that is not mapped, and EPERM of groups that may not change, are no "invalid argument"."""
    if subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this kernel gives no user namespace")
    few = [sys.executable, "-c", FEW_IDS]

    beyond = frozen("--user", "1234:2345", "true", before=few)
    alone = frozen("--user", "65534", "true", before=["setpriv", "--reuid=65533", "--clear-groups", "unshare", "-Ur"])

    assert (beyond.code, alone.code) == (100, 100)
    assert "user namespace has no uid 1234 and no gid 2345" in beyond.errors[0]
    assert "user namespace does not allow groups to change" in alone.errors[0]
    assert all("/etc/subuid" in end.stderr for end in (beyond, alone))
    assert frozen("--user", "999:999", "id", "-u", before=few).stdout == "999\n"


HARDENED = ["setpriv", "--bounding-set=-all,+setuid,+setgid"]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("before", [[], HARDENED], ids=["all", "hardened"])
@pytest.mark.parametrize("options", [[], ["--init"], ["--mask"]], ids=["exec", "init", "mask"])
def test_the_terminal_and_the_pipes_are_the_users(frozen: Shim, before: list[str], options: list[str]) -> None:
    """The service can open its terminal, /dev/stdout and /dev/stderr again, without CAP_CHOWN too."""
    user = [*frozen.command, *options, "--user", "65534:65534", "--", "sh", "-c"]
    # Not every shell that `script` finds becomes its last command, and one that stays keeps the terminal.
    reopens = "exec " + shlex.join([*user, 'echo one > /dev/tty; echo two > "$(tty)"; echo three > /dev/stdout'])

    seen = subprocess.run(
        [*before, "script", "-qec", reopens, "/dev/null"],
        cwd=frozen.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    piped = subprocess.run(
        [*before, *user, "echo out > /dev/stdout; echo err > /dev/stderr"],
        cwd=frozen.folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert [word for word in ("one", "two", "three") if word in seen.stdout] == ["one", "two", "three"], seen
    assert (piped.stdout, piped.stderr) == ("out\n", "err\n")


@pytest.mark.usefixtures("as_root")
def test_a_shells_terminal_stays_the_shells(frozen: Shim) -> None:
    """Where a shell leads the session, somebody sits at it: the terminal does not change hands."""
    user = shlex.join([*frozen.command, "--user", "65534:65534", "--", "true"])

    seen = subprocess.run(
        ["script", "-qec", f"{user}; stat -c owner-%u $(tty); :", "/dev/null"],
        cwd=frozen.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert "owner-0" in seen.stdout, seen
