"""The frozen binary under Podman, as root and without: a store of the test's own, no network, no registry, no daemon.

Without root, uid 0 of a container is an ordinary user of this machine. Where the tests run as root, such a user is one
that only a mount namespace of the test knows.
"""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import SHIM, UGLY
from tests.support.forms import End, cannot_run

pytestmark = [pytest.mark.frozen]

IMAGE = "localhost/shim-test"
USER, UID, FIRST_OF_RANGE = "shim-podman", 64711, 700_000
PROGRAMS = ("sh", "id", "cat", "cut", "printf", "sha256sum", "sleep", "true")
HASH = ("sh", "-c", 'id -u; printf %s "$DB_PASSWORD" | sha256sum | cut -d " " -f 1')
HASHED = hashlib.sha256(UGLY.encode()).hexdigest()
# No network; and limits that nobody has to raise, which not even root may everywhere.
ALONE = ("--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
HARDENED = ("--cap-drop", "all", "--cap-add", "setuid,setgid", "--security-opt", "no-new-privileges", "--read-only")


class Podman:
    """`podman` with its store, its image and a secrets folder below *folder*; that belongs to whom it runs as."""

    def __init__(self, folder: Path, shim: Path, is_root: bool) -> None:
        self.folder = folder
        self.is_root = is_root
        self.front: list[str] = []
        self.secrets = ("--volume", f"{folder}/secrets:/run/secrets:ro")
        (folder / "secrets").mkdir(mode=0o755)
        (folder / "secrets/db_password").touch(mode=0o600)
        (folder / "secrets/db_password").write_text(UGLY + "\n", encoding="utf-8")
        (folder / "image.tar").write_bytes(_file_system(shim))
        if not is_root and os.geteuid() == 0:
            self._become_another_user()
        self.words = [
            *("podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
            *("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp"),
        ]
        if shutil.which("runc"):
            self.words += ["--runtime", "runc"]  # crun wants one hierarchy of control groups, and one that is its own

    def _become_another_user(self) -> None:
        """Run as a user that /etc/passwd and /etc/subuid name in a namespace of its own."""
        files = {
            "passwd": f"{Path('/etc/passwd').read_text()}{USER}:x:{UID}:{UID}::{self.folder}:/bin/sh\n",
            "group": f"{Path('/etc/group').read_text()}{USER}:x:{UID}:\n",
            "subuid": f"{USER}:{FIRST_OF_RANGE}:65536\n",
            "subgid": f"{USER}:{FIRST_OF_RANGE}:65536\n",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, UID, UID)
        mounts = "; ".join(f"touch /etc/{name}; mount --bind {self.folder}/{name} /etc/{name}" for name in files)
        become = f"exec setpriv --reuid {UID} --regid {UID} --clear-groups --"
        self.front = ["unshare", "--mount", "sh", "-euc", f'{mounts}; {become} "$@"', "sh"]

    def __call__(self, *argv: str | Path, stdin: str = "") -> End:
        """Return how `podman ARGV` ended."""
        done = subprocess.run(
            [*self.front, *self.words, *map(str, argv)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)},
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return End(done.returncode, done.stdout, done.stderr)

    def run(self, *argv: str, options: tuple[str, ...] = ()) -> End:
        """Return how a container ended that is started with *argv* for the shim."""
        return self("run", "--rm", *ALONE, *options, IMAGE, *argv)

    def remove(self) -> None:
        """Remove the containers and the store, which holds files of users that only its own namespace may touch."""
        self("rm", "--all", "--force", "--time", "0")
        if os.geteuid() != 0:
            self("unshare", "rm", "-rf", self.folder / "root")
        shutil.rmtree(self.folder)


def _file_system(shim: Path) -> bytes:
    """Return the archive of the shim, a static shell with its programs, and the names of two users."""
    busybox = shutil.which("busybox")
    if busybox is None:
        cannot_run("there is no static busybox (apt-get install busybox-static)")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))

        add(SHIM, shim.read_bytes())
        add("/bin/busybox", Path(str(busybox)).read_bytes())
        add("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        for name in PROGRAMS:
            entry = tarfile.TarInfo(f"/bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
    return made.getvalue()


@pytest.fixture(name="podman", scope="module", params=["as root", "without root"])
def _podman(request: pytest.FixtureRequest, shim_binary: Path) -> Iterator[Podman]:
    if shutil.which("podman") is None:
        cannot_run("there is no Podman (apt-get install podman uidmap)")
    is_root = request.param == "as root"
    if is_root and os.geteuid() != 0:
        cannot_run("Podman as root needs root")
    # Not below pytest's own folder, which another user may not enter.
    podman = Podman(Path(tempfile.mkdtemp(prefix="shim-podman-")), shim_binary, is_root)
    try:
        made = podman("import", "--change", f'ENTRYPOINT ["{SHIM}"]', podman.folder / "image.tar", IMAGE)
        if made.code != 0 and os.geteuid() != 0:
            cannot_run(f"Podman does not work here: {made.stderr.strip()}")
        assert made.code == 0, made.stderr
        yield podman
    finally:
        podman.remove()


def test_it_becomes_the_user_with_two_capabilities(podman: Podman) -> None:
    """A secret that only root of the container may read, a read-only root, and nothing else allowed."""
    end = podman.run("--user", "nobody", "--", *HASH, options=(*podman.secrets, *HARDENED))

    assert end == (0, f"65534\n{HASHED}\n", "")


def test_a_secret_of_podman_itself(podman: Podman) -> None:
    """`podman secret`, mounted for root alone."""
    assert podman("secret", "create", "db_password", "-", stdin=UGLY).code == 0

    end = podman.run("--user", "nobody", "--", *HASH, options=("--secret", "db_password,mode=0400"))

    assert end == (0, f"65534\n{HASHED}\n", "")


def test_a_user_who_may_not_read_is_told_so(podman: Podman) -> None:
    """It is there, and never called missing."""
    end = podman.run("--require", "DB_PASSWORD", "--", "true", options=(*podman.secrets, "--user", "1000"))

    assert end.code == 111
    assert "is there but cannot be read: permission denied" in end.stderr
    assert UGLY not in end.stderr


def test_whoever_runs_it_keeps_his_files(podman: Podman) -> None:
    """With --userns=keep-id a container without root reads its user's own files, and stays that user."""
    if podman.is_root:
        pytest.skip("keep-id is for Podman without root")
    end = podman.run("--user", "nobody", "--", *HASH, options=(*podman.secrets, "--userns", "keep-id"))

    assert (end.code, end.stdout.splitlines()[1:]) == (0, [HASHED]), end
    assert end.stdout.splitlines()[0] not in ("0", "65534")
    assert "shim: warning: " in end.stderr


def test_it_is_pid_1_and_exec_sees_what_it_sees(podman: Podman) -> None:
    """A stop reaches the service, whose exit code is the container's; who enters through the shim has the secret."""
    script = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    options = ("--detach", "--name", "service", *ALONE, *podman.secrets)
    assert podman("run", *options, IMAGE, "--user", "nobody", "--", "sh", "-c", script).code == 0

    entered = podman("exec", "service", SHIM, "exec", "--user", "nobody", "--", *HASH)
    without = podman("exec", "service", "sh", "-c", 'echo "${DB_PASSWORD-unset}"')
    stopped = podman("stop", "--time", "20", "service")
    code = podman("inspect", "--format", "{{.State.ExitCode}}", "service")

    assert entered == (0, f"65534\n{HASHED}\n", "")
    assert without.stdout == "unset\n"
    assert (stopped.code, code.stdout) == (0, "7\n")
