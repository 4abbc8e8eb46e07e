"""PID 1 against a real kernel: every behaviour of the comparison, in each form that can be a container's init."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pid1 import Init, ours
from tests.support.pid1_behaviours import BEHAVIOURS, Behaviour

FORMS = ("module", "frozen")
# `python -m shim` cannot arm before its interpreter is up, and shares no memory image with what it starts.
FROZEN_ONLY = {"runs without /proc"}


@pytest.fixture
def service(children: Path) -> str:
    """Return the program that tests launch as a service."""
    return str(children / "service")


@pytest.fixture(params=FORMS)
def init(request: pytest.FixtureRequest, tmp_path: Path) -> Init:
    """Return our init in each form."""
    return ours(request.param, request, tmp_path)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.test.__name__)
def test_behaviour(init: Init, behaviour: Behaviour, service: str, tmp_path: Path, as_root: None) -> None:
    """Everything in the comparison page is true of ours."""
    if init.name == "module" and behaviour.title in FROZEN_ONLY:
        pytest.skip("only the frozen shim promises that")
    assert behaviour.test(init, service, tmp_path), behaviour.title
