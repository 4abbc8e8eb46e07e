"""An engine is found as the Docker client finds it, and where none answers it is said why, and what to do."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shim_host.errors import Failed
from shim_host.swarm.connection import Swarm, connect
from shim_host.swarm.reach import client, endpoint, not_answered

from tests.support.forms import cannot_run

_NEW = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -subj /CN=a"


@pytest.fixture(name="certificates", scope="module")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of certificates with a folder for each way to use them."""
    made = tmp_path_factory.mktemp("certificates")
    try:
        for command in (f"{_NEW} -nodes -keyout key.pem -out cert.pem", f"{_NEW} -nodes -keyout other.pem -out ca.pem"):
            subprocess.run(["openssl", *command.split()], cwd=made, check=True, capture_output=True)
        locked = "ec -in key.pem -aes128 -passout pass:aaaa -out locked.pem"
        subprocess.run(["openssl", *locked.split()], cwd=made, check=True, capture_output=True)
    except FileNotFoundError:
        cannot_run("openssl is not installed")
    folders = {
        "all": {"ca": "ca", "cert": "cert", "key": "key"},
        "ca": {"ca": "ca"},
        "none": {},
        "no key": {"ca": "ca", "cert": "cert"},
        "no cert": {"ca": "ca", "key": "key"},
        "another key": {"ca": "ca", "cert": "cert", "key": "other"},
        "locked": {"ca": "ca", "cert": "cert", "key": "locked"},
        "no certificate": {"ca": "key"},
    }
    for name, files in folders.items():
        (made / name).mkdir()
        for kind, source in files.items():
            (made / name / f"{kind}.pem").write_bytes((made / f"{source}.pem").read_bytes())
    return made


FAR = "tcp://engine.example:2376"
VERIFY = {"DOCKER_TLS_VERIFY": "1"}
# What is set, the folder in DOCKER_CERT_PATH, the address, and the certificates: of the CA, of the client, verified.
MEANT: list[tuple[dict[str, str], str, str, tuple[bool, bool, bool] | None]] = [
    ({"DOCKER_HOST": FAR, **VERIFY}, "all", FAR, (True, True, True)),
    ({"DOCKER_HOST": FAR, **VERIFY}, "ca", FAR, (True, False, True)),  # behind a proxy that asks for no certificate
    ({"DOCKER_HOST": FAR, "DOCKER_TLS": "1"}, "all", FAR, (True, True, False)),
    ({"DOCKER_HOST": FAR, "DOCKER_TLS": "1"}, "none", FAR, (False, False, False)),
    ({"DOCKER_HOST": FAR}, "all", FAR, None),
    ({"DOCKER_HOST": FAR}, "gone", FAR, None),
    ({"DOCKER_HOST": FAR, "DOCKER_TLS_VERIFY": ""}, "all", FAR, None),
    ({"DOCKER_HOST": "tcp://engine.example"}, "", "tcp://engine.example:2375", None),
    ({"DOCKER_HOST": "tcp://engine.example/", **VERIFY}, "ca", "tcp://engine.example:2376", (True, False, True)),
    ({"DOCKER_HOST": "tcp://[2001:db8::1]"}, "", "tcp://[2001:db8::1]:2375", None),
    ({"DOCKER_HOST": "engine.example"}, "", "engine.example:2375", None),
    ({"DOCKER_HOST": "unix:///run/docker.sock", **VERIFY}, "gone", "unix:///run/docker.sock", None),
    ({"DOCKER_HOST": "ssh://engine.example", **VERIFY}, "gone", "ssh://engine.example", None),
    ({"DOCKER_HOST": " unix:///run/docker.sock "}, "", "unix:///run/docker.sock", None),
]


@pytest.mark.parametrize(("said", "folder", "place", "tls"), MEANT)
def test_what_the_environment_means(
    certificates: Path, said: dict[str, str], folder: str, place: str, tls: tuple[bool, bool, bool] | None
) -> None:
    its = {"DOCKER_CERT_PATH": str(certificates / folder)} if folder else {}

    found = endpoint.of_host({**said, **its})

    assert (found["base_url"], as_truths(found)) == (place, tls)


def as_truths(found: dict[str, Any]) -> tuple[bool, bool, bool] | None:
    """Return which certificates the SDK is told of, and whether it verifies."""
    tls = found.get("tls")
    return None if tls is None else (bool(tls.ca), bool(tls.cert and tls.key), tls.verify)


