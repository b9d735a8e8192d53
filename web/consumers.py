"""Who takes from which queue: processes, threads, weights. Pure; many processes are alike, and are counted together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobd.client.processes import Process, number


@dataclass(slots=True, eq=False)
class Consumers:
    """Who takes from one queue. `weights` are those of the different pools, 0 stands for a strict order.

    `counted` says whether all of them are processes of jobd, which count what they take.
    """

    processes: int = 0
    threads: int = 0
    weights: set[int] = field(default_factory=set)
    counted: bool = True


NOBODY = Consumers()


def consumers(processes: Iterable[Process]) -> dict[str, Consumers]:
    """Who takes from each queue, by its name; what is quiet takes from none."""
    groups: dict[tuple[tuple[str, ...], int, bool], list[tuple[Mapping[str, Any], int]]] = {}
    for process in processes:
        if not process.quiet:
            alike = groups.setdefault((process.queues, process.concurrency, process.shows_stacks), [])
            for place, (capsules, count) in enumerate(alike):
                if capsules is process.capsules or capsules == process.capsules:
                    alike[place] = (capsules, count + 1)
                    break
            else:
                alike.append((process.capsules, 1))
    found: dict[str, Consumers] = {}
    for (queues, concurrency, counts), alike in groups.items():
        for capsules, many in alike:
            told = _pools(capsules)
            for name in queues:
                each = found.setdefault(name, Consumers())
                each.processes += many
                each.counted &= counts
                pools = [(threads, weights[name]) for threads, weights in told if name in weights]
                each.threads += many * (sum(threads for threads, _ in pools) if pools else concurrency)
                each.weights.update(weight for _, weight in pools)
    return found


_LATEST: list[tuple[Sequence[Process], dict[str, Consumers]]] = []


def latest_consumers(processes: Sequence[Process]) -> dict[str, Consumers]:
    """The same, found once for the processes that several requests are shown, as there may be a thousand."""
    for known, found in _LATEST[-1:]:
        if known is processes:
            return found
    found = consumers(processes)
    _LATEST[:] = [(processes, found)]
    return found


def _pools(capsules: Mapping[str, Any]) -> list[tuple[int, dict[str, int]]]:
    """The threads of each pool, and the weights of its queues."""
    found = []
    for told in capsules.values():
        weights = told.get("weights")
        named = (
            {str(name): int(number(weight)) for name, weight in weights.items()} if isinstance(weights, dict) else {}
        )
        found.append((int(number(told.get("concurrency"))), named))
    return found
