"""Recipes of images/ that test_engine_services does not start: a real login or request, PID 1, no value kept."""

import base64
import json
import urllib.error
import urllib.request

import pytest

from tests.support.engine import HARDENED, SHIM, UGLY, Engine, SecretsFolder, Start

pytestmark = [pytest.mark.engine, pytest.mark.frozen]

PROMPT_SECONDS = 20
ASCII = UGLY.encode("ascii", "ignore").decode()
RECIPES = ("mariadb", "nginx", "postgres", "rabbitmq", "redis", "static")


def explained(engine: Engine, container: str) -> dict[str, str]:
    """Return the profile that the shim in the container goes by."""
    profile = json.loads(engine.docker("exec", container, SHIM, "explain", "--json").stdout)["profile"]
    return {} if profile is None else profile


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_holds_nothing_but_names(engine: Engine, name: str) -> None:
    """Neither its history nor its configuration has room for a value: it names keys, and starts the shim first."""
    image = json.loads(engine.docker("image", "inspect", engine.image(name)).stdout)[0]["Config"]

    assert image["Entrypoint"][0] == SHIM
    assert image["Cmd"], "a new ENTRYPOINT erases CMD"
    named = {entry.partition("=")[0] for entry in image["Env"]}
    assert not [name for name in named if name.endswith(("_PASSWORD", "_PASS", "_TOKEN"))]


