"""The lock of a rotation: a config, whose name is taken once in the whole Swarm, and whose content can be read back."""

import base64
import hashlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from shim_host.errors import Failed
from shim_host.swarm.connection import Unclear
from shim_host.swarm.helper.read_back import ValueReader
from shim_host.swarm.model import LABEL, STACK

LOCK = LABEL + "rotation"
OWNER, GOES_BACK = LABEL + "owner", LABEL + "goes-back"
# Without a leader a Swarm answers 500 until it has chosen one, 20 s when it was measured.
LEADER_SECONDS = 45
AGAIN_SECONDS = 0.3
_MAX_NAME = 64
T = TypeVar("T")


class Lock(NamedTuple):
    """The rotation that is under way, as the Swarm keeps it."""

    id: str
    name: str
    stack: str
    data: bytes  # `Plan.to_json`
    owner: str
    created: str
    goes_back: bool
    revision: int  # of the object in the Swarm's store: who changes it must know it


class LockKeeper(ValueReader):
    """A connection that takes the lock, hands it on, and gives it back."""

    def lock(self, stack: str, data: bytes, owner: str) -> Lock | None:
        """Take the lock of *stack* with the plan *data*; return None when another rotation holds it.

        Raises:
            Failed: the engine does not make it.
        """
        labels = {LOCK: "lock", OWNER: owner, STACK: stack}
        try:
            self._call("lock the rotation", lambda: self._client.create_config(lock_name(stack), data, labels=labels))
        except Failed as failed:
            # It may have been done, or somebody else was first.
            if self.held_lock(stack) is None:
                raise failed from None
        held = self.held_lock(stack)
        return held if held is not None and held.owner == owner and held.data == data else None

    def held_lock(self, stack: str) -> Lock | None:
        """Return the rotation of *stack* that is under way, or was when its run ended."""
        name = lock_name(stack)
        return next((_lock(config) for config in self._configs("name", name) if config["Spec"]["Name"] == name), None)

    def locked_stacks(self) -> set[str]:
        """Return the stacks in which a rotation is under way; an empty name for keys of no stack."""
        return {_lock(config).stack for config in self._configs("label", f"{LOCK}=lock")}

    def change_lock(self, lock: Lock, owner: str, *, goes_back: bool) -> Lock | None:
        """Write who holds the lock, and where it goes; return None when somebody else changed it meanwhile."""
        labels = {LOCK: "lock", OWNER: owner, STACK: lock.stack, **({GOES_BACK: "yes"} if goes_back else {})}
        spec = {"Name": lock.name, "Labels": labels, "Data": base64.b64encode(lock.data).decode()}

        def call() -> None:
            url = f"{self._api.base_url}/v{self._api.api_version}/configs/{lock.id}/update"
            response = self._api.post(url, json=spec, params={"version": lock.revision}, timeout=self._api.timeout)
            response.raise_for_status()

        deadline = time.monotonic() + LEADER_SECONDS
        while True:
            failure = None
            try:
                self._call("take over the rotation", call)
            except Unclear as unclear:  # it may have been done: what is there now says so
                failure = unclear
            found = self._settled(lambda: self._configs("id", lock.id), deadline)
            held = next(map(_lock, found), None)
            if held is None or (held.owner == owner and held.goes_back == goes_back):
                return held
            if failure is None or held.revision != lock.revision:
                return None
            if time.monotonic() > deadline:
                raise failure
            time.sleep(AGAIN_SECONDS)

    def unlock(self, lock: Lock) -> None:
        """Give the lock back; one that is gone already is fine."""
        deadline = time.monotonic() + LEADER_SECONDS
        while self._settled(lambda: self._configs("id", lock.id), deadline):
            try:
                self._call("unlock the rotation", lambda: self._client.remove_config(lock.id))
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)

    def _configs(self, by: str, what: str) -> list[Any]:
        return list(self._listed("look for a rotation", lambda: self._client.configs(filters={by: what})))

    def patiently(self, work: Callable[[], T]) -> T:
        """Return what *work* gives, tried for as long as a Swarm needs for a new leader; it must bear being repeated.

        Raises:
            Failed: the engine has not answered for so long, or refuses it.
        """
        return self._settled(work, time.monotonic() + LEADER_SECONDS)

    def _settled(self, read: Callable[[], T], deadline: float) -> T:
        while True:
            try:
                return read()
            except Unclear:
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)


def lock_name(stack: str) -> str:
    """Return the config's name, which the engine wants short."""
    name = f"{LOCK}.{stack}" if stack else LOCK
    return name if len(name) <= _MAX_NAME else f"{LOCK}.{hashlib.sha256(stack.encode()).hexdigest()[:16]}"


def _lock(config: Any) -> Lock:
    spec = config["Spec"]
    labels = spec.get("Labels") or {}
    return Lock(
        id=config["ID"],
        name=spec["Name"],
        stack=labels.get(STACK, ""),
        data=base64.b64decode(spec.get("Data") or ""),
        owner=labels.get(OWNER, ""),
        created=config["CreatedAt"][:19] + "Z",
        goes_back=labels.get(GOES_BACK) == "yes",
        revision=config["Version"]["Index"],
    )
