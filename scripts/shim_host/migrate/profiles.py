"""What is known about official images, for `migrate`: by the shim's own table, so that both sides say the same.

Images whose entrypoint reads KEY_FILE itself, as root, need no shim. Those that read such files later, as another user
(MongoDB, WordPress, Grafana), or not at all (Redis, Keycloak, Ghost), or that refuse to start with such a variable
(RabbitMQ since 3.9), do.
"""

from collections.abc import Collection

from shim.profiles import ENTRYPOINT as ENTRYPOINT
from shim.profiles import PROFILES
from shim.profiles import Profile as Profile
from shim_host.compose.images import ImageConfig

# Official images behind docker-entrypoint.sh, and the one word of their CMD; what the engine says counts more.
_COMMANDS = {
    "postgres": "postgres",
    "postgis/postgis": "postgres",
    "pgvector/pgvector": "postgres",
    "mysql": "mysqld",
    "mongo": "mongod",
    "redis": "redis-server",
    "valkey/valkey": "valkey-server",
    "rabbitmq": "rabbitmq-server",
}
_LIBRARY = ("docker.io/library/", "docker.io/", "index.docker.io/", "library/")


def _repository(image: str) -> tuple[str, str]:
    """Return the name of *image* as the Hub's library has it, and its tag."""
    name, tag = image.partition("@")[0], ""
    slash = name.rfind("/")
    if ":" in name[slash + 1 :]:
        name, _, tag = name.rpartition(":")
    for prefix in _LIBRARY:
        name = name.removeprefix(prefix)
    return name, tag


def known_start(image: str) -> ImageConfig | None:
    """Return what the official *image* starts, where all its versions start the same; it runs as root, unchecked."""
    name, tag = _repository(image)
    command = _COMMANDS.get(name)
    if name == "mariadb":
        # The server was called mysqld before version 11, and is only mariadbd since.
        command = "mysqld" if tag.startswith(("5", "10")) else "mariadbd"
    return None if command is None else ImageConfig(entrypoint=[ENTRYPOINT], command=[command])


def profile_of(image: str, variables: Collection[str]) -> Profile | None:
    """Return what is known of *image*, by its name, or by the *variables* that it sets; only if it reads KEY_FILE."""
    name = _repository(image)[0]
    for profile in PROFILES:
        is_meant = name in profile.repositories or any(marker in variables for marker in profile.markers)
        if profile.reads_files and is_meant:
            return profile
    return None