def test_rabbitmq_takes_its_password_from_a_pointer_that_it_would_refuse(
    engine: Engine, start: Start, secrets_folder: SecretsFolder
) -> None:
    """RABBITMQ_DEFAULT_PASS_FILE, which keeps the image alone from starting, gives the first user its password.

    An ASCII one: RabbitMQ itself takes no other from its environment.
    """
    secrets_folder.add("broker", ASCII)
    pointer = ("--env", "RABBITMQ_DEFAULT_PASS_FILE=/run/secrets/broker", "--env", "RABBITMQ_DEFAULT_USER=app")
    others = ("--env", "RABBITMQ_SSL_KEYFILE=/key", "--env", "RABBITMQ_MANAGEMENT_SSL_VERIFY=x")
    refused = engine.run(engine.base("rabbitmq"), options=(*secrets_folder.mount, *pointer, *others))
    assert refused.code == 1
    for name in ("RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_SSL_KEYFILE", "RABBITMQ_MANAGEMENT_SSL_VERIFY"):
        assert f"{name} is set but deprecated" in refused.stderr

    # A short name of its own: the broker's name for itself is made of it.
    container = start(engine.image("rabbitmq"), options=(*pointer, "--hostname", "broker"))
    engine.wait_until_healthy(container)

    login = 'printf "%s\\n" "$0" | rabbitmqctl authenticate_user app'
    assert engine.exec(container, "sh", "-c", login.replace('"$0"', '"$RABBITMQ_DEFAULT_PASS"')).code == 0
    assert engine.exec(container, "sh", "-c", login, "wrong").code != 0
    assert explained(engine, container)["name"] == "rabbitmq"
    assert engine.main_program(container) in ("rabbitmq-server", "beam.smp")
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def test_nginx_asks_for_the_password_of_a_secret(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """A request with the secret is answered, one without is not; the password file is in memory and nginx's own.

    The image's own templates are filled in without root, too, and leave nginx its variables.
    """
    secrets_folder.add("nginx_password", UGLY)
    templates = secrets_folder.path.parent / "templates"
    templates.mkdir(mode=0o755)
    (templates / "more.conf.template").write_text(
        'server { listen 8081; location / { return 200 "${GREETING} $server_port"; } }\n'
    )
    mounted = ("--volume", f"{templates}:/etc/nginx/templates:ro", "--env", "GREETING=c4n4ry")
    options = (*mounted, "--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081", "--read-only", *HARDENED)
    container = start(engine.image("nginx"), options=options)
    engine.wait_until_healthy(container)
    url = "http://{}:{}/".format(*engine.published(container, 8080))

    assert status(url, "app", UGLY) == 200
    assert status(url, "app", UGLY + "x") == 401
    assert status(url) == 401
    with urllib.request.urlopen("http://{}:{}/".format(*engine.published(container, 8081)), timeout=10) as answer:
        assert answer.read() == b"c4n4ry 8081"
    assert engine.main_program(container) == "nginx"
    kept = engine.docker("exec", container, "stat", "-c", "%a %U %m", "/dev/shm/htpasswd").stdout.split()
    assert kept == ["400", "nginx", "/dev/shm"]
    assert explained(engine, container)["name"] == "nginx"
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def status(url: str, user: str = "", password: str = "", bearer: str = "") -> int:
    """Return the status of a GET."""
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    if bearer:
        request.add_header("Authorization", f"Bearer {bearer}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        return error.code


def test_a_static_binary_in_scratch(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """The image holds two files; the service has the secret that only root may read, and is no longer root."""
    token = "c4n4ry-" + "token" * 5
    secrets_folder.add("api_token", token)
    image = engine.image("static")
    made = engine.docker("create", image).stdout.strip()
    listed = engine.docker("export", made, "--output", secrets_folder.path.parent / "files.tar")
    engine.docker("rm", made)
    assert listed.returncode == 0
    assert ours(secrets_folder.path.parent / "files.tar") == {"opt/shim/shim", "etc/shim/env.schema", "service"}

    container = start(image, options=("--publish", "127.0.0.1::8080", "--read-only", *HARDENED))
    engine.wait_until_healthy(container)
    url = "http://{}:{}/".format(*engine.published(container, 8080))

    assert status(url, bearer=token) == 204
    assert status(url, bearer=token[:-1]) == 401
    assert status(url) == 401
    assert engine.main_program(container) == "service"
    assert engine.docker("top", container, "-eo", "pid,uid").stdout.split()[-1] == "10001"
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS
    end = engine.run(image)
    assert (end.code, "API_TOKEN is required" in end.stderr) == (100, True)


def ours(archive: object) -> set[str]:
    """Return the regular files with content in a container's file system: the engine adds empty ones."""
    import tarfile

    with tarfile.open(str(archive)) as opened:
        return {member.name for member in opened if member.isfile() and member.size}


def test_mariadb_knows_the_older_name(engine: Engine, secrets_folder: SecretsFolder) -> None:
    """A secret under MySQL's name satisfies the recipe; a forgotten variable that would win over it is refused."""
    secrets_folder.add("mysql_root_password", UGLY)
    shown = ("--entrypoint", SHIM, *secrets_folder.mount)

    found = engine.run(engine.image("mariadb"), "explain", options=shown)
    both = engine.run(engine.image("mariadb"), options=(*secrets_folder.mount, "--env", "MARIADB_ROOT_PASSWORD=other"))

    assert found.code == 0, found
    assert "MARIADB_ROOT_PASSWORD  root" in found.stdout
    assert both.code == 100
    assert "MARIADB_ROOT_PASSWORD and MYSQL_ROOT_PASSWORD are both set" in both.stderr


@pytest.mark.parametrize("name", ["postgres", "mariadb", "redis", "rabbitmq", "nginx"])
def test_a_recipe_whose_command_got_lost_says_so(engine: Engine, secrets_folder: SecretsFolder, name: str) -> None:
    """Without CMD an official entrypoint ends with 0, at once and in silence."""
    for key in ("postgres_password", "mariadb_root_password", "redis_password", "rabbitmq_default_pass"):
        secrets_folder.add(key, UGLY)
    secrets_folder.add("nginx_password", UGLY)
    entrypoint = "/docker-entrypoint.sh" if name == "nginx" else "docker-entrypoint.sh"

    lost = engine.run(
        engine.image(name),
        "--",
        entrypoint,
        options=("--entrypoint", SHIM, "--env", "SHIM_LOG=", *secrets_folder.mount),
    )

    assert lost.code == 100
    assert "docker-entrypoint.sh has no command to start" in lost.stderr
    assert "write CMD [" in lost.stderr
