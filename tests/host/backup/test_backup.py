"""`export` and `import`, with the real gpg and the real age."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pexpect
import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shim_host.backup import age, collect
from shim_host.backup import document as backup
from shim_host.backup.document import Backup, Item
from shim_host.commands.backup import export
from shim_host.errors import Refused
from shim_host.swarm.model import SwarmSecret

from shim.secret import Secret
from tests.support.forms import Custody, cannot_run
from tests.support.host import SCRIPT, Canary, Manage
from tests.support.provoked import provokes

MAIL = "ops@example.org"
ENCRYPTIONS = ("gpg to a key", "gpg with a passphrase", "age to a key", "age to an SSH key", "age with a passphrase")


class Keys:
    """Where the keys of this test session are."""

    def __init__(self, gnupg_home: Path, folder: Path) -> None:
        self.gnupg_home = gnupg_home
        self.age_identity = folder / "age.txt"
        self.ssh_identity = folder / "id_ed25519"
        self.passphrase = folder / "passphrase"
        identity = pyrage.x25519.Identity.generate()
        self.age_recipient = str(identity.to_public())
        self.age_identity.write_text(f"# public key: {self.age_recipient}\n{identity}\n")
        self.passphrase.write_text("correct horse battery ßtaple\n")
        self.passphrase.chmod(0o600)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "backup", "-f", str(self.ssh_identity))
        self.ssh_recipient = self.ssh_identity.with_suffix(".pub").read_text().strip()

    def seals(self, encryption: str) -> list[str]:
        return {
            "gpg to a key": ["--recipient", MAIL],
            "gpg with a passphrase": ["--passphrase-file", str(self.passphrase)],
            "age to a key": ["--recipient", self.age_recipient],
            "age to an SSH key": ["--recipient", self.ssh_recipient],
            "age with a passphrase": ["--passphrase-file", str(self.passphrase), "--encryption", "age"],
        }[encryption]

    def opens(self, encryption: str) -> list[str]:
        return {
            "gpg to a key": [],
            "gpg with a passphrase": ["--passphrase-file", str(self.passphrase)],
            "age to a key": ["--identity", str(self.age_identity)],
            "age to an SSH key": ["--identity", str(self.ssh_identity)],
            "age with a passphrase": ["--passphrase-file", str(self.passphrase)],
        }[encryption]


def run(*command: str, stdin: bytes = b"", home: Path | None = None) -> bytes:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **({"GNUPGHOME": str(home)} if home else {})}
    if shutil.which(command[0]) is None:
        cannot_run(f"there is no {command[0]} here")
    return subprocess.run(command, input=stdin, capture_output=True, check=True, env=environ).stdout


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Return keys of GPG, age and SSH; the agent's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        new = ("gpg", "--batch", "--quiet", "--passphrase", "")
        run(*new, "--quick-generate-key", f"Operations <{MAIL}>", "future-default", "default", "never", home=Path(home))
        yield Keys(Path(home), tmp_path_factory.mktemp("keys"))
        run("gpgconf", "--kill", "all", home=Path(home))


@pytest.fixture
def filled(manage: Manage, keys: Keys, canary: Canary) -> Manage:
    """Return the host tool beside a ./secrets that holds text, bytes that are not text, a line end and nothing."""
    manage.env["GNUPGHOME"] = str(keys.gnupg_home)
    manage.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock"
    manage.write("secrets/db_password", canary() + "\n")
    manage.write("secrets/api_key", canary())
    manage.write("secrets/binary", bytes(range(256)) + canary().encode() + b"\n\n")
    manage.write("secrets/empty", b"")
    (manage.folder / "secrets").chmod(0o700)
    for path in (manage.folder / "secrets").iterdir():
        path.chmod(0o600)
    return manage


def sealed(manage: Manage, keys: Keys, plain: bytes) -> Path:
    """Return a file in which age sealed *plain* to the test's key."""
    recipient = pyrage.x25519.Recipient.from_str(keys.age_recipient)
    return manage.write("made.age", pyrage.encrypt(plain, [recipient]))


VALUE, SHOP, IN_SHOP = Secret(b"x"), ["--stack", "shop"], ({"stack": "shop"},)


def document(**changes: object) -> bytes:
    """Return a backup's document with some of its fields changed."""
    made = json.loads(backup.encode(Backup("2026-01-01T00:00:00Z", "test", (Item("A", "a", Secret(b"x")),))))
    return json.dumps({**made, **changes}).encode()


@pytest.mark.parametrize("encryption", ENCRYPTIONS)
@pytest.mark.parametrize("armor", [[], ["--armor"]], ids=["bytes", "text"])
def test_every_byte_comes_back(filled: Manage, keys: Keys, encryption: str, armor: list[str]) -> None:
    before = filled.secrets()

    exported = filled.json("export", "--output", "backup", *keys.seals(encryption), *armor)
    there = filled.folder / "backup"
    assert there.stat().st_mode & 0o777 == 0o600
    for name in before:
        (filled.folder / "secrets" / name).unlink()
    imported = filled.json("import", "backup", *keys.opens(encryption))

    assert filled.secrets() == before
    assert {item["state"] for item in imported["secrets"]} == {"created"}
    assert [item["key"] for item in exported["secrets"]] == ["API_KEY", "BINARY", "DB_PASSWORD", "EMPTY"]
    assert exported["encryption"] == encryption.split()[0]
    assert {path.stat().st_mode & 0o777 for path in (filled.folder / "secrets").iterdir()} == {0o600}
    assert all(line.encode() not in there.read_bytes() for line in filled.custody.canaries)


