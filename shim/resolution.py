"""What was found, and what became of it: `Sources` and their `Resolution`. Nothing is decided here."""

from posix import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from shim.errors import Breach
    from shim.members import Document
    from shim.profiles import Chosen
    from shim.schema import Schema
    from shim.secret import Secret

FILE = "file"  # the file that KEY_FILE names
ROOT = "root"  # a file in a secrets root
ENVIRONMENT = "environment"
DEFAULT = "default"
COMPOSED = "composed"
GENERATION = b"..data"  # the link in a folder of Kubernetes that leads to its present files
# How references into stores begin, and what stores have encrypted; doubts.py names the stores.
REFERENCES = (
    b"op://",
    b"vault:",
    b"se://",
    b"dso://",
    b"ref+",
    b"ENC[",
    b"encrypted:",
    b"$ANSIBLE_VAULT;",
    b"age-encryption.org/",
    b"-----BEGIN AGE ENCRYPTED FILE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"arn:aws:secretsmanager:",
    b"arn:aws:ssm:",
    b"awssm://",
    b"gcp-secret://",
    b"sm://",
    b"berglas://",
    b"@Microsoft.KeyVault(",
    b"akv://",
    b"bws://",
    b"keeper://",
    b"infisical://",
    b"doppler://",
    b"akeyless:",
    b"secretref:",
)


class Sources:
    """What could give each key a value, and what was left alone and why."""

    chosen: "Chosen | None" = None  # the profile in force
    is_one_off = False  # the command is not the server of the image that the profile knows
    bundles: "dict[str, tuple[bytes, bytes]] | None" = None  # name of a file with many values -> its path, its root
    strays = 0  # how many files that nobody asked for have been warned of
    waived: "Collection[str]" = ()  # keys that are not missed, whoever requires them
    generations: "dict[bytes, bytes] | None" = None  # roots of Kubernetes, and where `..data` led when it was listed

    def __init__(self) -> None:
        self.env: dict[str, bytes] = {}  # the first of duplicates, as getenv(3) takes
        self.pointers: dict[str, tuple[bytes, bytes]] = {}  # key -> path of KEY_FILE, and its root or b""
        self.roots: dict[str, tuple[bytes, bytes]] = {}  # key -> path in a secrets root, and that root
        self.left_alone: list[tuple[str, str]] = []  # variable or path, and the reason
        self.examples: dict[str, tuple[bytes, bytes]] = {}  # key -> path of its *.example file in a root, and that root
        self.looked_at: list[bytes] = []  # the roots
        self.guarded = b""  # the root that anybody could have made, of which only what is ours is taken
        self.folders: dict[bytes, int] = {}  # the descriptors of the roots that are open
        self.follows_roots = True  # somebody named them
        self.breaches: list[Breach] = []
        self.warnings: list[tuple[str, str]] = []  # what is likely to surprise, and what to do
        self.unlisted: list[tuple[bytes, OSError]] = []  # roots whose names we cannot see
        self.shadowed: list[tuple[str, bytes, bytes]] = []  # key, path, root: behind another root's file
        self.cased: list[str] = []  # keys of pointers that are not all upper case
        self.hollow: list[str] = []  # variables that would be pointers, and are empty
        self.untaken: list[str] = []  # variables that look like pointers, and stay
        self.asked: dict[str, None] = {}  # keys that the schema or an option names, in that order
        self.spelled: dict[str, str] = {}  # key -> the variable that points to its file, where that is not KEY_FILE
        self._has_warned_of_others = False
        self.withheld: list[str] = []  # variables that the image in front of us could not start with

    def close(self) -> None:
        """Let go of the roots, once everything is read."""
        for descriptor in self.folders.values():
            close(descriptor)
        self.folders = {}

    def note_generation(self, root: bytes) -> None:
        """Note where the link leads through which Kubernetes replaces all files of *root* at once."""
        self.generations = {**(self.generations or {}), root: self._generation(root)}

    def has_moved(self) -> bool:
        """Return whether a root has been replaced since, so that some values may be of before and some of after."""
        return any(self._generation(root) != before for root, before in (self.generations or {}).items())

    def _generation(self, root: bytes) -> bytes:
        from shim import files

        try:
            return files.read_link_at(self.folders[root], GENERATION)
        except OSError:
            return b""  # a folder of that name is nobody's link

    def is_left_alone(self, path: bytes, breach: "Breach") -> bool:
        """Return whether *breach* says that another could have put there what lies at *path*; take note of that.

        One such thing is warned of, and the others are like it.
        """
        from shim.breaches import NotOurs

        if not isinstance(breach, NotOurs):
            return False
        from shim.shown import shown_path

        self.left_alone.append((path.decode("utf-8", "surrogateescape"), f"it {breach.message}"))
        if not self._has_warned_of_others:
            self._has_warned_of_others = True
            self.warnings.append(
                (
                    f"{shown_path(path)} is left alone: it {breach.message}",
                    "let only root own and write it (chown, chmod go-w), or name the folder: --secrets-dir ./secrets",
                )
            )
        return True

    def pointer_of(self, key: str) -> str:
        """Return the name of the variable that points to the file of *key*."""
        return self.spelled.get(key) or key + "_FILE"

    def variable_of(self, key: str) -> str:
        """Return the name under which the service looks for the path of a file that holds *key*."""
        return key + "_FILE" if self.chosen is None else self.chosen.profile.variable_of(key)


class Resolved:
    """One key with its value, and where that came from."""

    deliver = "env"  # of those that are made in C, too (images/shim/ordinary.c)

    def __init__(self, key: str, secret: "Secret", origin: str, path: bytes = b"", deliver: str = "env") -> None:
        self.key = key
        self.secret = secret
        self.origin = origin
        self.path = path
        self.deliver = deliver

    def content(self) -> bytes:
        """Return what the service is handed: the value, or where it gets a file that one, byte for byte."""
        return self.secret.reveal_file() if self.deliver in ("file", "memfd") else self.secret.reveal()


class Resolution:
    """The outcome: the secrets by key, in the schema's order, and everything that is wrong."""

    def __init__(self, sources: Sources, schema: "Schema | None") -> None:
        self.sources = sources
        self.schema = schema
        self.secrets: dict[str, Resolved] = {}
        self.empty: dict[str, bytes] = {}  # key -> path of a file of it that holds nothing
        self.breaches: list[Breach] = []
        self.tried: set[str] = set()  # keys whose composing was tried
        self.composed_bytes = 0
        self.documents: dict[bytes, Document | None] = {}  # what members were picked from: a file's path, or a key

    def has(self, key: str) -> bool:
        """Return whether *key* has a value that is not empty, for a template."""
        resolved = self.secrets.get(key)
        return bool(self.sources.env.get(key) if resolved is None else resolved.secret)

    def value_of(self, key: str) -> bytes:
        """Return the value of *key* for a template: a resolved secret, else a variable of the environment.

        Raises:
            KeyError: nothing gives it a value.
        """
        resolved = self.secrets.get(key)
        return self.sources.env[key] if resolved is None else resolved.secret.reveal()
