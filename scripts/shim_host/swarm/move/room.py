"""Whether a node has room for one more task of a service, as the Swarm's scheduler reckons it. No I/O."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shim_host.swarm.model import RotatedService
from shim_host.swarm.move.baseline import is_meant_to_run

CPUS, MEMORY = "CPUs", "memory"
_SCALE = 1_000_000_000  # of a CPU in the API
_OPEN = ("ready", "unknown")  # after a change of the leader a node is unknown until its next word
_EXPRESSION = re.compile(r"\s*(?P<what>[a-zA-Z][^=!\s]*)\s*(?P<sign>==|!=)\s*(?P<word>.*?)\s*")


class Node(NamedTuple):
    """A node that takes tasks."""

    id: str
    facts: Mapping[str, str]  # what a constraint may ask
    free: Mapping[str, int]  # of each resource, besides what the tasks on it reserve


def reserved(template: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return what a task with this *template* reserves: processors, memory, and whatever else nodes offer."""
    return tuple(sorted(_amounts(_mapping(_mapping(template.get("Resources")).get("Reservations"))).items()))


def open_nodes(nodes: Iterable[Mapping[str, Any]], tasks: Iterable[Any]) -> list[Node]:
    """Return the *nodes* that take tasks, and what those of *tasks* that are to stay leave of them."""
    taken: dict[str, Counter[str]] = {}
    for task in tasks:
        if is_meant_to_run(task):
            taken.setdefault(task.get("NodeID") or "", Counter()).update(dict(reserved(task.get("Spec") or {})))
    found = []
    for node in nodes:
        if node["Spec"]["Availability"] != "active" or node["Status"]["State"] not in _OPEN:
            continue
        offered = _amounts(_mapping(_mapping(node.get("Description")).get("Resources")))
        there = taken.get(node["ID"], Counter())
        found.append(Node(node["ID"], _facts(node), {name: has - there[name] for name, has in offered.items()}))
    return found


def where(service: RotatedService, nodes: Iterable[Node]) -> list[Node]:
    """Return those of *nodes* that the service's constraints allow; one that cannot be decided here allows all."""
    return [node for node in nodes if all(_allows(node, words) for words in service.constraints)]


def lacking(service: RotatedService, nodes: Sequence[Node]) -> str:
    """Return what the service reserves, and no node (of a global service: one of them) has for one more task."""
    short = [[(name, much) for name, much in service.reserves if node.free.get(name, 0) < much] for node in nodes]
    if not any(short) or (service.mode != "global" and not all(short)):
        return ""
    missing = {name: much for of_node in short for name, much in of_node}
    return ", ".join(_shown(name, much) for name, much in sorted(missing.items()))


def _shown(name: str, much: int) -> str:
    if name == CPUS:
        return f"{much / _SCALE:g} {'CPU' if much == _SCALE else CPUS}"
    return f"{much / (1 << 20):.0f} MiB of {name}" if name == MEMORY else f"{much} {name}"


def _amounts(resources: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, field in ((CPUS, "NanoCPUs"), (MEMORY, "MemoryBytes")):
        if much := _number(resources.get(field)):
            found[name] += much
    generic = resources.get("GenericResources")
    for one in generic if isinstance(generic, list) else ():
        counted, named = (_mapping(_mapping(one).get(kind)) for kind in ("DiscreteResourceSpec", "NamedResourceSpec"))
        if counted:
            found[str(counted.get("Kind"))] += _number(counted.get("Value"))
        elif named:
            found[str(named.get("Kind"))] += 1
    return found


def _facts(node: Mapping[str, Any]) -> dict[str, str]:
    about = _mapping(node.get("Description"))
    platform, engine = _mapping(about.get("Platform")), _mapping(about.get("Engine"))
    found = {
        "node.id": node["ID"],
        "node.hostname": about.get("Hostname") or "",
        "node.role": node["Spec"].get("Role") or "",
        "node.platform.os": platform.get("OS") or "",
        "node.platform.arch": platform.get("Architecture") or "",
    }
    for prefix, labels in (("node.labels.", node["Spec"].get("Labels")), ("engine.labels.", engine.get("Labels"))):
        found |= {f"{prefix}{name}": str(word) for name, word in _mapping(labels).items()}
    return found


def _allows(node: Node, constraint: str) -> bool:
    parts = _EXPRESSION.fullmatch(constraint)
    if parts is None:
        return True
    what, known = parts["what"], {name.lower(): word for name, word in node.facts.items()}
    is_label = what.lower().startswith(("node.labels.", "engine.labels."))
    if what.lower() not in known and not is_label:
        return True  # node.ip, and what later releases know
    word = node.facts.get(what, "") if is_label else known[what.lower()]
    return (word.lower() == parts["word"].lower()) is (parts["sign"] == "==")


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _number(found: Any) -> int:
    return found if isinstance(found, int) else 0
