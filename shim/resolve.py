"""Which source wins for each key. Conflicts are refused here; every breach is collected, none is raised.

First the file that KEY_FILE names, then a file in a secrets root, then the environment, then the schema's composed or
default value. Only the winner's file is read.
"""

from shim import kernel
from shim.errors import Breach
from shim.resolution import COMPOSED, DEFAULT, ENVIRONMENT, FILE, ROOT, Resolution, Resolved, Sources
from shim.secret import MAX_ENV_BYTES, MAX_SECRET_BYTES, Secret, read_secret, shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.schema import KeySpec, Schema

_MAX_STEPS = 100  # from a composed value to its parts, and theirs


def resolve(sources: Sources, options: "Options", schema: "Schema | None") -> Resolution:
    """Return the `Resolution` of *sources*: at most one value a key, all breaches at once in the schema's order."""
    resolution = Resolution(sources, schema)
    specs = schema.keys if schema is not None else {}
    wrong: dict[str, list[Breach]] = {}
    pointers, roots = sources.pointers, sources.roots
    for key in {**sources.asked, **pointers, **roots}:
        spec = specs.get(key)
        try:
            resolved = _resolved(key, spec, sources, options)
        except Breach as breach:
            wrong[key] = [breach]
            continue
        if resolved is not None:
            if spec is not None:
                resolved.deliver = spec.deliver
            resolution.secrets[key] = resolved
    for key, spec in specs.items():
        if key not in resolution.secrets and key not in wrong and (spec.composed is not None or spec.default):
            _from_schema(resolution, spec, wrong, [])
    for key in sources.asked:
        if key not in wrong:
            mistake = _check(key, resolution, options)
            if mistake is not None:
                wrong[key] = [mistake]
    for key, resolved in resolution.secrets.items():
        value = resolved.secret.reveal()
        # At most four bytes a character: the exact length is only worth counting when it comes near the limit.
        is_near = len(value) + 4 * len(key) >= MAX_ENV_BYTES or b"\0" in value
        if is_near and resolved.deliver == "env" and key not in wrong:
            mistake = _deliverable(key, resolved)
            if mistake is not None:
                wrong[key] = [mistake]
    if sources.chosen is not None:
        from shim import profile_effects

        for found in profile_effects.breaches(sources.chosen.profile, resolution, options):
            wrong.setdefault(found.key, []).append(found)
    if sources.breaches or wrong:
        for found in sources.breaches:
            if found.key:
                wrong.setdefault(found.key, []).insert(0, found)
            else:
                resolution.breaches.append(found)
        order = {**sources.asked, **pointers, **roots, **wrong}
        resolution.breaches += [breach for key in order for breach in wrong.get(key, ())]
    return resolution


def _resolved(key: str, spec: "KeySpec | None", sources: Sources, options: "Options") -> Resolved | None:
    pointer = sources.pointers.get(key)
    given = sources.env.get(key, b"")
    raw_bytes = 0 if spec is None else spec.raw_bytes
    if pointer is not None:
        if given and options.prefer == "env":
            return Resolved(key, Secret(given), ENVIRONMENT)
        path, root = pointer
        secret = _read(path, key, root, raw_bytes, sources)
        if given and options.prefer != "file" and secret.reveal() != given:
            raise Breach(
                key,
                f"both {key} and {sources.pointer_of(key)} are set, and their values differ; keep one",
                f"unset {key}, or say which one counts with --prefer file or --prefer env",
            )
        return Resolved(key, secret, FILE, path)
    place = sources.roots.get(key)
    if place is not None:
        path, root = place
        try:
            secret = _read(path, key, root, raw_bytes, sources, root == sources.guarded)
        except Breach as breach:
            if not sources.is_left_alone(path, breach):
                reason = _why_left_alone(breach, key in sources.asked, bool(given))
                if not reason:
                    raise
                sources.left_alone.append((path.decode("utf-8", "surrogateescape"), reason))
        else:
            return Resolved(key, secret, ROOT, path)
    if spec is not None and spec.from_file and sources.bundles and spec.from_file in sources.bundles:
        from shim import elsewhere

        path, root = sources.bundles[spec.from_file]
        whole = _read(path, key, root, 0, sources, root == sources.guarded)
        found = elsewhere.member(key, whole, path, spec.from_member)
        if found is not None:
            return Resolved(key, found, ROOT, path)
    if given and key in sources.asked:
        if spec is not None and spec.resolves and given.startswith(b"file:"):
            from shim import elsewhere

            path = elsewhere.path_of(key, given)
            return Resolved(key, _read(path, key, b"", raw_bytes, sources), FILE, path)
        return Resolved(key, Secret(given), ENVIRONMENT)
    return None


def _read(path: bytes, key: str, root: bytes, raw_bytes: int, sources: Sources, is_guarded: bool = False) -> Secret:
    folder = sources.folders.get(root, -1)
    follow = sources.follows_roots
    return read_secret(path, key, root, MAX_SECRET_BYTES, raw_bytes, kernel.read_file, folder, follow, is_guarded)


def _why_left_alone(breach: Breach, is_asked: bool, is_given: bool) -> str:
    """Return why what is wrong with a file of a root stops nothing; "" when it does."""
    from shim.breaches import Directory, Missing

    if isinstance(breach, Directory):
        return "" if is_asked else "it is a directory"
    if isinstance(breach, Missing):  # it was listed a moment ago: a link to nothing
        return "" if is_asked and not is_given else "it vanished, or links to nothing"
    return ""


