"""What the engine knows about secrets and about who has them, for `audit`: asked in one pass, a few calls at a time.

Variables, arguments, labels and histories are looked through here, and only what was recognised in them leaves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from shim_host.audit.from_engine import (
    audited_container,
    holds_secrets,
    is_own,
    is_paused,
    name_of,
    running,
    service_of_container,
    short_name,
    spec_of,
    swarm_service,
    traces_in,
    traces_in_configs,
    versions_of,
)
from shim_host.audit.gaps import paused as gap_of_paused
from shim_host.audit.model import (
    ELSEWHERE,
    IMAGE_ENVIRONMENT,
    IMAGE_HISTORY,
    NOT_ASKED,
    Image,
    Seen,
    Trace,
)
from shim_host.audit.traces import Recogniser
from shim_host.errors import Ended
from shim_host.explained import Explained
from shim_host.fingerprints import Fingerprints
from shim_host.swarm import asking
from shim_host.swarm import labels as swarm_labels
from shim_host.swarm.answers import Fields
from shim_host.swarm.connection import PARALLEL_CALLS, Swarm
from shim_host.swarm.helper.elsewhere import HELPER
from shim_host.swarm.helper.read_back import READER
from shim_host.swarm.model import ENGINE_LEFT_OUT, SwarmSecret

_STATES = {
    "active": "this node is a worker, or has no connection to its managers",
    "locked": "it is locked (docker swarm unlock)",
    "pending": "this node is still joining it",
}
_HELPERS = {READER, HELPER}
# What makes the fingerprints, given the key that the Swarm has.
PrintsUnder = Callable[[bytes | None], Fingerprints]


class _InSwarm(NamedTuple):
    """What the Swarm has, but for our own helpers; the engine's raw answers about services and configs."""

    secrets: Sequence[SwarmSecret] = ()
    services: Sequence[Any] = ()
    configs: Sequence[Any] = ()
    managers: tuple[str, ...] = ()
    fingerprint_key: bytes | None = None


