"""An engine that answers with anything at all: commands end with a message, and a terminal is told nothing.

Whoever may start a container or make a secret writes much of what an engine says, and what answers may be no engine.
"""

import copy
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from shim_host.doctor.engine import Examiner
from shim_host.errors import Ended
from shim_host.fingerprints import Fingerprints
from shim_host.swarm import asking, connection
from shim_host.swarm.answers import in_shape
from shim_host.swarm.connection import Swarm, connect_as
from shim_host.swarm.helper.elsewhere import FarDoor
from shim_host.swarm.helper.read_back import ValueReader
from shim_host.swarm.load import Loader
from shim_host.swarm.model import RunningContainer, SecretMount, SwarmSecret
from shim_host.swarm.move.arrival import ServiceMover

from shim.secret import Secret
from tests.support.host import Canary, Manage

EVIL = "\x1b]0;PWN\x07\x9b31m\u202e\u2066[bold red]x[/][link=http://example.org]k[/link]\r\nshim: ok"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LABEL = "docker-secrets-shim."
CONTAINER = "c1" * 32


def answers() -> dict[str, Any]:
    """Return what an engine says of one key, one service and one container, by the end of the path that is asked."""
    mounted = {"SecretID": "s1", "SecretName": "a.v1", "File": {"Name": "a", "UID": "0", "GID": "0", "Mode": 292}}
    task = {"ContainerSpec": {"Image": "img", "Env": ["B=c"], "Secrets": [mounted], "Mounts": []}, "Placement": {}}
    service = {
        "ID": "w1",
        "Version": {"Index": 9},
        "Spec": {"Name": "web", "Labels": {}, "TaskTemplate": task, "Mode": {"Replicated": {"Replicas": 1}}},
        "Endpoint": {"Ports": [{"PublishMode": "host", "PublishedPort": 80}]},
    }
    labels = {LABEL + "key": "A", LABEL + "version": "1", LABEL + "fingerprint": "aaaa-bbbb-cccc", LABEL + "by": "me"}
    secret = {"ID": "s1", "CreatedAt": "2026-01-01T00:00:00Z", "Spec": {"Name": "a.v1", "Labels": labels}}
    mount = {"Type": "bind", "Source": "/x", "Destination": "/run/secrets/a", "RW": False}
    names = {"com.docker.swarm.service.name": "web", "com.docker.swarm.service.id": "w1"}
    return {
        "/_ping": {},
        "/version": {"ApiVersion": "1.41", "Version": "20.10", "MinAPIVersion": "1.12", "Arch": "amd64"},
        "/info": {
            "SystemTime": "2026-01-01T00:00:00.5Z",
            "Swarm": {"NodeID": "n", "LocalNodeState": "active", "ControlAvailable": True},
        },
        "/swarm": {"ID": "s", "Spec": {}},
        "/secrets": [secret],
        "/services": [service],
        "/tasks": [
            {
                "ID": "t1",
                "ServiceID": "w1",
                "NodeID": "n",
                "Slot": 1,
                "Spec": task,
                "DesiredState": "running",
                "Status": {"State": "running", "Timestamp": "2026-01-01T00:00:00Z"},
            }
        ],
        "/nodes": [
            {
                "ID": "n",
                "Spec": {"Role": "manager", "Availability": "active"},
                "Description": {"Hostname": "h", "Engine": {"EngineVersion": "20.10"}},
                "Status": {"State": "ready"},
                "ManagerStatus": {"Reachability": "reachable"},
            }
        ],
        "/configs": [],
        "/networks": [],
        "/containers/json": [{"Id": CONTAINER, "Names": ["/web.1"], "Labels": names, "Mounts": [mount]}],
        f"/containers/{CONTAINER}/json": {
            "Id": CONTAINER,
            "Name": "/web.1",
            "State": {"Running": True},
            "Config": {"Env": ["B=c"], "Labels": names, "Cmd": ["x"], "Entrypoint": None, "User": ""},
            "HostConfig": {"CapAdd": None, "Binds": []},
            "Mounts": [mount],
        },
    }


