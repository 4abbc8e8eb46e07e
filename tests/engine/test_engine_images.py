"""The frozen binary in every kind of image: without a libc, with another, with an old one, with less and less allowed.

Each container mounts the binary and a secrets folder, and its service says what it was given: a hash where it can,
so that the value itself is nowhere.
"""

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.engine import SHIM, UGLY, Engine, SecretsFolder, Start

pytestmark = [pytest.mark.engine, pytest.mark.frozen]

UNMOUNT = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined")
HASH = ("sh", "-c", 'printf %s "$DB_PASSWORD" | sha256sum | cut -d " " -f 1')
# A service that is a shell and nothing else: no further process, so it fits where one process is the limit.
COMPARE = ("sh", "-c", 'IFS= read -r given </run/secrets/db_password; [ "$DB_PASSWORD" = "$given" ] && echo same')
RESTRICTIONS = {
    "a read-only root": ("--read-only",),
    "another user": ("--user", "65534:65534"),
    "no capabilities, no new privileges": ("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    "6 MiB and one process": ("--memory", "6m", "--memory-swap", "6m", "--pids-limit", "1"),
    "no network": ("--network", "none"),
    "all of these": (
        *("--read-only", "--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--memory", "6m", "--memory-swap", "6m", "--pids-limit", "1", "--network", "none"),
    ),
}


@pytest.fixture(name="options")
def _options(shim_image: str, engine: Engine, secrets_folder: SecretsFolder, tmp_path: Path) -> tuple[str | Path, ...]:
    """Give the options that bring the binary and one secret into any image."""
    secrets_folder.add("db_password", UGLY)
    binary = tmp_path / "shim"
    container = engine.docker("create", shim_image).stdout.strip()
    engine.docker("cp", f"{container}:{SHIM}", binary)
    engine.docker("rm", container)
    return (*secrets_folder.mount, "--volume", f"{binary}:{SHIM}:ro", "--entrypoint", SHIM)


def test_nothing_else_is_needed(engine: Engine, shim_image: str, secrets_folder: SecretsFolder) -> None:
    """In an image of the binary alone, the shim starts a service: itself, which explains where its secret came from."""
    secrets_folder.add("db_password", UGLY)

    end = engine.run(shim_image, "--", SHIM, "explain", "--json", options=secrets_folder.mount)

    assert (end.code, end.stderr) == (0, "")
    assert "DB_PASSWORD" in json.dumps(json.loads(end.stdout))


@pytest.mark.parametrize("image", ["busybox", "bullseye", "bookworm", "python", "node"])
def test_the_service_gets_its_secret(engine: Engine, options: tuple[str | Path, ...], image: str) -> None:
    """A service gets the value, byte for byte: with a static libc, an older glibc, this one's."""
    end = engine.run(engine.base(image), "--require", "DB_PASSWORD", "--", *HASH, options=options)

    assert end == (0, hashlib.sha256(UGLY.encode()).hexdigest() + "\n", "")


def test_an_image_with_musl_alone(engine: Engine, options: tuple[str | Path, ...]) -> None:
    """A service that only musl's loader can load gets its secret, and is PID 1."""
    end = engine.run(engine.base("musl"), "--", "show", options=options)

    assert end.code == 0
    assert {"pid 1", f"DB_PASSWORD={UGLY}"} <= set(end.stdout.splitlines())
    assert end.stderr == ""


def test_a_foreign_loader_is_left_to_the_service(engine: Engine, options: tuple[str | Path, ...]) -> None:
    """LD_PRELOAD and LD_LIBRARY_PATH of the image do not reach the shim, and reach the service unchanged."""
    hostile = ("--env", "LD_PRELOAD=/lib/ld-musl-x86_64.so.1", "--env", "LD_LIBRARY_PATH=/lib:/usr/lib")
    end = engine.run(
        engine.base("busybox"), "--", "sh", "-c", "echo $LD_PRELOAD $LD_LIBRARY_PATH", options=(*options, *hostile)
    )

    assert end == (0, "/lib/ld-musl-x86_64.so.1 /lib:/usr/lib\n", "")


@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_it_runs_with(
    engine: Engine, options: tuple[str | Path, ...], secrets_folder: SecretsFolder, restriction: str
) -> None:
    """Whatever is taken away, the service starts with its secret."""
    (secrets_folder.path / "db_password").chmod(0o444)

    end = engine.run(engine.base("busybox"), "--", *COMPARE, options=(*options, *RESTRICTIONS[restriction]))

    assert end == (0, "same\n", "")


def test_it_runs_without_proc(engine: Engine, options: tuple[str | Path, ...]) -> None:
    """Without /proc the service starts with its secret."""
    script = f"umount -l /proc && [ ! -e /proc/self ] && exec {SHIM} -- " + " ".join(f"'{word}'" for word in COMPARE)
    end = engine.run(engine.base("busybox"), "-c", script, options=(*options, *UNMOUNT, "--entrypoint", "sh"))

    assert end == (0, "same\n", "")


def test_a_secret_that_only_root_may_read(engine: Engine, options: tuple[str | Path, ...]) -> None:
    """`--user` reads root's secret first and then becomes the user; nothing else would let that user have it."""
    script = (
        'id -u; id -G; cat /run/secrets/db_password 2>/dev/null || echo closed; [ -n "$DB_PASSWORD" ] && echo given'
    )
    end = engine.run(engine.base("busybox"), "--user", "nobody", "--", "sh", "-c", script, options=options)

    assert end == (0, "65534\n65534\nclosed\ngiven\n", "")


def test_a_user_that_the_platform_chose(
    engine: Engine, options: tuple[str | Path, ...], secrets_folder: SecretsFolder
) -> None:
    """OpenShift's way: a uid that no file knows, gid 0, nothing allowed; SHIM_USER does not keep it from starting."""
    (secrets_folder.path / "db_password").chmod(0o440)
    chosen = ("--user", "1000680000:0", "--env", "SHIM_USER=nobody", "--read-only", "--cap-drop", "ALL")

    end = engine.run(
        *(engine.base("busybox"), "--", "sh", "-c", 'id -u; [ -n "$DB_PASSWORD" ] && echo given'),
        options=(*options, *chosen, "--security-opt", "no-new-privileges"),
    )

    assert (end.code, end.stdout) == (0, "1000680000\ngiven\n")
    assert "shim: warning: " in end.stderr


def test_a_container_user_that_may_not_read_is_told_so(engine: Engine, options: tuple[str | Path, ...]) -> None:
    """A secret that cannot be read is never called missing: 111, with the way out."""
    end = engine.run(
        engine.base("busybox"), "--require", "DB_PASSWORD", "--", "true", options=(*options, "--user", "65534:65534")
    )

    assert end.code == 111
    assert "permission denied" in end.stderr.lower()
    assert "--user" in end.stderr
    assert UGLY not in end.stderr


def test_the_service_is_pid_1_and_stops_at_once(engine: Engine, options: tuple[str | Path, ...], start: Start) -> None:
    """PID 1 is the service, the stop signal reaches it, and its exit code is the container's."""
    script = "trap 'exit 7' TERM; echo ready; while :; do read -r line <>/tmp/never; done"
    setup = "mkfifo /tmp/never; exec " + f'{SHIM} -- sh -c "$0"'
    container = start(engine.base("busybox"), "-c", setup, script, options=(*options, "--entrypoint", "sh"))
    engine.wait_for_log(container, "^ready")

    assert engine.main_program(container) == "sh"
    code, seconds = engine.stop(container)
    assert code == 7
    assert seconds < 20  # the engine would kill after 30


def test_exec_sees_what_the_service_sees(engine: Engine, options: tuple[str | Path, ...], start: Start) -> None:
    """`docker exec` through the shim has the secrets that PID 1 has; without it, it has none.

    A container that joins the processes of another one sees its PID 1, and has options of its own all the same.
    """
    image = engine.base("busybox")
    container = start(image, "--init", "--only", "DB_PASSWORD", "--", "sleep", "300", options=options)
    beside = ("exec", "--", "sh", "-c", "echo ${DB_PASSWORD+set}")
    others = (*options, "--pid", f"container:{container}", "--env", "SHIM_ONLY=OTHER")

    assert engine.exec(container, *HASH) == (0, hashlib.sha256(UGLY.encode()).hexdigest() + "\n", "")
    assert engine.docker("exec", container, "sh", "-c", "echo ${DB_PASSWORD-unset}").stdout == "unset\n"
    assert engine.docker("exec", "--env", "SHIM_ONLY=OTHER", container, SHIM, *beside).stdout == "set\n"
    assert engine.run(image, *beside, options=others) == (0, "\n", "")
    assert engine.run(image, *beside, options=(*others, "--cap-add", "SYS_PTRACE")) == (0, "\n", "")


def test_a_missing_secret_stops_the_start(engine: Engine, options: tuple[str | Path, ...]) -> None:
    """What is missing is said all at once, and the container ends with 100: nothing to retry."""
    end = engine.run(engine.base("busybox"), "--require", "API_KEY,OTHER_KEY", "--", "true", options=options)

    assert end.code == 100
    assert "API_KEY is required" in end.stderr
    assert "OTHER_KEY is required" in end.stderr
    assert "/run/secrets/api_key" in end.stderr


def test_install_makes_the_shim_available_to_other_containers(
    engine: Engine, options: tuple[str | Path, ...], tmp_path: Path
) -> None:
    """An init container installs the shim into a volume; a service in another image starts with it."""
    shared = tmp_path / "shared"
    shared.mkdir()
    done = engine.run(engine.base("busybox"), "install", "/shared", options=(*options, "--volume", f"{shared}:/shared"))
    assert (done.code, done.stderr) == (0, "")

    volume = ("--volume", f"{shared}:/opt/shim:ro", "--volume", f"{tmp_path}/secrets:/run/secrets:ro")
    end = engine.run(engine.base("bullseye"), SHIM, "--", *COMPARE, options=volume)

    assert end == (0, "same\n", "")
