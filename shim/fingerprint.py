"""Fingerprints: equal for equal values, and no help to who does not know the salt or the key. Equal on both sides."""

_ROUNDS = 8192

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def fingerprint(value: bytes, key: str, salt: bytes = b"") -> str:
    """Return a short, salted and slow fingerprint of *value*: twelve hexadecimal digits in three groups.

    PBKDF2-HMAC-SHA256 (RFC 8018), equal on both sides for the same value, key and salt. Whoever knows the salt can
    guess a weak value from it: where no salt was asked for, only what `keyed` returns may be shown or kept.

    Args:
        value: the value.
        key: part of the salt, so that two keys with one value do not look alike.
        salt: what several deployments agreed on (`SHIM_SALT`); empty by default.
    """
    full_salt = b"docker-secrets-shim\0" + key.encode("utf-8", "surrogateescape") + b"\0" + salt
    try:
        from _hashlib import pbkdf2_hmac

        digest = pbkdf2_hmac("sha256", value, full_salt, _ROUNDS, 6)
    except ImportError:
        digest = _pbkdf2_block(value, full_salt)[:6]
    return _in_groups(digest)


def keyed(value: bytes, key: str, deployment_key: bytes) -> str:
    """Return the fingerprint of *value* in a deployment: HMAC-SHA256 under the deployment's random key.

    Without the key it says nothing of the value, however weak that is, so it need not be slow; equal values of two
    keys, or of two deployments, differ.
    """
    message = b"docker-secrets-shim\0" + key.encode("utf-8", "surrogateescape") + b"\0" + value
    return _in_groups(_hmac(deployment_key)(message)[:6])


def _in_groups(digest: bytes) -> str:
    text = digest.hex()
    return f"{text[:4]}-{text[4:8]}-{text[8:]}"


def _pbkdf2_block(password: bytes, salt: bytes) -> bytes:
    """Return the first block of PBKDF2-HMAC-SHA256, for an interpreter without OpenSSL."""
    mac = _hmac(password)
    block = mac(salt + b"\0\0\0\1")
    total = int.from_bytes(block, "big")
    for _ in range(_ROUNDS - 1):
        block = mac(block)
        total ^= int.from_bytes(block, "big")
    return total.to_bytes(32, "big")


def _hmac(key: bytes) -> "Callable[[bytes], bytes]":
    """Return HMAC-SHA256 under *key* (RFC 2104); `hmac` itself is slow to import, and is not in a static binary."""
    try:
        from _sha256 import sha256
    except ImportError:  # CPython 3.12 named it differently
        from hashlib import sha256

    key = key if len(key) <= 64 else sha256(key).digest()
    key = key.ljust(64, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in key))
    outer = sha256(bytes(byte ^ 0x5C for byte in key))

    def mac(message: bytes) -> bytes:
        first = inner.copy()
        first.update(message)
        last = outer.copy()
        last.update(first.digest())
        digest: bytes = last.digest()
        return digest

    return mac
