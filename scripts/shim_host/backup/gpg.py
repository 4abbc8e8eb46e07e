"""GPG, through the real `gpg` and pipes only: what goes in and what comes out never touches a disk.

Messages name keys and say what gpg said; they hold neither a passphrase nor anything that was decrypted.
"""

import io
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gnupg

from shim.secret import Secret
from shim_host.errors import Failed, Refused

MAX_PLAIN_BYTES = 512 * 1024 * 1024  # what a file may become when it is opened; gpg's packets can be compressed
# Every byte is one character, so passphrases and what gpg says pass unchanged, whatever their encoding. None above 127
# ends a line, as \x85 does in Latin-1: the name in a key could go on with a line of status of its own.
_ONE_TO_ONE = "cp437"
_FINGERPRINT = re.compile(r"(?:0x)?(?:[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})")
_PASSPHRASE_OPTIONS = [
    "--s2k-mode", "3", "--s2k-digest-algo", "SHA512", "--s2k-count", "65011712",
]  # fmt: skip
# The agent remembers passphrases: a wrong one would open a file, and a right one would stay in memory.
_OPTIONS = ["--no-symkey-cache", "--compress-algo", "none"]
# Validity as gpg lists it: marginal, full, ultimate.
_TRUSTED = "mfu"
_UNUSABLE = {"e": "has expired", "r": "is revoked", "d": "is disabled", "i": "is not valid"}
# Why a secret key did not decrypt, as libgpg-error counts: what gpg 2.2 and 2.4 report alike, in every language.
_BAD_PASSPHRASE = 11
# Timeout, no pinentry, canceled, none given, fully canceled; a pinentry without a terminal: ENODEV, ENOTTY, ENXIO.
_NO_PASSPHRASE = {62, 85, 99, 177, 198, 32848, 32870, 32872}

# It would print to stderr what its children say.
logging.getLogger("gnupg").addHandler(logging.NullHandler())
logging.getLogger("gnupg").propagate = False


def seal(plain: bytes, recipients: Sequence[str], passphrase: Secret | None, *, armor: bool, signer: str = "") -> bytes:
    """Return *plain* encrypted to *recipients* (key id, fingerprint or mail address), or with *passphrase*.

    What goes to *recipients* is signed by the key *signer*, if there is one.

    Raises:
        Refused: a recipient has no usable key here.
        Failed: gpg cannot be run, or gives up.
    """
    gpg = _gpg()
    if passphrase is not None:
        result = _result(
            gpg,
            lambda: gpg.encrypt(
                plain,
                None,
                symmetric="AES256",
                passphrase=_as_given(passphrase),
                armor=armor,
                extra_args=[*_OPTIONS, *_PASSPHRASE_OPTIONS],
            ),
        )
    else:
        fingerprints = [_fingerprint(gpg, recipient) for recipient in recipients]
        # Whether a key is its owner's was decided with the fingerprints: gpg's own check would be the second.
        result = _result(
            gpg,
            lambda: gpg.encrypt(
                plain,
                fingerprints,
                sign=signer or None,
                always_trust=True,
                armor=armor,
                extra_args=[*_OPTIONS, "--no-encrypt-to"],
            ),
        )
    if not result.ok or result.returncode:
        raise Failed("gpg did not encrypt" + _said(result), "gpg --version shows where its keys are looked for")
    return bytes(result.data)


class Signer(NamedTuple):
    """Who signed a backup: a name that anybody may give a key of theirs, and whether the keyring vouches for it."""

    name: str  # "" for nobody
    is_known: bool


def unseal(sealed: bytes, passphrase: Secret | None) -> tuple[bytes, Signer]:
    """Return what *sealed* holds, and who signed it.

    *passphrase* opens the file, or the secret key that opens it.

    Raises:
        Refused: it is damaged or truncated, the key is not here, or the passphrase is wrong.
        Failed: gpg cannot be run.
    """
    gpg = _gpg()
    plain = bytearray()

    def keep(chunk: bytes) -> bool:
        if len(plain) <= MAX_PLAIN_BYTES:
            plain.extend(chunk)
        return False  # gnupg need not keep it as well

    gpg.on_data = keep
    given = None if passphrase is None else _as_given(passphrase)
    result = _result(gpg, lambda: gpg.decrypt(sealed, passphrase=given, extra_args=["--no-symkey-cache"]))
    status = _status(result)
    # Only a whole message with its integrity protection is believed; until then gpg gives what it has not checked.
    # gpg ends with an error, too, where it does not know who signed: then nobody vouches for it, and it is whole.
    is_by_unknown = "ERRSIG" in status and "BADSIG" not in status
    if (result.returncode and not is_by_unknown) or "DECRYPTION_OKAY" not in status or "BADMDC" in status:
        raise _why_closed(result, status)
    if len(plain) > MAX_PLAIN_BYTES:
        raise Refused(f"it holds more than {MAX_PLAIN_BYTES} bytes, more than a backup can")
    if not (result.valid and result.fingerprint):
        return bytes(plain), Signer("", is_known=False)
    is_known = not {"TRUST_MARGINAL", "TRUST_FULLY", "TRUST_ULTIMATE"}.isdisjoint(status)
    return bytes(plain), Signer(f"{_text(result.username)} ({result.fingerprint})", is_known)


