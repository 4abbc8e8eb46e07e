#!/usr/bin/env python3
"""The command line of the host side. A command is loaded when it runs, so that `--help` stays quick."""

import os
import re
import sys
import textwrap
from typing import Any

USAGE = 2  # what cannot work however often it is tried, like a mistake on the command line


def refuse(message: str, hint: str) -> None:
    """End before anything of ours or of others could be loaded."""
    sys.stderr.write(f"manage-secrets: error: {message}\nmanage-secrets: hint: {hint}\n")
    sys.exit(USAGE)


# This file must parse on older interpreters (3.6 and later), so that they can be told.
if sys.version_info < (3, 11):  # noqa: UP036
    refuse(
        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, and 3.11 or newer is needed",
        "run it with a newer one, e.g. python3.11, or install with pipx or uv, which find one",
    )


def without_current_folder(system: str) -> "dict[str, str]":
    """Return what keeps Windows from starting a git.exe of the current folder, which may be a stranger's checkout."""
    return {"NODEFAULTCURRENTDIRECTORYINEXEPATH": "1"} if system == "nt" else {}


os.environ.update(without_current_folder(os.name))

# After everything else, never before: the checkout's ./secrets would hide the standard library's module.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def refuse_without_extra(library: str) -> None:
    """Say which part of the distribution is not installed: what applications need is small, and comes without it."""
    refuse(
        f"the host tool is the extra `host`, and that is not installed ({library} is missing)",
        "pip install 'docker-secrets-shim[host]'; in a checkout: pip install '.[host]'",
    )


def end_interrupted(kind: Any, error: Any, trace: Any) -> None:
    """End quietly when Ctrl-C comes while others' modules are still loaded, before `main` could answer it."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("\nmanage-secrets: interrupted\n")
        os._exit(130)
    sys.__excepthook__(kind, error, trace)


sys.excepthook = end_interrupted

try:
    import click
except ModuleNotFoundError:
    refuse_without_extra("click")

from shim_host import output, shell  # noqa: E402
from shim_host.errors import FAILED, INTERRUPTED, Ended, Failed, UsageError, failed_file, stop_signals_interrupt  # noqa: E402

from shim import __version__  # noqa: E402

# Command: where it is in shim_host, and its line in --help.
COMMANDS = {
    "create-from-env": ("env:create_from_env", "Turn a .env file into one file per secret in ./secrets."),
    "generate": ("generate:generate", "Generate values in ./secrets, following the schema."),
    "set": ("one_key:set_command", "Set the value of one key: typed without echo, from a file, or generated."),
    "get": ("one_key:get_command", "Write the value of one key to a pipe or a file."),
    "edit": ("one_key:edit_command", "Edit the value of one key in your editor, in memory."),
    "remove": ("one_key:remove_command", "Remove secrets from ./secrets that nothing needs."),
    "export": ("backup.export:export_command", "Write an encrypted backup of the secrets."),
    "import": ("backup.import_:import_command", "Restore secrets from a backup into ./secrets."),
    "lock": ("backup.lock:lock_command", "Encrypt ./secrets into files for git, one per secret."),
    "unlock": ("backup.lock:unlock_command", "Decrypt the files in git into ./secrets."),
    "create-swarm": ("swarm:create_swarm", "Create Docker secrets in the Swarm from ./secrets or a .env file."),
    "list": ("list:list_command", "List every key: where it is stored, how old it is, which services get it."),
    "validate": ("validate:validate", "Check the schema, the values and the Compose file against each other."),
    "diff": ("list:diff", "Compare .env, ./secrets, the Swarm and running containers by fingerprint."),
    "rotate": ("rotate.rotate:rotate_command", "Replace the value of keys everywhere, without a failed request."),
    "sync": ("rotate.sync:sync_command", "Move every service to the newest version, or to what is in ./secrets."),
    "adopt": ("rotate.adopt:adopt_command", "Take over Swarm secrets that were not created by this tool."),
    "rollback": ("rotate.rotate:rollback_command", "Move every service back to the previous version."),
    "history": ("rotate.rotate:history_command", "Show who created each version of a key, and when."),
    "audit": ("audit:audit_command", "Show who can read each secret, and what is wrong with that."),
    "prune": ("swarm:prune", "Remove versions from the Swarm that are no longer used."),
    "migrate": ("migrate.migrate:command", "Move the secrets of a Compose project from its .env to files."),
    "image": ("engine.image:image_command", "Load the image docker-secrets-shim into the engine."),
    "shim": ("engine.image:shim_command", "Write the shim, a static binary, to a folder."),
    "types": ("types:types", "Write typed code that loads an application's secrets, from the schema."),
    "plugin": ("engine.plugin:plugin", "Add `docker secretshim` to Docker's command line."),
    "compose": ("engine.provider:compose", "Act as a provider for Docker Compose."),
    "completion": ("completion:completion_command", "Write the code that completes commands and keys in your shell."),
    "doctor": ("doctor:doctor_command", "Show what will not work on this machine, and what to do about it."),
}

# What people try who know other tools.
OTHER_WORDS = {
    **dict.fromkeys(("add", "change", "new", "put", "update"), "set"),
    **dict.fromkeys(("cat", "read", "show"), "get"),
    **dict.fromkeys(("del", "delete", "rm", "unset"), "remove"),
    **dict.fromkeys(("ls", "ps", "status"), "list"),
    **dict.fromkeys(("check", "lint", "verify"), "validate"),
    "backup": "export",
    "compare": "diff",
    "convert": "migrate",
    "decrypt": "unlock",
    "encrypt": "lock",
    "help": "--help",
    "init": "create-from-env",
    "restore": "import",
    "undo": "rollback",
    "version": "--version",
}

VERBOSE = click.Option(
    ["-v", "--verbose"],
    is_flag=True,
    expose_value=False,
    callback=lambda _ctx, _option, value: output.be_verbose(is_verbose=value),
    help="Show each step.",
)

EXAMPLES = """\b
Examples:
  manage-secrets create-from-env .env --dry-run
  manage-secrets create-from-env .env --generate-missing
  manage-secrets COMMAND --help

