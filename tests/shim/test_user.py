"""Become another user, with /etc/passwd and /etc/group as they are."""

import os
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
    end = shim("--user", "65533:65534", "true", before=nobody)
    assert end.code == 100
    assert "cannot become user 65533" in end.errors[0]
    assert "SETUID" in end.stderr


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
