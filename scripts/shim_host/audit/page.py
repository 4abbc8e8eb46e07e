"""An audit as one page for people: nothing of it comes from the network, and without scripts it reads the same.

An audit comes in, HTML leaves. Names come from files and engines, so each goes through `escape`; the page's policy
(CSP) lets no other style or script run than those of the template, told by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shim import __version__
from shim_host import ages
from shim_host.audit import rules
from shim_host.audit.model import (
    ERROR,
    GRANTED,
    LEVELS,
    MOUNTED,
    NOTE,
    OLD,
    PLAIN,
    STALE,
    UNGRANTED,
    WARNING,
    Audit,
    Finding,
    Row,
)
from shim_host.output import many, shown

_TEMPLATE = Path(__file__).with_name("page.html")
_FIRST = 5  # steps of "what to do first"
_OPEN = 6  # findings of one kind that are seen at once
_SHOWN_NAMES = 4
_STATE_WORDS = {
    PLAIN: "in plain text",
    UNGRANTED: "gets it, and should not",
    STALE: "runs with a different value",
    OLD: "mounts an older version",
    MOUNTED: "mounts it",
    GRANTED: "may have it, and does not",
}


def page(audit: Audit) -> str:
    """Return the page of *audit*."""
    template = _TEMPLATE.read_text("utf-8")
    body = "\n".join(
        part
        for part in (_top(audit), "<main id='main' tabindex='-1'>", *_sections(audit), "</main>", _footer(audit))
        if part
    )
    filled = {
        "STYLE-HASH": _digest(template, "style"),
        "SCRIPT-HASH": _digest(template, "script"),
        "TITLE": escape(f"Secrets audit, {audit.facts.now:%Y-%m-%d}: {_verdict(audit)}"),
        "BODY": body,
    }
    # In one pass: a name that looks like a place of the template stays a name.
    return re.sub("@(STYLE-HASH|SCRIPT-HASH|TITLE|BODY)@", lambda match: filled[match[1]], template)


def escape(text: str) -> str:
    """Return *text* for HTML, as content or as an attribute in either quotes."""
    return html.escape(shown(text))


def _digest(template: str, tag: str) -> str:
    inner = template.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return "sha256-" + base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()


def _sections(audit: Audit) -> Iterator[str]:
    groups = _groups(audit.findings)
    yield _first(groups)
    yield _matrix(audit)
    yield _secrets(audit)
    yield _findings(audit, groups)
    yield _people(audit)


def _verdict(audit: Audit) -> str:
    errors, warnings = audit.count(ERROR), audit.count(WARNING)
    if errors:
        return f"{many(errors, 'error')} to fix" + (f", {many(warnings, 'warning')}" if warnings else "")
    if warnings:
        return f"{many(warnings, 'warning')}, no error"
    return "nothing to do"


def _top(audit: Audit) -> str:
    facts = audit.facts
    verdict = _verdict(audit)
    level = ERROR if audit.count(ERROR) else WARNING if audit.count(WARNING) else "calm"
    oldest = max(
        (row for row in audit.rows if row.age_days is not None), key=lambda row: row.age_days or 0, default=None
    )
    shared = max((len([s for s in row.cells.values() if MOUNTED in s]) for row in audit.rows), default=0)
    words = f"{many(len(audit.rows), 'secret')} in {many(len(facts.services), 'service')} examined."
    if not audit.findings:
        words += " No value is in plain text, nothing is overdue, and nobody has what is not meant for them."
    elif level == "calm":
        words += f" {many(audit.count(NOTE), 'note')} below are good to know."
    figures = [
        ("Errors", str(audit.count(ERROR)), ERROR if audit.count(ERROR) else ""),
        ("Warnings", str(audit.count(WARNING)), WARNING if audit.count(WARNING) else ""),
        ("Notes", str(audit.count(NOTE)), ""),
        ("Secrets", str(len(audit.rows)), ""),
        ("Oldest secret", f"{oldest.age_days:.0f} d" if oldest is not None else "–", ""),
        ("Most services per secret", str(shared), ""),
    ]
    cells = "".join(f"<div><dt>{name}</dt><dd class='{kind}'>{figure}</dd></div>" for name, figure, kind in figures)
    about = "".join(f"<div><dt>{name}</dt><dd>{escape(words)}</dd></div>" for name, words in _about(audit) if words)
    return (
        f"<div class='top'><span class='small'><b>Secrets audit</b> <span class='soft'>{facts.now:%d %B %Y, %H:%M} UTC"
        "</span></span><button type='button' id='theme' class='pill' data-needs-script hidden>Dark</button></div>"
        f"<header class='hero'><h1><span class='{level}'>{verdict[:1].upper()}{verdict[1:]}</span></h1>"
        f"<p class='soft'>{words}</p><dl class='about'>{about}</dl><dl class='figures'>{cells}</dl></header>"
        "<p class='unseen' id='status' role='status'></p>"
    )


def _about(audit: Audit) -> list[tuple[str, str]]:
    """Return what was audited, and by what; what is not known is empty."""
    facts = audit.facts
    return [
        ("Stack", facts.stack),
        ("Compose project", facts.project),
        ("Folder", facts.folder),
        ("Host", facts.host),
        ("Engine", facts.engine or "not asked"),
        ("Made by", f"manage-secrets {__version__}"),
    ]


def _groups(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    """Return the findings by kind, the most urgent kind first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.id, []).append(finding)
    order = list(rules.RULES)
    return sorted(groups.items(), key=lambda item: (LEVELS.index(item[1][0].level), order.index(item[0])))


