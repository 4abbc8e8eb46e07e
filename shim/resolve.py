"""Which source wins for each key. Conflicts are refused here; every breach is collected, none is raised.

First the file that KEY_FILE names, then a file in a secrets root, then the environment, then the schema's composed or
default value. Only the winner's file is read.
"""

from shim import errors, files, kernel
from shim.resolution import DEFAULT, ENVIRONMENT, FILE, REFERENCES, ROOT, Resolution, Resolved, Sources
from shim.secret import MAX_ENV_BYTES, MAX_SECRET_BYTES, Secret, clean, read_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shim.options import Options
    from shim.schema import KeySpec, Schema

# How a value begins or ends that is probably something else.
_DOUBTFUL_FIRST = b"\"'/. \t\r\n"
_DOUBTFUL_STARTS = (*REFERENCES, b"file:/", b"$(")
_FIRST_OF_THEM = b"E@-$"  # of those without a colon
_DOUBTFUL_LAST = b" \t\r\n"
_MANY_BYTES = 100_000  # fewer than the kernel takes of one command, whatever its limits are
_MAX_READ_BYTES = 16_777_216  # of all files together


def resolve(sources: Sources, options: "Options", schema: "Schema | None") -> Resolution:
    """Return the `Resolution` of *sources*: at most one value per key, all breaches at once in the schema's order."""
    resolution = Resolution(sources, schema)
    specs = schema.keys if schema is not None else {}
    wrong: dict[str, list[errors.Breach]] = {}
    pointers, roots, secrets = sources.pointers, sources.roots, resolution.secrets
    keys: dict[str, object] = {**sources.asked, **pointers, **roots}
    unusual = {key for key, spec in specs.items() if spec.raw_bytes} if specs else set()
    if sources.guarded in sources.folders:
        unusual.update(keys)
    ordinary, left, ordinary_bytes = files.read_ordinary(
        keys, unusual, pointers, roots, sources.env, sources.folders, _DOUBTFUL_STARTS, Secret, Resolved
    )
    other_bytes = _read_left(left, specs, resolution, options, ordinary, wrong) if left else 0
    secrets.update(ordinary)
    for key, spec in specs.items():
        if spec.deliver != "env" and key in secrets:
            secrets[key].deliver = spec.deliver
    if ordinary_bytes + other_bytes > _MAX_READ_BYTES:
        from shim import strays

        strays.leave_out_last(resolution, _MAX_READ_BYTES, wrong)
    if sources.untaken and not options.keep_file_vars:
        from shim import pointed

        pointed.settle_pointers(resolution, options)
    for key, spec in specs.items():
        if key in secrets or key in wrong:
            continue
        if spec.composed is not None:
            from shim import composing

            composing.compose(resolution, spec, wrong, [])
        elif spec.default:
            secrets[key] = Resolved(key, Secret(spec.default), DEFAULT, b"", spec.deliver)
    if sources.asked:
        _check(resolution, options, wrong)
    all_bytes = ordinary_bytes + (_look_through(left, resolution, options, wrong) if left else 0)
    if all_bytes > _MANY_BYTES:
        from shim import strays

        strays.fit(resolution, options)
    if sources.shadowed:
        from shim import twins

        twins.shadowed(resolution, MAX_SECRET_BYTES)
    if sources.asked and sources.roots:
        _look_near(resolution, wrong)
    if sources.unlisted:
        from shim import strays

        strays.unlisted(resolution, options, wrong)
    if sources.chosen is not None:
        from shim import profile_effects

        for found in profile_effects.breaches(sources.chosen.profile, resolution, options):
            wrong.setdefault(found.key, []).append(found)
    if sources.breaches or wrong:
        _say_in_order(resolution, wrong)
    return resolution


def _read_left(
    left: list[tuple[str, int]],
    specs: "Mapping[str, KeySpec]",
    resolution: Resolution,
    options: "Options",
    values: "dict[str, Resolved]",
    wrong: "dict[str, list[errors.Breach]]",
) -> int:
    """Give every key *left* its place among *values*, or take it out of them; return how many bytes that added.

    Args:
        left: each with the bytes of the ordinary values before it.
        specs: what the schema has for a key.
        resolution: what it is for.
        options: which source wins.
        values: those of the ordinary keys.
        wrong: what is wrong with a key; it may grow.
    """
    sources, read_bytes = resolution.sources, 0
    resolved: Resolved | None
    for key, before in left:
        try:
            resolved = _resolved(key, specs.get(key), resolution, options)
        except errors.Breach as breach:
            wrong[key] = [breach]
            resolved = None
        if resolved is not None:
            size = len(resolved.secret.reveal())
            if before + read_bytes + size > _MAX_READ_BYTES:
                from shim import strays

                strays.leave_out(resolved, _MAX_READ_BYTES, sources, wrong)
                resolved = None
            else:
                read_bytes += size
        if resolved is None:
            del values[key]
        else:
            values[key] = resolved
    return read_bytes


