"""Whether an installation works: run it with the interpreter that docker-secrets-shim is installed for.

Needs only the standard library, and a minute at most. The whole suite is ./scripts/test.
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PYTHON = Path(sys.executable)


class Installation(unittest.TestCase):
    """Each part that is installed, used once."""

    def setUp(self) -> None:
        """Make a folder with one secret, away from any checkout."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "root").mkdir()
        (self.folder / "root" / "db_password").write_text("correct horse\n", encoding="utf-8")

    def run_here(self, *argv: "str | Path") -> "subprocess.CompletedProcess[str]":
        """Run *argv* in the folder, and return how it ended."""
        environ = {**os.environ, "SHIM_SECRETS_DIR": str(self.folder / "root")}
        return subprocess.run(argv, cwd=self.folder, env=environ, capture_output=True, text=True, check=False)

    def test_an_application_gets_a_secret(self) -> None:
        """`get_secret` is there under the installed name."""
        script = "from docker_secrets_shim import get_secret; print(get_secret('DB_PASSWORD', required=True))"
        done = self.run_here(PYTHON, "-c", script)
        assert (done.returncode, done.stdout, done.stderr) == (0, "correct horse\n", "")

    @unittest.skipUnless(sys.platform == "linux", "the shim starts services on Linux")
    def test_a_service_is_started(self) -> None:
        """With its secret, and not without one that it needs."""
        shim = (PYTHON, "-m", "docker_secrets_shim")
        done = self.run_here(*shim, "--", "sh", "-c", 'echo "$DB_PASSWORD"; exit 7')
        assert (done.returncode, done.stdout, done.stderr) == (7, "correct horse\n", "")
        done = self.run_here(*shim, "--require", "API_KEY", "--", "true")
        assert done.returncode == 100
        assert "API_KEY is required" in done.stderr

    def test_the_host_tool_works_or_names_its_extra(self) -> None:
        """`.env` becomes files; without the extra `host`, one sentence."""
        (self.folder / ".env").write_text("DB_PASSWORD='correct horse battery'\n", encoding="utf-8")
        done = self.run_here(PYTHON, "-m", "manage_secrets", "create-from-env", "--all", "--yes")
        if done.returncode == 2 and "extra `host`" in done.stderr:
            self.skipTest("the extra `host` is not installed")
        assert done.returncode == 0, done.stderr
        assert (self.folder / "secrets/db_password").read_text(encoding="utf-8") == "correct horse battery"


if __name__ == "__main__":
    unittest.main(verbosity=2)
