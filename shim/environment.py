"""The child's environment: what came in, byte for byte, less what was consumed, plus the secrets. Pure functions."""

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
    dropped: set[bytes] = set()  # names, each with its "="
    added: list[bytes] = []
    for key, resolved in resolution.secrets.items():
        name = (key + "=").encode("utf-8", "surrogateescape")
        if resolved.deliver != "env":
            dropped.add(name)
            dropped.add(_name(key + "_FILE"))
        elif resolved.origin != "environment":
            dropped.add(name)
            added.append(name + resolved.secret.reveal())
    sources = resolution.sources
    if not options.keep_file_vars:
        spelled = sources.spelled
        for key in sources.pointers:
            variable = spelled[key] if key in spelled else key + "_FILE"
            dropped.add((variable + "=").encode("utf-8", "surrogateescape"))
        if sources.hollow:
            from shim import pointed

            dropped.update([_name(variable) for variable in pointed.superseded(resolution)])
    dropped.update([_name(variable) for variable in sources.withheld])
    for key, value in (extra or {}).items():
        dropped.add(_name(key))
        if value is not None:
            added.append(_name(key) + value)
    # An entry without "=" has an empty name here, which is in no set: it stays, unless only what is listed does.
    child = [
        entry for entry in environ if entry[: entry.find(b"=") + 1] not in dropped and not entry.startswith(b"SHIM_")
    ]
    if options.clear_env:
        kept = {_name(key) for key in (*_BASICS, *sources.asked, *options.only, *options.file_key)}
        if options.keep_file_vars:
            kept.update([_name(sources.pointer_of(key)) for key in sources.pointers])
        child = [entry for entry in child if entry[: entry.find(b"=") + 1] in kept]
    child += added
    return child


def _name(key: str) -> bytes:
    return (key + "=").encode("utf-8", "surrogateescape")