def _look_through(
    left: list[tuple[str, int]],
    resolution: Resolution,
    options: "Options",
    wrong: "dict[str, list[errors.Breach]]",
) -> int:
    """Look for what no environment can hold, and what is probably something else; return how many bytes all have."""
    sources, secrets, all_bytes = resolution.sources, resolution.secrets, 0
    for key, _ in left:
        if key not in secrets:
            continue
        resolved = secrets[key]
        value = resolved.secret.reveal()
        # At most four bytes a character: the exact length is only worth counting when it comes near the limit.
        if (
            (0 in value or len(value) + 4 * len(key) >= MAX_ENV_BYTES)
            and resolved.deliver == "env"
            and key not in wrong
        ):
            from shim import lacking

            mistake = lacking.undeliverable(key, resolved)
            if mistake is not None and resolved.origin == ROOT and key not in sources.asked:
                from shim import strays

                strays.drop(resolution, resolved, mistake)
                continue
            if mistake is not None:
                wrong[key] = [mistake]
        all_bytes += len(value)
        if not value.isalnum() and value and _is_doubtful(key, value) and key not in wrong:
            from shim import doubts

            mistake = doubts.about(resolved, resolution, options)
            if mistake is not None:
                wrong[key] = [mistake]
    return all_bytes


def _say_in_order(resolution: Resolution, wrong: "dict[str, list[errors.Breach]]") -> None:
    """Add what is *wrong* to the breaches, in the schema's order; what the sources found comes first."""
    sources = resolution.sources
    for found in sources.breaches:
        if found.key:
            wrong.setdefault(found.key, []).insert(0, found)
        else:
            resolution.breaches.append(found)
    order = {**sources.asked, **sources.pointers, **sources.roots, **wrong}
    resolution.breaches += [breach for key in order for breach in wrong.get(key, ())]


def _is_doubtful(key: str, value: bytes) -> bool:
    """Return whether *value*, which is not letters and digits alone, looks like something else; doubts.py decides.

    ordinary.c asks the same of one short line.
    """
    # Numbers, since `b":" in value` makes an exception on its way: ":", "{", "=" and a line end.
    if value[0] in _DOUBTFUL_FIRST or value[-1] in _DOUBTFUL_LAST:
        return True
    if (58 in value or value[0] in _FIRST_OF_THEM) and (
        value.startswith(_DOUBTFUL_STARTS) or value.find(b": ") == len(key)
    ):
        return True
    if 123 in value and (value.find(b"${") >= 0 or value.find(b"{{") >= 0):
        return True
    if 61 in value and (value.find(b"=") == len(key) or value.startswith(b"export ")):
        return True
    return 10 in value and value[:5] != b"-----"


def _look_near(resolution: Resolution, wrong: "dict[str, list[errors.Breach]]") -> None:
    """Warn of a file whose name is nearly that of a key that may be missing, and is."""
    sources = resolution.sources
    missing = [key for key in sources.asked if key not in resolution.secrets and key not in wrong]
    stems = {other.rpartition("_")[0] for other in sources.roots if other not in sources.asked} if missing else ()
    if any(key in stems for key in missing):
        from shim import strays

        strays.warn_of_near(resolution, missing)