def own_key() -> str:
    """Return the fingerprint of the first secret key here that can sign; "" when there is none."""
    for key in _gpg().list_keys(secret=True):
        if "S" in key.get("cap", "") and key.get("trust") not in ("r", "e", "d"):
            return str(key["fingerprint"])
    return ""


def wants_passphrase(sealed: bytes) -> bool:
    """Return whether a passphrase alone opens *sealed*: it is encrypted to no key."""
    return not _gpg().get_recipients_file(io.BytesIO(sealed))


def _gpg() -> Any:
    try:
        gpg = gnupg.GPG()
    except OSError:
        raise Failed("gpg cannot be run", "install GnuPG (Debian: apt-get install gnupg), or use age") from None
    except ValueError as error:
        raise Failed(f"gpg does not work: {' '.join(str(error).split())}", "try gpg --list-keys") from None
    gpg.encoding = _ONE_TO_ONE  # a keyword of GPG() since 0.5.7 only
    gpg.buffer_size = 65_536
    return gpg


def _result(gpg: Any, call: Callable[[], object]) -> Any:
    """Return the result of *call*, also where gpg ended before it had read everything."""
    results: list[Any] = []
    make = gpg.result_map["crypt"]

    def made(owner: object) -> Any:
        results.append(make(owner))
        return results[-1]

    gpg.result_map = {**gpg.result_map, "crypt": made}
    try:
        call()
    except BrokenPipeError:
        return results[-1]  # what gpg said before it ended is in there
    return results[-1]


def _as_given(passphrase: Secret) -> str:
    return passphrase.reveal().decode(_ONE_TO_ONE)


def _text(said: str) -> str:
    return said.encode(_ONE_TO_ONE).decode("utf-8", "replace")


def _fingerprint(gpg: Any, recipient: str) -> str:
    """Return the fingerprint of the one key that *recipient* names.

    Raises:
        Refused: there is none, there are several, it cannot encrypt, or nobody vouches for it.
    """
    if recipient.startswith("-") or not recipient.strip():
        raise Refused(f"{recipient!r} is not a recipient", "name a fingerprint, a key id or a mail address")
    keys = gpg.list_keys(keys=[recipient])
    if not keys:
        hint = "gpg --list-keys shows whom gpg knows; gpg --import adds a public key"
        raise Refused(f"gpg has no public key for {recipient}", hint)
    usable = [key for key in keys if key["trust"] not in _UNUSABLE and "E" in key["cap"]]
    if not usable:
        problem = _UNUSABLE.get(keys[0]["trust"], "cannot encrypt")
        raise Refused(f"the key of {recipient} {problem}", "name another recipient")
    if len(usable) > 1:
        fingerprints = ", ".join(key["fingerprint"] for key in usable)
        raise Refused(f"{recipient} names several keys: {fingerprints}", "name the fingerprint of the one you mean")
    key = usable[0]
    if key["trust"] not in _TRUSTED and not _FINGERPRINT.fullmatch(recipient):
        hint = f"compare its fingerprint with the owner, then name that: --recipient {key['fingerprint']}"
        raise Refused(f"nothing proves that the key of {recipient} is theirs", hint)
    return str(key["fingerprint"])


def _status(result: Any) -> dict[str, str]:
    """Return gpg's machine-readable status lines (doc/DETAILS of GnuPG): the keyword and the last arguments of each."""
    lines = (line.split(" ", 2) for line in result.stderr.splitlines() if line.startswith("[GNUPG:] "))
    return {words[1]: words[2] if len(words) > 2 else "" for words in lines if len(words) > 1}


def _why_closed(result: Any, status: dict[str, str]) -> Refused:
    # What is above the lowest 16 bits names the program that failed.
    reasons = {int(code) & 0xFFFF for code in re.findall(r"ERROR pkdecrypt_failed (\d+)", result.stderr)}
    # Before the next question: after a cancelled dialog gpg 2.4 goes on with an empty passphrase, which is wrong.
    if "CANCELED_BY_USER" in status or "MISSING_PASSPHRASE" in status or reasons & _NO_PASSPHRASE:
        hint = "give it with --passphrase-file FILE (or - for stdin), or let gpg ask: export GPG_TTY=$(tty)"
        return Refused("gpg wanted a passphrase and got none", hint)
    if "BAD_PASSPHRASE" in result.stderr or _BAD_PASSPHRASE in reasons:
        return Refused("the passphrase does not open it")
    # Last: gpg 2.4 reports NO_SECKEY of a key that is here and locked, too.
    if "NO_SECKEY" in status and "DECRYPTION_KEY" not in status:
        key = status.get("ENC_TO", "").split(" ", 1)[0]
        hint = "gpg --list-secret-keys shows what is here; use the machine or the user that has it"
        return Refused(f"it is encrypted to the key {key}, and gpg has no secret key for it", hint)
    return Refused("it is damaged or truncated" + _said(result), "take another copy of the backup")


def _said(result: Any) -> str:
    lines = [line for line in result.stderr.splitlines() if line.startswith("gpg: ")]
    return f": {_text(lines[-1].removeprefix('gpg: '))}" if lines else ""
