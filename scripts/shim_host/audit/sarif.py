"""Findings as SARIF 2.1.0, which code hosts and editors show (OASIS, sarif-v2.1.0). No value is in them."""

import hashlib
from typing import Any
from urllib.parse import quote

from shim import __version__
from shim_host.audit.model import Audit, Finding
from shim_host.audit.rules import RULES

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def document(audit: Audit) -> dict[str, Any]:
    """Return the SARIF log of *audit*: one run; each finding is a result with the same fingerprint in every run."""
    used = list(dict.fromkeys(finding.id for finding in audit.findings))
    driver = {
        "name": "manage-secrets audit",
        "semanticVersion": __version__,
        "rules": [
            {
                "id": rule_id,
                "shortDescription": {"text": RULES[rule_id].title},
                "help": {"text": RULES[rule_id].help},
                "properties": {"tags": ["security", "secrets"]},
            }
            for rule_id in used
        ],
    }
    notices = [{"level": "note", "message": {"text": _plain(f"not looked at: {gap}")}} for gap in audit.facts.gaps]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notices}],
        "results": [_result(finding, used.index(finding.id), audit) for finding in audit.findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding, number: int, audit: Audit) -> dict[str, Any]:
    text = f"{finding.message}. {finding.hint}"
    if finding.command:
        text += f" ({finding.command})"
    return {
        "ruleId": finding.id,
        "ruleIndex": number,
        "level": finding.level,
        "message": {"text": _plain(text)},
        "locations": [_location(finding, audit)],
        "partialFingerprints": {"finding/v1": _identity(finding)},
    }


def _plain(text: str) -> str:
    """Return *text* without links (section 3.11.6) and characters that do not print: names are chosen by anybody."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).replace("](", "] (")


def _identity(finding: Finding) -> str:
    """Return what is the same for the same finding tomorrow, whatever its age or line is by then."""
    path = finding.place.rpartition(":")[0] or finding.place
    what = finding.message if not finding.key and not finding.service else ""
    parts = (finding.id, finding.key, finding.service, path, what)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _location(finding: Finding, audit: Audit) -> dict[str, Any]:
    """Return where a finding is: a line of a file where there is one, and the service or the secret."""
    location: dict[str, Any] = {}
    place = finding.place or audit.facts.schema
    if place:
        path, _, line = place.rpartition(":")
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(path if line.isdecimal() and path else place)}}
        if line.isdecimal() and path:
            physical["region"] = {"startLine": int(line)}
        location["physicalLocation"] = physical
    logical = []
    if finding.service:
        logical.append({"name": finding.service, "fullyQualifiedName": f"service/{finding.service}", "kind": "module"})
    if finding.key:
        logical.append({"name": finding.key, "fullyQualifiedName": f"secret/{finding.key}", "kind": "variable"})
    if logical or not place:
        location["logicalLocations"] = logical or [{"name": "engine", "fullyQualifiedName": "engine"}]
    return location


def _uri(path: str) -> str:
    path = path.replace("\\", "/").removeprefix("./")
    return ("file://" if path.startswith("/") else "") + quote(path)
