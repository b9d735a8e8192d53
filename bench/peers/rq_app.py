"""The jobs of `effects.py` for RQ, its settings left as they are."""

from __future__ import annotations

import functools
from datetime import timedelta

from effects import EFFECTS, QUEUE, server
from producer import main
from rq import Queue

queue = Queue(QUEUE, connection=server())


def bulk(name: str, jobs: list[list[object]]) -> object:
    """Many in one pipeline."""
    return queue.enqueue_many([Queue.prepare_data(EFFECTS[name], args) for args in jobs])


if __name__ == "__main__":
    main(
        {name: functools.partial(queue.enqueue, effect) for name, effect in EFFECTS.items()},
        bulk,
        lambda delay, name, args: queue.enqueue_in(timedelta(seconds=delay), EFFECTS[name], *args),
    )
