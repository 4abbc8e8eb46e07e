"""Which texts look like keys: one table, and all who ask it agree. How values are written down: one list."""

import base64
import html
import json
import time
import urllib.parse

import pytest
from shim_host.audit.traces import Recogniser
from shim_host.recognition import key_shapes, sensitive, value_forms

from tests.support.key_examples import jwt, key_examples, pem

EXAMPLES = key_examples()


def test_there_is_an_example_of_every_shape() -> None:
    assert list(EXAMPLES) == [shape.what for shape in key_shapes.SHAPES]


@pytest.mark.parametrize("what", EXAMPLES)
def test_all_who_ask_agree(what: str) -> None:
    """The hook, the choice of what is a secret, masked output, and the audit's traces in arguments and histories."""
    key = EXAMPLES[what]
    text = f"before {key} after"
    recogniser = Recogniser({}, None)

    assert what in [found for found, _ in key_shapes.found_in_bytes(text.encode())]
    assert what in [found for found, _ in key_shapes.found_in(text)]
    assert sensitive.why_by_value(key)
    assert list(recogniser.text("history", text, "step 1"))
    assert list(recogniser.words("arguments", ["run", key]))
    if "\n" not in key:
        shown = sensitive.masked_line(text)
        assert key not in shown
        assert "***" in shown


@pytest.mark.parametrize(
    "written",
    [
        pem(""),
        pem("EC ").replace("\n", "\r\n"),
        pem("OPENSSH ").replace("\n", "\n      "),
        pem("ENCRYPTED "),
        pem().replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1),
        json.dumps({"private_key": pem("")}),
        json.dumps(json.dumps({"private_key": pem("")})),
        'KEY="' + pem("EC ").replace("\n", "\\n") + '"',
        "'" + "' +\n  '".join(pem().splitlines()) + "'",
    ],
)
def test_a_private_key_is_known_however_it_is_written(written: str) -> None:
    assert [what for what, _ in key_shapes.found_in_bytes(written.encode())] == ["a private key"]


def test_a_public_token_and_a_public_key_are_no_finding() -> None:
    text = jwt({"role": "anon"}) + " -----BEGIN " + "PUBLIC KEY-----\n" + pem().split("\n", 1)[1]
    assert not list(key_shapes.found_in(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a",
            "a-",
            "a=b ",
            "a:",
            "eyJ",
            "eyJ-",
            "eyJa.",
            "-----BEGIN PRIVATE KEY-----a: ,,,",
            "a://b:",
            "sk-",
            "dp.pt.",
        ),
        *("PuTTY-User-Key-File-2: ", "secret_access_key", "-a", "password=", '"', "0a", " "),
    ],
)
def test_a_long_text_of_a_stranger_costs_no_time(text: str) -> None:
    """What would make a pattern try every split of a text of 200,000 characters ends at once."""
    long = text * (200_000 // len(text))
    began = time.process_time()  # not that of the others on this machine

    sensitive.why_by_value(long)
    sensitive.masked_line(long)
    list(key_shapes.found_in_bytes(long.encode()))

    assert time.process_time() - began < 2


def test_a_value_is_known_in_the_forms_in_which_it_travels() -> None:
    value = "Tr0ub4dor&3<\"x'/+ü$z"
    raw = value.encode()
    forms = dict(value_forms.forms(raw))
    for form in (
        value,
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote(value, safe="").lower().replace("tr0ub4dor", "Tr0ub4dor"),
        urllib.parse.quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        html.escape(value),
        html.escape(value, quote=False),
        value.replace("$", "$$"),
        value.replace("'", "'\\''"),
        raw.hex(),
        raw.hex().upper(),
    ):
        assert form.encode() in forms, form
    for before in range(3):  # a base64 of something longer, at each place of a group
        for coded in (base64.b64encode, base64.urlsafe_b64encode):
            whole = coded(b"user:"[:before] + raw + b":more")
            assert any(form in whole for form, how in forms.items() if "base64" in how), before