@pytest.fixture
def engine(manage: Manage) -> Iterator[dict[str, Any]]:
    """Give what an engine answers that `manage` uses; it is to be changed."""
    said = answers()

    class Engine(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = re.sub(r"^/v[0-9.]+", "", self.path).partition("?")[0]
            found = said.get("*") or said.get(path, {"message": f"there is none: {EVIL}"})
            if isinstance(found, threading.Event):  # the answer begins, and nothing comes until it is set
                self.send_response(101)
                self.end_headers()
                found.wait(60)
                return
            status = 200 if "*" in said or path in said else 404
            if isinstance(found, tuple):
                status, found = found
            body = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # of who has read enough
                self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        manage.env["DOCKER_HOST"] = f"tcp://127.0.0.1:{server.server_address[1]}"
        yield said
        server.shutdown()


COMMANDS = {
    "list": ["list"],
    "audit": ["audit", "--sarif", "-"],
    "diff": ["diff"],
    "doctor": ["doctor"],
    "prune": ["prune", "--dry-run"],
    "rotate": ["rotate", "A", "--generate", "--force", "--dry-run"],
}
ODD: dict[str, Any] = {
    "lists": [[None]],
    "a large number": 10**400,
    "evil words": EVIL,
}


def everywhere(found: Any, odd: Any) -> Any:
    """Return *found* with *odd* beside or in the place of every leaf, but for ids."""
    if isinstance(found, dict):
        return {name: one if name in ("ID", "Id") else everywhere(one, odd) for name, one in found.items()}
    if isinstance(found, list):
        return [*[everywhere(one, odd) for one in found], odd]
    return odd


@pytest.mark.parametrize("odd", ODD)
def test_an_engine_that_answers_with_anything(manage: Manage, engine: dict[str, Any], canary: Canary, odd: str) -> None:
    """`manage` itself sees to it that no run ends with an internal error."""
    manage.write("secrets/a", canary()).chmod(0o600)
    for path in list(engine):
        if path not in ("/_ping", "/version"):
            engine[path] = everywhere(engine[path], ODD[odd])

    for words in COMMANDS.values():
        end = manage(*words)
        assert not OBEYED.search(end.stdout + end.stderr), (words, end)


@pytest.mark.parametrize("path", ["/info", "/services"])
def test_what_is_no_answer_at_all(manage: Manage, engine: dict[str, Any], path: str) -> None:
    engine[path] = [7, None, {"a": None}]

    for name in ("audit", "doctor", "rotate"):
        manage(*COMMANDS[name])


WHOLE = {
    "a number": b"7",
    "nothing": b"null",
    "a word": b'"x"',
    "numbers": b"[7]",
    "a thing with an id": b'[{"ID": "a", "Id": "a"}]',
    "no fields": b"{}",
    "depth": b"[" * 100_000,
    "a number of 6,000 digits": b"1" * 6_000,
    "a page": b"<html>",
}
MOUNT = SecretMount("s2", "a.v2", "a")
SECRET = SwarmSecret("s1", "a.v1", "A", 1, "", "", "", "")
ASKED: list[tuple[type[Any], Callable[[Any], Any]]] = [
    (Swarm, lambda engine: engine.secrets()),
    (Swarm, lambda engine: engine.services()),
    (Swarm, lambda engine: engine.named_ids()),
    (Swarm, lambda engine: engine.running_containers()),
    (Swarm, lambda engine: engine.compose_folders()),
    (Swarm, lambda engine: engine.config("a")),
    (Swarm, lambda engine: engine.create("a.v2", Secret(b"b"), {})),
    (Swarm, lambda engine: engine.label_secret("s1", {"a": "b"})),
    (Swarm, lambda engine: engine.explained(RunningContainer("c1", "web.1", "web"), b"")),
    (ServiceMover, lambda engine: engine.movable()),
    (ServiceMover, lambda engine: engine.nodes()),
    (ServiceMover, lambda engine: (engine.movable(), engine.swap("w1", {"a": ("s1", MOUNT)}))),
    (ServiceMover, lambda engine: (engine.movable(), engine.bump("w1"))),
    (ServiceMover, lambda engine: engine.lock("", b"", "me")),
    (ServiceMover, lambda engine: engine.locked_stacks()),
    (FarDoor, lambda engine: engine.remote("web")),
    (FarDoor, lambda engine: engine.remove_lost()),
    (FarDoor, lambda engine: engine.place_of("web")),
    (FarDoor, lambda engine: engine.run_in("c1", ["true"], b"")),
    (ValueReader, lambda engine: engine.read([SECRET], "", print)),
    (Loader, lambda engine: engine.processor()),
    (Loader, lambda engine: engine.load(b"", "a")),
    (Examiner, lambda engine: engine.facts()),
]


@pytest.mark.parametrize("what", WHOLE)
def test_no_answer_at_all_breaks_a_call(
    manage: Manage, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each call of the host tool gives something that can be worked with, or ends by saying that it does not."""
    monkeypatch.setattr("shim_host.swarm.move.services.LEADER_SECONDS", 0)
    monkeypatch.setattr("shim_host.swarm.lock.LEADER_SECONDS", 0)
    ended = set()
    for number, (kind, ask) in enumerate(ASKED):
        connection = connect_as(kind, manage.env)
        engine["*"] = WHOLE[what]
        try:
            ask(connection)
        except Ended:
            ended.add(number)
        finally:
            del engine["*"]

    assert ended, "some call needs more than that"


def test_an_answer_has_an_end(
    manage: Manage, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shim_host.swarm.reach.client.MOST_BYTES", 1 << 20)
    connection = connect_as(Swarm, manage.env)
    engine["/secrets"] = b" " * (1 << 21)
    with pytest.raises(Ended, match="its answer has more than 1 MiB"):
        connection.secrets()
    monkeypatch.setattr("shim_host.swarm.reach.client._MOST_TIMES", 0)
    engine["/secrets"] = b"[" + b" " * 70_000 + b"]"
    with pytest.raises(Ended, match="its answer has no end"):
        connection.secrets()


def test_one_strange_container_or_image_does_not_end_an_audit(manage: Manage, engine: dict[str, Any]) -> None:
    for path in (f"/containers/{CONTAINER}/json", "/images/img/json"):
        kept, engine[path] = engine.get(path), b"7"
        end = manage("audit")
        assert "answers with something that its API does not have there" in end.stdout + end.stderr, end
        if kept is not None:
            engine[path] = kept


def test_containers_that_answer_nothing_hold_nobody_up(
    manage: Manage, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: each has its time, and all together have theirs."""
    monkeypatch.setattr("shim_host.swarm.asking.SECONDS", 1.0)
    monkeypatch.setattr("shim_host.explained.SECONDS", 0.4)
    containers = [RunningContainer(f"c{number}", f"web.{number}", "web") for number in range(600)]
    engine.update({f"/containers/{one.id}/exec": {"Id": "e"} for one in containers})
    engine["/exec/e/start"] = silent = threading.Event()
    connection = connect_as(Swarm, manage.env)
    began, gaps = time.monotonic(), list[str]()

    answers = asking.ask_all(connection, containers, b"", gaps)

    assert answers == [None] * 600
    assert time.monotonic() - began < 600 * 0.4 / 8  # as long as it would take if each had its time
    assert len(gaps) == 1
    assert re.fullmatch(r"the engine: no time was left for \d+ containers: others answer too slowly", gaps[0])
    silent.set()


@pytest.mark.parametrize(
    ("status", "said", "is_gap"),
    [
        (500, "it broke", True),
        (403, "denied by a plugin", True),
        (409, "it is restarting, wait until the container is running", True),
        (409, "it is not running", False),
        (404, "no such container", False),
    ],
)
def test_what_may_not_be_asked_is_not_looked_at(
    manage: Manage, engine: dict[str, Any], status: int, said: str, is_gap: bool
) -> None:
    """A container that ended meanwhile has nothing to tell; one in which nothing can be run is never clean."""
    engine[f"/containers/{CONTAINER}/exec"] = (status, {"message": said})
    gaps = list[str]()

    answers = asking.ask_all(connect_as(Swarm, manage.env), [RunningContainer(CONTAINER, "web.1", "web")], b"", gaps)

    assert answers == [None]
    assert gaps == ([f"the engine: cannot ask web.1: {said}"] if is_gap else [])
    if status == 403:
        ends = [manage(words) for words in ("audit", "diff")]
        assert [(end.code, "not looked at: the engine: cannot ask web.1" in end.stderr) for end in ends] == [
            (111, True),
            (111, True),
        ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "cannot list secrets: a proxy before the engine forbids it"),
        (404, "cannot list secrets: a page comes back, with the HTTP status 404"),
        (503, "cannot list secrets: a page comes back, with the HTTP status 503"),
    ],
)
def test_a_page_is_the_word_of_a_proxy(manage: Manage, engine: dict[str, Any], status: int, words: str) -> None:
    """It means neither that there is nothing, nor that the Swarm has no leader, and nobody reads HTML."""
    engine["/secrets"] = (status, b"<html><body><h1>No</h1>\n</body></html>\n")

    with pytest.raises(Ended, match=words) as ended:
        connect_as(Swarm, manage.env).secrets()

    assert "proxy" in " ".join(ended.value.hints)
    assert not isinstance(ended.value, connection.Missing)


