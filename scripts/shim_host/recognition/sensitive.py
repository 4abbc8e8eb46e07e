"""Which variables are secrets, and why. Names, values and a schema come in; a reason leaves, never a value."""

import re
from collections.abc import Collection, Iterable

from shim.schema import KeySpec, Schema, check_value
from shim_host.recognition import command_lines, key_shapes

# Words of a name that say "secret"; a name is cut at _, -, . and where its case changes.
_TELLING = (
    " APIKEY AUTH BEARER COOKIE CREDENTIAL CREDENTIALS CREDS DSN JWT KEY KEYS PASS PASSPHRASE PASSWD PASSWORD "
    "PASSWORDS PEPPER PRIVATE PSK PW PWD SALT SECRET SECRETS SIGNING TOKEN TOKENS "
)
_SECRET_ENDINGS = ("PASSWORD", "PASSWD", "PASSPHRASE", "PASS", "SECRET", "TOKEN", "APIKEY", "ACCESSKEY", "PRIVATEKEY")
_INNOCENT = ("BYPASS", "COMPASS", "TRESPASS", "SURPASS", "OVERPASS", "UNDERPASS")
# A name that ends in one of these, in the singular or the plural, speaks about the secret, or about something public.
_ABOUT = (
    " ADDR ADDRESS AGE ALG ALGORITHM ALIAS ATTEMPT ATTRIBUTE AUDIENCE BACKEND BUCKET BYTE CALLBACK CHARSET "
    "CIPHER CLAIM CLASS CLIENT COLUMN COMPLEXITY CONFIG CONVERTER COUNT CURVE DATABASE DAY DB DELAY DEPTH "
    "DESERIALIZER DIR DIRECTORY DISABLED DOMAIN DURATION EMAIL ENABLED ENDPOINT ENGINE EXP EXPIRATION EXPIRE "
    "EXPIRED EXPIRES EXPIRY FIELD FILE FILENAME FILEPATH FOLDER FORMAT FROM GROUP HANDLER HASHER HEADER "
    "HISTORY HOST HOSTNAME HOUR HTTPONLY ID IN INTERVAL IP ISSUER KIND LABEL LANG LANGUAGE LEEWAY LENGTH LEVEL "
    "LIFETIME LIMIT LOCALE LOCATION LOGOUT MANAGER MAX METHOD MIN MINUTE MODE MODULE NAME NUMBER ONLY OPTION "
    "ORIGIN PATH PATTERN PERIOD PLUGIN POLICY PORT PREFIX PROMPT PROTOCOL PROVIDER RATE REALM REDIRECT REGEX "
    "REGION REGISTRATION REQUEST REQUIRED RESET RESPONSE RETRIES RETRY ROLE ROUND RULE SAMESITE SCHEME SCOPE "
    "SECOND SECURE SEEDER SERIALIZER SERVER SERVICE SITE SIZE SLOT SOCK SOCKET SOURCE STATUS STRATEGY STRENGTH "
    "SUFFIX TABLE TEMPLATE THRESHOLD TIMEOUT TITLE TRANSPORT TTL TYPE URI URL USER USERNAME VALIDATION VERIFY "
    "VERSION WINDOW "
)
# Alone these say little: they tell as the last word (REDIS_AUTH), not in AUTH_BACKENDS, NEXT_PRIVATE_X, auth.config.
_TELLS_LAST = frozenset(("AUTH", "PRIVATE"))
_ENCODED = frozenset(("PEM", "BASE", "BASE64", "B64", "64", "B"))  # behind what the value is: VAPID_PRIVATE_BASE64
# A name with one of these asks a question, and a yes or no answers it: ALLOW_EMPTY_PASSWORD.
_FLAGS = (
    " ALLOW ALLOWED AUTO CAN CHANGE CHECK CORS DISABLE DISABLED DISALLOW EMPTY ENABLE ENABLED FORCE FORGOT GENERATE "
    "HAS HIDE INSTALL IS KEEP LOG NO ONETIME OPTIONAL PROMPT RANDOM REQUIRE REQUIRED REQUIRES RESET SHOW SKIP USE USES "
    "VALIDATE VERIFY WITH WITHOUT "
)
_PUBLIC = frozenset(("PUBLIC", "PUBLISHABLE", "PUB"))
# The word before KEY in what is not a key to anything: a column, a queue's address, the front of names in a cache, what
# reCAPTCHA shows to everybody.
_OPENS_NOTHING = frozenset(("FOREIGN", "PARTITION", "PREFIX", "ROUTING", "SHARD", "SITE", "SORT"))
_PASSWORDS = ("PASS", "PASSWORD", "PASSWD", "PASSPHRASE", "PWD", "PW", "SECRET", "CREDENTIALS")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TRIVIAL = re.compile(r"(?:true|false|yes|no|on|off|none|null|default|disabled|enabled|[0-9]{1,6})", re.IGNORECASE)
_NO_SECRET = re.compile(r"true|false|yes|no|on|off|none|null|[0-9]{1,3}", re.IGNORECASE)
_SHORTEST_TELLING = 8
_A_WORD = re.compile(r"[a-z]{1,15}|[A-Z]{1,15}|[A-Z][a-z]{1,14}|[0-9]{1,9}")
_ANSWER = re.compile(
    r"(?:true|false|yes|no|on|off|y|n|t|f|0|1|none|null|disabled|enabled|required|requested|optional|want|need)?",
    re.IGNORECASE,
)
# How languages and their configuration files write that there is none.
_NOTHING = re.compile(r"null|none|nil|undefined|\{\}|\[\]|\"\"|''", re.IGNORECASE)
# A place in a file system: two names at least, each written as people write names, or below a folder that all know.
# Random text that happens to begin with a slash is not: it has capitals and digits in the middle of its parts.
_PART = r"(?:[a-z0-9._@-]+|[A-Z][a-z0-9._-]*|[A-Z0-9_.-]+)"
_PLACE = re.compile(
    rf"(?:~|\.{{1,2}}|[A-Za-z]:|%[\w.]+%)?(?:[/\\]{_PART}){{2,}}/?|(?:~|\.{{1,2}})/{_PART}/?|/(?:run|etc|var|certs?|keys?)/\S*"
)
_KEY_FILE = re.compile(
    r"[\w.-]+\.(?:key|pem|crt|cer|cert|csr|der|p12|pfx|jks|keystore|gpg|asc|pub|json|ya?ml|txt|conf|env)"
)
_QUOTED = re.compile(r"^([\"'])(.+)\1$")
# An address that has no user, no query and no part that could be random.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9_.-]+(?::[0-9]{1,5})?(?:/[a-z_-]{1,20}){0,3}/?")