def _resolved(key: str, spec: "KeySpec | None", resolution: Resolution, options: "Options") -> Resolved | None:
    """Return the value of the first source that has one; an empty file or variable has none."""
    sources = resolution.sources
    pointer = sources.pointers.get(key)
    given = sources.env.get(key, b"")
    raw_bytes = 0 if spec is None else spec.raw_bytes
    if pointer is not None:
        if given and options.prefer == "env":
            return Resolved(key, Secret(given), ENVIRONMENT)
        path, root = pointer
        try:
            secret = _read(path, key, root, raw_bytes, sources)
        except errors.Breach as breach:
            from shim import strays

            raise strays.misnamed(key, path, breach, sources) from None
        if key not in sources.asked and _stays_a_path(key, secret, sources, options):
            return None
        if given and secret and options.prefer != "file" and secret.reveal() not in (given, clean(given)):
            raise errors.Breach(
                key,
                f"both {key} and {sources.pointer_of(key)} are set, and their values differ; keep one",
                f"unset {key}, or choose one with --prefer file or --prefer env",
            )
        if secret.reveal():
            return Resolved(key, secret, FILE, path)
        resolution.empty[key] = path
    place = sources.roots.get(key)
    if place is not None:
        path, root = place
        try:
            secret = _read(path, key, root, raw_bytes, sources)
        except errors.Breach as breach:
            if not sources.is_left_alone(path, breach):
                from shim import strays

                if not strays.leave_alone(key, path, breach, sources, bool(given)):
                    raise
        else:
            if secret.reveal():
                return Resolved(key, secret, ROOT, path)
            resolution.empty[key] = path
    if (
        spec is not None
        and spec.from_file
        and sources.bundles
        and spec.from_file in sources.bundles
        and (not options.only or key in options.only)
    ):
        from shim import elsewhere

        path, root = sources.bundles[spec.from_file]
        try:
            found = elsewhere.member(
                key,
                path,
                spec.from_member,
                lambda: _read(path, key, root, 0, sources),
                resolution.documents,
            )
        except errors.Breach as breach:
            if not sources.is_left_alone(path, breach):
                raise
        else:
            if found is not None:
                return Resolved(key, found, ROOT, path)
    if given and key in sources.asked:
        if spec is not None and spec.resolves and given.startswith(b"file:"):
            from shim import elsewhere

            path = elsewhere.path_of(key, given)
            return Resolved(key, _read(path, key, b"", raw_bytes, sources), FILE, path)
        return Resolved(key, Secret(given), ENVIRONMENT)
    return None


def _read(path: bytes, key: str, root: bytes, raw_bytes: int, sources: Sources) -> Secret:
    """Return what is in a file: one of an open root that simply lies there takes the short way."""
    folder = sources.folders.get(root, -1)
    is_guarded = bool(root) and root == sources.guarded
    if folder >= 0 and not is_guarded:
        plain = files.read_plain(folder, path[len(root) + 1 :], MAX_SECRET_BYTES)
        if plain is not None:
            value, data = plain
            if raw_bytes and len(data) == raw_bytes:
                value = data
            return Secret(clean(data) if value is None else value, data)
    follow = sources.follows_roots
    return read_secret(path, key, root, MAX_SECRET_BYTES, raw_bytes, kernel.read_file, folder, follow, is_guarded)


def _stays_a_path(key: str, secret: Secret, sources: Sources, options: "Options") -> bool:
    """Leave the pointer of a key that nobody asked for where its file cannot be one value; return whether it is so."""
    value = secret.reveal()
    is_one_line = 10 not in value and 0 not in value and value[:1] not in (b"{", b"[")
    if (is_one_line and len(value) < _MANY_BYTES) or key in options.file_key or key in sources.spelled:
        return False
    from shim import pointed

    reason = pointed.stays_a_path(key, value)
    if not reason:
        return False
    del sources.pointers[key]
    sources.untaken.append(key + "_FILE")
    sources.left_alone.append((key + "_FILE", f"{reason}, so it stays a path; --file-key {key} would take it"))
    return True


def _check(resolution: Resolution, options: "Options", wrong: "dict[str, list[errors.Breach]]") -> None:
    """Look for what is wrong with the values of asked keys: none at all, empty, of the wrong type, a placeholder."""
    sources = resolution.sources
    secrets = resolution.secrets
    specs = resolution.schema.keys if resolution.schema is not None else {}
    if specs:
        from shim.schema import check_value
    for key in sources.asked:
        if key in wrong:
            continue
        spec = specs.get(key)
        resolved = secrets.get(key)
        value = b"" if resolved is None else resolved.secret.reveal()
        if value:
            if spec is None:
                continue
            mistake = check_value(spec, value)
            if not mistake and sources.examples and spec.is_sensitive and resolved is not None:
                mistake = _example(resolved, sources)
            if mistake and resolved is not None:
                from shim import lacking

                wrong[key] = [lacking.unfit(key, mistake, resolved, spec)]
        elif ((spec is not None and spec.is_required) or key in options.require) and key not in sources.waived:
            from shim import lacking

            wrong[key] = [
                lacking.missing(key, spec, resolution, options) if resolved is None else lacking.empty(key, resolved)
            ]


def _example(resolved: Resolved, sources: Sources) -> str:
    path, root = sources.examples.get(resolved.key, (b"", b""))
    if not root:
        return ""
    try:
        placeholder = _read(path, resolved.key, root, 0, sources)
    except errors.Breach:
        return ""  # an example that cannot be read proves nothing about the value
    return "still holds its example's value" if placeholder == resolved.secret else ""