def test_places_are_found_from_here(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(certificates)
    beside = endpoint.of_host({"DOCKER_HOST": "unix://engine.sock"})
    in_config = endpoint.of_host({"DOCKER_HOST": FAR, **VERIFY, "DOCKER_CONFIG": "all"})

    assert beside == {"base_url": f"unix://{certificates}/engine.sock"}
    assert as_truths(in_config) == (True, True, True)


UNUSABLE = {
    "gone": "ca.pem",
    "none": "ca.pem",
    "no key": "cert.pem, and no key.pem beside it",
    "no cert": "key.pem, and no cert.pem beside it",
    "another key": "is not the key of the certificate",
    "locked": "has a passphrase",
    "no certificate": "ca.pem contains no certificate",
}


@pytest.mark.parametrize("folder", UNUSABLE)
def test_certificates_that_cannot_be_used_are_named(certificates: Path, folder: str) -> None:
    """No passphrase is asked for: the Docker client takes no such key either."""
    told = {"DOCKER_HOST": "tcp://127.0.0.1:1", **VERIFY, "DOCKER_CERT_PATH": str(certificates / folder)}

    with pytest.raises(Failed) as failed:
        connect(told)

    assert UNUSABLE[folder] in failed.value.message
    assert str(certificates / folder) in failed.value.message
    assert "DOCKER_CERT_PATH" in failed.value.hints[0]


def write_context(config: Path, endpoint_of_it: dict[str, Any], certificates: Path | None) -> dict[str, str]:
    """Make a Docker context, and return what chooses it."""
    at = hashlib.sha256(b"far").hexdigest()
    (config / "contexts" / "meta" / at).mkdir(parents=True)
    about = {"Name": "far", "Endpoints": {"docker": endpoint_of_it}}
    (config / "contexts" / "meta" / at / "meta.json").write_text(json.dumps(about))
    if certificates is not None:
        (config / "contexts" / "tls" / at).mkdir(parents=True)
        (config / "contexts" / "tls" / at / "docker").symlink_to(certificates)
    return {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "far"}


@pytest.mark.parametrize(
    ("folder", "skips", "tls"),
    [
        ("all", False, (True, True, True)),
        ("ca", False, (True, False, True)),
        ("all", True, (True, True, False)),
        ("", True, (False, False, False)),  # TLS all the same
        ("", False, None),
    ],
)
def test_what_a_context_means(
    certificates: Path, tmp_path: Path, folder: str, skips: bool, tls: tuple[bool, bool, bool] | None
) -> None:
    its = certificates / folder if folder else None
    told = write_context(tmp_path, {"Host": FAR, "SkipTLSVerify": skips}, its)

    found = endpoint.context(told)

    assert (found["base_url"], as_truths(found)) == (FAR, tls)


def test_a_context_whose_key_is_lost_is_named(certificates: Path, tmp_path: Path) -> None:
    told = write_context(tmp_path, {"Host": "tcp://127.0.0.1:1"}, certificates / "no key")

    with pytest.raises(Failed, match=r"there is .*contexts/tls/.*/cert\.pem, and no key\.pem beside it"):
        connect(told)


CONFIGS = {
    "": False,
    "{}": False,
    '{"currentContext": "default"}': False,
    '{"auths": ': True,
    "[]": True,
    "7": True,
}


@pytest.mark.parametrize("text", CONFIGS)
def test_a_broken_config_is_warned_of_and_the_default_engine_is_meant(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(text)
    told = {"DOCKER_CONFIG": str(tmp_path)}

    assert [endpoint.context(told), endpoint.context(told)] == [{}, {}]
    assert capsys.readouterr().err.count("the default engine is used") == CONFIGS[text]


def test_a_config_that_the_sdk_trips_over_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("[]")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    with pytest.raises(Failed, match=r"config\.json is not as Docker writes it"):
        connect({"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_CONFIG": str(tmp_path)})


@pytest.fixture(name="says")
def _says() -> Iterator[Any]:
    """Give a function that starts a server which answers every request alike, and returns its address."""
    import socketserver
    import threading

    servers = []

    def start(answer: bytes | None) -> str:
        class Server(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.request.recv(65536)
                if answer is None:
                    done.wait(60)
                else:
                    self.wfile.write(answer)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"tcp://127.0.0.1:{server.server_address[1]}"

    done = threading.Event()
    yield start
    done.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def http(status: str, body: str = "<html>welcome</html>", head: str = "") -> bytes:
    """Return an answer as bytes."""
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


STRANGE: dict[str, tuple[bytes | None, str, str]] = {
    "silence": (None, "it takes the connection, and sends no answer", "DOCKER_CLIENT_TIMEOUT"),
    "a page": (http("200 OK"), "what answers there is not a Docker engine", "check the address"),
    "a proxy": (http("502 Bad Gateway"), "it answers with the HTTP status 502", "check the address"),
    "a login": (http("401 Unauthorized"), "it answers with the HTTP status 401", "check the address"),
    "TLS wanted": (http("400 Bad Request"), "it answers with the HTTP status 400", "DOCKER_TLS_VERIFY=1"),
    "elsewhere": (
        http("302 Found", head="Location: http://192.0.2.1/login\r\n"),
        "what answers there is not a Docker engine",
        "check the address",
    ),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_answers_and_is_no_engine_is_said_in_words(says: Any, what: str) -> None:
    answer, words, hint = STRANGE[what]

    with pytest.raises(Failed) as failed:
        connect({"DOCKER_HOST": says(answer), "DOCKER_CLIENT_TIMEOUT": "60" if answer else "1"})

    assert f"({words})" in failed.value.message
    assert hint in failed.value.hints[0]


def test_a_port_without_tls_is_said_to_be_one(says: Any, certificates: Path) -> None:
    told = {"DOCKER_HOST": says(http("400 Bad Request")), **VERIFY, "DOCKER_CERT_PATH": str(certificates / "ca")}

    with pytest.raises(Failed, match="it does not speak TLS"):
        connect(told)


def test_a_proxy_is_asked_for_other_machines_alone(says: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the Docker client does: this machine is reached without one, and ALL_PROXY is for others."""
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    engine = says(http("200 OK", json.dumps({"ApiVersion": "1.41"})))

    assert isinstance(connect({"DOCKER_HOST": engine}), Swarm)
    with pytest.raises(Failed, match=r"through the proxy in HTTP_PROXY or HTTPS_PROXY: Connection refused") as failed:
        connect({"DOCKER_HOST": "tcp://engine.example:2375"})
    assert "NO_PROXY" in failed.value.hints[0]
    monkeypatch.delenv("http_proxy")
    assert client.environ_proxies("http://engine.example:2375/version") == {}


@pytest.mark.parametrize("why", ["its certificate is not trusted: certificate has expired"])
def test_what_to_do_about_a_certificate_of_the_engine(why: str) -> None:
    assert "ca.pem" in not_answered.hint(why)
