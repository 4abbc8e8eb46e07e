"""SHIM_* variables that are not quite as they should be: in quotes, or misspelt. Loaded when there is such."""

from shim.options import KINDS, LINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options

_QUOTES = ('"', "'")


def unquoted(options: "Options", shown: str, text: str, kind: str) -> str:
    """Return *text* without what a YAML list or an `--env-file` kept around it; a command has quotes of its own."""
    bare = text.strip()
    if kind is not LINES and len(bare) > 1 and bare[:1] == bare[-1:] and bare[:1] in _QUOTES:
        bare = bare[1:-1].strip()
    if bare != text and kind is not LINES:
        options.unquoted = [*options.unquoted, shown]
    return bare


def warn(options: "Options") -> None:
    """Say which SHIM_* variables were in quotes, and which look like a misspelt option.

    Others may be somebody else's (a service link's).
    """
    from difflib import get_close_matches

    from shim import stderr

    for shown in options.unquoted:
        stderr.warning(
            f"{shown} has quotes or white space around its value; they are removed",
            "write the value alone: a YAML list (- KEY=value) and docker's --env-file keep all of it",
        )
    for shown in options.unknown:
        near = get_close_matches(shown.upper(), ["SHIM_" + name.replace("-", "_").upper() for name in KINDS], 1, 0.85)
        if near:
            stderr.warning(f"there is no option {shown}", f"did you mean {near[0]}?")
