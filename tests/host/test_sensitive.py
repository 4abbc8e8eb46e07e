"""Which variables are secrets: names, values, and what is neither."""

from collections.abc import Callable

import pytest
from shim_host.recognition.sensitive import is_telling, masked_line, why_by_value, why_secret

Canary = Callable[[], str]
TELLING = """
    DB_PASSWORD REDIS_AUTH apiKey JWT_SECRET SMTP_PASS SESSION_COOKIE_SECRET requirepass aws.secretKey TLS_PRIVATE_KEY
    AUTH_TOKEN database__connection__password
"""
SPEAKING_ABOUT = """
    AUTH_BACKENDS auth.config JWT_AUDIENCE SESSION_COOKIE_SAMESITE TOKEN_HEADERS PASSWORD_RESET_TIMEOUTS KEY_FILENAME
    JWT_EXP SECRET_LOCAL_HOSTNAME PASSWORD_HASHERS DB_PASSWORD_SEEDER RECAPTCHA_SITE_KEY SORT_KEY ROUTING_KEY
    CREDENTIALS_FILEPATH traefik.http.middlewares.a.forwardauth.authResponseHeaders SECRET_NAME PUBLIC_KEY
    REDIS_PREFIX_KEY
"""


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "REDIS_AUTH",
        "apiKey",
        "JWT_SECRET",
        "SMTP_PASS",
        "SESSION_COOKIE_SECRET",
        "requirepass",
        "aws.secretKey",
        "TLS_PRIVATE_KEY",
        "AUTH_TOKEN",
        "database__connection__password",
    ],
)
def test_a_name_tells(name: str, canary: Canary) -> None:
    assert why_secret(name, canary(), None)


@pytest.mark.parametrize("name", SPEAKING_ABOUT.split())
def test_a_name_that_speaks_about_a_secret_is_none(name: str, canary: Canary) -> None:
    assert not why_secret(name, canary(), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
        ("INSTALL_SSHPASS", "false"),
        ("MAIL_PASSWORD", "null"),
        ("PROXY_PASSWORD", "None"),
        ("GOOGLE_CREDENTIALS", "{}"),
        ("JWT_SECRET_KEY", "%kernel.project_dir%/config/jwt/private.pem"),
        ("MARIADB_RANDOM_ROOT_PASSWORD", "1"),
        ("ENABLE_REDIS_EMPTY_PASSWORD", "false"),
        ("REQUIRE_AUTH", "on"),
        ("REDIS_TLS_KEY", "/certs/redis.key"),
        ("SSL_KEY", "./tls/server.key"),
        ("NGINX_SSL_CERT_KEY", "site.key"),
        ("DB_PASSWORD", "/run/secrets/db_password"),
        ("SIGNING_KEY", "~/keys/signing"),
        ("CORS_CREDENTIALS", "true"),
        ("DISABLE_AUTH", "'true'"),
        ("AWS_CREDENTIALS_S3", "http://host.docker.internal:9001"),
        ("CLICKHOUSE_DSN", "tcp://clickhouse:9000/traces"),
        ("HOST", "rustdesk-server_web_1"),
    ],
)
def test_an_answer_or_a_place_is_no_secret(name: str, value: str) -> None:
    assert not why_secret(name, value, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "yes"),  # a foolish one, but nothing says that it answers a question
        ("SECRET_KEY", "/9j4AAQSkZ/Jg9Yq+x"),  # base64 that happens to begin with a slash
        ("DB_PASSWORD", "/Qz7Xk9/pL2mN"),
        ("DB_PASSWORD", "notes.txt"),
        ("SENTRY_DSN", "https://3f9d@sentry.example/4"),
        ("HOOK_SECRET", "https://ntfy.example/Hb7x"),
        ("NAME", "key:sk-live0example0of0one"),
    ],
)
def test_what_only_looks_like_one_is_a_secret(name: str, value: str) -> None:
    assert why_secret(name, value, None)


@pytest.mark.parametrize(
    "value",
    [
        "jdbc:postgresql://db/app?user=app&password={}",
        "postgres://app:ab/cd+{}==@db:5432/app",
        "amqp://app:a@{}@queue",
        "Server=db;User Id=sa;Pwd={};",
    ],
)
def test_a_password_inside_an_address_is_found(value: str, canary: Canary) -> None:
    assert why_by_value(value.format(canary()))


@pytest.mark.parametrize("value", ["http://host:8080/mail@example.org", "postgres://db/app?user=app", "a@b.example"])
def test_an_address_without_a_password_is_none(value: str) -> None:
    assert not why_by_value(value)


def test_a_short_value_or_a_word_tells_nothing_elsewhere(canary: Canary) -> None:
    assert is_telling(canary())
    assert not any(map(is_telling, ("sentry", "postgres", "Password", "12345678", "abc")))


def test_flags_and_places_are_shown(canary: Canary) -> None:
    value = canary()

    assert masked_line("# ALLOW_EMPTY_PASSWORD=false # in tests") == "# ALLOW_EMPTY_PASSWORD=false # in tests"
    assert masked_line("TLS_KEY: /etc/tls/a.key") == "TLS_KEY: /etc/tls/a.key"
    assert value not in masked_line(f"EMPTY_PASSWORD=false # {value}1 before")
    assert value not in masked_line(f"DB_PASSWORD: {value}")