def test_a_worker_shows_nothing_of_its_swarm_and_nobody_takes_that_for_nothing(
    manage: Manage, engine: dict[str, Any], canary: Canary
) -> None:
    """The table of an audit has a question mark there, and a backup warns that it lacks the Swarm's part."""
    manage.write("secrets/a", canary())
    manage.write("pass", canary()).chmod(0o600)
    engine["/info"]["Swarm"]["ControlAvailable"] = False
    worker = {"message": "This node is not a swarm manager. Worker nodes can't be used to view cluster state."}
    engine.update(dict.fromkeys(("/secrets", "/services", "/tasks", "/nodes", "/configs"), (503, worker)))

    audited = manage("audit")
    saved = manage("export", "--passphrase-file", "pass", "--encryption", "age", "--output", "b.age", "--dry-run")

    assert audited.code == 111
    (row,) = (line.split() for line in audited.stdout.splitlines() if line.startswith("A "))
    assert (row[1], row[-2]) == ("?", "?")
    assert saved.code == 0
    assert "warning: the backup contains nothing about a Swarm: cannot look for " in saved.stderr
    assert "set DOCKER_HOST to a manager" in saved.stderr
    assert "--no-swarm leaves it out unasked" in saved.stderr


@pytest.mark.parametrize("is_same", [True, False])
def test_a_backup_tells_where_the_folder_has_another_value_than_the_swarm(
    manage: Manage, engine: dict[str, Any], canary: Canary, is_same: bool
) -> None:
    """As when a colleague rotated it, or a rotation was not finished; it is known without reading the value back."""
    mine, theirs = canary(), canary()
    prints = Fingerprints(b"salted")
    manage.write("secrets/a", mine)
    labels = engine["/secrets"][0]["Spec"]["Labels"]
    labels[LABEL + "salt"] = prints.mark
    labels[LABEL + "fingerprint"] = prints.of("A", Secret((mine if is_same else theirs).encode()))

    end = manage("export", "--recipient", "age1x", "--salt", "salted", "--output", "b.age", "--dry-run")

    assert end.code == 0
    assert ("warning: the Swarm and the folder hold different values: a\n" in end.stderr) is not is_same


