"""What is known about official images. The shim's `--profile` and the host's `migrate` decide by this one table.

Each line is about an image's own entrypoint: which variables name a file, however it spells that, which of them it
reads itself, which keep it from starting, and which are paths to something else. Loaded only when it is asked for.
"""

from shim.errors import Breach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from shim.options import Options

ENTRYPOINT = "docker-entrypoint.sh"
# How an image spells that the value of KEY is in a file.
PLAIN = "KEY_FILE"
DOUBLE = "KEY__FILE"
LEADING = "FILE__KEY"
AUTO, NONE = "auto", "none"


class Profile:
    """One official image, and those that are built from it."""

    repositories: "tuple[str, ...]" = ()
    markers: "tuple[str, ...]" = ()  # variables that the image sets, or that mean something to no other
    servers: "tuple[str, ...]" = ()  # programs that tell which image it is
    starts: "tuple[str, ...]" = ()  # the first word of its command that starts its server; `servers` when empty
    command = ""  # its CMD, as a Dockerfile has it; "" when its entrypoint needs none
    entrypoint = ENTRYPOINT  # "" when it has none
    takes_file = False  # its entrypoint starts its server with a file that ends in .conf, and is the whole command
    keys: "Collection[str]" = ()  # KEY of the KEY_FILE that are meant for it
    reads_files = False  # its entrypoint reads those files itself, as root, before it becomes its own user
    initialises = False  # its entrypoint alone knows the keys: the server itself reads none of them
    instead: "tuple[tuple[str, tuple[str, ...]], ...]" = ()  # KEY, and variables with which it starts without KEY
    keeps_case = False  # names with two lines in them are its own, in lower case
    spelling = PLAIN
    prefix = ""  # with another spelling: how keys begin
    paths = ""  # how other *_FILE begin that are paths to something else
    refused: "tuple[str, ...]" = ()  # variables that keep it from starting
    newer = older = ""  # two ways to begin a key: the newer one wins
    drops_root = False  # it must start as root, and drops to its own user itself
    is_ascii = False  # it cannot take other characters from its environment
    configuration = ""  # it does not read the environment: what to do instead

    def __init__(self, name: str, title: str, **facts: object) -> None:
        self.name = name
        self.title = title
        self.__dict__.update(facts)

    def key_of(self, variable: str) -> str:
        """Return the key whose file *variable* names in this image; "" when it is not one of those."""
        if self.spelling == LEADING:
            return variable[6:] if variable.startswith("FILE__") else ""
        if self.spelling == DOUBLE:
            return variable[:-6] if variable.startswith(self.prefix) and variable.endswith("__FILE") else ""
        return variable[:-5] if variable.endswith("_FILE") and variable[:-5] in self.keys else ""

    def variable_of(self, key: str) -> str:
        """Return the variable that names the file of *key*, as this image spells it."""
        if self.spelling == LEADING:
            return "FILE__" + key
        return key + ("__FILE" if self.spelling == DOUBLE and key.startswith(self.prefix) else "_FILE")

    def is_path(self, variable: str) -> bool:
        """Return whether *variable* is a path to something that is not the value of a key."""
        return bool(self.paths) and variable.startswith(self.paths)

    def other_name(self, key: str) -> str:
        """Return the other name by which this image knows *key*; "" when there is none."""
        if not self.newer or key not in self.keys:
            return ""
        newer, older = self.newer, self.older
        other = older + key[len(newer) :] if key.startswith(newer) else newer + key[len(older) :]
        return other if other in self.keys else ""

    def is_one_off(self, argv: list[bytes]) -> bool:
        """Return whether *argv* gives this image's entrypoint a command that is not its server, nor options for that.

        Such are `psql --version`, `bash` and `redis-cli`, which the entrypoint just runs; and a server that is only
        asked for its version or its options.
        """
        if not self.entrypoint or not argv or argv[0].rpartition(b"/")[2].decode("latin-1") != self.entrypoint:
            return False
        words = [word.decode("utf-8", "surrogateescape") for word in argv[1:]]
        if any(word in _ASKING for word in words):
            return True
        starts = self.starts or self.servers
        if not (words and starts) or words[0][:1] == "-" or (self.takes_file and words[0].endswith(".conf")):
            return False
        return words[0].rpartition("/")[2] not in starts


