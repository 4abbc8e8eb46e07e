"""What the systems have in common: a role, a container to speak to it in, and two values.

Statements go in on stdin and hold what a system stores of a password only, but for MySQL, whose logs say <secret>.
"""

import time
from collections.abc import Mapping

from shim.secret import Secret, clean
from shim_host import output
from shim_host.errors import Ended, Failed, Refused
from shim_host.rotate.inside import How, Values
from shim_host.swarm import connection
from shim_host.swarm.helper.elsewhere import FarDoor, Sign
from shim_host.swarm.helper.run_inside import Lost, NotReady

_AGAIN_SECONDS = 0.5  # no event tells when a server takes connections


class NotLetIn(Refused):
    """The admin's password is not the one that the system has."""


class System:
    """A system; a kind of it says what to tell it, and what its answers mean."""

    program = ""
    # What its client may answer, for where only a number comes back; the last that is there counts.
    signs: tuple[Sign, ...] = ()
    # What it answers, or its client does, while the server starts, ends, or takes no more connections for the moment.
    busy: tuple[bytes, ...] = ()
    patience = 30.0  # seconds that it may take no connections for

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
            raise Refused(f"{self.options['userKey']} is not one of the roles that {self.key} takes in turn")
        return name

    @property
    def takes_turns(self) -> bool:
        """Return whether there are two roles."""
        return bool(self.how.roles)

    @property
    def keeps_both(self) -> bool:
        """Return whether the old value goes on working: another role has it."""
        return self.takes_turns

    def check(self) -> list[str]:
        """Ask only for an answer."""
        wrong = []
        if self.values.old is None and not self.takes_turns:
            wrong.append(f"{self.key}: nobody here knows its present value, so that it could not be taken back")
        try:
            self.say(self.hello())
        except Ended as ended:
            wrong.append(f"{self.key}: {ended.message}")
        return wrong

    def begin(self) -> None:
        """Give the role its new password."""
        self.say(self.statement(self.role, self.known(self.values.new)))

    def finish(self) -> None:
        """Nothing: the system holds one password per role, and another role's stays as it is."""

    def take_back(self) -> None:
        """Give the role its old password; with two roles in turn the other never lost its own."""
        if not self.takes_turns:
            self.say(self.statement(self.role, self.known(self.values.old)))

    def known(self, value: Secret | None) -> bytes:
        """Return a value as the system has it.

        Raises:
            Failed: nobody here knows it.
        """
        if value is None:
            raise Failed(f"a value that {self.key} needs cannot be read from here", "run it where ./secrets is")
        return clean(value.reveal())

    @property
    def service(self) -> str:
        """Return the service that the system is."""
        return self.options["service"]

    def admin_passwords(self) -> list[bytes | None]:
        """Return what may let the admin in: the present value, and the new one where that rotates along.

        A server that takes its admin's password from the very secret that rotates has the new one once it has moved.
        """
        if "adminKey" not in self.options:
            return [None]
        key = self.options["adminKey"]
        found = [self.values.of(key), self.values.new if key == self.key else self.values.new_of(key)]
        found += [self.values.old] if key == self.key else []
        known = dict.fromkeys(clean(value.reveal()) for value in found if value is not None)
        return list(known) or [self.known(None)]

    def say(self, lines: bytes, *, is_repeatable: bool = True) -> bytes:
        """Run *lines* in the system; return what it answered, as soon as it answers.

        Args:
            lines: what it is told.
            is_repeatable: whether they may be run once more where nobody knows whether they were.

        Raises:
            NotReady: it takes no connections for as long as one may wait.
            Refused: the system does, whichever of the admin's passwords it is told.
        """
        until = time.monotonic() + self.patience
        is_told = False
        while True:
            is_late = time.monotonic() > until
            try:
                return self._say_as_admin(lines, is_late=is_late)
            except NotReady as not_ready:
                if is_late or (isinstance(not_ready, Lost) and not is_repeatable):
                    raise
                if not is_told:
                    output.say(f"{self.key}: waiting for {self.service}, up to {self.patience:.0f} s: {not_ready}")
                is_told = True
            time.sleep(_AGAIN_SECONDS)

    def _say_as_admin(self, lines: bytes, *, is_late: bool) -> bytes:
        *others, last = self.admin_passwords()
        for password in others:
            try:
                return self._say(self.with_password(password or b"", lines), is_late=is_late)
            except NotLetIn:
                continue
        return self._say(lines if last is None else self.with_password(last, lines), is_late=is_late)

    def with_password(self, password: bytes, lines: bytes) -> bytes:
        """Return *lines* with the admin's *password* in front."""
        raise NotImplementedError

    def _say(self, lines: bytes, *, is_late: bool) -> bytes:
        door = connection.connect_as(FarDoor, self.environ)
        place = door.place_of(self.service)
        hint = "see its log; what it was sent is not shown here"
        where = self.service
        if place is not None and place.trouble:
            raise NotReady(f"the container of {where} is {place.trouble}", "docker ps shows it")
        if place is not None and place.is_new and not is_late:
            raise NotReady("its health check has not succeeded yet")
        if place is not None:
            code, out, err = door.run_in(place.container, self.argv(), lines)
        else:
            remote = door.remote(self.service)
            code, out = door.run_there(remote, self.argv(remote.host), lines, self.signs)
            err = out
            where = f"{self.service}, on another node,"
            hint = (
                "it is reached over the network, where its administrator needs a password: name its key with adminKey"
            )
        if code not in (126, 127) and self.is_busy(out, err):
            why = "the server takes no connections, or none for the moment"
            raise NotReady(f"{self.program} in {where} refuses: {why}", hint)
        if trouble := self.trouble(code, out, err):
            if self.is_not_let_in(out, err):
                raise NotLetIn(f"{self.program} in {where} refuses: {trouble}", hint)
            raise Refused(f"{self.program} in {where} refuses: {trouble}", hint)
        return out

    def is_busy(self, out: bytes, err: bytes) -> bool:
        """Return whether the server takes no connections for the moment."""
        answers = out.splitlines()
        return any(words in err or any(line.startswith(words) for line in answers) for words in self.busy)

    def is_not_let_in(self, _out: bytes, _err: bytes) -> bool:
        """Return whether it was the admin's password that was refused."""
        return False

    def hello(self) -> bytes:
        """Return what asks whether the role is there, and changes nothing."""
        raise NotImplementedError

    def statement(self, role: str, password: bytes) -> bytes:
        """Return what makes *password* work for *role*."""
        raise NotImplementedError

    def argv(self, host: str = "") -> list[str]:
        """Return the client, as it is run in the system's container, or elsewhere with the *host* to reach it by."""
        raise NotImplementedError

    def trouble(self, code: int, _out: bytes, _err: bytes) -> str:
        """Return why it failed, in words that hold nothing of the statement; "" when it did not."""
        if code in (126, 127):
            return f"there is no {self.program} in its image"
        return "" if code == 0 else f"it ended with {code}"  # a warning on stderr is none of ours
