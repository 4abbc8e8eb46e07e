"""`python -m tests.corpus FOLDER [--shim SHIM] [--verbose]`: migrate every Compose project below FOLDER, and judge.

FOLDER is a folder of checkouts. It stays as it is: each project is migrated in a copy of its checkout. A project is a
Compose file: the one that Compose finds in a folder (with its override), and every other one by itself. Where a project
has no `.env` but an example of one, that is taken, as its users do. The real Compose says which projects count and what
each service sees; the real shim is started as each service would start it; `audit` looks at the result. Printed is a
table: accepted by Compose, with a secret, migrated, services equal, refused and why, values that `audit` finds and
`migrate` did not name, time. The end is 1 when one of these is not as it should be.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import compose_judge as judge

ROOT = Path(__file__).resolve().parents[2]
MANAGE = [sys.executable, str(ROOT / "scripts" / "manage_secrets.py")]
FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
EXAMPLES = (".env.example", ".env.sample", "env.example", "example.env", ".env.template", ".env.dist", "env.sample")
# Every image starts alike: what a service starts is not what is judged here.
IMAGE = {"Config": {"Entrypoint": ["/entrypoint"], "Cmd": ["serve"]}}


# Where `audit` sees a value, and the words of `migrate` for such a place.
WORDS = {
    "arguments": ("command", "entrypoint", "post_start", "pre_stop"),
    "label": ("label", "annotations"),
    "health-check": ("healthcheck",),
    "build": ("build", "built"),
    "logging": ("logging",),
    "volume": ("volumes.",),
    "config": ("config", "which it mounts"),
}


class Case(NamedTuple):
    """One project: a Compose file of a folder; "" for the one that Compose finds there."""

    folder: Path
    file: str = ""

    def shown(self, top: Path) -> str:
        return str((self.folder / self.file).relative_to(top))


@dataclass
class Outcome:
    """What became of one project."""

    path: str
    state: str  # "not accepted", "nothing", "migrated", "refused"
    reason: str = ""
    services: int = 0
    left: list[str] = field(default_factory=list)  # services that stay as they are
    changed: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)  # what audit finds in the result, and migrate did not name
    secrets: dict[str, str] = field(default_factory=dict)  # the names of what was moved, and why
    said: list[str] = field(default_factory=list)  # what migrate had to say
    seconds: float = 0.0


def cases(folder: Path) -> Iterator[Case]:
    """Yield the projects below *folder*."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in (".git", "node_modules"))
        if any(name in files for name in FILES):
            yield Case(Path(place))
        for name in sorted(files):
            is_other = "compose" in name and name.endswith((".yml", ".yaml")) and name not in FILES
            if is_other and ".override." not in name:
                yield Case(Path(place), name)


def outcome_of(case: Case, top: Path, shim: Path | None, image: Path) -> Outcome:
    """Migrate the project *case*, which is in a folder of its own below *top*, and judge."""
    folder, path = case.folder, case.shown(top)
    if not (folder / ".env").exists():
        example = next((folder / name for name in EXAMPLES if (folder / name).is_file()), None)
        if example is not None:
            shutil.copyfile(example, folder / ".env")
    chosen = [case.file] if case.file else []
    try:
        before = judge.read(folder, chosen)
    except judge.Refused as refused:
        return Outcome(path, "not accepted", str(refused))
    started = time.monotonic()
    done = _run(folder, "migrate", "--yes", "--json", "--image-config", str(image), *(f"-f{name}" for name in chosen))
    seconds = time.monotonic() - started
    plan: dict[str, Any] = json.loads(done.stdout or "{}")
    if "services" not in plan:
        said = [line for line in done.stderr.splitlines() if ": error: " in line or "internal" in line]
        return Outcome(path, "refused", " ".join(said)[:300] or done.stderr[-300:], seconds=seconds)
    secrets = {held["key"]: held["why"] for held in plan["secrets"]}
    said = [" ".join((f["service"], f["key"], f["message"])) for f in plan["findings"]]
    if not plan["files"]:
        return Outcome(path, "nothing", secrets=secrets, said=said, seconds=seconds)
    left = [f["service"] for f in plan["findings"] if f["message"].startswith("it stays as it is")]
    result = Outcome(path, "migrated", "", len(plan["services"]), left, secrets=secrets, said=said, seconds=seconds)
    files, env_files = _names(done.stderr)
    try:
        after = judge.read(folder, files, env_files)
    except judge.Refused as refused:
        result.changed = [f"Compose refuses the result: {refused}"]
        return result
    result.changed = judge.differences(plan, before, after)
    if shim is not None:
        result.changed += judge.unlike(shim, plan, before, after)
    result.unnamed = list(_unnamed(folder, plan, files, env_files))
    return result


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MANAGE, *words], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def _names(said: str) -> tuple[list[str], list[str]]:
    """Return the Compose files and the env files of the result, as the command that the tool *said* has them."""
    next_line = re.search(r"next: docker compose (.*) up -d$", said, re.MULTILINE)
    words = shlex.split(next_line[1]) if next_line is not None else []
    named = list(zip(words[::2], words[1::2], strict=True))
    return [name for option, name in named if option == "-f"], [name for option, name in named if option != "-f"]


