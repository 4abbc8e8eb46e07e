"""Why a key has no value that can be used, in words. Loaded when that is so; no value is ever part of them."""

from shim.breaches import Missing, Unusable
from shim.errors import Breach
from shim.resolution import ENVIRONMENT, Resolution, Resolved
from shim.secret import MAX_ENV_BYTES, folded
from shim.shown import printable, shown_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.schema import KeySpec


def missing(key: str, spec: "KeySpec | None", resolution: Resolution, options: "Options") -> Breach:
    """Return the breach of a key that is required, and has no value."""
    if spec is not None and spec.composed is not None:
        return _uncomposed(key, spec.composed, resolution)
    if key in resolution.empty:
        where = f" (from {shown_path(resolution.empty[key])})"
        return Missing(key, f"{key} is required, and is empty{where}", "give it a value")
    if key in resolution.sources.env:
        return Missing(key, f"{key} is required, and is empty (from the environment)", "give it a value")
    return Missing(key, f"{key} is required, and nothing provides it", _looked_at(key, spec, resolution, options))


def empty(key: str, resolved: Resolved) -> Breach:
    """Return the breach of a key that is required, and has an empty value."""
    return Unusable(key, f"{key} is required, and is empty{_where(resolved)}", "give it a value")


def unfit(key: str, mistake: str, resolved: Resolved, spec: "KeySpec") -> Breach:
    """Return the breach of a value with a *mistake*, by what the schema asks for."""
    what = f"the schema asks for {spec.type.text}" if spec.type is not None else "the schema calls it sensitive"
    hint = f"{what}: {spec.description[0]}" if spec.description else what
    value = resolved.secret.reveal()
    if value.strip() != value:
        hint = f"the value begins or ends with white space, or with a carriage return: remove it; {hint}"
    return Unusable(key, f"{key} {mistake}{_where(resolved)}", hint)


def undeliverable(key: str, resolved: Resolved) -> Breach | None:
    """Return why no environment can carry the value, if so."""
    if resolved.origin == ENVIRONMENT:
        return None
    value = resolved.secret.reveal()
    if 0 in value:
        return Unusable(
            key,
            f"{key} holds a NUL byte, which no environment can carry{_where(resolved)}",
            f"is it binary? Encode it, or hand it over as a file: @deliver=file above {key}= in the schema",
        )
    if len(value) + len(key.encode("utf-8", "surrogateescape")) + 1 > MAX_ENV_BYTES:
        return Unusable(
            key,
            f"{key} is longer than the {MAX_ENV_BYTES} bytes that the kernel allows for one variable{_where(resolved)}",
            f"hand it over as a file: @deliver=file above {key}= in the schema",
        )
    return None


def _uncomposed(key: str, composed: str, resolution: Resolution) -> Breach:
    from shim.schema import references

    absent = ", ".join(name for name in references(composed) if not resolution.has(name))
    return Missing(
        key,
        f"{key} is required, and cannot be composed: nothing provides {absent}",
        f"provide {absent}, or {key} itself",
    )


def _where(resolved: Resolved) -> str:
    if resolved.path:
        return f" (from {shown_path(resolved.path)})"
    if resolved.origin == ENVIRONMENT:
        return " (from the environment)"
    return f" ({resolved.origin})"


def _looked_at(key: str, spec: "KeySpec | None", resolution: Resolution, options: "Options") -> str:
    from shim import strays

    sources = resolution.sources
    places = [key, f"{key}_FILE"]
    places += [(root + b"/").decode("utf-8", "surrogateescape") + key.lower() for root in sources.looked_at]
    if spec is not None and spec.from_file:
        places.append(f"{spec.from_file}({spec.from_member})")
    hint = "looked at " + ", ".join(places)
    if spec is not None and spec.from_command:
        hint += "; its @from=command is run on the host, by manage-secrets create-from-env or create-swarm"
    reason = strays.left_alone(key, sources)
    near = [] if reason else strays.nearest(key, sources)
    if reason:
        hint = f"{reason}; {hint}"
    elif near:
        hint = f"{shown_path(near[0])} is there: {strays.how_to_take(key, near[0])}; {hint}"
    else:
        for path in strays.nested(key, sources):
            how = f"set {key}_FILE to it, or name its folder with --secrets-dir (SHIM_SECRETS_DIR)"
            hint = f"{shown_path(path)} is there, and folders in a secrets root are not entered: {how}; {hint}"
    for name in sources.env:
        if name != key and len(name) == len(key) and folded(name) == folded(key):
            hint = f"the environment has {printable(name)}, which is another name; {hint}"
    if options.only and key not in options.only:
        hint += f"; --only leaves {key} out"
    return hint
