"""Redis: a user may have two passwords, so that old and new work side by side."""

import hashlib

from shim.secret import Secret
from shim_host import output
from shim_host.rotate.systems.system import System
from shim_host.swarm.helper.elsewhere import Sign


class Redis(System):
    """Redis: a user may have two passwords, so that old and new work side by side."""

    program = "redis-cli"
    keeps_both = True

    # Of a connection that it does not get its client speaks, and ends with 0 all the same.
    busy = (b"Could not connect to ", b"Error: ", b"ERR max number of clients", b"LOADING ")
    signs = (
        *(Sign(f"ERR *{words}", begins=True) for words in ("aclfile", "ACL file")),
        Sign("ERR *does not exist", begins=True, is_told=False),
        *(Sign(word, begins=True) for word in ("ERR ", "NOPERM", "NOAUTH", "WRONGPASS")),
        *(Sign(words.decode()) for words in busy),
    )

    def argv(self, host: str = "") -> list[str]:
        """Return the client over its default address, or to *host*."""
        return ["redis-cli", *(["-h", host] if host else [])]

    def hello(self) -> bytes:
        """Ask for the user."""
        return self._lines(f"ACL GETUSER {_redis(self.role.encode())}")

    def statement(self, role: str, password: bytes) -> bytes:
        """Return the command that adds a password, as its digest."""
        return self._lines(f"ACL SETUSER {_redis(role.encode())} #{hashlib.sha256(password).hexdigest()}", "ACL SAVE")

    def begin(self) -> None:
        """Add the new password, and say so when it will not outlive the server."""
        answer = self.say(self.statement(self.role, self.known(self.values.new)))
        takes_from_secret = self.options.get("adminKey") == self.key and self.role == self.options.get(
            "admin", "default"
        )
        if not takes_from_secret and any(_is_about_aclfile(line) for line in answer.splitlines()):
            service = self.options["service"]
            hint = "start it with --aclfile FILE, on a volume, or set its users where it is started"
            output.warn(f"{self.key}: {service} has no aclfile, and forgets the new password when it restarts", hint)

    def finish(self) -> None:
        """Drop the old password."""
        if self.known(self.values.old) != self.known(self.values.new):
            self._drop(self.values.old)

    def take_back(self) -> None:
        """Drop the new password; the old one never stopped."""
        self._drop(self.values.new)

    def _drop(self, value: Secret | None) -> None:
        digest = hashlib.sha256(self.known(value)).hexdigest()
        self.say(self._lines(f"ACL SETUSER {_redis(self.role.encode())} !{digest}", "ACL SAVE"))

    def _lines(self, *commands: str) -> bytes:
        return "\n".join([*commands, "QUIT", ""]).encode()

    def with_password(self, password: bytes, lines: bytes) -> bytes:
        """Put the admin's login before the commands."""
        admin = _redis(self.options.get("admin", "default").encode())
        return f"AUTH {admin} {_redis(password)}\n".encode() + lines

    def is_not_let_in(self, out: bytes, _err: bytes) -> bool:
        """Return whether it was the admin's password that was refused."""
        return any(line.startswith(b"WRONGPASS") for line in out.splitlines())

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


def _redis(data: bytes) -> str:
    """Return *data* as redis-cli reads it in quotes, whatever it holds."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'
