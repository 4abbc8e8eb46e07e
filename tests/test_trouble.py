"""Something outside fails: each command that changes something ends with 111 and the reason, and leaves whole files.

And one that ends: killed before any change of the file system, or at any call to the engine, the next run completes.
"""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from tests.support.forms import cannot_run
from tests.support.host import SCRIPT, Canary, Manage, Meddler, PrivateSwarm

SCHEMA = """\
# @sensitive
A=

# @sensitive @generate
JWT_SECRET=

# @sensitive @type=jwt(signedBy=JWT_SECRET, role=anon)
ANON_KEY=

# @sensitive @generate
SESSION_KEY=
"""
COMPOSE = "services: {one: {image: app, environment: [TOKEN]}}\n"
IMAGES = '{"app": {"Config": {"Entrypoint": null, "Cmd": ["serve"]}}}'
COMMANDS = {
    "create-from-env": "create-from-env --all",
    "generate": "generate",
    "validate": "validate --fix",
    "import": "import backup.age --identity key.txt",
    "export": "export --no-swarm --output other.age --force --yes --recipient",
    "migrate": "migrate --image-config images.json --yes",
}


class Disk:
    """A small file system with a project on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> str:
        """Leave no room; return what the system says then."""
        with open(self.folder / "filler", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            file.writelines(itertools.repeat(bytes(4096)))
        return "No space left on device"

    def lock(self) -> str:
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)
        return "Read-only file system"

    def take_away(self) -> str:
        """Give everything to somebody else; root without its capabilities is nobody special."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, 12345, 12345)
            path.chmod(0o755 if path.is_dir() else 0o644)
        return "not permitted|Permission denied"

    def tree(self) -> dict[str, bytes]:
        """Return every file with its bytes."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name != "filler"]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def disk(manage: Manage, canary: Canary) -> Iterator[Disk]:
    """Return a disk of its own, on which `manage` works, with something to do for every command."""
    folder = manage.folder / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("setpriv") is None or subprocess.run(command, check=False).returncode:
        cannot_run("a disk is made by root, who may mount, and has setpriv")
    manage.folder = folder
    manage.env |= {"DOCKER_HOST": f"unix://{folder}/none.sock", "PATH": "/nowhere"}
    identity = pyrage.x25519.Identity.generate()
    manage.write("key.txt", str(identity)).chmod(0o600)
    for name, content in (("secrets/b", f"{canary()}\r\n"), ("docker-compose.yml", COMPOSE), ("images.json", IMAGES)):
        manage.write(name, content)
    manage.write(".env.schema", SCHEMA)
    manage.write(".env", f"TOKEN={canary()}\n")
    recipient = str(identity.to_public())
    assert manage("export", "--no-swarm", "-o", "backup.age", "-r", recipient).code == 0
    (folder / "secrets/b").unlink()
    manage.write("secrets/c", f"{canary()}\r\n")
    manage.env["RECIPIENT"] = recipient
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("trouble", ["fill", "lock", "take_away"])
def test_a_disk_that_refuses_ends_with_111_and_changes_nothing(
    manage: Manage, disk: Disk, command: str, trouble: str
) -> None:
    """Full, read-only, somebody else's: said with the file's name, and no half file stays."""
    words = [*COMMANDS[command].split(), *([manage.env["RECIPIENT"]] if command == "export" else [])]
    expected = getattr(disk, trouble)()
    before = disk.tree()
    through = [str(shutil.which("setpriv")), "--bounding-set=-all", "--inh-caps=-all"] if trouble == "take_away" else []

    end = manage(*words, through=through)

    assert end.code == 111, end
    assert any(word in end.stderr for word in expected.split("|")), end.stderr
    assert "error: cannot " in end.stderr
    assert disk.tree() == before


def test_what_validate_found_is_said_although_it_could_not_be_repaired(manage: Manage, disk: Disk) -> None:
    disk.lock()

    end = manage("validate", "--fix")

    assert end.code == 111
    assert "* encoding: C" in end.stdout
    assert "Read-only file system" in end.stderr


def test_generate_killed_before_any_change_is_completed_by_the_next_run(manage: Manage) -> None:
    """Every file is whole, what was made stays, and a token is signed with the key that is there."""
    manage.write(".env.schema", SCHEMA)
    for dies_at in range(1, 100):
        shutil.rmtree(manage.folder / "secrets", ignore_errors=True)
        end = manage("generate", dies_at=dies_at)
        if end.code == 0:
            break
        assert end.code == -9, end
        there = {} if not (manage.folder / "secrets").exists() else manage.secrets()
        whole = {name: value for name, value in there.items() if not name.startswith(".")}
        assert all(whole.values())
        if dies_at % 3 == 0:
            assert manage("generate").code == 0
            made = manage.secrets()
            assert list(made) == ["anon_key", "jwt_secret", "session_key"]
            assert whole.items() <= made.items()
            assert is_signed(made["anon_key"], made["jwt_secret"])
    else:
        pytest.fail("the run never came to its end")
    assert dies_at > 15, "the loop killed it too rarely to mean anything"


def is_signed(token: bytes, key: bytes) -> bool:
    import base64
    import hashlib
    import hmac

    signed, _, signature = token.rpartition(b".")
    return base64.urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).rstrip(b"=") == signature


def test_a_key_and_what_it_signs_are_made_in_order_however_they_are_named(manage: Manage) -> None:
    manage.write(".env.schema", SCHEMA)
    assert manage("generate").code == 0
    before = manage.secrets()

    end = manage("generate", "ANON_KEY", "JWT_SECRET", "--force", "--yes")

    made = manage.secrets()
    assert end.code == 0
    assert not {*made.values()} & {before["jwt_secret"], before["anon_key"]}
    assert is_signed(made["anon_key"], made["jwt_secret"])
    assert "warning" not in end.stderr
    assert "ANON_KEY stays signed with the JWT_SECRET" in manage("generate", "JWT_SECRET", "--force", "--yes").stderr


def test_validate_killed_before_any_repair_is_completed_by_the_next_run(manage: Manage, canary: Canary) -> None:
    values = {"a": canary(), "b": canary()}
    raw = {"a": f"{values['a']}\r\n".encode(), "b": f"\ufeff{values['b']}".encode()}
    subprocess.run(["git", "init", "-q"], cwd=manage.folder, check=True)
    for dies_at in range(1, 300):
        manage.write(".gitignore", "x\n")
        shutil.rmtree(manage.folder / "secrets", ignore_errors=True)
        for name, value in raw.items():
            manage.write(f"secrets/{name}", value).chmod(0o644)
        (manage.folder / "secrets").chmod(0o755)
        end = manage("validate", "--fix", dies_at=dies_at)
        if end.code == 0:
            break
        assert end.code == -9, end
        there = {name: value for name, value in manage.secrets().items() if not name.startswith(".")}
        assert set(there) == {"a", "b"}
        assert all(there[name] in (raw[name], values[name].encode()) for name in raw)
        assert manage.folder.joinpath(".gitignore").read_text().startswith("x\n")
        if dies_at % 3 == 0:
            assert manage("validate", "--fix").code == 0
            assert manage.secrets() == {name: value.encode() for name, value in values.items()}
            assert {path.stat().st_mode & 0o777 for path in (manage.folder / "secrets").iterdir()} == {0o600}
    else:
        pytest.fail("the run never came to its end")
    assert dies_at > 15, "the loop killed it too rarely to mean anything"
    assert not (manage.folder / ".gitignore.new").exists()


@pytest.mark.engine
@pytest.mark.parametrize("fate", ["kill", "drop", "lose", "500"])
def test_prune_interrupted_at_every_call_is_completed_by_the_next_run(
    swarm: PrivateSwarm, manage: Manage, fate: str
) -> None:
    for fatal in range(1, 5):
        swarm.empty()
        make_versions(swarm, 4)
        meddler = Meddler(swarm, lambda number, fatal=fatal: fate if number >= fatal else "pass")  # type: ignore[misc]
        meddler.victim = subprocess.Popen(
            [sys.executable, SCRIPT, "prune", "--yes", "--keep", "1"],
            cwd=manage.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(manage.folder), "DOCKER_HOST": meddler.host},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ended = meddler.victim.wait(60)
        meddler.close()
        if fatal == 4:
            assert ended == 0, "there are three to remove"
        else:
            assert ended == (-9 if fate == "kill" else 111)
        assert "a.v4" in names(swarm)
        assert manage("prune", "--yes", "--keep", "1").code == 0
        assert names(swarm) == ["a.v4"]


def make_versions(swarm: PrivateSwarm, count: int) -> None:
    for version in range(1, count + 1):
        labels = ("--label", "docker-secrets-shim.key=A", "--label", f"docker-secrets-shim.version={version}")
        swarm.docker("secret", "create", *labels, f"a.v{version}", "-", stdin=b"x")


def names(swarm: PrivateSwarm) -> list[str]:
    return sorted(swarm.docker("secret", "ls", "--format", "{{.Name}}").split())


ENGINE_COMMANDS = {
    "create-swarm": "create-swarm",
    "prune": "prune --yes --keep 1",
    "export": "export --from-swarm --image busybox --output backup.age --recipient",
}
TROUBLES: dict[str, tuple[Callable[[int], str], str]] = {
    "no manager": (lambda _number: "503", "is not a Swarm manager"),
    "no leader": (lambda _number: "500", "choosing a leader"),
    "gone at once": (lambda _number: "drop", "does not answer"),
    "gone in mid-run": (lambda number: "drop" if number > 1 else "pass", "does not answer"),
    "does not answer": (lambda number: "hang" if number > 1 else "pass", "does not answer"),
}


@pytest.mark.engine
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("command", ENGINE_COMMANDS)
def test_an_engine_in_trouble_ends_with_111(
    swarm: PrivateSwarm, manage: Manage, canary: Canary, busybox: str, command: str, trouble: str
) -> None:
    make_versions(swarm, 3)
    manage.write("secrets/b", canary())
    meddle, said = TROUBLES[trouble]
    meddler = Meddler(swarm, meddle, reads=True)
    words = ENGINE_COMMANDS[command].split()
    if command == "export":
        words.append(str(pyrage.x25519.Identity.generate().to_public()))

    end = manage(*words, env={"DOCKER_HOST": meddler.host, "DOCKER_CLIENT_TIMEOUT": "2"})

    meddler.close()
    assert end.code == 111, end
    assert said in end.stderr
    assert "hint: " in end.stderr
    assert not (manage.folder / "backup.age").exists()


# What engines answer where they manage no Swarm, and what is made of it.
NO_MANAGERS = {
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join"': "is not in a Swarm",
    "This node is not a swarm manager. Worker nodes can't be used to view or modify": "is a worker of its Swarm",
    "This node is not a swarm manager. Manager is being prepared or has trouble": "has no connection to its Swarm",
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock"': "is locked",
}


@pytest.mark.engine
def test_why_an_engine_manages_no_swarm(swarm: PrivateSwarm, manage: Manage) -> None:
    for words, meaning in NO_MANAGERS.items():
        answer = f"503 {words}"
        meddler = Meddler(swarm, lambda _number: answer, reads=True)  # noqa: B023  (closed within the turn)
        end = manage("prune", env={"DOCKER_HOST": meddler.host})
        is_alone = meaning == "is not in a Swarm"
        listed = manage("list", env={"DOCKER_HOST": meddler.host})
        if is_alone:
            assert meaning in manage("list", "--stack", "shop", env={"DOCKER_HOST": meddler.host}).stderr
        meddler.close()
        assert end.code == 111
        assert meaning in end.stderr
        assert "hint: " in end.stderr
        # Who uses Compose alone need not hear each time that there is no Swarm.
        assert (listed.code, meaning in listed.stderr) == ((0, False) if is_alone else (111, True)), listed


def test_the_time_an_engine_gets_is_a_number(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())

    end = manage("create-swarm", env={"DOCKER_CLIENT_TIMEOUT": "soon"})

    assert end.code == 1
    assert "DOCKER_CLIENT_TIMEOUT" in end.stderr
