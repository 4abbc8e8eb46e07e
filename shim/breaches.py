"""The kinds of breach, for those who must tell one from another. Loaded when something is wrong."""

from shim.errors import WORLD, Breach


class Missing(Breach):
    """Nothing is there."""


class Directory(Breach):
    """A directory is where a file belongs; Compose makes one for a missing bind mount."""


class Unusable(Breach):
    """It is there and can be read, but no service could use it."""


class Retryable(Breach):
    """Nobody made a mistake: the kernel, a volume or the memory did not give what it should, and may the next time."""

    code = WORLD


class Unreadable(Retryable):
    """It is there, but cannot be read. Never reported as missing."""


class NotOurs(Breach):
    """Somebody else could have written it; the message says who, and follows the name of what it is about."""
