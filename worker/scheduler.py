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
from jobd.client.connection import Connector
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
        with self._connector.connection() as connection:
            mine = scripts.send(connection, scripts.lead(self._keys, self._identity(), defaults.SCHEDULER_LEASE))
        self._outage.works()
        if not mine:
            return defaults.SCHEDULER_LEASE / 4
        full = damaged = False
        for source in (self._keys.retry, self._keys.schedule):
            try:
                full |= self._promote(source)
            except ResponseError as error:
                self._reports.tell(f"{source}: {error}")
                damaged = True
        if full:
            return 0.0
        return 1.0 if damaged else self._until_next()

    def _promote(self, source: str) -> bool:
        """Move what is due in one set, up to the limit of a call; True when there may be more."""
        now = self._clock.now()
        client: Any = self._connector.client()
        due: Sequence[bytes] = client.zrange(
            source, "-inf", repr(now), byscore=True, offset=0, num=defaults.PROMOTE_LIMIT
        )
        if not due:
            return False
        members = [self._prepared(source, member, now) for member in due]
        with self._connector.connection() as connection:
            done = scripts.send(connection, scripts.promote(self._keys, source, now, members, self._limits))
        self._reports.tell(done.note, done.dropped)
        if done.promoted:
            log.event("scheduler.promoted", level=log.DEBUG, source=source, jobs=done.promoted)
        return len(due) == defaults.PROMOTE_LIMIT

    def _prepared(self, source: str, member: bytes, now: float) -> tuple[bytes, str | None, bytes]:
        try:
            queue, payload = promoted(wire.decode(member), now, self._timestamps)
        except (MalformedPayload, RecursionError, ValueError) as error:
            # One that can be read and not written would stop all behind it, if it stayed.
            log.event("job.buried", level=log.ERROR, source=source, reason=f"{type(error).__name__}: {error}")
            return member, None, b""
        return member, queue, payload

    def _until_next(self) -> float:
        client: Any = self._connector.client()
        firsts = [client.zrange(s, 0, 0, withscores=True) for s in (self._keys.retry, self._keys.schedule)]
        scores = [first[0][1] for first in firsts if first]
        until = min(scores, default=float("inf")) - self._clock.now()
        return max(0.0, min(until, defaults.SCHEDULER_MAX_SLEEP))


def promoted(payload: dict[str, Any], now: float, timestamps: Timestamps) -> tuple[str, bytes]:
    """The queue of a due job, and its bytes as it enters the queue at `now`. Raises MalformedPayload."""
    queue = payload.get("queue", defaults.QUEUE)
    if not isinstance(queue, str) or not queue:
        raise MalformedPayload(f"its queue is {queue!r}, not a name")
    payload.setdefault("created_at", wire.write_time(now, timestamps))
    payload.pop("at", None)
    wire.stamp(payload, now, timestamps)
    return queue, wire.encode(payload)
