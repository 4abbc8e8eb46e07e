"""argv up to `--` and the SHIM_* variables become `Options`; all mistakes are found at once. Nothing is looked up here.

Every option has a variable (`--secrets-dir`, `SHIM_SECRETS_DIR`), so that an image can set it with ENV; a flag wins.
"""

from shim import errors
from shim.options import FLAG, KINDS, LINES, LIST, NO_SCHEMA, PATHS, STAYING, VALUE, Options

SUBCOMMANDS = (b"exec", b"check", b"explain", b"install", b"ps")
BESIDE = ("exec", "check", "explain", "ps")  # what is asked beside a service, and must resolve as its start did

_SEPARATORS = {LIST: ",", PATHS: ":", LINES: "\n"}
_OF_KEYS = ("file-key", "only", "require")
_ANSWERS = ("check", "explain", "ps")  # what answers, and can do so in JSON
_CHOICES = {"prefer": ("file", "env"), "log": ("text", "json")}
_AROUND = ('"', "'", " ", "\t", "\r", "\n")
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


def read_options(argv: list[bytes], environ: list[bytes]) -> Options:
    """Return the `Options` that *argv* (without the program's own name) and the SHIM_* variables ask for.

    Raises:
        Refused: every mistake in one go; `Options` are complete only without any.
    """
    wrong: list[errors.Breach] = []
    variables = [entry for entry in environ if entry.startswith(b"SHIM_")]
    options = _read(argv, variables, [], wrong)
    if options.action in BESIDE:
        from shim import first_process

        words = first_process.options()
        if words:
            wrong.clear()
            options = _read(argv, variables, words, wrong)
    rest = options.argv
    if options.json and options.action not in (*_ANSWERS, "help", "version"):
        wrong.append(
            errors.Breach("", "--json works only with explain, check and ps", "for messages in JSON set SHIM_LOG=json")
        )
    if not rest and options.action in ("start", "exec"):
        wrong.append(
            errors.Breach(
                "",
                "there is no command to start",
                'a new ENTRYPOINT erases the image\'s CMD: write the CMD again (CMD ["postgres"]); see shim --help',
            )
        )
    if options.action == "install" and len(rest) != 1:
        wrong.append(errors.Breach("", "install takes one folder", "shim install /opt/shim"))
    if options.action in _ANSWERS and rest:
        wrong.append(
            errors.Breach(
                "", f"{options.action} takes no command", f"write shim {options.action}, with its options after it"
            )
        )
    if options.keep_caps:
        from shim.capabilities import bits

        bits(options.keep_caps, wrong)
        if not options.user:
            wrong.append(
                errors.Breach(
                    "",
                    "--keep-caps works only with --user",
                    "without it, the service keeps the container's capabilities",
                )
            )
    if options.schema == NO_SCHEMA:
        options.require = ()
    if options.wait:
        from shim.staying_options import seconds

        options.wait_seconds = seconds("--wait", options.wait, wrong)
    asks_to_stay = _asks_to_stay(options)
    if options.init or options.pre or options.pre_root or asks_to_stay:
        _read_staying(options, asks_to_stay, wrong)
    if wrong:
        if options.log:
            from shim import stderr

            stderr.use_json(options.log == "json")
        if options.json and options.action in _ANSWERS:
            from shim import stdout

            stdout.give_refused(options.action, wrong)
        raise errors.Refused(wrong)
    return options


def _read(
    argv: list[bytes], variables: list[bytes], of_the_first: list[bytes], wrong: "list[errors.Breach]"
) -> Options:
    """Return the `Options` that the words ask for: variables, the options of PID 1's shim, and flags, the last wins."""
    options = Options()
    if variables:
        _from_variables(options, variables, wrong)
    if of_the_first:
        _from_flags(options, of_the_first, wrong)
    rest = _from_flags(options, argv, wrong)
    if rest and options.action == "start":
        if rest[0] in SUBCOMMANDS and argv[len(argv) - len(rest) - 1 : len(argv) - len(rest)] != [b"--"]:
            options.action = rest[0].decode()
            rest = _from_flags(options, rest[1:], wrong)
        elif rest[0] == b"":
            wrong.append(
                errors.Breach(
                    "", "the command is an empty word", "did a variable in ENTRYPOINT or CMD expand to nothing?"
                )
            )
    options.argv = rest
    return options


