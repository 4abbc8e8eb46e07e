"""The newest Python of a Debian release, in a container with that release's own libraries, and without pyrage.

The oldest that counts is Debian 12's, with which everything else here runs.
"""

import re

import pytest

from tests.support.engine import Engine
from tests.support.forms import REPOSITORY

pytestmark = pytest.mark.engine

# What meets most of the standard library and of the dependencies in the least time.
TESTS = (
    *("tests/host/test_list.py", "tests/host/test_names.py"),
    *("tests/host/test_one_key.py", "tests/host/test_validate.py", "tests/host/test_installing.py"),
    *("tests/shim/test_application.py", "tests/shim/test_secret.py", "tests/shim/test_checks.py"),
)
SHIM = "DB_PASSWORD_FILE=/etc/hostname python3 -m shim --require DB_PASSWORD -- sh -c 'test ${#DB_PASSWORD} -gt 3'"
BACKUP = """
age-keygen -o key 2>/dev/null && mkdir secrets && echo value >secrets/db_password && chmod -R go= secrets
manage() { python3 /source/scripts/manage_secrets.py "$@"; }
manage export --no-swarm --output b.age --recipient "$(age-keygen -y key)" && rm -r secrets
manage import b.age --identity key --yes && test "$(cat secrets/db_password)" = value
gpg --batch --quiet --passphrase "" --quick-generate-key ops@example.org future-default
manage export --no-swarm --output b.gpg --recipient ops@example.org && rm -r secrets
manage import b.gpg --yes && test "$(cat secrets/db_password)" = value
"""


@pytest.mark.timeout(600)  # with an empty cache, the image is made first
def test_both_sides_run_on_the_newest_python_of_debian(engine: Engine) -> None:
    """The shim starts a service, tests of each kind pass, and backups go through the programs age and gpg."""
    select = "not compose_program and not frozen and not the_program_age and not without_memory and not type_checker"
    pytest_line = (
        f"python3 -m pytest -q -p no:cacheprovider -m 'not engine and not frozen' -k '{select}' {' '.join(TESTS)}"
    )
    script = f"set -e\nmkdir /w && cd /w\n{BACKUP}\n{SHIM}\ncd /source\n{pytest_line}"
    done = engine.docker(
        *("run", "--rm", "--volume", f"{REPOSITORY}:/source:ro", "--env", "PYTHONPATH=/source:/source/scripts"),
        *("--env", "PYTHONDONTWRITEBYTECODE=1", engine.base("trixie"), "sh", "-c", script),
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 150, done.stdout[-1000:]
