"""Which variables are secrets, and why. Names, values and a schema come in; a reason leaves, never a value."""

import re
from collections.abc import Collection, Iterable

from shim.schema import KeySpec, Schema, check_value
from shim_host.recognition import command_lines, key_shapes, pins_and_seeds

# Words of a name that say "secret"; a name is cut at _, -, . and where its case changes.
_TELLING = (
    " APIKEY AUTH BEARER COOKIE CREDENTIAL CREDENTIALS CREDS DSN JWT KEY KEYS MASTERAUTH MNEMONIC PASS PASSPHRASE "
    "MDP PASSE PASSWD PASSWORD PASSWORDS PEPPER PRIVATE PSK PW PWD SALT SECRET SECRETS SIGNING TOKEN TOKENS "
)
_SECRET_ENDINGS = (
    "PASSWORD", "PASSWD", "PASSPHRASE", "PASSCODE", "PASSWORT", "KENNWORT", "CONTRASENA", "SENHA", "WACHTWOORD", "PASS",
    "PWD", "SECRET", "TOKEN", "APIKEY", "ACCESSKEY", "AUTHKEY", "ENCRYPTIONKEY", "MASTERKEY", "PASSKEY", "PASSKEYS",
    "PRIVATEKEY", "SECRETKEY", "SIGNINGKEY",
)  # fmt: skip
_INNOCENT = ("BYPASS", "COMPASS", "OLDPWD", "TRESPASS", "SURPASS", "OVERPASS", "UNDERPASS")
# A name that ends in one of these, in the singular or the plural, speaks about the secret, or about something public.
_ABOUT = (
    " ADDR ADDRESS AGE ALG ALGORITHM ALIAS ARN ATTEMPT ATTRIBUTE AUD AUDIENCE BACKEND BUCKET BYTE CALLBACK CHARSET "
    "CIPHER CLAIM CLASS CLIENT COLUMN COMPLEXITY CONFIG CONVERTER COUNT CURVE DATABASE DAY DB DELAY DEPTH "
    "DESERIALIZER DIR DIRECTORY DISABLED DOMAIN DURATION EMAIL ENABLED ENDPOINT ENGINE EXP EXPIRATION EXPIRE "
    "EXPIRED EXPIRES EXPIRY FIELD FILE FILENAME FILEPATH FOLDER FORMAT FROM GROUP HANDLER HASHER HEADER HISTORY "
    "HOST HOSTNAME HOUR HTTPONLY ID IN INTERVAL IP ISS ISSUER KID KIND LABEL LANG LANGUAGE LEEWAY LENGTH LEVEL "
    "LIFETIME LIMIT LOCALE LOCATION LOGIN LOGOUT MANAGER MAX METHOD MIN MINUTE MODE MODULE NAME NUMBER ONLY "
    "OPTION ORIGIN PATH PATTERN PERIOD PLUGIN POLICY PORT PREFIX PROMPT PROTOCOL PROVIDER RATE REALM REDIRECT "
    "REGEX REGION REGISTRATION REQUEST REQUIRED RESET RESPONSE RETRIES RETRY ROLE ROTATION ROUND RULE SAMESITE "
    "SCHEME SCOPE SECOND SECURE SEEDER SERIALIZER SERVER SERVICE SITE SIZE SLOT SOCK SOCKET SOURCE STATUS STORE "
    "STRATEGY STRENGTH SUFFIX SYMBOL TABLE TEMPLATE THRESHOLD TIMEOUT TITLE TRANSPORT TTL TYPE URI URL USER "
    "USERNAME VALIDATION VERIFY VERSION WINDOW "
)
# Alone these say little: they tell as the last word (REDIS_AUTH), not in AUTH_BACKENDS, NEXT_PRIVATE_X, auth.config.
_TELLS_LAST = frozenset(("AUTH", "PRIVATE"))
# What a name that ends in one of _TELLS_LAST, or in ENCRYPTION, may have: how somebody is known, or who may see it.
_METHODS = (
    " anonymous basic bearer cert certificate cram-md5 digest external gssapi kerberos ldap local login md5 ntlm "
    "oauth oauth2 oidc openid password peer plain private public public-read public-read-write rbac saml "
    "scram-sha-1 scram-sha-256 scram-sha-512 simple spnego sso token trust "
)
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
_PASSWORDS = (
    "PASS", "PASSWORD", "PASSWD", "PASSPHRASE", "PASSCODE", "PASSWORT", "KENNWORT", "CONTRASENA", "SENHA", "WACHTWOORD",
    "PWD", "PW", "SECRET", "CREDENTIALS",
)  # fmt: skip
# The word before AUTH in the name of a place, or of a header: VIRTUAL_HOST_AUTH is the host of the login page.
_AT_AUTH = frozenset(("DOMAIN", "FQDN", "HEADER", "HOST", "HOSTNAME", "SUBDOMAIN", "VHOST"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TRIVIAL = re.compile(r"(?:true|false|yes|no|on|off|none|null|default|disabled|enabled|[0-9]{1,6})", re.IGNORECASE)
_NO_SECRET = re.compile(r"true|false|yes|no|on|off|none|null|[0-9]{1,3}", re.IGNORECASE)
SHORTEST_TELLING = 8
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
    r"(?:[\w.-]+/)*[\w.-]+(?:\.(?:key|pem|crt|cer|cert|csr|der|p12|pfx|jks|keystore|gpg|asc|pub|json|ya?ml|txt|conf|env)|_creds)"
)
_QUOTED = re.compile(r"^([\"'])(.+)\1$")
# An address that has no user, no query and no part that could be random.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9_.-]+(?::[0-9]{1,5})?(?:/[a-z_-]{1,20}){0,3}/?")
_FINGERPRINT = re.compile(r"(?:0x)?(?:[0-9A-Fa-f]{16,40}\s*)+")  # of a public key, as GPG_KEY of many images
_IDENTIFIER = re.compile(r"[a-z]+(?:[_.][a-z]+)+")  # as --keys=http_server has one
_FOLDER = re.compile(r"/(?:[a-z][a-z0-9_-]*)?")

# What only a value may look like: in a file of somebody's repository it would be found in too many places.
# Up to the last @: a password may hold a slash or an @ of its own. A port and a path are none, nor is the name of a
# variable that the program, or its shell, puts in.
_BY_NAME = r"(?!\$(?:\{\w+\}|\(\w+\)|[A-Z_][A-Z0-9_]*)@[^@\s]*(?:\s|$))"
_WITH_PASSWORD = re.compile(
    rf"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{{0,40}}://[^/\s:@]{{0,256}}:(?![0-9]+/){_BY_NAME}[^\s\"'`<>,]{{1,512}}@(?=[\w\[$:])"
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
    (
        re.compile(
            # As Apache, crypt() and bcrypt write one; a Compose file has each dollar twice.
            r"\${1,2}(?:1|5|6|y|apr1)\${1,2}[^\s$]{1,60}\${1,2}[./A-Za-z0-9]{20,}|\${1,2}2[abxy]\${1,2}[0-9]{2}\${1,2}[./A-Za-z0-9]{53}"
            r"|\${1,2}argon2(?:id|i|d)\${1,2}v=|\{S?SHA(?:256|512)?\}[A-Za-z0-9+/]{27,}"
            r"|^[\w.@-]{1,100}:[\w.@ -]{1,100}:[0-9a-f]{32}$"
        ),
        "its value holds the hash of a password",
    ),
    (
        re.compile(
            r"(?:^|(?i:authorization)[\"']?\s*[=:]\s*[\"']?)(?i:bearer|basic|token|apikey|splunk)\s+"
            r"(?=\S{0,4000}(?:[0-9=]|[a-z][A-Z]))[A-Za-z0-9._~+/=-]{8,}"
        ),
        "its value holds a token",
    ),
    # Of drivers that write no scheme in front: Go's for MySQL, Oracle's.
    (
        re.compile(
            r"(?:^|[\s=\"'])[^\s:/@\"'=]{1,64}:[^\s\"']{1,256}@(?:tcp|unix|udp)6?\("
            r"|jdbc:oracle:\w{1,10}:[^\s/@:]{1,64}/[^\s@]{1,128}@|^\w{1,64}/[^\s/@]{1,128}@//[\w.-]+"
        ),
        "its value is an address with a password",
    ),
    (re.compile(r"[?&]sig=[A-Za-z0-9%+/]{20,}"), "its value is a signed address"),
    (
        re.compile(
            r"\b(?:discord|telegram|tgram|gotify|slack|teams|msteams|pushover|pover|pushbullet|pbul|opsgenie|ifttt|join|"
            r"lark|googlechat)s?://(?:\S{0,200}[/:])?(?=[A-Za-z0-9_-]{0,200}[0-9])[A-Za-z0-9_-]{16,}"
            # A token in the place of the user, and not the public key in the address of a Sentry project.
            r"|\bhttps?://(?=[A-Za-z_-]{0,100}[0-9])[A-Za-z0-9_-]{16,}@(?![^\s/]+/[0-9]+(?:$|\s))"
        ),
        "its value is a secret address",
    ),
    (re.compile(r"\bclaim-[A-Za-z0-9_-]{20}\b"), "its value looks like a service's token"),
    (
        re.compile(
            r"\blogin\s+\S{1,100}\s+password\s+\S|\\?\"auth\\?\"\s*:\s*\\?\"(?=[a-z]{0,100}[A-Z0-9])[A-Za-z0-9+/]{12,}={0,2}\\?\""
        ),
        "its value holds a login",
    ),
)


def words_of(name: str) -> list[str]:
    """Return the words of *name* in upper case: `apiKey` and `API_KEY` are both API, KEY."""
    return [word.upper() for part in re.split(r"[^A-Za-z0-9]+", name) for word in _WORD.findall(part)]


def why_by_name(name: str) -> str:
    """Return why *name* is a secret's, or ""."""
    words = words_of(name)
    if words[-3:] == ["ROOT", "TOKEN", "ID"]:
        return "its name contains TOKEN"  # VAULT_DEV_ROOT_TOKEN_ID is the token itself
    if not words or _is_about(words[-1]) or _PUBLIC.intersection(words):
        return ""
    if words[-1] in ("KEY", "KEYS") and _OPENS_NOTHING.intersection(words[-2:-1]):
        return ""
    if words[-1] == "AUTH" and _AT_AUTH.intersection(words[-2:-1]):
        return ""
    if words[-2:] == ["ACCESS", "CODE"]:
        return "its name contains ACCESS_CODE"
    last = next((word for word in reversed(words) if word not in _ENCODED), "")
    for word in words:
        if word in _TELLS_LAST and word != last:
            continue
        if f" {word} " in _TELLING or (word.endswith(_SECRET_ENDINGS) and word not in _INNOCENT):
            return f"its name contains {word}"
    return ""


def why_named(name: str, value: str) -> str:
    """Return why *value* is a secret by its *name*, and by its form where that alone says too little; or ""."""
    by_name = why_by_name(name)
    if by_name:
        return "" if is_harmless(name, value) else by_name
    return pins_and_seeds.why(words_of(name), _QUOTED.sub(r"\2", value))


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
    last = words[-1] if words else ""
    is_password = any(word.endswith(_PASSWORDS) and word not in _INNOCENT for word in words)
    if (last in _TELLS_LAST or last == "ENCRYPTION") and f" {value.lower()} " in _METHODS:
        return True
    if (last == "PWD" and _FOLDER.fullmatch(value)) or ({"GPG", "PGP"} & {*words} and _FINGERPRINT.fullmatch(value)):
        return True
    if _ANSWER.fullmatch(value):
        return not is_password or any(f" {word} " in _FLAGS for word in words)
    if _TRIVIAL.fullmatch(value) and not is_password:
        return True
    if words in (["KEY"], ["KEYS"]) and _IDENTIFIER.fullmatch(value):
        return True
    if _PLACE.fullmatch(value) or _ADDRESS.fullmatch(value):
        return True
    is_name_of_file = not is_password or last == "CREDENTIALS"
    return is_name_of_file and bool(_KEY_FILE.fullmatch(value))


def why_by_value(value: str) -> str:
    """Return why *value* is a secret whatever its name is, or ""."""
    by_its_own = next((reason for pattern, reason in _VALUES if pattern.search(value)), "")
    if not by_its_own and (inner := _setting_within(value)):
        by_its_own = f"its value sets {inner}"
    return by_its_own or next((f"its value looks like {what}" for what, _ in key_shapes.found_in(value)), "")


# One of several settings in a value: an option of the JVM, a member of JSON, a part of a URL's query, a header.
_SETTING = re.compile(
    r"(?<![A-Za-z0-9_.])(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,100})(?:\\?[\"'])?\]?\s{0,3}(?:=|:(?=[\s\"'\\]))\s{0,3}(?:\\?[\"'])?"
    r"(?P<value>[^\s\"'&;,<>{}()\[\]$%*\\][^\s\"'&;,<>{}()\[\]\\]{7,400})"
)
_WITH_DIGIT = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])")
_VAGUE = ("AUTH", "COOKIE", "KEY", "KEYS", "PRIVATE", "SALT")  # many things are called so
_FEW_LETTERS = 16  # what follows one of those has to be as long to tell


