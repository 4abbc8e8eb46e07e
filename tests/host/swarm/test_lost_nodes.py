"""What a rotation waits for while nodes are lost, or the manager that it asks is one no more."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError
from shim_host.errors import Failed
from shim_host.rotate import swarm_plan, swarm_run
from shim_host.swarm.lock import Lock
from shim_host.swarm.model import RotatedService, SecretMount
from shim_host.swarm.move import arrival
from shim_host.swarm.move.arrival import NotEnded, NotMoved, ServiceMover, Way
from shim_host.swarm.trouble import NotManager, Unclear, api_trouble

NEW = SecretMount("id-2", "a.v2", "a")
WORKER = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state."


def api_error(status: int, words: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(words, response=response, explanation=words)


class GlobalService:
    """An engine with a global service on two nodes, of which the leader has just died.

    The new leader calls its node unknown, and gives it a task at the first update; it is down for the next one.
    """

    base_url, api_version, timeout = "http+docker://x", "1.41", 1

    def __init__(self) -> None:
        self.updates = 0
        self.state = "unknown"
        reference = {"SecretID": NEW.secret_id, "SecretName": NEW.name, "File": {"Name": NEW.target}}
        self.template: dict[str, Any] = {"ContainerSpec": {"Secrets": [reference]}, "ForceUpdate": 0}

    def info(self) -> Any:
        return {"SystemTime": "2026-01-01T00:05:00.5Z", "Swarm": {"NodeID": "n1"}}

    def nodes(self, filters: Any) -> Any:
        states = {"n1": "ready", "n2": self.state}
        return [
            {"ID": name, "Status": {"State": states[name]}, "Spec": {"Availability": "active"}}
            for name in filters["id"]
        ]

    def services(self) -> Any:
        return [self.inspect_service("w1")]

    def tasks(self, filters: Any = None) -> Any:
        assert filters in (None, {"service": "w1"})
        desired = "ready" if self.updates < 2 else "shutdown"
        return [self.task("n1", "running", "running"), self.task("n2", desired, "pending")]

    def task(self, node: str, desired: str, state: str, minutes: tuple[int, int] = (0, 0)) -> Any:
        """Return a task that was made, and came into its state, at these minutes."""
        made, since = (f"2026-01-01T00:{minute:02}:00Z" for minute in minutes)
        status = {"State": state, "Timestamp": since, "ContainerStatus": {"ContainerID": node}}
        about = {"ID": f"t-{node}-{state}", "ServiceID": "w1", "NodeID": node, "Slot": node, "CreatedAt": made}
        return {**about, "Spec": self.template, "DesiredState": desired, "Status": status}

    def inspect_service(self, service: str) -> Any:
        spec = {"Name": "web", "TaskTemplate": self.template, "Mode": {"Global": {}}}
        state = "completed" if self.updates > 1 else "updating"
        return {"ID": service, "Version": {"Index": 1}, "Spec": spec, "UpdateStatus": {"State": state}}

    def post(self, _url: str, json: Any, **_: Any) -> requests.Response:
        self.template = json["TaskTemplate"]
        self.updates += 1
        self.state = "down"
        response = requests.Response()
        response.status_code = 200
        return response


class Restarted(GlobalService):
    """An engine of whose two nodes one has just been restarted, or not, while a service ran on both."""

    def __init__(self, restarted: str) -> None:
        super().__init__()
        self.updates, self.state, self.restarted = 2, "ready", restarted

    def nodes(self, filters: Any) -> Any:
        return [{**node, "UpdatedAt": f"2026-01-01T{self.restarted}Z"} for node in super().nodes(filters)]

    def tasks(self, filters: Any = None) -> Any:
        del filters
        failed, next_ = self.task("n2", "shutdown", "failed", (1, 4)), self.task("n2", "running", "running", (4, 4))
        return [self.task("n1", "running", "running"), failed, next_]


class Ending(GlobalService):
    """An engine with a task of the version before that is told to end, and is asked for it this often until it does."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.state, self.left = "ready", times

    def tasks(self, filters: Any = None) -> Any:
        del filters
        self.left -= 1
        before = {"SecretID": "id-1", "SecretName": "a.v1", "File": {"Name": NEW.target}}
        old = self.task("n2", "shutdown", "running" if self.left > 0 else "shutdown")
        return [self.task("n1", "running", "running"), {**old, "Spec": {"ContainerSpec": {"Secrets": [before]}}}]


class Demoted(GlobalService):
    """An engine that was a manager when it was asked first."""

    def inspect_service(self, service: str) -> Any:
        raise api_error(503, f"{WORKER} ({service})")

    def tasks(self, filters: Any = None) -> Any:
        raise api_error(503, f"{WORKER} ({filters})")


def way(seconds: float) -> Way:
    service = RotatedService("w1", "web", mode="global", replicas=2)
    return Way(service, {"a": ("id-1", NEW)}, 2, seconds)


