"""Made-up facts for audits: a small stack, a large one, and one in which nothing is wrong."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shim_host.audit.model import AuditedMount, AuditedService, Container, Facts, File, Image, Key, Trace, Version

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def version(key: str, number: int = 1, days: float = 10, *, is_ours: bool = True, stack: str = "") -> Version:
    """Return version *number* of *key*, *days* old."""
    base = key.lower()
    created = NOW - timedelta(days=days)
    name = f"{base}.v{number}" if is_ours else base
    return Version(f"id-{name}", name, key, number, created, f"print-{number}", "salt", stack, is_ours)


def mounted(*versions: Version, mode: int = 0o400) -> tuple[AuditedMount, ...]:
    """Return the mounts of *versions*."""
    return tuple(AuditedMount(item.id, item.key.lower(), mode=mode) for item in versions)


def service(name: str, *versions: Version, **more: object) -> AuditedService:
    """Return a service of the Swarm that mounts *versions*."""
    return replace(AuditedService(name, "swarm", name, mounts=mounted(*versions)), **more)  # type: ignore[arg-type]


def file(key: str, days: float = 10, mode: int = 0o600) -> File:
    """Return the file of *key*."""
    name = key.lower()
    return File(key, name, f"secrets/{name}", mode, "deploy", "deploy", NOW - timedelta(days=days), "print-1")


def clean() -> Facts:
    """Return facts in which nothing is wrong."""
    password, token = version("DB_PASSWORD", days=12), version("API_TOKEN", days=40)
    return Facts(
        now=NOW,
        project="shop",
        host="host-1",
        engine="unix:///var/run/docker.sock",
        folder="/srv/shop",
        schema=".env.schema",
        keys=(Key("DB_PASSWORD", ("db", "web"), 90, False, 4), Key("API_TOKEN", ("web",), 180, False, 8)),
        versions=(password, token),
        services=(service("db", password), service("web", password, token)),
    )


def small() -> Facts:
    """Return three secrets with something wrong about each."""
    old, new = version("DB_PASSWORD", 1, 300), version("DB_PASSWORD", 3, 110)
    token, foreign = version("API_TOKEN", 1, 170), version("LEGACY_KEY", 0, 400, is_ours=False)
    trace = Trace(
        "environment", "DATABASE_URL", "DB_PASSWORD", "holds the value of DB_PASSWORD", True, "compose.yml:14"
    )
    return Facts(
        now=NOW,
        project="shop",
        host="host-1",
        engine="unix:///var/run/docker.sock",
        folder="/srv/shop",
        schema=".env.schema",
        keys=(Key("DB_PASSWORD", ("db", "web"), 90, False, 4), Key("API_TOKEN", ("web",), 180, False, 8)),
        versions=(old, new, token, foreign),
        files=(file("DB_PASSWORD", 110, 0o644),),
        files_salt_mark="salt",
        services=(
            service("db", new),
            service("web", old, token, image="shop/web:4"),
            service("worker", token, traces=(trace,), reach=("has the engine's socket",)),
        ),
        containers=(Container("web.1.x7f", "web", {"API_TOKEN": "print-9"}, "salt"),),
        images=(Image("shop/web:4", (Trace("image-history", "NPM_TOKEN", "", "its name contains TOKEN", False),)),),
        engine_users=("deploy",),
        engine_group="docker",
        managers=("node-1", "node-2", "node-3"),
        gaps=("containers of the 2 other nodes: run audit there too",),
    )


def large(secrets: int = 60, services: int = 40) -> Facts:
    """Return many secrets and services, some with names as long as the Swarm takes."""
    words = ("DATABASE", "PAYMENT_PROVIDER", "SESSION", "MAIL", "SEARCH_INDEX", "OBJECT_STORE", "IDENTITY")
    kinds = ("PASSWORD", "API_TOKEN", "SIGNING_KEY", "WEBHOOK_SECRET")
    keys, versions = [], []
    for number in range(secrets):
        key = f"{words[number % 7]}_{kinds[number % 4]}_{number:02}"
        if number % 13 == 5:
            key = f"{key}_WITH_A_NAME_AS_LONG_AS_SOMEBODY_ONCE_THOUGHT_OF"[:57]
        allowed = tuple(f"service-{(number * 3 + step) % services:02}" for step in range(1 + number % 4))
        keys.append(Key(key, allowed, (30, 90, 180, None)[number % 4], False, number * 3 + 2))
        for revision in range(1, 2 + number % 3):
            versions.append(version(key, revision, days=(7 * number + 11) % 230 + 40 * (3 - revision)))
    newest = {item.key: item for item in versions}
    oldest = {item.key: item for item in reversed(versions)}
    made = []
    for number in range(services):
        name = f"service-{number:02}"
        mine = [key.key for key in keys if name in key.services and hash_of(key.key, number) % 9]
        mine += [keys[(number * 7) % secrets].key] if number % 11 == 3 else []
        took = [(oldest if hash_of(key, number) % 7 == 2 else newest)[key] for key in dict.fromkeys(mine)]
        shown = name if number % 8 else f"{name}-that-is-called-after-the-whole-department"
        traces: tuple[Trace, ...] = ()
        if number % 10 == 4 and took:
            words_of = f"is the value of {took[0].key}"
            traces = (Trace("environment", took[0].key, took[0].key, words_of, True, f"stack.yml:{number * 9}"),)
        made.append(replace(service(name, *took), name=shown, traces=traces, user="1000" if number % 3 else ""))
    return Facts(
        now=NOW,
        project="shop",
        host="host-1",
        engine="unix:///var/run/docker.sock",
        folder="/srv/shop",
        schema=".env.schema",
        keys=tuple(keys),
        versions=tuple(versions),
        services=tuple(made),
        engine_users=("deploy", "ci"),
        engine_group="docker",
        managers=("node-1", "node-2", "node-3"),
    )


def hash_of(text: str, number: int) -> int:
    """Return a number that is the same in every run."""
    return sum(text.encode()) + 31 * number


def holds_to_schema(*files: Path) -> str:
    """Return what a validator says against *files*."""
    check = Path(sys.executable).parent / "check-jsonschema"
    schema = Path(__file__).parents[1] / "cases" / "sarif-2.1.0-rtm.5.json"
    done = subprocess.run(
        [check, "--regex-variant", "python", "--schemafile", schema, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
