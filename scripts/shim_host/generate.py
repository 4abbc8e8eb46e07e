"""New values, as the schema says how to make them. A `KeySpec` comes in, a `Secret` leaves."""

import base64
import re
import secrets
import string
import time
from collections.abc import Mapping

from shim.schema import KeySpec, check_value, composed_value, references
from shim.secret import Secret, clean
from shim_host.errors import Refused

_ALPHABET = string.ascii_letters + string.digits  # goes unquoted through URLs, shells and YAML
_LENGTH = 40  # 238 bits
_ASKED = re.compile(r"(?P<kind>hex|base64|alnum)?\(?(?P<length>[0-9]+)?\)?")
_TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600


def new_value(spec: KeySpec, others: Mapping[str, Secret]) -> Secret:
    """Return a new value that satisfies *spec*.

    Args:
        spec: what the schema says about the key.
        others: the values of other keys; a token is signed with one of them.

    Raises:
        Refused: the schema does not say enough to make one.
    """
    kind = spec.type.name if spec.type else "string"
    if spec.composed is not None:
        value = _composed(spec, others)
    elif spec.type is not None and kind == "bytes":
        value = _bytes(spec.type.arguments)
    elif kind == "jwt":
        value = _jwt(spec, others)
    elif kind == "string":
        value = _string(spec)
    else:
        raise Refused(f"{spec.key}: a value of type {kind} cannot be generated", "set it in .env, or type it")
    wrong = check_value(spec, value)
    if wrong:
        raise Refused(f"{spec.key}: a generated value {wrong}", "set the value yourself, or relax @type")
    return Secret(value)


def mistake_of(spec: KeySpec) -> tuple[str, str] | None:
    """Return why `generate` refuses what the schema says of a key, whatever the other values are, and a hint."""
    if spec.generate is None or spec.composed is not None or is_signed(spec):
        return None
    try:
        new_value(spec, {})
    except Refused as refused:
        return refused.message.removeprefix(f"{spec.key}: "), refused.hints[0]
    return None


def can_be_made(spec: KeySpec) -> bool:
    """Return whether the schema says how to make a value of this key."""
    return spec.generate is not None or is_signed(spec)


def is_signed(spec: KeySpec) -> bool:
    """Return whether the value is signed with another key, which must be there first."""
    return bool(signer_of(spec))


def parents_of(spec: KeySpec) -> list[str]:
    """Return the keys that the value is made from: the one that signs it, or those that it is composed of."""
    if spec.composed is not None:
        return references(spec.composed)
    return [signer] if (signer := signer_of(spec)) else []


def _composed(spec: KeySpec, others: Mapping[str, Secret]) -> bytes:
    value = composed_value(spec, lambda key: clean(others[key].reveal()) if key in others else None)
    if value is None:
        lacking = [key for key in references(spec.composed or "") if key not in others]
        message = f"{spec.key}: {', '.join(lacking) or 'what it is composed of'} has no value to compose it with"
        raise Refused(message, "write the file of that key first: manage-secrets set")
    return value


def signer_of(spec: KeySpec) -> str:
    """Return the key that the value is signed with; an empty string when it is signed with none."""
    return spec.type.options.get("signedBy", "") if spec.type is not None else ""


def _bytes(arguments: tuple[str, ...]) -> bytes:
    data = secrets.token_bytes(int(arguments[0]))
    encoding = arguments[1] if len(arguments) > 1 else "raw"
    if encoding == "hex":
        return data.hex().encode()
    return base64.b64encode(data) if encoding == "base64" else data


def _string(spec: KeySpec) -> bytes:
    options = spec.type.options if spec.type else {}
    asked = _ASKED.fullmatch(spec.generate or "")
    if asked is None and spec.generate not in (None, "true"):
        raise Refused(f"{spec.key}: @generate={spec.generate} is unknown", "write @generate, or @generate=hex(32)")
    kind = asked["kind"] if asked else None
    if asked and asked["length"] and kind in ("hex", "base64"):
        data = secrets.token_bytes(int(asked["length"]))
        return data.hex().encode() if kind == "hex" else base64.b64encode(data)
    start, end = options.get("startsWith", ""), options.get("endsWith", "")
    length = int(asked["length"]) if asked and asked["length"] else _LENGTH
    length = max(length, int(options.get("minLength", 0)) - len(start) - len(end))
    if "maxLength" in options:
        length = min(length, int(options["maxLength"]) - len(start) - len(end))
    alphabet = "0123456789abcdef" if kind == "hex" else _ALPHABET
    return (start + "".join(secrets.choice(alphabet) for _ in range(length)) + end).encode()


def _jwt(spec: KeySpec, others: Mapping[str, Secret]) -> bytes:
    """Return a token signed with HMAC-SHA256 (RFC 7515, RFC 7519), valid for ten years."""
    import hashlib
    import hmac
    import json

    options = spec.type.options if spec.type else {}
    signer = signer_of(spec)
    if signer not in others:
        raise Refused(
            f"{spec.key}: {signer or 'its signing key'} has no value to sign it with", "set @type=jwt(signedBy=KEY)"
        )
    now = int(time.time())
    claims: dict[str, object] = {"iat": now, "exp": now + _TEN_YEARS_SECONDS}
    if "role" in options:
        claims = {"role": options["role"], "iss": "docker-secrets-shim", **claims}
    head = json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode()
    body = json.dumps(claims, separators=(",", ":")).encode()
    signed = _base64url(head) + b"." + _base64url(body)
    return signed + b"." + _base64url(hmac.digest(clean(others[signer].reveal()), signed, hashlib.sha256))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
