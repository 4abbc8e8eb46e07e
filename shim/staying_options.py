"""What `--init` was asked for: the options' words become numbers, seconds and lists. All mistakes are found at once."""

from shim.errors import Breach
from shim.signals import CHLD, KILL, signal_number
from shim.staying import Staying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_STOP = 19
_BLANKS = " \t\n"


def read_staying(options: "Options", wrong: list[Breach]) -> Staying:
    """Return what *options* ask of `--init`; each mistake is added to *wrong*."""
    staying = Staying()
    for pair in options.signal:
        _rewrite(staying, pair, wrong)
    for pair in options.exit_as:
        _exit_as(staying, pair, wrong)
    if options.grace:
        staying.grace_seconds = seconds("--grace", options.grace, wrong)
    if options.parent_death:
        staying.parent_death = signal_number(options.parent_death)
        if staying.parent_death == 0:
            wrong.append(_no_signal("--parent-death", options.parent_death))
    if options.on_change:
        _on_change(staying, options.on_change, wrong)
    if options.ready_fd:
        _ready(staying, options.ready_fd, wrong)
    for option, commands, into in (
        ("--pre", options.pre, staying.pre),
        ("--pre-root", options.pre_root, staying.pre_root),
    ):
        for command in commands:
            words = split_words(command)
            into.append([word.encode("utf-8", "surrogateescape") for word in words])
            if not words:
                hint = f"only words and quotes work as in a shell; for anything else write {option} \"sh -c '...'\""
                wrong.append(Breach("", f"{option} takes a command, and its quotes must be closed", hint))
    return staying


def _shown(text: str) -> str:
    """Return what is in the wrong place, as far as it may be said: a value's first letters are a part of it."""
    from shim.hide import hidden

    return repr(hidden(text)[:24])


def _no_signal(option: str, text: str) -> Breach:
    return Breach("", f"{option}: there is no signal {_shown(text)}", "write TERM, SIGTERM, 15 or RTMIN+3")


def _rewrite(staying: Staying, pair: str, wrong: list[Breach]) -> None:
    before, equals, after = pair.partition("=")
    number, wanted = signal_number(before), signal_number(after)
    is_dropped = after.strip() == "0"
    if not equals:
        wrong.append(Breach("", f"--signal takes SIGNAL=SIGNAL, not {_shown(pair)}", "--signal TERM=QUIT, or TERM=0"))
    elif number == 0:
        wrong.append(_no_signal("--signal", before))
    elif wanted == 0 and not is_dropped:
        wrong.append(_no_signal("--signal", after))
    elif number in (KILL, _STOP, CHLD):
        hint = "it tells the init that a process has ended" if number == CHLD else "no program can catch KILL or STOP"
        wrong.append(Breach("", f"--signal cannot rewrite {before.strip()}", hint))
    else:
        staying.rewritten[number] = wanted


def _exit_as(staying: Staying, pair: str, wrong: list[Breach]) -> None:
    before, _, after = pair.partition("=")
    code, wanted = _number(before, 255), _number(after, 255)
    if code < 0 or wanted < 0:
        wrong.append(
            Breach("", f"--exit-as takes CODE=CODE, not {_shown(pair)}", "--exit-as 143=0; codes are 0 to 255")
        )
    else:
        staying.exit_codes[code] = wanted


def _number(text: str, most: int) -> int:
    """Return the number, or -1."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most else -1


def seconds(option: str, text: str, wrong: list[Breach]) -> float:
    """Return the time that *text* is, `10s`, `500ms`, `2m` or plain seconds; a mistake is added to *wrong*."""
    digits = text.strip().lower()
    unit = ""
    while digits and not (digits[-1].isdigit() or digits[-1] == "."):
        unit = digits[-1] + unit
        digits = digits[:-1]
    scale = _UNITS.get(unit.strip() or "s")
    digits = digits.strip()
    if scale is None or not digits.isascii() or not digits.replace(".", "", 1).isdigit() or len(digits) > 9:
        wrong.append(Breach("", f"{option} takes a time, not {_shown(text)}", "10s, 500ms, 2m, or plain seconds"))
        return 0.0
    return float(digits) * scale


def _on_change(staying: Staying, text: str, wrong: list[Breach]) -> None:
    action, _, signal = text.strip().partition("=")
    staying.on_change = action
    if action == "signal":
        staying.change_signal = signal_number(signal)
        if staying.change_signal == 0:
            wrong.append(_no_signal("--on-change signal=...", signal))
    elif action not in ("restart", "exit") or signal:
        wrong.append(Breach("", "--on-change takes restart, signal=NAME or exit", "--on-change signal=HUP"))


def _ready(staying: Staying, text: str, wrong: list[Breach]) -> None:
    number = _number(text, 1 << 16)
    if number < 3:
        wrong.append(Breach("", f"--ready-fd takes a descriptor of 3 or more, not {_shown(text)}", "--ready-fd 3"))
    else:
        staying.ready_descriptor = number


def split_words(text: str) -> list[str]:
    """Return the words of *text*, with the quotes and backslashes of a shell and nothing else of it; [] when unclosed.

    No shell runs, so `$`, `;`, `*` and `|` are letters like others.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "\\" and quote != "'":
            follower = next(letters, None)
            if follower is None:
                return []
            escapes = not quote or follower in '"\\'
            word = (word or "") + (follower if escapes else "\\" + follower)
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word = (word or "") + letter
        elif letter in "'\"":
            quote = letter
            word = word or ""
        elif letter in _BLANKS:
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + letter
    if quote:
        return []
    return words if word is None else [*words, word]
