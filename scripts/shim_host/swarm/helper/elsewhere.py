"""Speaking to a system whose tasks all run on other nodes, which our engine cannot reach.

A helper task of the system's own image runs its client there, on a network of the service. What it is told travels as a
secret that lives as long as the task. What it is answered stays there: the task has no log, and ends with a number that
says which of the expected answers it was.
"""

import shlex
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from shim.secret import Secret
from shim_host.errors import Failed, Refused
from shim_host.swarm import owner
from shim_host.swarm.helper.read_back import OWNER
from shim_host.swarm.helper.run_inside import Door, NotReady
from shim_host.swarm.model import LABEL
from shim_host.swarm.move.baseline import is_meant_to_run

HELPER = LABEL + "helper"
_SECONDS = 90
_LOST_AFTER = timedelta(seconds=900)
_INPUT = "/run/secrets/input"
_FIRST_ANSWER = 10  # exit codes below are the client's, and 126 and 127 the shell's
_ENDED_STATES = ("complete", "failed", "rejected", "shutdown", "orphaned", "remove")

_SCRIPT = f"""\
exec <{_INPUT}
answer=$("$@" 2>&1)
code=$?
most=0
while IFS= read -r line; do
  number=0
  case $line in
{{cases}}
  esac
  [ "$number" -le "$most" ] || most=$number
done <<ANSWER
$answer
ANSWER
[ "$most" = 0 ] || exit "$most"
case $code in 0|126|127) exit "$code";; esac
exit 1
"""


class Sign(NamedTuple):
    """An answer that is expected: a line that has these words in it, or begins with them; * is anything between."""

    words: str
    begins: bool = False
    is_told: bool = True  # else such a line counts for nothing, and for no later sign either


class Remote(NamedTuple):
    """A service of which a task runs on another node."""

    name: str
    node: str
    image: str
    network: str

    @property
    def host(self) -> str:
        """Return the name of its tasks on its network."""
        return f"tasks.{self.name}"


