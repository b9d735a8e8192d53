"""Records the totals of the cluster, and each queue, every ten seconds, for charts of those who come to look later.

Only the process that promotes for the cluster records. Where another one does so too, for a moment, both write the same
place. What a record is: `jobd.client.history`; what is recorded of a queue: `queue_history.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jobd.client import defaults
from jobd.client.connection import Connector
from jobd.client.history import RINGS, Sample, key_of, pack
from jobd.client.keys import Keys
from jobd.client.processes import number
from jobd.client.scripts import raw_bytes
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.cluster import latency
from jobd.worker.queue_history import QueueRecorder, Reading, readings

SETTLED = 5.0
"""Seconds after its start before which a process does not record: it has more urgent things to ask."""
_TELL_AGAIN = 3600.0
"""Seconds after which a refusal that lasts is logged again."""


class Sampler:
    """Called with each heartbeat, by one thread; `leads` tells whether it is this process that records."""

    def __init__(self, connector: Connector, keys: Keys, clock: ServerClock, *, leads: Callable[[], bool]) -> None:
        self._connector, self._keys, self._clock, self._leads = connector, keys, clock, leads
        self._last, self._from = -1, time.monotonic() + SETTLED
        self._refusals, self._queues = log.Sparingly(_TELL_AGAIN), QueueRecorder(keys)

    def tick(self) -> None:
        """Record the totals, unless it is too early for it or another's task. Raises redis-py's errors."""
        now = self._clock.now()
        slot = int(now // defaults.HISTORY_STEP)
        if slot == self._last or time.monotonic() < self._from or not self._leads():
            return
        self._last = slot
        client = self._connector.client()
        if not self._queues.knows(now):
            with client.pipeline(transaction=False) as pipeline:
                pipeline.hgetall(self._keys.queue_courses)
                [courses] = pipeline.execute(raise_on_error=False)
            self._queues.learn(_known(courses))
        sample, queues = read_all(client, self._keys, now)
        with self._connector.connection():
            pass  # without a connection nothing is sent, and this sample is left out
        with self._connector.client().pipeline(transaction=False) as pipeline:
            for step, ring in RINGS.items():
                key = key_of(self._keys, step)
                pipeline.setrange(key, ring.offset(now), pack(sample))
                pipeline.expire(key, ring.ttl)
            if queues is not None:
                self._queues.record(pipeline, queues, now)
            for answer in pipeline.execute(raise_on_error=False):
                if isinstance(answer, Exception) and self._refusals.allows(str(answer)):
                    hint = "the charts of the dashboard miss this time"
                    log.event("history.refused", level=log.WARNING, error=str(answer), hint=hint)


def read_sample(client: Any, keys: Keys, now: float) -> Sample:
    """The totals at `now` (epoch seconds) in two round trips. What cannot be read counts as nothing."""
    return read_all(client, keys, now)[0]


def read_all(client: Any, keys: Keys, now: float) -> tuple[Sample, dict[bytes, Reading] | None]:
    """The same, and what was read of each queue, by its name; None where Redis does not say which there are."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.mget(keys.stat_processed, keys.stat_failed)
        pipeline.zcard(keys.retry).zcard(keys.schedule).zcard(keys.dead)
        pipeline.smembers(keys.queues).smembers(keys.processes).info("memory")
        stats, retries, scheduled, dead, queues, processes, memory = map(_known, pipeline.execute(raise_on_error=False))
        names, prefix = list(queues or ()), keys.namespace.encode()
        for name in names:
            key = raw_bytes(keys.queue("")) + name
            pipeline.llen(key).lindex(key, -1)
        pipeline.hgetall(keys.queue_counts)
        for identity in processes or ():
            pipeline.hmget(prefix + identity, "busy", "concurrency")
        told = list(map(_known, pipeline.execute(raise_on_error=False)))
    split = 2 * len(names)
    busy = [each or (None, None) for each in told[split + 1 :]]
    latencies = [latency(job, now) for job in told[1:split:2]]
    processed, failed = map(number, stats or (None, None))
    sample = Sample(
        at=now,
        processed=processed,
        failed=failed,
        enqueued=sum(size or 0 for size in told[0:split:2]),
        busy=sum(number(each[0]) for each in busy),
        threads=sum(number(each[1]) for each in busy),
        retries=retries or 0,
        scheduled=scheduled or 0,
        dead=dead or 0,
        latency=max(latencies, default=0.0),
        memory=number((memory or {}).get("used_memory")),
        memory_limit=number((memory or {}).get("maxmemory")),
    )
    # An answer that is none is not an empty set: the history of all queues would go with it.
    return sample, None if queues is None else dict(readings(names, told[0:split:2], latencies, told[split]))


def _known(answer: Any) -> Any:
    """A key of a wrong type, or a command that this user of Redis may not send, is answered by an error."""
    return None if isinstance(answer, Exception) else answer
