"""Where a value could come from: the environment and the secrets roots become `Sources`. Nothing is decided here.

Folders are listed here; files are read only once `resolve` knows which of them wins.
"""

from shim import errors, files
from shim.protected import DOCUMENTS, PATHS, TABLES, is_path_variable
from shim.resolution import GENERATION, Sources
from shim.secret import env_key, fold_keys, is_protected, is_skipped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.profiles import Profile
    from shim.schema import Schema

_HERE = -100  # AT_FDCWD, openat(2)
DEFAULT_ROOTS = (b"/run/secrets", b"./secrets")

# Where Kubernetes and EKS put tokens of their own below /run/secrets: a value of one would soon be out of date.
_RENEWED = (b"kubernetes.io/", b"eks.amazonaws.com/")


def gather(environ: list[bytes], options: "Options", schema: "Schema | None", cwd: bytes = b"") -> Sources:
    """Return the `Sources` of a service's keys.

    Args:
        environ: the raw environment, `KEY=value` each.
        options: --secrets-dir, --require, --file-key, --only decide what counts.
        schema: what the service needs, if it says so.
        cwd: what a relative path of a root starts from; the working directory when empty.
    """
    sources = Sources()
    if schema is not None:
        sources.asked.update(dict.fromkeys(schema.keys))
    for key in options.require:
        sources.asked[key] = None
    is_local = not options.secrets_dir
    sources.follows_roots = not is_local
    roots = [path.encode("utf-8", "surrogateescape") for path in options.secrets_dir] or DEFAULT_ROOTS
    sources.looked_at = [_normal(path) for path in roots]
    allowed = _allowed(options, schema)
    _from_environment(sources, environ, options, allowed, cwd)
    named = {**sources.asked, **dict.fromkeys(options.file_key), **dict.fromkeys(options.only)}
    folded_keys = fold_keys(named)
    for root in sources.looked_at:
        wanted = allowed
        if is_local and root == DEFAULT_ROOTS[1]:
            asked = {*sources.asked, *sources.pointers}
            wanted = asked if allowed is None else asked & allowed
            if not wanted:
                continue
            sources.guarded = root
        _from_root(sources, root, named, folded_keys, wanted, schema)
    for key in sources.cased:
        upper = key.upper()
        if upper not in named and upper not in sources.pointers and sources.roots.get(upper) == sources.pointers[key]:
            del sources.roots[upper]  # the same file: it arrives under the name that its variable spells
    if sources.chosen is not None:
        from shim import profile_effects

        profile_effects.settle(sources.chosen.profile, sources, options)
    return sources


def _profile(sources: Sources, options: "Options") -> "Profile | None":
    from shim import profiles

    try:
        sources.chosen = profiles.choose(options, sources.env)
    except errors.Breach as breach:
        sources.breaches.append(breach)
    return None if sources.chosen is None else sources.chosen.profile


def _allowed(options: "Options", schema: "Schema | None") -> set[str] | None:
    """Return the keys that may leave the roots; None when all may."""
    if options.only:
        return set(options.only)
    if schema is not None and schema.is_exclusive:
        return {*schema.keys, *options.require, *options.file_key}
    return None


def _from_environment(
    sources: Sources,
    environ: list[bytes],
    options: "Options",
    allowed: set[str] | None,
    cwd: bytes,
) -> None:
    env, named = files.variables(environ)
    sources.env = env
    pointers = [variable for variable in named if env[variable]]
    if len(pointers) < len(named):
        sources.hollow = [variable for variable in named if not env[variable] and not is_path_variable(variable)]
    if not options.secrets_dir and env.get("CREDENTIALS_DIRECTORY", b"")[:1] == b"/":
        # What systemd's LoadCredential= gives to this service alone; /run/secrets may be the whole machine's.
        sources.looked_at.insert(0, _normal(env["CREDENTIALS_DIRECTORY"]))
    profile = None
    if options.profile:
        profile = _profile(sources, options)
        if profile is not None:
            from shim import profile_effects

            pointers = profile_effects.pointers(profile, env, pointers)
    ordinary: list[tuple[bytes, bytes] | None] = []
    if allowed is None and profile is None:
        ordinary = files.ordinary_pointers(env, pointers, sources.looked_at, TABLES, PATHS, DOCUMENTS, sources.pointers)
        pointers = pointers[len(pointers) - len(ordinary) :]
    places: dict[bytes, bytes] = {}
    for at, variable in enumerate(pointers):
        if ordinary and (place := ordinary[at]) is not None:
            key = variable[:-5]
            if sources.spelled:
                sources.spelled.pop(key, None)
            sources.pointers[key] = place
            continue
        value = env[variable]
        is_quoted = value.strip(b"\"' \t\r\n") != value and (
            value[:1] in (b'"', b"'", b" ") or value[-1:] in (b" ", b"\t", b"\r", b"\n")
        )
        if is_quoted:
            from shim import pointed

            value = pointed.unquoted(value)
        path, root = _below_root(value, sources.looked_at, cwd)
        if not root and not is_path_variable(variable):
            from shim import links

            places = places or {root: links.real(root) for root in sources.looked_at}
            other, root = links.by_another_name(path, places)
            path = other or path
        key, reason = _key_of(variable, root, sources, options, allowed, profile)
        if not reason and path.startswith(_RENEWED, len(root) + 1) and key not in (*sources.asked, *options.file_key):
            reason = f"the cluster renews that token, so it stays a path; --file-key {key} would take it"
        if reason:
            sources.left_alone.append((variable, reason))
            sources.untaken.append(variable)
            continue
        if is_quoted:
            pointed.warn_of_quotes(variable, sources)
        if variable != key + "_FILE" or (profile is not None and profile.key_of(variable)):
            sources.withheld.append(variable)
            if key in sources.pointers:
                continue
            sources.spelled[key] = variable
        elif sources.spelled:
            sources.spelled.pop(key, None)
        sources.pointers[key] = path, root
        if not key.isupper():
            sources.cased.append(key)


