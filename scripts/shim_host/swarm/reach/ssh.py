"""An engine behind `ssh://[USER@]HOST[:PORT][/SOCKET]`: the machine's own ssh carries each connection, as for `docker`.

So what ~/.ssh/config says counts: keys, agents, jump hosts. The Docker SDK would start ssh again for every call, and
more at once than sshd takes from strangers.
"""

import errno
import shlex
import socket
import subprocess
import tempfile
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import docker
from docker.transport.unixconn import UnixHTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from shim_host.errors import Refused

CONNECT_SECONDS = 30
LOWEST_API = "1.25"  # secrets came with it
_LAST_WORDS = 2000


def client(place: str, timeout: int, connections: int) -> docker.APIClient:
    """Return the SDK's client for the engine at *place*, after its version was asked for.

    Raises:
        Refused: *place* is not such a URL.
        Unreachable: ssh does not get there; it holds what ssh said.
        DockerException, RequestException: the engine does not answer.
    """
    adapter = _Adapter(command(place), timeout, connections)
    try:
        version = _client(adapter, timeout, LOWEST_API).version(api_version=False)["ApiVersion"]
    except OSError:
        raise Unreachable(adapter.said()) from None
    return _client(adapter, timeout, version)


class Unreachable(OSError):
    """The far side was not reached; `strerror` is what ssh said last."""

    def __init__(self, said: str) -> None:
        super().__init__(errno.EHOSTUNREACH, said)


def _client(adapter: "_Adapter", timeout: int, version: str) -> docker.APIClient:
    api = docker.APIClient("unix:///ssh", version=version, timeout=timeout)
    api.mount("http+docker://", adapter)
    return api


def command(place: str) -> list[str]:
    """Return the command that connects its stdin and stdout with the engine at *place*.

    Raises:
        Refused: *place* names no host, or holds what ssh does not take.
    """
    hint = "it is ssh://USER@HOST, followed by :PORT and the path of a socket if they are not the usual ones"
    try:
        url = urlsplit(place)
        port = url.port
    except ValueError:
        raise Refused("DOCKER_HOST is not an ssh:// URL", hint) from None
    if url.password is not None or url.query or url.fragment:
        raise Refused("an ssh:// URL cannot contain a password or a query", hint)
    user, host = unquote(url.username or ""), url.hostname or ""
    if not host or host.startswith("-") or user.startswith("-"):
        raise Refused("DOCKER_HOST does not name a host that ssh accepts", hint)
    start = ["ssh", "-T", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
    start += ["-l", user] if user else []
    start += ["-p", str(port)] if port is not None else []
    there = f"--host {shlex.quote(f'unix://{unquote(url.path)}')} " if url.path.strip("/") else ""
    return [*start, "--", host, f"docker {there}system dial-stdio"]


class _Adapter(UnixHTTPAdapter):
    """Hands every request to one pool; the SDK's own has a pool for each path."""

    def __init__(self, argv: list[str], timeout: int, connections: int) -> None:
        super().__init__("http+unix:///ssh", timeout, 1, connections)
        # Every ssh writes to its end, and it is there for as long as the connection.
        self._talk: IO[bytes] = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115
        self._pool = _Pool(argv, self._talk, timeout, connections)

    def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:  # noqa: ARG002  (requests' signature)
        return self._pool

    def said(self) -> str:
        """Return the last line that any ssh wrote to stderr."""
        self._talk.seek(0)
        lines = self._talk.read(_LAST_WORDS).decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "ssh gave no reason")


class _Pool(HTTPConnectionPool):
    def __init__(self, argv: list[str], talk: IO[bytes], timeout: int, connections: int) -> None:
        super().__init__("localhost", timeout=timeout, maxsize=connections)
        self._argv, self._talk, self._timeout = argv, talk, timeout

    def _new_conn(self) -> "_Connection":
        return _Connection(self._argv, self._talk, self._timeout)


class _Connection(HTTPConnection):
    """A connection whose other end is the stdin and stdout of an ssh, which ends when we close ours."""

    def __init__(self, argv: list[str], talk: IO[bytes], timeout: int) -> None:
        super().__init__("localhost", timeout=timeout)
        self._argv, self._talk, self._seconds = argv, talk, timeout

    def connect(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # Nobody waits for it: it is a child for as long as the connection lasts.
                subprocess.Popen(self._argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._talk)
            except OSError:
                ours.close()
                self._talk.write(f"the program {self._argv[0]} cannot be started\n".encode())
                raise
        ours.settimeout(self._seconds)
        self.sock = ours
