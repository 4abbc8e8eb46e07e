"""What is known of official images: which variables their entrypoints read from a file themselves.

Their `file_env` takes KEY_FILE, drops line ends at the end, and refuses both to be set. It reads as root and then
becomes the service's user, so it works with files that only root can read. Images that read such files later, as
another user (WordPress, Grafana), or not at all (Redis, Keycloak, Ghost), or that refuse to start with such a variable
(RabbitMQ since 3.9), need the shim.
"""

from collections.abc import Collection
from typing import NamedTuple


class Profile(NamedTuple):
    """An image whose entrypoint understands KEY_FILE."""

    name: str
    repositories: tuple[str, ...]
    markers: tuple[str, ...]  # variables that the image sets and images built from it keep
    servers: tuple[str, ...]  # the first word of its command; with another one its entrypoint does not look
    keys: frozenset[str]


_MYSQL = ("MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_HOST", "MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD")
PROFILES = (
    Profile(
        "PostgreSQL",
        ("postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"),
        ("PG_MAJOR", "PGDATA"),
        ("postgres",),
        frozenset(("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS")),
    ),
    Profile("MySQL", ("mysql",), ("MYSQL_MAJOR",), ("mysqld",), frozenset(_MYSQL)),
    Profile(
        "MariaDB",
        ("mariadb",),
        ("MARIADB_VERSION",),
        ("mariadbd", "mysqld"),
        frozenset((*_MYSQL, *(key.replace("MYSQL", "MARIADB") for key in _MYSQL))),
    ),
    Profile(
        "MongoDB",
        ("mongo",),
        ("MONGO_MAJOR",),
        ("mongod",),
        frozenset(("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD")),
    ),
)
ENTRYPOINT = "docker-entrypoint.sh"
_LIBRARY = ("docker.io/library/", "docker.io/", "index.docker.io/", "library/")

# The shim sets none of these from a secrets root, since they change what programs load: they need KEY_FILE.
_PROTECTED = ("LD_", "PYTHON", "DYLD_", "GEM_", "NPM_CONFIG_", "BASH_FUNC_")


def profile_of(image: str, variables: Collection[str]) -> Profile | None:
    """Return what is known of *image*, by its name, or by the *variables* that it sets."""
    name = image.partition("@")[0]
    slash = name.rfind("/")
    if ":" in name[slash + 1 :]:
        name = name[: name.rfind(":")]
    for prefix in _LIBRARY:
        name = name.removeprefix(prefix)
    for profile in PROFILES:
        if name in profile.repositories or any(marker in variables for marker in profile.markers):
            return profile
    return None


def is_protected(key: str) -> bool:
    """Return whether the shim takes *key* only from a file that KEY_FILE names."""
    return key.startswith(_PROTECTED)
