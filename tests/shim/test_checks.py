"""What a value must be, by its type; the answer never says what it is."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.checks import is_placeholder
from shim.schema import TYPES, KeySpec, check_value, parse

PEM = "-----BEGIN KEY-----\nYWJj\n-----END KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"


def spec(kind: str) -> KeySpec:
    return parse(f"# @type={kind} @public\nA=\n".encode()).keys["A"]


RIGHT = [
    ("string", "anything"),
    ("string(minLength=3)", "äöü"),
    ("string(maxLength=3)", "äöü"),
    ("string(startsWith=sk-, endsWith=x)", "sk-x"),
    ('string(startsWith="a,b")', "a,bc"),
    ('string(matches="^[a-z]{2,3}$")', "abc"),
    ("number", "1"),
    ("number", "-1.5e3"),
    ("number(min=1, max=2.5)", "2.5"),
    ("boolean", "true"),
    ("boolean", "NO"),
    ("boolean", "1"),
    ("port", "1"),
    ("port", "65535"),
    ("port(min=1024)", "1024"),
    ("url", "https://x"),
    ("url", "postgresql:///app"),
    ("url", "postgresql://u:p%40@h:5432/d?x=1#y"),
    ("url", "redis+sentinel://h"),
    ("email", "a.b+c@x-y.example"),
    ("enum(dev, prod)", "dev"),
    ("enum('a,b', c)", "a,b"),
    ("bytes(2, hex)", "00fF"),
    ("bytes(4, base64)", "AAAAAA=="),
    ("bytes(4, base64)", "AAAAAA"),
    ("bytes(3, raw)", "abc"),
    ("bytes(3)", "abc"),
    ("json", '{"a": [1, null, true, -1.5e3, "\\u00e9"]}'),
    ("json", '"text"'),
    ("jwt", JWT),
    ("pem", PEM),
    ("pem", PEM.replace("\n", "\r\n")),
]
WRONG = [
    ("string(minLength=4)", "äöü", "shorter than 4"),
    ("string(maxLength=2)", "äöü", "longer than 2"),
    ("string(startsWith=sk-)", "pk-x", "start"),
    ("string(endsWith=x)", "y", "end"),
    ('string(matches="^a$")', "b", "pattern"),
    ("number", "1_000", "not a number"),
    ("number", " 1", "not a number"),
    ("number", "nan", "not a number"),
    ("number", "inf", "not a number"),
    ("number", "one", "not a number"),
    ("number", "1" * 500, "not a number"),
    ("number(min=1)", "0.5", "below 1"),
    ("number(max=1)", "1.5", "above 1"),
    ("boolean", "maybe", "not a boolean"),
    ("port", "0", "not a port"),
    ("port", "65536", "not a port"),
    ("port", "-1", "not a port"),
    ("port", "+1", "not a port"),
    ("port", "1.0", "not a port"),
    ("port", "\u0661", "not a port"),
    ("port", "9" * 5000, "not a port"),
    ("port(min=1024)", "80", "below 1024"),
    ("url", "x", "not a URL"),
    ("url", "http://", "not a URL"),
    ("url", "http:///path", "not a URL"),
    ("url", "://x", "not a URL"),
    ("url", "1http://x", "not a URL"),
    ("url", "http://a b", "not a URL"),
    ("url", "http://a\nb", "not a URL"),
    ("email", "a", "not an email"),
    ("email", "@x.y", "not an email"),
    ("email", "a@x", "not an email"),
    ("email", "a@@x.y", "not an email"),
    ("email", "a b@x.y", "not an email"),
    ("email", "a@x..y", "not an email"),
    ("email", "a@.x.y", "not an email"),
    ("enum(dev, prod)", "test", "not one of dev, prod"),
    ("bytes(2, hex)", "00f", "not hexadecimal"),
    ("bytes(2, hex)", "00fg", "not hexadecimal"),
    ("bytes(2, hex)", "00ff00", "3 bytes, not 2"),
    ("bytes(4, base64)", "AAAAA", "not base64"),
    ("bytes(4, base64)", "AAAA AA==", "not base64"),
    ("bytes(3, base64)", "AAAAAA==", "4 bytes, not 3"),
    ("bytes(3, raw)", "abcd", "4 bytes, not 3"),
    ("json", "{", "not JSON"),
    ("json", "{'a': 1}", "not JSON"),
    ("json", "NaN", "not JSON"),
    ("json", "1 2", "not JSON"),
    ("json", "[" * 100_000, "not JSON"),
    ("jwt", "a.b", "not a JSON web token"),
    ("jwt", "a.b.c", "not a JSON web token"),
    ("jwt", JWT + "=", "not a JSON web token"),
    ("jwt", "eyJ9.e30.x", "not a JSON web token"),
    ("pem", "text", "not PEM"),
    ("pem", PEM.replace("\n", "\\n"), "instead of line ends"),
    ("pem", PEM[:-5], "truncated PEM"),
]


@pytest.mark.parametrize(("kind", "value"), RIGHT)
def test_right_values(kind: str, value: str) -> None:
    assert check_value(spec(kind), value.encode()) == ""


@pytest.mark.parametrize(("kind", "value", "words"), WRONG)
def test_wrong_values(kind: str, value: str, words: str) -> None:
    mistake = check_value(spec(kind), value.encode())

    assert words in mistake
    assert len(value) < 3 or value not in mistake


def test_each_type_is_tested() -> None:
    for cases in (RIGHT, [case[:2] for case in WRONG]):
        assert {kind.partition("(")[0] for kind, _ in cases} == set(TYPES)


def test_an_empty_value_is_wrong_when_it_is_required() -> None:
    optional = spec("port")
    assert check_value(optional, b"") == ""
    optional.is_required = True
    assert "empty" in check_value(optional, b"")


def test_placeholders() -> None:
    for value in (
        b"changeme",
        b" ChangeMe ",
        b"your-api-key-here",
        b"your_key_here",
        b"xxx",
        b"<secret>",
        b"insert-it-here",
        b"replace_with_the_real_one",
        b"***",
        b"None",
        b"[REDACTED]",
        b"[object Object]",
        b"(sensitive value)",
    ):
        assert is_placeholder(value)
    for value in (
        b"",
        b"xx",
        b"xxy",
        b"hunter2",
        b"your-key",
        b"<",
        b"x" * 300,
        b"changeme2",
        b"**",
        b"*a*",
        b"noneed",
    ):
        assert not is_placeholder(value)


KINDS = [
    "string(minLength=2, maxLength=5, startsWith=a, endsWith=b, matches='^a.*b$')",
    "number(min=1, max=5)",
    "boolean",
]
KINDS += [
    "port",
    "url",
    "email",
    "enum(a, b)",
    "bytes(4, hex)",
    "bytes(4, base64)",
    "bytes(4, raw)",
    "json",
    "jwt",
    "pem",
]


@pytest.mark.parametrize("kind", KINDS)
@given(value=st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_value_has_an_answer_without_it(kind: str, value: bytes) -> None:
    mistake = check_value(spec(kind), value)

    assert len(value) < 24 or value not in mistake.encode()


@given(st.binary(max_size=60), st.booleans())
def test_a_token_is_judged_by_its_decoded_header(tail: bytes, is_url_safe: bool) -> None:
    """The header is decoded by hand, exactly as the standard library does it, in both alphabets of RFC 4648."""
    encode = urlsafe_b64encode if is_url_safe else b64encode
    with_alg, without = (encode(head + tail).rstrip(b"=").decode() for head in (b'{"alg":"x"}', b'{"alt":"x"}'))

    assert check_value(spec("jwt"), f"{with_alg}.e30.x".encode()) == ""
    assert ("names no alg" in check_value(spec("jwt"), f"{without}.e30.x".encode())) == (b'"alg"' not in tail)
