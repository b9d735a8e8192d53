"""Figures of the whole cluster as one process reads them from Redis: how much waits, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobd.client import payload as wire
from jobd.client.errors import MalformedPayload
from jobd.client.keys import Keys


def read_figures(client: Any, keys: Keys, queues: Sequence[str], now: float) -> dict[str, Any]:
    """Sizes and latencies in one round trip, without changing anything.

    Returns {"queues": {name: [size, latency]}, "schedule": n, "retry": n, "dead": n}. The latency is how many seconds
    the job that is next has been waiting at `now` (epoch seconds); 0.0 when the queue is empty or the job does not
    say. A key of a wrong type counts as empty. Raises redis-py's errors when there is no answer.
    """
    pipeline = client.pipeline(transaction=False)
    for name in queues:
        pipeline.llen(keys.queue(name)).lindex(keys.queue(name), -1)
    for key in (keys.schedule, keys.retry, keys.dead):
        pipeline.zcard(key)
    *of_queues, schedule, retry, dead = pipeline.execute(raise_on_error=False)
    sizes, oldest = of_queues[::2], of_queues[1::2]
    return {
        "queues": {
            name: [_size(size), latency(job, now)] for name, size, job in zip(queues, sizes, oldest, strict=True)
        },
        "schedule": _size(schedule),
        "retry": _size(retry),
        "dead": _size(dead),
    }


def latency(job: object, now: float) -> float:
    """Seconds for which a job has been in its queue at `now` (epoch seconds); 0.0 when that cannot be told."""
    if not isinstance(job, bytes):
        return 0.0
    try:
        since = wire.read_time(wire.decode(job).get("enqueued_at"))
    except MalformedPayload:
        return 0.0
    return 0.0 if since is None else max(now - since, 0.0)


def _size(reply: object) -> int:
    """A key of a wrong type is answered by an error."""
    return reply if isinstance(reply, int) else 0
