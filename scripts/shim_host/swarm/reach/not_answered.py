"""Why no connection to an engine came about, in the system's own words."""

import re

_CLIENT_REFUSED = "it refuses this client's certificate"
_CLOSED = "it ends the TLS connection, as with a client whose certificate it does not take"
# An alert comes from the other side: what it thinks of the certificate that it was shown, or was not.
_ALERT = re.compile(r"_ALERT_(?P<words>[A-Z_]*CERTIFICATE[A-Z_]*|UNKNOWN_CA)")
OF_CLIENTS = (_CLIENT_REFUSED, _CLOSED)


def why(error: BaseException) -> str:
    """Return what the system said below all that libraries wrapped around it; else the kind of error."""
    from ssl import SSLCertVerificationError, SSLEOFError, SSLError

    found: BaseException | None = error
    for _ in range(10):
        if isinstance(found, SSLCertVerificationError):
            return f"its certificate is not trusted: {found.verify_message}"
        if isinstance(found, SSLError) and (alert := _ALERT.search(str(found.reason))):
            return f"{_CLIENT_REFUSED}: {alert['words'].replace('_', ' ').lower()}"
        if isinstance(found, SSLEOFError):
            return _CLOSED
        if isinstance(found, OSError) and isinstance(found.strerror, str):
            return found.strerror
        inner = [argument for argument in getattr(found, "args", ()) if isinstance(argument, BaseException)]
        found = getattr(found, "reason", None) or next(iter(inner), None) or getattr(found, "__context__", None)
        if not isinstance(found, BaseException):
            break
    return _of_the_sdk(error)


def _of_the_sdk(error: BaseException) -> str:
    """Return what is wrong with what the SDK was told, which its errors do not say in words for users."""
    if type(error).__name__ == "TLSParameterError":
        return "DOCKER_TLS_VERIFY is set, and there are no ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH"
    if isinstance(error, ValueError) or str(error).startswith("Invalid bind address"):
        return "that is not an address such as unix:///run/docker.sock, tcp://HOST:PORT or ssh://HOST"
    return type(error).__name__
