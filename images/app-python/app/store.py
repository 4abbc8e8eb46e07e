"""Where strict-api keeps events: PostgreSQL, or this process's memory when there is no database to talk to."""

import sqlite3
import threading
from contextlib import closing
from typing import Any, NamedTuple, Protocol

from app.database import Database

_NEWEST = 50


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
    """Events in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> str:
        """Return what answers, and in which version: a round trip."""
        return self._database.version()

    def add(self, kind: str, note: str) -> Event:
        """Keep one event; return it with its number."""
        statement = "INSERT INTO event (kind, note) VALUES (%s, %s) RETURNING number"
        return Event(self._database.rows(statement, (kind, note))[0][0], kind, note)

    def newest(self) -> list[Event]:
        """Return the newest events, the newest first."""
        statement = "SELECT number, kind, note FROM event ORDER BY number DESC LIMIT %s"
        return [Event(*row) for row in self._database.rows(statement, (_NEWEST,))]


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