# What only a value may look like: in a file of somebody's repository it would be found in too many places.
# Up to the last @: a password may hold a slash or an @ of its own. A port and a path are none.
_WITH_PASSWORD = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,40}://[^/\s:@]{0,256}:(?![0-9]+/)[^\s\"'`<>,]{1,512}@(?=[\w\[$])"
)
_VALUES = (
    (_WITH_PASSWORD, "its value is a URL with a password"),
    (re.compile(r"-----BEGIN [A-Z0-9 ]{0,60}PRIVATE KEY(?: BLOCK)?-----"), "its value is a private key"),
    (
        re.compile(r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/\S+"),
        "its value is a secret address",
    ),
    (
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]+"),
        "its value is a signed token",
    ),
    # Longer than a word, and shorter than what the table of whole keys asks for.
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:sk-|sk_live_|sk_test_|rk_live_|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abprs]-|SG\.|AIza)[A-Za-z0-9_.-]{12,}"
        ),
        "its value looks like a service's token",
    ),
    (
        re.compile(r"(?i)(?:^|[;?&\s])(?:password|passwd|pwd|accountkey|sharedaccesskey)=[^;&\s]+"),
        "its value holds a password",
    ),
)


def words_of(name: str) -> list[str]:
    """Return the words of *name* in upper case: `apiKey` and `API_KEY` are both API, KEY."""
    return [word.upper() for part in re.split(r"[^A-Za-z0-9]+", name) for word in _WORD.findall(part)]


def why_by_name(name: str) -> str:
    """Return why *name* is a secret's, or ""."""
    words = words_of(name)
    if not words or _is_about(words[-1]) or _PUBLIC.intersection(words):
        return ""
    if words[-1] in ("KEY", "KEYS") and _OPENS_NOTHING.intersection(words[-2:-1]):
        return ""
    last = next((word for word in reversed(words) if word not in _ENCODED), "")
    for word in words:
        if word in _TELLS_LAST and word != last:
            continue
        if f" {word} " in _TELLING or (word.endswith(_SECRET_ENDINGS) and word not in _INNOCENT):
            return f"its name contains {word}"
    return ""


def _is_about(word: str) -> bool:
    return f" {word} " in _ABOUT or f" {word.removesuffix('S')} " in _ABOUT


def is_nothing(value: str) -> bool:
    """Return whether *value* cannot be a secret, whatever it is called: an answer, or a small number."""
    return bool(_NO_SECRET.fullmatch(value))


def is_harmless(name: str, value: str) -> bool:
    """Return whether *value* is none that *name*, a secret's by its words, would keep: an answer, or a place.

    `ALLOW_EMPTY_PASSWORD=yes`, `REDIS_TLS_KEY=/certs/redis.key`, `DB_PASSWORD=/run/secrets/db_password`.
    """
    if _NOTHING.fullmatch(value):
        return True
    value = _QUOTED.sub(r"\2", value)  # as in a list: `- DISABLE_AUTH='true'`
    words = words_of(name)
    is_password = any(word.endswith(_PASSWORDS) for word in words)
    if _ANSWER.fullmatch(value):
        return not is_password or any(f" {word} " in _FLAGS for word in words)
    if _TRIVIAL.fullmatch(value) and not is_password:
        return True
    if _PLACE.fullmatch(value) or _ADDRESS.fullmatch(value):
        return True
    return not is_password and bool(_KEY_FILE.fullmatch(value))


