"""Health check: `python3 -m app.probe URL` ends with 0 when the URL answers 200.

It says nothing: engines keep what checks print. It loads little: a check that runs forever should cost little.
"""

import socket
import sys

TIMEOUT_SECONDS = 4


def answers(url: str) -> bool:
    """Return whether *url*, of the form http://HOST:PORT/PATH, answers with status 200 in time."""
    address, _, path = url.removeprefix("http://").partition("/")
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection:
            connection.sendall(f"GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            return connection.recv(12, socket.MSG_WAITALL).endswith(b" 200")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)