def _key_of(
    variable: str,
    root: bytes,
    sources: Sources,
    options: "Options",
    allowed: set[str] | None,
    profile: "Profile | None",
) -> tuple[str, str]:
    """Return the key whose file *variable* names, and why it is left alone; "" when it is taken.

    The first line that fits decides:

        the profile spells KEY so, and KEY changes what programs load    left alone
        the profile spells KEY so, and --only or @only leaves KEY out    left alone
        the profile spells KEY so                                        the file of KEY, wherever it is
        something asks for KEY, and --only leaves it out                 left alone
        schema, --require or --file-key ask for KEY                      the file of KEY, wherever it is
        the same for KEY__FILE and FILE__KEY                             the file of KEY, where no KEY_FILE is set
        KEY__FILE, FILE__KEY                                             left alone: the image reads it itself
        it leads below no secrets root, links followed                   a path: left alone
        programs read it as a path, or KEY ends as documents do          a path: left alone
        KEY changes what programs load, or names a file itself           left alone
        --only or @only leaves KEY out                                   left alone
        anything else                                                    the file of KEY, if it can be one value:
                                                                         resolve.py reads it, and has the last word
    """
    key = variable[:-5]
    if profile is not None and (own := profile.key_of(variable)):
        if is_protected(own):
            return own, f"{own} changes what programs load"
        is_left_out = allowed is not None and own not in allowed and own not in options.file_key
        return own, f"{own} is not in --only" if is_left_out else ""
    is_spelt_otherwise = key[-1:] == "_" or variable[:6] == "FILE__"
    if is_spelt_otherwise and key not in sources.asked and key not in options.file_key:
        key = key[:-1] if key[-1:] == "_" else variable[6:]
    if key in sources.asked or key in options.file_key:
        is_left_out = allowed is not None and key not in allowed and key not in options.file_key
        return key, f"{key} is not in --only" if is_left_out else ""
    if is_spelt_otherwise:
        return key, "services that spell it __FILE or FILE__ (Grafana, Gitea, linuxserver.io) read it themselves"
    if not root:
        return key, "its path is below no secrets root, and nothing asks for " + key
    if is_path_variable(variable) or (profile is not None and profile.is_path(variable)):
        return key, "programs read it as a path; --file-key " + key + " would take it"
    if is_protected(key):
        return key, f"{key} changes what programs load; only the schema can ask for it"
    if key.endswith("_FILE"):
        return key, f"{key} names a file, and what is in a file is not a path"
    if allowed is not None and key not in allowed:
        return key, f"{key} is not in --only"
    return key, "" if key else "it names no key"


def _from_root(
    sources: Sources,
    root: bytes,
    named: dict[str, None],
    folded_keys: dict[str, str],
    wanted: set[str] | None,
    schema: "Schema | None",
) -> None:
    names = _listed(sources, root, wanted)
    if names is None:
        return
    names.sort()
    found: dict[str, bytes] = {}
    is_sorted = True
    left_alone = sources.left_alone
    pointers = sources.pointers
    if not named and schema is None and wanted is None and not sources.roots:
        names = files.ordinary_names(names, root, pointers, sources.roots, TABLES)
        found = {key: path for key, (path, _) in sources.roots.items()} if names else {}
        is_sorted = not found
    for raw in names:
        name = raw.decode("utf-8", "surrogateescape")
        path = root + b"/" + raw
        if is_skipped(name):
            if name.endswith(".example"):
                sources.examples.setdefault(env_key(name[:-8], named, folded_keys), (path, root))
            elif raw == GENERATION:
                sources.note_generation(root)
            continue
        if schema is not None and name in schema.bundles:
            if sources.bundles is None:
                sources.bundles = {}
            sources.bundles.setdefault(name, (path, root))
            if env_key(name, named, folded_keys) not in named:
                continue
        key = env_key(name, named, folded_keys)
        if key in pointers and pointers[key][0] == path and key not in found and key not in sources.roots:
            found[key] = path  # it is there because a variable points to it
            sources.roots[key] = path, root
        elif reason := _reason_against(key, name, path, sources, named, wanted, schema):
            left_alone.append((path.decode("utf-8", "surrogateescape"), reason))
        elif key not in found and key not in sources.roots:
            found[key] = path
            sources.roots[key] = path, root
        else:
            from shim import twins

            twins.take_second(key, path, root, found, sources)
    if not is_sorted:  # what was not ordinary came last
        sources.roots = dict(sorted(sources.roots.items(), key=_place))