\b
Exit codes: 0 success, 1 findings or refused, 2 usage, 111 the engine or the file
system failed (a retry may help), 130 interrupted.

"""


class Lazy(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Return the names of all commands, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command, imported now; None when there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"shim_host.commands.{module}"), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a command")
        if VERBOSE not in command.params:
            command.params.append(VERBOSE)
            refuse_repeats(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> "tuple[str | None, click.Command | None, list[str]]":
        """Find the command; a slip of the finger gets a hint."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from shim_host.inputs import did_you_mean

            begun = [name for name in COMMANDS if len(args[0]) > 1 and name.startswith(args[0])]
            meant = OTHER_WORDS.get(args[0]) or " or ".join(begun)
            hints = [f"did you mean {meant}?"] if meant else did_you_mean(args[0], COMMANDS)
            hints = hints or [f"{ctx.command_path} --help lists them"]
            name = args[0].partition("=")[0]  # KEY=VALUE is not repeated
            raise UsageError(f"there is no command {output.shown(name)}", *hints)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


def refuse_repeats(command: click.Command) -> None:
    """Let *command* refuse a second value for an option that takes one: click drops the first without a word."""
    make_parser = command.make_parser

    def make_strict_parser(ctx: click.Context) -> Any:
        parser = make_parser(ctx)
        parse_args = parser.parse_args

        def parse_strictly(args: list[str]) -> Any:
            parsed = parse_args(args)
            repeat_in_hints(command, parsed[0], parsed[2])
            given = [option for option in parsed[2] if isinstance(option, click.Option)]
            for option in given:
                takes_one = not (option.multiple or option.is_flag or option.count)
                if takes_one and given.count(option) > 1:
                    raise click.UsageError(f"{option.opts[0]} is given twice, and takes one value", ctx)
            return parsed

        parser.parse_args = parse_strictly  # type: ignore[method-assign]
        return parser

    command.make_parser = make_strict_parser  # type: ignore[method-assign]


def repeat_in_hints(command: click.Command, values: "dict[str, Any]", params: "list[click.Parameter]") -> None:
    """See that the commands that hints offer have the options that were given."""
    given: dict[str, list[str]] = {word: [] for param in command.params for word in param.opts if word == "--compose"}
    for param in dict.fromkeys(params):
        value = values.get(str(param.name))
        words = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
        name = max(param.opts, key=len)
        said = [word for word in words if isinstance(word, str) and word]
        given.setdefault(name, []).extend(said)
        if name in ("files", "--compose"):  # migrate's arguments, rotate's option
            given.setdefault("--file", []).extend(said)
    shell.know(options_of)
    shell.repeat(given)


def options_of(name: str) -> "list[str]":
    """Return the options of the command *name*; none where there is no such command."""
    command = cli.get_command(click.Context(cli), name)
    return [word for param in command.params for word in param.opts] if command is not None else []


