"""The SDK's client as it is used here.

What answers may be anybody: an answer has a largest size, and an end.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shim_host.docker_cli import REQUEST_SECONDS
from shim_host.swarm import privacy
from shim_host.swarm.reach.endpoint import Certificates

if TYPE_CHECKING:
    import docker

MOST_BYTES = 256 << 20  # a Swarm with 20,000 tasks lists less than half of it
_MOST_TIMES = 5  # as long as one step of it may take, a whole answer may


@cache
def sdk_client() -> "type[docker.APIClient]":
    """Return the SDK's client, but for what it would take from the environment besides a proxy, and with bounds.

    Where REQUESTS_CA_BUNDLE is set for other programs it would take the place of the engine's own CA.
    """
    import docker

    class Client(docker.APIClient):
        trust_env = property(lambda _self: False, lambda _self, _value: None)
        hooks = property(lambda _self: {"response": [_bound]}, lambda _self, _value: None)

        def merge_environment_settings(self, url: Any, proxies: Any, *others: Any) -> Any:
            if not proxies and url.startswith(("http://", "https://")):
                proxies = environ_proxies(url)
            return super().merge_environment_settings(url, proxies, *others)

        def get_redirect_target(self, resp: Any) -> None:
            """Follow none: no engine sends elsewhere, and what is sent may be a value."""

    return Client


def tls_of(certificates: Certificates) -> Any:
    """Return the same for the SDK.

    Raises:
        BadCertificate: they cannot be used.
    """
    from docker.tls import TLSConfig

    certificates.refuse_unusable()
    pair = (certificates.cert, certificates.key) if certificates.cert else None
    return TLSConfig(client_cert=pair, ca_cert=certificates.ca or None, verify=certificates.verify)


def environ_proxies(url: str) -> dict[str, str]:
    """Return the environment's proxies for *url*, as Docker takes them: none to this machine, and no ALL_PROXY."""
    from requests.utils import get_environ_proxies

    if privacy.is_loopback(urlsplit(url).hostname or ""):
        return {}
    return {scheme: proxy for scheme, proxy in get_environ_proxies(url).items() if scheme in ("http", "https")}


def _bound(response: Any, *, stream: bool = False, timeout: object = None, **_: object) -> None:
    """See that *response* ends; what is read piece by piece is bounded by who reads it."""
    if not stream:
        seconds = timeout if isinstance(timeout, int | float) else REQUEST_SECONDS
        response.raw.stream = _bounded(response.raw.stream, time.monotonic() + _MOST_TIMES * seconds)


def _bounded(pieces: Callable[..., Iterable[bytes]], deadline: float) -> Callable[..., Iterator[bytes]]:
    def bounded(*arguments: Any, **options: Any) -> Iterator[bytes]:
        from requests import RequestException

        left = MOST_BYTES
        for piece in pieces(*arguments, **options):
            left -= len(piece)
            if left < 0:
                raise RequestException(errno.EFBIG, f"its answer has more than {MOST_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise RequestException(errno.ETIMEDOUT, "its answer has no end")
            yield piece

    return bounded
