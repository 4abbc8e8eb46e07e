"""`doctor`: looks at everything the other commands need, changes nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim_host import machine, output
from shim_host.commands import options
from shim_host.doctor import judge
from shim_host.doctor.judge import FAILURE, Diagnosis
from shim_host.errors import CLEAN, REFUSED, Ended

if TYPE_CHECKING:
    from shim_host.doctor.engine import EngineFacts


@click.command("doctor")
@options.secrets_dir
@options.as_json
def doctor_command(secrets_dir: Path, is_json: bool) -> int:
    """Show what will not work on this machine, and what to do about it.

    Checks the engine, the API version, the Swarm and its managers, permissions, programs, clock, disk and memory.
    Nothing is changed, and no secret is read. The exit code is 1 if there is a warning or a failure.

    \b
    Examples:
      manage-secrets doctor
      manage-secrets doctor --json

    \b
    With --json: {"healthy", "checks": [{"name", "level": "ok|note|warning|failure", "message", "hint"}]}
    """
    findings = list(_examined(secrets_dir))
    if is_json:
        healthy = judge.is_healthy(findings)
        output.give_json({"healthy": healthy, "checks": [finding._asdict() for finding in findings]})
    else:
        _give(findings)
    return CLEAN if judge.is_healthy(findings) else REFUSED


def _examined(secrets_dir: Path) -> list[Diagnosis]:
    missing = machine.missing_libraries()
    findings = [judge.libraries(missing)]
    findings += judge.folder(machine.folder(secrets_dir))
    findings += judge.disk(machine.disk(secrets_dir), "the secrets")
    findings += judge.memory(machine.memory())
    findings += judge.programs(
        machine.program_version(["docker", "--version"], os.environ),
        machine.program_version(["docker", "compose", "version", "--short"], os.environ),
        machine.program_version(["gpg", "--version"], os.environ),
    )
    facts = None
    if "docker" not in missing:
        facts, of_engine = _engine()
        findings += of_engine
    findings.append(judge.clock(datetime.now(UTC), facts))
    return findings


def _engine() -> tuple[EngineFacts | None, list[Diagnosis]]:
    """Return what the engine says, and what is to be said about it; also of its socket when it does not answer."""
    from shim_host.doctor.engine import Examiner
    from shim_host.swarm.connection import connect_as

    facts = None
    findings: list[Diagnosis] = []
    place = os.environ.get("DOCKER_HOST", "")
    try:
        facts = connect_as(Examiner, os.environ).facts()
    except Ended as ended:
        findings.append(Diagnosis("engine", FAILURE, ended.message, ended.hints[0] if ended.hints else ""))
    else:
        place = facts.place
        findings += [*judge.engine(facts), *judge.swarm(facts)]
    path = machine.socket_path(place)
    if path:
        findings.append(judge.socket(machine.look_at_socket(path)))
    if path and facts is not None:
        findings.append(judge.daemon(machine.daemon(path)))
        findings += judge.disk(machine.disk(Path(facts.root_folder)), "the engine")
    elif (found := judge.connection(place)) is not None and not os.environ.get("DOCKER_TLS_VERIFY"):
        findings.append(found)
    return facts, findings


def _give(findings: list[Diagnosis]) -> None:
    """Print a line for each finding, with its hint below."""
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        output.give_line(f"{finding.level:<7}  {finding.name:<{width}}  {finding.message}", hanging=width + 11)
        if finding.hint:
            output.give_line(f"{'':<7}  {'':<{width}}  -> {finding.hint}", hanging=3)
