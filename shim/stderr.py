"""The only place that writes: one line per message to descriptor 2, as text or (SHIM_LOG=json) as one object.

stdout belongs to the service. A stderr that is closed or full must not keep a service from starting.
"""

from posix import write

from shim.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_is_json = False


def use_json(is_json: bool = True) -> None:
    """Write one JSON object per line from now on, or text again."""
    global _is_json
    _is_json = is_json


def warning(message: str, hint: str = "") -> None:
    """Write what is likely to surprise."""
    warnings([(message, hint)])


def warnings(all_of_them: "Iterable[tuple[str, str]]") -> None:
    """Write what is likely to surprise, each with its hint or ""."""
    _write("warning", [(message, hint, "", 0) for message, hint in all_of_them])


def notes(messages: "Iterable[str]") -> None:
    """Write what was done; asked for with -v."""
    _write("info", [(message, "", "", 0) for message in messages])


def report(failure: BaseException) -> int:
    """Write why nothing was started, whatever it is; return the exit code."""
    if isinstance(failure, MemoryError):
        from shim.breaches import Retryable

        failure = Refused([Retryable("", "out of memory", "raise the container's memory limit")])
    return report_refusal(failure) if isinstance(failure, Refused) else report_bug(failure)


def report_refusal(refusal: Refused) -> int:
    """Write every breach; return the exit code."""
    _write("error", [(breach.message, breach.hint, breach.key, breach.code) for breach in refusal.breaches])
    return refusal.code


def report_bug(failure: BaseException) -> int:
    """Write where it happened, and no word of the exception: it may hold a value."""
    from shim.breaches import Retryable

    frames = []
    trace = failure.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    message = f"internal error: {type(failure).__name__} at " + " < ".join(reversed(frames))
    hint = "this is a bug of the shim; please report this line, it holds no value"
    return report_refusal(Refused([Retryable("", message, hint)]))


def _write(level: str, messages: list[tuple[str, str, str, int]]) -> None:
    """Write *messages*, each with its hint, key and code, less the values of the environment.

    One of these may be where a name belongs; there may be thousands, and as many messages about them.
    """
    from shim.hide import hidden, hidden_values

    values = hidden_values() if messages else []
    for message, hint, key, code in messages:
        message, hint, key = hidden(message, values), hidden(hint, values), hidden(key, values)
        if _is_json:
            _line(_object({"level": level, "message": message, "hint": hint, "key": key}, code))
            continue
        _line(f"shim: {message}" if level == "info" else f"shim: {level}: {message}")
        if hint:
            _line(f"shim: hint: {hint}")


def _object(fields: dict[str, str], code: int) -> str:
    from shim.template import json

    text = ",".join(
        f'"{name}":' + json(value.encode("utf-8", "backslashreplace")).decode()
        for name, value in fields.items()
        if value
    )
    if not text.isprintable():  # C1, DEL and what turns the direction of a line, as in text
        text = "".join(character if character.isprintable() else _escaped(ord(character)) for character in text)
    return "{" + text + (f',"code":{code}' if code else "") + "}"


def _escaped(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000  # as UTF-16 writes it: RFC 8259, 7
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def _line(text: str) -> None:
    # One message is one line, whatever a file's name or a variable holds, and tells the terminal nothing.
    if not _is_json and not text.isprintable():
        from shim.shown import printable

        text = printable(text)
    line = (text + "\n").encode("utf-8", "backslashreplace")
    while line:
        try:
            line = line[write(2, line) :]
        except OSError as failure:
            if failure.errno == 32:
                _forget_broken_pipe()
            return  # closed, or nobody reads: there is nowhere to say so


def _forget_broken_pipe() -> None:
    """Drop the SIGPIPE that waits, blocked, for the mask to be restored: it would end the service before its start."""
    from shim import kernel

    if kernel.disposition(13) == 0:
        kernel.set_disposition(13, 1)  # ignoring a signal discards it while it is pending (sigaction(2), POSIX)
        kernel.set_disposition(13, 0)