def test_a_backup_goes_through_pipes(filled: Manage, keys: Keys, custody: Custody) -> None:
    """Without --output the backup goes to stdout, and `-` is read from stdin."""
    command = [sys.executable, str(SCRIPT), "export", "--recipient", keys.age_recipient]
    piped = subprocess.run(command, cwd=filled.folder, env=filled.env, capture_output=True, check=True)
    custody.said.append(piped.stderr.decode())

    end = filled("import", "-", "--identity", keys.age_identity, "--json", stdin=piped.stdout)

    assert end.code == 0
    assert {item["state"] for item in json.loads(end.stdout)["secrets"]} == {"unchanged"}


@pytest.mark.parametrize(
    ("text", "is_for_age"),
    [
        ("age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq", True),
        ("ssh-ed25519 AAAAC3Nz ops@laptop", True),
        ("ssh-dss AAAAB3Nz", True),  # age refuses it, and says which keys it takes; GPG would look for a person
        ("ssh-admins@example.org", False),
        (MAIL, False),
    ],
)
def test_a_recipient_tells_what_encrypts(text: str, is_for_age: bool) -> None:
    assert age.is_recipient(text) is is_for_age


def test_gpg_itself_opens_the_backup(filled: Manage, keys: Keys) -> None:
    """Nobody depends on this tool to get at their secrets: it is JSON in a plain GPG message."""
    filled("export", "--output", "backup.gpg", "--recipient", MAIL)

    opened = json.loads(run("gpg", "--decrypt", str(filled.folder / "backup.gpg"), home=keys.gnupg_home))

    values = {item["file"]: base64.b64decode(item["value"]) for item in opened["body"]["secrets"]}
    assert opened["format"] == "docker-secrets-shim backup"
    assert values == filled.secrets()


def test_git_never_shows_what_was_imported(filled: Manage, keys: Keys) -> None:
    """A backup is put back into a fresh clone, which may not know yet what to ignore."""
    filled("export", "-o", "backup.age", "-r", keys.age_recipient)
    shutil.rmtree(filled.folder / "secrets")
    run("git", "init", "--quiet", str(filled.folder))

    assert filled("import", "backup.age", "-i", keys.age_identity).code == 0

    shown = run("git", "-C", str(filled.folder), "status", "--porcelain", "--untracked-files=all").decode()
    assert len(filled.secrets()) == 4
    assert "secrets/" not in shown


def test_different_values_are_kept_unless_forced(filled: Manage, keys: Keys, canary: Canary) -> None:
    before = filled.secrets()
    filled("export", "--output", "backup.age", "--recipient", keys.age_recipient)
    newer = canary()
    filled.write("secrets/api_key", newer)
    opens = ("import", "backup.age", "--identity", keys.age_identity)

    kept = filled(*opens)
    assert kept.code == 0
    assert "kept, although the backup holds a different value: api_key" in kept.stderr
    assert filled.secrets()["api_key"] == newer.encode()

    assert filled(*opens, "--force", "--dry-run").code == 0
    assert filled.secrets()["api_key"] == newer.encode()

    states = {item["key"]: item["state"] for item in filled.json(*opens, "--force")["secrets"]}
    assert states == {"API_KEY": "replaced", "BINARY": "unchanged", "DB_PASSWORD": "unchanged", "EMPTY": "unchanged"}
    assert filled.secrets() == before


def test_one_key_comes_back_alone(filled: Manage, keys: Keys, canary: Canary) -> None:
    """Named keys are all that an import is about, --force or not."""
    whole = filled.secrets()
    filled("export", "--output", "backup.gpg", "--recipient", MAIL)
    changed = {name: canary().encode() for name in whole}
    for name, value in changed.items():
        (filled.folder / "secrets" / name).write_bytes(value)
    one = sorted(whole)[0]
    key = filled.json("export", "--dry-run", "--recipient", MAIL)["secrets"][sorted(whole).index(one)]["key"]

    (row,) = filled.json("import", "backup.gpg", key, "--force", "--yes")["secrets"]

    assert (row["key"], row["state"]) == (key, "replaced")
    assert filled.secrets() == {**changed, one: whole[one]}
    for words, said in (
        (["NO_SUCH"], "the backup has no NO_SUCH"),
        (["--stack", "shop"], "the backup contains nothing of the stack shop"),
    ):
        end = filled("import", "backup.gpg", *words)
        assert end.code == 1
        assert said in end.stderr


