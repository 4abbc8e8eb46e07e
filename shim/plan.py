"""What was decided, before anything is done: options, sources and schema become a `Plan`, a plan the environment."""

from shim import errors, kernel
from shim.environment import child_environment
from shim.options import NO_SCHEMA
from shim.resolve import resolve
from shim.sources import gather, is_searchable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shim.deliver import Delivered
    from shim.options import Options
    from shim.render import Rendered
    from shim.resolution import Resolution
    from shim.schema import Schema
    from shim.template import Part
    from shim.user import Target

SCHEMA_PLACES = (b"/etc/shim/env.schema", b"./.env.schema")
_MAX_SCHEMA_BYTES = 262_144  # schema.py says why
_MOST_GENERATIONS = 100  # the kubelet replaces a folder once a minute; who does it in each millisecond gets no promise


class Plan:
    """Everything that was decided, and nothing done yet."""

    # What it hands over as files: nothing, until something asks for that.
    rendered: "Sequence[Rendered]" = ()
    owned: "Mapping[str, Target | None]" = {}  # noqa: RUF012  (never written to)
    had: "Sequence[str]" = ()  # the keys whose values were handed over and forgotten
    templates: "dict[str, list[Part]]"  # those of `rendered`, once there are any

    def __init__(
        self, options: "Options", resolution: "Resolution", target: "Target | None", schema: "Schema | None"
    ) -> None:
        self.options = options
        self.resolution = resolution
        self.target = target
        self.schema = schema

    def forget(self) -> None:
        """Drop the values, once the service has them."""
        self.had = list(self.resolution.secrets)
        del self.resolution
        self.rendered = ()


def prepare(options: "Options", environ: list[bytes], before: Plan | None = None) -> Plan:
    """Return the `Plan` of a start; nothing has been changed yet.

    Args:
        options: what the user asked for.
        environ: the raw environment.
        before: the plan of a start that goes on. Its schema holds: what the service could write since, nobody reads.

    Raises:
        Refused: every breach of options, schema, sources, values, templates and user at once.
    """
    warnings: list[tuple[str, str]] = []
    schema = load_schema(options, warnings) if before is None else before.schema
    resolution = _resolved(options, environ, schema)
    if options.wait_seconds and resolution.breaches and before is None and options.action == "start":
        from shim import wait

        resolution = wait.until_there(resolution, lambda: _resolved(options, environ, schema), options.wait_seconds)
    sources = resolution.sources
    if before is None and options.action != "exec" and (warnings or sources.warnings):
        from shim import stderr

        stderr.warnings([*warnings, *sources.warnings])
    breaches = resolution.breaches
    target = None
    if options.user:
        from shim.user import reachable_user

        try:
            target = reachable_user(options.user, is_said=before is None and options.action != "exec")
        except errors.Refused as refusal:
            breaches += refusal.breaches
    plan = Plan(options, resolution, target, schema)
    if options.action != "exec":
        if options.render and not (resolution.sources.is_one_off or options.schema == NO_SCHEMA):
            from shim.render import render

            plan.templates = {} if before is None else before.templates
            plan.rendered = render(options, resolution, target, plan.templates, breaches)
        if _delivers_files(resolution):
            from shim import deliver

            plan.owned = deliver.owners(resolution, target, breaches)
            deliver.check_private_folders(plan.owned, options, resolution, breaches)
    if breaches:
        raise errors.Refused(breaches)
    return plan


def _resolved(options: "Options", environ: list[bytes], schema: "Schema | None") -> "Resolution":
    """Return the values, all of one generation where Kubernetes replaces the files of a root meanwhile."""
    tries = _MOST_GENERATIONS
    while True:
        sources = gather(environ, options, schema)
        resolution = resolve(sources, options, schema)
        has_moved = sources.generations is not None and sources.has_moved()
        sources.close()
        tries -= 1
        if not has_moved or not tries:
            return resolution


def _delivers_files(resolution: "Resolution") -> bool:
    schema = resolution.schema
    if schema is None or not schema.delivers_files:
        return False
    return any(spec.deliver in ("file", "memfd") for spec in schema.keys.values())


