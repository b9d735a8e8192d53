"""Moves due jobs of `schedule` and `retry` into their queues, for the whole cluster.

One process holds a lease and does it; the others wait until the lease would end. The holder sleeps until the next job
is due, and the server tells it when one of the sets changes. Moving is a script, so that even two schedulers at a time
would neither lose nor double a job.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from jobd.client import defaults, scripts
from jobd.client import payload as wire
from jobd.client.connection import Connector, is_readonly
from jobd.client.errors import MalformedPayload, RedisUnavailable
from jobd.client.keys import Keys
from jobd.client.moves import as_queued
from jobd.client.payload import Timestamps
from jobd.client.scripts import DeadLimits
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.outage import Outage
from jobd.worker.tracked import Tracked
from jobd.worker.wakeup import Wakeup

_SPREAD = 0.1
"""Seconds over which those who wait for the end of a lease come."""


class SetsBell:
    """Rings when `schedule` or `retry` changes, once it is armed, and when it is set."""

    def __init__(self, connector: Connector, keys: Keys, outage: Outage) -> None:
        self._commands = [("ZCARD", keys.retry), ("ZCARD", keys.schedule)]
        self._wakeup, self._outage = Wakeup(), outage
        self._line = Tracked(connector, wakeup=self._wakeup, outage=outage)
        self._armed, self._looked = False, 0.0

    def set(self) -> None:
        """End a wait, now or when it begins; from any thread."""
        self._wakeup.set()

    def clear(self) -> None:
        """Let waits last again."""
        self._wakeup.clear()

    def arm(self) -> float:
        """Have the server tell of the next change; returns for how many seconds that may be relied on."""
        self._looked = time.monotonic()
        try:
            if not self._line.open():
                return defaults.SCHEDULER_POLL
            if not self._armed:
                _, rang = self._line.ask(self._commands)
                self._armed = not rang
        except BaseException:
            self.disarm()
            raise
        return math.inf

    def disarm(self) -> None:
        """Hear nothing of the sets."""
        self._armed = False
        self._line.hang_up()

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds. A change that comes soon after the last look is held back for a moment."""
        if self._line.is_open:
            try:
                changed = not self._armed or self._line.listen(timeout)
            except (RedisError, RedisUnavailable, OSError) as error:
                self._outage.failed(error, self._line.opened)
                self.disarm()
                return
            if not changed:
                return
            self._armed = False
            timeout = min(timeout, self._looked + defaults.SCHEDULER_MIN_PAUSE - time.monotonic())
        self._wakeup.wait(max(0.0, timeout))

    def close(self) -> None:
        """Give everything back; nobody may wait or set it any more."""
        self.disarm()
        self._wakeup.close()


class Scheduler:
    """Promotes due jobs while it holds the cluster's lease. Between two ticks its `bell` is to be waited on."""

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
        on_lead: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_lead` is called when the lease comes to this process; it must not wait."""
        self._on_lead = on_lead
        self._connector, self._keys, self._clock, self._outage = connector, keys, clock, outage
        self._identity, self._limits = identity, limits
        self._timestamps: Timestamps = timestamps
        self._reports = log.Reports()
        self._limit = defaults.PROMOTE_LIMIT
        self.bell, self._leads = SetsBell(connector, keys, outage), False

    @property
    def leads(self) -> bool:
        """Whether it held the lease when it last looked."""
        return self._leads

    def tick(self) -> float:
        """Do what is due; returns seconds until the next look, which a change makes come earlier."""
        # First, so that what comes after the look at the sets is told.
        longest = self.bell.arm() if self._leads else 0.0
        sources = (self._keys.retry, self._keys.schedule)
        call = scripts.lead(self._keys, self._identity(), defaults.SCHEDULER_LEASE, sources)
        with self._connector.connection() as connection:
            firsts = scripts.send(connection, call)
        if not isinstance(firsts, list):
            self._leads = False
            self.bell.disarm()
            return firsts + random.uniform(0.0, _SPREAD)
        if not self._leads:
            self._leads = True
            self._on_lead()
        # Not before: who does not hold the lease has only read, which works where nothing can be written.
        self._outage.works()
        longest = min(longest, defaults.SCHEDULER_LEASE / 2)
        return self._do_what_is_due(dict(zip(sources, firsts, strict=True)), longest)

    def _do_what_is_due(self, firsts: dict[str, float], longest: float) -> float:
        now, damaged = self._clock.now(), False
        for source, first in firsts.items():
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
        return 1.0 if damaged else max(0.0, min(min(firsts.values()) - now, longest))

    def _promote(self, source: str) -> None:
        """Move what is due in one set, up to the limit of a call."""
        now = self._clock.now()
        client: Any = self._connector.client()
        due: Sequence[bytes] = client.zrange(source, "-inf", repr(now), byscore=True, offset=0, num=self._limit)
        self._limit = promote_limit(due)
        members = [self._prepared(source, member, now) for member in due]
        with self._connector.connection() as connection:
            done = scripts.send(connection, scripts.promote(self._keys, source, now, members, self._limits))
        self._reports.tell(done.note, done.dropped)
        if done.promoted:
            log.event("scheduler.promoted", level=log.DEBUG, source=source, jobs=done.promoted)

    def _prepared(self, source: str, member: bytes, now: float) -> tuple[bytes, str | None, bytes]:
        try:
            queue, payload = as_queued(wire.decode(member), now, self._timestamps)
        except (MalformedPayload, RecursionError, ValueError) as error:
            # One that can be read and not written would stop all behind it, if it stayed.
            log.event("job.buried", level=log.ERROR, source=source, reason=f"{type(error).__name__}: {error}")
            return member, None, b""
        return member, queue, payload


def promote_limit(last: Sequence[bytes]) -> int:
    """How many members to move next, after these: large ones would keep Redis from answering others for long."""
    size = sum(map(len, last)) / max(len(last), 1)
    return max(1, min(defaults.PROMOTE_LIMIT, int(defaults.PROMOTE_BYTES / max(size, 1.0))))
