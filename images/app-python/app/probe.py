"""Health check: `python3 -m app.probe URL` ends with 0 when the URL answers 200.

It says nothing: engines keep what checks print.
"""

import http.client
import sys
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 4


def answers(url: str) -> bool:
    """Return whether *url* answers with status 200 in time."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)
