"""Real services from images/ behind the shim, on a real engine: a login with an ugly password, PID 1, a prompt stop."""

import hashlib
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.engine import HARDENED, UGLY, Engine, SecretsFolder, Start, fingerprint_of

pytestmark = [pytest.mark.engine, pytest.mark.frozen]

# What an official entrypoint needs that makes its folders its own before it becomes its user.
OWN_FOLDERS = ("--cap-add", "CHOWN", "--cap-add", "DAC_OVERRIDE", "--cap-add", "FOWNER")
PROMPT_SECONDS = 20  # less than the thirty after which `stop` lets the engine kill; none of these needs a tenth


def test_postgres_takes_its_password_from_a_secret(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """PostgreSQL is initialised with the secret, and a login over TCP works with it and with nothing else."""
    secrets_folder.add("postgres_password", UGLY)
    options = ("--publish", "127.0.0.1::5432", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/var/run/postgresql")
    container = start(engine.image("postgres"), options=(*options, *HARDENED, *OWN_FOLDERS))
    engine.wait_until_healthy(container)
    host, port = engine.published(container, 5432)

    with psycopg.connect(host=host, port=port, user="app", dbname="app", password=UGLY) as connection:
        row = connection.execute("SELECT current_user, current_setting('server_version_num')::int / 10000").fetchone()
    assert row == ("app", 15)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=host, port=port, user="app", dbname="app", password=UGLY.rstrip("d"))

    assert engine.main_program(container) == "postgres"
    # The health check has the secret too, and its login counts: at 127.0.0.1 the image asks nobody for a password.
    assert engine.check_health(container) == 0
    psql = ("psql", "-U", "app", "-d", "app", "-qtA", "--no-password", "-c")
    assert engine.docker("exec", container, *psql, "SELECT 1", "-h", "127.0.0.1").stdout == "1\n"
    engine.docker("exec", container, *psql, "ALTER ROLE app PASSWORD 'of somebody else'")
    assert engine.check_health(container) != 0
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def test_postgres_refuses_two_answers(engine: Engine, secrets_folder: SecretsFolder) -> None:
    """POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE that differ are refused before the official entrypoint runs."""
    secrets_folder.add("other_password", UGLY)
    both = (
        "--env",
        "POSTGRES_PASSWORD=another-value-here",
        "--env",
        "POSTGRES_PASSWORD_FILE=/run/secrets/other_password",
    )
    end = engine.run(engine.image("postgres"), options=(*secrets_folder.mount, *both))

    assert end.code == 100
    assert "POSTGRES_PASSWORD" in end.stderr
    assert "POSTGRES_PASSWORD_FILE" in end.stderr
    assert UGLY not in end.stdout + end.stderr
    assert "another-value-here" not in end.stdout + end.stderr


def test_the_base_image_refuses_two_answers_by_itself(engine: Engine, secrets_folder: SecretsFolder) -> None:
    """The image under the shim behaves as the official one: the shim in front of it has to clear the pointer away."""
    secrets_folder.add("other_password", UGLY)
    both = (
        "--env",
        "POSTGRES_PASSWORD=another-value-here",
        "--env",
        "POSTGRES_PASSWORD_FILE=/run/secrets/other_password",
    )
    end = engine.run(engine.base("postgres"), options=(*secrets_folder.mount, *both))

    assert end.code == 1
    assert "error: both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set (but are exclusive)" in end.stderr


def test_postgres_follows_a_pointer(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """A compose file that already has POSTGRES_PASSWORD_FILE works unchanged behind the shim.

    So do its init scripts, which find the password where the image leaves it, and arguments of initdb in quotes.
    """
    secrets_folder.add("some_name", UGLY)
    scripts = secrets_folder.path.parent / "initdb.d"
    scripts.mkdir(mode=0o755)
    (scripts / "1.sql").write_text("CREATE TABLE made (by_whom text);\n")
    insert = "INSERT INTO made VALUES ('a script')"
    (scripts / "2.sh").write_text(
        f'[ "$PGPASSWORD" = "$POSTGRES_PASSWORD" ] && psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "{insert}"\n'
    )
    pointer = (
        *(
            "--env",
            "POSTGRES_PASSWORD_FILE=/run/secrets/some_name",
            "--env",
            "POSTGRES_INITDB_ARGS=--encoding 'UTF8' -k",
        ),
        *("--publish", "127.0.0.1::5432", "--volume", f"{scripts}:/docker-entrypoint-initdb.d:ro"),
    )
    container = start(engine.image("postgres"), options=pointer)
    engine.wait_until_healthy(container)
    host, port = engine.published(container, 5432)

    with psycopg.connect(host=host, port=port, user="app", dbname="app", password=UGLY) as connection:
        assert connection.execute("SELECT by_whom, current_setting('data_checksums') FROM made").fetchone() == (
            "a script",
            "on",
        )


def test_redis_takes_its_password_from_a_rendered_configuration(
    engine: Engine, start: Start, secrets_folder: SecretsFolder
) -> None:
    """Redis does not read the environment: its configuration is rendered into memory, for its own user alone.

    Its data lie in a folder that root made, which the entrypoint has to give to that user: what is written there
    outlives a stop, with the entrypoint of version 7 and with that of 8.
    """
    secrets_folder.add("redis_password", UGLY)
    data = secrets_folder.path.parent / "data"
    data.mkdir()
    options = ("--publish", "127.0.0.1::6379", "--read-only", *HARDENED, *OWN_FOLDERS, "--volume", f"{data}:/data")
    first = start(engine.image("redis"), options=options)
    engine.wait_until_healthy(first)
    assert _redis(engine.published(first, 6379), UGLY, "SET", "kept", "c4n4ry") == b"+OK\r\n"
    assert engine.stop(first)[0] == 0

    container = start(engine.image("redis"), options=(*options, "--env", "REDIS_VERSION=8"))
    engine.wait_until_healthy(container)
    address = engine.published(container, 6379)
    assert _redis(address, UGLY, "STRLEN", "kept") == b":6\r\n"
    assert engine.check_health(container) == 0
    assert {path.stat().st_mode & 0o077 for path in data.rglob("*")} == {0}

    assert _redis(address, "", "PING").startswith(b"-NOAUTH")
    assert _redis(address, UGLY, "PING") == b"+PONG\r\n"
    assert _redis(address, UGLY + "x", "PING").startswith(b"-NOAUTH")
    assert engine.main_program(container) == "redis-server"
    mode = engine.docker("exec", container, "stat", "-c", "%a %U", "/dev/shm/redis.conf").stdout.strip()
    assert mode == "400 redis"
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def _redis(address: tuple[str, int], password: str, *words: str) -> bytes:
    """Return the server's answer to one command after a login (RESP, as Redis' protocol page has it)."""
    with socket.create_connection(address, timeout=10) as connection:
        for command in ([b"AUTH", password.encode()], [word.encode() for word in words]):
            parts = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)
            connection.sendall(b"*%d\r\n" % len(command) + parts)
        answers = connection.makefile("rb")
        answers.readline()
        return answers.readline()


def test_mariadb_takes_its_password_from_a_secret(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """MariaDB is initialised with the secrets; a login over TCP works with them and with nothing else.

    Its init scripts find what they need, and the server none of it.
    """
    secrets_folder.add("mariadb_root_password", UGLY)
    secrets_folder.add("mariadb_password", f"user {UGLY}")
    scripts = secrets_folder.path.parent / "initdb.d"
    scripts.mkdir(mode=0o755)
    (scripts / "1.sql").write_text("CREATE TABLE made (by_whom text);\n")
    insert = "INSERT INTO made VALUES ('a script')"
    (scripts / "2.sh").write_text(
        f'[ "$MYSQL_ROOT_PASSWORD" = "$MARIADB_ROOT_PASSWORD" ] && docker_process_sql <<<"{insert}"\n'
    )
    names = ("--env", "MARIADB_DATABASE=app", "--env", "MARIADB_USER=app")
    container = start(
        engine.image("mariadb"), options=(*names, "--volume", f"{scripts}:/docker-entrypoint-initdb.d:ro")
    )
    engine.wait_until_healthy(container)
    as_user = "MYSQL_PWD=$MARIADB_PASSWORD mariadb --protocol tcp -u app -N -e 'SELECT by_whom FROM made' app"
    assert engine.exec(container, "sh", "-c", as_user) == (0, "a script\n", "")
    assert engine.docker("exec", container, "healthcheck.sh", "--connect", "--innodb_initialized").returncode == 0
    held = Path(f"/proc/{engine.state(container)['Pid']}/environ").read_bytes()
    assert b"MARIADB_USER=app" in held
    assert UGLY.encode() not in held

    login = "mariadb --protocol tcp -h 127.0.0.1 -u root -N -e 'SELECT 1'"
    assert engine.exec(container, "sh", "-c", f"MYSQL_PWD=$MARIADB_ROOT_PASSWORD {login}") == (0, "1\n", "")
    assert engine.exec(container, "sh", "-c", f"MYSQL_PWD=wrong {login}").code == 1
    assert engine.check_health(container) == 0
    assert engine.main_program(container) == "mariadbd"
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def test_a_python_service(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """strict-api reads its secrets through `get_secret`, serves without privileges, and says names and origins only."""
    secrets_folder.add("db_user", "app_c4n4ry")
    secrets_folder.add("db_password", UGLY)
    options = ("--env", "STORE=memory", "--publish", "127.0.0.1::8090", "--read-only", *HARDENED)
    container = start(engine.image("app-python"), options=options)
    engine.wait_until_healthy(container)
    base = "http://{}:{}".format(*engine.published(container, 8090))

    page = _json(f"{base}/health")
    assert (page["status"], page["pid"], page["user"]) == ("ok", 1, "app")
    assert page["secrets"]["DB_PASSWORD"]["origin"] == "root"
    assert page["secrets"]["DB_CONNECTION_STRING"]["origin"] == "composed"
    assert engine.fingerprints(container)["DB_PASSWORD"] == fingerprint_of(UGLY, "DB_PASSWORD")
    assert "fingerprint" not in json.dumps(page)
    assert UGLY not in json.dumps(page, ensure_ascii=False)

    kept = _json(f"{base}/events", {"kind": "odds", "note": "opened"})
    assert _json(f"{base}/events") == [kept]
    assert engine.main_program(container).startswith("python3")
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def test_a_node_service(engine: Engine, start: Start, secrets_folder: SecretsFolder) -> None:
    """The TypeScript backend reads its secrets through `getSecret`, and says their names only."""
    url = "https://c4n4ry.supabase.test/?x=$1'\""
    secrets_folder.add("supabase_url", url)
    secrets_folder.add("encryption_key", hashlib.sha256(UGLY.encode()).hexdigest())
    container = start(engine.image("backend-node"), options=("--publish", "127.0.0.1::3000", "--read-only", *HARDENED))
    engine.wait_until_healthy(container)

    page = _json("http://{}:{}/health".format(*engine.published(container, 3000)))
    assert (page["status"], page["pid"]) == ("ok", 1)
    assert page["secrets"] == ["SUPABASE_URL", "ENCRYPTION_KEY"]
    assert engine.main_program(container) == "node"
    code, seconds = engine.stop(container)
    assert code == 0
    assert seconds < PROMPT_SECONDS


def test_a_node_service_without_its_secret_does_not_start(engine: Engine) -> None:
    """What the schema requires of the backend is missed by the shim, before Node runs."""
    end = engine.run(engine.image("backend-node"))

    assert end.code == 100
    assert "SUPABASE_URL is required" in end.stderr


def _json(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url} answers {error.code}: {error.read().decode()}") from None
