"""Whether what travels over a connection can be read by others, or by whoever answers in the engine's place."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from shim_host.errors import Refused

_is_allowed = [False]


def allow_open_connections() -> None:
    """Let values travel over any connection from now on: the person asked for it."""
    _is_allowed[0] = True


def why_open(base_url: str, verify: object) -> str:
    """Return why nothing secret should travel to *base_url*; "" when it may.

    Args:
        base_url: the SDK's: a socket and ssh are `http+docker://`.
        verify: whether the certificate of the other side is checked, as `requests` has it.
    """
    url = urlsplit(base_url)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        return "unencrypted"
    if url.scheme == "https" and not verify:
        return "to whoever answers: its certificate is not checked"
    return ""


def refuse_open(base_url: str, verify: object, place: str) -> None:
    """Refuse to let a value travel over an open connection.

    Raises:
        Refused: it is one, and nobody said that it may be.
    """
    why = why_open(base_url, verify)
    if why and not _is_allowed[0]:
        hint = "use ssh://, TLS with DOCKER_TLS_VERIFY=1, or the manager's own socket; --insecure sends them anyway"
        raise Refused(f"values would travel {why} ({place})", hint)


def refuse_open_client(environ: Mapping[str, str], context: Callable[[Mapping[str, str]], dict[str, Any]]) -> None:
    """Refuse the same of the Docker client as a program, which connects by itself, as *environ* tells it.

    Args:
        environ: what it is started with.
        context: gives what the SDK would be told for the Docker context in use.

    Raises:
        Refused: its connection is open, and nobody said that it may be.
        Failed: the Docker context cannot be read.
    """
    place, is_verified = environ.get("DOCKER_HOST", ""), bool(environ.get("DOCKER_TLS_VERIFY"))
    has_tls = is_verified or bool(environ.get("DOCKER_TLS"))
    if not place:
        told = context(environ)
        place, tls = str(told.get("base_url") or ""), told.get("tls")
        has_tls, is_verified = tls is not None, bool(tls and tls.verify)
    scheme, _, rest = place.rpartition("://")
    if place and scheme.lower() in ("", "tcp", "http", "https"):
        is_https = has_tls or scheme.lower() == "https"
        refuse_open(f"{'https' if is_https else 'http'}://{rest}", is_verified, place)


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine by every name service."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name may lead anywhere, 127.example.org too
