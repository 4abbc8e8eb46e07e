"""PostgreSQL: a role's password, as the SCRAM verifier that the server stores (RFC 5803)."""

import base64
import hashlib
import hmac
import secrets
import stringprep
import unicodedata

from shim_host.errors import Refused
from shim_host.rotate.systems.system import System
from shim_host.swarm.helper.elsewhere import Sign

_SCRAM_ITERATIONS = 4096  # PostgreSQL's own default


class Postgres(System):
    """PostgreSQL: a role's password, as the SCRAM verifier that the server stores (RFC 5803)."""

    program = "psql"
    _STATES = (
        (b"22012", "it has no such role"),
        (b"42704", "it has no such role"),
        (b"42501", "its admin may not do that"),
    )
    # Of a connection, psql says the words and no SQLSTATE.
    _REFUSALS = (b"password authentication failed", b"no password supplied", b"no pg_hba.conf entry")
    # As libpq and the server say it of a connection that was not made, or ended: each statement bears being repeated.
    busy = (
        *(b"Connection refused", b"No such file or directory", b"could not translate host name"),
        *(b"the database system is ", b"too many clients", b"connection slots are reserved"),
        *(b"server closed the connection", b"terminating connection due to administrator"),
    )
    signs = tuple(Sign(words.decode()) for words in (*(state for state, _ in _STATES), *_REFUSALS, *busy))
    # The admin's password is the first line of stdin, so that it is in no argument.
    _TOLD_FIRST = 'IFS= read -r PGPASSWORD || exit 3; export PGPASSWORD; exec "$@"'

    def argv(self, host: str = "") -> list[str]:
        """Return psql over the local socket, as the image's own entrypoint uses it, or to *host*."""
        admin, database = self.options.get("admin", "postgres"), self.options.get("database", "postgres")
        psql = ["psql", "-X", "-q", "-A", "-t", "-w", "-U", admin, "-d", database, *(["-h", host] if host else [])]
        return ["sh", "-c", self._TOLD_FIRST, "sh", *psql] if "adminKey" in self.options else psql

    def with_password(self, password: bytes, lines: bytes) -> bytes:
        """Put the admin's password before the statement."""
        if b"\n" in password:
            raise Refused(f"{self.options['adminKey']} holds a line end, which cannot be passed to the client")
        return password + b"\n" + lines

    def is_not_let_in(self, _out: bytes, err: bytes) -> bool:
        """Return whether it was the admin's password that was refused."""
        return self._REFUSALS[0] in err

    def hello(self) -> bytes:
        """Ask whether the role is there, and may be changed."""
        names = ", ".join(_sql(role) for role in self.how.roles or (self.options["user"],))
        there = f"(count(*) = {len(self.how.roles) or 1})::int"
        return _psql(f"SELECT 1 / {there} FROM pg_roles WHERE rolname IN ({names})")  # noqa: S608  (quoted)

    def statement(self, role: str, password: bytes) -> bytes:
        """Return the statement, without the password."""
        return _psql(f"ALTER ROLE {_identifier(role)} PASSWORD {_sql(scram_verifier(password))}")

    def trouble(self, code: int, out: bytes, err: bytes) -> str:
        """Return the SQLSTATE: messages repeat the statement."""
        for state, meaning in self._STATES:
            if state in err:
                return meaning
        if any(words in err for words in self._REFUSALS):
            return "its admin is not let in: adminKey names the key with that password"
        return super().trouble(code, out, err)


def scram_verifier(password: bytes) -> str:
    """Return what PostgreSQL stores of *password*: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(data).decode() for data in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


def _prepared(password: bytes) -> bytes:
    """Return *password* as SASLprep (RFC 4013) has it; as it is where that says no, as libpq does."""
    try:
        text = password.decode()
    except UnicodeDecodeError:
        return password
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    prepared = unicodedata.normalize("NFKC", mapped)
    return prepared.encode() if prepared and not _is_prohibited(prepared) else password


def _is_prohibited(text: str) -> bool:
    """Return whether SASLprep refuses *text*: a character, one of no meaning in Unicode 3.2, or mixed directions."""
    tables = (
        *(stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4, stringprep.in_table_c5),
        *(stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9),
        stringprep.in_table_a1,
    )
    if any(table(character) for character in text for table in tables):
        return True
    if not any(map(stringprep.in_table_d1, text)):
        return False
    is_framed = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return not is_framed or any(map(stringprep.in_table_d2, text))


def _psql(statement: str) -> bytes:
    return f"\\set ON_ERROR_STOP on\n\\set VERBOSITY sqlstate\n{statement};\n\\q\n".encode()


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
