"""What can be wrong with an engine that answers, and with one that does not."""

import re
from typing import Any

from shim_host.errors import Ended, Failed

_FORBIDDEN, _NOT_FOUND = 403, 404
# How the parts of an engine pass on to each other what went wrong.
_PASSED_ON = re.compile(r"^(?:rpc error: code = \w+ desc = )+")
_NO_LEADER = ("does not have a leader", "context deadline exceeded")


class Unclear(Failed):
    """Whether it was done cannot be said: no answer came, or none of a Swarm that has a leader."""


class NotManager(Unclear):
    """The engine manages no Swarm, and will not before somebody makes it a manager."""


class NoSwarm(NotManager):
    """The engine is in no Swarm: there is nothing to look at, which is not the same as not to see it."""


class Missing(Failed):
    """There is no such thing, or no more."""


def no_manager(what: str, said: str) -> Unclear:
    """Return why an engine that is not a manager, or none at this moment, cannot do *what*; *said* is its answer."""
    elsewhere = "set DOCKER_HOST to a manager (`docker node ls` there lists them)"
    if "unlock" in said:
        hint = "`docker swarm unlock` asks for the key, which `docker swarm unlock-key` on another manager shows"
        return Unclear(f"cannot {what}: the Swarm is locked", hint)
    if "Worker" in said:
        return NotManager(f"cannot {what}: this engine is a worker of its Swarm", elsewhere)
    if "prepared" in said:
        hint = "it may be starting: try again, or see `docker node ls` on another manager"
        return Unclear(f"cannot {what}: this manager has no connection to its Swarm", hint)
    if "swarm init" in said:
        return NoSwarm(
            f"cannot {what}: this engine is not in a Swarm", f"`docker swarm init` creates one; otherwise {elsewhere}"
        )
    message = f"cannot {what}: this engine is not a Swarm manager, or its Swarm is locked"
    return Unclear(message, f"`docker swarm init` creates one; otherwise {elsewhere}")


def _of_a_page(what: str, status: int) -> Ended:
    """Return why *what* was not done where HTML came back, which no engine sends: something before it answers."""
    if status == _FORBIDDEN:
        hint = "let the proxy allow it (docker-socket-proxy: SECRETS=1, SERVICES=1, TASKS=1, CONFIGS=1, POST=1 …)"
        return Failed(f"cannot {what}: a proxy before the engine forbids it", hint)
    message = f"cannot {what}: a page comes back, with the HTTP status {status}, and no answer of an engine"
    return Unclear(message, "see whether the proxy that DOCKER_HOST leads to still reaches its engine")


def api_trouble(what: str, error: Any) -> Ended:
    """Return why the engine did not do *what*, which the SDK's APIError *error* says."""
    status = error.response.status_code if error.response is not None else 0
    words = str(error.explanation or "").strip().splitlines()
    said = _PASSED_ON.sub("", words[0]) if words else f"status {status}"
    if said.startswith("<"):
        return _of_a_page(what, status)
    if status == 503:  # of an engine that is just being started again, too
        return no_manager(what, said)
    if status >= 500 and any(sign in said for sign in _NO_LEADER):
        hint = "the Swarm may be choosing a leader: try again; otherwise start more managers (`docker info` lists them)"
        return Unclear(f"cannot {what}: the Swarm has no leader that more than half of its managers can reach", hint)
    if status >= 500:
        return Unclear(
            f"cannot {what}: {said}", "the Swarm may be choosing a leader: try again, or see `docker node ls`"
        )
    return Missing(f"cannot {what}: {said}") if status == _NOT_FOUND else Failed(f"cannot {what}: {said}")