def _levels(found: Iterable[Finding]) -> str:
    levels = {item.level for item in found}
    return " ".join(f"<span class='level {level}'>{level}</span>" for level in LEVELS if level in levels)


def _counted(found: Sequence[Finding]) -> str:
    """Return how many are errors, warnings and notes, so that the steps add up to the figures at the top."""
    counts = ((level, sum(item.level == level for item in found)) for level in LEVELS)
    return ", ".join(many(count, level) for level, count in counts if count)


def _first(groups: list[tuple[str, list[Finding]]]) -> str:
    """Return the steps that matter most, each with the command to run."""
    steps = [(rule_id, found) for rule_id, found in groups if found[0].level != NOTE][:_FIRST]
    if not steps:
        return ""
    lines = []
    for rule_id, found in steps:
        rule = rules.RULES[rule_id]
        keys = _named("", (item.key for item in found))
        services = _named("in " if keys else "", (item.service for item in found))
        words = " ".join(part for part in (keys, services) if part)
        command = next((item.command for item in found if item.command), "")
        run = (
            f"<div class='command'><code>{escape(command)}</code>"
            "<button type='button' class='copy' data-needs-script hidden>Copy</button></div>"
            if command
            else ""
        )
        lines.append(
            f"<li><div>{_levels(found)}<h3><a href='#{rule_id}'>{escape(rule.title)}</a>"
            f" <span class='soft'>({_counted(found)})</span></h3><p>{words}</p>"
            f"<p class='soft'>{escape(rule.help)}</p>{run}</div></li>"
        )
    return (
        "<section aria-labelledby='do'><header><h2 id='do'>What to do first</h2></header>"
        f"<ol class='first'>{''.join(lines)}</ol></section>"
    )


def _named(before: str, names: Iterable[str]) -> str:
    """Return *names* as the page shows them, each once and only the first few; "" when there are none."""
    every = [escape(name) for name in dict.fromkeys(names) if name]
    if not every:
        return ""
    # A name and its comma are one piece, so that a line ends between names and not inside one.
    pieces = [f"<span class='key'>{name}</span>" for name in every[:_SHOWN_NAMES]]
    words = "<span class='piece'>" + ",</span> <span class='piece'>".join(pieces) + "</span>"
    return before + words + (f" and {len(every) - _SHOWN_NAMES} more" if len(every) > _SHOWN_NAMES else "")


def _mark(state: str, words: str = "") -> str:
    return f"<span class='mark {state}' role='img' aria-label='{escape(words or _STATE_WORDS[state])}'></span>"


