"""The fixtures that every test can ask for by name."""

pytest_plugins = ["tests.support.forms", "tests.support.engine"]
