"""`check`, `explain` and -v: what a start would do, and where each value comes from. No value leaves here."""

import os

from shim import profile_effects, stdout
from shim.environment import child_environment
from shim.errors import CHANGE, Breach, Refused
from shim.fingerprint import fingerprint, keyed
from shim.options import Options
from shim.plan import Plan, load_schema, prepare, warn
from shim.resolution import Resolution
from shim.resolve import resolve
from shim.shown import printable
from shim.sources import gather
from shim.stderr import report_refusal

# What execve(2) takes at the most, whatever the stack limit is, and what each string costs besides its bytes.
_MOST_ARGUMENT_BYTES = 6 << 20
_POINTER_BYTES = 8
_KEY_DIGITS = 64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def run(options: Options, environ: list[bytes]) -> int:
    """Do the command that *options* name, "check" or "explain"; return its exit code.

    Raises:
        Refused: it cannot answer; with --json that is a document too.
    """
    try:
        return _check(options, environ) if options.action == "check" else _explain(options, environ)
    except Refused as refusal:
        if options.json:
            stdout.give_refused(options.action, refusal.breaches)
        raise


def _check(options: Options, environ: list[bytes]) -> int:
    breaches: list[Breach] = []
    try:
        plan = prepare(options, environ)
    except Refused as refusal:
        breaches = refusal.breaches
    else:
        breaches = _over_the_limit(child_environment(environ, plan.resolution, options))
        warn(plan)
        if options.verbose:
            say_what_was_done(plan)
    if options.json:
        stdout.give_json({"ok": not breaches, "breaches": [stdout.row(breach) for breach in breaches]})
    elif breaches:
        report_refusal(Refused(breaches))
    # It could look, and found something: a retry of the service may help with that, but not of this question.
    return CHANGE if breaches else 0


def _over_the_limit(environment: list[bytes]) -> list[Breach]:
    """Return why no command at all could be started with *environment*: execve(2) counts strings and their pointers."""
    most = min(os.sysconf("SC_ARG_MAX"), _MOST_ARGUMENT_BYTES)
    if sum(len(entry) + 1 + _POINTER_BYTES for entry in environment) <= most:
        return []
    return [
        Breach(
            "",
            f"the environment alone exceeds the kernel's limit of {most} bytes for it and the arguments",
            "hand large values over as files (@deliver=file), export fewer keys (--only), or raise the stack limit",
        )
    ]


def _explain(options: Options, environ: list[bytes]) -> int:
    schema = load_schema(options, [])  # `prepare` reads it once more, and warns
    resolution = resolve(gather(environ, options, schema), options, schema)
    breaches = list(resolution.breaches)
    try:
        prepare(options, environ)
    except Refused as refusal:
        breaches = refusal.breaches
    rows = _rows(resolution, options)
    left_alone = [{"name": name, "reason": reason} for name, reason in resolution.sources.left_alone]
    chosen = resolution.sources.chosen
    known = list(profile_effects.changes(chosen.profile)) if chosen is not None else []
    if options.json:
        profile = chosen and {"name": chosen.profile.name, "why": chosen.why, "changes": known}
        document: dict[str, object] = {
            "fingerprints": "hmac" if options.fingerprint_key_stdin else "salt" if options.salt else None,
            "keys": rows,
            "left_alone": left_alone,
            "breaches": [stdout.row(breach) for breach in breaches],
            "profile": profile,
        }
        stdout.give_json(document)
    else:
        text = _table(rows) + "".join(
            f"{printable(row['name'])}  left alone: {printable(row['reason'])}\n" for row in left_alone
        )
        if chosen is not None:
            text += f"profile {chosen.profile.name}  {chosen.profile.title}: {printable(chosen.why)}\n"
            text += "".join(f"profile {chosen.profile.name}  {words}\n" for words in known)
        elif options.profile == "auto":
            text += "profile auto  recognises no image that is known by its variables\n"
        stdout.write(text)
        if breaches:
            report_refusal(Refused(breaches))
    return Refused(breaches).code if breaches else 0


def _rows(resolution: Resolution, options: Options) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    fingerprint_of = _fingerprints(options)
    running = _running_environment()
    specs = resolution.schema.keys if resolution.schema is not None else {}
    for key in {**resolution.sources.asked, **resolution.secrets}:
        resolved = resolution.secrets.get(key)
        spec = specs.get(key)
        row: dict[str, object] = {"key": key, "origin": None, "path": None, "length": None, "fingerprint": None}
        row["started"] = None  # the fingerprint of what the service that runs here was started with
        if resolved is not None:
            value = resolved.secret.reveal()
            row["origin"] = resolved.origin
            row["path"] = resolved.path.decode("utf-8", "surrogateescape") or None
            row["length"] = len(value)
            row["fingerprint"] = fingerprint_of(value, key)
            had = running.get(os.fsencode(key))
            if had is not None:
                row["started"] = row["fingerprint"] if had == value else fingerprint_of(had, key)
            row["deliver"] = resolved.deliver
            row["overrides_environment"] = _overrides(resolution, key)
        row["required"] = key in options.require or (spec is not None and spec.is_required)
        row["sensitive"] = spec.is_sensitive if spec is not None else None
        rows.append(row)
    return rows


