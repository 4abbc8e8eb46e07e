"""What is known of official images, for `migrate`: by the shim's own table, so that both sides say the same.

Images whose entrypoint reads KEY_FILE itself, as root, need no shim. Those that read such files later, as another user
(MongoDB, WordPress, Grafana), or not at all (Redis, Keycloak, Ghost), or that refuse to start with such a variable
(RabbitMQ since 3.9), do.
"""

from collections.abc import Collection

from shim.profiles import ENTRYPOINT as ENTRYPOINT
from shim.profiles import PROFILES
from shim.profiles import Profile as Profile

_LIBRARY = ("docker.io/library/", "docker.io/", "index.docker.io/", "library/")

# The shim sets none of these from a secrets root, since they change what programs load: they need KEY_FILE.
_PROTECTED = ("LD_", "PYTHON", "DYLD_", "GEM_", "NPM_CONFIG_", "BASH_FUNC_")


def profile_of(image: str, variables: Collection[str]) -> Profile | None:
    """Return what is known of *image*, by its name, or by the *variables* that it sets; only if it reads KEY_FILE."""
    name = image.partition("@")[0]
    slash = name.rfind("/")
    if ":" in name[slash + 1 :]:
        name = name[: name.rfind(":")]
    for prefix in _LIBRARY:
        name = name.removeprefix(prefix)
    for profile in PROFILES:
        is_meant = name in profile.repositories or any(marker in variables for marker in profile.markers)
        if profile.reads_files and is_meant:
            return profile
    return None


def is_protected(key: str) -> bool:
    """Return whether the shim takes *key* only from a file that KEY_FILE names."""
    return key.startswith(_PROTECTED)
