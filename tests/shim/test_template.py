"""`${KEY|encoder}` in composed values and rendered files."""

import base64
import json
import subprocess
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim import template

UGLY = "a'b\"c$d\\e`f g\th\n#%&?=/:@é✓😀\x01"


def filled(text: str, **values: bytes) -> bytes:
    return template.fill(template.parse(text.encode()), values.__getitem__)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", b""),
        ("plain", b"plain"),
        ("${A}", b"1"),
        ("x${A}y${B}z", b"x1y2z"),
        ("${A}${A}", b"11"),
        ("$$", b"$"),
        ("$${A}", b"${A}"),
        ("$$${A}", b"$1"),
        ("$A $host $", b"$A $host $"),
        ("{A} }", b"{A} }"),
        ("${A|url}", b"1"),
    ],
)
def test_references_are_replaced(text: str, result: bytes) -> None:
    assert filled(text, A=b"1", B=b"2") == result


def test_what_a_value_holds_is_not_looked_at_again() -> None:
    assert filled("${A}", A=b"${B} $$ $B") == b"${B} $$ $B"


@pytest.mark.parametrize(
    "text",
    ["${", "${A", "${}", "${1A}", "${A B}", "${A|}", "${A|nope}", "${A|url|url}", "${ A}", "${é}", "${A:-x}", "${A\n}"],
)
def test_a_malformed_reference_is_named_by_its_line(text: str) -> None:
    with pytest.raises(template.Malformed, match="line 2"):
        template.parse(b"\n" + text.encode())


def test_each_encoder_is_undone_by_its_reader() -> None:
    value = UGLY.encode()

    assert urllib.parse.unquote_to_bytes(filled("${A|url}", A=value)) == value
    assert json.loads(filled("${A|json}", A=value)) == UGLY
    assert base64.b64decode(filled("${A|base64}", A=value), validate=True) == value
    done = subprocess.run(["sh", "-c", b"printf %s " + filled("${A|sq}", A=value)], capture_output=True, check=True)
    assert done.stdout == value


@given(st.binary(max_size=200))
def test_encoders_take_any_bytes(value: bytes) -> None:
    """json alone needs text, and says so without the value."""
    assert urllib.parse.unquote_to_bytes(template.url(value)) == value
    assert all(
        byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%" for byte in template.url(value)
    )
    assert base64.b64decode(template.base64(value), validate=True) == value
    try:
        text = value.decode()
    except UnicodeDecodeError:
        with pytest.raises(template.NotEncodable, match=r"^A is not UTF-8 text, so \|json cannot write it$"):
            filled("${A|json}", A=value)
    else:
        assert json.loads(filled("${A|json}", A=value)) == text


@given(st.binary(max_size=60))
def test_any_text_is_parsed_or_malformed(text: bytes) -> None:
    try:
        parts = template.parse(text)
    except template.Malformed:
        return
    assert b"".join(part if isinstance(part, bytes) else b"" for part in parts).count(b"$") <= text.count(b"$")
