"""Pointers that need a closer look: spelt otherwise, in quotes, or to what is no one value.

Loaded when there is such, apart from the rarer matters of strays.py, since images set many of these. A key arrives
once: as a value, or as the variable that names its file, never as both.
"""

from shim.resolution import FILE, ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options
    from shim.resolution import Resolution, Sources

# --- a key arrives once ----------------------------------------------------------------------------------------------


def settle_pointers(resolution: "Resolution", options: "Options") -> None:
    """Let each key that a variable names a file of, and a root has, too, arrive as one of the two.

    The variable stays, since programs read it as a path or somebody named another file with it. Only where it leads to
    the very file whose value the service gets, and is spelt so that an image would read it, the value speaks for both.
    """
    sources = resolution.sources
    listed = (*sources.asked, *options.only, *options.file_key)
    for variable in sources.untaken:
        if options.clear_env and variable not in listed:
            continue  # the service does not get it anyway
        key = base_of(variable)
        resolved = resolution.secrets.get(key)
        if resolved is None or resolved.deliver != "env" or variable in sources.withheld:
            continue
        if resolved.origin == FILE:  # another variable names its file, and is gone
            sources.withheld.append(variable)
            continue
        if resolved.origin != ROOT:
            continue
        is_read_by_the_image = variable != key + "_FILE"
        if is_read_by_the_image and _is_same(sources.env[variable], resolved.path):
            sources.withheld.append(variable)
        elif key not in sources.asked:
            del resolution.secrets[key]
            shown = resolved.path.decode("utf-8", "surrogateescape")
            sources.left_alone.append((shown, f"{variable} is set, and the service gets one of the two"))
            if not _is_same(sources.env[variable], resolved.path):
                from shim.shown import shown_path

                sources.warnings.append(
                    (
                        f"{shown_path(resolved.path)} is left alone: {variable} is set, and names another file",
                        f"unset {variable}, or let it name this file; a service gets {key} or {variable}, never both",
                    )
                )
        else:
            sources.withheld.append(variable)


def _is_same(path: bytes, other: bytes) -> bool:
    if path == other:
        return True
    from shim.links import real

    return real(path) == real(other)


def superseded(resolution: "Resolution") -> list[str]:
    """Return the empty pointers of keys that the service gets: some images stop where the variable is there at all."""
    return [variable for variable in resolution.sources.hollow if base_of(variable) in resolution.secrets]


def base_of(variable: str) -> str:
    """Return the key whose file *variable* would name: `KEY_FILE`, `KEY__FILE` or `FILE__KEY`."""
    if variable.startswith("FILE__"):
        return variable[6:]
    return variable[:-6] if variable.endswith("__FILE") else variable[:-5]


# --- pointers that are not pointers -----------------------------------------------------------------------------------


def unquoted(value: bytes) -> bytes:
    """Return the path in *value* without the quotes and the white space around it."""
    text = value.strip()
    if text[:1] not in (b'"', b"'"):
        return text
    return text[1:-1] if len(text) > 1 and text[:1] == text[-1:] else text[1:]


def warn_of_quotes(variable: str, sources: "Sources") -> None:
    """Warn of what was around a path, once it is taken."""
    sources.warnings.append(
        (
            f"{variable} has quotes or white space around its path; they are removed",
            "write the path alone: a YAML list (- KEY=value) and docker's --env-file keep all of it",
        )
    )


def stays_a_path(key: str, data: bytes) -> str:
    """Return why the file of an unasked variable is read as a file and not as one value; "" when it may be one."""
    if data.startswith(b"-----BEGIN "):
        return "its file is PEM"
    if 0 in data:  # numbers: bytes in bytes makes an exception on its way
        return "its file is binary"
    if 10 in data:
        return "its file has many lines"
    if data[:2] == b'{"' and data[-1:] == b"}":  # no password is written so, and this is quicker than to read it all
        return "its file is JSON"
    if data[:1] in (b"{", b"["):
        from shim.json_text import is_json

        if is_json(data):
            return "its file is JSON"
    return "" if len(data) + len(key) < 131_000 else "its file is too large for a variable"
