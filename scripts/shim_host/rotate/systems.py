"""The systems that `@rotate-with` knows.

Statements go in on stdin and hold what a system stores of a password only, but for MySQL, whose logs say <secret>.
"""

import base64
import hashlib
import hmac
import json
import secrets
import stringprep
import subprocess
import unicodedata
from collections.abc import Mapping

from shim.secret import Secret, clean
from shim_host import output
from shim_host.errors import Ended, Failed, Refused
from shim_host.rotate.inside import How, Values
from shim_host.swarm import connection
from shim_host.swarm.run_inside import Door

_SCRAM_ITERATIONS = 4096  # PostgreSQL's own default


class _System:
    """What the three have in common: a role, a container to speak to it in, and two values."""

    program = ""

    def __init__(self, key: str, how: How, values: Values, environ: Mapping[str, str]) -> None:
        self.key = key
        self.how = how
        self.values = values
        self.environ = environ
        self.options = how.options

    @property
    def role(self) -> str:
        """Return the role whose password changes: the one, or the one whose turn it is."""
        if not self.how.roles:
            return self.options["user"]
        name = self.known(self.values.new_of(self.options["userKey"])).decode("utf-8", "replace")
        if name not in self.how.roles:
            raise Refused(f"{self.options['userKey']} is none of the roles that {self.key} takes in turn")
        return name

    @property
    def takes_turns(self) -> bool:
        return bool(self.how.roles)

    @property
    def keeps_both(self) -> bool:
        """Return whether the old value goes on working: another role has it."""
        return self.takes_turns

    def check(self) -> list[str]:
        """Ask for nothing but an answer."""
        wrong = []
        if self.values.old is None and not self.takes_turns:
            wrong.append(f"{self.key}: nobody here knows its present value, so that it could not be taken back")
        try:
            self.say(self.hello())
        except Ended as ended:
            wrong.append(f"{self.key}: {ended.message}")
        return wrong

    def begin(self) -> None:
        self.say(self.statement(self.role, self.known(self.values.new)))

    def finish(self) -> None:
        """Nothing: the system holds one password a role, and another role's stays as it is."""

    def undo(self) -> None:
        """Give the role its old password; with two roles in turn the other never lost its own."""
        if not self.takes_turns:
            self.say(self.statement(self.role, self.known(self.values.old)))

    def known(self, value: Secret | None) -> bytes:
        if value is None:
            raise Failed(f"a value that {self.key} needs cannot be read from here", "run it where ./secrets is")
        return clean(value.reveal())

    def say(self, lines: bytes) -> bytes:
        """Run *lines* in the system; return what it answered.

        Raises:
            Refused: the system does.
        """
        door = connection.connect_as(Door, self.environ)
        container = door.container_of(self.options["service"])
        code, out, err = door.run_in(container, self.argv(), lines)
        trouble = self.trouble(code, out, err)
        if trouble:
            hint = "see its log; nothing that was said to it is shown here"
            raise Refused(f"{self.program} in {self.options['service']} refuses: {trouble}", hint)
        return out

    def hello(self) -> bytes:
        raise NotImplementedError

    def statement(self, role: str, password: bytes) -> bytes:
        raise NotImplementedError

    def argv(self) -> list[str]:
        raise NotImplementedError

    def trouble(self, code: int, _out: bytes, _err: bytes) -> str:
        """Return why it failed, in words that hold nothing of the statement; "" when it did not."""
        if code in (126, 127):
            return f"there is no {self.program} in its image"
        return "" if code == 0 else f"it ended with {code}"  # a warning on stderr is none of ours


class Postgres(_System):
    """PostgreSQL: a role's password, as the SCRAM verifier that the server stores (RFC 5803)."""

    program = "psql"

    def argv(self) -> list[str]:
        """Return psql over the local socket, as the image's own entrypoint uses it."""
        admin, database = self.options.get("admin", "postgres"), self.options.get("database", "postgres")
        return ["psql", "-X", "-q", "-A", "-t", "-U", admin, "-d", database]

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
        words = {
            b"22012": "it has no such role",
            b"42704": "it has no such role",
            b"42501": "its admin may not do that",
        }
        for state, meaning in words.items():
            if state in err:
                return meaning
        return super().trouble(code, out, err)


