"""In which order a fetch tries the queues, and how much it asks of each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from jobd.worker.config import Capsule


def draw(capsule: Capsule, want: int, rng: random.Random) -> list[tuple[str, int]]:
    """The queues of a capsule as a fetch of `want` jobs tries them, each with its quota.

    In strict order each may give everything, as long as those before it have nothing more. Otherwise one queue is drawn
    for each job, as Sidekiq does it for its one: with the probability of its weight among all. How often a queue is
    drawn is its quota. They come in the order in which they were drawn; behind them the others, drawn in the same way
    and with a quota of 0, for what is left when a drawn one has too few.
    """
    if capsule.order == "strict" or len(capsule.queues) == 1:
        return [(name, want) for name in capsule.names]
    weights = [weight for _, weight in capsule.queues]
    drawn = Counter(rng.choices(capsule.names, weights, k=want))
    rest = [queue for queue in capsule.queues if queue[0] not in drawn]
    return [*drawn.items(), *((name, 0) for name in _shuffled(rest, rng))]


def _shuffled(queues: Sequence[tuple[str, int]], rng: random.Random) -> list[str]:
    """A queue comes first with the probability of its weight among all, the next likewise among the rest, and so on."""
    # Largest u^(1/w) first is a weighted draw without replacement (Efraimidis and Spirakis, 2006).
    keys = {name: rng.random() ** (1 / weight) for name, weight in queues}
    return sorted(keys, key=keys.__getitem__, reverse=True)
