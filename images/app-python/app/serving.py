"""HTTP for every service: JSON answers, and a stop that loses no request.

A stop signal does not end the service at once: for DRAIN_SECONDS it goes on serving, since whoever balances the load
(Swarm's DNS, a proxy) needs a moment to learn of it. Then it takes no more connections, and those that are being
answered are waited for. A second stop signal ends the waiting.
"""

import json
import os
import pwd
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from app import stopping
from app.database import DatabaseFailed

DRAIN_SECONDS = 3.0
REQUEST_SECONDS = 10
MAX_BODY_BYTES = 65_536


class Request(NamedTuple):
    """What an answer may depend on."""

    path: str
    query: str
    headers: dict[str, str]
    body: bytes | None


class Answer(NamedTuple):
    """A status, and what is sent as JSON."""

    status: HTTPStatus
    body: object


Route = Callable[[Request], Answer]


class Server(ThreadingHTTPServer):
    """One thread a connection. *routes* maps "GET /health" and the like to what answers it."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, service: str, routes: dict[str, Route]) -> None:
        address = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8090"))
        super().__init__(address, _Handler)
        self.service = service
        self.routes = routes

    def serve_until_stopped(self, drain_seconds: float | None = None) -> None:
        """Serve, in threads of its own, until a stop signal arrived and the time to drain is over."""
        if drain_seconds is None:
            drain_seconds = float(os.environ.get("DRAIN_SECONDS", DRAIN_SECONDS))
        serving = threading.Thread(target=self.serve_forever)
        serving.start()
        print(f"{self.service}: listening on {self.server_address[0]!s}:{self.server_port}", flush=True)
        stopping.wait()
        print(f"{self.service}: draining", flush=True)
        stopping.wait(drain_seconds)
        self.shutdown()
        serving.join()
        waiting = self._still_waiting()
        self.socket.close()
        for connection, address in waiting:
            self.process_request(connection, address)
        self.server_close()  # waits for the threads that are still answering

    def _still_waiting(self) -> list[tuple[socket.socket, tuple[str, int]]]:
        """Return who is connected already and waits to be accepted: closing would reset them.

        Answered only afterwards, so that next to nobody can connect between the last of them and the closing.
        """
        self.socket.setblocking(False)
        waiting = []
        while True:
            try:
                waiting.append(self.get_request())
            except BlockingIOError:
                return waiting


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer by the server's routes."""
        self._answer()

    def do_POST(self) -> None:
        """Answer by the server's routes."""
        self._answer()

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        route = self.server.routes.get(f"{self.command} {path}")
        if route is None:
            self._send(HTTPStatus.NOT_FOUND, {"error": "there is " + ", ".join(self.server.routes)})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = route(Request(path, query, headers, self._body()))
        except DatabaseFailed as failure:
            answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(failure)})
        self._send(*answer)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        return self.rfile.read(int(length)) if length.isdecimal() and int(length) <= MAX_BODY_BYTES else None

    def _send(self, status: HTTPStatus, body: object) -> None:
        data = json.dumps(body, indent=2, default=str).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the log for what matters; a path may hold a key, and a health check is not news."""


def health_page(service: str, secrets: dict[str, dict[str, str]]) -> dict[str, object]:
    """Return what every service says about itself: who it is, and which secrets it got, never their values."""
    return {
        "service": service,
        "pid": os.getpid(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "secrets": secrets,
    }


def failed(service: str, error: Exception) -> int:
    """Say why *service* cannot start; return its exit code."""
    print(f"{service}: error: {error}", file=sys.stderr, flush=True)
    return 1
