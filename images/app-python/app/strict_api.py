"""strict-api: a small HTTP service that does not start without its secrets, and shows that it has them.

GET /health    names, origins and fingerprints of its secrets, and whether the database answers (503 when it does not)
GET /events    the newest events
POST /events   {"kind": ..., "note": ...} keeps one

`STORE=memory` needs no database. `HOST` and `PORT` say where to listen.
"""

import json
import os
import pwd
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any

from app.origins import secrets_report
from app.store import MemoryStore, PostgresStore, Store, StoreFailed
from shim import get_secret

SERVICE = "strict-api"
MAX_BODY_BYTES = 65_536
REQUEST_SECONDS = 10


class Server(ThreadingHTTPServer):
    """One thread a connection; on the way out those that are answering are waited for."""

    daemon_threads = False

    def __init__(self, address: tuple[str, int], store: Store, secrets: dict[str, dict[str, str]]) -> None:
        super().__init__(address, Handler)
        self.store = store
        self.secrets = secrets


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer /health and /events."""
        if self.path == "/health":
            self.answer(*health(self.server.store, self.server.secrets))
        elif self.path == "/events":
            self.from_store(lambda store: (HTTPStatus.OK, [event._asdict() for event in store.newest()]))
        else:
            self.answer(HTTPStatus.NOT_FOUND, {"error": "there are /health and /events"})

    def do_POST(self) -> None:
        """Keep an event."""
        if self.path != "/events":
            self.answer(HTTPStatus.NOT_FOUND, {"error": "events are kept at /events"})
            return
        event = self.event()
        if event is None:
            self.answer(HTTPStatus.BAD_REQUEST, {"error": 'send {"kind": "...", "note": "..."}'})
            return
        self.from_store(lambda store: (HTTPStatus.CREATED, store.add(*event)._asdict()))

    def event(self) -> tuple[str, str] | None:
        """Return kind and note from the request's body; None when it is not what it should be."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return None
        kind, note = (body.get("kind"), body.get("note")) if isinstance(body, dict) else (None, None)
        return (kind, note) if isinstance(kind, str) and isinstance(note, str) else None

    def from_store(self, ask: Any) -> None:
        """Answer with what *ask* gets from the store, or say that it does not answer."""
        try:
            status, body = ask(self.server.store)
        except StoreFailed as failure:
            status, body = HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(failure)}
        self.answer(status, body)

    def answer(self, status: HTTPStatus, body: object) -> None:
        """Send *body* as JSON."""
        data = json.dumps(body, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the log for what matters: a health check every few seconds is no news."""


def health(store: Store, secrets: dict[str, dict[str, str]]) -> tuple[HTTPStatus, dict[str, object]]:
    """Return the status and the page of /health."""
    page: dict[str, object] = {"service": SERVICE, "pid": os.getpid(), "user": pwd.getpwuid(os.getuid()).pw_name}
    try:
        page |= {"status": "ok", "store": store.version()}
        status = HTTPStatus.OK
    except StoreFailed as failure:
        page |= {"status": "failing", "store": str(failure)}
        status = HTTPStatus.SERVICE_UNAVAILABLE
    return status, page | {"secrets": secrets}


def main() -> int:
    """Serve until a stop signal arrives."""
    # PID 1 has no default signal handlers: without these a stop would wait for SIGKILL.
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop_signal, _stop)
    try:
        store = _store()
    except StoreFailed as failure:
        print(f"{SERVICE}: error: {failure}", file=sys.stderr)
        return 1
    address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8090")))
    with Server(address, store, secrets_report(SERVICE)) as server:
        print(f"{SERVICE}: listening on {address[0]}:{server.server_port}", flush=True)
        server.serve_forever()
    return 0


def _store() -> Store:
    if os.environ.get("STORE") == "memory":
        return MemoryStore()
    return PostgresStore(get_secret("DB_CONNECTION_STRING", required=True) or "")


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