def load_schema(options: "Options", warnings: list[tuple[str, str]]) -> "Schema | None":
    """Return the service's schema from --schema, /etc/shim/env.schema or ./.env.schema; None when there is none.

    The last of these counts only if nobody but root and we could have put it there; what was left alone goes to
    *warnings*.
    `--schema none` asks for none: a one-off command, or the build of an image, has no secrets and needs none.

    Raises:
        Refused: --schema names no file, the file cannot be read, or it has mistakes.
    """
    if options.schema in (NO_SCHEMA, "/dev/null"):
        return None
    places = (options.schema.encode("utf-8", "surrogateescape"),) if options.schema else SCHEMA_PLACES
    for path in places:
        is_beside_us = not options.schema and path[:1] == b"."
        try:
            mode, _, text = kernel.read_file(path, _MAX_SCHEMA_BYTES, not is_beside_us)
        except OSError as error:
            if not options.schema and (error.errno in (2, 20) or _is_closed(path, error)):
                continue
            if not is_beside_us:
                raise errors.Refused([_unreadable_schema(path, error)]) from None
        if is_beside_us:
            from shim.folder import read_beside_us

            try:
                mode, _, text = read_beside_us(path[2:], _MAX_SCHEMA_BYTES)
            except errors.Breach as trouble:
                hint = "COPY it to /etc/shim/env.schema in the image, or name it with --schema (SHIM_SCHEMA)"
                warnings.append((f"{path.decode()} is left alone: it {trouble.message}", hint))
                continue
            except OSError as error:
                raise errors.Refused([_unreadable_schema(path, error)]) from None
        shown = path.decode("utf-8", "surrogateescape")
        if mode & 0o170000 != 0o100000 or len(text) > _MAX_SCHEMA_BYTES:
            message = f"the schema {shown} is not a file of at most {_MAX_SCHEMA_BYTES} bytes"
            raise errors.Refused([errors.Breach("", message, "name the file itself with --schema (SHIM_SCHEMA)")])
        from shim.schema import parse

        schema = parse(text, shown)
        return schema.for_service(options.service) if options.service else schema
    return None


def _is_closed(path: bytes, error: OSError) -> bool:
    """Return whether nobody can have meant the schema at *path* for us: we may not search the working directory."""
    if error.errno != 13 or path[:1] != b".":
        return False
    return not is_searchable()


def _unreadable_schema(path: bytes, error: OSError) -> "errors.Breach":
    from shim.breaches import Unreadable

    message = f"the schema {path.decode('utf-8', 'surrogateescape')} cannot be read: {error.strerror}"
    if error.errno in (2, 20):
        return errors.Breach("", message, "check --schema (SHIM_SCHEMA), or COPY the file into the image")
    if error.errno in (1, 13):  # EPERM, EACCES
        return Unreadable("", message, "make it world-readable; it holds no secret")
    return Unreadable("", message, "a retry may help; otherwise check the limits of memory and open files")


def warn(plan: Plan) -> None:
    """Say what is likely to surprise in front of the image that the profile knows."""
    chosen = plan.resolution.sources.chosen
    if chosen is not None:
        from shim import profile_effects, stderr

        stderr.warnings(profile_effects.warnings(chosen.profile, plan.resolution, plan.options))


def child_of(
    plan: Plan, environ: list[bytes], delivered: "Delivered | None" = None
) -> "tuple[list[bytes], Delivered | None]":
    """Return the service's environment, and what was delivered as files for it, if anything.

    Args:
        plan: what was decided.
        environ: the raw environment.
        delivered: what was delivered for the same plan before, to be used again.

    Raises:
        Refused: a file cannot be written; nothing is left behind.
    """
    if delivered is None and (plan.rendered or _delivers_files(plan.resolution)):
        from shim import deliver

        delivered = deliver.hand_over(plan.options, plan.resolution, plan.rendered, plan.owned, plan.target)
    extra: dict[str, bytes | None] = {} if delivered is None else dict(delivered.variables)
    if plan.target is not None:
        from shim.user import variables

        secrets = plan.resolution.secrets
        changed = variables(plan.target, plan.resolution.sources.env)
        extra.update([(key, value) for key, value in changed.items() if key not in secrets])
    return child_environment(environ, plan.resolution, plan.options, extra), delivered
