"""How a file becomes a value, how its name becomes a key, and a value that does not print itself."""

import copy
import os
import pickle
from pathlib import Path

import pytest

from shim.breaches import Directory, Missing, Unusable
from shim.secret import Secret, clean, env_key, fold_keys, is_key, is_skipped, read_secret
from shim.shown import printable, shown_path

CANARY = b"c4n4ry-of-secret"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", b""),
        (b"\n", b""),
        (b"\r\n\n\r\n", b""),
        (b"v\n\n", b"v"),
        (b"v\r\n", b"v"),
        (b"v\r", b"v\r"),
        (b"v\r\r\n", b"v\r"),
        (b" v ", b" v "),
        (b"\nv", b"\nv"),
        (b"v\0\n", b"v\0"),
        (b"\xff", b"\xff"),
        (b"\xfe\xff\xd8", b"\xfe\xff\xd8"),
        (b"\xff\xfe\x00\xd8", b"\xff\xfe\x00\xd8"),
        (b"\xff\xfea\0\n\0", b"a"),
        (b"\xfe\xff\0a\0\r\0\n", b"a"),
        (b"\xef\xbb\xbf\n", b""),
        (b"\xef\xbb", b"\xef\xbb"),
        ("\u2028\u0085".encode(), "\u2028\u0085".encode()),
        (b"\x0b\x0c", b"\x0b\x0c"),
    ],
)
def test_bytes_become_a_value(data: bytes, value: bytes) -> None:
    assert clean(data) == value


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("db_password", "DB_PASSWORD"),
        ("db-password", "DB_PASSWORD"),
        ("db.password", "DB_PASSWORD"),
        ("_", "_"),
        ("-", "_"),
        ("1password", ""),
        ("", ""),
        ("a b", ""),
        ("a=b", ""),
        ("paß", ""),
        ("ſ", ""),
        ("a\n", ""),
    ],
)
def test_a_name_becomes_a_key(name: str, key: str) -> None:
    assert env_key(name) == key


def test_a_name_belongs_to_the_key_that_equals_it_best() -> None:
    keys = ["dbPassword", "DB_PASSWORD", "DBPASSWORD", "aPiKey"]

    assert env_key("dbPassword", keys) == "dbPassword"
    assert env_key("db_password", keys) == "DB_PASSWORD"
    assert env_key("db.pass.word", keys) == "dbPassword"
    assert env_key("db.pass.word", keys, fold_keys(keys)) == "dbPassword"
    assert env_key("API-KEY", keys) == "aPiKey"
    assert env_key("other", keys) == "OTHER"


def test_keys() -> None:
    assert [text for text in ("A", "_1", "a9", "", "1a", "a-b", "é", "a\n", "A B") if is_key(text)] == ["A", "_1", "a9"]


def test_what_is_skipped() -> None:
    skipped = [".x", "..data", "README", "README.de.txt", "a.example", "a.md"]
    assert [name for name in [*skipped, "readme", "example", "a.mdx", "md"] if is_skipped(name)] == skipped


def test_a_value_does_not_print_itself() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", "%s %r" % (secret, secret)]  # noqa: UP031
    shown += [repr([secret]), repr({"a": secret}), "{0}".format(secret)]  # noqa: UP030, UP032

    assert not [text for text in shown if CANARY.decode() in text]
    for travel in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError) as caught:
            travel(secret)
        assert CANARY.decode() not in str(caught.value)
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert secret != Secret(b"other")
    assert secret != CANARY
    assert len(secret) == len(CANARY)
    assert not Secret(b"")
    assert hash(secret) == hash(Secret(CANARY))


def test_a_binary_value_of_the_right_length_is_taken_as_it_is(tmp_path: Path) -> None:
    """`bytes(N, raw)` may end in what looks like a line end."""
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe" + b"x" * 29 + b"\n")

    assert read_secret(os.fsencode(path), "KEY", raw_bytes=32).reveal() == path.read_bytes()
    path.write_bytes(b"x" * 32 + b"\n")
    assert read_secret(os.fsencode(path), "KEY", raw_bytes=32).reveal() == b"x" * 32


def test_a_file_that_changes_while_it_is_read_is_read_again() -> None:
    answers = [(0o100600, 9, b"old"), (0o100600, 3, b"new-one"), (0o100600, 7, b"new-one")]

    secret = read_secret(b"/run/secrets/key", "KEY", reader=lambda *_: answers.pop(0))

    assert (secret.reveal(), answers) == (b"new-one", [])


def test_a_file_that_never_rests_ends(tmp_path: Path) -> None:
    """A file whose size says nothing (/proc) is taken after some attempts."""
    calls = []

    def reader(path: bytes, limit: int, follow: bool) -> tuple[int, int, bytes]:
        calls.append(path)
        return 0o100444, 0, b"value"

    assert read_secret(b"/x/y", "KEY", reader=reader).reveal() == b"value"
    assert len(calls) < 20


def test_a_file_that_vanishes_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        read_secret(os.fsencode(tmp_path / "gone"), "KEY")


def test_each_mistake_has_its_kind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(Directory):
        read_secret(os.fsencode(tmp_path / "folder"), "KEY")
    with pytest.raises(Unusable, match="a FIFO"):
        read_secret(os.fsencode(tmp_path / "fifo"), "KEY")
    with pytest.raises(Unusable, match="larger than 10 bytes"):
        read_secret(os.fsencode(tmp_path / "large"), "KEY", max_bytes=10)
    with pytest.raises(Unusable, match="leads to itself"):
        read_secret(os.fsencode(tmp_path / "loop"), "KEY")
    with pytest.raises(Unusable, match="too long for the kernel"):
        read_secret(b"/" + b"x" * 5000, "KEY")


def test_a_path_that_may_be_a_value_is_not_shown() -> None:
    """Somebody may have set KEY_FILE to the value itself."""
    for path in (CANARY, b"/" + CANARY + b"/x", b"a/b", b"/run/" + b"x" * 600):
        assert shown_path(path) == "the path it names"
    assert shown_path(b"/run/secrets/key") == "/run/secrets/key"
    assert shown_path(b"./secrets/key") == "./secrets/key"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("plain ü ✓") == "plain ü ✓"
    assert printable("a\nb\x1b[31m\x7f\x9b\u202e\udcff") == "a\\x0ab\\x1b[31m\\x7f\\x9b\\u202e\\xff"
    assert printable("\U000e0041") == "\\U000e0041"
