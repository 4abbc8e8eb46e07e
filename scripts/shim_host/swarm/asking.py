"""The shims of many containers, asked a few at a time; all of them together, however silent, have an end in time."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from shim_host import explained
from shim_host.explained import Explained
from shim_host.output import many
from shim_host.swarm.connection import PARALLEL_CALLS, Swarm
from shim_host.swarm.model import ENGINE_LEFT_OUT, RunningContainer

SECONDS = 30  # for all together


def ask_all(
    engine: Swarm, containers: Sequence[RunningContainer], question: bytes, gaps: list[str]
) -> list[Explained | None]:
    """Return what the shim in each container answers to *question*, in their order; None where none does.

    Those that the engine lets nobody ask, and those whose turn does not come in time, are added to *gaps*.
    """
    deadline = time.monotonic() + SECONDS
    late: list[RunningContainer] = []

    def ask(container: RunningContainer) -> Explained | None:
        left = deadline - time.monotonic()
        if left > 0:
            return engine.explained(container, question, min(left, explained.SECONDS), gaps)
        late.append(container)
        return None

    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        answers = list(pool.map(ask, containers))
    if late:
        gaps.append(f"{ENGINE_LEFT_OUT}no time was left for {many(len(late), 'container')}: others answer too slowly")
    return answers
