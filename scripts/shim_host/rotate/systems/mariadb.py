"""MariaDB and MySQL: a user's password."""

import hashlib

from shim_host.errors import Refused
from shim_host.rotate.systems.system import System


class MariaDB(System):
    """MariaDB: a user's password, as the hash that the server stores. MySQL itself keeps it out of its logs."""

    program = "mariadb"
    _PROGRAM = 'm=$(command -v mariadb || command -v mysql) || exit 127; exec "$m" '
    # MySQL's newest clients know \q only with --commands, which must not be an error to those that do not know that.
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

    def with_password(self, password: bytes, lines: bytes) -> bytes:
        """Put the admin's password before the statement."""
        if b"\n" in password:
            raise Refused(f"{self.options['adminKey']} holds a line end, which the client cannot be told")
        return password.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b"\n" + lines

    def is_not_let_in(self, _out: bytes, err: bytes) -> bool:
        """Return whether it was the admin's password that was refused."""
        return b"ERROR 1045 " in err

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


def _mariadb(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
