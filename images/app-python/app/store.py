"""Where events are kept: PostgreSQL, or this process's memory when there is no database to talk to."""

import sqlite3
import threading
from contextlib import AbstractContextManager, closing
from typing import Any, NamedTuple, Protocol

_NEWEST = 50


class StoreFailed(Exception):
    """The store does not answer. The words hold no connection string."""


class Event(NamedTuple):
    """Something that was reported, as it is kept."""

    number: int
    kind: str
    note: str


class Store(Protocol):
    """What the service needs of a store."""

    def version(self) -> str:
        """Return what answers, and in which version: a round trip."""

    def add(self, kind: str, note: str) -> Event:
        """Keep one event; return it with its number."""

    def newest(self) -> list[Event]:
        """Return the newest events, the newest first."""


class PostgresStore:
    """Events in PostgreSQL; each call is one connection, so that a restarted server or a new password is no event."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        with self._connection() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS event (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                "kind text NOT NULL, note text NOT NULL, reported timestamptz NOT NULL DEFAULT now())"
            )

    def version(self) -> str:
        """Return what answers, and in which version: a round trip."""
        row = self._rows("SELECT current_setting('server_version')")[0]
        return f"PostgreSQL {row[0]}"

    def add(self, kind: str, note: str) -> Event:
        """Keep one event; return it with its number."""
        row = self._rows("INSERT INTO event (kind, note) VALUES (%s, %s) RETURNING number", (kind, note))[0]
        return Event(row[0], kind, note)

    def newest(self) -> list[Event]:
        """Return the newest events, the newest first."""
        rows = self._rows("SELECT number, kind, note FROM event ORDER BY number DESC LIMIT %s", (_NEWEST,))
        return [Event(*row) for row in rows]

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement, values).fetchall()
            return rows

    def _connection(self) -> AbstractContextManager[Any]:
        import psycopg

        try:
            return psycopg.connect(self._connection_string, connect_timeout=5)
        except psycopg.Error as error:
            # libpq's own words name host and user; what the server said of a login is enough for a reader.
            raise StoreFailed(f"PostgreSQL does not answer ({type(error).__name__})") from None


class MemoryStore:
    """Events in this process's memory; gone when it ends."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute("CREATE TABLE event (number INTEGER PRIMARY KEY, kind TEXT, note TEXT)")
        self._one_at_a_time = threading.Lock()

    def version(self) -> str:
        """Return what answers, and in which version: a round trip."""
        return f"memory (SQLite {self._rows('SELECT sqlite_version()')[0][0]})"

    def add(self, kind: str, note: str) -> Event:
        """Keep one event; return it with its number."""
        row = self._rows("INSERT INTO event (kind, note) VALUES (?, ?) RETURNING number", (kind, note))[0]
        return Event(row[0], kind, note)

    def newest(self) -> list[Event]:
        """Return the newest events, the newest first."""
        return [
            Event(*row)
            for row in self._rows("SELECT number, kind, note FROM event ORDER BY number DESC LIMIT ?", (_NEWEST,))
        ]

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._one_at_a_time, closing(self._connection.cursor()) as cursor:
            return cursor.execute(statement, values).fetchall()
