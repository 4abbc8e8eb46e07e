"""PostgreSQL, as the services use it: short connections, so that a restart or a new password goes unnoticed."""

import random
import time
from contextlib import AbstractContextManager
from typing import Any

from app import stopping
from shim import get_secret

_TABLES = """
CREATE TABLE IF NOT EXISTS event (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, note text NOT NULL,
    reported timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS fixture (
    id text PRIMARY KEY, home text NOT NULL, away text NOT NULL, starts timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS odds (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fixture text NOT NULL, bookmaker text NOT NULL,
    home_price numeric(8, 3) NOT NULL, away_price numeric(8, 3) NOT NULL, seen timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS odds_by_fixture ON odds (fixture, bookmaker, number);
CREATE TABLE IF NOT EXISTS movement (
    odds bigint PRIMARY KEY, fixture text NOT NULL, bookmaker text NOT NULL,
    home_change numeric(8, 3) NOT NULL, away_change numeric(8, 3) NOT NULL, seen timestamptz NOT NULL);
"""
_LOCK = 720_613  # any number, the same in every service: CREATE ... IF NOT EXISTS does not protect from a race
_CONNECT_SECONDS = 5
_PAUSES_SECONDS = (0.1, 0.4, 1.0)


class DatabaseFailed(Exception):
    """The database does not answer. The words hold no connection string."""


class Database:
    """The tables of the stack, behind DB_CONNECTION_STRING; each call is one connection and one transaction."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string

    def rows(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that *statement* gives.

        Raises:
            DatabaseFailed: the server does not answer, or refuses.
        """
        import psycopg

        try:
            with self._connection() as connection:
                found = connection.execute(statement, values)
                return list(found.fetchall()) if found.description else []
        except psycopg.Error as error:
            raise _failure(error) from None

    def add(self, statement: str, lines: list[tuple[object, ...]]) -> None:
        """Run *statement* for each of *lines*, all or nothing.

        Raises:
            DatabaseFailed: the server does not answer, or refuses.
        """
        import psycopg

        try:
            with self._connection() as connection, connection.cursor() as cursor:
                cursor.executemany(statement, lines)
        except psycopg.Error as error:
            raise _failure(error) from None

    def version(self) -> str:
        """Return what answers, and in which version: a round trip."""
        row = self.rows("SELECT current_setting('server_version')")[0]
        return f"PostgreSQL {row[0]}"

    def make_tables(self) -> None:
        """Make the tables that are not there yet; services may do so at the same time."""
        import psycopg

        try:
            with self._connection() as connection:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                connection.execute(_TABLES)
        except psycopg.Error as error:
            raise _failure(error) from None

    def _connection(self) -> AbstractContextManager[Any]:
        """Return a connection; a server that starts again gets a second and a half to do so."""
        import psycopg

        for pause_seconds in (*_PAUSES_SECONDS, None):
            try:
                return psycopg.connect(self._connection_string, connect_timeout=_CONNECT_SECONDS)
            except psycopg.OperationalError:
                if pause_seconds is None:
                    raise
                # Not all services at once.
                time.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311
        raise AssertionError("unreachable")


def _failure(error: Exception) -> DatabaseFailed:
    # libpq's own words name host and user; which kind of failure it is, is enough for a reader.
    return DatabaseFailed(f"PostgreSQL does not answer ({type(error).__name__})")


def open_database(seconds: float = 60) -> Database:
    """Return the database with its tables, once it answers: in a Swarm nobody starts before anybody.

    Raises:
        DatabaseFailed: it does not answer within *seconds*.
        SecretNotFound: nothing says where it is.
        SystemExit: a stop signal came meanwhile.
    """
    database = Database(get_secret("DB_CONNECTION_STRING", required=True) or "")
    deadline = time.monotonic() + seconds
    while True:
        try:
            database.make_tables()
            return database
        except DatabaseFailed:
            if time.monotonic() > deadline:
                raise
        if stopping.wait(1):
            raise SystemExit(0)