def test_a_backup_offers_no_way_to_read_a_template_back(manage: Manage, engine: dict[str, Any]) -> None:
    template = copy.deepcopy(engine["/secrets"][0])
    template.update(ID="s2")
    template["Spec"].update(Name="conf", Labels={}, Templating={"Name": "golang"})
    engine["/secrets"].append(template)

    end = manage("export", "--recipient", "age1x", "--output", "b.age", "--dry-run")

    assert "warning: without a value, because they are only in the Swarm: a\n" in end.stderr
    assert "warning: without a value, because a template fills them in: conf\n" in end.stderr


def test_what_runs_cannot_be_listed_and_list_says_so(manage: Manage, engine: dict[str, Any], canary: Canary) -> None:
    manage.write("secrets/a", canary())
    engine["/containers/json"] = (500, {"message": "it broke"})

    end = manage("list", "--json")

    assert end.code == 111
    assert "cannot list containers: it broke; what runs is left out" in end.stderr
    assert json.loads(end.stdout)["not_looked_at"] == ["the engine: cannot list containers: it broke"]


def test_a_shell_is_offered_no_name_that_it_would_obey(manage: Manage, engine: dict[str, Any]) -> None:
    """What completes a word is put into the command line as it is, and Enter runs it."""
    other = copy.deepcopy(engine["/secrets"][0])
    other.update(ID="s2")
    for secret, stack in ((engine["/secrets"][0], "$(touch pwned)"), (other, "shop")):
        secret["Spec"]["Labels"][LABEL + "stack"] = stack
    engine["/secrets"].append(other)
    asks = {
        "_MANAGE_SECRETS_COMPLETE": "bash_complete",
        "COMP_WORDS": "manage-secrets list --stack ",
        "COMP_CWORD": "3",
    }

    assert manage(env=asks).stdout.split() == ["plain,shop"]


MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))


def test_a_stack_file_that_never_ends_is_none(manage: Manage, engine: dict[str, Any]) -> None:
    """Whoever wrote the checkout chose its files: what goes on forever, or is nested too deeply, is left alone."""
    (manage.folder / "docker-stack.yml").symlink_to("/dev/zero")
    manage.write("deep-stack.yml", "a: " + "[" * 3_000)
    manage.write("my-swarm.yml", MERGES)

    assert manage("validate", "--swarm", timeout=20).code == 0


def test_what_has_no_id_is_left_out_and_said(manage: Manage, engine: dict[str, Any]) -> None:
    engine["/secrets"].append({"Spec": {"Name": "b"}})

    assert "the engine lists 1 thing without an ID, so it cannot be inspected" in manage("list").stderr


def test_what_must_be_there_and_is_not(manage: Manage, engine: dict[str, Any]) -> None:
    del engine["/info"]["Swarm"]["NodeID"]

    end = manage(*COMMANDS["rotate"])
    assert (end.code, "the engine's answer lacks NodeID, which its API requires" in end.stderr) == (111, True)


ODD_FIELDS: list[tuple[Callable[[dict[str, Any]], Any], Any]] = [
    (lambda found: found["Spec"].update(Name=["x"]), ("Spec", "Name")),
    (lambda found: found["Spec"]["Labels"].update(a=7), ("Spec", "Labels", "a")),
    (lambda found: found["Version"].update(Index=True), ("Version", "Index")),
    (lambda found: found["Version"].update(Index=1 << 64), ("Version", "Index")),
    (lambda found: found.update(Endpoint="x"), ("Endpoint",)),
    (lambda found: found.update(CreatedAt="yesterday"), ("CreatedAt",)),
]


@pytest.mark.parametrize(("change", "place"), ODD_FIELDS)
def test_a_field_of_another_kind_is_not_there(change: Callable[[dict[str, Any]], Any], place: tuple[str, ...]) -> None:
    """And everything else is as it was."""
    service = answers()["/services"][0]
    odd = copy.deepcopy(service)
    change(odd)
    wanted = copy.deepcopy(service)
    within = wanted
    for name in place[:-1]:
        within = within[name]
    within.pop(place[-1], None)

    assert in_shape([odd, "x", None, {}]) == ([wanted], 3)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DOCKER_HOST": "/run/docker.sock"}, "that is not an address such as unix:///"),
        ({"DOCKER_HOST": "ftp://engine"}, "that is not an address such as unix:///"),
        ({"DOCKER_HOST": "tcp://:2375:1"}, "that is not an address such as unix:///"),
        (
            {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nonexistent"},
            "DOCKER_TLS_VERIFY is set, and there is no /nonexistent/ca.pem",
        ),
    ],
)
def test_what_cannot_be_connected_to_is_said_in_words(manage: Manage, environ: dict[str, str], words: str) -> None:
    """The SDK knows these mistakes, and says them as a programmer would."""
    end = manage("history", env=environ)

    assert end.code == 111
    assert words in end.stderr
    assert "Error" not in end.stderr
