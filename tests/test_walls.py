"""The walls of the host side: who may know whom. Every import counts, deferred and type-only ones too.

commands -> topics (audit, rotate, …), inventory, validation, deployment_key -> compose, swarm, store, env -> the ground
"""

import ast
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import pytest

from tests.support.forms import REPOSITORY
from tests.support.imports import imports

HOST = REPOSITORY / "scripts" / "shim_host"
TOPICS = {"apps", "audit", "rotate", "migrate", "backup", "doctor"}
PLACES = {"compose", "swarm", "store", "env"}
ACROSS = {"inventory", "validation", "deployment_key"}
# What each place knows about the others, besides the ground.
NEIGHBOURS: dict[str, set[str]] = {"swarm": set(), "store": set(), "env": {"store"}, "compose": {"store", "env"}}
# What decides takes facts and gives a decision; it asks nobody.
DECIDE = [
    *("audit.judge", "audit.rules", "audit.readers", "audit.model", "audit.traces", "audit.sarif"),
    *("rotate.swarm_plan", "doctor.judge", "backup.document"),
]
NO_DECISION = {"os", "subprocess", "socket", "output", "store", "swarm.connection"}
MOST_PARAMETERS = 8
MOST_MODULES = 16  # of a folder
MOST_LINES = 400  # of a file
USUAL_LINES = 170  # at the median


def modules(root: Path, package: str) -> dict[str, Path]:
    """Return every module below *root* by its dotted name inside *package*."""
    names = {path: path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in root.rglob("*.py")}
    found = {f"{package}.{name}".removesuffix(".__init__"): path for path, name in names.items()}
    assert len(found) > 20, f"{root} holds no {package}"
    return found


def room(module: str) -> str:
    """Return the part of the house that *module* is in: a topic, a place, `commands`, or the file's name."""
    return module.split(".")[1] if module.startswith("shim_host.") else module.partition(".")[0]


def forbidden(me: str, other: str) -> bool:
    """Return whether the room *me* must not know the room *other*."""
    if me == "commands" or me == other:
        return False
    if other in ("commands", "click"):
        return True
    if me in TOPICS or me in ACROSS:
        return me in TOPICS and other in TOPICS
    if me in PLACES:
        return other in TOPICS | ACROSS | (PLACES - NEIGHBOURS[me])
    return other in TOPICS | ACROSS | PLACES


def crossings(known: Mapping[str, Path]) -> list[str]:
    """Return every import that goes through a wall."""
    return [
        f"{module} imports {other}"
        for module, path in known.items()
        if module != "shim_host"
        for other in imports(path, known)
        if forbidden(room(module), room(other))
    ]


def cycles(graph: Mapping[str, set[str]]) -> list[str]:
    """Return a module for each that can be reached from itself."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        wanted = [start]
        while wanted:
            fresh = graph.get(wanted.pop(), set()) - found
            found |= fresh
            wanted += fresh
        return found

    return sorted(module for module in graph if module in reached(module))


def graph_of(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which of the *known* modules each of them imports; a package's own file holds nothing and is left out."""
    return {
        module: {other for other in imports(path, known) if other in known and known[other].name != "__init__.py"}
        for module, path in known.items()
        if path.name != "__init__.py"
    }


def test_nobody_looks_through_a_wall() -> None:
    assert crossings(modules(HOST, "shim_host")) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    assert cycles(graph_of(modules(HOST, "shim_host"))) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("output", "import click"),
        ("audit/judge", "from shim_host.rotate import values"),
        ("swarm/model", "from shim_host.store.vault import Vault"),
        ("names", "def later() -> None:\n    from shim_host import inventory"),
        ("store/vault", "from shim_host.commands import options"),
    ],
)
def test_a_hole_in_a_wall_is_seen(module: str, line: str, tmp_path: Path) -> None:
    holed = tmp_path / "holed.py"
    holed.write_text((HOST / f"{module}.py").read_text() + f"\n\n{line}\n")
    known = modules(HOST, "shim_host") | {f"shim_host.{module}".replace("/", "."): holed}

    assert len(crossings(known)) == 1


def test_a_cycle_is_seen() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


@pytest.mark.parametrize("name", DECIDE)
def test_what_decides_asks_nobody(name: str) -> None:
    known = modules(HOST, "shim_host")
    found = {other.removeprefix("shim_host.") for other in imports(known[f"shim_host.{name}"], known)}

    assert not {other for other in found for wall in NO_DECISION if other == wall or other.startswith(wall + ".")}


def test_no_dictionary_of_the_sdk_leaves_the_swarm() -> None:
    """The SDK is known by the connection alone, and by how that gets through ssh."""
    known = modules(HOST, "shim_host")
    users = {module for module, path in known.items() if "docker" in map(room, imports(path, known))}

    assert users == {"shim_host.swarm.connection", "shim_host.swarm.reach.client", "shim_host.swarm.reach.ssh"}


def test_no_test_imports_another() -> None:
    """What two tests need is in `tests/support`."""
    paths = sorted((REPOSITORY / "tests").rglob("*.py"))
    found = [f"{path.name} imports {name}" for path in paths for name in imports(path) if ".test_" in f".{name}"]

    assert len(paths) > 80
    assert found == []


def test_no_command_takes_more_than_eight_parameters() -> None:
    """More of them are gathered into one object."""
    found = [
        f"{path.name}: {node.name}"
        for path in sorted((HOST / "commands").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and len(node.args.args + node.args.kwonlyargs) > MOST_PARAMETERS
    ]

    assert found == []


@pytest.mark.parametrize("root", [HOST, REPOSITORY / "shim"], ids=["host", "shim"])
def test_no_folder_and_no_file_grows_too_large(root: Path) -> None:
    """The container side is one folder, so that its modules are found without a search path."""
    paths = sorted(root.rglob("*.py"))
    sizes = Counter(path.parent for path in paths if path.name != "__init__.py" and path.parent != REPOSITORY / "shim")

    assert {folder.name: size for folder, size in sizes.items() if size > MOST_MODULES} == {}
    lines = {path: path.read_text().count("\n") for path in paths if path.name != "__init__.py"}
    assert {path.name: count for path, count in lines.items() if count > MOST_LINES} == {}
    assert median(lines.values()) < USUAL_LINES
