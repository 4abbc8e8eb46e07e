"""Values of the environment that are where a name belongs are not repeated: a command, a user, a path, a signal.

`CMD ["$DB_PASSWORD"]`, `SHIM_USER: ${TOKEN}`: what was meant to be a secret arrives as a word, and a message would put
it into a log. Loaded when something is said.
"""

from shim import kernel

_SHORT = 6  # a shorter value is part of many a word by chance
# What an engine, a shell or an image sets for everybody to see.
_OPEN = (
    b" PATH HOME SHELL PWD OLDPWD USER LOGNAME HOSTNAME TERM LANG LANGUAGE TZ _ SHLVL COLUMNS LINES DEBIAN_FRONTEND "
    b"SHIM_SECRETS_DIR SHIM_SERVICE SHIM_PROFILE SHIM_LOG SHIM_PREFER SHIM_REQUIRE SHIM_ONLY SHIM_FILE_KEY "
)
_TAKEN_APART = (b"SHIM_USER", b"SHIM_SIGNAL", b"SHIM_EXIT_AS")  # a message names a part: the user of USER:GROUP
_TELLING = (b"PASS", b"SECRET", b"TOKEN", b"KEY", b"CREDENTIAL", b"AUTH")
_OF_PATHS = (b"_FILE", b"_DIR", b"_DIRECTORY", b"_PATH")  # CREDENTIALS_DIRECTORY, SSH_KEY_PATH


def hidden(text: str, values: list[str] | None = None) -> str:
    """Return *text* with `***` in the place of each of *values*: those that the environment came with."""
    for value in hidden_values() if values is None else values:
        if value in text:
            text = text.replace(value, "***")
    return text


def hidden_values() -> list[str]:
    """Return what is hidden, the longest first. Whoever has many messages asks once, and keeps none of it."""
    return sorted(_values(), key=len, reverse=True)


def _values() -> set[str]:
    found = set()
    for entry in kernel.environ:
        name, _, value = entry.partition(b"=")
        if len(value) < _SHORT or b" " + name + b" " in _OPEN or name.startswith(b"LC_"):
            continue
        if name.endswith(b"_FILE") and _folded(value) == _folded(name[:-5]):
            continue  # DB_PASSWORD_FILE=db_password: a file's name where its path belongs
        is_telling = any(word in name.upper() for word in _TELLING) and not name.endswith(_OF_PATHS)
        if is_telling or not (_is_word(value) or _is_path(value)):
            found.add(value.decode("utf-8", "surrogateescape"))
        if is_telling or name in _TAKEN_APART:
            for part in value.replace(b"=", b":").replace(b",", b":").split(b":"):
                if len(part) >= _SHORT and not (_is_word(part) or _is_path(part)):
                    found.add(part.decode("utf-8", "surrogateescape"))
    return found


def _folded(name: bytes) -> bytes:
    return name.upper().replace(b"-", b"_").replace(b".", b"_")


def _is_word(value: bytes) -> bool:
    """Return whether it is of letters alone in one case, as in `production`; messages hold such words."""
    return value.isalpha() and (value.islower() or value.isupper())


def _is_path(value: bytes) -> bool:
    """Return whether it is a path to something, which may be said."""
    if value[:1] != b"/":
        return value.startswith((b"./", b"../"))
    from posix import stat

    try:
        stat(b"/" + value.split(b"/", 2)[1])
    except (OSError, ValueError):
        return False
    return True
