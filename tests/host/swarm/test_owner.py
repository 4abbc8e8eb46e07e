"""A run that is gone is told from one that is still there, on this machine, and only there."""

import os
import pwd
import subprocess
import sys

import pytest
from shim_host.swarm import owner

SAY = "from shim_host.swarm import owner; print(owner.this_run(), flush=True); input()"


def test_a_run_is_known_to_live_and_to_have_ended() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": PATH}
    )
    assert run.stdout is not None
    name = run.stdout.readline().strip()
    assert name
    assert not owner.has_ended(name)

    run.kill()
    os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOWAIT)
    assert owner.has_ended(name), "nobody has waited for it, and yet it has ended"
    run.communicate()
    assert owner.has_ended(name)


def test_a_process_that_got_its_number_is_somebody_else() -> None:
    machine, _, started = owner.this_run().rpartition(" ")
    assert owner.has_ended(f"{machine} {int(started) + 1}")
    assert not owner.has_ended(owner.this_run())


def test_of_other_machines_and_of_nobody_nothing_is_known() -> None:
    _, _, rest = owner.this_run().partition(" ")
    for name in ("", "x", "one two", f"elsewhere {rest}"):
        assert not owner.has_ended(name)


def test_nothing_runs_any_more_from_before_this_machine_was_started() -> None:
    """By its name and its number; two machines may have one name, and then nothing is known."""
    host, number, _boot, *rest = owner.this_run().split(" ")
    if number == "-":
        pytest.skip("this machine has no number: /etc/machine-id")
    assert owner.has_ended(" ".join((host, number, "another-start", *rest)))
    assert not owner.has_ended(" ".join((host, "another-machine", "another-start", *rest)))
    assert not owner.has_ended(" ".join((host, "-", "another-start", *rest)))


@pytest.mark.parametrize(
    ("environ", "person"),
    [
        ({"USER": "root", "SUDO_USER": "alice"}, "alice"),
        ({"USER": "runner", "GITHUB_ACTOR": "octocat[bot]"}, "octocat bot"),
        ({"SHIM_BY": "Bob \n<x>", "USER": "alice"}, "Bob x"),
        ({}, pwd.getpwuid(os.getuid()).pw_name),
    ],
)
def test_the_person_is_the_one_who_asked(environ: dict[str, str], person: str) -> None:
    assert owner.author(environ).startswith(f"{person} on ")


PATH = ":".join(sys.path)
