"""The host tool as a person runs it: another process, in a folder of its own, watched by the canaries' `custody`."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.cache import cache_folder
from tests.support.forms import Custody, End, cannot_run

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "scripts" / "manage_secrets.py"

# Runs the script with every change of the file system counted: before the N-th the process dies by SIGKILL, and after
# each the modes below ./secrets are looked at.
WATCHED = """
import os, runpy, signal, stat, sys
deadly, count = int(sys.argv[1]), 0

def look():
    for folder, _, files in os.walk("secrets"):
        if stat.S_IMODE(os.stat(folder).st_mode) & 0o077:
            wide.add(folder)
        for name in files:
            if stat.S_IMODE(os.lstat(os.path.join(folder, name)).st_mode) & 0o177:
                wide.add(name)

wide = set()
look()
before = frozenset(wide)

reading = set()  # descriptors through which nothing changes

def counted(function):
    def call(*arguments, **options):
        global count
        reads = name == "close" and arguments[0] in reading
        if name == "open":
            reads = not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        count += not reads
        if count == deadly and not reads:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            answer = function(*arguments, **options)
        finally:
            if not reads:
                look()
        if reads and name == "open":
            reading.add(answer)
        elif name == "close":
            reading.discard(arguments[0])
        return answer
    name = function.__name__
    return call

for name in ("mkdir", "open", "write", "fchmod", "fsync", "rename", "replace", "unlink", "close"):
    wrapped = counted(getattr(os, name))
    if getattr(os, name) in os.supports_dir_fd:
        os.supports_dir_fd.add(wrapped)
    setattr(os, name, wrapped)
