"""`.env.schema`: what a service needs, in the published @env-spec comment style; all mistakes at once."""

from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import Refused
from shim.schema import DELIVERIES, TYPES, KeySpec, parse, references
from tests.support.forms import REPOSITORY, Shim


def spec(text: str) -> KeySpec:
    schema = parse(text.encode())
    return schema.keys[next(iter(schema.keys))]


def mistakes(text: str) -> list[str]:
    with pytest.raises(Refused) as caught:
        parse(text.encode(), "s")
    return [breach.message for breach in caught.value.breaches]


def test_the_example_of_the_manual() -> None:
    text = """
# PostgreSQL superuser password
# @required @sensitive @type=string(minLength=16) @services=postgres,backend @rotate=90d
POSTGRES_PASSWORD=

# Full database connection URL, made from its parts; |url percent-encodes
# @required @services=backend @composed="postgresql://app:${POSTGRES_PASSWORD|url}@postgres:5432/app"
DB_CONNECTION_STRING=

# 32-byte key for token encryption
# @required @type=bytes(32, hex) @generate
ENCRYPTION_KEY=
"""
    keys = parse(text.encode()).keys
    password, url, key = keys.values()

    assert list(keys) == ["POSTGRES_PASSWORD", "DB_CONNECTION_STRING", "ENCRYPTION_KEY"]
    assert password.description == ("PostgreSQL superuser password",)
    assert password.is_required
    assert password.is_sensitive
    assert password.type is not None
    assert (password.type.name, password.type.options) == ("string", {"minLength": "16"})
    assert (password.services, password.rotate, password.line) == (("postgres", "backend"), "90d", 4)
    assert url.composed == "postgresql://app:${POSTGRES_PASSWORD|url}@postgres:5432/app"
    assert references(url.composed) == ["POSTGRES_PASSWORD"]
    assert url.is_sensitive  # as what it is made from
    assert key.type is not None
    assert key.type.arguments == ("32", "hex")
    assert key.generate == ""
    assert key.is_sensitive


def test_the_repositorys_own_schema_is_right_and_every_dotenv_reader_takes_it() -> None:
    text = (REPOSITORY / ".env.schema").read_bytes()

    keys = parse(text).keys

    assert list(dotenv_values(REPOSITORY / ".env.schema", interpolate=False)) == list(keys)


@pytest.mark.parametrize(
    ("line", "default"),
    [
        ("A=", None),
        ("A=v", b"v"),
        ("A = v", b"v"),
        ("export A=v", b"v"),
        ("A=a b", b"a b"),
        ("A=v # note", b"v"),
        ("A=v#no", b"v#no"),
        ("A= # note", None),
        ("A=''", None),
        ("A='a # b'", b"a # b"),
        ('A="a\\n\\"b\\""', b'a\n"b"'),
        ("A='a\\n'", b"a\\n"),
        ('A="two\nlines"', b"two\nlines"),
        ("A=`x`", b"x"),
        ("A='$B'", b"$B"),
        ("A=costs 5$", b"costs 5$"),
        ("A=$5", b"$5"),
        ("A=(a)", b"(a)"),
        ('A="concat(a)"', b"concat(a)"),
        ("# @composed=${B}\nA=$B", None),
        ("# @from=command(true)\nA=op(op://vault/item/field)", None),
        ("A=\u00e9", "\u00e9".encode()),
        ("A=v\r", b"v"),
        ("\ufeffA=v", b"v"),
    ],
)
def test_a_value_right_of_the_sign_is_the_default(line: str, default: bytes | None) -> None:
    assert spec(line).default == default


def test_what_other_tools_refuse_is_read_out_of_a_comment() -> None:
    """They call a decorator that they do not know a mistake; behind `shim:` it is a comment to them."""
    schema = parse(
        b"# shim: @only\n# ---\n\n"
        b"# what it is\n# @required @sensitive\n# shim: @generate @rotate=90d\n# shim: a note\nA=\n"
    )

    key = schema.keys["A"]
    assert (schema.is_exclusive, key.is_required, key.generate, key.rotate) == (True, True, "", "90d")
    assert key.description == ("what it is", "a note")


