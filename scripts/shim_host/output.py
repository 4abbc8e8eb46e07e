"""Everything that is printed: data on stdout, talk on stderr. Values never come here, only keys, names and words."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from shim_host.errors import Ended, Refused
from shim_host.shell import offered

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PROGRAM = "manage-secrets"
T = TypeVar("T")
R = TypeVar("R")
_beside_bar: Any = None  # the console of the bar of `progress`, which prints above it


class Warned(NamedTuple):
    """Something that is likely to surprise; *key* is empty when it concerns the whole line."""

    line: int
    key: str
    message: str
    hint: str = ""


def shown(text: str) -> str:
    """Return *text* fit for a terminal: what does not print is escaped, since names come from files and engines."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


_MOST = 12  # of what a message lists; more is more than anybody reads there


def listed(names: Iterable[str]) -> str:
    """Return *names* in a row; of many only the first and how many more there are, unless each step is to be shown."""
    row = list(names)
    if len(row) <= _MOST + 1 or _verbose[0]:
        return ", ".join(row)
    return f"{', '.join(row[:_MOST])} and {len(row) - _MOST} more (--verbose lists them)"


def unknown(words: Iterable[str]) -> str:
    """Return *words* in a row that were given as keys and are not known; one that may be a value is not repeated."""

    def is_like_a_key(word: str) -> bool:
        return word.isidentifier() and (word.isupper() or "__" in word or (word.islower() and "_" in word))

    return listed(word if is_like_a_key(word) else "a word that is not shown (it may be a value)" for word in words)


def many(count: int, noun: str) -> str:
    """Return *count* things called *noun*: "1 service", "2 services"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class _Talk(io.TextIOWrapper):
    """Stderr, which may be a log on a full disk: what cannot be said must not end a rotation halfway."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


class Unwritten(OSError):
    """Stdout does not take what is written to it, although somebody still reads it."""


class _Data(io.FileIO):
    """The file behind stdout; its errors can be told from those of every other file."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unwritten(error.errno, error.strerror) from None


def open_streams() -> None:
    """Make stdin, stdout and stderr what every command relies on.

    The number of one that is closed is taken, so that no other file gets it, into which a child would then write. Stdin
    is empty there, messages are lost, and data that cannot be given is an error.
    """
    for name, mode, flags in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            stream = open(os.open(os.devnull, flags), mode, closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    # Whoever runs a command inside another program, as tests do, has streams of their own.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        data = io.BufferedWriter(_Data(sys.stdout.fileno(), "w", closefd=False))
        # Names may hold what the terminal's encoding does not have.
        sys.stdout = io.TextIOWrapper(data, sys.stdout.encoding, "backslashreplace", line_buffering=data.isatty())
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
        sys.stderr = _Talk(sys.stderr.detach(), encoding, errors, line_buffering=True)


def drop_data() -> None:
    """Give up stdout, where nothing can be written any more; Python would complain once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def help_alone(context: Any) -> None:
    """Show the help of a group of commands of which none was named, as a mistake; click's releases differ in that."""
    if context.invoked_subcommand is None:
        sys.stderr.write(f"{context.get_help()}\n")
        context.exit(2)


def say(message: str) -> None:
    """Say on stderr what happens: one line, or on a terminal as many as it takes, broken between words."""
    _print(f"{PROGRAM}: {shown(offered(message))}", sys.stderr)


# What a terminal shows in colour, wherever a line begins with it.
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan", "hint": "dim", "failure": "bold red"}
_HANGING = 4  # how far the lines after the first are moved in