def _read_staying(options: Options, asks_to_stay: bool, wrong: "list[errors.Breach]") -> None:
    """Add how to stay; the words of options that nobody gave need no reading."""
    if options.pre or options.pre_root or asks_to_stay:
        from shim.staying_options import read_staying

        options.staying = read_staying(options, wrong)
    options.init = options.init or asks_to_stay


def _asks_to_stay(options: Options) -> bool:
    return any(value and field.replace("_", "-") in STAYING for field, value in vars(options).items())


def _from_variables(options: Options, variables: list[bytes], wrong: "list[errors.Breach]") -> None:
    seen: set[str] = set()
    for entry in variables:
        variable, equals, value = entry.partition(b"=")
        shown = variable.decode("utf-8", "surrogateescape")
        name = shown[5:].lower().replace("_", "-")
        if not equals or shown in seen:
            continue
        if name not in KINDS or shown != "SHIM_" + _field(name).upper():
            options.unknown = [*options.unknown, shown]
            continue
        seen.add(shown)
        text = value.decode("utf-8", "surrogateescape")
        kind = KINDS[name]
        if text[:1] in _AROUND or text[-1:] in _AROUND:
            from shim.variables import unquoted

            text = unquoted(options, shown, text, kind)
        if kind is FLAG:
            if text.lower() not in _TRUE and text.lower() not in _FALSE:
                wrong.append(errors.Breach("", f"{shown} is neither on nor off", "set it to 1 or 0"))
            setattr(options, _field(name), text.lower() in _TRUE)
        elif text:
            _store(options, name, text, shown, wrong)


def _from_flags(options: Options, argv: list[bytes], wrong: "list[errors.Breach]") -> list[bytes]:
    """Take the options in front of *argv*; return what is left, without the `--`."""
    given: set[str] = set()
    at = 0
    while at < len(argv):
        word = argv[at]
        if not word.startswith(b"-") or word == b"-":
            break
        at += 1
        if word == b"--":
            break
        text = word.decode("utf-8", "surrogateescape")
        if text in ("-h", "--help"):
            options.action = "help"
            continue
        if text in ("-V", "--version"):
            options.action = "version"
            continue
        if text == "-v":
            text = "--verbose"
        name, equals, value = text[2:].partition("=")
        kind = KINDS.get(name) if text.startswith("--") else None
        if kind is None:
            wrong.append(errors.Breach("", f"there is no option {_flag_shown(text)}", _nearest(name)))
            continue
        if kind is FLAG:
            if equals and value.lower() not in _TRUE + _FALSE:
                wrong.append(errors.Breach("", f"--{name} is neither on nor off", f"write --{name}"))
            setattr(options, _field(name), not equals or value.lower() in _TRUE)
            continue
        if not equals:
            if at == len(argv) or argv[at] == b"--":
                wrong.append(errors.Breach("", f"--{name} needs a value", f"write --{name} VALUE"))
                continue
            value = argv[at].decode("utf-8", "surrogateescape")
            at += 1
        if name not in given and kind is not VALUE:
            setattr(options, _field(name), [])  # the flag replaces what the variable said
        given.add(name)
        _store(options, name, value, "--" + name, wrong)
    return argv[at:]


def _store(options: Options, name: str, text: str, shown: str, wrong: "list[errors.Breach]") -> None:
    kind = KINDS[name]
    if name in _CHOICES and text not in _CHOICES[name]:
        choices = " or ".join(_CHOICES[name])
        wrong.append(errors.Breach("", f"{shown} takes {choices}", f"set it to {choices}"))
    elif kind is VALUE:
        setattr(options, _field(name), text)
    else:
        parts = [part.strip() if kind is LIST else part for part in text.split(_SEPARATORS[kind])]
        given = getattr(options, _field(name))
        setattr(options, _field(name), [*given, *[part for part in parts if part]])
        if name in _OF_KEYS:
            from shim.secret import is_key

            if not all(is_key(part) for part in parts if part):
                # What is there may be a value: it is not repeated.
                wrong.append(
                    errors.Breach("", f"{shown} takes names of variables", "write KEY,KEY: A-Z, 0-9 and _ alone")
                )


def _flag_shown(text: str) -> str:
    # What follows "=", or one letter, may be a value that ended up in the wrong place.
    from shim.hide import hidden

    return hidden(text.partition("=")[0])[:40] if text.startswith("--") else text[:2]


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*KINDS, "help", "version"], 1, 0.6)
    return f"did you mean --{near[0]}?" if near else "see shim --help; put a command that starts with - after --"


def _field(name: str) -> str:
    return name.replace("-", "_")
