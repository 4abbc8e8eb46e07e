"""JSON is recognised by hand on the way to exec; the standard library's reader says whether that is right."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.json_text import is_json

TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
# Pieces that make a text that is almost JSON, far more often than random characters do.
WORDS = r"""{ } [ ] , : "a" " \ "\u00e9" "\u12" "\x" 0 - 01 1.5 .5 1. e3 1e+2 1E-2 2e true false null True é"""
PIECES = st.lists(st.sampled_from([*WORDS.split(), " ", "\n", "\t", "\x0b", "\x00"])).map("".join)


def by_the_library(value: bytes) -> bool:
    def refuse(_constant: str) -> None:
        raise ValueError("RFC 8259 knows no such number")

    try:
        json.loads(value.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(TEXTS, st.booleans(), st.sampled_from([None, 2]))
def test_what_the_library_writes_is_json(value: object, is_ascii: bool, indent: int | None) -> None:
    """Every text that json.dumps writes is JSON, and stops being so when its end is cut off or more follows."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)

    assert is_json(text.encode("utf-8", "surrogatepass")) == is_text(text)
    assert not is_json(text.encode("utf-8", "surrogatepass") + b" x")


def is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@given(PIECES)
@example('"\\"')
@example('"\\u0000"')
@example('{"a":1,}')
@example("[1,]")
@example('{"a" 1}')
@example("-")
@example("-0")
@example("1e")
@example("")
@example("[[[]]]")
@example('"\x7f"')
def test_what_is_almost_json_is_told_apart(text: str) -> None:
    """A text of JSON's own pieces is JSON exactly when the library reads it."""
    assert is_json(text.encode()) == by_the_library(text.encode())


@given(st.binary(max_size=12))
def test_bytes_are_json_only_as_utf8(value: bytes) -> None:
    """Bytes that are not UTF-8 are not JSON, and no bytes make it fail."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        assert not is_json(value)
    else:
        assert is_json(value) == by_the_library(text.encode())


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nul", "truefalse", "\ufeff1"])
def test_what_only_python_reads_is_no_json(word: str) -> None:
    """Python reads NaN and Infinity; RFC 8259 does not know them."""
    assert not is_json(word.encode())


def test_nesting_has_no_limit() -> None:
    """A hundred thousand brackets neither end the shim nor its stack."""
    assert is_json(b"[" * 100_000 + b"]" * 100_000)
    assert not is_json(b"[" * 100_000)
