"""What `migrate` finds where no file can be: commands, scripts, labels, build arguments, configs."""

import base64
import json

import pytest

from tests.support.host import Canary, Manage
from tests.support.provoked import provokes

# Where it is; VALUE becomes one.
PLACES = {
    "a default in a command": "command: --requirepass ${UNSET_AUTH:-VALUE}",
    "a script in a list": 'command: ["bash", "-c", "bench new-site --admin-password=VALUE --install-app x"]',
    "a script in one text": "command: sh -c 'PGPASSWORD=VALUE psql -h db'",
    "joined to its option": "command: [mysqladmin, ping, -pVALUE]",
    "joined, in a block list": "healthcheck:\n      test:\n      - CMD\n      - mysqladmin\n      - -pVALUE\n",
    "an option that only its program explains": "command: redis-cli -a VALUE ping",
    "in a health check": "healthcheck: {test: [CMD, curl, -u, 'elastic:VALUE', 'http://localhost']}",
    "in a health check's script": "healthcheck: {test: 'mysqladmin ping -pVALUE || exit 1'}",
    "a URL": "command: [run, 'postgres://app:VALUE/x@db/x']",
    "a query": "labels: {dsn: 'jdbc:postgresql://db/x?user=a&password=VALUE'}",
    "a label": "labels: [api.token=VALUE]",
    "a build argument": "build: {context: ., args: {NPM_TOKEN: VALUE}}",
    "a header": "healthcheck: {test: \"curl -H 'Authorization: Bearer VALUE' http://localhost\"}",
    "a statement of SQL": """command: [sh, -c, "psql -c \\"ALTER USER x PASSWORD 'VALUE'\\""]""",
    "what is piped into a login": "command: sh -c 'echo VALUE | docker login -u x --password-stdin'",
    "an option of a log driver": "logging: {driver: splunk, options: {splunk-token: VALUE}}",
    "an annotation": "annotations: {api.token: VALUE}",
    "a build argument by its name": "build: {context: ., args: [API_TOKEN]}",
    "behind an option that may be a value itself": "command: [app, -pSecretVALUE, VALUE]",
    "a lifecycle hook": "post_start: [{command: [register, --token, VALUE]}]",
}


