"""The fixtures that every test can ask for by name."""

import pytest

pytest_plugins = [
    "tests.support.forms",
    "tests.support.engine",
    "tests.support.host",
    "tests.support.backup",
    "tests.support.cluster",
]

# First what needs no image, so that those are made meanwhile; then what takes longest, so that nobody waits at the end.
FIRST = (
    *("tests/shim/", "tests/host/rotate/", "tests/host/swarm/", "tests/engine/", "tests/test_docs.py"),
    *("tests/host/audit/", "tests/host/backup/", "tests/host/migrate/"),
    *("tests/test_readme.py", "tests/test_release.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests, file by file as they are."""
    items.sort(key=lambda item: [item.nodeid.startswith(place) for place in FIRST], reverse=True)