class Auditor(Swarm):
    """A connection that looks at everything which could show a secret."""

    def look(
        self, recogniser: Recogniser, known: Iterable[str], prints_under: PrintsUnder, *, asks_containers: bool
    ) -> Seen:
        """Return what this engine knows.

        Args:
            recogniser: finds values in plain text.
            known: the keys of the schema, for secrets that others made.
            prints_under: what makes the fingerprints, given the key that the Swarm has.
            asks_containers: whether the shim in running containers is asked for its fingerprints.

        Raises:
            Failed: the engine does not answer.
        """
        gaps: list[str] = []
        info = self._found("ask the engine", self._api.info)
        with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
            listing = pool.submit(self._listed, "list containers", self._api.containers)
            swarm = self._in_swarm(info.get("Swarm") or {}, pool, gaps)
            prints = prints_under(swarm.fingerprint_key)
            secrets = swarm_labels.taken_over(swarm.secrets, prints)
            listed = listing.result()
            inspected = [
                found for found in pool.map(lambda item: self._inspected(item, gaps), listed) if found is not None
            ]
            used = {*(spec_of(found).get("Image") for found in swarm.services), *(item.get("Image") for item in listed)}
            jobs = {name: pool.submit(self._image, name, recogniser, gaps) for name in sorted(filter(None, used))}
            holders = [found for found in inspected if holds_secrets(found)]
            explained: list[Explained | None] = [None] * len(holders)
            if asks_containers:
                gaps += [gap_of_paused(name_of(found)) for found in holders if is_paused(found)]
                explained = asking.ask_all(self, list(map(running, holders)), prints.question, gaps)
            elif listed:
                gaps.append(NOT_ASKED)
            images = {name: job.result() for name, job in jobs.items()}
        configured = {name: config for name, (_, config) in images.items()}
        in_configs = dict(traces_in_configs(swarm.configs, recogniser))
        mounted = {at["ConfigID"] for found in swarm.services for at in spec_of(found).get("Configs") or ()}
        of_swarm = (swarm_service(found, recogniser, configured, in_configs) for found in swarm.services)
        others = (service_of_container(found, recogniser, configured) for found in inspected if is_own(found))
        return Seen(
            place=self.place,
            prints=prints,
            versions=tuple(versions_of(secrets, list(known))),
            services=(*of_swarm, *others),
            containers=tuple(audited_container(*pair, prints) for pair in zip(holders, explained, strict=True)),
            configs=tuple(trace for at, trace in in_configs.items() if at not in mounted),
            images=tuple(Image(short_name(name), traces) for name, (traces, _) in images.items() if traces),
            managers=swarm.managers,
            gaps=tuple(gaps),
        )

    def _in_swarm(self, state: Mapping[str, Any], pool: ThreadPoolExecutor, gaps: list[str]) -> _InSwarm:
        """Return what the Swarm has, of which the engine gives its *state*; nothing where it cannot be asked."""
        client: Any = self._api
        if not state.get("ControlAvailable"):
            if (its := state.get("LocalNodeState") or "inactive") != "inactive":
                gaps.append(f"the Swarm: {_STATES.get(its) or state.get('Error') or f'it is {its}'}")
            return _InSwarm()
        asked: list[Future[Any]] = [
            pool.submit(self.secrets),
            pool.submit(self._listed, "list services", self._api.services),
            pool.submit(self._listed, "list nodes", client.nodes),
            pool.submit(self._listed, "list configs", client.configs),
        ]
        try:
            secrets, services, nodes, configs = (job.result() for job in asked)
        except Ended as ended:
            gaps.append(f"the Swarm: {ended.message}")
            return _InSwarm()
        its_key = None
        try:
            its_key = swarm_labels.fingerprint_key(self)
        except Ended as ended:
            gaps.append(f"the Swarm: {ended.message}")
        if len(nodes) > 1:
            gaps.append(f"{ELSEWHERE}{len(nodes) - 1} other nodes: run audit there too")
        managers = (node for node in nodes if node.get("ManagerStatus"))
        return _InSwarm(
            secrets,
            [found for found in services if not _HELPERS & (found["Spec"].get("Labels") or {}).keys()],
            configs,
            tuple((node.get("Description") or {}).get("Hostname") or node["ID"] for node in managers),
            its_key,
        )

    def _inspected(self, listed: Mapping[str, Any], gaps: list[str]) -> Any:
        """Return all that the engine says about a container; None when it is gone by now, or cannot be looked at."""
        try:
            found = self._unless_gone(
                self._found, "look at what runs", lambda: self._api.inspect_container(listed["Id"])
            )
            return found and Fields(found, Config=found.get("Config") or Fields(), Name=found.get("Name") or "")
        except Ended as ended:
            gaps.append(f"{ENGINE_LEFT_OUT}the container {listed['Id'][:12]}: {ended.message}")
            return None

    def _image(self, name: str, recogniser: Recogniser, gaps: list[str]) -> tuple[tuple[Trace, ...], dict[str, Any]]:
        """Return what the image *name* shows, and its configuration; nothing of one that is not on this machine."""
        client: Any = self._api
        try:
            found = self._unless_gone(self._found, "look at what runs", lambda: client.inspect_image(name))
            if found is None:
                return (), {}
            history = self._unless_gone(self._listed, "look at what runs", lambda: client.history(found["Id"])) or []
        except Ended as ended:
            gaps.append(f"{ENGINE_LEFT_OUT}the image {short_name(name)}: {ended.message}")
            return (), {}
        config = found.get("Config") or {}
        traces = [*traces_in(config, recogniser, IMAGE_ENVIRONMENT)]
        seen = {trace.name for trace in traces} | {trace.key for trace in traces if trace.key}
        for number, layer in enumerate(reversed(history)):
            for trace in recogniser.text(IMAGE_HISTORY, layer.get("CreatedBy") or "", f"step {number + 1}"):
                if not seen & {trace.name, trace.key}:  # what ENV sets is in the history, too
                    seen.add(trace.key or trace.name)
                    traces.append(trace)
        return tuple(traces), config
