"""database-login: makes the login that DB_USER and DB_PASSWORD name, as the only service with the superuser's password.

A login owns nothing: what it makes belongs to a role that nobody can log in as. So the next login can do all that the
one before can, and both work while services move from one to the other: a rotation of DB_USER and DB_PASSWORD together
fails no statement. The newest logins are kept, for a rollback; older ones that nobody uses are dropped.

GET /health   names and origins of its secrets, and whether the login works
"""

import os
import sys
import time
from http import HTTPStatus
from typing import Any

from app import stopping
from app.database import Database, DatabaseFailed, open_database
from app.origins import secrets_report
from app.serving import Answer, Request, Server, failed, health_page
from shim import get_secret

SERVICE = "database-login"
_KEPT = 3
_LOCK = 720_614
_WAIT_SECONDS = 120
_LOGINS = """
SELECT login.rolname FROM pg_auth_members AS member
JOIN pg_roles AS owner ON owner.oid = member.roleid JOIN pg_roles AS login ON login.oid = member.member
WHERE owner.rolname = %s AND login.rolcanlogin ORDER BY login.oid DESC
"""


def make_login() -> None:
    """Make the login, or give it the password that is right now; drop those that are long past.

    Raises:
        DatabaseFailed: the database does not answer, or refuses.
        SecretNotFound: a part of what is needed is missing.
    """
    import psycopg

    database = os.environ.get("POSTGRES_DB", "app")
    try:
        with psycopg.connect(
            host=os.environ.get("POSTGRES_HOST", "postgres"),
            dbname=database,
            user=os.environ.get("POSTGRES_USER", "app"),
            password=get_secret("POSTGRES_PASSWORD", required=True),
            connect_timeout=5,
        ) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            _make(connection, database)
            _drop_old(connection, f"{database}_owner")
    except psycopg.Error as error:
        raise DatabaseFailed(f"PostgreSQL does not answer, or refuses ({type(error).__name__})") from None


def _make(connection: Any, database: str) -> None:
    from psycopg import sql

    login = get_secret("DB_USER", required=True) or ""
    password = get_secret("DB_PASSWORD", required=True) or ""
    owner = sql.Identifier(f"{database}_owner")
    there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    if f"{database}_owner" not in there:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(owner))
        connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(owner))
    # A verifier instead of the password: a statement may end up in a log.
    encoded = (password.encode("utf-8", "surrogateescape"), login.encode(), b"scram-sha-256")
    verifier = connection.pgconn.encrypt_password(*encoded).decode()
    verb = "ALTER" if login in there else "CREATE"
    names = {"login": sql.Identifier(login), "owner": owner, "database": sql.Identifier(database)}
    for statement in (
        f"{verb} ROLE {{login}} LOGIN PASSWORD {{verifier}}",
        "GRANT {owner} TO {login}",
        "ALTER ROLE {login} IN DATABASE {database} SET role TO {owner}",
    ):
        connection.execute(sql.SQL(statement).format(verifier=sql.Literal(verifier), **names))


def _drop_old(connection: Any, owner: str) -> None:
    from psycopg import sql

    current = get_secret("DB_USER")
    logins = [name for (name,) in connection.execute(_LOGINS, (owner,)) if name != current]
    used = {name for (name,) in connection.execute("SELECT usename FROM pg_stat_activity")}
    for name in logins[_KEPT - 1 :]:
        if name not in used:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


class Login:
    """What the service answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._secrets = secrets_report(SERVICE)

    def health(self, _request: Request) -> Answer:
        """Return names and origins; 503 when the login does not work."""
        page = health_page(SERVICE, self._secrets)
        try:
            return Answer(HTTPStatus.OK, {"status": "ok", "store": self._database.version(), **page})
        except DatabaseFailed as failure:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "failing", "store": str(failure), **page})


def main() -> int:
    """Make the login, then serve until a stop signal arrives."""
    stopping.arm()
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            make_login()
            login = Login(open_database())
            break
        except DatabaseFailed as failure:
            if time.monotonic() > deadline:
                return failed(SERVICE, failure)
        if stopping.wait(1):
            return 0
    print(f"{SERVICE}: the login is there", flush=True)
    Server(SERVICE, {"GET /health": login.health}).serve_until_stopped()
    return 0


if __name__ == "__main__":
    sys.exit(main())
