"""`validate` finds everything at once, and repairs only what is safe to."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.forms import cannot_run
from tests.support.host import SCRIPT, Canary, Manage, PrivateSwarm
from tests.support.provoked import provokes

SCHEMA = """\
# @required @sensitive @type=string(minLength=16)
DB_PASSWORD=

# @required @sensitive @generate
SESSION_KEY=

# @required @type=port
PORT=

# @sensitive
API_KEY=
"""


def findings(manage: Manage, *arguments: str, code: int = 1) -> list[dict[str, Any]]:
    import json

    end = manage("validate", "--json", *arguments)
    assert end.code == code, end.stderr
    found: list[dict[str, Any]] = json.loads(end.stdout)["findings"]
    return found


def kinds(found: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(finding["kind"], finding["key"]) for finding in found]


@pytest.fixture(autouse=True)
def _ignored(manage: Manage) -> None:
    manage.write(".gitignore", ".env\n/secrets/*\n")


def test_a_project_in_order_has_no_findings(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write(".env", f"DB_PASSWORD={canary()}\nPORT=80\n")
    manage("create-from-env", "--generate-missing")

    assert findings(manage, code=0) == []


def test_names_are_utf_8_whatever_the_locale(manage: Manage, canary: Canary) -> None:
    """As Compose reads them: a secret's file is found, and no character ends the run."""
    manage.write(".env.schema", "# @sensitive\nKEY=\n")
    manage.write("secrets/key", canary())
    manage.write("wörter/schlüssel", canary())
    manage.write(
        "compose.yml",
        "services: {a: {image: i, user: root, secrets: [key, k2], env_file: ä.env}}\n"
        "secrets: {key: {file: secrets/key}, k2: {file: wörter/schlüssel}}\n",
    )
    manage.write("ä.env", "Ü=1\n")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    assert manage("validate", "--json", env=ascii_only).stdout == manage("validate", "--json").stdout
    assert manage("create-from-env", "ä.env", "--all", "--dry-run", env=ascii_only).code == 0