def test_the_folders_of_stacks_are_saved_and_come_back(filled: Manage, keys: Keys, canary: Canary) -> None:
    """Each into its folder; or one stack alone, which then is what ./secrets is for."""
    values = {stack: canary() for stack in ("staging", "prod")}
    for stack, value in values.items():
        filled.write(f"secrets/{stack}/token", value)
    whole = filled.secrets()
    assert filled("export", "--output", "backup.gpg", "--recipient", MAIL).code == 0
    shutil.rmtree(filled.folder / "secrets")

    assert filled("import", "backup.gpg").code == 0
    assert filled.secrets() == whole
    for stack, value in values.items():
        token = filled.folder / "secrets" / stack / "token"
        assert token.read_text() == value
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(filled.folder / "secrets")
    document = filled.json("import", "backup.gpg", "--stack", "prod")
    assert [(row["key"], row["stack"]) for row in document["secrets"]] == [("TOKEN", "prod")]
    assert filled.secrets() == {"token": values["prod"].encode()}


@pytest.mark.parametrize("encryption", ENCRYPTIONS)
def test_a_damaged_or_truncated_backup_changes_nothing(filled: Manage, keys: Keys, encryption: str) -> None:
    """Wherever the damage is: in the header, in the middle, at the end, or at the end missing."""
    filled("export", "--output", "backup", *keys.seals(encryption))
    whole = (filled.folder / "backup").read_bytes()
    (filled.folder / "secrets" / "api_key").unlink()
    before = filled.secrets()
    half = len(whole) // 2
    damaged = {
        "empty": b"",
        "short": whole[:40],
        "half": whole[:half],
        "without its last byte": whole[:-1],
        "flipped in the middle": whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :],
        "flipped at the end": whole[:-1] + bytes([whole[-1] ^ 1]),
    }
    for how, data in damaged.items():
        filled.write("damaged", data)
        end = filled("import", "damaged", "--force", "--yes", *keys.opens(encryption))

        assert end.code == 1, (how, end)
        assert "error: damaged: " in end.stderr, how
        assert "nothing was changed" in end.stderr, how
        assert filled.secrets() == before, how


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (b"not JSON", "not a backup, or is damaged"),
        (b"[" * 100_000, "not a backup, or is damaged"),
        (b'{"format": 1, "format": 2}', "not a backup, or is damaged"),
        (b'{"a": 1}', "not a backup of docker-secrets-shim"),
        (document(version=2), "its format is version 2, and this release reads version 1"),
        (document(version=0), "version of its format is unknown"),
        (document(version=True), "version of its format is unknown"),
        (document(version="1"), "version of its format is unknown"),
        (document(checksum="sha256:00"), "checksum does not match"),
        (document(body=[]), "checksum does not match"),
    ],
)
def test_a_foreign_document_changes_nothing(filled: Manage, keys: Keys, plain: bytes, says: str) -> None:
    """Whoever has the public key can seal anything: what comes out is verified once more."""
    before = filled.secrets()
    file = sealed(filled, keys, plain)

    end = filled("import", file, "--identity", keys.age_identity, "--force", "--yes")

    assert end.code == 1
    assert says in end.stderr
    assert filled.secrets() == before


def test_foreign_files_are_named_for_what_they_are(filled: Manage, keys: Keys, canary: Canary) -> None:
    filled.write("plain.json", document())
    filled.write("photo.jpg", b"\xff\xd8\xff\xe0" + canary().encode())
    clear = run("gpg", "--clearsign", "--local-user", MAIL, stdin=document(), home=keys.gnupg_home)
    filled.write("signed.gpg", clear)

    assert "plain JSON, and a backup is encrypted" in filled("import", "plain.json").stderr
    assert "neither GPG nor age encrypted it" in filled("import", "photo.jpg").stderr
    assert filled("import", "signed.gpg").code == 1
    assert "there is no missing.gpg" in filled("import", "missing.gpg").stderr
    assert "is a folder" in filled("import", "secrets").stderr


@pytest.mark.parametrize(
    "name",
    ["../outside", "/tmp/outside", "a/b", "a\\b", ".", "..", "", ".hidden", "a\0b", "README", "\ud800", "é" * 128],
)
def test_a_name_cannot_leave_the_folder(name: str) -> None:
    plain = backup.encode(Backup("now", "test", (Item("A", name, Secret(b"x")),)))

    with pytest.raises(Refused, match="file name that no secret can have"):
        backup.decode(plain)


