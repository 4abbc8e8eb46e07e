"""Time what reads a running Swarm, beside the bare engine asked for the same, in turns, on a Swarm of its own.

    .venv/bin/python tests/bench/read_swarm.py [--services 20] [--keys 5] [--values 300] [--rounds 3]

`diff` and `audit` ask the shim in each container; the bare engine runs the same program there, several at a time.
`export --from-swarm` reads values back; the bare engine runs one `cat` for each in a task that has them, several at a
time. The ratios travel between machines; seconds do not. Needs root, dockerd, docker, busybox and the shim's binary.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.bench.rotate_swarm import client, mount, run
from tests.support.host import ROOT, PrivateSwarm, unmount

THREADS = 8


def main() -> None:
    """Measure in turns, and print the minima and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("services", 20), ("keys", 5), ("values", 300), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))  # a socket's path is short
    swarm = PrivateSwarm(folder)
    taken: dict[str, list[float]] = {}
    try:
        prepare(swarm, folder, options.services, options.keys, options.values)
        helper = reader(swarm, options.values)
        ways: dict[str, Callable[[], object]] = {
            "engine: the shim in each": lambda: in_each(swarm),
            "diff": lambda: run(
                swarm, folder, "diff", code=1
            ),  # no service mounts some keys, and the folder does not have those
            "audit": lambda: run(swarm, folder, "audit", "--fail-on", "error"),
            "engine: a cat for each": lambda: cat_each(swarm, helper, options.values),
            "export --from-swarm": lambda: export(swarm, folder),
        }
        for _ in range(options.rounds):
            for name, work in ways.items():
                begin = time.monotonic()
                work()
                taken.setdefault(name, []).append(time.monotonic() - begin)
    finally:
        swarm.stop()
        unmount(folder)
    best = {name: min(rounds) for name, rounds in taken.items()}
    bare = 0.0
    for name, took in best.items():
        bare = took if name.startswith("engine") else bare
        sys.stdout.write(f"{name:25} {took:6.2f} s  {took / bare:5.2f} of the engine's time\n")


def prepare(swarm: PrivateSwarm, folder: Path, services: int, keys: int, values: int) -> None:
    """Make the secrets, those of the services with their files, and start the services."""
    (folder / "secrets").mkdir(0o700)
    for number in range(values):
        path = folder / "secrets" / f"key_{number}"
        path.write_text(f"value of number {number}")
        path.chmod(0o600)
    run(swarm, folder, "create-swarm")
    for number in range(keys, values):
        (folder / "secrets" / f"key_{number}").unlink()
    built = subprocess.run([ROOT / "scripts" / "shim-binary"], capture_output=True, text=True, check=True).stdout
    image = swarm.image_with_shim(Path(built.splitlines()[-1]))
    secrets = [f"--secret=source=key_{number}.v1,target=key_{number},mode=0400" for number in range(keys)]
    for number in range(services):
        words = ("--detach", "--no-resolve-image", "--name", f"s{number}")
        swarm.docker("service", "create", *words, *secrets, image, "/opt/shim/shim", "--", "/busybox", "sleep", "1d")
    wait_for(swarm, services)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(str(shutil.which("busybox")), "bin/busybox")
        for name in ("cat", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    swarm.docker("import", "-", "busybox:latest", stdin=data.getvalue())
    (folder / "passphrase").write_text("correct horse battery staple\n")
    (folder / "passphrase").chmod(0o600)


def wait_for(swarm: PrivateSwarm, count: int) -> None:
    """Wait until *count* containers run."""
    while len(swarm.docker("ps", "--quiet").split()) < count:
        time.sleep(0.2)  # the engine has no event for a task


def reader(swarm: PrivateSwarm, values: int) -> str:
    """Return the container of a task that mounts all values, as the helper task of `export` does."""
    before = len(swarm.docker("ps", "--quiet").split())
    api = client(swarm)
    ids = {secret["Spec"]["Name"]: secret["ID"] for secret in api.secrets()}
    mounts = [mount(ids[f"key_{number}.v1"], f"key_{number}.v1", f"key_{number}") for number in range(values)]
    container = {"Image": "busybox:latest", "Command": ["sleep", "100000"], "Secrets": mounts}
    api.create_service({"ContainerSpec": container}, name="reader")
    wait_for(swarm, before + 1)
    return swarm.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=reader").split()[0]


def in_each(swarm: PrivateSwarm) -> None:
    """Run the shim's `explain` in every container, as bare as it can be."""
    api = client(swarm)

    def one(container: dict[str, str]) -> None:
        job = api.exec_create(container["Id"], ["/opt/shim/shim", "explain", "--json"])
        api.exec_start(job["Id"])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, api.containers(filters={"name": "^/s[0-9]"})))


def cat_each(swarm: PrivateSwarm, container: str, values: int) -> None:
    """Run one `cat` a value."""
    api = client(swarm)

    def one(number: int) -> None:
        api.exec_start(api.exec_create(container, ["cat", f"/run/secrets/key_{number}"])["Id"])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(values)))


def export(swarm: PrivateSwarm, folder: Path) -> None:
    """Read every value back into an encrypted backup."""
    seal = ("--encryption", "age", "--passphrase-file", "passphrase", "--output", "backup.age", "--force", "--yes")
    run(swarm, folder, "export", "--from-swarm", *seal)


if __name__ == "__main__":
    main()
