"""The fixtures that every test can ask for by name."""

from functools import partial

import pytest

pytest_plugins = [
    "tests.support.forms",
    "tests.support.engine",
    "tests.support.host",
    "tests.support.backup",
    "tests.support.cluster",
]

# What waits for an engine or a service most of its time: first what needs no image, so that
# those are made meanwhile, then what takes minutes.
WAITING = (
    *("tests/host/rotate/", "tests/engine/test_engine_swarm_stack", "tests/test_docs.py", "tests/test_readme.py"),
    "tests/engine/",
    *("tests/host/audit/test_audit_swarm.py", "tests/host/backup/test_backup_swarm.py", "tests/host/swarm/"),
)
# What computes, as the rest does; it takes longer than the rest, and nobody is to wait for it at the end.
LONG = ("tests/shim/", "tests/test_release.py", "tests/host/backup/", "tests/host/migrate/", "tests/host/env/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests file by file, so that what waits runs beside what computes, from the first file to the last."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    waiting = sorted((file for file in files if file.startswith(WAITING)), key=partial(_rank, WAITING))
    computing = sorted((file for file in files if not file.startswith(WAITING)), key=partial(_rank, LONG))
    place = {file: at / len(group) for group in (waiting, computing) for at, file in enumerate(group)}
    items[:] = [item for file in sorted(files, key=place.__getitem__) for item in files[file]]


def _rank(places: tuple[str, ...], file: str) -> int:
    return next((at for at, place in enumerate(places) if file.startswith(place)), len(places))