def test_a_name_cannot_leave_the_folder_through_a_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, C:compose.yaml is in the folder that drive C was last used in; here it is a name."""
    assert backup.is_file_name("C:compose.yaml")
    monkeypatch.setattr(backup, "PurePath", PureWindowsPath)
    assert not backup.is_file_name("C:compose.yaml")
    assert backup.is_file_name("db_password")


@pytest.mark.parametrize(("driver", "is_noted"), [("golang", True), ("golang\nb=golang", False)])
def test_a_template_names_no_other_file(driver: str, is_noted: bool) -> None:
    """What is noted of it is a line of a file, and a second line would be about another secret."""
    item = Item("A", "a", Secret(b"x"), swarm=({"template": driver},))
    (found,) = backup.decode(backup.encode(Backup("now", "test", (item,)))).items

    assert bool(found.template) is is_noted


def test_a_name_stands_in_a_backup_once(canary: Canary) -> None:
    twice = (Item("A", "a", Secret(canary().encode())), Item("A", "A", Secret(canary().encode())))

    with pytest.raises(Refused, match="is in it twice"):
        backup.decode(backup.encode(Backup("now", "test", twice)))


ITEMS = st.builds(
    Item,
    key=st.text(),
    file=st.text(min_size=1, max_size=40).filter(backup.is_file_name),
    value=st.none() | st.binary(max_size=200).map(Secret),
    origin=st.sampled_from([backup.FOLDER, backup.SWARM]),
    mode=st.integers(0, 0o777),
    swarm=st.lists(st.dictionaries(st.text(), st.text() | st.integers(-9, 9), max_size=3), max_size=2).map(tuple),
    absent=st.text(max_size=9),
    stack=st.sampled_from(["", "shop", "shop_eu"]),
)


def _as_kept(item: Item) -> Item:
    """Return *item* as a backup keeps it: an item has either a value, its origin and its mode, or a reason."""
    if item.value is None:
        return Item(item.key, item.file, None, swarm=item.swarm, absent=item.absent)
    return item._replace(absent="")


@given(st.lists(ITEMS, max_size=4, unique_by=lambda item: (item.stack, item.file.casefold())))
def test_what_is_encoded_is_decoded(items: list[Item]) -> None:
    made = Backup("2026-01-01T00:00:00Z", "test", tuple(map(_as_kept, items)))

    assert backup.decode(backup.encode(made)) == made


@settings(max_examples=300)
@given(st.data())
def test_a_document_that_changed_in_one_place_is_refused(data: st.DataObject) -> None:
    plain = document()
    at = data.draw(st.integers(0, len(plain) - 1))
    changed = plain[:at] + bytes([data.draw(st.integers(33, 126).filter(lambda c: c != plain[at]))]) + plain[at + 1 :]

    with pytest.raises(Refused):
        backup.decode(changed)


@pytest.mark.parametrize(
    ("first", "second", "words", "refused"),
    [
        (Item("TOKEN", "token", VALUE, stack="shop"), Item("OTHER", "Token", VALUE, swarm=IN_SHOP), SHOP, True),
        (Item("TOKEN", "token", VALUE, stack="shop"), Item("TOKEN", "TOKEN.txt", VALUE, stack="shop"), SHOP, True),
        (Item("TOKEN", "token", VALUE, stack="token"), Item("TOKEN", "token", VALUE), [], True),
        (Item("TOKEN", "token", VALUE, stack="shop"), Item("TOKEN", "other", VALUE, swarm=IN_SHOP), SHOP, False),
        (Item("", "a@b", VALUE, stack="shop"), Item("", "c@d", VALUE, stack="shop"), SHOP, False),
    ],
    ids=["one file", "one key", "a folder and a file", "own before shared", "no keys"],
)
def test_two_values_for_one_place_are_refused_before_anything_is_written(
    manage: Manage, keys: Keys, first: Item, second: Item, words: list[str], refused: bool
) -> None:
    """One of the two would be lost; but a stack's own value goes before one that it shares, and all else is kept."""
    sealed(manage, keys, backup.encode(Backup("2026-01-01T00:00:00Z", "test", (first, second))))

    end = manage("import", "made.age", *words, *keys.opens("age to a key"))

    assert (end.code == 1) == refused, end.stderr
    if refused:
        assert f"{second.shown} and {first.shown} of the backup would be one secret" in end.stderr
        assert not (manage.folder / "secrets").exists()
    else:
        kept = [item for item in (first, second) if item.stack == "shop"]
        assert sorted(path.name for path in (manage.folder / "secrets").iterdir()) == [item.file for item in kept]


@pytest.mark.parametrize("encryption", ["gpg to a key", "age to a key"])
def test_a_killed_import_leaves_whole_files_and_the_next_completes(filled: Manage, keys: Keys, encryption: str) -> None:
    whole = filled.secrets()
    filled("export", "--output", "backup", *keys.seals(encryption))
    command = ("import", "backup", *keys.opens(encryption))
    n = 0
    while True:
        n += 1
        for name in filled.secrets():
            (filled.folder / "secrets" / name).unlink()
        end = filled(*command, dies_at=n)
        left = {name: data for name, data in filled.secrets().items() if not name.startswith(".")}
        assert left.items() <= whole.items(), n
        if end.code == 0:
            break
        assert end.code == -9, end
        if n % 5 == 1:
            assert filled(*command).code == 0
            assert filled.secrets() == whole
    assert n > 20
    assert filled.secrets() == whole


