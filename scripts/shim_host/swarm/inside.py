"""A command in a container of this engine: what it reads is written to it, what it says is read up to a limit."""

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def run(
    client: Any,
    container: str,
    argv: Sequence[str],
    data: bytes,
    seconds: float,
    most_bytes: int,
    environment: Mapping[str, str] | None = None,
    job: str = "",
) -> tuple[int, bytes, bytes]:
    """Run *argv* in *container* with *data* on its stdin, which must tell it to end; return code, stdout, stderr.

    *job* is what `prepared` returned for the same, where that was called before.

    Raises:
        OSError, DockerException, RequestException: the engine does not do it, it takes longer than *seconds*, or says
            more than *most_bytes*.
    """
    deadline = time.monotonic() + seconds
    job = job or prepared(client, container, argv, data, environment)
    connection = client.exec_start(job, socket=True)
    raw = getattr(connection, "_sock", connection)
    outputs = {1: b"", 2: b""}
    with _closing(connection):
        raw.settimeout(seconds)
        if data:
            raw.sendall(data)
        while header := _exactly(raw, 8, deadline):
            stream, length = struct.unpack(">BxxxL", header)
            if length + sum(map(len, outputs.values())) > most_bytes:
                raise OSError(f"it shows more than {most_bytes} bytes")
            outputs[stream] = outputs.get(stream, b"") + _exactly(raw, length, deadline)
    ended = client.exec_inspect(job)
    code = ended.get("ExitCode") if isinstance(ended, dict) else None
    if not isinstance(code, int):
        raise OSError("the engine does not report how it ended")
    return code, outputs[1], outputs[2]


def prepared(
    client: Any, container: str, argv: Sequence[str], data: bytes, environment: Mapping[str, str] | None = None
) -> str:
    """Return the id of a command that `run` then starts; the engine refuses here what it lets nobody run.

    Raises:
        DockerException, RequestException: the container is not there, paused, or starting again; or the engine fails.
    """
    made = client.exec_create(container, list(argv), stdin=bool(data), environment=dict(environment or {}))
    return str(made["Id"])


@contextmanager
def _closing(connection: Any) -> Iterator[None]:
    """Close *connection* afterwards, and first the answer that it is a part of.

    The answer would be closed by the garbage collector otherwise, without what it reads from: Python 3.13 and newer
    complain about that on stderr.
    """
    try:
        yield
    finally:
        answer = getattr(connection, "_response", None)
        if answer is not None:
            answer.close()
        connection.close()


def _exactly(connection: Any, count: int, deadline: float) -> bytes:
    """Return *count* bytes; none when the other end has closed before."""
    blocks: list[bytes] = []
    missing = count
    while missing:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        connection.settimeout(left)
        block = connection.recv(min(missing, 65536))
        if not block:
            return b""
        blocks.append(block)
        missing -= len(block)
    return b"".join(blocks)
