"""Counts the jobs of each class for the metrics that Sidekiq keeps in Redis, and writes them with the heartbeat.

`queues` counts by queue (`queue_counts.py`), and is written with them.

What is counted and not written yet is lost when the process is killed: a heartbeat's worth. The exact totals are those
that are counted together with the acknowledgement (`client/lua/_count.lua`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobd.client import class_waits, defaults, metric_keys
from jobd.client.buckets import below
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.metric_keys import MINUTE, OTHER, TEN_MINUTES
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.page import Counted
from jobd.worker.queue_counts import QueueCounts
from jobd.worker.wait_counts import WaitCounts

_TELL_AGAIN = 3600.0
"""Seconds after which a refusal that lasts is logged again."""
_BOUNDS = tuple(bound / 1000 for bound in metric_keys.BOUNDS)
"""Upper bounds of Sidekiq's buckets in seconds."""


@dataclass(slots=True)
class _Counts:
    """One class since the last flush. `milliseconds` are those of successes; a fraction of one waits for the next."""

    failed: int = 0
    milliseconds: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)

    @property
    def processed(self) -> int:
        return self.failed + sum(self.buckets.values())

    def observe(self, seconds: Sequence[float]) -> None:
        """Count successes, given in the order of their length."""
        for bucket, many in below(_BOUNDS, seconds).items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + many
        self.milliseconds += sum(seconds) * 1000


class Tally:
    """The jobs of one process. Safe across threads."""

    def __init__(self, connector: Connector, keys: Keys, clock: ServerClock) -> None:
        self._connector, self._keys, self._clock = connector, keys, clock
        self._lock = threading.Lock()
        self.queues = QueueCounts()
        self._counts: dict[str, _Counts] = {}
        self._waits = WaitCounts()
        self._names: dict[str, str] = {}
        self._rests: dict[str, float] = {}
        self._refusals = log.Sparingly(_TELL_AGAIN)

    def add(self, counted: Counted) -> None:
        """Count these jobs: this is on the way of all, and looks at few."""
        self.queues.ended(counted)
        with self._lock:
            for (_, job, result), (seconds, waited) in counted.ran.items():
                if result == "requeued" and not waited:
                    continue
                name = self._names.get(job) or self._name(job)
                if waited:
                    self._waits.add(name, waited)
                if result == "requeued":
                    continue
                counts = self._of(name)
                if result == "ok":
                    counts.observe(seconds)
                else:
                    counts.failed += len(seconds)

    def flush(self) -> None:
        """Write what is counted. Raises redis-py's errors; what may have been written then is not written again."""
        if not (self._counts or self._waits or self.queues):
            return
        with self._connector.connection():
            pass  # without a connection nothing is sent, and it can wait
        with self._lock:
            counted, self._counts = self._counts, {}
            waits, self._waits = self._waits, WaitCounts()
        now = self._clock.now()
        with self._connector.client().pipeline(transaction=False) as pipeline:
            for name, counts in counted.items():
                self._count(pipeline, name, counts, now)
            for key, ttl in self._periods(now) if counted else ():
                pipeline.expire(key, ttl)
            waits.put(pipeline, self._keys, class_waits.GRIDS, now)
            self.queues.put(pipeline, self._keys, now)
            for answer in pipeline.execute(raise_on_error=False):
                if isinstance(answer, Exception):
                    self._tell_of(answer)

    def _tell_of(self, refusal: Exception) -> None:
        if self._refusals.allows(str(refusal)):
            log.event("metrics.refused", level=log.WARNING, error=str(refusal), hint="the figures of classes miss jobs")

    def _count(self, pipeline: Any, name: str, counts: _Counts, now: float) -> None:
        processed, failed, milliseconds = metric_keys.fields(name)
        spent = int(counts.milliseconds)
        self._rests[name] = counts.milliseconds - spent
        for key, _ in self._periods(now):
            pipeline.hincrby(key, processed, counts.processed)
            if counts.failed:
                pipeline.hincrby(key, failed, counts.failed)
            if counts.buckets:
                pipeline.hincrby(key, milliseconds, spent)
        if counts.buckets:
            key = self._keys.histogram(metric_keys.histogram_slot(name, now))
            increments = [word for at, by in counts.buckets.items() for word in ("INCRBY", "u16", f"#{at}", by)]
            pipeline.execute_command("BITFIELD", key, "OVERFLOW", "SAT", *increments)
            pipeline.expire(key, defaults.METRICS_TTL)

    def _periods(self, now: float) -> Sequence[tuple[str, int]]:
        return (
            (self._keys.metrics(metric_keys.slot(now, MINUTE)), defaults.METRICS_TTL),
            (self._keys.metrics(metric_keys.slot(now, TEN_MINUTES)), defaults.METRICS_TEN_MINUTES_TTL),
            (self._keys.metrics_hour(metric_keys.hour_slot(now)), defaults.METRICS_HOUR_TTL),
        )

    def _of(self, name: str) -> _Counts:
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = _Counts(milliseconds=self._rests.pop(name, 0.0))
        return counts

    def _name(self, job: str) -> str:
        fits = len(self._names) < defaults.METRICS_CLASSES and metric_keys.is_countable(job)
        if fits:
            self._names[job] = job
        return job if fits else OTHER