@click.group(
    cls=Lazy,
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(__version__, prog_name=output.PROGRAM)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Manage the secrets of Docker Compose projects and Swarm stacks, from the first .env to the last rotation.

    Data goes to stdout, messages to stderr. Only get writes a value, and to a terminal only with --show.
    """
    output.help_alone(ctx)


def use_utf8() -> None:
    """Read files and their names as Docker Compose does, whatever the locale: as UTF-8. Python must be told first."""
    is_told = "utf8" in sys._xoptions  # by us, or by somebody who wants it otherwise
    if sys.getfilesystemencoding() != "utf-8" and not is_told and sys.executable:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606  (ourselves)


def main() -> None:
    """Run the command line; an error becomes a message and an exit code."""
    use_utf8()
    output.open_streams()
    # click wraps --help with this, and would break names at hyphens, which then cannot be copied.
    textwrap.TextWrapper.wordsep_re = textwrap.TextWrapper.wordsep_simple_re
    is_json = "--json" in sys.argv[1:]
    if is_json:
        output.hold_json()
    try:
        code = outcome(sys.argv[1:], is_json)
        output.finish_json()
    except BrokenPipeError:
        output.drop_data()  # nobody reads stdout any more
        code = 0
    except output.Unwritten as error:
        output.explain(failed_file("write to", "stdout", error))
        output.drop_data()
        code = FAILED
    end(code)


def outcome(words: list[str], is_json: bool) -> int:
    """Run the command of *words*, and return its exit code; with `--json`, an error is part of the document, too."""
    hints: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    try:
        done = run(words)
        return done if isinstance(done, int) else 0
    except (BrokenPipeError, output.Unwritten):
        raise
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        ended = misused(error)
        output.explain(ended)
        message, hints, code = ended.message, ended.hints, error.exit_code
    except (click.Abort, KeyboardInterrupt):
        message, code = "interrupted", INTERRUPTED
        output.say(message)
    except Ended as ended:
        output.explain(ended)
        message, hints, code = ended.message, ended.all_hints, ended.code
        others = tuple(other.message for other in ended.others)
    except Exception as error:  # noqa: BLE001  (a bug: said as one, without the message, which may hold a value)
        library = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if library in sys.stdlib_module_names:
            refuse(
                f"this Python has no {library}, which is part of its standard library",
                "use a complete one; on Debian and Ubuntu: apt-get install python3 (not only python3-minimal)",
            )
        if library and library not in ("shim", "docker_secrets_shim", "shim_host"):
            refuse_without_extra(library)
        if isinstance(error, FileNotFoundError) and not has_folder():
            failed = Failed("the current folder no longer exists", "change to the folder of the project")
            output.explain(failed)
            message, hints, code = failed.message, tuple(failed.hints), failed.code
        else:
            explain_bug(error)
            message, code = f"internal error: {type(error).__name__}", FAILED
    if is_json:
        output.fail_json(message, hints, code, others)
    return code


TAKE_VALUES = ("create-from-env", "edit", "generate", "get", "remove", "rotate", "set")  # or people think that they do
WRONG_PATH = re.compile(
    r"Invalid value for '(?P<name>[^']*)'(?: / '[^']*')*: (?:File|Directory|Path) '(?P<path>.*)' (?P<what>[a-z ]+)",
    re.DOTALL,
)


def misused(error: click.ClickException) -> UsageError:
    """Return in our words what click says of a mistake on the command line, with where to look it up."""
    text = error.format_message().partition(" Choose from:")[0].rstrip(".")
    context = getattr(error, "ctx", None)
    hints = []
    if "unexpected extra argument" in text:  # which may be a value
        text = "there are more arguments than this command takes"
        if context is not None and context.command.name in TAKE_VALUES:
            hints.append("a value is typed, or comes from a file or a pipe: arguments can be seen by others")
    wrong = WRONG_PATH.fullmatch(text)  # in the words of an older Python, which reads this file, too
    if wrong:
        option = wrong["name"] + ": " if wrong["name"].startswith("-") else ""
        named = output.shown(wrong["path"].partition("=")[0])  # KEY=VALUE is not repeated
        text = f"{option}{named} {wrong['what']}"
    if isinstance(error, click.NoSuchOption):
        text = f"there is no option {output.shown(error.option_name)}"
        if error.possibilities:
            hints.append(f"did you mean {' or '.join(sorted(error.possibilities))}?")
    if context is not None:
        hints.append(f"{context.command_path} --help shows how it is used")
    return UsageError(text[:1].lower() + text[1:] if text[1:2].islower() else text, *hints)


def run(words: list[str]) -> object:
    """Run the command that *words* name, or that Docker means, whose plugin this can be."""
    program = output.PROGRAM
    if "secretshim" in words or words[:1] == ["docker-cli-plugin-metadata"]:
        from shim_host.apps import docker_plugin

        if words[:1] == [docker_plugin.METADATA]:
            output.give_message(docker_plugin.metadata(__version__))
            return 0
        call = docker_plugin.read_call(words)
        if call is not None:
            shell.speak_as(["docker", *words[: words.index(docker_plugin.NAME) + 1]])
            words, program = call.words, f"docker {docker_plugin.NAME}"
            os.environ.update(call.environ)
    with stop_signals_interrupt():
        return cli.main(words, prog_name=program, standalone_mode=False)


def has_folder() -> bool:
    """Return whether the folder that this runs in is still there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def explain_bug(error: BaseException) -> None:
    """Say where a bug showed: the places in the code, and the kind of error, but no message and no local variable."""
    import traceback

    output.say(f"internal error: {type(error).__name__}")
    for frame in traceback.extract_tb(error.__traceback__):
        output.say(f"  {os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}")
    output.say("hint: this is a bug in manage-secrets; please report these lines")


def end(code: int) -> None:
    """End with *code*, unless it is said already by falling off the end."""
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
