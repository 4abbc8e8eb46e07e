"""A system that holds a value, and a change of it."""

import uuid
from collections.abc import Mapping

import pytest
from shim_host.rotate import decorator
from shim_host.rotate.inside import InsideChange, Values

from shim.schema import KeySpec
from shim.secret import Secret
from tests.support.engine import Engine

NAME = "odd\"ro'le"


def spec(text: str) -> KeySpec:
    made = KeySpec("PASSWORD", 3)
    made.rotate_with = text
    return made


def change(engine: Engine, text: str, old: str | None, new: str, of: Mapping[str, str] | None = None) -> InsideChange:
    def value_of(key: str) -> Secret | None:
        return Secret(of[key].encode()) if of and key in of else None

    known = Values(Secret(old.encode()) if old else None, Secret(new.encode()), value_of, value_of)
    made = decorator.inside_change(spec(text), known, engine.environ)
    assert made is not None
    return made


@pytest.fixture
def service() -> str:
    """Return a name for the service that no other run has."""
    return f"inside-{uuid.uuid4().hex[:12]}"
