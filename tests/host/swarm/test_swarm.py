"""Secrets in a real Swarm: made once, never half, and never removed while anything needs them."""

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import docker
import pytest
from shim_host.fingerprints import Fingerprints

from shim.secret import Secret, fingerprint, keyed
from tests.support.forms import Custody, cannot_run
from tests.support.host import SCRIPT, Canary, Manage, Meddler, PrivateSwarm, seconds_of

pytestmark = pytest.mark.engine

KEY_CONFIG = "docker-secrets-shim.fingerprint-key"


def names(swarm: PrivateSwarm) -> list[str]:
    return sorted(swarm.docker("secret", "ls", "--format", "{{.Name}}").split())


def labels(swarm: PrivateSwarm, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(swarm.docker("secret", "inspect", name))[0]["Spec"]["Labels"]
    return found


def state_of(document: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {item["key"]: item["state"] for item in document["secrets"]}


def test_files_become_versions_and_the_second_run_changes_nothing(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, custody: Custody
) -> None:
    password = canary()
    manage.write("secrets/db_password", password)
    manage.write("secrets/apiKey", canary())
    manage.write("secrets/README.md", "not a secret")

    assert state_of(manage.json("create-swarm", "--dry-run")) == {"APIKEY": "created", "DB_PASSWORD": "created"}
    assert names(swarm) == []
    assert state_of(manage.json("create-swarm")) == {"APIKEY": "created", "DB_PASSWORD": "created"}
    assert names(swarm) == ["apiKey.v1", "db_password.v1"]
    assert state_of(manage.json("create-swarm")) == {"APIKEY": "unchanged", "DB_PASSWORD": "unchanged"}

    kept = labels(swarm, "db_password.v1")
    key = base64.b64decode(json.loads(swarm.docker("config", "inspect", KEY_CONFIG))[0]["Spec"]["Data"])
    assert len(key) == 32
    assert kept["docker-secrets-shim.fingerprint"] == keyed(password.encode(), "DB_PASSWORD", key)
    assert kept["docker-secrets-shim.key"] == "DB_PASSWORD"
    custody.said.append(swarm.docker("secret", "inspect", *names(swarm)))


def test_no_number_gets_a_second_value(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """Not when all versions of a key were removed, nor when the newest was: the last one comes back as it was."""
    manage.write("secrets/a", canary())
    manage.write("secrets/b", canary())
    end = manage("create-swarm")
    assert "with set -a; . ./secrets.lock.env; set +a" in end.stderr
    lock = manage.folder / "secrets.lock.env"
    assert lock.read_text().splitlines()[2:] == ["A_VERSION=1", "B_VERSION=1"]  # whoever deploys loads it from now on
    swarm.docker("secret", "rm", "a.v1", "b.v1")
    manage.write("secrets/b", canary())

    end = manage("create-swarm")

    assert end.code == 0, end.stderr
    assert "b.v2: earlier numbers had other values, and are not used again" in end.stderr
    assert names(swarm) == ["a.v1", "b.v2"]
    assert lock.read_text().splitlines()[2:] == ["A_VERSION=1", "B_VERSION=2"]
    assert manage("rotate", "A", "--generate").code == 0
    swarm.docker("secret", "rm", "a.v2")
    assert manage.json("rotate", "A", "--generate")["keys"][0]["name"] == "a.v3"

    # A key of another stack has numbers of its own, and who damages the note is told.
    assert manage("create-swarm", "--stack", "shop").code == 0
    assert {"shop_a.v1", "shop_b.v1"} <= set(names(swarm))
    config = json.loads(swarm.docker("config", "inspect", KEY_CONFIG))[0]
    assert json.loads(config["Spec"]["Labels"]["docker-secrets-shim.numbers"])["shop"]["A"][0] == 1
    damaged = {**config["Spec"], "Labels": {"docker-secrets-shim.numbers": "[1]"}}
    client = docker.APIClient(base_url=swarm.host)
    url = f"{client.base_url}/v{client.api_version}/configs/{config['ID']}/update"
    client.post(url, json=damaged, params={"version": config["Version"]["Index"]}).raise_for_status()
    assert "the label docker-secrets-shim.numbers of the config" in manage("rotate", "A", "--dry-run").stderr


def test_a_changed_value_is_refused_and_nothing_is_made(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    manage("create-swarm")
    manage.write("secrets/a", canary())
    manage.write("secrets/b", canary())

    end = manage("create-swarm")

    assert end.code == 1
    assert "manage-secrets rotate A" in end.stderr
    assert names(swarm) == ["a.v1"]


def test_another_salt_is_not_taken_for_another_value(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    manage("create-swarm", "--salt", "one")

    assert "a different key or salt" in manage("create-swarm").stderr
    assert "a different key or salt" in manage("rotate", "A", "--generate").stderr
    assert names(swarm) == ["a.v1"]
    assert state_of(manage.json("create-swarm", env={"SHIM_SALT": "one"})) == {"A": "unchanged"}


def test_labels_of_the_time_before_the_key_are_taken_over_without_a_rotation(
    swarm: PrivateSwarm, manage: Manage, canary: Canary
) -> None:
    """A first release labelled with what anybody could make of a value; the next run leaves none of that."""
    value = canary()
    manage.write("secrets/a", value)
    guessable = {"fingerprint": fingerprint(value.encode(), "A"), "salt": fingerprint(b"", "salt")}
    about = {"key": "A", "version": "1", "created": "2026-01-01T00:00:00+00:00", **guessable}
    marks = [word for name, its in about.items() for word in ("--label", f"docker-secrets-shim.{name}={its}")]
    for version in ("a.v1", "gone.v1"):  # the value of one is here, that of the other is not
        swarm.docker("secret", "create", *marks, version, "-", stdin=value.encode())
        marks = [mark.replace("=A", "=GONE") for mark in marks]

    assert state_of(manage.json("create-swarm", "--dry-run")) == {"A": "unchanged"}
    assert labels(swarm, "a.v1")["docker-secrets-shim.salt"] == guessable["salt"]
    assert state_of(manage.json("create-swarm")) == {"A": "unchanged"}

    assert names(swarm) == ["a.v1", "gone.v1"]
    for version in names(swarm):
        kept = labels(swarm, version)
        assert not {kept["docker-secrets-shim.fingerprint"], kept["docker-secrets-shim.salt"]} & {*guessable.values()}
        assert kept["docker-secrets-shim.created"] == about["created"]
    assert manage("diff", "--all").code == 0


def test_labels_of_the_slow_fingerprints_under_the_key_are_compared_and_taken_over(
    swarm: PrivateSwarm, manage: Manage, canary: Canary
) -> None:
    """What was labelled when a fingerprint under the key was slow: the same value is seen, and another one, too."""
    manage.write("secrets/a", canary())
    manage.write("secrets/b", canary())
    manage("create-swarm")
    key = base64.b64decode(json.loads(swarm.docker("config", "inspect", KEY_CONFIG))[0]["Spec"]["Data"])
    swarm.docker("secret", "rm", "a.v1", "b.v1")
    slow = Fingerprints(deployment_key=key, seals=True)
    for name, value in (("A", (manage.folder / "secrets/a").read_text()), ("B", canary())):
        its = slow.of(name, Secret(value.encode()))
        kept = {"key": name, "version": "1", "fingerprint": its, "salt": slow.mark, "created": "2026-01-01T00:00:00Z"}
        marks = [word for label, text in kept.items() for word in ("--label", f"docker-secrets-shim.{label}={text}")]
        swarm.docker("secret", "create", *marks, f"{name.lower()}.v1", "-", stdin=value.encode())

    rows = json.loads(manage("diff", "--all", "--json").stdout)["keys"]
    states = {row["key"]: row["state"] for row in rows}
    assert (states["A"], states["B"]) == ("same", "different")
    assert "b.v1: is older than the file" in manage("validate", "--swarm").stdout
    refused = manage("create-swarm")

    assert "the Swarm holds a different value for B" in refused.stderr
    assert labels(swarm, "a.v1")["docker-secrets-shim.salt"] == slow._replace(seals=False).mark
    assert labels(swarm, "b.v1")["docker-secrets-shim.salt"] == slow.mark
    assert manage("rotate", "B", "--generate").code == 0


def test_operators_share_the_key_and_two_swarms_do_not(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """Who has another ./secrets finds the key in the Swarm; the key of a folder becomes that of a Swarm without one."""
    value = canary()
    manage.write("secrets/a", value)
    manage("diff")
    key = bytes.fromhex((manage.folder / "secrets/.fingerprint-key").read_text())
    manage("create-swarm")
    assert labels(swarm, "a.v1")["docker-secrets-shim.fingerprint"] == keyed(value.encode(), "A", key)

    manage.write("theirs/a", value)
    assert state_of(manage.json("create-swarm", "--secrets-dir", "theirs")) == {"A": "unchanged"}
    swarm.empty()
    (manage.folder / "secrets/.fingerprint-key").unlink()
    manage("create-swarm")
    assert labels(swarm, "a.v1")["docker-secrets-shim.fingerprint"] != keyed(value.encode(), "A", key)
    assert not (manage.folder / "theirs/.fingerprint-key").exists()


def test_an_empty_value_reaches_a_service_as_empty(swarm: PrivateSwarm, manage: Manage) -> None:
    manage.write("secrets/a", "")

    end = manage("create-swarm")

    assert "empty, which the Swarm does not allow: A" in end.stderr
    assert names(swarm) == ["a.v1"]
    assert state_of(manage.json("create-swarm")) == {"A": "unchanged"}


def test_what_the_swarm_would_refuse_is_refused_before_anything_is_made(swarm: PrivateSwarm, manage: Manage) -> None:
    manage.write("secrets/a", "x")
    manage.write("secrets/big", "x" * 512_000)
    end = manage("create-swarm")
    assert end.code == 1
    assert "BIG: 512000 bytes" in end.stderr
    assert names(swarm) == []

    manage.write("secrets/big", "x" * 511_999)
    assert manage("create-swarm").code == 0


def test_every_key_gets_a_name_the_swarm_takes(swarm: PrivateSwarm, manage: Manage) -> None:
    keys = ["_T", "T_", "A" * 64, "B" * 90, "a.b", "É", "x[1]", "DB", "db", "Db", "1", "con"]
    manage.write(".env", "".join(f"{key}=value\n" for key in keys))

    document = manage.json("create-swarm", "--from-env", ".env")

    assert state_of(document) == dict.fromkeys(keys, "created")
    assert {labels(swarm, item["name"])["docker-secrets-shim.key"] for item in document["secrets"]} == set(keys)


def test_stacks_keep_apart(swarm: PrivateSwarm, manage: Manage) -> None:
    manage.write("secrets/a", "one")
    manage("create-swarm", "--stack", "shop")
    manage.write("secrets/a", "two")
    assert manage("create-swarm", "--stack", "blog").code == 0
    assert names(swarm) == ["blog_a.v1", "shop_a.v1"]


def test_a_foreign_secret_of_that_name_is_left_alone(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    swarm.docker("secret", "create", "A.V1", "-", stdin=b"x")
    manage.write("secrets/a", canary())

    end = manage("create-swarm")

    assert end.code == 1
    assert "this tool did not create" in end.stderr


@pytest.mark.parametrize("fate", ["drop", "lose", "500"])
def test_interrupted_at_every_call_the_next_run_goes_on(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, fate: str
) -> None:
    """From some call on the engine answers no more, or badly; then it does again."""
    for number in range(4):
        manage.write(f"secrets/key{number}", canary())
    for first_bad in range(1, 7):  # the first call keeps the key of the fingerprints
        swarm.empty()
        meddler = Meddler(swarm, lambda number, first=first_bad: fate if number >= first else "pass")  # type: ignore[misc]
        end = manage("create-swarm", env={"DOCKER_HOST": meddler.host})
        meddler.close()
        if fate == "lose":
            # The engine did what it was asked, so that each key is found when it is looked for.
            assert end.code == 0, end.stderr
        else:
            assert end.code == (111 if first_bad < 6 else 0), end.stderr
            assert len(names(swarm)) == max(0, first_bad - 2)
        assert manage("create-swarm").code == 0
        assert names(swarm) == [f"key{number}.v1" for number in range(4)]


def test_killed_at_every_call_the_next_run_goes_on(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    for number in range(4):
        manage.write(f"secrets/key{number}", canary())
    for fatal in range(1, 5):
        swarm.empty()
        meddler = Meddler(swarm, lambda number, fatal=fatal: "kill" if number >= fatal else "pass")  # type: ignore[misc]
        meddler.victim = subprocess.Popen(
            [sys.executable, SCRIPT, "create-swarm"],
            cwd=manage.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "DOCKER_HOST": meddler.host},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert meddler.victim.wait(60) == -9
        meddler.close()
        made = set(names(swarm))
        assert made <= {f"key{number}.v1" for number in range(4)}
        assert manage("create-swarm").code == 0
        assert names(swarm) == [f"key{number}.v1" for number in range(4)]


def test_interrupted_by_a_person_it_ends_soon_with_130(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    for number in range(300):
        manage.write(f"secrets/key{number}", canary())
    started: list[subprocess.Popen[bytes]] = []

    def interrupt(number: int) -> str:
        if number == 10:
            started[0].send_signal(signal.SIGINT)
        return "pass"

    meddler = Meddler(swarm, interrupt)
    started.append(
        subprocess.Popen(
            [sys.executable, SCRIPT, "create-swarm"],
            cwd=manage.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "DOCKER_HOST": meddler.host},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    )
    _, said = started[0].communicate(timeout=60)
    meddler.close()

    assert started[0].returncode == 130
    assert b"interrupted" in said
    assert b"Traceback" not in said
    assert 0 < len(names(swarm)) < 300  # what was on its way may be cut off
    assert manage("create-swarm").code == 0


def test_an_engine_that_manages_no_swarm_ends_with_111(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    meddler = Meddler(swarm, lambda _: "503")

    end = manage("create-swarm", env={"DOCKER_HOST": meddler.host})

    meddler.close()
    assert end.code == 111
    assert "not a Swarm manager" in end.stderr


def test_tcp_with_tls_is_spoken(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """DOCKER_TLS_VERIFY and DOCKER_CERT_PATH: both sides show a certificate that the other's authority signed."""
    certificates = manage.folder / "certificates"
    certificates.mkdir()
    try:
        for command in TLS_COMMANDS:
            subprocess.run(["openssl", *command.split()], cwd=certificates, check=True, capture_output=True)
    except FileNotFoundError:
        cannot_run("openssl is not installed")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    manage.write("secrets/a", canary())
    meddler = Meddler(swarm, lambda _: "pass", context)
    env = {"DOCKER_HOST": meddler.host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}

    # What other programs of this machine trust is not asked.
    assert manage("create-swarm", env={**env, "REQUESTS_CA_BUNDLE": str(certificates / "other.pem")}).code == 0
    assert names(swarm) == ["a.v1"]
    signed = (certificates / "cert.pem").read_bytes(), (certificates / "key.pem").read_bytes()
    for kind in ("", "-key"):
        (certificates / f"{kind.removeprefix('-') or 'cert'}.pem").write_bytes(
            (certificates / f"other{kind}.pem").read_bytes()
        )
    refused = manage("create-swarm", env=env)
    assert refused.code == 111
    assert "certificate" in refused.stderr  # Go's alert says why; this server's side just ends
    assert "DOCKER_CERT_PATH" in refused.stderr
    for name, data in zip(("cert.pem", "key.pem"), signed, strict=True):
        (certificates / name).write_bytes(data)
    (certificates / "ca.pem").write_bytes((certificates / "other.pem").read_bytes())
    assert "its certificate is not trusted" in manage("create-swarm", env=env).stderr
    meddler.close()


NEW_KEY = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj"
TLS_COMMANDS = [
    f"{NEW_KEY} /CN=ca -keyout ca-key.pem -out ca.pem",
    f"{NEW_KEY} /CN=other -keyout other-key.pem -out other.pem",
    f"{NEW_KEY} /CN=a -addext subjectAltName=IP:127.0.0.1 -CA ca.pem -CAkey ca-key.pem -keyout key.pem -out cert.pem",
]


def test_one_bad_answer_is_lived_with(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    meddler = Meddler(swarm, lambda number: "500" if number == 1 else "pass")

    assert manage("create-swarm", env={"DOCKER_HOST": meddler.host}).code == 0
    meddler.close()


def test_no_engine_ends_with_111(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    with socket.socket() as closed:  # nobody else gets the port, and nobody listens
        closed.bind(("127.0.0.1", 0))
        for host in (f"tcp://127.0.0.1:{closed.getsockname()[1]}", f"unix://{manage.folder}/none.sock"):
            end = manage("create-swarm", env={"DOCKER_HOST": host})
            assert end.code == 111
            assert "no engine answers" in end.stderr
    assert manage("create-swarm", env={"DOCKER_CONTEXT": "nonesuch"}).code == 111


def test_a_docker_context_is_honoured(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    config = manage.folder / ".docker"
    for arguments in (["context", "create", "here", "--docker", f"host={swarm.host}"], ["context", "use", "here"]):
        swarm.docker("--config", config, *arguments)
    del manage.env["DOCKER_HOST"]

    assert manage("create-swarm").code == 0
    (config / "config.json").unlink()  # which many a machine of CI never had
    assert manage("create-swarm", env={"DOCKER_CONTEXT": "here"}).code == 0
    elsewhere = config.rename(manage.folder / "elsewhere")
    assert manage("create-swarm", env={"DOCKER_CONTEXT": "here", "DOCKER_CONFIG": str(elsewhere)}).code == 0
    assert names(swarm) == ["a.v1"]


def test_prune_leaves_what_anything_still_names(swarm: PrivateSwarm, manage: Manage) -> None:
    for version in range(1, 5):
        swarm.docker(
            *("secret", "create", "--label", "docker-secrets-shim.key=A"),
            *("--label", f"docker-secrets-shim.version={version}", f"a.v{version}", "-"),
            stdin=b"x",
        )
    swarm.docker("secret", "create", "foreign", "-", stdin=b"x")
    service = ["service", "create", "--detach", "--name", "s", "--replicas", "0", "--secret", "a.v1", swarm.image()]
    swarm.docker(*service, "/busybox", "sleep", "1d")
    swarm.docker("service", "update", "--detach", "--secret-rm", "a.v1", "--secret-add", "a.v2", "s")

    assert manage.json("prune", "--dry-run")["secrets"] == []  # as rotate leaves it: the newest, and one to go back to
    assert [item["name"] for item in manage.json("prune", "--dry-run", "--keep", "1")["secrets"]] == ["a.v3"]
    end = manage("prune", "--keep", "1")
    assert end.code == 1
    assert "--yes" in end.stderr
    manage.json("prune", "--yes", "--keep", "1")
    assert names(swarm) == ["a.v1", "a.v2", "a.v4", "foreign"]

    swarm.docker("service", "rm", "s")
    manage.json("prune", "--yes", "--keep", "2")
    assert names(swarm) == ["a.v2", "a.v4", "foreign"]


@pytest.mark.parametrize("is_broken", [False, True])
def test_no_command_shows_a_value(swarm: PrivateSwarm, manage: Manage, canary: Canary, is_broken: bool) -> None:
    """Each command in each form, where all is well and where nothing is; the canaries are looked for at the end."""
    manage.write(".env.schema", "# @required @sensitive @type=string(maxLength=3)\nA=\n\n# @sensitive @type=url\nB=\n")
    manage.write(".env", f"A={canary()}$NOT_THERE{canary()}\nB='{canary()} #'\nC=\"{canary()}\n{canary()}\" #x\n")
    manage("create-from-env")
    manage("create-swarm")
    if is_broken:
        manage.write("secrets/a", canary())
        manage.write("secrets/b", canary().encode("utf-16"))
        manage.write(".env", f"A={canary()}\nB='{canary()}\n{canary()}\n")
        manage.write(
            "compose.yaml", f"services:\n  a:\n    environment: [A={canary()}, '{canary()}']\n    {canary()}: [\n"
        )
    for command in (
        "create-from-env --force",
        "generate",
        "create-swarm",
        "list",
        "validate",
        "diff",
        "prune",
        "doctor",
    ):
        for more in ([], ["--json"], ["-v"], ["-v", "--json"], ["--help"]):
            end = manage(*command.split(), *more)
            assert end.code in (0, 1, 111), (command, end)


@pytest.mark.slow
def test_five_hundred_secrets_at_once(swarm: PrivateSwarm, manage: Manage, tmp_path: Path) -> None:
    """Made by one command, all of them; what a shell loop and a second run take is printed, not judged, here."""
    for number in range(500):
        manage.write(f"secrets/key_{number}", f"value-{number}")
    loop = 10 * seconds_of(
        lambda: [swarm.docker("secret", "create", f"loop-{number}", "-", stdin=b"x") for number in range(50)]
    )

    first = seconds_of(lambda: manage("create-swarm"))
    second = seconds_of(lambda: manage("create-swarm"))

    assert len(names(swarm)) == 550
    print(f"shell loop {loop:.1f} s, first run {first:.1f} s, second run {second:.1f} s")  # noqa: T201
