"""The pictures of README and guide, from real runs: `python -m tests.support.pictures` makes all of them again.

A test compares what they show with what the programs print today (tests/test_pictures.py); scripts/pages is the command
for people, which makes the other generated pages, too.
"""

import base64
import html
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.forms import REPOSITORY

FOLDER = REPOSITORY / "docs/pictures"
RESULTS = REPOSITORY / "tests/bench/results"
COLUMNS = 110
SECRETS = 20  # how many secrets the programs of the plot start with


class Palette(NamedTuple):
    """The colours of a picture."""

    paper: str
    ink: str
    soft: str
    accent: str
    rule: str


PALETTES = {
    "light": Palette("#ffffff", "#1f2328", "#59636e", "#0969da", "#d1d9e0"),
    "dark": Palette("#0d1117", "#f0f6fc", "#9198a1", "#4493f8", "#3d444d"),
}
SANS = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace"

# --- the idea -----------------------------------------------------------------------------------------------------


def idea(scheme: str) -> str:
    """Return the picture of what the shim does."""
    ink = PALETTES[scheme]
    boxes = (
        (20, "a file", "/run/secrets/db_password", "owned by root, mode 0400"),
        (320, "the shim", "reads, checks, execs", "and is gone: no process stays"),
        (620, "your service", "DB_PASSWORD=…", "same PID, signals, exit code"),
    )
    parts = []
    for left, title, code, words in boxes:
        middle = left + 120
        parts += [
            f'<rect x="{left}" y="30" width="240" height="110" rx="10" fill="none" stroke="{ink.rule}" />',
            f'<text x="{middle}" y="62" font-size="17" font-weight="600" fill="{ink.ink}">{title}</text>',
            f'<text x="{middle}" y="93" font-size="14" font-family="{MONO}" fill="{ink.accent}">{code}</text>',
            f'<text x="{middle}" y="119" font-size="13" fill="{ink.soft}">{words}</text>',
        ]
    for left in (260, 560):
        parts.append(f'<path d="M{left + 8} 85h40m-9 -7l9 7l-9 7" fill="none" stroke="{ink.soft}" stroke-width="2.5"/>')
    return _svg(880, 170, scheme, "A secret file, read by the shim, becomes a variable of the service", "".join(parts))


def _svg(width: int, height: int, scheme: str, title: str, body: str) -> str:
    paper = PALETTES[scheme].paper
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{html.escape(title)}" font-family="{SANS}" text-anchor="middle">'
        f'<rect width="{width}" height="{height}" fill="{paper}"/>{body}</svg>\n'
    )


# --- the terminal -------------------------------------------------------------------------------------------------

SCHEMA = """\
# @required @sensitive @generate @type=string(minLength=12)
DB_PASSWORD=

# @required @sensitive @generate
API_KEY=

# @required @sensitive @composed="postgresql://app:${DB_PASSWORD|url}@db:5432/app"
DATABASE_URL=
"""
SERVER = '#!/bin/sh\necho "listening; the password has ${#DB_PASSWORD} characters"\n'
SCRIPT = ("shim -- ./server", "manage-secrets generate", "shim -- ./server", "shim explain")
PROGRAMS = {
    "shim": (sys.executable, "-m", "shim"),
    "manage-secrets": (sys.executable, str(REPOSITORY / "scripts/manage_secrets.py")),
}


