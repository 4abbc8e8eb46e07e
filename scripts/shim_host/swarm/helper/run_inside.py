"""A command inside a running container, its input on stdin: how a value that lives in a system is changed there."""

from collections.abc import Mapping, Sequence

from shim_host.errors import Refused
from shim_host.swarm import inside
from shim_host.swarm.connection import Swarm

_SECONDS = 60
_MOST_BYTES = 1 << 20


class Door(Swarm):
    """A connection that runs commands in containers of this node."""

    def container_of(self, service: str) -> str | None:
        """Return the id of a running container of *service*: its name in the Swarm, in its stack, or in Compose.

        None where none runs on this node.

        Raises:
            Refused: several of different projects are called so.
        """
        found: dict[str, str] = {}
        for container in self._listed("list containers", self._api.containers):
            labels = container.get("Labels") or {}
            whole, short = _names(labels)
            if service in (whole, short):
                found[whole] = str(container["Id"])
        if len(found) > 1:
            raise Refused(
                f"several services are called {service}: {', '.join(sorted(found))}",
                "give the full name of the one you mean",
            )
        return next(iter(found.values()), None)

    def run_in(self, container: str, argv: Sequence[str], data: bytes) -> tuple[int, bytes, bytes]:
        """Run *argv* in *container* with *data* on its stdin, which must tell it to end; return code, stdout, stderr.

        Raises:
            Refused: others could read what travels.
            Failed: the engine does not do it.
        """
        self.refuse_open()

        def call() -> tuple[int, bytes, bytes]:
            return inside.run(self._api, container, argv, data, _SECONDS, _MOST_BYTES)

        code, out, err = self._call(f"run {argv[0]} in a container", call)
        return code, out, err


def _names(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return a container's service with its stack or project in front, and without."""
    if swarm_name := labels.get("com.docker.swarm.service.name", ""):
        return swarm_name, swarm_name.removeprefix(labels.get("com.docker.stack.namespace", "") + "_")
    short = labels.get("com.docker.compose.service", "")
    return f"{labels.get('com.docker.compose.project', '')}_{short}".removeprefix("_"), short
