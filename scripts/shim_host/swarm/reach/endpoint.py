"""Which engine the environment or a Docker context names, and with which certificates, as for the Docker client."""

import errno
import hashlib
import json
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from shim_host import output
from shim_host.errors import Failed
from shim_host.inputs import read_bounded

_PORT, _TLS_PORT = 2375, 2376
_KINDS = ("ca", "cert", "key")


class BadCertificate(OSError):
    """A file for TLS is not what it should be; `strerror` names it."""

    def __init__(self, said: str) -> None:
        super().__init__(errno.EINVAL, said)


class Certificates(NamedTuple):
    """The files for TLS that are in a folder: of the CA, and of this client; "" for one that is not there."""

    folder: Path
    ca: str
    cert: str
    key: str
    verify: bool  # whether the engine's certificate is checked

    def refuse_unusable(self) -> None:
        """Refuse what TLS would fail with later, in words that name no file; a client needs no certificate.

        Raises:
            BadCertificate: one of the files cannot be used, or is not there and must be.
        """
        for path in filter(None, (self.ca, self.cert, self.key)):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise BadCertificate(f"{path}: {error.strerror}") from None
        if bool(self.cert) != bool(self.key):
            lacks = "key.pem" if self.cert else "cert.pem"
            raise BadCertificate(f"there is {self.cert or self.key}, and no {lacks} beside it")
        test = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca:
                test.load_verify_locations(self.ca)
        except ssl.SSLError:
            raise BadCertificate(f"{self.ca} contains no certificate") from None
        try:
            if self.cert:
                test.load_cert_chain(self.cert, self.key, password="")  # a terminal would be asked for it, each time
        except (ssl.SSLError, ValueError):
            why = "has a passphrase, or is not the key of the certificate cert.pem beside it"
            raise BadCertificate(f"{self.key} {why}") from None


def folder(environ: Mapping[str, str]) -> Path:
    """Return where Docker keeps what belongs to this user."""
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def of_host(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what connects to the engine that DOCKER_HOST names.

    Only DOCKER_TLS_VERIFY and DOCKER_TLS ask for TLS, and only a network needs it. That DOCKER_CERT_PATH is left of a
    machine that is gone changes nothing.

    Raises:
        BadCertificate: TLS is asked for, and there is nothing to check the engine's certificate against.
    """
    place = environ.get("DOCKER_HOST", "").strip()
    scheme, mark, rest = place.partition("://")
    scheme = scheme.lower() if mark else "tcp"
    if scheme == "unix" and rest and not rest.startswith("/"):
        return {"base_url": f"unix://{os.path.abspath(rest)}"}
    if scheme not in ("tcp", "http", "https"):
        return {"base_url": place}
    is_verified = bool(environ.get("DOCKER_TLS_VERIFY"))
    arguments: dict[str, Any] = {"base_url": place}
    has_tls = is_verified or bool(environ.get("DOCKER_TLS"))
    if has_tls:
        its = Path(environ.get("DOCKER_CERT_PATH") or folder(environ))
        arguments["tls"] = found = _tls(its, is_verified=is_verified)
        if is_verified and not found.ca:
            raise BadCertificate(f"DOCKER_TLS_VERIFY is set, and there is no {its / 'ca.pem'}")
    if scheme == "tcp":
        arguments["base_url"] = _with_port(place, _TLS_PORT if has_tls else _PORT)
    return arguments


def _with_port(place: str, port: int) -> str:
    """Return *place* with the port that is meant where none is written."""
    head, mark, rest = place.rpartition("://")
    try:
        url = urlsplit(f"//{rest}")
        if url.hostname and url.port is None and not url.path.strip("/"):
            return f"{head}{mark}{url.netloc.rstrip(':')}:{port}"
    except ValueError:
        pass  # the SDK refuses it, as it does every other address that is none
    return place


def _tls(place: Path, *, is_verified: bool) -> Certificates:
    ca, cert, key = (str(file) if file.is_file() else "" for file in (place / f"{kind}.pem" for kind in _KINDS))
    return Certificates(place, ca, cert, key, is_verified)


def context(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what connects to the engine of the Docker context in use; nothing for the default one.

    Read here: the SDK finds no context where there is no config.json, and looks at its own process's environment.

    Raises:
        Failed: there is no such context, or it cannot be read.
    """
    its = folder(environ)
    hint = f"check it in {its}, or name an engine in DOCKER_HOST"
    name = environ.get("DOCKER_CONTEXT") or ""
    try:
        name = name or _current(its / "config.json")
        if name in ("", "default"):
            return {}
        at = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        about = json.loads(read_bounded(its / "contexts" / "meta" / at / "meta.json"))
        endpoint = about["Endpoints"]["docker"]
        arguments: dict[str, Any] = {"base_url": str(endpoint["Host"])} if endpoint.get("Host") else {}
        skips = bool(endpoint.get("SkipTLSVerify"))
    except FileNotFoundError:
        raise Failed(f"there is no Docker context {name}", "`docker context ls` lists them") from None
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise Failed(f"the Docker context cannot be read ({type(error).__name__})", hint) from None
    files = its / "contexts" / "tls" / at / "docker"
    if skips or any((files / f"{kind}.pem").is_file() for kind in _KINDS):
        arguments["tls"] = _tls(files, is_verified=not skips)
    return arguments


def _current(path: Path) -> str:
    """Return the name of the context in use, which *path* has; none where it is not such a file, as Docker takes it.

    Raises:
        OSError: it is there, and reading it could have no end.
    """
    try:
        data = read_bounded(path)
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        _warn(f"{path}: {error.strerror}; the default engine is used")
        return ""
    if not data.strip():
        return ""
    with suppress(ValueError, AttributeError, RecursionError):
        return str(json.loads(data).get("currentContext") or "")
    _warn(f"{path} is not JSON that Docker would read; the default engine is used")
    return ""


@cache
def _warn(message: str) -> None:
    """Warn of the file once, however often a command connects."""
    output.warn(message, "repair it, or name an engine in DOCKER_HOST or DOCKER_CONTEXT")
