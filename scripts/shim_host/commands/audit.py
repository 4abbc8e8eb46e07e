"""`audit`: who can read which secret, and what is wrong with that. Nothing is changed; no value is printed."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim_host import ages, inputs, output
from shim_host.audit.model import ELSEWHERE, ENGINE_NOT_WANTED, NOT_ASKED
from shim_host.audit.rules import NOT_LOOKED_AT
from shim_host.commands import options
from shim_host.errors import CLEAN, FAILED, REFUSED, UsageError
from shim_host.shell import offered
from shim_host.swarm.model import SWARM_LEFT_OUT

if TYPE_CHECKING:
    from shim_host.audit.model import Audit, Row
    from shim_host.inventory import Asked

_WANTED = (ENGINE_NOT_WANTED, NOT_ASKED)  # by --no-engine, --no-exec
_STDOUT = "-"
_LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class AuditWish:
    """What the command line asks of an audit."""

    stack: str
    given: Asked
    secrets_dir: Path
    schema_path: Path | None
    salt: bytes
    html: str | None
    sarif: str | None
    fail_on: str
    max_services: int
    no_exec: bool
    no_engine: bool
    is_json: bool


@click.command("audit")
@options.stack("Only what concerns this stack; otherwise, all stacks.")
@options.project
@options.secrets_dir
@options.schema
@options.salt
@click.option(
    "--html",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Also write the audit as an HTML page; - writes only that, to stdout.",
)
@click.option(
    "--sarif",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Also write the findings as SARIF, for GitHub and other code hosts; - writes only that, to stdout.",
)
@click.option(
    "--fail-on",
    type=click.Choice(_LEVELS),
    default="warning",
    show_default=True,
    help="Exit with 1 if there is a finding of this level or a more urgent one.",
)
@click.option(
    "--max-services",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Report a secret that more than N services share.",
)
@click.option("--no-exec", is_flag=True, help="Do not ask running containers for fingerprints.")
@click.option("--no-engine", is_flag=True, help="Look at files only, without the engine or the Swarm.")
@options.as_json
@options.gathered(AuditWish)
def audit_command(wish: AuditWish) -> int:
    """Show who can read each secret, and what is wrong with that.

    Examines the Swarm's services and secrets, running containers (through the shim in them), the history and
    configuration of their images, the Compose file, the schema, .env and ./secrets. Nothing is changed. Values in plain
    text are recognised by comparison with ./secrets and .env (also as base64, hexadecimal or percent-encoding), by a
    name in the schema, or by their shape. No value is printed.

    \b
    Examples:
      manage-secrets audit
      manage-secrets audit --html audit.html
      manage-secrets audit --sarif audit.sarif --fail-on error

    \b
    With --json: {"summary": {"errors", "warnings", "notes"}, "not_looked_at": [],
      "services": [{"name", "kind": "swarm|compose|container", "image", "user"}],
      "secrets": [{"title", "key", "stack", "version", "name", "file", "managed", "age_days",
        "rotate_days", "rotate_in_days",
        "services": {service: ["mounted|old|stale|plain|ungranted|granted"]}, "readers": [{"name", "how"}]}],
      "readers_of_all": [{"name", "how"}],
      "findings": [{"id", "level", "message", "hint", "key", "service", "place", "command"}]}

    \b
    Exit codes: 0 no findings; 1 findings, or a .env or Compose file was left out because of a mistake in it; 2 usage;
    111 the engine or its Swarm could not be examined: locked, a worker, no leader (everything else is still reported).
    """
    from shim_host.audit import gather, judge
    from shim_host.store.vault import Vault

    given = [name for name, takes in _on_stdout(wish).items() if takes]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} both write to stdout", "name a file for one of them")
    facts = gather.gather(
        inputs.read_schema(wish.schema_path),
        Vault.of_stack(wish.secrets_dir, wish.stack),
        wish.given,
        wish.salt,
        asks_containers=not wish.no_exec,
        asks_engine=not wish.no_engine,
        stack=wish.stack,
    )
    judged = judge.judge(facts, wish.max_services)
    judged.findings = [item._replace(command=offered(item.command)) for item in judged.findings]
    if wish.html:
        from shim_host.audit import page

        _write(wish.html, page.page(judged))
    if wish.sarif:
        from shim_host.audit.sarif import document

        _write(wish.sarif, json.dumps(document(judged), indent=2) + "\n")
    if wish.is_json:
        output.give_json(as_document(judged))
    elif not given:
        _give(judged)
    _say_end(judged)
    is_blind = any(finding.id == NOT_LOOKED_AT for finding in judged.findings)
    is_partial = any(gap not in _WANTED and not gap.startswith(ELSEWHERE) for gap in facts.gaps)
    return FAILED if is_blind else REFUSED if is_partial or judge.is_reached(judged, wish.fail_on) else CLEAN


def _on_stdout(wish: AuditWish) -> dict[str, bool]:
    """Return which options take stdout for what they write."""
    return {"--json": wish.is_json, "--html -": wish.html == _STDOUT, "--sarif -": wish.sarif == _STDOUT}


def _write(path: str, text: str) -> None:
    """Write *path* whole or not at all, for its owner alone, or *text* to stdout."""
    from shim_host.backup import sealed_file

    if path == _STDOUT:
        output.give_text(text)
        return
    sealed_file.write(path, text.encode("utf-8", "backslashreplace"))
    output.say(f"wrote {path}")


def as_document(judged: Audit) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "summary": {f"{level}s": judged.count(level) for level in _LEVELS},
        "not_looked_at": list(judged.facts.gaps),
        "services": [
            {"name": service.name, "kind": service.kind, "image": service.image, "user": service.user}
            for service in judged.facts.services
        ],
        "secrets": [_row_document(row) for row in judged.rows],
        "readers_of_all": [reader._asdict() for reader in judged.readers_of_all],
        "findings": [finding._asdict() for finding in judged.findings],
    }


def _row_document(row: Row) -> dict[str, Any]:
    newest = row.newest
    return {
        "title": row.title,
        "key": row.key,
        "stack": row.stack,
        "version": newest.version if newest else None,
        "name": newest.name if newest else None,
        "file": row.file.path if row.file else None,
        "managed": newest.is_ours if newest else None,
        "age_days": None if row.age_days is None else round(row.age_days, 2),
        "rotate_days": row.spec.rotate_days if row.spec else None,
        "rotate_in_days": None if row.rotate_in_days is None else round(row.rotate_in_days, 2),
        "services": {name: list(states) for name, states in sorted(row.cells.items())},
        "readers": [reader._asdict() for reader in row.readers],
    }


def _give(judged: Audit) -> None:
    """Print the matrix as it fits a terminal, and each finding with what to do."""
    nothing = "?" if any(gap.startswith(SWARM_LEFT_OUT) for gap in judged.facts.gaps) else "-"
    rows = [
        (
            row.title,
            nothing if row.newest is None else f"v{row.newest.version}" if row.newest.version else "unmanaged",
            "-" if row.age_days is None else f"{row.age_days:.0f} d",
            _due(row),
            ", ".join(_user(name, states) for name, states in row.cells.items()) or nothing,
            str(len(row.readers) + len(judged.readers_of_all)),
        )
        for row in judged.rows
    ]
    if rows:
        output.give_table(["SECRET", "SWARM", "AGE", "ROTATE IN", "SERVICES", "COULD READ"], rows)
    if judged.findings:
        _give_findings(judged)


def _due(row: Row) -> str:
    if row.rotate_in_days is None:
        return "-"
    return ages.due(row.rotate_in_days)


def _user(name: str, states: tuple[str, ...]) -> str:
    """Return a service, with what is worth a word there."""
    words = [state for state in states if state != "mounted"]
    return f"{name} ({', '.join(words)})" if words else name


def _give_findings(judged: Audit) -> None:
    """Print each finding on one line, or on a terminal as a block."""
    is_block = sys.stdout.isatty()
    if not is_block:
        output.give_line("")
    for item in judged.findings:
        if not is_block:
            output.give_line(f"{item.level:<7}  {item.id}  {item.message} -> {item.command or item.hint}")
            continue
        output.give_line("")
        output.give_line(f"{item.level:<7}  {item.message}", hanging=9)
        output.give_line(f"{'':<9}{item.id}  {item.place}".rstrip(), hanging=2)
        output.give_line(f"{'':<9}-> {item.command or item.hint}", hanging=3)


def _say_end(judged: Audit) -> None:
    for gap in judged.facts.gaps:
        output.say(f"not looked at: {gap}")
    counts = [(judged.count(level), level) for level in _LEVELS]
    words = ", ".join(output.many(count, level) for count, level in counts if count)
    looked = f"{output.many(len(judged.rows), 'secret')}, {output.many(len(judged.facts.services), 'service')}"
    output.say(f"{looked}: {words or 'nothing to do'}")
