"""An engine behind ssh://: the machine's own ssh, an sshd of the test's own, and a real Swarm at the far end."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shim_host.errors import Refused
from shim_host.swarm.reach.ssh import command

from tests.support.forms import cannot_run
from tests.support.host import Canary, Manage, Meddler, PrivateSwarm

Far = Callable[[str], str]


@pytest.fixture
def far(manage: Manage) -> Iterator[Far]:
    """Start an sshd behind which DOCKER_HOST is as told, and give its ssh:// URL; `manage` has the key for it."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("ssh-keygen") is None or os.geteuid() != 0:
        cannot_run("ssh is tested with an sshd of its own, as root, with openssh-server installed")
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd's unprivileged half lives
    folder = manage.folder / "ssh"
    folder.mkdir()
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    started: list[subprocess.Popen[str]] = []

    def start(docker_host: str) -> str:
        port = next(filter(None, (listening(docker_host) for _ in range(5))))
        use_key(manage, "user")
        return f"ssh://{getpass.getuser()}@127.0.0.1:{port}"

    def listening(docker_host: str) -> int:
        """Return the port of a new sshd; 0 where another process has taken it meanwhile."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSetEnv DOCKER_HOST={docker_host} PATH={os.environ['PATH']}\n"
        )
        known = (folder / "host.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(known)}\n")
        server = subprocess.Popen(
            [str(sshd), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE, text=True
        )
        started.append(server)
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(line)
            if "listening on" in line:
                return port
        assert "Address already in use" in "".join(said), said
        return 0

    yield start
    for server in started:
        server.kill()
        server.communicate()


def use_key(manage: Manage, name: str) -> None:
    """Let `ssh` on the tool's PATH have this key, and nothing of the person's own: ssh does not look at HOME."""
    folder = manage.folder / "ssh"
    wrapper = manage.write(
        "bin/ssh",
        f"#!/bin/sh\nexec {shutil.which('ssh')} -F none -o IdentityFile={folder}/{name} -o IdentitiesOnly=yes"
        f' -o UserKnownHostsFile={folder}/known_hosts -o BatchMode=yes "$@"\n',
    )
    wrapper.chmod(0o755)
    manage.env["PATH"] = f"{wrapper.parent}:{os.environ['PATH']}"


@pytest.mark.engine
def test_secrets_are_made_listed_and_read_back_over_ssh(
    swarm: PrivateSwarm, manage: Manage, far: Far, canary: Canary, busybox: str, seal: list[str]
) -> None:
    """Many calls at once, and the hijacked connections of `exec`, which carry values byte for byte."""
    values = {f"key{number}": canary().encode() for number in range(6)} | {"binary": bytes(range(256))}
    for name, value in values.items():
        manage.write(f"secrets/{name}", value)
    manage.env["DOCKER_HOST"] = far(swarm.host)

    assert {item["state"] for item in manage.json("create-swarm")["secrets"]} == {"created"}
    assert {item["state"] for item in manage.json("create-swarm")["secrets"]} == {"unchanged"}
    assert len(swarm.docker("secret", "ls", "-q").split()) == len(values)
    assert {item["key"] for item in manage.json("list")["keys"] if item["swarm"]} == {name.upper() for name in values}
    shutil.rmtree(manage.folder / "secrets")
    assert manage("export", "--from-swarm", *seal).code == 0
    assert manage("import", "backup.age", "--identity", "key.txt").code == 0
    assert {name: data.rstrip(b"\n") for name, data in manage.secrets().items()} == values


@pytest.mark.engine
def test_a_far_engine_that_goes_away_in_mid_run_ends_with_111(
    swarm: PrivateSwarm, manage: Manage, far: Far, canary: Canary
) -> None:
    for number in range(4):
        manage.write(f"secrets/key{number}", canary())
    meddler = Meddler(swarm, lambda number: "drop" if number > 2 else "pass")
    end = manage("create-swarm", env={"DOCKER_HOST": far(meddler.host)})
    meddler.close()

    assert end.code == 111
    assert "does not answer" in end.stderr
    assert "run the same command again" in end.stderr
    assert manage("create-swarm", env={"DOCKER_HOST": far(swarm.host)}).code == 0
    assert len(swarm.docker("secret", "ls", "-q").split()) == 4


def test_what_ssh_says_is_said(manage: Manage, far: Far, canary: Canary) -> None:
    """Nobody there, a key that is not taken, a host that is not known, no engine behind it, no ssh at all."""
    manage.write("secrets/a", canary())
    place = far(f"unix://{manage.folder}/none.sock")
    nobody = place.rpartition(":")[0] + ":1"

    def said(place: str) -> str:
        end = manage("create-swarm", env={"DOCKER_HOST": place})
        assert end.code == 111
        assert f"no engine answers at {place}" in end.stderr
        return end.stderr

    assert "Connection refused" in said(nobody)
    assert "none.sock" in said(place)
    use_key(manage, "stranger")
    assert "Permission denied" in said(place)
    use_key(manage, "user")
    (manage.folder / "ssh/known_hosts").write_text("")
    assert "Host key verification failed" in said(place)
    manage.env["PATH"] = str(manage.folder)
    assert "the program ssh cannot be started" in said(place)


def test_the_url_becomes_the_command_that_docker_would_run() -> None:
    start = ["ssh", "-T", "-o", "ConnectTimeout=30"]
    assert command("ssh://host") == [*start, "--", "host", "docker system dial-stdio"]
    assert command("ssh://me@[::1]:22") == [*start, "-l", "me", "-p", "22", "--", "::1", "docker system dial-stdio"]
    assert command("ssh://h/run/my%20sock")[-1] == "docker --host 'unix:///run/my sock' system dial-stdio"


@pytest.mark.parametrize("place", ["ssh://", "ssh://-oProxyCommand=x", "ssh://h:port", "ssh://-lx@h", "ssh://h?x"])
def test_an_url_that_ssh_would_misread_is_refused(place: str) -> None:
    with pytest.raises(Refused):
        command(place)


def test_a_password_in_the_url_is_refused_and_not_said(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())

    end = manage("create-swarm", env={"DOCKER_HOST": f"ssh://me:{canary()}@host"})

    assert end.code == 1
    assert "password" in end.stderr
