"""Variables that have one name in several services, and are a secret in some of them only. Reasons are added."""

from collections.abc import Mapping

from shim_host.compose.project import Project
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


def add_inherited(plan: MigrationPlan, values: Values, whys: dict[str, dict[str, str]]) -> None:
    """Add to *whys* each variable that is a secret in the service that another one extends.

    That one inherits the mount, so it needs a file of its own in its place, whatever its value is.
    """
    for name in values:
        for base in _bases(plan.project, name):
            for key in whys[base]:
                if key in values[name] and key not in whys[name] and key not in plan.wishes.public:
                    whys[name][key] = f"it is a secret in {base}, which {name} extends"


def _bases(project: Project, name: str) -> list[str]:
    """Return the services that the service *name* extends, the nearest last."""
    inherited = {id(definition.node) for definition in project.services[name].definitions}
    return [
        base
        for base, service in project.services.items()
        if base != name
        and inherited.issuperset(own := {id(definition.node) for definition in service.definitions})
        and inherited != own
    ]