@pytest.mark.parametrize(
    ("decorators", "field", "value"),
    [
        ("@required", "is_required", True),
        ("@required=true", "is_required", True),
        ("@required=false", "is_required", False),
        ("@optional", "is_required", False),
        ("@sensitive", "is_sensitive", True),
        ("@sensitive=false", "is_sensitive", False),
        ("@public", "is_sensitive", False),
        ("", "is_sensitive", False),
        ("@type=jwt", "is_sensitive", True),
        ("@services=a, @required", "services", ("a",)),
        ("@services=a,b", "services", ("a", "b")),
        ("@generate", "generate", ""),
        ("@generate(32)", "generate", "32"),
        ("@rotate=12h", "rotate", "12h"),
        ("@deliver=memfd", "deliver", "memfd"),
        ("@docsUrl=https://x.y/z @required", "is_required", True),
        ("@docs(https://x.y, 'a b') @example=\"a b\" @required", "is_required", True),
        ("some words, not @required", "is_required", False),
        ('@composed="a ${B} c" @required', "composed", "a ${B} c"),
        ("@composed='${B|json}'", "composed", "${B|json}"),
    ],
)
def test_decorators(decorators: str, field: str, value: object) -> None:
    assert getattr(spec(f"# {decorators}\nA="), field) == value


def test_decorators_behind_the_value_count() -> None:
    made = spec("A=v # @required @type=string")

    assert (made.default, made.is_required) == (b"v", True)


def test_an_empty_line_and_a_divider_end_a_block() -> None:
    keys = parse(b"# @required\n\nA=\n# @required\n# ----\nB=\n# @required\n# words\nC=\n").keys

    assert [key for key, found in keys.items() if found.is_required] == ["C"]


def test_what_holds_for_the_whole_file() -> None:
    schema = parse(b"# @defaultRequired=true @defaultSensitive\n# @only\n# ---\nA=\n# @optional @public\nB=\n")

    assert schema.is_exclusive
    assert [(found.is_required, found.is_sensitive) for found in schema.keys.values()] == [(True, True), (False, False)]


def test_services_choose_keys() -> None:
    schema = parse(b"# @services=a\nA=\n# @services=b\nB=\nC=\n")

    assert list(schema.for_service("a").keys) == ["A", "C"]
    assert list(schema.for_service("nobody").keys) == ["C"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("# @requierd\nA=", 1, "no decorator @requierd"),
        ("# @nonsense\nA=", 1, "no decorator @nonsense"),
        ("# @type=strnig\nA=", 1, "no type strnig"),
        ("# @type=\nA=", 1, "no type "),
        ("# @type=string(\nA=", 1, "not closed"),
        ("# @type=string(minLength=x)\nA=", 1, "minLength is a number"),
        ("# @type=string(minLength=\u00b2)\nA=", 1, "minLength is a number"),
        ("# @type=string(minLength=" + "9" * 5000 + ")\nA=", 1, "minLength is a number"),
        ("# @type=string(nope=1)\nA=", 1, "no option nope"),
        ("# @type=string(16)\nA=", 1, "its options have names"),
        ('# @type=string(matches="(")\nA=', 1, "not a regular expression"),
        ('# @type=string(matches="a{99999999999}")\nA=', 1, "not a regular expression"),
        ("# @type=number(min=x)\nA=", 1, "min is a number"),
        ("# @type=bytes\nA=", 1, "give a number"),
        ("# @type=bytes(x)\nA=", 1, "give a number"),
        ("# @type=bytes(\u00b2)\nA=", 1, "give a number"),
        ("# @type=bytes(32, octal)\nA=", 1, "hex, base64 or raw"),
        ("# @type=enum\nA=", 1, "list the values"),
        ("# @type=url(x=1)\nA=", 1, "no option x"),
        ("# @deliver=post\nA=", 1, "@deliver takes"),
        ("# @rotate=soon\nA=", 1, "@rotate takes"),
        ("# @rotate=\nA=", 1, "@rotate takes"),
        ("# @rotate=\u00b2d\nA=", 1, "@rotate takes"),
        ("# @required=maybe\nA=", 1, "true or false"),
        ('# @composed="${A"\nA=', 1, "not closed"),
        ('# @composed="${A|nope}"\nA=', 1, "an unknown encoder"),
        ('# @composed="never closed\nA=', 1, "not closed"),
        ("\nA", 2, "neither a comment nor KEY="),
        ("1A=", 1, "neither a comment nor KEY="),
        ("A B=", 1, "neither a comment nor KEY="),
        ("A=1\nB=\nA=2", 3, "is listed twice"),
        ("A='x", 1, "quote is not closed"),
        ("A='it\\'s'\nB=1", 1, "A: there is text behind the closing quote"),
        ('A="one" two', 1, "there is text behind the closing quote"),
        ("A='one\ntwo'three", 2, "there is text behind the closing quote"),
        ('A="""one"""\nB=', 1, "A: three quotes in a row are not supported"),
        ('A="""one\ntwo\n"""\nB=', 1, "three quotes in a row"),
        ("A='''one", 1, "three quotes in a row"),
        ("SHIM_X=", 1, "the shim's own"),
        ("# @import(./.env.shared)\nA=", 1, "@import is not supported"),
        ("A=concat($B, x)", 1, "A: the shim does not evaluate concat(...)"),
        ("A=op(op://vault/item/field)", 1, "does not evaluate op(...)"),
        ("A=$B", 1, "does not evaluate $B"),
        ("A=undefined # in varlock", 1, "does not evaluate undefined"),
        ('A="x-${B}"', 1, "does not evaluate ${...}"),
        ("A=`$(date)`", 1, "does not evaluate $(...)"),
        ("BASH_ENV=/srv/x", 1, "changes what programs load"),
        ("A=\n\nhttps_proxy=http://proxy", 3, "changes what programs load"),
        ('\n# @composed="${A}"\nJAVA_OPTS=', 3, "changes what programs load"),
    ],
)
def test_a_mistake_names_its_line(text: str, line: int, words: str) -> None:
    (mistake,) = mistakes(text)

    assert mistake.startswith(f"s:{line}: ")
    assert words in mistake


