"""Variables that have one name in several services, and are a secret in some of them only."""

from collections.abc import Mapping

from shim_host.migrate.model import MigrationPlan
from shim_host.recognition.sensitive import is_nothing

Values = Mapping[str, Mapping[str, str]]  # of each service: its variables


def add_same(plan: MigrationPlan, values: Values, whys: dict[str, dict[str, str]]) -> None:
    """Add to *whys* each variable that is a secret in another service, with the same value."""
    known: dict[tuple[str, str], str] = {}
    for name, found in whys.items():
        for key in found:
            known.setdefault((key, values[name][key]), name)
    for name, variables in values.items():
        for key, value in variables.items():
            other = known.get((key, value))
            if other is not None and key not in whys[name] and key not in plan.wishes.public and not is_nothing(value):
                whys[name][key] = f"it is a secret in {other}"
