"""The SDK's client as it is used here, and which engine it is for.

What answers may be anybody: an answer has a largest size, and an end.
"""

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shim_host.docker_cli import REQUEST_SECONDS
from shim_host.errors import Failed
from shim_host.inputs import read_bounded

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
    from requests.utils import get_environ_proxies

    class Client(docker.APIClient):
        trust_env = property(lambda _self: False, lambda _self, _value: None)
        hooks = property(lambda _self: {"response": [_bound]}, lambda _self, _value: None)

        def merge_environment_settings(self, url: Any, proxies: Any, *others: Any) -> Any:
            if not proxies and url.startswith(("http://", "https://")):
                proxies = get_environ_proxies(url)
            return super().merge_environment_settings(url, proxies, *others)

    return Client


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


def context(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what connects to the engine of the Docker context in use; nothing for the default one.

    Read here: the SDK finds no context where there is no config.json, and looks at its own process's environment.

    Raises:
        Failed: there is no such context, or it cannot be read.
    """
    from docker.tls import TLSConfig

    folder = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = environ.get("DOCKER_CONTEXT") or ""
    try:
        if not name:
            with suppress(FileNotFoundError):
                name = str(json.loads(read_bounded(folder / "config.json")).get("currentContext") or "")
        if name in ("", "default"):
            return {}
        at = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        about = json.loads(read_bounded(folder / "contexts" / "meta" / at / "meta.json"))
        endpoint = about["Endpoints"]["docker"]
        arguments: dict[str, Any] = {"base_url": str(endpoint["Host"])} if endpoint.get("Host") else {}
    except FileNotFoundError:
        raise Failed(f"there is no Docker context {name}", "`docker context ls` lists them") from None
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        hint = f"check it in {folder}, or name an engine in DOCKER_HOST"
        raise Failed(f"the Docker context cannot be read ({type(error).__name__})", hint) from None
    files = {kind: folder / "contexts" / "tls" / at / "docker" / f"{kind}.pem" for kind in ("ca", "cert", "key")}
    there = {kind: str(path) for kind, path in files.items() if path.is_file()}
    if there:
        client = (there["cert"], there["key"]) if {"cert", "key"} <= there.keys() else None
        is_verified = not endpoint.get("SkipTLSVerify")
        arguments["tls"] = TLSConfig(client_cert=client, ca_cert=there.get("ca"), verify=is_verified)
    return arguments