def _matrix(audit: Audit) -> str:
    """Return the table of services and secrets."""
    if not audit.rows or not audit.facts.services:
        return ""
    services = [service.name for service in audit.facts.services]
    heads = "".join(
        f"<th scope='col' data-sort='number'><span class='turned' title='{escape(name)}'>{escape(name)}</span></th>"
        for name in services
    )
    lines = []
    for row in audit.rows:
        cells = "".join(_cell(row, name) for name in services)
        count = sum(MOUNTED in states for states in row.cells.values())
        title = escape(row.title)
        lines.append(
            f"<tr><th scope='row' data-value='{title}'><span class='key'>{title}</span></th>{cells}"
            f"<td class='count' data-value='{count}'>{count}</td><td class='spacer'></td></tr>"
        )
    used = {states[0] for row in audit.rows for states in row.cells.values() if states}
    legend = "".join(
        f"<li>{_mark(state)}<span aria-hidden='true'>{words}</span></li>"
        for state, words in _STATE_WORDS.items()
        if state in used
    )
    return (
        "<section aria-labelledby='who'><header><h2 id='who'>Who has what</h2>"
        "<p>A row per secret and a column per service. A cell shows the most urgent state.</p></header>"
        "<div class='scroll' tabindex='0' role='region' aria-labelledby='who'>"
        "<table class='matrix' data-sorts><thead><tr><th scope='col' data-sort='text'>Secret</th>"
        f"{heads}<th scope='col' data-sort='number'><span class='turned'>services</span></th><td class='spacer'></td>"
        f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div><ul class='legend'>{legend}</ul></section>"
    )


def _cell(row: Row, service: str) -> str:
    states = row.cells.get(service, ())
    if not states:
        return "<td data-value='0'></td>"
    words = "; ".join(_STATE_WORDS[state] for state in states)
    urgency = len(_STATE_WORDS) - list(_STATE_WORDS).index(states[0])
    return f"<td data-value='{urgency}' title='{escape(f'{service}: {words}')}'>{_mark(states[0], words)}</td>"


def _secrets(audit: Audit) -> str:
    """Return the table of ages, and of who could read."""
    if not audit.rows:
        return ""
    lines = []
    for row in audit.rows:
        newest = row.newest
        version = "file" if newest is None else f"v{newest.version}" if newest.version else "unmanaged"
        if newest is None and row.file is None:
            version = "–"
        age = "" if row.age_days is None else f"{row.age_days:.4f}"
        due = "" if row.rotate_in_days is None else f"{row.rotate_in_days:.4f}"
        title = escape(row.title)
        lines.append(
            f"<tr><th scope='row' data-value='{title}'><span class='key'>{title}</span></th>"
            f"<td data-label='Version' data-value='{newest.version if newest else ''}'>{version}</td>"
            f"<td class='wide' data-value='{age}'>{_bar(row)}</td>"
            f"<td data-label='Rotation' data-value='{due}'>{_due(row)}</td>"
            f"<td data-label='' data-value='{len(row.readers) + len(audit.readers_of_all)}'>"
            f"{_readers(row, len(audit.readers_of_all))}</td></tr>"
        )
    return (
        "<section aria-labelledby='age'><header><h2 id='age'>How old, and who could read it</h2>"
        "<p>The bar shows the age of a secret, and the line across it the end of its @rotate. Those who could read "
        "every secret are listed at the end of the page.</p></header>"
        "<table class='secrets' data-sorts><thead><tr><th scope='col' data-sort='text'>Secret</th>"
        "<th scope='col' data-sort='number'>Version</th><th scope='col' class='wide' data-sort='number'>Age</th>"
        "<th scope='col' data-sort='number'>Rotation</th><th scope='col' data-sort='number'>Could read it</th></tr>"
        f"</thead><tbody>{''.join(lines)}</tbody></table></section>"
    )


def _bar(row: Row) -> str:
    """Return the age of a secret as a bar against its @rotate; widths are attributes, since the page's policy allows
    no style in elements.
    """
    if row.age_days is None:
        return "<span class='soft'>–</span>"
    words = many(round(row.age_days), "day")
    period = row.spec.rotate_days if row.spec is not None else None
    if not period:
        return f"{words} <span class='soft small'>no @rotate</span>"
    whole = max(period, row.age_days) * 1.02
    limit, end = 100 * period / whole, 100 * row.age_days / whole
    kind = "soon" if row.rotate_in_days is not None and 0 <= row.rotate_in_days < period / 5 else "age"
    late = f"<rect class='late' x='{limit:.2f}' width='{end - limit:.2f}' height='8'/>" if end > limit else ""
    return (
        f"{words} <span class='soft small'>of {period:.0f}</span>"
        "<svg class='bar' viewBox='0 0 100 8' preserveAspectRatio='none' aria-hidden='true'>"
        f"<rect class='track' y='3' width='{limit:.2f}' height='2'/>"
        f"<rect class='{kind}' width='{min(end, limit):.2f}' height='8'/>{late}"
        f"<rect class='limit' x='{limit - 0.2:.2f}' y='-3' width='.4' height='14'/></svg>"
    )