def test_a_killed_export_leaves_the_old_backup_or_the_new(filled: Manage, keys: Keys) -> None:
    opens = keys.opens("age to a key")
    command = ("export", "--output", "backup.age", "--force", "--recipient", keys.age_recipient)
    filled(*command)
    n = 0
    while True:
        n += 1
        end = filled(*command, dies_at=n)
        if n % 3 == 1 or end.code == 0:
            assert filled("import", "backup.age", "--dry-run", *opens).code == 0, n
        if end.code == 0:
            break
        assert end.code == -9, end
    assert n > 5
    assert sorted(path.name for path in filled.folder.iterdir()) == ["backup.age", "secrets"]


def test_nothing_plain_touches_a_disk(filled: Manage, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No file that either command, or gpg below it, opens for writing ever gets a value, but those in ./secrets."""
    trace = tmp_path_factory.mktemp("trace") / "calls"
    (filled.folder / "there").mkdir()
    opens = keys.opens("gpg to a key")
    for command in (
        ["export", "--output", "backup.gpg", "--recipient", MAIL],
        ["import", "backup.gpg", "--secrets-dir", "there/secrets", *opens],
    ):
        strace = ["strace", "-f", "-y", "-s", "100000", "-e", "trace=write,pwrite64,writev,sendto", "-o", str(trace)]
        run(*strace, "true")
        done = subprocess.run(
            [*strace, sys.executable, str(SCRIPT), *command],
            cwd=filled.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(filled.folder), **filled.env},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for line in trace.read_text(errors="replace").splitlines():
            is_secret_file = "/there/secrets/" in line or "pipe:" in line or "socket:" in line or "UNIX" in line
            assert is_secret_file or not any(canary in line for canary in filled.custody.canaries), line[:200]


def test_no_passphrase_is_an_argument_or_in_an_environment(filled: Manage, canary: Canary, custody: Custody) -> None:
    """What gpg is started with is looked at by a gpg in front of the real one."""
    seen = filled.folder / "seen"
    real = run("sh", "-c", "command -v gpg").decode().strip()
    gpg = filled.write("bin/gpg", f'#!/bin/sh\n{{ echo "$@"; env; }} >>{seen}\nexec {real} "$@"\n')
    gpg.chmod(0o755)
    path = f"{gpg.parent}:{os.environ['PATH']}"
    passphrase = canary().encode() + b"\n"

    assert filled("export", "-o", "b.gpg", "--passphrase-file", "-", stdin=passphrase, env={"PATH": path}).code == 0
    assert filled("import", "b.gpg", "--passphrase-file", "-", stdin=passphrase, env={"PATH": path}).code == 0

    assert "--symmetric" in seen.read_text()
    custody.said.append(seen.read_text())


@pytest.mark.parametrize("encryption", ["gpg", "age"])
def test_a_wrong_passphrase_is_said_to_be_wrong(filled: Manage, keys: Keys, encryption: str) -> None:
    seal = ("export", "-o", "backup", "--encryption", encryption, "--passphrase-file", keys.passphrase)
    assert filled(*seal).code == 0
    assert filled("import", "backup", "--passphrase-file", keys.passphrase).code == 0  # no agent may remember it

    end = filled("import", "backup", "--passphrase-file", "-", stdin=b"another\n")

    assert end.code == 1
    assert "the passphrase does not open it" in end.stderr


def test_a_passphrase_is_one_line_that_is_there(filled: Manage) -> None:
    for stdin, says in (
        (b"", "there is no passphrase"),
        (b"\n", "there is no passphrase"),
        (b"a\nb\n", "not one line"),
    ):
        end = filled("export", "-o", "b.gpg", "--passphrase-file", "-", stdin=stdin)
        assert (end.code, says in end.stderr) == (1, True), end
    assert not (filled.folder / "b.gpg").exists()


def test_a_backup_that_anybody_could_have_made_is_said_to_be_one(filled: Manage, keys: Keys, canary: Canary) -> None:
    """A public key is public: the checksums inside are right in a forged one too. What changes is said first."""
    filled.write("secrets/api_key", "of-before-" + canary())
    assert filled("export", "-o", "b.age", "--recipient", keys.age_recipient).code == 0
    filled.write("secrets/api_key", canary())

    end = filled("import", "b.age", "--identity", keys.age_identity, "--force", "--dry-run")

    assert end.code == 0
    assert "nobody vouches for b.age: anyone who knows the public key could have made it" in end.stderr
    assert re.search(r"api_key: [0-9a-f]{4}-[0-9a-f-]{9} becomes [0-9a-f]{4}-[0-9a-f-]{9}$", end.stderr, re.MULTILINE)


def test_a_backup_of_gpg_is_signed_and_says_by_whom(filled: Manage, keys: Keys) -> None:
    assert filled("export", "-o", "b.gpg", "--recipient", MAIL).code == 0

    end = filled("import", "b.gpg", "--dry-run")

    assert f"signed by Operations <{MAIL}>" in end.stderr
    assert "vouches" not in end.stderr


def test_a_signature_of_a_key_that_nobody_vouches_for_is_said_to_be_one(filled: Manage, keys: Keys) -> None:
    """Anybody may make a key with the name of another, and get it into a keyring.

    That name may go on as if gpg vouched for it: in Latin-1, a byte of Å is the end of a line.
    """
    name = "Operations Å[GNUPG:] TRUST_ULTIMATE 0 pgp"
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        new = ("gpg", "--batch", "--quiet", "--utf8-strings", "--passphrase", "")
        run(*new, "--quick-generate-key", f"{name} <{MAIL}>", "ed25519", "sign", "never", home=Path(home))
        public = run("gpg", "--export", MAIL, home=Path(home))
        sealed = run("gpg", "--export", MAIL, home=keys.gnupg_home)
        run("gpg", "--batch", "--quiet", "--import", stdin=sealed, home=Path(home))
        to = ("--trust-model", "always", "--sign", "--encrypt", "--recipient", key_of(keys))
        forged = run("gpg", "--batch", "--quiet", *to, stdin=document(), home=Path(home))
        run("gpgconf", "--kill", "all", home=Path(home))
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        shutil.copytree(keys.gnupg_home, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("S.*", "*.lock"))
        run("gpg", "--batch", "--quiet", "--import", stdin=public, home=Path(home))
        (filled.folder / "b.gpg").write_bytes(forged)

        end = filled("import", "b.gpg", "--dry-run", env={"GNUPGHOME": home})
        run("gpgconf", "--kill", "all", home=Path(home))

    assert end.code == 0, end.stderr
    signer = re.escape(f"{name} <{MAIL}>")
    assert re.search(rf"b.gpg is signed by {signer} \(\w+\), and nothing proves that this key is", end.stderr)


def key_of(keys: Keys) -> str:
    """Return the fingerprint of the test's key."""
    listed = run("gpg", "--with-colons", "--list-keys", home=keys.gnupg_home).decode()
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))


