"""Starts a service with its secrets; and, for application code, `get_secret`.

Importing the package loads nothing: the way to exec must stay short, so the functions for applications come on demand.
"""

__version__ = "0.1.0"

_FOR_APPLICATIONS = ("SecretNotFound", "get_secret", "read_secret_or_env")

__all__ = ["SecretNotFound", "__version__", "get_secret", "read_secret_or_env"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.application import SecretNotFound, get_secret, read_secret_or_env
else:  # or a misspelt name would be an object to type checkers

    def __getattr__(name):
        if name not in _FOR_APPLICATIONS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from shim import application

        return getattr(application, name)
