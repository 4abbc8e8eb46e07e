"""`@rotate-with`: values that live inside a system too. What the schema says becomes an `InsideChange`.

@rotate-with=postgres(user=app, service=postgres, admin=postgres, database=app)
@rotate-with=postgres(users=app_a|app_b, userKey=DB_USER, service=postgres)     two roles in turn: nothing ever fails
@rotate-with=mariadb(user=app, service=mariadb, admin=root, adminKey=MARIADB_ROOT_PASSWORD)
@rotate-with=redis(user=app, service=redis, adminKey=REDIS_PASSWORD)
@rotate-with=command(./change-it)
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from shim.schema import KeySpec
from shim.secret import Secret
from shim_host.errors import Refused
from shim_host.rotate import InsideChange

ValueOf = Callable[[str], Secret | None]
_OPTIONS = {
    "postgres": ("user", "users", "userKey", "service", "admin", "database"),
    "mariadb": ("user", "users", "userKey", "host", "service", "admin", "adminKey"),
    "redis": ("user", "service", "admin", "adminKey"),
    "command": (),
}


class How(NamedTuple):
    """What `@rotate-with` says, taken apart; `command` has words instead of options."""

    system: str
    options: Mapping[str, str]
    words: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Return the two roles that take turns; none where there is only one."""
        return tuple(self.options["users"].split("|")) if "users" in self.options else ()


class Values(NamedTuple):
    """The value before and after; None where nobody here knows it."""

    old: Secret | None
    new: Secret | None
    of: ValueOf  # another key's present value
    new_of: ValueOf  # another key's new value


def how(spec: KeySpec) -> How | None:
    """Return how the value of *spec* changes inside its system; None when it lives in none.

    Raises:
        Refused: the schema does not say it so that it can be done; all that is wrong is named.
    """
    if spec.rotate_with is None:
        return None
    name, parenthesis, inner = spec.rotate_with.partition("(")
    wrong = []
    place = f"{spec.key}: @rotate-with={name}"
    if name not in _OPTIONS or not inner.endswith(")"):
        raise Refused(
            f"{spec.key}: there is no @rotate-with={spec.rotate_with if not parenthesis else name}",
            f"the systems are {', '.join(f'{system}(...)' for system in _OPTIONS)}",
        )
    inner = inner[:-1].strip()
    if name == "command":
        if not inner:
            raise Refused(f"{place} names no program", "write @rotate-with=command(./change-it)")
        return How(name, {}, tuple(inner.split()))
    options = {}
    for part in filter(None, (part.strip() for part in inner.split(","))):
        option, equals, value = part.partition("=")
        if not equals or option not in _OPTIONS[name]:
            wrong.append(f"{place} has no option {option}")
        options[option] = value.strip("'\"")
    if ("user" in options) == ("users" in options):
        wrong.append(f"{place} wants one of user=NAME and users=ONE|OTHER")
    if "users" in options and (options["users"].count("|") != 1 or "userKey" not in options):
        wrong.append(f"{place} wants users=ONE|OTHER and the key that holds the name, userKey=KEY")
    if "service" not in options:
        wrong.append(f"{place} does not say which service it runs in")
    if wrong:
        raise Refused(wrong[0], *wrong[1:], f"its options: {', '.join(_OPTIONS[name])}")
    return How(name, options)


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
        hint = f"it holds the role in use: one of {', '.join(found.roles)}"
        raise Refused(f"{key} is none of the roles that {spec.key} takes in turn", hint)
    return {key: Secret(next(role for role in found.roles if role != name).encode())}


def inside_change(spec: KeySpec, values: Values, environ: Mapping[str, str]) -> InsideChange | None:
    """Return how the value of *spec* is changed inside its system; None when it lives in none."""
    from shim_host import rotate_systems

    found = how(spec)
    if found is None:
        return None
    if found.system == "command":
        return rotate_systems.Command(spec.key, found, values)
    kinds = {"postgres": rotate_systems.Postgres, "mariadb": rotate_systems.MariaDB, "redis": rotate_systems.Redis}
    return kinds[found.system](spec.key, found, values, environ)
