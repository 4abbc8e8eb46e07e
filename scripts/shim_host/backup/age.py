"""age (age-encryption.org/v1), in memory: recipients are X25519 or SSH keys, or one passphrase."""

import base64
import binascii
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shim.secret import Secret
from shim_host.backup import age_program
from shim_host.errors import Ended, Refused, failed_file
from shim_host.inputs import read_bounded

try:
    import pyrage
except ModuleNotFoundError:  # no wheel for this machine
    pyrage = None

ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_SSH_TYPES = ("ssh-ed25519 ", "ssh-rsa ")
_SCRYPT = re.compile(rb"-> scrypt \S+ ([0-9]+)")
_TOO_SLOW, _TRIES = "Excessive work", 10
_MOST_WORK = 20  # the exponent of scrypt's work, a kibibyte each; age itself takes 18
ENOUGH_WORK, _SEALINGS = 17, 5  # tried again and again, the last bit of age's 18 would cost seconds


def is_recipient(text: str) -> bool:
    """Return whether *text* looks like a recipient of age rather than of GPG; not every kind of SSH key can be one."""
    return text.startswith("age1") or (text.startswith("ssh-") and " " in text)


def seal(plain: bytes, recipients: Sequence[str], passphrase: Secret | None, *, armor: bool) -> bytes:
    """Return *plain* encrypted to *recipients*, or with *passphrase*.

    Raises:
        Refused: a recipient is malformed, the passphrase is not text, or neither library nor program is there.
    """
    if pyrage is None:
        return age_program.seal(plain, recipients, passphrase, armor=armor)
    if passphrase is not None:
        return _seal_patiently(plain, _text(passphrase), armor=armor)
    return bytes(pyrage.encrypt(plain, [_recipient(text) for text in recipients], armored=armor))


def _seal_patiently(plain: bytes, passphrase: str, *, armor: bool) -> bytes:
    """Return *plain* encrypted so that trying a passphrase costs enough, or as much as this machine is taken to do.

    The library measures that for some milliseconds: one that is busy in these would have a backup that is cheap to try.
    """
    best = b""
    for _ in range(_SEALINGS):
        sealed = bytes(pyrage.passphrase.encrypt(plain, passphrase, armored=armor))
        best = max(best, sealed, key=work_of)
        if work_of(best) >= ENOUGH_WORK:
            break
    return best


def work_of(sealed: bytes) -> int:
    """Return how costly it is to try a passphrase for *sealed*: each one more is twice the work; 0 if none opens it."""
    found = _SCRYPT.search(_start(sealed))
    return int(found[1]) if found is not None else 0


def unseal(sealed: bytes, passphrase: Secret | None, identities: Sequence[Path]) -> bytes:
    """Return what *sealed* holds.

    Raises:
        Refused: it is damaged or truncated, or neither a key in *identities* nor the passphrase opens it.
        Failed: a file of *identities* cannot be read.
    """
    if pyrage is None:
        return age_program.unseal(sealed, passphrase, identities)
    work = _SCRYPT.search(_start(sealed))
    if passphrase is not None and work is not None and (len(work[1]) > 2 or int(work[1]) > _MOST_WORK):
        hint = "open it with age itself, if you know who made it, and export it again"
        raise Refused(f"trying a passphrase would take more than {1 << (_MOST_WORK - 20)} GiB of memory", hint)
    try:
        if passphrase is not None:
            return _unseal_patiently(sealed, passphrase)
        return bytes(pyrage.decrypt(sealed, [key for path in identities for key in _identities(path)]))
    except pyrage.DecryptError as error:
        raise _why_closed(str(error), with_passphrase=passphrase is not None) from None


def _unseal_patiently(sealed: bytes, passphrase: Secret) -> bytes:
    """Return what *sealed* holds; a busy machine gets more than one try.

    The library refuses what it expects to take too long, and measures this machine's speed at each call.
    """
    for _ in range(_TRIES - 1):
        try:
            return bytes(pyrage.passphrase.decrypt(sealed, _text(passphrase)))
        except pyrage.DecryptError as error:
            if _TOO_SLOW not in str(error):
                raise
    return bytes(pyrage.passphrase.decrypt(sealed, _text(passphrase)))


def is_usable(path: Path) -> bool:
    """Return whether the file at *path* holds a secret key that opens files, as far as the library tells."""
    if pyrage is None:
        return True
    try:
        _identities(path)
    except Ended:
        return False
    return True


def wants_passphrase(sealed: bytes) -> bool:
    """Return whether a passphrase opens *sealed*: its header has an scrypt stanza, which then is the only one."""
    return _SCRYPT.search(_start(sealed)) is not None


def _start(sealed: bytes) -> bytes:
    """Return how *sealed* begins, without its armor; nothing where that is damaged."""
    start = sealed[:512]
    if start.startswith(ARMOR):
        # Whole groups of four only: the last line may be cut.
        text = b"".join(start.split()[4:])
        with suppress(binascii.Error):
            return base64.b64decode(text[: len(text) // 4 * 4])
        return b""
    return start


def _recipient(text: str) -> Any:
    kind = pyrage.ssh.Recipient if text.startswith(_SSH_TYPES) else pyrage.x25519.Recipient
    try:
        return kind.from_str(text.strip())
    except pyrage.RecipientError:
        hint = "a recipient is age1… (age-keygen -y shows it), or the line of an SSH public key (ed25519 or RSA)"
        raise Refused(f"age does not know the recipient {text[:24]}…", hint) from None


def _identities(path: Path) -> list[Any]:
    """Return the secret keys in the file at *path*: one per line as age-keygen writes them, or one of SSH.

    Raises:
        Refused: it holds none.
        Failed: it cannot be read.
    """
    try:
        data = read_bounded(path)
    except OSError as error:
        raise failed_file("read", str(path), error) from None
    try:
        if data.lstrip().startswith(b"-----BEGIN") and not data.lstrip().startswith(ARMOR):
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode("ascii").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, UnicodeDecodeError):
        hint = "it must be a file of age-keygen, or an SSH private key that has no passphrase of its own"
        raise Refused(f"{path} holds no secret key that age can use", hint) from None
    if not found:
        raise Refused(f"{path} holds no secret key", "age-keygen -o FILE creates one")
    return found


def _why_closed(said: str, *, with_passphrase: bool) -> Refused:
    if "No matching keys" in said:
        if with_passphrase:
            return Refused("it is not encrypted with a passphrase", "name the file of its secret key: --identity FILE")
        return Refused("none of the keys given opens it", "name the file of the right secret key: --identity FILE")
    if _TOO_SLOW in said:
        hint = "try again when it is less busy, on a faster machine, or with `age --decrypt`"
        return Refused("this machine is too slow for the passphrase of a faster one", hint)
    if with_passphrase and said == "Decryption failed":
        return Refused("the passphrase does not open it")
    return Refused(f"it is damaged or truncated ({said})", "take another copy of the backup")


def _text(passphrase: Secret) -> str:
    try:
        return passphrase.reveal().decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(
            "the passphrase is not UTF-8 text, which age requires", "use GPG, or another passphrase"
        ) from None
