"""`python3 -m app.load URL [SECONDS]`: ask again and again, and count; so that a rotation can be watched.

Each request is a connection of its own, is asked once, and counts as failed when it is not answered by 200. It goes on
until it is stopped, or SECONDS are over (600), and then prints one line of JSON: {"requests", "failed", "first",
"slowest"}: how the first failure looked, and the longest time in seconds.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

from app import stopping

_THREADS = 4
_PAUSE_SECONDS = 0.05
# The engine names a container for a moment after its network is gone; a short wait, and the next address is tried.
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 30


class Count:
    """How many were asked and failed, how the first failure looked, and the longest time that one took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.failed = 0
        self.first = ""
        self.slowest_seconds = 0.0

    def add(self, failure: str, seconds: float) -> None:
        """Count one more; *failure* is empty when it was answered."""
        with self._lock:
            self.requests += 1
            self.slowest_seconds = max(self.slowest_seconds, seconds)
            if failure:
                self.failed += 1
                self.first = self.first or failure

    def __str__(self) -> str:
        slowest = round(self.slowest_seconds, 3)
        return json.dumps({"requests": self.requests, "failed": self.failed, "first": self.first, "slowest": slowest})


def ask(url: str) -> str:
    """Return what was wrong with the answer; empty when nothing was. Every address of the name is tried."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_CONNECT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(_ANSWER_SECONDS)
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == http.client.OK else f"status {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def main() -> int:
    """Ask until a stop signal arrives; the exit code says whether all were answered."""
    stopping.arm()
    count, ended = Count(), threading.Event()

    def work() -> None:
        while not ended.is_set():
            since = time.monotonic()
            failure = ask(sys.argv[1])
            count.add(failure, time.monotonic() - since)
            ended.wait(_PAUSE_SECONDS)

    workers = [threading.Thread(target=work) for _ in range(_THREADS)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + float(sys.argv[2] if len(sys.argv) > 2 else 600)
    while not stopping.wait(1) and time.monotonic() < deadline:
        print(count, flush=True)
    ended.set()
    for worker in workers:
        worker.join()
    print(count, flush=True)
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