def _due(row: Row) -> str:
    left = row.rotate_in_days
    if left is None:
        return "<span class='soft'>–</span>"
    if left < 0:
        return f"<span class='error'>{ages.due(left)}</span>"
    return f"in {left:.0f} d"


def _readers(row: Row, of_all: int) -> str:
    """Return how many could read a secret, as the terminal counts them, and who they are."""
    if not row.readers and not of_all:
        return "<span class='soft'>0 could read it</span>"
    lines = "".join(
        f"<li><b>{escape(reader.name)}</b> <span class='soft'>{escape(reader.how)}</span></li>"
        for reader in row.readers
    )
    if of_all:
        lines += f"<li><a href='#people'>{of_all} who could read every secret</a></li>"
    return f"<details><summary>{len(row.readers) + of_all} could read it</summary><ul>{lines}</ul></details>"


def _findings(audit: Audit, groups: list[tuple[str, list[Finding]]]) -> str:
    if not groups:
        return ""
    chips = [("", "All", len(audit.findings))]
    chips += [(level, f"{level.capitalize()}s", audit.count(level)) for level in LEVELS if audit.count(level)]
    buttons = "".join(
        f"<button type='button' class='pill' data-level='{level}' aria-pressed='{'false' if level else 'true'}'>"
        f"{name} {count}</button>"
        for level, name, count in chips
    )
    blocks = []
    for rule_id, found in groups:
        rule = rules.RULES[rule_id]
        items = [_finding(alike) for alike in _alike(found)]
        more = ""
        if len(items) > _OPEN + 2:
            rest = len(items) - _OPEN
            more = f"<details><summary>{rest} more</summary><ul class='list'>{''.join(items[_OPEN:])}</ul></details>"
            items = items[:_OPEN]
        levels = " ".join(sorted({item.level for item in found}))
        blocks.append(
            f"<article class='group' id='{rule_id}' data-levels='{levels}'><div>{_levels(found)}"
            f"<h3>{escape(rule.title)}</h3><span class='id key'>{rule_id}</span><p>{escape(rule.help)}</p></div>"
            f"<div><ul class='list'>{''.join(items)}</ul>{more}</div></article>"
        )
    return (
        "<section aria-labelledby='all'><header><h2 id='all'>All findings</h2>"
        f"<div class='chips' data-needs-script hidden role='group' aria-label='Show'>{buttons}</div></header>"
        f"{''.join(blocks)}</section>"
    )


def _alike(found: Iterable[Finding]) -> list[list[Finding]]:
    """Return *found* with those together whose message is the same of another service."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for item in found:
        name = re.escape(item.service)
        message = re.sub(rf"(?<![\w.-]){name}(?![\w-])", "\0", item.message) if name else item.message
        groups.setdefault((item.key, message), []).append(item)
    return list(groups.values())


def _finding(alike: list[Finding]) -> str:
    """Return what is wrong, once, with every place and command of those that are alike."""
    first, *others = alike
    also = f" <span class='soft'>Also: {_named('', (item.service for item in others))}.</span>" if others else ""
    places = [escape(item.place) for item in alike if item.place]
    where = "".join(f"<span class='where key'>{place}</span>" for place in dict.fromkeys(places))
    commands = [escape(item.command) for item in alike if item.command]
    run = "".join(f"<code class='run'>{command}</code>" for command in dict.fromkeys(commands))
    return f"<li>{escape(first.message)}{also}{where}{run}</li>"


def _people(audit: Audit) -> str:
    if not audit.readers_of_all:
        return ""
    lines = "".join(
        f"<li><b>{escape(reader.name)}</b><span>{escape(reader.how)}</span></li>" for reader in audit.readers_of_all
    )
    return (
        "<section aria-labelledby='people'><header><h2 id='people'>Who could read every secret</h2>"
        "<p>These can read them by what they are, whether or not they do.</p></header>"
        f"<ul class='people'>{lines}</ul></section>"
    )


def _footer(audit: Audit) -> str:
    gaps = "".join(f"<li>{escape(gap)}</li>" for gap in audit.facts.gaps)
    missed = f"<div>Not examined:<ul>{gaps}</ul></div>" if gaps else ""
    return (
        f"<footer>{missed}<p>Made by manage-secrets {escape(__version__)}. This page contains names of secrets and "
        "services, but no value. It loads nothing from the network.</p></footer>"
    )
