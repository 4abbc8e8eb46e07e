"""What a profile says in front of its image: breaches and warnings of its own, and what it changes, in words."""

from shim.errors import Breach
from shim.profiles import DOUBLE, ENTRYPOINT, LEADING, Profile, started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shim.options import Options
    from shim.resolution import Resolution, Sources


def pointers(profile: Profile, env: dict[str, bytes], found: list[str]) -> list[str]:
    """Return the variables that may name a file: those *found*, and those that only this image spells so."""
    if profile.spelling != LEADING:
        return found
    return [*found, *(name for name in env if name.startswith("FILE__") and env[name] and name not in found)]


def settle(profile: Profile, sources: "Sources", options: "Options") -> None:
    """Let a key that is asked for have what its other name gives; withhold what keeps the image from starting.

    What the image's own server needs is not missed where another command is started, or where the image does without.
    """
    sources.withheld += [name for name in profile.refused if name in sources.env]
    if profile.keeps_case:
        _keep_case(sources)
    if options.action == "start" and profile.is_one_off(options.argv):
        sources.is_one_off = True
        sources.waived = set(sources.asked)
    else:
        sources.waived = {key for key, names in profile.instead if any(_is_set(name, sources) for name in names)}
    for key in sources.asked:
        other = profile.other_name(key)
        if not other or key in sources.pointers or key in sources.roots or sources.env.get(key):
            continue
        if other in sources.asked:
            continue
        if other in sources.pointers:
            sources.pointers[key] = sources.pointers.pop(other)
            sources.spelled[key] = sources.spelled.get(other, other + "_FILE")
        elif other in sources.roots:
            sources.roots[key] = sources.roots.pop(other)
        elif sources.env.get(other):
            sources.env[key] = sources.env[other]


def _keep_case(sources: "Sources") -> None:
    """Give `database__connection__password` the name of its file, where nothing asks for it by another one."""
    for key, (path, root) in list(sources.roots.items()):
        name = path.rpartition(b"/")[2].decode("utf-8", "surrogateescape").replace(".", "_").replace("-", "_")
        if "__" in name and name != key and key not in sources.asked:
            del sources.roots[key]
            sources.roots[name] = path, root


def _is_set(name: str, sources: "Sources") -> bool:
    """Return whether the variable NAME has a value, or the one that NAME=VALUE names; a secret file counts, too."""
    variable, equals, value = name.partition("=")
    given = sources.env.get(variable, b"")
    if equals:
        return given == value.encode()
    return bool(given) or variable in sources.pointers or variable in sources.roots


def breaches(profile: Profile, resolution: "Resolution", options: "Options") -> "Iterable[Breach]":
    """Yield what would end badly in this image, and nowhere else."""
    if profile.command and options.action == "start" and len(options.argv) == 1 and _is(profile.entrypoint, options):
        yield Breach(
            "",
            f"{profile.title}'s {profile.entrypoint} has no command to start",
            f"a new ENTRYPOINT erases the image's CMD: write CMD {profile.command} again",
        )
    env = resolution.sources.env
    for key, resolved in resolution.secrets.items():
        if resolved.deliver in ("file", "memfd") and key + "_FILE" in profile.refused:
            yield Breach(
                key,
                f"{profile.title} refuses to start with {key}_FILE, and @deliver={resolved.deliver} would set it",
                f"deliver {key} as env, or --render its configuration",
            )
        other = profile.other_name(key)
        if not other or (other in resolution.secrets and key.startswith(profile.older)):
            continue  # of two secrets, the one with the newer name speaks for both
        if resolved.origin == "environment" and other not in resolution.secrets:
            continue  # none of ours: what the image makes of its own variables is its business
        value = resolution.secrets[other].secret.reveal() if other in resolution.secrets else env.get(other, b"")
        if value and resolved.secret and value != resolved.secret.reveal():
            newer = key if key.startswith(profile.newer) else other
            yield Breach(
                key,
                f"{key} and {other} are both set, and their values differ; keep one",
                f"{profile.title} would take {newer}",
            )


def warnings(profile: Profile, resolution: "Resolution", options: "Options") -> "Iterable[tuple[str, str]]":
    """Yield what is likely to surprise in front of this image, each with its hint."""
    if options.user and profile.drops_root:
        yield (
            f"--user {options.user}: {profile.title} must start as root, and drops to its own user itself",
            "leave --user (SHIM_USER) out, unless all its folders belong to that user already",
        )
    for key, resolved in resolution.secrets.items():
        if profile.is_ascii and key in profile.keys and not resolved.secret.reveal().isascii():
            yield (
                f"{key} contains non-ASCII characters, which {profile.title} does not accept from its environment",
                "take another value, or --render it into its configuration",
            )
    program = started(options.argv) if options.action == "start" else ""
    if program not in profile.servers:
        if not profile.servers or not (program[:1] == "-" or (profile.takes_file and program.endswith(".conf"))):
            return
        program = profile.servers[0]  # its entrypoint puts that in front
    given = [key for key, resolved in resolution.secrets.items() if resolved.path and resolved.deliver == "env"]
    meant = [key for key in given if key in profile.keys]
    if meant and profile.initialises and _is(program, options):
        yield (
            f"{program} is started without {ENTRYPOINT}, and only that reads {', '.join(meant)}",
            f'ENTRYPOINT ["/opt/shim/shim", "--", "{ENTRYPOINT}"], and CMD {profile.command}',
        )
    if given and profile.configuration and not options.render:
        yield (
            f"{program} does not read the environment: {', '.join(given[:3])} does not reach it",
            profile.configuration,
        )
    if profile.configuration and profile.drops_root and not options.user:
        for entry in options.render:
            if entry.count(":") == 1:
                yield (
                    f"--render: {program} drops to its own user, who cannot read the rendered file",
                    f"name its owner: --render TEMPLATE:DEST:{profile.name}",
                )


def _is(program: str, options: "Options") -> bool:
    """Return whether *program* is what is started first, in whatever folder it is."""
    return options.argv[0].rpartition(b"/")[2] == program.encode("utf-8", "surrogateescape")


def changes(profile: Profile) -> "Iterable[str]":
    """Yield, in words, what this profile changes."""
    if profile.spelling == DOUBLE:
        yield f"{profile.prefix}*__FILE is taken wherever it leads: only the value reaches the image"
    elif profile.spelling == LEADING:
        yield "FILE__* is taken wherever it leads: only the value reaches the image"
    elif profile.keys:
        names = ", ".join(key + "_FILE" for key in profile.keys)
        yield f"taken wherever they lead, so that only the value reaches the image: {names}"
    if profile.paths:
        yield f"{'other ' if profile.keys or profile.prefix else ''}{profile.paths}*_FILE are paths, and stay"
    if profile.refused:
        yield f"never reach the image, which would not start: {', '.join(profile.refused)}"
    if profile.is_ascii:
        yield "values that are not ASCII are warned of: it does not take them from its environment"
    if profile.newer:
        yield f"{profile.older}* and {profile.newer}* are two names for one thing; two different values are refused"
    if profile.command and profile.entrypoint:
        yield f"{profile.entrypoint} without a command is refused; the image's is CMD {profile.command}"
        yield "a command other than the server starts without what is required"
    for key, others in profile.instead:
        yield f"{key} is not missed with {' or '.join(others)}"
    if profile.keeps_case:
        yield "names with __ in them keep their case"
    if profile.drops_root:
        yield "--user is warned of: it must start as root, and drops to its own user itself"
    if profile.configuration:
        yield f"it does not read the environment: {profile.configuration}"
