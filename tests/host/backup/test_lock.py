"""`lock` and `unlock`: the values in git, encrypted with age, for two people and their clones."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.forms import Custody, cannot_run
from tests.support.host import Canary, Manage
from tests.support.provoked import provokes


def identity(path: Path, kind: str = "age") -> str:
    """Make a secret key at *path*; return its public key."""
    if kind == "age":
        if shutil.which("age-keygen") is None:
            cannot_run("age is not installed")
        subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
        return subprocess.run(["age-keygen", "-y", path], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "bob@laptop", "-f", path], check=True)
    return path.with_name(path.name + ".pub").read_text().strip()


class Clone(Manage):
    """One person's clone of the repository; what is encrypted is what they share."""

    def files(self) -> dict[str, bytes]:
        """Return what git has of the encrypted files."""
        return {path.name: path.read_bytes() for path in (self.folder / "secrets.age").iterdir()}

    def values(self) -> dict[str, bytes]:
        """Return the values, without what is noted of them."""
        return {name: value for name, value in self.secrets().items() if name != ".locked"}

    def pull(self, other: "Clone") -> None:
        """Take over the encrypted files of *other*."""
        shutil.rmtree(self.folder / "secrets.age", ignore_errors=True)
        shutil.copytree(other.folder / "secrets.age", self.folder / "secrets.age")

    def set(self, key: str, value: str) -> None:
        """Give *key* a value."""
        self.write("typed", value)
        assert self("set", key, "--value-file", "typed", "--yes").code == 0

    def findings(self) -> str:
        """Return what `validate` says about the encrypted files."""
        return "\n".join(line for line in self("validate").stdout.splitlines() if "locked:" in line)


class Team:
    """Ann has a key of age, Bob one of SSH."""

    def __init__(self, folder: Path, custody: Custody) -> None:
        self.ann, self.bob = Clone(folder / "ann", custody), Clone(folder / "bob", custody)
        for clone in (self.ann, self.bob):
            (clone.folder / ".ssh").mkdir(parents=True)  # the folder is its HOME, too
        self.ann_public = identity(self.ann.folder / "ann.key")
        self.bob_public = identity(self.bob.folder / ".ssh/id_ed25519", "ed25519")
        self.ann.env["SHIM_AGE_IDENTITY"] = "ann.key"


@pytest.fixture
def team(tmp_path: Path, custody: Custody) -> Team:
    """Return two clones that hold nothing yet."""
    return Team(tmp_path, custody)


