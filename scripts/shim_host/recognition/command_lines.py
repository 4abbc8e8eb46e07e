"""Where a command line holds a password that no name tells: behind `-p`, in a header, in a statement of SQL."""

import re

# Programs that take a password behind an option that does not say so: whether it is a part of that word, or the next.
_SHORT_OPTIONS = (
    (re.compile(r"(?:mysql|mariadb)[\w-]*|sshpass|7z[ar]?"), "p", True),
    (re.compile(r"sqlcmd|bcp|osql"), "P", True),
    (re.compile(r"redis-\w+|valkey-\w+"), "a", False),
    (re.compile(r"mongo\w*|sshpass|rabbitmqadmin|docker|vncpasswd|cypher-shell|cqlsh|influx|hdbsql"), "p", False),
    (re.compile(r"sqlcmd|bcp|osql|mosquitto_\w+|ipmitool|zip"), "P", False),
    (re.compile(r"ldap\w+"), "w", False),
)
# Between two words of one command, of a text or of a list; a word; and the last word, which is a password.
_GAP = r"\\?[\"']?(?:[ \t,]|\\\r?\n)+\\?[\"']?"
_WORD = r"[^\s\"',;&|]+"
_VALUE = r"(?P<value>[^\s\"'\]]+)"
_FLAGS = rf"(?:{_GAP}-{_WORD})*"
IN_SCRIPTS = (
    re.compile(
        r"(?i)\b(?:authorization|[\w-]*(?:api-?key|token|secret)):\s+"
        r"(?:(?:bearer|basic|token|apikey)\s+)?(?!(?:bearer|basic|token|apikey)\s)(?P<value>[^\s\"'`\\]{4,})"
    ),
    re.compile(r"(?i)\b(?:identified\s+by|password)\s+\\?'(?P<value>[^'\\]+)\\?'"),
    # Programs whose last argument is the password: `mc alias set NAME URL USER PASSWORD`.
    re.compile(
        rf"\bmc{_FLAGS}{_GAP}(?:alias{_GAP}set|config{_GAP}host{_GAP}add){_FLAGS}(?:{_GAP}{_WORD}){{3}}{_GAP}{_VALUE}"
    ),
    re.compile(
        rf"\brabbitmqctl{_FLAGS}{_GAP}(?:add_user|change_password|authenticate_user){_FLAGS}{_GAP}{_WORD}{_GAP}{_VALUE}"
    ),
    re.compile(
        rf"\bhtpasswd{_GAP}(?:-\w*b(?=\w*n)\w*|-\w*n(?=\w*b)\w*|-\w*b\w*{_GAP}{_WORD})(?:{_GAP}-C{_GAP}[0-9]+)?"
        rf"{_GAP}{_WORD}{_GAP}{_VALUE}"
    ),
    re.compile(rf"(?<![\w-])-pass(?:in|out)?{_GAP}pass:{_VALUE}"),
    re.compile(rf"\b(?:set-initial-password|reset-admin-password){_GAP}{_VALUE}"),
    re.compile(rf"\bvault{_GAP}login{_GAP}(?!-|{_WORD}=){_VALUE}"),
    re.compile(rf"\bsqlplus{_FLAGS}{_GAP}\w+/(?P<value>[^\s\"'@;&|]+)"),
    # As Redis, Mongo and the image dperson/samba take them.
    re.compile(rf"\b(?:requirepass|masterauth|primaryauth|auth-pass{_GAP}{_WORD}){_GAP}(?!-){_VALUE}"),
    re.compile(rf"\buser{_GAP}{_WORD}(?:{_GAP}{_WORD}){{0,3}}{_GAP}>{_VALUE}"),
    re.compile(r"\bauth\(\s*\\?[\"'][^\"'\\]+\\?[\"']\s*,\s*\\?[\"'](?P<value>[^\"'\\]+)"),
    re.compile(rf"(?<![\w-])-u{_GAP}[\w.@-]+;(?P<value>[^\s;\"'\\]+)"),
    re.compile(
        r"\b(?:echo|printf)\s+(?:-n\s+)?[\"']?(?P<value>[^\s\"'|]+)[\"']?\s*\|[^|]*(?:--?password-stdin|chpasswd|passwd|--stdin)\b"
    ),
)
_NEXT = r"[\"']?[\s,]+[\"']?"  # between two words, of a text or of a list
_IN_LINES = (
    re.compile(
        r"(?<![\w-])(?:(?:mysql|mariadb)[\w-]*|sshpass|7z[ar]?)\b[^\r\n]{0,400}?[\s\"',\[]-p(?P<value>[^\s\"',\]]+)"
    ),
    re.compile(rf"(?<![\w-])(?:redis|valkey)-\w+\b[^\r\n]{{0,400}}?[\s\"',\[]-a{_NEXT}(?P<value>[^\s\"',\]]+)"),
    re.compile(
        rf"(?<![\w-])(?:sqlcmd|bcp|osql|mosquitto_\w+|ipmitool|zip)\b[^\r\n]{{0,400}}?[\s\"',\[]-P(?:{_NEXT})?"
        rf"(?P<value>[^\s\"',\]]+)"
    ),
    re.compile(
        rf"(?<![\w-])(?:mongo\w*|sshpass|rabbitmqadmin|vncpasswd|cypher-shell|cqlsh|influx|hdbsql|docker{_NEXT}login)\b[^\r\n]{{0,400}}?"
        rf"[\s\"',\[]-p{_NEXT}(?P<value>[^\s\"',\]]+)"
    ),
    re.compile(rf"(?<![\w-])ldap\w+\b[^\r\n]{{0,400}}?[\s\"',\[]-w{_NEXT}(?P<value>[^\s\"',\]]+)"),
    re.compile(
        rf"(?<![\w-])(?:-[a-zA-Z]{{0,8}}[uU]|--(?:user|proxy-user|userpwd))(?:=|{_NEXT})(?![0-9]+:[0-9])"
        r"(?:\$\{[^}\s]*\}|[^\s\"',:/$]|\$(?!\{))+:(?P<value>[^\s\"',\]]+)"
    ),
    re.compile(
        r"(?i)\bauthorization:\s+(?:(?:bearer|basic|token|apikey)\s+)?(?!(?:bearer|basic|token|apikey)\s)(?P<value>[^\s\"'`\\]{4,})"
    ),
    *IN_SCRIPTS[1:],
)


