"""The reference stack in a folder of a test's own, with a value for each of its secrets that must show up nowhere."""

import contextlib
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from shim_host.generate import can_be_made, new_value

from shim.schema import parse
from shim.secret import Secret
from tests.support.engine import ROOT, SHIM, UGLY, Engine, shim_image

SCHEMA = parse((ROOT / ".env.schema").read_bytes())
BASES = {"postgres": "postgres", "app-python": "python", "backend-node": "node"}
IMAGES = tuple(BASES)
LOGIN = {"db_user", "db_password"}
# What each service must find in /run/secrets, and nothing else.
SECRETS_OF = {
    "postgres": {"postgres_password"},
    "database-login": {"postgres_password", *LOGIN},
    "strict-api": LOGIN,
    "feed": {"the_odds_api_key", "api_basketball_key"},
    "odds-ingestion": {*LOGIN, "the_odds_api_key"},
    "schedule-poller": {*LOGIN, "api_basketball_key"},
    "line-movement-analyzer": LOGIN,
    "prediction-service": LOGIN,
    "backend": {"supabase_url", "jwt_secret", "anon_key", "service_role_key", "encryption_key"},
}
PYTHON_SERVICES = set(SECRETS_OF) - {"postgres", "backend"}
NAMES = sorted(set().union(*SECRETS_OF.values()))


def values() -> dict[str, str]:
    """Return a value for each key of the schema that a file can hold, as its type wants it; the file's name leads."""
    made: dict[str, Secret] = {}
    for key, spec in SCHEMA.keys.items():
        if spec.composed is not None or spec.default:
            continue
        if key == "DB_USER":
            made[key] = Secret(b"app_a")
        elif key.endswith("_URL"):
            made[key] = Secret(b"https://c4n4ry-project.example.org")
        elif spec.type is not None and can_be_made(spec) and spec.type.name != "string":
            made[key] = new_value(spec, made)
        else:
            made[key] = Secret(f"{key.lower()} {UGLY}".encode())
    return {key.lower(): value.reveal().decode() for key, value in made.items()}


def canaries(secrets: dict[str, str]) -> list[str]:
    """Return the values that must show up nowhere: all but the name of the login, which the database may say."""
    return [value for name, value in secrets.items() if name != "db_user"]


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@cache
def built_images(engine: Engine) -> str:
    """Return the tag of the stack's images, built from this checkout: of this run alone, whoever else builds some."""
    for name, base in BASES.items():
        arguments = ("--build-arg", f"SHIM_IMAGE={shim_image(engine)}", "--build-arg", f"BASE={engine.base(base)}")
        tag = f"docker-secrets-shim/{name}:{engine.run_name}"
        dockerfile = ROOT / "images" / name / "Dockerfile"
        engine.docker("build", "--quiet", "--file", dockerfile, *arguments, "--tag", tag, ROOT, timeout=600)
    return engine.run_name


def remove_images(engine: Engine) -> None:
    """Remove what `built_images` made."""
    built_images.cache_clear()
    engine.docker("rmi", *(f"docker-secrets-shim/{name}:{engine.run_name}" for name in IMAGES), check=False)


class Stack:
    """`docker compose` on a copy of the repository's stack files, under a project name and ports of its own."""

    def __init__(self, engine: Engine, folder: Path, project: str, secrets: dict[str, str]) -> None:
        self.engine = engine
        self.folder = folder
        self.secrets = secrets
        self.port = free_port()
        self.backend_port = free_port()
        self.environ = {
            "COMPOSE_PROJECT_NAME": f"{engine.run_name}-{project}",
            "STRICT_API_PORT": str(self.port),
            "BACKEND_PORT": str(self.backend_port),
            "TAG": built_images(engine),
            "HEALTH_INTERVAL": "2s",
        }
        for name in ("docker-compose.yml", "docker-compose.optional.yml"):
            shutil.copy(ROOT / name, folder)
        (folder / "secrets").mkdir(mode=0o700)
        for file_name, value in secrets.items():
            file = folder / "secrets" / file_name
            file.touch(mode=0o600)
            file.write_text(value + "\n", encoding="utf-8")

    def __call__(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `docker compose ARGV` in the folder."""
        environ = {**self.environ, **options.pop("environ", {})}
        return self.engine.docker("compose", "--project-directory", self.folder, *argv, environ=environ, **options)

    def up(self, *services: str, files: tuple[str, ...] = (), **options: Any) -> None:
        """Start *services*, or all, from images made before, and wait until they are healthy."""
        chosen = [word for file in files for word in ("--file", str(self.folder / file))]
        self(*chosen, "up", "--no-build", "--detach", "--wait", *services, timeout=240, **options)

    def down(self) -> None:
        """Remove all of it."""
        self("down", "--volumes", "--timeout", "1")

    def containers(self) -> dict[str, str]:
        """Return the container of each service."""
        lines = self("ps", "--all", "--format", "{{.Service}} {{.ID}}").stdout.splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    def get(self, port: int, path: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> Any:
        """Return the JSON that a published port answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {}, data=data)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def ask(self, service: str, address: str) -> tuple[int, str]:
        """Return status and text of what *address* answers to somebody inside *service*, a Python one."""
        with self.about_to_ask(service, address) as ask:
            return ask()

    @contextlib.contextmanager
    def about_to_ask(self, service: str, address: str) -> Iterator[Callable[[], tuple[int, str]]]:
        """Give what asks without delay, however long a process takes to start."""
        program = (
            "import sys, urllib.request, urllib.error\n"
            "print('ready', flush=True); sys.stdin.read()\n"
            "try: answer = urllib.request.urlopen(sys.argv[1], timeout=10)\n"
            "except urllib.error.HTTPError as error: answer = error\n"
            "print(answer.status, answer.read().decode())"
        )
        inside = ("docker", "exec", "--interactive", self.containers()[service], SHIM, "exec", "--")
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*inside, "python3", "-c", program, address],
            env=self.engine.environ,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            encoding="utf-8",
        ) as asker:

            def ask() -> tuple[int, str]:
                said, error = asker.communicate(timeout=60)
                assert asker.returncode == 0, error
                status, _, text = said.partition(" ")
                return int(status), text

            assert asker.stdout is not None
            try:
                assert asker.stdout.readline() == "ready\n"
                yield ask
            finally:
                asker.kill()
