"""Everything that is printed: data on stdout, talk on stderr. Values never come here, only keys, names and words."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from shim_host.errors import Ended, Refused

PROGRAM = "manage-secrets"


class Warned(NamedTuple):
    """Something that is likely to surprise; *key* is empty when it concerns the whole line."""

    line: int
    key: str
    message: str
    hint: str = ""


def shown(text: str) -> str:
    """Return *text* fit for a terminal: what does not print is escaped, since names come from files and engines."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def many(count: int, noun: str) -> str:
    """Return *count* things called *noun*: "1 service", "2 services"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(message: str) -> None:
    """Say on stderr what happens."""
    print(f"{PROGRAM}: {shown(message)}", file=sys.stderr, flush=True)  # noqa: T201  (this room prints)


_verbose = [False]


def be_verbose(*, is_verbose: bool) -> None:
    """Say each step from now on."""
    _verbose[0] = is_verbose


def detail(message: str) -> None:
    """Say on stderr one step, if the person asked for that."""
    if _verbose[0]:
        say(message)


def warn(message: str, hint: str = "") -> None:
    """Say on stderr what is likely to surprise, and what to do about it."""
    say(f"warning: {message}")
    if hint:
        say(f"hint: {hint}")


def explain(ended: Ended) -> None:
    """Say on stderr why a command ended."""
    say(f"error: {ended.message}")
    for hint in ended.hints:
        say(f"hint: {hint}")


_gathered: list[Any] | None = None


@contextmanager
def gathered(name: str) -> Iterator[None]:
    """Print the documents that are given meanwhile as one, with the list of them under *name*."""
    global _gathered
    _gathered = []
    try:
        yield
    finally:
        documents, _gathered = _gathered, None
        if documents:
            give_json({name: documents})


def give_json(document: Any) -> None:
    """Print *document* on stdout."""
    import json

    if _gathered is not None:
        _gathered.append(document)
        return
    print(json.dumps(document, indent=2, ensure_ascii=True), flush=True)  # noqa: T201


def give_message(document: Any) -> None:
    """Print *document* on stdout in one line, for a program that reads line by line."""
    import json

    print(json.dumps(document, ensure_ascii=True), flush=True)  # noqa: T201


def give_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout: fitted to the terminal, or in plain columns for another program."""
    cells = [[shown(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]
        for row in [columns, *cells]:
            print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip(), flush=True)  # noqa: T201
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, width in zip(
        columns, _widths(columns, cells, console.width - _BETWEEN * (len(columns) - 1)), strict=True
    ):
        table.add_column(column, overflow="fold", width=width)
    for row in cells:
        table.add_row(*row)
    console.print(table)


_BETWEEN = 2  # characters between two columns


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the width of each column: what it needs, and where there is no room for that the widest give some.

    None gets less than the longest word of its heading; rich itself would cut that.
    """
    least = [max(map(len, column.split())) for column in columns]
    widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]
    while sum(widths) > room:
        spare, at = max((width if width > least[i] else 0, i) for i, width in enumerate(widths))
        if not spare:
            break
        widths[at] -= 1
    return widths


def give_line(text: str) -> None:
    """Print one line of data on stdout."""
    print(shown(text), flush=True)  # noqa: T201


@contextmanager
def progress(what: str, count: int) -> "Iterator[Any]":
    """Give a function to call after each of *count* pieces of work; on a terminal it moves a bar on stderr."""
    if count < 20 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=count)
        yield lambda: bar.advance(task)


def confirm(question: str, *, yes: bool) -> None:
    """Go on if *yes* was given, or the person at the terminal says so.

    Raises:
        Refused: nobody says so.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            f"this needs confirmation: {question}", "add --yes to answer it, or --dry-run to see what would be done"
        )
    while True:
        print(f"{PROGRAM}: {shown(question)} [y/N]: ", end="", file=sys.stderr, flush=True)  # noqa: T201
        answer = sys.stdin.readline()
        if not answer:
            raise KeyboardInterrupt  # the terminal was closed, or Ctrl-D: nobody answered
        if answer.strip().lower() in ("y", "yes"):
            return
        if answer.strip().lower() in ("", "n", "no"):
            raise Refused("nothing was changed")
        print("Error: invalid input", file=sys.stderr)  # noqa: T201
