"""Whether what travels over a connection can be read by others, or by whoever answers in the engine's place."""

from ipaddress import ip_address
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
    if url.scheme == "http" and not _is_loopback(url.hostname or ""):
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
        hint = "use ssh://, TLS with DOCKER_TLS_VERIFY=1, or the manager's own socket; --insecure goes on all the same"
        raise Refused(f"values would travel {why} ({place})", hint)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name may lead anywhere, 127.example.org too
