"""What can be asked for: the one list of options, and the `Options` that hold what was. read_options.py fills them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from shim.staying import Staying

FLAG = "flag"  # on or off
VALUE = "value"  # one value
LIST = "list"  # values between commas; the flag may be repeated
PATHS = "paths"  # values between colons; the flag may be repeated
LINES = "lines"  # values between line ends; the flag may be repeated

# The one list of options: name -> kind. Help, completion and the variables follow it.
KINDS = {
    "allow-disk": FLAG,
    "clear-env": FLAG,
    "exit-as": LIST,
    "file-key": LIST,
    "fingerprint-key-stdin": FLAG,
    "grace": VALUE,
    "group": FLAG,
    "init": FLAG,
    "json": FLAG,
    "keep-caps": LIST,
    "keep-file-vars": FLAG,
    "log": VALUE,
    "mask": FLAG,
    "no-core": FLAG,
    "no-new-privs": FLAG,
    "on-change": VALUE,
    "only": LIST,
    "parent-death": VALUE,
    "pre": LINES,
    "pre-root": LINES,
    "prefer": VALUE,
    "profile": VALUE,
    "ready-fd": VALUE,
    "render": LINES,
    "require": LIST,
    "salt": VALUE,
    "schema": VALUE,
    "secrets-dir": PATHS,
    "service": VALUE,
    "signal": LIST,
    "subreaper": FLAG,
    "user": VALUE,
    "verbose": FLAG,
    "wait": VALUE,
    "wait-all": FLAG,
}
# What only `--init` can do; asking for one of these is asking to stay.
STAYING = (
    "exit-as",
    "grace",
    "group",
    "mask",
    "on-change",
    "parent-death",
    "ready-fd",
    "signal",
    "subreaper",
    "wait-all",
)


NO_SCHEMA = "none"  # --schema none: this start needs nothing


class Options:
    """What the user asked for. Names are the flags' own; a list is empty and a value is "" when not given."""

    # No __slots__: their descriptors would take longer to make, at every start, than all that is done with them.
    action = "start"  # or "exec", "check", "explain", "install", "ps", "help", "version"
    argv: list[bytes]  # the service's argv, or the subcommand's own arguments
    staying: "Staying | None" = None  # how to stay; None unless an option says more than --init
    allow_disk = False
    clear_env = False
    exit_as: "Sequence[str]" = ()
    file_key: "Sequence[str]" = ()
    fingerprint_key_stdin = False
    grace = ""
    group = False
    init = False
    json = False
    keep_caps: "Sequence[str]" = ()
    keep_file_vars = False
    log = ""
    mask = False
    no_core = False
    no_new_privs = False
    on_change = ""
    only: "Sequence[str]" = ()
    parent_death = ""
    pre: "Sequence[str]" = ()
    pre_root: "Sequence[str]" = ()
    prefer = ""
    profile = ""
    ready_fd = ""
    render: "Sequence[str]" = ()
    require: "Sequence[str]" = ()
    salt = ""
    schema = ""
    secrets_dir: "Sequence[str]" = ()
    service = ""
    signal: "Sequence[str]" = ()
    subreaper = False
    unknown: "Sequence[str]" = ()  # SHIM_* variables that are not options
    unquoted: "Sequence[str]" = ()  # SHIM_* variables whose values were in quotes
    user = ""
    verbose = False
    wait = ""
    wait_all = False
    wait_seconds: float = 0  # what --wait says; no 0.0: CPython would make its type ready for that