def _unnamed(folder: Path, plan: Mapping[str, Any], files: list[str], env_files: list[str]) -> Iterator[str]:
    """Yield what `audit` finds in plain text in the result, and no finding of the migration names."""
    words = [*(f"--file={name}" for name in files), *(f"--env-file={name}" for name in env_files)]
    done = _run(folder, "audit", "--no-engine", "--json", *words)
    audited = json.loads(done.stdout or "{}")
    if "findings" not in audited:
        yield f"audit: {done.stderr[-300:]}"
        return
    exposed = [finding for finding in plan["findings"] if finding["exposed"]]
    for found in audited["findings"]:
        kind = found["id"].removeprefix("secret-in-")
        if kind != found["id"] and not any(_names_it(finding, kind, found) for finding in exposed):
            yield f"{kind} {found['message']}"


def _names_it(finding: Mapping[str, Any], kind: str, found: Mapping[str, Any]) -> bool:
    """Return whether *finding*, of migrate, is about what audit *found*."""
    if finding["service"] and not re.search(rf"(^|[./]){re.escape(finding['service'])}$", found["service"]):
        return False
    said = f"{finding['key']} {finding['message']}"
    if kind in WORDS:
        return any(word in said for word in WORDS[kind])
    name = found["message"].partition("the variable ")[2].partition(" ")[0]
    return bool(name) and name in re.split(r"[ ,:]|\.environment\.", said)


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
    yield f"audit finds besides      {sum(len(outcome.unnamed) for outcome in migrated)}"
    for reason, count in Counter(outcome.reason for outcome in refused).most_common():
        yield f"  refused {count}: {reason}"
    for outcome in migrated:
        for line in outcome.changed:
            yield f"  changed {outcome.path}: {line}"
        for service in outcome.left:
            yield f"  left {outcome.path}: {service}"
        for line in outcome.unnamed:
            yield f"  besides {outcome.path}: {line}"


def main() -> int:
    """Print the table; return 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shim", type=Path, help="the shim's program; without one nothing is started")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every outcome, with the names of secrets")
    parser.add_argument("--verbose", action="store_true", help="a line for each project")
    given = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as place:
        image = Path(place, "image.json")
        image.write_text(json.dumps(IMAGE))
        for case in cases(given.folder):
            outcome = _judged(case, given.folder, Path(place).resolve() / "corpus", given.shim, image)
            outcomes.append(outcome)
            if given.verbose:
                print(f"{outcome.state:13} {outcome.seconds:5.1f} {outcome.path} {outcome.reason}", flush=True)  # noqa: T201
    for line in table(outcomes):
        print(line)  # noqa: T201
    if given.json:
        given.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    wrong = [outcome for outcome in outcomes if outcome.state == "refused" or outcome.changed or outcome.unnamed]
    return 1 if wrong else 0


def _judged(case: Case, top: Path, copied: Path, shim: Path | None, image: Path) -> Outcome:
    """Judge *case* in a copy of the checkout that it is in: its files may name others there."""
    names = case.folder.relative_to(top).parts
    checkout = Path(*names[:1])
    try:
        shutil.copytree(top / checkout, copied / checkout, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        return outcome_of(Case(copied.joinpath(*names), case.file), copied, shim, image)
    finally:
        shutil.rmtree(copied)


if __name__ == "__main__":
    sys.exit(main())
