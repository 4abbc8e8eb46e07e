"""Values back out of the Swarm. Its API never gives one, so a helper task on this manager mounts them and is asked.

The task has no log, no network, no capability and a read-only root; it lives as long as the reading and writes nothing.
What it says goes through the engine's own connection, straight into memory.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from shim.secret import Secret
from shim_host.docker_cli import REQUEST_SECONDS
from shim_host.errors import Failed, Refused
from shim_host.swarm import inside, owner
from shim_host.swarm.connection import PARALLEL_CALLS, Swarm
from shim_host.swarm.model import LABEL, MAX_VALUE_BYTES, SwarmSecret

READER = LABEL + "reader"
START_SECONDS = 90
OWNER = LABEL + "owner"
# The task ends by itself after this time, in case the run is killed; a reader that is older belongs to nobody.
LIFETIME_SECONDS = 900
_LOST_AFTER = timedelta(seconds=LIFETIME_SECONDS + START_SECONDS)
_SMALL_IMAGES = ("busybox", "alpine", "debian", "ubuntu")
_CAT = ("/bin/cat", "/usr/bin/cat")
_ROOT_MODE = 0o400
_BATCH = 50  # values that one process reads: at most 25 MB at a time
_MARK = "SHIM_READER_MARK"
_MOST_ENVIRONMENT_BYTES = 64 << 10  # of `cat` in the helper task


class ValueReader(Swarm):
    """A connection that can read values back."""

    def read(self, secrets: Sequence[SwarmSecret], image: str, advance: Callable[[], object]) -> dict[str, Secret]:
        """Return the value of each of *secrets*, by its name in the Swarm.

        Args:
            secrets: what to read.
            image: what the helper task runs, which must have `cat` and `sleep`; empty to take one that is here.
            advance: called after each value.

        Raises:
            Refused: there is no such image, or the values would travel in the clear.
            Failed: the task does not start, or the engine does not answer.
        """
        self.refuse_open()
        self.remove_lost_readers()
        image = image or self._image_with_cat({secret.id for secret in secrets})
        with self._reader(image, secrets) as container:

            def some(batch: Sequence[tuple[int, SwarmSecret]]) -> dict[str, Secret]:
                values = self._cat_several(container, [number for number, _ in batch])
                if values is None:
                    values = [self._cat(container, number, secret.name) for number, secret in batch]
                for _ in batch:
                    advance()
                return {secret.name: value for (_, secret), value in zip(batch, values, strict=True)}

            numbered = list(enumerate(secrets))
            with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
                batches = (numbered[at : at + _BATCH] for at in range(0, len(numbered), _BATCH))
                return {name: value for found in pool.map(some, batches) for name, value in found.items()}

    def remove_lost_readers(self) -> None:
        """Remove the helper tasks of runs that were killed before they could: at once where that is known."""
        for service in self._services({"label": READER}):
            # To the second: the engine writes nanoseconds, which datetime does not read.
            created = datetime.fromisoformat(service["CreatedAt"][:19]).replace(tzinfo=UTC)
            is_ownerless = owner.has_ended((service["Spec"].get("Labels") or {}).get(OWNER, ""))
            if is_ownerless or datetime.now(UTC) - created > _LOST_AFTER:
                self._remove(service["Spec"]["Name"])

    def _image_with_cat(self, secret_ids: set[str]) -> str:
        """Return an image that is here and has `cat`: a small one, or that of a service with these values."""
        here = {tag for image in self._listed("list images", self._api.images) for tag in image.get("RepoTags") or ()}
        small = [tag for name in _SMALL_IMAGES for tag in sorted(here) if tag.partition(":")[0] == name]
        of_services = []
        for service in self._services({}):
            container = service["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
            name = (container.get("Image") or "").partition("@")[0]
            if secret_ids & {secret["SecretID"] for secret in container.get("Secrets") or ()}:
                of_services.append(name if ":" in name.rpartition("/")[2] else f"{name}:latest")
        for image in [*small, *dict.fromkeys(name for name in of_services if name in here)]:
            if self._has_cat(image):
                return str(image)
        raise Refused(
            "there is no image here for the task that reads the values",
            "docker pull busybox, or name an image that has cat and sleep with --image",
        )

    def _has_cat(self, image: str) -> bool:
        made = self._found(
            f"look into {image}", lambda: self._api.create_container(image, "cat", network_disabled=True)
        )
        try:
            return any(self._has_file(made["Id"], path) for path in _CAT)
        finally:
            self._call("remove a container", lambda: self._api.remove_container(made["Id"], force=True))

    def _has_file(self, container: str, path: str) -> bool:
        def ask() -> bool:
            url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container}/archive"
            return bool(self._api.head(url, params={"path": path}, timeout=REQUEST_SECONDS).ok)

        return bool(self._call(f"look for {path}", ask))

    @contextmanager
    def _reader(self, image: str, secrets: Sequence[SwarmSecret]) -> Iterator[str]:
        """Give the container of a helper task that has *secrets* mounted; it is gone afterwards, whatever happens."""
        node = self._found("ask the engine", self._api.info)["Swarm"]["NodeID"]
        name = f"shim-reader-{uuid.uuid4().hex[:12]}"
        try:
            service = self._found(
                "start a helper task",
                lambda: self._client.create_service(
                    _task(image, node, secrets),
                    name=name,
                    labels={READER: "export", OWNER: owner.this_run()},
                    mode={"Replicated": {"Replicas": 1}},
                ),
            )["ID"]
            container = self._started(service, image)
            self._cut_off(container)
            yield container
        finally:
            self._remove(name)

    def _started(self, service: str, image: str) -> str:
        """Return the container of the one task of *service*, once it runs."""
        deadline = time.monotonic() + START_SECONDS
        said = ""
        while time.monotonic() < deadline:
            for task in self._listed(
                "look at the helper task", lambda: self._client.tasks(filters={"service": service})
            ):
                status = task["Status"]
                said = status.get("Err") or status.get("Message") or ""
                if status["State"] == "running":
                    return str(status["ContainerStatus"]["ContainerID"])
                if status["State"] in ("failed", "rejected", "complete", "shutdown") or "no suitable node" in said:
                    raise _not_started(image, said)
            time.sleep(0.1)  # the engine has no event for a task that is refused
        raise _not_started(image, said)

    def _cut_off(self, container: str) -> None:
        """Take the container off every network: a service cannot be made without one."""
        networks = self._networks(container)
        for network in networks:
            self._call(
                f"leave the network {network}",
                lambda network=network: self._api.disconnect_container_from_network(container, network, force=True),
            )
        if left := self._networks(container):
            raise Failed(f"the helper task stays on the network {', '.join(left)}", "nothing was read")

    def _networks(self, container: str) -> list[str]:
        state = self._found("look at the helper task", lambda: self._api.inspect_container(container))
        return list(state["NetworkSettings"]["Networks"])

    def _cat_several(self, container: str, numbers: Sequence[int]) -> list[Secret] | None:
        """Return the values with these *numbers*, read by one process; None where they cannot be told apart.

        A process costs a tenth of a second. `cat` writes its own environment between each two of them: that holds a
        random word, and is the same each time, so that what precedes and follows the word shows in the first two.
        """
        mark = uuid.uuid4().hex.encode()
        itself = "/proc/self/environ"
        words = [itself, *(word for number in numbers for word in (itself, _path(number))), itself]

        def ask() -> tuple[int, bytes, bytes]:
            most = len(numbers) * (MAX_VALUE_BYTES + _MOST_ENVIRONMENT_BYTES) + 2 * _MOST_ENVIRONMENT_BYTES
            return inside.run(self._api, container, ["cat", *words], b"", REQUEST_SECONDS, most, {_MARK: mark.decode()})

        code, out, err = self._call("read the values", ask)
        before, found, rest = out.partition(mark)
        between = rest.partition(mark)[0]  # what follows the word, and again what precedes it
        if code or err or not found or not between.endswith(before):
            return None
        separator = before + mark + between[: len(between) - len(before)]
        pieces = out.split(separator)
        if pieces[:2] != [b"", b""] or pieces[-1] or len(pieces) != len(numbers) + 3:
            return None
        return [Secret(piece) for piece in pieces[2:-1]]

    def _cat(self, container: str, number: int, name: str) -> Secret:
        def ask() -> tuple[int, bytes, bytes]:
            return inside.run(self._api, container, ["cat", _path(number)], b"", REQUEST_SECONDS, MAX_VALUE_BYTES + 1)

        code, out, err = self._call(f"read {name}", ask)
        if code or err:
            raise Failed(f"cannot read {name}: cat ended with {code} in the helper task", "try another --image")
        return Secret(out)

    def _remove(self, name: str) -> None:
        # Asked for again: a creation that failed may have been carried out.
        for service in self._services({"name": name}):
            self._call("remove the helper task", lambda found=service["ID"]: self._client.remove_service(found))

    def _services(self, filters: dict[str, str]) -> list[Any]:
        return list(self._listed("list services", lambda: self._client.services(filters=filters)))

    @property
    def _client(self) -> Any:
        """The SDK's client, for calls that its annotations leave out."""
        return self._api


def _task(image: str, node: str, secrets: Iterable[SwarmSecret]) -> dict[str, Any]:
    """Return the specification of the helper task, which only sleeps."""
    return {
        "ContainerSpec": {
            "Image": image,
            "Command": ["sleep", str(LIFETIME_SECONDS)],
            "ReadOnly": True,
            "User": "0",
            "CapabilityDrop": ["ALL"],
            "Healthcheck": {"Test": ["NONE"]},
            "StopSignal": "SIGKILL",
            "Secrets": [
                {
                    "SecretID": secret.id,
                    "SecretName": secret.name,
                    "File": {"Name": _path(number), "UID": "0", "GID": "0", "Mode": _ROOT_MODE},
                }
                for number, secret in enumerate(secrets)
            ],
        },
        "LogDriver": {"Name": "none"},
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": [f"node.id=={node}"]},
    }


def _path(number: int) -> str:
    return f"/run/secrets/{number}"


def _not_started(image: str, said: str) -> Failed:
    return Failed(
        f"the helper task that reads the values does not start: {said or 'no word from the Swarm'}",
        f"it runs {image} on this manager, which must be active (docker node ls); another image: --image",
    )