def test_all_mistakes_at_once() -> None:
    assert [text.split(":")[1] for text in mistakes("# @nope\nA=\n\n# @type=nope\nB=\nbad line\nA=")] == list("1467")


def test_a_mistake_in_the_schema_stops_the_start(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("# @requird\nA=\n")

    end = shim("--schema", "s", "true")

    assert end.code == 100
    assert end.errors == ["s:1: there is no decorator @requird"]
    assert "did you mean @required?" in end.stderr


def test_where_the_schema_is_looked_for(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / ".env.schema").write_text("A=from-here\n")
    (tmp_path / "other").write_text("B=from-there\n")

    assert shim.child().env["A"] == "from-here"
    assert shim.child(env={"SHIM_SCHEMA": "other"}).env == {"PATH": "/usr/bin:/bin", "B": "from-there"}
    assert shim.child("--schema", "other", env={"SHIM_SCHEMA": "missing"}).env["B"] == "from-there"
    end = shim("--schema", "missing", "true")
    assert end.code == 100
    assert "schema missing cannot be read" in end.errors[0]


@pytest.mark.usefixtures("as_root")
def test_the_images_schema_comes_first(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / ".env.schema").write_text("A=from-here\n")
    script = 'mount -t tmpfs none /etc && mkdir /etc/shim && echo A=from-the-image >/etc/shim/env.schema && exec "$@"'

    assert shim.child(before=["unshare", "--mount", "sh", "-c", script, "sh"]).env["A"] == "from-the-image"


def test_a_schema_that_is_no_file(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    assert shim("--schema", "folder", "true").code == 100
    assert shim("--schema", "/dev/null/x", "true").code == 100


def test_a_service_gets_its_part(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("# @only\n# ---\n\n# @services=db @required\nDB=\n# @services=web @required\nWEB=\n")

    child = shim.child("--schema", "s", "--service", "web", db="1", web="2")

    assert child.environ == [b"PATH=/usr/bin:/bin", b"WEB=2"]


def test_composed_values(shim: Shim, tmp_path: Path) -> None:
    """From parts of every origin, in any order; a value of its own wins."""
    (tmp_path / "s").write_text(
        '# @composed="<${B}>"\nC=\n# @composed="${USER_NAME|url}:${PW|url}@${HOST}:${PORT}"\nB=\nPW=\nHOST=db\nPORT=1\n'
        '# @composed="${C}"\nGIVEN=\n# @composed="${NOT_THERE}"\nABSENT=\n# @composed="${NOT_THERE}"\nWITH_DEFAULT=d\n'
    )

    env = shim.child("--schema", "s", env={"PORT": "5432", "USER_NAME": "a b", "GIVEN": "given"}, pw="p@:/$é").env

    assert env["B"] == "a%20b:p%40%3A%2F%24%C3%A9@db:5432"
    assert env["C"] == f"<{env['B']}>"
    assert env["GIVEN"] == "given"
    assert env["WITH_DEFAULT"] == "d"
    assert "ABSENT" not in env


def test_a_value_composed_from_itself(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "s").write_text('# @composed="${B}"\nA=\n# @composed="${C}"\nB=\n# @composed="${B}"\nC=\n')

    end = shim("--schema", "s", "true")

    assert end.code == 100
    assert "composed from itself: B -> C -> B" in end.stderr


def test_a_long_chain_of_composed_values_ends(shim: Shim, tmp_path: Path) -> None:
    """A reference after the other, 3,000 deep."""
    (tmp_path / "s").write_text("".join(f'# @composed="${{K{n + 1}}}"\nK{n}=\n' for n in range(3000)) + "K3000=v\n")

    end = shim("--schema", "s", "true")

    assert end.code == 100
    assert "100 steps" in end.stderr


@pytest.mark.parametrize("value", ["changeme", "CHANGE-ME", "your-password-here", "xxx", "XXXXX", "<value>", "todo"])
def test_a_placeholder_is_no_secret(shim: Shim, tmp_path: Path, value: str) -> None:
    (tmp_path / "s").write_text("# @sensitive\nA=\nB=\n")

    end = shim("--schema", "s", "true", a=value, b=value)

    assert end.code == 100
    assert [text.split()[0] for text in end.errors] == ["A"]
    assert "placeholder" in end.errors[0]


@pytest.mark.parametrize("origin", ["root", "environment"])
def test_the_examples_value_is_no_secret(shim: Shim, tmp_path: Path, origin: str) -> None:
    (tmp_path / "s").write_text("# @sensitive\nDB_PASSWORD=\n")
    (shim.root / "DB_PASSWORD.example").write_text("s3cret-example\n")
    if origin == "root":
        end = shim("--schema", "s", "true", db_password="s3cret-example")
    else:
        end = shim("--schema", "s", "true", env={"DB_PASSWORD": "s3cret-example"})

    assert end.code == 100
    assert "example" in end.errors[0]
    assert "s3cret-example" not in end.stderr
    assert shim("--schema", "s", "true", db_password="another").code == 0


LINES = st.lists(
    st.sampled_from(
        ["# ", "@required", "@type=", "string(minLength=1)", "bytes(", "enum(a,'b')", "A=", "B=", "'", '"', "`"]
    )
    | st.sampled_from(
        ["@composed=", "${A}", "${", "\n", " ", "#", "@services=", "\\", "$$", "@deliver=file", "export ", ")"]
    )
    | st.sampled_from([f"@type={name}" for name in TYPES] + [f"@deliver={name}" for name in DELIVERIES])
    | st.text(max_size=4)
)


@given(LINES.map("".join) | st.text(), st.binary(max_size=8))
def test_any_text_is_a_schema_or_a_list_of_mistakes(text: str, tail: bytes) -> None:
    keys: dict[str, KeySpec] = {}
    wrong: list[str] = []
    try:
        keys = parse(text.encode("utf-8", "surrogatepass") + tail).keys
    except Refused as refusal:
        wrong = [breach.message for breach in refusal.breaches] or ["nothing is said"]

    assert all(message.startswith(".env.schema:") for message in wrong)
    for key, found in keys.items():
        assert found.key == key
        assert found.raw_bytes >= 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_schema_as_windows_writes_it(encoding: str) -> None:
    schema = parse("# @required @type=port\r\nPORT=80\r\n".encode(encoding))

    assert (schema.keys["PORT"].is_required, schema.keys["PORT"].default) == (True, b"80")
