"""No value goes where others could read it: plain TCP to another machine, TLS whose certificate nobody checks."""

from collections.abc import Callable, Iterator

import docker
import pytest
from shim_host.errors import Refused
from shim_host.swarm import labels, privacy
from shim_host.swarm.helper.elsewhere import FarDoor, Remote
from shim_host.swarm.helper.read_back import ValueReader
from shim_host.swarm.helper.run_inside import Door
from shim_host.swarm.model import RunningContainer

from shim.secret import Secret


@pytest.mark.parametrize(
    ("base_url", "verify", "is_open"),
    [
        ("http+docker://localhost", True, False),
        ("http+docker://localnpipe", True, False),
        ("http://127.0.0.1:2375", True, False),
        ("http://localhost:2375", True, False),
        ("http://[::1]:2375", True, False),
        ("http://192.0.2.1:2375", True, True),
        ("http://127.example.org:2375", True, True),
        ("http://localhost.example.org:2375", True, True),
        ("http://[2001:db8::1]:2375", True, True),
        ("http://127.0.0.1@192.0.2.1:2375", True, True),
        ("https://192.0.2.1:2376", "/certs/ca.pem", False),
        ("https://192.0.2.1:2376", True, False),
        ("https://192.0.2.1:2376", False, True),
        ("https://192.0.2.1:2376", None, True),
    ],
)
def test_what_counts_as_open(base_url: str, verify: object, is_open: bool) -> None:
    assert bool(privacy.why_open(base_url, verify)) is is_open


@pytest.fixture(name="elsewhere")
def _elsewhere() -> Iterator[docker.APIClient]:
    """Give a connection that leads to no machine at all; that it would not answer is not needed to refuse it."""
    api = docker.APIClient("tcp://192.0.2.1:2375", version="1.41", timeout=1)
    yield api
    api.close()


WAYS: dict[str, Callable[[docker.APIClient], object]] = {
    "create": lambda api: ValueReader(api, "far").create("a.v1", Secret(b"c4n4ry"), {}),
    "read": lambda api: ValueReader(api, "far").read([], "", lambda: None),
    "run_in": lambda api: Door(api, "far").run_in("c", ["psql"], b"c4n4ry"),
    "run_there": lambda api: FarDoor(api, "far").run_there(Remote("db", "n", "i", "net"), ["psql"], b"c4n4ry", ()),
    "keep the key": lambda api: ValueReader(api, "far").make_config("k", b"c4n4ry", {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_value_is_sent_or_read_over_an_open_connection(elsewhere: docker.APIClient, way: str) -> None:
    with pytest.raises(Refused, match="values would travel unencrypted") as refused:
        WAYS[way](elsewhere)
    assert "--insecure" in refused.value.hints[0]


def test_the_key_of_the_fingerprints_is_not_asked_for_there(elsewhere: docker.APIClient) -> None:
    """Neither read from the Swarm nor handed to a container: what only looks goes on without it."""
    far = ValueReader(elsewhere, "far")

    assert labels.fingerprint_key(far) is None
    assert far.explained(RunningContainer("c", "c", "c"), b"00" * 32) is None


def test_who_says_so_may_send_it_all_the_same(elsewhere: docker.APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "_is_allowed", [False])
    privacy.allow_open_connections()

    ValueReader(elsewhere, "far").refuse_open()