def recording() -> list[str]:
    """Return what a terminal shows of a real run of SCRIPT, line by line."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".env.schema").write_text(SCHEMA)
        (folder / "server").write_text(SERVER)
        (folder / "server").chmod(0o755)
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": name}
        for command in SCRIPT:
            program, *words = command.split()
            done = subprocess.run(
                [*PROGRAMS[program], *words],
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            lines += [f"$ {command}", *done.stdout.rstrip("\n").splitlines(), ""]
    return lines[:-1]


def terminal(scheme: str, lines: list[str]) -> str:
    """Return *lines* as a picture of a terminal; rich draws it."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
    from rich.text import Text

    console = Console(width=COLUMNS, record=True, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    for line in [*lines, ""]:  # the last one would be cut at its foot
        text = Text(line)
        text.highlight_regex(r"^\$ .*", "bold")
        text.highlight_regex(r"^\S+: error:", "bold red")
        text.highlight_regex(r"^\S+: hint:", "cyan")
        console.print(text)
    # No font from the network: what is there will do.
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("font-family: Fira Code, monospace", f"font-family: {MONO}")
    theme = DIMMED_MONOKAI if scheme == "dark" else DEFAULT_TERMINAL_THEME
    drawn = console.export_svg(title="a first start", theme=theme, code_format=form, unique_id=f"terminal-{scheme}")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def words_of(svg: str) -> list[str]:
    """Return the lines of text in the picture of a terminal, as they were printed."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        rows.setdefault(float(y), []).append((float(x), html.unescape(text).replace("\xa0", " ")))
    return ["".join(text for _, text in sorted(parts)).rstrip() for _, parts in sorted(rows.items())]


# --- the plot -----------------------------------------------------------------------------------------------------

PEERS = {
    ("tini", None): "tini, no secrets",
    ("s6-envdir", SECRETS): "s6-envdir",
    ("shim", SECRETS): "the shim",
    ("bash file_env", SECRETS): "bash file_env",
    ("python3.11 -I -S -c pass", None): "a bare Python, no secrets",
    ("sh $(cat) loop", SECRETS): "sh, $(cat) per file",
    ("naive onedir", SECRETS): "PyInstaller, as it comes",
    ("dotenv run", SECRETS): "python-dotenv run",
}


def newest_results() -> Path:
    """Return the newest measurements."""
    return max(RESULTS.glob("*.json"))


def ratios() -> dict[str, float]:
    """Return how long each program takes to start, in shares of a bare Python, in the plot's order."""
    starts = json.loads(newest_results().read_text(encoding="utf-8"))["starts"]
    found = {(one["program"], one["secrets"]): one["ratio"] for one in starts if not one["schema"]}
    return {name: found[peer] for peer, name in PEERS.items()}


def plot(scheme: str) -> str:
    """Return the plot of start-up against the peers."""
    ink, shares = PALETTES[scheme], ratios()
    scale = 480 / max(shares.values())
    title = f"Time to start a service with {SECRETS} secrets; a bare Python is 1"
    parts = [f'<text x="440" y="30" font-size="16" font-weight="600" fill="{ink.ink}">{title}</text>']
    for number, (name, share) in enumerate(shares.items()):
        y, colour = 52 + 30 * number, ink.accent if name == "the shim" else ink.soft
        parts.append(
            f'<text x="240" y="{y + 15}" font-size="14" text-anchor="end" fill="{ink.ink}">{html.escape(name)}</text>'
            f'<rect x="254" y="{y}" width="{max(share * scale, 1):.1f}" height="20" rx="3" fill="{colour}"/>'
            f'<text x="{264 + share * scale:.1f}" y="{y + 15}" font-size="13" text-anchor="start" '
            f'fill="{ink.soft}">{share:.2f}</text>'
        )
    source = f"measured {newest_results().stem} on two cores, Debian 12; tests/bench/run measures it again"
    height = 52 + 30 * len(shares) + 34
    parts.append(f'<text x="440" y="{height - 14}" font-size="12" fill="{ink.soft}">{source}</text>')
    return _svg(880, height, scheme, "Start-up compared", "".join(parts))


# --- the audit page -----------------------------------------------------------------------------------------------

COMPOSE = """\
services:
  db:
    image: postgres:15
    secrets: [db_password]
  api:
    image: shop/api
    environment:
      DB_PASSWORD: ${DB_PASSWORD}
    secrets: [api_token]
  worker:
    image: shop/worker
    privileged: true
    secrets: [db_password, api_token]
secrets:
  db_password: {file: ./secrets/db_password}
  api_token: {file: ./secrets/api_token}
"""
AUDITED_SCHEMA = """\
# @required @sensitive @generate @rotate=90d @services=db,worker
DB_PASSWORD=

# @required @sensitive @generate @rotate=180d
API_TOKEN=
"""


def audited() -> str:
    """Return the page of a real audit of a small project."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        environ = {"PATH": os.environ["PATH"], "HOME": name}

        def run(*words: str) -> None:
            command = [*PROGRAMS["manage-secrets"], *words]
            subprocess.run(command, cwd=folder, env=environ, capture_output=True, check=False)

        (folder / ".env.schema").write_text(AUDITED_SCHEMA)
        (folder / "docker-compose.yml").write_text(COMPOSE)
        run("generate")
        (folder / ".env").write_text(f"DB_PASSWORD={(folder / 'secrets/db_password').read_text()}\n")
        (folder / "secrets/api_token").chmod(0o644)
        run("audit", "--no-engine", "--html", "audit.html")
        return (folder / "audit.html").read_text(encoding="utf-8")


def seen_on(page: str) -> str:
    """Return the words of an audit page that do not differ from run to run."""
    body = page.partition("<body>")[2].partition("<script>")[0]
    body = re.sub(
        r"<dl class='about'>.*?</dl>|<div class='top'>.*?</button></div>|<footer>.*", " ", body, flags=re.DOTALL
    )
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def photographs(page: str) -> Iterator[tuple[str, bytes]]:
    """Yield the picture of *page* in Chromium, light and dark."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "audit.html"
        # The host and the folder of whoever makes the picture are nobody's business.
        about = re.sub(r"<div><dt>(Folder|Host)</dt><dd>.*?</dd></div>", "", page)
        path.write_text(about, encoding="utf-8")
        browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            for scheme in PALETTES:
                media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                size = {"width": 1100, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                browser.get(path.as_uri())
                taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
                yield scheme, base64.b64decode(taken["data"])
        finally:
            browser.quit()


def main() -> None:
    """Make every picture."""
    FOLDER.mkdir(exist_ok=True)
    lines = recording()
    for scheme in PALETTES:
        (FOLDER / f"idea-{scheme}.svg").write_text(idea(scheme), encoding="utf-8")
        (FOLDER / f"start-up-{scheme}.svg").write_text(plot(scheme), encoding="utf-8")
        (FOLDER / f"terminal-{scheme}.svg").write_text(terminal(scheme, lines), encoding="utf-8")
    page = audited()
    (FOLDER / "audit.txt").write_text(seen_on(page) + "\n", encoding="utf-8")
    for scheme, picture in photographs(page):
        (FOLDER / f"audit-{scheme}.png").write_bytes(picture)


if __name__ == "__main__":
    main()
