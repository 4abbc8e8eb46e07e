"""A value that lives inside a system, too: what is asked of such a change, and what it needs to know."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from shim.secret import Secret

NOT_ASKED = "{}: what @rotate-with names is not asked in a dry run, since it would be told a value"

ValueOf = Callable[[str], Secret | None]


class How(NamedTuple):
    """What `@rotate-with` says, taken apart; `command` has words instead of options."""

    system: str
    options: Mapping[str, str]
    words: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the two roles that take turns; none where there is only one."""
        return tuple(self.options["users"].split("|")) if "users" in self.options else ()


class Values(NamedTuple):
    """The value before and after; None where nobody here knows it."""

    old: Secret | None
    new: Secret | None
    of: ValueOf  # another key's present value
    new_of: ValueOf  # another key's new value


class InsideChange(Protocol):
    """A value that lives inside a system too, and changes there as part of the rotation; each step may be repeated."""

    @property
    def keeps_both(self) -> bool:
        """Return whether the old value goes on working until `finish`."""

    def check(self) -> list[str]:
        """Return what would fail, changing nothing."""

    def begin(self) -> None:
        """Make the new value work; the old one goes on working wherever the system can do that."""

    def finish(self) -> None:
        """Every service has the new value: end the old one where the system holds two."""

    def take_back(self) -> None:
        """Make the old value work, and the new one not."""


def service_of(change: InsideChange) -> str:
    """Return the service that the system is; empty where nobody says."""
    return str(getattr(change, "service", ""))
