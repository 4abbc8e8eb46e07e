"""The child's environment: what came in, byte for byte, less what was consumed, plus the secrets. Pure functions."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.resolve import Resolution

# What --clear-env keeps besides the keys that are listed.
_BASICS = ("PATH", "HOME", "TERM", "LANG", "TZ", "HOSTNAME")


def child_environment(
    environ: list[bytes], resolution: "Resolution", options: "Options", extra: dict[str, bytes] | None = None
) -> list[bytes]:
    """Return the service's environment, `KEY=value` each.

    Args:
        environ: the raw environment; order, duplicates and entries without "=" stay as they are.
        resolution: the secrets; those delivered otherwise than as `env` lose their variable.
        options: --clear-env, --keep-file-vars.
        extra: variables that replace what is there: `KEY_FILE` of delivered files, HOME of another user.
    """
    dropped: set[bytes] = set()
    added: list[bytes] = []
    for key, resolved in resolution.secrets.items():
        name = key.encode("utf-8", "surrogateescape")
        if resolved.deliver != "env":
            dropped.add(name)
            dropped.add(name + b"_FILE")
        elif resolved.origin != "environment":
            dropped.add(name)
            added.append(name + b"=" + resolved.secret.reveal())
    if not options.keep_file_vars:
        dropped.update((key + "_FILE").encode("utf-8", "surrogateescape") for key in resolution.sources.pointers)
    for key, value in (extra or {}).items():
        name = key.encode("utf-8", "surrogateescape")
        dropped.add(name)
        added.append(name + b"=" + value)
    kept: set[bytes] | None = None
    if options.clear_env:
        listed = (*_BASICS, *resolution.sources.asked, *options.only, *options.file_key)
        kept = {key.encode("utf-8", "surrogateescape") for key in listed}
        if options.keep_file_vars:
            kept.update((key + "_FILE").encode("utf-8", "surrogateescape") for key in resolution.sources.pointers)
    child = [entry for entry in environ if _stays(entry, dropped, kept)]
    child += added
    return child


def _stays(entry: bytes, dropped: set[bytes], kept: set[bytes] | None) -> bool:
    name, equals, _ = entry.partition(b"=")
    if not equals:
        return kept is None and not entry.startswith(b"SHIM_")
    if name in dropped or name.startswith(b"SHIM_"):
        return False
    return kept is None or name in kept
