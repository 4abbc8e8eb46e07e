"""Write the manual pages of `manage-secrets`: one for the program and one for each command, out of their `--help`.

usage: man_pages.py CHECKOUT DIR     what CHECKOUT has of the program needs its libraries (the extra `host`)
"""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

PROGRAM = "manage-secrets"
EXIT_STATUS = (
    ("0", "clean"),
    ("1", "findings, or refused: something must be changed or confirmed"),
    ("2", "usage"),
    ("111", "the engine or the file system failed; a retry may help"),
    ("130", "interrupted"),
)


def main(checkout: Path, folder: Path) -> None:
    """Write every page into *folder*."""
    sys.path[:0] = [str(checkout / "scripts"), str(checkout)]
    import click
    from manage_secrets import COMMANDS, cli

    from shim import __version__

    day = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH") or 0), UTC).strftime("%Y-%m-%d")
    footer = f'"{day}" "docker-secrets-shim {__version__}" "User commands"'
    folder.mkdir(parents=True, exist_ok=True)
    root = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    table = [line for name, (_, words) in COMMANDS.items() for line in _item(f"{PROGRAM}-{name}(1)", words)]
    whole = [*_page(cli, root, footer), ".SH COMMANDS", *table, *_end([])]
    (folder / f"{PROGRAM}.1").write_text("\n".join(whole) + "\n", encoding="utf-8")
    for name, (_, words) in COMMANDS.items():
        command = cli.get_command(root, name)
        if command is None:
            raise SystemExit(f"there is no command {name}")
        context = click.Context(command, info_name=name, parent=root)
        lines = [*_page(command, context, footer, words), *_end([f"{PROGRAM}(1)"])]
        (folder / f"{PROGRAM}-{name}.1").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _page(command: "click.Command", context: "click.Context", footer: str, words: str = "") -> list[str]:
    name = context.command_path.replace(" ", "-")
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH "{_text(name.upper())}" "1" {footer}',
        ".SH NAME",
        f"{_text(name)} \\- {_text((words or paragraphs[0]).replace(chr(10), ' ').rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _text(usage),
        ".SH DESCRIPTION",
    ]
    sections: list[str] = []
    for paragraph in paragraphs:
        if not paragraph.lstrip().startswith("\b"):
            lines += [".PP", _text(" ".join(paragraph.split()))]
            continue
        first, *rest = paragraph.lstrip().removeprefix("\b").strip("\n").split("\n")
        title, _, behind = first.strip().partition(":")
        shown = [behind.strip(), *rest] if behind.strip() else rest
        sections += [f".SH {_text(title.upper())}", ".nf", *(_text(line) for line in shown), ".fi"]
    given = [param for param in command.get_params(context) if param.param_type_name == "option"]
    options = [param.get_help_record(context) for param in given]
    listed = [line for record in options if record is not None for line in _item(*record)]
    return [*lines, ".SH OPTIONS", *listed, *sections]


def _item(term: str, words: str) -> list[str]:
    return [".TP", f".B {_text(term)}", _text(" ".join(words.split()))]


def _end(see: list[str]) -> list[str]:
    status = [line for code, words in EXIT_STATUS for line in _item(code, words)]
    also = ", ".join([*see, "docker(1)", "age(1)", "gpg(1)"])
    return [".SH EXIT STATUS", *status, ".SH SEE ALSO", _text(also)]


def _text(text: str) -> str:
    """Return *text* as roff prints it as it is: no command, no escape, and hyphens that can be copied."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    )
    return "\\&" + text if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
