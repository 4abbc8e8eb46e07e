"""What people ask: check, explain, install, --help, --version, -v. Never on the way to exec; no value leaves here."""

import json
import os

from shim import __version__, kernel, profile_effects
from shim.environment import child_environment
from shim.errors import CHANGE, Breach, Refused, Unreadable
from shim.main import Plan, load_schema, prepare, report_refusal, warn
from shim.options import Options
from shim.resolve import Resolution, resolve
from shim.secret import fingerprint, printable
from shim.sources import gather

# What execve(2) takes at the most, whatever the stack limit is, and what each string costs besides its bytes.
_MOST_ARGUMENT_BYTES = 6 << 20
_POINTER_BYTES = 8

HELP = """\
usage: shim [OPTIONS] [--] COMMAND [ARG...]   start COMMAND with its secrets; nothing stays behind
       shim exec [OPTIONS] -- COMMAND [ARG...]  the same for docker exec and health checks
       shim check [OPTIONS]                   resolve and validate only
       shim explain [--json] [OPTIONS]        where each value comes from, and what was left alone
       shim install DIR                       copy this program to DIR/shim
       shim ps [--json]                       what runs below PID 1, and which keys it holds
       shim --help | --version

A value comes from the file that KEY_FILE names, else from a file in /run/secrets or ./secrets, else from the
environment, else from the schema (.env.schema). Every option has a variable: --secrets-dir is SHIM_SECRETS_DIR.

where values come from
  --schema PATH            what the service needs (default: /etc/shim/env.schema, then ./.env.schema)
  --service NAME           only the schema's keys whose @services has NAME, or none
  --secrets-dir DIR        read DIR instead of /run/secrets and ./secrets (repeatable; ':' in the variable)
  --require KEY,...        refuse to start without these keys
  --file-key KEY,...       take KEY_FILE although its path is in no secrets root
  --prefer file|env        which one counts when KEY and KEY_FILE differ
  --profile NAME|auto|none what is known of an official image: postgres, mysql, mariadb, mongo, rabbitmq, redis,
                           valkey, memcached, nginx, httpd, wordpress, nextcloud, ghost, keycloak, grafana, gitea,
                           linuxserver (default: none)

what the service gets
  --only KEY,...           nothing else from the secrets roots
  --clear-env              only PATH, HOME, TERM, LANG, TZ, HOSTNAME and the keys that are listed
  --keep-file-vars         leave KEY_FILE in the environment
  --render TEMPLATE:DEST   write a file from a template with ${KEY|encoder}; url, json, base64, sq (repeatable)
  --allow-disk             let --render write to what is no tmpfs
  --user NAME[:GROUP]      become this user (or UID[:GID]) once the secrets are read
  --no-new-privs           the service can gain no privileges
  --no-core                the service writes no core file

staying as PID 1
  --init                   stay, forward signals, reap; each option below but --pre asks for it too
  --signal TERM=QUIT,...   send another signal; TERM=0 drops it
  --group                  send to the service's whole process group
  --grace TIME             SIGKILL this long after the first stop signal (10s, 500ms, 2m; 0 never)
  --exit-as 143=0,...      end with another exit code
  --wait-all               stay until every descendant has ended
  --subreaper              adopt orphans when not PID 1
  --parent-death SIGNAL    what the shim gets when its parent dies
  --on-change ACTION       restart, signal=HUP or exit when a secret really changes
  --mask                   replace values in the service's output by ***
  --pre COMMAND            run before the service (repeatable)
  --ready-fd N             pass the service's readiness on

talking
  -v, --verbose            say what was done
  --log text|json          how messages are written to stderr
  --salt TEXT              salt of the fingerprints, to compare them with the host's
  --json                   explain, check and ps: JSON

exit codes
  the service's own; 100 you must change something; 111 the world failed, a retry may help;
  126 found but not executable; 127 not found; 128+N ended by signal N
"""


def run(options: Options, environ: list[bytes]) -> int:
    """Do the command that *options* name; return its exit code."""
    if options.action == "help":
        return _out(HELP)
    if options.action == "version":
        return _out(f"shim {__version__}\n")
    if options.action == "install":
        return _install(options.argv[0])
    if options.action == "check":
        return _check(options, environ)
    return _explain(options, environ)


def _out(text: str) -> int:
    data = text.encode("utf-8", "backslashreplace")
    while data:
        try:
            data = data[os.write(1, data) :]
        except BrokenPipeError:
            return 0  # whoever read it has seen enough
        except OSError as error:
            raise Refused(
                [Unreadable("", f"cannot write to stdout: {error.strerror}", "is it full, or closed?")]
            ) from None
    return 0


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
        _out(json.dumps({"ok": not breaches, "breaches": [_breach(breach) for breach in breaches]}, indent=2) + "\n")
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
            f"the environment alone is over the kernel's limit of {most} bytes for it and the arguments",
            "hand large values over as files (@deliver=file), export fewer keys (--only), or raise the stack limit",
        )
    ]


