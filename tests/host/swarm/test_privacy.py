"""No value goes where others could read it: plain TCP to another machine, TLS whose certificate nobody checks."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from shim_host.errors import Failed, Refused
from shim_host.swarm import labels, privacy
from shim_host.swarm.helper.elsewhere import FarDoor, Remote
from shim_host.swarm.helper.read_back import ValueReader
from shim_host.swarm.helper.run_inside import Door
from shim_host.swarm.model import RunningContainer
from shim_host.swarm.reach.endpoint import context

from shim.secret import Secret
from tests.support.host import Manage


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


CLIENTS = {
    "": False,
    "unix:///var/run/docker.sock": False,
    "ssh://someone@192.0.2.1": False,
    "npipe:////./pipe/docker_engine": False,
    "tcp://127.0.0.1:2375": False,
    "tcp://192.0.2.1:2375": True,
    "TCP://192.0.2.1:2375": True,
    "192.0.2.1:2375": True,
    "http://192.0.2.1:2375": True,
    "https://192.0.2.1:2376": True,
}


@pytest.mark.parametrize("place", CLIENTS)
@pytest.mark.parametrize(
    ("said", "verifies"),
    [
        ({}, False),
        ({"DOCKER_CERT_PATH": "/c"}, False),
        ({"DOCKER_TLS": "1"}, False),
        ({"DOCKER_TLS_VERIFY": "1"}, True),
    ],
)
def test_the_docker_client_is_looked_at_as_our_own_connection_is(
    place: str, said: dict[str, str], verifies: bool, tmp_path: Path
) -> None:
    """It goes its own way to the engine, and `docker exec` takes the key of the fingerprints along."""
    told = {"DOCKER_CONFIG": str(tmp_path), **said, **({"DOCKER_HOST": place} if place else {})}
    if CLIENTS[place] and not verifies:
        with pytest.raises(Refused, match="values would travel "):
            privacy.refuse_open_client(told, context)
    elif "DOCKER_TLS" not in said:  # to this machine, too, TLS that nobody checks is refused
        privacy.refuse_open_client(told, context)


@pytest.mark.parametrize("skips", [None, True, False])
def test_the_context_of_the_docker_client_counts(skips: bool | None, tmp_path: Path) -> None:
    at = hashlib.sha256(b"far").hexdigest()
    (tmp_path / "contexts" / "meta" / at).mkdir(parents=True)
    endpoint = {"Host": "tcp://192.0.2.1:2375", "SkipTLSVerify": bool(skips)}
    meta = {"Name": "far", "Endpoints": {"docker": endpoint}}
    (tmp_path / "contexts" / "meta" / at / "meta.json").write_text(json.dumps(meta))
    if skips is not None:
        (tmp_path / "contexts" / "tls" / at / "docker").mkdir(parents=True)
        (tmp_path / "contexts" / "tls" / at / "docker" / "ca.pem").write_text("a certificate")
    told = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"}

    if skips is False:
        privacy.refuse_open_client(told, context)
    else:
        with pytest.raises(Refused, match="values would travel "):
            privacy.refuse_open_client(told, context)


def test_rotate_with_compose_does_not_use_an_open_client(manage: Manage) -> None:
    manage.env["DOCKER_HOST"] = "tcp://192.0.2.1:2375"
    manage("set", "A", "--value-file", "-", stdin=b"c4n4ry")
    end = manage("rotate", "A", "--compose", "--generate", "--dry-run")

    assert (end.code, "values would travel unencrypted (tcp://192.0.2.1:2375)" in end.stderr) == (1, True), end


def test_who_says_so_may_send_it_all_the_same(elsewhere: docker.APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "_is_allowed", [False])
    privacy.allow_open_connections()

    ValueReader(elsewhere, "far").refuse_open()


STRANGE = {
    "a number": "7",
    "nothing": "null",
    "no endpoint": "{}",
    "endpoints of another kind": '{"Endpoints": 7}',
    "depth": "[" * 100_000,
    "a number of 6,000 digits": "1" * 6_000,
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_context_is_said_to_be_one(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"a").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(STRANGE[what])

    with pytest.raises(Failed, match="the Docker context cannot be read"):
        context({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "a"})


def test_a_context_that_would_never_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(Failed, match="the Docker context cannot be read"):
        context({"DOCKER_CONFIG": str(tmp_path)})
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"a").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").symlink_to("/dev/zero")
    with pytest.raises(Failed, match="the Docker context cannot be read"):
        context({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "a"})
