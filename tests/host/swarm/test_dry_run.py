"""`--dry-run` looks and tells, and does nothing: no program runs, no file is written, the Swarm stays as it is."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.forms import cannot_run
from tests.support.host import Canary, Manage, PrivateSwarm

pytestmark = pytest.mark.engine

SCHEMA = """\
# @sensitive @generate @rotate=1d
MADE=

# @sensitive @rotate=1d @from=command("./store")
STORED=

# @sensitive @generate @rotate=1d @rotate-with=command(./change)
INSIDE=

# @sensitive
NEW=
"""
CHANGES = "unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,symlink,symlinkat,link,linkat,chmod,fchmod,truncate"
IS_A_CHANGE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|^(?:\d+ +)?(?:un|re|mk|sym|link|[f]?ch|trunc)\w+\(")


def in_the_swarm(swarm: PrivateSwarm) -> list[str]:
    kinds = ("secret", "config", "service")
    names = [swarm.docker(kind, "ls", "--format", "{{.ID}} {{.Name}}") for kind in kinds]
    return [
        *names,
        swarm.docker("service", "inspect", "--format", "{{.Version.Index}}", "web"),
    ]


def containers(swarm: PrivateSwarm) -> set[str]:
    """Return all that are there; the Swarm may still remove those of services that are gone."""
    return set(swarm.docker("ps", "-aq").split())


def test_a_dry_run_starts_writes_and_changes_nothing(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    """Of the commands that would start programs with a value, or programs that print one, or tasks that read one."""
    if shutil.which("strace") is None:
        cannot_run("the calls are seen by strace")
    manage.write(".env.schema", SCHEMA)
    for name in ("store", "change"):
        manage.write(name, f"#!/bin/sh\ntouch {name}-ran\n").chmod(0o755)
    for key in ("made", "stored", "inside", "new"):
        manage.write(f"secrets/{key}", canary()).chmod(0o600)
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="seconds")
    for name, number in (("made", 1), ("made", 2), ("stored", 1), ("inside", 1)):
        labels = {"key": name.upper(), "version": number, "created": long_ago}
        given = (word for label, text in labels.items() for word in ("--label", f"docker-secrets-shim.{label}={text}"))
        swarm.docker("secret", "create", *given, f"{name}.v{number}", "-", stdin=canary().encode())
    swarm.docker("secret", "create", "theirs", "-", stdin=canary().encode())
    mounts = (
        f"--secret=source={name},target=t{number}" for number, name in enumerate(("made.v1", "inside.v1", "theirs"))
    )
    swarm.docker("service", "create", "--detach", "--name", "web", "--replicas", "0", *mounts, "nothing:1")
    manage("export", "--output", "backup.gpg", "--passphrase-file", "-", stdin=b"five long and random words\n")
    manage.write("words", "five long and random words\n").chmod(0o600)
    there = containers(swarm)
    before, files = in_the_swarm(swarm), sorted(path.name for path in manage.folder.rglob("*"))

    for command, said in (
        ("create-swarm --stack other", "other_new.v1"),
        ("rotate INSIDE --generate", "inside.v2"),
        ("rotate --due --yes", "stored.v2"),
        ("sync", "made.v2"),
        ("adopt", "theirs"),
        ("export --from-swarm --passphrase-file words", "theirs"),
    ):
        trace = manage.folder.parent / "trace"
        wrapper = ("strace", "-f", "-qq", "-s", "100", "-e", f"trace=execve,openat,{CHANGES}", "-o", str(trace))

        end = manage(*command.split(), "--dry-run", through=wrapper, env={"PYTHONDONTWRITEBYTECODE": "1"})

        lines = [
            line for line in trace.read_text().splitlines() if not re.search(r"= -1 |/dev/(null|tty)|\+\+\+", line)
        ]
        assert said in end.stdout, (command, end)
        assert [line for line in lines if "execve(" in line][1:] == [], command
        assert [line for line in lines if IS_A_CHANGE.search(line)] == [], command
        assert json.dumps(in_the_swarm(swarm)) == json.dumps(before), command
        assert containers(swarm) <= there, command
    assert sorted(path.name for path in manage.folder.rglob("*")) == files