def _breach(breach: Breach) -> dict[str, object]:
    return {"key": breach.key or None, "message": breach.message, "hint": breach.hint or None, "code": breach.code}


def _explain(options: Options, environ: list[bytes]) -> int:
    schema = load_schema(options)
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
        document = {"keys": rows, "left_alone": left_alone, "breaches": [_breach(breach) for breach in breaches]}
        _out(json.dumps({**document, "profile": profile}, indent=2) + "\n")
    else:
        text = _table(rows) + "".join(f"{printable(row['name'])}  left alone: {row['reason']}\n" for row in left_alone)
        if chosen is not None:
            text += f"profile {chosen.profile.name}  {chosen.profile.title}: {printable(chosen.why)}\n"
            text += "".join(f"profile {chosen.profile.name}  {words}\n" for words in known)
        elif options.profile == "auto":
            text += "profile auto  recognises no image that is known by its variables\n"
        _out(text)
        if breaches:
            report_refusal(Refused(breaches))
    return Refused(breaches).code if breaches else 0


def _rows(resolution: Resolution, options: Options) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    salt = options.salt.encode("utf-8", "surrogateescape")
    specs = resolution.schema.keys if resolution.schema is not None else {}
    for key in {**resolution.sources.asked, **resolution.secrets}:
        resolved = resolution.secrets.get(key)
        spec = specs.get(key)
        row: dict[str, object] = {"key": key, "origin": None, "path": None, "length": None, "fingerprint": None}
        if resolved is not None:
            value = resolved.secret.reveal()
            row["origin"] = resolved.origin
            row["path"] = resolved.path.decode("utf-8", "surrogateescape") or None
            row["length"] = len(value)
            row["fingerprint"] = fingerprint(value, key, salt)
            row["deliver"] = resolved.deliver
            row["overrides_environment"] = _overrides(resolution, key)
        row["required"] = key in options.require or (spec is not None and spec.is_required)
        row["sensitive"] = spec.is_sensitive if spec is not None else None
        rows.append(row)
    return rows


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
        length = f"{row['length']} bytes"
        path = printable(str(row["path"] or ""))
        lines.append((printable(str(row["key"])), str(row["origin"]), str(row["fingerprint"]), length, path, *words))
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(4)]
    return "".join(
        "  ".join([*(word.ljust(width) for word, width in zip(line, widths, strict=False)), *line[4:]]).rstrip() + "\n"
        for line in lines
    )


def say_what_was_done(plan: Plan) -> None:
    """Write one line a key to stderr: where its value came from."""
    from shim import stderr

    chosen = plan.resolution.sources.chosen
    if chosen is not None:
        stderr.note(f"profile {chosen.profile.name}: {chosen.why}")
    for key, resolved in plan.resolution.secrets.items():
        source = resolved.path.decode("utf-8", "surrogateescape") or resolved.origin
        how = "" if resolved.deliver == "env" else f", delivered as {resolved.deliver}"
        over = ", in place of the environment's value" if _overrides(plan.resolution, key) else ""
        stderr.note(f"{key} from {source} ({resolved.origin}){over}{how}")
    for name, reason in plan.resolution.sources.left_alone:
        stderr.note(f"{name} left alone: {reason}")
    for file in plan.rendered:
        stderr.note(f"rendered {file.path.decode('utf-8', 'backslashreplace')}")
    if plan.target is not None:
        stderr.note(f"becoming {plan.target.name or plan.target.uid}, group {plan.target.gid}")


def _install(folder: bytes) -> int:
    """Copy this program to `folder/shim`, whole or not at all; a newer one replaces an older one."""
    target = os.path.join(folder, b"shim")
    temporary = target + b".new-%d" % os.getpid()
    try:
        os.makedirs(folder, exist_ok=True)
        content = _own_program()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o755)
            os.fsync(descriptor)
        os.rename(temporary, target)
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        shown = target.decode("utf-8", "surrogateescape")
        message = f"cannot install {shown}: {error.strerror}"
        raise Refused([Unreadable("", message, "name a writable folder, such as a shared volume")]) from None
    return 0


def _own_program() -> bytes:
    if kernel.IS_FROZEN:
        for path in (b"/proc/self/exe", kernel.argv[0]):
            try:
                with open(path, "rb") as file:
                    return file.read()
            except FileNotFoundError:
                continue
        raise FileNotFoundError(2, "this program's own file is not to be found without /proc")
    return _zipped()


def _zipped() -> bytes:
    """Return this package as one executable file for any Python, where it was not frozen."""
    import io
    import tempfile
    import zipapp
    from pathlib import Path

    package = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "shim"
        copy.mkdir()
        for source in sorted(package.glob("*.py")):
            (copy / source.name).write_bytes(source.read_bytes())
        archive = io.BytesIO()
        zipapp.create_archive(folder, archive, interpreter="/usr/bin/env python3", main="shim.__main__:main")
        return archive.getvalue()
