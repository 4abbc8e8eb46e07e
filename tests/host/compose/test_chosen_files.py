"""Which project a command is about: every command reads what Compose reads."""

import subprocess

import pytest

from tests.support.host import Canary, Manage

SERVICE = "services:\n  {0}:\n    image: i\n    environment: {{DB_PASSWORD: '${{DB_PASSWORD}}'}}\n"


@pytest.mark.parametrize(
    ("environ", "arguments"),
    [
        ({}, ["-f", "a.yaml", "-f", "b.yaml", "--env-file", "base.env", "--env-file", "prod.env"]),
        ({"COMPOSE_FILE": "a.yaml:b.yaml", "COMPOSE_ENV_FILES": "base.env,prod.env"}, []),
    ],
)
def test_every_file_and_env_file_counts(
    manage: Manage, canary: Canary, environ: dict[str, str], arguments: list[str]
) -> None:
    """The first file's service is there, and has the value of the env file."""
    manage.write("a.yaml", SERVICE.format("a"))
    manage.write("b.yaml", "services:\n  b: {image: i}\n")
    manage.write("base.env", f"DB_PASSWORD={canary()}\n")
    manage.write("prod.env", "OTHER=1\n")

    audit = manage("audit", "--no-engine", *arguments, env=environ)
    listed = manage("list", "--json", *arguments, env=environ)

    assert audit.code == 1
    assert "a: the variable DB_PASSWORD" in audit.stdout
    assert '"services": [\n        "a"' in listed.stdout


def test_an_option_that_takes_one_value_is_not_given_two(manage: Manage) -> None:
    """The first of two would be dropped without a word."""
    end = manage("list", "--secrets-dir", "a", "--secrets-dir", "b")

    assert end.code == 2
    assert "--secrets-dir is given twice, and takes one value" in end.stderr


def test_a_secret_file_elsewhere_is_seen_by_every_command(manage: Manage, canary: Canary) -> None:
    """Its key is that of the secret, whatever the file is called; what is wrong with the file is said."""
    manage.write(
        "compose.yaml",
        "services:\n  db:\n    image: postgres\n    secrets: [db-password]\n"
        "secrets:\n  db-password: {file: db/password.txt}\n  linked: {file: link}\n  own: {file: ~/own.txt}\n",
    )
    manage.write("db/password.txt", canary()).chmod(0o644)
    (manage.folder / "link").symlink_to("db/password.txt")
    manage.write("home/own.txt", canary())
    manage.env["HOME"] = str(manage.folder / "home")
    subprocess.run(["git", "init", "--quiet", "."], cwd=manage.folder, check=True)
    subprocess.run(["git", "add", "db"], cwd=manage.folder, check=True)

    listed = manage("list").stdout
    audited = manage("audit", "--no-engine").stdout
    validated = manage("validate").stdout

    assert {"DB_PASSWORD", "LINKED", "OWN"} <= set(listed.split())
    assert "db/password.txt" in listed
    assert "PASSWORD_TXT" not in audited
    assert "db/password.txt can be read by others" in audited
    assert "db/password.txt: can be read by others (mode 0644)" in validated
    assert "db/password.txt: is in git" in validated