def _setting_within(value: str) -> str:
    """Return the name of a setting in *value* that is called like a secret and has more than a word; else ""."""
    if "=" not in value and ":" not in value:
        return ""
    at = 0
    while found := _SETTING.search(value, at):
        at = found.end("name")  # what follows it may be another: `url=https://x/?token=y`
        name, inner = found["name"], found["value"]
        words = words_of(name)
        if not why_named(name, inner) or name.endswith("_FILE") or is_placeholder(inner):
            continue
        is_named = any(word.endswith(_PASSWORDS) for word in words)
        if not is_named and (not _WITH_DIGIT.match(inner) or (name.upper() in _VAGUE and len(inner) < _FEW_LETTERS)):
            continue
        if is_telling(inner) and "://" not in inner and not inner.startswith(("/", "./", "~")):
            return name
    return ""


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
    return why_named(key, value) or why_by_value(value)


def label_words(label: str) -> str:
    """Return the part of the name *label* that tells what its value is: behind the name of a router, a job, a monitor.

    That name is what somebody called it: `traefik.http.routers.token-api.entrypoints` has nothing to do with a token.
    """
    found = _WITH_NAME.match(label)
    return label[found.end() :] if found else label


def is_telling(value: str) -> bool:
    """Return whether a text that holds *value* hardly does so by chance: it is long, and no single word."""
    return len(value) >= SHORTEST_TELLING and not _A_WORD.fullmatch(value)


# Labels of Traefik, Ofelia, deck-chores and AutoKuma, up to the name that somebody gave to what they set up.
_WITH_NAME = re.compile(
    r"(?i)(?:traefik\.(?:http|tcp|udp)\.(?:routers|services|middlewares|serverstransports)|traefik\.tls\.(?:options|stores)"
    r"|ofelia\.job-[a-z-]+|deck-chores|kuma)\.[^.]+\."
)
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


def masked_text(text: str) -> str:
    """Return *text* with every line of it as `masked_line` gives it; only a line feed ends one, as for Compose."""
    return "".join(masked_line(line) for line in re.split(r"(\r?\n)", text))


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
        if name.endswith("_FILE") or _HARMLESS.fullmatch(line, at):
            continue
        simple = _SIMPLE.fullmatch(line, at)
        if not why_by_name(name):
            if why_named(name, simple["bare"] if simple is not None else line[at:].strip(" \"',}]")):
                return line[:at] + "***"
            continue
        if simple is None or not is_harmless(name, simple["bare"]) or may_hold_value(simple["rest"] or ""):
            return line[:at] + "***"
    return line


def _scheme(text: str) -> str:
    head, separator, _ = text.partition("://")
    return head + separator if separator else ""