def test_all_findings_come_at_once_and_each_has_a_repair(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write("secrets/db_password", canary()[:8])
    manage.write("secrets/api_key", "changeme")
    manage.write("secrets/other", canary())
    manage.write("secrets/no@key", canary())
    manage.write(".env", "PORT=nonsense\n")
    for path in (manage.folder / "secrets").iterdir():
        path.chmod(0o600)
    (manage.folder / "secrets").chmod(0o700)

    found = findings(manage)

    assert kinds(found) == [
        ("type", "DB_PASSWORD"),
        ("missing", "SESSION_KEY"),
        ("type", "PORT"),
        ("placeholder", "API_KEY"),
        ("name", None),
        ("unused", "OTHER"),
    ]
    assert all(finding["hint"] for finding in found)
    assert found[1]["hint"] == "manage-secrets generate SESSION_KEY"


def test_an_empty_line_counts_only_where_nothing_else_gives_a_value(manage: Manage) -> None:
    schema = '# @required @composed="x${B}"\nA=\n\n# @required @sensitive\nB=\n\n# @required\nC=default\n\nD=\n'
    manage.write(".env.schema", schema)
    manage.write(".env", "A=\nB=\nC=\nD=\n")

    assert kinds(findings(manage)) == [("empty", "B")]


def test_fix_repairs_modes_marks_and_line_ends(manage: Manage, canary: Canary) -> None:
    value = canary()
    manage.write("secrets/a", f"\ufeff{value}")
    manage.write("secrets/b", f"{value}\r\n")
    manage.write("secrets/c", f"{value}".encode("utf-16"))
    manage.write("secrets/d", f"{value}\n")
    (manage.folder / "secrets").chmod(0o755)

    found = findings(manage)
    assert [finding["kind"] for finding in found].count("mode") == 5
    assert [finding["key"] for finding in found if finding["kind"] == "encoding"] == ["A", "B", "C"]
    assert findings(manage, "--fix", "--dry-run") != []
    assert (manage.folder / "secrets/b").read_bytes().endswith(b"\r\n")

    findings(manage, "--fix", code=0)
    assert findings(manage, code=0) == []
    assert manage.secrets() == {**dict.fromkeys("abc", value.encode()), "d": f"{value}\n".encode()}
    assert (manage.folder / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_example_files_value_is_a_placeholder(manage: Manage) -> None:
    manage.write(".env.schema", "# @sensitive\nA=\n")
    manage.write("secrets/a.example", "some-example-value\n")
    manage.write("secrets/a", "some-example-value")

    assert ("placeholder", "A") in kinds(findings(manage))


def test_a_file_that_cannot_be_read_is_a_finding(manage: Manage, canary: Canary) -> None:
    manage.write("secrets/a", canary())
    (manage.folder / "secrets/link").symlink_to("a")
    os.mkfifo(manage.folder / "secrets/pipe")

    assert [item["where"] for item in findings(manage) if item["kind"] == "file"] == ["secrets/link", "secrets/pipe"]


def test_what_git_has_is_found(manage: Manage, canary: Canary) -> None:
    (manage.folder / ".gitignore").unlink()
    manage.write("secrets/a", canary())
    manage.write(".env", f"A={canary()}\n")
    (manage.folder / "secrets").chmod(0o700)
    (manage.folder / "secrets/a").chmod(0o600)
    subprocess.run("git init -q && git add -A", shell=True, cwd=manage.folder, check=True)

    subprocess.run(["git", "config", "core.fsmonitor", "touch pwned; false"], cwd=manage.folder, check=True)

    found = findings(manage)
    hook = [sys.executable, str(SCRIPT.with_name("pre_commit_secrets.py"))]
    assert subprocess.run(hook, cwd=manage.folder, capture_output=True, check=False).returncode == 1
    assert not (manage.folder / "pwned").exists()  # an archive may have brought a .git with such settings
    assert [item["where"] for item in found if item["kind"] == "in-git"] == [".env", "secrets/a", ".gitignore"]
    assert "rotate" in found[0]["hint"]

    findings(manage, "--fix")
    assert "/secrets/*" in (manage.folder / ".gitignore").read_text()


@pytest.mark.parametrize(
    ("where", "text"), [("secrets/.gitignore", "!*\n"), (".gitignore", "/secrets/*\n!/secrets/a*\n.env\n")]
)
@provokes(
    "not kept out of git, since a line of a .gitignore lets it in: …",
    "is not kept out of git: a line of a .gitignore lets it in",
)
def test_what_a_line_lets_into_git_is_found(manage: Manage, canary: Canary, where: str, text: str) -> str:
    """A checkout may bring such a line, and the next `git add -A` takes the value."""
    subprocess.run(["git", "init", "-q"], cwd=manage.folder, check=True)
    (manage.folder / "secrets").mkdir(mode=0o700)
    manage.write(where, text)
    manage.write(".env", f"A={canary()}\n")

    made, found = manage("create-from-env"), manage("validate")

    assert (made.code, found.code) == (0, 1)
    assert "git check-ignore --verbose --no-index secrets/a" in found.stdout
    return made.stderr + found.stdout


def test_what_generate_would_refuse_of_the_schema_is_found_before(manage: Manage) -> None:
    manage.write(
        ".env.schema",
        "# @sensitive @generate=hax(32)\nA=\n# @sensitive @generate @type=port\nB=\n"
        "# @sensitive @generate @type=jwt\nC=\n# @sensitive @generate=hex(32)\nGOOD=\n"
        "# @sensitive @generate @type=bytes(32, hex)\nFINE=\n# @sensitive @generate @type=jwt(signedBy=GOOD)\nSIGNED=\n"
        "# @sensitive @generate=hex(8) @type=string(maxLength=2)\nD=\n",
    )
    found = [item for item in findings(manage) if item["kind"] == "generate"]

    assert [(item["key"], item["where"], item["message"]) for item in found] == [
        ("A", ".env.schema:2", "@generate=hax(32) is unknown"),
        ("B", ".env.schema:4", "a value of type port cannot be generated"),
        ("C", ".env.schema:6", "its signing key has no value to sign it with"),
        ("D", ".env.schema:14", "a generated value is longer than 2 characters"),
    ]


def test_what_rotate_would_refuse_of_the_schema_is_found_before(manage: Manage, canary: Canary) -> None:
    """Each mistake of each key with its line, all at once; what `rotate` says about the same key is the same."""
    manage.write(
        ".env.schema",
        "# @sensitive @rotate-with=postgres(users=a|b, userKey=DB_USER, service=db)\nGOOD=\nDB_USER=\n\n"
        "# @sensitive @rotate-with=mariadb(user=a, service=db, adminKey=IN_FILE)\nADMIN_IN_FILE=\n"
        "# @sensitive @rotate-with=oracle(user=a)\nA=\n"
        "# @sensitive @rotate-with=postgres(users=a|a, userKey=NOBODY, color=red, admin=)\nB=\n"
        "# @sensitive @rotate-with=redis(service=r, service=s, users=a|b)\nC=\n"
        "# @sensitive @rotate-with=mariadb(users=a|b, userKey=D, service=db, adminKey=LOST)\nD=\n"
        "E=  # @sensitive @rotate-with=postgres\n",
    )
    for name in ("a", "in_file"):
        manage.write(f"secrets/{name}", canary()).chmod(0o600)
    (manage.folder / "secrets").chmod(0o700)

    found = [item for item in findings(manage) if item["kind"] == "rotate-with"]

    assert [(item["key"], item["where"], item["message"].removeprefix("@rotate-with=")) for item in found] == [
        ("A", ".env.schema:8", "there is no @rotate-with=oracle"),
        ("B", ".env.schema:10", "postgres has no option color"),
        ("B", ".env.schema:10", "postgres has no value after admin="),
        (
            *("B", ".env.schema:10"),
            "postgres needs users=ONE|OTHER and the key that holds the name, userKey=KEY",
        ),
        ("B", ".env.schema:10", "postgres does not name the service it runs in"),
        ("B", ".env.schema:10", "postgres has userKey=NOBODY, and there is no such key"),
        ("C", ".env.schema:12", "redis sets service twice"),
        ("C", ".env.schema:12", "redis has no option users"),
        ("C", ".env.schema:12", "redis does not name the user"),
        ("D", ".env.schema:14", "mariadb has userKey=D, the key of the password itself"),
        ("D", ".env.schema:14", "mariadb has adminKey=LOST, and there is no such key"),
        ("E", ".env.schema:15", "there is no @rotate-with=postgres"),
    ]
    assert all(item["hint"] and not item["fixable"] for item in found)
    refused = manage("rotate", "A", "--generate", "--compose", "--how", "none")
    assert refused.code == 1
    assert f"A: {found[0]['message']}" in refused.stderr


def test_a_file_outside_the_folder_of_secrets_provides_its_key(manage: Manage, canary: Canary) -> None:
    """Compose mounts a secret's file from anywhere; its value is held against the schema like any other."""
    manage.write(
        "compose.yaml", "services: {a: {image: x, secrets: [stripe]}}\nsecrets: {stripe: {file: ./conf/key}}\n"
    )
    manage.write(".env.schema", "# @required @sensitive @type=string(minLength=16)\nSTRIPE=\n")
    manage.write("conf/key", canary()).chmod(0o600)

    assert findings(manage, code=0) == []
    manage.write("conf/key", "short").chmod(0o600)
    assert [(item["kind"], item["where"]) for item in findings(manage)] == [("type", "conf/key")]


def test_services_are_held_against_what_they_refer_to(manage: Manage, canary: Canary) -> None:
    manage.write(
        "compose.yaml",
        """\
services:
  one:
    image: x
    secrets: [undefined, gone]
  two:
    image: x
    user: "1000"
    secrets: [here]
secrets:
  gone:
    file: ./secrets/gone
  here:
    file: ./secrets/here
""",
    )
    manage.write("secrets/here", canary())
    (manage.folder / "secrets").chmod(0o700)
    (manage.folder / "secrets/here").chmod(0o600)

    expected = [("undefined", "one"), ("missing", "one"), ("user", "two")]
    assert [(item["kind"], item["where"]) for item in findings(manage)] == expected
    os.chown(manage.folder / "secrets/here", 1000, -1)
    assert [(item["kind"], item["where"]) for item in findings(manage)] == expected[:2]
    for schema, repair in (
        (None, "manage-secrets set GONE"),
        ("# @generate @sensitive\nGONE=\n", "manage-secrets generate GONE"),
        (
            "OTHER=\n",
            "create it: Compose would mount an empty folder in its place",
        ),  # `set` takes only keys of a schema
    ):
        if schema is not None:
            manage.write(".env.schema", schema)
        (gone,) = (item for item in findings(manage) if item["where"] == "one" and item["kind"] == "missing")
        assert gone["hint"] == repair


@pytest.mark.engine
def test_the_user_of_an_image_counts(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    folder = manage.write("image/Dockerfile", f"FROM {swarm.image()}\nUSER 1234\n").parent
    swarm.docker("build", "--quiet", "--tag", "with-user", folder)
    service = "services:\n  one:\n    image: with-user\n    secrets: [a]\nsecrets:\n  a:\n    file: ./secrets/a\n"
    manage.write("compose.yaml", service)
    manage.write(".env", f"A={canary()}\n")
    manage("create-from-env")

    assert [(item["kind"], item["where"]) for item in findings(manage)] == [("user", "one")]
    assert manage("create-from-env", "--owner", "1234").code == 0
    assert findings(manage, code=0) == []


@pytest.mark.parametrize(("name", "text"), [("docker-compose.yml", "services: ["), (".env", "A='")])
def test_a_file_with_mistakes_is_a_finding(manage: Manage, name: str, text: str) -> None:
    manage.write(name, text)

    assert kinds(findings(manage)) == [("left-out", None)]


def test_a_swarm_that_cannot_be_asked_is_no_clean_one(manage: Manage) -> None:
    end = manage("validate", "--swarm", "--json", env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})

    assert end.code == 111
    assert "no engine answers" in end.stderr
    (finding,) = json.loads(end.stdout)["findings"]
    assert finding["kind"] == "left-out"
    assert "not looked at: the Swarm: no engine answers" in finding["message"]


@pytest.mark.engine
def test_the_swarm_is_held_against_files_and_services(swarm: PrivateSwarm, manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", "# @required @sensitive\nA=\n\n# @required @sensitive\nB=\n")
    manage.write(".env", f"A={canary()}\n")
    manage("create-from-env")
    manage("create-swarm")
    for name in ("b.v1", "b.v2"):
        labels = ["--label", "docker-secrets-shim.key=B", "--label", f"docker-secrets-shim.version={name[-1]}"]
        swarm.docker("secret", "create", *labels, name, "-", stdin=b"x")
    service = ["service", "create", "--detach", "--name", "s", "--replicas", "0", "--secret", "b.v1", swarm.image()]
    swarm.docker(*service, "/busybox")
    assert kinds(findings(manage)) == [("missing", "B")]
    assert kinds(findings(manage, "--swarm")) == [("stale", "B")]

    manage.write("secrets/a", canary())
    assert kinds(findings(manage, "--swarm")) == [("drift", "A"), ("stale", "B")]


def test_the_table_says_the_same(manage: Manage, canary: Canary) -> None:
    manage.write(".env.schema", SCHEMA)
    manage.write("secrets/db_password", canary()[:8])

    end = manage("validate")

    assert end.code == 1
    assert "- type: DB_PASSWORD: secrets/db_password: is shorter than 16 characters" in end.stdout
    assert "* mode: DB_PASSWORD" in end.stdout
    manage.write("compose.yaml", "services: [")
    assert "- left-out: not looked at: the Compose file" in manage("validate").stdout


@pytest.mark.parametrize("damage", ["0644", "0666", "owner", "link"])
def test_a_key_of_fingerprints_that_others_know_is_named_and_mended(
    manage: Manage, canary: Canary, damage: str
) -> None:
    """One that others could have chosen is not used either, since whoever knows it can guess values from labels."""
    manage.write("secrets/db_password", canary())
    manage("diff", "--no-engine")
    key = manage.folder / "secrets/.fingerprint-key"
    planted = "ab" * 32
    key.write_text(planted)
    if damage == "owner":
        if os.geteuid() != 0:
            cannot_run("only root can make a file that belongs to somebody else")
        os.chown(key, 12345, 12345)
    elif damage == "link":
        key.rename(manage.folder / "elsewhere")
        key.symlink_to("../elsewhere")
    else:
        key.chmod(int(damage, 8))

    audited = manage("audit", "--no-engine", "--json")
    validated = manage("validate", "--json")

    found = [finding for finding in json.loads(validated.stdout)["findings"] if finding["where"].endswith(key.name)]
    seen = [finding for finding in json.loads(audited.stdout)["findings"] if finding["place"].endswith(key.name)]
    assert [(item["kind"], item["fixable"]) for item in found] == [("mode", True)]
    assert [(item["id"], item["command"]) for item in seen] == [("file-readable-by-others", found[0]["hint"])]
    assert (", and is not used" in audited.stderr) == (damage != "0644")
    if damage == "owner":
        manage("diff", "--no-engine")
        assert (key.stat().st_uid, key.read_text() == planted) == (0, False)
    else:
        manage("validate", "--fix")
        assert key.exists() == (damage == "0644")
    again = manage("validate", "--json")
    assert not [finding for finding in json.loads(again.stdout)["findings"] if finding["where"].endswith(key.name)]
