"""What manage-secrets can say, provoked: real files, real command lines, in this process, for it is much of a kind."""

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import manage_secrets
import pexpect
import pyrage
import pytest
from shim_host.backup import document
from shim_host.backup.document import Backup, Item
from shim_host.commands.rotate import due
from shim_host.commands.rotate.compose import Wish
from shim_host.rotate.swarm_run import Settings
from shim_host.swarm.model import ComposeFolder

from shim.secret import MAX_SECRET_BYTES, Secret
from tests.support.engine import Engine
from tests.support.host import SCRIPT, Canary, Manage, Meddler, PrivateSwarm
from tests.support.provoked import provokes
from tests.support.rotation_compose import plug_in_compose

Say = Callable[..., str]
PLAN = {"files": {"A": "a"}, "services": [], "compose_files": [], "direction": "forward", "why": ""}


@pytest.fixture
def say(manage: Manage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what runs `manage-secrets` in this process, in the folder of `manage`, and gives all that it said."""
    monkeypatch.chdir(manage.folder)

    def run(line: str, *more: str | Path, stdin: bytes = b"", **env: str) -> str:
        with monkeypatch.context() as inside:
            for name in [name for name in os.environ if name.startswith(("SHIM_", "DOCKER_", "COMPOSE_"))]:
                inside.delenv(name)
            engine = f"unix://{manage.folder}/none.sock"
            for name, value in {"HOME": str(manage.folder), "DOCKER_HOST": engine, **env}.items():
                inside.setenv(name, value)
            inside.setattr(sys, "argv", ["manage-secrets", *line.split(), *map(str, more)])
            inside.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            try:
                manage_secrets.main()
            except SystemExit as end:
                code = end.code
            else:
                code = 0
        out, err = capsys.readouterr()
        manage.custody.said += [out, err]
        assert code in (0, 1, 2, 111), err
        assert "internal error" not in err, err
        return out + err

    return run


@provokes(
    "--no-swarm cannot be used with --from-swarm or --image",
    "there is nothing to save: … holds no secret",
    "a backup is encrypted to recipients or with a passphrase, not both",
    "--passphrase and --passphrase-file cannot be used together",
    "name who can open the backup: --recipient KEY, or --passphrase-file FILE",
    "--json and the backup would both go to stdout: name a file with --output",
    "the recipients are for GPG and for age; a backup can have only one kind",
    "--encryption … cannot be used with a recipient of …",
    "a file of this name cannot be backed up: …",
    "age does not know the recipient ……",
    "… would be in the folder of secrets, and count as one",
    "there is no folder …",
    "… is not a regular file, and is left alone",
    "… already exists",
    "the backup and the passphrase cannot both come from stdin",
    "it is plain JSON, and a backup is encrypted",
    "it is not a backup: neither GPG nor age encrypted it",
    "it is empty",
    "… is a folder",
    "it is encrypted to a key of age",
    "… holds no secret key that age can use",
    "… holds no secret key",
    "none of the keys given opens it",
    "it is not encrypted with a passphrase",
    "the passphrase does not open it",
    "it is damaged or truncated (…)",
    "the passphrase is not UTF-8 text, which age requires",
    "there is no passphrase in …",
    "the passphrase in … is not one line",
    "a passphrase is needed, and there is no terminal to ask for it",
    "kept, although the backup holds a different value: …",
    "cannot … …: …",
)
def test_backups(say: Say, manage: Manage, canary: Canary) -> str:
    key = pyrage.x25519.Identity.generate()
    public = str(key.to_public())
    said = [say("export --no-swarm -o b.age -r", public)]
    manage.write("secrets/a", canary())
    manage.write("key", str(key)).chmod(0o600)
    manage.write("other", str(pyrage.x25519.Identity.generate()))
    manage.write("comment", "# no key\n")
    manage.write("nonsense", "nonsense\n")
    manage.write("pass", canary()).chmod(0o600)
    manage.write("binary", b"\xfd\xfc\x80 five words at random").chmod(0o600)
    manage.write("two", f"{canary()}\n{canary()}\n")
    manage.write("none", "")
    manage.write("json", "{}")
    manage.write("words", canary())
    (manage.folder / "link").symlink_to("pass")
    said += [say("export -o b.age -r", public), say("export --no-swarm --passphrase-file pass -o p.age")]
    whole = (manage.folder / "b.age").read_bytes()
    manage.write("cut", whole[:-1])
    manage.write("secrets/a", canary())
    lines = (
        "export --no-swarm --from-swarm -r age1x",
        "export -r age1x --passphrase-file pass",
        "export --passphrase --passphrase-file pass",
        "export",
        "export --json -r age1x",
        "export -r age1x -r a@example.org",
        "export -r age1x --encryption gpg",
        "export --no-swarm -o c.age -r age1nonsense",
        "export --no-swarm -o secrets/c.age -r age1x",
        "export --no-swarm -o nowhere/c.age -r age1x",
        "export --no-swarm -o link --force -r age1x",
        "export --no-swarm -o pass -r age1x",
        "export --no-swarm --encryption age --passphrase-file binary -o c.age",
        "export --no-swarm --encryption age --passphrase-file none -o d.age",
        "export --no-swarm --encryption age --passphrase-file two -o e.age",
        "import - --passphrase-file -",
        "import json",
        "import words",
        "import none",
        "import secrets",
        "import b.age",
        "import b.age -i nonsense",
        "import b.age -i comment",
        "import b.age -i other",
        "import b.age --passphrase-file pass",
        "import p.age --passphrase-file words",
        "import p.age",
        "import cut -i key",
        "import b.age -i key",
        "import b.age -i /proc/self/mem",
    )
    said += map(say, lines)
    manage.write("secrets/two\nlines", canary())
    return "".join(said) + say("export --no-swarm -o f.age -r", public)


def sha256(data: bytes) -> str:
    """Return the checksum as a backup writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@provokes(
    "it has no list of secrets",
    "secret … is not an object",
    "secret … has a file name that no secret can have",
    "…: its versions in the Swarm are malformed",
    "…: its value or mode is malformed",
    "…: the checksum of its value does not match",
    "…: its value is larger than … bytes",
    "… is in it twice",
    "it is damaged: …",
    "… is missing, or is not text",
    "its content is not a backup, or is damaged",
    "its content is not a backup of docker-secrets-shim",
    "the version of its format is unknown",
    "its format is version …, and this release reads version …",
    "its checksum does not match",
    "the backup has no value of …: they were only in the Swarm",
)
def test_backups_that_somebody_else_made(say: Say, manage: Manage) -> str:
    """Whoever has the public key can seal anything."""
    key = pyrage.x25519.Identity.generate()
    manage.write("key", str(key)).chmod(0o600)

    def opened(plain: bytes) -> str:
        manage.write("made.age", pyrage.encrypt(plain, [key.to_public()]))
        return say("import made.age -i key --dry-run")

    item = Item("A", "a", Secret(b"x"))
    made = json.loads(document.encode(Backup("2026-01-01T00:00:00Z", "test", (item,))))
    absent = document.encode(Backup("2026-01-01T00:00:00Z", "test", (Item("A", "a", None),)))
    one = made["body"]["secrets"][0]

    def with_secrets(secrets: object) -> bytes:
        body = {**made["body"], "secrets": secrets}
        text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        return json.dumps({**made, "body": body, "checksum": sha256(text)}).encode()

    huge = bytes(2 * MAX_SECRET_BYTES)
    bodies: list[object] = [
        "none",
        ["not an object"],
        [{**one, "file": "../a"}],
        [{**one, "swarm": "none"}],
        [{**one, "mode": "none"}],
        [{**one, "checksum": "00"}],
        [{**one, "value": base64.b64encode(huge).decode(), "bytes": len(huge), "checksum": sha256(huge)}],
        [one, one],
        [{**one, "key": 1}],
    ]
    documents = [
        b"not JSON",
        b"{}",
        json.dumps({**made, "version": 2}).encode(),
        json.dumps({**made, "version": "1"}).encode(),
        json.dumps({**made, "checksum": "sha256:00"}).encode(),
        absent,
        *map(with_secrets, bodies),
    ]
    return "".join(map(opened, documents))


@provokes(
    "kept, although … holds a different value: …",
    "not in the schema, and left where they are: …",
    "--generate-missing needs a schema",
    "write numbers, UID or UID:GID",
    "there is no schema …",
    "there is no …",
    "…: what it means for ${...} in the Compose file and for env_file: differs for …",
    "the lines end in CR LF",
    "Compose reads what follows the closing quote as a statement of its own",
    "the file ends before an = or a line end, and Compose ignores such a line",
    "a name without = is set only where the environment has it, and it does not",
    "the value ends before the space and #, where a comment begins",
    "the value begins with #, which to Compose is not a comment after =",
    "the value is the first line of a key or certificate only",
    "a $ refers to a variable that is not set, and is replaced by nothing",
    "a $ is replaced by the value of a variable",
    "it is set on line … already; the last one counts",
    "this configures Compose itself",
    "the name is not a shell variable, and the shim would spell it differently",
    "character … is not allowed in a name",
    "export is not followed by a name",
    "there is a space inside a name",
    "the quote that opens the value of … is not closed",
    "the file is UTF-16",
    "the line is longer than docker run reads",
    "the line is not UTF-8",
    "there is no name before the =",
    "there is white space in the name",
    "python-dotenv cannot read this statement",
    "…: the value is not UTF-8",
    "…: the value holds a NUL byte, which no environment can carry",
    "the value ends in a line end (or begins with a byte order mark), which a secret file loses",
)
def test_env_files(say: Say, manage: Manage, canary: Canary) -> str:
    manage.write("taken.schema", "# @sensitive\nTAKEN=\n")
    manage.write("secrets/kept", canary())
    value = canary()
    said = []
    files: list[tuple[str, bytes]] = [
        ("", f"KEPT={value}\n".encode()),
        ("--schema taken.schema", f"LEFT={value}\n".encode()),
        ("--generate-missing", b"A=1\n"),
        ("--owner nobody", b"A=1\n"),
        ("--schema gone", b"A=1\n"),
        ("", b"A=${B}\nB=1\n"),
        ("", f"A={value}\r\n".encode()),
        ("", f"A='x' B={value}\n".encode()),
        ("", b"A=1\nNAME"),
        ("", b"NOT_THERE\n"),
        ("", f"A={value} # x\nB= # x\nK=-----BEGIN {value}\nL=x$NONE{value}\n".encode()),
        ("", f"B=1\nPASSWORD=${{B}}{value}\n".encode()),
        ("", f"A=1\nA=2\nCOMPOSE_FILE=x\nA.B={value}\n".encode()),
        ("", f'A="{value}\\n"\n'.encode()),
        ("--dialect raw", f'A="{value}"\n'.encode()),
        ("", f"{value}+x\n".encode()),
        ("", b"export "),
        ("", b"A B=1\n"),
        ("", f"A='{value}\n".encode()),
        ("", f"A={value}\n".encode("utf-16")),
        ("--dialect raw", b"A=" + b"x" * 70_000 + b"\n"),
        ("--dialect raw", b"A=\xff\n"),
        ("--dialect raw", b"=x\n"),
        ("--dialect raw", b"A B=x\n"),
        ("--dialect python-dotenv", f"A='{value}\n".encode()),
        ("", f"A={value}\0\n".encode()),
        ("", b"A=\xff\n"),
    ]
    for options, content in files:
        manage.write(".env", content)
        said.append(say(f"create-from-env --dry-run {options}"))

    return "".join(said) + say("create-from-env gone.env")


@provokes(
    "there is no schema to generate values from",
    "not in the schema: …",
    "…: a value of type … cannot be generated",
    "…: a generated value …",
    "…: @generate=… is unknown",
    "…: … has no value to sign it with",
    "… stays signed with the … that is replaced",
    "…; the Swarm is left out",
    "…; the engine is left out",
)
def test_values_that_are_made(say: Say, manage: Manage) -> str:
    said = [say("generate")]
    schema = """\
# @sensitive @type=url
A=

# @sensitive @type=string(matches=^only$)
B=

# @sensitive @generate=oracle
C=

# @sensitive @type=jwt(signedBy=NOWHERE)
D=

# @sensitive @generate
KEY=

# @sensitive @type=jwt(signedBy=KEY)
TOKEN=
"""
    manage.write(".env.schema", schema)
    said += [say(f"generate {key}") for key in ("NONE", "A", "B", "C", "D")]
    said += [say(f"generate {line}") for line in ("KEY TOKEN", "KEY --force --yes")]
    said += [say("list"), say("audit")]
    return "".join(said)


@provokes(
    "is in plain text in the .env, and has no file",
    "is required, and nothing provides it",
    "is required, and is empty",
    "still has the value from the example file",
    "the name cannot become a key",
    "is the same key as …, and the shim refuses two",
    "the Swarm refuses this name",
    "can be read by others (mode …)",
    "holds a byte order mark, UTF-16 or CR at its end, which not every reader drops",
    "can be entered by others (mode …)",
    "is in git",
    "does not keep … and … out of git",
    "refers to the secret …, which is not defined",
    "needs the secret …, whose file … is missing",
    "runs as …, who cannot read files of mode 0600 under Compose",
    "neither the schema nor a service asks for it",
    "… is a link, and links are not followed here",
    "… is not a regular file",
    "… is larger than … bytes",
    "…; the Compose file is left out",
    "not looked at: …",
    "…:…: …; the file is left out",
    "… is a link, which git does not read",
    "… is not a folder",
    "…: the name cannot become a key",
    "… are the same key, …",
    "cannot read …: …; it is left out",
    "… is a link or a file, and secrets are not written there",
)
def test_projects_with_mistakes(say: Say, manage: Manage, canary: Canary) -> str:
    keys = ("@sensitive @required\nIN_PLAIN", "@required\nNOWHERE", "@required\nBLANK", "@sensitive\nA")
    manage.write(".env.schema", "\n".join(f"# {key}=\n" for key in keys))
    manage.write(".env", f"IN_PLAIN={canary()}\nBLANK=\n")
    example = canary()
    files: dict[str, str | bytes] = {
        "a": example,
        "a.example": example,
        "two_names": canary(),
        "TWO-NAMES": canary(),
        "ünused": canary(),
        "unused.": f"{canary()}\r\n",
        "huge": canary() * 50_000,
    }
    for name, value in files.items():
        manage.write(f"secrets/{name}", value).chmod(0o644)
    (manage.folder / "secrets/a").chmod(0o600)
    (manage.folder / "secrets").chmod(0o755)
    (manage.folder / "secrets/link").symlink_to("a")
    os.mkfifo(manage.folder / "secrets/pipe")
    compose = """\
services:
  one: {image: x, secrets: [undefined, gone]}
  two: {image: x, user: "1000", secrets: [here]}
secrets: {gone: {file: ./secrets/gone}, here: {file: ./secrets/a}}
"""
    manage.write("compose.yaml", compose)
    subprocess.run(["git", "init", "-q"], cwd=manage.folder, check=True)
    subprocess.run(["git", "add", ".env"], cwd=manage.folder, check=True)
    said = [say("validate --json"), say("list")]
    manage.write("compose.yaml", "services: [")
    manage.write(".env", "A B=1\n")
    said += [say("validate"), say("list")]
    for name in ("link", "pipe", "huge", "two_names", "TWO-NAMES"):
        (manage.folder / "secrets" / name).unlink()
    said.append(say("list"))
    manage.write("secrets/two_names", canary())
    manage.write("secrets/TWO-NAMES", canary())
    (manage.folder / "secrets/ünused").unlink()
    (manage.folder / ".env").unlink()
    (manage.folder / ".env").mkdir()
    said.append(say("list"))
    (manage.folder / ".gitignore").symlink_to("compose.yaml")
    manage.write("other.env", f"A={canary()}\n")
    said.append(say("create-from-env other.env --force --yes"))
    (manage.folder / ".gitignore").unlink()
    manage.write("file", "")
    (manage.folder / "folder").symlink_to("secrets")
    said.append(say("create-from-env other.env --force --yes --secrets-dir folder"))
    return "".join(said) + say("list --secrets-dir file")


@provokes(
    "there is no Compose file in …",
    "the env_file … does not exist",
    "…: … includes itself",
    "…:…: the service … is not a mapping",
    "…:…: a service extends itself",
    "…:…: it extends …, which is not a service in …",
    "…: a quote in … is not closed",
    "a ${...} in the Compose file cannot be replaced: …",
    "there is no Compose file …",
    "… is not UTF-8",
    "…: this is not valid YAML",
    "…: a Compose file is a mapping with services:",
    "…:…: … appears twice in one mapping",
    "… is not JSON",
    "… does not contain an image's configuration",
    "…: … does not contain an image's configuration",
    "…: there is no free name for the secret of …",
    "it is not known what these images start, so their services stay as they are: …",
    "docker is not installed",
    "docker compose is not installed here, so it has not checked the result",
)
def test_compose_files_with_mistakes(say: Say, manage: Manage, canary: Canary) -> str:
    nowhere = {"PATH": str(manage.folder)}
    said = [say("migrate", **nowhere), say("migrate --file gone.yaml", **nowhere)]
    manage.write("images.json", '{"app": {"Config": {"Cmd": ["serve"]}}}')
    files: list[str | bytes] = [
        "services: {one: {image: app, env_file: gone.env}}\n",
        "include: [compose.yaml]\nservices: {}\n",
        "include: [gone.yaml]\nservices: {}\n",
        "services: {one: text}\n",
        "services: {one: {extends: one}}\n",
        "services: {one: {extends: two}}\n",
        f'services: {{one: {{image: app, command: "sh \'x", environment: {{TOKEN: {canary()}}}}}}}\n',
        "services: {one: {image: app, command: '${GONE?}'}}\n",
        b"services: {one: {image: \xff}}\n",
        "services: [\n",
        "- one\n",
        "services: {one: {image: app}, one: {image: app}}\n",
        f"services: {{one: &one {{image: app, environment: {{TOKEN: {canary()}}}}}, two: *one}}\n",
        f"""\
services: {{one: {{image: app, environment: {{TOKEN: {canary()}}}}}}}
secrets: {{token: {{external: true}}, one_token: {{external: true}}}}
""",
    ]
    for content in files:
        manage.write("compose.yaml", content)
        said.append(say("migrate --image-config images.json --dry-run", **nowhere))
    manage.write("compose.yaml", f"services: {{one: {{image: app, environment: {{TOKEN: {canary()}}}}}}}\n")
    for name, text in (("words", canary()), ("list", "[1]"), ("odd", '{"app": 1}'), ("other", "{}")):
        manage.write(name, text)
        said.append(say(f"migrate --image-config {name} --dry-run", **nowhere))
    manage.write("compose.yaml", f"services: {{one: {{image: app, environment: {{TOKEN: {canary()}}}}}}}\n")
    return "".join(said) + say("migrate", **nowhere) + say("migrate --image-config images.json", **nowhere)


@provokes(
    "give a duration, such as 90s, 5m or 1h",
    "--resume continues an interrupted rotation: it takes neither keys nor values",
    "name the keys to rotate, or give --due or --resume",
    "--due finds the keys and generates their values: give neither",
    "--everywhere works with --due, and without --stack and --compose",
    "--how is auto, recreate, signal=NAME or none",
    "… is not a file; write --compose without a file after the keys",
    "there is no secret file for …",
    "there is no previous value of …",
    "--value-file gives a value to one key only",
    "these depend on each other: …",
    "nothing gives … a new value",
    "… was not written by a rotation",
    "… has no value for …",
    "a rotation in … is under way, or was interrupted",
    "no engine answers at … (…)",
    "DOCKER_CLIENT_TIMEOUT is not a number of seconds",
    "there is no Docker context …",
    "the Docker context cannot be read (…)",
    "DOCKER_HOST is not an ssh:// URL",
    "an ssh:// URL cannot contain a password or a query",
    "DOCKER_HOST does not name a host that ssh accepts",
    "name keys without a value; that is typed, or comes from a file or a pipe",
    "--value-file names a file that does not exist; - is stdin",
    "there is no @rotate-with=…",
    "… names no program",
    "… is not one of the roles that … takes in turn",
    "docker is not installed",
    "`docker compose` does not work here",
    "… cannot be the name of a stack",
    "a stack called … cannot be deployed",
    "there are no secrets in …",
)
def test_rotations_that_cannot_begin(say: Say, manage: Manage, canary: Canary) -> str:
    said = [say("create-swarm")]
    schema = """\
# @sensitive @type=jwt(signedBy=RING)
RING=

# @sensitive @rotate-with=oracle(x)
ORACLE=

# @sensitive @rotate-with=command()
COMMAND=

# @sensitive @rotate-with=postgres(service=db, users=a|b, userKey=NAME)
ROLE=

NAME=
"""
    manage.write(".env.schema", schema)
    manage.write("compose.yaml", "services: {one: {image: app, secrets: [a]}}\nsecrets: {a: {file: secrets/a}}\n")
    manage.write("empty", "")
    for name in ("a", "b", "ring", "oracle", "command", "role", "name"):
        manage.write(f"secrets/{name}", canary()).chmod(0o600)
    lines = (
        "rotate A --timeout soon",
        "rotate A --resume",
        "rotate A --due",
        "rotate A --everywhere",
        "rotate",
        "rotate A --compose --how dance --generate",
        "rotate A --compose gone.yaml --generate",
        "rotate A=x",
        "rotate A --how none --value-file gone",
        "rotate NONE --how none --generate",
        "rollback A --how none",
        "rotate A B --how none --value-file empty",
        "rotate RING --how none --generate",
        "rotate A --how none",
        "rotate A --how none --value-file empty",
        "rotate ORACLE --how none --generate",
        "rotate COMMAND --how none --generate",
        "rotate ROLE --how none --generate",
        "create-swarm --stack a/b",
        "create-swarm --stack a.b",
        "prune",
    )
    said += map(say, lines)
    said.append(say("rotate A --compose --generate", PATH=str(manage.folder)))
    manage.write("docker", "#!/bin/sh\nexit 1\n").chmod(0o755)
    said.append(say("rotate A --compose --generate", PATH=f"{manage.folder}:/usr/bin:/bin"))
    said.append(say("prune", DOCKER_CLIENT_TIMEOUT="soon"))
    said.append(say("prune", DOCKER_HOST="", DOCKER_CONTEXT="none-such"))
    context = hashlib.sha256(b"a").hexdigest()
    manage.write(f"config/contexts/meta/{context}/meta.json", "no JSON")
    said.append(say("prune", DOCKER_HOST="", DOCKER_CONTEXT="a", DOCKER_CONFIG=str(manage.folder / "config")))
    said += [say("prune", DOCKER_HOST=f"ssh://{place}") for place in ("[", "a:b@c", "-oX=1")]
    for plan in ("{}", json.dumps(PLAN)):
        manage.write("secrets/.rotation/plan", plan).chmod(0o600)
        said.append(say("rotate --resume --how none"))
    return "".join(said) + say("rotate A --how none --generate")


PINENTRY = """\
#!/bin/sh
echo OK
while read -r word; do case $word in GETPIN*) echo "ERR 83886179 Operation cancelled";; *) echo OK;; esac; done
"""


@provokes(
    "gpg cannot be run",
    "gpg does not work: …",
    "… is not a recipient",
    "the key of … …",
    "… names several keys: …",
    "it is damaged or truncated…",
    "gpg did not encrypt…",
    "gpg wanted a passphrase and got none",
)
def test_gpg(say: Say, manage: Manage, canary: Canary) -> str:
    manage.write("secrets/a", canary())
    manage.write("pass", canary()).chmod(0o600)
    manage.write("broken/gpg", "#!/bin/sh\nexit 1\n").chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        make = ["gpg", "--homedir", home, "--batch", "--yes", "--passphrase", "", "--quick-gen-key"]
        for key in (["signs@example.org", "ed25519", "sign"], *[["two@example.org", "future-default"]] * 2):
            subprocess.run([*make, *key], check=True, capture_output=True)
        export = "export --no-swarm -o b.gpg --recipient"
        said = [
            say(export, "two@example.org", PATH="/nowhere"),
            say(export, "two@example.org", PATH=str(manage.folder / "broken"), GNUPGHOME=home),
            say("export --no-swarm -o b.gpg --recipient=-x", GNUPGHOME=home),
            say(export, "signs@example.org", GNUPGHOME=home),
            say(export, "two@example.org", GNUPGHOME=home),
            say("export --no-swarm -o p.gpg --passphrase-file pass", GNUPGHOME=home),
        ]
        sealed = (manage.folder / "p.gpg").read_bytes()
        manage.write("cut.gpg", sealed[:-1])
        said.append(say("import cut.gpg --passphrase-file pass", GNUPGHOME=home))
        # An agent whose dialog is cancelled, and a configuration that wants other algorithms than the keys have.
        pinentry = manage.write("pinentry", PINENTRY)
        pinentry.chmod(0o755)
        Path(home, "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\n")
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
        make[make.index("")] = canary()
        subprocess.run([*make, "locked@example.org", "future-default"], check=True, capture_output=True)
        said.append(say("export --no-swarm -o locked.gpg --recipient locked@example.org", GNUPGHOME=home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)  # it has the passphrase
        said.append(say("import locked.gpg", GNUPGHOME=home))
        Path(home, "gpg.conf").write_text("compliance de-vs\nrequire-compliance\n")
        said.append(say("export --no-swarm -o no.gpg --recipient locked@example.org", GNUPGHOME=home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    return "".join(said)


@provokes("… is larger than any backup", "it holds more than … bytes, more than a backup can")
def test_a_file_that_is_no_backup_by_its_size(say: Say, manage: Manage, canary: Canary) -> str:
    with manage.write("image.iso", "").open("r+b") as file:
        file.truncate(2 << 30)  # a hole: it takes no room
        manage.write("pass", canary()).chmod(0o600)
        seal = ("gpg", "--batch", "--symmetric", "--passphrase-file", "pass", "--pinentry-mode", "loopback")
        file.truncate(600 << 20)
        with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
            more = ("--homedir", home, "--compress-level", "1", "--output", "bomb.gpg")
            subprocess.run([*seal, *more], stdin=file, cwd=manage.folder, check=True, capture_output=True)
            said = say("import bomb.gpg --passphrase-file pass", GNUPGHOME=home)
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
        file.truncate(2 << 30)
    return said + say("import image.iso")


@provokes(
    "the Docker client does not answer within … s",
    "docker compose would refuse the new files, so nothing is written: …",
    "the new files would change what a service sees: …",
    "…: … … takes longer than … s",
)
def test_programs_that_do_not_do_what_they_should(say: Say, manage: Manage, canary: Canary) -> str:
    """A client that hangs, a Compose that reads otherwise, before or after, and a command that takes too long."""
    value = canary()
    manage.write(".env", f"TOKEN={value}\n")
    manage.write("compose.yaml", "services: {a: {image: a, environment: [TOKEN]}}\n")
    manage.write("images.json", json.dumps({"a": {"Config": {"Cmd": ["serve"]}}}))
    path = f"{manage.folder}/bin:/usr/bin:/bin"
    migrate = "migrate --yes --image-config images.json"
    manage.write("bin/docker", "#!/bin/sh\nexec sleep 60\n").chmod(0o755)
    said = [say("migrate", PATH=path, DOCKER_CLIENT_TIMEOUT="1")]
    config = 'case " $* " in *" config "*) ;; *) exit;; esac; '
    read = {"TOKEN": value}
    as_it_is = {"services": {"a": {"image": "a", "environment": read}}}
    moved = {"a": {"image": "a", "environment": {**read, "OTHER": "1"}}}
    differing = f"echo '{json.dumps({'services': moved})}'", f"echo '{json.dumps({**as_it_is, 'networks': {'n': {}}})}'"
    for answer in (*differing, f"echo 'services.a is bad: \"{value}\"' >&2; exit 1"):
        Path(manage.folder, "seen").unlink(missing_ok=True)
        and_then = f"if [ -e seen ]; then {answer}; else echo '{json.dumps(as_it_is)}'; fi; touch seen"
        manage.write("bin/docker", f"#!/bin/sh\n{config}{and_then}\n").chmod(0o755)
        said.append(say(migrate, PATH=path))
    manage.write("change-it", "#!/bin/sh\nexec sleep 60\n").chmod(0o755)
    manage.write(".env.schema", "# @sensitive @generate @rotate-with=command(./change-it)\nTOKEN=\n")
    manage.write("secrets/token", canary()).chmod(0o600)
    return "".join(said) + say("rotate TOKEN --how none --generate --timeout 1s")


@provokes("… changed in the meantime")
def test_a_file_that_changes_while_import_asks(manage: Manage, canary: Canary) -> str:
    manage.write("secrets/a", canary()).chmod(0o600)
    manage.write("pass", canary()).chmod(0o600)
    assert manage("export", "--no-swarm", "-o", "b.age", "--encryption", "age", "--passphrase-file", "pass").code == 0
    manage.write("secrets/a", canary())
    words = [str(SCRIPT), "import", "b.age", "--passphrase-file", "pass", "--force"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(manage.folder)}
    terminal = pexpect.spawn(sys.executable, words, cwd=manage.folder, env=environ, encoding="utf-8", timeout=60)
    terminal.expect(r"\[y/N\]")
    manage.write("secrets/a", theirs := canary())

    terminal.sendline("y")
    terminal.expect(pexpect.EOF)
    terminal.close()

    said = str(terminal.before)
    manage.custody.said.append(said)
    assert terminal.exitstatus == 1
    assert manage.secrets()["a"] == theirs.encode()
    return said


@provokes(
    "a backup is not written to a terminal: name a file with --output, or use --armor",
    "nothing was changed",
)
def test_at_a_terminal(manage: Manage, canary: Canary) -> str:
    manage.write(".env.schema", "# @sensitive @generate\nA=\n")
    manage.write("secrets/a", canary())
    said = ""
    for line in ("export --no-swarm -r age1x", "generate A --force"):
        words = [str(SCRIPT), *line.split()]
        environ = {"PATH": os.environ["PATH"], "HOME": str(manage.folder)}
        wide = (24, 200)
        terminal = pexpect.spawn(
            sys.executable, words, cwd=manage.folder, env=environ, encoding="utf-8", timeout=60, dimensions=wide
        )
        if terminal.expect([r"\[y/N\]", pexpect.EOF]) == 0:
            terminal.sendline("n")
            said += str(terminal.before)
            terminal.expect(pexpect.EOF)
        said += str(terminal.before)
        terminal.close()
    manage.custody.said.append(said)
    return said


@provokes(
    "… holds it in plain text, so it stays in … too",
    "the shim gets … to read the secrets and to become …",
    "a comment in … contained an old value, which is removed",
    "its image sets SHIM_ONLY without …",
    "HOME is set, and the shim sets it to the home of the user it becomes",
)
def test_what_a_migration_leaves(say: Say, manage: Manage, canary: Canary) -> str:
    token, password = canary(), canary()
    shim = {"Entrypoint": ["/opt/shim/shim", "--", "app"], "Cmd": ["serve"], "Env": ["SHIM_ONLY=OTHER"]}
    manage.write("images.json", json.dumps({"app": {"Config": {"Cmd": ["serve"]}}, "own": {"Config": shim}}))
    manage.write(".env", f"# API_TOKEN={canary()}\nAPI_TOKEN={canary()}\nDB_PASSWORD={password}\n")
    compose = f"""\
services:
  one:
    image: app
    user: "1000"
    cap_drop: [ALL]
    environment:
      # TOKEN: {token}
      TOKEN: {token}
      DB_PASSWORD: ${{DB_PASSWORD}}
      HOME: /home/app
    labels:
      said: ${{DB_PASSWORD}}
  two:
    image: own
    environment:
      TOKEN: {token}
  three:
    image: app
    env_file: ${{FILE:-.env}}
"""
    manage.write("compose.yaml", compose)
    return say("migrate --image-config images.json --dry-run", PATH="/nowhere")


@provokes(
    "…: cannot run …: …",
    "… holds a line end, which cannot be passed to the client",
    "a value that … needs cannot be read from here",
)
def test_programs_that_change_a_value(say: Say, manage: Manage, canary: Canary) -> str:
    system = "@rotate-with=mariadb(service=db, user=app, adminKey"
    keys = ("@rotate-with=command(./none-such)\nA", f"{system}=LINES)\nB", f"{system}=NOWHERE)\nC", "@sensitive\nLINES")
    manage.write(".env.schema", "\n".join(f"# {key}=\n" for key in keys))
    for name in "abc":
        manage.write(f"secrets/{name}", canary()).chmod(0o600)
    manage.write("secrets/lines", f"{canary()}\n{canary()}").chmod(0o600)
    return "".join(say(f"rotate {key} --how none --generate") for key in "ABC")


@provokes(
    "… has no option …",
    "… sets … twice",
    "… has no value after …=",
    "… does not name the user",
    "… needs one of user=NAME and users=ONE|OTHER",
    "… needs users=ONE|OTHER and the key that holds the name, userKey=KEY",
    "… does not name the service it runs in",
    "…, and there is no such key",
    "…, the key of the password itself",
)
def test_decorators_that_no_system_understands(say: Say, manage: Manage) -> str:
    written = (
        "postgres(service=db, user=a, oracle=x)",
        "postgres(service=db, service=db, user=a)",
        "postgres(service=, user=a)",
        "redis(service=db)",
        "postgres(service=db)",
        "postgres(service=db, users=a)",
        "postgres(user=a)",
        "postgres(service=db, users=a|b, userKey=NOWHERE)",
        "postgres(service=db, users=a|b, userKey=K8)",
    )
    keys = [f"# @sensitive @rotate-with={text}\nK{number}=\n" for number, text in enumerate(written)]
    manage.write(".env.schema", "\n".join(keys))
    return say("validate")


@pytest.mark.engine
@provokes(
    "the Swarm holds a different value for …; nothing was created",
    "this needs confirmation: …",
    "cannot …: …",
    "made with a different key or salt: …",
    "… holds no key",
    "the config … holds no key",
    "there is no schema that limits the age of values",
    "due, but there is no @generate to make a new value: …",
    "… holds a different value from the Swarm's",
    "there is no image here for the task that reads the values",
    "the helper task that reads the values does not start: …",
    "is older than the file",
    "mounts …, and … is the newest",
    "names version …, …",
)
def test_a_swarm_that_holds_something_else(say: Say, swarm: PrivateSwarm, manage: Manage, canary: Canary) -> str:
    engine = {"DOCKER_HOST": swarm.host}
    manage.write("secrets/a", canary()).chmod(0o600)
    say("create-swarm", **engine)
    label, mount = ["--label", "com.docker.stack.namespace=st"], ["--secret", "a.v1"]
    create = ["service", "create", "--detach", "--name", "s", "--replicas", "0"]
    swarm.docker(*create, *label, *mount, swarm.image(), "/busybox", "sleep", "1")
    said = [say("rotate --due", **engine)]
    manage.write("secrets/a", canary()).chmod(0o600)
    said += [say(line, **engine) for line in ("create-swarm", "validate --swarm", "rotate A --generate --force")]
    (manage.folder / "secrets.lock.env").unlink()
    said += [say(line, **engine) for line in ("validate --swarm", "rollback A", "rollback A --yes")]
    labels = ("--label", "docker-secrets-shim.key=A", "--label", "docker-secrets-shim.version=9")
    swarm.docker("secret", "create", *labels, "a.v9", "-", stdin=canary().encode())
    manage.write(".env.schema", "# @sensitive @rotate=0d\nA=\n")
    seal = str(pyrage.x25519.Identity.generate().to_public())
    meddler = Meddler(swarm, lambda _number: "500", reads=True)
    said += [
        *(say(line, **engine) for line in ("validate --swarm", "diff --salt other", "rotate --due")),
        say("prune", DOCKER_HOST=meddler.host),
        say("export --from-swarm -o b.age -r", seal, **engine),
        say("export --from-swarm --image localhost:1/none:1 -o b.age -r", seal, **engine),
    ]
    meddler.close()
    swarm.docker("config", "rm", "docker-secrets-shim.fingerprint-key")
    swarm.docker("config", "create", "docker-secrets-shim.fingerprint-key", "-", stdin=b"short")
    manage.write("secrets/.fingerprint-key", "short")
    said += [say("create-swarm", **engine), say("audit --no-engine")]
    return "".join(said)


@pytest.mark.engine
@provokes("the image … cannot be looked up: …", "docker compose config refuses …")
def test_what_docker_itself_does_not_take(say: Say, engine: Engine, manage: Manage, canary: Canary) -> str:
    path = engine.environ["PATH"]
    plug_in_compose(manage)
    manage.write("secrets/a", canary()).chmod(0o600)
    manage.write("compose.yaml", f"services: {{one: {{image: app, environment: {{TOKEN: {canary()}}}}}}}\n")
    said = say("migrate", PATH=path)
    manage.write("compose.yaml", "services: {one: {image: app, nonsense: 1}}\n")
    return said + say("rotate A --compose --generate", PATH=path)


@provokes("the run in … ended with …")
def test_a_run_for_a_project_that_is_killed_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """As one is that has no memory left: what others had to do went well, and does not hide it."""
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\necho '{'\nkill -9 $$\n")
    killed.chmod(0o755)
    (tmp_path / ".env.schema").touch()
    monkeypatch.setattr(sys, "executable", str(killed))
    wish = Wish((), (), None, 1, False, tmp_path, None, b"", True, False)

    assert due._in_folder(ComposeFolder("blog", str(tmp_path), ()), due.Due(wish, Settings(), None)) == 111

    said = capsys.readouterr().err
    assert f"the run in {tmp_path} ended with SIGKILL" in said
    return said
