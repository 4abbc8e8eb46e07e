"""Exit codes, and the exceptions that carry them.

A `Breach` is one thing that is wrong with one key (or option); `Refused` carries all of them, so that nobody has to
restart once per mistake. No exception ever holds a value. The kinds of breach are in breaches.py. To make a class takes
as long as a hundred calls, and a start that goes well needs none of these: errors.py is the door to them.
"""

CHANGE = 100  # you must change something: usage, a breach, a conflict
WORLD = 111  # something outside failed; a retry may help: unreadable, fork, no memory
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNALLED = 128  # + N: ended by signal N


class Breach(Exception):
    """One thing that is wrong, in words for the person who must fix it."""

    code = CHANGE

    def __init__(self, key: str, message: str, hint: str = "") -> None:
        Exception.__init__(self, message)
        self.key = key
        self.message = message
        self.hint = hint


class Refused(Exception):
    """The start is refused; `breaches` says everything that is wrong, in the order in which it should be read."""

    def __init__(self, breaches: list[Breach]) -> None:
        Exception.__init__(self, "refused")
        self.breaches = breaches

    @property
    def code(self) -> int:
        """Return `WORLD` when a retry alone may help, else the first code that says what to change."""
        for breach in self.breaches:
            if breach.code != WORLD:
                return breach.code
        return WORLD
