"""Who takes from which queue: processes, threads, weights. Pure; many processes are alike, and are counted together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jobd.client.processes import Process, number

Weights: TypeAlias = tuple[Mapping[str, int], ...]


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
    groups: dict[tuple[tuple[str, ...], int, bool], list[tuple[Mapping[str, Any], Weights, int]]] = {}
    for process in processes:
        if not process.quiet:
            alike = groups.setdefault((process.queues, process.concurrency, process.shows_stacks), [])
            for place, (capsules, weights, count) in enumerate(alike):
                if capsules is process.capsules or (capsules, weights) == (process.capsules, process.weights):
                    alike[place] = (capsules, weights, count + 1)
                    break
            else:
                alike.append((process.capsules, process.weights, 1))
    found: dict[str, Consumers] = {}
    for (queues, concurrency, counts), alike in groups.items():
        for capsules, weights, many in alike:
            threads = [int(number(told.get("concurrency"))) for told in capsules.values()]
            for name in queues:
                each = found.setdefault(name, Consumers())
                each.processes += many
                each.counted &= counts
                each.weights.update(pool[name] for pool in weights if name in pool)
                own = [count for count, told in zip(threads, capsules.values(), strict=True) if _has(told, name)]
                # How its threads are shared out is not told by one without capsules.
                each.threads += many * (sum(own) if own else concurrency)
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


def _has(capsule: Mapping[str, Any], queue: str) -> bool:
    """Whether a capsule takes from a queue."""
    weights = capsule.get("weights")
    return isinstance(weights, dict) and queue in weights
