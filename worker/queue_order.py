"""The order in which a fetch tries the queues."""

from __future__ import annotations

import random
from collections.abc import Sequence

from jobd.worker.config import Capsule


def order_of(capsule: Capsule, rng: random.Random) -> Sequence[str]:
    """The queues of a capsule as the next fetch tries them.

    Strict order is the order given. Otherwise a queue comes first with the probability of its weight among all,
    the next likewise among the rest, and so on: the draw that Sidekiq makes.
    """
    if capsule.order == "strict":
        return capsule.names
    # Largest u^(1/w) first is a weighted draw without replacement (Efraimidis and Spirakis, 2006).
    draw = {name: rng.random() ** (1 / weight) for name, weight in capsule.queues}
    return sorted(draw, key=draw.__getitem__, reverse=True)
