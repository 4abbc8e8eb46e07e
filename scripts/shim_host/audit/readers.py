"""Who could read a secret, whether they do or not. Facts come in, names leave. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shim_host.audit.model import MOUNTED, PLAIN, Facts, Reader, Row


def add_to(rows: Iterable[Row], facts: Facts) -> None:
    """Write into each row who could read that one secret; whoever could read all is named by `of_all`."""
    users = {service.name: service.user for service in facts.services}
    for row in rows:
        for name, states in row.cells.items():
            if MOUNTED in states:
                user = users.get(name, "").partition(":")[0]
                row.readers.append(Reader(name, "mounts it" + (f", as user {user}" if user else ", as root")))
            if PLAIN in states:
                row.readers.append(Reader(name, "has it in plain text"))
        for image in facts.images:
            if row.key and any(trace.key == row.key for trace in image.traces):
                row.readers.append(Reader(f"whoever has the image {image.name}", "shows it"))
        if row.file is not None:
            row.readers.append(Reader(row.file.owner, f"owns {row.file.path}"))
            if row.file.mode & 0o040:
                row.readers.append(Reader(f"group {row.file.group}", f"may read {row.file.path}"))
            if row.file.mode & 0o004:
                row.readers.append(Reader("every user of this machine", f"may read {row.file.path}"))


def of_all(facts: Facts) -> list[Reader]:
    """Return who could read every secret."""
    return list(_of_all(facts))


def _of_all(facts: Facts) -> Iterator[Reader]:
    for user in facts.engine_users:
        how = f"is in the group {facts.engine_group}" if facts.engine_group != "everybody" else "may use it"
        yield Reader(user, f"{how}, which may use the engine's socket: as good as root on this machine")
    if facts.services or facts.files:
        yield Reader("root of this machine", "reads every file and every container's memory")
    for manager in facts.managers:
        yield Reader(f"root of {manager}", "manages the Swarm: it can start a task with any secret")
    for service in facts.services:
        if service.reach:
            yield Reader(service.name, f"{', '.join(service.reach)}: as good as root on its machine")