_ASKING = ("--help", "--version", "-V", "-?", "--describe-config", "--print-defaults")
_MYSQL = ("MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_HOST", "MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD")
_WITHOUT_ROOT_PASSWORD = (
    *("MARIADB_ROOT_PASSWORD_HASH", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "MYSQL_ALLOW_EMPTY_PASSWORD"),
    *("MARIADB_RANDOM_ROOT_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD"),
)
PROFILES = (
    Profile(
        "postgres",
        "PostgreSQL",
        repositories=("postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"),
        markers=("PG_MAJOR", "PGDATA"),
        servers=("postgres",),
        command='["postgres"]',
        keys=("POSTGRES_PASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_INITDB_ARGS"),
        reads_files=True,
        initialises=True,
        instead=(("POSTGRES_PASSWORD", ("POSTGRES_HOST_AUTH_METHOD=trust",)),),
        drops_root=True,
    ),
    Profile(
        "mysql",
        "MySQL",
        repositories=("mysql",),
        markers=("MYSQL_MAJOR",),
        servers=("mysqld",),
        command='["mysqld"]',
        keys=_MYSQL,
        reads_files=True,
        initialises=True,
        instead=(("MYSQL_ROOT_PASSWORD", ("MYSQL_ALLOW_EMPTY_PASSWORD", "MYSQL_RANDOM_ROOT_PASSWORD")),),
        drops_root=True,
    ),
    Profile(
        "mariadb",
        "MariaDB",
        repositories=("mariadb",),
        markers=("MARIADB_VERSION",),
        servers=("mariadbd", "mysqld"),
        command='["mariadbd"]',
        keys=(
            *_MYSQL,
            *("MARIADB" + key[5:] for key in _MYSQL),
            *("MARIADB_ROOT_PASSWORD_HASH", "MARIADB_PASSWORD_HASH", "MARIADB_USER_HOST", "MARIADB_MASTER_HOST"),
            *("MARIADB_MASTER_PORT", "MARIADB_REPLICATION_USER", "MARIADB_REPLICATION_PASSWORD"),
            "MARIADB_REPLICATION_PASSWORD_HASH",
        ),
        reads_files=True,
        initialises=True,
        instead=(("MARIADB_ROOT_PASSWORD", _WITHOUT_ROOT_PASSWORD), ("MYSQL_ROOT_PASSWORD", _WITHOUT_ROOT_PASSWORD)),
        newer="MARIADB_",
        older="MYSQL_",
        drops_root=True,
    ),
    Profile(
        "mongo",
        "MongoDB",
        repositories=("mongo",),
        markers=("MONGO_MAJOR",),
        servers=("mongod",),
        command='["mongod"]',
        # Its entrypoint becomes `mongodb` first and reads the files of these after that: root's own are closed to it.
        keys=("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD"),
        initialises=True,
        drops_root=True,
    ),
    Profile(
        "rabbitmq",
        "RabbitMQ",
        repositories=("rabbitmq",),
        markers=("RABBITMQ_VERSION",),
        servers=("rabbitmq-server",),
        command='["rabbitmq-server"]',
        keys=("RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_VHOST", "RABBITMQ_ERLANG_COOKIE"),
        paths="RABBITMQ_",
        # Since 3.9.
        refused=("RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_DEFAULT_USER_FILE"),
        # 3.10 ends with `badarg` on a euro sign, and no login works with an umlaut.
        is_ascii=True,
        drops_root=True,
    ),
    Profile(
        "redis",
        "Redis",
        repositories=("redis",),
        markers=("REDIS_VERSION",),
        servers=("redis-server", "redis-sentinel"),
        command='["redis-server"]',
        configuration="write requirepass ${KEY|json} in a template, --render TEMPLATE:/dev/shm/redis.conf:redis, and "
        "start it with that file",
        takes_file=True,
        drops_root=True,
    ),
    Profile(
        "valkey",
        "Valkey",
        repositories=("valkey/valkey",),
        markers=("VALKEY_VERSION",),
        # It has its older name, too: with it alone it is taken for Redis, which needs the same.
        servers=("valkey-server", "redis-server"),
        command='["valkey-server"]',
        configuration="write requirepass ${KEY|json} in a template, --render TEMPLATE:/dev/shm/valkey.conf:valkey, and "
        "start it with that file",
        takes_file=True,
        drops_root=True,
    ),
    Profile(
        "memcached",
        "memcached",
        repositories=("memcached",),
        markers=("MEMCACHED_VERSION",),
        servers=("memcached",),
        command='["memcached"]',
        configuration="write USER:${KEY} in a template, --render TEMPLATE:/dev/shm/memcached:memcache, and start it "
        "with --auth-file=/dev/shm/memcached",
    ),
    Profile(
        "nginx",
        "nginx",
        repositories=("nginx", "nginxinc/nginx-unprivileged"),
        markers=("NGINX_VERSION",),
        servers=("nginx",),
        starts=("nginx", "nginx-debug"),
        command='["nginx", "-g", "daemon off;"]',
    ),
    Profile(
        "httpd",
        "Apache httpd",
        repositories=("httpd",),
        markers=("HTTPD_VERSION", "HTTPD_PREFIX"),
        servers=("httpd-foreground",),
        command='["httpd-foreground"]',
        entrypoint="",
        drops_root=True,
    ),
    Profile(
        "wordpress",
        "WordPress",
        repositories=("wordpress",),
        # The image sets none of its own; these are what its users set.
        markers=("WORDPRESS_DB_PASSWORD", "WORDPRESS_DB_PASSWORD_FILE", "WORDPRESS_DB_HOST", "WORDPRESS_DB_NAME"),
        starts=("apache2-foreground", "php-fpm"),
        command='["apache2-foreground"]',
        # wp-config.php reads the files of these at every request, as www-data.
        keys=(
            *("WORDPRESS_DB_HOST", "WORDPRESS_DB_NAME", "WORDPRESS_DB_USER", "WORDPRESS_DB_PASSWORD"),
            *("WORDPRESS_AUTH_KEY", "WORDPRESS_SECURE_AUTH_KEY", "WORDPRESS_LOGGED_IN_KEY", "WORDPRESS_NONCE_KEY"),
            *("WORDPRESS_AUTH_SALT", "WORDPRESS_SECURE_AUTH_SALT", "WORDPRESS_LOGGED_IN_SALT", "WORDPRESS_NONCE_SALT"),
            *("WORDPRESS_DB_CHARSET", "WORDPRESS_DB_COLLATE", "WORDPRESS_TABLE_PREFIX", "WORDPRESS_CONFIG_EXTRA"),
        ),
        drops_root=True,
    ),
    Profile(
        "nextcloud",
        "Nextcloud",
        repositories=("nextcloud",),
        markers=("NEXTCLOUD_VERSION",),
        starts=("apache2-foreground", "php-fpm"),
        command='["apache2-foreground"]',
        entrypoint="entrypoint.sh",
        # Some are read by the entrypoint, as root, and some at every request, as www-data.
        keys=(
            *("NEXTCLOUD_ADMIN_USER", "NEXTCLOUD_ADMIN_PASSWORD", "REDIS_HOST_PASSWORD", "SMTP_PASSWORD"),
            *("MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"),
            *("OBJECTSTORE_S3_KEY", "OBJECTSTORE_S3_SECRET", "OBJECTSTORE_S3_SSE_C_KEY"),
        ),
        drops_root=True,
    ),
    Profile(
        "ghost",
        "Ghost",
        repositories=("ghost",),
        markers=("GHOST_VERSION", "GHOST_INSTALL"),
        starts=("node",),
        command='["node", "current/index.js"]',
        # database__connection__password: case matters to it.
        keeps_case=True,
        drops_root=True,
    ),
    Profile(
        "keycloak",
        "Keycloak",
        repositories=("quay.io/keycloak/keycloak", "keycloak/keycloak"),
        markers=("KC_RUN_IN_CONTAINER",),
        servers=("kc.sh",),
        starts=("start", "start-dev"),
        command='["start"]',
        entrypoint="kc.sh",
        keys=(
            *("KC_DB_USERNAME", "KC_DB_PASSWORD", "KC_BOOTSTRAP_ADMIN_USERNAME", "KC_BOOTSTRAP_ADMIN_PASSWORD"),
            *("KC_BOOTSTRAP_ADMIN_CLIENT_SECRET", "KC_CACHE_REMOTE_USERNAME", "KC_CACHE_REMOTE_PASSWORD"),
            *("KC_HTTPS_KEY_STORE_PASSWORD", "KC_HTTPS_TRUST_STORE_PASSWORD", "KEYCLOAK_ADMIN_PASSWORD"),
        ),
        paths="KC_",
    ),
    Profile(
        "grafana",
        "Grafana",
        repositories=("grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"),
        markers=("GF_PATHS_HOME",),
        entrypoint="run.sh",
        spelling=DOUBLE,
        prefix="GF_",
        paths="GF_",
    ),
    Profile(
        "gitea",
        "Gitea",
        repositories=("gitea/gitea", "docker.gitea.com/gitea"),
        markers=("GITEA_CUSTOM",),
        starts=("s6-svscan",),
        entrypoint="entrypoint",
        spelling=DOUBLE,
        prefix="GITEA__",
        paths="GITEA__",
        drops_root=True,
    ),
    Profile(
        "linuxserver",
        "linuxserver.io",
        markers=("LSIO_FIRST_PARTY",),
        spelling=LEADING,
        drops_root=True,
    ),
)
NAMES = (AUTO, NONE, *(profile.name for profile in PROFILES))