class MariaDB(_System):
    """MariaDB: a user's password, as the hash that the server stores. MySQL itself keeps it out of its logs."""

    program = "mariadb"
    _PROGRAM = 'm=$(command -v mariadb || command -v mysql) || exit 127; exec "$m" '
    # MySQL's newest clients know \q only with --commands, which must be no error to those that do not know that.
    _OPTIONS = '--batch --silent --loose-commands -u "$1"'
    # The admin's password is the first line of stdin, so that it is in no argument and in no environment.
    _WITH_PASSWORD = (
        f"IFS= read -r p || exit 3; {_PROGRAM} --defaults-extra-file=/dev/fd/3 {_OPTIONS} 3<<E\n"
        '[client]\npassword="$p"\nE'
    )
    _WITHOUT = f"{_PROGRAM} {_OPTIONS}"
    _TROUBLES = (
        (b"ERROR 1045 ", "its admin is not let in: adminKey names the key with that password"),
        (b"ERROR 1227 ", "its admin may not do that"),
        (b"ERROR 1396 ", "it has no such user"),
    )

    def argv(self) -> list[str]:
        """Return the client over the local socket; MySQL's has another name."""
        script = self._WITH_PASSWORD if "adminKey" in self.options else self._WITHOUT
        return ["sh", "-c", script, "sh", self.options.get("admin", "root")]

    def say(self, lines: bytes) -> bytes:
        """Put the admin's password before the statement where one is wanted."""
        if "adminKey" in self.options:
            password = self.known(self.values.of(self.options["adminKey"]))
            if b"\n" in password:
                raise Refused(f"{self.options['adminKey']} holds a line end, which the client cannot be told")
            lines = password.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b"\n" + lines
        return super().say(lines)

    def hello(self) -> bytes:
        """Ask whether the users are there."""
        roles = self.how.roles or (self.options["user"],)
        names = ", ".join(map(_mariadb, roles))
        where = f"User IN ({names}) AND Host = {_mariadb(self._host)}"
        return f"SELECT IF(COUNT(*) = {len(roles)}, 'there', 'missing') FROM mysql.user WHERE {where};\n\\q\n".encode()  # noqa: S608  (quoted)

    def statement(self, role: str, password: bytes) -> bytes:
        """Return the statement; MariaDB would write the password into its logs, MySQL writes <secret> there."""
        who = f"{_mariadb(role)}@{_mariadb(self._host)}"
        # Only MariaDB reads what stands behind M! (the version it gives can be set); who does not answer counts as one.
        if self.say(b"SELECT 1 /*M! + 1 */;\n\\q\n").strip() == b"1":
            shown = _mariadb(password.decode("utf-8", "surrogateescape"))
            statement = f"SET NAMES utf8mb4;\nALTER USER {who} IDENTIFIED BY {shown};\n\\q\n"
            return statement.encode("utf-8", "surrogateescape")
        digest = hashlib.sha1(hashlib.sha1(password).digest()).hexdigest().upper()  # noqa: S324  (what the server stores)
        return f"ALTER USER {who} IDENTIFIED VIA mysql_native_password USING '*{digest}';\n\\q\n".encode()

    @property
    def _host(self) -> str:
        return self.options.get("host", "%")

    def trouble(self, code: int, out: bytes, err: bytes) -> str:
        """Return what the number of the error means: messages repeat the statement."""
        if b"ERROR 1142 " in err and b"SELECT" in err:
            return ""  # an admin who may not look at mysql.user may change a password all the same
        for mark, meaning in self._TROUBLES:
            if mark in err:
                return meaning
        return "it has no such user" if out.strip() == b"missing" else super().trouble(code, out, err)


