"""Why no connection to an engine came about, in the system's own words."""

import errno
import os
import re

_CLIENT_REFUSED = "it refuses this client's certificate"
_CLOSED = "it ends the TLS connection, as with a client whose certificate it does not take"
# An alert comes from the other side: what it thinks of the certificate that it was shown, or was not.
_ALERT = re.compile(r"_ALERT_(?P<words>[A-Z_]*CERTIFICATE[A-Z_]*|UNKNOWN_CA)")
OF_CLIENTS = (_CLIENT_REFUSED, _CLOSED)


_NO_ANSWER = "it takes the connection, and sends no answer"
_UNTRUSTED = "its certificate is not trusted"
_NO_TLS = "it does not speak TLS"
_STATUS = "it answers with the HTTP status"
_STRANGE = "what answers there is not a Docker engine"
_START = "start Docker, or set DOCKER_HOST or `docker context use` to an engine that runs"
_PROXY = "through the proxy in HTTP_PROXY or HTTPS_PROXY"
_TIMEOUTS = ("ReadTimeout", "ReadTimeoutError", "ConnectTimeout", "ConnectTimeoutError")


def why(error: BaseException) -> str:
    """Return what the system said below all that libraries wrapped around it; else the kind of error."""
    from ssl import SSLCertVerificationError, SSLEOFError, SSLError

    found: BaseException | None = error
    way = ""
    for _ in range(10):
        if type(found).__name__ == "ProxyError":
            way = f"{_PROXY}: "
        if isinstance(found, SSLCertVerificationError):
            return f"{way}{_UNTRUSTED}: {found.verify_message}"
        if isinstance(found, SSLError) and (alert := _ALERT.search(str(found.reason))):
            return f"{_CLIENT_REFUSED}: {alert['words'].replace('_', ' ').lower()}"
        if isinstance(found, SSLError) and found.reason == "WRONG_VERSION_NUMBER":
            return _NO_TLS
        if isinstance(found, SSLEOFError):
            return _CLOSED
        if isinstance(found, TimeoutError) or type(found).__name__ in _TIMEOUTS:
            return f"{way}{_NO_ANSWER}"
        if isinstance(status := getattr(getattr(found, "response", None), "status_code", None), int):
            return f"{way}{_STATUS} {status}"
        if isinstance(found, OSError) and isinstance(found.strerror, str):
            return f"{way}{found.strerror}"
        if isinstance(found, ValueError) and type(found).__name__.endswith("JSONDecodeError"):
            return _STRANGE
        inner = [argument for argument in getattr(found, "args", ()) if isinstance(argument, BaseException)]
        found = getattr(found, "reason", None) or next(iter(inner), None) or getattr(found, "__context__", None)
        if not isinstance(found, BaseException):
            break
    return _of_the_sdk(error)


def hint(why: str) -> str:
    """Return what can be done about *why*."""
    if why == os.strerror(errno.EACCES):
        return "the engine is running: join the group that may use its socket, usually docker, and log in again"
    if why.startswith(OF_CLIENTS):
        return "renew the certificate in DOCKER_CERT_PATH (or in the Docker context); the engine's CA must sign it"
    if _UNTRUSTED in why:
        return (
            "it must be valid, name this host, and be signed by the CA in ca.pem (DOCKER_CERT_PATH, or the context's)"
        )
    if why.startswith(_PROXY):
        return "if the engine is reached without one, add its host to NO_PROXY"
    if why == _NO_ANSWER:
        return "does `docker info` hang, too? DOCKER_CLIENT_TIMEOUT gives it more seconds"
    if why == _NO_TLS:
        return "unset DOCKER_TLS_VERIFY, or name the port where the engine speaks TLS, usually 2376"
    if why == f"{_STATUS} 400":
        return "if it expects TLS, set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder of the certificates"
    if _STATUS in why or why == _STRANGE:
        return "check the address: a proxy or another server may answer there; `docker version` shows the same"
    if ".pem" in why:
        return "DOCKER_CERT_PATH names the folder of ca.pem, cert.pem and key.pem, unless a Docker context has its own"
    return _START


def _of_the_sdk(error: BaseException) -> str:
    """Return what is wrong with what the SDK was told, which its errors do not say in words for users."""
    if isinstance(error, ValueError) or str(error).startswith("Invalid bind address"):
        return "that is not an address such as unix:///run/docker.sock, tcp://HOST:PORT or ssh://HOST"
    return type(error).__name__