@pytest.fixture(autouse=True)
def without_engine(manage: Manage) -> None:
    """Point the Docker client at nothing, and say of every image what it starts."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/no.sock"
    manage.write("images.json", json.dumps({"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}))


def project(manage: Manage, service: str, rest: str = "") -> None:
    manage.write("docker-compose.yml", f"services:\n  a:\n    image: app\n    {service}\n{rest}")


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_that_stays_is_not_shown(place: str, manage: Manage, canary: Canary) -> None:
    """Not in the diff either, where what is beside it changes: there only its form tells that it is one."""
    project(manage, f"environment: {{OTHER_TOKEN: {canary()}}}\n    {PLACES[place].replace('VALUE', canary())}")

    assert "+    entrypoint" in manage("migrate", "--image-config", "images.json", "--dry-run").stdout


def findings(manage: Manage) -> str:
    end = manage("migrate", "--image-config", "images.json", "--dry-run")
    assert end.code == 1, end.stderr
    return end.stderr


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_that_stays_is_found(place: str, manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write(".env", f"API_TOKEN={value}\n")
    project(manage, PLACES[place].replace("VALUE", value))

    assert "in plain text" in findings(manage)
    audited = manage("audit", "--no-engine")
    assert audited.code == 1
    assert "secret-in-" in audited.stdout


# One service for each, with the same secret; VALUE becomes its value, CODED what `app:VALUE` is in base64.
FORMS = {
    "mc": "command: [sh, -c, 'mc alias set m http://minio:9000 root VALUEx && run']",
    "curl": "healthcheck: {test: 'curl -fsu elastic:VALUEx http://localhost'}",
    "sqlcmd": "healthcheck: {test: [CMD, /opt/bin/sqlcmd, -U, sa, -P, VALUEx]}",
    "cypher": "healthcheck: {test: [CMD, cypher-shell, -u, neo4j, -p, VALUEx]}",
    "coded": "labels: {text: CODED}",
    "coded-in-env": "environment: {GREETING: CODED}",
    "header": "labels: ['traefik.http.middlewares.h.headers.customrequestheaders.Authorization=Basic CODED']",
    "hash": "labels: ['traefik.http.middlewares.a.basicauth.users=app:$$apr1$$H6uskkkW$$IgXLP6ewTrSuBkTrqE8wj/']",
    "job": "labels: {ofelia.job-exec.x.command: mysqldump -uroot -pVALUEx all}",
    "jvm": "command: [java, '-Ddb.url=jdbc:mysql://db/x?user=a&password=VALUEx', -jar, x.jar]",
}


def test_a_value_is_found_in_every_form_and_audit_agrees(manage: Manage, canary: Canary) -> None:
    value = canary()
    coded = base64.b64encode(f"app:{value}".encode()).decode()
    services = "".join(f"  {name}:\n    image: app\n    {text}\n" for name, text in FORMS.items())
    services = services.replace("VALUE", value).replace("CODED", coded)
    services += "  web:\n    image: app\n    configs: [c]\n    environment: [DB_PASSWORD]\n"
    manage.write(".env", f"DB_PASSWORD={value}\n")
    settings = f"# password: set elsewhere\nrequirepass {value}x\nurl: '{{{{ .Url }}}}'\n"
    config = "configs:\n  c:\n    content: |\n" + "".join(f"      {line}\n" for line in settings.splitlines())
    manage.write(
        "docker-compose.yml",
        f"services:\n{services}{config}networks:\n  default: {{driver: x, driver_opts: {{o: {value}}}}}\n",
    )

    end = manage("migrate", "--image-config", "images.json", "--dry-run", "--json")

    assert end.code == 1, end.stderr
    found = json.loads(end.stdout)["findings"]
    assert {*FORMS} <= {finding["service"] for finding in found if finding["exposed"]}
    assert {"configs.c.content", "networks.default.driver_opts"} <= {finding["message"].split()[0] for finding in found}
    (in_environment,) = (finding for finding in found if finding["service"] == "coded-in-env")
    assert in_environment["hint"].startswith("migrate it as well with --secret")
    audited = manage("audit", "--no-engine").stdout
    assert {name for name in FORMS if name not in audited} == set()


def test_a_variable_of_an_env_file_with_the_value_of_a_secret_is_found(manage: Manage, canary: Canary) -> None:
    """Its name says nothing, and it stays in the file: `--secret` or `--public` decides."""
    value = canary()
    project(manage, "env_file: .env")
    manage.write(".env", f"DB_PASSWORD={value}\nOWNER=x-{value}\nA_SECRET=replace-me\nTITLE=replace-me\n")

    said = findings(manage)

    assert "OWNER of its env_file holds the value of DB_PASSWORD in plain text" in said
    assert "TITLE" not in said
    assert manage("migrate", "--image-config", "images.json", "--dry-run", "--secret", "OWNER").code == 0


def test_the_options_of_a_volume_are_looked_at(manage: Manage, canary: Canary) -> None:
    options = f"{{type: cifs, device: //nas/x, o: 'username=u,password={canary()}'}}"
    project(manage, "volumes: [n:/n]", f"volumes:\n  n: {{driver_opts: {options}}}\n")

    assert "volumes.n.driver_opts holds the value of password in plain text" in findings(manage)
    assert "an option of the volume n seems to hold a secret" in manage("audit", "--no-engine").stdout


@pytest.mark.parametrize(
    ("kind", "said"),
    [("secrets", "the secret s takes API_TOKEN from .env, which has it"), ("configs", "the config s has the value of")],
)
def test_what_takes_a_variable_by_its_name_is_found(kind: str, said: str, manage: Manage, canary: Canary) -> None:
    project(manage, f"{kind}: [s]", f"{kind}: {{s: {{environment: API_TOKEN}}}}\n")
    manage.write(".env", f"API_TOKEN={canary()}\n")

    assert f"{kind}.s.environment holds it in plain text" in findings(manage)
    assert said in manage("audit", "--no-engine").stdout


def test_a_value_of_the_projects_own_is_found_under_any_name(manage: Manage, canary: Canary) -> None:
    """`-u VALUE` says nothing by itself; that VALUE is the secret of this very service does."""
    value = canary()
    project(
        manage, f"environment: {{AWS_SECRET_KEY: {value}, NOTE: 'see {value}!'}}\n    command: [s3, -u, {value}, ls]"
    )

    said = findings(manage)

    assert "services.a.command holds the value of AWS_SECRET_KEY in plain text" in said
    assert "services.a.environment.NOTE holds the value of AWS_SECRET_KEY in plain text" in said


def test_the_key_that_gives_a_secret_its_value_is_one(manage: Manage, canary: Canary) -> None:
    """Whatever it is called, in the Compose file or in `.env` itself."""
    values = [canary(), canary()]
    project(manage, "environment: ['MYSQL_ROOT_PASSWORD=${DBROOT}', 'API_TOKEN']")
    manage.write(".env", f"DBROOT={values[0]}\nTHING={values[1]}\nAPI_TOKEN=${{THING}}\nOTHER=1\n")

    assert manage("migrate", "--image-config", "images.json", "--yes").code == 0
    assert not any(value in (manage.folder / ".env.new").read_text() for value in values)
    assert "OTHER=1" in (manage.folder / ".env.new").read_text()


def test_every_file_that_may_hold_a_value_is_kept_out_of_git(manage: Manage, canary: Canary) -> None:
    """A secret that has to stay stays in the new .env, too."""
    rest = "environment: [API_KEY]\n    env_file: own.env"
    project(manage, f"command: redis-server --requirepass ${{DB_PASSWORD}}\n    {rest}")
    manage.write(".env", f"DB_PASSWORD={canary()}\nAPI_KEY={canary()}\n")
    manage.write("own.env", f"OWN_TOKEN={canary()}\n")

    end = manage("migrate", "--image-config", "images.json", "--yes")
    assert end.code == 1
    # To remove the old own.env would not do: the new Compose file names it.
    assert "run this again with --adopt: it replaces docker-compose.yml, .env, own.env, where" in end.stderr
    ignored = (manage.folder / ".gitignore").read_text().splitlines()
    assert {".env", ".env.new", "own.env", "own.env.new", ".*.new", "/secrets/*"} <= set(ignored)


def test_no_comment_keeps_a_value(manage: Manage, canary: Canary) -> None:
    """The new Compose file is likely to be in git; what only looks like a comment is a value, and stays."""
    value, old = canary(), canary()
    script = f"command:\n    - |\n      # {value}\n      run"
    project(manage, f"# TOKEN: {value}\n    environment: [DB_PASSWORD, 'A=x #y'] # {value}\n    {script}")
    manage.write(".env", f"# mine: {value}\n# DB_URL=postgres://a:{old}@db\nDB_PASSWORD={value}\nB=1 # {value}\n")
    with open(manage.folder / ".env", "a") as file:
        file.write(f"OTHER_TOKEN= # make one\n# make one\nC= # {value}\n")

    end = manage("migrate", "--image-config", "images.json", "--yes")

    assert end.code == 1
    for name in ("docker-compose.yml", ".env"):
        assert f"DB_PASSWORD: a comment in {name} contained an old value" in end.stderr
    text = (manage.folder / "docker-compose.secrets.yml").read_text()
    assert (text.count(value), text.count("***"), "'A=x #y'" in text) == (1, 2, True)
    assert old not in (new := (manage.folder / ".env.new").read_text())
    assert "# mine: ***\n# DB_URL=\n" in new
    # Behind an = and blanks, Compose takes the rest of the line for the value.
    assert new.endswith(f"other_token\n# make one\n# make one\nC= # {value}\n")
    assert "B=1 # ***\n" in new


def test_a_project_elsewhere_has_its_own_env_file(manage: Manage, canary: Canary) -> None:
    """Compose does not read the one of the current folder then; what a person sees there is said for that file."""
    manage.write("deploy/compose.yaml", "services:\n  a: {image: app, environment: {DB_PASSWORD: '${DB_PASSWORD}'}}\n")
    manage.write(".env", f"DB_PASSWORD={canary()}\n")
    words = ["migrate", "--image-config", "images.json", "--yes", "--file", "deploy/compose.yaml"]

    end = manage(*words)
    assert (end.code, "the project is in deploy: --env-file .env adds it" in end.stderr) == (0, True)
    assert manage(*words, "--env-file", ".env").code == 0
    assert (manage.folder / ".env.new").read_text() == "# DB_PASSWORD is a secret now, in ./secrets/db_password\n"


def test_an_env_file_in_a_repository_of_its_own_is_kept_out_of_that(manage: Manage, canary: Canary) -> None:
    """What is included may be a repository, and git looks for no `.gitignore` above it."""
    project(manage, "init: true", "include: [inc/compose.yaml]\n")
    manage.write("inc/compose.yaml", "services:\n  b: {image: app, environment: {DB_PASSWORD: '${DB_PASSWORD}'}}\n")
    manage.write("inc/.env", f"DB_PASSWORD={canary()}\n")
    (manage.folder / "inc/.git").mkdir()

    assert manage("migrate", "--image-config", "images.json", "--yes").code == 0
    assert {".env", ".env.new"} <= set((manage.folder / "inc/.gitignore").read_text().splitlines())


@provokes("… holds … in plain text")
def test_a_config_is_no_secret(manage: Manage, canary: Canary) -> str:
    project(manage, "configs: [c]", f"configs:\n  c:\n    content: |\n      user = app\n      password = {canary()}\n")

    said = findings(manage)
    assert "configs.c.content holds the value of password in plain text" in said
    return said


def test_a_value_is_named_once_in_one_place(manage: Manage) -> None:
    """A short word is known by what is in front of it alone, and two patterns see that."""
    project(manage, "command: redis-server --requirepass ${UNSET:-swordfish}")

    assert findings(manage).count("services.a.command holds") == 1


@pytest.mark.parametrize(
    "service",
    [
        "command: --auth.config=/etc/auth.yml --tls.key=/etc/x.key",
        "command: [serve, --password-file, /run/secrets/x]",
        "command: sh -c 'psql -p$$PGPORT --password=$$PASSWORD'",
        "command: [ssh, -p, '2222', host]",
        "environment: {DB_PASSWORD: app-dev-x}\n    container_name: app-dev-x\n    hostname: app-dev-x",
        "command: [gotenberg, --libreoffice-deny-private-ips, --api-timeout=500s]",
        "labels: ['traefik.http.middlewares.a.forwardauth.authResponseHeaders=Remote-User,Remote-Groups']",
        "entrypoint: [/opt/shim/shim, --file-key, database__connection__password, --, serve]",
        "entrypoint: /opt/shim/shim --file-key API_KEY -- serve",
        "environment: {KEY_CONVERTER: org.example.AvroConverter, KAFKA_SSL_CLIENT_AUTH: required}",
        "environment: {MYSQL_ALLOW_EMPTY_PASSWORD: 'yes', TLS_KEY: /certs/a.key}",
        'entrypoint: sh -c "export B_PASSWORD=$$A_PASSWORD; C_TOKEN=$$(cat /x); run --token=$$TOKEN&& y"',
        "command: ['--secret=$${X:-}', --password, '$$X;', 'A_TOKEN=`cat /x`']",
        "healthcheck: {test: \"curl -H 'Authorization: Bearer $$T' -u a:$$P h\"}",
        "command: [serve, --user, '7:8', -u=1000:1000]",
        # What a merged mapping holds counts only where the service has nothing of that name.
        "healthcheck: {<<: {test: [CMD, psql]}, test: [CMD, /opt/shim/shim, exec, --user, '7:b', --, x]}",
        "command: docker run -u 1000:1000 -p 8080:80 x\n    entrypoint: [gosu, --user, 'app:app']",
        "command: [serve, --auth, password, --user, 'app:www-data']\n    build: {context: ., args: {GPG_KEY: "
        + "a1b2c3d4" * 5
        + "}}",
        # A router, a job or a monitor is called so.
        "labels: [traefik.http.routers.token-api.entrypoints=web, ofelia.job-exec.token-refresh.command=refresh]",
        "command: [worker, --keys=http_server, --ca-key, config/ca/ca.key]",
        "healthcheck: {test: 'mongosh mongodb://$${DB_USER}:$${DB_PASSWORD}@localhost/admin || exit 1'}",
        "entrypoint: [sh, -c, 'mc alias set m http://minio:9000 $$USER $$PASS; mc alias ls']",
        # The colon of a default is not the one between a user and a password.
        "healthcheck: {test: 'pg_isready -U ${DB_USER:-app} -d ${DB_NAME:-app} || psql -U ${U:-the user} http://a'}",
        # What names a secret of the project does not hold it.
        "labels: [backup.secret=app_db_password]\nsecrets: {app_db_password: {external: true}}",
    ],
)
def test_what_is_no_secret_is_no_finding(service: str, manage: Manage) -> None:
    project(manage, service)

    end = manage("migrate", "--image-config", "images.json", "--dry-run")

    assert "in plain text" not in end.stderr
    assert end.code == 0, end.stderr
    assert "secret-in-arguments" not in (audited := manage("audit", "--no-engine").stdout)
    assert "secret-in-health-check" not in audited


@provokes("weak, since a user or a database is called the same: the value of …")
def test_a_password_that_is_the_name_of_a_user_is_a_note(manage: Manage) -> str:
    """It is guessed first of all. But no variable, health check or command gives it away by naming that user."""
    names = "POSTGRES_USER: app_owner, POSTGRES_DB: app_owner, POSTGRES_PASSWORD: app_owner, API_TOKEN: app_token"
    check = "test: pg_isready -U app_owner -d app_owner"
    project(
        manage,
        f"environment: {{{names}}}\n    healthcheck: {{{check}}}\n    command: [run, '--token=${{NO:-app_token}}']",
    )

    end = manage("migrate", "--image-config", "images.json", "--yes")

    assert end.code == 1
    assert "warning: weak, since a user or a database is called the same: the value of POSTGRES_PASSWORD" in end.stderr
    assert "in plain text in 1 place;" in end.stderr, "the token in the command"
    audited = manage("audit", "--no-engine", "--file", "docker-compose.secrets.yml")
    assert "what a user or a database is called: the value of POSTGRES_PASSWORD" in audited.stdout
    assert "POSTGRES_USER" not in audited.stdout
    assert "health check" not in audited.stdout
    return end.stderr


def test_an_included_file_is_read_with_its_own_env_file(manage: Manage, canary: Canary) -> None:
    """A value that its `${...}` gives to a command, or to a variable with a harmless name, is found there."""
    value = canary()
    manage.write("docker-compose.yml", "include: [{path: in/compose.yml, env_file: in/own.env}]\n")
    manage.write("in/own.env", f"DB_PASSWORD={value}\nTITLE={value}\n")
    service = "image: i, environment: ['DB_PASSWORD=${DB_PASSWORD}', 'T=${TITLE}'], command: 'run ${TITLE}'"
    service += ", deploy: {labels: ['t=${TITLE}']}"
    manage.write("in/compose.yml", f"services:\n  a: {{{service}}}\n")

    said = findings(manage)

    assert "services.a.deploy.labels holds the value of DB_PASSWORD in plain text" in said
    assert "services.a.environment.T holds the value of DB_PASSWORD in plain text" in said
    assert "services.a.command holds the value of DB_PASSWORD in plain text" in said


def test_a_service_that_extends_another_has_its_findings_as_well(manage: Manage, canary: Canary) -> None:
    """Where it sets the field itself, it has not: `audit` sees the same."""
    value = canary()
    base = f"environment: {{DB_PASSWORD: {value}, NOTE: 'x {value}'}}\n    command: [run, --token, {value}]\n"
    heirs = "  b: {extends: a}\n  c: {extends: {service: a}, environment: {NOTE: y}, command: [run]}\n"
    project(manage, base + heirs)

    said = findings(manage).splitlines()

    for name in ("a", "b"):
        for place in ("environment.NOTE", "command"):
            message = f"DB_PASSWORD: services.a.{place} holds the value of DB_PASSWORD in plain text"
            assert f"manage-secrets: warning: {name}: {message}" in said
    assert not any(line.startswith("manage-secrets: warning: c: ") for line in said)


def test_who_has_what_stays_in_plain_text_is_named(manage: Manage, canary: Canary) -> None:
    """One that extends what another file writes, gets the value under an innocent name, or has it by an alias."""
    value = canary()
    manage.write(
        "docker-compose.yml",
        "services:\n  a: {image: app, environment: {API_TOKEN: '${NO:-${LEVEL}}'}}\n"
        "  b: {image: app, environment: [LEVEL]}\n"
        "  c: {extends: {file: base.yml, service: base}}\n"
        f"  d: {{image: app, environment: {{B_TOKEN: &v {canary()}}}, labels: {{l: *v}}}}\n",
    )
    manage.write(
        "base.yml", "services: {base: {image: app, labels: ['x=${DB_PASSWORD}'], command: [x, --token, Qz9d]}}\n"
    )
    manage.write(".env", f"LEVEL={value}\nDB_PASSWORD={canary()}\n")

    found = json.loads(manage("migrate", "--image-config", "images.json", "--dry-run", "--json").stdout)["findings"]
    said = {(entry["service"], entry["key"]) for entry in found if entry["exposed"]}
    assert said == {("b", "LEVEL"), ("c", "DB_PASSWORD"), ("c", "token"), ("d", "B_TOKEN")}
    assert any("services.b.environment.LEVEL holds the value of " in entry["message"] for entry in found)


FIELDS = {  # what several services have, and what one writes in its place or beside it
    "build": ("{context: ., args: {L: 'VALUE'}}", "{args: [L=x]}", "{args: {A: x}}"),
    "command": ("[run, --token, 'VALUE']", "run", ""),
    "healthcheck": ("{test: 'curl -u elastic:VALUE http://localhost'}", "{test: [CMD, x]}", "{interval: 3s}"),
    "labels": ("{l: 'VALUE'}", "[l=x]", "[x=y]"),
    "logging": ("{driver: x, options: {t: 'VALUE'}}", "!reset", "{options: {max-size: 1m}}"),
    "volumes": ("[./.env:/app/.env]", "!override [v:/v]", "[v:/v]"),
}


@pytest.mark.parametrize("form", ["VALUE", "${API_TOKEN}"])
def test_every_service_that_has_it_is_named(form: str, manage: Manage, canary: Canary) -> None:
    """By an anchor, or since it extends another: unless it writes something else in its place."""
    value = canary()
    manage.write(".env", f"API_TOKEN={value}\n")
    text = form.replace("VALUE", value)
    first = "".join(f"    {name}: &{name} {was.replace('VALUE', text)}\n" for name, (was, _, _) in FIELDS.items())
    alias = "".join(f"    {name}: *{name}\n" for name in FIELDS)
    other = "".join(f"    {name}: {instead}\n" for name, (_, instead, _) in FIELDS.items())
    beside = "".join(f"    {name}: {more}\n" for name, (_, _, more) in FIELDS.items() if more)
    manage.write(
        "docker-compose.yml",
        f"services:\n  first:\n    image: app\n{first}  alias:\n    image: app\n{alias}"
        f"  beside:\n    extends: first\n{beside}  other:\n    extends: first\n{other}"
        "  far: {extends: {file: base.yml, service: base}}\nvolumes: {v: {}}\n",
    )
    manage.write(
        "base.yml", "services: {base: {build: {context: ., args: &a [API_TOKEN]}}, no: {build: {args: *a }}}\n"
    )

    end = manage("migrate", "--image-config", "images.json", "--dry-run", "--json")

    said: dict[str, set[str]] = {}
    assert end.code == 1, end.stderr
    for finding in json.loads(end.stdout)["findings"]:
        where = finding["message"].split()[0].split(".")
        said.setdefault(finding["service"], set()).add(where[2] if len(where) > 2 else "volumes")
    assert said == {"first": {*FIELDS}, "alias": {*FIELDS}, "beside": {*FIELDS}, "far": {"build"}}
    audited = json.loads(manage("audit", "--no-engine", "--json").stdout)["findings"]
    kinds = {(entry["service"], entry["id"]) for entry in audited if entry["id"].startswith("secret-in-")}
    whole = ("arguments", "build", "health-check", "label", "logging")
    expected = {(name, f"secret-in-{kind}") for name in ("first", "alias", "beside") for kind in whole}
    assert kinds == expected | {("far", "secret-in-build")}