def _print(line: str, stream: TextIO, hanging: int = _HANGING) -> None:
    """Print *line*; a terminal gets it broken between words, the lines after the first moved in by *hanging*."""
    if not stream.isatty():
        print(line, file=stream, flush=True)
        return
    from textwrap import wrap

    from rich.console import Console
    from rich.text import Text

    console = _beside_bar or Console(file=stream, highlight=False)
    lead = len(line) - len(line.lstrip())
    indent = " " * min(lead + hanging, console.width // 2)
    # Not left to rich: it has no hanging indent, and folds or crops a word that is longer than a line (its overflow
    # "ignore" wraps nothing at all), where a name that is broken cannot be copied.
    parts = wrap(line, console.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    text = Text("\n".join(parts))
    for word, style in _STYLES.items():
        text.highlight_regex(rf"\A(?:{PROGRAM}: )?{word}(?=:|\s\s)", style)
    console.print(text, soft_wrap=True)


_verbose = [False]
_is_answered = [False]


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
    """Say on stderr why a command ended: each error, a hint that several have in common after the last of them."""
    errors = (ended, *ended.others)
    shown_errors = errors if len(errors) <= _MOST + 1 or _verbose[0] else errors[:_MOST]
    for one, following in zip_longest(shown_errors, shown_errors[1:]):
        say(f"error: {one.message}")
        if following is None and (left := len(errors) - len(shown_errors)):
            say(f"error: {many(left, 'more error')} like these; --verbose lists them")
        if following is None or following.hints != one.hints:
            for hint in one.hints:
                say(f"hint: {hint}")
    for hint in ended.closing:
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


JSON_VERSION = 1  # of every document; it changes when a field goes away or means something else
_held: dict[str, Any] | None = None
_holds = [False]


def hold_json() -> None:
    """Keep the document of this run until `finish_json`, so that what goes wrong after it can be in it."""
    _holds[0] = True


def give_json(document: Mapping[str, Any]) -> None:
    """Print *document* on stdout, with its version, at the end of the run if that was asked for."""
    global _held
    if _gathered is not None:
        _gathered.append(document)
        return
    _held = {"version": JSON_VERSION, **document}
    if not _holds[0]:
        finish_json()


def fail_json(message: str, hints: Sequence[str], code: int, others: Sequence[str] = ()) -> None:
    """Add to the document of this run why it ended, and what else is wrong; there need not be one yet."""
    global _held
    error = {"message": shown(message), "hints": [shown(offered(hint)) for hint in hints], "code": code}
    if others:
        error["others"] = [shown(other) for other in others]
    _held = {"version": JSON_VERSION, **(_held or {}), "error": error}


def finish_json() -> None:
    """Print the document that is held, if there is one."""
    import json

    global _held
    document, _held, _holds[0] = _held, None, False
    if document is not None:
        print(json.dumps(document, indent=2, ensure_ascii=True), flush=True)  # noqa: T201


def give_message(document: Any) -> None:
    """Print *document* on stdout in one line, for a program that reads line by line."""
    import json

    print(json.dumps(document, ensure_ascii=True), flush=True)  # noqa: T201


def give_text(text: str) -> None:
    """Print *text* on stdout as it is: a file for somebody to keep."""
    sys.stdout.write(text)
    sys.stdout.flush()


def give_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout: fitted to the terminal, or in plain columns for another program.

    Where there is no room, the widest column is wrapped between words; where that is not enough, or would break a word,
    each row becomes a block of lines.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]
    if not sys.stdout.isatty():
        for row in [columns, *cells]:
            print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip(), flush=True)  # noqa: T201
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    excess = sum(widths) + 2 * (len(columns) - 1) - console.width
    if excess > 0:
        widest = max(range(1, len(columns)), key=lambda i: widths[i], default=0)
        widths[widest] -= excess
        if widths[widest] < max(_longest_word(row[widest]) for row in [columns, *cells]) or not widest:
            _give_blocks(columns, cells)
            return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _give_blocks(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of its own, `column: cell`, below what the row is about; what is empty is left out."""
    for row in cells:
        _print(row[0], sys.stdout)
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell not in ("", "-"):
                _print(f"  {column}: {cell}", sys.stdout, hanging=2)


def give_line(text: str, hanging: int = _HANGING) -> None:
    """Print one line of data on stdout; a terminal may get several, those after the first moved in by *hanging*."""
    _print(shown(text), sys.stdout, hanging)


@contextmanager
def progress(what: str, count: int, least: int = 20) -> "Iterator[Any]":
    """Give a function to call after each of *count* pieces of work; on a terminal it moves a bar on stderr.

    Fewer pieces than *least* are done too soon for one. The log of a job gets a line now and then.
    """
    if not sys.stderr.isatty():
        yield _in_lines(what, count)
        return
    if count < least:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    global _beside_bar
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
    with bar:
        task = bar.add_task(what, total=count)
        _beside_bar = console
        try:
            yield lambda: bar.advance(task)
        finally:
            _beside_bar = None


_QUIET_SECONDS = 30  # how long a log has no line about work that goes on


def _in_lines(what: str, count: int) -> Callable[[], None]:
    """Return a function to call after each of *count* pieces of work; it prints how many are done if they take long."""
    from time import monotonic

    done, last = 0, monotonic()

    def advance() -> None:
        nonlocal done, last
        done += 1
        if done < count and monotonic() - last >= _QUIET_SECONDS:
            last = monotonic()
            say(f"{what}: {done} of {count} done")

    return advance


def each(what: str, items: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """Return what *work* makes of each of *items*, and show as `progress` does how many are done."""
    made = []
    with progress(what, len(items)) as advance:
        for item in items:
            made.append(work(item))
            advance()
    return made


def answer_yes(*, is_given: bool) -> None:
    """Take every question of this command for answered if `--yes` *is_given*."""
    _is_answered[0] = is_given


def confirm(question: str, *, yes: bool = False) -> None:
    """Go on if *yes* was given, or the person at the terminal says so.

    Raises:
        Refused: nobody says so.
    """
    if yes or _is_answered[0]:
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
        say("answer y or n")
