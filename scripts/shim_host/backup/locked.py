"""`secrets.age`: one age file per secret, and for whom they are, in git. Which side is newer is known from a note.

The note lies beside the values, in `./secrets/.locked`, and says what was the same on both sides when they last met.
"""

import base64
import binascii
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from shim.secret import MAX_SECRET_BYTES, Secret, is_skipped
from shim_host.errors import Refused, failed_file
from shim_host.inputs import MOST_BYTES, read_bounded
from shim_host.store.vault import Vault, Writer

ENDING = ".age"
RECIPIENTS = "recipients"
NOTE = ".locked"
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_MOST_BYTES = 2 * MAX_SECRET_BYTES  # base64, and a header with some recipients
_ATTRIBUTES = b"*.age -text\n"  # no line end of theirs is ever changed by git

# How the two sides of a secret compare.
SAME, HERE, THERE, BOTH = "same", "changed here", "changed there", "changed on both sides"
ONLY_HERE, ONLY_THERE, GONE_HERE, GONE_THERE = "only here", "only there", "removed here", "removed there"
UNKNOWN = "unknown"


class Recipient(NamedTuple):
    """A public key, and who owns it."""

    text: str
    name: str = ""

    @property
    def shown(self) -> str:
        """Return what a message calls it."""
        return self.name or self.text[:24] + ("…" if len(self.text) > 24 else "")

    @property
    def tail(self) -> str:
        """Return the end of the key, which tells it from others: many SSH keys begin alike."""
        return self.identity[-12:]

    @property
    def identity(self) -> str:
        """Return the key without a comment."""
        return " ".join(self.text.split()[:2])


def read_recipients(text: str) -> list[Recipient]:
    """Return the recipients in *text*: one on a line; the comment above one, or behind an SSH key, says who owns it.

    Only what git and its readers take for a line is one: behind U+2028 or a form feed, a comment goes on.
    """
    found: list[Recipient] = []
    name = ""
    for line in map(str.strip, text.split("\n")):
        if line.startswith("#"):
            name = line.lstrip("# ")
        elif line:
            behind = line.split(None, 2)[2] if line.startswith("ssh-") and len(line.split(None, 2)) > 2 else ""
            found.append(Recipient(line, name or behind))
            name = ""
    return list({one.identity: one for one in found}.values())


class Locked(NamedTuple):
    """The folder of the encrypted files."""

    path: Path

    def shown(self, name: str) -> str:
        """Return the path of the encrypted file of *name* for a message."""
        return str(self.path / (name + ENDING))

    def names(self) -> list[str]:
        """Return the names of the secrets that are there."""
        try:
            found = sorted(name.removesuffix(ENDING) for name in os.listdir(self.path) if name.endswith(ENDING))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise failed_file("list", str(self.path), error) from None
        return [name for name in found if not is_skipped(name)]

    def read(self, name: str) -> bytes:
        """Return the encrypted file of *name*, as git has it.

        Raises:
            Refused: it is a link.
            Failed: it cannot be read.
        """
        path = Path(self.shown(name))
        try:
            return _read_no_link(path, _MOST_BYTES).replace(b"\r\n", b"\n")
        except OSError as error:
            raise failed_file("read", str(path), error) from None

    def sealed(self) -> dict[str, bytes]:
        """Return every encrypted file by its secret's name."""
        return {name: self.read(name) for name in self.names()}

    def recipients(self) -> list[Recipient]:
        """Return for whom the files are; none where nobody said so yet.

        Raises:
            Refused: it is a link: what is not a key is shown, too, and somebody could let it lead to a file of ours.
            Failed: it cannot be read.
        """
        path = self.path / RECIPIENTS
        try:
            return read_recipients(_read_no_link(path).decode("utf-8", "replace"))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise failed_file("read", str(path), error) from None

    def write(self, sealed: Mapping[str, bytes], recipients: Iterable[Recipient] | None) -> None:
        """Write encrypted files, and for whom they are if that changed.

        The folder comes from git as a rule: whoever may push to it could have made it a link to somewhere else.

        Raises:
            Refused: the folder is a link or something else, or nobody agrees that root writes into another's.
            Failed: the file system does not take it.
        """
        with Vault(self.path, is_public=True).writing() as writer:
            if not (self.path / ".gitattributes").exists():
                writer.write(".gitattributes", _ATTRIBUTES)
            if recipients is not None:
                lines = [f"# {one.name}\n{one.text}\n" if one.name else f"{one.text}\n" for one in recipients]
                writer.write(RECIPIENTS, "".join(lines).encode())
            for name, data in sealed.items():
                writer.write(name + ENDING, data)


