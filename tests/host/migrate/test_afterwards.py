"""What migrate and the other commands tell of a project that is half migrated, in git, or migrated."""

import itertools
import json
import subprocess

import pytest
from shim_host.env.reduced import reduce

from tests.support.host import Canary, Manage
from tests.support.provoked import provokes

PROJECT = """\
services:
  web:
    image: app
    env_file: web.env
    environment: {SESSION_SECRET: '${SESSION_SECRET}'}
    build: {context: ., args: ['NPM_TOKEN=${NPM_TOKEN}']}
    labels: ['front.auth=${DASHBOARD_PASSWORD}']
    configs: [settings]
    volumes: ['share:/share']
    secrets: [again]
  job: {image: unknown, environment: {SESSION_SECRET: '${SESSION_SECRET}'}}
configs:
  settings: {content: "token = LITERAL\\npassword = ${SMTP_PASSWORD}"}
volumes:
  share: {driver_opts: {o: 'username=a,password=${SHARE_PASSWORD}'}}
secrets:
  again: {environment: MAIL_PASSWORD}
"""
STAYING = ("NPM_TOKEN", "DASHBOARD_PASSWORD", "SMTP_PASSWORD", "SHARE_PASSWORD", "MAIL_PASSWORD")


@pytest.fixture(autouse=True)
def a_project(manage: Manage, canary: Canary) -> None:
    """Write one in a repository that has its env files; of one image nobody knows what it starts."""
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/no.sock"
    manage.write("images.json", json.dumps({"app": {"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}}))
    manage.write("compose.yaml", PROJECT.replace("LITERAL", canary()))
    manage.write(".env", "".join(f"{key}={canary()}\n" for key in ("SESSION_SECRET", *STAYING)))
    manage.write("web.env", f"API_KEY={canary()}\nLEVEL=info\n")
    manage.write("public.env", "LEVEL=info\n")
    subprocess.run("git init -q && git add -A", shell=True, cwd=manage.folder, check=True)


@provokes("git has the values, and its history keeps them: …")
def test_each_place_has_the_hint_that_helps_there(manage: Manage) -> str:
    end = manage("migrate", "--image-config", "images.json", "--yes")

    lines = [line.removeprefix("manage-secrets: ") for line in end.stderr.splitlines()]
    hints = {
        message.split(" holds ")[0]: hint
        for message, hint in itertools.pairwise(lines)
        if message.startswith("warning: ") and hint.startswith("hint: ")
    }
    assert "--image-config" in hints["warning: job: SESSION_SECRET: services.job.environment.SESSION_SECRET"]
    assert "a config is not secret" in hints["warning: SMTP_PASSWORD: configs.settings.content"]
    assert "name a file with credentials" in hints["warning: SHARE_PASSWORD: volumes.share.driver_opts.o"]
    assert "give it file:" in hints["warning: MAIL_PASSWORD: secrets.again.environment"]
    assert sum("configs.settings.content" in message for message in hints) == 2, "the token once, by its name"
    note = "warning: git has the values, and its history keeps them: .env, web.env"
    assert hints[note] == "hint: git rm --cached .env web.env, and rotate the secrets once the new files work"
    return end.stderr


def test_what_stays_is_neither_unused_nor_missing(manage: Manage) -> None:
    """A file of a secret that stays in plain text waits for the day when somebody mounts it."""
    manage.write("images.json", json.dumps({"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}))
    manage.write(".env.schema", "# @sensitive\nSESSION_SECRET=\n")
    for adopts in ((), ("--adopt",)):
        manage("migrate", "--image-config", "images.json", "--yes", *adopts)

        found = json.loads(manage("validate", "--json").stdout)["findings"]
        assert [item["where"] for item in found if item["kind"] == "in-git"] == [".env", "web.env"][: 2 - len(adopts)]
        assert [item for item in found if item["kind"] == "unused"] == []
        assert "secret-unused" not in manage("audit", "--no-engine").stdout

    assert {"api_key", "session_secret"} <= set(manage.secrets())
    assert manage("diff", "--no-engine").code == 0


MOUNTED = """\
services:
  a: {image: app, environment: {API_TOKEN: '${API_TOKEN}'}, secrets: [db_password]}
secrets: {db_password: {file: ./secrets/db_password}}
"""


def test_a_checkout_without_values_is_not_taken_for_a_finished_one(manage: Manage, canary: Canary) -> None:
    """Somebody has migrated, and somebody else has only what is in git; then the old .env as well."""
    manage.write("compose.yaml", MOUNTED)
    (manage.folder / ".env").unlink()

    assert "nothing gives API_TOKEN a value here: is a .env missing" in manage("migrate", "--dry-run").stderr
    (row,) = json.loads(manage("list", "--json").stdout)["keys"]
    assert (row["key"], row["file"], row["services"]) == ("DB_PASSWORD", None, ["a"])

    manage.write("compose.yaml", MOUNTED.replace("API_TOKEN: '${API_TOKEN}'", "ZONE: '${ZONE}'"))
    manage.write(".env", f"DB_PASSWORD={canary()}\nZONE=UTC\n")
    end = manage("migrate", "--json", "--yes")
    (secret,) = json.loads(end.stdout)["secrets"]
    assert secret["services"] == ["a"]
    assert "no service gets it" not in end.stderr
    assert manage("diff", "--no-engine").code == 0, "a setting has no file"


@provokes(
    "…, which it mounts, holds the value of … in plain text",
    "…, which its image is built from, holds the value of … in plain text",
)
def test_a_value_in_a_file_beside_the_compose_file_is_found(manage: Manage, canary: Canary) -> str:
    """In each form; but not in a file that is a secret as a whole, and no build's dummies. `audit` sees the same."""
    value, own = canary() + '"', canary()
    coded = value.replace('"', "%22")
    manage.write("conf/a.json", json.dumps({"p": value}))
    manage.write("conf/a.ini", f"url=postgres://app:{coded}@db/x\n")
    manage.write("conf/a.conf", f"key {value};\n")
    manage.write("conf/whole", f"{value}\n")
    manage.write("conf/a.html", "nothing\n")
    manage.write(
        "app/Dockerfile",
        f"FROM x\nARG NPM_TOKEN\nENV GPG_KEY={'A1' * 20} \\\n  API_KEY={own} PATH=/x:$PATH\nENV ADMIN_PASSWORD {own}x\n"
        f"ENV SECRET_KEY_BASE=dummy OTHER_TOKEN=$NPM_TOKEN\nRUN echo '{value}'\n",
    )
    manage.write(".env", f"DB_PASSWORD='{value}'\nCONF=./conf\n")
    manage.write(
        "compose.yaml",
        "services:\n  a:\n    image: app\n    build: app\n    environment: {DB_PASSWORD: '${DB_PASSWORD}'}\n"
        "    volumes: ['${CONF:-x}/a.json:/a.json:ro', {type: bind, source: conf/a.ini, target: /i}, ./conf:/all,\n"
        "      './conf/whole:/pw', './conf/a.html:/h', 'gone:/g']\n    configs: [c]\n"
        "configs: {c: {file: conf/a.conf}}\nvolumes: {gone: {}}\n",
    )

    end = manage("migrate", "--image-config", "images.json", "--json", "--yes")

    found = [item for item in json.loads(end.stdout)["findings"] if item["exposed"]]
    said = {(item["key"], item["message"].partition(",")[0]) for item in found}
    in_build = {(key, "app/Dockerfile") for key in ("DB_PASSWORD", "API_KEY", "ADMIN_PASSWORD")}
    assert said == {("DB_PASSWORD", f"conf/{name}") for name in ("a.json", "a.ini", "a.conf")} | in_build
    assert end.code == 1
    audited = json.loads(manage("audit", "--no-engine", "--json", "-f", "compose.secrets.yaml").stdout)["findings"]
    kinds = [item["id"] for item in audited if item["id"].startswith("secret-in-")]
    assert sorted(kinds) == 3 * ["secret-in-build"] + 3 * ["secret-in-config"]
    return end.stderr


def test_an_example_in_a_comment_is_no_old_value(canary: Canary) -> None:
    """It tells how to come by one, also in several words; what only begins like one goes."""
    examples = (
        "# API_TOKEN=<generate-with: openssl rand -base64 32>\n"
        "# API_TOKEN=your-api-token\n#API_TOKEN=paste_token_here  # from the console\n# API_TOKEN='change-me-later'\n"
    )

    done = reduce(f"{examples}# API_TOKEN=your-{canary()}\n# API_TOKEN={canary()} # or-here\n".encode(), {}, {})

    assert done.text == f"{examples}# API_TOKEN=\n# API_TOKEN=\n"
    assert done.emptied_comments == ["API_TOKEN", "API_TOKEN"]
