"""The child's environment: what came in, byte for byte, less what was consumed, plus the secrets. Pure functions."""

from shim import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.resolution import Resolution

# What --clear-env keeps besides the keys that are listed.
_BASICS = ("PATH", "HOME", "TERM", "LANG", "TZ", "HOSTNAME")


def child_environment(
    environ: list[bytes], resolution: "Resolution", options: "Options", extra: "dict[str, bytes | None] | None" = None
) -> list[bytes]:
    """Return the service's environment, `KEY=value` each.

    Args:
        environ: the raw environment; order, duplicates and entries without "=" stay as they are.
        resolution: the secrets; those delivered otherwise than as `env` lose their variable.
        options: --clear-env, --keep-file-vars.
        extra: variables that replace what is there, None for those that go: `KEY_FILE` of delivered files, HOME of
            another user.
    """
    dropped: set[str] = set()
    values: dict[str, bytes] = {}
    for key, resolved in resolution.secrets.items():
        if resolved.deliver != "env":
            dropped.add(key)
            dropped.add(key + "_FILE")
        elif resolved.origin != "environment":
            values[key] = resolved.secret.reveal()
    dropped.update(values)
    added = files.assignments(values)
    sources = resolution.sources
    if not options.keep_file_vars:
        spelled = sources.spelled
        if spelled:
            dropped.update([spelled[key] if key in spelled else key + "_FILE" for key in sources.pointers])
        else:
            dropped.update([key + "_FILE" for key in sources.pointers])
        if sources.hollow:
            from shim import pointed

            dropped.update(pointed.superseded(resolution))
    dropped.update(sources.withheld)
    for key, value in (extra or {}).items():
        dropped.add(key)
        if value is not None:
            added.append(_name(key) + value)
    child = files.environ_without(environ, dropped, sources.env)
    if options.clear_env:
        kept = {_name(key) for key in (*_BASICS, *sources.asked, *options.only, *options.file_key)}
        if options.keep_file_vars:
            kept.update([_name(sources.pointer_of(key)) for key in sources.pointers])
        child = [entry for entry in child if entry[: entry.find(b"=") + 1] in kept]
    child += added
    return child


def _name(key: str) -> bytes:
    return (key + "=").encode("utf-8", "surrogateescape")
