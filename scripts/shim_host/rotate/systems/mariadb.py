"""MariaDB and MySQL: a user's password."""

import hashlib
import json
from functools import cached_property

from shim_host.errors import Ended, Refused
from shim_host.rotate.systems.system import System
from shim_host.swarm.helper.elsewhere import Sign

_MARK = "docker-secrets-shim"
_MARK_ROUNDS = 100_000


class MariaDB(System):
    """MariaDB: a user's password, as the hash that the server stores. MySQL itself keeps it out of its logs.

    MySQL from 8.0.21 on holds two passwords of a user, so that the old one works until every service has the new.
    """

    program = "mariadb"
    _PROGRAM = 'm=$(command -v mariadb || command -v mysql) || exit 127; exec "$m" '
    # Only MariaDB runs what is behind M! (its version can be set to anything), and it skips what is for MySQL.
    _QUESTION = "SELECT IF(1 /*M! + 1 */ = 2, 'mariadb', IF(1 /*!80021 + 1 */ = 2, 'mysql-both', 'mysql-one'))"
    # MySQL's newest clients know \q only with --commands, which must not be an error to those that do not know that.
    _OPTIONS = '--batch --silent --loose-commands -u "$1" ${2:+-h "$2"}'
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
        (b"ERROR 1130 ", "its admin is not let in from another host"),
    )
    # No socket yet, nobody at the port, no such host yet; it ends; it has as many connections as it takes.
    busy = (b"ERROR 2002 ", b"ERROR 2003 ", b"ERROR 2005 ", b"ERROR 1053 ", b"ERROR 1040 ", b"reading initial comm")
    signs = (
        *(Sign(answer, begins=True) for answer in ("mariadb", "mysql-one", "mysql-both", "begun", "missing")),
        Sign("ERROR 1142 *SELECT"),
        *(Sign(mark.decode()) for mark in (*(mark for mark, _ in _TROUBLES), *busy)),
    )

    def argv(self, host: str = "") -> list[str]:
        """Return the client over the local socket, or to *host*; MySQL's has another name."""
        script = self._WITH_PASSWORD if "adminKey" in self.options else self._WITHOUT
        return ["sh", "-c", script, "sh", self.options.get("admin", "root"), *([host] if host else [])]

    def with_password(self, password: bytes, lines: bytes) -> bytes:
        """Put the admin's password before the statement."""
        if b"\n" in password:
            raise Refused(f"{self.options['adminKey']} holds a line end, which cannot be passed to the client")
        return password.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b"\n" + lines

    def is_not_let_in(self, _out: bytes, err: bytes) -> bool:
        """Return whether it was the admin's password that was refused."""
        return b"ERROR 1045 " in err

    def hello(self) -> bytes:
        """Ask whether the users are there."""
        roles = self.how.roles or (self.options["user"],)
        names = ", ".join(map(_mariadb, roles))
        where = f"User IN ({names}) AND Host = {_mariadb(self._host)}"
        return _lines(f"SELECT IF(COUNT(*) = {len(roles)}, 'there', 'missing') FROM mysql.user WHERE {where}")  # noqa: S608  (quoted)

    @cached_property
    def _server(self) -> bytes:
        """Return which server it is: mariadb, mysql-one, or mysql-both; who does not answer counts as the first."""
        return self.say(_lines(self._QUESTION)).strip()

    @property
    def keeps_both(self) -> bool:
        """Return whether the old value goes on working: another role has it, or the user's second password."""
        try:
            return self.takes_turns or self._server == b"mysql-both"
        except Ended:
            return False  # what is asked next says why

    @property
    def _holds_two(self) -> bool:
        return self.keeps_both and not self.takes_turns

    def begin(self) -> None:
        """Give the role its new password; MySQL keeps the old one beside it."""
        if not self._holds_two:
            super().begin()
            return
        # Once more it would keep the new one beside itself. The mark is part of the statement, so it tells for sure.
        new, old = self.known(self.values.new), self.known(self.values.old)
        mark = hashlib.pbkdf2_hmac("sha256", new, old, _MARK_ROUNDS, 8).hex()
        where = (
            f"USER = {_mariadb(self.role)} AND HOST = {_mariadb(self._host)} AND ATTRIBUTE->>'$.\"{_MARK}\"' = '{mark}'"
        )
        table = "information_schema.USER_ATTRIBUTES"
        answer = self.say(_lines(f"SELECT IF(COUNT(*) = 1, 'begun', 'new') FROM {table} WHERE {where}"))  # noqa: S608  (quoted)
        if answer.strip() != b"begun":
            retain = f"{self._identified(self.role, new)} RETAIN CURRENT PASSWORD {_attribute(mark)}"
            self.say(_lines(retain), is_repeatable=False)

    def finish(self) -> None:
        """Drop the old password where the server holds two."""
        if self._holds_two:
            self.say(_lines(f"ALTER USER {self._who(self.role)} DISCARD OLD PASSWORD {_attribute(None)}"))

    def take_back(self) -> None:
        """Give the role its old password; where the server holds two, the new one ends with that."""
        if not self._holds_two:
            super().take_back()
            return
        again = f"{self._identified(self.role, self.known(self.values.old))} {_attribute(None)}"
        self.say(_lines(again, f"ALTER USER {self._who(self.role)} DISCARD OLD PASSWORD"))

    def statement(self, role: str, password: bytes) -> bytes:
        """Return the statement; MariaDB would write the password into its logs, MySQL writes <secret> there."""
        if self._server.startswith(b"mysql-"):
            return _lines(self._identified(role, password))
        digest = hashlib.sha1(hashlib.sha1(password).digest()).hexdigest().upper()  # noqa: S324  (what the server stores)
        return _lines(f"ALTER USER {self._who(role)} IDENTIFIED VIA mysql_native_password USING '*{digest}'")

    def _identified(self, role: str, password: bytes) -> str:
        shown = _mariadb(password.decode("utf-8", "surrogateescape"))
        return f"SET NAMES utf8mb4;\nALTER USER {self._who(role)} IDENTIFIED BY {shown}"

    def _who(self, role: str) -> str:
        return f"{_mariadb(role)}@{_mariadb(self._host)}"

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


def _lines(*statements: str) -> bytes:
    return "".join([*(f"{statement};\n" for statement in statements), "\\q\n"]).encode("utf-8", "surrogateescape")


def _attribute(mark: str | None) -> str:
    """Return what writes *mark* at a user, or removes it."""
    return f"ATTRIBUTE '{json.dumps({_MARK: mark})}'"


def _mariadb(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
