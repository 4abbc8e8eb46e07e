"""The fixtures that every test can ask for by name."""

pytest_plugins = [
    "tests.support.forms",
    "tests.support.engine",
    "tests.support.host",
    "tests.support.backup",
    "tests.support.cluster",
]
