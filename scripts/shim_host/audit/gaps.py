"""What could not be looked at: it is not clean, and each has a way to look at it after all."""

from collections.abc import Iterable, Iterator

from shim_host.audit.model import ENGINE_NOT_WANTED, ERROR, Finding
from shim_host.audit.rules import NOT_LOOKED_AT, RULES
from shim_host.shell import quoted
from shim_host.swarm.model import ENGINE_LEFT_OUT, SWARM_LEFT_OUT

_PAUSED = " is paused"


def paused(container: str) -> str:
    """Return the gap that a paused *container* is: nothing can be run in it."""
    return f"{ENGINE_LEFT_OUT}{container}{_PAUSED}"


def is_of(container: str, gaps: Iterable[str]) -> bool:
    """Return whether one of *gaps* is that nothing could be run in *container*."""
    return any(gap == paused(container) or gap.startswith(f"{ENGINE_LEFT_OUT}cannot ask {container}: ") for gap in gaps)


def findings(gaps: Iterable[str]) -> Iterator[Finding]:
    """Yield a finding for each gap of the engine, or of its Swarm."""
    for gap in gaps:
        message = f"not looked at: {gap}"
        if gap.startswith(SWARM_LEFT_OUT):
            yield Finding(NOT_LOOKED_AT, ERROR, message, RULES[NOT_LOOKED_AT].help)
        elif gap.startswith(ENGINE_LEFT_OUT) and gap != ENGINE_NOT_WANTED:
            name = gap.removeprefix(ENGINE_LEFT_OUT).removesuffix(_PAUSED) if gap.endswith(_PAUSED) else ""
            command = f"docker unpause {quoted(name)}" if name else "manage-secrets doctor"
            yield Finding(NOT_LOOKED_AT, ERROR, message, "find out why, and run this again", command=command)
