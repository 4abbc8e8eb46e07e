"""Backups, made and opened by a test."""

from __future__ import annotations

import pytest

from tests.support.host import Manage


@pytest.fixture
def seal(manage: Manage) -> list[str]:
    """Return the options of a backup to a key that opens in this test."""
    import pyrage  # here alone: other tests run where there is no wheel of it

    identity = pyrage.x25519.Identity.generate()
    manage.write("key.txt", str(identity)).chmod(0o600)
    return ["--output", "backup.age", "--recipient", str(identity.to_public())]
