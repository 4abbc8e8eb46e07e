"""The story of a start: options, sources, resolve, environment, launch; an error becomes a message and an exit code."""

import posix

from shim import kernel
from shim.errors import WORLD, Breach, Refused, Unreadable
from shim.options import read_options, warn_of_unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.deliver import Delivered, Rendered
    from shim.options import Options
    from shim.resolve import Resolution
    from shim.schema import Schema
    from shim.user import Target

SCHEMA_PLACES = (b"/etc/shim/env.schema", b"./.env.schema")
_MAX_SCHEMA_BYTES = 1_048_576
_RLIMIT_CORE = 4
_PR_SET_NO_NEW_PRIVS = 38


class Plan:
    """Everything that was decided, and nothing done yet."""

    __slots__ = ("options", "rendered", "resolution", "target")

    def __init__(
        self, options: "Options", resolution: "Resolution", target: "Target | None", rendered: "list[Rendered]"
    ) -> None:
        self.options = options
        self.resolution = resolution
        self.target = target
        self.rendered = rendered

    def forget(self) -> None:
        """Drop the values, once the service has them."""
        del self.resolution, self.rendered


def run() -> None:
    """Do what argv and the environment ask for. Does not return: it becomes the service, or exits."""
    try:
        code = main(kernel.argv[1:], kernel.environ)
    except Refused as refusal:
        code = report_refusal(refusal)
    except MemoryError:
        code = report_refusal(Refused([_world("out of memory", "raise the container's memory limit")]))
    except BaseException as error:  # noqa: BLE001  (a bug: its frames are shown, its words may hold a value and are not)
        code = report_bug(error)
    posix._exit(code)


def main(argv: list[bytes], environ: list[bytes]) -> int:
    """Return the exit code of a command that ends; a start does not return unless it fails.

    Raises:
        Refused: with all that is wrong.
    """
    if b"SHIM_LOG=json" in environ:
        from shim import stderr

        stderr.use_json()
    options = read_options(argv, environ)
    if options.log:
        from shim import stderr

        stderr.use_json(options.log == "json")
    if options.unknown and options.action in ("start", "check", "explain"):
        warn_of_unknown(options)
    if options.action in ("start", "exec"):
        return start(options, environ)
    kernel.restore_signals()
    if options.action == "ps":
        from shim import ps

        return ps.run(options)
    from shim import report

    return report.run(options, environ)


def start(options: "Options", environ: list[bytes]) -> int:
    """Resolve, hand over, and become the service (or stay as its init); return only the code of a failed start."""
    stays = options.init and options.action == "start"
    kernel.end_on_stop_signals()
    plan = prepare(options, environ)
    kernel.block_signals()
    if options.profile and options.action == "start":
        warn(plan)
    if options.verbose:
        from shim import report

        report.say_what_was_done(plan)
    if stays:
        from shim import init

        return init.start(plan, environ)
    child, delivered = child_of(plan, environ, options.action == "exec")
    try:
        if options.pre and options.action == "start":
            from shim import init

            code = init.run_before(plan, child)
            if code:
                if delivered is not None:
                    delivered.undo()
                return code
        restrict(options, plan.target)
        from shim.launch import execute

        raise Refused([execute(options.argv, child)])
    except Refused:
        if delivered is not None:
            delivered.undo()
        raise


def child_of(
    plan: Plan, environ: list[bytes], leaves_no_file: bool, delivered: "Delivered | None" = None
) -> "tuple[list[bytes], Delivered | None]":
    """Return the service's environment, and what was delivered as files for it, if anything.

    Args:
        plan: what was decided.
        environ: the raw environment.
        leaves_no_file: deliver in memory what would be a file.
        delivered: what was delivered for the same plan before, to be used again.

    Raises:
        Refused: a file cannot be written; nothing is left behind.
    """
    from shim.environment import child_environment

    if delivered is None and (plan.rendered or _delivers_files(plan.resolution)):
        from shim import deliver

        delivered = deliver.hand_over(plan.resolution, plan.rendered, plan.target, leaves_no_file)
    extra = {} if delivered is None else delivered.variables
    if plan.target is not None:
        extra = {**extra, "HOME": plan.target.home}
    return child_environment(environ, plan.resolution, plan.options, extra), delivered


