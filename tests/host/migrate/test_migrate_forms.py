"""Every form that Compose takes is migrated: the real Compose reads the project before and after, the real shim starts.

`VALUE` in a file is a value that is nowhere else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import compose_judge as judge
from tests.support.host import Canary, Manage, compose_program
from tests.support.rotation_compose import plug_in_compose

IMAGE = {"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}
ONE = "services:\n  a:\n    image: i\n    environment:\n      DB_PASSWORD: VALUE\n"


@pytest.fixture
def compose(manage: Manage) -> Manage:
    """Return the host tool with a Docker Compose, and no engine."""
    plug_in_compose(manage)
    manage.env |= {"DOCKER_HOST": f"unix://{manage.folder}/no.sock", **judge.QUICK}
    manage.write("images.json", json.dumps(IMAGE))
    return manage


def read(
    folder: Path,
    files: Sequence[str | Path] = (),
    env_files: Sequence[str | Path] = (),
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what Compose makes of the project in *folder*; without `docker` in front it takes half the time."""
    return judge.read(folder, files, env_files, environ, [compose_program()])


def lay_out(manage: Manage, canary: Canary, files: Mapping[str, str]) -> str:
    value = canary()
    for name, text in files.items():
        manage.write(name, text.replace("VALUE", value).replace("FOLDER", str(manage.folder)))
    return value


def environ_of(manage: Manage) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(manage.folder), **manage.env}


def migrated(manage: Manage, *arguments: str, code: int = 0) -> Any:
    end = manage("migrate", "--json", "--yes", "--image-config", "images.json", *arguments)
    assert end.code == code, end.stderr
    return json.loads(end.stdout)


def assert_same(manage: Manage, plan: Any, old: list[str], new: list[str], shim: Path | None = None) -> Any:
    """Let Compose, and the shim if there is one, say that each service sees what it saw."""
    environ = environ_of(manage)
    before = read(manage.folder, old, environ=environ)
    env_files = [".env.new"] if (manage.folder / ".env.new").exists() else []
    after = read(manage.folder, new, env_files, environ)
    assert judge.differences(plan, before, after) == []
    if shim is not None:
        assert judge.unlike(shim, plan, before, after) == []
    return after


