"""docs/MESSAGES.md, made from the sources: `python -m tests.support.messages_page` writes it.

Each message with its hints, below the section of docs/TROUBLESHOOTING.md that explains it, which its module decides.
"""

import re
from fnmatch import fnmatch

from tests.support.forms import REPOSITORY
from tests.support.messages import DYNAMIC, messages

PAGE = REPOSITORY / "docs/MESSAGES.md"
TROUBLE = REPOSITORY / "docs/TROUBLESHOOTING.md"
HEAD = f"""\
# All messages

Search this page for the part of your message that is not a name or a path; `{DYNAMIC}` is what changes. The hints that
may come with a message are below it. The headings are those of [Troubleshooting](TROUBLESHOOTING.md), where they are
explained. No message ever contains a value.

This page is made from the sources of the shim and of `manage-secrets`. A test compares the two, and other tests make
the programs print every message on it.
"""
# Which modules a section is about; the first one that a module fits.
SECTIONS = {
    "A value is missing": ("shim/lacking.py",),
    "The file cannot be read": ("shim/unreadable.py", "shim/by_path.py"),
    "Two sources have different values": ("shim/resolve.py", "shim/sources.py", "shim/twins.py", "shim/pointed.py"),
    "The command cannot be started": ("shim/not_started.py",),
    "A value has the wrong form": ("shim/checks.py",),
    "An official image and its profile": ("shim/profile*.py",),
    "An option is wrong": ("shim/read_options.py", "shim/variables.py", "shim/staying_options.py", "shim/explain.py"),
    "The schema cannot be used": ("shim/schema*.py", "shim/plan.py", "shim/composing.py"),
    "One file contains many values": ("shim/elsewhere.py", "shim/template.py"),
    "A file is left alone because nothing asks for it": ("shim/strays.py",),
    "A value looks like a mistake": ("shim/doubts.py",),
    "Something in the working directory is left alone": ("shim/folder.py", "shim/resolution.py"),
    "A configuration file cannot be rendered": ("shim/render.py", "shim/deliver.py"),
    "Becoming another user fails": ("shim/cannot_become.py", "shim/capabilities.py", "shim/user.py"),
    "The machine has no resources left": ("shim/stderr.py", "shim/stdout.py", "shim/child.py", "shim/relay.py"),
    "The service runs, and a message appears": (
        "shim/change.py", "shim/first_process.py", "shim/init.py", "shim/ready.py", "shim/watch.py",
    ),
    "The binary cannot be installed, or has a bug": ("shim/install.py",),
    "A part of the installation is missing": (
        "scripts/manage_secrets.py", "*/shim_host/binary.py", "*/commands/engine/image.py", "*/swarm/load.py",
    ),
    "The engine does not answer, or is not a manager": (
        "*/docker_cli.py", "*/swarm/connection.py", "*/swarm/answers.py", "*/swarm/reach/*.py", "*/swarm/trouble.py",
    ),
    "doctor warns about the engine or the Swarm": ("*/doctor/*.py",),
    "A value from .env is cut off or changed": ("*/env/*.py", "*/commands/env.py"),
    "The folder ./secrets cannot be used": (
        "*/store/vault.py", "*/store/ownership.py", "*/store/gitignore.py", "*/shim_host/errors.py",
    ),
    "validate finds a value or a name": ("*/shim_host/validation.py",),
    "validate finds services that disagree": ("*/commands/drift.py", "*/commands/validate.py"),
    "The Swarm holds a different value": (
        "*/commands/swarm.py", "*/commands/list.py", "*/deployment_key.py", "*/swarm/labels.py", "*/swarm/versions.py",
    ),
    "A secret of another tool cannot be taken over": ("*/rotate/adopt.py",),
    "A value cannot be changed inside a system": (
        "*/rotate/decorator.py", "*/rotate/systems/*.py", "*/swarm/helper/run_inside.py", "*/helper/elsewhere.py",
    ),
    "A rotation without a Swarm fails": (
        "*/rotate/compose*.py", "*/compose/running.py",
    ),
    "A rotation warns about a service": ("*/rotate/preflight.py",),
    "A rotation is undone because a service does not come up": (
        "*/rotate/swarm_run.py", "*/swarm/move/*.py", "*/rotate/files.py",
    ),
    "A rotation is refused before it begins": (
        "*/rotate/*.py",
    ),
    "lock or unlock refuses": ("*/backup/locked.py", "*/backup/secret_key.py", "*/commands/backup/lock.py"),
    "A backup cannot be restored": (
        "*/backup/document.py", "*/backup/age*.py", "*/backup/sealed_file.py", "*/commands/backup/import_.py",
    ),
    "A backup cannot be written": ("*/backup/gpg.py", "*/commands/backup/export.py"),
    "A passphrase is refused, or nobody vouches for a backup": ("*/backup/passphrase.py",),
    "Values cannot be read back from the Swarm": ("*/swarm/privacy.py", "*/helper/read_back.py"),
    "A value cannot be generated": (
        "*/shim_host/generate.py", "*/commands/generate.py", "*/commands/types.py", "*/store/filing.py",
    ),
    "A store's program gives no value": ("*/fetch/*.py",),
    "Docker's plugin or the provider of Compose refuses": (
        "*/apps/docker_plugin.py",
        "*/commands/engine/p*.py",
    ),
    "set, get, edit or remove refuses": ("*/commands/one_key.py", "*/commands/options.py"),
    "The Compose file cannot be read": (
        "*/compose/*.py", "*/shim_host/inputs.py", "*/shim_host/inventory.py",
    ),
    "migrate reports a finding": ("*/migrate/*.py",),
    "audit reports a finding": ("*/audit/*.py", "*/commands/audit.py"),
    "A command needs confirmation": ("*/shim_host/output.py",),
}  # fmt: skip


def section_of(file: str) -> str:
    """Return the section about the messages of *file*.

    Raises:
        LookupError: none is; add the module to the one that its messages belong to.
    """
    for title, patterns in SECTIONS.items():
        if any(fnmatch(file, pattern) for pattern in patterns):
            return title
    raise LookupError(f"{file} has messages: add it to SECTIONS in tests/support/messages_page.py")


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def page() -> str:
    """Return the page: each message once, in the section where it is met first."""
    placed: dict[str, tuple[str, dict[str, None]]] = {}
    for message in messages():
        _, hints = placed.setdefault(message.template, (section_of(message.file), {}))
        hints.update(dict.fromkeys(message.hints))
    text = [HEAD]
    for title in SECTIONS:
        lines = []
        for template, (section, hints) in placed.items():
            if section == title:
                lines.append(template)
                lines += [f"    hint: {hint}" for hint in list(hints)[:MOST_HINTS]]
        text.append(f"## {title}\n\n[Why, and what to do](TROUBLESHOOTING.md#{anchor(title)})\n")
        text.append("```text\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(text)


MOST_HINTS = 6  # a message with more has one for each situation: it says what fits


def shown_messages() -> list[str]:
    """Return the messages of the page as it is on the disk."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if not line.startswith("    hint: ")]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