class FarDoor(Door):
    """A connection that reaches a system wherever it runs in the Swarm."""

    def remote(self, service: str) -> Remote:
        """Return where *service* runs: its name, or that within its stack.

        Raises:
            NotReady: its next task is on its way.
            Refused: it runs nowhere, there are several, or it has no network to reach it by.
        """
        if not self._is_manager():
            hint = "docker ps shows what runs; in a Swarm point DOCKER_HOST at a manager, which reaches the other nodes"
            raise Refused(f"no container of the service {service} runs on this node", hint)
        named = [found for found in self._listed("list services", self._api.services) if _is_called(found, service)]
        if len(named) > 1:
            names = ", ".join(sorted(found["Spec"]["Name"] for found in named))
            raise Refused(f"several services are called {service}: {names}", "give the full name of the one you mean")
        client: Any = self._api
        for found in named:
            task = found["Spec"]["TaskTemplate"]
            filters = {"service": found["ID"]}
            tasks = self._listed("list tasks", lambda filters=filters: client.tasks(filters=filters))
            meant = [at for at in tasks if is_meant_to_run(at)]
            running = [at["NodeID"] for at in meant if at["Status"]["State"] == "running"]
            if not running and meant:
                state = meant[0]["Status"]["State"]
                raise NotReady(
                    f"no container of the service {service} runs yet: its task is {state}",
                    "docker service ps shows why",
                )
            if not running:
                break
            networks = [network["Target"] for network in task.get("Networks") or found["Spec"].get("Networks") or ()]
            if not networks:
                raise Refused(
                    f"{found['Spec']['Name']} runs on another node, and has no network to reach it through",
                    "docker service ps shows where it runs; run this there, or point DOCKER_HOST at that node",
                )
            return Remote(found["Spec"]["Name"], running[0], task["ContainerSpec"]["Image"], networks[0])
        raise Refused(f"no container of the service {service} runs", "docker service ps shows why")

    def run_there(self, remote: Remote, argv: Sequence[str], data: bytes, signs: Sequence[Sign]) -> tuple[int, bytes]:
        """Run *argv* in a helper task beside *remote*, with *data* on its stdin.

        Returns:
            The exit code, and the words of the last of *signs* that was in what it said; the code is 0 then.

        Raises:
            Refused: others could read what travels to the engine.
            Failed: the task does not start, or does not end.
        """
        self.refuse_open()
        self.remove_lost()
        name = f"shim-helper-{uuid.uuid4().hex[:12]}"
        labels = {HELPER: "rotate-with", OWNER: owner.this_run()}
        try:
            self.create(name, Secret(data), labels)
            told = self._ids("secrets", name)[0]
            script = _SCRIPT.format(cases="\n".join(_cases(signs)))
            task = _task(remote, [*("sh", "-c", script, "sh"), *argv], told, name)
            client: Any = self._api
            mode = {"Replicated": {"Replicas": 1}}
            self._call(
                "start a helper task",
                lambda: client.create_service(
                    task, name=name, labels=labels, mode=mode, endpoint_spec={"Mode": "dnsrr"}
                ),
            )
            code = self._ended(name, remote)
        finally:
            self._remove_named(name)
        if code >= _FIRST_ANSWER and code - _FIRST_ANSWER < len(signs):
            return 0, signs[code - _FIRST_ANSWER].words.replace("*", "").encode()
        return code, b""

    def remove_lost(self) -> None:
        """Remove what runs left that were killed before they could: at once where that is known."""
        client: Any = self._api
        for kind, listing in (("services", client.services), ("secrets", client.secrets)):
            for found in self._listed(f"list {kind}", lambda listing=listing: listing(filters={"label": HELPER})):
                created = datetime.fromisoformat(found["CreatedAt"][:19]).replace(tzinfo=UTC)
                is_ownerless = owner.has_ended((found["Spec"].get("Labels") or {}).get(OWNER, ""))
                if is_ownerless or datetime.now(UTC) - created > _LOST_AFTER:
                    self._remove_named(found["Spec"]["Name"])

    def _ended(self, name: str, remote: Remote) -> int:
        """Return what the one task of the service *name* ended with."""
        client: Any = self._api
        deadline = time.monotonic() + _SECONDS
        said = "no word from the Swarm"
        while time.monotonic() < deadline:
            for task in self._listed("look at the helper task", lambda: client.tasks(filters={"service": name})):
                status = task["Status"]
                said = status.get("Err") or status.get("Message") or said
                if status["State"] in _ENDED_STATES:
                    if (status.get("ContainerStatus") or {}).get("ContainerID") and status["State"] != "rejected":
                        return int(status["ContainerStatus"].get("ExitCode") or 0)
                    raise _not_done(remote, said)
            time.sleep(0.1)  # the engine has no event for a task of another node
        raise _not_done(remote, f"it has not ended within {_SECONDS} s: {said}")

    def _ids(self, kind: str, name: str) -> list[str]:
        client: Any = self._api
        listing: Callable[..., Iterable[Any]] = getattr(client, kind)
        found = self._listed(f"list {kind}", lambda: listing(filters={"name": name}))
        return [item["ID"] for item in found if item["Spec"]["Name"] == name]

    def _remove_named(self, name: str) -> None:
        """Remove the helper task and what it was told; a creation that failed may have been carried out."""
        client: Any = self._api
        for found in self._ids("services", name):
            self._unless_gone(self._call, "remove the helper task", lambda found=found: client.remove_service(found))
        for found in self._ids("secrets", name):
            self._unless_gone(self._call, "remove what it was told", lambda found=found: client.remove_secret(found))


def _is_called(service: Any, name: str) -> bool:
    whole = service["Spec"]["Name"]
    stack = (service["Spec"].get("Labels") or {}).get("com.docker.stack.namespace", "")
    return name in (whole, whole.removeprefix(f"{stack}_"))


def _cases(signs: Sequence[Sign]) -> Iterable[str]:
    for number, sign in enumerate(signs):
        words = "*".join(map(shlex.quote, sign.words.split("*")))
        pattern = f"{'' if sign.begins else '*'}{words}*"
        yield f"  {pattern}) number={_FIRST_ANSWER + number if sign.is_told else 0};;"


def _task(remote: Remote, argv: Sequence[str], told: str, name: str) -> dict[str, Any]:
    """Return the specification of the helper task."""
    return {
        "ContainerSpec": {
            "Image": remote.image,
            "Command": list(argv),
            "ReadOnly": True,
            "Mounts": [{"Type": "tmpfs", "Target": "/tmp"}],  # noqa: S108  (in its container)
            "User": "0",
            "CapabilityDrop": ["ALL"],
            "Healthcheck": {"Test": ["NONE"]},
            "Secrets": [
                {
                    "SecretID": told,
                    "SecretName": name,
                    "File": {"Name": _INPUT, "UID": "0", "GID": "0", "Mode": 0o400},
                }
            ],
        },
        "LogDriver": {"Name": "none"},
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": [f"node.id=={remote.node}"]},
        "Networks": [{"Target": remote.network}],
    }


def _not_done(remote: Remote, said: str) -> Failed:
    return Failed(
        f"the helper task that speaks to {remote.name} does not finish: {said}",
        f"it runs {remote.image} on the node of {remote.name}; docker node ls shows whether that is ready",
    )
