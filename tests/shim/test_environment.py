"""The child's environment is a new list, made by a pure function."""

from hypothesis import given
from hypothesis import strategies as st

from shim.environment import child_environment
from shim.options import Options
from shim.resolution import ENVIRONMENT, ROOT, Resolution, Resolved, Sources
from shim.secret import Secret

ENTRIES = st.lists(st.binary(max_size=12).map(lambda entry: entry.replace(b"\0", b"")))


def resolution(**origins: str) -> Resolution:
    made = Resolution(Sources(), None)
    made.secrets = {key: Resolved(key, Secret(b"new"), origin) for key, origin in origins.items()}
    return made


@given(ENTRIES)
def test_what_nobody_touches_stays(environ: list[bytes]) -> None:
    given = [entry for entry in environ if not entry.startswith(b"SHIM_")]

    assert child_environment(environ, resolution(), Options()) == given


@given(ENTRIES, ENTRIES)
def test_what_came_in_is_not_changed(before: list[bytes], after: list[bytes]) -> None:
    environ = [*before, b"A=old", *after]
    copy = list(environ)

    child = child_environment(environ, resolution(A=ROOT), Options())

    assert environ == copy
    assert child[-1] == b"A=new"
    assert not [entry for entry in child[:-1] if entry.startswith(b"A=")]


def test_a_value_of_the_environment_keeps_its_place() -> None:
    environ = [b"A=1", b"B=2", b"A=3"]

    assert child_environment(environ, resolution(A=ENVIRONMENT), Options()) == environ


def test_what_is_delivered_otherwise_loses_its_variables() -> None:
    made = resolution(A=ROOT)
    made.secrets["A"].deliver = "none"

    assert child_environment([b"A=1", b"A_FILE=/x", b"B=2"], made, Options()) == [b"B=2"]


def test_extra_variables_replace() -> None:
    assert child_environment([b"HOME=/root", b"B=2"], resolution(), Options(), {"HOME": b"/h"}) == [b"B=2", b"HOME=/h"]
