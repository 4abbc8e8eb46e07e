"""The only place that writes: one line per message, to descriptor 2, and no stderr keeps a service from starting."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim import stderr
from shim.breaches import Missing, Unreadable
from shim.errors import CHANGE, WORLD, Breach, Refused

TEXT = st.text(alphabet=st.characters(), max_size=30)


@pytest.fixture(autouse=True)
def as_text() -> Iterator[None]:
    """Begin as text, and leave it so: --log=json in another test's options may have changed that."""
    stderr.use_json(False)
    yield
    stderr.use_json(False)


def test_messages_are_text_with_hints(capfd: pytest.CaptureFixture[str]) -> None:
    stderr.report_refusal(Refused([Missing("A", "A is missing", "give it"), Breach("A", "A is wrong")]))
    stderr.warning("careful", "so")
    stderr.notes(["done"])

    lines = ["error: A is missing", "hint: give it", "error: A is wrong", "warning: careful", "hint: so", "done"]
    assert capfd.readouterr() == ("", "".join(f"shim: {line}\n" for line in lines))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXT, TEXT)
def test_any_message_is_one_line(capfd: pytest.CaptureFixture[str], message: str, hint: str) -> None:
    """Whatever a name holds: nothing that a terminal would obey, and JSON that reads back."""
    stderr.use_json(False)
    stderr.report_refusal(Refused([Breach("KEY", message, hint)]))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == (2 if hint else 1)
    assert all(line.isprintable() for line in lines)

    stderr.use_json()
    stderr.report_refusal(Refused([Breach("KEY", message, hint)]))
    out = capfd.readouterr().err
    assert out.count("\n") == 1
    assert out.endswith("\n")
    read = json.loads(out)
    assert (read["level"], read["key"], read["code"]) == ("error", "KEY", 100)


def test_a_refusal_says_111_only_when_a_retry_alone_may_help() -> None:
    assert Refused([Unreadable("A", "x")]).code == WORLD
    assert Refused([Unreadable("A", "x"), Missing("B", "y")]).code == CHANGE
    assert Refused([Missing("B", "y"), Unreadable("A", "x")]).code == CHANGE