def _from_schema(
    resolution: Resolution, spec: "KeySpec", wrong: dict[str, list[Breach]], on_the_way: list[str]
) -> None:
    """Give *spec* its composed value, parts first, or else its default."""
    from shim import template

    key = spec.key
    if key in on_the_way:
        circle = " -> ".join([*on_the_way[on_the_way.index(key) :], key])
        wrong[key] = [Breach(key, f"{key} is composed from itself: {circle}", "break the circle in the schema")]
        return
    if spec.composed is None:
        if spec.default:
            resolution.secrets[key] = Resolved(key, Secret(spec.default), DEFAULT, b"", spec.deliver)
        return
    if len(on_the_way) == _MAX_STEPS:
        wrong[key] = [Breach(key, f"{key} is composed in over {_MAX_STEPS} steps", "name its parts directly")]
        return
    specs = resolution.schema.keys if resolution.schema is not None else {}
    parts = template.parse(spec.composed.encode("utf-8", "surrogateescape"))
    absent = []
    for part in parts:
        if isinstance(part, bytes):
            continue
        name = part[0]
        other = specs.get(name)
        if name not in resolution.secrets and other is not None and name not in wrong:
            _from_schema(resolution, other, wrong, [*on_the_way, key])
        if not _is_there(name, resolution):
            absent.append(name)
    if not absent:
        try:
            value = template.fill(parts, resolution.value_of)
        except template.NotEncodable as error:
            from shim.breaches import Unusable

            wrong[key] = [Unusable(key, f"{key} cannot be composed: {error}", error.hint)]
            return
        resolution.secrets[key] = Resolved(key, Secret(value), COMPOSED, b"", spec.deliver)
    elif spec.default:
        resolution.secrets[key] = Resolved(key, Secret(spec.default), DEFAULT, b"", spec.deliver)


def _check(key: str, resolution: Resolution, options: "Options") -> Breach | None:
    """Return what is wrong with the value of an asked key: none at all, empty, of the wrong type, a placeholder."""
    sources = resolution.sources
    spec = resolution.schema.keys.get(key) if resolution.schema is not None else None
    is_required = ((spec is not None and spec.is_required) or key in options.require) and key not in sources.waived
    resolved = resolution.secrets.get(key)
    if resolved is None:
        if not is_required:
            return None
        if spec is not None and spec.composed is not None:
            return _uncomposed(key, spec.composed, resolution)
        from shim.breaches import Missing

        if key in sources.env:
            return Missing(key, f"{key} is required, and is empty (from the environment)", "give it a value")
        return Missing(
            key, f"{key} is required, and nothing provides it", _looked_at(key, sources, options, resolution.schema)
        )
    value = resolved.secret.reveal()
    if not value:
        if not is_required:
            return None
        from shim.breaches import Unusable

        return Unusable(key, f"{key} is required, and is empty{_where(resolved)}", "give it a value")
    if spec is None:
        return None
    from shim.schema import check_value

    mistake = check_value(spec, value)
    if not mistake and sources.examples and spec.is_sensitive:
        mistake = _example(resolved, sources)
    if mistake:
        from shim.breaches import Unusable

        return Unusable(key, f"{key} {mistake}{_where(resolved)}", _advice(spec))
    return None


def _uncomposed(key: str, composed: str, resolution: Resolution) -> Breach:
    from shim.breaches import Missing
    from shim.schema import references

    absent = ", ".join(name for name in references(composed) if not _is_there(name, resolution))
    return Missing(
        key,
        f"{key} is required, and cannot be composed: nothing provides {absent}",
        f"provide {absent}, or {key} itself",
    )


def _is_there(key: str, resolution: Resolution) -> bool:
    resolved = resolution.secrets.get(key)
    return bool(resolution.sources.env.get(key) if resolved is None else resolved.secret)


def _where(resolved: Resolved) -> str:
    if resolved.path:
        return f" (from {shown_path(resolved.path)})"
    if resolved.origin == ENVIRONMENT:
        return " (from the environment)"
    return f" ({resolved.origin})"


def _advice(spec: "KeySpec") -> str:
    what = f"the schema says {spec.type.text}" if spec.type is not None else "the schema calls it sensitive"
    return f"{what}: {spec.description[0]}" if spec.description else what


def _example(resolved: Resolved, sources: Sources) -> str:
    path, root = sources.examples.get(resolved.key, (b"", b""))
    if not root:
        return ""
    try:
        placeholder = _read(path, resolved.key, root, 0, sources)
    except Breach:
        return ""  # an example that cannot be read proves nothing about the value
    return "still holds its example's value" if placeholder == resolved.secret else ""


def _deliverable(key: str, resolved: Resolved) -> Breach | None:
    """Return why no environment can carry the value, if so."""
    if resolved.origin == ENVIRONMENT:
        return None
    from shim.breaches import Unusable

    value = resolved.secret.reveal()
    if b"\0" in value:
        return Unusable(
            key,
            f"{key} holds a NUL byte, which no environment can carry{_where(resolved)}",
            f"is it binary? Encode it, or hand it over as a file: @deliver=file above {key}= in the schema",
        )
    if len(value) + len(key.encode("utf-8", "surrogateescape")) + 1 > MAX_ENV_BYTES:
        return Unusable(
            key,
            f"{key} is longer than the {MAX_ENV_BYTES} bytes that the kernel lets one variable have{_where(resolved)}",
            f"hand it over as a file: @deliver=file above {key}= in the schema",
        )
    return None


def _looked_at(key: str, sources: Sources, options: "Options", schema: "Schema | None") -> str:
    places = [key, f"{key}_FILE"]
    places += [(root + b"/").decode("utf-8", "surrogateescape") + key.lower() for root in sources.looked_at]
    spec = schema.keys.get(key) if schema is not None else None
    if spec is not None and spec.from_file:
        places.append(f"{spec.from_file}({spec.from_member})")
    hint = "looked at " + ", ".join(places)
    if options.only and key not in options.only:
        hint += f"; --only leaves {key} out"
    return hint
