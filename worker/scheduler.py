"""Moves due jobs of `schedule` and `retry` into their queues, for the whole cluster.

One process holds a lease and does it; the others try for the lease and take over within seconds when it ends. Moving is
a script, so that even two schedulers at a time would neither lose nor double a job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from jobd.client import defaults, scripts
from jobd.client import payload as wire
from jobd.client.connection import Connector, is_readonly
from jobd.client.errors import MalformedPayload
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps
from jobd.client.scripts import DeadLimits
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.outage import Outage


class Scheduler:
    """Promotes due jobs while it holds the cluster's lease."""

    def __init__(
        self,
        connector: Connector,
        keys: Keys,
        clock: ServerClock,
        outage: Outage,
        *,
        identity: Callable[[], str],
        limits: DeadLimits,
        timestamps: Timestamps,
    ) -> None:
        self._connector, self._keys, self._clock, self._outage = connector, keys, clock, outage
        self._identity, self._limits = identity, limits
        self._timestamps: Timestamps = timestamps
        self._reports = log.Reports()

    def tick(self) -> float:
        """Do what is due; returns seconds until the next look."""
        sources = (self._keys.retry, self._keys.schedule)
        call = scripts.lead(self._keys, self._identity(), defaults.SCHEDULER_LEASE, sources)
        with self._connector.connection() as connection:
            firsts = scripts.send(connection, call)
        if firsts is None:
            return defaults.SCHEDULER_LEASE / 4
        # Not before: who does not hold the lease has only read, which works where nothing can be written.
        self._outage.works()
        now, damaged = self._clock.now(), False
        for source, first in zip(sources, firsts, strict=True):
            if first > now:
                continue
            try:
                self._promote(source)
            except ResponseError as error:
                if is_readonly(error):
                    raise
                self._reports.tell(f"{source}: {error}")
                damaged = True
        # What was due has moved, and more may be.
        return 1.0 if damaged else max(0.0, min(min(firsts) - now, defaults.SCHEDULER_MAX_SLEEP))

    def _promote(self, source: str) -> None:
        """Move what is due in one set, up to the limit of a call."""
        now = self._clock.now()
        client: Any = self._connector.client()
        due: Sequence[bytes] = client.zrange(
            source, "-inf", repr(now), byscore=True, offset=0, num=defaults.PROMOTE_LIMIT
        )
        members = [self._prepared(source, member, now) for member in due]
        with self._connector.connection() as connection:
            done = scripts.send(connection, scripts.promote(self._keys, source, now, members, self._limits))
        self._reports.tell(done.note, done.dropped)
        if done.promoted:
            log.event("scheduler.promoted", level=log.DEBUG, source=source, jobs=done.promoted)

    def _prepared(self, source: str, member: bytes, now: float) -> tuple[bytes, str | None, bytes]:
        try:
            queue, payload = promoted(wire.decode(member), now, self._timestamps)
        except (MalformedPayload, RecursionError, ValueError) as error:
            # One that can be read and not written would stop all behind it, if it stayed.
            log.event("job.buried", level=log.ERROR, source=source, reason=f"{type(error).__name__}: {error}")
            return member, None, b""
        return member, queue, payload


def promoted(payload: dict[str, Any], now: float, timestamps: Timestamps) -> tuple[str, bytes]:
    """The queue of a due job, and its bytes as it enters the queue at `now`. Raises MalformedPayload."""
    queue = payload.get("queue", defaults.QUEUE)
    if not isinstance(queue, str) or not queue:
        raise MalformedPayload(f"its queue is {queue!r}, not a name")
    payload.setdefault("created_at", wire.write_time(now, timestamps))
    payload.pop("at", None)
    wire.stamp(payload, now, timestamps)
    return queue, wire.encode(payload)
