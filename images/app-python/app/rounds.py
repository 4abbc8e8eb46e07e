"""A service that does the same work every few seconds, and says over HTTP whether it still does."""

import os
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from app import stopping
from app.database import Database, DatabaseFailed, open_database
from app.feed_client import FeedFailed
from app.origins import secrets_report
from app.serving import Answer, Request, Server, failed, health_page

INTERVAL_SECONDS = 5.0
# So many intervals without a good round, and the service is not healthy.
PATIENCE = 4


class Rounds:
    """The rounds of one service, in a thread of their own, and how they went."""

    def __init__(self, service: str, work: Callable[[Database], str], database: Database) -> None:
        self.service = service
        self._work = work
        self._database = database
        self._interval_seconds = float(os.environ.get("INTERVAL_SECONDS", INTERVAL_SECONDS))
        self._stopped = threading.Event()
        self._last_good: float | None = None
        self._said = ""
        self._done = 0
        self._secrets = secrets_report(service)

    def run(self) -> None:
        """Work until `stop`; a round that fails is the next one's, and is said once."""
        complained = ""
        while not self._stopped.is_set():
            try:
                self._said = self._work(self._database)
                self._last_good = time.monotonic()
                self._done += 1
                if complained or self._done == 1:
                    print(f"{self.service}: {self._said}", flush=True)
                complained = ""
            except (DatabaseFailed, FeedFailed) as failure:
                if str(failure) != complained:
                    print(f"{self.service}: error: {failure}", file=sys.stderr, flush=True)
                complained = self._said = str(failure)
            self._stopped.wait(self._interval_seconds)

    def stop(self) -> None:
        """End after the round that is under way."""
        self._stopped.set()

    def health(self, _request: Request) -> Answer:
        """Return how the rounds go; 503 when there was no good one lately."""
        since = None if self._last_good is None else round(time.monotonic() - self._last_good, 1)
        is_well = since is not None and since < PATIENCE * self._interval_seconds
        page = {"status": "ok" if is_well else "failing", "rounds": self._done, "last": self._said, "seconds": since}
        status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(status, {**page, **health_page(self.service, self._secrets)})


def run(service: str, work: Callable[[Database], str]) -> int:
    """Do *work* in rounds until a stop signal arrives; return the exit code.

    Args:
        service: its name.
        work: one round; returns what it did, in words without values.
    """
    stopping.arm()
    try:
        rounds = Rounds(service, work, open_database())
    except DatabaseFailed as failure:
        return failed(service, failure)
    working = threading.Thread(target=rounds.run)
    working.start()
    Server(service, {"GET /health": rounds.health}).serve_until_stopped(drain_seconds=0)
    rounds.stop()
    working.join()
    return 0