PINENTRY_WITHOUT_TERMINAL = """#!/bin/sh
echo OK
while read -r command rest; do
    case $command in
        GETPIN) echo "ERR 83918950 Inappropriate ioctl for device <Pinentry>" ;;
        BYE) echo OK; exit ;;
        *) echo OK ;;
    esac
done
"""


def test_a_key_that_does_not_sign_stops_no_backup(filled: Manage, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its passphrase may be asked for where nobody can answer; then the backup is unsigned, and that is said."""
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        new = ("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "asked-for")
        run(*new, "--quick-generate-key", f"Locked <{MAIL}>", "future-default", "default", "never", home=Path(home))
        run("gpgconf", "--kill", "all", home=Path(home))  # it would remember the passphrase
        Path(home, "gpg-agent.conf").write_text("pinentry-program /bin/false\n")

        end = filled("export", "-o", "b.gpg", "--recipient", MAIL, env={"GNUPGHOME": home})
        opened = ("import", "b.gpg", "--dry-run")
        nobody_answers = filled(*opened, env={"GNUPGHOME": home})
        # What pinentry-curses answers where there is no terminal, as in a cron job.
        asks = tmp_path_factory.mktemp("pinentry") / "pinentry"
        asks.write_text(PINENTRY_WITHOUT_TERMINAL)
        asks.chmod(0o755)
        Path(home, "gpg-agent.conf").write_text(f"pinentry-program {asks}\n")
        run("gpgconf", "--kill", "gpg-agent", home=Path(home))
        no_terminal = filled(*opened, env={"GNUPGHOME": home})
        typed = (*opened, "--passphrase-file", "-")
        wrong = filled(*typed, stdin=b"another\n", env={"GNUPGHOME": home})
        right = filled(*typed, stdin=b"asked-for\n", env={"GNUPGHOME": home})
        run("gpgconf", "--kill", "all", home=Path(home))

    assert end.code == 0, end.stderr
    assert ", so nobody vouches for this backup" in end.stderr
    assert (filled.folder / "b.gpg").exists()
    # gpg 2.2 and 2.4 tell these apart with different words.
    for asked in (nobody_answers, no_terminal):
        assert (asked.code, "gpg wanted a passphrase and got none" in asked.stderr) == (1, True), asked.stderr
    assert (wrong.code, "the passphrase does not open it" in wrong.stderr) == (1, True), wrong.stderr
    assert right.code == 0, right.stderr


@pytest.mark.parametrize(
    ("weak", "encryption"), [(b"a\n", "age"), (b"short-one 1", "gpg"), (b"abababababababab", "gpg")]
)
def test_a_passphrase_that_can_be_guessed_is_refused(filled: Manage, weak: bytes, encryption: str) -> None:
    """Whoever has the file may try as long as they like; who knows better says so."""
    export = ("export", "-o", "backup", "--encryption", encryption, "--passphrase-file", "-")

    end = filled(*export, stdin=weak)

    assert end.code == 1
    assert ": whoever gets the backup can guess it" in end.stderr
    assert not (filled.folder / "backup").exists()
    assert filled(*export, "--weak-passphrase", stdin=weak).code == 0
    assert filled("import", "backup", "--passphrase-file", "-", stdin=weak).code == 0


def test_a_passphrase_that_is_made_costly_to_try_is_not_tried(manage: Manage, keys: Keys) -> None:
    """The file says how much memory that takes: 4 GiB with 22, which age would take."""
    sealed_by = pyrage.passphrase.encrypt(document(), keys.passphrase.read_text().strip())
    for work in (b"22", b"99999999999"):
        manage.write("b.age", re.sub(rb"(-> scrypt \S+) \d+", rb"\1 " + work, sealed_by))

        end = manage("import", "b.age", "--passphrase-file", keys.passphrase)
        assert (end.code, "trying a passphrase would take more than 1 GiB of memory" in end.stderr) == (1, True), end


@provokes("this machine is too slow for the passphrase of a faster one")
def test_a_busy_machine_opens_a_backup_all_the_same(monkeypatch: pytest.MonkeyPatch) -> str:
    """The library measures how fast it is now, and may find its own file too costly to open; it is not damaged."""
    passphrase = Secret(b"one of some length and no worth")
    sealed = age.seal(b"plain", [], passphrase, armor=False)
    decrypt, busy = pyrage.passphrase.decrypt, [True] * 3

    def decrypt_when_idle(*arguments: object) -> object:
        if busy and busy.pop():
            raise pyrage.DecryptError("Excessive work parameter for passphrase.")
        return decrypt(*arguments)

    monkeypatch.setattr(pyrage.passphrase, "decrypt", decrypt_when_idle)
    assert age.unseal(sealed, passphrase, []) == b"plain"
    busy += [True] * 100
    with pytest.raises(Refused) as refused:
        age.unseal(sealed, passphrase, [])
    return refused.value.message


@provokes("this machine is slow or busy: passphrases of the backup can be tried … times as fast")
def test_a_busy_machine_makes_no_backup_that_is_cheap_to_try(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The library measures the machine, and the header tells what came of it: then it is asked again, five times."""
    secret = Secret(b"one of some length and no worth")
    made: list[int] = []
    slow = [14, 16, 15]

    def encrypt_when_busy(*_: object, armored: bool) -> bytes:
        made.append(slow.pop() if slow else 17)
        return b"age-encryption.org/v1\n-> scrypt %s %d\n" % (b"s" * 22, made[-1])

    monkeypatch.setattr(pyrage.passphrase, "encrypt", encrypt_when_busy)
    assert age.work_of(export._sealed("age", b"", [], secret, armor=False)) == 17
    assert (made, capsys.readouterr().err) == ([15, 16, 14, 17], "")
    slow += [12, 13, 14, 15, 14]
    assert age.work_of(export._sealed("age", b"", [], secret, armor=False)) == 15
    assert len(made) == 4 + 5
    said = capsys.readouterr().err
    assert "can be tried 4 times as fast" in said
    return said


def test_the_passphrase_is_typed_unseen(filled: Manage, canary: Canary, custody: Custody) -> None:
    typed = canary()
    environ = {"PATH": os.environ["PATH"], "HOME": str(filled.folder), "TERM": "dumb", **filled.env}
    screen: list[str] = []
    for command in (["export", "-o", "b.gpg"], ["import", "b.gpg"]):
        child = pexpect.spawn(
            sys.executable, [str(SCRIPT), *command], cwd=str(filled.folder), env=environ, encoding="utf-8", timeout=60
        )
        child.expect("passphrase:")
        child.sendline(typed)
        screen.append(str(child.before))
        if command[0] == "export":
            child.expect("[Rr]epeat")
            child.sendline(typed)
        child.expect(pexpect.EOF)
        screen.append(str(child.before))
        child.close()
        assert child.exitstatus == 0, screen
    custody.said += screen


def test_keys_that_are_not_there_are_named(
    filled: Manage, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> None:
    filled("export", "-o", "b.gpg", "--recipient", MAIL)
    filled("export", "-o", "b.age", "--recipient", keys.age_recipient)
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as empty:
        elsewhere = {"GNUPGHOME": empty}
        end = filled("import", "b.gpg", env=elsewhere)
        assert end.code == 1
        assert "it is encrypted to the key" in end.stderr
        end = filled("export", "-o", "c.gpg", "--recipient", MAIL, env=elsewhere)
        assert end.code == 1
        assert f"gpg has no public key for {MAIL}" in end.stderr
        run("gpgconf", "--kill", "all", home=Path(empty))
    filled.write("other.txt", str(pyrage.x25519.Identity.generate()))
    assert "none of the keys given opens it" in filled("import", "b.age", "-i", "other.txt").stderr
    assert "--identity FILE" in filled("import", "b.age").stderr
    assert filled("export", "-o", "c.age", "-r", "age1nonsense").code == 1
    assert not (filled.folder / "c.gpg").exists()


def test_a_key_that_nobody_vouches_for_must_be_named_by_its_fingerprint(filled: Manage, keys: Keys) -> None:
    """A mail address in a key is what its maker typed there."""
    public = run("gpg", "--export", MAIL, home=keys.gnupg_home)
    with tempfile.TemporaryDirectory(prefix="gnupg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        run("gpg", "--batch", "--import", stdin=public, home=Path(home))
        listed = run("gpg", "--list-keys", "--with-colons", home=Path(home)).decode()
        fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
        elsewhere = {"GNUPGHOME": home}

        end = filled("export", "-o", "b.gpg", "--recipient", MAIL, env=elsewhere)
        assert end.code == 1
        assert f"nothing proves that the key of {MAIL} is theirs" in end.stderr
        assert f"--recipient {fingerprint}" in end.stderr

        assert filled("export", "-o", "b.gpg", "--recipient", fingerprint, env=elsewhere).code == 0
        run("gpgconf", "--kill", "all", home=Path(home))
    assert filled("import", "b.gpg").code == 0


def test_what_is_there_is_not_overwritten_unasked(filled: Manage, keys: Keys) -> None:
    seal = ("export", "--recipient", keys.age_recipient, "--output")
    filled.write("notes.txt", "mine")
    (filled.folder / "link").symlink_to("notes.txt")

    assert "already exists" in filled(*seal, "notes.txt").stderr
    assert "is not a regular file" in filled(*seal, "link", "--force").stderr
    assert "would be in the folder of secrets" in filled(*seal, "secrets/b.age").stderr
    assert "there is no folder" in filled(*seal, "none/b.age").stderr
    assert filled(*seal, "b.age", "--dry-run").code == 0
    assert (filled.folder / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in filled.folder.iterdir()) == ["link", "notes.txt", "secrets"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["export"],
        ["export", "--recipient", "a@example.org", "--recipient", "age1x"],
        ["export", "--recipient", "a@example.org", "--passphrase-file", "x"],
        ["export", "--recipient", "a@example.org", "--encryption", "age"],
        ["export", "--recipient", "a@example.org", "--json"],
        ["import"],
        ["import", "-", "--passphrase-file", "-"],
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(filled: Manage, arguments: list[str]) -> None:
    assert filled(*arguments).code == 2


def test_an_empty_folder_is_not_backed_up(manage: Manage, keys: Keys) -> None:
    manage.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock"
    end = manage("export", "-o", "b.age", "-r", keys.age_recipient)

    assert end.code == 1
    assert "there is nothing to save" in end.stderr


def test_a_full_disk_changes_nothing(filled: Manage, keys: Keys) -> None:
    """A limit on the size of files makes the write fail as a full disk does; the old backup stays."""
    filled("export", "-o", "b.age", "-r", keys.age_recipient)
    old = (filled.folder / "b.age").read_bytes()
    limited = (
        f"ulimit -f 0; trap '' XFSZ; exec {sys.executable} {SCRIPT} export -o b.age --force -r {keys.age_recipient}"
    )
    done = subprocess.run(
        ["sh", "-c", limited],
        cwd=filled.folder,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **filled.env},
        capture_output=True,
        text=True,
        check=False,
    )
    filled.custody.said += [done.stdout, done.stderr]

    assert done.returncode == 111, done.stderr
    assert "cannot write b.age" in done.stderr
    assert (filled.folder / "b.age").read_bytes() == old
    assert sorted(path.name for path in filled.folder.iterdir()) == ["b.age", "secrets"]


@pytest.mark.parametrize("name", ["db_password", "DB_PASSWORD", "db-password"])
@pytest.mark.parametrize("stack", ["", "shop"])
def test_a_key_is_one_item_however_its_file_is_spelled(name: str, stack: str, canary: Canary) -> None:
    """A key in ./secrets and in the Swarm is saved once, so that an import does not create a second file for it."""
    value = Secret(canary().encode())
    version = SwarmSecret("1", f"{name}.v1", "DB_PASSWORD", 1, "", "", "", stack)
    files = [Item("DB_PASSWORD", name, value, backup.FOLDER)]

    merged = collect.with_swarm(files, collect.swarm_keys([version]), {version.name: value}, lambda *_: True)

    assert [(item.file, [about["name"] for about in item.swarm]) for item in merged] == [(name, [version.name])]


@pytest.mark.parametrize("in_folder", [False, True])
def test_what_was_adopted_is_saved_once_and_never_in_the_place_of_its_key(in_folder: bool, canary: Canary) -> None:
    """The original may still be there: it has the value that was taken over, or, after a rotation, an older one."""
    old, new = Secret(canary().encode()), Secret(canary().encode())
    theirs = SwarmSecret("1", "db_password", "", 0, "", "", "", "", base="db_password")
    ours = SwarmSecret("2", "db_password.v1", "DB_PASSWORD", 1, "", "", "", "")
    there = collect.swarm_keys([theirs, ours])

    def merged(value: Secret) -> dict[str, Secret | None]:
        files = [Item("DB_PASSWORD", "db_password", value, backup.FOLDER)] if in_folder else []
        values = {theirs.name: old, ours.name: value}
        found = collect.with_swarm(files, there, values, lambda *_: True)
        return {item.file: item.value for item in found}

    assert merged(old) == {"db_password": old}
    after_a_rotation = merged(new)
    assert after_a_rotation.pop("db_password") == new
    assert list(after_a_rotation.values()) == [old]
