"""Which secrets reached this service, and from where. Their values stay where they are."""

import os
from pathlib import Path

from shim import get_secret
from shim.schema import KeySpec, Schema, parse
from shim.secret import env_key

_SCHEMA_PLACES = (Path("/etc/shim/env.schema"), Path(".env.schema"))
_SECRETS_ROOTS = (Path("/run/secrets"), Path("secrets"))


def secrets_report(service: str) -> dict[str, dict[str, str]]:
    """Return, for each secret that *service* has, its origin; nothing is made of a value."""
    schema = service_schema(service)
    report = {}
    for key, spec in schema.keys.items():
        value = get_secret(key) if spec.is_sensitive else None
        if value:
            report[key] = {"origin": origin(spec, schema)}
    return report


def service_schema(service: str) -> Schema:
    """Return what *service* needs, from the schema that the shim found too."""
    place = next((place for place in _SCHEMA_PLACES if place.exists()), None)
    return parse(place.read_bytes(), str(place)).for_service(service) if place else Schema("no schema")


def origin(spec: KeySpec, schema: Schema) -> str:
    """Return where the value of *spec*'s key came from, as far as the service can tell from what it inherited."""
    if any(env_key(name, schema.keys) == spec.key for root in _SECRETS_ROOTS for name in _names_in(root)):
        return "root"
    if spec.composed is not None:
        return "composed"
    if spec.default is not None and os.environb.get(spec.key.encode()) == spec.default:
        return "default"
    return "environment"


def _names_in(root: Path) -> list[str]:
    try:
        return os.listdir(root)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []  # the shim read it as root; this service may not