# What is in compose.yaml, and perhaps beside it.
FORMS: dict[str, dict[str, str]] = {
    "an empty value comes last": {"compose.yaml": ONE + "volumes:\n  data:\n\nnetworks:\n  default: {}\n"},
    "an empty value in the middle": {"compose.yaml": ONE + "volumes:\n  data:  # kept\n  more:\n\nx-end: 1\n"},
    "a name without a value": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      DB_PASSWORD:\n      LEVEL: info\n",
        ".env": "DB_PASSWORD=VALUE\n",
    },
    "a name without a value, in a list": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n    - LEVEL\n    - DB_PASSWORD\n"
        "    ports: ['1:1']\n",
        ".env": "DB_PASSWORD=VALUE\n",
    },
    "a name without a value that an official image reads from a file": {
        "compose.yaml": "services:\n  a:\n    image: postgres\n    environment:\n      POSTGRES_PASSWORD:\n"
        "      TZ: UTC\n",
        ".env": "POSTGRES_PASSWORD=VALUE\n",
    },
    "a block list is the last field": {
        "compose.yaml": "x-a: &a\n  image: i\n  environment:\n    DB_PASSWORD: VALUE\nservices:\n  a:\n    <<: *a\n"
        "    healthcheck:\n      test:\n        - CMD\n        - 'true'  # up?\n  b:\n    image: j\n",
    },
    "an alias for a health check": {
        "compose.yaml": ONE + "    healthcheck: &h\n      test: 'true'\n      retries: 5\n  b:\n    image: i\n"
        "    environment: {DB_PASSWORD: VALUE}\n    healthcheck: *h\n  c: {image: j, healthcheck: *h}\n",
    },
    "an alias for what is needed first": {
        "compose.yaml": ONE + "    depends_on: &d\n      c: {condition: service_started}\n  b:\n    image: i\n"
        "    environment: {DB_PASSWORD: VALUE}\n    depends_on: *d\n  c: {image: j}\n"
        "  d: {image: j, depends_on: *d}\n",
    },
    "an alias for volumes": {
        "compose.yaml": ONE + "    volumes: &v\n    - /a:/a\n  b: {image: j, volumes: *v}\n"
        "  c:\n    image: i\n    environment: {DB_PASSWORD: VALUE}\n    volumes: *v\n",
    },
    "an alias for an entrypoint": {
        "compose.yaml": ONE + "    entrypoint: &e [/bin/x, 'y z']\n  b: {image: j, entrypoint: *e}\n"
        "  c:\n    image: i\n    environment: {DB_PASSWORD: VALUE}\n    entrypoint: *e\n",
    },
    "an anchor at the value that goes": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      DB_PASSWORD: &pw VALUE\n"
        "  b:\n    image: i\n    environment:\n      - LEVEL=1\n    labels: {level: &l x}\n"
        "  c: {image: j, labels: {l: *l}}\n"
        "  d:\n    image: i\n    environment:\n      APP_PASSWORD: *pw\n",
    },
    "a whole service is an alias": {
        "compose.yaml": "services:\n  a: &a\n    image: i\n    environment: {DB_PASSWORD: VALUE}\n  b: *a\n",
    },
    "merged parts keep their types": {
        "compose.yaml": "services:\n  db: {image: x}\n  a: &a\n    image: i\n    depends_on:\n"
        "      db: {condition: service_started, required: false}\n    environment:\n      DB_PASSWORD: VALUE\n"
        "    healthcheck: {test: [CMD, x], retries: 5, interval: 1m30s}\n"
        "  b:\n    <<: *a\n    environment:\n      DB_PASSWORD: VALUE\n      X: '1'\n",
    },
    "a list of merges": {
        "compose.yaml": "x-a: &a {image: i}\nx-b: &b\n  environment: {DB_PASSWORD: VALUE, LEVEL: 1}\n"
        "services:\n  a:\n    <<: [*a, *b]\n  b:\n    <<:\n      - *b\n      - *a\n    command: x\n",
    },
    "a reference among what is needed first": {
        "compose.yaml": ONE + "    depends_on:\n      - ${DBHOST:-db}\n  db: {image: x}\n",
    },
    "a list of what is needed first, as far left as its key": {
        "compose.yaml": ONE
        + "    depends_on:\n    - db  # first\n    - c\n    tty: true\n  db: {image: x}\n  c: {image: x}\n",
    },
    "two documents in one file": {"compose.yaml": f"---\n{ONE}---\nservices:\n  a:\n    ports: ['1:1']\n...\n"},
    "an end of the document": {"compose.yaml": f"{ONE}...\n# the end\n"},
    "JSON": {
        "compose.yaml": json.dumps(
            {
                "services": {
                    "a": {"image": "i", "environment": {"DB_PASSWORD": "VALUE", "A": "1"}, "depends_on": ["b"]},
                    "b": {"image": "j"},
                }
            },
            indent="\t",
        ),
    },
    "JSON on one line": {
        "compose.yaml": '{"services": {"a": {"image": "i", "environment": ["A=1", "DB_PASSWORD=VALUE"]}}}',
    },
    "no line end at the end": {"compose.yaml": ONE + "    ports: ['1:1']"},
    "a byte order mark and Windows line ends": {"compose.yaml": "\ufeff" + ONE.replace("\n", "\r\n")},
    "a block scalar that keeps its empty lines": {
        "compose.yaml": ONE + "    labels:\n      text: |+\n        one\n\n\n  b: {image: j}\n",
    },
    "scalars of every kind": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      DB_PASSWORD: VALUE\n"
        "      DATE: 2024-02-01\n"
        "      OCTAL: 0123\n      FLOAT: 1.50\n      EXP: 1e3\n      TIME: 12:30:45\n      YES: yes\n      NULL_: ~\n"
        "      STR: !!str 007\n      HEX: 0x1F\n      BIG: 12345678901234567890\n",
    },
    "scalars of every kind, inherited": {
        "compose.yaml": "x-e: &e\n  DATE: 2024-02-01\n  OCTAL: 0123\n  FLOAT: 1.50\n  QUOTED: 'true'\n  BARE: true\n"
        "services:\n  a:\n    image: i\n    env_file: .env\n    environment: *e\n",
        ".env": "DB_PASSWORD=VALUE\n",
    },
    "braces over several lines": {
        "compose.yaml": "services:\n  a: {\n    image: i,\n    environment: {\n      A: 1,  # one\n"
        "      DB_PASSWORD: VALUE,  # two\n    },\n    depends_on: [b],\n  }\n  b: {image: j}\n",
    },
    "a list in brackets over several lines": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment: [\n      'A=1',  # one\n"
        "      'DB_PASSWORD=VALUE'  # two\n"
        "    ]\n    volumes: [\n      '/a:/a',\n    ]\n",
    },
    "explicit keys": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      ? DB_PASSWORD\n      : VALUE\n"
        "      A: 1\n"
        "  ? b  # why\n  : ? image\n    : i\n    ? environment\n    : A: 1\n      ? DB_PASSWORD\n"
        "      # why not\n      : VALUE\n    ? ports\n    : - '1:1'\n"
        "  c:\n    ? environment\n    :\n    - DB_PASSWORD=VALUE\n    image: i\n    ? depends_on\n    : - a\n"
        "  ? d\n  : {? image : i, ? environment : [DB_PASSWORD=VALUE]}\n? volumes\n: ? v\n",
    },
    "a health check as a folded text": {
        "compose.yaml": ONE
        + '    healthcheck:\n      interval: 5s\n      test: >-\n        test -n "$$DB_PASSWORD"\n        && true\n',
    },
    "a health check of the shell, in a list": {
        "compose.yaml": ONE
        + "    healthcheck:\n      test:\n      - CMD-SHELL\n      # is it up?\n      - 'x || exit 1'\n",
    },
    "an entrypoint as text, and none": {
        "compose.yaml": ONE + "    entrypoint: /bin/x 'y z' $${HOME}\n  b:\n    image: i\n    entrypoint: []\n"
        "    command: [x]\n    environment: [DB_PASSWORD=VALUE]\n",
    },
    "only what goes": {
        "compose.yaml": "services:\n  a:\n    environment:\n      DB_PASSWORD: VALUE  # the only one\n    image: i\n",
    },
    "a date beside the project's own name": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      DB_PASSWORD: VALUE\n"
        "      P: ${COMPOSE_PROJECT_NAME:-fallback}\n",
    },
    "an included file with an .env of its own": {
        "compose.yaml": "include:\n  - path: inc/compose.yaml\nservices:\n  a:\n    image: i\n",
        "inc/compose.yaml": "services:\n  b:\n    image: j\n    environment:\n      DB_PASSWORD: ${INC_PASSWORD}\n",
        "inc/.env": "INC_PASSWORD=VALUE\n",
    },
    "an included file with a named env file and folder": {
        "compose.yaml": "include:\n  - path: [inc/compose.yaml]\n    project_directory: .\n    env_file: inc/own.env\n",
        "inc/compose.yaml": "services:\n  b:\n    image: j\n    env_file: more.env\n    environment:\n"
        "      DB_PASSWORD: ${X_PASSWORD}\n",
        "inc/own.env": "X_PASSWORD=VALUE\n",
        "more.env": "A_TOKEN=VALUE\n",
    },
    "a service from another file": {
        "compose.yaml": "services:\n  a:\n    extends: {file: sub/base.yaml, service: base}\n"
        "    environment: {A: '1'}\n",
        "sub/base.yaml": "services:\n  base:\n    image: i\n    env_file: [b.env]\n    environment:\n"
        "      DB_PASSWORD: VALUE\n",
        "sub/b.env": "B=2\n",
    },
    "a value passed on by its name, made from another": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      - APP_DATASOURCE\n",
        ".env": "DB_PASSWORD=VALUE\nAPP_DATASOURCE=postgres://app:${DB_PASSWORD}/+=@db:5432/app\n",
    },
    "a mounted file that stands for the same variable": {
        "compose.yaml": "services:\n  a:\n    image: i\n    secrets: [DB_PASSWORD]\n    environment:\n"
        "      DB_PASSWORD: VALUE\n"
        "  b:\n    image: i\n    secrets: [{source: DB_PASSWORD, target: db-password}]\n"
        "    environment: [DB_PASSWORD=VALUE]\n"
        "secrets:\n  DB_PASSWORD: {file: ./x}\n",
        "x": "other",
    },
    "an env file that another service needs as it is": {
        "compose.yaml": "services:\n  a:\n    image: i\n    env_file: .env\n  b:\n    image: j\n"
        "    env_file: [.env]\n"
        "    environment: {DB_PASSWORD: 'true'}\n",
        ".env": "A=1\nDB_PASSWORD=VALUE\n",
    },
    "an anchor that is replaced everywhere": {
        "compose.yaml": "x-r: &r\n  image: i\n  environment:\n    - AUTH_TOKEN=${AUTH_TOKEN}\nservices:\n  a:\n"
        "    <<: *r\n"
        "    environment:\n      - AUTH_TOKEN=${AUTH_TOKEN}\n      - X=1\n",
        ".env": "AUTH_TOKEN=VALUE\n",
    },
    "files that are named by their whole path, or by a variable": {
        "compose.yaml": "include:\n  - FOLDER/inc/compose.yaml\n  - ${WHERE}/more.yaml\nservices:\n  a:\n"
        "    extends: {file: FOLDER/base.yml, service: base}\n",
        "inc/compose.yaml": "services:\n  b: {image: i, environment: {DB_PASSWORD: VALUE}}\n",
        "sub/more.yaml": "services:\n  c: {image: i, environment: {DB_PASSWORD: VALUE}}\n",
        "base.yml": "services:\n  base: {image: i, environment: {API_TOKEN: VALUE}}\n",
        ".env": "WHERE=FOLDER/sub\n",
    },
    "an override that resets": {
        "compose.yaml": "services:\n  a:\n    image: i\n    depends_on: [b]\n    environment: {DB_PASSWORD: VALUE}\n"
        "  b: {image: j}\n",
        "compose.override.yaml": "services:\n  a:\n    depends_on: !reset []\n    volumes: !reset null\n",
    },
    "services that extend one another, each with a value of its own": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment: {DB_PASSWORD: VALUEa}\n"
        "    healthcheck: {test: [CMD, x]}\n"
        "  b: {extends: a, environment: {DB_PASSWORD: VALUEb}, healthcheck: {disable: true}}\n"
        "  c: {extends: {service: b}, entrypoint: [e], environment: {DB_PASSWORD: VALUE}}\n",
        "compose.override.yaml": "services:\n  a: {init: true}\n",
    },
    "an override of comments alone": {"compose.yaml": ONE, "compose.override.yaml": "# services:\n#   a: {}\n"},
    "an empty value at the end of braces": {"compose.yaml": ONE + "volumes: {data: }\n"},
    "a health check in a block that others have, too": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment: {DB_PASSWORD: VALUE}\n    healthcheck: &h\n"
        "      # why\n      test:\n        - CMD\n        - x\n      interval: 5s\n    init: true\n"
        "  b: {image: j, healthcheck: *h}\n",
    },
    "options of the JVM, which no file may set unasked": {
        "compose.yaml": "services:\n  a:\n    image: i\n    environment:\n      JAVA_OPTS: '${JAVA_OPTS}'\n"
        "      NODE_OPTIONS: '${NODE_OPTIONS}'\n",
        ".env": 'JAVA_OPTS="-Xmx256m -Ddb.url=postgresql://app:VALUE@db/x"\nNODE_OPTIONS=--x=http://a:VALUE@h/\n',
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_each_service_sees_what_it_saw(form: str, compose: Manage, canary: Canary, shim_binary: Path) -> None:
    """The value is gone from what Compose reads, and nothing else has changed."""
    value = lay_out(compose, canary, FORMS[form])

    plan = migrated(compose)

    assert plan["services"], "nothing was migrated"
    more = [name.replace(".y", ".secrets.y") for name in FORMS[form] if "override" in name]
    more = [name if (compose.folder / name).exists() else name.replace(".secrets", "") for name in more]
    after = assert_same(compose, plan, [], ["compose.secrets.yaml", *more], shim_binary)
    assert FORMS[form]["compose.yaml"].count("# why") == (compose.folder / "compose.secrets.yaml").read_text().count(
        "# why"
    )
    assert value not in json.dumps(after)
    if (compose.folder / ".env.new").exists():
        assert value not in (compose.folder / ".env.new").read_text()


@pytest.mark.parametrize("name", ["My.Project", "_Shop-2"])
def test_the_name_of_a_project_is_the_one_that_compose_derives(compose: Manage, canary: Canary, name: str) -> None:
    """What is built is called after it, and `${COMPOSE_PROJECT_NAME}` is it."""
    folder = Path(compose.folder, name)
    lay_out(
        compose,
        canary,
        {
            f"{name}/compose.yaml": "services:\n  web:\n    build: .\n    environment:\n      DB_PASSWORD: VALUE\n"
            "      P: ${COMPOSE_PROJECT_NAME}\n"
        },
    )
    built = read(folder, environ=environ_of(compose))["name"] + "-web"
    compose.write("images.json", json.dumps({built: IMAGE["Config"]}))
    config = compose.folder / "images.json"
    compose.folder = folder
    environ = {"HOME": str(folder.parent)}

    end = compose("migrate", "--json", "--yes", "--image-config", config, env=environ)

    assert end.code == 0, end.stderr
    compose.env.update(environ)
    assert_same(compose, json.loads(end.stdout), [], ["compose.secrets.yaml"])


@pytest.mark.parametrize(
    ("environ", "arguments", "env_files"),
    [
        ({"COMPOSE_ENV_FILES": "base.env,prod.env"}, [], ["base.env.new", "prod.env"]),
        ({}, ["--env-file", "base.env", "--env-file", "prod.env"], ["base.env.new", "prod.env"]),
        ({"COMPOSE_FILE": "a.yaml:b.yaml", "COMPOSE_ENV_FILES": "base.env"}, [], ["base.env.new"]),
    ],
)
def test_every_env_file_and_file_that_compose_takes_counts(
    compose: Manage, canary: Canary, environ: dict[str, str], arguments: list[str], env_files: list[str]
) -> None:
    """Whether they are named or set in the shell."""
    text = "services:\n  a:\n    image: i\n    environment: {DB_PASSWORD: '${DB_PASSWORD}', LOG: '${LOG:-x}'}\n"
    files = {"compose.yaml": text, "a.yaml": text, "b.yaml": "services:\n  a:\n    environment: {B: '1'}\n"}
    value = lay_out(compose, canary, {**files, "base.env": "DB_PASSWORD=VALUE\nLOG=warn\n", "prod.env": "LOG=info\n"})
    names = arguments[1::2]
    before = read(compose.folder, [], names, {**environ_of(compose), **environ})

    end = compose("migrate", "--json", "--yes", "--image-config", "images.json", *arguments, env=environ)

    assert end.code == 0, end.stderr
    plan = json.loads(end.stdout)
    new = ["a.secrets.yaml", "b.yaml"] if "COMPOSE_FILE" in environ else ["compose.secrets.yaml"]
    after = read(compose.folder, new, env_files, environ_of(compose))
    assert judge.differences(plan, before, after) == []
    assert value not in (compose.folder / "base.env.new").read_text()
    assert "the shell sets it too" not in end.stderr, "the other file does"


def test_what_stays_keeps_its_parts(compose: Manage, canary: Canary) -> None:
    """A label, and a secret from a variable, keep what the value that they take from the .env is made from."""
    files = {
        "compose.yaml": "services:\n  a:\n    image: i\n    labels: {url: '${PUBLIC_URL}'}\n    secrets: [s]\n"
        "    environment: {DB_PASSWORD: '${DB_PASSWORD}', OTHER_TOKEN: '${OTHER_TOKEN}'}\nsecrets:\n"
        "  s: {environment: APP_URL}\n",
        ".env": "DB_PASSWORD=VALUE\nPUBLIC_URL=http://x/?t=${DB_PASSWORD}\nX_TOKEN=VALUEx\n"
        "APP_URL=http://x/?t=${X_TOKEN}\n"
        "OTHER_TOKEN=VALUEy\n",
    }
    lay_out(compose, canary, files)

    plan = migrated(compose, code=1)

    assert {entry["key"] for entry in plan["staying"]} == {"DB_PASSWORD", "PUBLIC_URL", "X_TOKEN", "APP_URL"}
    after = assert_same(compose, plan, [], ["compose.secrets.yaml"])
    environ = environ_of(compose)
    assert after["services"]["a"]["labels"] == read(compose.folder, environ=environ)["services"]["a"]["labels"]
    kept = (compose.folder / ".env.new").read_text()
    assert "OTHER_TOKEN is a secret now" in kept
    assert "X_TOKEN=" in kept
    said = compose("migrate", "--dry-run", "--image-config", "images.json").stderr
    assert "it stays in .env: PUBLIC_URL is made from it" in said


def test_a_refusal_says_why_and_writes_nothing(compose: Manage, canary: Canary) -> None:
    """In Compose's words, in a dry run as in the run, and without what may be a value."""
    for text, reason in (
        ("services:\n  a: {image: i, nonsense: 1, environment: {DB_PASSWORD: VALUE}}\n", "nonsense"),
        ("services:\n  a: {image: i, environment: {DB_PASSWORD: 'VALUE', A: '${B:?VALUE}'}}\n", "required variable"),
        ("services:\n  a: {image: i, ports: [VALUE], environment: {DB_PASSWORD: VALUE}}\n", "Port: ***"),
        ("services:\n  a: {image: i, depends_on: [nope], environment: {DB_PASSWORD: VALUE}}\n", 'service "nope"'),
    ):
        lay_out(compose, canary, {"compose.yaml": text})
        for arguments in (["--dry-run"], ["--yes"]):
            end = compose("migrate", "--image-config", "images.json", *arguments)
            assert end.code == 1
            assert "docker compose config refuses the project: " in end.stderr
            assert reason in end.stderr
            assert not list(compose.folder.glob("*.secrets.yaml"))


def test_a_service_that_would_change_stays_and_the_others_go_on(compose: Manage, canary: Canary) -> None:
    """What extends it, and is not known, would start by its entrypoint."""
    base = "services:\n  base:\n    image: i\n    environment: {DB_PASSWORD: VALUE}\n"
    other = "  web:\n    image: unknown\n    extends: base\n  b:\n    image: i\n    environment: {B_TOKEN: VALUE}\n"
    lay_out(compose, canary, {"compose.yaml": base + other})
    compose.write("images.json", json.dumps({"i": IMAGE["Config"]}))

    plan = migrated(compose, code=1)

    assert [entry["service"] for entry in plan["services"]] == ["b"]
    messages = [finding["message"] for finding in plan["findings"]]
    assert any(message.startswith("it stays as it is, with DB_PASSWORD in plain text") for message in messages)
    assert any(message.startswith("it is not known what these images start") for message in messages)
    (left,) = (finding for finding in plan["findings"] if finding["message"].startswith("it stays as it is"))
    assert left["hint"].startswith("it shares extends: with web, so each secret that one adds reaches the other: write")
    assert_same(compose, plan, [], ["compose.secrets.yaml"])


def test_what_the_shim_would_refuse_is_found_before(compose: Manage, canary: Canary) -> None:
    """Two files that are one variable, a folder where the secrets would be, a lost variable: such a service stays."""
    one = "image: i, environment: {DB_PASSWORD: VALUE}"
    files = {
        "compose.yaml": f"services:\n  a: {{{one}, secrets: [db-password, {{source: x, target: DB.PASSWORD}}]}}\n"
        f"  b: {{{one}, volumes: ['./own:/run/secrets:ro']}}\n  c: {{{one}}}\n"
        "  d: {image: i, environment: {DB_PASSWORD: VALUE, SHIM_TIMEOUT_MS: '9'}}\n"
        "secrets: {db-password: {file: ./x}, x: {file: ./x}}\n",
        "x": "other",
    }
    lay_out(compose, canary, files)

    plan = migrated(compose, code=1)

    assert [entry["service"] for entry in plan["services"]] == ["c"]
    staying = [entry for entry in plan["findings"] if entry["message"].startswith("it stays as it is")]
    reasons = {entry["service"]: entry["message"] for entry in staying}
    assert "db-password and DB.PASSWORD would both be DB_PASSWORD" in reasons["a"]
    assert "a folder of its own at /run/secrets" in reasons["b"]
    assert "begins with SHIM_, and would keep SHIM_TIMEOUT_MS" in reasons["d"]
    assert any("can be read by others" in entry["message"] for entry in plan["findings"]), "x has mode 0644"


def test_a_section_of_the_persons_own_that_keeps_a_value_is_named(compose: Manage, canary: Canary) -> None:
    """What a service inherits from one is taken out; an anchor at the value alone, or a note, stays."""
    files = {
        "compose.yaml": "x-p: &p VALUE\nx-e: &e {API_TOKEN: VALUEx, A: '1'}\nx-unused:\n  list: [API_TOKEN=VALUEx]\n"
        "x-note: {was: 'it was VALUE'}\n"
        "services:\n  a:\n    image: i\n    environment:\n      <<: *e\n      DB_PASSWORD: *p\n"
    }
    lay_out(compose, canary, files)

    plan = migrated(compose, code=1)

    found = [finding["message"] for finding in plan["findings"] if finding["exposed"]]
    assert found == [f"x-{name} holds the value of DB_PASSWORD in plain text" for name in ("p", "note")]
    assert_same(compose, plan, [], ["compose.secrets.yaml"])


def test_the_file_of_an_image_does_not_hide_the_secret(compose: Manage, canary: Canary, shim_binary: Path) -> None:
    """An image may set KEY_FILE itself, and the shim would look there."""
    lay_out(compose, canary, {"compose.yaml": ONE})
    config = {**IMAGE["Config"], "Env": ["DB_PASSWORD_FILE=/run/secrets/other"]}
    compose.write("images.json", json.dumps({"Config": config}))

    plan = migrated(compose)

    after = assert_same(compose, plan, [], ["compose.secrets.yaml"], shim_binary)
    assert after["services"]["a"]["environment"]["DB_PASSWORD_FILE"] == "/run/secrets/db_password"


def test_a_database_with_a_shared_env_file_is_said(compose: Manage, canary: Canary) -> None:
    """It gets every secret of the others, and could do with its own."""
    files = {
        "compose.yaml": "services:\n  db: {image: postgres, env_file: .env}\n  a: {image: i, env_file: .env}\n",
        ".env": "POSTGRES_PASSWORD=VALUE\nA_TOKEN=VALUE\n",
    }
    lay_out(compose, canary, files)

    plan = migrated(compose)

    (finding,) = [finding for finding in plan["findings"] if finding["service"] == "db"]
    assert finding["message"] == "its env_file gives it secrets that PostgreSQL does not read: A_TOKEN"
    assert "environment: [POSTGRES_PASSWORD]" in finding["hint"]
    assert_same(compose, plan, [], ["compose.secrets.yaml"])


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("    build: {context: ., args: [DB_PASSWORD]}\n", "services.a.build.args"),
        ("    build:\n      context: .\n      args:\n        DB_PASSWORD:\n", "services.a.build.args"),
        ("    secrets: [s]\nsecrets:\n  s: {environment: DB_PASSWORD}\n", "secrets.s.environment"),
    ],
)
def test_a_name_that_takes_its_value_from_the_env_file_is_a_finding(
    compose: Manage, canary: Canary, text: str, where: str
) -> None:
    """The value stays in the file for it, and somebody has to know."""
    service = "services:\n  a:\n    image: i\n    environment: {DB_PASSWORD: '${DB_PASSWORD}'}\n"
    lay_out(compose, canary, {"compose.yaml": service + text, ".env": "DB_PASSWORD=VALUE\n"})

    plan = migrated(compose, code=1)

    assert plan["staying"] == [{"key": "DB_PASSWORD", "where": where}]
    assert any(finding["exposed"] and where in finding["message"] for finding in plan["findings"])
    assert_same(compose, plan, [], ["compose.secrets.yaml"])
