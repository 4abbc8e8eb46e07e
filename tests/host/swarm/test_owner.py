"""A run that is gone is told from one that is still there, on this machine, and only there."""

import os
import subprocess
import sys

from shim_host.swarm import owner

SAY = "from shim_host import owner; print(owner.this_run(), flush=True); input()"


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


PATH = ":".join(sys.path)
