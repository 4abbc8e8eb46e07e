"""How a path or a name appears in a message: on one line, and only where it can hold no value."""


def shown_path(path: bytes) -> str:
    """Return *path* for a message, or words in its place: somebody may have set a `KEY_FILE` to the value itself."""
    if not path.startswith((b"/", b"./", b"../")) or len(path) > 512:
        return "the path it names"
    if path.startswith(b"/"):
        try:
            from posix import stat
        except ImportError:  # the host side runs on Windows too
            from os import stat

        try:
            stat(b"/" + path.split(b"/", 2)[1])
        except OSError:
            return "the path it names"
    return printable(path.decode("utf-8", "surrogateescape"))


def shown_name(path: bytes) -> str:
    """Return *path*, which holds no value, for a message."""
    return printable(path.decode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    """Return *text* on one line, as a terminal can show it; bytes that are not text become `\\xff`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(ord(character)) for character in text)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was decoded with surrogateescape
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
