"""The totals: `Stats`, what there is now, and `History`, what was processed day by day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.entry import JobEntry
from jobd.client.errors import InvalidArguments
from jobd.client.processes import number
from jobd.client.push import Client
from jobd.client.scripts import raw_bytes
from jobd.client.times import Moment, epoch_seconds

MAX_DAYS = 5 * 365
"""Days for which Sidekiq and jobd keep the figures of a day."""
_DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """One queue: its name, how many jobs wait, for how many seconds the next one has waited, whether it is paused."""

    name: str
    size: int
    latency: float
    paused: bool


class Stats:
    """The figures of the moment at which it is made, read in three round trips whatever the number of jobs.

    - `processed`, `failed`: attempts that ended, and those of them that failed, since Redis was filled or `reset`;
    - `enqueued`, `scheduled`, `retries`, `dead`: jobs in all queues and in the three sets;
    - `processes`, `busy`: worker processes, and jobs that they run;
    - `queues`: a `QueueSummary` of each, the fullest first;
    - `default_latency`: seconds for which the next job of the queue `default` has waited.

    Without a `client` it is that of this process' jobs. Raises `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self._access = access = Access(client)
        keys = access.keys

        def ask(pipeline: Any) -> None:
            pipeline.mget(keys.stat_processed, keys.stat_failed)
            pipeline.zcard(keys.schedule).zcard(keys.retry).zcard(keys.dead)
            pipeline.smembers(keys.queues).smembers(keys.paused).smembers(keys.processes)

        totals, scheduled, retries, dead, queues, paused, processes = access.read_all(ask)
        self.processed, self.failed = (int(number(total)) for total in totals or (0, 0))
        self.scheduled, self.retries, self.dead = scheduled or 0, retries or 0, dead or 0
        self.queues = _summaries(access, queues or set(), paused or set())
        self.enqueued = sum(queue.size for queue in self.queues)
        self.default_latency = next((q.latency for q in self.queues if q.name == defaults.QUEUE), 0.0)
        busy = _busy(access, processes or set())
        self.processes, self.busy = len(busy), sum(busy)

    def reset(self) -> None:
        """Begin to count `processed` and `failed` from 0; the figures of the days stay."""
        keys = self._access.keys
        self._access.write(lambda redis: redis.mset({keys.stat_processed: 0, keys.stat_failed: 0}))
        self.processed = self.failed = 0


class History:
    """How many attempts ended and failed on each of the last `days` UTC days, 1 to 1,825.

    `processed` and `failed` map `2026-03-01` to a number, the last day first. `until` (epoch seconds or an aware
    `datetime`) is within the last of the days [now]. Read in one round trip. Without a `client` it is that of this
    process' jobs. Raises `InvalidArguments`, `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, days: int = 30, *, until: Moment | None = None, client: Client | None = None) -> None:
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MAX_DAYS:
            raise InvalidArguments(f"days is {days!r}; give a number from 1 to {MAX_DAYS:,}")
        access = Access(client)
        keys, last = access.keys, access.now() if until is None else epoch_seconds(until, "until")
        moments = [last - back * _DAY for back in range(days)]
        names = [keys.stat_processed_on(moment) for moment in moments]
        names += [keys.stat_failed_on(moment) for moment in moments]
        values = [int(number(value)) for value in access.read(lambda redis: redis.mget(names))]
        dates = [datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d") for moment in moments]
        self.processed: Mapping[str, int] = dict(zip(dates, values[:days], strict=True))
        self.failed: Mapping[str, int] = dict(zip(dates, values[days:], strict=True))


def _summaries(access: Access, queues: set[bytes], paused: set[bytes]) -> tuple[QueueSummary, ...]:
    names = sorted(name.decode("utf-8", "surrogateescape") for name in queues)
    waits = {name.decode("utf-8", "surrogateescape") for name in paused}
    now, found = access.now(), read_queues(access, names)
    summaries = [
        QueueSummary(name, size, JobEntry(oldest).latency(now) if oldest else 0.0, name in waits)
        for name, (size, oldest) in zip(names, found, strict=True)
    ]
    return tuple(sorted(summaries, key=lambda queue: (-queue.size, queue.name)))


def read_queues(access: Access, names: list[str]) -> list[tuple[int, bytes | None]]:
    """Size and next job of each queue; a key of a wrong type counts as empty."""
    if not names:
        return []

    def ask(pipeline: Any) -> None:
        for name in names:
            key = raw_bytes(access.keys.queue(name))
            pipeline.llen(key).lindex(key, -1)

    answers = access.read_all(ask)
    return [(size or 0, oldest) for size, oldest in zip(answers[::2], answers[1::2], strict=True)]


def _busy(access: Access, processes: set[bytes]) -> list[int]:
    """How many jobs each process that shows itself runs."""
    if not processes:
        return []

    def ask(pipeline: Any) -> None:
        for identity in processes:
            name = identity.decode("utf-8", "surrogateescape")
            pipeline.hmget(raw_bytes(access.keys.process(name)), "info", "busy")

    return [int(number(busy)) for info, busy in filter(None, access.read_all(ask)) if info is not None]
