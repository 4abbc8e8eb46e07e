"""The only place that writes: one line per message to descriptor 2, as text or (SHIM_LOG=json) as one object.

stdout belongs to the service. A stderr that is closed or full must not keep a service from starting.
"""

from posix import write

from shim.errors import Breach, Refused

_is_json = False


def use_json(is_json: bool = True) -> None:
    """Write one JSON object per line from now on, or text again."""
    global _is_json
    _is_json = is_json


def error(breach: Breach) -> None:
    """Write what is wrong, and what to do about it."""
    if _is_json:
        _line(_object("error", breach.message, breach.hint, breach.key, breach.code))
        return
    _line(f"shim: error: {_hidden(breach.message)}")
    if breach.hint:
        _line(f"shim: hint: {_hidden(breach.hint)}")


def warning(message: str, hint: str = "") -> None:
    """Write what is likely to surprise."""
    if _is_json:
        _line(_object("warning", message, hint))
        return
    _line(f"shim: warning: {_hidden(message)}")
    if hint:
        _line(f"shim: hint: {_hidden(hint)}")


def note(message: str) -> None:
    """Write what was done; asked for with -v."""
    _line(_object("info", message) if _is_json else f"shim: {_hidden(message)}")


def report(failure: BaseException) -> int:
    """Write why nothing was started, whatever it is; return the exit code."""
    if isinstance(failure, MemoryError):
        from shim.breaches import Retryable

        failure = Refused([Retryable("", "out of memory", "raise the container's memory limit")])
    return report_refusal(failure) if isinstance(failure, Refused) else report_bug(failure)


def report_refusal(refusal: Refused) -> int:
    """Write every breach; return the exit code."""
    for breach in refusal.breaches:
        error(breach)
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


def _object(level: str, message: str, hint: str = "", key: str = "", code: int = 0) -> str:
    from shim.template import json

    fields = {"level": level, "message": message, "hint": hint, "key": key}
    fields = {name: _hidden(value) for name, value in fields.items()}
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


def _hidden(text: str) -> str:
    """Return *text* without the values that the environment holds: one of them may be where a name belongs."""
    from shim.hide import hidden

    return hidden(text)


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
