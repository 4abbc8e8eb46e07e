"""`python -m tests.corpus FOLDER [--shim SHIM] [--verbose]`: migrate every Compose project below FOLDER, and judge.

FOLDER is copied first and stays as it is. A project is a folder with a Compose file; where it has no `.env` but an
example of one, that is taken, as its users do. The real Compose says which projects count and what each service sees;
the real shim is started as each service would start it. Printed is a table: accepted by Compose, with a secret,
migrated, services equal, refused and why, time. The end is 1 when a service changed or a project was refused.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import compose_judge as judge

ROOT = Path(__file__).resolve().parents[2]
MANAGE = [sys.executable, str(ROOT / "scripts" / "manage_secrets.py")]
FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
EXAMPLES = (".env.example", ".env.sample", "env.example", "example.env", ".env.template", ".env.dist", "env.sample")
# Every image starts alike: what a service starts is not what is judged here.
IMAGE = {"Config": {"Entrypoint": ["/entrypoint"], "Cmd": ["serve"]}}


@dataclass
class Outcome:
    """What became of one project."""

    path: str
    state: str  # "not accepted", "nothing", "migrated", "refused"
    reason: str = ""
    services: int = 0
    left: list[str] = field(default_factory=list)  # services that stay as they are
    changed: list[str] = field(default_factory=list)
    seconds: float = 0.0


def projects(folder: Path) -> Iterator[Path]:
    """Yield the folders that have a Compose file."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in (".git", "node_modules"))
        if any(name in files for name in FILES):
            yield Path(place)


def outcome_of(folder: Path, top: Path, shim: Path | None, image: Path) -> Outcome:
    """Migrate the project in *folder*, and judge."""
    path = str(folder.relative_to(top))
    if not (folder / ".env").exists():
        example = next((folder / name for name in EXAMPLES if (folder / name).is_file()), None)
        if example is not None:
            shutil.copyfile(example, folder / ".env")
    try:
        before = judge.read(folder)
    except judge.Refused as refused:
        return Outcome(path, "not accepted", str(refused))
    started = time.monotonic()
    done = subprocess.run(
        [*MANAGE, "migrate", "--yes", "--json", "--image-config", str(image)],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    seconds = time.monotonic() - started
    if not done.stdout:
        said = [line for line in done.stderr.splitlines() if ": error: " in line or "internal" in line]
        return Outcome(path, "refused", " ".join(said)[:300] or done.stderr[-300:], seconds=seconds)
    plan: dict[str, Any] = json.loads(done.stdout)
    if not plan["files"]:
        return Outcome(path, "nothing", seconds=seconds)
    left = [f["service"] for f in plan["findings"] if f["message"].startswith("it stays as it is")]
    result = Outcome(path, "migrated", services=len(plan["services"]), left=left, seconds=seconds)
    try:
        after = judge.read(folder, *_names(folder, plan))
    except judge.Refused as refused:
        result.changed = [f"Compose refuses the result: {refused}"]
        return result
    result.changed = judge.differences(plan, before, after)
    if shim is not None:
        result.changed += judge.unlike(shim, plan, before, after)
    return result


def _names(folder: Path, plan: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the Compose files and the env files of the result, as the tool says at the end."""
    new = {os.path.relpath(folder / file["path"], folder) for file in plan["files"]}
    files = []
    for name in FILES:
        if (folder / name).exists():
            stem, dot, suffix = name.rpartition(".")
            override = f"{stem}.override{dot}{suffix}"
            others = [other for other in FILES if (folder / other.replace(".y", ".override.y")).exists()]
            names = [
                name,
                *([override] if (folder / override).exists() else [o.replace(".y", ".override.y") for o in others][:1]),
            ]
            files = [_new(each, new) for each in names]
            break
    env_files = [".env.new"] if ".env.new" in new else []
    return files, env_files


def _new(name: str, new: set[str]) -> str:
    stem, dot, suffix = name.rpartition(".")
    secret = f"{stem}.secrets{dot}{suffix}"
    return secret if secret in new else name


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the lines of the table."""
    accepted = [outcome for outcome in outcomes if outcome.state != "not accepted"]
    migrated = [outcome for outcome in outcomes if outcome.state == "migrated"]
    refused = [outcome for outcome in outcomes if outcome.state == "refused"]
    services = sum(outcome.services for outcome in migrated)
    changed = {(outcome.path, line.partition(":")[0]) for outcome in migrated for line in outcome.changed}
    seconds = [outcome.seconds for outcome in accepted]
    yield f"projects                 {len(outcomes)}"
    yield f"accepted by Compose      {len(accepted)}"
    yield f"with a secret            {len(migrated) + len(refused)}"
    yield f"migrated                 {len(migrated)}"
    yield f"services equal           {services - len(changed)} of {services}"
    yield f"services left            {sum(len(outcome.left) for outcome in migrated)}"
    yield f"refused                  {len(refused)}"
    if seconds:
        yield f"seconds, median and most {statistics.median(seconds):.2f} {max(seconds):.2f}"
    for reason, count in Counter(outcome.reason for outcome in refused).most_common():
        yield f"  refused {count}: {reason}"
    for outcome in migrated:
        for line in outcome.changed:
            yield f"  changed {outcome.path}: {line}"
        for service in outcome.left:
            yield f"  left {outcome.path}: {service}"


def main() -> int:
    """Print the table; return 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shim", type=Path, help="the shim's program; without one nothing is started")
    parser.add_argument("--verbose", action="store_true", help="a line a project")
    given = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as place:
        top = Path(place).resolve() / "corpus"
        shutil.copytree(given.folder, top, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        image = Path(place, "image.json")
        image.write_text(json.dumps(IMAGE))
        for folder in projects(top):
            outcome = outcome_of(folder, top, given.shim, image)
            outcomes.append(outcome)
            if given.verbose:
                print(f"{outcome.state:13} {outcome.seconds:5.1f} {outcome.path} {outcome.reason}", flush=True)  # noqa: T201
    for line in table(outcomes):
        print(line)  # noqa: T201
    return 1 if any(outcome.state == "refused" or outcome.changed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
