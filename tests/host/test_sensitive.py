"""Which variables are secrets: names, values, and what is neither."""

import json
from collections.abc import Callable

import pytest
from shim_host.recognition import command_lines
from shim_host.recognition.sensitive import is_telling, masked_line, why_by_value, why_secret

Canary = Callable[[], str]
TELLING = """
    DB_PASSWORD REDIS_AUTH apiKey JWT_SECRET SMTP_PASS SESSION_COOKIE_SECRET requirepass aws.secretKey TLS_PRIVATE_KEY
    AUTH_TOKEN database__connection__password TS_AUTHKEY SAPWD VAULT_DEV_ROOT_TOKEN_ID masterauth WALLET_MNEMONIC
    KOMODO_PASSKEY APP_PASSCODE ACCESS_CODE DB_SENHA MOT_DE_PASSE
"""
SPEAKING_ABOUT = """
    AUTH_BACKENDS auth.config JWT_AUDIENCE SESSION_COOKIE_SAMESITE TOKEN_HEADERS PASSWORD_RESET_TIMEOUTS KEY_FILENAME
    JWT_EXP SECRET_LOCAL_HOSTNAME PASSWORD_HASHERS DB_PASSWORD_SEEDER RECAPTCHA_SITE_KEY SORT_KEY ROUTING_KEY
    CREDENTIALS_FILEPATH SECRET_ARN TOKEN_SYMBOL SECRET_STORE KEY_ROTATION PASSWORD_LOGIN OLDPWD REDIS_PREFIX_KEY
    traefik.http.middlewares.a.forwardauth.authResponseHeaders SECRET_NAME PUBLIC_KEY
    VIRTUAL_HOST_AUTH JWT_AUD PROXY_HEADER_AUTH ACCESS_CODE_LENGTH PASSKEY_ORIGIN
"""


@pytest.mark.parametrize("name", TELLING.split())
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
        ("AUTH", "ldap"),
        ("SMTP_AUTH", "CRAM-MD5"),
        ("ACL_PRIVATE", "public-read"),
        ("PASSWORD_ENCRYPTION", "scram-sha-256"),
        ("BYPASS_AUTH", "false"),
        ("PWD", "/app"),
        ("xpack.security.http.ssl.key", "certs/es01/es01.key"),
        ("keys", "http_server"),
        ("GPG_KEY", "A0B1C2D3" * 5),
        ("GOOGLE_APPLICATION_CREDENTIALS", "gcp.json"),
        ("KAFKA_SSL_KEY_CREDENTIALS", "broker_creds"),
    ],
)
def test_an_answer_or_a_place_is_no_secret(name: str, value: str) -> None:
    assert not why_secret(name, value, None)


MNEMONIC = "gravel amused lamp orbit casual pony noodle sting vault merry doctor acid"
BY_BOTH = (
    ("SIM_PIN", "1234"),
    ("PIN", "'123456'"),
    ("HSM_PIN", "1234"),
    ("USER_PIN", "Zk3/+abQ"),
    ("HOMEKIT_PIN", "031-45-154"),
    ("APP_SEED", "BDf7SUM1Qkci_xFSV-EBkg"),
    ("PI_WALLET_SEED", "SAAAAA2" * 8),
    ("OTP_SEED", "JBSWY3DPEHPK3PXP"),
    ("signingSeed", "00ff" * 16),
    ("XRP_SEED", "sEdTM1uX8pu2do5XvTnutH6HsouMa"),
    ("WALLET_SEED", MNEMONIC),
    ("BCH_SEED_PHRASE", f'"{MNEMONIC}"'),
    ("RECOVERY_PHRASE", MNEMONIC),
)
NEITHER = (
    ("RESET_PIN", "17"),
    ("PIN", "4"),
    ("DATA_PIN", "GPIO27"),
    ("PIN_COUNT", "1234"),
    ("IMAGE_PIN", "20240131"),
    ("GIT_PIN", "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"),
    ("CA_PIN", "sha256:7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"),
    ("SIM_PIN", "disabled"),
    ("HSM_PIN", "/run/pins/hsm"),
    ("DB_SEED", "true"),
    ("RANDOM_SEED", "42"),
    ("SEED", "-1785852800490497919"),
    ("SEED", "fortheworthy"),
    ("WORLD_SEED", "ILoveMinecraft2024x"),
    ("SEED", "Swap intros, then riff on memory and what else there may be to say of it"),
    ("CASSANDRA_SEED", "cassandra-node-01"),
    ("DISCOVERY_SEED", "seed-a.example.com:26656"),
    ("SEED_DATA", "demo1Set2Of3Things4"),
    ("SEARCH_PHRASE", MNEMONIC),
)


@pytest.mark.parametrize(("name", "value"), BY_BOTH)
def test_a_pin_or_a_seed_is_told_by_its_name_and_its_form(name: str, value: str) -> None:
    """Together; and where it is shown, it is masked."""
    assert why_secret(name, value, None)
    assert value.strip("\"'") not in masked_line(f"    {name}: {value}")
    assert not why_secret("TITLE", value, None)