def why_by_value(value: str) -> str:
    """Return why *value* is a secret whatever its name is, or ""."""
    by_its_own = next((reason for pattern, reason in _VALUES if pattern.search(value)), "")
    return by_its_own or next((f"its value looks like {what}" for what, _ in key_shapes.found_in(value)), "")


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
        return "by the schema" if spec.is_sensitive else ""
    by_name = why_by_name(key)
    if by_name and not is_harmless(key, value):
        return by_name
    return why_by_value(value)


def is_telling(value: str) -> bool:
    """Return whether a text that holds *value* hardly does so by chance: it is long, and no single word."""
    return len(value) >= _SHORTEST_TELLING and not _A_WORD.fullmatch(value)


# A name that ends in one of these has the name of a user or of a database, which is written in many places.
_ACCOUNTS = frozenset(("DATABASE", "DB", "DBNAME", "LOGIN", "NAME", "ROLE", "SCHEMA", "USER", "USERNAME"))
_AS_NAMED = re.compile(r"[A-Z]?[a-z]+[0-9]{0,4}(?:[_.@-][A-Z]?[a-z]+[0-9]{0,4})*")


def named_alike(variables: Iterable[tuple[str, str]], secret: Collection[str]) -> set[str]:
    """Return the values among *variables*, without those of *secret* keys, that users and databases are called.

    A password that is one is weak. It counts as a secret by its own name alone: `POSTGRES_USER=app_owner` gives
    none away.
    """
    return {
        value
        for name, value in variables
        if _AS_NAMED.fullmatch(value) and _ACCOUNTS.intersection(words_of(name)[-1:]) and name not in secret
    }


def is_placeholder(value: str) -> bool:
    """Return whether *value* is what examples have in the place of one, `replace-me`: many keys have that."""
    spec = KeySpec("")
    spec.sensitive = True
    return bool(check_value(spec, value.encode("utf-8", "surrogateescape")))


def may_hold_value(remark: str) -> bool:
    """Return whether a comment may hold a value: a word of it is long, and no word."""
    return any(is_telling(word.strip(".,:;!?()'\"")) for word in remark.split())


_LONGEST_LINE = 16_384


def masked_line(line: str) -> str:
    """Return *line* of a `.env` or Compose file with what looks like a secret's value as `***`, comments included."""
    if len(line) > _LONGEST_LINE:
        line = line[:_LONGEST_LINE] + "…"  # nobody reads on, and what is cut off shows nothing
    line = _assignments_masked(command_lines.masked(line))
    line = _FLAG.sub(_flag_masked, line)
    for pattern, _ in _VALUES:
        line = pattern.sub(lambda match: _scheme(match[0]) + "***", line)
    return key_shapes.replaced(line, "***")


_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_.])(?<![A-Za-z0-9_.]-)(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]{0,200})[\"']?\s*[=:]\s*(?=\S)"
)
_FLAG = re.compile(
    r"(?<![\w-])(?P<option>--?(?P<name>[A-Za-z][A-Za-z0-9-]*))(?P<between>\s+|[\"']?,\s*[\"']?)[^\s\"',\]]+"
)
_LETTERS = 2  # of an option that is shown whatever it is: its dash and one more


def _flag_masked(match: re.Match[str]) -> str:
    """Return an option and its value with what is secret masked: that is the option itself in `-pVALUE`."""
    if not why_by_name(match["name"]):
        return match[0]
    option, between = match["option"], match["between"]
    return (option if command_lines.shown_option(option) else option[:_LETTERS] + "***") + between + "***"


_HARMLESS = re.compile(
    r"[\"']?(?:\$\{[A-Za-z_][A-Za-z0-9_]*(?::?[-?]\}|\})|\$[A-Za-z_][A-Za-z0-9_]*|/run/secrets/[\w.-]+)[\"']?\s*(?:[,}\]].*|#.*)?"
)


_SIMPLE = re.compile(r"[\"']?(?P<bare>[^\s\"'#,}\]]+)[\"']?\s*(?P<rest>[,}\]].*|#.*)?")


def _assignments_masked(line: str) -> str:
    at = 0
    while match := _ASSIGNED.search(line, at):
        # What follows another name may hold one more: `labels: {API_TOKEN: x}`.
        at = match.end()
        name = match["name"]
        if not why_by_name(name) or name.endswith("_FILE") or _HARMLESS.fullmatch(line, at):
            continue
        simple = _SIMPLE.fullmatch(line, at)
        if simple is None or not is_harmless(name, simple["bare"]) or may_hold_value(simple["rest"] or ""):
            return line[:at] + "***"
    return line


def _scheme(text: str) -> str:
    head, separator, _ = text.partition("://")
    return head + separator if separator else ""
