"""`@rotate-with`: values that live inside a system too. What the schema says becomes an `InsideChange`.

@rotate-with=postgres(user=app, service=postgres, admin=postgres, database=app)
@rotate-with=postgres(user=app, service=stack_db, adminKey=POSTGRES_PASSWORD)      where the server asks its admin, too
@rotate-with=postgres(users=app_a|app_b, userKey=DB_USER, service=postgres)     two roles in turn: nothing ever fails
@rotate-with=mariadb(user=app, service=mariadb, admin=root, adminKey=MARIADB_ROOT_PASSWORD)
@rotate-with=mariadb(users=app_a|app_b, userKey=DB_USER, service=mariadb, adminKey=MARIADB_ROOT_PASSWORD)
@rotate-with=redis(user=app, service=redis, adminKey=REDIS_PASSWORD)
@rotate-with=command(./change-it)
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from shim.schema import KeySpec, Schema
from shim.secret import Secret
from shim_host.errors import Refused
from shim_host.rotate.inside import How, InsideChange, ValueOf, Values

_OPTIONS = {
    "postgres": ("user", "users", "userKey", "service", "admin", "adminKey", "database"),
    "mariadb": ("user", "users", "userKey", "host", "service", "admin", "adminKey"),
    "redis": ("user", "service", "admin", "adminKey"),
    "command": (),
}


class Mistake(NamedTuple):
    """What a decorator says wrong, and what to write instead."""

    message: str
    hint: str


def how(spec: KeySpec) -> How | None:
    """Return how the value of *spec* changes inside its system; None when it lives in none.

    Raises:
        Refused: the schema does not say it so that it can be done; everything that is wrong is named.
    """
    if spec.rotate_with is None:
        return None
    found = _taken_apart(spec.rotate_with)
    wrong = list(_mistakes(found))
    if wrong:
        raise Refused.of_all([Refused(f"{spec.key}: {mistake.message}", mistake.hint) for mistake in wrong])
    return How(found.system, dict(found.options), tuple(found.inner.split()) if found.system == "command" else ())


def mistakes(schema: Schema, known_keys: Collection[str]) -> Iterator[tuple[KeySpec, Mistake]]:
    """Yield whatever the schema says wrong of systems, key by key.

    Args:
        schema: what to look at.
        known_keys: keys besides the schema's that a decorator may refer to.
    """
    for spec in schema.keys.values():
        if spec.rotate_with is not None:
            found = _taken_apart(spec.rotate_with)
            for mistake in (*_mistakes(found), *_lost_keys(spec.key, found, {*schema.keys, *known_keys})):
                yield spec, mistake


class _Written(NamedTuple):
    """A decorator as written."""

    text: str
    system: str  # "" when it has no parentheses around the rest
    inner: str
    options: tuple[tuple[str, str], ...]


def _taken_apart(text: str) -> _Written:
    name, parenthesis, inner = text.partition("(")
    if not parenthesis or not inner.endswith(")"):
        return _Written(text, "", "", ())
    inner = inner[:-1].strip()
    parts = [] if name == "command" else [part.strip() for part in inner.split(",") if part.strip()]
    pairs = [part.partition("=") for part in parts]
    return _Written(text, name, inner, tuple((option.strip(), value.strip(" '\"")) for option, _, value in pairs))


def _mistakes(found: _Written) -> Iterator[Mistake]:
    place = f"@rotate-with={found.system}"
    if found.system not in _OPTIONS:
        systems = f"the systems are {', '.join(f'{system}(...)' for system in _OPTIONS)}"
        yield Mistake(f"there is no @rotate-with={found.system or found.text}", systems)
        return
    if found.system == "command":
        if not found.inner:
            yield Mistake(f"{place} names no program", "write @rotate-with=command(./change-it)")
        return
    names = [option for option, _ in found.options]
    options = dict(found.options)
    allowed = f"its options: {', '.join(_OPTIONS[found.system])}"
    for option in dict.fromkeys(names):
        if option not in _OPTIONS[found.system]:
            yield Mistake(f"{place} has no option {option}", allowed)
        elif names.count(option) > 1:
            yield Mistake(f"{place} sets {option} twice", allowed)
        elif not options[option]:
            yield Mistake(f"{place} has no value after {option}=", allowed)
    if "users" not in _OPTIONS[found.system]:
        if "user" not in options:
            yield Mistake(f"{place} does not name the user", f"write user=NAME; {allowed}")
    elif ("user" in options) == ("users" in options):
        yield Mistake(f"{place} needs one of user=NAME and users=ONE|OTHER", allowed)
    if "users" in options and "users" in _OPTIONS[found.system]:
        roles = options["users"].split("|")
        if len(set(filter(None, roles))) != 2 or len(roles) != 2 or "userKey" not in options:
            yield Mistake(f"{place} needs users=ONE|OTHER and the key that holds the name, userKey=KEY", allowed)
    if "service" not in options:
        yield Mistake(f"{place} does not name the service it runs in", allowed)


def _lost_keys(key: str, found: _Written, known: Collection[str]) -> Iterator[Mistake]:
    """Yield the keys it refers to that nobody knows."""
    for option, other in found.options:
        if option not in ("userKey", "adminKey") or option not in _OPTIONS.get(found.system, ()) or not other:
            continue
        place = f"@rotate-with={found.system} has {option}={other}"
        if other not in known:
            yield Mistake(f"{place}, and there is no such key", f"add {other}= to the schema, or fix the name")
        elif option == "userKey" and other == key:
            yield Mistake(f"{place}, the key of the password itself", "use a key of its own for the name of the role")


def companions(spec: KeySpec, value_of: ValueOf) -> dict[str, Secret]:
    """Return the keys that change along with this one: the name of the role whose turn it is.

    Raises:
        Refused: the key that holds the name has none of the two.
    """
    found = how(spec)
    if found is None or not found.roles:
        return {}
    key = found.options["userKey"]
    present = value_of(key)
    name = present.reveal().decode("utf-8", "replace").strip() if present is not None else ""
    if name not in found.roles:
        hint = f"it must hold the role in use: one of {', '.join(found.roles)}"
        raise Refused(f"{key} is not one of the roles that {spec.key} takes in turn", hint)
    return {key: Secret(next(role for role in found.roles if role != name).encode())}


def inside_change(
    spec: KeySpec, values: Values, environ: Mapping[str, str], command_seconds: float = 300, *, source: str = ""
) -> InsideChange | None:
    """Return how the value of *spec* is changed inside its system; None when it lives in none.

    Raises:
        Refused: it names a program, and somebody else could have written the schema, which *source* names.
    """
    from shim_host.fetch import wanted
    from shim_host.rotate.systems.command import Command
    from shim_host.rotate.systems.mariadb import MariaDB
    from shim_host.rotate.systems.postgres import Postgres
    from shim_host.rotate.systems.redis import Redis

    found = how(spec)
    if found is None:
        return None
    if found.system == "command":
        if source:
            wanted.refuse_untrusted(Path(source))
        return Command(spec.key, found, values, command_seconds)
    kinds = {"postgres": Postgres, "mariadb": MariaDB, "redis": Redis}
    system = kinds[found.system](spec.key, found, values, environ)
    system.patience = min(system.patience, command_seconds)
    return system