@pytest.mark.parametrize(("name", "value"), NEITHER)
def test_a_pin_of_a_board_and_a_seed_of_a_world_are_no_secrets(name: str, value: str) -> None:
    assert not why_secret(name, value, None)
    assert masked_line(f"{name}={value}") == f"{name}={value}"


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
        "Server=db;User Id=sa;Password = {};",
        "app:{}@tcp(db:3306)/app?parseTime=true",
        "jdbc:oracle:thin:app/{}@//db:1521/x",
        "app/{}@//db:1521/x",
        "jdbc:mysql://db/x?user=a&pass={}",
        "auto://app:{}@:1080",
        "https://feed.example/all?a=1&token={}1",
        "https://feed.example/all?access_token={}1#x",
        "https://acc.blob.example/c?sv=2020&sig={0}{0}%3D",
        "https://{0}1{0}@git.example/x.git",
        "discord://{0}1{0}@123456789012345678",
        "-Xmx1g -Djavax.net.ssl.keyStorePassword={}",
        '{{"spring": {{"datasource": {{"password":"{}"}}}}}}',
        "service=x,api-key={}1",
        "rails['smtp_password'] = '{}'",
        "//registry.example/:_authToken={}1",
        "machine x login y password {}",
        "Authorization=Basic {}1=",
        "Bearer {}1",
        '{{"auths": {{"r.example": {{"auth": "{}A=="}}}}}}',
        "app:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/",
        "app:$$2y$$05$$" + "abcdefghijklmnopqrstuuOwV0m5HQx" + "Abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsg",
        "app:realm:a2688e031edb4be6a3797f3882655c05",
    ],
)
def test_a_password_inside_an_address_is_found(value: str, canary: Canary) -> None:
    assert why_by_value(value.format(canary()))


HARMLESS = """
http://host:8080/mail@example.org
postgres://db/app?user=app
postgres://app:${DB_PASSWORD}@db/app
mongodb://$(MONGO_USER):$(MONGO_PASSWORD)@db
postgres://$USER:$PASSWORD@db
a@b.example
arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod-AbCdEf1
-Dkey.size=2048 -Djavax.net.ssl.trustStore=/x.jks -Dauth.mode=basic
service.name=x,key=value,token:none
https://feed.example/?access_token={token}
https://feed.example/?api_key=<your-key>
https://feed.example/?token=${TOKEN_OF_FEED1}
{"tokenUrl":"https://x.example/token1","passwordMinLength":8,"secretName":"db-creds1"}
--password-file=/run/secrets/x1 --token-ttl=30
Bearer authentication required
Basic knowledge
Enter your password: anything
Authorization,X-Api-Key,Token
https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.example/1
git@github.example:org/repo.git
@scope/token
sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""


@pytest.mark.parametrize("value", HARMLESS.strip().splitlines())
def test_an_address_or_a_setting_without_a_password_is_none(value: str) -> None:
    assert not why_by_value(value)


def test_a_short_value_or_a_word_tells_nothing_elsewhere(canary: Canary) -> None:
    assert is_telling(canary())
    assert not any(map(is_telling, ("sentry", "postgres", "Password", "12345678", "abc")))


# Commands that take a password without a name for it; VALUE becomes one.
COMMANDS = """
mc alias set m http://minio:9000 root VALUE
mc --quiet config host add m http://minio:9000 root VALUE
rabbitmqctl add_user app VALUE
rabbitmqctl -q change_password app VALUE
htpasswd -Bbn app VALUE
htpasswd -cb /x app VALUE
openssl genrsa -passout pass:VALUE 2048
neo4j-admin dbms set-initial-password VALUE
vault login VALUE
sqlplus app/VALUE@db
redis-server --masterauth VALUE
redis-server --sentinel auth-pass main VALUE
redis-server --user default on >VALUE
samba -u app;VALUE
"""


@pytest.mark.parametrize("command", COMMANDS.strip().splitlines())
def test_a_password_without_a_name_is_found_in_a_command_and_masked(command: str, canary: Canary) -> None:
    """In a text, and as the words of a list; what a shell puts in is none."""
    value = canary()
    written = command.replace("VALUE", value)

    found = [match["value"] for pattern in command_lines.IN_SCRIPTS for match in pattern.finditer(written)]

    assert value in found or "--masterauth" in command, "an option with a name is found by that"
    assert value not in masked_line(written)
    assert value not in masked_line(json.dumps(written.split()))
    by_reference = command.replace("VALUE", "$$PASSWORD")
    assert command_lines.masked(by_reference) == by_reference


def test_flags_and_places_are_shown(canary: Canary) -> None:
    value = canary()

    assert masked_line("# ALLOW_EMPTY_PASSWORD=false # in tests") == "# ALLOW_EMPTY_PASSWORD=false # in tests"
    assert masked_line("TLS_KEY: /etc/tls/a.key") == "TLS_KEY: /etc/tls/a.key"
    assert value not in masked_line(f"EMPTY_PASSWORD=false # {value}1 before")
    assert value not in masked_line(f"DB_PASSWORD: {value}")