def test_one_file_a_secret_and_only_what_changed_is_written_again(team: Team, canary: Canary) -> None:
    ann, bob = team.ann, team.bob
    password = canary()
    ann.set("DB_PASSWORD", password)
    ann.set("TLS_KEY", f"{canary()}\nsecond line\n")
    ann.write("bob.pub", team.bob_public)

    made = ann.json("lock", "--recipient", team.ann_public, "--name", "ann", "--recipients-file", "bob.pub")

    assert made["recipients"] == ["ann", "bob@laptop"]
    first = ann.files()
    assert set(first) == {"db_password.age", "tls_key.age", "recipients", ".gitattributes"}
    assert password.encode() not in b"".join(first.values())
    assert [item["state"] for item in ann.json("lock")["secrets"]] == ["unchanged", "unchanged"]
    assert ann.files() == first
    ann.set("TLS_KEY", canary())
    ann("lock")
    assert {name for name, data in ann.files().items() if data != first[name]} == {"tls_key.age"}

    bob.pull(ann)
    assert bob("unlock").code == 0
    assert bob.values() == ann.values()
    assert (bob.folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert (bob.folder / "secrets/db_password").stat().st_mode & 0o777 == 0o600
    assert {"/secrets/*", ".env"} <= set((bob.folder / ".gitignore").read_text().splitlines())
    assert [item["state"] for item in bob.json("lock")["secrets"]] == ["unchanged", "unchanged"]
    assert bob.files() == ann.files()
    # Anybody's age opens them.
    opened = subprocess.run(
        ["age", "-d", "-i", ann.folder / "ann.key", ann.folder / "secrets.age/db_password.age"],
        check=True,
        capture_output=True,
    )
    assert opened.stdout.decode() == password


@provokes(
    "is older than the value in the folder of secrets",
    "is missing, although other values are encrypted",
    "is newer than the value in the folder of secrets",
    "has no value in the folder of secrets",
    "changed, and so did the value in the folder of secrets",
    "is still there, although its value was removed",
    "was removed, although its value is still here",
    "may hold a different value from the folder of secrets",
    "still encrypted in git: …",
)
def test_which_side_is_newer_is_known(team: Team, canary: Canary) -> str:
    ann, bob = team.ann, team.bob
    for key in ("HERE", "THERE", "BOTH", "GONE", "LOST"):
        ann.set(key, canary())
    ann("lock", "-r", team.ann_public, "-r", team.bob_public)
    bob.pull(ann)
    bob("unlock")
    assert bob.findings() == ""

    for key in ("THERE", "BOTH", "LATER"):
        ann.set(key, canary())
    ann("lock")
    (ann.folder / "secrets.age/gone.age").unlink()
    bob.pull(ann)
    for key in ("HERE", "BOTH", "FRESH"):
        bob.set(key, canary())
    (bob.folder / "secrets/lost").unlink()
    found = bob.findings()
    for words in (
        "HERE: secrets.age/here.age: is older than the value",
        "THERE: secrets.age/there.age: is newer than the value",
        "BOTH: secrets.age/both.age: changed, and so did the value",
        "GONE: secrets.age/gone.age: was removed, although its value is still here",
        "FRESH: secrets.age/fresh.age: is missing, although",
        "LATER: secrets.age/later.age: has no value",
        "LOST: secrets.age/lost.age: is still there, although",
    ):
        assert words in found, found

    before = (bob.files(), bob.values())
    refused = bob("lock")
    assert refused.code == 1
    for name in ("both.age changed", "there.age changed", "gone.age was removed"):
        assert f"secrets.age/{name} since you last locked or unlocked" in refused.stderr
    assert (bob.files(), bob.values()) == before
    unlocked = bob.json("unlock")
    states = {item["key"]: item["state"] for item in unlocked["secrets"]}
    assert states == {"THERE": "replaced", "BOTH": "kept", "HERE": "kept", "LATER": "created", "LOST": "created"}
    assert bob("unlock", "BOTH", "--force").code == 0
    assert bob("remove", "GONE", "--yes").code == 0
    removed = bob("remove", "LOST", "--yes").stderr
    assert "hint: git rm secrets.age/lost.age" in removed
    assert bob("unlock", "LOST").code == 0
    assert bob("lock").code == 0
    assert bob.findings() == ""
    ann.pull(bob)
    ann("unlock")
    assert {**ann.values(), "gone": b""} == {**bob.values(), "gone": b""}
    (bob.folder / "secrets/.locked").unlink()
    return found + removed + bob.findings()


@provokes("… could read every value until now, and still can in the history of git")
def test_somebody_comes_and_somebody_leaves(team: Team, canary: Canary) -> str:
    ann, bob = team.ann, team.bob
    for key in ("DB_PASSWORD", "API_KEY"):
        ann.set(key, canary())
    ann("lock", "-r", team.ann_public, "--name", "ann")
    bob.pull(ann)
    assert bob("unlock").code == 1

    assert ann("lock", "-r", team.bob_public).code == 0
    bob.pull(ann)
    assert bob("unlock").code == 0
    left = bob("lock", "--drop", "ann")
    assert left.code == 0
    assert "ann could read every value until now" in left.stderr
    assert "manage-secrets rotate API_KEY DB_PASSWORD" in left.stderr
    assert bob.findings() == ""

    shutil.rmtree(ann.folder / "secrets")
    ann.pull(bob)
    assert "none of the keys given opens it" in ann("unlock").stderr
    assert not (ann.folder / "secrets").exists()
    return left.stderr


@provokes("is not encrypted to exactly the keys in the file of recipients", "new in … since you last locked: …")
def test_a_line_that_somebody_pushed_gives_nobody_a_value_unasked(team: Team, canary: Canary, tmp_path: Path) -> str:
    """Whoever can push could add himself; the next run of somebody else would encrypt everything to him."""
    ann = team.ann
    ann.set("DB_PASSWORD", canary())
    ann("lock", "-r", team.ann_public)
    recipients = ann.folder / "secrets.age/recipients"
    stranger = identity(tmp_path / "mallory")
    recipients.write_text(recipients.read_text() + f"# one comment in a diff\u2028{stranger}\x0c{stranger}\n")
    assert ann("lock").code == 0
    assert ann.findings() == ""
    recipients.write_text(recipients.read_text() + f"# mallory\n{stranger}\n")
    before = ann.files()
    assert ann("unlock").code == 0

    ann_dry, refused = ann("lock", "--dry-run"), ann("lock")

    assert (ann_dry.code, refused.code) == (0, 1)
    assert "encrypt to mallory, who could not open these files" in refused.stderr
    assert ann.files() == before
    found = ann.findings()
    agreed = ann("lock", "--yes")
    assert agreed.code == 0
    assert ann.findings() == ""
    # Who agrees beforehand is shown to whom, with as much of the key as tells it from others.
    for end in (refused, ann_dry, agreed):
        assert f"new in secrets.age/recipients since you last locked: mallory (…{stranger[-12:]})" in end.stderr
    return found + agreed.stderr


def test_an_unlocked_value_needs_no_disk(team: Team, canary: Canary, tmp_path: Path) -> None:
    ann = team.ann
    value = canary()
    ann.set("DB_PASSWORD", value)
    ann("lock", "-r", team.ann_public)
    shutil.rmtree(ann.folder / "secrets")
    memory = Path("/dev/shm") / tmp_path.name
    try:
        end = ann("unlock", "--secrets-dir", memory, "--locked-dir", "secrets.age")
        assert (end.code, (memory / "db_password").read_text()) == (0, value)
        assert memory.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(memory, ignore_errors=True)
    assert not (ann.folder / "secrets").exists()


def test_the_encrypted_files_are_written_and_read_through_no_link(team: Team, canary: Canary) -> None:
    """Whoever may push could have made the folder a link to somewhere else."""
    ann = team.ann
    ann.set("DB_PASSWORD", canary())
    elsewhere = ann.folder / "elsewhere"
    elsewhere.mkdir()
    (ann.folder / "secrets.age").symlink_to("elsewhere")

    end = ann("lock", "-r", team.ann_public, "--yes")
    assert (end.code, "secrets.age is a link or a file, and" in end.stderr) == (1, True), end
    assert "another with --locked-dir" in end.stderr
    assert list(elsewhere.iterdir()) == []
    (ann.folder / "secrets.age").unlink()
    ann.write("own", f"password = {canary()}\n")
    (ann.folder / "secrets.age").mkdir()
    (ann.folder / "secrets.age/recipients").symlink_to("../own")
    end = ann("lock", "--yes")  # whose words would be shown as those of a recipient
    assert (end.code, "recipients is a link, and links are not followed here" in end.stderr) == (1, True), end
    assert "password" not in end.stderr


def test_root_asks_before_it_encrypts_into_the_folder_of_somebody_else(
    team: Team, canary: Canary, as_root: None
) -> None:
    ann = team.ann
    ann.set("DB_PASSWORD", canary())
    folder = ann.folder / "secrets.age"
    folder.mkdir(0o755)
    os.chown(folder, 12345, 54321)

    end = ann("lock", "-r", team.ann_public)
    assert (end.code, "secrets.age belongs to uid 12345: write there as root" in end.stderr) == (1, True), end
    assert list(folder.iterdir()) == []
    assert ann("lock", "-r", team.ann_public, "--yes").code == 0
    assert {path.stat().st_uid for path in (folder, *folder.iterdir())} == {12345}
    assert (stat.S_IMODE(folder.stat().st_mode), len(ann.files())) == (0o755, 3)


@provokes(
    "there are no secrets in …",
    "the files would have no recipient",
    "… is not a recipient",
    "there is nothing for …",
    "there is no key to open the files with",
    "there are no encrypted files in …",
    "no key has this name: …",
    "without a value here: …",
    "--name needs exactly one --recipient",
    "a change of recipients affects every secret: do not name any keys",
)
def test_what_cannot_be_is_said(team: Team, canary: Canary) -> str:
    ann, bob = team.ann, team.bob
    said = ann("lock").stderr + ann("unlock").stderr
    ann.set("DB_PASSWORD", canary())
    said += ann("lock").stderr
    ann.set("API_KEY", canary())
    said += ann("lock", "-r", team.ann_public, "API_KEY").stderr
    said += ann("lock", "--name", "x").stderr
    ann("lock", "-r", team.ann_public)
    said += ann("lock", "--drop", "carol").stderr
    said += ann("lock", "NO_SUCH_KEY").stderr
    bob.pull(ann)
    (bob.folder / ".ssh/id_ed25519").unlink()
    said += bob("unlock").stderr
    (ann.folder / "secrets/api_key").unlink()
    said += ann("lock").stderr
    whole = (ann.folder / "secrets.age/api_key.age").read_bytes()
    ann.write("secrets.age/api_key.age", whole[:-80])
    damaged = ann("unlock")
    assert "secrets.age/api_key.age: " in damaged.stderr
    assert not (ann.folder / "secrets/api_key").exists()
    ann.write("secrets.age/api_key.age", whole)
    ann.write("secrets.age/1 !.age", "x")
    return said + damaged.stderr + ann("unlock").stderr


@provokes(
    "a secret key was given as a recipient; it is not shown here",
    "--identity was given a secret key itself; it is not shown here",
)
def test_a_secret_key_in_the_place_of_a_public_one_is_not_repeated(team: Team, canary: Canary, custody: Custody) -> str:
    ann = team.ann
    ann.set("DB_PASSWORD", canary())
    of_age = (ann.folder / "ann.key").read_text().splitlines()[-1]
    identity(ann.folder / "ssh.key", "ed25519")
    of_ssh = (ann.folder / "ssh.key").read_text()
    custody.canaries += [of_age.removeprefix("AGE-SECRET-KEY-1"), of_ssh.splitlines()[3]]
    ann.write("keys", f"{team.bob_public}\n{of_age}\n")

    lines = (
        ("lock", "-r", of_age),
        ("lock", "-R", "keys"),
        ("lock", "--drop", of_age),
        ("export", "-o", "b.age", "-r", of_ssh),
        ("import", "b.age", "-i", of_age),
        ("lock", "-i", of_ssh),
    )
    ends = [ann(*line) for line in lines]

    assert [end.code for end in ends] == [1] * len(ends), ends
    return "".join(end.stderr for end in ends)