def masked(line: str) -> str:
    """Return *line* with `***` in the place of each password that its programs take without a name."""
    for pattern in _IN_LINES:
        line = pattern.sub(_mask, line)
    return line


def _mask(match: re.Match[str]) -> str:
    value, start = match["value"], match.start()
    if value.startswith(("$", "/run/secrets/")):
        return match[0]
    return match[0][: match.start("value") - start] + "***" + match[0][match.end("value") - start :]


# A single dash and more than a letter may be `-pVALUE`; these are not.
_WRITTEN_OUT = frozenset(
    ("-key", "-keypass", "-pass", "-passin", "-passout", "-passphrase", "-passwd", "-password", "-secret", "-storepass")
)


def shown_option(option: str) -> str:
    """Return *option*, as `--password` or `-p`, where it holds no value for sure; else ""."""
    return option if option.startswith("--") or len(option) <= 2 or option in _WRITTEN_OUT else ""


def names_a_program(word: str) -> bool:
    """Return whether *word* is a program that takes a password behind an option of one letter."""
    return any(pattern.fullmatch(word.rsplit("/", 1)[-1]) for pattern, _, _ in _SHORT_OPTIONS)


def joined_password(program: str, word: str) -> str:
    """Return the password that *word*, such as `-phunter2` of mysql, gives to *program*; "" when it gives none."""
    for pattern, letter, is_joined in _SHORT_OPTIONS:
        if is_joined and pattern.fullmatch(program) and word.startswith(f"-{letter}") and len(word) > 2:
            return word[2:]
    return ""


def takes_password(program: str, word: str) -> bool:
    """Return whether the word behind *word*, such as `-a` of redis-cli, is a password of *program*."""
    return any(
        not is_joined and word == f"-{letter}" and pattern.fullmatch(program)
        for pattern, letter, is_joined in _SHORT_OPTIONS
    )
