"""Which variables are secrets, and why. Names, values and a schema come in; a reason leaves, never a value."""

import re

from shim.schema import Schema

# Words of a name that say "secret"; a name is cut at _, -, . and where its case changes.
_TELLING = (
    " APIKEY AUTH BEARER COOKIE CREDENTIAL CREDENTIALS CREDS DSN JWT KEY KEYS PASS PASSPHRASE PASSWD PASSWORD "
    "PASSWORDS PEPPER PRIVATE PSK PW PWD SALT SECRET SECRETS SIGNING TOKEN TOKENS "
)
_SECRET_ENDINGS = ("PASSWORD", "PASSWD", "PASSPHRASE", "PASS", "SECRET", "TOKEN", "APIKEY", "ACCESSKEY", "PRIVATEKEY")
_INNOCENT = ("BYPASS", "COMPASS", "TRESPASS", "SURPASS", "OVERPASS", "UNDERPASS")
# A name that ends in one of these speaks about the secret, or about something public.
_ABOUT = (
    " ADDR ADDRESS AGE ALG ALGORITHM ALIAS ATTEMPTS AUDIENCE BACKEND BUCKET BYTES CALLBACK CLASS CLIENTS COUNT "
    "DATABASE DAYS DB DIR DISABLED DOMAIN DURATION ENABLED ENDPOINT ENGINE EXPIRATION EXPIRES EXPIRY FILE FORMAT "
    "HEADER HOST HOURS ID IDS IN INTERVAL ISSUER KIND LENGTH LEVEL LIFETIME LIMIT MAX METHOD MIN MINUTES MODE "
    "MODULE NAME NUMBER PATH PERIOD PLUGIN POLICY PORT PREFIX PROVIDER REALM REDIRECT REGION REQUIRED RETRIES "
    "ROUNDS RULE RULES SCHEME SCOPE SECONDS SERVER SERVICE SIZE SOCK SOCKET STATUS STRATEGY TABLE TIMEOUT TTL "
    "TYPE URI URL USER USERNAME VERSION WINDOW "
)
_PUBLIC = frozenset(("PUBLIC", "PUBLISHABLE", "PUB"))
_PASSWORDS = ("PASS", "PASSWORD", "PASSWD", "PASSPHRASE", "PWD", "PW", "SECRET", "CREDENTIALS")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TRIVIAL = re.compile(r"(?:true|false|yes|no|on|off|none|null|default|disabled|enabled|[0-9]{1,6})", re.IGNORECASE)

_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
_VALUES = (
    (_WITH_PASSWORD, "its value is a URL with a password"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "its value is a private key"),
    (
        re.compile(r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/\S+"),
        "its value is a secret address",
    ),
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"), "its value is a signed token"),
    (
        re.compile(
            r"(?:sk-|sk_live_|sk_test_|rk_live_|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abprs]-|SG\.|AIza)[A-Za-z0-9_.-]{12,}"
        ),
        "its value looks like a service's token",
    ),
    (re.compile(r"(?i)(?:^|[;\s])(?:password|pwd|accountkey|sharedaccesskey)=[^;\s]+"), "its value holds a password"),
)


def words_of(name: str) -> list[str]:
    """Return the words of *name* in upper case: `apiKey` and `API_KEY` are both API, KEY."""
    return [word.upper() for part in re.split(r"[^A-Za-z0-9]+", name) for word in _WORD.findall(part)]


def why_by_name(name: str) -> str:
    """Return why *name* is a secret's, or ""."""
    words = words_of(name)
    if not words or f" {words[-1]} " in _ABOUT or _PUBLIC.intersection(words):
        return ""
    for word in words:
        if f" {word} " in _TELLING or (word.endswith(_SECRET_ENDINGS) and word not in _INNOCENT):
            return f"its name says {word}"
    return ""


def why_by_value(value: str) -> str:
    """Return why *value* is a secret whatever its name is, or ""."""
    return next((reason for pattern, reason in _VALUES if pattern.search(value)), "")


def why_secret(key: str, value: str, schema: Schema | None) -> str:
    """Return why the variable *key* is a secret; "" when it is none.

    Args:
        key: its name.
        value: its value, which is looked at where the name says nothing.
        schema: has the first word, where it knows the key and says so.
    """
    if key.startswith(("COMPOSE_", "SHIM_")):
        return ""
    spec = schema.keys.get(key) if schema is not None else None
    if spec is not None and (spec.is_sensitive or spec.sensitive is False):
        return "the schema says so" if spec.is_sensitive else ""
    by_name = why_by_name(key)
    if by_name and (not _TRIVIAL.fullmatch(value) or any(word.endswith(_PASSWORDS) for word in words_of(key))):
        return by_name
    return why_by_value(value)


def masked_line(line: str) -> str:
    """Return *line* of a `.env` or Compose file with what looks like a secret's value as `***`, comments included."""
    line = _ASSIGNED.sub(_mask_assigned, line)
    line = _FLAG.sub(lambda match: match[1] + "***" if why_by_name(match["name"]) else match[0], line)
    for pattern, _ in _VALUES:
        line = pattern.sub(lambda match: _scheme(match[0]) + "***", line)
    return line


_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)(?P<middle>[\"']?\s*[=:]\s*)(?P<value>\S.*)")
_FLAG = re.compile(r"((?<![\w-])--?(?P<name>[A-Za-z][A-Za-z0-9-]*)(?:\s+|[\"']?,\s*[\"']?))[^\s\"',\]]+")
_HARMLESS = re.compile(
    r"[\"']?(?:\$\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?]\}|\})|\$[A-Za-z_][A-Za-z0-9_]*|/run/secrets/[\w.-]+)[\"']?\s*(?:[,}\]].*|#.*)?"
)


def _mask_assigned(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if not why_by_name(name) or name.endswith("_FILE") or _HARMLESS.fullmatch(value):
        # What stands behind another name may hold one more: `labels: {API_TOKEN: x}`.
        return name + match["middle"] + _ASSIGNED.sub(_mask_assigned, value)
    return f"{name}{match['middle']}***"


def _scheme(text: str) -> str:
    head, separator, _ = text.partition("://")
    return head + separator if separator else ""
