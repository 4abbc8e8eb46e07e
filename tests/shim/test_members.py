"""One value out of many: members of JSON documents and of files with KEY=value lines; `file:` URLs; credentials."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.json_text import checked, member
from shim.members import Document, variables
from tests.support.forms import Shim

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_every_member_is_what_the_standard_library_reads(document: Any, is_ascii: bool, indent: int | None) -> None:
    data = json.dumps(document, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return

    text = checked(data)
    seen: dict[int, dict[str, int]] = {}

    def walk(part: Any, names: list[str]) -> None:
        found = member(text, names, seen)
        if part is None:
            assert found is None
        elif isinstance(part, str):
            assert found == part.encode("utf-8", "surrogatepass")
        else:
            assert found is not None
            assert json.loads(found) == part
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for name, inner in items:
            walk(inner, [*names, str(name)])
        assert member(text, [*names, "no such name"], seen) is None

    walk(document, [])


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('{"a": 1, "a": 2}', "a", b"2"),
        ('{"a": {"b": [true, {"c": "\\u20ac\\ud83d\\ude00\\n"}]}}', "a.b.1.c", "\u20ac\U0001f600\n".encode()),
        ('[{"a": 1.50}]', "0.a", b"1.50"),
        ('{"a": {"b":  1 }}', "a", b'{"b":  1 }'),
        ('{"a": null}', "a", None),
        ('{"a": "x"}', "a.b", None),
        ('{"a.b": "x"}', "a.b", b"x"),
        ('{"a.b": "x", "a": {"b": "y"}}', "a.b", b"y"),
        ('{"data": {"tls.crt": "x"}}', "data.tls.crt", b"x"),
        ('{"a.b.c.d.e.f.g.h.i.j": 1}', "a.b.c.d.e.f.g.h.i.j", b"1"),
        ("A=1\nA=2\n", "A", b"2"),
        ("# note\nexport A = 'x # $y\\n'  # note\nB=x#y # note\r\n", "A", b"x # $y\\n"),
        ("# note\nexport A = 'x # $y\\n'  # note\nB=x#y # note\r\n", "B", b"x#y"),
        ('A="a\\n\\"b\\" \\\\ \\$c \\d"', "A", b'a\n"b" \\ $c \\d'),
        ("A='1\n2'\nB=3", "B", b"3"),
        ("A=\nB=#x", "A", b""),
        ("A=1", "B", None),
        ("a-b=1\na.b=2\nA=3\n", "A", b"3"),
        ("a-b=1\na.b=2\nA=3\n", "a.b", b"2"),
    ],
)
def test_members_that_are_easily_got_wrong(text: str, path: str, value: bytes | None) -> None:
    assert Document(text.encode()).pick(path) == value


@pytest.mark.parametrize("text", ["{", '{"a": 1', "[1,]", '{"a": NaN}', "just a password", "1A=2", 'A="x', "A=1\nB\n"])
def test_what_has_no_members(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Document(text.encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_answered(data: bytes) -> None:
    try:
        found = variables(data)
    except ValueError:
        return
    assert all(isinstance(value, bytes) for value in found.values())


SCHEMA = """\
# @required @from=db.json(username)
DB_USER=
# @required @sensitive @from=db.json(login.password)
DB_PASSWORD=
# @from=app.env(API_KEY)
API_KEY=
# @from=app.env(NOT_THERE)
PORT=80
# @from=gone.json(a)
GONE=
# @composed="${DB_USER}:${REST|.0.token|url}"
BOTH=
# @deliver=none
REST=
"""


def test_a_file_is_taken_apart(shim: Shim, canary: Callable[[], str]) -> None:
    """The file itself becomes no variable; a member that is not there is asked of the next source."""
    (shim.folder / "schema").write_text(SCHEMA)
    secret = canary()
    files = {
        "db.json": json.dumps({"username": "app", "login": {"password": secret}}),
        "app.env": 'OTHER=1\nexport API_KEY="b c"\n',
        "rest": '[{"token": "a/b"}]',
    }

    env = shim.child("--schema", "schema", secrets=files, env={"GONE": "given"}).env

    assert {name: env[name] for name in ("DB_USER", "API_KEY", "PORT", "GONE", "BOTH")} == {
        "DB_USER": "app",
        "API_KEY": "b c",
        "PORT": "80",
        "GONE": "given",
        "BOTH": "app:a%2Fb",
    }
    assert env["DB_PASSWORD"] == secret
    assert not {"DB_JSON", "APP_ENV", "OTHER", "REST"} & set(env)


def test_a_member_that_only_leaves_out_stays_in_its_file(frozen: Shim) -> None:
    (frozen.folder / "schema").write_text("# @from=db.json(a)\nA=\n# @from=db.json(a)\nB=default\n")

    env = frozen.child("--schema", "schema", "--only", "A", secrets={"db.json": '{"a": "v"}'}).env

    assert (env["A"], env["B"]) == ("v", "default")


def test_its_own_file_and_a_pointer_win(frozen: Shim) -> None:
    (frozen.folder / "schema").write_text("# @from=db.json(a)\nA=\n# @from=db.json(a)\nB=\n# @from=db.json(a)\nC=\n")
    (frozen.folder / "pointed").write_text("pointer")

    files = {"db.json": '{"a": "member"}', "a": "own"}
    env = frozen.child("--schema", "schema", secrets=files, env={"B_FILE": "pointed", "C": "environment"}).env

    assert (env["A"], env["B"], env["C"]) == ("own", "pointer", "member")


def test_what_cannot_be_taken_apart_is_said(frozen: Shim, canary: Callable[[], str]) -> None:
    (frozen.folder / "schema").write_text(
        "# @from=text(a)\nA=\n# @required @from=db.json(b)\nB=\n"
        '# @composed="${RAW|.c}"\nC=\n# @composed="${RAW|.d|url}"\nD=\nRAW=\n# @composed="${TEXT|.e}"\nE=\n'
    )
    end = frozen("--schema", "schema", "--", "true", secrets={"text": canary(), "db.json": "{}", "raw": '{"c": null}'})

    assert end.code == 100
    assert [line.partition(":")[0] for line in end.errors] == [
        "A",
        "B is required, and nothing provides it",
        "C cannot be composed",
        "D cannot be composed",
    ]
    assert "text is neither JSON nor lines of KEY=value, so it has no member a" in end.errors[0]
    assert "RAW has no member c" in end.errors[2]
    assert "db.json(b)" in end.stderr


def test_a_composed_value_of_what_has_no_members(frozen: Shim, canary: Callable[[], str]) -> None:
    (frozen.folder / "schema").write_text('TEXT=\n# @composed="${TEXT|.e}"\nE=\n')

    end = frozen("--schema", "schema", "--", "true", text=canary())

    assert "TEXT is neither JSON nor lines of KEY=value, so it has no member e" in end.errors[0]
    assert "hint: write ${KEY|.name}" in end.stderr


def test_a_reference_without_a_member(frozen: Shim) -> None:
    (frozen.folder / "schema").write_text('A=\n# @composed="${A|.b..c}"\nB=\n')

    assert "line 1 names no member" in frozen("--schema", "schema", "--", "true").errors[0]


@pytest.mark.parametrize("decorator", ["from=db.json", "from=(a)", "from=db.json()", "from=/etc/db.json(a)"])
def test_a_from_that_says_too_little(frozen: Shim, decorator: str) -> None:
    (frozen.folder / "schema").write_text(f"# @{decorator}\nA=\n")

    assert "@from takes the name of a file" in frozen("--schema", "schema", "--", "true").errors[0]


def test_an_env_file_becomes_no_variable_unasked(frozen: Shim) -> None:
    """APP_ENV chooses the environment in many frameworks."""
    app = {"secrets": {"app.env": "A=1\nB=2\n"}}

    alone = frozen("--", "sh", "-c", 'echo "[$APP_ENV]"', **app)  # type: ignore[arg-type]
    (frozen.folder / "schema").write_text("# @literal\nAPP_ENV=\n")
    asked = frozen.child("--schema", "schema").env

    assert (alone.code, alone.stdout) == (0, "[]\n")
    assert "app.env is left alone: a file of that name holds many values" in alone.stderr
    assert asked["APP_ENV"] == "A=1\nB=2"


# --- file: URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["file://", "file:", "file://localhost"])
def test_a_file_url_is_resolved_where_the_schema_says_so(shim: Shim, start: str) -> None:
    (shim.folder / "the key").write_text("value\n")
    (shim.folder / "schema").write_text("# @resolve\nA=\n")
    url = start + str(shim.folder / "the%20key")

    env = shim.child("--schema", "schema", env={"A": url, "B": url}).env

    assert (env["A"], env["B"]) == ("value", url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///nonexistent/x", "does not exist"),
        ("file://host/x", "does not name a path on this machine"),
        ("file:x", "does not name a path on this machine"),
        ("file:///etc", "is a directory"),
    ],
)
def test_a_file_url_that_leads_nowhere(frozen: Shim, url: str, words: str) -> None:
    (frozen.folder / "schema").write_text("# @resolve\nA=\n")

    end = frozen("--schema", "schema", "--", "true", env={"A": url})

    assert end.code == 100
    assert words in end.errors[0]


# --- systemd's credentials -------------------------------------------------------------------------------------------


def test_credentials_are_a_root_of_their_own(frozen: Shim, tmp_path: Path) -> None:
    """In front of /run/secrets; unless other folders are named, and only where it is an absolute path."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "db_password").write_text("value\n")
    here = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"), "SHIM_SECRETS_DIR": ""}
    pointed = {**here, "API_KEY_FILE": str(tmp_path / "credentials" / "db_password")}

    assert frozen.child(env=here).env["DB_PASSWORD"] == "value"
    assert frozen.child(env=pointed).env["API_KEY"] == "value"
    assert "DB_PASSWORD" not in frozen.child(env={**here, "SHIM_SECRETS_DIR": str(frozen.root)}).env
    assert "DB_PASSWORD" not in frozen.child(env={**here, "CREDENTIALS_DIRECTORY": "credentials"}).env
    places = frozen("--require", "GONE", "--", "true", env=here).stderr
    assert places.index("credentials/gone") < places.index("/run/secrets/gone")