def _reason_against(
    key: str,
    name: str,
    path: bytes,
    sources: Sources,
    named: dict[str, None],
    wanted: set[str] | None,
    schema: "Schema | None",
) -> str:
    """Return why the file *name* of a root is left alone, whatever is in it; "" when it may be the value of *key*."""
    if not key:
        return "its name cannot be a variable's"
    if wanted is not None and key not in wanted:
        return f"nothing asks for {key}"
    if name.endswith(".env") and key not in named:
        from shim import strays

        return strays.warn_of_bundle(path, name, sources)
    if "FILE" in key and (key.endswith("_FILE") or key.startswith("FILE__")):
        return f"{key} names a file, and what is in a file is not a path"
    if (schema is None or key not in schema.keys) and is_protected(key):
        if key in named:
            from shim import strays

            strays.warn_of_protected(key, path, sources)
        return f"{key} changes what programs load; only the schema can ask"
    return ""


def _listed(sources: Sources, root: bytes, wanted: set[str] | None) -> list[bytes] | None:
    """Return the names in *root*, which stays open; None when it has none for us, and why is in *sources*."""
    try:
        sources.folders[root] = folder = _opened(root, sources)
        return files.list_folder(folder)
    except errors.Breach as breach:
        if not sources.is_left_alone(root, breach):
            raise
    except OSError as error:
        if error.errno == 13 and root[:1] == b"." and not is_searchable():
            sources.left_alone.append(
                (root.decode("utf-8", "surrogateescape"), "the working directory is closed to us")
            )
        elif error.errno in (2, 20):  # ENOENT, ENOTDIR
            if sources.follows_roots or error.errno == 20:
                from shim import strays

                strays.warn_of_no_folder(root, sources)
        elif root == sources.guarded:
            sources.left_alone.append(
                (root.decode("utf-8", "surrogateescape"), f"it is closed to us: {error.strerror}")
            )
        else:
            from shim import strays

            sources.unlisted.append((root, error))
            strays.probe(sources, root, wanted)
    return None


def _place(found: tuple[str, tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    return found[1]


def _opened(root: bytes, sources: Sources) -> int:
    """Return a descriptor of *root*; the one that anybody could have made must be ours."""
    if root != sources.guarded:
        return files.open_folder(root, sources.follows_roots)
    files.status_at(_HERE, root)  # usually there is none
    from shim.folder import open_beside_us

    return open_beside_us(root[2:]).opened()


def _normal(path: bytes) -> bytes:
    """Return *path* without `.`, `..`, double and trailing slashes, by its text alone; `.` leads a relative one."""
    if path[:1] == b"/" and b"/." not in path and b"//" not in path and path[-1:] != b"/":
        return path
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b".." and parts and parts[-1] != b"..":
            parts.pop()
        elif part == b".." and path[:1] == b"/":
            continue
        elif part not in (b"", b"."):
            parts.append(part)
    if path[:1] == b"/":
        return b"/" + b"/".join(parts)
    return b"/".join([b".", *parts])


def _working_directory() -> bytes:
    """Return the path of the working directory; b"" when it has been removed."""
    from posix import getcwdb

    try:
        return getcwdb()
    except OSError:
        return b""


def is_searchable() -> bool:
    """Return whether the working directory can be searched; engines enter it as root, for any user."""
    from posix import stat

    try:
        stat(b".")
    except OSError as error:
        return error.errno != 13  # EACCES
    return True


def _below_root(path: bytes, roots: list[bytes], cwd: bytes) -> tuple[bytes, bytes]:
    """Return *path* and the secrets root that it lies below, spelled alike; or *path* as it is and b""."""
    folder, _, name = path.rpartition(b"/")
    if folder in roots and name not in (b"", b".", b".."):
        return path, folder
    normal = _normal(path)
    for root in roots:
        if normal.startswith(root + b"/") and not normal.startswith(root + b"/../"):
            return normal, root
        if normal[:1] != root[:1]:  # one of the two is relative to the working directory
            here = (cwd or _working_directory()) + b"/"
            if here == b"/":
                continue
            whole_path = normal if normal[:1] == b"/" else _normal(here + normal)
            whole_root = root if root[:1] == b"/" else _normal(here + root)
            if whole_path.startswith(whole_root + b"/"):
                return whole_path, whole_root
    return path, b""
