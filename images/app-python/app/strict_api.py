"""strict-api: a small HTTP service that does not start without its secrets, and shows that it has them.

GET /health    names and origins of its secrets, and whether the database answers (503 when it does not)
GET /events    the newest events
POST /events   {"kind": ..., "note": ...} keeps one

`STORE=memory` needs no database. `HOST` and `PORT` say where to listen.
"""

import json
import os
import sys
from http import HTTPStatus

from app import stopping
from app.database import DatabaseFailed, open_database
from app.origins import secrets_report
from app.serving import Answer, Request, Server, failed, health_page
from app.store import MemoryStore, PostgresStore, Store

SERVICE = "strict-api"


class StrictApi:
    """What the service answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secrets = secrets_report(SERVICE)

    def health(self, _request: Request) -> Answer:
        """Return names and origins; 503 when the store does not answer."""
        page = health_page(SERVICE, self._secrets)
        try:
            return Answer(HTTPStatus.OK, {"status": "ok", "store": self._store.version(), **page})
        except DatabaseFailed as failure:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "failing", "store": str(failure), **page})

    def events(self, _request: Request) -> Answer:
        """Return the newest events."""
        return Answer(HTTPStatus.OK, [event._asdict() for event in self._store.newest()])

    def keep(self, request: Request) -> Answer:
        """Keep an event."""
        event = _event(request.body)
        if event is None:
            return Answer(HTTPStatus.BAD_REQUEST, {"error": 'send {"kind": "...", "note": "..."}'})
        return Answer(HTTPStatus.CREATED, self._store.add(*event)._asdict())


def _event(body: bytes | None) -> tuple[str, str] | None:
    """Return kind and note; None when the body is not what it should be."""
    try:
        event = json.loads(body or b"")
    except ValueError:
        return None
    kind, note = (event.get("kind"), event.get("note")) if isinstance(event, dict) else (None, None)
    return (kind, note) if isinstance(kind, str) and isinstance(note, str) else None


def main() -> int:
    """Serve until a stop signal arrives."""
    stopping.arm()
    try:
        store = MemoryStore() if os.environ.get("STORE") == "memory" else PostgresStore(open_database())
    except DatabaseFailed as failure:
        return failed(SERVICE, failure)
    api = StrictApi(store)
    routes = {"GET /health": api.health, "GET /events": api.events, "POST /events": api.keep}
    Server(SERVICE, routes).serve_until_stopped()
    return 0


if __name__ == "__main__":
    sys.exit(main())
