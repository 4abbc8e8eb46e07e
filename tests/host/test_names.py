"""Every key has a name, every name leads back, and no two share one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_host import names

from shim.secret import env_key

KEYS = st.text(alphabet="AaBbKk_.-[]0é\u212a\t", min_size=1, max_size=12) | st.text(min_size=1, max_size=90)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("DB_PASSWORD", "db_password"),
        ("apiKey", "apiKey"),
        ("Api.Key-2", "Api.Key-2"),
        ("A.B", "a.b"),
        ("_TOKEN", "token"),
        ("TOKEN_", "token"),
        ("README", "readme"),
        ("README.md", "k.readme-2e.md"),
        ("__", "k._-5f"),
        ("A" * 90, "a" * 90),
        ("CON", "c-on"),
        ("É", "k.-c3-89"),
        ("k.x", "k-.x"),
    ],
)
def test_a_key_has_this_name(key: str, name: str) -> None:
    assert names.file_name(key) == name
    assert names.key_of(name, [key]) == key


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["DB_PASSWORD", "db_password"], ["db-password", "db_password"]),
        (["db_password", "DB_PASSWORD"], ["db_password", "db-password"]),
        (["TOKEN", "token"], ["t-oken", "token"]),
        (["token", "TOKEN"], ["t-oken", "TOKEN"]),
        (["TOKEN", "_TOKEN"], ["token", "k._token"]),
        (["A.B", "A_B"], ["a-.b", "a_b"]),
        (["DB_X", "db_x", "Db_X"], ["db-x", "k..db_x", "Db_X"]),
    ],
)
def test_keys_that_are_alike_get_names_that_the_schema_maps_back(keys: list[str], expected: list[str]) -> None:
    found = names.file_names(keys)

    assert [found[key] for key in keys] == expected
    assert [env_key(found[key], keys) for key in keys if not found[key].startswith("k.")] == [
        key for key in keys if not found[key].startswith("k.")
    ]
    assert [names.key_of(name, keys) for name in found.values()] == list(found)


def test_a_long_key_keeps_a_name_the_swarm_takes() -> None:
    base = names.swarm_base(names.file_name("A" * 300))

    assert len(names.file_name("A" * 300)) <= 240
    assert len(names.versioned(base, 99999)) <= 64
    assert names.swarm_base("a" * 90) != names.swarm_base("a" * 91)


@given(st.lists(KEYS, max_size=12))
def test_names_are_legal_apart_and_lead_back(keys: list[str]) -> None:
    found = names.file_names(keys)

    assert len({name.casefold() for name in found.values()}) == len(set(keys))
    for key, name in found.items():
        assert re.fullmatch(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,238}[a-zA-Z0-9])?", name)
        assert names.is_swarm_name(names.versioned(names.swarm_base(name), 99999))
        assert names.key_of(name, keys) == key
        assert names.split_version(names.versioned(names.swarm_base(name), 12)) == (names.swarm_base(name), 12)


@given(KEYS)
def test_the_other_name_leads_back_by_itself(key: str) -> None:
    name = names.encoded(key)

    assert "--" in name or names.key_of(name) == key
