"""The story of a start: options, plan, environment, launch; an error becomes a message and an exit code."""

import posix

from shim import errors, kernel
from shim.launch import execute, restrict
from shim.plan import child_of, prepare, warn
from shim.read_options import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.options import Options


def run() -> None:
    """Do what argv and the environment ask for. Does not return: it becomes the service, or exits."""
    try:
        code = main(kernel.argv[1:], kernel.environ)
    except BaseException as error:  # noqa: BLE001  (a bug too)
        from shim import stderr

        code = stderr.report(error)
    posix._exit(code)


def main(argv: list[bytes], environ: list[bytes]) -> int:
    """Return the exit code of a command that ends; a start does not return unless it fails.

    Raises:
        Refused: with everything that is wrong.
    """
    if b"SHIM_LOG=json" in environ:
        from shim import stderr

        stderr.use_json()
    options = read_options(argv, environ)
    if options.log:
        from shim import stderr

        stderr.use_json(options.log == "json")
    if (options.unknown or options.unquoted) and options.action in ("start", "check", "explain"):
        from shim import variables

        variables.warn(options)
    if options.action in ("start", "exec"):
        return start(options, environ)
    kernel.restore_signals()
    if options.action == "ps":
        from shim import ps

        return ps.run(options)
    if options.action == "install":
        from shim import install

        return install.run(options.argv[0])
    if options.action in ("help", "version"):
        from shim.help import run as show

        return show(options.action)
    from shim import explain

    return explain.run(options, environ)


def start(options: "Options", environ: list[bytes]) -> int:
    """Resolve, hand over, and become the service (or stay as its init); return only the code of a failed start."""
    stays = options.init and options.action == "start"
    if stays:
        kernel.wipe_what_is_freed()
    kernel.end_on_stop_signals()
    plan = prepare(options, environ)
    kernel.block_signals()
    if options.profile and options.action == "start":
        warn(plan)
    if options.verbose:
        from shim import explain

        explain.say_what_was_done(plan)
    if stays:
        from shim import stay

        return stay.start(plan, environ)
    child, delivered = child_of(plan, environ)
    try:
        if options.staying is not None and options.action == "start":
            from shim import stay

            code = stay.run_before(plan, environ, child)
            if code:
                if delivered is not None:
                    delivered.undo()
                return code
        restrict(options, plan.target)
        cannot_start = execute(options.argv, child)
        raise errors.Refused([cannot_start])
    except errors.Refused:
        if delivered is not None:
            delivered.undo()
        raise