def _read_no_link(path: Path, most: int = MOST_BYTES) -> bytes:
    if path.is_symlink():
        raise Refused(f"{path} is a link, and links are not followed here", "replace it with the file itself")
    return read_bounded(path, most)


class Met(NamedTuple):
    """What was the same on both sides: the value, the encrypted file, and for whom that was."""

    value: str
    sealed: str
    recipients: str


class Note:
    """What is noted of each secret, and whom it was locked for."""

    def __init__(self, salt: bytes, met: dict[str, Met], recipients: list[str]) -> None:
        self._salt = salt
        self.met = met
        self.recipients = recipients

    @classmethod
    def of(cls, store: Vault) -> "Note":
        """Return the note in *store*; an empty one where there is none, or none that can be read."""
        try:
            document = json.loads(read_bounded(store.path / NOTE))
            met = {name: Met(*map(str, what)) for name, what in document["secrets"].items()}
            return cls(bytes.fromhex(document["salt"]), met, [str(one) for one in document["recipients"]])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(secrets.token_bytes(16), {}, [])  # as on a machine that never met the other side

    def write(self, writer: Writer) -> None:
        """Write it beside the values."""
        document = {"salt": self._salt.hex(), "recipients": self.recipients, "secrets": self.met}
        writer.write(NOTE, json.dumps(document, indent=1).encode())

    def meet(self, name: str, value: Secret, sealed: bytes, recipients: list[Recipient]) -> None:
        """Note that *value* is what *sealed* holds, and that it is for *recipients* if that can be."""
        whom = of_recipients(recipients) if fits(sealed, recipients) else ""
        self.met[name] = Met(self._of_value(value), _digest(sealed), whom)

    def standing(self, name: str, value: Secret | None, sealed: bytes | None) -> str:
        """Return how the two sides of *name* compare."""
        met = self.met.get(name)
        if sealed is None:
            return ONLY_HERE if met is None else GONE_THERE
        if value is None:
            return ONLY_THERE if met is None else GONE_HERE
        if met is None:
            return UNKNOWN
        is_changed_here = self._of_value(value) != met.value
        is_changed_there = _digest(sealed) != met.sealed
        if is_changed_here and is_changed_there:
            return BOTH
        return HERE if is_changed_here else THERE if is_changed_there else SAME

    def is_for(self, name: str, sealed: bytes, recipients: list[Recipient]) -> bool:
        """Return whether *sealed* is encrypted to *recipients*, as far as that can be seen from outside."""
        met = self.met.get(name)
        if met is not None and met.sealed == _digest(sealed):
            return met.recipients == of_recipients(recipients)
        return fits(sealed, recipients)

    def _of_value(self, value: Secret) -> str:
        return hashlib.blake2b(value.reveal(), key=self._salt, digest_size=16).hexdigest()


def of_recipients(recipients: Iterable[Recipient]) -> str:
    """Return a digest of the set of *recipients*."""
    return _digest("\n".join(sorted(one.identity for one in recipients)).encode())


def fits(sealed: bytes, recipients: list[Recipient]) -> bool:
    """Return whether the header of *sealed* may be for *recipients*: as many, and each key of SSH by its tag.

    A recipient of age leaves no trace in it that only its public key would tell.
    """
    kinds, tags = _stanzas(sealed)
    return len(kinds) == len(recipients) and tags == sorted(_tag(one) for one in recipients if _tag(one))


def _stanzas(sealed: bytes) -> tuple[list[str], list[str]]:
    data = sealed
    if data.startswith(_ARMOR):
        try:
            data = base64.b64decode(b"".join(data.split(b"\n")[1:]).partition(b"-----END")[0], validate=True)
        except binascii.Error:
            return [], []
    header = data.partition(b"\n--- ")[0].decode("ascii", "replace")
    found = [line.split()[1:] for line in header.splitlines() if line.startswith("-> ")]
    found = [words for words in found if words and not words[0].endswith("-grease")]
    return [words[0] for words in found], sorted(words[1] for words in found if words[0].startswith("ssh-"))


def _tag(recipient: Recipient) -> str:
    """Return how age marks a key of SSH: the first bytes of its hash."""
    words = recipient.text.split()
    if len(words) < 2 or not words[0].startswith("ssh-"):
        return ""
    try:
        digest = hashlib.sha256(base64.b64decode(words[1])).digest()
    except binascii.Error:
        return ""
    return base64.b64encode(digest[:4]).decode().rstrip("=")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def beside(store: Vault) -> Locked:
    """Return the folder of encrypted files that belongs to *store*: `./secrets.age` to `./secrets`."""
    return Locked(store.path.with_name(store.path.name + ENDING))