def test_an_update_is_started_again_once_more_when_an_unknown_node_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "_STALL_SECONDS", 0)
    monkeypatch.setattr(arrival, "_LOOK_SECONDS", 0)
    engine = GlobalService()
    mover = ServiceMover(engine, "here")  # type: ignore[arg-type]
    mover.movable()

    arrived = mover.arrive(way(5))

    assert (engine.updates, arrived.containers) == (2, ("n1",))
    assert engine.template["ForceUpdate"] == 2


@pytest.mark.parametrize(("restarted", "is_failure"), [("00:04:00.25", False), ("00:03:30", True)])
def test_a_task_that_ended_with_its_node_has_not_failed(restarted: str, is_failure: bool) -> None:
    """It came up again with it, and nobody waits until it has lasted longer than before; the value is not to blame."""
    mover = ServiceMover(Restarted(restarted), "here")  # type: ignore[arg-type]
    mover.movable()

    if is_failure:
        with pytest.raises(NotMoved, match="web came up with the new version, and then failed"):
            mover.stay([way(0.5)])
        with pytest.raises(NotMoved, match="web did not come up within"):
            mover.arrive(way(0.5))
    else:
        mover.stay([way(0.5)])
        assert mover.arrive(way(0.5)).elsewhere == 1


@pytest.mark.parametrize(("grace", "is_failure"), [(3600, False), (0, True)])
def test_old_tasks_may_take_their_grace_period(monkeypatch: pytest.MonkeyPatch, grace: float, is_failure: bool) -> None:
    monkeypatch.setattr(arrival, "_ENDING_POLL_SECONDS", 0)
    engine = Ending(4)
    there = way(0)
    there = there._replace(service=replace(there.service, grace_seconds=grace))

    if is_failure:
        with pytest.raises(NotEnded, match="web: its old tasks did not end within 0 s"):
            ServiceMover(engine, "here").left(there)  # type: ignore[arg-type]
    else:
        ServiceMover(engine, "here").left(there)  # type: ignore[arg-type]
        assert engine.left == 0


@pytest.mark.parametrize(("period", "seconds"), [({}, 10), ({"StopGracePeriod": 1_800_000_000_000}, 1800)])
def test_the_grace_period_of_a_service_is_read(period: dict[str, int], seconds: float) -> None:
    engine = GlobalService()
    engine.template["ContainerSpec"] |= period
    (found,) = ServiceMover(engine, "here").movable()  # type: ignore[arg-type]
    assert found.grace_seconds == seconds


def test_tasks_that_end_neither_forward_nor_back_keep_the_rotation_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version that they have cannot be removed; the lock stays, so that `--resume` finds the way."""
    lock = Lock("l1", "lock", "shop", b"", "me", "", goes_back=False, revision=1)
    engine: Any = SimpleNamespace(change_lock=lambda held, *_, **__: held)
    settings = swarm_run.Settings(b"", 1, 1, 1, "me")
    run = swarm_run.Rotation(engine, swarm_plan.RotationPlan("run", "shop", ()), lock, (), settings)

    def move_all(towards: str) -> None:
        assert towards == swarm_plan.BACK
        raise NotEnded("web: its old tasks did not end within 30 s")

    monkeypatch.setattr(run, "_move_all", move_all)
    with pytest.raises(Failed, match="taking it back failed too: web: its old tasks did not end within ") as failed:
        run.take_back()
    assert failed.value.hints == ("fix the service, then manage-secrets rotate --resume --stack shop",)


@pytest.mark.parametrize("what", ["arrive", "left"])
def test_a_manager_that_was_demoted_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(arrival, "LEADER_SECONDS", 0)

    with pytest.raises(Failed, match="this engine is a worker of its Swarm") as failed, swarm_run._resumable("shop"):
        getattr(ServiceMover(Demoted(), "here"), what)(way(600))  # type: ignore[arg-type]

    to_a_manager, goes_on = failed.value.hints
    assert "set DOCKER_HOST to a manager" in to_a_manager
    assert goes_on == "manage-secrets rotate --resume --stack shop goes on"


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (
            500,
            "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few are up",
            "cannot list secrets: the Swarm has no leader that more than half of its managers can reach",
        ),
        (
            500,
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            "cannot list secrets: the Swarm has no leader that more than half of its managers can reach",
        ),
        (
            400,
            "rpc error: code = InvalidArgument desc = secret 'a' is in use",
            "cannot list secrets: secret 'a' is in use",
        ),
        (503, WORKER, "cannot list secrets: this engine is a worker of its Swarm"),
    ],
)
def test_what_an_engine_passes_on_is_said_in_words(status: int, said: str, words: str) -> None:
    trouble = api_trouble("list secrets", api_error(status, said))

    assert trouble.message == words
    assert isinstance(trouble, Unclear) == (status >= 500)
    assert isinstance(trouble, NotManager) == (said == WORKER)