def prepare(options: "Options", environ: list[bytes]) -> Plan:
    """Return the `Plan` of a start; nothing has been changed yet.

    Raises:
        Refused: every breach of options, schema, sources, values, templates and user at once.
    """
    from shim.resolve import resolve
    from shim.sources import gather

    schema = load_schema(options)
    resolution = resolve(gather(environ, options, schema), options, schema)
    breaches = resolution.breaches
    rendered: list[Rendered] = []
    renders = bool(options.render) and options.action != "exec" and not resolution.sources.is_one_off
    if renders or _delivers_files(resolution):
        from shim import deliver

        if renders:
            rendered = deliver.render(options, resolution, breaches)
            deliver.check_private_folder(resolution, breaches)
    target = None
    if options.user:
        from shim.user import find_user

        try:
            target = find_user(options.user)
        except Refused as refusal:
            breaches = breaches + refusal.breaches
    if breaches:
        raise Refused(breaches)
    return Plan(options, resolution, target, rendered)


def warn(plan: Plan) -> None:
    """Say what is likely to surprise in front of the image that the profile knows."""
    chosen = plan.resolution.sources.chosen
    if chosen is not None:
        from shim import profile_effects, stderr

        for message, hint in profile_effects.warnings(chosen.profile, plan.resolution, plan.options):
            stderr.warning(message, hint)


def _delivers_files(resolution: "Resolution") -> bool:
    schema = resolution.schema
    return schema is not None and any(spec.deliver in ("file", "memfd") for spec in schema.keys.values())


def load_schema(options: "Options") -> "Schema | None":
    """Return the service's schema from --schema, /etc/shim/env.schema or ./.env.schema; None when there is none.

    Raises:
        Refused: --schema names no file, the file cannot be read, or it has mistakes.
    """
    places = (options.schema.encode("utf-8", "surrogateescape"),) if options.schema else SCHEMA_PLACES
    for path in places:
        try:
            mode, _, text = kernel.read_file(path, _MAX_SCHEMA_BYTES, True)
        except OSError as error:
            if not options.schema and (error.errno in (2, 20) or _is_closed(path, error)):
                continue
            raise Refused([_unreadable_schema(path, error)]) from None
        shown = path.decode("utf-8", "surrogateescape")
        if mode & 0o170000 != 0o100000 or len(text) > _MAX_SCHEMA_BYTES:
            message = f"the schema {shown} is no file of at most {_MAX_SCHEMA_BYTES} bytes"
            raise Refused([Breach("", message, "name the file itself with --schema (SHIM_SCHEMA)")])
        from shim.schema import parse

        schema = parse(text, shown)
        return schema.for_service(options.service) if options.service else schema
    return None


def _is_closed(path: bytes, error: OSError) -> bool:
    """Return whether nobody can have meant the schema at *path* for us: we may not search the working directory."""
    if error.errno != 13 or path[:1] != b".":
        return False
    from shim.sources import is_searchable

    return not is_searchable()


def _unreadable_schema(path: bytes, error: OSError) -> Breach:
    message = f"the schema {path.decode('utf-8', 'surrogateescape')} cannot be read: {error.strerror}"
    if error.errno in (2, 20):
        return Breach("", message, "check --schema (SHIM_SCHEMA), or COPY the file into the image")
    if error.errno in (1, 13):  # EPERM, EACCES
        return Unreadable("", message, "make it world-readable; it holds no secret")
    return Unreadable("", message, "a retry may help; else look at the limits of memory and open files")


def restrict(options: "Options", target: "Target | None") -> None:
    """Give up what the service must not have: core files, other users' rights, new privileges."""
    if options.no_core:
        kernel.setrlimit(_RLIMIT_CORE, 0, 0)
    if target is not None:
        from shim.user import become

        become(target)
    if options.no_new_privs:
        kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _world(message: str, hint: str) -> Breach:
    breach = Breach("", message, hint)
    breach.code = WORLD
    return breach


def report_refusal(refusal: Refused) -> int:
    """Write every breach; return the exit code."""
    from shim import stderr

    for breach in refusal.breaches:
        stderr.error(breach)
    return refusal.code


def report_bug(error: BaseException) -> int:
    """Write where it happened, and no word of the exception: it may hold a value."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return report_refusal(
        Refused(
            [
                _world(
                    f"internal error: {type(error).__name__} at " + " < ".join(reversed(frames)),
                    "this is a bug of the shim; please report this line, it holds no value",
                )
            ]
        )
    )
