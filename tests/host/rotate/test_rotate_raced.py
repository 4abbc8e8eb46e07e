"""Two rotations at the same moment: what one does between two steps of the other, and what the other then says."""

import re

import pytest

from tests.support.host import Canary, Manage, Meddler, PrivateSwarm
from tests.support.rotation_crash import at, begun

pytestmark = pytest.mark.engine
LOCK = "docker-secrets-shim.rotation"


@pytest.fixture
def project(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> Manage:
    """Return a folder with one secret, which the Swarm has too and no service mounts."""
    manage.write("secrets/a", canary())
    assert manage("create-swarm").code == 0
    return manage


def test_the_other_ends_between_the_look_at_it_and_the_lock(swarm: PrivateSwarm, project: Manage) -> None:
    """Its lock is there when ours is to be made, and twice more when we look; at the third look it is gone."""
    looks = 0

    def meddle(_number: int) -> str:
        nonlocal looks
        if meddler.request.startswith(b"POST") and b"/configs/create" in meddler.request:
            swarm.docker("config", "create", "--label", f"{LOCK}=lock", LOCK, "-", stdin=b"{}")
            looks = 1
        elif looks and b"/configs?" in meddler.request:
            looks += 1
            if looks == 4:
                swarm.docker("config", "rm", LOCK)
        return "pass"

    meddler = Meddler(swarm, meddle, reads=True)

    end = project("rotate", "A", "--generate", env={"DOCKER_HOST": meddler.host})
    meddler.close()

    assert end.code == 1, end.stderr
    assert "another rotation has just ended" in end.stderr
    assert swarm.docker("secret", "ls", "--format", "{{.Name}}") == "a.v1"


def take_over(meddler: Meddler) -> str:
    """Let somebody else write the lock just before us: the same request, and another owner in it."""
    request = meddler.request
    if request.startswith(b"POST") and re.search(rb"/configs/[^/ ]+/update", request):
        meddler.ask(re.sub(rb'("docker-secrets-shim\.owner": ?")[^"]', rb"\1*", request))
    return "pass"


def test_the_other_takes_over_first_what_a_dead_run_left(swarm: PrivateSwarm, project: Manage) -> None:
    dying = Meddler(swarm, at(2, "kill"))  # the lock is made, and then the secret
    assert begun(project, dying, "rotate", "A", "--generate").wait(60) == -9
    dying.close()
    meddler = Meddler(swarm, lambda _number: take_over(meddler))

    end = project("rotate", "--resume", env={"DOCKER_HOST": meddler.host})
    meddler.close()

    assert end.code == 1, end.stderr
    assert "another run has just taken this rotation over" in end.stderr
    assert swarm.docker("config", "ls", "--filter", f"label={LOCK}", "--format", "{{.Name}}") == LOCK


def test_the_other_goes_on_with_what_we_would_take_back(swarm: PrivateSwarm, project: Manage) -> None:
    project.write("change-it", '#!/bin/sh\n[ "$1" = check ]\n').chmod(0o755)
    project.write(".env.schema", "# @sensitive @generate @rotate-with=command(./change-it)\nA=\n")
    meddler = Meddler(swarm, lambda _number: take_over(meddler))

    end = project("rotate", "A", "--generate", env={"DOCKER_HOST": meddler.host})
    meddler.close()

    assert end.code == 1, end.stderr
    assert "another run has taken this rotation over" in end.stderr
    assert sorted(swarm.docker("secret", "ls", "--format", "{{.Name}}").split()) == ["a.v1", "a.v2"]