sys.argv = sys.argv[2:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    assert wide == before, wide - before
"""


class Manage:
    """Runs `manage-secrets` in `folder`; what it says is searched for canaries when the test ends."""

    def __init__(self, folder: Path, custody: Custody) -> None:
        self.folder = folder
        self.custody = custody
        self.env: dict[str, str] = {}

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        dies_at: int | None = None,
        timeout: float = 120,
        through: Sequence[str] = (),
    ) -> End:
        """Run with *arguments*; *dies_at* kills it before its N-th call that changes a file (0: it is only watched).

        *through* is the argv of a wrapper.
        """
        before = [] if dies_at is None else ["-c", WATCHED, str(dies_at)]
        done = subprocess.run(
            [*through, sys.executable, *before, str(SCRIPT), *map(str, arguments)],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        end = End(done.returncode, done.stdout.decode(), done.stderr.decode())
        self.custody.said += [end.stdout, end.stderr]
        assert "internal error" not in end.stderr, end.stderr
        assert "Traceback" not in end.stderr, end.stderr
        if "--json" in arguments and end.stdout:
            documents.check(str(arguments[0]), end.stdout)
        return end

    def json(self, *arguments: str | Path, **options: Any) -> Any:
        """Run with `--json`; the run must be clean. Return the document."""
        end = self(*arguments, "--json", **options)
        assert end.code == 0, end.stderr
        return json.loads(end.stdout)

    def left_behind(self) -> dict[str, tuple[int, bytes]]:
        """Return the mode and the bytes of each file in the folder, by its path."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in self.folder.rglob("*")
        }

    def write(self, name: str, text: str | bytes) -> Path:
        """Make the file *name* in the folder."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def secrets(self) -> dict[str, bytes]:
        """Return every secret file of ./secrets itself with its bytes."""
        files = filter(Path.is_file, (self.folder / "secrets").iterdir())
        return {path.name: path.read_bytes() for path in sorted(files)}


@pytest.fixture
def manage(tmp_path: Path, custody: Custody) -> Manage:
    """Return the host tool in an empty folder."""
    return Manage(tmp_path, custody)


Canary = Callable[[], str]


def compose_program(suite: str = "trixie") -> Path:
    """Return Docker Compose of a Debian suite, unpacked once into the cache; it needs no installation."""
    cache = cache_folder()
    folder = cache / f"compose-{suite}"
    with (cache / "compose.lock").open("w") as lock:  # the tests run in several processes, and apt in one at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            if os.geteuid() != 0 or shutil.which("apt-get") is None:
                cannot_run("Compose is unpacked from Debian's packages, as root on Debian")
            with tempfile.TemporaryDirectory(dir=cache) as new:
                script = f'. {ROOT}/scripts/lib.sh; unpack_packages {suite} "$1" docker-compose'
                subprocess.run(["bash", "-c", script, "bash", f"{new}/{suite}"], check=True, capture_output=True)
                Path(new, suite).rename(folder)
    return folder / "usr/libexec/docker/cli-plugins/docker-compose"


_REPLICAS = ("service", "ls", "--format", "{{.Replicas}}", "--filter")  # running of wanted, as "1/2"


class PrivateEngine:
    """A Docker engine of the tests' own, in namespaces of its own."""

    START_SECONDS = 60

    def __init__(self, folder: Path) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self.folder = folder
        (folder / "daemon.json").write_text("{}")

    def begin(self, *enter: str, stdin: int = subprocess.DEVNULL) -> None:
        """Start the daemon; *enter* is the argv of what leads into its namespaces."""
        options = {"host": self.host, "data-root": self.folder / "data", "exec-root": self.folder / "exec"}
        options |= {"pidfile": self.folder / "docker.pid", "config-file": self.folder / "daemon.json"}
        self.process = subprocess.Popen(
            [*enter, "dockerd", *(f"--{name}={value}" for name, value in options.items())],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_start(self) -> None:
        """Wait until the daemon listens."""
        if log := self.read_log():
            cannot_run(f"a private engine did not start:\n{log}")

    def read_log(self) -> str:
        """Return why the daemon does not listen; its log is read on, so that it never waits for a reader."""
        assert self.process.stderr is not None
        log: list[str] = []
        timer = threading.Timer(self.START_SECONDS, self.process.kill)
        timer.start()
        for line in self.process.stderr:
            log.append(line)
            if "API listen on" in line:
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                timer.cancel()
                return ""
        timer.cancel()
        return "".join(log[-20:]) or "it said nothing"

    def events(self, since: str) -> list[dict[str, Any]]:
        """Return what happened since *since* (a Unix time, or "10m"), up to this moment.

        The client rounds `--until 0s` down to a whole second, and what has just happened would be missing.
        """
        until = f"{time.time():.6f}"
        said = self.docker("events", "--since", since, "--until", until, "--format", "{{json .}}")
        return [json.loads(line) for line in said.splitlines()]

    @contextmanager
    def watched(self) -> Iterator[list[dict[str, Any]]]:
        """Give a list that holds all that happens meanwhile: the engine itself keeps 256 events, which are few."""
        since, seen = f"{time.time():.6f}", list[dict[str, Any]]()
        with subprocess.Popen(
            ["docker", "events", "--since", since, "--format", "{{json .}}"],
            env={**os.environ, "DOCKER_HOST": self.host},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as events:
            assert events.stdout is not None
            lines = events.stdout
            reader = threading.Thread(target=lambda: seen.extend(map(json.loads, lines)), daemon=True)
            reader.start()
            try:
                yield seen
                # They come in order: once the last is there, all are.
                last = self.docker("volume", "create")
                deadline = time.monotonic() + self.START_SECONDS
                while not any(event["Actor"]["ID"] == last for event in list(seen)):
                    assert time.monotonic() < deadline, "the engine tells of no event"
                    time.sleep(0.05)
                self.docker("volume", "rm", last)
            finally:
                events.kill()
                reader.join()

    def docker(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> str:
        """Return what `docker ARGUMENTS` printed."""
        done = subprocess.run(
            ["docker", *map(str, arguments)],
            env={**os.environ, "DOCKER_HOST": self.host, **(env or {})},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def serve(self, *arguments: str | Path) -> None:
        """Create a service, and wait until its tasks run and are healthy; Docker would go on watching them for 5 s."""
        # As its container's first process, `sleep` does not hear SIGTERM: each move would wait for the whole 10 s.
        grace = () if "--stop-grace-period" in arguments else ("--stop-grace-period", "1s")
        service = self.docker("service", "create", "--detach", "--quiet", *grace, *arguments)
        deadline = time.monotonic() + 3 * self.START_SECONDS
        while len(set(self.docker(*_REPLICAS, f"id={service}").split()[0].split("/"))) != 1:
            assert time.monotonic() < deadline, self.docker("service", "ps", "--no-trunc", service)
            time.sleep(0.1)  # the engine has no event for a task

    def empty(self) -> None:
        """Remove every service, secret and config."""
        for kind in ("service", "secret", "config"):
            names = self.docker(kind, "ls", "-q").split()
            if names:
                self.docker(kind, "rm", *names)
        while running := self.docker("ps", "-q").split():  # tasks outlive their service, and hold its secrets
            self.docker("kill", *running, check=False)  # nobody asks for the rest of their grace period
            self.docker("wait", *running, check=False)
        self._remove_networks()

    def _remove_networks(self) -> None:
        """Remove the networks of stacks: the next stack would find one that is on its way out, and then lose it."""
        deadline = time.monotonic() + self.START_SECONDS
        while names := self.docker("network", "ls", "-q", "--filter", "label=com.docker.stack.namespace").split():
            assert time.monotonic() < deadline, names
            self.docker("network", "rm", *names, check=False)
            time.sleep(0.1)  # the engine has no event for the end of a network whose tasks are ending

    def compose(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        """Run Docker Compose in *folder*."""
        done = subprocess.run(
            [compose_program(), *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_HOST": self.host, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    def image_with_shim(self, binary: Path, *more: Path) -> str:
        """Return an image that holds busybox, the shim where it is looked for, and *more* programs at its root."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "opt/shim").mkdir(parents=True)
            shutil.copy(binary, f"{folder}/opt/shim/shim")
            for program in more:
                shutil.copy(program, folder)
            shutil.copy(str(shutil.which("busybox")), f"{folder}/busybox")
            (Path(folder) / "bin").mkdir()
            for name in ("sh", "cat", "sleep", "true"):  # for health checks, and for the task that reads values back
                (Path(folder) / "bin" / name).symlink_to("/busybox")
            tar = subprocess.run(["tar", "-C", folder, "-c", "."], capture_output=True, check=True).stdout
        self.docker("import", "-", "with-shim", stdin=tar)
        return "with-shim"

    def environment(self, container: str) -> dict[str, bytes]:
        """Return the environment of a container's first process, byte for byte."""
        done = subprocess.run(
            ["docker", "exec", container, "/busybox", "cat", "/proc/1/environ"],
            env={**os.environ, "DOCKER_HOST": self.host},
            capture_output=True,
            check=True,
        )
        pairs = (entry.partition(b"=") for entry in done.stdout.split(b"\0")[:-1])
        return {key.decode(): value for key, _, value in pairs}

    def image(self) -> str:
        """Return an image that can only run busybox."""
        busybox = shutil.which("busybox")
        if busybox is None:
            cannot_run("busybox-static is not installed")
        if not self.docker("images", "-q", "only-busybox"):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copy(str(busybox), f"{folder}/busybox")
                tar = subprocess.run(["tar", "-C", folder, "-c", "busybox"], capture_output=True, check=True).stdout
            self.docker("import", "-", "only-busybox", stdin=tar)
        return "only-busybox"


class PrivateSwarm(PrivateEngine):
    """One that manages a Swarm of one node, in a network namespace of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.begin("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
        self.wait_for_start()
        self.docker("swarm", "init", "--advertise-addr", "127.0.0.1")

    def stop(self) -> None:
        """End the engine and what it made."""
        self.empty()
        self.docker("swarm", "leave", "--force")
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def folder_of_engines(prefix: str) -> Path:
    """Return a folder for private engines, in memory where that can be: a Swarm's log waits for the disk at each step.

    Its path is short, since that of a socket must be.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700", "engines", folder], capture_output=True, check=False)
    return folder


def unmount(folder: Path) -> None:
    """Remove *folder*, and first what is mounted on it or below."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if f"{(place := line.split()[4])}/".startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def private_swarm() -> Iterator[PrivateSwarm]:
    """Return a Swarm that nobody else uses."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("dockerd", "docker", "unshare", "ip"))):
        cannot_run("a private Swarm needs root, dockerd, docker, unshare and ip")
    folder = folder_of_engines("swarm-")
    engine = PrivateSwarm(folder)
    yield engine
    engine.stop()
    unmount(folder)


@pytest.fixture
def swarm(private_swarm: PrivateSwarm, manage: Manage) -> Iterator[PrivateSwarm]:
    """Return an empty Swarm, which `manage` uses."""
    manage.env["DOCKER_HOST"] = private_swarm.host
    yield private_swarm
    private_swarm.empty()


class Meddler:
    """Stands between the tool and its engine; `meddle(number)` decides on each request that changes something.

    With *reads* it decides on those that only ask, too, but for the first, which asks for the engine's version.

    "pass" hands it on, "drop" ends the connection before the engine sees it, "lose" after; "500" and "503" are answered
    as by a Swarm without a leader, and by an engine that manages none ("503 WORDS": in these words), "200" as if it
    were done; "kill" kills `victim` once it is done; "hang" never answers.
    """

    def __init__(
        self,
        engine: PrivateSwarm,
        meddle: Callable[[int], str],
        tls: ssl.SSLContext | None = None,
        *,
        reads: bool = False,
    ) -> None:
        self.engine_path = engine.host.removeprefix("unix://")
        self.reads = reads
        self.meddle = meddle
        self.requests = 0
        self.request = b""  # the one that is decided on
        self.victim: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        if tls is not None:
            self.listener = tls.wrap_socket(self.listener, server_side=True)
        threading.Thread(target=self._accept, daemon=True).start()

    def ask(self, request: bytes) -> bytes:
        """Return what the engine answers to *request*, which somebody else sends, just now."""
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.engine_path)
            engine.sendall(request)
            return _message(engine)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except ssl.SSLError:
                continue  # a client that does not trust us
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Whoever is killed, or gives up, resets the connection: there is nobody to answer then.
        with client, socket.socket(socket.AF_UNIX) as engine, suppress(ConnectionError):
            engine.connect(self.engine_path)
            while request := _message(client):
                fate = "pass"
                is_counted = self.reads and not request.startswith(b"GET /version ")
                if is_counted or request.startswith((b"POST", b"DELETE")):
                    with self.lock:
                        self.requests += 1
                        self.request = request
                        fate = self.meddle(self.requests)
                if fate == "drop":
                    return
                if fate == "hang":
                    client.recv(1)  # until it gives up
                    return
                if fate[:3] in ("200", "500", "503"):
                    words = fate[4:] or "rpc error: code = Unknown desc = the leader is gone"
                    body = json.dumps({"message": words}).encode()
                    head = f"HTTP/1.1 {fate[:3]} No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
                    client.sendall(head.encode() + b"\r\n\r\n" + body)
                    continue
                engine.sendall(request)
                answer = _message(engine)
                if fate == "lose":
                    return
                if fate == "kill" and self.victim is not None:
                    self.victim.kill()
                    return
                client.sendall(answer)

    def close(self) -> None:
        """Take no more connections."""
        self.listener.close()


def _message(connection: socket.socket) -> bytes:
    """Return one HTTP message, whole; empty when the other side is done."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            return b""
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
    length = int(fields.get(b"content-length", b"0"))
    while len(body) < length:
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    """Return what comes next; whoever is killed in the middle of a message sends nothing more."""
    block = connection.recv(65536)
    if not block:
        raise ConnectionResetError
    return block


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long *function* takes."""
    begin = time.monotonic()
    function()
    return time.monotonic() - begin


def image(swarm: PrivateSwarm, name: str, cat: bytes = b"") -> str:
    """Return an image of busybox, with *cat* in the place of its own if there is one."""
    program = shutil.which("busybox")
    if program is None:
        cannot_run("busybox-static is not installed")
    if not swarm.docker("images", "-q", name):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(str(program), "bin/busybox")
            for applet in ("cat", "sleep", "sh"):
                file = tarfile.TarInfo(f"bin/{applet}")
                if applet == "cat" and cat:
                    file.mode, file.size = 0o755, len(cat)
                    tar.addfile(file, io.BytesIO(cat))
                else:
                    file.type, file.linkname = tarfile.SYMTYPE, "busybox"
                    tar.addfile(file)
        swarm.docker("import", "-", name, stdin=packed.getvalue())
    return name


@pytest.fixture
def busybox(private_swarm: PrivateSwarm) -> Iterator[str]:
    """Return an image that has cat, and that is taken unasked; other tests rely on there being none."""
    yield image(private_swarm, "busybox:latest")
    private_swarm.empty()
    private_swarm.docker("rmi", "--force", "busybox:latest")