class Chosen:
    """The profile in force, and why that one."""

    __slots__ = ("profile", "why")

    def __init__(self, profile: Profile, why: str) -> None:
        self.profile = profile
        self.why = why


def choose(options: "Options", variables: "Collection[str]") -> "Chosen | None":
    """Return the profile that *options* ask for; None for `none`, or when `auto` recognises no image.

    Raises:
        Breach: there is no profile of that name.
    """
    if options.profile == AUTO:
        return recognise(options.argv if options.action in ("start", "exec") else [], variables)
    for profile in PROFILES:
        if options.profile == profile.name:
            return Chosen(profile, "--profile names it")
    if options.profile == NONE:
        return None
    raise Breach("", "--profile (SHIM_PROFILE) names an unknown profile", "the profiles are " + ", ".join(NAMES))


def recognise(argv: list[bytes], variables: "Collection[str]") -> "Chosen | None":
    """Return the profile of the image that starts *argv* and sets *variables*: what it starts tells more."""
    program = started(argv)
    best, most = None, 0
    for profile in PROFILES:
        marker = next((name for name in profile.markers if name in variables), "")
        is_started = bool(program) and program in profile.servers
        if 2 * is_started + bool(marker) > most:
            most = 2 * is_started + bool(marker)
            reasons = [f"{program} is started"] * is_started + [f"{marker} is set"] * bool(marker)
            best = Chosen(profile, " and ".join(reasons))
    return best


def started(argv: list[bytes]) -> str:
    """Return the name of the program that *argv* starts, behind an official entrypoint too."""
    names = [word.rpartition(b"/")[2].decode("utf-8", "surrogateescape") for word in argv[:2]]
    return names[-1] if names[:1] == [ENTRYPOINT] else (names or [""])[0]
