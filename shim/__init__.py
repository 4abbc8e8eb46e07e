"""docker-secrets-shim: starts a service with its secrets."""

__version__ = "0.1.0"