class Redis(_System):
    """Redis: a user may have two passwords, so that old and new work side by side."""

    program = "redis-cli"
    keeps_both = True

    def argv(self) -> list[str]:
        """Return the client over its default address."""
        return ["redis-cli"]

    def hello(self) -> bytes:
        """Ask for the user."""
        return self._lines(f"ACL GETUSER {_redis(self.role.encode())}")

    def statement(self, role: str, password: bytes) -> bytes:
        """Return the command that adds a password, as its digest."""
        return self._lines(f"ACL SETUSER {_redis(role.encode())} #{hashlib.sha256(password).hexdigest()}", "ACL SAVE")

    def begin(self) -> None:
        """Add the new password, and say so when it will not outlive the server."""
        answer = self.say(self.statement(self.role, self.known(self.values.new)))
        if any(_is_about_aclfile(line) for line in answer.splitlines()):
            service = self.options["service"]
            hint = "start it with --aclfile FILE, on a volume, or set its users where it is started"
            output.warn(f"{self.key}: {service} has no aclfile, and forgets the new password when it restarts", hint)

    def finish(self) -> None:
        """Drop the old password."""
        if self.known(self.values.old) != self.known(self.values.new):
            self._drop(self.values.old)

    def undo(self) -> None:
        """Drop the new password; the old one never stopped."""
        self._drop(self.values.new)

    def _drop(self, value: Secret | None) -> None:
        digest = hashlib.sha256(self.known(value)).hexdigest()
        self.say(self._lines(f"ACL SETUSER {_redis(self.role.encode())} !{digest}", "ACL SAVE"))

    def _lines(self, *commands: str) -> bytes:
        lines = list(commands)
        if "adminKey" in self.options:
            admin = _redis(self.options.get("admin", "default").encode())
            lines.insert(0, f"AUTH {admin} {_redis(self.known(self.values.of(self.options['adminKey'])))}")
        return "\n".join([*lines, "QUIT", ""]).encode()

    def trouble(self, code: int, out: bytes, err: bytes) -> str:
        """Return the kind of the first error among the answers."""
        for line in out.splitlines():
            word = line.split(b" ", 1)[0].decode("ascii", "replace")
            if word in ("NOAUTH", "WRONGPASS", "NOPERM"):
                return f"{word}: adminKey names the key with the password of a user that may use ACL"
            # Without an aclfile there is nothing to save to; a password that is gone already is what was wanted.
            if word == "ERR" and not _is_about_aclfile(line) and b"does not exist" not in line:
                return "it does not take the command"
        return super().trouble(code, out, err)


def _is_about_aclfile(line: bytes) -> bool:
    """Return whether this answer says that there is no file to save users to."""
    return line.startswith(b"ERR ") and (b"aclfile" in line or b"ACL file" in line)


class Command:
    """Anything else: a program that is told the step as its argument, and the values on stdin."""

    keeps_both = False

    def __init__(self, key: str, how: How, values: Values, seconds: float) -> None:
        self.seconds = seconds  # for one step
        self.key = key
        self.how = how
        self.values = values

    def check(self) -> list[str]:
        """Let the program say whether it could."""
        try:
            self._run("check")
        except Ended as ended:
            return [ended.message]
        return []

    def begin(self) -> None:
        """Make the new value work."""
        self._run("begin")

    def finish(self) -> None:
        """End the old value."""
        self._run("finish")

    def undo(self) -> None:
        """Make the old value work again."""
        self._run("undo")

    def _run(self, step: str) -> None:
        said = {
            "key": self.key,
            "old": _text(self.values.old),
            "new": _text(self.values.new) if step != "check" else None,
        }
        words = " ".join(self.how.words)
        try:
            done = subprocess.run(
                [*self.how.words, step],
                input=json.dumps(said).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what it says may hold what it was told
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(
                f"{self.key}: {words} {step} takes longer than {self.seconds:.0f} s",
                "see its own log; --timeout gives it more time",
            ) from None
        except OSError as error:
            hint = "it is found as a shell would find it"
            raise Refused(f"{self.key}: cannot run {words}: {error.strerror}", hint) from None
        if done.returncode != 0:
            hint = "0 is success; what it prints is not shown, since it may hold a value"
            raise Refused(f"{self.key}: {words} {step} ended with {done.returncode}", hint)


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


def _mariadb(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _redis(data: bytes) -> str:
    """Return *data* as redis-cli reads it in quotes, whatever it holds."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def _text(value: Secret | None) -> str | None:
    return None if value is None else clean(value.reveal()).decode("utf-8", "surrogateescape")
