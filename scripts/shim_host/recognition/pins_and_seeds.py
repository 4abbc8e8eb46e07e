"""PINs and seeds: names that say too little by themselves, and what tells where such a name has a secret.

RESET_PIN=17 is a pin of a board, SEED=fortheworthy a world of a game, RANDOM_SEED=42 a test: most may be read by all.
"""

import re
from collections.abc import Collection, Sequence
from itertools import pairwise

_PIN = re.compile(r"[0-9]{4,12}|[0-9]{2,4}(?:-[0-9]{2,4}){1,3}")
_SHORTEST_PIN = 4
# Whose PIN may be more than digits; and of what a version is held fast.
_OF_SOMEBODY = frozenset(("ADMIN", "CARD", "HSM", "LOGIN", "PKCS", "SIM", "SO", "SOFTHSM", "UNLOCK", "USER", "YUBIKEY"))
_OF_VERSIONS = frozenset(("COMMIT", "DATE", "GIT", "IMAGE", "MODEL", "PACKAGE", "REF", "REVISION", "SNAPSHOT", "TAG"))
_NO_PIN = re.compile(
    r"true|false|none|null|disabled|enabled|default|[/~.].*|\w+:.*|.*[\\${<\s].*", re.IGNORECASE | re.DOTALL
)

_HEXADECIMAL = re.compile(r"(?:0x)?(?=[0-9]*[a-fA-F])[0-9a-fA-F]{32,}")
_BASE32 = re.compile(r"(?=(?:[A-Z]*[2-7]){2})[A-Z2-7]{16,}={0,6}")
_BASE64 = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/_-]{16,}={0,2}")
# How often random text changes between capitals, small letters and digits; names and numbered hosts do so less often.
_CHANGES = 0.3
_WORDS = re.compile(r"[a-z]{3,8}(?:\s[a-z]{3,8}){11,24}")  # of the lists that wallets take them from
_OF_WALLETS = frozenset(("BACKUP", "RECOVERY", "SEED", "WALLET"))


def why(words: Sequence[str], value: str) -> str:
    """Return why *value* is a secret in a variable whose name has these *words*, in upper case; or ""."""
    last = words[-1] if words else ""
    is_one = (
        (last == "PIN" and _is_pin(words, value))
        or (last == "SEED" and (_is_random(value) or bool(_WORDS.fullmatch(value))))
        or (last in ("PHRASE", "WORDS") and bool(_OF_WALLETS.intersection(words)) and bool(_WORDS.fullmatch(value)))
    )
    return f"its name and its form are those of a {last.lower()}" if is_one else ""


def _is_pin(words: Collection[str], value: str) -> bool:
    if _OF_VERSIONS.intersection(words):
        return False
    is_text = bool(_OF_SOMEBODY.intersection(words)) and len(value) >= _SHORTEST_PIN and not _NO_PIN.fullmatch(value)
    return is_text or bool(_PIN.fullmatch(value))


def _is_random(value: str) -> bool:
    if _HEXADECIMAL.fullmatch(value) or _BASE32.fullmatch(value):
        return True
    changes = sum(_kind(one) != _kind(other) for one, other in pairwise(value))
    return bool(_BASE64.fullmatch(value)) and changes >= _CHANGES * len(value)


def _kind(letter: str) -> int:
    return 0 if letter.isdigit() else 1 if letter.isupper() else 2 if letter.islower() else 3