def _running_environment() -> dict[bytes, bytes]:
    """Return the environment of what runs in this container: PID 1, or below an init its first child.

    A file that was edited in place says here what it holds now, and the service still has what it was started with.
    Nothing where that cannot be read: no /proc, or another user's process.
    """
    found: dict[bytes, bytes] = {}
    try:
        with open("/proc/1/task/1/children", "rb") as file:
            processes = [b"1", *file.read().split()[:1]]
        for number in processes:
            with open(b"/proc/" + number + b"/environ", "rb") as file:
                entries = (entry.partition(b"=") for entry in file.read().split(b"\0"))
                found.update((name, value) for name, mark, value in entries if mark)
    except OSError:
        pass  # what was read so far counts
    return found


def _fingerprints(options: Options) -> "Callable[[bytes, str], str | None]":
    """Return what makes the fingerprints: under the key on stdin, else with the salt, else none at all.

    One without key and salt would help whoever sees it to guess a weak value.

    Raises:
        Refused: stdin holds no key.
    """
    if options.fingerprint_key_stdin:
        deployment_key = _key_on_stdin()
        return lambda value, key: keyed(value, key, deployment_key)
    if options.salt:
        salt = options.salt.encode("utf-8", "surrogateescape")
        return lambda value, key: fingerprint(value, key, salt)
    return lambda _value, _key: None


def _key_on_stdin() -> bytes:
    text = b""
    try:
        while len(text) < _KEY_DIGITS and (block := os.read(0, _KEY_DIGITS - len(text))):
            text += block
        if len(text) == _KEY_DIGITS:
            return bytes.fromhex(text.decode("ascii"))
    except (OSError, ValueError):
        pass  # closed, or something else: said below, without what it was
    hint = f"write {_KEY_DIGITS} hexadecimal digits to it, as manage-secrets does"
    raise Refused([Breach("", "stdin does not contain a fingerprint key", hint)])


def _overrides(resolution: Resolution, key: str) -> bool:
    resolved = resolution.secrets[key]
    given = resolution.sources.env.get(key, b"")
    return resolved.origin in ("file", "root") and bool(given) and given != resolved.secret.reveal()


def _table(rows: list[dict[str, object]]) -> str:
    lines: list[tuple[str, ...]] = []
    for row in rows:
        if row["origin"] is None:
            lines.append((printable(str(row["key"])), "absent", "", "", "required" if row["required"] else "optional"))
            continue
        words = [str(row["deliver"])] if row["deliver"] != "env" else []
        if row["overrides_environment"]:
            words.append("wins over the environment")
        length = f"{row['length']} byte{'' if row['length'] == 1 else 's'}"
        path = printable(str(row["path"] or ""))
        its_print = str(row["fingerprint"] or "-")
        lines.append((printable(str(row["key"])), str(row["origin"]), its_print, length, path, *words))
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(4)]
    return "".join(
        "  ".join([*(word.ljust(width) for word, width in zip(line, widths, strict=False)), *line[4:]]).rstrip() + "\n"
        for line in lines
    )


def say_what_was_done(plan: Plan) -> None:
    """Write one line per key to stderr: where its value came from."""
    from shim import stderr

    done = []
    chosen = plan.resolution.sources.chosen
    if chosen is not None:
        done.append(f"profile {chosen.profile.name}: {chosen.why}")
    for key, resolved in plan.resolution.secrets.items():
        source = resolved.path.decode("utf-8", "surrogateescape") or resolved.origin
        how = "" if resolved.deliver == "env" else f", delivered as {resolved.deliver}"
        over = ", in place of the environment's value" if _overrides(plan.resolution, key) else ""
        done.append(f"{key} from {source} ({resolved.origin}){over}{how}")
    done += [f"{name} left alone: {reason}" for name, reason in plan.resolution.sources.left_alone]
    done += [f"rendered {file.path.decode('utf-8', 'backslashreplace')}" for file in plan.rendered]
    if plan.target is not None:
        done.append(f"becoming {plan.target.name or plan.target.uid}, group {plan.target.gid}")
    stderr.notes(done)
