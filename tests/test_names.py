"""Every key has a name, every name leads back, and no two share one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_host import names

KEYS = st.text(alphabet="AaBbKk_.-[]0é\u212a\t", min_size=1, max_size=12) | st.text(min_size=1, max_size=90)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("DB_PASSWORD", "db_password"),
        ("apiKey", "apiKey"),
        ("Api.Key-2", "Api.Key-2"),
        ("A.B", "a.b"),
        ("_TOKEN", "k._token"),
        ("TOKEN_", "k.token-5f"),
        ("README", "readme"),
        ("README.md", "k.readme-2e.md"),
        ("CON", "k.con"),
        ("É", "k.-c3-89"),
        ("k.x", "k..k-2ex"),
    ],
)
def test_a_key_has_this_name(key: str, name: str) -> None:
    assert names.file_name(key) == name
    assert names.key_of(name, [key]) == key


def test_keys_that_differ_only_by_case_get_names_of_their_own() -> None:
    keys = ["DB_PASSWORD", "db_password", "Db_Password"]

    found = names.file_names(keys)

    assert found == {"DB_PASSWORD": "db_password", "db_password": "k..db_password", "Db_Password": "k.d.b_.p.assword"}
    assert [names.key_of(found[key]) for key in keys] == keys


def test_a_long_key_keeps_a_name_the_swarm_takes() -> None:
    key = "A" * 90

    assert len(names.file_name(key)) <= 64
    assert names.key_of(names.file_name(key), [key]) == key
    assert names.file_name("A" * 64) == "a" * 64
    assert len(names.versioned(names.swarm_base("a" * 64), 99999)) <= 64


@given(st.lists(KEYS, max_size=12))
def test_names_are_legal_apart_and_lead_back(keys: list[str]) -> None:
    found = names.file_names(keys)

    assert len({name.casefold() for name in found.values()}) == len(set(keys))
    for key, name in found.items():
        assert re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9])?", name)
        assert names.key_of(name, keys) == key
        assert names.split_version(names.versioned(names.swarm_base(name), 12)) == (names.swarm_base(name), 12)


@given(KEYS)
def test_the_other_name_leads_back_by_itself(key: str) -> None:
    name = names.encoded(key)

    assert "--" in name or names.key_of(name) == key
