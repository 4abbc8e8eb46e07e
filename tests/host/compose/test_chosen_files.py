"""Which project a command is about: every command reads what Compose reads."""

import json
import subprocess
from pathlib import Path

import click
import manage_secrets
import pytest
from shim_host import shell

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


@pytest.mark.parametrize("is_json", [False, True])
def test_a_command_that_is_offered_is_about_the_same_files(manage: Manage, canary: Canary, is_json: bool) -> None:
    """The folder, the schema, the project: whoever types what a hint has would otherwise change another one."""
    manage.write("d/s", "# @required @sensitive\nA=\n# @required @generate\nB=\n")
    manage.write("c.yml", f"services: {{a: {{image: i, environment: {{DB_PASSWORD: {canary()}}}}}}}\n")
    options = ("--secrets-dir", "d/my secrets", "--schema", "d/s")
    shown = "--secrets-dir 'd/my secrets' --schema d/s"
    json_option = ("--json",) if is_json else ()

    lacking = manage("validate", "--file", "c.yml", "--env-file", "e", *options, *json_option)
    unknown = manage("get", *options, "C")
    audited = manage("audit", "-fc.yml", "--no-engine", *options, *json_option)

    assert f"manage-secrets set {shown} A" in lacking.stdout
    assert f"manage-secrets generate {shown} B" in lacking.stdout
    assert f"hint: `manage-secrets list {shown}` shows which keys have one" in unknown.stderr
    assert f"manage-secrets migrate {shown} --file c.yml" in audited.stdout


def test_what_comes_next_is_about_the_same_project(manage: Manage, canary: Canary) -> None:
    manage.env["DOCKER_HOST"] = f"unix://{manage.folder}/no.sock"
    service = "image: some/app, environment: ['X_TOKEN=${X_TOKEN}', 'L=${LEVEL}'], labels: ['l=${X_TOKEN}']"
    manage.write("c d.yml", f"services: {{a: {{{service}}}}}\n")
    manage.write("p.env", f"X_TOKEN={canary()}\n")
    manage.write("q.env", "LEVEL=1\n")
    manage.write("images.json", json.dumps({"Config": {"Entrypoint": ["/e"], "Cmd": ["c"]}}))
    files = ("-f", "c d.yml", "--env-file", "p.env", "--env-file", "q.env")
    shown = "docker compose -f 'c d.yml' --env-file p.env --env-file q.env"

    tried = manage("migrate", *files, "--image-config", "images.json", "--yes")
    adopted = manage("migrate", *files, "--image-config", "images.json", "--yes", "--adopt")

    assert "services.a.labels holds it in plain text, so it stays in p.env too" in tried.stderr
    assert "next: docker compose -f 'c d.secrets.yml' --env-file p.env.new --env-file q.env up -d" in tried.stderr
    assert f"next: {shown} up -d; manage-secrets migrate --file 'c d.yml'" in adopted.stderr


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("`manage-secrets list` shows it", "`manage-secrets list --secrets-dir s` shows it"),
        ("manage-secrets sync K --stack other", "manage-secrets sync --secrets-dir s K --stack other"),
        ("manage-secrets rotate --due --everywhere", "manage-secrets rotate --secrets-dir s --due --everywhere"),
        ("lock K or manage-secrets unlock K", "lock K or manage-secrets unlock --secrets-dir s K"),
        ("another manage-secrets began it", "another manage-secrets began it"),
        ("docker compose config agrees", "docker compose config agrees"),
        ("docker compose pull a b && docker x", "docker compose -f c.yml pull a b && docker x"),
        ("docker compose -p x up -d a", "docker compose -f c.yml -p x up -d a"),
        ("docker compose -p x -f 'b c' --env-file e up -d a", "docker compose -p x -f 'b c' --env-file e up -d a"),
    ],
)
def test_an_offered_command_gets_what_it_has_and_lacks(said: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_given", {})
    monkeypatch.setattr(shell, "_options_of", [])
    shell.know(manage_secrets.options_of)
    shell.repeat({"--secrets-dir": ["s"], "--file": ["c.yml"], "--yes": [""]})

    assert shell.offered(said) == typed.replace("list --secrets-dir s", "list --secrets-dir s --file c.yml")


@pytest.mark.parametrize(
    ("run", "typed"),
    [
        (["audit", "-fc.yml", "--env-file", "e", "--stack", "s"], "rotate K"),
        (["rotate", "K", "--compose", "c.yml", "--env-file", "e"], "rotate --env-file e --compose c.yml K"),
        (["rotate", "K", "--env-file", "e"], "rotate --env-file e K"),
        (["rotate", "K", "--compose", "--secrets-dir", "s"], "rotate --secrets-dir s K"),
    ],
)
def test_a_rotation_in_a_swarm_becomes_none_of_a_project(
    run: list[str], typed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shell, "_given", {})
    monkeypatch.setattr(shell, "_options_of", [])
    monkeypatch.chdir(tmp_path)
    for name in ("c.yml", "e"):
        (tmp_path / name).touch()
    command = manage_secrets.cli.get_command(click.Context(manage_secrets.cli), run[0])
    assert command is not None
    command.make_context(run[0], run[1:])

    assert shell.offered("manage-secrets rotate K") == f"manage-secrets {typed}"
    assert ("docker compose -f c.yml" in shell.offered("docker compose up -d")) == ("c.yml" in " ".join(run))


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
